//! What has become of this process's children and of those it traces: waitid(2).

use crate::last_errno;
use rustix::io::Errno;

/// One that has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) thread: u32,
    pub(crate) why: Why,
}

/// Why it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// A call that a filter has stopped.
    Seccomp,
    /// A call that begins or ends.
    AtCall,
    /// It has started a thread or a process; whether that is a process.
    Forked { is_process: bool },
    /// It has started a program.
    Executed,
    /// A signal has stopped it, with its process.
    GroupStop(i32),
    /// Nothing in particular.
    Passing,
    /// A signal is about to be delivered.
    Signal(i32),
    /// A child that is not traced.
    Child(i32),
}

/// How a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Status(u8),
    /// By this signal.
    Signal(i32),
}

impl End {
    /// By what waitid(2) says: `si_code` and `si_status`. Nothing where it has only stopped, or goes on.
    pub fn of(code: i32, status: i32) -> Option<Self> {
        match code {
            libc::CLD_EXITED => Some(Self::Status(status as u8)),
            libc::CLD_KILLED | libc::CLD_DUMPED => Some(Self::Signal(status)),
            _ => None,
        }
    }
}

/// One that has ended, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    One(u32, End),
    None,
    /// Somebody has stopped: where somebody is traced, that is told whatever was asked for, and first.
    NotYet,
    /// There is nobody who could.
    Nobody,
}

fn wait(what: libc::c_int) -> Result<libc::siginfo_t, Errno> {
    // SAFETY: plain data, for which zero is a value.
    let mut seen: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: writes to `seen`, which lives on this frame.
    while unsafe { libc::waitid(libc::P_ALL, 0, &raw mut seen, what | libc::WNOHANG | libc::__WALL) } != 0 {
        // Whoever gives up here has missed what SIGCHLD has told of.
        if last_errno() != Errno::INTR {
            return Err(last_errno());
        }
    }
    Ok(seen)
}

/// The next that has stopped; it is not told again.
pub(crate) fn stopped() -> Option<Stop> {
    let seen = wait(libc::WSTOPPED).ok()?;
    // SAFETY: what waitid(2) has written, or zero.
    let (thread, status) = unsafe { (seen.si_pid(), seen.si_status()) };
    (thread > 0).then(|| Stop { thread: thread as u32, why: why(status, seen.si_code == libc::CLD_TRAPPED) })
}

/// `status` without its lowest byte, as wait(2) tells it.
pub(crate) fn why(status: i32, is_traced: bool) -> Why {
    let (signal, event) = (status & 0xff, status >> 8);
    match event {
        _ if !is_traced => Why::Child(signal),
        libc::PTRACE_EVENT_SECCOMP => Why::Seccomp,
        libc::PTRACE_EVENT_CLONE => Why::Forked { is_process: false },
        libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK => Why::Forked { is_process: true },
        libc::PTRACE_EVENT_EXEC => Why::Executed,
        libc::PTRACE_EVENT_STOP if signal != libc::SIGTRAP => Why::GroupStop(signal),
        0 if signal == libc::SIGTRAP | 0x80 => Why::AtCall,
        0 => Why::Signal(signal),
        _ => Why::Passing,
    }
}

/// The next that has ended; it stays to be reaped.
pub(crate) fn ended() -> Ended {
    let seen = match wait(libc::WEXITED | libc::WNOWAIT) {
        Ok(seen) => seen,
        Err(Errno::CHILD) => return Ended::Nobody,
        Err(_) => return Ended::None,
    };
    // SAFETY: what waitid(2) has written, or zero.
    let (thread, status) = unsafe { (seen.si_pid(), seen.si_status()) };
    if thread <= 0 {
        return Ended::None;
    }
    End::of(seen.si_code, status).map_or(Ended::NotYet, |end| Ended::One(thread as u32, end))
}

/// Forgets one that has ended.
pub(crate) fn reap(thread: u32) {
    let mut status = 0;
    // SAFETY: writes to `status`, which lives on this frame.
    while unsafe { libc::waitpid(thread as libc::pid_t, &raw mut status, libc::__WALL | libc::WNOHANG) } < 0 {
        if last_errno() != Errno::INTR {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_stops_are_told_apart() {
        let event = |event: i32, signal: i32| event << 8 | signal;
        for (status, expected) in [
            (event(libc::PTRACE_EVENT_SECCOMP, libc::SIGTRAP), Why::Seccomp),
            (event(0, libc::SIGTRAP | 0x80), Why::AtCall),
            (event(0, libc::SIGTRAP), Why::Signal(libc::SIGTRAP)),
            (event(0, libc::SIGSTOP), Why::Signal(libc::SIGSTOP)),
            (event(0, 64), Why::Signal(64)),
            (event(libc::PTRACE_EVENT_STOP, libc::SIGTRAP), Why::Passing),
            (event(libc::PTRACE_EVENT_STOP, libc::SIGTSTP), Why::GroupStop(libc::SIGTSTP)),
            (event(libc::PTRACE_EVENT_CLONE, libc::SIGTRAP), Why::Forked { is_process: false }),
            (event(libc::PTRACE_EVENT_VFORK, libc::SIGTRAP), Why::Forked { is_process: true }),
            (event(libc::PTRACE_EVENT_EXEC, libc::SIGTRAP), Why::Executed),
        ] {
            assert_eq!(why(status, true), expected, "{status:#x}");
        }
        assert_eq!(why(libc::SIGSTOP, false), Why::Child(libc::SIGSTOP));
    }
}
