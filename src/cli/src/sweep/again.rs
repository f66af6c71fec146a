//! `--every`: sweep after sweep, until a signal ends it.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::failure::Failure;
use crate::signals;

/// The exit status: that of the last sweep that came to its end.
static STATUS: AtomicU8 = AtomicU8::new(0);

/// Sweeps, waits, and begins again. What a sweep cannot write to standard output ends it: nobody reads along any more.
pub(super) fn again(every: Duration, mut sweep: impl FnMut() -> Result<u8, Failure>) -> Result<u8, Failure> {
    for signal in signals::ending() {
        let handler: extern "C" fn(c_int) = end;
        // SAFETY: the handler calls nothing but _exit(2) and reads an atomic.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
    loop {
        STATUS.store(sweep()?, Ordering::Relaxed);
        std::thread::sleep(every);
    }
}

/// At once, in the middle of a sweep too: one that is killed leaves nothing that the next does not see to. Without a handler,
/// the kernel would keep the signal from process 1 of a container.
extern "C" fn end(_signal: c_int) {
    // SAFETY: _exit(2) is async-signal-safe, and nothing of this process has to be written to its end.
    unsafe { libc::_exit(STATUS.load(Ordering::Relaxed).into()) }
}
