//! mkdir of what is to be tracked, for programs that make their directories by raw system calls (D1), and when they go
//! (D2, D3).
//!
//! The supervisor sees no fork. It does not have to: who may use the directory is its maker and what that has started
//! since, so once the maker has ended, any process of the family that was started later is taken for such.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{CWD, Mode, mkdirat, readlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::{ClockId, clock_gettime};
use tmpshim_core::clean;
use tmpshim_core::event::Event;
use tmpshim_core::glob::any_matches;
use tmpshim_core::identity::{self, Identity};
use tmpshim_core::journal::Record;
use tmpshim_core::kin::{self, Process};
use tmpshim_core::remove::Outcome as Removal;
use tmpshim_core::settings::Cleanup;
use tmpshim_core::sys;
use tmpshim_core::tracker::{Entry, Tracker};

use crate::call::MakeDirectory;
use crate::custody::Custody;
use crate::supervisor::{Answer, Outcome};
use crate::target::{Start, Target, path};

/// How often it is looked whether a file that keeps its name (T6) is still open, and whether a process has ended of which
/// nobody is told.
const LOOK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Who makes a directory that is to be tracked.
pub(crate) struct Maker {
    process: Process,
    ancestors: Vec<Process>,
    program: Vec<u8>,
    /// [`clock`] before it is made.
    started: u64,
}

impl Maker {
    /// Nothing where the path matches no glob, or leads elsewhere than ours: the kernel makes it, and nobody removes it.
    pub(crate) fn of(target: &Target, from: i32, path: &[u8], custody: &Custody) -> Option<Self> {
        let settings = custody.settings;
        if settings.cleanup == Cleanup::Off || !target.shares_mounts() {
            return None;
        }
        let text = absolute(target, from, path)?;
        if !any_matches(settings.track, &text) || !settings.wants(&text) {
            return None;
        }
        let program = target.program();
        if settings.skips_program(&program) {
            return None;
        }
        let process = target.status()?.process;
        let seen = kin::status(process)?;
        let ancestors = ancestors(seen.parent);
        Some(Self { process: Process::new(process, seen.start), ancestors, program, started: clock() })
    }

    /// The directory with this path, from the root.
    pub(crate) fn has_made(&self, path: CString, identity: Identity) -> Made {
        Made {
            path,
            identity,
            started: self.started,
            program: self.program.clone(),
            maker: self.process,
            ancestors: self.ancestors.clone(),
        }
    }
}

/// A mkdir that is to be tracked, ready to be done with the target's rights.
pub(crate) struct Job {
    pub(crate) start: Start,
    mode: u32,
    maker: Maker,
}

impl Job {
    /// Nothing where it is not to be tracked.
    pub(crate) fn prepare(target: &Target, call: &MakeDirectory, custody: &Custody) -> Option<Self> {
        let path = path(target.thread, call.path)?;
        let maker = Maker::of(target, call.from, &path, custody)?;
        let start = Start::of(target, call.from, path, 0)?;
        Some(Self { start, mode: call.mode, maker })
    }

    pub(crate) fn run(
        &self,
        (parent, name): &(OwnedFd, CString),
        custody: &Custody,
        tracker: Option<&Tracker>,
    ) -> Outcome {
        let trimmed = name.to_bytes().iter().rposition(|&byte| byte != b'/').map_or(0, |end| end + 1);
        let plain = &name.to_bytes()[..trimmed];
        let path = real_path(parent, plain).filter(|_| !matches!(plain, b"." | b".."));
        let ticket = tracker.zip(path.as_ref()).and_then(|(tracker, path)| {
            let ticket = tracker.reserve(path.to_bytes(), Entry::Directory)?;
            // Who finds an announcement believes it of an empty directory of mode 0700 only, and under a name of the
            // program's choice there may be another.
            if self.mode & 0o7777 == 0o700 && sys::exists(parent.as_raw_fd(), name.as_ptr()) == Err(Errno::NOENT) {
                ticket.announce();
            }
            Some(ticket)
        });
        let made = mkdirat(parent, name, Mode::from_raw_mode(self.mode));
        if let Some(ticket) = ticket {
            match made.and_then(|()| identity::at(parent.as_fd(), &CString::new(plain).unwrap_or_default())) {
                Ok(seen) if seen.is_directory() => {
                    ticket.confirm(&seen.identity);
                    custody.makers.add(self.maker.has_made(path.unwrap_or_default(), seen.identity));
                }
                _ => ticket.abandon(),
            }
        }
        let answer = made.map_or_else(Answer::Error, |()| Answer::Done(None));
        Outcome { answer, said: None }
    }
}

/// The path from the root, in the program's own words where it gave it so, as the library would match it.
fn absolute(target: &Target, directory: i32, path: &[u8]) -> Option<Vec<u8>> {
    let end = path.iter().rposition(|&byte| byte != b'/')? + 1;
    if path[0] == b'/' {
        return Some(path[..end].to_vec());
    }
    let from = match directory {
        libc::AT_FDCWD => readlinkat(CWD, format!("/proc/{}/cwd", target.thread), Vec::new()).ok()?.into_bytes(),
        number => target.descriptor_link(number)?,
    };
    (from.first() == Some(&b'/')).then(|| [&from[..], b"/", &path[..end]].concat())
}

/// Where it is, whatever happens to links and working directories later.
fn real_path(parent: &OwnedFd, name: &[u8]) -> Option<CString> {
    let parent = std::fs::read_link(format!("/proc/self/fd/{}", parent.as_raw_fd())).ok()?;
    let parent = parent.as_os_str().as_bytes();
    let parent = parent.strip_suffix(b"/").unwrap_or(parent);
    CString::new([parent, b"/", name].concat()).ok().filter(|path| path.to_bytes().first() == Some(&b'/'))
}

/// Now, in the units of process start times: clock ticks since boot.
fn clock() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    // The kernel shows all of them as hundredths.
    now.tv_sec as u64 * 100 + now.tv_nsec as u64 / 10_000_000
}

/// A directory that was made.
#[derive(Debug)]
pub(crate) struct Made {
    path: CString,
    identity: Identity,
    /// [`clock`] before it was made.
    started: u64,
    program: Vec<u8>,
    maker: Process,
    /// They are older than it, however coarse the clock.
    ancestors: Vec<Process>,
}

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

    /// Removes each, and says so on the log.
    fn clean(&self, custody: &Custody, all: &[Made]) {
        if all.is_empty() {
            return;
        }
        (self.clean)(&mut |remove| {
            for made in all {
                let mut outcome = Removal::NotThere;
                custody.tracker.settle_directory(made.path.to_bytes(), &made.identity, |record| {
                    outcome = remove(record);
                    !matches!(outcome, Removal::Stuck(_))
                });
                // What the program has removed itself is not worth a line.
                if outcome != Removal::NotThere {
                    let event = Event::Cleaned { path: made.path.to_bytes(), outcome };
                    event.write(custody.settings.log, made.maker.pid, &made.program);
                }
            }
        });
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
        self.custody.makers.clean(self.custody, &batch);
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
        if self.cleans_at_the_end() {
            self.makers.clean(self, &left);
        }
    }
}

/// A process's parent with this number, and that one's, up to this process.
fn ancestors(mut pid: u32) -> Vec<Process> {
    let mut found = Vec::new();
    while pid > 1
        && pid != std::process::id()
        && let Some(status) = kin::status(pid)
    {
        found.push(Process::new(pid, status.start));
        pid = status.parent;
    }
    found
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
