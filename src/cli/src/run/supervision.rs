//! The supervisor of a program that no library reaches: a process beside it, which lives as long as anybody who has the
//! filter, also when this one is gone.

use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};

use libc::sock_filter;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, read, write};
use rustix::process::{Pid, WaitOptions, waitpid};
use tmpshim_supervise::filter::{self, Watch};
use tmpshim_supervise::install::{self, Refusal};
use tmpshim_supervise::notify;

use super::keeper;

/// A filter that this system accepts, and the way its listener takes from the program to the supervisor.
pub(super) struct Supervision {
    filter: Vec<sock_filter>,
    sender: OwnedFd,
    receiver: OwnedFd,
}

/// What the program's process does before its first exec.
pub(super) struct Installer {
    filter: Vec<sock_filter>,
    sender: OwnedFd,
}

/// Where the listener arrives.
pub(super) struct Listener(OwnedFd);

/// The running supervisor.
pub(super) struct Supervisor {
    pid: Pid,
    control: OwnedFd,
}

impl Supervision {
    /// Tries everything beforehand, so that a program is not started in vain.
    pub(super) fn prepare() -> Result<Self, Refusal> {
        let filter = filter::program(Watch::default());
        install::probe(&filter)?;
        let (sender, receiver) = notify::socket_pair().map_err(Refusal::Other)?;
        Ok(Self { filter, sender, receiver })
    }

    /// Whether set-uid programs, which could do so now, will no longer gain rights.
    pub(super) fn costs_rights() -> bool {
        install::costs_new_privileges() && !rustix::thread::no_new_privs().unwrap_or(false)
    }

    /// What goes into the program's process, and what stays.
    pub(super) fn split(self) -> (Installer, Listener) {
        (Installer { filter: self.filter, sender: self.sender }, Listener(self.receiver))
    }
}

impl Installer {
    /// Async-signal-safe.
    pub(super) fn install(&self) -> Result<(), Errno> {
        let listener = install::install(&self.filter)?;
        install::send(self.sender.as_fd(), listener.as_fd())
    }
}

impl Listener {
    /// Starts the supervisor of a program that has been started. Where that fails, nobody listens, and what the program
    /// asks for is refused with ENOSYS.
    pub(super) fn start(self) -> Option<Supervisor> {
        let started = self.try_start();
        if let Err(error) = &started {
            anstream::eprintln!("tmpshim: warning: no supervisor: {error}; O_TMPFILE fails in the program");
        }
        started.ok()
    }

    fn try_start(self) -> Result<Supervisor, Errno> {
        let listener = install::receive(self.0.as_fd())?;
        let (control, theirs) = notify::socket_pair()?;
        // SAFETY: this process has a single thread, so the child may do whatever this one may.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            keeper::detach(&[listener.as_raw_fd(), theirs.as_raw_fd()]);
            fill_standard_descriptors();
            if let Some(supervisor) = notify::Supervisor::new(listener, theirs) {
                supervisor.serve();
            }
            // SAFETY: _exit(2) ends the process and nothing else: the parent's buffers are not the child's to flush.
            unsafe { libc::_exit(0) }
        }
        let pid = Pid::from_raw(pid).filter(|_| pid > 0).ok_or(Errno::AGAIN)?;
        Ok(Supervisor { pid, control })
    }
}

/// So that no message of ours, should there ever be one, lands in a file of the program's that got such a number.
fn fill_standard_descriptors() {
    while let Ok(null) = openat(CWD, "/dev/null", OFlags::RDWR, Mode::empty()) {
        if null.as_raw_fd() > libc::STDERR_FILENO {
            break;
        }
        // Open to the end of this process.
        let _ = null.into_raw_fd();
    }
}

impl Supervisor {
    /// After the program's end: returns when the supervisor is gone, too, or knows of somebody who still needs it.
    pub(super) fn settle(self) {
        let asked = write(&self.control, &[1]).is_ok();
        if asked && matches!(read(&self.control, &mut [0]), Ok(1)) {
            return;
        }
        let _ = waitpid(Some(self.pid), WaitOptions::empty());
    }
}
