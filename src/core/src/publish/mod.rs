//! linkat of a file that stands in for an O_TMPFILE one (T7).
//!
//! The kernel refuses to give a name to a file whose last name was unlinked. So the target becomes a complete copy, made
//! under a hidden name beside it and then linked: no reader ever sees a part of it, and nothing is ever replaced.
//! Afterwards the program's descriptor is moved over to the published file, because programs go on writing there
//! (`updatedb.plocate` writes its header after linkat).
//!
//! What stays behind: other descriptors of the same file (dup, a child's), and mappings, keep the unlinked original.

pub mod copy;
pub mod source;

use crate::fd::{Fd, openat};
use crate::identity;
use crate::name::{Kind, Name};
use crate::next::Next;
use crate::records::{Records, Ticket};
use crate::sys;
use crate::text::{PATH_MAX, Text, fd_path, split};
use crate::tmpfile::mode::Rules;
use crate::tmpfile::survey::Unlinked;
use crate::tmpfile::{Means, Private, give_back};
use crate::tracker::Entry;
use core::ffi::{CStr, c_char};
use rustix::fd::{AsFd, BorrowedFd, RawFd};
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, SeekFrom, fchmod, fstat, linkat, renameat_with, seek, unlinkat,
};
use rustix::io::Errno;
use source::{Descriptor, Source};

/// Whether an error of the program's own linkat may mean that its file has no name any more.
pub fn may_be_ours(refusal: Errno) -> bool {
    // EPERM and EOPNOTSUPP come first on filesystems without hard links.
    matches!(refusal, Errno::NOENT | Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS)
}

/// Gives `source` the name `path`.
///
/// # Errors
/// What linkat(2) would have said of an O_TMPFILE file, EEXIST above all, and what copying may say: ENOSPC, EDQUOT, EIO.
/// Then there is no such name, and nothing of ours is left.
///
/// # Safety
/// `path` can be read up to its NUL.
#[inline(never)]
pub unsafe fn publish<D: Descriptor>(
    source: &Source<D>,
    directory: RawFd,
    path: *const c_char,
    means: &Means<'_, impl Records>,
) -> Result<(), Errno> {
    match sys::exists(directory, path) {
        Ok(()) => return Err(Errno::EXIST),
        Err(Errno::NOENT) if source.is_exclusive() => return Err(Errno::NOENT),
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error),
    }
    // SAFETY: as this function's own contract.
    let path = unsafe { CStr::from_ptr(path) };
    // Nothing there, and to be a directory: ENOENT, as the kernel says.
    if path.to_bytes().last().is_none_or(|&last| last == b'/') {
        return Err(Errno::NOENT);
    }
    let (parent, name) = split(path.to_bytes()).ok_or(Errno::NOENT)?;
    let mut name = Text::<256>::new().also(name);
    let name = name.as_c_str().ok_or(Errno::NAMETOOLONG)?;
    let parent = open_parent(directory, parent, means.next)?;
    if is_elsewhere(source, &parent) {
        return Err(Errno::XDEV);
    }
    if !source.mark.unlinked {
        return publish_kept(source, &parent, name, means.tracker);
    }
    publish_copy(source, &parent, name, means)
}

/// Whether file and target lie on different mounts, which linkat(2) does not cross.
fn is_elsewhere<D: Descriptor>(source: &Source<D>, parent: &Fd) -> bool {
    let Some(descriptor) = &source.descriptor else { return false };
    let (one, other) = (identity::mount_of(descriptor.file()), identity::mount_of(parent.as_fd()));
    one.is_some() && other.is_some() && one != other
}

// Its text is not on the stack of what follows.
#[inline(never)]
fn open_parent(directory: RawFd, path: &[u8], next: &Next) -> Result<Fd, Errno> {
    let mut copy = Text::<PATH_MAX>::new();
    copy.push(path);
    let path = copy.as_c_str().ok_or(Errno::NAMETOOLONG)?;
    // SAFETY: the path is ours and closed by NUL.
    let fd = unsafe { (next.openat)(directory, path.as_ptr(), libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC, 0) }?;
    // SAFETY: just opened, owned by nobody else.
    Ok(unsafe { Fd::own(fd) })
}

/// A hidden name that goes when this does.
struct Hidden<'a, T: Ticket> {
    directory: BorrowedFd<'a>,
    name: Name,
    ticket: Option<T>,
    /// It is the final name by now.
    is_renamed: bool,
}

impl<T: Ticket> Drop for Hidden<'_, T> {
    fn drop(&mut self) {
        if self.is_renamed || unlinkat(self.directory, self.name.as_c_str(), AtFlags::empty()).is_ok() {
            give_back(self.ticket.take());
        }
    }
}

fn publish_copy<D: Descriptor>(
    source: &Source<D>,
    parent: &Fd,
    name: &CStr,
    means: &Means<'_, impl Records>,
) -> Result<(), Errno> {
    // Another process's: native linkat could give it a name, we cannot reach it.
    let descriptor = source.descriptor.as_ref().ok_or(Errno::NOENT)?;
    let original = open_original(descriptor)?;
    let hidden = Name::fresh(Kind::Publishing)?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // It has its mode before it has its final name, and others are neither to open it before that (T4) nor to put something
    // else in its place. Not where the server only renames what is still open: that would stay in there.
    let hides = means.survey.ask(parent.as_fd(), means.tracker) == Unlinked::Hides;
    let private = if hides { None } else { Private::make(parent, means) };
    let place = private.as_ref().map_or(parent, |private| &private.directory);
    let ticket = means.announce(place.as_fd(), b"", &hidden, Entry::File { mode: None });
    if means.is_noted().is_err() {
        return Err(Errno::NOENT);
    }
    let mut hidden = Hidden { directory: place.as_fd(), name: hidden, ticket, is_renamed: false };
    let file = openat(place, hidden.name.as_c_str(), flags, Mode::RUSR | Mode::WUSR)?;
    // Opened while its owner may still write to it, whatever mode it is going to have.
    let moved = Moved::prepare(descriptor, place, hidden.name.as_c_str())?;
    copy::copy(&original, &file)?;
    hidden.is_renamed = give_name(place, hidden.name.as_c_str(), parent, name)?;
    drop((original, file));
    let moved = moved.choose(parent, name);
    // With nothing open through it: high-level FUSE servers would only rename it.
    drop(hidden);
    moved.settle();
    Ok(())
}

fn open_original<D: Descriptor>(descriptor: &D) -> Result<Fd, Errno> {
    let file = descriptor.file();
    copy::open_again_whatever_its_mode(fd_path(file).as_c_str().ok_or(Errno::NOENT)?, file)
}

/// Makes the finished copy appear under its name, in one step and never in the place of something else. Says whether it has
/// only that name then, as where there are no hard links.
fn give_name(place: &Fd, hidden: &CStr, parent: &Fd, name: &CStr) -> Result<bool, Errno> {
    match linkat(place, hidden, parent, name, AtFlags::empty()) {
        Err(refusal @ (Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK)) => {
            match renameat_with(place, hidden, parent, name, RenameFlags::NOREPLACE) {
                Err(Errno::INVAL | Errno::NOSYS) => Err(refusal),
                answer => answer.map(|()| true),
            }
        }
        answer => answer.map(|()| false),
    }
}

/// T6: the file still has its hidden name, so the kernel can link it as it is.
#[inline(never)]
fn publish_kept<D: Descriptor>(
    source: &Source<D>,
    parent: &Fd,
    name: &CStr,
    tracker: Option<&impl Records>,
) -> Result<(), Errno> {
    let link = source.link.as_bytes();
    // Not our record: a file that came from another process. Native linkat has seen it, and so it is its answer.
    let tracker = tracker.ok_or(Errno::NOENT)?;
    let mode = tracker.mode_of_file(link).ok_or(Errno::NOENT)?;
    let mut hidden = Text::<PATH_MAX>::new();
    hidden.push(link);
    let hidden = hidden.as_c_str().ok_or(Errno::NAMETOOLONG)?;
    linkat(CWD, hidden, parent, name, AtFlags::empty())?;
    let descriptor = source.descriptor.as_ref();
    let moved = descriptor.and_then(|descriptor| Moved::prepare(descriptor, parent, name).ok());
    // Through the descriptor of the final name, if there is one: attributes are cached for each name.
    let opened = moved.as_ref().map(|moved| moved.to.as_fd()).or(descriptor.map(Descriptor::file));
    if let Some(file) = opened
        && let Some(mode) = mode.and_then(|mode| created_mode(hidden, mode))
        // Not where the program has widened it already, in a way that we have not seen.
        && fstat(file).is_ok_and(|seen| seen.st_mode & 0o7077 == 0)
    {
        let _ = fchmod(file, Mode::from_raw_mode(mode));
    }
    if unlinkat(CWD, hidden, AtFlags::empty()).is_ok() {
        tracker.forget_file(link);
    }
    if let Some(moved) = moved {
        moved.settle();
    }
    Ok(())
}

/// The mode that T4 kept back while the file had a hidden name.
fn created_mode(hidden: &CStr, mode: u32) -> Option<u32> {
    let (directory, _) = split(hidden.to_bytes())?;
    let (parent, mut directory) = (directory, Text::<PATH_MAX>::new());
    directory.push(parent);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, directory.as_c_str()?, flags, Mode::empty()).ok()?;
    Rules::of(directory.as_fd(), mode).created()
}

fn take_offset<D: Descriptor>(from: &D, to: &Fd) -> Result<(), Errno> {
    match from.offset() {
        Ok(offset) => seek(to, SeekFrom::Start(offset)).map(drop),
        // O_PATH has none.
        Err(Errno::BADF) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The program's descriptor on its way to another open file: same access mode, flags, offset and number.
struct Moved<'a, D> {
    from: &'a D,
    to: Fd,
    flags: OFlags,
    close_on_exec: bool,
}

impl<'a, D: Descriptor> Moved<'a, D> {
    fn prepare(from: &'a D, directory: &Fd, name: &CStr) -> Result<Self, Errno> {
        let creation = OFlags::CREATE | OFlags::EXCL | OFlags::TMPFILE | OFlags::TRUNC | OFlags::NOCTTY;
        let (flags, close_on_exec) = from.flags()?;
        let flags = flags.difference(creation) | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = openat(directory, name, flags, Mode::empty())?;
        take_offset(from, &to)?;
        Ok(Self { from, to, flags, close_on_exec })
    }

    /// Through the final name, where that is the same file: on FUSE each name is a node with a cache of its own, and
    /// readers would see a stale size for a second.
    fn choose(mut self, directory: &Fd, name: &CStr) -> Self {
        if let Ok(again) = openat(directory, name, self.flags, Mode::empty())
            && let (Ok(one), Ok(other)) = (identity::of(self.to.as_fd()), identity::of(again.as_fd()))
            && one.identity.is_same_file(&other.identity)
            && take_offset(self.from, &again).is_ok()
        {
            self.to = again;
        }
        self
    }

    fn settle(self) {
        self.from.replace(self.to.as_fd(), self.close_on_exec);
    }
}
