//! The ways a process ends by itself (D2).

use crate::disposition;
use crate::next::{Entry, Next};
use crate::process::{IS_SANDBOXED, TRACKER, settings};
use core::ffi::{c_char, c_int, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use tmpshim_core::settings::Cleanup;
use tmpshim_core::sys;
use tmpshim_core::tracker::Ending;

const _: unsafe extern "C" fn(c_int) -> ! = libc::_exit;
const _: unsafe extern "C" fn() -> ! = libc::abort;

/// How a process ends.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// With this status.
    Status(c_int),
    /// By a signal.
    Signal,
}

/// Removes what was made and not removed, as the settings say.
#[inline(never)]
pub(crate) fn clean_up(end: End) {
    let settings = settings();
    if !settings.enabled {
        return;
    }
    let cleanup = match (settings.cleanup, end) {
        // All that a parent sees of a status is its last byte.
        (Cleanup::Failed, End::Status(status)) if status & 0xff == 0 => Cleanup::Off,
        (Cleanup::Failed, _) => Cleanup::All,
        (cleanup, _) => cleanup,
    };
    let ending = match end {
        End::Status(_) => Ending::Orderly,
        End::Signal => Ending::Signal,
    };
    // A forked child that has locked itself in may be killed for a call that its sandbox does not know.
    TRACKER.clean_up(cleanup, ending, !IS_SANDBOXED.load(Ordering::Relaxed));
}

type OnExit = unsafe extern "C" fn(extern "C" fn(c_int, *mut c_void), *mut c_void) -> c_int;
type AtQuickExit = unsafe extern "C" fn(extern "C" fn()) -> c_int;
type CxaAtQuickExit = unsafe extern "C" fn(extern "C" fn(*mut c_void), *mut c_void) -> c_int;
type Exit = unsafe extern "C" fn(c_int) -> !;

unsafe extern "C" fn no_on_exit(_: extern "C" fn(c_int, *mut c_void), _: *mut c_void) -> c_int {
    -1
}

unsafe extern "C" fn no_at_quick_exit(_: extern "C" fn()) -> c_int {
    -1
}

unsafe extern "C" fn no_cxa_at_quick_exit(_: extern "C" fn(*mut c_void), _: *mut c_void) -> c_int {
    -1
}

unsafe extern "C" fn raw_exit(status: c_int) -> ! {
    sys::exit_group(status)
}

unsafe extern "C" fn raw_abort() -> ! {
    let _ = sys::raise(libc::SIGABRT);
    sys::exit_group(127)
}

static ON_EXIT: Next<OnExit> = Next::new(c"on_exit");
static AT_QUICK_EXIT: Next<AtQuickExit> = Next::new(c"at_quick_exit");
static CXA_AT_QUICK_EXIT: Next<CxaAtQuickExit> = Next::new(c"__cxa_at_quick_exit");
static EXIT: Next<Exit> = Next::new(c"exit");
static QUICK_EXIT: Next<Exit> = Next::new(c"quick_exit");
static UNDERSCORE_EXIT: Next<Exit> = Next::new(c"_exit");
static CAPITAL_EXIT: Next<Exit> = Next::new(c"_Exit");
static ABORT: Next<unsafe extern "C" fn() -> !> = Next::new(c"abort");

/// libc tells the status at the end of exit(3).
static HAS_ON_EXIT: AtomicBool = AtomicBool::new(false);
/// What the program itself has said, where libc does not tell.
static STATUS: AtomicI32 = AtomicI32::new(0);

/// What every process comes by.
pub(crate) const NEXT: [&Entry; 3] = [ON_EXIT.entry(), CXA_AT_QUICK_EXIT.entry(), START_MAIN.entry()];

/// From the constructor: registered before anything of the program's, so run after all of it. Its own handlers may still
/// use the directories.
pub(crate) fn prepare() {
    // SAFETY: as on_exit(3), at_quick_exit(3) and the C++ ABI say; no handle, so that nothing runs them at dlclose.
    unsafe {
        HAS_ON_EXIT.store(ON_EXIT.get(no_on_exit)(at_exit, null_mut()) == 0, Ordering::Relaxed);
        if CXA_AT_QUICK_EXIT.get(no_cxa_at_quick_exit)(at_quick_exit_with, null_mut()) != 0 {
            AT_QUICK_EXIT.get(no_at_quick_exit)(at_quick_exit);
        }
    }
}

extern "C" fn at_exit(status: c_int, _: *mut c_void) {
    clean_up(End::Status(status));
}

extern "C" fn at_quick_exit() {
    clean_up(End::Status(STATUS.load(Ordering::Relaxed)));
}

extern "C" fn at_quick_exit_with(_: *mut c_void) {
    at_quick_exit();
}

/// Our destructor: in glibc it would run before on_exit's.
pub(crate) extern "C" fn at_unload() {
    if !HAS_ON_EXIT.load(Ordering::Relaxed) {
        clean_up(End::Status(STATUS.load(Ordering::Relaxed)));
    }
}

type Main = unsafe extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char) -> c_int;
type StartMain =
    unsafe extern "C" fn(Main, c_int, *mut *mut c_char, *mut c_void, *mut c_void, *mut c_void, *mut c_void) -> c_int;

unsafe extern "C" fn raw_start_main(
    main: Main,
    count: c_int,
    arguments: *mut *mut c_char,
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
) -> c_int {
    // SAFETY: the environment lies behind the arguments.
    sys::exit_group(unsafe { main(count, arguments, arguments.offset(count as isize + 1)) })
}

static START_MAIN: Next<StartMain> = Next::new(c"__libc_start_main");
static MAIN: AtomicUsize = AtomicUsize::new(0);

/// musl does not tell anybody what main returned: it goes through here. glibc has on_exit, and its main is left alone.
unsafe extern "C" fn noting_main(count: c_int, arguments: *mut *mut c_char, environment: *mut *mut c_char) -> c_int {
    // SAFETY: stored by `__libc_start_main`, the only one to give this function to libc.
    let status = unsafe {
        let main = core::mem::transmute::<usize, Main>(MAIN.load(Ordering::Relaxed));
        main(count, arguments, environment)
    };
    STATUS.store(status, Ordering::Relaxed);
    status
}

/// The first thing a program calls. Hands everything on.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn __libc_start_main(
    main: Main,
    count: c_int,
    arguments: *mut *mut c_char,
    initialise: *mut c_void,
    finish: *mut c_void,
    loader_finish: *mut c_void,
    stack_end: *mut c_void,
) -> c_int {
    let mut handed_on = main;
    if !ON_EXIT.exists() {
        MAIN.store((main as *const ()).addr(), Ordering::Relaxed);
        handed_on = noting_main;
    }
    // SAFETY: the program's own arguments, handed on.
    unsafe { START_MAIN.get(raw_start_main)(handed_on, count, arguments, initialise, finish, loader_finish, stack_end) }
}

/// exit(3).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn exit(status: c_int) -> ! {
    STATUS.store(status, Ordering::Relaxed);
    // SAFETY: the program's own argument, handed on.
    unsafe { EXIT.get(raw_exit)(status) }
}

/// quick_exit(3).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn quick_exit(status: c_int) -> ! {
    STATUS.store(status, Ordering::Relaxed);
    // SAFETY: the program's own argument, handed on.
    unsafe { QUICK_EXIT.get(raw_exit)(status) }
}

/// _exit(2). Any thread, also in a signal handler, after fork and in a vfork child.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn _exit(status: c_int) -> ! {
    clean_up(End::Status(status));
    // SAFETY: the program's own argument, handed on.
    unsafe { UNDERSCORE_EXIT.get(raw_exit)(status) }
}

/// `_Exit`(3), the same.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn _Exit(status: c_int) -> ! {
    clean_up(End::Status(status));
    // SAFETY: the program's own argument, handed on.
    unsafe { CAPITAL_EXIT.get(raw_exit)(status) }
}

/// abort(3). With SIGABRT at its default, our handler cleans up. Where the program catches it and its handler returns,
/// ignores it, or (under musl) blocks it, libc goes back to the default and raises it again without asking anybody, so
/// that is done in this order here.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn abort() -> ! {
    if TRACKER.is_in_use() {
        disposition::unblock(libc::SIGABRT);
        let _ = sys::raise(libc::SIGABRT);
        clean_up(End::Signal);
        disposition::back_to_default(libc::SIGABRT);
    }
    // SAFETY: as abort(3).
    unsafe { ABORT.get(raw_abort)() }
}
