//! The program as the overseer sees it, however the kernel tells of its calls.

use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use rustix::process::Pid;
use tmpshim_core::settings::{Cleanup, Settings};
use tmpshim_supervise::trace::Tracer;
use tmpshim_supervise::watch::Clean;

use super::OWN_FAILURE;
use super::child::{Caller, Change, Child, End, Order};
use super::news::News;
use super::notified::{self, Supervised};
use super::supervision::Supervision;
use super::traced::{self, Link, Waiting};

/// It has a process, and nobody answers it yet.
pub(super) enum Started {
    Notified(notified::Started),
    Traced(Waiting),
}

/// The program, and who answers it.
pub(super) struct Overseen {
    pid: Pid,
    by: By,
    /// To a process that may not be the program yet.
    link: Option<Link>,
    /// Why it ends without having begun.
    untraced: Option<i32>,
}

enum By {
    Listener(Child, Option<Supervised>),
    Tracer(Box<Tracer>),
}

impl Started {
    /// Starts the program. `news` leads to the front.
    pub(super) fn start(
        supervision: Supervision,
        order: &Order<'_>,
        caller: Caller,
        news: OwnedFd,
    ) -> io::Result<Self> {
        match supervision {
            Supervision::Notify(supervision) => supervision.start(order, caller, news).map(Self::Notified),
            Supervision::Trace(filter) => traced::start(filter, order, caller, news).map(Self::Traced),
        }
    }

    /// What it keeps open.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        match self {
            Self::Notified(started) => started.descriptors(),
            Self::Traced(waiting) => waiting.descriptors(),
        }
    }

    /// Begins to answer. Where that cannot be, a program that runs already goes on, and so does one that `goes_alone`.
    pub(super) fn begin(self, settings: Settings<'static>, clean: Clean, goes_alone: bool, news: &OwnedFd) -> Overseen {
        let (pid, by, link, error) = match self {
            Self::Notified(started) => {
                let (child, supervised) = started.begin(settings, clean);
                (child.pid(), By::Listener(child, supervised), None, None)
            }
            Self::Traced(waiting) => {
                let tracer = waiting.seize(settings, clean, goes_alone);
                let pid = waiting.pid;
                let (by, error) = match tracer {
                    Ok(tracer) => (By::Tracer(Box::new(tracer)), None),
                    Err(errno) => (By::Listener(Child::of(pid), None), Some(errno.raw_os_error())),
                };
                (pid, by, Some(waiting.link()), error)
            }
        };
        let untraced = error.filter(|_| !goes_alone);
        if matches!(by, By::Listener(_, None)) && untraced.is_none() {
            News::NoSupervisor.send(news.as_fd());
        }
        Overseen { pid, by, link, untraced }
    }
}

impl Overseen {
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// What has become of it, and of all that has become ours.
    pub(super) fn look(&mut self) -> Change {
        match &mut self.by {
            By::Listener(child, _) => child.look(),
            By::Tracer(tracer) => tracer.look(),
        }
    }

    /// Whether nobody is left, once the program has ended.
    pub(super) fn is_alone(&mut self) -> bool {
        loop {
            match self.look() {
                Change::Alone => return true,
                Change::Quiet => return false,
                Change::Stopped(_) | Change::Ending(_) => {}
            }
        }
    }

    /// What to tell of a process that ends so without having become the program.
    pub(super) fn unbegun(&self, end: End) -> Option<News> {
        if end != End::Status(OWN_FAILURE) {
            return None;
        }
        let errno = self.link.as_ref().and_then(Link::errno);
        errno.map(News::NotStarted).or(self.untraced.map(News::NotTraced))
    }

    /// Nobody is left: cleans up.
    pub(super) fn end(self, cleanup: Cleanup) {
        match self.by {
            By::Listener(_, supervised) => supervised.into_iter().for_each(|supervised| supervised.end(cleanup)),
            By::Tracer(tracer) => tracer.end(cleanup),
        }
    }
}
