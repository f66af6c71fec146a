//! Signals, for a parent that must pass on every one of them.
//!
//! libc keeps signals 32 and 33 to itself and leaves them out of every set it hands out; a program can be ended by them
//! all the same. So sets are the kernel's own here: one bit a signal, 64 of them.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use rustix::process::{DumpableBehavior, Pid, Resource, Rlimit, getpid, getsid, set_dumpable_behavior, setrlimit};

/// A set of signals, as the kernel keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Set(u64);

impl Set {
    /// All signals; those that cannot be blocked are left out by the kernel.
    pub(crate) const ALL: Self = Self(u64::MAX);

    /// These signals.
    pub(crate) fn of(signals: &[c_int]) -> Self {
        Self(signals.iter().fold(0, |set, signal| set | 1 << (signal - 1)))
    }
}

/// A signal that was waiting for this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) signal: c_int,
    /// Sent to us and not to the program as well, nor of what only a parent is told.
    pub(crate) is_to_be_passed_on: bool,
}

impl Received {
    fn new(signal: c_int, code: c_int) -> Self {
        let is_to_be_passed_on = match signal {
            // Codes above 0 are the kernel's: one of our children has changed.
            libc::SIGCHLD => code <= 0,
            _ if code != libc::SI_KERNEL => true,
            // What the terminal sends goes to the whole process group: the program has it already.
            libc::SIGINT | libc::SIGQUIT | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU | libc::SIGWINCH => false,
            // Of a hangup the kernel tells the leader of the session alone.
            libc::SIGHUP | libc::SIGCONT => getsid(None) == Ok(getpid()),
            // A timer that the caller has set, for one.
            _ => true,
        };
        Self { signal, is_to_be_passed_on }
    }
}

/// Blocks `set` in this thread, besides what is blocked already; what was blocked before.
pub(crate) fn block(set: Set) -> Set {
    mask(libc::SIG_BLOCK, set)
}

/// Blocks exactly `set` in this thread. Async-signal-safe.
pub(crate) fn restore(set: Set) {
    mask(libc::SIG_SETMASK, set);
}

fn mask(how: c_int, set: Set) -> Set {
    let mut old = 0u64;
    // SAFETY: both sets are one u64, as the size argument says.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const set.0, &raw mut old, size_of::<u64>()) };
    Set(old)
}

/// Takes a blocked signal of `set`, waiting for one up to `patience`, for ever where that is `None`.
pub(crate) fn wait(set: Set, patience: Option<Duration>) -> Option<Received> {
    let patience =
        patience.map(|time| libc::timespec { tv_sec: time.as_secs() as _, tv_nsec: time.subsec_nanos().into() });
    let patience = patience.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    loop {
        // SAFETY: siginfo_t is plain data, for which zero is a value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let set = &raw const set.0;
        // SAFETY: the set is one u64, as the size argument says; `info` and the timeout live on this frame.
        let signal =
            unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, set, &raw mut info, patience, size_of::<u64>()) };
        if signal > 0 {
            return Some(Received::new(signal as c_int, info.si_code));
        }
        if io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return None;
        }
    }
}

/// Takes a blocked signal of `set` that is waiting.
pub(crate) fn take(set: Set) -> Option<Received> {
    wait(set, Some(Duration::ZERO))
}

/// A descriptor that is readable while a blocked signal of `set` is waiting. To be polled only: [`take`] takes it.
pub(crate) fn descriptor(set: Set) -> io::Result<OwnedFd> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the set is one u64, as the size argument says.
    let descriptor = unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const set.0, size_of::<u64>(), flags) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, owned by nobody else.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor as i32) };
    // Not in the place of a standard descriptor that the caller has closed, which would be written to.
    Ok(rustix::io::fcntl_dupfd_cloexec(descriptor, 3)?)
}

/// As [`send`], to a process that is known by a descriptor.
pub(crate) fn send_to(process: BorrowedFd<'_>, signal: c_int) {
    let nothing = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: without a siginfo_t no memory is touched.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, nothing, 0) };
}

/// Sends `signal`. That the process has ended already is no error for the caller: its end is what it will see next.
pub(crate) fn send(pid: Pid, signal: c_int) {
    // SAFETY: kill(2) touches no memory.
    unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) };
}

/// Whether `signal` is ignored by this process.
pub(crate) fn is_ignored(signal: c_int) -> bool {
    // SAFETY: sigaction is plain data, for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: only reads the disposition, into a structure on this frame.
    unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN }
}

/// What ends a command that goes on; not what its caller ignores, as nohup(1) does.
pub(crate) fn ending() -> Vec<c_int> {
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP].into_iter().filter(|&signal| !is_ignored(signal)).collect()
}

/// Ignores `signal`. Async-signal-safe.
pub(crate) fn ignore(signal: c_int) {
    // SAFETY: no handler is installed that could run.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Gives `signal` its default action. Async-signal-safe.
pub(crate) fn default(signal: c_int) {
    // The kernel's `struct sigaction`, all zero: libc refuses the signals that are its own.
    let action = [0u64; 4];
    let nothing = std::ptr::null_mut::<u64>();
    // SAFETY: no handler is installed that could run; the structure lives on this frame.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, nothing, size_of::<u64>()) };
}

/// Takes the default action of `signal` on this process: stops it, and returns when it is continued, or ends it.
pub(crate) fn act_by_default(signal: c_int) {
    default(signal);
    send(getpid(), signal);
    let before = mask(libc::SIG_UNBLOCK, Set::of(&[signal]));
    restore(before);
}

/// Stops this process as `signal` has stopped the program, so that the shell which waits for us sees the job stop; returns
/// when it is continued. Not where somebody has continued us already, whose signal this would take back, and not as PID 1,
/// which nothing stops. Says whether it was continued.
pub(crate) fn stop_by(signal: c_int) -> bool {
    let continued = take(Set::of(&[libc::SIGCONT]));
    if continued.is_none() && getpid().as_raw_nonzero().get() != 1 {
        act_by_default(signal);
    }
    continued.is_some()
}

/// Ends this process by `signal`, without a core dump: the process whose end this repeats has had its own. Returns where
/// that cannot be, as PID 1 of a container does not take the default action of its own signals; the exit status
/// that shells give such an end.
pub(crate) fn end_by(signal: c_int) -> u8 {
    // Both, since a core pattern that is a pipe does not ask for the limit. Failing to set them costs a second core.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    act_by_default(signal);
    exit_status_of(signal)
}

/// What shells call the end by `signal`.
pub(crate) fn exit_status_of(signal: c_int) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: c_int = 64;

    #[test]
    fn every_signal_has_a_bit_of_its_own() {
        let union = (1..=LAST).fold(0, |union, signal| {
            let Set(bit) = Set::of(&[signal]);
            assert_eq!(bit.count_ones(), 1);
            assert_eq!(union & bit, 0);
            union | bit
        });
        assert_eq!(Set(union), Set::ALL);
    }

    #[test]
    fn exit_statuses_are_the_shells() {
        assert_eq!(exit_status_of(libc::SIGTERM), 143);
        assert_eq!(exit_status_of(libc::SIGKILL), 137);
        assert_eq!(exit_status_of(LAST), 192);
    }

    #[test]
    fn a_blocked_signal_is_taken_once() {
        let set = Set::of(&[libc::SIGUSR1, 33]);
        let before = block(set);
        // SAFETY: both are blocked in this thread, to which they are sent.
        unsafe {
            let thread = libc::gettid();
            libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, libc::SIGUSR1);
            libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, 33);
        }
        let mut taken = [wait(set, None), wait(set, None)].map(|received| received.unwrap().signal);
        taken.sort_unstable();
        assert_eq!(taken, [libc::SIGUSR1, 33]);
        assert_eq!(wait(set, Some(Duration::ZERO)), None);
        restore(before);
    }
}
