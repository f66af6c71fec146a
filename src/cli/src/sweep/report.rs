//! What a sweep says: a line a thing for people, an object a line for programs.

use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write, stderr, stdout};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};
use tmpshim_core::journal::{Entry, Header};
use tmpshim_core::remove::Outcome;

use super::sweeper::{Said, path_of};
use crate::failure::Failure;

/// What a line is about.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    /// The thing at `path` is gone.
    Removed,
    /// It would be (`--dry-run`).
    WouldRemove,
    /// A program has made it, and it stays.
    Skipped,
    /// Something of tmpshim's own, or that claims to be, that stays.
    Left,
    /// The program of the journal at `path` lives.
    Living,
    /// The last line.
    Summary,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Directory,
    File,
}

/// One line.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    pub(crate) event: What,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) kind: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) program: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) journal: Option<String>,
    /// Why it stays, and what to do.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) counts: Option<Counts>,
    /// When the sweep ended, in seconds since 1970; not of a dry run, which is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) time: Option<u64>,
}

/// How often what was said.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Directories removed, or to be removed.
    pub(crate) directories: u64,
    /// Hidden names of files removed, or to be removed.
    pub(crate) files: u64,
    /// What stays.
    pub(crate) left: u64,
    /// Journals of programs that live.
    pub(crate) living: u64,
    /// Matched, and not to be removed: in use, too young, not empty. Only with `--match`.
    #[serde(skip_serializing_if = "is_none", default)]
    pub(crate) skipped: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Line {
    pub(super) fn new(event: What, path: &Path) -> Self {
        let path = Some(path.to_string_lossy().into_owned());
        let (program, journal, why) = (None, None, None);
        Self { event, path, kind: None, program, pid: None, uid: None, journal, why, counts: None, time: None }
    }

    /// Of something that stays.
    pub(crate) fn left(path: &Path, why: String) -> Self {
        Self { why: Some(why), ..Self::new(What::Left, path) }
    }

    fn by(self, header: &Header, uid: u32) -> Self {
        let program = Some(String::from_utf8_lossy(header.program()).into_owned());
        Self { program, pid: Some(header.owner().pid), uid: Some(uid), ..self }
    }

    /// What a sweeper has said, about what `uid` owns; nothing where there is nothing to say.
    pub(crate) fn of(said: &Said<'_>, dry: bool, uid: u32) -> Option<Self> {
        Some(match said {
            Said::Left { path, why } => Self::left(path, why.clone()),
            Said::Living { journal, header } => {
                let line = Self::new(What::Living, journal);
                match header {
                    Some(header) => line.by(header, uid),
                    None => line,
                }
            }
            Said::Thing { record, header, journal, outcome, stays } => {
                let event = match (stays, outcome) {
                    (Some(_), _) => What::Skipped,
                    (None, Outcome::Removed) if dry => What::WouldRemove,
                    (None, Outcome::Removed) => What::Removed,
                    // The program or somebody else was quicker, or its settings keep what is not empty.
                    (None, _) => return None,
                };
                let kind = if record.entry == Entry::Directory { Kind::Directory } else { Kind::File };
                let journal = Some(journal.to_string_lossy().into_owned());
                let line = Self { kind: Some(kind), journal, why: stays.clone(), ..Self::new(event, path_of(record)) };
                line.by(header, uid)
            }
        })
    }

    /// For people; nothing where they are not to be bothered.
    fn text(&self) -> Option<String> {
        let path = shown(self.path.as_deref()?);
        let why = shown(self.why.as_deref().unwrap_or_default());
        let by = match (&self.program, self.pid) {
            (Some(program), Some(pid)) => format!(" (made by {}, process {pid})", shown(program)),
            _ => String::new(),
        };
        Some(match self.event {
            What::Removed => format!("removed {path}{by}"),
            What::WouldRemove => format!("would remove {path}{by}"),
            What::Skipped => format!("skipped {path}{by}: {why}"),
            What::Left => format!("left {path}: {why}"),
            What::Living | What::Summary => return None,
        })
    }
}

/// Text that somebody else has chosen, for a terminal: nothing in it moves the cursor.
pub(crate) fn shown(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            let _ = write!(plain, "{}", character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

/// What is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Journals,
    /// What was shown beforehand, and so is not to be told again to people.
    Plan,
}

/// Where the lines go.
pub(crate) struct Report {
    json: bool,
    dry: bool,
    of: Of,
    output: BufWriter<Stdout>,
    /// Somebody reads along: every line at once.
    is_live: bool,
    counts: Counts,
    progress: Progress,
    written: io::Result<()>,
}

impl Report {
    pub(crate) fn new(json: bool, dry: bool, is_followed: bool) -> Self {
        let is_live = stdout().is_terminal() || is_followed;
        let output = BufWriter::with_capacity(64 * 1024, stdout());
        let (counts, progress) = (Counts::default(), Progress::new());
        Self { json, dry, of: Of::Journals, output, is_live, counts, progress, written: Ok(()) }
    }

    /// One of things that are shown beforehand: skipped ones are none that had to be left.
    pub(crate) fn planned(json: bool, dry: bool, is_followed: bool) -> Self {
        Self { of: Of::Plan, ..Self::new(json, dry, is_followed) }
    }

    /// Text for people, at once.
    pub(crate) fn say(&mut self, text: &str) {
        let written = self.output.write_all(text.as_bytes()).and_then(|()| self.output.flush());
        self.note(written);
    }

    /// Counts a thing, and tells programs of it. People have seen it in the plan.
    pub(crate) fn tell_programs(&mut self, line: &Line) {
        if self.json {
            self.tell(line);
        } else {
            self.count(line);
        }
    }

    /// Writes a line. That it cannot be written is no reason to stop sweeping, and is said at the end.
    pub(crate) fn tell(&mut self, line: &Line) {
        self.count(line);
        let text = if self.json { serde_json::to_string(line).ok() } else { line.text() };
        let (output, is_live) = (&mut self.output, self.is_live);
        let Some(text) = text else { return };
        let mut written = Ok(());
        self.progress.aside(is_live, || {
            written = writeln!(output, "{text}").and_then(|()| if is_live { output.flush() } else { Ok(()) });
        });
        self.note(written);
    }

    fn count(&mut self, line: &Line) {
        match (line.event, line.kind) {
            (What::Removed | What::WouldRemove, Some(Kind::File)) => self.counts.files += 1,
            (What::Removed | What::WouldRemove, _) => self.counts.directories += 1,
            (What::Skipped, _) if self.of == Of::Plan => self.counts.skipped += 1,
            (What::Skipped | What::Left, _) => self.counts.left += 1,
            (What::Living, _) => self.counts.living += 1,
            (What::Summary, _) => {}
        }
        self.progress.advance(self.counts.directories + self.counts.files);
    }

    fn note(&mut self, written: io::Result<()>) {
        if self.written.is_ok() {
            self.written = written;
        }
    }

    /// Writes the last line; the exit status.
    pub(crate) fn end(mut self) -> Result<u8, Failure> {
        self.progress.end();
        let written = if self.json {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
            let time = now.filter(|_| !self.dry).map(|now| now.as_secs());
            let line = Line { path: None, counts: Some(self.counts), time, ..Line::new(What::Summary, Path::new("")) };
            writeln!(self.output, "{}", serde_json::to_string(&line).unwrap_or_default())
        } else {
            writeln!(self.output, "{}", summary(self.counts, self.dry, self.of))
        };
        self.note(written);
        let flushed = self.output.flush();
        self.note(flushed);
        let status = u8::from(self.counts.left > 0);
        self.written.map(|()| status).map_err(|error| {
            let remedy = "the sweep is done all the same; give it a file or pipe that takes what it says";
            Failure::new(1, "cannot write standard output", error, remedy)
        })
    }
}

fn summary(counts: Counts, dry: bool, of: Of) -> String {
    let some = |count: u64, one: &str, more: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {more}"),
    };
    let done = if dry { "to be removed" } else { "removed" };
    let (directories, files) =
        (some(counts.directories, "directory", "directories"), some(counts.files, "hidden file", "hidden files"));
    // Hidden files stand in journals, which a plan has nothing to do with.
    let mut text = match of {
        Of::Plan => format!("{done}: {directories}"),
        Of::Journals => format!("{done}: {directories}, {files}"),
    };
    if counts.skipped > 0 {
        let _ = write!(text, "; skipped: {}", counts.skipped);
    }
    if counts.left > 0 {
        let _ = write!(text, "; left: {}", counts.left);
    }
    if counts.living > 0 {
        let living = some(counts.living, "living program", "living programs");
        let _ = write!(text, "; {living} with something of its own (tmpshim ps)");
    }
    text
}

/// A line on the terminal that moves while there is much to do.
struct Progress {
    begun: Instant,
    bar: Option<ProgressBar>,
    possible: bool,
}

impl Progress {
    /// What takes no longer is done before anybody could read it.
    const SOON: Duration = Duration::from_millis(500);

    fn new() -> Self {
        Self { begun: Instant::now(), bar: None, possible: stderr().is_terminal() }
    }

    fn advance(&mut self, done: u64) {
        if !self.possible || self.begun.elapsed() < Self::SOON {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            // Constant, so it is well-formed always or never.
            let style = ProgressStyle::with_template("{spinner} {pos} removed ({per_sec})");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        bar.set_position(done);
    }

    /// Lets something else be written to the same terminal.
    fn aside(&self, shared: bool, write: impl FnOnce()) {
        match &self.bar {
            Some(bar) if shared => bar.suspend(write),
            _ => write(),
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_through_json_and_back() {
        let line = Line { kind: Some(Kind::File), pid: Some(7), ..Line::left(Path::new("/x\n"), "why".to_owned()) };
        let text = serde_json::to_string(&line).unwrap();
        assert_eq!(text, r#"{"event":"left","path":"/x\n","kind":"file","pid":7,"why":"why"}"#);
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
    }

    #[test]
    fn names_that_others_have_chosen_move_no_cursor() {
        assert_eq!(shown("/tmp/a b\u{1b}[2J\r\n\u{9b}ü"), "/tmp/a b\\u{1b}[2J\\r\\n\\u{9b}ü");
        let line = Line {
            program: Some("\u{7}".to_owned()),
            pid: Some(1),
            ..Line::left(Path::new("/\u{1b}c"), String::new())
        };
        assert!(!line.text().unwrap().contains(char::is_control));
    }

    #[test]
    fn the_summary_counts() {
        let counts = Counts { directories: 1, files: 2, left: 3, living: 1, skipped: 0 };
        let expected =
            "removed: 1 directory, 2 hidden files; left: 3; 1 living program with something of its own (tmpshim ps)";
        assert_eq!(summary(counts, false, Of::Journals), expected);
        assert_eq!(summary(Counts::default(), true, Of::Journals), "to be removed: 0 directories, 0 hidden files");
        let counts = Counts { directories: 4711, left: 1, skipped: 12, ..Counts::default() };
        assert_eq!(summary(counts, false, Of::Plan), "removed: 4711 directories; skipped: 12; left: 1");
    }
}
