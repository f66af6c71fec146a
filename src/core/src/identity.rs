//! Which file it is, apart from its name: D6 compares this before anything is removed.

use crate::fd::openat;
use crate::sys;
use crate::text::Text;
use core::ffi::CStr;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxFlags, fstat, stat, statat, statx};
use rustix::io::Errno;

/// Device, inode, birth time and generation of a file, and the mount it is seen through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Identity {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Birth time in nanoseconds since 1970, 0 where the filesystem does not tell it.
    pub birth: u64,
    /// What tells two files apart that had the same inode number within one tick of the clock, 0 where it is not known.
    /// ext4 gives a freed inode number to the next directory at once, with the same birth time if that is within 4 ms
    /// (seen on 6.18). Filesystems without a block device do not need it: tmpfs and btrfs do not use a number again.
    pub generation: u64,
    /// The mount: its id from statx(2), or, before Linux 5.8, the inode of the mount namespace with the top bit set;
    /// 0 where neither can be had. A mount namespace gives every mount an id of its own, so this also tells whether
    /// the file is looked at from the mount namespace that it was made in.
    pub mount: u64,
}

/// What one look at a file tells.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Which file it is.
    pub identity: Identity,
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
}

impl Identity {
    /// Whether only the inode number tells it from a file made later.
    pub fn is_weak(&self) -> bool {
        self.birth == 0 && self.generation == 0
    }

    /// Whether it may be `made`, of which more was known: statx(2) is forbidden by now, by a sandbox of the program's.
    pub fn may_be(&self, made: &Self) -> bool {
        (self.device, self.inode) == (made.device, made.inode) && self.is_weak() && !made.is_weak()
    }

    /// Whether it is certainly another file than `made`.
    #[inline(never)]
    pub fn is_other_than(&self, made: &Self) -> bool {
        !self.is_same_file(made) && !self.may_be(made)
    }

    /// Whether it is the same file, through whatever mount it is seen.
    #[inline(never)]
    pub fn is_same_file(&self, other: &Self) -> bool {
        Self { mount: 0, ..*self } == Self { mount: 0, ..*other }
    }
}

impl Seen {
    /// Whether it is a directory (and not a symbolic link to one).
    pub fn is_directory(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Directory
    }

    /// Whether it belongs to this process's user.
    pub fn is_own(&self) -> bool {
        self.uid == rustix::process::geteuid().as_raw()
    }
}

const NAMESPACE: u64 = 1 << 63;

/// Looks at `name` in `directory` without following a symbolic link.
///
/// # Errors
/// What statx(2) answers.
pub fn at(directory: BorrowedFd<'_>, name: &CStr) -> Result<Seen, Errno> {
    look(directory, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Looks at an open file; an O_PATH descriptor will do.
///
/// # Errors
/// What statx(2) answers.
pub fn of(fd: BorrowedFd<'_>) -> Result<Seen, Errno> {
    look(fd, c"", AtFlags::EMPTY_PATH)
}

fn look(directory: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> Result<Seen, Errno> {
    let wanted = StatxFlags::TYPE
        | StatxFlags::MODE
        | StatxFlags::UID
        | StatxFlags::INO
        | StatxFlags::BTIME
        | StatxFlags::MNT_ID;
    match statx(directory, name, flags, wanted) {
        Ok(seen) => {
            let mut result = from_statx(&seen);
            if seen.stx_dev_major != 0 && result.is_directory() {
                result.identity.generation = sys::generation(directory, name, flags.bits() as i32).unwrap_or(0);
            }
            Ok(result)
        }
        // Before Linux 4.11, or container profiles older than statx.
        Err(Errno::NOSYS | Errno::PERM) => {
            let seen = if name.is_empty() { fstat(directory) } else { statat(directory, name, flags) }?;
            Ok(Seen {
                identity: Identity {
                    device: seen.st_dev,
                    inode: seen.st_ino,
                    birth: 0,
                    generation: 0,
                    mount: mount_namespace(),
                },
                mode: seen.st_mode,
                uid: seen.st_uid,
            })
        }
        Err(error) => Err(error),
    }
}

fn from_statx(seen: &Statx) -> Seen {
    let has = |flag: StatxFlags| seen.stx_mask & flag.bits() != 0;
    let birth = sys::nanoseconds(seen.stx_btime.tv_sec, seen.stx_btime.tv_nsec.into());
    let identity = Identity {
        device: device(seen),
        inode: seen.stx_ino,
        birth: if has(StatxFlags::BTIME) { birth } else { 0 },
        generation: 0,
        mount: if has(StatxFlags::MNT_ID) { seen.stx_mnt_id } else { mount_namespace() },
    };
    Seen { identity, mode: seen.stx_mode.into(), uid: seen.stx_uid }
}

fn device(seen: &Statx) -> u64 {
    rustix::fs::makedev(seen.stx_dev_major, seen.stx_dev_minor)
}

/// The mount namespace, for kernels whose statx(2) does not tell mounts apart.
fn mount_namespace() -> u64 {
    stat(c"/proc/self/ns/mnt").map_or(0, |namespace| namespace.st_ino | NAMESPACE)
}

/// What the survey of filesystems wants to know of a directory.
#[derive(Clone, Copy, Debug)]
pub struct Filesystem {
    /// Device number.
    pub device: u64,
    /// Mount id, 0 before Linux 5.8.
    pub mount: u64,
    /// `chattr +a`: names can be made there and not removed.
    pub append_only: bool,
}

/// Looks at a directory without asking a filesystem's server anything.
pub fn filesystem(directory: BorrowedFd<'_>) -> Option<Filesystem> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    match statx(directory, c"", flags, StatxFlags::MNT_ID) {
        Ok(seen) => Some(Filesystem {
            device: device(&seen),
            mount: seen.stx_mnt_id,
            append_only: seen.stx_attributes.contains(rustix::fs::StatxAttributes::APPEND),
        }),
        Err(_) => fstat(directory).ok().map(|seen| Filesystem { device: seen.st_dev, mount: 0, append_only: false }),
    }
}

/// The mount an open file is seen through, for kernels without openat2(2): statx(2), else the `mnt_id` line of
/// `/proc/self/fdinfo`, which is there since Linux 3.15.
pub fn mount_of(fd: BorrowedFd<'_>) -> Option<u64> {
    if let Ok(seen) = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
        && seen.stx_mask & StatxFlags::MNT_ID.bits() != 0
    {
        return Some(seen.stx_mnt_id);
    }
    let mut path = Text::<48>::new();
    path.push(b"/proc/self/fdinfo/").push_decimal(fd.as_raw_fd() as u64);
    let file = openat(rustix::fs::CWD, path.as_c_str()?, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut buffer = [0u8; 256];
    let length = rustix::io::read(&file, &mut buffer).ok()?;
    number_after(buffer.get(..length)?, b"mnt_id:", 10)
}

/// The number behind `label` at the beginning of a line, in `base` 8 or 10: the form of /proc's status files.
pub fn number_after(text: &[u8], label: &[u8], base: u64) -> Option<u64> {
    let line = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(label))?;
    let mut number = None;
    for &byte in line {
        match byte {
            b'0'..=b'9' => {
                let digit = u64::from(byte - b'0');
                number = Some(number.unwrap_or(0u64).checked_mul(base)?.checked_add(digit)?);
            }
            b' ' | b'\t' if number.is_none() => {}
            _ => break,
        }
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn d6_a_file_made_again_under_the_same_name_is_another() {
        let root = std::env::temp_dir().join(format!("tmpshim-identity-{}", std::process::id()));
        std::fs::create_dir(&root).unwrap();
        let directory = std::fs::File::open(&root).unwrap();
        std::fs::create_dir(root.join("d")).unwrap();
        let first = at(directory.as_fd(), c"d").unwrap();
        assert!(first.is_directory());
        assert_eq!(of(std::fs::File::open(root.join("d")).unwrap().as_fd()).unwrap().identity, first.identity);
        std::fs::remove_dir(root.join("d")).unwrap();
        std::fs::create_dir(root.join("d")).unwrap();
        assert_ne!(at(directory.as_fd(), c"d").unwrap().identity, first.identity);
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn status_lines() {
        let text = b"Name:\tx Umask:\t0777\nUmask:\t0022\nmnt_id:\t31\n";
        assert_eq!(number_after(text, b"Umask:", 8), Some(0o22));
        assert_eq!(number_after(text, b"mnt_id:", 10), Some(31));
        assert_eq!(number_after(text, b"Gid:", 10), None);
        assert_eq!(number_after(b"Umask:\n", b"Umask:", 8), None);
    }

    #[test]
    fn both_ways_to_tell_a_mount_agree() {
        let root = std::fs::File::open("/").unwrap();
        assert_eq!(mount_of(root.as_fd()), Some(of(root.as_fd()).unwrap().identity.mount));
    }
}
