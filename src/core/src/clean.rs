//! Removing one thing that stands in a record: a directory, or a file's hidden name (D2, D5, T5, T6).

use crate::fd::{Fd, openat};
use crate::identity::{self, Identity, Seen};
use crate::journal::{Entry, Record};
use crate::listing::each_name;
use crate::name::{Kind, mark};
use crate::remove::{Outcome, Remover, Stuck, raise_descriptor_limit};
use crate::sys;
use crate::text::{PATH_MAX, Text, has_dots, split};
use core::ffi::CStr;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, statat};
use rustix::io::Errno;

/// How much earlier, in nanoseconds, a directory's birth time may be than it was noted: a server's clock is another one
/// than ours.
pub const SLACK: u64 = 3600 * 1_000_000_000;

/// What removes things, one after the other, and what it keeps between them.
#[derive(Default)]
pub struct Cleaner {
    parent: Parent,
    remover: Option<Remover>,
}

impl Cleaner {
    /// Removes what `record` says. A directory's contents go, too, where `contents` says so. One that was announced and
    /// not confirmed is ours if it is what mkdtemp makes, and empty as that is.
    pub fn clean(&mut self, record: &Record<'_>, contents: bool) -> Outcome {
        let (directory, mut name) = match self.parent.open(record.path.to_bytes()) {
            Ok(found) => found,
            Err(error) => return without(error),
        };
        let Some(name) = name.as_c_str() else { return Outcome::NotThere };
        let made = match (record.entry, record.made) {
            (Entry::File { .. }, made) => return remove_file(directory, name, made.as_ref()),
            (Entry::Directory, Some(made)) => made,
            (Entry::Directory, None) => match identity::at(directory, name) {
                Ok(seen) if is_like_mkdtemps(&seen) => seen.identity,
                Ok(_) => return Outcome::NotThere,
                Err(error) => return without(error),
            },
        };
        let remover = match &mut self.remover {
            Some(remover) => remover,
            None => match Remover::new() {
                Ok(fresh) => self.remover.insert(fresh),
                Err(error) => return Outcome::Stuck(Stuck::Refused(error)),
            },
        };
        remover.remove(directory, name, &made, contents && record.made.is_some())
    }

    /// The same for a record that another process has left in a file, made at `created` (nanoseconds since 1970): it may
    /// say anything. A file must have a name of ours and be closed; a directory cannot be older than its journal.
    #[inline(never)]
    pub fn clean_dead(&mut self, record: &Record<'_>, contents: bool, created: u64) -> Outcome {
        if is_suspect(record, created) {
            return Outcome::Stuck(Stuck::Suspect);
        }
        match (record.entry, record.made) {
            (Entry::File { .. }, Some(made)) => remove_unless_open(record.path, &made),
            _ => self.clean(record, contents),
        }
    }

    /// What [`Cleaner::clean_dead`] would come to, as far as a look can tell. Nothing is changed.
    pub fn foretell(&mut self, record: &Record<'_>, contents: bool, created: u64) -> Outcome {
        if is_suspect(record, created) {
            return Outcome::Stuck(Stuck::Suspect);
        }
        if let (Entry::File { .. }, Some(made)) = (record.entry, record.made) {
            return open_if_closed(record.path, &made, true).err().unwrap_or(Outcome::Removed);
        }
        let Ok((directory, mut name)) = self.parent.open(record.path.to_bytes()) else { return Outcome::NotThere };
        let Some(name) = name.as_c_str() else { return Outcome::NotThere };
        let Ok(seen) = identity::at(directory, name) else { return Outcome::NotThere };
        match (record.entry, record.made) {
            (Entry::File { .. }, _) if FileType::from_raw_mode(seen.mode) == FileType::RegularFile => Outcome::Removed,
            (Entry::Directory, Some(made)) if seen.is_directory() && seen.identity.is_same_file(&made) => {
                if seen.identity.mount != made.mount {
                    Outcome::Stuck(Stuck::OtherNamespace)
                } else if contents {
                    Outcome::Removed
                } else {
                    removed_if_empty(directory, name)
                }
            }
            (Entry::Directory, None) if is_like_mkdtemps(&seen) => removed_if_empty(directory, name),
            _ => Outcome::NotThere,
        }
    }
}

/// Whether nothing that we make is like that.
fn is_suspect(record: &Record<'_>, created: u64) -> bool {
    if has_dots(record.path.to_bytes()) {
        return true;
    }
    match record.entry {
        Entry::File { .. } => !is_hidden_name(record.path.to_bytes()),
        Entry::Directory => {
            let made = record.made.or_else(|| Some(identity::at(CWD, record.path).ok()?.identity));
            let birth = match made {
                // Where a birth time is not told, the last change is at least as late.
                Some(made) if made.birth == 0 => changed(record.path),
                made => made.map(|made| made.birth),
            };
            birth.is_some_and(|birth| birth.saturating_add(SLACK) < created)
        }
    }
}

/// When a file was last changed, in nanoseconds since 1970.
fn changed(path: &CStr) -> Option<u64> {
    let seen = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(sys::nanoseconds(seen.st_ctime, seen.st_ctime_nsec as u64))
}

/// What rmdir(2) would say.
fn removed_if_empty(directory: BorrowedFd<'_>, name: &CStr) -> Outcome {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match openat(directory, name, flags, Mode::empty()) {
        Ok(opened) => opened,
        Err(error) => return Outcome::Stuck(Stuck::Refused(error)),
    };
    let mut outcome = Outcome::Removed;
    each_name(&opened, &mut [0; 1024], |_| outcome = Outcome::NotEmpty);
    outcome
}

/// Whether the program has removed, renamed or replaced a directory itself. Never of one that is not confirmed: it may be
/// about to be made.
pub fn is_gone(record: &Record<'_>) -> bool {
    let (Entry::Directory, Some(made)) = (record.entry, record.made) else { return false };
    match identity::at(CWD, record.path) {
        Ok(seen) => !seen.is_directory() || seen.identity.is_other_than(&made),
        Err(error) => matches!(error, Errno::NOENT | Errno::NOTDIR),
    }
}

/// Whether it is what mkdtemp makes.
fn is_like_mkdtemps(seen: &Seen) -> bool {
    seen.is_directory() && seen.mode & 0o7777 == 0o700 && seen.is_own()
}

fn is_file(seen: &Seen) -> bool {
    FileType::from_raw_mode(seen.mode) == FileType::RegularFile
}

fn is_hidden_name(path: &[u8]) -> bool {
    mark(path).is_some_and(|mark| !mark.unlinked && !matches!(mark.kind, Kind::Private | Kind::Journal))
}

/// Removes a file's hidden name. Of an unconfirmed one only the name is known, and nobody else can have chosen it.
#[inline(never)]
fn remove_file(directory: BorrowedFd<'_>, name: &CStr, made: Option<&Identity>) -> Outcome {
    match identity::at(directory, name) {
        Ok(seen) if !is_file(&seen) => Outcome::NotThere,
        Ok(seen) if made.is_some_and(|made| !made.is_weak() && !seen.identity.is_same_file(made)) => Outcome::NotThere,
        Ok(_) => match crate::fd::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) => Outcome::Removed,
            Err(error) => Outcome::Stuck(Stuck::Refused(error)),
        },
        Err(error) => without(error),
    }
}

/// What it comes to where something could not be looked at.
fn without(error: Errno) -> Outcome {
    match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Outcome::NotThere,
        error => Outcome::Stuck(Stuck::Refused(error)),
    }
}

/// Removes a file's hidden name if nothing has the file open or mapped: then, and only then, a write lease is granted.
pub fn remove_if_closed(path: &CStr, made: &Identity) -> bool {
    matches!(try_remove(path, made, false), Outcome::Removed | Outcome::NotThere)
}

/// The same, and removes it as well where the filesystem cannot tell.
fn remove_unless_open(path: &CStr, made: &Identity) -> Outcome {
    try_remove(path, made, true)
}

fn try_remove(path: &CStr, made: &Identity, in_doubt: bool) -> Outcome {
    // Open until the name is gone: whoever opens the file meanwhile is held up by the lease.
    let _leased = match open_if_closed(path, made, in_doubt) {
        Ok(leased) => leased,
        Err(outcome) => return outcome,
    };
    match crate::fd::unlinkat(CWD, path, AtFlags::empty()) {
        Ok(()) => Outcome::Removed,
        Err(error) => Outcome::Stuck(Stuck::Refused(error)),
    }
}

/// Opens the file if it is `made` and nothing else has it open; otherwise what that comes to.
fn open_if_closed(path: &CStr, made: &Identity, in_doubt: bool) -> Result<Fd, Outcome> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::empty()).map_err(without)?;
    match identity::of(file.as_fd()) {
        Ok(seen) if seen.identity.is_same_file(made) => {}
        // mergerfs gives a file another number once the kernel has forgotten the first (seen). The name says enough.
        Ok(seen) if made.is_weak() && is_hidden_name(path.to_bytes()) && is_file(&seen) => {}
        Ok(_) => return Err(Outcome::NotThere),
        Err(error) => return Err(Outcome::Stuck(Stuck::Refused(error))),
    }
    match sys::set_write_lease(file.as_fd()) {
        Err(error) if !in_doubt || error == Errno::AGAIN => Err(Outcome::Stuck(Stuck::InUse)),
        _ => Ok(file),
    }
}

/// The directory that the last path lay in, kept open: thousands usually share one.
#[derive(Default)]
struct Parent {
    path: Text<PATH_MAX>,
    fd: Option<Fd>,
}

impl Parent {
    fn open(&mut self, path: &[u8]) -> Result<(BorrowedFd<'_>, Text<256>), Errno> {
        let (directory, name) = split(path).ok_or(Errno::NOENT)?;
        if self.fd.is_none() || self.path.as_bytes() != directory {
            self.fd = None;
            self.path = Text::new();
            self.path.push(directory);
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let path = self.path.as_c_str().ok_or(Errno::NOENT)?;
            let opened = match openat(CWD, path, flags, Mode::empty()) {
                Err(Errno::MFILE) if raise_descriptor_limit() => openat(CWD, path, flags, Mode::empty()),
                opened => opened,
            };
            self.fd = Some(opened?);
        }
        let mut copy = Text::new();
        copy.push(name);
        Ok((self.fd.as_ref().ok_or(Errno::NOENT)?.as_fd(), copy))
    }
}
