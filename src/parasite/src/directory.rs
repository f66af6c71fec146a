//! mkdir of what is to be tracked (D1).

use crate::records::Overseer;
use crate::{Done, text};
use core::ffi::CStr;
use rustix::fd::{AsFd, AsRawFd};
use rustix::io::Errno;
use tmpshim_core::fd::Fd;
use tmpshim_core::identity;
use tmpshim_core::parasite::{Errand, Said};
use tmpshim_core::records::Ticket;
use tmpshim_core::sys;
use tmpshim_core::text::{PATH_MAX, Text, split};
use tmpshim_core::tracker::Entry;

/// # Safety
/// The path is the program's own, or any address.
#[inline(never)]
pub(crate) unsafe fn run(errand: &Errand, overseer: &Overseer) -> Done {
    // SAFETY: as this function's own contract.
    if let Some(done) = unsafe { tracked(errand, overseer) } {
        return done;
    }
    (sys::mkdirat(errand.directory, text(errand.path), errand.mode).map(|()| 0), Said::Nothing)
}

/// Nothing where no directory could be made or it could not be kept track of: then nothing has been done.
///
/// # Safety
/// As [`run`].
unsafe fn tracked(errand: &Errand, overseer: &Overseer) -> Option<Done> {
    let is_free = match sys::exists(errand.directory, text(errand.path)) {
        Ok(()) => false,
        Err(Errno::NOENT) => true,
        Err(_) => return None,
    };
    // SAFETY: the kernel has just read it.
    let path = unsafe { CStr::from_ptr(text(errand.path)) };
    let (parent, name) = split(path.to_bytes()).filter(|(_, name)| !matches!(*name, b"." | b".."))?;
    let mut parent_text = Text::<PATH_MAX>::new().also(parent);
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the path is ours and closed by NUL, and the descriptor gets an owner at once.
    let parent = unsafe {
        let fd = sys::openat(errand.directory, parent_text.as_c_str()?.as_ptr(), flags, 0).ok()?;
        Fd::own(fd)
    };
    // Who finds an announcement believes it of an empty directory of mode 0700 only, and under a name of the program's
    // choice there may be another.
    let removable = errand.mode & 0o7777 == 0o700 && is_free;
    let mut name_text = Text::<256>::new().also(name);
    let plain = name_text.as_c_str()?;
    let ticket = overseer.announce_name(parent.as_fd(), name, Entry::Directory, removable);
    let made = sys::mkdirat(parent.as_raw_fd(), plain.as_ptr(), errand.mode);
    let mut said = Said::Nothing;
    if let Some(ticket) = ticket {
        match made.and_then(|()| identity::at(parent.as_fd(), plain)) {
            Ok(seen) if seen.is_directory() => {
                ticket.confirm(&seen.identity);
                said = Said::Made;
            }
            _ => ticket.abandon(),
        }
    }
    Some((made.map(|()| 0), said))
}
