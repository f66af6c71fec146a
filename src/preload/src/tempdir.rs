//! mkdtemp, and mkdir where `TMPSHIM_TRACK` asks for it (D1).

use crate::errno;
use crate::next::{CORE, MKDIR, MKDIRAT, Next, raw_mkdir, raw_mkdirat};
use crate::process::{HAS_KEPT, TRACKER, program, settings};
use core::ffi::{c_char, c_int};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicU32, Ordering};
use libc::mode_t;
use tmpshim_core::settings::Cleanup;
use tmpshim_core::sys;
use tmpshim_core::tempdir::{make, note, settle, track};

const _: unsafe extern "C" fn(*mut c_char) -> *mut c_char = libc::mkdtemp;
const _: unsafe extern "C" fn(*const c_char, mode_t) -> c_int = libc::mkdir;
const _: RmDir = libc::rmdir;
const _: UnlinkAt = libc::unlinkat;
const _: unsafe extern "C" fn(c_int, *const c_char, mode_t) -> c_int = libc::mkdirat;

type MakeDirectory = unsafe extern "C" fn(*mut c_char) -> *mut c_char;

static MKDTEMP: Next<MakeDirectory> = Next::new(c"mkdtemp");

/// mkdtemp without a record, where no libc has one.
unsafe extern "C" fn own_mkdtemp(_: *mut c_char) -> *mut c_char {
    errno::set(libc::ENOSYS);
    null_mut()
}

/// Whether this program's directories are tracked at all: 0 not decided, 1 yes, 2 no.
static TRACKED: AtomicU32 = AtomicU32::new(0);

fn is_tracked() -> bool {
    let mut known = TRACKED.load(Ordering::Relaxed);
    if known == 0 {
        let settings = settings();
        let tracked = settings.enabled && settings.cleanup != Cleanup::Off && !settings.skips_program(program());
        known = if tracked { 1 } else { 2 };
        TRACKED.store(known, Ordering::Relaxed);
    }
    known == 1
}

/// mkdtemp(3).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mkdtemp(template: *mut c_char) -> *mut c_char {
    if !is_tracked() {
        // SAFETY: the program's own argument, handed on.
        return unsafe { MKDTEMP.get(own_mkdtemp)(template) };
    }
    if !sys::is_readable_string(template) {
        errno::set(libc::EFAULT);
        return null_mut();
    }
    let before = errno::get();
    // SAFETY: the program's own template, which mkdtemp(3) may write to.
    let made = unsafe { make(template, settings(), &TRACKER, &CORE) };
    match errno::answer(made.map(|()| 0), before) {
        0 => template,
        _ => null_mut(),
    }
}

/// mkdir(2).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: the program's own arguments, handed on.
    make_directory(sys::CWD, path, mode, &|| unsafe { MKDIR.get(raw_mkdir)(path, mode) })
}

/// mkdirat(2).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mkdirat(directory: c_int, path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: the program's own arguments, handed on.
    make_directory(directory, path, mode, &|| unsafe { MKDIRAT.get(raw_mkdirat)(directory, path, mode) })
}

/// Makes a directory by the program's own call, and records it where it is to be.
pub(crate) fn make_directory(directory: c_int, path: *const c_char, mode: mode_t, native: &dyn Fn() -> c_int) -> c_int {
    let settings = settings();
    let ticket = if !settings.track.is_empty() && is_tracked() && sys::is_readable_string(path) {
        // SAFETY: the line above has seen its NUL.
        unsafe { track(directory, path, mode, settings, &TRACKER) }
    } else {
        None
    };
    let made = native();
    // From here on only system calls, which leave errno as it is.
    if let Some(ticket) = ticket {
        settle(ticket, made == 0, directory, path);
    } else if made == 0 {
        // SAFETY: mkdirat has just succeeded with it.
        unsafe { note(directory, path, &TRACKER) };
    }
    made
}

type RmDir = unsafe extern "C" fn(*const c_char) -> c_int;
type UnlinkAt = unsafe extern "C" fn(c_int, *const c_char, c_int) -> c_int;

unsafe extern "C" fn raw_rmdir(path: *const c_char) -> c_int {
    // SAFETY: the program's own argument, for the kernel to judge.
    unsafe { raw_unlinkat(sys::CWD, path, libc::AT_REMOVEDIR) }
}

unsafe extern "C" fn raw_unlinkat(directory: c_int, path: *const c_char, flags: c_int) -> c_int {
    errno::answer(sys::unlinkat(directory, path, flags).map(|()| 0), errno::get())
}

static RMDIR: Next<RmDir> = Next::new(c"rmdir");
static UNLINKAT: Next<UnlinkAt> = Next::new(c"unlinkat");

/// rmdir(2): a directory that only holds hidden names of files that were closed is empty to the program (T6).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    // SAFETY: the program's own argument, handed on.
    let native = || unsafe { RMDIR.get(raw_rmdir)(path) };
    let before = errno::get();
    let answer = native();
    if answer != 0 && gave_up_names() { retry(native, before) } else { answer }
}

/// unlinkat(2), as rmdir where it is one.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn unlinkat(directory: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the program's own arguments, handed on.
    let native = || unsafe { UNLINKAT.get(raw_unlinkat)(directory, path, flags) };
    let before = errno::get();
    let answer = native();
    let is_rmdir = flags & libc::AT_REMOVEDIR != 0;
    if answer != 0 && is_rmdir && gave_up_names() { retry(native, before) } else { answer }
}

/// Whether a directory was called not empty, and hidden names were looked through since.
fn gave_up_names() -> bool {
    let error = errno::get();
    let worth_it = matches!(error, libc::ENOTEMPTY | libc::EEXIST) && HAS_KEPT.load(Ordering::Relaxed);
    if worth_it {
        TRACKER.reclaim_files(u32::MAX);
    }
    worth_it
}

fn retry(native: impl Fn() -> c_int, before: c_int) -> c_int {
    let answer = native();
    if answer == 0 {
        errno::set(before);
    }
    answer
}
