//! Which signals wait while a thread is on an errand, and whose it is: what `/proc/TID/status` says, once an errand.
//!
//! Whatever a handler is to see must find the thread behind its call, and what would only interrupt the parasite's own
//! calls must not. But what ends the program by default does so at once, as it would have in the middle of its own call:
//! otherwise a server that hangs would keep SIGINT and SIGTERM away.

use crate::target::line;

/// Those that end a process where it says nothing else: signal(7), and all real-time signals. Not SIGKILL, which never
/// waits, nor what a thread does to itself.
const ENDING: u64 = {
    let named = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGABRT,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGPIPE,
        libc::SIGALRM,
        libc::SIGTERM,
        libc::SIGSTKFLT,
        libc::SIGXCPU,
        libc::SIGXFSZ,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGIO,
        libc::SIGPWR,
    ];
    let mut set = !0 << 31;
    let mut index = 0;
    while index < named.len() {
        set |= 1 << (named[index] - 1);
        index += 1;
    }
    set
};

/// A thread that is about to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traveller {
    /// Its mask on the way: bit n-1 stands for signal n.
    pub(crate) mask: u64,
    /// As whom it makes files. Not who `/proc/TID` belongs to, which is root where the thread has changed its user.
    pub(crate) user: Option<u32>,
}

impl Traveller {
    /// One that blocks `blocked` itself.
    pub(crate) fn of(thread: u32, blocked: u64) -> Self {
        Self::by(&std::fs::read(format!("/proc/{thread}/status")).unwrap_or_default(), blocked)
    }

    fn by(status: &[u8], blocked: u64) -> Self {
        let set = |name| u64::from_str_radix(line(status, name)?, 16).ok();
        let mask = match (set("SigIgn"), set("SigCgt")) {
            (Some(ignored), Some(caught)) => !(ENDING & !ignored & !caught) | blocked,
            _ => u64::MAX,
        };
        // Real, effective, saved, and that of the filesystem.
        let user = line(status, "Uid").and_then(|users| users.split_ascii_whitespace().nth(3)?.parse().ok());
        Self { mask, user }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bit(signal: i32) -> u64 {
        1 << (signal - 1)
    }

    #[test]
    fn s3_what_is_handled_waits_and_what_ends_the_program_does_not() {
        let status = format!(
            "Name:\tx\nUid:\t1\t2\t3\t4\nSigBlk:\t0000000000000000\nSigIgn:\t{:016x}\nSigCgt:\t{:016x}\n",
            bit(libc::SIGHUP),
            bit(libc::SIGUSR1) | bit(40)
        );
        let Traveller { mask, user } = Traveller::by(status.as_bytes(), bit(libc::SIGUSR2));
        assert_eq!(user, Some(4));
        let waits = |signal: i32| mask & bit(signal) != 0;
        for signal in [libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, 40] {
            assert!(waits(signal), "{signal}");
        }
        for signal in [libc::SIGCHLD, libc::SIGURG, libc::SIGWINCH, libc::SIGTSTP, libc::SIGTTIN, libc::SIGCONT] {
            assert!(waits(signal), "{signal} would interrupt, and end nothing");
        }
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGALRM, libc::SIGPIPE, 34, 64] {
            assert!(!waits(signal), "{signal}");
        }
        assert_eq!(Traveller::by(b"", 0), Traveller { mask: u64::MAX, user: None });
        let own = Traveller::of(std::process::id(), u64::MAX);
        assert_eq!((own.mask, own.user), (u64::MAX, Some(rustix::process::geteuid().as_raw())));
    }

    #[test]
    fn s3_real_time_signals_begin_behind_the_others() {
        assert_eq!(ENDING & bit(32), bit(32));
        assert_eq!(ENDING & bit(31), 0, "SIGSYS is the thread's own");
        assert_eq!(ENDING & bit(libc::SIGSEGV), 0);
    }
}
