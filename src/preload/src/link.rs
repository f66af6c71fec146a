//! linkat (T7).

use crate::errno;
use crate::next::{CORE, LINKAT, Next, raw_linkat};
use crate::process::{HAS_KEPT, HAS_STOOD_IN, SURVEY, TRACKER, log, settings};
use core::ffi::{CStr, c_char, c_int};
use core::sync::atomic::Ordering;
use libc::mode_t;
use rustix::io::Errno;
use tmpshim_core::event::Event;
use tmpshim_core::publish::source::{self, Own, Source};
use tmpshim_core::publish::{may_be_ours, publish};
use tmpshim_core::settings::Tmpfile;
use tmpshim_core::sys;
use tmpshim_core::tmpfile::Means;

const _: unsafe extern "C" fn(c_int, *const c_char, c_int, *const c_char, c_int) -> c_int = libc::linkat;
const _: unsafe extern "C" fn(c_int, mode_t) -> c_int = libc::fchmod;

/// The arguments of linkat(2).
#[derive(Clone, Copy)]
pub(crate) struct Link {
    pub(crate) from: c_int,
    pub(crate) old: *const c_char,
    pub(crate) to: c_int,
    pub(crate) new: *const c_char,
    pub(crate) flags: c_int,
}

/// linkat(2). Any thread, also in a signal handler and after fork.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn linkat(
    from: c_int,
    old: *const c_char,
    to: c_int,
    new: *const c_char,
    flags: c_int,
) -> c_int {
    let next = LINKAT.get(raw_linkat);
    if may_name_a_descriptor(flags) {
        // SAFETY: the program's own arguments, handed on.
        return link(&Link { from, old, to, new, flags }, &move || unsafe { next(from, old, to, new, flags) });
    }
    // SAFETY: the program's own arguments, handed on.
    unsafe { next(from, old, to, new, flags) }
}

/// Whether a linkat with these flags can mean an open file.
pub(crate) const fn may_name_a_descriptor(flags: c_int) -> bool {
    const MEANT: c_int = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_FOLLOW;
    // Any other flag is EINVAL, as the kernel will say.
    flags & MEANT != 0 && flags & !MEANT == 0
}

/// Where this process has made stand-ins, looks first whether the file is one; elsewhere (one may have come by exec or
/// SCM_RIGHTS) the program's own call comes first, so that nothing is added to what works.
#[cold]
#[inline(never)]
pub(crate) fn link(link: &Link, native: &dyn Fn() -> c_int) -> c_int {
    let settings = settings();
    if !settings.enabled || settings.tmpfile == Tmpfile::Off {
        return native();
    }
    let before = errno::get();
    if HAS_STOOD_IN.load(Ordering::Relaxed)
        && sys::is_readable(link.old.cast())
        // SAFETY: the line above has asked the kernel.
        && let Some(source) = unsafe { source::find(link.from, link.old, link.flags) }
        && (source.mark.unlinked || is_kept(&source))
    {
        return give_name(&source, link, before);
    }
    let answer = native();
    let refusal = sys::error(errno::get());
    if answer == 0 || !may_be_ours(refusal) {
        return answer;
    }
    // SAFETY: the kernel has read both paths before it came to these errors.
    let Some(source) = (unsafe { source::find(link.from, link.old, link.flags) }) else {
        errno::set(refusal.raw_os_error());
        return answer;
    };
    if !source.mark.unlinked {
        errno::set(refusal.raw_os_error());
        return answer;
    }
    give_name(&source, link, before)
}

static FCHMOD: Next<unsafe extern "C" fn(c_int, mode_t) -> c_int> = Next::new(c"fchmod");

unsafe extern "C" fn raw_fchmod(fd: c_int, mode: mode_t) -> c_int {
    // SAFETY: only its number is looked at; a closed one is EBADF.
    let changed = if fd == -1 { Err(Errno::BADF) } else { sys::fchmod(unsafe { sys::borrow(fd) }, mode) };
    errno::answer(changed.map(|()| 0), errno::get())
}

/// fchmod(2): a file with a hidden name is to keep the mode the program gives it, also when it is published.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fchmod(fd: c_int, mode: mode_t) -> c_int {
    // SAFETY: the program's own arguments, handed on.
    let changed = unsafe { FCHMOD.get(raw_fchmod)(fd, mode) };
    if changed == 0 && HAS_KEPT.load(Ordering::Relaxed) {
        // SAFETY: an empty path.
        if let Some(source) = unsafe { source::find(fd, c"".as_ptr(), libc::AT_EMPTY_PATH) } {
            TRACKER.keep_mode_of_file(source.link.as_bytes());
        }
    }
    changed
}

fn is_kept(source: &Source<Own>) -> bool {
    TRACKER.mode_of_file(source.link.as_bytes()).is_some()
}

fn give_name(source: &Source<Own>, link: &Link, before: c_int) -> c_int {
    let means = Means { next: &CORE, survey: &SURVEY, tracker: Some(&TRACKER) };
    // SAFETY: `publish` lets the kernel read the path first.
    let answer = unsafe { publish(source, link.to, link.new, &means) };
    if answer != Err(Errno::FAULT) {
        // SAFETY: the kernel has read the path.
        let path = unsafe { CStr::from_ptr(link.new) }.to_bytes();
        log(&match answer {
            Ok(()) => Event::Published { path },
            Err(error) => Event::CouldNotPublish { path, error },
        });
    }
    errno::answer(answer.map(|()| 0), before)
}
