//! The permissions that creating a file in a directory gives (T3), computed because T4 forbids to find out by trying:
//! while our file has a name it must not have group or other permissions.

use crate::fd::openat;
use crate::identity::number_after;
use crate::name::{Kind, Name};
use crate::sys;
use crate::text::fd_path;
use rustix::fd::BorrowedFd;
use rustix::fs::{CWD, Mode, OFlags, fstat, fstatfs};
use rustix::io::{Errno, read};
use rustix::thread::{CapabilitySet, capabilities};

/// What a file is created with while it has a name: nothing beyond the owner's permissions.
pub const fn while_named(mode: u32) -> u32 {
    mode & 0o700
}

/// Whether the mode a program asks for needs anything done once the name is gone.
pub const fn needs_more(mode: u32) -> bool {
    mode & 0o7777 != while_named(mode)
}

/// What decides the mode of a new file in one directory, but for the umask.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    mode: u32,
    acl: Option<u32>,
    umask_too: bool,
}

impl Rules {
    /// Asks the directory. Needs no free descriptor where /proc is mounted.
    pub fn of(directory: BorrowedFd<'_>, mode: u32) -> Self {
        let mut acl = [0u8; 1024];
        let length = default_acl(directory, &mut acl);
        let acl = acl.get(..length).and_then(masked_by_acl);
        // The kernel leaves the umask to a filesystem with ACLs. On FUSE it applies the umask, and the server's own
        // filesystem the ACL.
        let umask_too = acl.is_none() || is_fuse(directory);
        Self { mode: stripped(directory, mode & 0o7777), acl, umask_too }
    }

    /// The mode that creating a file gives: the default ACL's, or what the umask leaves, and without the setgid bit
    /// where the kernel strips it. Nothing where the umask cannot be learnt: then the file stays the owner's.
    pub fn created(&self) -> Option<u32> {
        let masked = self.mode & (self.acl.unwrap_or(0o777) | !0o777);
        if self.umask_too { Some(masked & !umask()?) } else { Some(masked) }
    }
}

/// inode_init_owner's rule: in a setgid directory a group-executable setgid file of somebody who is neither in the
/// directory's group nor has CAP_FSETID loses the bit. A chmod afterwards would bring it back on FUSE.
fn stripped(directory: BorrowedFd<'_>, mode: u32) -> u32 {
    const SETGID_EXECUTABLE: u32 = libc::S_ISGID | libc::S_IXGRP;
    if mode & SETGID_EXECUTABLE != SETGID_EXECUTABLE {
        return mode;
    }
    let Ok(seen) = fstat(directory) else { return mode & !libc::S_ISGID };
    let may_keep = seen.st_mode & libc::S_ISGID == 0
        || in_group(seen.st_gid)
        || capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::FSETID));
    if may_keep { mode } else { mode & !libc::S_ISGID }
}

/// Whether the process belongs to a group. More groups than fit the buffer (256) count as "no": the bit stays stripped.
fn in_group(gid: u32) -> bool {
    if rustix::process::getegid().as_raw() == gid {
        return true;
    }
    let mut groups = [0u32; 256];
    let count = sys::getgroups(&mut groups).unwrap_or(0);
    groups.get(..count).is_some_and(|groups| groups.contains(&gid))
}

fn is_fuse(directory: BorrowedFd<'_>) -> bool {
    const FUSE_SUPER_MAGIC: i64 = 0x6573_5546;
    fstatfs(directory).is_ok_and(|seen| seen.f_type == FUSE_SUPER_MAGIC)
}

/// Reads the directory's default ACL; 0 bytes where it has none.
fn default_acl(directory: BorrowedFd<'_>, value: &mut [u8]) -> usize {
    const NAME: &core::ffi::CStr = c"system.posix_acl_default";
    let Some(answer) = fd_path(directory).as_c_str().map(|path| sys::getxattr(path, NAME, value)) else { return 0 };
    match answer {
        Ok(length) => length,
        // No /proc, and an O_PATH descriptor cannot be asked: open the directory once more.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let Ok(readable) = openat(directory, c".", flags, Mode::empty()) else { return 0 };
            rustix::fs::fgetxattr(&readable, NAME, value).unwrap_or(0)
        }
        Err(_) => 0,
    }
}

/// The permissions a default ACL lets through, from the form in which the kernel keeps it: a version (2), then entries
/// of tag, permissions and id.
fn masked_by_acl(acl: &[u8]) -> Option<u32> {
    const USER_OBJ: u16 = 1;
    const GROUP_OBJ: u16 = 4;
    const MASK: u16 = 0x10;
    const OTHER: u16 = 0x20;
    let (version, entries) = acl.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != 2 {
        return None;
    }
    let find = |wanted: u16| {
        entries.chunks_exact(8).find_map(|entry| match *entry {
            [low, high, permissions, _, ..] if u16::from_le_bytes([low, high]) == wanted => {
                Some(u32::from(permissions) & 7)
            }
            _ => None,
        })
    };
    let group = find(MASK).or_else(|| find(GROUP_OBJ))?;
    Some(find(USER_OBJ)? << 6 | group << 3 | find(OTHER)?)
}

/// The umask, without changing it for a moment as umask(2) would: another thread may be creating a file. `/proc` tells
/// it since Linux 4.7; without /proc, a message queue that is gone at once is created with all permissions.
fn umask() -> Option<u32> {
    umask_from_proc().or_else(umask_from_queue)
}

fn umask_from_proc() -> Option<u32> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let status = openat(CWD, c"/proc/thread-self/status", flags, Mode::empty())
        .or_else(|_| openat(CWD, c"/proc/self/status", flags, Mode::empty()))
        .ok()?;
    let mut text = [0u8; 128];
    let length = read(&status, &mut text).ok()?;
    number_after(text.get(..length)?, b"Umask:", 8).map(|umask| umask as u32 & 0o777)
}

fn umask_from_queue() -> Option<u32> {
    let name = Name::fresh(Kind::Probe).ok()?;
    let queue = sys::mq_create(name.as_c_str(), 0o777).ok()?;
    let _ = sys::mq_unlink(name.as_c_str());
    Some(!fstat(&queue).ok()?.st_mode & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn acl(entries: &[(u16, u16)]) -> Vec<u8> {
        let mut bytes = 2u32.to_le_bytes().to_vec();
        for (tag, permissions) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(u32::MAX.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn t3_default_acl() {
        assert_eq!(masked_by_acl(&acl(&[(1, 7), (4, 5), (0x20, 0)])), Some(0o750));
        assert_eq!(masked_by_acl(&acl(&[(1, 6), (2, 7), (4, 7), (0x10, 4), (0x20, 1)])), Some(0o641));
        assert_eq!(masked_by_acl(&[]), None);
        assert_eq!(masked_by_acl(&acl(&[(1, 6)])), None);
        assert_eq!(masked_by_acl(&[3, 0, 0, 0]), None);
    }

    #[test]
    fn t3_both_ways_to_learn_the_umask_agree() {
        let from_proc = umask_from_proc().unwrap();
        assert_eq!(umask_from_queue(), Some(from_proc));
        let directory = std::fs::File::open("/dev/shm").unwrap();
        assert_eq!(Rules::of(directory.as_fd(), 0o7666).created(), Some(0o7666 & !from_proc));
    }

    #[test]
    fn t4_no_group_or_other_permission_while_named() {
        for mode in 0..=0o7777u32 {
            assert_eq!(while_named(mode) & 0o077, 0);
            assert_eq!(needs_more(mode), mode & !0o700 != 0);
        }
    }
}
