//! What this process has made and will have to remove (D1, D2, D7): directories, and hidden names of files (T6).
//!
//! All of it lies in memory of our own, so that any number fits, and that memory knows whose it is:
//!
//! * the page in front is wiped in a forked child (MADV_WIPEONFORK, which also holds for a raw clone3 that runs no atfork
//!   handler), the slots behind it are not even there any more (MADV_DONTFORK): a child starts with nothing and can
//!   remove nothing of its parent's;
//! * a vfork child, or any other that shares the memory, has another pid, or, as pid 1 of a new namespace, another
//!   number in `/proc/self`. It finds a page that is not its own and keeps its hands off.
//!
//! A slot is one small state machine. Whoever wants to touch one takes it by compare-and-swap; nobody ever waits, so a
//! signal handler may interrupt anything here.
//!
//! ```text
//! Free -> Busy -> Intent -> Busy -> Live -> Busy -> Free
//!         (path written)    (made, identity written)
//! ```

use crate::fd::{Fd, openat};
use crate::identity::{self, Identity};
use crate::lease::Lease;
use crate::mapping::Mapping;
use crate::name::random;
use crate::remove::{Outcome, Remover, Stuck, raise_descriptor_limit};
use crate::settings::Cleanup;
use crate::stack;
use crate::sys;
use crate::text::{PATH_MAX, Text, split};
use core::cell::Cell;
use core::ffi::CStr;
use core::num::NonZeroU32;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, unlinkat};
use rustix::io::Errno;
use rustix::mm::{Advice, madvise};

const FREE: u32 = 0;
/// Somebody is working on it.
const BUSY: u32 = 1;
/// The path stands, the thing may or may not exist yet.
const INTENT: u32 = 2;
/// Made, and known by its identity.
const LIVE: u32 = 3;

/// What a slot stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A directory.
    Directory,
    /// A file's hidden name, and the mode the file is to have when it is published.
    File {
        /// Permissions, `07777` at most; nothing where the program has said fchmod itself.
        mode: Option<u32>,
    },
}

const FILE: u32 = 1 << 16;
const DECIDED: u32 = 1 << 17;

impl Entry {
    const fn encode(self) -> u32 {
        match self {
            Self::Directory => 0,
            Self::File { mode: Some(mode) } => FILE | mode & 0o7777,
            Self::File { mode: None } => FILE | DECIDED,
        }
    }

    const fn decode(word: u32) -> Self {
        if word & FILE == 0 {
            return Self::Directory;
        }
        Self::File { mode: if word & DECIDED == 0 { Some(word & 0o7777) } else { None } }
    }
}

/// The fixed part of a slot; its path follows, closed by NUL.
#[repr(C)]
struct Slot {
    state: AtomicU32,
    /// The free list: the index of the next one, plus one.
    next_free: AtomicU32,
    entry: u32,
    length: u32,
    identity: Identity,
}

/// How the slots of one size are laid out: segment k holds `first << k` of them.
struct Shape {
    size: usize,
    first: NonZeroU32,
}

impl Shape {
    const fn room(&self) -> usize {
        self.size - size_of::<Slot>()
    }

    fn segment_of(&self, index: u32) -> u32 {
        (index / self.first).saturating_add(1).checked_ilog2().unwrap_or(0)
    }
}

/// For most paths: one segment is 64 KiB.
const SMALL: Shape = Shape { size: 256, first: NonZeroU32::new(256).unwrap() };
/// For any path that one system call takes.
const LARGE: Shape = Shape { size: PATH_MAX + 128, first: NonZeroU32::new(15).unwrap() };
const SEGMENTS: usize = 22;

/// Slots of one size. All zero is empty.
#[repr(C)]
struct Slots {
    segments: [AtomicPtr<u8>; SEGMENTS],
    /// Slots handed out so far, free ones included.
    used: AtomicU32,
    /// Somebody is looking for slots whose directory the program removed by itself.
    reclaiming: AtomicU32,
    /// Top of the free list: a counter against ABA, and the index plus one.
    free: AtomicU64,
}

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
    /// The thread that is moving in.
    mover: AtomicU32,
    cleaning: AtomicU32,
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

/// The process's own record. Static, and the same in all threads.
pub struct Tracker {
    page: AtomicPtr<Page>,
    /// Called in each process when it first makes the record its own, before anything stands in it.
    moved_in: fn(),
}

/// A place for one thing that is about to be made.
#[must_use = "a ticket is confirmed or abandoned"]
pub struct Ticket<'a> {
    page: &'a Page,
    place: Place<'a>,
    announced: Cell<bool>,
}

#[derive(Clone, Copy)]
struct Place<'a> {
    slots: &'a Slots,
    shape: &'static Shape,
    index: u32,
    slot: NonNull<Slot>,
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
    /// Nothing tracked, nothing mapped. `moved_in` is called in each process (a forked child is another) before the first
    /// thing is recorded.
    pub const fn new(moved_in: fn()) -> Self {
        Self { page: AtomicPtr::new(null_mut()), moved_in }
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
            page.outer_pid.store(outer_pid(), Ordering::Relaxed);
            page.lease.store(Lease::to_word(Lease::take()), Ordering::Relaxed);
            page.stack.store(stack::map().map_or(null_mut(), NonNull::as_ptr), Ordering::Relaxed);
            (self.moved_in)();
            page.stage.store(SETTLED, Ordering::Release);
            sys::wake_all(&page.stage);
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

    /// Takes a place for something that is about to be made at `path`, absolute and without a NUL. Nothing where there
    /// is no memory, the path is too long for a system call, or the memory is another process's.
    pub fn reserve(&self, path: &[u8], entry: Entry) -> Option<Ticket<'_>> {
        let page = self.mine_or_shared().or_else(|| self.move_in())?;
        let place = if path.len() < SMALL.room() {
            page.small.take(&SMALL)
        } else if path.len() < LARGE.room().min(PATH_MAX) {
            page.large.take(&LARGE)
        } else {
            None
        }?;
        if entry != Entry::Directory {
            page.has_files.store(1, Ordering::Relaxed);
        }
        place.write(path, entry);
        Some(Ticket { page, place, announced: Cell::new(false) })
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
        self.mine().is_some()
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
                let Some(was) = place.claim_any() else { continue };
                let is_file = Entry::decode(place.entry()) != Entry::Directory;
                if is_file {
                    seen += 1;
                }
                if is_file && was == LIVE && remove_if_closed(place.path(), &place.identity()) {
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
            // SAFETY: `with_file` has claimed the slot.
            unsafe { (*place.slot.as_ptr()).entry = Entry::File { mode: None }.encode() };
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
            let Some(was) = place.claim(LIVE) else { continue };
            match Entry::decode(place.entry()) {
                Entry::File { mode } if place.path().to_bytes() == path => return Some(then(&place, mode)),
                _ => place.put_back(was),
            }
        }
        None
    }

    /// Removes everything that this process made and nobody removed. Any thread, also in a signal handler, on a stack of
    /// its own. All signals of the calling thread wait until it is done. Where another thread is at it already, waits for
    /// that one first.
    pub fn clean_up(&self, cleanup: Cleanup, report: impl FnMut(&Cleaned<'_>)) {
        let Some(page) = self.mine() else { return };
        // A child that shares our memory as pid 1 of a new namespace, when we are a pid 1 ourselves.
        let outer = page.outer_pid.load(Ordering::Relaxed);
        if outer != 0 && outer != outer_pid() {
            return;
        }
        let mask = sys::set_signal_mask(u64::MAX);
        while page.cleaning.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire).is_err() {
            sys::wait_while(&page.cleaning, 1);
        }
        if let Some(top) = NonNull::new(page.stack.load(Ordering::Relaxed)) {
            // SAFETY: mapped when this process moved in, and `cleaning` lets one thread at a time get here.
            unsafe { stack::call_on(top, || page.clean_up(cleanup, report)) };
        }
        page.cleaning.store(0, Ordering::Release);
        sys::wake_all(&page.cleaning);
        sys::set_signal_mask(mask);
    }
}

impl Page {
    /// Every place that was ever handed out, the newest first; none of them claimed.
    fn places(&self) -> impl Iterator<Item = Place<'_>> {
        [(&self.small, &SMALL), (&self.large, &LARGE)].into_iter().flat_map(|(slots, shape)| {
            (0..slots.used.load(Ordering::Acquire)).rev().filter_map(move |index| slots.place(shape, index))
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

    fn clean_up(&self, cleanup: Cleanup, mut report: impl FnMut(&Cleaned<'_>)) {
        let mut parent = Parent::default();
        let mut remover = None;
        let is_last = Lease::from_word(self.lease.load(Ordering::Relaxed)).is_none_or(Lease::is_last);
        // The newest first: its path may lead through an older one.
        for place in self.places() {
            let Some(was) = place.claim_any() else { continue };
            let is_directory = Entry::decode(place.entry()) == Entry::Directory;
            if is_directory && cleanup == Cleanup::Off {
                place.put_back(was);
                continue;
            }
            let outcome = if is_last {
                clean_one(&place, was, cleanup != Cleanup::Empty, &mut parent, &mut remover)
            } else if !is_directory && remove_if_closed(place.path(), &place.identity()) {
                Outcome::Removed
            } else {
                Outcome::Stuck(Stuck::InUse)
            };
            report(&Cleaned { path: place.path(), outcome });
            place.release();
        }
    }
}

fn clean_one(
    place: &Place<'_>,
    was: u32,
    contents: bool,
    parent: &mut Parent,
    remover: &mut Option<Remover>,
) -> Outcome {
    let path = place.path();
    let Some((directory, mut name)) = parent.open(path.to_bytes()) else { return Outcome::NotThere };
    let Some(name) = name.as_c_str() else { return Outcome::NotThere };
    let made = match (Entry::decode(place.entry()), was) {
        (Entry::File { .. }, _) => return remove_file(directory, name, &place.identity(), was == INTENT),
        (Entry::Directory, LIVE) => place.identity(),
        // Ended between mkdir and its confirmation: ours if it is what mkdtemp makes, and then it is still empty.
        (Entry::Directory, _) => match identity::at(directory, name) {
            Ok(seen) if seen.is_directory() && seen.mode & 0o7777 == 0o700 && is_own(seen.uid) => seen.identity,
            _ => return Outcome::NotThere,
        },
    };
    let remover = match remover {
        Some(remover) => remover,
        None => match Remover::new() {
            Ok(fresh) => remover.insert(fresh),
            Err(error) => return Outcome::Stuck(Stuck::Refused(error)),
        },
    };
    remover.remove(directory, name, &made, contents && was == LIVE)
}

fn is_own(uid: u32) -> bool {
    uid == rustix::process::geteuid().as_raw()
}

/// Removes a file's hidden name. Of an unconfirmed one only the name is known, and nobody else can have chosen it.
fn remove_file(directory: BorrowedFd<'_>, name: &CStr, made: &Identity, unconfirmed: bool) -> Outcome {
    match identity::at(directory, name) {
        Ok(seen) if !unconfirmed && !seen.identity.is_same_file(made) => Outcome::NotThere,
        Ok(_) => match unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) => Outcome::Removed,
            Err(error) => Outcome::Stuck(Stuck::Refused(error)),
        },
        Err(_) => Outcome::NotThere,
    }
}

/// Removes a file's hidden name if nothing has the file open or mapped: then, and only then, a write lease is granted.
fn remove_if_closed(path: &CStr, made: &Identity) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(CWD, path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(error) => return error == Errno::NOENT,
    };
    match identity::of(file.as_fd()) {
        Ok(seen) if seen.identity.is_same_file(made) => {}
        Ok(_) => return true,
        Err(_) => return false,
    }
    sys::set_write_lease(file.as_fd()).is_ok() && unlinkat(CWD, path, AtFlags::empty()).is_ok()
}

/// The directory that the last path lay in, kept open: thousands usually share one.
#[derive(Default)]
struct Parent {
    path: Text<PATH_MAX>,
    fd: Option<Fd>,
}

impl Parent {
    fn open(&mut self, path: &[u8]) -> Option<(BorrowedFd<'_>, Text<256>)> {
        let (directory, name) = split(path)?;
        if self.fd.is_none() || self.path.as_bytes() != directory {
            self.fd = None;
            self.path = Text::new();
            self.path.push(directory);
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let path = self.path.as_c_str()?;
            let opened = match openat(CWD, path, flags, Mode::empty()) {
                Err(Errno::MFILE) if raise_descriptor_limit() => openat(CWD, path, flags, Mode::empty()),
                opened => opened,
            };
            self.fd = Some(opened.ok()?);
        }
        let mut copy = Text::new();
        copy.push(name);
        Some((self.fd.as_ref()?.as_fd(), copy))
    }
}

/// Whether the kernel knows MADV_WIPEONFORK: asked once more, for the page itself.
fn is_wiped_on_fork(page: &Page) -> bool {
    let start = core::ptr::from_ref(page).cast_mut().cast();
    // SAFETY: a mapping of our own, all of it, and the advice only concerns what a child gets.
    unsafe { madvise(start, size_of::<Page>(), Advice::LinuxWipeOnFork) }.is_ok()
}

/// This process's number in the namespace of whoever mounted /proc, 0 where it cannot be had.
fn outer_pid() -> u32 {
    let mut text = [0u8; 16];
    let length = sys::readlinkat(sys::CWD, c"/proc/self".as_ptr(), &mut text).unwrap_or(0);
    let digits = text.get(..length).unwrap_or(&[]);
    digits
        .iter()
        .fold(0, |number: u32, digit| number.wrapping_mul(10).wrapping_add(u32::from(digit.wrapping_sub(b'0'))))
}

impl Slots {
    /// A slot for the caller alone, in state `BUSY`.
    fn take(&self, shape: &'static Shape) -> Option<Place<'_>> {
        if let Some(place) = self.pop(shape) {
            return Some(place);
        }
        loop {
            let used = self.used.load(Ordering::Acquire);
            if self.place(shape, used).is_none() {
                // Before it grows: a program that removes its own directories has left slots behind.
                if self.reclaim(shape, used)
                    && let Some(place) = self.pop(shape)
                {
                    return Some(place);
                }
                self.grow(shape, used)?;
            }
            if self.used.compare_exchange(used, used + 1, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                let place = self.place(shape, used)?;
                place.state().store(BUSY, Ordering::Release);
                return Some(place);
            }
        }
    }

    fn place(&self, shape: &'static Shape, index: u32) -> Option<Place<'_>> {
        let segment = shape.segment_of(index);
        let before = shape.first.get() * ((1 << segment) - 1);
        let start = NonNull::new(self.segments.get(segment as usize)?.load(Ordering::Acquire))?;
        let offset = (index - before) as usize * shape.size;
        // SAFETY: segment k holds `first << k` slots, of which this is number `index - before`.
        let slot = unsafe { start.add(offset) }.cast();
        Some(Place { slots: self, shape, index, slot })
    }

    fn grow(&self, shape: &'static Shape, used: u32) -> Option<()> {
        let segment = shape.segment_of(used);
        let length = (shape.first.get() as usize * shape.size) << segment;
        let fresh = Mapping::for_this_process(length, Advice::LinuxDontFork).ok()?;
        let pointer = self.segments.get(segment as usize)?;
        let start = fresh.start().as_ptr();
        if pointer.compare_exchange(null_mut(), start, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            fresh.leak();
        }
        Some(())
    }

    /// Frees the slots of what the program has removed by itself. Says whether that were enough to go on with: at least
    /// a quarter, so that the cost of looking is spread over as many new ones. A program that removes nothing by itself
    /// pays for a few looks only, spread over all slots.
    fn reclaim(&self, shape: &'static Shape, used: u32) -> bool {
        const SAMPLE: u32 = 16;
        if used == 0 || self.reclaiming.swap(1, Ordering::AcqRel) != 0 {
            return false;
        }
        let distance = (used / SAMPLE).max(1) as usize;
        let sampled = self.free_what_is_gone(shape, (0..used).step_by(distance));
        let freed = if sampled == 0 { 0 } else { sampled + self.free_what_is_gone(shape, 0..used) };
        self.reclaiming.store(0, Ordering::Release);
        freed != 0 && freed >= used / 4
    }

    fn free_what_is_gone(&self, shape: &'static Shape, indexes: impl Iterator<Item = u32>) -> u32 {
        let mut freed = 0;
        for place in indexes.filter_map(|index| self.place(shape, index)) {
            let Some(was) = place.claim(LIVE) else { continue };
            let gone = match identity::at(CWD, place.path()) {
                Ok(seen) => !seen.identity.is_same_file(&place.identity()),
                Err(error) => error == Errno::NOENT,
            };
            if gone {
                place.release();
                freed += 1;
            } else {
                place.put_back(was);
            }
        }
        freed
    }

    fn pop(&self, shape: &'static Shape) -> Option<Place<'_>> {
        loop {
            let top = self.free.load(Ordering::Acquire);
            let place = self.place(shape, (top as u32).checked_sub(1)?)?;
            let next = u64::from(place.next_free().load(Ordering::Acquire));
            let new = (top & !0xffff_ffff).wrapping_add(1 << 32) | next;
            if self.free.compare_exchange(top, new, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                place.state().store(BUSY, Ordering::Release);
                return Some(place);
            }
        }
    }

    fn push(&self, place: &Place<'_>) {
        loop {
            let top = self.free.load(Ordering::Acquire);
            place.next_free().store(top as u32, Ordering::Release);
            let new = (top & !0xffff_ffff).wrapping_add(1 << 32) | u64::from(place.index + 1);
            if self.free.compare_exchange(top, new, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return;
            }
        }
    }
}

impl<'a> Place<'a> {
    fn state(&self) -> &'a AtomicU32 {
        // SAFETY: a slot inside a segment, which is never unmapped; the field is atomic.
        unsafe { &(*self.slot.as_ptr()).state }
    }

    fn next_free(&self) -> &'a AtomicU32 {
        // SAFETY: as above.
        unsafe { &(*self.slot.as_ptr()).next_free }
    }

    fn claim(&self, from: u32) -> Option<u32> {
        self.state().compare_exchange(from, BUSY, Ordering::AcqRel, Ordering::Acquire).ok()
    }

    fn claim_any(&self) -> Option<u32> {
        self.claim(LIVE).or_else(|| self.claim(INTENT))
    }

    fn put_back(&self, state: u32) {
        self.state().store(state, Ordering::Release);
    }

    fn release(&self) {
        self.put_back(FREE);
        self.slots.push(self);
    }

    /// Of a slot in state `BUSY`, which is the caller's alone.
    fn entry(&self) -> u32 {
        // SAFETY: the caller has claimed the slot.
        unsafe { (*self.slot.as_ptr()).entry }
    }

    fn identity(&self) -> Identity {
        // SAFETY: the caller has claimed the slot.
        unsafe { (*self.slot.as_ptr()).identity }
    }

    fn path(&self) -> &'a CStr {
        // SAFETY: the caller has claimed the slot; `write` has put `length` bytes and a NUL behind the fixed part.
        let bytes = unsafe {
            let length = (*self.slot.as_ptr()).length as usize + 1;
            core::slice::from_raw_parts(self.slot.as_ptr().add(1).cast::<u8>(), length.min(self.shape.room()))
        };
        CStr::from_bytes_until_nul(bytes).unwrap_or(c"")
    }

    fn write(&self, path: &[u8], entry: Entry) {
        let length = path.len().min(self.shape.room() - 1);
        // SAFETY: the caller has claimed the slot; `length` bytes and a NUL fit behind the fixed part.
        unsafe {
            let slot = self.slot.as_ptr();
            (*slot).entry = entry.encode();
            (*slot).length = length as u32;
            (*slot).identity = Identity::default();
            let text = slot.add(1).cast::<u8>();
            core::ptr::copy_nonoverlapping(path.as_ptr(), text, length);
            *text.add(length) = 0;
        }
    }
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
            let entry = Entry::decode(self.place.entry());
            self.place.write(path, entry);
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
            // SAFETY: `take_back` says that the slot is ours alone.
            unsafe { (*self.place.slot.as_ptr()).identity = *made };
            self.place.put_back(LIVE);
        }
    }

    /// The thing was not made, or is not to be tracked.
    pub fn abandon(self) {
        if self.take_back() {
            self.place.release();
        }
    }

    /// Makes the slot ours alone again; not where a clean-up in another thread was quicker.
    fn take_back(&self) -> bool {
        !self.announced.get() || self.place.claim(INTENT).is_some()
    }
}

#[cfg(test)]
mod tests;
