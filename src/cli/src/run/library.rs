//! Where the library lies that a program is given (S7): readable and executable by whatever user the program becomes.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::installed::{self, Installed};
use super::place::{Place, Readers, candidates};
use super::{OWN_FAILURE, preload};
use crate::embedded::LIBRARY;
use crate::failure::Failure;

/// The library's file name.
pub(crate) const NAME: &str = "libtmpshim.so";

/// A file of the command, where it can be loaded or executed.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) path: PathBuf,
    /// The path with `$LIB` in it, of an installed library.
    for_all: Option<PathBuf>,
    held: Held,
}

/// What has to go, or stay, for the file to be there.
#[derive(Debug)]
enum Held {
    /// Somebody else's.
    Nothing,
    /// A directory made for it.
    Place(Place),
    /// A file without a name, as long as this descriptor is open.
    Memory(#[expect(dead_code, reason = "held, not used")] OwnedFd),
}

/// Finds the library beside the command or where a package has put it, or writes the one inside to where it can be loaded
/// from.
pub(crate) fn find(state: Option<PathBuf>) -> Result<Staged, Failure> {
    let readers = Readers::of_this_process();
    if let Some(path) = beside().filter(|path| is_usable(path, readers)) {
        return Ok(Staged { path, for_all: None, held: Held::Nothing });
    }
    if let Some(Installed { path, for_all }) = installed::find().find(|installed| is_usable(&installed.path, readers)) {
        return Ok(Staged { path, for_all, held: Held::Nothing });
    }
    stage(NAME, LIBRARY, 0o644, state)
}

/// Writes `bytes` to where a program can load or execute them.
pub(crate) fn stage(name: &str, bytes: &[u8], mode: u32, state: Option<PathBuf>) -> Result<Staged, Failure> {
    let readers = Readers::of_this_process();
    let mut tried = Vec::new();
    for parent in candidates(readers, state, env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)) {
        match on_disk(&parent, readers, name, bytes, mode) {
            Ok(staged) => return Ok(staged),
            Err(objection) => tried.push(format!("{} ({objection})", parent.display())),
        }
    }
    in_memory(name, bytes).map_err(|error| {
        tried.push(format!("a file in memory ({error})"));
        Failure::new(
            OWN_FAILURE,
            format_args!("cannot put {name} where a program can load it"),
            format_args!("tried {}", tried.join(", ")),
            "put libtmpshim.so beside the command (tmpshim library --output FILE), readable by all and not on a noexec mount",
        )
    })
}

impl Staged {
    /// What `LD_PRELOAD` is to say for a program with this loader, if it has one.
    pub(crate) fn name_for(&self, loader: Option<&Path>) -> &Path {
        let for_all = self.for_all.as_deref().filter(|_| loader.is_none_or(installed::knows_lib));
        for_all.unwrap_or(&self.path)
    }

    /// Removes what was written, when nobody needs it any more.
    pub(crate) fn remove(self) {
        if let Held::Place(place) = &self.held {
            place.remove();
        }
    }

    /// What has to be removed when nobody can need it any more.
    pub(super) fn place(&self) -> Option<&Place> {
        if let Held::Place(place) = &self.held { Some(place) } else { None }
    }
}

/// Where the library is that lies beside the command.
fn beside() -> Option<PathBuf> {
    Some(env::current_exe().ok()?.with_file_name(NAME))
}

/// Whether a library that somebody else has put there can be given to a program.
fn is_usable(path: &Path, readers: Readers) -> bool {
    preload::can_name(path)
        && is_trustworthy(path)
        && (is_open_to_all(path) || readers == Readers::Caller)
        && loads(path).is_ok()
}

/// Whether nobody but root, the caller or the command's owner can have put it there or changed it.
fn is_trustworthy(path: &Path) -> bool {
    let owner = |path: &Path| fs::metadata(path).map(|file| file.uid());
    let command = env::current_exe().and_then(|command| owner(&command));
    fs::metadata(path).is_ok_and(|file| {
        let trusted = [Ok(0), Ok(rustix::process::geteuid().as_raw()), command];
        file.is_file() && file.mode() & 0o022 == 0 && trusted.iter().flatten().any(|&owner| owner == file.uid())
    })
}

/// Whether every user can read the file and enter each directory above it.
fn is_open_to_all(path: &Path) -> bool {
    let mode = |path: &Path| fs::metadata(path).map_or(0, |file| file.permissions().mode());
    mode(path) & 0o004 != 0 && path.ancestors().skip(1).all(|directory| mode(directory) & 0o001 != 0)
}

fn on_disk(parent: &Path, readers: Readers, name: &str, bytes: &[u8], mode: u32) -> Result<Staged, String> {
    let place = Place::make(parent, readers)?;
    let written = place.write(name, bytes, mode).and_then(|path| loads(&path).map(|()| path));
    match written {
        Ok(path) => Ok(Staged { path, for_all: None, held: Held::Place(place) }),
        Err(error) => {
            place.remove();
            Err(error.to_string())
        }
    }
}

/// The last resort, for a container in which nothing can be written. Processes of the same user find it through this
/// one, while it lives.
fn in_memory(name: &str, bytes: &[u8]) -> io::Result<Staged> {
    let low = memfd_create(name, MemfdFlags::CLOEXEC)?;
    let mut file = File::from(fcntl_dupfd_cloexec(&low, 3)?);
    file.write_all(bytes)?;
    let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
    loads(&path)?;
    Ok(Staged { path, for_all: None, held: Held::Memory(file.into()) })
}

/// Does what a loader does first: a noexec mount, a security module or a /proc that is not ours shows here, and not as
/// a complaint on the program's standard error.
fn loads(path: &Path) -> io::Result<()> {
    const LENGTH: usize = 4096;
    let file = File::open(path)?;
    // SAFETY: a new private mapping at an address of the kernel's choice, which nobody reads.
    unsafe {
        let mapping = mmap(null_mut(), LENGTH, ProtFlags::READ | ProtFlags::EXEC, MapFlags::PRIVATE, &file, 0)?;
        munmap(mapping, LENGTH)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s7_every_user_has_to_reach_the_file() {
        let directory = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
        let file = directory.path().join(NAME);
        fs::write(&file, LIBRARY).unwrap();
        let open = |file_mode, directory_mode| {
            fs::set_permissions(&file, fs::Permissions::from_mode(file_mode)).unwrap();
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(directory_mode)).unwrap();
            is_open_to_all(&file)
        };
        assert!(open(0o644, 0o755) && open(0o604, 0o711));
        assert!(!open(0o640, 0o755) && !open(0o644, 0o750));
    }

    #[test]
    fn s7_a_library_that_others_can_change_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(NAME);
        fs::write(&file, LIBRARY).unwrap();
        let trusted = |mode| {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            is_trustworthy(&file)
        };
        assert!(trusted(0o644) && trusted(0o755));
        assert!(!trusted(0o664) && !trusted(0o646));
        assert!(!is_trustworthy(directory.path()) && !is_trustworthy(&directory.path().join("absent")));
    }

    #[test]
    fn s7_the_file_in_memory_can_be_loaded_and_is_gone_with_its_holder() {
        let library = in_memory(NAME, LIBRARY).unwrap();
        let path = library.path.clone();
        assert_eq!(fs::read(&path).unwrap(), LIBRARY);
        drop(library);
        assert!(loads(&path).is_err());
    }
}
