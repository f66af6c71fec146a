//! Putting the filter on, in the process that is about to become the program, and handing its listener over.

use std::borrow::Cow;
use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use libc::{
    SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, SECCOMP_SET_MODE_FILTER, sock_filter,
};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use rustix::thread::{CapabilitySet, capabilities, set_no_new_privs};

use tmpshim_core::tmpfile::plan::{QUESTION_ANSWER, QUESTION_DIRECTORY, QUESTION_FLAGS};
use tmpshim_core::{kin, sys};

use crate::last_errno;
use crate::listener::Listener;

/// Why this system will not have a supervisor (S5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// EBUSY: one listener for each chain of filters.
    Listener,
    /// EPERM, EACCES: somebody else's filter or policy.
    Forbidden,
    /// EINVAL: before Linux 5.14, no descriptor can be handed over in one step.
    Old,
    /// ENOSYS: a kernel or a sandbox without seccomp.
    Missing,
    /// The program's memory, where its paths lie, may not be read.
    Memory,
    /// There is no /proc to see programs in.
    Proc,
    /// EAGAIN, ENOMEM: no process to be had.
    Full,
    /// No thread to be had: a sandbox older than clone3(2), which says EPERM for ENOSYS.
    Threads,
    /// EPERM for ptrace(2): another tracer is above, or a policy forbids it.
    Traced,
    /// A tracer is told of calls too early: before Linux 4.8.
    TooOld,
    /// Anything else.
    Other(Errno),
}

impl Refusal {
    fn of(errno: Errno) -> Self {
        match errno {
            Errno::BUSY => Self::Listener,
            Errno::PERM | Errno::ACCESS => Self::Forbidden,
            Errno::INVAL => Self::Old,
            Errno::NOSYS => Self::Missing,
            Errno::AGAIN | Errno::NOMEM => Self::Full,
            other => Self::Other(other),
        }
    }
}

impl Refusal {
    /// What stands against it.
    pub fn why(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Listener => "another supervisor is at work here already (EBUSY)",
            Self::Forbidden => "seccomp is forbidden here (EPERM)",
            Self::Old => "the kernel is older than 5.14 or lacks user notification (EINVAL)",
            Self::Missing => "there is no seccomp here (ENOSYS)",
            Self::Memory => "Yama forbids to read the program's memory",
            Self::Proc => "there is no /proc here, or it is another PID namespace's",
            Self::Full => "there is no process or memory left for it",
            Self::Threads => "no thread can be started here (clone3 forbidden, as by Docker before 20.10.10)",
            Self::Traced => "ptrace is forbidden here, or a debugger traces this program (EPERM)",
            Self::TooOld => "the kernel is older than 4.8",
            Self::Other(errno) => return Cow::Owned(format!("the filter was refused ({errno})")),
        })
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Listener => "start the program outside of it, or leave it to it",
            Self::Forbidden => "allow the system call seccomp in the sandbox's profile",
            Self::Old | Self::TooOld => "use a newer kernel",
            Self::Missing => "use a kernel with CONFIG_SECCOMP_FILTER, or another sandbox",
            Self::Memory => "give CAP_SYS_PTRACE, or set kernel.yama.ptrace_scope to 1",
            Self::Proc => "mount one",
            Self::Full => "raise the limit (ulimit -u, a container's pids)",
            Self::Threads => "update the container runtime, or allow clone3 in its profile",
            Self::Traced => "start it without a debugger, or allow the system call ptrace in the sandbox's profile",
            Self::Other(_) => "report it",
        }
    }
}

impl fmt::Display for Refusal {
    /// Why, and what to do.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; {}", self.why(), self.remedy())
    }
}

impl std::error::Error for Refusal {}

/// Whether the filter will be given only to a program that promises never to gain rights (no_new_privs).
pub fn costs_new_privileges() -> bool {
    !has(CapabilitySet::SYS_ADMIN)
}

pub(crate) fn has(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}

/// An exit status that is no errno.
pub(crate) const NO_THREAD: i32 = 255;

/// Whether a supervisor of ours is above already.
pub fn is_supervised() -> bool {
    let path = std::ptr::null();
    // SAFETY: the null path is what the question is made of; the kernel refuses it.
    let answer = unsafe { sys::openat(QUESTION_DIRECTORY, path, QUESTION_FLAGS, 0) };
    answer == Err(QUESTION_ANSWER)
}

/// Tries everything in a process that ends at once, so that what is wrong is known before the program is started.
///
/// # Errors
/// Why there can be no supervisor.
pub fn probe(filter: &[sock_filter]) -> Result<(), Refusal> {
    if kin::number_in_proc() != std::process::id() {
        return Err(Refusal::Proc);
    }
    // The supervisor is an ancestor of the program, which is enough for scope 1. Nobody may read memory in scope 3.
    let yama = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    let scope = yama.ok().and_then(|scope| scope.trim().parse().ok()).unwrap_or(0);
    if scope >= 3 || scope == 2 && !has(CapabilitySet::SYS_PTRACE) {
        return Err(Refusal::Memory);
    }
    // SAFETY: this process has a single thread, so the child may do whatever this one may.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let answer = install(filter, true).and_then(|(listener, _)| Listener::from(listener).can_hand_over());
        let status = match answer {
            Err(error) => error.raw_os_error(),
            Ok(()) if std::thread::Builder::new().spawn(|| {}).is_err() => NO_THREAD,
            Ok(()) => 0,
        };
        // SAFETY: ends the process and nothing else.
        unsafe { libc::_exit(status) };
    }
    if child < 0 {
        return Err(Refusal::of(last_errno()));
    }
    let mut status = 0;
    // SAFETY: waits for the child just made; the status lives on this frame.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } < 0 {
        if last_errno() != Errno::INTR {
            return Err(Refusal::Other(last_errno()));
        }
    }
    if !libc::WIFEXITED(status) {
        // A sandbox ended it for the attempt.
        return Err(Refusal::Forbidden);
    }
    match libc::WEXITSTATUS(status) {
        0 => Ok(()),
        NO_THREAD => Err(Refusal::Threads),
        errno => Err(Refusal::of(Errno::from_raw_os_error(errno))),
    }
}

/// Puts the filter on the calling thread. Async-signal-safe: for the child between fork and exec. Promises
/// no_new_privs only where the kernel asks for that. The listener, and whether nothing but a fatal signal interrupts a
/// call once it was received: since Linux 5.19, and only if `killable` asks for it. Go interrupts its own calls all the
/// time (S3).
///
/// # Errors
/// As seccomp(2).
pub fn install(filter: &[sock_filter], killable: bool) -> Result<(OwnedFd, bool), Errno> {
    match without_promise(filter, killable) {
        Err(Errno::ACCESS) => {
            set_no_new_privs(true)?;
            without_promise(filter, killable)
        }
        answer => answer,
    }
}

fn without_promise(filter: &[sock_filter], killable: bool) -> Result<(OwnedFd, bool), Errno> {
    let listen = |flags| {
        // SAFETY: a descriptor just made, owned by nobody else.
        seccomp(filter, flags).map(|listener| unsafe { OwnedFd::from_raw_fd(listener) })
    };
    if killable {
        match listen(SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
            Err(Errno::INVAL) => {}
            answer => return answer.map(|listener| (listener, true)),
        }
    }
    listen(SECCOMP_FILTER_FLAG_NEW_LISTENER).map(|listener| (listener, false))
}

/// Puts the filter on the calling thread. What the kernel gives for the flags.
pub(crate) fn seccomp(filter: &[sock_filter], flags: libc::c_ulong) -> Result<i32, Errno> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the program and its instructions live as long as the call, which only reads them.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if answer < 0 { Err(last_errno()) } else { Ok(answer as i32) }
}

/// Sends what [`install`] gave. Async-signal-safe.
///
/// # Errors
/// As sendmsg(2).
pub fn send(socket: BorrowedFd<'_>, (listener, killable): (BorrowedFd<'_>, bool)) -> Result<(), Errno> {
    let descriptors = [listener];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(socket, &[IoSlice::new(&[u8::from(killable)])], &mut ancillary, SendFlags::NOSIGNAL).map(drop)
}

/// Receives what was sent; EPIPE where nothing was.
///
/// # Errors
/// As recvmsg(2).
pub fn receive(socket: BorrowedFd<'_>) -> Result<(OwnedFd, bool), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut received = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    received.next().map(|listener| (listener, byte == [1])).ok_or(Errno::PIPE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_every_refusal_says_why_and_what_to_do_in_one_line() {
        let mut seen = std::collections::HashSet::new();
        for errno in [Errno::BUSY, Errno::PERM, Errno::INVAL, Errno::NOSYS, Errno::NOMEM, Errno::IO] {
            let text = Refusal::of(errno).to_string();
            assert!(text.contains("; ") && !text.contains('\n'), "{text}");
            assert!(seen.insert(text));
        }
        assert_eq!(Refusal::of(Errno::ACCESS), Refusal::Forbidden);
    }
}
