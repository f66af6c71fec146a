//! The `TMPSHIM_…` variables of an environment.

use serde_json::{Map, Value};
use tmpshim_core::settings::{Settings, is_ours};

use super::finding::{Finding, Name, Verdict};

/// Names and values, as an environment has them.
pub(super) type Variables = [(Vec<u8>, Vec<u8>)];

/// What is set; then what is wrong with it.
pub(super) fn look(variables: &Variables) -> Vec<Finding> {
    let ours: Vec<_> = variables.iter().filter(|(name, _)| is_ours(name)).collect();
    let mut found = Vec::new();
    if ours.is_empty() {
        return found;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let listed = ours.iter().map(|(name, value)| format!("{}={}", text(name), text(value)));
    let value: Map<String, Value> = ours.iter().map(|(name, value)| (text(name), text(value).into())).collect();
    found.push(Finding::note(Name::Settings, listed.collect::<Vec<_>>().join(" ")).with(value));
    let mut settings = Settings::DEFAULT;
    for (name, value) in ours {
        if let Err(problem) = settings.set(name, value) {
            let line = text(problem.describe().as_bytes());
            let line = line.trim_end().trim_start_matches("libtmpshim: ");
            found.push(Finding::new(Name::Settings, Verdict::Beware, line));
        }
    }
    found
}

/// Whether these settings leave O_TMPFILE to tmpshim.
pub(super) fn stand_in(variables: &Variables) -> bool {
    let mut settings = Settings::DEFAULT;
    for (name, value) in variables.iter().filter(|(name, _)| is_ours(name)) {
        let _ = settings.set(name, value);
    }
    settings.enabled && settings.tmpfile != tmpshim_core::settings::Tmpfile::Off
}

/// The value of a variable; nothing where it is empty.
pub(super) fn value<'a>(variables: &'a Variables, wanted: &str) -> Option<&'a [u8]> {
    let mut all = variables.iter().filter(|(name, value)| name == wanted.as_bytes() && !value.is_empty());
    all.next().map(|(_, value)| value.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(all: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
        all.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn settings_are_listed_and_what_is_wrong_is_named() {
        assert!(look(&variables(&[("PATH", "/bin")])).is_empty());
        let found = look(&variables(&[("TMPSHIM_CLEANUP", "some"), ("TMPSHIM_FOO", "1"), ("TMPSHIM_LOG", "/l")]));
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].value.as_ref().unwrap()["TMPSHIM_LOG"], "/l");
        assert!(found[1].found.contains("all, empty, failed or off") && found[2].found.contains("TMPSHIM_FOO"));
        assert!(found[1..].iter().all(|finding| finding.verdict == Verdict::Beware && !finding.found.contains('\n')));
    }

    #[test]
    fn standing_in_can_be_turned_off() {
        assert!(stand_in(&variables(&[("TMPSHIM_CLEANUP", "off")])));
        assert!(!stand_in(&variables(&[("TMPSHIM", "off")])) && !stand_in(&variables(&[("TMPSHIM_TMPFILE", "off")])));
        assert_eq!(value(&variables(&[("TMPDIR", ""), ("X", "y")]), "TMPDIR"), None);
        assert_eq!(value(&variables(&[("X", "y")]), "X"), Some(&b"y"[..]));
    }
}
