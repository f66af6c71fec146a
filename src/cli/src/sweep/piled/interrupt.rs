//! Ctrl-C and its kin while directories are removed: the one at hand is finished, and what was done is told. A second one
//! ends the command at once.

use std::ffi::c_int;
use std::sync::atomic::{AtomicI32, Ordering};

static SEEN: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(signal: c_int) {
    SEEN.store(signal, Ordering::Relaxed);
}

pub(super) struct Interrupt;

impl Interrupt {
    /// Holds them up from here on, each once. What the caller ignores stays ignored.
    pub(super) fn hold() -> Self {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            // SAFETY: the handler stores a number, which may be done anywhere; all-zero bytes are a valid sigaction.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                let mut before: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = note as extern "C" fn(c_int) as libc::sighandler_t;
                action.sa_flags = libc::SA_RESETHAND | libc::SA_RESTART;
                libc::sigaction(signal, std::ptr::null(), &raw mut before);
                if before.sa_sigaction == libc::SIG_DFL {
                    libc::sigaction(signal, &raw const action, std::ptr::null_mut());
                }
            }
        }
        Self
    }

    /// The last of them that has come.
    #[expect(clippy::unused_self, reason = "only where they are held")]
    pub(super) fn seen(&self) -> Option<c_int> {
        Some(SEEN.load(Ordering::Relaxed)).filter(|&signal| signal != 0)
    }
}

/// Ends as the signal would have ended this process: its handler is gone since it came.
pub(super) fn end(signal: c_int) {
    // SAFETY: a number.
    unsafe { libc::raise(signal) };
}
