//! The directories that were named, each opened once: what is done is done there, wherever its name leads meanwhile.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use tmpshim_core::fd::{Fd, openat};
use tmpshim_core::identity::{self, Identity};

use super::request::Request;
use crate::state::text;
use crate::sweep::line::Line;
use crate::sweep::mounts::{Around, Mounts};
use crate::sweep::report::Report;

/// An open directory in which things have piled up.
#[derive(Debug)]
pub(super) struct Place {
    /// Among those that were named.
    pub(super) index: usize,
    pub(super) fd: Fd,
    /// Its real path when it was opened.
    path: Vec<u8>,
    pub(super) identity: Identity,
}

/// What is mounted in a place, or mounted elsewhere from there.
#[derive(Debug)]
pub(super) struct Surroundings {
    around: Around,
    sources: HashMap<Vec<u8>, String>,
    /// The device that the mount tables give it.
    pub(super) device: Option<u64>,
}

impl Place {
    /// Opens each of them once. What is none is told.
    pub(super) fn open_all(paths: &[PathBuf], mounts: &Mounts, report: &mut Report) -> Vec<Self> {
        let mut places: Vec<Self> = Vec::new();
        if !mounts.are_known() {
            let why = "without /proc nobody can tell what is in use; mount /proc and sweep again".to_owned();
            report.tell(&Line::left(Path::new("/proc"), why));
            return places;
        }
        for path in paths {
            match Self::open(path, places.len()) {
                Ok(place) if places.iter().any(|known| known.identity == place.identity) => {}
                Ok(place) => places.push(place),
                Err(why) => report.tell(&Line::left(path, why)),
            }
        }
        places
    }

    fn open(path: &Path, index: usize) -> Result<Self, String> {
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| "no path has a NUL".to_owned())?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(CWD, &name, flags, Mode::empty()).map_err(|error| match error {
            Errno::NOTDIR | Errno::LOOP if path.is_symlink() => {
                let target = std::fs::read_link(path).unwrap_or_default();
                let (path, target) = (path.display(), target.display());
                format!("it is a symbolic link to {target}; give that, or {path}/ to follow the link")
            }
            Errno::NOTDIR => "it is not a directory; give a directory that what piled up lies in".to_owned(),
            error => format!("{}; give a directory that is there and can be read", text(error)),
        })?;
        let real = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let path = real.map_or_else(|_| path.as_os_str().as_bytes().to_vec(), |real| real.into_os_string().into_vec());
        let identity = identity::of(fd.as_fd()).map_err(|error| format!("{}; sweep again", text(error)))?.identity;
        Ok(Self { index, fd, path, identity })
    }

    /// The names in it that are meant, of what may be directories.
    pub(super) fn names(&self, request: &Request) -> Result<Vec<CString>, String> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(text)? {
            let entry = entry.map_err(text)?;
            let name = entry.file_name();
            let is_meant = !matches!(name.to_bytes(), b"." | b"..")
                && matches!(entry.file_type(), FileType::Directory | FileType::Unknown)
                && request.globs.iter().any(|glob| glob.matches(name.to_bytes()));
            if is_meant {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    pub(super) fn surroundings(&self, mounts: &Mounts) -> Surroundings {
        // Through the descriptor: its path may lead elsewhere by now.
        let path = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        Surroundings {
            around: mounts.around(path.as_bytes()),
            sources: mounts.sources(path.as_bytes()),
            device: mounts.device(self.identity.mount),
        }
    }

    pub(super) fn shown(&self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&self.path))
    }

    /// The path of something in it.
    pub(super) fn join(&self, name: &CStr) -> PathBuf {
        self.shown().join(OsStr::from_bytes(name.to_bytes()))
    }
}

impl Surroundings {
    /// Why a directory of that name is not to be entered: mounts at or below it, or of it.
    pub(super) fn mounted(&self, mounts: &Mounts, name: &CStr) -> Option<String> {
        let name = name.to_bytes();
        mounts.at_or_below(&self.around, name).or_else(|| self.sources.get(name).cloned())
    }
}
