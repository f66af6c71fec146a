//! The program's parent, which answers its calls; and cleans up when the last of its family has ended.

use std::cell::OnceCell;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Pid, Signal, WaitOptions, getppid, set_parent_process_death_signal, wait};
use tmpshim_core::journal::Record;
use tmpshim_core::settings::{Cleanup, Log, Settings};
use tmpshim_supervise::listener::{Listener, socket_pair};
use tmpshim_supervise::supervisor::{Clean, Supervisor};

use super::child::{self, Caller, Child, End, Order};
use super::family::Family;
use super::front::Front;
use super::keeper;
use super::library::Staged;
use super::supervision::{News, Supervision};
use crate::failure::Failure;
use crate::signals::{self, Set};
use crate::sweep::sweeper::Sweeper;

/// What the program is to find, and what has to go when it has ended.
pub(super) struct Household<'a> {
    pub(super) order: Order<'a>,
    pub(super) settings: Settings<'static>,
    pub(super) library: Option<&'a Staged>,
    pub(super) family: Option<&'a Family>,
    /// Whether somebody takes the front for the program itself: what kills the one must kill the other.
    pub(super) is_the_program: bool,
}

/// Starts the overseer, which starts the program.
pub(super) fn start(household: Household<'_>, caller: Caller, supervision: Supervision) -> Result<Front, Failure> {
    let failed = |error: Errno| {
        let remedy = "free some memory or processes, or give --engine preload";
        Failure::new(super::OWN_FAILURE, "cannot start the supervisor", error, remedy)
    };
    // Where the overseer dies, the program becomes our child.
    child::adopt_orphans();
    let (news, theirs) = socket_pair().map_err(failed)?;
    let front = rustix::process::getpid();
    // SAFETY: this process has a single thread, so the child may do whatever this one may.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop(news);
        oversee(household, caller, supervision, &theirs, front);
        // SAFETY: _exit(2) ends the process and nothing else: the parent's buffers are not the child's to flush.
        unsafe { libc::_exit(0) }
    }
    match Pid::from_raw(pid).filter(|_| pid > 0) {
        Some(overseer) => Ok(Front { overseer, news }),
        None => Err(failed(Errno::AGAIN)),
    }
}

fn oversee(household: Household<'_>, caller: Caller, supervision: Supervision, news: &OwnedFd, front: Pid) {
    let under_init = front.as_raw_nonzero().get() == 1;
    let Ok(same_news) = fcntl_dupfd_cloexec(news, 3) else { return };
    let (installer, receiver) = supervision.split(same_news);
    let Household { order, settings, library, family, is_the_program } = household;
    let front = is_the_program.then(|| Parent::watch(front)).flatten();
    let child = match Child::start(&order, caller, Some(installer)) {
        Ok(child) => child,
        Err(error) => return News::NotStarted(error.raw_os_error().unwrap_or(libc::EIO)).send(news.as_fd()),
    };
    let received = receiver.receive();
    let place = library.and_then(Staged::place);
    let mut needed: Vec<RawFd> = vec![news.as_raw_fd()];
    needed.extend(received.iter().map(|(listener, _)| listener.as_raw_fd()));
    needed.extend(place.iter().flat_map(|place| place.descriptors()));
    needed.extend(family.iter().flat_map(|family| family.descriptors()));
    let log = stream_of(settings.log);
    needed.extend(log);
    keeper::detach(&needed);
    fill_standard_descriptors();
    let is_failed = settings.cleanup == Cleanup::Failed;
    let cleanup = settings.cleanup;
    let supervised = received.and_then(|(listener, killable)| {
        let clean = cleaner(cleanup != Cleanup::Empty);
        Supervisor::new(child.pid(), Listener::from(listener), killable, settings, clean)
    });
    // Where there is none, nobody listens, and what the program asks for is refused with ENOSYS.
    let supervised = supervised.ok().and_then(|supervisor| {
        let watching = supervisor.start().ok()?;
        Some((supervisor, watching))
    });
    if supervised.is_none() {
        News::NoSupervisor.send(news.as_fd());
    }
    let end = watch(&child, news, front.as_ref());
    if under_init {
        // Whoever is left ends with the front: by the kernel, or now, so that somebody can clean up behind them.
        child::end_all();
    }
    let alone = !child::has_descendants();
    if !alone {
        News::Ended(end, false).send(news.as_fd());
        // Who reads the program's output to its end waits for whoever has it open.
        if let Some(log) = log {
            let_go_of(log);
        }
        // Whoever is left, or will be started, has become or will become our child.
        while wait(WaitOptions::empty()).is_ok() {}
    }
    if let Some((supervisor, watching)) = supervised {
        let keeps = is_failed && end == End::Status(0);
        supervisor.end(if keeps { Cleanup::Off } else { cleanup }, watching);
    }
    if let Some(family) = family {
        family.end();
    }
    if let Some(place) = place {
        place.remove();
    }
    if alone {
        News::Ended(end, true).send(news.as_fd());
    }
}

/// Until the program has ended; reaps whatever else becomes our child.
fn watch(child: &Child, news: &OwnedFd, front: Option<&Parent>) -> End {
    loop {
        let stopped = |signal| News::Stopped(signal).send(news.as_fd());
        // Once it has been reaped, nobody else can learn of it.
        let ended = |end| News::HasEnded(end).send(news.as_fd());
        if let Some(end) = child.reap(stopped, ended) {
            return end;
        }
        if front.is_some_and(Parent::has_ended) {
            signals::send(child.pid(), libc::SIGKILL);
        }
        signals::wait(Set::ALL, None);
    }
}

/// The process that started this one, whose end is a signal here.
struct Parent(Pid);

impl Parent {
    fn watch(parent: Pid) -> Option<Self> {
        // Every signal is taken by the loop that looks.
        set_parent_process_death_signal(Some(Signal::HUP)).ok().map(|()| Self(parent))
    }

    fn has_ended(&self) -> bool {
        getppid() != Some(self.0)
    }
}

/// So that no message of ours, should there ever be one, lands in a file of the program's that got such a number.
fn fill_standard_descriptors() {
    while let Ok(null) = open_null() {
        if null.as_raw_fd() > libc::STDERR_FILENO {
            break;
        }
        // Open to the end of this process.
        let _ = null.into_raw_fd();
    }
}

/// The program's own stream that events are written to.
fn stream_of(log: Log<'_>) -> Option<RawFd> {
    match log {
        Log::Stream(stream) => Some(stream),
        Log::None | Log::File(_) => None,
    }
}

fn let_go_of(stream: RawFd) {
    if let Ok(null) = open_null() {
        // SAFETY: dup2(2) touches no memory, and nothing in this process owns the number.
        unsafe { libc::dup2(null.as_raw_fd(), stream) };
    }
}

fn open_null() -> Result<OwnedFd, Errno> {
    openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

/// Removes directories as a sweep would, which looks at the mounts of every process first (D6).
fn cleaner(contents: bool) -> Clean {
    Box::new(move |work| {
        let mounts = OnceCell::new();
        let mut sweeper = Sweeper::new(false, &mounts);
        work(&mut |record: &Record<'_>| sweeper.remove(record, contents));
    })
}
