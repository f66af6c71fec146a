//! State directories from outside: where they are, whose they are, and what lies in them (D5).

pub(crate) mod as_user;
pub(crate) mod life;
pub(crate) mod places;

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, Mode, OFlags, openat};
use rustix::io::Errno;
use tmpshim_core::name::{Kind, mark};
pub(crate) use tmpshim_core::state::Objection;
use tmpshim_core::state::check;

/// What the name of the directory begins with that `tmpshim run` makes for one program and all that it starts.
pub(crate) const FAMILY: &str = "run-";

/// The same where that `tmpshim run` is process 1 of its PID namespace: once it has died, all of that namespace have, which
/// nobody could tell otherwise from outside, or from the container that is started in its place.
pub(crate) const FIRST: &str = "init-";

/// How deep runs may be nested for their directories to be found.
const DEEPEST: usize = 16;

/// An open state directory.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    pub(crate) path: PathBuf,
    depth: usize,
}

/// Why a directory is no state directory of this user, and what to do about it, for people.
pub(crate) fn describe(objection: Objection) -> (String, &'static str) {
    match objection {
        Objection::Refused(Errno::NOENT) => ("it is not there".to_owned(), "nothing has to be done"),
        Objection::Owner => ("it belongs to another user".to_owned(), "run the command as that user, or as root"),
        Objection::Writable => ("others may write to it".to_owned(), "chmod it to 0700 once you know what is in it"),
        Objection::Refused(Errno::LOOP | Errno::NOTDIR) => {
            ("it is not a directory".to_owned(), "give the directory itself, not a link to it")
        }
        Objection::Refused(error) => (text(error), "give this user the right to read it"),
    }
}

/// What a system call's answer is called, without its number.
pub(crate) fn text(error: Errno) -> String {
    crate::failure::without_numbers(&std::io::Error::from(error).to_string())
}

impl Directory {
    /// Opens `path`. A symbolic link as its last component is refused.
    pub(crate) fn open(path: &Path) -> Result<Self, Objection> {
        Self::open_at(CWD, path.as_os_str(), path.to_path_buf(), 0)
    }

    /// Opens what `fd` is, a descriptor that may be of the kind that only names (O_PATH).
    pub(crate) fn reopen(fd: impl AsFd, path: &Path) -> Result<Self, Objection> {
        Self::open_at(fd, OsStr::new("."), path.to_path_buf(), 0)
    }

    fn open_at(at: impl AsFd, name: &OsStr, path: PathBuf, depth: usize) -> Result<Self, Objection> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(at, name, flags, Mode::empty()).map_err(Objection::Refused)?;
        check(fd.as_fd(), rustix::process::geteuid().as_raw())?;
        Ok(Self { fd, path, depth })
    }

    /// Everything in it but `.` and `..`.
    pub(crate) fn names(&self) -> Result<Vec<CString>, Errno> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            let name = entry?.file_name().to_owned();
            if !matches!(name.to_bytes(), b"." | b"..") {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// The journals in it; none where it cannot be read.
    pub(crate) fn journals(&self) -> Vec<CString> {
        self.names().map(|names| journals_among(&names)).unwrap_or_default()
    }

    /// The directories in it that `tmpshim run` has made, each a state directory of its own; none where it cannot be read.
    pub(crate) fn families(&self) -> Vec<(CString, Self)> {
        self.names().map(|names| self.families_among(&names)).unwrap_or_default()
    }

    /// Those of the names that are directories made by `tmpshim run`.
    pub(crate) fn families_among(&self, names: &[CString]) -> Vec<(CString, Self)> {
        if self.depth >= DEEPEST {
            return Vec::new();
        }
        let names = names.iter().filter(|name| is_family(name.to_bytes()));
        names.filter_map(|name| Some((name.clone(), self.below(OsStr::from_bytes(name.to_bytes())).ok()?))).collect()
    }

    /// The state directory `name` in it.
    pub(crate) fn below(&self, name: &OsStr) -> Result<Self, Objection> {
        Self::open_at(&self.fd, name, self.path.join(name), self.depth + 1)
    }

    /// The same with a descriptor above the standard ones: where the caller closed one of those, the program must find
    /// it closed.
    pub(crate) fn raised(self) -> Result<Self, Objection> {
        let fd = rustix::io::fcntl_dupfd_cloexec(&self.fd, 3).map_err(Objection::Refused)?;
        Ok(Self { fd, ..self })
    }

    /// The path of something in it.
    pub(crate) fn join(&self, name: &CString) -> PathBuf {
        self.path.join(OsStr::from_bytes(name.to_bytes()))
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Those of the names that are journals'.
pub(crate) fn journals_among(names: &[CString]) -> Vec<CString> {
    let is_journal = |name: &&CString| mark(name.to_bytes()).is_some_and(|mark| mark.kind == Kind::Journal);
    names.iter().filter(is_journal).cloned().collect()
}

/// Whether `tmpshim run` gives such names.
fn is_family(name: &[u8]) -> bool {
    let digits = [FAMILY, FIRST].iter().find_map(|prefix| name.strip_prefix(prefix.as_bytes()));
    digits.is_some_and(|digits| digits.len() == 16 && digits.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn d5_only_what_is_ours_is_looked_into() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("state");
        fs::create_dir(&state).unwrap();
        for name in ["run-0123456789abcdef", "run-0123", "init-0123456789abcdef", "init-run-0123456789abcdef", "other"]
        {
            fs::create_dir(state.join(name)).unwrap();
        }
        symlink("/", state.join("run-fedcba9876543210")).unwrap();
        let journal = format!(".tmpshim-j{}", "0".repeat(32));
        for name in [&journal, ".tmpshim-j0", ".tmpshim-l00000000000000000000000000000000"] {
            fs::write(state.join(name), "").unwrap();
        }
        let directory = Directory::open(&state).unwrap();
        assert_eq!(directory.journals(), [CString::new(journal).unwrap()]);
        let mut families: Vec<_> = directory.families().into_iter().map(|(_, family)| family.path).collect();
        families.sort();
        assert_eq!(families, ["init-0123456789abcdef", "run-0123456789abcdef"].map(|name| state.join(name)));
    }

    #[test]
    fn d5_what_others_may_write_to_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let open = |name: &str| Directory::open(&root.path().join(name)).map(drop);
        assert_eq!(open("absent"), Err(Objection::Refused(Errno::NOENT)));
        fs::create_dir(root.path().join("open")).unwrap();
        fs::set_permissions(root.path().join("open"), fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(open("open"), Err(Objection::Writable));
        symlink(root.path(), root.path().join("link")).unwrap();
        assert!(matches!(open("link"), Err(Objection::Refused(_))));
        let refused = [Errno::NOENT, Errno::LOOP].map(Objection::Refused);
        for objection in [Objection::Owner, Objection::Writable].into_iter().chain(refused) {
            let (why, remedy) = describe(objection);
            assert!(!why.is_empty() && !remedy.is_empty() && !why.contains("os error"));
        }
    }
}
