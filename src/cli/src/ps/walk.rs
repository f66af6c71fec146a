//! How much lies below a directory.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, openat, openat2, statat};
use rustix::io::Errno;
use tmpshim_core::identity;

/// Deeper down nothing is counted: each level keeps a descriptor.
const DEEPEST: usize = 200;

/// The apparent size of all that lies below an open directory, in bytes. No link is followed and no mount is entered; a
/// file with several names counts once for each.
pub(super) fn bytes(top: impl AsFd) -> u64 {
    let mut total = 0;
    let mut levels: Vec<Dir> = Dir::read_from(top).into_iter().collect();
    while let Some(level) = levels.last_mut() {
        let Some(entry) = level.next() else {
            levels.pop();
            continue;
        };
        let Ok(entry) = entry else { continue };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(fd) = level.fd() else { continue };
        let Ok(seen) = statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        match FileType::from_raw_mode(seen.st_mode) {
            FileType::RegularFile | FileType::Symlink => total += u64::try_from(seen.st_size).unwrap_or(0),
            FileType::Directory if levels.len() < DEEPEST => {
                // Borrowed anew: the list of levels has been looked at in between.
                let below = levels.last().and_then(|level| enter(level.fd().ok()?, name));
                levels.extend(below);
            }
            _ => {}
        }
    }
    total
}

fn enter(parent: BorrowedFd<'_>, name: &std::ffi::CStr) -> Option<Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let child = match openat2(parent, name, flags, Mode::empty(), ResolveFlags::NO_XDEV | ResolveFlags::BENEATH) {
        // Before Linux 5.6, or forbidden.
        Err(Errno::NOSYS | Errno::PERM) => {
            let child = openat(parent, name, flags, Mode::empty()).ok()?;
            (identity::mount_of(parent) == identity::mount_of(child.as_fd())).then_some(child)?
        }
        child => child.ok()?,
    };
    Dir::new(child).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_lies_below_is_counted_and_what_links_point_to_is_not() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("outside"), [0; 5000]).unwrap();
        let top = root.path().join("top");
        fs::create_dir_all(top.join("a/b/c")).unwrap();
        fs::write(top.join("one"), [0; 10]).unwrap();
        fs::write(top.join("a/b/c/two"), [0; 200]).unwrap();
        symlink("../outside", top.join("link")).unwrap();
        symlink("..", top.join("a/up")).unwrap();
        assert_eq!(bytes(fs::File::open(&top).unwrap()), 10 + 200 + "../outside".len() as u64 + 2);
    }
}
