//! Whether there can be a tracer here, and putting on the filter for one.

use libc::sock_filter;
use rustix::io::{Errno, retry_on_intr};
use rustix::thread::{CapabilitySet, set_no_new_privs};
use tmpshim_core::kin;
use tmpshim_core::tmpfile::plan::QUESTION_ANSWER;

use super::ptrace;
use super::registers::Registers;
use super::wait::{Why, why};
use crate::filter::TRACE_MARK;
use crate::install::{NO_THREAD, Refusal, costs_new_privileges, has, is_supervised, seccomp};
use crate::last_errno;
use crate::listener::socket_pair;

/// An exit status that is no errno, and not [`NO_THREAD`].
const NO_ANSWER: i32 = 254;

/// Tries everything with a process that ends at once.
///
/// # Errors
/// Why there can be no tracer.
pub fn probe(filter: &[sock_filter]) -> Result<(), Refusal> {
    if kin::number_in_proc() != std::process::id() {
        return Err(Refusal::Proc);
    }
    let (ours, theirs) = socket_pair().map_err(|_| Refusal::Full)?;
    // SAFETY: this process has a single thread, so the child may do whatever this one may.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop(theirs);
        // As long as nobody traces it: a thread would have to be seen to.
        let has_threads = std::thread::Builder::new().spawn(|| {}).is_ok_and(|thread| thread.join().is_ok());
        let is_told = retry_on_intr(|| rustix::io::write(&ours, &[0])).is_ok();
        // Until it is seized, or its parent is gone.
        let is_seized = is_told && retry_on_intr(|| rustix::io::read(&ours, &mut [0u8; 1])).is_ok();
        let status = match install(filter) {
            _ if !is_seized => NO_ANSWER,
            Err(error) => error.raw_os_error(),
            Ok(()) if !is_supervised() => NO_ANSWER,
            Ok(()) if !has_threads => NO_THREAD,
            Ok(()) => 0,
        };
        // SAFETY: ends the process and nothing else.
        unsafe { libc::_exit(status) };
    }
    let Ok(child) = u32::try_from(child) else { return Err(Refusal::Full) };
    drop(ours);
    let mut seized = retry_on_intr(|| rustix::io::read(&theirs, &mut [0u8; 1])).and_then(|_| ptrace::seize(child));
    drop(theirs);
    let mut seen = Seen::default();
    let status = loop {
        let status = wait_for(child)?;
        if !libc::WIFSTOPPED(status) {
            break status;
        }
        match seen.see(child, why(status >> 8, true)) {
            // Where it is dead, that is told next.
            Ok(()) | Err(Errno::SRCH) => {}
            // A sandbox may allow some requests and not others. Nobody else would let it go on.
            Err(error) => {
                seized = Err(error);
                // SAFETY: kill(2) touches no memory; the child is not reaped yet.
                unsafe { libc::kill(child as libc::pid_t, libc::SIGKILL) };
            }
        }
    };
    match seized {
        Ok(()) if libc::WIFEXITED(status) => seen.judge(libc::WEXITSTATUS(status)),
        // A sandbox ended it for the attempt.
        Ok(()) => Err(Refusal::Forbidden),
        Err(Errno::PERM | Errno::ACCESS | Errno::NOSYS) => Err(Refusal::Traced),
        Err(error) => Err(Refusal::Other(error)),
    }
}

fn wait_for(child: u32) -> Result<i32, Refusal> {
    let mut status = 0;
    // SAFETY: waits for the child just made; the status lives on this frame.
    while unsafe { libc::waitpid(child as libc::pid_t, &raw mut status, libc::__WALL) } < 0 {
        if last_errno() != Errno::INTR {
            return Err(Refusal::Other(last_errno()));
        }
    }
    Ok(status)
}

/// What a tracer is told of one call.
#[derive(Debug, Default)]
struct Seen {
    /// The filter's stop.
    call: bool,
    /// Its end.
    end: bool,
    /// The call was stopped twice.
    twice: bool,
}

impl Seen {
    fn see(&mut self, child: u32, why: Why) -> Result<(), Errno> {
        match why {
            Why::Seccomp if ptrace::message(child)? == u64::from(TRACE_MARK) => {
                self.call = true;
                let answer = -i64::from(QUESTION_ANSWER.raw_os_error());
                ptrace::set_registers(child, &ptrace::registers(child)?.answered(answer))?;
                ptrace::signal_mask(child)?;
                ptrace::resume_to_call(child, 0)
            }
            Why::AtCall if !self.end => {
                self.end = true;
                ptrace::resume_to_call(child, 0)
            }
            // The next call, or, before Linux 4.8, only now the end of this one.
            Why::AtCall => {
                self.twice = ptrace::registers(child)?.number() == u32::MAX;
                ptrace::resume(child, 0)
            }
            Why::Signal(signal) => ptrace::resume(child, signal),
            _ => ptrace::resume(child, 0),
        }
    }

    /// `status` is the child's.
    fn judge(&self, status: i32) -> Result<(), Refusal> {
        match status {
            0 if self.twice || !self.end => Err(Refusal::TooOld),
            0 => Ok(()),
            NO_THREAD => Err(Refusal::Threads),
            NO_ANSWER if self.call => Err(Refusal::TooOld),
            NO_ANSWER => Err(Refusal::Traced),
            libc::EPERM | libc::EACCES => Err(Refusal::Forbidden),
            libc::EINVAL | libc::ENOSYS => Err(Refusal::Missing),
            other => Err(Refusal::Other(Errno::from_raw_os_error(other))),
        }
    }
}

/// Puts the filter on the calling thread, which somebody traces already. Async-signal-safe: for the child between fork and
/// exec. Promises no_new_privs only where the kernel asks for that.
///
/// # Errors
/// As seccomp(2).
pub fn install(filter: &[sock_filter]) -> Result<(), Errno> {
    match seccomp(filter, 0) {
        Err(Errno::ACCESS) => {
            set_no_new_privs(true)?;
            seccomp(filter, 0).map(drop)
        }
        answer => answer.map(drop),
    }
}

/// Whether set-uid programs below will gain no rights: for want of a filter without that promise, or because the kernel
/// gives none to a program whose tracer could not have them itself.
pub fn costs_rights() -> bool {
    costs_new_privileges() || !has(CapabilitySet::SYS_PTRACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_what_a_tracer_needs_is_told_from_what_is_missing() {
        let seen = Seen { call: true, end: true, twice: false };
        assert_eq!(seen.judge(0), Ok(()));
        assert_eq!(Seen { twice: true, ..seen }.judge(0), Err(Refusal::TooOld));
        assert_eq!(Seen::default().judge(NO_ANSWER), Err(Refusal::Traced));
        assert_eq!(seen.judge(NO_THREAD), Err(Refusal::Threads));
        assert_eq!(Seen::default().judge(libc::EPERM), Err(Refusal::Forbidden));
        assert_eq!(Seen::default().judge(libc::ENOSYS), Err(Refusal::Missing));
    }
}
