//! What is played, and what each line of the table promises.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use super::Seen;
use super::fuse::{self, Mount};
use super::ground::Ground;
use super::interrupt::Interrupt;
use super::stage::{Ended, Play, Stage};
use crate::run::program::{self, Reach};

/// What programs say of a filesystem without `O_TMPFILE`.
pub(super) const REFUSAL: &str = "Operation not supported";

/// On a filesystem that has `O_TMPFILE`; the table's foot explains it.
pub(super) const FILTERED: &str = "filtered";

/// A line of the table.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) what: String,
    pub(super) ground: String,
    pub(super) without: String,
    pub(super) with: String,
    /// It failed without the library and works with it.
    pub(super) kept: bool,
}

/// One line to be played.
enum Act<'a> {
    /// The legacy program as Clair.
    Clair(&'a Ground),
    /// The same, then published by linkat(2).
    Publish(&'a Ground),
    /// A program of this machine.
    Real(&'a Ground, &'static Program),
    /// The legacy program as CRIU.
    Criu(&'a Ground, &'static Ending),
}

/// How CRIU's part ends.
struct Ending {
    /// What the legacy program is told.
    word: &'static str,
    /// What it is sent.
    signal: Option<i32>,
    /// What ends it, sent or not.
    ends_by: Option<i32>,
}

const ENDINGS: [Ending; 8] = [
    Ending { word: "SIGTERM", signal: Some(libc::SIGTERM), ends_by: Some(libc::SIGTERM) },
    Ending { word: "SIGINT", signal: Some(libc::SIGINT), ends_by: Some(libc::SIGINT) },
    Ending { word: "SIGHUP", signal: Some(libc::SIGHUP), ends_by: Some(libc::SIGHUP) },
    Ending { word: "SIGKILL, sweep", signal: Some(libc::SIGKILL), ends_by: Some(libc::SIGKILL) },
    Ending { word: "return", signal: None, ends_by: None },
    Ending { word: "exit", signal: None, ends_by: None },
    Ending { word: "_exit", signal: None, ends_by: None },
    Ending { word: "abort", signal: None, ends_by: Some(libc::SIGABRT) },
];

/// A program that many machines have, and that fails as Clair does.
struct Program {
    name: &'static str,
    /// For people.
    call: &'static str,
    /// The directory follows. `FLAG` stands for the value of `O_TMPFILE`, for which perl has no name everywhere.
    arguments: &'static [&'static str],
}

const PROGRAMS: [Program; 3] = [
    Program {
        name: "python3",
        call: "os.open",
        arguments: &["-c", "import os, sys; os.write(os.open(sys.argv[1], os.O_TMPFILE | os.O_RDWR, 0o600), b'x')"],
    },
    Program {
        name: "perl",
        call: "sysopen",
        arguments: &["-e", "use Fcntl; sysopen(F, $ARGV[0], O_RDWR | FLAG, 0600) or die \"x: $!\\n\"; print F 'x'"],
    },
    Program { name: "xfs_io", call: "-T", arguments: &["-T", "-c", "pwrite -q 0 1"] },
];

/// Plays everything that this machine can show, until an interrupt.
pub(super) fn all(stage: &Stage, directory: &Path, interrupt: &Interrupt, seen: &mut Seen) {
    let base = Ground::survey(directory);
    let mounts = mounts(directory, &mut seen.missing);
    // Grounds on which O_TMPFILE is refused, by a filter or by the filesystem itself.
    let mut refusing: Vec<&Ground> = mounts.iter().map(|mount| &mount.ground).collect();
    let mut acts: Vec<Act> = ENDINGS.iter().map(|ending| Act::Criu(&base, ending)).collect();
    acts.extend(refusing.iter().map(|ground| Act::Criu(ground, &ENDINGS[0])));
    if !base.refuse || stage.can_refuse() {
        refusing.insert(0, &base);
    } else {
        let label = &base.label;
        seen.missing.push(format!("O_TMPFILE on {label}: this machine takes no seccomp filter from a program"));
    }
    // On a real mount where there is one: it is what these programs meet outside of a demo.
    if let Some(ground) = refusing.last() {
        let programs = PROGRAMS.iter().filter(|program| program.is_reachable());
        acts.splice(0..0, programs.map(|program| Act::Real(ground, program)));
    }
    acts.splice(0..0, refusing.iter().flat_map(|ground| [Act::Clair(ground), Act::Publish(ground)]));

    for act in acts {
        if interrupt.seen().is_some() {
            return;
        }
        match act.play(stage) {
            Ok(line) => seen.lines.push(line),
            Err(error) => seen.missing.push(format!("{}: {error}", act.what())),
        }
    }
}

fn mounts(directory: &Path, missing: &mut Vec<String>) -> Vec<Mount> {
    if let Some(objection) = fuse::objection() {
        missing.push(format!("a real FUSE mount: {objection}"));
        return Vec::new();
    }
    fuse::keep_mounts_to_ourselves();
    let mut mounts = Vec::new();
    let mut installed = false;
    for server in fuse::SERVERS {
        let Some(mount) = Mount::new(server, directory) else { continue };
        installed = true;
        match mount {
            Ok(mount) => mounts.push(mount),
            Err(reason) => missing.push(format!("{server}: it cannot be mounted here: {reason}")),
        }
    }
    if !installed {
        missing.push(format!("a real FUSE mount: it takes one of {} in PATH", fuse::SERVERS.join(", ")));
    }
    mounts
}

impl Act<'_> {
    /// Plays it twice, each time in a new directory.
    ///
    /// # Errors
    /// Where no directory can be made or looked at.
    fn play(&self, stage: &Stage) -> io::Result<Line> {
        let ground = self.ground();
        let refuse = ground.refuse && !matches!(self, Self::Criu(..));
        let mut sides = Vec::new();
        for shim in [false, true] {
            let directory = ground.fresh()?;
            let ended = stage.play(&self.start(stage, &directory, shim, refuse));
            // Of SIGKILL no process learns: what it left is noted, and this is `tmpshim sweep`.
            if shim && matches!(self, Self::Criu(_, ending) if ending.signal == Some(libc::SIGKILL)) {
                stage.sweep();
            }
            sides.push(self.judge(&directory, ended)?);
        }
        let [without, with] = [sides.remove(0), sides.remove(0)];
        Ok(Line {
            what: self.what(),
            ground: if refuse { format!("{}, {FILTERED}", ground.label) } else { ground.label.clone() },
            kept: without.verdict == Verdict::TheProblem && with.verdict == Verdict::AsItShouldBe,
            without: without.text,
            with: with.text,
        })
    }

    fn ground(&self) -> &Ground {
        match self {
            Self::Clair(ground) | Self::Publish(ground) | Self::Real(ground, _) | Self::Criu(ground, _) => ground,
        }
    }

    fn what(&self) -> String {
        match self {
            Self::Clair(_) => "Clair: O_TMPFILE and re-open".to_owned(),
            Self::Publish(_) => "O_TMPFILE, publish by linkat".to_owned(),
            Self::Real(_, program) => format!("{} {}", program.name, program.call),
            Self::Criu(_, ending) => format!("CRIU: mkdtemp, {}", ending.word),
        }
    }

    fn start(&self, stage: &Stage, directory: &Path, shim: bool, refuse: bool) -> Play {
        let mut command = vec![stage.legacy.clone().into_os_string()];
        match self {
            Self::Clair(_) => command.extend(["clair".into(), directory.into()]),
            Self::Publish(_) => command.extend(["publish".into(), directory.into(), published(directory).into()]),
            Self::Criu(_, ending) => command.extend(["criu".into(), directory.into(), ending.word.into()]),
            Self::Real(_, program) => {
                command = vec![program.name.into()];
                let flag = libc::O_TMPFILE.to_string();
                command.extend(program.arguments.iter().map(|word| word.replace("FLAG", &flag).into()));
                command.push(directory.into());
            }
        }
        let signal = if let Self::Criu(_, ending) = self { ending.signal } else { None };
        Play { command, shim, refuse, signal }
    }

    fn judge(&self, directory: &Path, ended: io::Result<Ended>) -> io::Result<Side> {
        let left = fs::read_dir(directory)?.count();
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => {
                return Ok(Side { text: format!("hangs or does not start: {error}"), verdict: Verdict::Neither });
            }
        };
        Ok(match self {
            Self::Criu(_, ending) => ending.judge(left, &ended),
            Self::Publish(_) => {
                let whole = fs::read(published(directory)).is_ok_and(|bytes| bytes == b"layer bytes\n");
                judge_file(left, 1, whole, &ended)
            }
            Self::Clair(_) | Self::Real(..) => judge_file(left, 0, true, &ended),
        })
    }
}

/// A program that made a file: `expected` names of it are to be in the directory.
fn judge_file(left: usize, expected: usize, whole: bool, ended: &Ended) -> Side {
    match ended.status.code() {
        Some(0) if left == expected && whole => Side { text: ended.describe(), verdict: Verdict::AsItShouldBe },
        Some(0) if left == expected => {
            Side { text: "publishes a file with other contents".to_owned(), verdict: Verdict::Neither }
        }
        Some(0) => Side { text: format!("leaves {left} names instead of {expected}"), verdict: Verdict::Neither },
        Some(_) if left == 0 && ended.said.contains(REFUSAL) => {
            Side { text: ended.describe(), verdict: Verdict::TheProblem }
        }
        _ => Side { text: ended.describe(), verdict: Verdict::Neither },
    }
}

impl Ending {
    /// A program that made a directory, which is still there or not.
    fn judge(&self, left: usize, ended: &Ended) -> Side {
        let as_sent = ended.status.signal() == self.ends_by && ended.status.code().unwrap_or(0) == 0;
        let verdict = match left {
            0 if as_sent => Verdict::AsItShouldBe,
            1 if as_sent => Verdict::TheProblem,
            _ => Verdict::Neither,
        };
        let left = match left {
            0 => "nothing left".to_owned(),
            1 => "1 directory left".to_owned(),
            left => format!("{left} directories left"),
        };
        let end = if as_sent { String::new() } else { format!(", {}", ended.describe()) };
        Side { text: format!("{left}{end}"), verdict }
    }
}

/// What one of the two plays came to.
struct Side {
    text: String,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    TheProblem,
    AsItShouldBe,
    Neither,
}

/// The name under which the legacy program publishes.
fn published(directory: &Path) -> PathBuf {
    directory.join("published")
}

impl Program {
    /// It is there, and a preloaded library can reach it.
    fn is_reachable(&self) -> bool {
        let name = OsStr::new(self.name);
        program::find(name, std::env::var_os("PATH").as_deref()).is_some() && Reach::of(name) == Reach::Full
    }
}
