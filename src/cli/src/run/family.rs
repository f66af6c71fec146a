//! A state directory for one program and all that it starts, so that somebody cleans up behind them when the last one has
//! ended, however it ended (D5).
//!
//! It is called `run-…`, or `init-…` where this is process 1, and lies in the user's own state directory, locked by flock(2)
//! as long as this process, or the one that stays behind (keeper.rs), answers for it. Where that one was killed, too, the
//! lock is free, and the next run or `tmpshim sweep` sees to it.

use std::cell::OnceCell;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FlockOperation, Mode, flock, fstat, mkdirat, statat, unlinkat};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use tmpshim_core::event::{Event, append};
use tmpshim_core::name;
use tmpshim_core::settings::{Log, Settings, TABLE, is_ours};
use tmpshim_core::state;

use crate::state::{Directory, FAMILY, FIRST, Objection, places};
use crate::sweep::sweeper::{Said, Sweeper};

/// How long to wait for the lock of a journal whose processes have ended.
const PATIENCE: Duration = Duration::from_secs(1);
const NAP: Duration = Duration::from_millis(5);

/// The settings as the program will find them: from flags, else from the environment.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Also those that are none.
    all: Vec<(OsString, OsString)>,
    shim: OsString,
    state: OsString,
    log: OsString,
}

/// The directory of this run.
#[derive(Debug)]
pub(super) struct Family {
    parent: Directory,
    name: CString,
    /// Locked.
    directory: Directory,
    log: OsString,
}

impl Wishes {
    pub(super) fn of(flags: &[(&'static str, OsString)]) -> Self {
        let wish = |variable: &str| {
            let flag = flags.iter().find(|(name, _)| *name == variable).map(|(_, value)| value.clone());
            flag.or_else(|| std::env::var_os(variable)).unwrap_or_default()
        };
        let listed = TABLE.iter().map(|setting| (OsString::from(setting.variable), wish(setting.variable)));
        let is_listed = |name: &OsString| TABLE.iter().any(|setting| *name == setting.variable);
        let unknown = std::env::vars_os().filter(|(name, _)| is_ours(name.as_bytes()) && !is_listed(name));
        Self {
            all: listed.filter(|(_, value)| !value.is_empty()).chain(unknown).collect(),
            shim: wish("TMPSHIM"),
            state: wish("TMPSHIM_STATE_DIR"),
            log: wish("TMPSHIM_LOG"),
        }
    }

    /// What the supervisor goes by, with the family's state directory. Once a process: they live as long as that. `problem`
    /// is told of values that are not accepted.
    pub(super) fn settings(&self, state: Option<&Path>, mut problem: impl FnMut(&str)) -> Settings<'static> {
        let mut settings = Settings::DEFAULT;
        let for_ever = |text: &OsStr| -> &'static [u8] { text.as_bytes().to_vec().leak() };
        for (variable, value) in &self.all {
            if let Err(refused) = settings.set(for_ever(variable), for_ever(value)) {
                problem(&String::from_utf8_lossy(refused.describe().as_bytes()));
            }
        }
        if let Some(state) = state {
            settings.state_directory = for_ever(state.as_os_str());
        }
        settings
    }

    /// Where this user's state is to be; nothing where it was not said.
    pub(super) fn state(&self) -> Option<PathBuf> {
        (!self.state.is_empty()).then(|| PathBuf::from(&self.state))
    }

    /// Whether the library will do anything, and would not have to say that the directory it was given is none.
    fn wants_one(&self) -> bool {
        let accepts = |variable: &str, value: &OsStr| {
            let setting = TABLE.iter().find(|setting| setting.variable == variable);
            value.is_empty() || setting.is_none_or(|setting| setting.values.accepts(value.as_bytes()))
        };
        self.shim != "off" && accepts("TMPSHIM_STATE_DIR", &self.state)
    }
}

impl Family {
    /// Makes it in the first place that will do, and cleans up there behind processes that are gone. Nothing where it is
    /// not wanted or cannot be had: the library then does what it can without.
    pub(super) fn make(wishes: &Wishes) -> Option<Self> {
        if !wishes.wants_one() {
            return None;
        }
        let places = places::own(&wishes.state);
        let mut made = places.iter().filter_map(|place| Self::make_in(place, &wishes.log).ok());
        let family = made.next();
        match &family {
            Some(family) => {
                sweep(&family.parent, &wishes.log);
            }
            None => complain(&wishes.log, &places),
        }
        family
    }

    fn make_in(place: &Path, log: &OsStr) -> rustix::io::Result<Self> {
        /// What else the path of a journal takes, nested runs not counted.
        const ROOM: usize = FIRST.len() + 16 + name::LENGTH + 3;
        if place.as_os_str().len() + ROOM > state::PATH_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let path = CString::new(place.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
        let uid = rustix::process::geteuid().as_raw();
        state::open_or_make(&path, uid).map_err(|_| Errno::ACCESS)?;
        let parent = Directory::open(place).and_then(Directory::raised).map_err(|_| Errno::ACCESS)?;
        let prefix = if std::process::id() == 1 { FIRST } else { FAMILY };
        loop {
            let mut random = [0u8; 8];
            getrandom(&mut random, GetRandomFlags::empty())?;
            let name = format!("{prefix}{:016x}", u64::from_ne_bytes(random));
            mkdirat(&parent, &name, Mode::RWXU)?;
            let directory = parent.below(OsStr::new(&name)).and_then(Directory::raised);
            let name = CString::new(name).map_err(|_| Errno::INVAL)?;
            match directory {
                // Somebody who sweeps may have come between any two of these, and taken it for a dead run's.
                Ok(directory) if is_locked(&parent, &name, &directory) => {
                    return Ok(Self { parent, name, directory, log: log.to_owned() });
                }
                Ok(_) | Err(Objection::Refused(Errno::NOENT)) => {}
                Err(_) => {
                    let _ = unlinkat(&parent, &name, AtFlags::REMOVEDIR);
                    return Err(Errno::ACCESS);
                }
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.directory.path
    }

    /// What it keeps open.
    pub(super) fn descriptors(&self) -> [RawFd; 2] {
        [self.parent.as_fd().as_raw_fd(), self.directory.as_fd().as_raw_fd()]
    }

    /// Cleans up behind those of the family that are dead; the processes that live, 0 for each that is not known.
    pub(super) fn sweep(&self) -> Vec<u32> {
        sweep(&self.directory, &self.log)
    }

    /// The same when all have ended, and removes the directory. What could not be removed stays noted in it.
    pub(super) fn end(&self) {
        // Somebody who looks at a process in /proc while it ends (its maps, its command line) keeps its memory a moment longer,
        // and with that the lock of its journal.
        let deadline = Instant::now() + PATIENCE;
        // Its own journal, in which something had to stay, is not given up before this process ends.
        let is_another = |&process: &u32| process != std::process::id();
        while self.sweep().iter().any(is_another) && Instant::now() < deadline {
            std::thread::sleep(NAP);
        }
        let _ = unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR);
    }
}

/// Takes the lock; not where somebody else has it or the name is another's.
fn is_locked(parent: &Directory, name: &CString, directory: &Directory) -> bool {
    let locked = flock(directory, FlockOperation::NonBlockingLockExclusive).is_ok();
    let named = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map(|seen| (seen.st_dev, seen.st_ino));
    let opened = fstat(directory).map(|seen| (seen.st_dev, seen.st_ino));
    locked && named.is_ok() && named == opened
}

fn sweep(directory: &Directory, log: &OsStr) -> Vec<u32> {
    let log = log_of(log);
    let mounts = OnceCell::new();
    let mut living = Vec::new();
    Sweeper::new(false, &mounts).directory(directory, &mut |said| match said {
        Said::Thing { record, header, outcome, .. } => {
            Event::Cleaned { path: record.path.to_bytes(), outcome: *outcome }.write(
                log,
                std::process::id(),
                header.program(),
            );
        }
        Said::Living { header, .. } => living.push(header.map_or(0, |header| header.owner().pid)),
        Said::Left { .. } => {}
    });
    living
}

fn log_of(value: &OsStr) -> Log<'_> {
    let mut settings = Settings::DEFAULT;
    // What is no log is the library's to complain about.
    let _ = settings.set(b"TMPSHIM_LOG", value.as_bytes());
    settings.log
}

/// On the log, if one was asked for, and nowhere else: the program's output is its own.
fn complain(log: &OsStr, places: &[PathBuf]) {
    let places: Vec<_> = places.iter().map(|place| place.to_string_lossy()).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let line = serde_json::json!({
        "time": now.as_secs_f64(),
        "pid": std::process::id(),
        "program": "tmpshim",
        "event": "no-state-directory",
        "path": places.first(),
        "detail": format!("tried {}; after SIGKILL nobody will clean up", places.join(", ")),
    });
    append(log_of(log), format!("{line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn wishes(state: &Path) -> Wishes {
        Wishes { state: state.into(), ..Wishes::default() }
    }

    #[test]
    fn d5_a_run_has_a_locked_directory_of_its_own_and_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("state");
        let family = Family::make(&wishes(&state)).unwrap();
        assert_eq!(family.path().parent(), Some(state.as_path()));
        let again = Directory::open(family.path()).unwrap();
        assert!(flock(&again, FlockOperation::NonBlockingLockExclusive).is_err());
        assert!(family.descriptors().iter().all(|&descriptor| descriptor > 2));
        family.end();
        assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
    }

    #[test]
    fn d5_the_next_run_removes_what_a_killed_one_has_left_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let dead = Family::make(&wishes(root.path())).unwrap();
        // Not by closing: a child that another test forks at this moment has the open file as well.
        flock(&dead.directory, FlockOperation::Unlock).unwrap();
        let dead = dead.path().to_path_buf();
        let living = Family::make(&wishes(root.path())).unwrap();
        assert!(!dead.exists() && living.path().exists());
        // One within the other.
        let inner = Family::make(&wishes(living.path())).unwrap();
        assert_eq!(inner.path().parent(), Some(living.path()));
        let third = Family::make(&wishes(root.path())).unwrap();
        assert!(inner.path().exists() && living.path().exists() && third.path().exists());
    }

    #[test]
    fn d5_at_the_end_a_lock_that_somebody_has_for_a_moment_longer_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let family = Family::make(&wishes(root.path())).unwrap();
        let name = format!(".tmpshim-j{:032x}", 7);
        // As a process has left it that was killed before it could write to it; and who has its memory, has this.
        let journal = fs::File::create(family.path().join(name)).unwrap();
        flock(&journal, FlockOperation::LockExclusive).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(NAP * 10);
                flock(&journal, FlockOperation::Unlock).unwrap();
            });
            family.end();
        });
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_place_that_will_not_do_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        assert!(Family::make_in(&root.path().join("file"), OsStr::new("")).is_err());
        assert!(Family::make_in(Path::new(&"/x".repeat(500)), OsStr::new("")).is_err());
        assert!(Family::make(&Wishes { shim: "off".into(), ..wishes(root.path()) }).is_none());
        assert!(Family::make(&wishes(Path::new("relative"))).is_none(), "the library has to complain");
    }
}
