//! One line of what a sweep says.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tmpshim_core::journal::{Entry, Header};
use tmpshim_core::remove::Outcome;

use super::sweeper::{Said, path_of};
use crate::output::shown;

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
    pub(super) fn text(&self) -> Option<String> {
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
}
