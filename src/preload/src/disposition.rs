//! Signals that end a process (D4).
//!
//! Once something is tracked, our handler stands where the kernel has SIG_DFL and the default is to end the process. The
//! program never sees it: what asks for a disposition is told SIG_DFL, with the flags and mask that were there. There is
//! no second record of dispositions: the kernel's is looked at each time, and "ours" in it means "default".
//!
//! The handler cleans up, puts the default back, queues the same signal with the same `siginfo_t`, and returns: the
//! signal is delivered at that very return, to the interrupted context. So the wait status, the core file and the
//! registers in it are those of a process without us.

use crate::elf::auxiliary;
use crate::exit::{End, clean_up};
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use libc::SIG_DFL;
use tmpshim_core::sys::{self, KernelSigaction, rt_sigaction};

const LAST: usize = 64;
const SA_RESTORER: u64 = 0x0400_0000;

/// Something was tracked: handlers stand where the default was.
static WATCHING: AtomicBool = AtomicBool::new(false);
/// Some thread has an alternate stack too small for the kernel to put a frame of ours on.
static SMALL_STACK: AtomicBool = AtomicBool::new(false);

/// What a program gave with its SIG_DFL, to be read back by it.
struct Given {
    flags: AtomicU64,
    restorer: AtomicU64,
    mask: AtomicU64,
}

static GIVEN: [Given; LAST + 1] =
    [const { Given { flags: AtomicU64::new(0), restorer: AtomicU64::new(0), mask: AtomicU64::new(0) } }; LAST + 1];

/// Signals whose default is to end the process, with a core file or without. 32 and 33 are libc's own.
#[inline(never)]
pub(crate) const fn is_terminating(signal: c_int) -> bool {
    !matches!(
        signal,
        libc::SIGKILL
            | libc::SIGSTOP
            | libc::SIGTSTP
            | libc::SIGTTIN
            | libc::SIGTTOU
            | libc::SIGCHLD
            | libc::SIGCONT
            | libc::SIGURG
            | libc::SIGWINCH
            | 32
            | 33
    ) && signal >= 1
        && signal <= LAST as c_int
}

/// Signals that an instruction raises.
const fn is_fault(signal: c_int) -> bool {
    matches!(signal, libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE)
}

/// Puts our handler where the default is, before the first thing is tracked in a process. A forked child is one more: it
/// starts with nothing tracked, and perhaps with every disposition reset (CLONE_CLEAR_SIGHAND). Any thread.
pub(crate) fn watch() {
    WATCHING.store(true, Ordering::Release);
    if sys::alternate_stack().is_some_and(|(_, size)| size < enough()) {
        SMALL_STACK.store(true, Ordering::Relaxed);
    }
    for signal in 1..=LAST as c_int {
        stand_in(signal);
    }
}

/// Whether handlers stand where the default was.
pub(crate) fn is_watching() -> bool {
    WATCHING.load(Ordering::Relaxed)
}

/// This thread has another alternate stack: a frame that does not fit ends the process with SIGSEGV.
pub(crate) fn consider_stack() {
    if SMALL_STACK.load(Ordering::Relaxed) || sys::alternate_stack().is_none_or(|(_, size)| size >= enough()) {
        return;
    }
    SMALL_STACK.store(true, Ordering::Relaxed);
    if is_watching() {
        for signal in (1..=LAST as c_int).filter(|&signal| is_terminating(signal)) {
            // SAFETY: nothing is changed.
            if unsafe { rt_sigaction(signal, None) }.is_ok_and(|action| is_ours(&action)) {
                // SAFETY: our handler, with another flag.
                let _ = unsafe { rt_sigaction(signal, Some(&ours(signal))) };
            }
        }
    }
}

/// Takes our place, whatever that is for what the kernel has now.
pub(crate) fn stand_in(signal: c_int) {
    if is_terminating(signal) {
        stand_in_for_default(signal);
        stand_in_for_once(signal);
    }
}

pub(crate) fn is_ours(action: &KernelSigaction) -> bool {
    action.handler == (on_signal as *const ()).addr()
}

/// Puts our handler where the kernel has SIG_DFL.
fn stand_in_for_default(signal: c_int) {
    // The kernel keeps a signal that has no handler from a pid 1, and with one it would interrupt what that is doing.
    if !is_terminating(signal) || sys::getpid() == 1 {
        return;
    }
    // SAFETY: nothing is changed.
    let Ok(default) = (unsafe { rt_sigaction(signal, None) }) else { return };
    if default.handler != SIG_DFL {
        return;
    }
    remember(signal, &default);
    // SAFETY: our handler may run at any instruction of any thread.
    let replaced = unsafe { rt_sigaction(signal, Some(&ours(signal))) };
    // Another thread was quicker and its handler is what the program wants.
    if let Ok(other) = replaced
        && other.handler != SIG_DFL
        && !is_ours(&other)
    {
        // SAFETY: the program's own, put back.
        let _ = unsafe { rt_sigaction(signal, Some(&other)) };
    }
}

#[inline(never)]
fn ours(signal: c_int) -> KernelSigaction {
    // An overflowing stack leaves no other place, and Go crashes on a handler that does not switch. But where a thread
    // has given the kernel too little, the frame cannot be written there, and the program would end with SIGSEGV.
    let switch = is_fault(signal) || !SMALL_STACK.load(Ordering::Relaxed);
    let stack = if switch { libc::SA_ONSTACK } else { 0 };
    #[cfg(target_arch = "x86_64")]
    let (restorer_flag, restorer) = (SA_RESTORER, (restorer as *const ()).addr());
    #[cfg(not(target_arch = "x86_64"))]
    let (restorer_flag, restorer) = (SA_RESTORER & 0, 0);
    KernelSigaction {
        handler: (on_signal as *const ()).addr(),
        flags: (libc::SA_SIGINFO | stack) as u64 | restorer_flag,
        restorer,
        mask: u64::MAX,
    }
}

fn given(signal: c_int) -> Option<&'static Given> {
    GIVEN.get(usize::try_from(signal).ok()?)
}

fn remember(signal: c_int, default: &KernelSigaction) {
    if let Some(given) = given(signal) {
        given.flags.store(default.flags, Ordering::Relaxed);
        given.restorer.store(default.restorer as u64, Ordering::Relaxed);
        given.mask.store(default.mask, Ordering::Relaxed);
    }
}

fn remembered(signal: c_int) -> KernelSigaction {
    let mut action = KernelSigaction { handler: SIG_DFL, flags: 0, restorer: 0, mask: 0 };
    if let Some(given) = given(signal) {
        action.flags = given.flags.load(Ordering::Relaxed);
        action.restorer = given.restorer.load(Ordering::Relaxed) as usize;
        action.mask = given.mask.load(Ordering::Relaxed);
    }
    action
}

/// A handler that is to run once (SA_RESETHAND): the kernel goes back to the default by itself, and would go past us. So
/// ours stands there in its place, puts the default's stand-in back, and calls it.
extern "C" fn run_once(signal: c_int, information: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(once) = ONCE.get(signal as usize) else { return };
    let handler = once.load(Ordering::Relaxed) as usize;
    back_to_default(signal);
    stand_in_for_default(signal);
    if handler > libc::SIG_IGN {
        // SAFETY: the program's own handler, called as the kernel would: all three arguments are given to any handler.
        unsafe {
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = core::mem::transmute(handler);
            handler(signal, information, context);
        }
    }
}

/// The program's own handlers in whose place [`run_once`] stands.
static ONCE: [AtomicU64; LAST + 1] = [const { AtomicU64::new(0) }; LAST + 1];

fn is_run_once(handler: usize) -> bool {
    handler == (run_once as *const ()).addr()
}

/// Stands in for a handler that is to run once, if there is one.
fn stand_in_for_once(signal: c_int) {
    // SAFETY: nothing is changed.
    let Ok(mut action) = (unsafe { rt_sigaction(signal, None) }) else { return };
    if action.handler <= libc::SIG_IGN
        || action.flags & libc::SA_RESETHAND as u64 == 0
        || is_run_once(action.handler)
        || is_ours(&action)
    {
        return;
    }
    if let Some(once) = ONCE.get(signal as usize) {
        once.store(action.handler as u64, Ordering::Relaxed);
        // What is left of it when it has run.
        remember(signal, &KernelSigaction { handler: SIG_DFL, ..action });
        action.handler = (run_once as *const ()).addr();
        action.flags = action.flags & !(libc::SA_RESETHAND as u32 as u64) | libc::SA_SIGINFO as u64;
        // SAFETY: our handler does what the kernel would, and then calls the program's.
        let _ = unsafe { rt_sigaction(signal, Some(&action)) };
    }
}

/// What the kernel would have without us.
pub(crate) fn back_to_default(signal: c_int) {
    // SAFETY: SIG_DFL.
    let _ = unsafe { rt_sigaction(signal, Some(&remembered(signal))) };
}

/// Lets a signal through to the calling thread.
pub(crate) fn unblock(signal: c_int) {
    let mask = sys::set_signal_mask(u64::MAX);
    sys::set_signal_mask(mask & !(1 << (signal - 1)));
}

extern "C" fn on_signal(signal: c_int, information: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: SA_SIGINFO, so the kernel gives a whole one.
    let sent = unsafe { (*information).si_code } <= 0;
    if sent && sys::getpid() == 1 {
        // Inherited by the first process of a new namespace. Without us it would not have been delivered.
        return;
    }
    clean_up(End::Signal);
    back_to_default(signal);
    // sigsuspend(2) and ppoll(2) let a signal in whose mask comes back when the handler returns.
    // SAFETY: the kernel gives a whole context; its signal set begins with the kernel's.
    unsafe {
        let mask = (&raw mut (*context.cast::<libc::ucontext_t>()).uc_sigmask).cast::<u64>();
        mask.write_unaligned(mask.read_unaligned() & !(1 << (signal - 1)));
    }
    // SAFETY: as above. Blocked until this returns, like everything.
    if unsafe { sys::queue_to_self(signal, information) }.is_err() {
        let _ = sys::raise(signal);
    }
}

/// Where the kernel returns to from a handler. Unwinders and debuggers know a signal frame by these very bytes.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
extern "C" fn restorer() {
    core::arch::naked_asm!("mov rax, 15", "syscall")
}

/// Makes a call that may change a disposition, and puts ours where it leaves the default. The signal waits until both are
/// done, so that in a program of one thread it finds either what was there before or what is there after. (With more
/// threads the kernel may give it to another one in between.)
pub(crate) fn settled<T>(signal: c_int, call: impl FnOnce() -> T) -> T {
    let held = hold(signal);
    let answer = call();
    settle(signal, held);
    answer
}

/// Lets the signal wait, if what comes next may leave the default for it. Gives the mask that was there.
#[inline(never)]
fn hold(signal: c_int) -> Option<u64> {
    let matters = is_watching() && is_terminating(signal);
    matters.then(|| sys::block_signals(1 << (signal - 1)))
}

#[inline(never)]
fn settle(signal: c_int, held: Option<u64>) {
    if let Some(mask) = held {
        stand_in(signal);
        sys::set_signal_mask(mask);
    }
}

/// The handler that the program gave, for one of ours.
#[inline(never)]
pub(crate) fn shown(signal: c_int, handler: usize) -> usize {
    if handler == (on_signal as *const ()).addr() {
        SIG_DFL
    } else if is_run_once(handler) {
        ONCE.get(signal as usize).map_or(SIG_DFL, |once| once.load(Ordering::Relaxed) as usize)
    } else {
        handler
    }
}

/// Shows what our handler stands for.
pub(crate) fn hide(signal: c_int, old: &mut libc::sigaction) {
    let handler = shown(signal, old.sa_sigaction);
    if handler == old.sa_sigaction {
        return;
    }
    let default = remembered(signal);
    old.sa_sigaction = handler;
    old.sa_flags = default.flags as c_int;
    // SAFETY: a null function pointer is None; the kernel gave what it holds.
    old.sa_restorer = unsafe { core::mem::transmute::<usize, Option<extern "C" fn()>>(default.restorer) };
    // SAFETY: libc's signal set begins with the kernel's, which is all that it uses of it.
    unsafe { (&raw mut old.sa_mask).cast::<u64>().write_unaligned(default.mask) };
}

/// Bytes of an alternate stack on which the kernel's frame (with all vector registers the machine has) and ours fit.
fn enough() -> usize {
    const AT_MINSIGSTKSZ: libc::c_ulong = 51;
    const OURS: usize = 1024;
    auxiliary(AT_MINSIGSTKSZ).max(libc::MINSIGSTKSZ) + OURS
}
