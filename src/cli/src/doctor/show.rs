//! A table for people, a document for programs.

use std::fmt::Write as _;
use std::io::{self, Write as _, stdout};

use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width};
use serde::Serialize;

use super::finding::{Finding, Kind, Name, Subject, Verdict};
use crate::output::shown;

const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RED: &str = "\x1b[1;31m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// The version of the document's form (docs/doctor.schema.json).
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    tmpshim: &'static str,
    verdict: Verdict,
    exit: u8,
    subjects: &'a [Subject],
}

/// Writes the document.
pub(super) fn document(subjects: &[Subject], verdict: Verdict) -> io::Result<()> {
    let tmpshim = env!("CARGO_PKG_VERSION");
    let document = Document { version: VERSION, tmpshim, verdict, exit: verdict.status(), subjects };
    let text = serde_json::to_string_pretty(&document).map_err(io::Error::other)?;
    let mut output = stdout().lock();
    writeln!(output, "{text}").and_then(|()| output.flush())
}

/// Writes the table. Colour goes to terminals only, and not there either where `NO_COLOR` is set.
pub(super) fn table(subjects: &[Subject], verdict: Verdict) -> io::Result<()> {
    let mut text = render(subjects, crate::output::width());
    text += match verdict {
        Verdict::WillFail => "Something will fail. What to do is said below each subject.\n",
        Verdict::CouldNotTell => "Nothing is known to fail, but something could not be told.\n",
        _ => "All is well.\n",
    };
    let mut output = anstream::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush())
}

fn render(subjects: &[Subject], width: Option<u16>) -> String {
    let mut text = String::new();
    // Behind what has no verdict nothing has to stand in its column.
    let judged =
        subjects.iter().flat_map(|subject| &subject.findings).filter(|finding| finding.verdict != Verdict::Note);
    let found = judged.map(|finding| shown(&finding.found).chars().count());
    let layout = Layout { width, found: found.max().unwrap_or(0).max(20) as u16 };
    for subject in subjects {
        let kind = match subject.kind {
            Kind::Directory => "Directory",
            Kind::Program => "Program",
            Kind::Process => "Process",
            Kind::System => "System",
            Kind::Argument => "Argument",
        };
        let through = match subject.pid {
            Some(pid) if subject.kind != Kind::Process => format!(", of process {pid}"),
            _ => String::new(),
        };
        let _ = writeln!(text, "{BOLD}{}{PLAIN}", format!("{kind} {}{through}", shown(&subject.name)).trim_end());
        text += &lines(subject, layout);
        for cure in &subject.cures {
            let _ = writeln!(text, "  To do: {}", shown(&cure.why));
            if let Some(command) = &cure.command {
                let _ = writeln!(text, "      {BOLD}{}{PLAIN}", shown(command));
            }
        }
        text.push('\n');
    }
    text
}

/// One for all subjects, so that they read as one table.
#[derive(Clone, Copy)]
struct Layout {
    /// The terminal's.
    width: Option<u16>,
    /// Of the longest finding that has a verdict.
    found: u16,
}

impl Layout {
    /// Widths of name, finding and verdict, a space on each side of a text.
    fn columns(self) -> [u16; 3] {
        let name = Name::ALL.iter().map(|name| name.label().len()).max().unwrap_or(0) as u16 + 2;
        let verdict = Verdict::CouldNotTell.label().len() as u16 + 2;
        let left = self.width.map_or(u16::MAX, |width| width.saturating_sub(name + verdict)).max(12);
        [name, left.min(self.found + 2), verdict]
    }
}

fn lines(subject: &Subject, layout: Layout) -> String {
    let columns = layout.columns();
    if layout.width.is_none() {
        return subject.findings.iter().map(|finding| line(finding, columns)).collect();
    }
    let mut table = Table::new();
    table.load_preset(NOTHING);
    if let Some(width) = layout.width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    for finding in &subject.findings {
        table.add_row([finding.name.label().to_owned(), shown(&finding.found), finding.verdict.label().to_owned()]);
    }
    for (index, width) in columns.into_iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
        }
    }
    let mut text = String::new();
    for line in table.trim_fmt().lines() {
        text += &coloured(line);
        text.push('\n');
    }
    text
}

/// As long as it has to be.
fn line(finding: &Finding, [name, found, _]: [u16; 3]) -> String {
    let (name, found) = (usize::from(name - 1), usize::from(found - 1));
    let line = format!(" {:name$} {:found$} {}", finding.name.label(), shown(&finding.found), finding.verdict.label());
    coloured(line.trim_end()) + "\n"
}

/// After the layout, which would count escape sequences as text. Only the last column is looked at.
fn coloured(line: &str) -> String {
    for (verdict, colour) in
        [(Verdict::WillFail, RED), (Verdict::CouldNotTell, YELLOW), (Verdict::Beware, YELLOW), (Verdict::Well, GREEN)]
    {
        if let Some(before) = line.strip_suffix(verdict.label()).filter(|before| before.ends_with("  ")) {
            return format!("{before}{colour}{}{PLAIN}", verdict.label());
        }
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::finding::Cure;
    use super::*;

    fn subject() -> Subject {
        let mut subject = Subject::new(Kind::Directory, "/t\u{1b}[2J", Some(7));
        subject.find(Finding::new(Name::Tmpfile, Verdict::WillFail, "EOPNOTSUPP ".repeat(20)));
        subject.find(Finding::well(Name::Space, "1 of 2"));
        subject.cure(Cure::new("so:", "tmpshim run -- \u{7}x"));
        subject
    }

    fn without_colour(text: &str) -> String {
        [GREEN, YELLOW, RED, BOLD, PLAIN].iter().fold(text.to_owned(), |text, colour| text.replace(colour, ""))
    }

    #[test]
    fn a_subject_is_a_title_lines_and_what_to_do() {
        let text = without_colour(&render(&[subject()], None));
        for part in
            ["Directory /t\\u{1b}[2J, of process 7\n", "WILL FAIL\n", "free space", "  To do: so:\n", "-- \\u{7}x\n"]
        {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(text.chars().all(|character| character == '\n' || !character.is_control()));
        assert_eq!(text.lines().count(), 6);
    }

    #[test]
    fn a_terminals_width_is_kept() {
        let text = without_colour(&lines(&subject(), Layout { width: Some(80), found: 300 }));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.lines().count() > 2);
    }

    #[test]
    fn verdicts_have_colours() {
        assert_eq!(coloured("a  well"), format!("a  {GREEN}well{PLAIN}"));
        assert_eq!(coloured("all is well"), "all is well");
    }
}
