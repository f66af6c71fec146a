//! A random program as data: lists of operations, each list for a process, a thread or another image, and the text that
//! the interpreter (`interpreter/`) reads. Nothing here says what is to come of it: that is the model's.

use std::fmt;

/// The number of a list.
pub(crate) type List = usize;
/// The number of an open file in the script.
pub(crate) type File = usize;

/// How a process is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Fork,
    Vfork,
    /// fork, and at once the interpreter's image anew.
    Spawn,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By this word of the interpreter, with this status.
    Code(&'static str, i32),
    Abort,
    Raise(i32),
    Kill,
}

/// Ends with a status that libc sees.
pub(crate) const CODES: [&str; 8] =
    ["exit", "return", "quick_exit", "_exit", "_Exit", "exit_group", "thread", "thread_low"];
/// An exit_group past libc, which no preload sees.
pub(crate) const RAW: &str = "raw";
/// pthread_exit of the last thread.
pub(crate) const LAST_THREAD: &str = "pthread_exit";
pub(crate) const SIGABRT: i32 = 6;
pub(crate) const SIGKILL: i32 = 9;
/// Added to a signal's number where a status is meant.
pub(crate) const SIGNALLED: i32 = 1000;

impl End {
    /// What wait(2) tells of it.
    pub(crate) fn status(self) -> i32 {
        match self {
            Self::Code(_, code) => code,
            Self::Abort => SIGNALLED + SIGABRT,
            Self::Raise(signal) => SIGNALLED + signal,
            Self::Kill => SIGNALLED + SIGKILL,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Mkdtemp {
        name: usize,
        path: String,
    },
    Mkdir {
        door: u8,
        mode: u32,
        path: String,
    },
    Rmdir {
        path: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Create {
        path: String,
        mode: u32,
        seed: u32,
        length: u64,
    },
    Unlink {
        path: String,
    },
    Symlink {
        target: String,
        path: String,
    },
    Chmod {
        mode: u32,
        path: String,
    },
    Tmpfile {
        file: File,
        door: u8,
        flags: i32,
        mode: u32,
        path: String,
    },
    Write {
        file: File,
        seed: u32,
        length: u64,
    },
    Pwrite {
        file: File,
        seed: u32,
        length: u64,
        offset: u64,
    },
    Truncate {
        file: File,
        length: u64,
    },
    Fchmod {
        file: File,
        mode: u32,
    },
    Check {
        file: File,
        reopened: bool,
    },
    Move {
        file: File,
    },
    Close {
        file: File,
    },
    Publish {
        file: File,
        form: u8,
        path: String,
    },
    Umask {
        mode: u32,
    },
    Chdir {
        path: String,
    },
    Chroot {
        path: String,
    },
    Closefrom,
    Setsid,
    /// 0: the default, 1: ignored, 2: a handler.
    Signal {
        signal: i32,
        disposition: u8,
    },
    Raise {
        signal: i32,
    },
    Storm {
        microseconds: u32,
    },
    Start {
        child: List,
        way: Way,
        files: Vec<File>,
    },
    Exec {
        image: List,
        files: Vec<File>,
    },
    Thread {
        list: List,
    },
    Join {
        list: List,
    },
    Wait {
        child: List,
    },
    /// A child that waits for it.
    Signalled {
        child: List,
        signal: i32,
    },
    /// A child at any instant of what it does.
    KillAt {
        child: List,
        spins: u32,
    },
    Park,
    /// Waits until the parent is gone.
    Orphaned,
    /// Is there.
    Stands {
        path: String,
    },
    /// A child's, which has ended: the model says whether it must be gone.
    Gone {
        child: List,
        path: String,
    },
    End(End),
}

/// Lists; the first is the program's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    pub(crate) lists: Vec<Vec<Op>>,
    /// Lists that may be cut off at any instant, by SIGKILL or by the end of another thread.
    pub(crate) loose: Vec<bool>,
}

impl Program {
    pub(crate) fn operations(&self) -> usize {
        self.lists.iter().map(Vec::len).sum()
    }

    /// Whether a thread that the process may end before starts processes.
    pub(crate) fn forks_while_it_ends(&self) -> bool {
        let starts = |list: List| self.lists[list].iter().any(|op| matches!(op, Op::Start { .. }));
        let mut all = self.lists.iter().flatten();
        all.any(|op| matches!(op, Op::Thread { list } if self.loose[*list] && starts(*list)))
    }
}

impl Op {
    /// The paths that it goes by.
    pub(crate) fn paths(&self) -> Vec<&str> {
        match self {
            Self::Rename { from, to } => vec![from, to],
            Self::Mkdtemp { path, .. } => path.rsplit_once('/').map(|(above, _)| above).into_iter().collect(),
            Self::Mkdir { path, .. }
            | Self::Rmdir { path }
            | Self::Create { path, .. }
            | Self::Unlink { path }
            | Self::Symlink { path, .. }
            | Self::Chmod { path, .. }
            | Self::Tmpfile { path, .. }
            | Self::Publish { path, .. }
            | Self::Chdir { path }
            | Self::Chroot { path }
            | Self::Stands { path }
            | Self::Gone { path, .. } => vec![path],
            _ => vec![],
        }
    }
}

/// What the interpreter is to expect of an operation, besides the errno.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Detail {
    #[default]
    None,
    /// The status of a child, or another one.
    Status(i32, Option<i32>),
    /// Length and sum of a file.
    Content(u64, u64),
}

/// The answer that the interpreter is to expect: an errno.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) errno: i32,
    pub(crate) detail: Detail,
}

/// Stands for: whatever the answer is.
pub(crate) const ANY: i32 = -2;

/// The text of one operation with what is expected of it.
pub(crate) struct Line<'a>(pub(crate) &'a Op, pub(crate) Answer);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.1.errno)?;
        match self.0 {
            Op::Mkdtemp { name, path } => write!(f, "mkdtemp {name} {path}"),
            Op::Mkdir { door, mode, path } => write!(f, "mkdir {door} 0{mode:o} {path}"),
            Op::Rmdir { path } => write!(f, "rmdir {path}"),
            Op::Rename { from, to } => write!(f, "rename {from} {to}"),
            Op::Create { path, mode, seed, length } => write!(f, "create {path} 0{mode:o} {seed} {length}"),
            Op::Unlink { path } => write!(f, "unlink {path}"),
            Op::Symlink { target, path } => write!(f, "symlink {target} {path}"),
            Op::Chmod { mode, path } => write!(f, "chmod 0{mode:o} {path}"),
            Op::Tmpfile { file, door, flags, mode, path } => {
                write!(f, "tmpfile {file} {door} 0{flags:o} 0{mode:o} {path}")
            }
            Op::Write { file, seed, length } => write!(f, "write {file} {seed} {length}"),
            Op::Pwrite { file, seed, length, offset } => write!(f, "pwrite {file} {seed} {length} {offset}"),
            Op::Truncate { file, length } => write!(f, "truncate {file} {length}"),
            Op::Fchmod { file, mode } => write!(f, "fchmod {file} 0{mode:o}"),
            Op::Check { file, reopened } => {
                let Detail::Content(length, sum) = self.1.detail else { return write!(f, "check {file}") };
                write!(f, "check {file} {} {length} {sum:x}", u8::from(*reopened))
            }
            Op::Move { file } => write!(f, "move {file}"),
            Op::Close { file } => write!(f, "close {file}"),
            Op::Publish { file, form, path } => write!(f, "publish {file} {form} {path}"),
            Op::Umask { mode } => write!(f, "umask 0{mode:o}"),
            Op::Chdir { path } => write!(f, "chdir {path}"),
            Op::Chroot { path } => write!(f, "chroot {path}"),
            Op::Closefrom => write!(f, "closefrom"),
            Op::Setsid => write!(f, "setsid"),
            Op::Signal { signal, disposition } => write!(f, "signal {signal} {disposition}"),
            Op::Raise { signal } => write!(f, "raise {signal}"),
            Op::Storm { microseconds } => write!(f, "storm {microseconds}"),
            Op::Start { child, way, files } => {
                let way = match way {
                    Way::Fork => "fork",
                    Way::Vfork => "vfork",
                    Way::Spawn => "spawn",
                };
                write!(f, "{way} {child}{}", Files(files))
            }
            Op::Exec { image, files } => write!(f, "exec {image}{}", Files(files)),
            Op::Thread { list } => write!(f, "thread {list}"),
            Op::Join { list } => write!(f, "join {list}"),
            Op::Wait { child } => match self.1.detail {
                Detail::Status(status, Some(other)) => write!(f, "wait {child} {status} {other}"),
                Detail::Status(status, None) => write!(f, "wait {child} {status}"),
                _ => write!(f, "wait {child}"),
            },
            Op::Signalled { child, signal } => write!(f, "kill {child} {signal}"),
            Op::KillAt { child, spins } => write!(f, "killat {child} {spins}"),
            Op::Park => write!(f, "park"),
            Op::Orphaned => write!(f, "orphaned"),
            Op::Stands { path } => write!(f, "stands {path}"),
            Op::Gone { path, .. } => write!(f, "gone {path}"),
            Op::End(End::Code(how, code)) => write!(f, "end {how} {code}"),
            Op::End(End::Abort) => write!(f, "end abort"),
            Op::End(End::Raise(signal)) => write!(f, "end raise {signal}"),
            Op::End(End::Kill) => write!(f, "end kill {SIGKILL}"),
        }
    }
}

struct Files<'a>(&'a [File]);

impl fmt::Display for Files<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|file| write!(f, " {file}"))
    }
}
