//! The thread that made a call, seen from outside through `/proc/TID`: its memory, its place in the filesystem, and what
//! it may do (S2).

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Statx, StatxFlags, openat, readlinkat, statx};
use rustix::io::Errno;

use crate::last_errno;
use crate::rights::Rights;

/// The longest path the kernel takes, with its NUL.
const PATH_MAX: usize = 4096;
const PAGE: u64 = 4096;

/// A thread that waits in a call.
#[derive(Debug)]
pub(crate) struct Target {
    /// Its number here.
    pub(crate) thread: u32,
    pub(crate) root: OwnedFd,
    /// Whether its paths lead where ours do: the same root in the same mount namespace.
    is_at_home: bool,
}

/// What `/proc/TID/status` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) process: u32,
    pub(crate) umask: u32,
    pub(crate) rights: Rights,
}

/// A directory, as a place in a mount namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    inode: u64,
    mount: u64,
}

impl Place {
    /// Nothing before Linux 5.8, which has no supervisor.
    pub(crate) fn of(directory: BorrowedFd<'_>) -> Option<Self> {
        Self::seen(&statx(directory, "", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::MNT_ID).ok()?)
    }

    fn seen(seen: &Statx) -> Option<Self> {
        let known = seen.stx_mask & StatxFlags::MNT_ID.bits() != 0;
        known.then_some(Self { inode: seen.stx_ino, mount: seen.stx_mnt_id })
    }
}

/// Whether a thread's root is `home`, and so its paths lead where ours do.
pub(crate) fn is_at_home(thread: u32, home: Place) -> bool {
    let wanted = StatxFlags::INO | StatxFlags::MNT_ID;
    let seen = statx(CWD, format!("/proc/{thread}/root"), AtFlags::empty(), wanted);
    seen.ok().and_then(|seen| Place::seen(&seen)) == Some(home)
}

impl Target {
    /// `home` is our own root.
    pub(crate) fn of(thread: u32, home: Place) -> Option<Self> {
        let root = place(thread, "root").ok()?;
        let is_at_home = Place::of(root.as_fd())? == home;
        Some(Self { thread, root, is_at_home })
    }

    /// One whose paths are not followed from here, so that its root does not matter.
    pub(crate) fn elsewhere(thread: u32) -> Option<Self> {
        Some(Self { thread, root: place(thread, "root").ok()?, is_at_home: false })
    }

    /// Its root, if that is not ours.
    pub(crate) fn other_root(&self) -> Option<&OwnedFd> {
        (!self.is_at_home).then_some(&self.root)
    }

    /// Whether a path that leads somewhere in its mount namespace, from our root, leads there in ours as well.
    pub(crate) fn shares_mounts(&self) -> bool {
        let namespace = |whose: &str| Some(fs::metadata(format!("/proc/{whose}/ns/mnt")).ok()?.ino());
        self.is_at_home || {
            let theirs = namespace(&self.thread.to_string());
            theirs.is_some() && theirs == namespace("self")
        }
    }

    pub(crate) fn status(&self) -> Option<Status> {
        Status::of(self.thread)
    }

    /// The name of the program that it runs.
    pub(crate) fn program(&self) -> Vec<u8> {
        let path = fs::read_link(format!("/proc/{}/exe", self.thread)).unwrap_or_default();
        path.file_name().unwrap_or_default().as_bytes().to_vec()
    }

    /// The text of the link that stands for one of its descriptors, as it leads from our root.
    pub(crate) fn descriptor_link(&self, number: i32) -> Option<Vec<u8>> {
        if number < 0 {
            return None;
        }
        let link = readlinkat(CWD, format!("/proc/{}/fd/{number}", self.thread), Vec::new()).ok()?;
        Some(link.into_bytes())
    }
}

impl Status {
    /// Of a thread, by the number it has here.
    pub(crate) fn of(thread: u32) -> Option<Self> {
        let text = fs::read(format!("/proc/{thread}/status")).ok()?;
        let namespace = fs::metadata(format!("/proc/{thread}/ns/user")).ok()?.ino();
        // Where there is no security module, nobody has one.
        let label = fs::read(format!("/proc/{thread}/attr/current")).unwrap_or_default();
        Self::parse(&text, namespace, label)
    }

    fn parse(text: &[u8], namespace: u64, label: Vec<u8>) -> Option<Self> {
        let line = |name| line(text, name);
        let numbers = |name| -> Option<Vec<u32>> {
            line(name)?.split_ascii_whitespace().map(|number| number.parse().ok()).collect()
        };
        let mut groups = numbers("Groups")?;
        groups.sort_unstable();
        Some(Self {
            process: line("Tgid")?.parse().ok()?,
            umask: u32::from_str_radix(line("Umask")?, 8).ok()?,
            rights: Rights {
                users: numbers("Uid")?.try_into().ok()?,
                groups: numbers("Gid")?.try_into().ok()?,
                more_groups: groups,
                capabilities: u64::from_str_radix(line("CapEff")?, 16).ok()?,
                namespace,
                label,
            },
        })
    }
}

/// What stands behind `name` in one of /proc's files of `name:` and value.
pub(crate) fn line<'a>(text: &'a [u8], name: &str) -> Option<&'a str> {
    let mut lines = text.split(|&byte| byte == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))?;
    str::from_utf8(value).ok().map(str::trim)
}

/// Reads the path at `address`. Nothing where the kernel would not find one either.
pub(crate) fn path(thread: u32, address: u64) -> Option<Vec<u8>> {
    // Most are short, and the time goes by the length.
    for room in [256, PATH_MAX] {
        let mut path = vec![0; room];
        let read = memory(thread, address, &mut path)?;
        if let Some(length) = path[..read].iter().position(|&byte| byte == 0) {
            path.truncate(length);
            return Some(path);
        }
    }
    None
}

/// Reads `length` bytes at `address`, a page at most.
pub(crate) fn bytes(thread: u32, address: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    (memory(thread, address, &mut bytes)? == length).then_some(bytes)
}

/// Reads as much as there is from `address` on. How much that was.
fn memory(thread: u32, address: u64, bytes: &mut [u8]) -> Option<usize> {
    // What is read by one element is read whole or not at all, so each page has one.
    let first = bytes.len().min((PAGE - address % PAGE) as usize);
    let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let element = |start: u64, length| libc::iovec { iov_base: start as *mut libc::c_void, iov_len: length };
    let remote = [element(address, first), element(address.checked_add(first as u64)?, bytes.len() - first)];
    // SAFETY: what is written to is `bytes`, as long as it says; the remote addresses are the other process's.
    let read = unsafe { libc::process_vm_readv(thread as libc::pid_t, &raw const local, 1, remote.as_ptr(), 2, 0) };
    if read >= 0 {
        return Some(read as usize);
    }
    // Old container profiles forbid the call and not the file; which, though, does not mind pages that nobody may read.
    if !matches!(last_errno(), Errno::PERM | Errno::NOSYS) {
        return None;
    }
    let memory = File::open(format!("/proc/{thread}/mem")).ok()?;
    let mut length = memory.read_at(&mut bytes[..first], address).ok()?;
    if length == first {
        length += memory.read_at(&mut bytes[first..], address + first as u64).unwrap_or(0);
    }
    Some(length)
}

/// Opens what `/proc/TID/…` points to, without any right to it but that of being there.
pub(crate) fn place(thread: u32, what: &str) -> Result<OwnedFd, Errno> {
    openat(CWD, format!("/proc/{thread}/{what}"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};

    #[test]
    fn s2_status_is_read_as_the_kernel_writes_it() {
        let text = "Name:\tUid: \\n7\nUmask:\t0027\nTgid:\t41\nPid:\t42\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n\
                    Groups:\t30 4 \nCapEff:\t000001ffffffffff\n";
        let rights = Rights {
            users: [1, 2, 3, 4],
            groups: [5, 6, 7, 8],
            more_groups: vec![4, 30],
            capabilities: 0x1ff_ffff_ffff,
            namespace: 9,
            label: b"runc".to_vec(),
        };
        assert_eq!(
            Status::parse(text.as_bytes(), 9, b"runc".to_vec()),
            Some(Status { process: 41, umask: 0o27, rights })
        );
        assert_eq!(Status::parse(text.replace("Umask", "U").as_bytes(), 9, Vec::new()), None);
        assert_eq!(Status::of(std::process::id()).unwrap().process, std::process::id());
    }

    #[test]
    fn s2_memory_is_read_up_to_the_end_of_the_path_and_of_the_mapping() {
        let own = std::process::id();
        assert_eq!(path(own, c"/some/path".as_ptr() as u64).as_deref(), Some(&b"/some/path"[..]));
        assert_eq!(path(own, 8), None);
        assert_eq!(path(own, u64::MAX), None);
        let long = vec![b'x'; PATH_MAX + 1];
        assert_eq!(path(own, long.as_ptr() as u64), None);
        let how = [1u64, 2, 3];
        assert_eq!(bytes(own, how.as_ptr() as u64, 24).unwrap()[8], 2);
        assert_eq!(bytes(own, 8, 24), None);
        // A path that ends where the mapping ends.
        // SAFETY: two pages of its own, of which the second is then closed.
        let page = unsafe {
            let pages =
                mmap_anonymous(std::ptr::null_mut(), 8192, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
                    .unwrap();
            mprotect(pages.add(4096), 4096, MprotectFlags::empty()).unwrap();
            pages.add(4096 - 5).cast::<[u8; 5]>().write(*b"/end\0");
            pages as u64
        };
        assert_eq!(path(own, page + 4096 - 5).as_deref(), Some(&b"/end"[..]));
        assert_eq!(path(own, page + 4096), None);
    }
}
