//! What a sweep says: a line a thing for people, an object a line for programs.

use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write, stdout};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::line::{Counts, Kind, Line, What};
use super::progress::Progress;
use crate::failure::Failure;

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

#[cfg(test)]
mod tests {
    use super::*;

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
