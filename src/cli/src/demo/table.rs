//! What the demo shows to people.

use std::env;

use comfy_table::presets::{ASCII_FULL_CONDENSED, UTF8_FULL_CONDENSED};
use comfy_table::{ContentArrangement, Table};

use super::Seen;
use super::acts::FILTERED;

/// A line that failed without the library and works with it.
const KEPT: &str = "as promised";
/// A line of any other kind.
const BROKEN: &str = "NOT AS PROMISED";

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[1;31m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Prints what was seen. Colour goes to terminals only, and not there either where `NO_COLOR` is set (anstream sees to
/// that).
pub(super) fn print(seen: &Seen, kept: usize) {
    let all = seen.lines.len();
    if all > 0 {
        anstream::println!("\n{}", colour(&render(seen, crate::output::width(), is_utf8())));
    }
    if seen.lines.iter().any(|line| line.ground.ends_with(FILTERED)) {
        anstream::println!(
            "{FILTERED}: this filesystem has O_TMPFILE; a seccomp filter answers in its place, as FUSE and NFS do."
        );
    }
    for missing in &seen.missing {
        anstream::println!("Not shown: {missing}.");
    }
    let colour = if kept == all { GREEN } else { RED };
    match all {
        0 => anstream::println!("{RED}Nothing could be shown on this machine.{PLAIN}"),
        _ => anstream::println!("{colour}{kept} of {all} lines as promised.{PLAIN}"),
    }
    if all > 0 && kept == all {
        anstream::println!("On your own program: {BOLD}tmpshim run -- PROGRAM [ARGS]...{PLAIN}");
    }
}

fn render(seen: &Seen, width: Option<u16>, utf8: bool) -> String {
    let mut table = Table::new();
    table.load_preset(if utf8 { UTF8_FULL_CONDENSED } else { ASCII_FULL_CONDENSED });
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table.set_header(["what", "filesystem", "without tmpshim", "with tmpshim", "verdict"]);
    for line in &seen.lines {
        let verdict = if line.kept { KEPT } else { BROKEN };
        table.add_row([&line.what, &line.ground, &line.without, &line.with, verdict]);
    }
    table.to_string()
}

/// After the layout, which would count escape sequences as text.
fn colour(table: &str) -> String {
    table.replace(BROKEN, &format!("{RED}{BROKEN}{PLAIN}")).replace(KEPT, &format!("{GREEN}{KEPT}{PLAIN}"))
}

fn is_utf8() -> bool {
    let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

#[cfg(test)]
mod tests {
    use super::super::acts::Line;
    use super::*;

    fn seen(kept: bool) -> Seen {
        let line = |text: &str| text.to_owned();
        let (without, with) = (line("Operation not supported"), line("works"));
        Seen {
            lines: vec![Line { what: line("Clair"), ground: line("tmpfs"), without, with, kept }],
            missing: Vec::new(),
        }
    }

    #[test]
    fn a_line_says_what_was_seen_and_whether_it_was_promised() {
        let table = render(&seen(true), None, false);
        for text in ["Clair", "tmpfs", "Operation not supported", "works", KEPT] {
            assert!(table.contains(text), "{text} in\n{table}");
        }
        assert!(table.is_ascii());
        assert!(render(&seen(false), None, true).contains(BROKEN));
    }

    #[test]
    fn colour_changes_no_letter() {
        let table = render(&seen(true), None, false);
        assert_eq!(colour(&table).replace(GREEN, "").replace(PLAIN, ""), table);
    }
}
