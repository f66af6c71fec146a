//! What this process has made and will have to remove (D1 to D3, D5, D7, T5): directories, and hidden names of files (T6).
//!
//! It stands in a journal (`journal.rs`), which outlives the process; where there can be none, in memory of our own, and
//! then only SIGKILL leaves something behind. Either way the memory knows whose it is:
//!
//! * the page in front is wiped in a forked child (MADV_WIPEONFORK, which also holds for a raw clone3 that runs no atfork
//!   handler), the slots behind it are not even there any more (MADV_DONTFORK): a child starts with nothing and can
//!   remove nothing of its parent's while that lives;
//! * what it does have is the mapping that holds the lock of its parent's journal, and where that is. If it is the last
//!   one to have it, it removes what stands in the journal at its own end (D3);
//! * a vfork child, or any other that shares the memory, has another pid, or, as pid 1 of a new namespace, another
//!   number in `/proc/self`. It finds a page that is not its own and keeps its hands off.

mod slots;

use crate::clean::{Cleaner, is_gone, remove_if_closed};
use crate::fd::Fd;
use crate::identity::Identity;
use crate::journal::{self, BUSY, Fate, HEADER, Header, INTENT, Journal, LIVE, Life, Own, Record};
use crate::kin::{self, Process};
use crate::lease::Lease;
use crate::listing;
use crate::mapping::Mapping;
use crate::name::{Kind, Name, mark, random};
use crate::remove::{Outcome, Stuck};
use crate::settings::{Cleanup, Settings};
use crate::stack;
use crate::state;
use crate::sys;
use crate::text::{PATH_MAX, Text, fd_path, has_dots, split};
use core::cell::Cell;
use core::ffi::CStr;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;
use rustix::mm::{Advice, madvise, munmap};
use slots::{LARGE, Place, SMALL, Slots};

pub use crate::journal::Entry;

/// The page in front, one a process. All zero is "nobody's".
#[repr(C)]
struct Page {
    /// `NOBODY`, `MOVING_IN`, `SETTLED`.
    stage: AtomicU32,
    pid: AtomicU32,
    /// A forked child finds all of this zero (MADV_WIPEONFORK, Linux 4.14).
    is_wiped: AtomicU32,
    /// The pid as `/proc/self` tells it, which is in the namespace of whoever mounted it; 0 without /proc.
    outer_pid: AtomicU32,
    /// Who else may use it (`Lease::to_word`).
    lease: AtomicU32,
    /// The journal, if there is one.
    journal: AtomicPtr<Header>,
    /// The mapping that holds its lock.
    held: AtomicPtr<Header>,
    /// There is a journal from before an exec.
    has_former: AtomicU32,
    /// The thread that is moving in.
    mover: AtomicU32,
    cleaning: AtomicU32,
    /// The journal is another process's to clean by now.
    given_up: AtomicU32,
    /// The upper end of the stack that a clean-up runs on.
    stack: AtomicPtr<u8>,
    /// Random bits for names, each taken out by whoever uses it; 0 where they are used up.
    random: [AtomicU64; POOL],
    next_random: AtomicU32,
    /// Where the search for closed files goes on.
    next_file: AtomicU32,
    /// A file ever got a hidden name.
    has_files: AtomicU32,
    /// A directory was recorded of which nothing but the inode number tells it from a later one (`Identity::is_weak`).
    has_weak: AtomicU32,
    small: Slots,
    large: Slots,
}

/// How many names one getrandom(2) is good for.
const POOL: usize = 32;

const NOBODY: u32 = 0;
const MOVING_IN: u32 = 1;
const SETTLED: u32 = 2;

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
    /// The mappings that hold the locks of journals: in a forked child, those of the processes that it comes from. Copied
    /// by fork like any memory, so that a child knows where to look.
    inherited: [AtomicPtr<Header>; GENERATIONS],
    surroundings: Surroundings,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself: a living child that runs another program may still use what it was told of.
    Orderly,
    /// By a signal, which such children get as well, or outlive in vain.
    Signal,
}

/// A place for one thing that is about to be made.
#[must_use = "a ticket is confirmed or abandoned"]
pub struct Ticket<'a> {
    page: &'a Page,
    place: Place<'a>,
    announced: Cell<bool>,
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
    /// Nothing tracked, nothing mapped.
    pub const fn new(surroundings: Surroundings) -> Self {
        let inherited = [const { AtomicPtr::new(null_mut()) }; GENERATIONS];
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
            for place in &self.inherited {
                let free = place.compare_exchange(null_mut(), own.lease.as_ptr(), Ordering::AcqRel, Ordering::Acquire);
                if free.is_ok() {
                    break;
                }
            }
            return Some(directory);
        }
        None
    }

    /// Cleans up behind processes that are gone (D5), as far as their journals lie in `state`; with `former`, also behind
    /// this one's life before an exec.
    fn sweep(&self, page: &Page, state: &Fd, former: bool) {
        let own = page.journal().map_or(Process::new(0, 0), Header::owner);
        let namespace = page.journal().map_or(0, Header::pid_namespace);
        let mut cleaner = Cleaner::default();
        let mut buffer = [0u8; 4096];
        listing::each_name(state, &mut buffer, |name| {
            if mark(name.to_bytes()).is_none_or(|mark| mark.kind != Kind::Journal) {
                return;
            }
            let Ok(journal) = Journal::take(state.as_fd(), name) else { return };
            match journal.life(&own, namespace) {
                Life::Former if !former => page.has_former.store(1, Ordering::Relaxed),
                Life::Dead | Life::Former => self.clean_dead(&journal, state, name, &mut cleaner),
                Life::Alive | Life::Unknown => {}
            }
        });
    }

    /// Cleans up what stands in a journal whose lock is ours and whose processes are dead, and removes it if nothing is
    /// left to do.
    fn clean_dead(&self, journal: &Journal, state: &Fd, name: &CStr, cleaner: &mut Cleaner) {
        let header = journal.header();
        // From here its paths lead elsewhere.
        if header.root() != journal::root() {
            return;
        }
        let cleanup = header.cleanup();
        let kept = journal.each(|record| {
            if cleanup == Cleanup::Off && record.entry == Entry::Directory {
                return Fate::Forget;
            }
            let outcome = cleaner.clean_dead(record, cleanup != Cleanup::Empty, header.created());
            (self.surroundings.report)(&Cleaned { path: record.path, outcome });
            if matches!(outcome, Outcome::Stuck(_)) { Fate::Keep } else { Fate::Forget }
        });
        if kept == 0 {
            let _ = crate::fd::unlinkat(state, name, AtFlags::empty());
        }
    }

    /// Takes a place for something that is about to be made at `path`, absolute and without a NUL. Nothing where there
    /// is no memory, the path is too long for a system call, or the memory is another process's.
    pub fn reserve(&self, path: &[u8], entry: Entry) -> Option<Ticket<'_>> {
        let page = self.mine_or_shared().or_else(|| self.move_in())?;
        if page.given_up.load(Ordering::Relaxed) != 0 {
            return None;
        }
        let place = if path.len() < SMALL.room() {
            page.small.take(&SMALL, page.journal())
        } else if path.len() < LARGE.room().min(PATH_MAX) {
            page.large.take(&LARGE, page.journal())
        } else {
            None
        }?;
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

    /// Removes hidden names of files that nobody has open any more (T6): looks at a few each time it is called, in turn.
    pub fn reclaim_a_few_files(&self) {
        self.reclaim_files(8);
    }

    /// Removes hidden names of files that nobody has open any more, looking at as many as `most`.
    pub fn reclaim_files(&self, most: u32) {
        let Some(page) = self.mine().filter(|page| page.has_files.load(Ordering::Relaxed) != 0) else { return };
        for (slots, shape) in [(&page.small, &SMALL), (&page.large, &LARGE)] {
            let used = slots.used.load(Ordering::Acquire).max(1);
            let mut seen = 0;
            for _ in 0..used.min(most.saturating_mul(32)) {
                if seen >= most {
                    break;
                }
                let index = page.next_file.fetch_add(1, Ordering::Relaxed).checked_rem(used).unwrap_or(0);
                let Some(place) = slots.place(shape, index) else { break };
                // Not what is about to be made: whoever makes it must find it as it was.
                let Some(was) = place.claim(LIVE) else { continue };
                let is_file = place.entry() != Entry::Directory;
                if is_file {
                    seen += 1;
                }
                if is_file && remove_if_closed(place.path(), &place.identity()) {
                    place.release();
                } else {
                    place.put_back(was);
                }
            }
        }
    }

    /// Whether we gave a file this hidden name, and the mode that it is still to have, if any.
    pub fn mode_of_file(&self, path: &[u8]) -> Option<Option<u32>> {
        self.with_file(path, |place, mode| {
            place.put_back(LIVE);
            mode
        })
    }

    /// The program has given the file with this hidden name a mode of its own.
    pub fn keep_mode_of_file(&self, path: &[u8]) {
        self.with_file(path, |place, _| {
            place.set_entry(Entry::File { mode: None });
            place.put_back(LIVE);
        });
    }

    /// Forgets a hidden name: the caller has removed it.
    pub fn forget_file(&self, path: &[u8]) {
        self.with_file(path, |place, _| place.release());
    }

    /// Finds a file by its hidden name and hands it, claimed, to `then`.
    fn with_file<T>(&self, path: &[u8], then: impl FnOnce(&Place<'_>, Option<u32>) -> T) -> Option<T> {
        for place in self.mine()?.places() {
            let Some(was) = place.claim_in_turn() else { continue };
            match place.entry() {
                Entry::File { mode } if place.path().to_bytes() == path => return Some(then(&place, mode)),
                _ => place.put_back(was),
            }
        }
        None
    }

    /// Hands what is recorded of the directory with this path to `clean`, and forgets it if that says so. Whether there was
    /// such a record. For a supervisor, whose own end is not that of those it made directories for.
    pub fn settle_directory(&self, path: &[u8], clean: impl FnOnce(&Record<'_>) -> bool) -> bool {
        for place in self.mine().into_iter().flat_map(Page::places) {
            let Some(was) = place.claim_in_turn() else { continue };
            if place.entry() != Entry::Directory || place.path().to_bytes() != path {
                place.put_back(was);
                continue;
            }
            if clean(&place.record(was)) {
                place.release();
            } else {
                place.put_back(was);
            }
            return true;
        }
        false
    }

    /// Notes a process that needs what is recorded, so that nobody cleans up behind this one before that has ended, too.
    pub fn hold(&self, process: &Process) {
        if let Some(journal) = self.mine().and_then(Page::journal) {
            journal.hold(process);
        }
    }

    /// The end of this process: removes everything that it made and nobody removed, and what its dead ancestors have left
    /// if it is the last one that could use it. Any thread, also in a signal handler, on a stack of its own. All signals
    /// of the calling thread wait until it is done. Where another thread is at it already, waits for that one first.
    /// Without `as_heir`, ancestors are not looked after; where nothing else was tracked, no system call is made then.
    pub fn clean_up(&self, cleanup: Cleanup, ending: Ending, as_heir: bool) {
        // SAFETY: the pointer is null or a page that is never unmapped.
        let Some(page) = (unsafe { self.page.load(Ordering::Acquire).as_ref() }) else { return };
        match page.stage.load(Ordering::Acquire) {
            SETTLED => {
                // A child that shares our memory; as pid 1 of a new namespace, when we are a pid 1 ourselves.
                let outer = page.outer_pid.load(Ordering::Relaxed);
                if page.pid.load(Ordering::Relaxed) != sys::getpid() || outer != 0 && outer != kin::number_in_proc() {
                    return;
                }
                page.alone(|| {
                    self.end(page, cleanup, ending);
                    if page.has_former.swap(0, Ordering::Relaxed) != 0
                        && let Some(state) = page.journal().and_then(|header| open_state_of(header.path()))
                    {
                        self.sweep(page, &state, true);
                    }
                    if as_heir {
                        self.inherit(ending);
                    }
                });
            }
            // Wiped: this is a forked child that has made nothing itself, or shares the memory of one.
            NOBODY if as_heir && self.inherited().next().is_some() && kin::owns_its_memory() => {
                on_fresh_stack(|| self.inherit(ending));
            }
            _ => {}
        }
    }

    /// What this process made itself.
    fn end(&self, page: &Page, cleanup: Cleanup, ending: Ending) {
        let header = page.journal();
        // Both are said before the lock is given up: who is the last one may go by them from then on.
        let is_held = ending == Ending::Orderly && page.has_directories() && note_children(header);
        if let Some(header) = header {
            header.end(cleanup);
        }
        // The journal stays open until all is removed, so that nobody else begins.
        let (is_last, _lock) = match Lease::from_word(page.lease.load(Ordering::Relaxed)) {
            Some(lease) if lease.is_last() => (true, None),
            None if header.is_none() => (true, None),
            _ => {
                let regained = header.and_then(|header| self.regain(page, header));
                (regained.is_some(), regained)
            }
        };
        let mut cleaner = Cleaner::default();
        let mut kept = 0;
        // The newest first: its path may lead through an older one.
        for place in page.places() {
            let Some(was) = place.claim_any() else { continue };
            let record = place.record(was);
            let is_directory = record.entry == Entry::Directory;
            if is_directory && cleanup == Cleanup::Off {
                // Something may still go wrong before this process has ended.
                place.put_back(was);
                continue;
            }
            let outcome = if is_last && !(is_held && is_directory) {
                cleaner.clean(&record, cleanup != Cleanup::Empty)
            } else if !is_directory && record.made.is_some_and(|made| remove_if_closed(record.path, &made)) {
                Outcome::Removed
            } else if is_last && is_gone(&record) {
                // Nothing for the children to hold, and so no journal. Who is not the last leaves that to who is: it may be
                // in a chroot, where the path leads elsewhere.
                Outcome::NotThere
            } else {
                Outcome::Stuck(Stuck::InUse)
            };
            (self.surroundings.report)(&Cleaned { path: record.path, outcome });
            if header.is_some() && may_go_later(outcome, &record) {
                place.put_back(was);
                kept += 1;
            } else {
                place.release();
            }
        }
        let Some(header) = header else { return };
        if kept == 0 && is_last {
            let _ = crate::fd::unlinkat(CWD, header.path(), AtFlags::empty());
        }
        // What another process may be cleaning by now is not ours any more.
        page.given_up.store(u32::from(kept != 0), Ordering::Relaxed);
    }

    /// Gives up the lock of this process's journal, and takes it again where nobody else has it.
    fn regain(&self, page: &Page, header: &Header) -> Option<Journal> {
        let held = page.held.swap(null_mut(), Ordering::AcqRel);
        self.let_go(held);
        take(header.path()).map(|taken| taken.journal)
    }

    /// Gives up a lock.
    fn let_go(&self, held: *mut Header) {
        for place in &self.inherited {
            let _ = place.compare_exchange(held, null_mut(), Ordering::AcqRel, Ordering::Acquire);
        }
        if !held.is_null() {
            // SAFETY: a mapping of this size, which nobody looks at any more: the lists above were its only holders.
            let _ = unsafe { munmap(held.cast(), HEADER) };
        }
    }

    /// The locks that this process has from those it comes from, its parent's first.
    #[inline(never)]
    fn inherited(&self) -> impl Iterator<Item = *mut Header> {
        // SAFETY: the pointer is null or a page that is never unmapped.
        let page = unsafe { self.page.load(Ordering::Acquire).as_ref() };
        let own = page.map_or(null_mut(), |page| page.held.load(Ordering::Acquire));
        let all = self.inherited.iter().rev().map(|place| place.load(Ordering::Acquire));
        all.filter(move |&held| !held.is_null() && held != own)
    }

    /// Gives up the locks of ancestors, and cleans up behind those of whom this process was the last.
    fn inherit(&self, ending: Ending) {
        let mut own = None;
        let pid = sys::getpid();
        let has_children = ending == Ending::Orderly && sys::has_children();
        while let Some(held) = self.inherited().next() {
            // SAFETY: a mapping of this size that fork has handed down; it is given up only below.
            let header = unsafe { &*held };
            let mut path = Text::<PATH_MAX>::new();
            path.push(header.path().to_bytes());
            // It may have been noted, before it could be known whether it would start another program. And what it has
            // started itself may need what its ancestor made. Both before the lock is given up, as in `end`.
            if has_children || header.holders().any(|holder| holder.pid == pid) {
                header.change(|header| {
                    header.let_go(pid);
                    if has_children {
                        note_children(Some(header));
                    }
                });
            }
            self.let_go(held);
            let Some(Taken { state, mut name, journal }) = path.as_c_str().and_then(take) else { continue };
            let own = own.get_or_insert_with(Process::current);
            // A parent that ended first has noted this process as one that needs it: not any more.
            if !matches!(journal.life(own, kin::pid_namespace()), Life::Dead | Life::Former) {
                continue;
            }
            if let Some(name) = name.as_c_str() {
                self.clean_dead(&journal, &state, name, &mut Cleaner::default());
            }
        }
    }
}

/// Whether a path is absolute, the same for every process, and without the components that a sweep does not follow.
fn is_plain(path: &[u8]) -> bool {
    let of_a_process = [b"/proc/", b"/dev/f"].iter().any(|start| path.starts_with(*start));
    path.first() == Some(&b'/') && !of_a_process && !has_dots(path)
}

/// Whether somebody else can come back to it: from where it was made, when it is free, or when a filesystem is well again.
/// A directory that the program has no right to remove, or where something is mounted, is reported once.
fn may_go_later(outcome: Outcome, record: &Record<'_>) -> bool {
    match outcome {
        Outcome::Stuck(Stuck::Refused(Errno::PERM | Errno::ACCESS | Errno::ROFS)) => record.entry != Entry::Directory,
        // A server may still have a name for what was open in a directory around a stand-in.
        Outcome::NotEmpty => record.made.is_none(),
        outcome => matches!(outcome, Outcome::Stuck(Stuck::InUse | Stuck::OtherNamespace | Stuck::Refused(_))),
    }
}

/// A journal with its lock, and where it lies.
struct Taken {
    state: Fd,
    name: Text<256>,
    journal: Journal,
}

/// Takes the journal with this path; nothing where somebody else has its lock, or it is not to be touched.
fn take(path: &CStr) -> Option<Taken> {
    let state = open_state_of(path)?;
    let (_, name) = split(path.to_bytes())?;
    let mut name = Text::new().also(name);
    let journal = Journal::take(state.as_fd(), name.as_c_str()?).ok()?;
    Some(Taken { state, name, journal })
}

fn open_state_of(journal: &CStr) -> Option<Fd> {
    let (directory, _) = split(journal.to_bytes())?;
    let mut path = state::Path::new().also(directory);
    state::open(path.as_c_str()?, rustix::process::geteuid().as_raw()).ok()
}

/// Notes the living children of this process. Says whether there is one.
fn note_children(journal: Option<&Header>) -> bool {
    let mut any = false;
    kin::each_child(|child| {
        if let Some(journal) = journal {
            journal.hold(&child);
        }
        any = true;
    });
    any
}

/// With all signals of this thread waiting, on a stack that is mapped for it: there may be hardly any left.
fn on_fresh_stack(work: impl FnOnce()) {
    let mask = sys::set_signal_mask(u64::MAX);
    if let Ok(top) = stack::map() {
        // SAFETY: mapped by the line above, and nobody else knows it.
        unsafe { stack::call_on(top, work) };
    }
    sys::set_signal_mask(mask);
}

impl Page {
    fn journal(&self) -> Option<&Header> {
        // SAFETY: null, or a mapping of this process's that is never unmapped.
        unsafe { self.journal.load(Ordering::Relaxed).as_ref() }
    }

    /// With all signals of this thread waiting, one thread at a time, on the stack that is kept for that.
    fn alone(&self, work: impl FnOnce()) {
        let mask = sys::set_signal_mask(u64::MAX);
        while self.cleaning.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire).is_err() {
            sys::wait_while(&self.cleaning, 1);
        }
        if let Some(top) = NonNull::new(self.stack.load(Ordering::Relaxed)) {
            // SAFETY: mapped when this process moved in, and `cleaning` lets one thread at a time get here.
            unsafe { stack::call_on(top, work) };
        }
        self.cleaning.store(0, Ordering::Release);
        sys::wake_all(&self.cleaning);
        sys::set_signal_mask(mask);
    }

    /// Every place that was ever handed out, the newest first; none of them claimed.
    fn places(&self) -> impl Iterator<Item = Place<'_>> {
        let given_up = self.given_up.load(Ordering::Relaxed) != 0;
        let used = |slots: &Slots| if given_up { 0 } else { slots.used.load(Ordering::Acquire) };
        let (small, large) = (used(&self.small), used(&self.large));
        (0..small + large).rev().filter_map(move |index| match index.checked_sub(large) {
            Some(index) => self.small.place(&SMALL, index),
            None => self.large.place(&LARGE, index),
        })
    }

    /// Whether a directory is recorded.
    fn has_directories(&self) -> bool {
        self.places().any(|place| {
            let Some(was) = place.claim_any() else { return false };
            let is_directory = place.entry() == Entry::Directory;
            place.put_back(was);
            is_directory
        })
    }

    fn forget_double(&self, seen: &Identity) {
        if self.has_weak.load(Ordering::Relaxed) == 0 {
            return;
        }
        for place in self.places() {
            let Some(was) = place.claim(LIVE) else { continue };
            if place.identity().is_same_file(seen) { place.release() } else { place.put_back(was) }
        }
    }
}

/// Whether the kernel knows MADV_WIPEONFORK: asked once more, for the page itself.
fn is_wiped_on_fork(page: &Page) -> bool {
    let start = core::ptr::from_ref(page).cast_mut().cast();
    // SAFETY: a mapping of our own, all of it, and the advice only concerns what a child gets.
    unsafe { madvise(start, size_of::<Page>(), Advice::LinuxWipeOnFork) }.is_ok()
}

impl Ticket<'_> {
    /// From here on, what is found at the path is taken for ours if it is an empty directory that only its owner may
    /// enter, or a file: the thing is about to be made there, under a name that nobody else would choose.
    pub fn announce(&self) {
        self.announced.set(true);
        self.place.put_back(INTENT);
    }

    /// Writes another path, as long as the first: a try to make the thing found the name taken.
    pub fn rename(&self, path: &[u8]) {
        if self.take_back() {
            self.place.put_back(BUSY);
            self.place.write(path, self.place.entry());
            self.announced.set(false);
        }
    }

    /// The thing was made, and this is it.
    pub fn confirm(self, made: &Identity) {
        self.page.forget_double(made);
        if self.take_back() {
            if made.is_weak() {
                self.page.has_weak.store(1, Ordering::Relaxed);
            }
            self.place.set_identity(made);
            self.place.put_back(LIVE);
        }
    }

    /// The thing was not made, or is not to be tracked.
    pub fn abandon(self) {
        if self.take_back() {
            self.place.release();
        }
    }

    /// The thing was made, and nobody can tell what it is: it goes at the end if it is empty by then, or a file.
    pub fn leave(self) {
        if !self.announced.get() {
            self.place.release();
        }
    }

    /// Whoever was about to make the thing is dead: removes it, should it be there. May wait for its filesystem.
    pub fn settle(self) {
        if !self.take_back() {
            return;
        }
        let is_announced = self.announced.get();
        if is_announced && matches!(Cleaner::default().clean(&self.place.record(INTENT), false), Outcome::Stuck(_)) {
            return self.place.put_back(INTENT);
        }
        self.place.release();
    }

    /// Makes the slot ours alone again; not where a clean-up in another thread was quicker.
    fn take_back(&self) -> bool {
        !self.announced.get() || self.place.claim(INTENT).is_some()
    }
}

#[cfg(test)]
pub(crate) mod tests;
