//! Which signals wait while a thread is on an errand.
//!
//! Whatever a handler is to see must find the thread behind its call, and what would only interrupt the parasite's own
//! calls must not. But what ends the program by default does so at once, as it would have in the middle of its own call:
//! otherwise a server that hangs would keep SIGINT and SIGTERM away.

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

/// The mask for a thread that blocks `blocked` itself: bit n-1 stands for signal n.
pub(crate) fn waiting(thread: u32, blocked: u64) -> u64 {
    let status = std::fs::read(format!("/proc/{thread}/status")).unwrap_or_default();
    by(&status, blocked)
}

fn by(status: &[u8], blocked: u64) -> u64 {
    let set = |name: &str| {
        let mut lines = status.split(|&byte| byte == b'\n');
        let text = lines.find_map(|line| line.strip_prefix(name.as_bytes()))?;
        u64::from_str_radix(str::from_utf8(text).ok()?.trim(), 16).ok()
    };
    let (Some(ignored), Some(caught)) = (set("SigIgn:"), set("SigCgt:")) else { return u64::MAX };
    !(ENDING & !ignored & !caught) | blocked
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
            "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t{:016x}\nSigCgt:\t{:016x}\n",
            bit(libc::SIGHUP),
            bit(libc::SIGUSR1) | bit(40)
        );
        let mask = by(status.as_bytes(), bit(libc::SIGUSR2));
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
        assert_eq!(by(b"", 0), u64::MAX);
        assert_eq!(waiting(std::process::id(), u64::MAX), u64::MAX);
    }

    #[test]
    fn s3_real_time_signals_begin_behind_the_others() {
        assert_eq!(ENDING & bit(32), bit(32));
        assert_eq!(ENDING & bit(31), 0, "SIGSYS is the thread's own");
        assert_eq!(ENDING & bit(libc::SIGSEGV), 0);
    }
}
