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
use tmpshim_core::identity;
use tmpshim_core::journal::Record;
use tmpshim_core::kin::{self, Process};
use tmpshim_core::remove::Outcome as Removal;
use tmpshim_core::settings::Cleanup;
use tmpshim_core::sys;
use tmpshim_core::tracker::{Entry, Tracker};

use crate::call::MakeDirectory;
use crate::supervisor::{Answer, Outcome, Supervisor};
use crate::target::{Start, Target, path};

/// How often it is looked whether a file that keeps its name (T6) is still open.
const FILES: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// A mkdir that is to be tracked, ready to be done with the target's rights.
pub(crate) struct Job {
    start: Start,
    mode: u32,
    maker: Process,
    ancestors: Vec<Process>,
    program: Vec<u8>,
}

impl Job {
    /// Nothing where the path matches no glob, or leads elsewhere than ours: the kernel does it, and nobody removes it.
    pub(crate) fn prepare(target: &Target, call: &MakeDirectory, supervisor: &Supervisor) -> Option<Self> {
        let settings = supervisor.settings;
        if settings.cleanup == Cleanup::Off || !target.shares_mounts() {
            return None;
        }
        let path = path(target.thread, call.path)?;
        let text = absolute(target, call.from, &path)?;
        if !any_matches(settings.track, &text) || !settings.wants(&text) {
            return None;
        }
        let program = target.program();
        if settings.skips_program(&program) {
            return None;
        }
        let process = target.status()?.process;
        let seen = kin::status(process)?;
        let maker = Process::new(process, seen.start);
        let ancestors = ancestors(seen.parent);
        let start = Start::of(target, call.from, path, 0)?;
        Some(Self { start, mode: call.mode, maker, ancestors, program })
    }

    /// The directory that it is to be in, and its name there, as for a link.
    pub(crate) fn locate(&self, root: Option<&OwnedFd>) -> Result<(OwnedFd, CString), Outcome> {
        match self.start.open_parent(root) {
            None | Some(Err(Errno::LOOP | Errno::XDEV)) => Err(Outcome::NATIVE),
            Some(Err(error)) => Err(Outcome { answer: Answer::Error(error), said: None }),
            Some(Ok(place)) => Ok(place),
        }
    }

    pub(crate) fn run(
        &self,
        (parent, name): &(OwnedFd, CString),
        supervisor: &Supervisor,
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
        let started = clock();
        let made = mkdirat(parent, name, Mode::from_raw_mode(self.mode));
        if let Some(ticket) = ticket {
            match made.and_then(|()| identity::at(parent.as_fd(), &CString::new(plain).unwrap_or_default())) {
                Ok(seen) if seen.is_directory() => {
                    ticket.confirm(&seen.identity);
                    supervisor.makers.add(Made {
                        path: path.unwrap_or_default(),
                        started,
                        program: self.program.clone(),
                        maker: self.maker,
                        ancestors: self.ancestors.clone(),
                    });
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
struct Made {
    path: CString,
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
    end: OwnedFd,
    made: Vec<Made>,
    /// So many that it is worth looking for those that the program has removed itself.
    many: usize,
}

/// Removes one directory, if it is the one that was made and nothing forbids it.
pub type Clean = Box<dyn Fn(&Record<'_>) -> Removal + Send + Sync>;

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

    fn add(&self, made: Made) {
        self.fresh.lock().push(made);
        self.wake();
    }

    pub(crate) fn wake(&self) {
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// Removes each once nobody can use it any more; as long as `is_over` says no. In a thread of its own. What is left at
    /// the end.
    fn watch(&self, supervisor: &Supervisor, is_over: impl Fn() -> bool) -> Vec<Made> {
        let mut waiting: Vec<Waiting> = Vec::new();
        let mut for_the_end = Vec::new();
        loop {
            let fresh = std::mem::take(&mut *self.fresh.lock());
            for made in fresh {
                supervisor.tracker.hold(&made.maker);
                let maker = made.maker.pid;
                for_the_end.extend(self.wait_or_clean(supervisor, made, Some(maker), &mut waiting));
            }
            if is_over() {
                for_the_end.extend(waiting.into_iter().flat_map(|waiting| waiting.made));
                return for_the_end;
            }
            let mut watched = vec![PollFd::new(&self.wake, PollFlags::IN)];
            watched.extend(waiting.iter().map(|waiting| PollFd::new(&waiting.end, PollFlags::IN)));
            let _ = poll(&mut watched, supervisor.has_kept_files().then_some(&FILES));
            let ended: Vec<bool> = watched.iter().skip(1).map(|end| !end.revents().is_empty()).collect();
            drop(watched);
            let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
            supervisor.tracker.reclaim_files(64);
            let mut ended = ended.into_iter();
            for over in waiting.extract_if(.., |_| ended.next() == Some(true)).collect::<Vec<_>>() {
                for made in over.made {
                    for_the_end.extend(self.wait_or_clean(supervisor, made, None, &mut waiting));
                }
            }
        }
    }

    /// Removes it if neither `first` nor anybody else can use it; otherwise waits for one who can. Gives it back if it has
    /// to wait for the end of the family.
    fn wait_or_clean(
        &self,
        supervisor: &Supervisor,
        made: Made,
        mut first: Option<u32>,
        waiting: &mut Vec<Waiting>,
    ) -> Option<Made> {
        // Whoever is forked while /proc is being read may be missed, and its parent have gone meanwhile: look twice.
        while let Some(pid) = first.take().or_else(|| user_of(&made)).or_else(|| user_of(&made)) {
            if let Some(group) = waiting.iter_mut().find(|waiting| waiting.process == pid) {
                group.add(made, supervisor);
                return None;
            }
            // Under that number there may be another by now, which was started later and so counts as well.
            match Pid::from_raw(pid.cast_signed()).map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
                Some(Ok(end)) => {
                    waiting.push(Waiting { process: pid, end, made: vec![made], many: 64 });
                    return None;
                }
                // It has ended.
                Some(Err(Errno::SRCH)) => {}
                // Its end cannot be seen, but that of the family can.
                _ => return Some(made),
            }
        }
        if supervisor.settings.cleanup == Cleanup::Failed {
            return Some(made);
        }
        self.clean(supervisor, &made);
        None
    }

    fn clean(&self, supervisor: &Supervisor, made: &Made) {
        let mut outcome = Removal::NotThere;
        supervisor.tracker.settle_directory(made.path.to_bytes(), |record| {
            outcome = (self.clean)(record);
            !matches!(outcome, Removal::Stuck(_))
        });
        // What the program has removed itself is not worth a line.
        if outcome != Removal::NotThere {
            let event = Event::Cleaned { path: made.path.to_bytes(), outcome };
            event.write(supervisor.settings.log, made.maker.pid, &made.program);
        }
    }
}

impl Waiting {
    fn add(&mut self, made: Made, supervisor: &Supervisor) {
        self.made.push(made);
        if self.made.len() < self.many {
            return;
        }
        let is_gone = |made: &Made| {
            let mut gone = true;
            supervisor.tracker.settle_directory(made.path.to_bytes(), |record| {
                gone = clean::is_gone(record);
                gone
            });
            gone
        };
        self.made.retain(|made| !is_gone(made));
        self.many = (2 * self.made.len()).max(64);
    }
}

impl Supervisor {
    /// Removes directories as their users end, until the family is gone ([`Supervisor::end`]), and then all that is left,
    /// unless `cleanup` forbids it. In a thread of its own.
    pub fn watch_directories(&self) {
        let left = self.makers.watch(self, || self.is_over());
        if self.cleans_at_the_end() {
            for made in left {
                self.makers.clean(self, &made);
            }
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

/// A living process that may use it: one that descends from this one and was not started before it was made.
fn user_of(made: &Made) -> Option<u32> {
    let own = std::process::id();
    let numbers = std::fs::read_dir("/proc").ok()?.flatten();
    let processes: HashMap<u32, kin::Status> = numbers
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, kin::status(pid)?))
        })
        .collect();
    let descends = |mut pid: u32| {
        while pid != own {
            match processes.get(&pid) {
                Some(status) if status.parent != 0 => pid = status.parent,
                Some(_) => return false,
                // Its parent has just ended: then it is somebody's whom we do not know.
                None => return true,
            }
        }
        true
    };
    let mut users = processes.iter().filter(|(pid, status)| {
        **pid != own
            && !status.is_zombie
            && status.start >= made.started
            && !made.ancestors.contains(&Process::new(**pid, status.start))
            && descends(**pid)
    });
    users.next().map(|(pid, _)| *pid)
}
