//! The state directory, in which the journals lie: the first of a few places that is, or can be made, this user's alone.

use crate::fd::{Fd, openat};
use crate::text::Text;
use core::ffi::CStr;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{CWD, Mode, OFlags, fstat, mkdirat};
use rustix::io::Errno;

/// The longest path of a state directory, its closing NUL included.
pub const PATH_MAX: usize = 1024;

/// How many places there are.
pub const PLACES: usize = 4;

/// A path of a state directory.
pub type Path = Text<PATH_MAX>;

/// Place number `index` (0 up to [`PLACES`]) of the user `uid`: what `TMPSHIM_STATE_DIR` says, `$XDG_RUNTIME_DIR/tmpshim`,
/// `/run/tmpshim` (root), `/dev/shm/tmpshim-UID`. Nothing where a place is not set, not for this user, or too long.
pub fn place(index: usize, setting: &[u8], runtime: &[u8], uid: u32) -> Option<Path> {
    let mut path = Path::new();
    match index {
        0 => path.push(setting),
        1 if !runtime.is_empty() => path.push(runtime).push(b"/tmpshim"),
        2 if uid == 0 => path.push(b"/run/tmpshim"),
        3 => path.push(b"/dev/shm/tmpshim-").push_decimal(uid.into()),
        _ => return None,
    };
    (path.as_bytes().first() == Some(&b'/') && !path.is_cut()).then_some(path)
}

/// Why a directory is no state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    /// It belongs to another user.
    Owner,
    /// Others may write to it.
    Writable,
    /// A system call's answer.
    Refused(Errno),
}

/// Opens a state directory of `uid`, to be listed.
///
/// # Errors
/// Why it is none. A symbolic link as its last component is none.
pub fn open(path: &CStr, uid: u32) -> Result<Fd, Objection> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(CWD, path, flags, Mode::empty()).map_err(Objection::Refused)?;
    check(directory.as_fd(), uid)?;
    Ok(directory)
}

/// Whether an open directory can be a state directory of `uid`.
///
/// # Errors
/// Why it cannot.
pub fn check(directory: BorrowedFd<'_>, uid: u32) -> Result<(), Objection> {
    let seen = fstat(directory).map_err(Objection::Refused)?;
    if seen.st_uid != uid {
        Err(Objection::Owner)
    } else if seen.st_mode & 0o022 != 0 {
        Err(Objection::Writable)
    } else {
        Ok(())
    }
}

/// The same, and makes it where it is not there: 0700, in a directory that is.
///
/// # Errors
/// As [`open`].
pub fn open_or_make(path: &CStr, uid: u32) -> Result<Fd, Objection> {
    match open(path, uid) {
        Err(Objection::Refused(Errno::NOENT)) => {
            // Another process may have been quicker; what is there now is looked at as anybody's.
            let _ = mkdirat(CWD, path, Mode::RWXU);
            open(path, uid)
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn places(setting: &str, runtime: &str, uid: u32) -> Vec<String> {
        let all = (0..PLACES).filter_map(|index| place(index, setting.as_bytes(), runtime.as_bytes(), uid));
        all.map(|path| String::from_utf8(path.as_bytes().to_vec()).unwrap()).collect()
    }

    #[test]
    fn d5_places_in_their_order() {
        assert_eq!(places("", "", 7), ["/dev/shm/tmpshim-7"]);
        assert_eq!(places("", "/run/user/7", 7), ["/run/user/7/tmpshim", "/dev/shm/tmpshim-7"]);
        assert_eq!(places("/s", "", 0), ["/s", "/run/tmpshim", "/dev/shm/tmpshim-0"]);
        assert_eq!(places("relative", "also", 7), ["/dev/shm/tmpshim-7"]);
        assert_eq!(places(&"/x".repeat(PATH_MAX), "", 7), ["/dev/shm/tmpshim-7"]);
    }

    #[test]
    fn d5_a_state_directory_is_this_users_alone() {
        let root = tempfile::tempdir().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        let path = |name: &str| CString::new(root.path().join(name).to_str().unwrap()).unwrap();
        assert!(matches!(open(&path("absent"), uid), Err(Objection::Refused(Errno::NOENT))));
        open_or_make(&path("made"), uid).unwrap();
        assert_eq!(std::fs::metadata(root.path().join("made")).unwrap().permissions().mode() & 0o7777, 0o700);
        assert!(matches!(open(&path("made"), uid + 1), Err(Objection::Owner)));
        symlink("made", root.path().join("link")).unwrap();
        assert!(matches!(open_or_make(&path("link"), uid), Err(Objection::Refused(_))));
        std::fs::write(root.path().join("file"), "").unwrap();
        assert!(matches!(open_or_make(&path("file"), uid), Err(Objection::Refused(_))));
        std::fs::set_permissions(root.path().join("made"), std::fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(open_or_make(&path("made"), uid), Err(Objection::Writable)));
        assert!(matches!(open_or_make(&path("no/parent"), uid), Err(Objection::Refused(Errno::NOENT))));
    }
}
