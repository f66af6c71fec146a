//! The page in front of the slots, which a forked child finds wiped: whose they are.

use super::slots::{LARGE, Place, SMALL, Slots};
use crate::identity::Identity;
use crate::journal::{Entry, Header, LIVE};
use crate::stack;
use crate::sys;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use rustix::mm::{Advice, madvise};

/// The page in front, one a process. All zero is "nobody's".
#[repr(C)]
pub(super) struct Page {
    /// `NOBODY`, `MOVING_IN`, `SETTLED`.
    pub(super) stage: AtomicU32,
    pub(super) pid: AtomicU32,
    /// A forked child finds all of this zero (MADV_WIPEONFORK, Linux 4.14).
    pub(super) is_wiped: AtomicU32,
    /// The pid as `/proc/self` tells it, which is in the namespace of whoever mounted it; 0 without /proc.
    pub(super) outer_pid: AtomicU32,
    /// Who else may use it (`Lease::to_word`).
    pub(super) lease: AtomicU32,
    /// The journal, if there is one.
    pub(super) journal: AtomicPtr<Header>,
    /// The mapping that holds its lock.
    pub(super) held: AtomicPtr<Header>,
    /// There is a journal from before an exec.
    pub(super) has_former: AtomicU32,
    /// The thread that is moving in.
    pub(super) mover: AtomicU32,
    pub(super) cleaning: AtomicU32,
    /// The last clean-up has begun.
    pub(super) is_ending: AtomicU32,
    /// The journal is another process's to clean by now.
    pub(super) given_up: AtomicU32,
    /// The upper end of the stack that a clean-up runs on.
    pub(super) stack: AtomicPtr<u8>,
    /// Random bits for names, each taken out by whoever uses it; 0 where they are used up.
    pub(super) random: [AtomicU64; POOL],
    pub(super) next_random: AtomicU32,
    /// Where the search for closed files goes on.
    pub(super) next_file: AtomicU32,
    /// A file ever got a hidden name.
    pub(super) has_files: AtomicU32,
    /// A directory was recorded of which nothing but the inode number tells it from a later one (`Identity::is_weak`).
    pub(super) has_weak: AtomicU32,
    pub(super) small: Slots,
    pub(super) large: Slots,
}

/// How many names one getrandom(2) is good for.
pub(super) const POOL: usize = 32;

pub(super) const NOBODY: u32 = 0;
pub(super) const MOVING_IN: u32 = 1;
pub(super) const SETTLED: u32 = 2;

impl Page {
    pub(super) fn journal(&self) -> Option<&Header> {
        // SAFETY: null, or a mapping of this process's that is never unmapped.
        unsafe { self.journal.load(Ordering::Relaxed).as_ref() }
    }

    /// With all signals of this thread waiting, one thread at a time, on the stack that is kept for that.
    pub(super) fn alone(&self, work: impl FnOnce()) {
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
    pub(super) fn places(&self) -> impl Iterator<Item = Place<'_>> {
        let given_up = self.given_up.load(Ordering::Relaxed) != 0;
        let used = |slots: &Slots| if given_up { 0 } else { slots.used.load(Ordering::Acquire) };
        let (small, large) = (used(&self.small), used(&self.large));
        (0..small + large).rev().filter_map(move |index| match index.checked_sub(large) {
            Some(index) => self.small.place(&SMALL, index),
            None => self.large.place(&LARGE, index),
        })
    }

    /// Waits for what other threads are just making, which only then can be removed; before the lock is given up, since whoever
    /// gets that believes nothing that is only about to be made. Not for ever: it may be this very thread's, in the middle of
    /// which a signal handler runs. Whether a directory is recorded.
    pub(super) fn wait_for_makers(&self) -> bool {
        let mut patience = 100;
        let mut has_directories = false;
        for place in self.places() {
            while patience > 0 && place.is_in_hand() {
                patience -= 1;
                sys::sleep_a_millisecond();
            }
            if let Some(was) = place.claim_any() {
                has_directories |= place.entry() == Entry::Directory;
                place.put_back(was);
            }
        }
        has_directories
    }

    pub(super) fn forget_double(&self, seen: &Identity) {
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
pub(super) fn is_wiped_on_fork(page: &Page) -> bool {
    let start = core::ptr::from_ref(page).cast_mut().cast();
    // SAFETY: a mapping of our own, all of it, and the advice only concerns what a child gets.
    unsafe { madvise(start, size_of::<Page>(), Advice::LinuxWipeOnFork) }.is_ok()
}
