//! What `--match` was asked to do.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use tmpshim_core::glob;

/// What to remove, and where.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) globs: Vec<Glob>,
    pub(crate) directories: Vec<PathBuf>,
    /// Zero: age does not count.
    pub(crate) older_than: Duration,
    /// Only of this user. Otherwise root takes anybody's, and others their own.
    pub(crate) owner: Option<u32>,
    pub(crate) contents: bool,
    /// Do not ask.
    pub(crate) yes: bool,
}

/// A glob over names, which says something about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob(Vec<u8>);

impl Glob {
    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// Why, for people.
    pub(crate) fn parse(text: OsString) -> Result<Self, String> {
        let glob = text.into_vec();
        if glob.contains(&b'/') {
            return Err(
                "it is matched against names, and no name has a slash; give the directory behind it as DIR".into()
            );
        }
        if !says_something(&glob) {
            return Err(
                "it would match nearly every name; give what the names have in common, as in '.criu.temp-aa-policy.*'"
                    .into(),
            );
        }
        Ok(Self(glob))
    }

    /// Whether a directory of that name is meant.
    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        glob::matches(&self.0, name)
    }
}

/// Whether some character other than a dot is fixed.
fn says_something(glob: &[u8]) -> bool {
    let mut rest = glob;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'*' | b'?' | b'.', _) => after,
            // The first character behind the bracket, or behind its negation, does not close it.
            (b'[', _) => {
                let start = usize::from(matches!(after.first(), Some(b'!' | b'^')));
                match after.iter().skip(start + 1).position(|&byte| byte == b']') {
                    Some(end) => &after[start + 1 + end + 1..],
                    // It stands for itself.
                    None => return true,
                }
            }
            (b'\\', [b'.', after @ ..]) => after,
            _ => return true,
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d6_a_glob_says_something_about_names() {
        for glob in
            [".criu.temp-aa-policy.*", "a*", "*a", "?a?", "[a-z]x", "x", "\\*", "[", "*[", "[]]x", "tmp.??????????"]
        {
            assert!(Glob::parse(glob.into()).is_ok(), "{glob}");
        }
        for glob in ["", "*", "**", "?*", "*?", "???", ".*", ".?*", "..*", "[a-z]*", "[!.]*", "[^a]", "[]]*", "\\.*"] {
            assert!(Glob::parse(glob.into()).unwrap_err().contains("every name"), "{glob}");
        }
        assert!(Glob::parse("/tmp/x*".into()).unwrap_err().contains("slash"));
    }
}
