//! When tracked directories go (D2, D3).
//!
//! The supervisor sees no fork. It does not have to: who may use a directory is its maker and what that has started
//! since, so once the maker has ended, any process of the family that was started later is taken for such.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tmpshim_core::clean;
use tmpshim_core::event::Event;
use tmpshim_core::journal::Record;
use tmpshim_core::kin::{self, Process};
use tmpshim_core::remove::Outcome as Removal;
use tmpshim_core::settings::Cleanup;
use tmpshim_core::tracker::may_go_later;

use crate::custody::Custody;
use crate::maker::Made;

/// How often it is looked whether a file that keeps its name (T6) is still open, and whether a process has ended of which
/// nobody is told.
const LOOK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Those that wait for the end of a process.
#[derive(Debug)]
struct Waiting {
    process: u32,
    /// Nothing where there are no such descriptors, before Linux 5.3.
    end: Option<OwnedFd>,
    made: Vec<Made>,
    /// So many that it is worth looking for those that the program has removed itself.
    many: usize,
}

/// Removes one directory, if it is the one that was made and nothing forbids it.
pub type Remove<'a> = &'a mut dyn FnMut(&Record<'_>) -> Removal;

/// Calls what it is given with something that removes directories one after the other: what that has to look up first, it
/// looks up once.
pub type Clean = Box<dyn Fn(&mut dyn FnMut(Remove<'_>)) + Send + Sync>;

/// All that were made and not yet removed.
pub(crate) struct Makers {
    fresh: Mutex<Vec<Made>>,
    wake: OwnedFd,
    clean: Clean,
}

impl Makers {
    pub(crate) fn new(clean: Clean) -> Result<Self, Errno> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { fresh: Mutex::default(), wake, clean })
    }

    pub(crate) fn add(&self, made: Made) {
        self.fresh.lock().push(made);
        self.wake();
    }

    pub(crate) fn wake(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Removes each, and says so on the log. What could not be removed now, and may go later.
    fn clean(&self, custody: &Custody, all: Vec<Made>) -> Vec<Made> {
        let mut stuck = Vec::new();
        if all.is_empty() {
            return stuck;
        }
        let mut all = Some(all);
        (self.clean)(&mut |remove| {
            for made in all.take().into_iter().flatten() {
                let (mut outcome, mut goes_later) = (Removal::NotThere, false);
                custody.tracker.settle_directory(made.path.to_bytes(), &made.identity, |record| {
                    outcome = remove(record);
                    goes_later = may_go_later(outcome, record);
                    !matches!(outcome, Removal::Stuck(_))
                });
                // What the program has removed itself is not worth a line.
                if outcome != Removal::NotThere {
                    let event = Event::Cleaned { path: made.path.to_bytes(), outcome };
                    event.write(custody.settings.log, made.maker.pid, &made.program);
                }
                if goes_later {
                    stuck.push(made);
                }
            }
        });
        stuck
    }
}

/// What the thread that removes them knows.
struct Watch<'a> {
    custody: &'a Custody,
    waiting: Vec<Waiting>,
    for_the_end: Vec<Made>,
}

impl Watch<'_> {
    /// Removes each once nobody can use it any more, until the family is gone. What is left then.
    fn run(mut self) -> Vec<Made> {
        let custody = self.custody;
        let makers = &custody.makers;
        loop {
            let is_over = custody.is_over();
            custody.catch_up();
            let fresh = std::mem::take(&mut *makers.fresh.lock());
            let mut orphaned = Vec::new();
            for made in fresh {
                custody.tracker.hold(&made.maker);
                orphaned.extend(self.wait_for(made.maker.pid, made));
            }
            self.clean_unless_used(orphaned);
            if is_over {
                self.for_the_end.extend(self.waiting.into_iter().flat_map(|waiting| waiting.made));
                return self.for_the_end;
            }
            let mut watched = vec![PollFd::new(&makers.wake, PollFlags::IN)];
            let ends = self.waiting.iter().filter_map(|waiting| waiting.end.as_ref());
            watched.extend(ends.map(|end| PollFd::new(end, PollFlags::IN)));
            let looks = custody.has_kept_files() || self.waiting.iter().any(|waiting| waiting.end.is_none());
            let _ = poll(&mut watched, looks.then_some(&LOOK));
            let mut seen = watched.iter().skip(1).map(|end| !end.revents().is_empty());
            let has_ended = |waiting: &Waiting| match waiting.end {
                Some(_) => seen.next() == Some(true),
                None => kin::status(waiting.process).is_none_or(|status| status.is_zombie),
            };
            let ended: Vec<bool> = self.waiting.iter().map(has_ended).collect();
            drop(watched);
            let _ = rustix::io::read(&makers.wake, &mut [0u8; 8]);
            custody.tracker.reclaim_files(64);
            let mut ended = ended.into_iter();
            let over: Vec<_> = self.waiting.extract_if(.., |_| ended.next() == Some(true)).collect();
            self.clean_unless_used(over.into_iter().flat_map(|over| over.made).collect());
        }
    }

    /// Lets it wait for the end of a process; gives it back if that has ended.
    fn wait_for(&mut self, process: u32, made: Made) -> Option<Made> {
        if let Some(group) = self.waiting.iter_mut().find(|waiting| waiting.process == process) {
            group.add(made, self.custody);
            return None;
        }
        // Under that number there may be another by now, which was started later and so counts as well.
        match Pid::from_raw(process.cast_signed()).map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
            Some(Err(Errno::SRCH)) => return Some(made),
            Some(end) => self.waiting.push(Waiting { process, end: end.ok(), made: vec![made], many: 64 }),
            // Its end cannot be seen, but that of the family can.
            None => self.for_the_end.push(made),
        }
        None
    }

    /// Removes those that nobody can use; the others wait for one who can.
    fn clean_unless_used(&mut self, batch: Vec<Made>) {
        if self.custody.settings.cleanup == Cleanup::Failed {
            // By the exit status of the program, which may not have ended yet.
            return self.for_the_end.extend(batch);
        }
        // Whoever is forked while /proc is being read may be missed, and its parent have gone meanwhile: look twice.
        let batch = self.unused(batch);
        let batch = self.unused(batch);
        let stuck = self.custody.makers.clean(self.custody, batch);
        // The library may have been at it in the same instant, or a server have a file in it that was just closed.
        self.for_the_end.extend(stuck);
    }

    fn unused(&mut self, batch: Vec<Made>) -> Vec<Made> {
        if batch.is_empty() {
            return batch;
        }
        let family = Family::look();
        let unused = batch.into_iter().filter_map(|made| {
            let users: Vec<u32> = family.users_of(&made).collect();
            users.into_iter().try_fold(made, |made, user| self.wait_for(user, made))
        });
        unused.collect()
    }
}

impl Waiting {
    fn add(&mut self, made: Made, custody: &Custody) {
        self.made.push(made);
        if self.made.len() < self.many {
            return;
        }
        let is_gone = |made: &Made| {
            let mut gone = true;
            custody.tracker.settle_directory(made.path.to_bytes(), &made.identity, |record| {
                gone = clean::is_gone(record);
                gone
            });
            gone
        };
        self.made.retain(|made| !is_gone(made));
        self.many = (2 * self.made.len()).max(64);
    }
}

impl Custody {
    /// Removes directories as their users end, until the family is gone ([`Custody::end`]), and then all that is left,
    /// unless its `cleanup` forbids it. In a thread of its own.
    pub(crate) fn watch_directories(&self) {
        let left = Watch { custody: self, waiting: Vec::new(), for_the_end: Vec::new() }.run();
        if self.cleans_at_the_end() && !self.makers.clean(self, left).is_empty() {
            self.leave_to_a_sweep();
        }
    }
}

/// Every process, at one time.
struct Family(HashMap<u32, kin::Status>);

impl Family {
    fn look() -> Self {
        let numbers = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        Self(
            numbers
                .filter_map(|entry| {
                    let pid = entry.file_name().to_str()?.parse().ok()?;
                    Some((pid, kin::status(pid)?))
                })
                .collect(),
        )
    }

    /// The living processes that may use it: those that descend from this one and were not started before it was made.
    fn users_of<'a>(&'a self, made: &'a Made) -> impl Iterator<Item = u32> + 'a {
        let own = std::process::id();
        let users = self.0.iter().filter(move |(pid, status)| {
            **pid != own
                && !status.is_zombie
                && status.start >= made.started
                && !made.ancestors.contains(&Process::new(**pid, status.start))
                && self.descends(**pid, own)
        });
        users.map(|(pid, _)| *pid)
    }

    fn descends(&self, mut pid: u32, from: u32) -> bool {
        while pid != from {
            match self.0.get(&pid) {
                Some(status) if status.parent != 0 => pid = status.parent,
                Some(_) => return false,
                // Its parent has just ended: then it is somebody's whom we do not know.
                None => return true,
            }
        }
        true
    }
}
