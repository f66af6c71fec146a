//! The supervisor's end of the filter: seccomp_unotify(2).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use libc::{
    SECCOMP_ADDFD_FLAG_SEND, SECCOMP_ADDFD_FLAG_SETFD, SECCOMP_USER_NOTIF_FLAG_CONTINUE, seccomp_notif,
    seccomp_notif_resp,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use crate::last_errno;

/// `struct seccomp_notif_addfd`.
#[repr(C)]
#[derive(Debug)]
struct AddFd {
    id: u64,
    flags: u32,
    source: u32,
    target: u32,
    target_flags: u32,
}

// `_IOWR('!', 0, struct seccomp_notif)` and its kin.
const RECEIVE: libc::Ioctl = (0xc050_2100u32) as libc::Ioctl;
const SEND: libc::Ioctl = (0xc018_2101u32) as libc::Ioctl;
const IS_VALID: libc::Ioctl = (0x4008_2102u32) as libc::Ioctl;
const ADD_FD: libc::Ioctl = (0x4018_2103u32) as libc::Ioctl;
const SET_FLAGS: libc::Ioctl = (0x4008_2104u32) as libc::Ioctl;
/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`
const SYNC_WAKE_UP: libc::c_ulong = 1;
const _: () = assert!(size_of::<seccomp_notif>() == 0x50 && size_of::<seccomp_notif_resp>() == 0x18);
const _: () = assert!(size_of::<AddFd>() == 0x18);

/// Where the calls arrive.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Listener {
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }
}

impl Listener {
    fn ioctl<T>(&self, request: libc::Ioctl, argument: &mut T) -> Result<i32, Errno> {
        // SAFETY: the size of what each request reads and writes is part of its number, and held against the type above.
        let answer = unsafe { libc::ioctl(self.0.as_raw_fd(), request, std::ptr::from_mut(argument)) };
        if answer < 0 { Err(last_errno()) } else { Ok(answer) }
    }

    /// Asks the kernel to run us at once, and on the processor where the program has just stopped (since Linux 6.6):
    /// half the time of a call.
    pub(crate) fn wake_where_the_program_stops(&self) {
        // SAFETY: the argument is the flags themselves. An older kernel refuses, which costs nothing but time.
        let _ = unsafe { libc::ioctl(self.0.as_raw_fd(), SET_FLAGS, SYNC_WAKE_UP) };
    }

    /// Waits until a call can be taken. Says whether there will be one: not where everybody who has the filter is gone.
    pub(crate) fn wait(&self) -> bool {
        let mut watched = [PollFd::new(&self.0, PollFlags::IN)];
        while poll(&mut watched, None).is_err() {}
        watched[0].revents().contains(PollFlags::IN)
    }

    /// Takes the next call. Before Linux 6.11 this waits for ever where nobody is left, so [`Self::wait`] first.
    ///
    /// # Errors
    /// ENOENT where a signal took the program away meanwhile: it comes again.
    pub(crate) fn receive(&self) -> Result<seccomp_notif, Errno> {
        // SAFETY: plain data, for which zero is a value, and the one that the kernel asks for.
        let mut call: seccomp_notif = unsafe { std::mem::zeroed() };
        self.ioctl(RECEIVE, &mut call).map(|_| call)
    }

    /// Whether the program still waits: what was read of it until then was its own.
    pub(crate) fn is_waiting(&self, id: u64) -> bool {
        self.ioctl(IS_VALID, &mut { id }).is_ok()
    }

    /// Lets the kernel carry out the call.
    pub(crate) fn let_go(&self, id: u64) {
        let flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        let _ = self.ioctl(SEND, &mut seccomp_notif_resp { id, val: 0, error: 0, flags });
    }

    /// Ends the call: 0, or the error.
    ///
    /// # Errors
    /// ENOENT where the program does not wait any more.
    pub(crate) fn answer(&self, id: u64, answer: Result<(), Errno>) -> Result<(), Errno> {
        self.answer_with(id, answer.map(|()| 0))
    }

    /// Ends the call: a number, or the error.
    ///
    /// # Errors
    /// ENOENT where the program does not wait any more.
    pub(crate) fn answer_with(&self, id: u64, answer: Result<i32, Errno>) -> Result<(), Errno> {
        let (val, error) = answer.map_or_else(|error| (0, -error.raw_os_error()), |value| (value.into(), 0));
        self.ioctl(SEND, &mut seccomp_notif_resp { id, val, error, flags: 0 }).map(drop)
    }

    /// Ends the call with a descriptor, in one step.
    ///
    /// # Errors
    /// ENOENT where the program does not wait any more; EMFILE where it has no number free.
    pub(crate) fn hand_over(&self, id: u64, file: BorrowedFd<'_>, close_on_exec: bool) -> Result<(), Errno> {
        self.add(id, SECCOMP_ADDFD_FLAG_SEND as u32, file, 0, close_on_exec).map(drop)
    }

    /// Gives the program a descriptor, before the call ends. Which number it has.
    ///
    /// # Errors
    /// As for [`Self::hand_over`].
    pub(crate) fn give(&self, id: u64, file: BorrowedFd<'_>, close_on_exec: bool) -> Result<i32, Errno> {
        self.add(id, 0, file, 0, close_on_exec)
    }

    /// Makes a number of the program's refer to another file, before the call ends.
    ///
    /// # Errors
    /// ENOENT where the program does not wait any more.
    pub(crate) fn replace(&self, id: u64, number: u32, file: BorrowedFd<'_>, close_on_exec: bool) -> Result<(), Errno> {
        self.add(id, SECCOMP_ADDFD_FLAG_SETFD as u32, file, number, close_on_exec).map(drop)
    }

    fn add(&self, id: u64, flags: u32, file: BorrowedFd<'_>, target: u32, close_on_exec: bool) -> Result<i32, Errno> {
        let target_flags = if close_on_exec { libc::O_CLOEXEC as u32 } else { 0 };
        let source = file.as_raw_fd() as u32;
        self.ioctl(ADD_FD, &mut AddFd { id, flags, source, target, target_flags })
    }

    /// Whether this kernel can hand over a descriptor and wake the program in one step (since Linux 5.14).
    /// Async-signal-safe.
    ///
    /// # Errors
    /// EINVAL where it cannot.
    pub(crate) fn can_hand_over(&self) -> Result<(), Errno> {
        match self.hand_over(u64::MAX, self.as_fd(), false) {
            // There is no such call.
            Err(Errno::NOENT) => Ok(()),
            answer => answer,
        }
    }
}

/// A pair of sockets that keeps one message from the next, under numbers that are no standard descriptor's: one that the
/// caller has closed is written to as if it were not.
///
/// # Errors
/// As socketpair(2) and fcntl(2).
pub fn socket_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((fcntl_dupfd_cloexec(one, 3)?, fcntl_dupfd_cloexec(other, 3)?))
}
