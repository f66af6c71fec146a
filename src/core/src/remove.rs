//! Removing a directory with all it holds, and nothing else (D6).
//!
//! Descriptor-relative at every level, O_NOFOLLOW, never across a mount point, and never more than [`RETAINED`] + 3
//! descriptors however deep it goes. Deeper than that it comes back up through `..`, and checks by device and inode that
//! what it reached is where it came from: somebody who moves the directory away in between must not lead us out of it.
//!
//! Memory comes from mmap(2), once for all directories of one clean-up; nothing recurses, so it runs on a small stack.

use crate::fd::{Fd, openat, openat2};
use crate::identity::{self, Identity};
use crate::listing::Listed;
use crate::mapping::Mapping;
use crate::sys;
use crate::text::until_nul;
use core::ffi::CStr;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, SeekFrom, fchmod, seek};
use rustix::io::Errno;

/// Down to this depth descriptors and listings are kept, so that coming back up costs nothing.
const RETAINED: usize = 8;
/// Bytes of one directory listing: some 1,000 entries.
const LISTING: usize = 32 * 1024;
/// How often directories in which something was removed are looked through again before they are given up, all of a tree
/// together: somebody may be filling them as fast as they are emptied, or a server renames what is open and unlinked.
const PASSES: u32 = 64;

/// What became of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is gone, and this was us.
    Removed,
    /// It was gone already, or something else has its name by now.
    NotThere,
    /// It is not empty, and contents were to be left.
    NotEmpty,
    /// It, or something in it, cannot be removed.
    Stuck(Stuck),
}

/// Why something stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stuck {
    /// A file or directory in it, or it itself, is a mount point.
    Mounted,
    /// It is seen through another mount than the one it was made in: another mount namespace, for one.
    OtherNamespace,
    /// A process that was forked or started since it was made lives on, or somebody has the file open.
    InUse,
    /// A journal says it, and nothing that we make is like that.
    Suspect,
    /// A system call's answer.
    Refused(Errno),
}

impl Stuck {
    /// A mount point says EBUSY where it is to be removed, and EXDEV where it is to be opened.
    #[inline(never)]
    fn by(error: Errno) -> Self {
        match error {
            Errno::BUSY | Errno::XDEV => Self::Mounted,
            Errno::EXIST => Self::Refused(Errno::NOTEMPTY),
            error => Self::Refused(error),
        }
    }
}

/// Where the removal of one directory stands, at one level of the tree.
#[derive(Clone, Copy)]
struct Level {
    /// -1 where it was closed to save descriptors.
    fd: RawFd,
    device: u64,
    inode: u64,
    /// Where the listing goes on behind the entry that was handled last.
    offset: u64,
    /// The unread part of the listing in memory.
    start: u32,
    end: u32,
    passes: u32,
    /// Something was removed in this pass.
    progress: bool,
    /// The listing in memory is this level's.
    listed: bool,
    /// Its permissions were widened already.
    widened: bool,
    /// Its name in the level above.
    name: [u8; 256],
}

/// Removes directories, one after the other, with one set of memory.
pub struct Remover {
    levels: Mapping,
    listings: Mapping,
    /// openat2(2) is not there (before Linux 5.6) or forbidden (container profiles that do not know it).
    without_openat2: bool,
    /// The first thing that could not be removed.
    stuck: Option<Stuck>,
    /// The last directory was not empty.
    was_full: bool,
    /// How often the directories that are still there were looked through again.
    passes: u32,
}

enum Step {
    /// Removed, or gone by itself.
    Gone,
    Descend(Fd),
    Skip,
}

/// The directory under our hands was moved to another place: start again from its top.
struct Moved;

impl Remover {
    /// Maps its memory.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn new() -> Result<Self, Errno> {
        Ok(Self {
            levels: Mapping::new(1 << 20)?,
            listings: Mapping::new((RETAINED + 1) * LISTING)?,
            without_openat2: false,
            stuck: None,
            was_full: false,
            passes: 0,
        })
    }

    /// Removes the directory `name` in `parent` if it is `made`, with its contents if `contents`.
    pub fn remove(&mut self, parent: BorrowedFd<'_>, name: &CStr, made: &Identity, contents: bool) -> Outcome {
        self.stuck = None;
        self.passes = 0;
        loop {
            match identity::at(parent, name) {
                Ok(seen) if seen.identity.may_be(made) => return Outcome::Stuck(Stuck::Refused(Errno::NOSYS)),
                Ok(seen) if !seen.is_directory() || !seen.identity.is_same_file(made) => return Outcome::NotThere,
                Ok(seen) if seen.identity.mount != made.mount => return Outcome::Stuck(Stuck::OtherNamespace),
                Ok(_) => {}
                Err(Errno::NOENT | Errno::NOTDIR) => return Outcome::NotThere,
                Err(error) => return Outcome::Stuck(Stuck::Refused(error)),
            }
            // An empty one is gone with this call, and a full one is not harmed. But where the last one was full, this one
            // most likely is, too.
            let is_tried = self.passes > 0 || !contents || !self.was_full;
            if is_tried {
                match crate::fd::unlinkat(parent, name, AtFlags::REMOVEDIR) {
                    Ok(()) => return Outcome::Removed,
                    Err(Errno::NOTEMPTY | Errno::EXIST) => self.was_full = true,
                    Err(Errno::NOENT) => return Outcome::NotThere,
                    Err(error) => return Outcome::Stuck(Stuck::by(error)),
                }
            }
            if !contents {
                return Outcome::NotEmpty;
            }
            self.wait_for_releases();
            let emptied = self.empty(parent, name, made);
            self.was_full &= emptied != Ok(false);
            match emptied {
                Ok(more) if self.passes < PASSES && (more || !is_tried) => self.passes += 1,
                Ok(_) => return Outcome::Stuck(self.stuck.unwrap_or(Stuck::Refused(Errno::NOTEMPTY))),
                // It itself is no mount point: that was looked at. What says so of one is tried again.
                Err(error) => return Outcome::Stuck(Stuck::Refused(error)),
            }
        }
    }

    /// Removes what the directory holds. Says whether anything went, so that looking again may help.
    #[inline(never)]
    fn empty(&mut self, parent: BorrowedFd<'_>, name: &CStr, made: &Identity) -> Result<bool, Errno> {
        let top = match self.open(parent, name) {
            Err(Errno::ACCESS) => {
                self.widen(parent, name)?;
                self.open(parent, name)?
            }
            opened => opened?,
        };
        // The descriptor is what counts from here on: a name can be given to something else.
        let seen = identity::of(top.as_fd())?;
        if !seen.identity.is_same_file(made) || seen.identity.mount != made.mount {
            return Ok(false);
        }
        match self.walk(top) {
            Ok(progress) => Ok(progress),
            Err(Moved) => Ok(true),
        }
    }

    fn walk(&mut self, top: Fd) -> Result<bool, Moved> {
        let mut depth = 0;
        let top = top.into_raw();
        if self.put(0, &Level::new(top, b"")).is_none() {
            close(top);
            return Ok(false);
        }
        let answer = self.walk_levels(&mut depth);
        for depth in 0..=depth {
            if let Some(level) = self.level(depth) {
                close(level.fd);
            }
        }
        answer
    }

    fn walk_levels(&mut self, depth: &mut usize) -> Result<bool, Moved> {
        loop {
            let Some(entry) = self.next_entry(*depth) else {
                if *depth == 0 {
                    return Ok(self.level(0).is_some_and(|level| level.progress));
                }
                self.leave(depth)?;
                continue;
            };
            let step = self.remove_entry(*depth, &entry);
            let Some(level) = self.level(*depth) else { return Ok(false) };
            match step {
                Step::Gone => level.progress = true,
                Step::Skip => {}
                Step::Descend(child) => self.enter(depth, child, entry.name()),
            }
        }
    }

    /// One level down. Where there is no memory for it, the directory is skipped.
    fn enter(&mut self, depth: &mut usize, child: Fd, name: &CStr) {
        let mut level = Level::new(child.as_raw_fd(), name.to_bytes_with_nul());
        if *depth + 1 >= RETAINED {
            // Its descriptor may have to be closed on the way down: what `..` leads back to is checked against this.
            match identity::of(child.as_fd()) {
                Ok(seen) => (level.device, level.inode) = (seen.identity.device, seen.identity.inode),
                Err(error) => return self.note(error),
            }
        }
        if self.put(*depth + 1, &level).is_none() {
            return self.note(Errno::NOMEM);
        }
        let _ = child.into_raw();
        if *depth >= RETAINED
            && let Some(above) = self.level(*depth)
        {
            close(above.fd);
            above.fd = -1;
            above.listed = false;
        }
        *depth += 1;
    }

    /// One level up, removing the directory that was just emptied. Stays where looking through it again may help.
    #[inline(never)]
    fn leave(&mut self, depth: &mut usize) -> Result<(), Moved> {
        let Some(&mut below) = self.level(*depth) else { return Err(Moved) };
        let Some(above) = self.level(*depth - 1) else { return Err(Moved) };
        if above.fd < 0 {
            let (device, inode) = (above.device, above.inode);
            // SAFETY: `below.fd` is open: only a level with another one below it has its descriptor closed.
            let up = parent_of(unsafe { sys::borrow(below.fd) }).ok_or(Moved)?;
            let seen = identity::of(up.as_fd()).map_err(|_| Moved)?;
            if (seen.identity.device, seen.identity.inode) != (device, inode) {
                return Err(Moved);
            }
            if let Some(above) = self.level(*depth - 1) {
                above.fd = up.into_raw();
            }
        }
        let Some(&mut above) = self.level(*depth - 1) else { return Err(Moved) };
        let name = until_nul(&below.name).ok_or(Moved)?;
        match self.unlink(*depth - 1, above.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {
                self.passes -= below.passes;
                if let Some(above) = self.level(*depth - 1) {
                    above.progress = true;
                }
            }
            Err(Errno::NOTEMPTY | Errno::EXIST) if below.progress && self.passes < PASSES => {
                // SAFETY: open, as above.
                let _ = seek(unsafe { sys::borrow(below.fd) }, SeekFrom::Start(0));
                self.wait_for_releases();
                self.passes += 1;
                if let Some(level) = self.level(*depth) {
                    level.again();
                }
                return Ok(());
            }
            // What stays in it was noted when it was skipped.
            Err(error) => self.note(error),
        }
        close(below.fd);
        *depth -= 1;
        Ok(())
    }

    /// A FUSE server may hear of a file's last close after its unlinking, and renames it until then (`.fuse_hidden…`): what
    /// was emptied twice and is not empty gets a millisecond.
    fn wait_for_releases(&self) {
        if self.passes >= 2 {
            sys::sleep_a_millisecond();
        }
    }

    fn remove_entry(&mut self, depth: usize, entry: &Entry) -> Step {
        let Some(&mut level) = self.level(depth) else { return Step::Skip };
        let mut directory = entry.kind == FileType::Directory;
        // Twice, because what the listing said may not hold any more, or may not have been said.
        for _ in 0..2 {
            let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            match self.unlink(depth, level.fd, entry.name(), flags) {
                Ok(()) | Err(Errno::NOENT) => return Step::Gone,
                Err(Errno::ISDIR) if !directory => directory = true,
                // unlink(2) of a directory is EPERM on some filesystems.
                Err(Errno::PERM) if !directory && entry.kind == FileType::Unknown => directory = true,
                Err(Errno::NOTDIR) if directory => directory = false,
                Err(Errno::NOTEMPTY | Errno::EXIST) if directory => return self.descend(level.fd, entry.name()),
                Err(error) => {
                    self.note(error);
                    return Step::Skip;
                }
            }
        }
        self.note(Errno::NOTEMPTY);
        Step::Skip
    }

    /// crate::fd::unlinkat(2), once more with our own directory made writable where that was missing.
    fn unlink(&mut self, depth: usize, fd: RawFd, name: &CStr, flags: AtFlags) -> Result<(), Errno> {
        // SAFETY: the level's descriptor, open as long as the level is the current one or the one above.
        let directory = unsafe { sys::borrow(fd) };
        let answer = crate::fd::unlinkat(directory, name, flags);
        if answer != Err(Errno::ACCESS) {
            return answer;
        }
        let Some(level) = self.level(depth).filter(|level| !level.widened) else { return answer };
        level.widened = true;
        fchmod(directory, Mode::RWXU).map_err(|_| Errno::ACCESS)?;
        crate::fd::unlinkat(directory, name, flags)
    }

    #[inline(never)]
    fn descend(&mut self, fd: RawFd, name: &CStr) -> Step {
        // SAFETY: the current level's descriptor.
        let directory = unsafe { sys::borrow(fd) };
        let mut answer = self.open(directory, name);
        if answer.as_ref().is_err_and(|error| *error == Errno::ACCESS) && self.widen(directory, name).is_ok() {
            answer = self.open(directory, name);
        }
        match answer {
            Ok(child) => Step::Descend(child),
            Err(Errno::NOENT) => Step::Gone,
            Err(error) => {
                self.note(error);
                Step::Skip
            }
        }
    }

    /// Opens a directory of ours to be read. EXDEV where it is a mount point.
    fn open(&mut self, directory: BorrowedFd<'_>, name: &CStr) -> Result<Fd, Errno> {
        let answer = self.open_below(directory, name, OFlags::RDONLY);
        if matches!(answer, Err(Errno::MFILE)) && raise_descriptor_limit() {
            return self.open_below(directory, name, OFlags::RDONLY);
        }
        answer
    }

    fn open_below(&mut self, directory: BorrowedFd<'_>, name: &CStr, how: OFlags) -> Result<Fd, Errno> {
        let flags = how | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        if !self.without_openat2 {
            match openat2(directory, name, flags, resolve) {
                Err(Errno::NOSYS | Errno::PERM) => self.without_openat2 = true,
                answer => return answer,
            }
        }
        let child = openat(directory, name, flags, Mode::empty())?;
        // Where nothing tells mounts apart, nothing below is touched.
        let (above, below) = (identity::mount_of(directory), identity::mount_of(child.as_fd()));
        if above.is_some() && above == below { Ok(child) } else { Err(Errno::XDEV) }
    }

    /// Makes an unreadable directory accessible: by descriptor, so that no link can lead elsewhere, and only our own.
    fn widen(&mut self, directory: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        let child = self.open_below(directory, name, OFlags::PATH)?;
        let seen = identity::of(child.as_fd())?;
        if !seen.is_own() {
            return Err(Errno::ACCESS);
        }
        sys::chmod_open(child.as_fd(), 0o700)
    }

    /// Only the first is kept.
    #[inline(never)]
    fn note(&mut self, error: Errno) {
        self.stuck.get_or_insert(Stuck::by(error));
    }

    /// The next entry at this level, `.` and `..` left out; nothing at the end.
    #[inline(never)]
    fn next_entry(&mut self, depth: usize) -> Option<Entry> {
        loop {
            let level = *self.level(depth)?;
            if !level.listed || level.start >= level.end {
                let length = self.list(depth, &level)?;
                let level = self.level(depth)?;
                (level.start, level.end, level.listed) = (0, length, true);
                continue;
            }
            let unread = self.listing(depth).get(level.start as usize..level.end as usize)?;
            let listed = Listed::parse(unread)?;
            let (size, offset) = (listed.size, listed.offset);
            let entry = (!listed.is_dots()).then(|| Entry::of(&listed));
            let level = self.level(depth)?;
            level.start += u32::from(size);
            level.offset = offset;
            if entry.is_some() {
                return entry;
            }
        }
    }

    /// Reads the next part of the listing; nothing at the end, or where it cannot be read.
    fn list(&mut self, depth: usize, level: &Level) -> Option<u32> {
        // SAFETY: the current level's descriptor.
        let directory = unsafe { sys::borrow(level.fd) };
        if !level.listed && level.offset != 0 {
            seek(directory, SeekFrom::Start(level.offset)).ok()?;
        }
        match sys::getdents(directory, self.listing(depth)) {
            Ok(0) => None,
            Ok(length) => Some(length as u32),
            Err(error) => {
                self.note(error);
                None
            }
        }
    }

    fn listing(&mut self, depth: usize) -> &mut [u8] {
        let index = depth.min(RETAINED);
        // SAFETY: the mapping holds RETAINED + 1 listings, and the borrow of self keeps it from being used twice.
        unsafe { core::slice::from_raw_parts_mut(self.listings.start().as_ptr().add(index * LISTING), LISTING) }
    }

    fn level(&mut self, depth: usize) -> Option<&mut Level> {
        if (depth + 1) * size_of::<Level>() > self.levels.length() {
            return None;
        }
        // SAFETY: inside the mapping, aligned because it starts on a page; all bit patterns but those of the two flags
        // are valid, and fresh memory is zero.
        Some(unsafe { &mut *self.levels.start().cast::<Level>().as_ptr().add(depth) })
    }

    fn put(&mut self, depth: usize, level: &Level) -> Option<()> {
        if (depth + 1) * size_of::<Level>() > self.levels.length() {
            self.levels.grow().ok()?;
        }
        *self.level(depth)? = *level;
        Some(())
    }
}

impl Level {
    fn new(fd: RawFd, name: &[u8]) -> Self {
        let mut copy = [0u8; 256];
        for (slot, byte) in copy.iter_mut().zip(name) {
            *slot = *byte;
        }
        Self {
            fd,
            device: 0,
            inode: 0,
            offset: 0,
            start: 0,
            end: 0,
            passes: 0,
            progress: false,
            listed: false,
            widened: false,
            name: copy,
        }
    }

    fn again(&mut self) {
        self.passes += 1;
        (self.offset, self.start, self.end) = (0, 0, 0);
        (self.progress, self.listed) = (false, false);
    }
}

/// One entry of a directory, copied out of the listing: the listing's memory is used again below.
struct Entry {
    name: [u8; 256],
    kind: FileType,
}

impl Entry {
    fn of(listed: &Listed<'_>) -> Self {
        let kind = match listed.kind {
            libc::DT_DIR => FileType::Directory,
            libc::DT_UNKNOWN => FileType::Unknown,
            _ => FileType::RegularFile,
        };
        let mut name = [0u8; 256];
        for (slot, byte) in name.iter_mut().take(255).zip(listed.name.to_bytes()) {
            *slot = *byte;
        }
        Self { name, kind }
    }

    fn name(&self) -> &CStr {
        until_nul(&self.name).unwrap_or(c"")
    }
}

fn parent_of(directory: BorrowedFd<'_>) -> Option<Fd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, c"..", flags, Mode::empty()).ok()
}

/// Of a level, which may have been closed already.
fn close(fd: RawFd) {
    if fd >= 0 {
        sys::close(fd);
    }
}

/// Allows a few more descriptors: the program whose table is full is about to end. Says whether it helped.
pub(crate) fn raise_descriptor_limit() -> bool {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const MORE: u64 = RETAINED as u64 + 4;
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.current.map(|current| current + MORE);
    let maximum = match (limit.maximum, wanted) {
        // Above the hard limit: root may.
        (Some(maximum), Some(wanted)) => Some(maximum.max(wanted)),
        (maximum, _) => maximum,
    };
    setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum }).is_ok()
}

#[cfg(test)]
mod tests;
