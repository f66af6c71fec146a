//! Whether a filesystem lets a file be used after it was unlinked (T6), tried once a filesystem and process.
//!
//! mergerfs answers a re-open through `/proc/self/fd/N` with ESTALE, `bindfs -o hard_remove` and some 9p servers refuse
//! fstat, reads and writes. It is a property of the filesystem, not of the process: one answer for all was somebody's
//! bug (kopia #2402).

use crate::fd::{Fd, openat};
use crate::identity;
use crate::name::{self, Kind, Name};
use crate::records::Records;
use crate::sys;
use crate::text::fd_path;
use crate::tmpfile::give_back;
use crate::tracker::Entry;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, fchmod, linkat, readlinkat_raw, statx};
use rustix::io::{Errno, pread, pwrite};

/// What becomes of a file whose name is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlinked {
    /// It can be used as before, and really has no name.
    Works,
    /// It can be used as before, but the server keeps a name of its own for it (`.fuse_hidden…`, `.nfs…`) in the same
    /// directory, until it is closed.
    Hides,
    /// Something fails: keep a hidden name.
    Breaks,
    /// A name could not be removed at all: make none.
    Impossible,
}

/// What was found out so far. Lock-free: an entry is one word, a lost race costs one more try of the filesystem.
#[repr(C)]
pub struct Survey {
    entries: [AtomicU64; 32],
    oldest: AtomicUsize,
    /// What the names of this process's private directories begin with; 0 until there is one.
    private: AtomicU64,
}

impl Default for Survey {
    fn default() -> Self {
        Self::new()
    }
}

impl Survey {
    /// Nothing known.
    pub const fn new() -> Self {
        Self { entries: [const { AtomicU64::new(0) }; 32], oldest: AtomicUsize::new(0), private: AtomicU64::new(0) }
    }

    /// The name of this thread's private directories, of which there is one at a time.
    pub(super) fn private_name(&self) -> Option<Name> {
        let mut process = self.private.load(Relaxed);
        if process == 0 {
            let mut random = [0u8; 8];
            name::random(&mut random).ok()?;
            let chosen = u64::from_ne_bytes(random) | 1;
            let known = self.private.compare_exchange(0, chosen, Relaxed, Relaxed);
            process = known.err().unwrap_or(chosen);
        }
        let bits = u128::from(process) << 64 | u128::from(sys::gettid());
        Some(Name::of(Kind::Private, bits.to_be_bytes()))
    }

    /// The answer for the filesystem of `directory`. A try that says nothing is not remembered. With a name a file can be
    /// used everywhere, so that is the answer then; not where only one descriptor is free, or nobody remembers names.
    #[inline(never)]
    pub fn ask(&self, directory: BorrowedFd<'_>, tracker: Option<&impl Records>) -> Unlinked {
        let filesystem = identity::filesystem(directory);
        if filesystem.is_some_and(|filesystem| filesystem.append_only) {
            return Unlinked::Impossible;
        }
        let key = filesystem.map(|filesystem| key(filesystem.device, filesystem.mount));
        if let Some(key) = key {
            let known = self.entries.iter().map(|entry| entry.load(Relaxed)).find(|entry| entry >> 2 == key);
            if let Some(entry) = known {
                return match entry & 3 {
                    0 => Unlinked::Works,
                    1 => Unlinked::Hides,
                    _ => Unlinked::Breaks,
                };
            }
        }
        let found = match attempt(directory, tracker) {
            Ok(found) => found,
            Err(Errno::MFILE) => return Unlinked::Works,
            Err(_) => return if tracker.is_some() { Unlinked::Breaks } else { Unlinked::Works },
        };
        let slot = self.oldest.fetch_add(1, Relaxed) % self.entries.len();
        if let (Some(key), Some(entry)) = (key, self.entries.get(slot)) {
            let found = match found {
                Unlinked::Works => 0,
                Unlinked::Hides => 1,
                _ => 2,
            };
            entry.store(key << 2 | found, Relaxed);
        }
        found
    }

    /// Takes over what another copy of this one has found out.
    pub fn learn(&self, other: &Self) {
        let known = |word| self.entries.iter().any(|entry| entry.load(Relaxed) == word);
        for found in other.entries.iter().map(|entry| entry.load(Relaxed)).filter(|&word| word != 0 && !known(word)) {
            let slot = self.oldest.fetch_add(1, Relaxed) % self.entries.len();
            if let Some(entry) = self.entries.get(slot) {
                entry.store(found, Relaxed);
            }
        }
        let _ = self.private.compare_exchange(0, other.private.load(Relaxed), Relaxed, Relaxed);
    }
}

/// Mixes device and mount into 62 bits, never 0.
fn key(device: u64, mount: u64) -> u64 {
    let mixed = device.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ mount.wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    (mixed >> 2) | 1
}

/// Does with a file of our own what programs do with theirs.
#[inline(never)]
fn attempt(directory: BorrowedFd<'_>, tracker: Option<&impl Records>) -> Result<Unlinked, Errno> {
    let name = Name::fresh(Kind::Probe)?;
    let ticket = announce(directory, &name, tracker);
    if tracker.is_some_and(Records::is_lost) {
        return Err(Errno::OPNOTSUPP);
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let created = openat(directory, name.as_c_str(), flags, Mode::RUSR | Mode::WUSR);
    if created.is_ok() {
        crate::fd::unlinkat(directory, name.as_c_str(), AtFlags::empty())?;
    }
    give_back(ticket);
    let file = created?;
    match use_unlinked(&file) {
        Ok(()) if still_has_a_name(directory, &file, tracker) => Ok(Unlinked::Hides),
        Ok(()) => Ok(Unlinked::Works),
        // Says nothing about the filesystem.
        Err(
            error @ (Errno::MFILE
            | Errno::NFILE
            | Errno::NOMEM
            | Errno::ACCESS
            | Errno::PERM
            | Errno::NOSPC
            | Errno::DQUOT),
        ) => Err(error),
        Err(_) => Ok(Unlinked::Breaks),
    }
}

fn announce<'a, R: Records>(directory: BorrowedFd<'_>, name: &Name, tracker: Option<&'a R>) -> Option<R::Ticket<'a>> {
    tracker?.announce(directory, b"", name, Entry::File { mode: None })
}

fn use_unlinked(file: &Fd) -> Result<(), Errno> {
    let fd = file.as_fd();
    let mut byte = [0u8; 1];
    // Attributes are cached for a second: only a forced look asks the server.
    match statx(fd, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS) {
        Ok(_) | Err(Errno::NOSYS | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    pwrite(fd, b"x", 0)?;
    pread(fd, &mut byte, 0)?;
    let mut path = fd_path(fd);
    let path = path.as_c_str().ok_or(Errno::NAMETOOLONG)?;
    let mut link = [0u8; 8];
    match readlinkat_raw(CWD, path, &mut link) {
        Ok(_) => {}
        // No /proc: nobody can re-open.
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error),
    }
    let again = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    pread(&again, &mut byte, 0)?;
    Ok(())
}

/// Whether the server still has a name for it: then it can be linked, once the kernel has been told the link count again,
/// which libfuse does in the answer to a change of attributes and only there. (The count itself is no help:
/// fuse-overlayfs says 1 and has no name.)
fn still_has_a_name(directory: BorrowedFd<'_>, file: &Fd, tracker: Option<&impl Records>) -> bool {
    let Ok(name) = Name::fresh(Kind::Probe) else { return true };
    let mut path = fd_path(file.as_fd());
    let Some(path) = path.as_c_str() else { return false };
    let _ = fchmod(file, Mode::RUSR | Mode::WUSR);
    let ticket = announce(directory, &name, tracker);
    if tracker.is_some_and(Records::is_lost) {
        return true;
    }
    let mut linked = linkat(CWD, path, directory, name.as_c_str(), AtFlags::SYMLINK_FOLLOW);
    if linked == Err(Errno::NOENT) {
        // It may be /proc that is missing: in another root, say.
        linked = linkat(file, c"", directory, name.as_c_str(), AtFlags::EMPTY_PATH);
    }
    if linked.is_err() || crate::fd::unlinkat(directory, name.as_c_str(), AtFlags::empty()).is_ok() {
        give_back(ticket);
    }
    // Where nobody can say, what is kept must not lie in a directory that is to go.
    !matches!(linked, Err(Errno::NOENT | Errno::PERM | Errno::OPNOTSUPP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::Tracker;
    use std::os::fd::AsFd;

    #[test]
    fn t6_an_ordinary_filesystem_is_asked_once_and_left_empty() {
        let root = std::env::temp_dir().join(format!("tmpshim-survey-{}", std::process::id()));
        std::fs::create_dir(&root).unwrap();
        let directory = std::fs::File::open(&root).unwrap();
        let survey = Survey::new();
        assert_eq!(survey.ask(directory.as_fd(), None::<&Tracker>), Unlinked::Works);
        let known = survey.entries[0].load(Relaxed);
        assert_ne!(known, 0);
        assert_eq!(survey.ask(directory.as_fd(), None::<&Tracker>), Unlinked::Works);
        assert_eq!(survey.entries[1].load(Relaxed), 0);
        survey.entries[0].store(known | 2, Relaxed);
        assert_eq!(survey.ask(directory.as_fd(), None::<&Tracker>), Unlinked::Breaks);
        let other = Survey::new();
        other.learn(&survey);
        other.learn(&survey);
        assert_eq!(other.ask(directory.as_fd(), None::<&Tracker>), Unlinked::Breaks);
        assert_eq!(other.entries[1].load(Relaxed), 0);
        std::fs::remove_dir(&root).unwrap();
    }
}
