//! What processes and their threads have: proc(5).
//!
//! Nothing here waits for a filesystem's server. Links are read and not followed; open files are known by their fdinfo
//! (`ino` is there since Linux 5.14); where a link must be followed, with AT_STATX_DONT_SYNC, and not onto a filesystem
//! that may ask its server for the path's sake alone (NFS, 9p).

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fs;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, StatxFlags, openat, readlinkat, statx};
use rustix::io::Errno;
use tmpshim_core::identity::number_after;
use tmpshim_core::kin;

use super::{How, InUse, User};
use crate::sweep::mounts::Mounts;

/// `PROC_PID_INIT_INO` of linux/proc_ns.h: the PID namespace that the machine started with.
const INITIAL: u64 = 0xefff_fffc;
const KCMP_FILES: i32 = 2;
const KCMP_FS: i32 = 3;

/// Adds what every process has that can be seen.
pub(super) fn add(in_use: &mut InUse, mounts: &Mounts) {
    let mut all = 0;
    for pid in numbers("/proc") {
        all += 1;
        Look { in_use, mounts, pid }.process();
    }
    let is_initial = kin::pid_namespace() == INITIAL;
    in_use.unseen.hidden = all == 0 || !is_initial || fs::read("/proc/1/stat").is_err();
}

/// The entries of a directory of /proc that are numbers.
fn numbers(path: &str) -> Vec<u32> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

struct Look<'a> {
    in_use: &'a mut InUse,
    mounts: &'a Mounts,
    pid: u32,
}

impl Look<'_> {
    fn process(&mut self) {
        let pid = self.pid;
        let leader = format!("/proc/{pid}/task/{pid}");
        if !self.paths_of(&leader) {
            let user = user(pid);
            // The machine's init, which sandboxes hide from root too, has nothing in others' temporary directories.
            if !(pid == 1 && user == Some(0) && kin::pid_namespace() == INITIAL) {
                self.in_use.unseen.processes += 1;
                self.in_use.unseen.users.extend(user);
            }
            return;
        }
        self.files_of(&leader);
        let mut has_memory = self.maps_of(&leader);
        self.link(&format!("/proc/{pid}/exe"), How::Program);
        for thread in numbers(&format!("/proc/{pid}/task")) {
            if thread == pid {
                continue;
            }
            let task = format!("/proc/{pid}/task/{thread}");
            // Also where the first thread has ended and the others go on: then it has none of these.
            if !shares(pid, thread, KCMP_FS) {
                self.paths_of(&task);
            }
            if !shares(pid, thread, KCMP_FILES) {
                self.files_of(&task);
            }
            has_memory = has_memory || self.maps_of(&task);
        }
        self.names();
    }

    /// Working directory and root; whether one may look.
    fn paths_of(&mut self, task: &str) -> bool {
        let may = self.link(&format!("{task}/cwd"), How::WorkingDirectory);
        may && self.link(&format!("{task}/root"), How::Root)
    }

    /// One link that stands for a file; whether one may look.
    fn link(&mut self, path: &str, how: How) -> bool {
        let user = User::Process { pid: self.pid, how };
        let target = match readlinkat(CWD, path, Vec::new()) {
            Ok(target) => target.into_bytes(),
            Err(error) => return !matches!(error, Errno::ACCESS | Errno::PERM),
        };
        if target != b"/" {
            self.in_use.add_path(&target, user);
        }
        if let Ok(path) = CString::new(path) {
            self.follow(CWD, &path, &target, user);
        }
        true
    }

    fn follow(&mut self, directory: impl std::os::fd::AsFd, name: &CStr, target: &[u8], user: User) {
        if self.mounts.is_remote(target) {
            return;
        }
        let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        if let Ok(seen) = statx(directory, name, flags, StatxFlags::INO) {
            let device = rustix::fs::makedev(seen.stx_dev_major, seen.stx_dev_minor);
            self.in_use.add_file(Some(device), seen.stx_ino, user);
        }
    }

    fn files_of(&mut self, task: &str) {
        let user = User::Process { pid: self.pid, how: How::OpenFile };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(links) = openat(CWD, format!("{task}/fd"), flags, Mode::empty()) else { return };
        let Ok(entries) = Dir::read_from(&links) else { return };
        let texts = openat(CWD, format!("{task}/fdinfo"), flags, Mode::empty());
        let mut known = HashSet::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Ok(target) = readlinkat(&links, name, Vec::new()) else { continue };
            let target = target.into_bytes();
            // Pipes, sockets and the like have no path.
            if target.first() != Some(&b'/') {
                continue;
            }
            let text = texts.as_ref().ok().and_then(|texts| read_at(texts, name)).unwrap_or_default();
            match (number_after(&text, b"ino:", 10), number_after(&text, b"mnt_id:", 10)) {
                (Some(inode), Some(mount)) => {
                    let device = self.mounts.device(mount).or_else(|| Mounts::device_for(self.pid, mount));
                    // The kernel's own mounts are in no table: what lies there has no directory.
                    if (device.is_some() || !target.ends_with(b" (deleted)")) && known.insert((device, inode)) {
                        self.in_use.add_file(device, inode, user);
                    }
                }
                _ => self.follow(&links, name, &target, user),
            }
            self.in_use.add_path(&target, user);
        }
    }

    /// Mapped files; whether there is any memory.
    fn maps_of(&mut self, task: &str) -> bool {
        let user = User::Process { pid: self.pid, how: How::MappedFile };
        let Ok(maps) = fs::read(format!("{task}/maps")) else { return false };
        let mut last = (0, 0);
        for line in maps.split(|&byte| byte == b'\n') {
            let Some((device, inode, path)) = mapped(line) else { continue };
            if (device, inode) != last {
                last = (device, inode);
                self.in_use.add_file(Some(device), inode, user);
                self.in_use.add_path(path, user);
            }
        }
        !maps.is_empty()
    }

    /// What its environment and command line name: a program may remember a directory that it has nothing open in, or be
    /// told of one by a path from where it works (CRIU tells apparmor_parser so).
    fn names(&mut self) {
        let user = User::Process { pid: self.pid, how: How::Named };
        let cwd = readlinkat(CWD, format!("/proc/{}/cwd", self.pid), Vec::new()).map(CString::into_bytes).ok();
        for (file, cwd) in [("environ", None), ("cmdline", cwd)] {
            let text = fs::read(format!("/proc/{}/{file}", self.pid)).unwrap_or_default();
            self.in_use.named.extend(named(&text, cwd.as_deref()).map(|path| (path, user)));
        }
    }
}

/// The paths in an environment, or in the command line of a process that works in `cwd`.
fn named(text: &[u8], cwd: Option<&[u8]>) -> impl Iterator<Item = Vec<u8>> {
    // A shell's notes about where somebody was.
    let is_note = |part: &[u8]| part.starts_with(b"OLDPWD=") || part.starts_with(b"PWD=");
    let parts = text.split(|&byte| byte == 0).filter(move |part| cwd.is_some() || !is_note(part));
    let words = parts.flat_map(|part| part.split(|byte| matches!(byte, b'=' | b':' | b',')));
    words.filter_map(move |word| match word {
        [] | [b'/'] | [b'-', ..] => None,
        [b'/', ..] => Some(word.to_vec()),
        _ => {
            let word = word.strip_prefix(b"./").unwrap_or(word);
            cwd.map(|cwd| [cwd, b"/", word].concat())
        }
    })
}

/// A line of `/proc/PID/maps` that is about a file.
fn mapped(line: &[u8]) -> Option<(u64, u64, &[u8])> {
    let mut fields = line.splitn(6, |&byte| byte == b' ');
    let device = str::from_utf8(fields.nth(3)?).ok()?;
    let inode = str::from_utf8(fields.next()?).ok()?.parse().ok().filter(|&inode| inode != 0)?;
    let (major, minor) = device.split_once(':')?;
    let hexadecimal = |number| u32::from_str_radix(number, 16).ok();
    Some((rustix::fs::makedev(hexadecimal(major)?, hexadecimal(minor)?), inode, fields.next()?.trim_ascii_start()))
}

fn read_at(directory: impl std::os::fd::AsFd, name: &CStr) -> Option<Vec<u8>> {
    let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = vec![0; 512];
    let length = rustix::io::read(&file, &mut text).ok()?;
    text.truncate(length);
    Some(text)
}

/// Whether two threads have the same table of files, or the same directories; no where it cannot be told (kcmp(2)).
fn shares(one: u32, other: u32, what: i32) -> bool {
    // SAFETY: numbers only.
    unsafe { libc::syscall(libc::SYS_kcmp, one, other, what, 0u64, 0u64) == 0 }
}

/// Whose a process is. Its directory in /proc would say root of one that must not be looked into.
fn user(pid: u32) -> Option<u32> {
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    number_after(&status, b"Uid:", 10)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d6_lines_of_maps() {
        let line = b"7f0000000000-7f0000001000 r--p 00000000 fe:01 4711                       /tmp/a b (deleted)";
        assert_eq!(mapped(line), Some((rustix::fs::makedev(254, 1), 4711, &b"/tmp/a b (deleted)"[..])));
        assert_eq!(mapped(b"7ffc0000-7ffd0000 rw-p 00000000 00:00 0                          [stack]"), None);
        assert_eq!(mapped(b""), None);
    }

    #[test]
    fn d6_a_file_on_a_mount_that_was_made_since_is_no_other_filesystems() {
        let open = tempfile::NamedTempFile::new().unwrap();
        let seen = rustix::fs::fstat(&open).unwrap();
        let mut in_use = InUse::default();
        // No mount is known.
        add(&mut in_use, &Mounts::default());
        let uses = |device, inode| in_use.file(super::super::File { device, mounted: Some(device), inode });
        let own = User::Process { pid: std::process::id(), how: How::OpenFile };
        assert_eq!(uses(seen.st_dev, seen.st_ino), Some(own));
        assert_ne!(uses(seen.st_dev ^ 1 << 20, seen.st_ino), Some(own));
    }

    #[test]
    fn d6_paths_in_environments_and_command_lines() {
        let environment = b"A=/tmp/a\0PWD=/tmp/b\0OLDPWD=/tmp/c\0PATH=/bin:/sbin\0D=d/e\0";
        assert_eq!(named(environment, None).collect::<Vec<_>>(), [&b"/tmp/a"[..], b"/bin", b"/sbin"]);
        let command = b"program\0-x\0--out=/tmp/o\0./a/b\0c\0";
        let expected = [&b"/w/program"[..], b"/tmp/o", b"/w/a/b", b"/w/c"];
        assert_eq!(named(command, Some(b"/w")).collect::<Vec<_>>(), expected);
    }
}
