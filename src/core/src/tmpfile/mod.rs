//! A named file that is unlinked at once, in the place of O_TMPFILE (T2 to T6).

pub mod mode;
pub mod plan;
pub mod survey;

use crate::fd::{Fd, openat};
use crate::identity;
use crate::name::{Kind, Name};
use crate::next::Next;
use crate::records::{Records, Ticket};
use crate::sys;
use crate::text::{PATH_MAX, Text, fd_path};
use crate::tracker::Entry;
use core::ffi::{CStr, c_char};
use core::mem::size_of;
use plan::OpenHow;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, fchmod, mkdirat, unlinkat};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use survey::{Survey, Unlinked};

/// An O_TMPFILE open that the filesystem refused, in the program's own words.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The directory a relative path starts from.
    pub directory: RawFd,
    /// The program's path pointer.
    pub path: *const c_char,
    /// `O_*`.
    pub flags: i32,
    /// Permissions.
    pub mode: u32,
    /// `RESOLVE_*`, 0 where the call was not openat2.
    pub resolve: u64,
}

/// What a stand-in needs from the process around it.
pub struct Means<'a, R> {
    /// Where calls with the program's paths go.
    pub next: &'a Next,
    /// What is known of filesystems.
    pub survey: &'a Survey,
    /// Who remembers hidden names, where somebody does.
    pub tracker: Option<&'a R>,
}

/// How a stand-in was made, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// Created and unlinked.
    Unlinked,
    /// Created with a hidden name that is kept while it is in use.
    Kept,
}

/// Makes the file. The descriptor is the lowest free one, as open(2) promises.
///
/// # Errors
/// What a filesystem with O_TMPFILE would have said: the second attempt's own error. `refusal` comes back where the path
/// is not a directory and `plan::after` asked for one.
///
/// # Safety
/// `request.path` is a pointer that the kernel has just read a path from, or any pointer if `refusal` is `None`
/// (the program's attempt was not made): then the kernel refuses a bad one here.
pub unsafe fn stand_in<R: Records>(
    request: &Request,
    refusal: Option<Errno>,
    means: &Means<'_, R>,
) -> Result<(RawFd, Made), Errno> {
    // SAFETY: as this function's own contract.
    let directory = match unsafe { open_directory(request, means.next) } {
        Ok(directory) => directory,
        Err(error) => return Err(refusal.unwrap_or(error)),
    };
    let survey = means.survey.ask(directory.as_fd(), means.tracker);
    if matches!(survey, Unlinked::Breaks | Unlinked::Impossible) {
        let file = if survey == Unlinked::Breaks { kept(&directory, request, means)? } else { None };
        let file = file.ok_or(refusal.unwrap_or(Errno::OPNOTSUPP))?;
        return Ok((hand_over(file, directory, request.flags), Made::Kept));
    }
    match unlinked(&directory, request, means, survey) {
        Ok(file) => Ok((hand_over(file, directory, request.flags), Made::Unlinked)),
        // SAFETY: the directory was opened by this path, so it can be read.
        Err(Errno::MFILE) if request.resolve == 0 => unsafe { in_one_slot(request, directory, means) },
        Err(error) => Err(error),
    }
}

/// # Safety
/// As [`stand_in`].
unsafe fn open_directory(request: &Request, next: &Next) -> Result<Fd, Errno> {
    let flags = plan::directory_flags(request.flags);
    let fd = if request.resolve == 0 {
        // SAFETY: as this function's own contract.
        unsafe { (next.openat)(request.directory, request.path, flags, 0) }?
    } else {
        let how = OpenHow { flags: flags as u32 as u64, mode: 0, resolve: request.resolve };
        // SAFETY: as above; `how` is ours and of the size given.
        unsafe { (next.openat2)(request.directory, request.path, (&raw const how).cast(), size_of::<OpenHow>()) }?
    };
    // SAFETY: just opened, owned by nobody else.
    Ok(unsafe { Fd::own(fd) })
}

/// Creates a file of ours, owner's permissions only.
fn create(directory: BorrowedFd<'_>, request: &Request, name: &Name, next: &Next) -> Result<Fd, Errno> {
    let flags = plan::creation_flags(request.flags);
    let mode = mode::while_named(request.mode);
    // SAFETY: the name is ours and closed by NUL.
    match unsafe { (next.openat)(directory.as_raw_fd(), name.as_c_str().as_ptr(), flags, mode) } {
        // SAFETY: just opened, owned by nobody else.
        Ok(fd) => Ok(unsafe { Fd::own(fd) }),
        Err(error) => {
            // A server may have created it and failed at opening it (O_DIRECT, an interrupt). Nobody else can have
            // chosen this name, so it is ours to remove.
            if error != Errno::MFILE {
                let _ = unlinkat(directory, name.as_c_str(), AtFlags::empty());
            }
            Err(error)
        }
    }
}

fn fresh_name(flags: i32) -> Result<Name, Errno> {
    Name::fresh(if flags & libc::O_EXCL == 0 { Kind::Linkable } else { Kind::Exclusive })
}

fn unlinked<R: Records>(
    directory: &Fd,
    request: &Request,
    means: &Means<'_, R>,
    survey: Unlinked,
) -> Result<Fd, Errno> {
    let mut created = None;
    if mode::needs_more(request.mode) {
        created = mode::Rules::of(directory.as_fd(), request.mode).created();
    }
    // With RESOLVE_ flags it may start from elsewhere.
    let path = match request.resolve {
        // SAFETY: the directory was opened by this path, so it can be read.
        0 => unsafe { CStr::from_ptr(request.path) }.to_bytes(),
        _ => b"",
    };
    // Somebody who looked the name up before it was gone may come to the check of permissions after it: on
    // fuse-overlayfs one try in 250 got in (seen). In a directory that nobody else may enter there is nothing to look up.
    // Where the server keeps a name of its own, that directory could not be removed while the file is open.
    let is_private = is_for_others(created) && survey == Unlinked::Works;
    let file = match is_private.then(|| Private::make(directory, means)).flatten() {
        Some(private) => create_unlinked(private.directory.as_fd(), b"", request, means)?,
        None => create_unlinked(directory.as_fd(), path, request, means)?,
    };
    complete_mode(&file, created);
    Ok(file)
}

fn create_unlinked<R: Records>(
    directory: BorrowedFd<'_>,
    path: &[u8],
    request: &Request,
    means: &Means<'_, R>,
) -> Result<Fd, Errno> {
    let name = fresh_name(request.flags)?;
    let ticket = means.announce(directory, path, &name, Entry::File { mode: None });
    means.is_noted()?;
    let created = create(directory, request, &name, means.next);
    if created.is_ok() && unlinkat(directory, name.as_c_str(), AtFlags::empty()).is_err() {
        // A name that cannot be removed again: the program gets the answer it had, and the record stays.
        return Err(Errno::OPNOTSUPP);
    }
    give_back(ticket);
    created
}

/// The name is gone, or never was.
pub(crate) fn give_back<T: Ticket>(ticket: Option<T>) {
    if let Some(ticket) = ticket {
        ticket.abandon();
    }
}

impl<'a, R: Records> Means<'a, R> {
    /// So that nothing is left if something ends the process now (T5).
    pub(crate) fn announce(
        &self,
        directory: BorrowedFd<'_>,
        path: &[u8],
        name: &Name,
        entry: Entry,
    ) -> Option<R::Ticket<'a>> {
        self.tracker?.announce(directory, path, name, entry)
    }

    /// # Errors
    /// What was announced nobody could note any more: nothing may be made.
    pub(crate) fn is_noted(&self) -> Result<(), Errno> {
        if self.tracker.is_some_and(Records::is_lost) { Err(Errno::OPNOTSUPP) } else { Ok(()) }
    }
}

/// Whether anybody but the owner is to be allowed anything.
fn is_for_others(created: Option<u32>) -> bool {
    created.is_some_and(|mode| mode & 0o077 != 0)
}

/// A hidden directory of ours that nobody else may enter, removed when this goes. A file in it gets the group and the
/// ACL that it would have got beside it: both are handed down.
pub(crate) struct Private<'a, T: Ticket> {
    above: &'a Fd,
    name: Name,
    pub(crate) directory: Fd,
    ticket: Option<T>,
}

impl<'a, T: Ticket + 'a> Private<'a, T> {
    // Not twice in the library.
    #[inline(never)]
    fn begin<R: Records<Ticket<'a> = T>>(above: &Fd, name: Name, means: &Means<'a, R>) -> Option<(Name, Option<T>)> {
        let ticket = means.announce(above.as_fd(), b"", &name, Entry::Directory);
        means.is_noted().ok()?;
        if mkdirat(above, name.as_c_str(), Mode::RWXU).is_err() {
            give_back(ticket);
            return None;
        }
        Some((name, ticket))
    }

    /// Nothing where it cannot be made.
    #[inline(never)]
    pub(crate) fn make<R: Records<Ticket<'a> = T>>(above: &'a Fd, means: &Means<'a, R>) -> Option<Self> {
        // fuse-overlayfs 1.10 leaves a whiteout of every directory that was made and removed: so each thread has one name
        // for all of its own. Nobody gains by knowing it, for mkdir(2) takes no name that is there.
        let own = means.survey.private_name().and_then(|name| Self::begin(above, name, means));
        let (name, ticket) = own.or_else(|| Self::begin(above, Name::fresh(Kind::Private).ok()?, means))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(above, name.as_c_str(), flags, Mode::empty());
        let Ok(directory) = opened else {
            let _ = unlinkat(above, name.as_c_str(), AtFlags::REMOVEDIR);
            give_back(ticket);
            return None;
        };
        let private = Self { above, name, directory, ticket };
        // In a directory that others may write to, without the sticky bit, it may have been swapped for theirs.
        let seen = identity::of(private.directory.as_fd()).ok()?;
        (seen.is_own() && seen.mode & 0o077 == 0).then_some(private)
    }
}

impl<T: Ticket> Drop for Private<'_, T> {
    fn drop(&mut self) {
        // Otherwise it stays in the journal.
        if unlinkat(self.above, self.name.as_c_str(), AtFlags::REMOVEDIR).is_ok() {
            give_back(self.ticket.take());
        }
    }
}

/// Adds what the program asked for beyond the owner's permissions. A filesystem that refuses keeps what it made.
fn complete_mode(file: &Fd, created: Option<u32>) {
    if let Some(mode) = created.filter(|mode| mode & !0o700 != 0) {
        let _ = fchmod(file, Mode::from_raw_mode(mode));
    }
}

/// T6: a file that keeps a hidden name. Nothing where nobody could remove the name later, and without one it is of no use.
fn kept<R: Records>(directory: &Fd, request: &Request, means: &Means<'_, R>) -> Result<Option<Fd>, Errno> {
    let Some(tracker) = means.tracker else { return Ok(None) };
    tracker.reclaim_a_few_files();
    let name = fresh_name(request.flags)?;
    let entry = Entry::File { mode: Some(request.mode & 0o7777) };
    let Some(ticket) = tracker.announce(directory.as_fd(), b"", &name, entry) else { return Ok(None) };
    let file = match create(directory.as_fd(), request, &name, means.next) {
        Ok(file) => file,
        Err(error) => {
            ticket.abandon();
            return Err(error);
        }
    };
    match identity::of(file.as_fd()) {
        Ok(seen) => ticket.confirm(&seen.identity),
        Err(_) => ticket.leave(),
    }
    Ok(Some(file))
}

/// Gives the file the lower one of the two numbers, which is the lowest free one: the directory was opened first.
fn hand_over(file: Fd, directory: Fd, flags: i32) -> RawFd {
    let stays_open = flags & libc::O_CLOEXEC == 0;
    if file.as_raw_fd() > directory.as_raw_fd() {
        // In one step, so that no other thread can be given the number in between.
        if sys::dup3(file.as_fd(), directory.as_raw_fd(), flags & libc::O_CLOEXEC).is_ok() {
            return directory.into_raw();
        }
    }
    if stays_open {
        let _ = fcntl_setfd(&file, FdFlags::empty());
    }
    file.into_raw()
}

/// The descriptor table has one free slot, which is all that O_TMPFILE would need: create by path, without a descriptor
/// of the directory.
///
/// # Safety
/// `request.path` is readable up to its NUL.
unsafe fn in_one_slot<R: Records>(
    request: &Request,
    directory: Fd,
    means: &Means<'_, R>,
) -> Result<(RawFd, Made), Errno> {
    let rules = mode::needs_more(request.mode).then(|| mode::Rules::of(directory.as_fd(), request.mode));
    let name = fresh_name(request.flags)?;
    let ticket = means.announce(directory.as_fd(), b"", &name, Entry::File { mode: None });
    means.is_noted()?;
    drop(directory);
    // The umask takes a descriptor for a moment, so it is read while the slot is free.
    let created = rules.and_then(|rules| rules.created());
    let mut path = Text::<PATH_MAX>::new();
    // SAFETY: as this function's own contract.
    path.push(unsafe { CStr::from_ptr(request.path) }.to_bytes()).push(b"/").push(name.as_bytes());
    let path = path.as_c_str().ok_or(Errno::MFILE)?;
    let flags = plan::creation_flags(request.flags);
    // SAFETY: the path is ours and closed by NUL.
    let opened =
        unsafe { (means.next.openat)(request.directory, path.as_ptr(), flags, mode::while_named(request.mode)) };
    let fd = match opened {
        Ok(fd) => fd,
        Err(error) => {
            give_back(ticket);
            return Err(error);
        }
    };
    // SAFETY: just opened, owned by nobody else.
    let file = unsafe { Fd::own(fd) };
    unlink_open_file(&file)
        .or_else(|_| sys::unlinkat(request.directory, path.as_ptr(), 0))
        .map_err(|_| Errno::MFILE)?;
    give_back(ticket);
    complete_mode(&file, created);
    if request.flags & libc::O_CLOEXEC == 0 {
        let _ = fcntl_setfd(&file, FdFlags::empty());
    }
    Ok((file.into_raw(), Made::Unlinked))
}

/// Unlinks a file by the name that `/proc` shows, which holds even if a directory above was renamed meanwhile.
fn unlink_open_file(file: &Fd) -> Result<(), Errno> {
    let mut link = fd_path(file.as_fd());
    let link = link.as_c_str().ok_or(Errno::NAMETOOLONG)?;
    let mut path = Text::<PATH_MAX>::new();
    let length = sys::readlinkat(sys::CWD, link.as_ptr(), path.spare())?;
    path.set_length(length);
    unlinkat(CWD, path.as_c_str().ok_or(Errno::NAMETOOLONG)?, AtFlags::empty())
}
