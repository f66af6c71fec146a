//! The thread that made a call, seen from outside through `/proc/TID`: its memory, its place in the filesystem, and what
//! it may do (S2).

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::Errno;
use rustix::process::{fchdir, umask};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

/// The longest path the kernel takes, with its NUL.
const PATH_MAX: usize = 4096;

/// What decides what a thread may do with a file, but for its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    user: u32,
    group: u32,
    groups: Vec<u32>,
    capabilities: u64,
    /// Inode of its user namespace: a capability counts there.
    namespace: u64,
}

/// What `/proc/TID/status` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) process: u32,
    pub(crate) umask: u32,
    pub(crate) rights: Rights,
}

impl Status {
    /// Of a thread, by the number it has here.
    pub(crate) fn of(thread: u32) -> Option<Self> {
        let text = fs::read(format!("/proc/{thread}/status")).ok()?;
        let namespace = fs::metadata(format!("/proc/{thread}/ns/user")).ok()?.ino();
        Self::parse(&String::from_utf8_lossy(&text), namespace)
    }

    fn parse(text: &str, namespace: u64) -> Option<Self> {
        let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        // Real, effective, saved, and the one that counts for files.
        let for_files = |name| line(name)?.split_ascii_whitespace().nth(3)?.parse().ok();
        let mut groups =
            line("Groups")?.split_ascii_whitespace().map(|group| group.parse().ok()).collect::<Option<Vec<u32>>>()?;
        groups.sort_unstable();
        Some(Self {
            process: line("Tgid")?.trim().parse().ok()?,
            umask: u32::from_str_radix(line("Umask")?.trim(), 8).ok()?,
            rights: Rights {
                user: for_files("Uid")?,
                group: for_files("Gid")?,
                groups,
                capabilities: u64::from_str_radix(line("CapEff")?.trim(), 16).ok()?,
                namespace,
            },
        })
    }
}

/// Reads the path at `address`. Nothing where the kernel would not find one either.
pub(crate) fn path(thread: u32, address: u64) -> Option<Vec<u8>> {
    let memory = File::open(format!("/proc/{thread}/mem")).ok()?;
    let mut path = vec![0; PATH_MAX];
    let mut length = 0;
    while length < PATH_MAX {
        let read = memory.read_at(&mut path[length..], address.checked_add(length as u64)?).ok()?;
        if read == 0 {
            return None;
        }
        if let Some(end) = path[length..length + read].iter().position(|&byte| byte == 0) {
            path.truncate(length + end);
            return Some(path);
        }
        length += read;
    }
    None
}

/// Reads `LENGTH` bytes at `address`.
pub(crate) fn bytes<const LENGTH: usize>(thread: u32, address: u64) -> Option<[u8; LENGTH]> {
    let memory = File::open(format!("/proc/{thread}/mem")).ok()?;
    let mut bytes = [0; LENGTH];
    memory.read_exact_at(&mut bytes, address).ok()?;
    Some(bytes)
}

/// Opens what `/proc/TID/…` points to, without any right to it but that of being there.
pub(crate) fn place(thread: u32, what: &str) -> Result<OwnedFd, Errno> {
    openat(CWD, format!("/proc/{thread}/{what}"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// Makes this process, which must have one thread and end soon, one that may do what the target may: same root, umask
/// and rights. `None` where that cannot be had exactly, and then nothing may be done in the target's name.
pub(crate) fn become_like(root: &OwnedFd, status: &Status, own: &Rights) -> Option<()> {
    let here = openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    if !is_same_place(root, &here)? {
        fchdir(root).ok()?;
        rustix::process::chroot(".").ok()?;
    }
    umask(Mode::from_raw_mode(status.umask));
    let wanted = &status.rights;
    if wanted == own {
        return Some(());
    }
    if wanted.namespace != own.namespace || wanted.capabilities & !own.capabilities != 0 {
        return None;
    }
    // libc's own functions would look for other threads, and the kernel's are enough here.
    // SAFETY: the calls read `groups` at most, which lives on.
    let taken_on = unsafe {
        (wanted.groups == own.groups
            || libc::syscall(libc::SYS_setgroups, wanted.groups.len(), wanted.groups.as_ptr()) == 0)
            && libc::syscall(libc::SYS_setresgid, wanted.group, wanted.group, wanted.group) == 0
            && libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0
            && libc::syscall(libc::SYS_setresuid, wanted.user, wanted.user, wanted.user) == 0
    };
    if !taken_on {
        return None;
    }
    let mut sets = capabilities(None).ok()?;
    let effective = CapabilitySet::from_bits_retain(wanted.capabilities);
    if sets.effective != effective {
        sets.effective = effective;
        sets.permitted = effective;
        sets.inheritable = CapabilitySet::empty();
        set_capabilities(None, sets).ok()?;
    }
    Some(())
}

fn is_same_place(one: &OwnedFd, other: &OwnedFd) -> Option<bool> {
    let wanted = StatxFlags::INO | StatxFlags::MNT_ID;
    let [one, other] = [one, other].map(|place| {
        let seen = statx(place, "", AtFlags::EMPTY_PATH, wanted).ok()?;
        (seen.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some((seen.stx_ino, seen.stx_mnt_id))
    });
    Some(one? == other?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_status_is_read_as_the_kernel_writes_it() {
        let text = "Name:\tUid: \\n7\nUmask:\t0027\nTgid:\t41\nPid:\t42\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n\
                    Groups:\t30 4 \nCapEff:\t000001ffffffffff\n";
        let rights = Rights { user: 4, group: 8, groups: vec![4, 30], capabilities: 0x1ff_ffff_ffff, namespace: 9 };
        assert_eq!(Status::parse(text, 9), Some(Status { process: 41, umask: 0o27, rights }));
        assert_eq!(Status::parse(&text.replace("Umask", "U"), 9), None);
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
        assert_eq!(bytes::<24>(own, how.as_ptr() as u64).unwrap()[8], 2);
        assert_eq!(bytes::<24>(own, 8), None);
    }
}
