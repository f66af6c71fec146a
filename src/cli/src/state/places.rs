//! Where state directories are: this user's, and for root everyone's.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, Mode, OFlags, fstat, openat};
use tmpshim_core::identity;
use tmpshim_core::state::{PLACES, place};

/// Another user's state directory. It is only named by its descriptor: nothing in it was looked at.
#[derive(Debug)]
pub(crate) struct Foreign {
    pub(crate) fd: OwnedFd,
    pub(crate) path: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Who has no group of his own that can be told.
const NOBODY: u32 = 65534;

/// This user's places, best first, whether they are there or not: `setting` (`TMPSHIM_STATE_DIR`, or the flag), then the
/// usual ones.
pub(crate) fn own(setting: &OsStr) -> Vec<PathBuf> {
    let runtime = env::var_os("XDG_RUNTIME_DIR").unwrap_or_default();
    let uid = rustix::process::geteuid().as_raw();
    let all = (0..PLACES).filter_map(|index| place(index, setting.as_bytes(), runtime.as_bytes(), uid));
    let mut places: Vec<PathBuf> = Vec::new();
    for path in all.map(|path| PathBuf::from(OsString::from_vec(path.as_bytes().to_vec()))) {
        if !places.contains(&path) {
            places.push(path);
        }
    }
    places
}

/// The environment's `TMPSHIM_STATE_DIR`, empty where it is not set.
pub(crate) fn setting() -> OsString {
    env::var_os("TMPSHIM_STATE_DIR").unwrap_or_default()
}

/// Every other user's usual places, for root.
pub(crate) fn everyones() -> Vec<Foreign> {
    let shared = entries(Path::new("/dev/shm"), |name| name.starts_with("tmpshim-"));
    let users = entries(Path::new("/run/user"), |_| true);
    let runtime = users.iter().flat_map(|user| {
        let trusted = is_local(&user.fd);
        below(user, &|name| name == "tmpshim").into_iter().filter(move |_| trusted)
    });
    shared.into_iter().chain(runtime).filter(|found| found.uid != 0).collect()
}

/// One directory that was given by its path.
pub(crate) fn foreign(path: &Path) -> Option<Foreign> {
    let fd = name_only(CWD, path.as_os_str())?;
    let parent = path.parent().and_then(|parent| name_only(CWD, parent.as_os_str()));
    describe(fd, path.to_path_buf(), parent.as_ref())
}

fn entries(parent: &Path, wanted: impl Fn(&str) -> bool) -> Vec<Foreign> {
    let Some(fd) = name_only(CWD, parent.as_os_str()) else { return Vec::new() };
    let Some(parent) = describe(fd, parent.to_path_buf(), None) else { return Vec::new() };
    below(&parent, &wanted)
}

/// The directories in `parent` of the wanted names. What is mounted there is left out, unless root's own hands did it:
/// a user may mount a filesystem of his own making on what is his, which hangs who asks it, or tells lies about owners.
fn below(parent: &Foreign, wanted: &impl Fn(&str) -> bool) -> Vec<Foreign> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if !is_local(&parent.fd) {
        return Vec::new();
    }
    let Ok(listing) = openat(&parent.fd, ".", flags, Mode::empty()) else { return Vec::new() };
    let Ok(entries) = Dir::read_from(&listing) else { return Vec::new() };
    let found = entries.flatten().filter_map(|entry| {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") || !wanted(name.to_str().ok()?) {
            return None;
        }
        let name = OsStr::from_bytes(name.to_bytes());
        let fd = name_only(&parent.fd, name)?;
        let is_same_mount = mount(&fd).is_some() && mount(&fd) == mount(&parent.fd);
        if !is_same_mount && !is_local(&fd) {
            return None;
        }
        describe(fd, parent.path.join(name), Some(&parent.fd))
    });
    found.collect()
}

/// A descriptor that only names a directory: no filesystem's server is asked anything.
fn name_only(at: impl std::os::fd::AsFd, name: &OsStr) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty()).ok()
}

fn mount(fd: &OwnedFd) -> Option<u64> {
    use std::os::fd::AsFd;
    let seen = identity::filesystem(fd.as_fd())?;
    if seen.mount != 0 { Some(seen.mount) } else { identity::mount_of(fd.as_fd()) }
}

/// Whether it lies on a filesystem of the kernel's own, which no user can mount here: not FUSE, not the network's.
fn is_local(fd: &OwnedFd) -> bool {
    let Some(id) = mount(fd).map(|id| id.to_string()) else { return false };
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table.lines().find(|line| line.split(' ').next() == Some(&id)).is_some_and(|line| {
        let kind = line.split_once(" - ").and_then(|(_, rest)| rest.split(' ').next());
        // Containers have /run or /dev/shm on what their images lie on.
        matches!(kind, Some("tmpfs" | "ramfs" | "overlay" | "ext4" | "xfs" | "btrfs" | "ext3" | "zfs" | "f2fs"))
    })
}

fn describe(fd: OwnedFd, path: PathBuf, parent: Option<&OwnedFd>) -> Option<Foreign> {
    let seen = fstat(&fd).ok()?;
    // Where the parent says what group is given to what is made in it, the group is not the user's.
    let inherits = parent.and_then(|parent| fstat(parent).ok()).is_none_or(|parent| parent.st_mode & 0o2000 != 0);
    let gid = if seen.st_gid == 0 || inherits { NOBODY } else { seen.st_gid };
    Some(Foreign { fd, path, uid: seen.st_uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d5_the_setting_comes_first_and_no_place_twice() {
        let places = own(OsStr::new("/dev/shm/tmpshim-0"));
        assert_eq!(places[0], Path::new("/dev/shm/tmpshim-0"));
        assert_eq!(places.iter().filter(|place| *place == &places[0]).count(), 1);
        assert!(!own(OsStr::new("relative")).contains(&PathBuf::from("relative")));
    }

    #[test]
    fn d5_a_link_is_nobodys_state_directory() {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().join("real");
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, root.path().join("link")).unwrap();
        assert!(foreign(&root.path().join("link")).is_none() && foreign(&root.path().join("absent")).is_none());
        let found = foreign(&real).unwrap();
        assert_eq!(found.uid, rustix::process::geteuid().as_raw());
        assert!(found.uid != 0 || found.gid == NOBODY, "root's group is nobody else's");
    }
}
