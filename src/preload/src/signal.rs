//! The calls by which a program sets what a signal does (D4): it is told of its own dispositions, never of ours.

use crate::disposition::{self, back_to_default, hide, is_ours, is_terminating, settled, shown, stand_in, unblock};
use crate::next::Next;
use core::ffi::c_int;
use core::mem::MaybeUninit;
use libc::{SIG_DFL, sighandler_t};
use tmpshim_core::sys::rt_sigaction;

const _: unsafe extern "C" fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int = libc::sigaction;
const _: unsafe extern "C" fn(c_int, sighandler_t) -> sighandler_t = libc::signal;
const _: unsafe extern "C" fn(*const libc::stack_t, *mut libc::stack_t) -> c_int = libc::sigaltstack;

const SIG_HOLD: sighandler_t = 2;

type SigAction = unsafe extern "C" fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int;

unsafe extern "C" fn raw_sigaction(_: c_int, _: *const libc::sigaction, _: *mut libc::sigaction) -> c_int {
    crate::errno::set(libc::ENOSYS);
    -1
}

macro_rules! sigactions {
    ($($name:ident, $next:ident, $text:literal;)*) => {$(
        static $next: Next<SigAction> = Next::new($text);

        /// sigaction(2). Any thread, also in a signal handler and after fork.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name(
            signal: c_int,
            new: *const libc::sigaction,
            old: *mut libc::sigaction,
        ) -> c_int {
            // SAFETY: the program's own arguments, handed on.
            unsafe { sigaction_by($next.get(raw_sigaction), signal, new, old) }
        }
    )*};
}

/// # Safety
/// The arguments are the program's own.
unsafe fn sigaction_by(
    next: SigAction,
    signal: c_int,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> c_int {
    let call = || {
        // SAFETY: as this function's own contract.
        let answer = unsafe { next(signal, new, old) };
        if answer == 0 && !old.is_null() && disposition::is_watching() {
            // SAFETY: libc has just written to it.
            hide(signal, unsafe { &mut *old });
        }
        answer
    };
    if new.is_null() { call() } else { settled(signal, call) }
}

sigactions! {
    sigaction, SIGACTION, c"sigaction";
    __sigaction, UNDERSCORE_SIGACTION, c"__sigaction";
}

type Signal = unsafe extern "C" fn(c_int, sighandler_t) -> sighandler_t;

unsafe extern "C" fn raw_signal(_: c_int, _: sighandler_t) -> sighandler_t {
    crate::errno::set(libc::ENOSYS);
    libc::SIG_ERR
}

macro_rules! signals {
    ($($name:ident, $next:ident, $text:literal;)*) => {$(
        static $next: Next<Signal> = Next::new($text);

        /// signal(2). Any thread, also in a signal handler and after fork.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name(signal: c_int, handler: sighandler_t) -> sighandler_t {
            signal_by($next.get(raw_signal), signal, handler)
        }
    )*};
}

fn signal_by(next: Signal, signal: c_int, handler: sighandler_t) -> sighandler_t {
    // SAFETY: the program's own arguments, handed on.
    let old = settled(signal, || unsafe { next(signal, handler) });
    shown(signal, old)
}

signals! {
    signal, SIGNAL, c"signal";
    bsd_signal, BSD_SIGNAL, c"bsd_signal";
    ssignal, SSIGNAL, c"ssignal";
    sysv_signal, SYSV_SIGNAL, c"sysv_signal";
    __sysv_signal, UNDERSCORE_SYSV_SIGNAL, c"__sysv_signal";
}

static SIGSET: Next<Signal> = Next::new(c"sigset");

/// sigset(3). It also lets a signal through that was held, before anything could be put in the default's place: so where
/// the program asks for the default, libc only holds the signal, and it is let through here.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sigset(signal: c_int, handler: sighandler_t) -> sighandler_t {
    let to_default = handler == SIG_DFL && disposition::is_watching() && is_terminating(signal);
    // SAFETY: the program's own arguments, handed on.
    let old = unsafe { SIGSET.get(raw_signal)(signal, if to_default { SIG_HOLD } else { handler }) };
    let old = shown(signal, old);
    if to_default && old != libc::SIG_ERR {
        let default = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: all zero is SIG_DFL without flags. Through libc, which leaves its own restorer.
        unsafe { SIGACTION.get(raw_sigaction)(signal, default.as_ptr(), core::ptr::null_mut()) };
        stand_in(signal);
        unblock(signal);
    } else if disposition::is_watching() {
        // Not `settled`: which signals are let through is part of what sigset changes.
        stand_in(signal);
    }
    old
}

type SigInterrupt = unsafe extern "C" fn(c_int, c_int) -> c_int;

unsafe extern "C" fn raw_siginterrupt(_: c_int, _: c_int) -> c_int {
    crate::errno::set(libc::ENOSYS);
    -1
}

static SIGINTERRUPT: Next<SigInterrupt> = Next::new(c"siginterrupt");

/// siginterrupt(3): libc reads the disposition, changes a flag and writes it back. It gets the default to do that on.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn siginterrupt(signal: c_int, flag: c_int) -> c_int {
    settled(signal, || {
        // SAFETY: nothing is changed.
        if unsafe { rt_sigaction(signal, None) }.is_ok_and(|action| is_ours(&action)) {
            back_to_default(signal);
        }
        // SAFETY: the program's own arguments, handed on.
        unsafe { SIGINTERRUPT.get(raw_siginterrupt)(signal, flag) }
    })
}

type AltStack = unsafe extern "C" fn(*const libc::stack_t, *mut libc::stack_t) -> c_int;

unsafe extern "C" fn raw_sigaltstack(_: *const libc::stack_t, _: *mut libc::stack_t) -> c_int {
    crate::errno::set(libc::ENOSYS);
    -1
}

static SIGALTSTACK: Next<AltStack> = Next::new(c"sigaltstack");

/// sigaltstack(2): a look at the size, because a frame that does not fit ends the process with SIGSEGV.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sigaltstack(new: *const libc::stack_t, old: *mut libc::stack_t) -> c_int {
    // SAFETY: the program's own arguments, handed on.
    let answer = unsafe { SIGALTSTACK.get(raw_sigaltstack)(new, old) };
    if answer == 0 && !new.is_null() {
        disposition::consider_stack();
    }
    answer
}
