//! A program whose calls the kernel tells of by the listener of its filter (seccomp_unotify(2)).

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use libc::sock_filter;
use rustix::io::Errno;
use rustix::process::getpid;
use tmpshim_core::settings::{Cleanup, Settings};
use tmpshim_supervise::install;
use tmpshim_supervise::listener::{Listener, socket_pair};
use tmpshim_supervise::supervisor::Supervisor;
use tmpshim_supervise::watch::Clean;

use super::child::{Caller, Child, Order};
use super::news::News;

/// The filter, and the way its listener takes from the program to the overseer.
pub(super) struct Supervision {
    filter: Vec<sock_filter>,
    killable: bool,
    sender: OwnedFd,
    receiver: OwnedFd,
}

/// What the program's process does before its first exec.
struct Installer {
    filter: Vec<sock_filter>,
    killable: bool,
    sender: OwnedFd,
    news: OwnedFd,
}

/// The program, which runs, and its listener.
pub(super) struct Started {
    child: Child,
    received: Result<(OwnedFd, bool), Errno>,
}

/// Who answers it.
pub(super) struct Supervised {
    supervisor: Arc<Supervisor>,
    watching: JoinHandle<()>,
}

impl Supervision {
    pub(super) fn new(filter: Vec<sock_filter>, killable: bool) -> Result<Self, Errno> {
        let (sender, receiver) = socket_pair()?;
        Ok(Self { filter, killable, sender, receiver })
    }

    /// Starts the program. `news` leads to the front.
    pub(super) fn start(self, order: &Order<'_>, caller: Caller, news: OwnedFd) -> std::io::Result<Started> {
        let Self { filter, killable, sender, receiver } = self;
        let installer = Installer { filter, killable, sender, news };
        let child = Child::start(order, caller, move || installer.install())?;
        Ok(Started { child, received: install::receive(receiver.as_fd()) })
    }
}

impl Installer {
    /// Async-signal-safe.
    fn install(&self) -> Result<(), Errno> {
        // From here on the front must know whom it waits for, whatever becomes of the overseer.
        if !News::Started(getpid()).send(self.news.as_fd()) {
            return Err(Errno::NOBUFS);
        }
        let (listener, killable) = install::install(&self.filter, self.killable)?;
        install::send(self.sender.as_fd(), (listener.as_fd(), killable))
    }
}

impl Started {
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        self.received.iter().map(|(listener, _)| listener.as_raw_fd()).collect()
    }

    /// Begins to answer. Where that cannot be, nobody listens, and what the program asks for is refused with ENOSYS.
    pub(super) fn begin(self, settings: Settings<'static>, clean: Clean) -> (Child, Option<Supervised>) {
        let Self { child, received } = self;
        let supervisor = received.and_then(|(listener, killable)| {
            Supervisor::new(child.pid(), Listener::from(listener), killable, settings, clean)
        });
        let supervised = supervisor.ok().and_then(|supervisor| {
            let watching = supervisor.start().ok()?;
            Some(Supervised { supervisor, watching })
        });
        (child, supervised)
    }
}

impl Supervised {
    /// Nobody is left.
    pub(super) fn end(self, cleanup: Cleanup) {
        self.supervisor.end(cleanup, self.watching);
    }
}
