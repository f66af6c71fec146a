//! The program's parent, which answers its calls; and cleans up when the last of its family has ended.

use std::cell::OnceCell;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use tmpshim_core::journal::Record;
use tmpshim_core::settings::{Cleanup, Log, Settings};
use tmpshim_supervise::listener::socket_pair;
use tmpshim_supervise::watch::Clean;

use super::child::{self, Caller, Change, End, Order};
use super::family::Family;
use super::front::Front;
use super::keeper;
use super::library::Staged;
use super::news::News;
use super::overseen::{Overseen, Started};
use super::supervision::Supervision;
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
    /// Whether it may run where nobody can answer it after all.
    pub(super) goes_alone: bool,
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
    let Household { order, settings, library, family, is_the_program, goes_alone } = household;
    let front = is_the_program.then(|| Parent::watch(front)).flatten();
    let started = match Started::start(supervision, &order, caller, same_news) {
        Ok(started) => started,
        Err(error) => {
            News::NotStarted(error.raw_os_error().unwrap_or(libc::EIO)).send(news.as_fd());
            return;
        }
    };
    let place = library.and_then(Staged::place);
    let mut needed: Vec<RawFd> = vec![news.as_raw_fd()];
    needed.extend(started.descriptors());
    needed.extend(place.iter().flat_map(|place| place.descriptors()));
    needed.extend(family.iter().flat_map(|family| family.descriptors()));
    let log = stream_of(settings.log);
    needed.extend(log);
    keeper::detach(&needed);
    fill_standard_descriptors();
    let is_failed = settings.cleanup == Cleanup::Failed;
    let cleanup = settings.cleanup;
    let mut overseen = started.begin(settings, cleaner(cleanup != Cleanup::Empty), goes_alone, news);
    let end = watch(&mut overseen, front.as_ref(), |signal| {
        News::Stopped(signal).send(news.as_fd());
    });
    if let Some(unbegun) = overseen.unbegun(end) {
        unbegun.send(news.as_fd());
        return;
    }
    // Once it has been reaped, nobody else can learn of it.
    News::HasEnded(end).send(news.as_fd());
    if under_init {
        // Whoever is left ends with the front: by the kernel, or now, so that somebody can clean up behind them.
        child::end_all(|| overseen.is_alone());
    }
    let alone = overseen.is_alone();
    if !alone {
        News::Ended(end, false).send(news.as_fd());
        // Who reads the program's output to its end waits for whoever has it open.
        if let Some(log) = log {
            let_go_of(log);
        }
        // Whoever is left, or will be started, has become or will become our child.
        while !overseen.is_alone() {
            signals::wait(Set::ALL, None);
        }
    }
    let keeps = is_failed && end == End::Status(0);
    overseen.end(if keeps { Cleanup::Off } else { cleanup });
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

/// Until the program has ended, which is reaped afterwards.
fn watch(overseen: &mut Overseen, front: Option<&Parent>, stopped: impl Fn(i32)) -> End {
    loop {
        match overseen.look() {
            Change::Stopped(signal) => stopped(signal),
            Change::Ending(end) => return end,
            // Somebody else has reaped it.
            Change::Alone => return End::Status(super::OWN_FAILURE),
            Change::Quiet => {
                if front.is_some_and(Parent::has_ended) {
                    signals::send(overseen.pid(), libc::SIGKILL);
                }
                signals::wait(Set::ALL, None);
            }
        }
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
