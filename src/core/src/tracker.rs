//! What this process has made and will have to remove (D1 to D3, D5, D7, T5): directories, and hidden names of files (T6).
//!
//! It stands in a journal (`journal`), which outlives the process; where there can be none, in memory of our own, and
//! then only SIGKILL leaves something behind. Either way the memory knows whose it is:
//!
//! * the page in front is wiped in a forked child (MADV_WIPEONFORK, which also holds for a raw clone3 that runs no atfork
//!   handler), the slots behind it are not even there any more (MADV_DONTFORK): a child starts with nothing and can
//!   remove nothing of its parent's while that lives;
//! * what it does have is the mapping that holds the lock of its parent's journal, and where that is. If it is the last
//!   one to have it, it removes what stands in the journal at its own end (D3);
//! * a vfork child, or any other that shares the memory, has another pid, or, as pid 1 of a new namespace, another
//!   number in `/proc/self`. It finds a page that is not its own and keeps its hands off.

mod ending;
mod files;
mod page;
mod slots;
mod ticket;

use crate::fd::Fd;
use crate::identity::Identity;
use crate::journal::{Header, Own};
use crate::kin::{self, Process};
use crate::lease::Lease;
use crate::mapping::Mapping;
use crate::name::{Name, random};
use crate::remove::Outcome;
use crate::settings::Settings;
use crate::stack;
use crate::state;
use crate::sys;
use crate::text::{PATH_MAX, Text, fd_path, has_dots};
use core::cell::Cell;
use core::ffi::CStr;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering};
use page::{MOVING_IN, NOBODY, POOL, Page, SETTLED, is_wiped_on_fork};
use rustix::fd::BorrowedFd;
use rustix::mm::Advice;
use slots::{LARGE, SMALL};

pub use crate::journal::Entry;
pub use ending::{Ending, may_go_later};
pub use ticket::Ticket;

/// How many journals a process can inherit and look after: its parent's, its parent's parent's, and so on.
const GENERATIONS: usize = 32;

/// What the record needs from the process around it.
#[derive(Debug)]
pub struct Surroundings {
    /// Called in each process (a forked child is another) before the first thing is recorded.
    pub moved_in: fn(),
    /// The settings.
    pub settings: fn() -> &'static Settings<'static>,
    /// The program's name.
    pub program: fn() -> &'static [u8],
    /// Told of everything that was cleaned up, or could not be.
    pub report: fn(&Cleaned<'_>),
}

/// The process's own record. Static, and the same in all threads.
pub struct Tracker {
    page: AtomicPtr<Page>,
    inherited: &'static Inherited,
    surroundings: Surroundings,
}

/// The mappings that hold the locks of journals: in a forked child, those of the processes that it comes from. Copied by
/// fork like any memory, so that a child knows where to look. Beside the tracker, whose pointers to functions would make
/// the library's file hold all of these zeros.
#[derive(Debug)]
pub struct Inherited([AtomicPtr<Header>; GENERATIONS]);

impl Inherited {
    /// None yet.
    #[expect(clippy::new_without_default, reason = "it is only of use in a static")]
    pub const fn new() -> Self {
        Self([const { AtomicPtr::new(null_mut()) }; GENERATIONS])
    }
}

/// Something that was cleaned up, or could not be.
#[derive(Clone, Copy, Debug)]
pub struct Cleaned<'a> {
    /// Its absolute path.
    pub path: &'a CStr,
    /// What became of it.
    pub outcome: Outcome,
}

impl Tracker {
    /// Nothing tracked, nothing mapped. `inherited` is this tracker's alone.
    pub const fn new(surroundings: Surroundings, inherited: &'static Inherited) -> Self {
        Self { page: AtomicPtr::new(null_mut()), inherited, surroundings }
    }

    /// The page, if it is this process's. One system call, none where nothing was ever tracked.
    fn mine(&self) -> Option<&Page> {
        // SAFETY: the pointer is null or a page that is never unmapped.
        let page = unsafe { self.page.load(Ordering::Acquire).as_ref() }?;
        (page.stage.load(Ordering::Acquire) == SETTLED && page.pid.load(Ordering::Relaxed) == sys::getpid())
            .then_some(page)
    }

    /// The page, if it is this process's or that of one whose memory it shares: what a vfork child makes is recorded as
    /// its parent's. No system call, where a forked child is known to find the page wiped.
    fn mine_or_shared(&self) -> Option<&Page> {
        // SAFETY: the pointer is null or a page that is never unmapped.
        let page = unsafe { self.page.load(Ordering::Acquire).as_ref() }?;
        if page.stage.load(Ordering::Acquire) == SETTLED && page.is_wiped.load(Ordering::Relaxed) != 0 {
            return Some(page);
        }
        self.mine()
    }

    /// The page, made this process's if it is nobody's.
    fn move_in(&self) -> Option<&Page> {
        let mut page = self.page.load(Ordering::Acquire);
        if page.is_null() {
            let fresh = Mapping::for_this_process(size_of::<Page>(), Advice::LinuxWipeOnFork).ok()?;
            let start = fresh.start().cast::<Page>().as_ptr();
            match self.page.compare_exchange(page, start, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => page = fresh.leak().cast().as_ptr(),
                Err(other) => page = other,
            }
        }
        // SAFETY: not null, and never unmapped once it is in `self.page`.
        let page = unsafe { page.as_ref() }?;
        // Whose memory it is would find the page taken, and could not clean up.
        if page.stage.load(Ordering::Acquire) == NOBODY && kin::is_guest() {
            return None;
        }
        if page.stage.compare_exchange(NOBODY, MOVING_IN, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            page.mover.store(sys::gettid(), Ordering::Relaxed);
            page.is_wiped.store(u32::from(is_wiped_on_fork(page)), Ordering::Relaxed);
            page.pid.store(sys::getpid(), Ordering::Relaxed);
            page.outer_pid.store(kin::number_in_proc(), Ordering::Relaxed);
            page.lease.store(Lease::to_word(Lease::take()), Ordering::Relaxed);
            page.stack.store(stack::map().map_or(null_mut(), NonNull::as_ptr), Ordering::Relaxed);
            let state = self.open_journal(page);
            (self.surroundings.moved_in)();
            page.stage.store(SETTLED, Ordering::Release);
            sys::wake_all(&page.stage);
            if let Some(state) = state {
                page.alone(|| self.sweep(page, &state, false));
            }
            return Some(page);
        }
        // Another thread is moving in: that is a few system calls. Not waited for where it is this very one, in the middle
        // of which a signal handler makes a directory, or where it does not come back (a child that shared our memory and
        // was killed): then the directory goes untracked.
        for _ in 0..50 {
            let waits =
                page.stage.load(Ordering::Acquire) == MOVING_IN && page.mover.load(Ordering::Relaxed) != sys::gettid();
            if !waits {
                break;
            }
            sys::wait_while(&page.stage, MOVING_IN);
        }
        self.mine()
    }

    /// Makes the journal of this process, and leaves the state directory open. Nothing where none can be had.
    #[inline(never)]
    fn open_journal(&self, page: &Page) -> Option<Fd> {
        let settings = (self.surroundings.settings)();
        let uid = rustix::process::geteuid().as_raw();
        for index in 0..state::PLACES {
            let Some(mut path) = state::place(index, settings.state_directory, settings.runtime_directory, uid) else {
                continue;
            };
            let Some(path) = path.as_c_str() else { continue };
            let Ok(directory) = state::open_or_make(path, uid) else { continue };
            let program = (self.surroundings.program)();
            let Ok(own) = Own::make(&directory, path.to_bytes(), settings.cleanup, program) else { continue };
            page.journal.store(own.header.as_ptr(), Ordering::Relaxed);
            page.held.store(own.lease.as_ptr(), Ordering::Relaxed);
            // Where there is no room, a child cannot look after it, but the lock tells that the child lives.
            for place in &self.inherited.0 {
                let free = place.compare_exchange(null_mut(), own.lease.as_ptr(), Ordering::AcqRel, Ordering::Acquire);
                if free.is_ok() {
                    break;
                }
            }
            return Some(directory);
        }
        None
    }

    /// Takes a place for something that is about to be made at `path`, absolute and without a NUL. Nothing where there
    /// is no memory, the path is too long for a system call, or the memory is another process's.
    pub fn reserve(&self, path: &[u8], entry: Entry) -> Option<Ticket<'_>> {
        let page = self.mine_or_shared().or_else(|| self.move_in())?;
        let place = if page.given_up.load(Ordering::Relaxed) != 0 {
            None
        } else if path.len() < SMALL.room() {
            page.small.take(&SMALL, page.journal())
        } else if path.len() < LARGE.room().min(PATH_MAX) {
            page.large.take(&LARGE, page.journal())
        } else {
            None
        };
        // Nobody would remove it: whoever ends the process has looked at the places, or does not wait long. So it is held up
        // for longer than removing takes as a rule, but not for ever: that may hang, and then it is worse for all to hang.
        if page.is_ending.load(Ordering::SeqCst) != 0 {
            if let Some(place) = place {
                place.release();
            }
            // Signals cut each of these short.
            for _ in 0..3000 {
                sys::sleep_a_millisecond();
            }
            return None;
        }
        let place = place?;
        if entry != Entry::Directory {
            page.has_files.store(1, Ordering::Relaxed);
        }
        place.write(path, entry);
        Some(Ticket { page, place, announced: Cell::new(false) })
    }

    /// Takes a place for `name` in an open directory, and announces it: the file or empty directory of this name, which
    /// nobody else can have chosen, is removed if something ends this process before the ticket is given back.
    /// `known` is a path that leads to that directory, if there is one: a system call less where it is a plain one.
    pub fn announce(&self, directory: BorrowedFd<'_>, known: &[u8], name: &Name, entry: Entry) -> Option<Ticket<'_>> {
        let mut path = Text::<PATH_MAX>::new();
        if is_plain(known) {
            path.push(known);
        } else {
            let length = sys::readlinkat(sys::CWD, fd_path(directory).as_c_str()?.as_ptr(), path.spare()).ok()?;
            path.set_length(length);
        }
        path.push(b"/").push(name.as_bytes());
        if path.is_cut() || path.as_bytes().first() != Some(&b'/') {
            return None;
        }
        let ticket = self.reserve(path.as_bytes(), entry)?;
        ticket.announce();
        Some(ticket)
    }

    /// 64 random bits that nobody else gets: a forked child finds its pool empty. Nothing where nothing is tracked yet.
    pub fn random_bits(&self) -> Option<u64> {
        let page = self.mine_or_shared()?;
        let index = page.next_random.fetch_add(1, Ordering::Relaxed) as usize % POOL;
        match page.random.get(index)?.swap(0, Ordering::Relaxed) {
            0 => {}
            bits => return Some(bits),
        }
        let mut fresh = [0u8; POOL * 8];
        random(&mut fresh).ok()?;
        let mut words = fresh.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word));
        let own = words.next()?;
        for (place, bits) in page.random.iter().zip(words) {
            place.store(bits, Ordering::Relaxed);
        }
        Some(own)
    }

    /// Whether this process has anything to clean up, or might have.
    pub fn is_in_use(&self) -> bool {
        self.mine().is_some() || self.inherited().next().is_some()
    }

    /// Whether `forget_double` could find anything. One system call, none where nothing was ever tracked.
    pub fn has_weak(&self) -> bool {
        self.mine().is_some_and(|page| page.has_weak.load(Ordering::Relaxed) != 0)
    }

    /// A directory has just been made, and `seen` is it. If one that is recorded looks the same, that one is gone: on
    /// FUSE over ext4 the next directory gets the inode number of the one removed before, and no birth time is told.
    pub fn forget_double(&self, seen: &Identity) {
        if let Some(page) = self.mine() {
            page.forget_double(seen);
        }
    }

    /// Notes a process that needs what is recorded, so that nobody cleans up behind this one before that has ended, too.
    pub fn hold(&self, process: &Process) {
        if let Some(journal) = self.mine().and_then(Page::journal) {
            journal.hold(process);
        }
    }
}

/// Whether a path is absolute, the same for every process, and without the components that a sweep does not follow.
fn is_plain(path: &[u8]) -> bool {
    let of_a_process = [b"/proc/", b"/dev/f"].iter().any(|start| path.starts_with(*start));
    path.first() == Some(&b'/') && !of_a_process && !has_dots(path)
}

#[cfg(test)]
pub(crate) mod tests;
