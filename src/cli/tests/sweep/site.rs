//! Where victims work, and what is swept up behind them.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use super::sweeping::{TMPSHIM, names, root_with, tool};

/// A state directory, and one in which victims work.
pub(crate) struct Site {
    pub(crate) root: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::new_in(&std::env::temp_dir())
    }

    pub(crate) fn new_in(parent: &Path) -> Self {
        Self { root: root_with(parent, &["state", "work"]) }
    }

    pub(crate) fn give_to(self, uid: u32) -> Self {
        for path in [self.state(), self.work()] {
            chown(path, Some(uid), Some(uid)).unwrap();
        }
        self
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// For victims.
    pub(crate) fn template(&self) -> PathBuf {
        self.work().join("victim-XXXXXX")
    }

    /// The victim, with the library: it does `what` after it has made `count` directories, each with a file in it.
    pub(crate) fn victim(&self, what: &str, count: u32) -> Command {
        let mut command = Command::new(tool("victim"));
        command.arg(self.template()).args([what, &count.to_string(), "file"]);
        command.env("LD_PRELOAD", tool("libtmpshim.so")).env("TMPSHIM_STATE_DIR", self.state());
        command
    }

    /// Leaves `count` directories, and a journal that tells of them.
    pub(crate) fn kill_one(&self, count: u32) {
        let before = names(&self.state()).len();
        let output = self.victim("killed", count).output().unwrap();
        assert_eq!(output.status.signal(), Some(libc::SIGKILL), "{output:?}");
        assert_eq!(names(&self.state()).len(), before + 1);
    }

    /// Leaves a journal beside others: the victims' own library would sweep theirs.
    pub(crate) fn kill_one_beside(&self, count: u32) {
        let other = Self::new();
        let mut command = self.victim("killed", count);
        command.env("TMPSHIM_STATE_DIR", other.state());
        assert_eq!(command.output().unwrap().status.signal(), Some(libc::SIGKILL));
        let journal = other.journal();
        fs::copy(&journal, self.state().join(journal.file_name().unwrap())).unwrap();
    }

    pub(crate) fn journal(&self) -> PathBuf {
        let names = names(&self.state());
        assert_eq!(names.len(), 1, "{names:?}");
        self.state().join(&names[0])
    }

    pub(crate) fn sweep(&self, arguments: &[&str]) -> Output {
        sweep(&self.state(), arguments)
    }

    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        assert_eq!((names(&self.work()), names(&self.state())), (Vec::new(), Vec::new()));
    }
}

pub(crate) fn sweep(state: &Path, arguments: &[&str]) -> Output {
    Command::new(TMPSHIM).arg("sweep").args(arguments).arg("--state-dir").arg(state).output().unwrap()
}

/// The lines of one kind.
pub(crate) fn events<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}
