//! Through whose eyes a directory is seen: this process's own, or another's, in whose root and mounts, and with whose
//! rights.
//!
//! A directory is opened in the other's root, by a descriptor of that root; what is tried is then tried relative to the
//! directory. So this process stays in its own mount namespace, whose /proc is the one that speaks of it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, LinkNameSpaceType, capabilities, move_into_link_name_space, set_capabilities,
    set_keep_capabilities,
};
use tmpshim_core::kin;

use super::child::rights_have_changed;
use super::errno;

/// A process to look through. All of it is opened before rights are given up.
#[derive(Debug)]
pub(super) struct Outlook {
    /// Of another process.
    root: Option<OwnedFd>,
    mounts: Vec<u8>,
    rights: Option<Rights>,
    /// The user namespace in which those rights count, if it is not ours.
    namespace: Option<(u32, File)>,
}

/// What decides what a process may do with a file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Rights {
    /// Real, effective, saved, and the one for files.
    pub(super) users: [u32; 4],
    pub(super) groups: [u32; 4],
    pub(super) more_groups: Vec<u32>,
    pub(super) capabilities: u64,
}

impl Rights {
    /// From the text of `/proc/PID/status`.
    pub(super) fn parse(status: &str) -> Option<Self> {
        let field = |label: &str| status.lines().find_map(|line| line.strip_prefix(label));
        let numbers = |label: &str| -> Option<Vec<u32>> {
            field(label)?.split_whitespace().map(|number| number.parse().ok()).collect()
        };
        Some(Self {
            users: numbers("Uid:")?.try_into().ok()?,
            groups: numbers("Gid:")?.try_into().ok()?,
            more_groups: numbers("Groups:")?,
            capabilities: u64::from_str_radix(field("CapEff:")?.trim(), 16).ok()?,
        })
    }
}

/// The inode that stands for a namespace of a process.
pub(super) fn namespace(pid: &str, kind: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/{kind}")).map(|namespace| namespace.ino()).ok()
}

impl Outlook {
    /// This process's own.
    pub(super) fn own() -> Self {
        let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
        Self { root: None, mounts, rights: None, namespace: None }
    }

    /// That of a process, which was started at `start`.
    ///
    /// # Errors
    /// Why it cannot be had, for people.
    pub(super) fn of(pid: u32, start: u64) -> Result<Self, String> {
        let refused = |what: &str, error: std::io::Error| {
            let error = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            let remedy = if matches!(error, Errno::ACCESS | Errno::PERM) { "; run tmpshim doctor as root" } else { "" };
            format!("{what} of process {pid}: {}{remedy}", errno::said(error))
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty());
        let root = root.map_err(|error| refused("the root", error.into()))?;
        let mounts = fs::read(format!("/proc/{pid}/mountinfo")).map_err(|error| refused("the mounts", error))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|error| refused("the status", error))?;
        let rights = Rights::parse(&status).ok_or_else(|| format!("the rights of process {pid} cannot be read"))?;
        let theirs = namespace(&pid.to_string(), "user");
        let namespace = if theirs == namespace("self", "user") {
            None
        } else {
            let file = File::open(format!("/proc/{pid}/ns/user"));
            Some((pid, file.map_err(|error| refused("the user namespace", error))?))
        };
        if kin::status(pid).is_none_or(|seen| seen.is_zombie || seen.start != start) {
            return Err(format!("process {pid} has ended meanwhile"));
        }
        Ok(Self { root: Some(root), mounts, rights: Some(rights), namespace })
    }

    /// Takes on the rights, for good: for a process of the doctor's that ends soon.
    ///
    /// # Errors
    /// Why they cannot be had, for people.
    pub(super) fn enter(&mut self) -> Result<(), String> {
        let Some(wanted) = self.rights.take() else { return Ok(()) };
        let own = fs::read_to_string("/proc/thread-self/status").ok().and_then(|status| Rights::parse(&status));
        if self.namespace.is_none() && own.as_ref() == Some(&wanted) {
            return Ok(());
        }
        self.take_on(wanted, own.as_ref()).map_err(|error| {
            format!("its user's rights cannot be taken on: {}; run tmpshim doctor as root", errno::said(error))
        })
    }

    fn take_on(&mut self, mut wanted: Rights, own: Option<&Rights>) -> Result<(), Errno> {
        let mut has_groups = own.is_some_and(|own| own.more_groups == wanted.more_groups);
        if let Some((pid, namespace)) = self.namespace.take() {
            // In there it may be forbidden to change them, and ours must not stay.
            set_groups(&[])?;
            has_groups = wanted.more_groups.is_empty();
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User))?;
            // The numbers as they are in there.
            let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|_| Errno::SRCH)?;
            wanted = Rights::parse(&status).ok_or(Errno::INVAL)?;
            let denied = fs::read_to_string(format!("/proc/{pid}/setgroups")).is_ok_and(|word| word.trim() == "deny");
            has_groups |= denied;
        }
        set_keep_capabilities(true)?;
        if !has_groups {
            set_groups(&wanted.more_groups)?;
        }
        set_ids(libc::SYS_setresgid, libc::SYS_setfsgid, wanted.groups)?;
        set_ids(libc::SYS_setresuid, libc::SYS_setfsuid, wanted.users)?;
        let sets = capabilities(None)?;
        let effective = CapabilitySet::from_bits_retain(wanted.capabilities);
        if !sets.permitted.contains(effective) {
            return Err(Errno::PERM);
        }
        let inheritable = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective, permitted: effective, inheritable })?;
        rights_have_changed();
        Ok(())
    }

    /// Opens a directory, to be named only (O_PATH).
    ///
    /// # Errors
    /// As open(2); ENOSYS in another's root before Linux 5.6.
    pub(super) fn open(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match &self.root {
            None => openat(CWD, path, flags, Mode::empty()),
            Some(root) => openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT),
        }
    }

    /// The same for a file, to be read.
    ///
    /// # Errors
    /// As [`Outlook::open`].
    pub(super) fn read(&self, path: &Path) -> Result<File, Errno> {
        // A FIFO or device that lies there must not hold us up.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match &self.root {
            None => openat(CWD, path, flags, Mode::empty()),
            Some(root) => openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT),
        };
        file.map(File::from)
    }

    /// What a symbolic link says, in the other's root.
    pub(super) fn link(&self, path: &Path) -> Option<std::path::PathBuf> {
        let (parent, name) = (path.parent()?, path.file_name()?);
        let parent = self.open(parent).ok()?;
        let link = rustix::fs::readlinkat(&parent, name, Vec::new()).ok()?;
        Some(Path::new(OsStr::from_bytes(link.to_bytes())).to_path_buf())
    }

    /// The mount table as that process has it (proc(5), mountinfo).
    pub(super) fn mounts(&self) -> &[u8] {
        &self.mounts
    }

    /// Whether it is this process's own.
    pub(super) fn is_own(&self) -> bool {
        self.root.is_none()
    }
}

/// By the system call itself: libc's function would do the same in every thread.
fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the call reads as many numbers as it is told.
    let answer = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    if answer == 0 { Ok(()) } else { Err(last_error()) }
}

fn set_ids(set_three: libc::c_long, set_one: libc::c_long, wanted: [u32; 4]) -> Result<(), Errno> {
    let [real, effective, saved, for_files] = wanted;
    // SAFETY: numbers only.
    if unsafe { libc::syscall(set_three, real, effective, saved) } != 0 {
        return Err(last_error());
    }
    if for_files != effective {
        // It answers with the one before, so only asking again tells.
        // SAFETY: numbers only.
        let now = unsafe {
            libc::syscall(set_one, for_files);
            libc::syscall(set_one, u32::MAX)
        };
        if now as u32 != for_files {
            return Err(Errno::PERM);
        }
    }
    Ok(())
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read_as_proc_tells_them() {
        let status = "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \nCapEff:\t00000000000000ff\n";
        let rights = Rights::parse(status).unwrap();
        assert_eq!((rights.users, rights.groups), ([1, 2, 3, 4], [5, 6, 7, 8]));
        assert_eq!((rights.more_groups, rights.capabilities), (vec![9, 10], 255));
        assert!(Rights::parse("Uid:\t1\t2\n").is_none());
    }

    #[test]
    fn this_process_can_be_looked_through_as_another() {
        let pid = std::process::id();
        let start = kin::status(pid).unwrap().start;
        let mut outlook = Outlook::of(pid, start).unwrap();
        outlook.enter().unwrap();
        assert!(outlook.open(Path::new("/")).is_ok() && !outlook.mounts().is_empty());
        assert!(Outlook::of(pid, start + 1).unwrap_err().contains("ended"));
        assert!(Outlook::of(i32::MAX as u32, 1).unwrap_err().contains("ENOENT"));
    }
}
