//! The calls that programs make with temporary files, tried in a directory. Each of our names is there for an instant, in
//! which no signal ends this process, and is removed by the next call.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, fstat, linkat, openat, readlinkat, statx, unlinkat};
use rustix::io::{Errno, pread, pwrite};
use tmpshim_core::name::{Kind, Name, mark};
use tmpshim_core::next::Next;
use tmpshim_core::publish::{publish, source};
use tmpshim_core::tmpfile::survey::{Survey, Unlinked};
use tmpshim_core::tmpfile::{Means, Request, stand_in};
use tmpshim_core::tracker::Tracker;

use super::child::Undisturbed;

/// A call that was refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Refused {
    pub(super) call: &'static str,
    pub(super) error: Errno,
}

/// What a try came to, where a name may stay.
#[derive(Debug)]
pub(super) enum Trouble {
    Refused(Refused),
    /// The name could not be removed again.
    Stays(String, Errno),
}

fn refused(call: &'static str) -> impl Fn(Errno) -> Refused {
    move |error| Refused { call, error }
}

/// The program's own way, without tmpshim.
pub(super) fn tmpfile(directory: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    openat(directory, c".", flags, Mode::RUSR | Mode::WUSR)
}

/// Whether the file was made by a supervisor of ours above, in the place of the filesystem.
pub(super) fn is_stand_in(file: BorrowedFd<'_>) -> bool {
    readlinkat(CWD, path_of(file), Vec::new()).is_ok_and(|link| mark(link.to_bytes()).is_some())
}

/// Gives an open file a hidden name, and takes it away.
pub(super) fn link(directory: BorrowedFd<'_>, file: BorrowedFd<'_>) -> Result<(), Trouble> {
    let name = fresh(Kind::Probe)?;
    let _undisturbed = Undisturbed::begin();
    linkat(CWD, path_of(file), directory, name.as_c_str(), AtFlags::SYMLINK_FOLLOW)
        .map_err(|error| Trouble::Refused(Refused { call: "linkat", error }))?;
    remove(directory, &name)
}

/// As Clair does it.
pub(super) fn reopen(file: BorrowedFd<'_>) -> Result<(), Errno> {
    let again = openat(CWD, path_of(file), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    pread(&again, &mut [0u8; 1], 0).map(drop)
}

/// Creates a file, removes its name, and uses it. The first call that is refused.
pub(super) fn unlinked(directory: BorrowedFd<'_>) -> Result<(), Trouble> {
    let name = fresh(Kind::Probe)?;
    let file = {
        let _undisturbed = Undisturbed::begin();
        let file = create(directory, &name)?;
        remove(directory, &name)?;
        file
    };
    use_file(file.as_fd()).map_err(Trouble::Refused)
}

/// What tmpshim does with such files there. Nothing but a word that nothing is known where it cannot be tried.
pub(super) fn survey(directory: BorrowedFd<'_>, survey: &Survey) -> Unlinked {
    let _undisturbed = Undisturbed::begin();
    survey.ask(directory, None::<&Tracker>)
}

/// What a program gets with tmpshim where the filesystem said `refusal`, by the code that both engines use: made, used,
/// opened again and linked.
pub(super) fn with_tmpshim(directory: BorrowedFd<'_>, refusal: Errno, known: &Survey) -> Result<Unlinked, Trouble> {
    let found = survey(directory, known);
    if found == Unlinked::Breaks {
        return kept(directory).map(|()| found);
    }
    let request = Request {
        directory: directory.as_raw_fd(),
        path: c".".as_ptr(),
        flags: libc::O_TMPFILE | libc::O_RDWR | libc::O_CLOEXEC,
        mode: 0o644,
        resolve: 0,
    };
    let means = Means { next: &Next::KERNEL, survey: known, tracker: None::<&Tracker> };
    let file = {
        let _undisturbed = Undisturbed::begin();
        // SAFETY: the path is a constant.
        let (fd, _) = unsafe { stand_in(&request, Some(refusal), &means) }
            .map_err(|error| Trouble::Refused(Refused { call: "open", error }))?;
        // SAFETY: just made, owned by nobody else.
        unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) }
    };
    use_file(file.as_fd()).map_err(Trouble::Refused)?;
    published(directory, file.as_fd())?;
    Ok(found)
}

/// A hidden name is kept there while the file is in use (T6).
fn kept(directory: BorrowedFd<'_>) -> Result<(), Trouble> {
    let (name, other) = (fresh(Kind::Linkable)?, fresh(Kind::Probe)?);
    let _undisturbed = Undisturbed::begin();
    let file = create(directory, &name)?;
    let used = use_file(file.as_fd()).and_then(|()| {
        linkat(CWD, path_of(file.as_fd()), directory, other.as_c_str(), AtFlags::SYMLINK_FOLLOW)
            .map_err(refused("linkat"))
    });
    let removed = if used.is_ok() { remove(directory, &other) } else { Ok(()) };
    remove(directory, &name)?;
    removed?;
    used.map_err(Trouble::Refused)
}

fn published(directory: BorrowedFd<'_>, file: BorrowedFd<'_>) -> Result<(), Trouble> {
    let name = fresh(Kind::Probe)?;
    let path = std::ffi::CString::new(path_of(file)).unwrap_or_default();
    let _undisturbed = Undisturbed::begin();
    // SAFETY: the path is closed by NUL and lives on this frame.
    let found = unsafe { source::find(libc::AT_FDCWD, path.as_ptr(), libc::AT_SYMLINK_FOLLOW) };
    let source = found.ok_or(Trouble::Refused(Refused { call: "readlink", error: Errno::NOENT }))?;
    let means = Means { next: &Next::KERNEL, survey: &Survey::new(), tracker: None::<&Tracker> };
    // SAFETY: the name is closed by NUL and lives on this frame.
    unsafe { publish(&source, directory.as_raw_fd(), name.as_c_str().as_ptr(), &means) }
        .map_err(|error| Trouble::Refused(Refused { call: "linkat", error }))?;
    remove(directory, &name)
}

fn create(directory: BorrowedFd<'_>, name: &Name) -> Result<OwnedFd, Trouble> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name.as_c_str(), flags, Mode::RUSR | Mode::WUSR).map_err(|error| {
        // A server may have created it and failed at opening it. Nobody else can have chosen this name.
        let _ = unlinkat(directory, name.as_c_str(), AtFlags::empty());
        Trouble::Refused(Refused { call: "open", error })
    })
}

fn remove(directory: BorrowedFd<'_>, name: &Name) -> Result<(), Trouble> {
    unlinkat(directory, name.as_c_str(), AtFlags::empty())
        .map_err(|error| Trouble::Stays(String::from_utf8_lossy(name.as_bytes()).into_owned(), error))
}

/// What programs do with a temporary file.
fn use_file(file: BorrowedFd<'_>) -> Result<(), Refused> {
    fstat(file).map_err(refused("fstat"))?;
    // Attributes are cached for a second: only a forced look asks the server.
    match statx(file, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS) {
        Ok(_) | Err(Errno::NOSYS | Errno::PERM) => {}
        Err(error) => return Err(Refused { call: "fstat", error }),
    }
    pwrite(file, b"x", 0).map_err(refused("write"))?;
    pread(file, &mut [0u8; 1], 0).map_err(refused("read"))?;
    reopen(file).map_err(refused("re-open"))
}

fn fresh(kind: Kind) -> Result<Name, Trouble> {
    Name::fresh(kind).map_err(|error| Trouble::Refused(Refused { call: "getrandom", error }))
}

fn path_of(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_works_on_tmpfs_and_nothing_stays() {
        let root = tempfile::tempdir_in("/dev/shm").unwrap();
        let directory = std::fs::File::open(root.path()).unwrap();
        let directory = directory.as_fd();
        let file = tmpfile(directory).unwrap();
        assert!(link(directory, file.as_fd()).is_ok() && reopen(file.as_fd()).is_ok());
        assert!(unlinked(directory).is_ok() && !is_stand_in(file.as_fd()));
        let known = Survey::new();
        assert_eq!(survey(directory, &known), Unlinked::Works);
        assert_eq!(with_tmpshim(directory, Errno::OPNOTSUPP, &known).unwrap(), Unlinked::Works);
        assert!(kept(directory).is_ok());
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
