//! Where things pile up, and who uses them.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

use super::sweeping::{Holder, compile, lines, names, root_with, tool};
use super::waiting::{end_of, eventually};

/// A directory in which things pile up, and what is beside it.
pub(crate) struct Site {
    pub(crate) root: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::new_in(&std::env::temp_dir())
    }

    pub(crate) fn new_in(parent: &Path) -> Self {
        Self { root: root_with(parent, &["piled", "other", "state"]) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn piled(&self, name: &str) -> PathBuf {
        self.path("piled").join(name)
    }

    /// Makes an empty directory, as mkdtemp does.
    pub(crate) fn leak(&self, name: &str) -> PathBuf {
        let path = self.piled(name);
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        path
    }

    /// Makes one with `deep/file` in it.
    pub(crate) fn full(&self, name: &str) -> PathBuf {
        let path = self.leak(name);
        fs::create_dir(path.join("deep")).unwrap();
        fs::write(path.join("deep/file"), [7; 4096]).unwrap();
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_as(None, arguments)
    }

    pub(crate) fn command_as(&self, uid: Option<u32>, arguments: &[&str]) -> Command {
        let mut command = Command::new(tool("tmpshim"));
        command.args(["sweep", "--match", "leak-*"]).args(arguments).arg(self.path("piled"));
        command.env("TMPSHIM_STATE_DIR", self.path("state")).stdin(Stdio::null());
        if let Some(uid) = uid {
            command.uid(uid).gid(uid);
        }
        command
    }

    /// With `--yes`, whatever the age, the lines of `--json`.
    pub(crate) fn sweep(&self, arguments: &[&str]) -> Vec<Value> {
        let all = [&["--yes", "--json", "--older-than", "0s"], arguments].concat();
        let output = within(&mut self.command(&all));
        assert!(output.status.success(), "{output:?}");
        lines(&output)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        names(&self.path("piled"))
    }

    /// Runs `leak-used` through a sweep while somebody uses it, and through another one when that is over.
    #[track_caller]
    pub(crate) fn assert_stays_while_used(&self, holder: Holder, arguments: &[&str], why: &str) {
        self.leak("leak-free");
        fs::create_dir(self.piled("canary")).unwrap();
        let all = self.sweep(arguments);
        assert_eq!(self.names(), ["canary", "leak-used"], "{all:?}");
        assert_eq!(paths(&all, "removed"), [self.piled("leak-free")]);
        assert_eq!(paths(&all, "skipped"), [self.piled("leak-used")]);
        let told = all.iter().find(|line| line["event"] == "skipped").unwrap()["why"].as_str().unwrap();
        assert!(told.contains(why), "{why} in {told}");
        holder.end();
        let all = self.sweep(arguments);
        assert_eq!(self.names(), ["canary"], "{all:?}");
        assert_eq!(paths(&all, "removed"), [self.piled("leak-used")]);
    }
}

/// sweep_match.c, where every user can reach it.
pub(crate) fn holder() -> &'static Path {
    static HOLDER: OnceLock<PathBuf> = OnceLock::new();
    HOLDER.get_or_init(|| {
        let program = tool("holder");
        compile("sweep_match.c", &["-O1", "-pthread"], &program);
        program
    })
}

/// A process that uses what these say, as sweep_match.c has it.
pub(crate) fn using(arguments: &[&OsStr]) -> Holder {
    Holder::start(Command::new(holder()).args(arguments).current_dir("/"))
}

/// Runs it, which must not hang.
pub(crate) fn within(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut output, mut errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = std::thread::spawn(move || {
        let mut text = Vec::new();
        output.read_to_end(&mut text).unwrap();
        text
    });
    let status = end_of(&mut child);
    let mut stderr = Vec::new();
    errors.read_to_end(&mut stderr).unwrap();
    Output { status, stdout: read.join().unwrap(), stderr }
}

/// The paths of the lines of one kind, sorted.
pub(crate) fn paths(lines: &[Value], event: &str) -> Vec<PathBuf> {
    let found = lines.iter().filter(|line| line["event"] == event);
    let mut paths: Vec<PathBuf> = found.map(|line| line["path"].as_str().unwrap().into()).collect();
    paths.sort();
    paths
}

/// Waits until a directory was changed so long ago.
pub(crate) fn grow_old(path: &Path, age: Duration) {
    let seen = fs::symlink_metadata(path).unwrap();
    let changed = SystemTime::UNIX_EPOCH + Duration::new(seen.ctime() as u64, seen.ctime_nsec() as u32);
    eventually("time goes by", || SystemTime::now() > changed + age);
}

pub(crate) fn open_permissions(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
