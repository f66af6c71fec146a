//! The doors to open(2), all of them (T1).

use crate::errno;
use crate::next::{CORE, Next, OPENAT, OPENAT2, Open, OpenAt, raw_open, raw_openat, raw_openat2};
use crate::process::{HAS_KEPT, HAS_STOOD_IN, SURVEY, TRACKER, log, settings};
use core::ffi::{CStr, c_char, c_int};
use core::sync::atomic::Ordering;
use libc::mode_t;
use rustix::io::Errno;
use tmpshim_core::event::Event;
use tmpshim_core::settings::Tmpfile;
use tmpshim_core::sys;
use tmpshim_core::tmpfile::plan::{self, Answer, OpenHow, asks_for_tmpfile};
use tmpshim_core::tmpfile::{Made, Means, Request, stand_in};

/// Mode for a fortified door, which has no mode to hand on: glibc ends a program that goes through one with O_TMPFILE,
/// because it would hand the kernel whatever lies in a register.
const NO_MODE: mode_t = 0o600;

/// The program's own attempt, and what stands in for it where the filesystem has no O_TMPFILE.
#[cold]
#[inline(never)]
pub(crate) fn tmpfile(request: &Request, native: &dyn Fn() -> c_int) -> c_int {
    let settings = settings();
    if !settings.enabled || settings.tmpfile == Tmpfile::Off {
        return native();
    }
    let before = errno::get();
    let mut refusal = None;
    if settings.tmpfile == Tmpfile::Auto || !plan::is_valid(request.flags) {
        let fd = native();
        if fd >= 0 {
            return fd;
        }
        let error = sys::error(errno::get());
        match plan::after(error, request.flags) {
            Answer::Return => return fd,
            Answer::StandIn => {}
            Answer::StandInIfDirectory => refusal = Some(error),
        }
    }
    let means = Means { next: &CORE, survey: &SURVEY, tracker: Some(&TRACKER) };
    // SAFETY: the program's own path: the kernel has read it in the native attempt, or judges it now.
    let made = unsafe { stand_in(request, refusal, &means) };
    match made {
        Ok((_, made)) => {
            HAS_STOOD_IN.store(true, Ordering::Relaxed);
            if made == Made::Kept {
                HAS_KEPT.store(true, Ordering::Relaxed);
            }
            log(&Event::StoodIn { path: path_of(request), made });
        }
        Err(error) if error != Errno::FAULT => log(&Event::CouldNotStandIn { path: path_of(request), error }),
        Err(_) => {}
    }
    errno::answer(made.map(|(fd, _)| fd), before)
}

fn path_of(request: &Request) -> &[u8] {
    // SAFETY: the kernel has read the path, so it can be read.
    unsafe { CStr::from_ptr(request.path) }.to_bytes()
}

/// A door with the shape of open(2), the first time or for O_TMPFILE.
#[cold]
#[inline(never)]
fn open_slowly(next: &Next<Open>, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    let next = next.get(raw_open);
    // SAFETY: the program's own arguments, handed on.
    let native = move || unsafe { next(path, flags, mode) };
    if !asks_for_tmpfile(flags) {
        return native();
    }
    tmpfile(&Request { directory: sys::CWD, path, flags, mode, resolve: 0 }, &native)
}

/// A door with the shape of openat(2), the first time or for O_TMPFILE.
#[cold]
#[inline(never)]
fn openat_slowly(next: &Next<OpenAt>, directory: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    let next = next.get(raw_openat);
    // SAFETY: the program's own arguments, handed on.
    let native = move || unsafe { next(directory, path, flags, mode) };
    if !asks_for_tmpfile(flags) {
        return native();
    }
    tmpfile(&Request { directory, path, flags, mode, resolve: 0 }, &native)
}

/// Doors with the shape of open(2), and the next in line of each.
macro_rules! doors_like_open {
    ($($name:ident, $next:ident, $text:literal;)*) => {$(
        static $next: Next<Open> = Next::new($text);

        /// open(2). Any thread, also in a signal handler and after fork.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
            match $next.known() {
                // SAFETY: the program's own arguments, handed on.
                Some(next) if !asks_for_tmpfile(flags) => unsafe { next(path, flags, mode) },
                _ => open_slowly(&$next, path, flags, mode),
            }
        }
    )*};
}

/// Doors with the shape of openat(2).
macro_rules! doors_like_openat {
    ($($name:ident, $next:expr;)*) => {$(
        /// openat(2). Any thread, also in a signal handler and after fork.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name(
            directory: c_int,
            path: *const c_char,
            flags: c_int,
            mode: mode_t,
        ) -> c_int {
            match $next.known() {
                // SAFETY: the program's own arguments, handed on.
                Some(next) if !asks_for_tmpfile(flags) => unsafe { next(directory, path, flags, mode) },
                _ => openat_slowly(&$next, directory, path, flags, mode),
            }
        }
    )*};
}

doors_like_open! {
    open, OPEN, c"open";
    open64, OPEN64, c"open64";
    __open, UNDERSCORE_OPEN, c"__open";
    __open64, UNDERSCORE_OPEN64, c"__open64";
}

static OPENAT64: Next<OpenAt> = Next::new(c"openat64");

doors_like_openat! {
    openat, OPENAT;
    openat64, OPENAT64;
}

type Open2 = unsafe extern "C" fn(*const c_char, c_int) -> c_int;
type OpenAt2Fortified = unsafe extern "C" fn(c_int, *const c_char, c_int) -> c_int;

unsafe extern "C" fn raw_open_2(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the program's own arguments, handed on.
    unsafe { raw_open(path, flags, 0) }
}

unsafe extern "C" fn raw_openat_2(directory: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the program's own arguments, handed on.
    unsafe { raw_openat(directory, path, flags, 0) }
}

/// The doors that programs compiled with `_FORTIFY_SOURCE` take where they give no mode.
macro_rules! fortified_doors {
    ($($name:ident, $next:ident, $text:literal, $type:ty, $raw:ident, $plain:expr, ($($directory:ident)?);)*) => {$(
        static $next: Next<$type> = Next::new($text);

        /// open(2) without a mode.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name($($directory: c_int,)? path: *const c_char, flags: c_int) -> c_int {
            if asks_for_tmpfile(flags) && settings().enabled {
                // SAFETY: the program's own arguments, handed on with the mode they lack.
                return unsafe { $plain($($directory,)? path, flags, NO_MODE) };
            }
            // SAFETY: the program's own arguments, handed on.
            unsafe { $next.get($raw)($($directory,)? path, flags) }
        }
    )*};
}

fortified_doors! {
    __open_2, OPEN_2, c"__open_2", Open2, raw_open_2, open, ();
    __open64_2, OPEN64_2, c"__open64_2", Open2, raw_open_2, open64, ();
    __openat_2, OPENAT_2, c"__openat_2", OpenAt2Fortified, raw_openat_2, openat, (directory);
    __openat64_2, OPENAT64_2, c"__openat64_2", OpenAt2Fortified, raw_openat_2, openat64, (directory);
}

/// openat2(2), which glibc has since 2.43.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn openat2(directory: c_int, path: *const c_char, how: *const u8, size: usize) -> c_int {
    // SAFETY: the program's own arguments, handed on.
    unsafe {
        openat2_through(directory, path, how, size, &move || OPENAT2.get(raw_openat2)(directory, path, how, size))
    }
}

/// openat2 by whatever door. What `how` points to is looked at only if the kernel can read it.
///
/// # Safety
/// The arguments are the program's own.
pub(crate) unsafe fn openat2_through(
    directory: c_int,
    path: *const c_char,
    how: *const u8,
    size: usize,
    native: &dyn Fn() -> c_int,
) -> c_int {
    let words = [0, 8, 16].map(|offset| how.wrapping_add(offset));
    if size < size_of::<OpenHow>() || !words.iter().all(|&word| sys::is_readable(word)) {
        return native();
    }
    // SAFETY: the kernel has just said that these 24 bytes can be read.
    let how = unsafe { how.cast::<OpenHow>().read_unaligned() };
    let flags = how.flags as c_int;
    if !plan::openat2_takes(how.flags, how.mode) || !asks_for_tmpfile(flags) {
        return native();
    }
    tmpfile(&Request { directory, path, flags, mode: how.mode as u32, resolve: how.resolve }, native)
}
