//! Directories of our own, made for one run, in which files of the command can be mapped and executed.
//!
//! One is called `tmpshim-run-…`, holds no other name than those that were written here, and is locked by flock(2) as long
//! as somebody answers for it. A run that is killed leaves its directory; the lock is free then, and the next run in
//! the same place removes it once no process has it in its environment.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FlockOperation, Mode, OFlags, StatVfsMountFlags, fchmod, flock, fstat, mkdirat, openat, stat,
    statvfs, unlinkat,
};
use rustix::io::{self, Errno, fcntl_dupfd_cloexec};
use rustix::process::{Pid, test_kill_process};
use rustix::rand::{GetRandomFlags, getrandom};

use super::in_use;
use super::preload;

/// What the names of such directories begin with.
const PREFIX: &str = "tmpshim-run-";

/// A directory made for this run.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    parent: OwnedFd,
    /// Open and locked.
    directory: OwnedFd,
}

/// Who has to be able to read what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Whatever user the program becomes: the caller is root.
    Everyone,
    /// The caller, who can become nobody else.
    Caller,
}

impl Readers {
    /// For this process.
    pub(crate) fn of_this_process() -> Self {
        if rustix::process::geteuid().is_root() { Self::Everyone } else { Self::Caller }
    }
}

/// What is known about a directory that could hold one of ours.
#[derive(Clone, Copy, Debug)]
struct Facts {
    mode: u32,
    owner: u32,
    noexec: bool,
    nameable: bool,
}

/// Why a directory cannot hold one of ours, for people.
fn objection(facts: Facts, readers: Readers, caller: u32) -> Option<&'static str> {
    let sticky = facts.mode & 0o1000 != 0;
    if facts.noexec {
        Some("mounted noexec")
    } else if !facts.nameable {
        Some("its path has a space, a colon or a dollar sign, which LD_PRELOAD cannot hold")
    } else if facts.owner != 0 && facts.owner != caller {
        Some("belongs to another user")
    } else if facts.mode & 0o022 != 0 && !sticky {
        Some("others could replace what is in it")
    } else if readers == Readers::Everyone && facts.mode & 0o001 == 0 {
        Some("not every user can enter it")
    } else {
        None
    }
}

/// Where to try, best first. Never /tmp: it may be the very filesystem that the program has trouble with.
pub(crate) fn candidates(readers: Readers, state: Option<PathBuf>, runtime: Option<PathBuf>) -> Vec<PathBuf> {
    let own = match readers {
        Readers::Everyone => vec!["/run".into(), "/var/lib".into()],
        Readers::Caller => [runtime, state].into_iter().flatten().filter(|path| path.is_absolute()).collect(),
    };
    own.into_iter().chain([PathBuf::from("/dev/shm")]).collect()
}

impl Place {
    /// Makes a directory in `parent`.
    ///
    /// # Errors
    /// Why it cannot be there, for people.
    pub(crate) fn make(parent: &Path, readers: Readers) -> Result<Self, String> {
        let facts = facts(parent).map_err(|error| error.to_string())?;
        if let Some(objection) = objection(facts, readers, rustix::process::geteuid().as_raw()) {
            return Err(objection.to_owned());
        }
        let place = Self::make_in(parent, readers).map_err(|error| error.to_string())?;
        sweep(&place.parent, parent);
        Ok(place)
    }

    fn make_in(parent: &Path, readers: Readers) -> io::Result<Self> {
        let opened = open_directory(rustix::fs::CWD, parent.as_os_str())?;
        loop {
            let mut random = [0u8; 8];
            getrandom(&mut random, GetRandomFlags::empty())?;
            let name = format!("{PREFIX}{}-{:016x}", std::process::id(), u64::from_ne_bytes(random));
            mkdirat(&opened, &name, Mode::RWXU)?;
            let made = open_directory(&opened, OsStr::new(&name)).and_then(|directory| {
                flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
                if readers == Readers::Everyone {
                    fchmod(&directory, Mode::from_bits_retain(0o755))?;
                }
                Ok(directory)
            });
            match made {
                Ok(directory) => return Ok(Self { path: parent.join(name), parent: opened, directory }),
                // A run in another PID namespace took it for a left-over between mkdir and flock, and is removing it.
                Err(Errno::NOENT | Errno::WOULDBLOCK) => {}
                Err(error) => {
                    let _ = unlinkat(&opened, &name, AtFlags::REMOVEDIR);
                    return Err(error);
                }
            }
        }
    }

    /// Writes a file into it, readable (and executable) by those who can enter.
    pub(crate) fn write(&self, name: &str, bytes: &[u8], mode: u32) -> std::io::Result<PathBuf> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(bytes)?;
        fchmod(&file, Mode::from_bits_retain(mode))?;
        Ok(self.path.join(name))
    }

    /// What it keeps open.
    pub(super) fn descriptors(&self) -> [RawFd; 2] {
        [self.parent.as_raw_fd(), self.directory.as_raw_fd()]
    }

    /// Removes it and what was written into it.
    pub(crate) fn remove(&self) {
        let Some(name) = self.path.file_name() else { return };
        remove(&self.parent, name, &self.directory);
    }
}

/// Opened above the standard descriptors: where the caller closed one of those, the program must find it closed, and
/// what we say to a closed standard error must not land in here.
fn open_directory(at: impl std::os::fd::AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // A symbolic link is followed only where the caller named the directory; /run may be one.
    let flags = if name.as_bytes().contains(&b'/') { flags - OFlags::NOFOLLOW } else { flags };
    let low = openat(at, name, flags, Mode::empty())?;
    fcntl_dupfd_cloexec(&low, 3)
}

fn facts(directory: &Path) -> io::Result<Facts> {
    let status = stat(directory)?;
    if !rustix::fs::FileType::from_raw_mode(status.st_mode).is_dir() {
        return Err(Errno::NOTDIR);
    }
    Ok(Facts {
        mode: status.st_mode,
        owner: status.st_uid,
        noexec: statvfs(directory)?.f_flag.contains(StatVfsMountFlags::NOEXEC),
        nameable: preload::can_name(directory),
    })
}

/// Removes what killed runs of this user have left in `parent`.
fn sweep(parent: &OwnedFd, path: &Path) {
    let Ok(entries) = Dir::read_from(parent) else { return };
    for entry in entries.flatten() {
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        // A maker that lives may be just about to lock what it has made.
        if maker(name).is_none_or(|maker| test_kill_process(maker) != Err(Errno::SRCH)) {
            continue;
        }
        let Ok(directory) = open_directory(parent, name) else { continue };
        let ours = fstat(&directory).is_ok_and(|status| status.st_uid == rustix::process::geteuid().as_raw());
        let unattended = flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok();
        if ours && unattended && in_use::users(&path.join(name)).is_some_and(|users| users.is_empty()) {
            remove(parent, name, &directory);
        }
    }
}

/// The process that made the directory of this name; `None` where the name is not ours.
fn maker(name: &OsStr) -> Option<Pid> {
    let number = name.to_str()?.strip_prefix(PREFIX)?.split('-').next()?;
    Pid::from_raw(number.parse().ok()?)
}

/// Removes the directory `name` of `parent`, open as `directory`. Only plain files are in it; anything else stays, and
/// the directory with it. There is nobody to tell who could do more.
fn remove(parent: &OwnedFd, name: &OsStr, directory: &OwnedFd) {
    if let Ok(entries) = Dir::read_from(directory) {
        for entry in entries.flatten().filter(|entry| !matches!(entry.file_name().to_bytes(), b"." | b"..")) {
            let _ = unlinkat(directory, entry.file_name(), AtFlags::empty());
        }
    }
    let _ = unlinkat(parent, name, AtFlags::REMOVEDIR);
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Facts = Facts { mode: 0o040_755, owner: 0, noexec: false, nameable: true };

    #[test]
    fn s7_a_place_is_executable_enterable_and_nobody_elses() {
        for readers in [Readers::Everyone, Readers::Caller] {
            assert_eq!(objection(GOOD, readers, 1000), None);
            assert_eq!(objection(Facts { owner: 1000, ..GOOD }, readers, 1000), None);
            assert_eq!(objection(Facts { mode: 0o041_777, ..GOOD }, readers, 1000), None, "sticky, as /dev/shm");
            for bad in [
                Facts { noexec: true, ..GOOD },
                Facts { nameable: false, ..GOOD },
                Facts { owner: 1, ..GOOD },
                Facts { mode: 0o040_777, ..GOOD },
                Facts { mode: 0o040_775, ..GOOD },
            ] {
                assert!(objection(bad, readers, 1000).is_some(), "{bad:?}");
            }
        }
        let private = Facts { mode: 0o040_700, owner: 1000, ..GOOD };
        assert_eq!(objection(private, Readers::Caller, 1000), None);
        assert!(objection(private, Readers::Everyone, 1000).is_some());
    }

    #[test]
    fn s7_candidates() {
        let state = || Some(PathBuf::from("/state"));
        let runtime = || Some(PathBuf::from("/run/user/7"));
        assert_eq!(
            candidates(Readers::Everyone, state(), runtime()),
            ["/run", "/var/lib", "/dev/shm"].map(PathBuf::from)
        );
        assert_eq!(
            candidates(Readers::Caller, state(), runtime()),
            ["/run/user/7", "/state", "/dev/shm"].map(PathBuf::from)
        );
        assert_eq!(candidates(Readers::Caller, None, Some("relative".into())), ["/dev/shm"].map(PathBuf::from));
    }

    #[test]
    fn a_place_is_made_written_and_removed() {
        let parent = tempfile::tempdir().unwrap();
        let place = Place::make_in(parent.path(), Readers::Everyone).unwrap();
        let file = place.write("file", b"bytes", 0o644).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"bytes");
        assert_eq!(stat(&place.path).unwrap().st_mode & 0o7777, 0o755);
        assert_eq!(stat(&file).unwrap().st_mode & 0o7777, 0o644);
        place.remove();
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_run_left_goes_and_what_is_attended_stays() {
        let parent = tempfile::tempdir().unwrap();
        let attended = Place::make_in(parent.path(), Readers::Caller).unwrap();
        // No process has this number: it is the limit itself (proc(5), pid_max).
        let gone = parent.path().join("tmpshim-run-4194304-0");
        std::fs::create_dir(&gone).unwrap();
        std::fs::write(gone.join("file"), "").unwrap();
        let stays = ["tmpshim-other", "tmpshim-run-", "tmpshim-run-x-0", "tmpshim-run-1-0"].map(|name| {
            let path = parent.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        });
        let held = parent.path().join("tmpshim-run-4194304-1");
        std::fs::create_dir(&held).unwrap();
        let lock = File::open(&held).unwrap();
        lock.lock().unwrap();

        sweep(&attended.parent, parent.path());
        assert!(!gone.exists());
        assert!(attended.path.exists() && held.exists() && stays.iter().all(|path| path.exists()));
        // Not by closing: a child that another test forks at this moment has the open file as well.
        lock.unlock().unwrap();
        sweep(&attended.parent, parent.path());
        assert!(!held.exists());
    }
}
