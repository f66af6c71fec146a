//! The engines, the program under test with each of them, and where one test happens.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::processes::processes;
use super::waiting::{end_of, eventually};

pub(crate) const TMPSHIM: &str = env!("CARGO_BIN_EXE_tmpshim");

pub(crate) const LAST: i32 = 64;

pub(crate) const STOPPING: [i32; 4] = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// What makes a command PID 1 of a namespace of its own.
pub(crate) const AS_PID_1: [&str; 4] = ["unshare", "--pid", "--fork", "--mount-proc"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Under {
    Nothing,
    Preload,
    Notify,
    Trace,
    Auto,
}

use Under::{Auto, Nothing, Notify, Preload, Trace};

pub(crate) const ENGINES: [Under; 4] = [Preload, Notify, Trace, Auto];

pub(crate) const WITH_AND_WITHOUT: [Under; 5] = [Nothing, Preload, Notify, Trace, Auto];

impl Under {
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Nothing => unreachable!("no command"),
            Preload => "preload",
            Notify => "notify",
            Trace => "trace",
            Auto => "auto",
        }
    }

    /// Static where the library is not to be in the way.
    pub(crate) fn program(self) -> &'static str {
        static BUILT: OnceLock<[String; 2]> = OnceLock::new();
        let [dynamic, linked] = BUILT.get_or_init(|| [build("parent", &[]), build("parent-static", &["-static"])]);
        if matches!(self, Notify | Trace) { linked } else { dynamic }
    }

    pub(crate) fn has_supervisor(self) -> bool {
        matches!(self, Notify | Trace | Auto)
    }
}

/// Builds parent.c, under a name of its own first: another run of these tests may use the last one.
fn build(name: &str, flags: &[&str]) -> String {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (new, program) = (place.join(format!("{name}.{}", std::process::id())), place.join(name));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parent.c");
    let mut gcc = Command::new("gcc");
    let built = gcc.args(["-O1", "-Wall", "-Wextra", "-Werror"]).args(flags).arg("-o").arg(&new).arg(source).status();
    assert!(built.expect("it takes gcc: scripts/setup").success());
    fs::rename(new, &program).unwrap();
    program.to_str().unwrap().to_owned()
}

/// Where one test happens, and how what it has started is known.
pub(crate) struct Stage {
    pub(crate) directory: TempDir,
    mark: String,
}

impl Stage {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let mark = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        Self { directory: tempfile::Builder::new().prefix("tmpshim-parent-").tempdir().unwrap(), mark }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What comes before, `tmpshim run`, and parent.c's program with its arguments.
    pub(crate) fn line(before: &[&str], under: Under, arguments: &[&str]) -> Vec<String> {
        let ours = [TMPSHIM, "run", "--engine"];
        let ours = if under == Nothing { vec![] } else { [&ours[..], &[under.flag(), "--"]].concat() };
        [before, &ours, &[under.program()], arguments].concat().into_iter().map(str::to_owned).collect()
    }

    pub(crate) fn prepared(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        // Whatever tmpshim keeps, it keeps here.
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("XDG_RUNTIME_DIR", self.directory.path());
        command.env("PARENT_TEST", &self.mark);
        command
    }

    pub(crate) fn command_after(&self, before: &[&str], under: Under, arguments: &[&str]) -> Command {
        let line = Self::line(before, under, arguments);
        let mut command = self.prepared(&line[0]);
        command.args(&line[1..]);
        command
    }

    pub(crate) fn command(&self, under: Under, arguments: &[&str]) -> Command {
        self.command_after(&[], under, arguments)
    }

    pub(crate) fn end(&self, before: &[&str], under: Under, arguments: &[&str]) -> ExitStatus {
        end_of(&mut self.command_after(before, under, arguments).spawn().unwrap())
    }

    /// The living processes that were started here.
    pub(crate) fn family(&self) -> Vec<i32> {
        let wanted = format!("PARENT_TEST={}", self.mark);
        let is_marked = |pid: i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
        };
        processes().into_iter().map(|(pid, _, _)| pid).filter(|&pid| is_marked(pid)).collect()
    }

    /// That nobody and nothing is left.
    pub(crate) fn assert_clear(self) {
        eventually("everybody has ended", || self.family().is_empty());
        let state = self.path("tmpshim");
        let left = fs::read_dir(&state).into_iter().flatten().flatten().map(|entry| entry.path());
        assert_eq!(left.collect::<Vec<_>>(), Vec::<PathBuf>::new());
        let _ = fs::remove_dir(state);
        let left = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().path());
        assert_eq!(left.collect::<Vec<_>>(), Vec::<PathBuf>::new());
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for pid in self.family() {
                // SAFETY: kill(2) touches no memory; it was started by this test.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
    }
}
