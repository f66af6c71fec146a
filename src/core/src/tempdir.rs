//! mkdtemp, with a record of what it made (D1). The name is chosen here, so that the record can stand before the
//! directory does: whatever ends the process in between, something knows where to look.

use crate::identity::{self, Seen};
use crate::name::random;
use crate::next::Next;
use crate::settings::Settings;
use crate::sys;
use crate::text::{PATH_MAX, Text};
use crate::tracker::{Entry, Ticket, Tracker};
use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicUsize, Ordering};
use rustix::fd::RawFd;
use rustix::io::Errno;

/// What a template ends with.
const MARK: &[u8; 6] = b"XXXXXX";
const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
/// As many names as glibc tries.
const ATTEMPTS: u32 = 62 * 62 * 62;

/// mkdtemp(3): makes a directory, mode 0700, and writes its name into the template.
///
/// # Errors
/// EINVAL where the template does not end in `XXXXXX` (it is not touched then), EEXIST where every name was taken, and
/// what mkdir(2) says.
///
/// # Safety
/// `template` is a writable string, closed by NUL, that nobody else uses meanwhile.
pub unsafe fn make(
    template: *mut c_char,
    settings: &Settings<'_>,
    tracker: &Tracker,
    next: &Next,
) -> Result<(), Errno> {
    // SAFETY: as this function's own contract. Through a pointer and not a reference: `template` is written below.
    let length = unsafe { CStr::from_ptr(template) }.count_bytes();
    let start = length.checked_sub(MARK.len()).ok_or(Errno::INVAL)?;
    // SAFETY: six bytes in front of the NUL.
    let place = unsafe { template.add(start).cast::<[u8; 6]>() };
    // SAFETY: as above.
    if unsafe { &*place } != MARK {
        return Err(Errno::INVAL);
    }
    let mut path = Text::new();
    // SAFETY: as above; the letters are written to the copy separately.
    let is_tracked = absolute(sys::CWD, unsafe { CStr::from_ptr(template) }.to_bytes(), &mut path);
    let mut ticket: Option<Ticket<'_>> = None;
    for _ in 0..ATTEMPTS {
        // SAFETY: as above.
        let letters = unsafe { choose(place, tracker) }?;
        if is_tracked {
            path.replace_end(&letters);
            ticket = announce(ticket.take(), path.as_bytes(), settings, tracker);
        }
        // SAFETY: a string of the program's, closed by NUL.
        match unsafe { (next.mkdirat)(sys::CWD, template, 0o700) } {
            Ok(()) => {
                if let Some(ticket) = ticket {
                    confirm(ticket, sys::CWD, template);
                }
                return Ok(());
            }
            Err(Errno::EXIST) => {}
            Err(error) => {
                if let Some(ticket) = ticket {
                    ticket.abandon();
                }
                return Err(error);
            }
        }
    }
    if let Some(ticket) = ticket {
        ticket.abandon();
    }
    Err(Errno::EXIST)
}

/// Writes six letters that nobody can guess. EFAULT where the template cannot be written, a string constant for one: the
/// first time in a page, the kernel writes the random bytes there, so that it is the one to find out.
///
/// # Safety
/// `place` can be read.
#[inline(never)]
unsafe fn choose(place: *mut [u8; 6], tracker: &Tracker) -> Result<[u8; 6], Errno> {
    static WRITABLE: AtomicUsize = AtomicUsize::new(usize::MAX);
    const PAGE: usize = 4096;
    let mut letters = [0u8; 6];
    let page = place.addr() / PAGE;
    let pooled = if page == WRITABLE.load(Ordering::Relaxed) { tracker.random_bits() } else { None };
    if let Some(bits) = pooled {
        let [a, b, c, d, e, f, ..] = bits.to_ne_bytes();
        letters = [a, b, c, d, e, f];
    } else {
        match sys::getrandom(place.cast(), letters.len()) {
            Ok(count) if count == letters.len() => {
                // SAFETY: the kernel has just written there.
                letters = unsafe { *place };
                if (place.addr() + letters.len() - 1) / PAGE == page {
                    WRITABLE.store(page, Ordering::Relaxed);
                }
            }
            Err(Errno::FAULT) => return Err(Errno::FAULT),
            _ => random(&mut letters)?,
        }
    }
    for letter in &mut letters {
        *letter = LETTERS.get(usize::from(*letter) % LETTERS.len()).copied().unwrap_or(b'a');
    }
    // SAFETY: the kernel could write there; where it has no getrandom(2), the program said it may be written.
    unsafe { *place = letters };
    Ok(letters)
}

fn announce<'a>(
    ticket: Option<Ticket<'a>>,
    path: &[u8],
    settings: &Settings<'_>,
    tracker: &'a Tracker,
) -> Option<Ticket<'a>> {
    if !settings.wants(path) {
        if let Some(ticket) = ticket {
            ticket.abandon();
        }
        return None;
    }
    let ticket = match ticket {
        Some(ticket) => {
            ticket.rename(path);
            ticket
        }
        None => tracker.reserve(path, Entry::Directory)?,
    };
    ticket.announce();
    Some(ticket)
}

fn confirm(ticket: Ticket<'_>, directory: RawFd, path: *const c_char) {
    // A second time where that failed: of what is not known no more goes than an empty directory.
    match look(directory, path).or_else(|_| look(directory, path)) {
        Ok(seen) if seen.is_directory() => ticket.confirm(&seen.identity),
        Ok(_) => ticket.abandon(),
        Err(_) => ticket.leave(),
    }
}

/// What was just made.
fn look(directory: RawFd, path: *const c_char) -> Result<Seen, Errno> {
    // SAFETY: the kernel has just made a directory by this path, so it can be read.
    let path = unsafe { CStr::from_ptr(path) };
    // SAFETY: the program's own descriptor or AT_FDCWD, in the middle of its own call.
    identity::at(unsafe { sys::borrow(directory) }, path)
}

/// A directory that is not to be tracked was made: it may still look like one that is.
///
/// # Safety
/// `path` is what mkdirat(2) has just succeeded with.
pub unsafe fn note(directory: RawFd, path: *const c_char, tracker: &Tracker) {
    if tracker.has_weak()
        && let Ok(seen) = look(directory, path)
        && seen.is_directory()
    {
        tracker.forget_double(&seen.identity);
    }
}

/// Records a directory that the program is about to make with mkdir, if its path matches `TMPSHIM_TRACK`: to be given to
/// [`settle`]. It is announced if it is to be as mkdtemp makes them, 0700, and nothing has the name: who finds an
/// announcement believes it of such a directory only, and under a name of the program's choice there may be another.
///
/// # Safety
/// `path` can be read up to its NUL.
pub unsafe fn track<'a>(
    directory: RawFd,
    path: *const c_char,
    mode: u32,
    settings: &Settings<'_>,
    tracker: &'a Tracker,
) -> Option<Ticket<'a>> {
    // SAFETY: as this function's own contract.
    let name = unsafe { CStr::from_ptr(path) }.to_bytes();
    let end = name.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    let mut path_now = Text::new();
    if !name.get(..end).is_some_and(|name| absolute(directory, name, &mut path_now)) {
        return None;
    }
    if !crate::glob::any_matches(settings.track, path_now.as_bytes()) || !settings.wants(path_now.as_bytes()) {
        return None;
    }
    let ticket = tracker.reserve(path_now.as_bytes(), Entry::Directory)?;
    if mode & 0o7777 == 0o700 && sys::exists(directory, path) == Err(Errno::NOENT) {
        ticket.announce();
    }
    Some(ticket)
}

/// The directory of `ticket` was made, or was not.
pub fn settle(ticket: Ticket<'_>, made: bool, directory: RawFd, path: *const c_char) {
    if made { confirm(ticket, directory, path) } else { ticket.abandon() }
}

/// Writes the path from the root, as it is now: the program may change its directory later. Says whether there is one
/// that a system call takes.
fn absolute(directory: RawFd, mut path: &[u8], text: &mut Text<PATH_MAX>) -> bool {
    if path.first() != Some(&b'/') {
        let length = if directory == sys::CWD {
            sys::getcwd(text.spare()).map_or(0, |length| length.saturating_sub(1))
        } else {
            // SAFETY: only its number is looked at.
            let mut link = crate::text::fd_path(unsafe { sys::borrow(directory) });
            link.as_c_str().map_or(0, |link| sys::readlinkat(sys::CWD, link.as_ptr(), text.spare()).unwrap_or(0))
        };
        text.set_length(length);
        // "(unreachable)/…": outside of the root, where no path leads back.
        if text.as_bytes().first() != Some(&b'/') {
            return false;
        }
        text.push(b"/");
    }
    // A sweep does not follow dots.
    while let [b'.', b'/', rest @ ..] = path {
        path = rest;
    }
    text.push(path);
    !text.is_cut()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Cleanup;
    use crate::tracker::tests::Site;
    use std::ffi::CString;

    fn mkdtemp(template: &str, settings: &Settings<'_>, tracker: &Tracker) -> (Result<(), Errno>, String) {
        let template = CString::new(template).unwrap().into_raw();
        // SAFETY: a string of our own.
        let answer = unsafe { make(template, settings, tracker, &Next::KERNEL) };
        // SAFETY: it came from `into_raw`.
        (answer, unsafe { CString::from_raw(template) }.into_string().unwrap())
    }

    #[test]
    fn d1_templates() {
        let site = Site::new();
        for bad in ["", "XXXXX", "/tmp/aXXXXXXb", "/tmp/XXXXxX"] {
            assert_eq!(mkdtemp(bad, &Settings::DEFAULT, &site.tracker), (Err(Errno::INVAL), bad.to_owned()));
        }
        assert_eq!(mkdtemp("/nowhere/XXXXXX", &Settings::DEFAULT, &site.tracker).0, Err(Errno::NOENT));
        assert_eq!(mkdtemp("/etc/passwd/XXXXXX", &Settings::DEFAULT, &site.tracker).0, Err(Errno::NOTDIR));
        assert_eq!(site.end(Cleanup::All), []);
    }

    #[test]
    fn d5_a_path_is_noted_as_a_sweep_will_follow_it() {
        let noted = |path: &str| {
            let mut text = Text::new();
            assert!(absolute(sys::CWD, path.as_bytes(), &mut text));
            String::from_utf8(text.as_bytes().to_vec()).unwrap()
        };
        let here = std::env::current_dir().unwrap().display().to_string();
        for (path, expected) in [("a", "/a"), ("./a", "/a"), ("././a/b", "/a/b"), (".a/b", "/.a/b"), ("../a", "/../a")]
        {
            assert_eq!(noted(path), format!("{here}{expected}"));
        }
        assert_eq!(noted("/tmp//a"), "/tmp//a");
    }

    #[test]
    fn d1_made_tracked_and_removed() {
        use std::os::unix::fs::PermissionsExt;
        let site = Site::new();
        let template = format!("{}/tmpshim-tempdir-XXXXXX", site.work().display());
        let (answer, path) = mkdtemp(&template, &Settings::DEFAULT, &site.tracker);
        assert_eq!(answer, Ok(()));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
        let mut skipping = Settings::DEFAULT;
        skipping.skip = b"tmpshim-tempdir-*";
        let (answer, skipped) = mkdtemp(&template, &skipping, &site.tracker);
        assert_eq!(answer, Ok(()));
        site.end(Cleanup::All);
        assert!(!std::fs::exists(&path).unwrap() && std::fs::exists(&skipped).unwrap());
    }
}
