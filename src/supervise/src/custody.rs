//! What a supervisor or a tracer has made for programs and will have to remove, and what it says of that on the log.

use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rustix::fs::CWD;
use rustix::io::Errno;
use tmpshim_core::clean::SLACK;
use tmpshim_core::event::Event;
use tmpshim_core::identity::{self, Identity, Seen};
use tmpshim_core::settings::{Cleanup, Log, Settings};
use tmpshim_core::tmpfile::Made;
use tmpshim_core::tracker::{Cleaned, Ending, Inherited, Surroundings, Ticket, Tracker};

use crate::maker::Made as Directory;
use crate::target::Target;
use crate::watch::{Clean, Makers};

/// The stack of a thread of ours, in bytes.
pub(crate) const STACK: usize = 256 << 10;

/// One in a process, in which nothing else tracks files.
pub(crate) struct Custody {
    pub(crate) settings: &'static Settings<'static>,
    pub(crate) tracker: &'static Tracker,
    pub(crate) makers: Makers,
    orphans: Mutex<Vec<Orphan>>,
    /// Those that are looked at when nobody can have them open any more.
    left: Mutex<Vec<Orphan>>,
    unchecked: Mutex<Vec<Unchecked>>,
    has_stood_in: AtomicBool,
    has_kept: AtomicBool,
    over: AtomicBool,
    cleans: AtomicBool,
    /// A directory could not be removed, and may go later.
    is_left: AtomicBool,
}

/// Something that a program has announced by itself, out of its own memory, which may say anything: what is removed for
/// it must belong to the user that it was.
pub(crate) struct Claim {
    /// As whom the program makes files.
    pub(crate) user: u32,
    pub(crate) path: CString,
}

impl Claim {
    /// What is there, if that user could have made it. Root may remove what it likes, and so may we where we are no more
    /// than that user.
    ///
    /// # Errors
    /// It cannot be seen now.
    fn holds(&self) -> Result<Option<Seen>, Errno> {
        let is_equal = self.user == 0 || rustix::process::geteuid().as_raw() == self.user;
        match identity::at(CWD, &self.path) {
            Ok(seen) => Ok(Some(seen).filter(|seen| is_equal || seen.uid == self.user)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A ticket of somebody who is dead.
struct Orphan(Ticket<'static>, Claim);

/// Something that was made, by what its maker says.
struct Unchecked {
    claim: Claim,
    made: Identity,
    /// It is a directory, and this is to be known of it; and when it was begun, in nanoseconds since 1970.
    directory: Option<(Directory, u64)>,
}

// SAFETY: what it points to is the tracker's own memory, which is never unmapped, and whose places change hands by atomic
// words; it is used by one thread at a time.
unsafe impl Send for Orphan {}

/// As [`Event`].
#[derive(Clone, Copy)]
pub(crate) enum Said {
    StoodIn(Made),
    CouldNotStandIn(Errno),
    Published,
    CouldNotPublish(Errno),
}

/// Process and name of a program.
pub(crate) type Speaker = (u32, Vec<u8>);

/// What its journal says of who wrote it.
pub const NAME: &[u8] = b"tmpshim";

static SETTINGS: OnceLock<Settings<'static>> = OnceLock::new();
static TRACKER: Tracker = Tracker::new(
    Surroundings {
        moved_in: || {},
        settings: || SETTINGS.get().unwrap_or(&Settings::DEFAULT),
        program: || NAME,
        report: |cleaned: &Cleaned<'_>| {
            let log = SETTINGS.get().map_or(Settings::DEFAULT.log, |settings| settings.log);
            let event = Event::Cleaned { path: cleaned.path.to_bytes(), outcome: cleaned.outcome };
            event.write(log, std::process::id(), NAME);
        },
    },
    &INHERITED,
);
static INHERITED: Inherited = Inherited::new();

impl Custody {
    /// The state directory is in the settings.
    pub(crate) fn new(settings: Settings<'static>, clean: Clean) -> Result<Arc<Self>, Errno> {
        Ok(Arc::new(Self {
            settings: SETTINGS.get_or_init(|| settings),
            tracker: &TRACKER,
            makers: Makers::new(clean)?,
            orphans: Mutex::default(),
            left: Mutex::default(),
            unchecked: Mutex::default(),
            has_stood_in: AtomicBool::new(false),
            has_kept: AtomicBool::new(false),
            over: AtomicBool::new(false),
            cleans: AtomicBool::new(true),
            is_left: AtomicBool::new(false),
        }))
    }

    /// Begins to remove directories as their users end. Every signal must be blocked in the calling thread.
    pub(crate) fn start(self: &Arc<Self>) -> std::io::Result<std::thread::JoinHandle<()>> {
        let watching = Arc::clone(self);
        std::thread::Builder::new().stack_size(STACK).spawn(move || watching.watch_directories())
    }

    /// Whether anybody hears of it.
    pub(crate) fn is_logged(&self) -> bool {
        self.settings.log != Log::None
    }

    /// Removes what was announced and not made, or not taken back, because whoever was at it is dead.
    pub(crate) fn settle(&self, tickets: impl Iterator<Item = (Ticket<'static>, Claim)>) {
        let mut orphans = self.orphans.lock();
        let before = orphans.len();
        orphans.extend(tickets.map(|(ticket, claim)| Orphan(ticket, claim)));
        if orphans.len() > before {
            drop(orphans);
            self.makers.wake();
        }
    }

    /// The same at the end.
    pub(crate) fn leave(&self, ticket: Ticket<'static>, claim: Claim) {
        self.left.lock().push(Orphan(ticket, claim));
    }

    /// What a program says that it has made is recorded, and looked at soon: whoever waits here for a filesystem would
    /// hold up all of them. For a directory, what is to be known of it, and when it was begun.
    pub(crate) fn check(&self, claim: Claim, made: Identity, directory: Option<(Directory, u64)>) {
        self.unchecked.lock().push(Unchecked { claim, made, directory });
        self.makers.wake();
    }

    /// Does both, now; a filesystem may hang. What cannot be seen is looked at again the next time, while there is one.
    pub(crate) fn catch_up(&self) {
        let is_last = self.is_over();
        let unchecked = std::mem::take(&mut *self.unchecked.lock());
        for unchecked in unchecked {
            match unchecked.claim.holds() {
                Err(_) if !is_last => self.unchecked.lock().push(unchecked),
                seen => self.believe(unchecked, seen.ok().flatten()),
            }
        }
        let mut orphans = std::mem::take(&mut *self.orphans.lock());
        if is_last {
            orphans.append(&mut self.left.lock());
        }
        for Orphan(ticket, claim) in orphans {
            match claim.holds() {
                Err(_) if !is_last => self.orphans.lock().push(Orphan(ticket, claim)),
                Ok(Some(_)) => ticket.settle(),
                _ => ticket.abandon(),
            }
        }
    }

    /// Goes by what is there now.
    fn believe(&self, Unchecked { claim, made, directory }: Unchecked, seen: Option<Seen>) {
        let seen = seen.filter(|seen| seen.identity.is_same_file(&made));
        let path = claim.path.to_bytes();
        match directory {
            Some((directory, begun)) => {
                let is_new = |birth: u64| birth == 0 || birth.saturating_add(SLACK) >= begun;
                if seen.is_some_and(|seen| seen.is_directory() && is_new(seen.identity.birth)) {
                    self.makers.add(directory);
                } else {
                    self.tracker.settle_directory(path, &made, |_| true);
                }
            }
            None if seen.is_none() => self.tracker.forget_file(path),
            None => {}
        }
    }

    /// Who is to be named on the log, if there is one.
    pub(crate) fn speaker(&self, target: &Target) -> Option<Speaker> {
        let process = || target.status().map_or(target.thread, |status| status.process);
        self.is_logged().then(|| (process(), target.program()))
    }

    /// Before the program learns of it.
    pub(crate) fn note(&self, said: Said) {
        if matches!(said, Said::StoodIn(_)) {
            self.has_stood_in.store(true, Ordering::Relaxed);
        }
        if matches!(said, Said::StoodIn(Made::Kept)) {
            self.has_kept.store(true, Ordering::Relaxed);
            // For each that is made some are looked through, of all users; there, and not here, where a filesystem that
            // hangs would hold up the calls of those who do not use it.
            self.makers.wake();
        }
    }

    /// Writes it to the log, which may have to be waited for. `path` in the program's own words.
    pub(crate) fn say(&self, said: Said, path: &[u8], (process, program): Speaker) {
        let event = match said {
            Said::StoodIn(made) => Event::StoodIn { path, made },
            Said::CouldNotStandIn(error) => Event::CouldNotStandIn { path, error },
            Said::Published => Event::Published { path },
            Said::CouldNotPublish(error) => Event::CouldNotPublish { path, error },
        };
        event.write(self.settings.log, process, &program);
    }

    /// Whether there may be files that stand in.
    pub(crate) fn has_stood_in(&self) -> bool {
        self.has_stood_in.load(Ordering::Relaxed)
    }

    pub(crate) fn has_kept_files(&self) -> bool {
        self.has_kept.load(Ordering::Relaxed)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    pub(crate) fn cleans_at_the_end(&self) -> bool {
        self.cleans.load(Ordering::Acquire)
    }

    /// A directory could not be removed: the journal has to stay.
    pub(crate) fn leave_to_a_sweep(&self) {
        self.is_left.store(true, Ordering::Release);
    }

    /// The family is gone, and nobody is at work for it any more: removes what is left, directories only if `cleanup` says
    /// so. `watching` is what [`Self::start`] gave.
    pub(crate) fn end(&self, cleanup: Cleanup, watching: std::thread::JoinHandle<()>) {
        self.cleans.store(cleanup != Cleanup::Off, Ordering::Release);
        self.over.store(true, Ordering::Release);
        self.makers.wake();
        // It catches up once more, for all that have died by now.
        let _ = watching.join();
        if self.is_left.load(Ordering::Acquire) {
            return self.tracker.reclaim_files(u32::MAX);
        }
        // Directories were seen to.
        self.tracker.clean_up(Cleanup::Off, Ending::Signal, false);
    }
}
