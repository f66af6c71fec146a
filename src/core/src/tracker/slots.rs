//! Slots: where the things stand that a process has made, in its journal or, where that cannot be, in memory of its own.
//!
//! A slot is one small state machine. Whoever wants to touch one takes it by compare-and-swap; nobody ever waits, so a
//! signal handler may interrupt anything here. What is in a slot at any instant is what a sweep would find after SIGKILL.

use crate::identity::{self, Identity};
use crate::journal::{
    BUSY, Entry, FREE, Header, INTENT, INTENT_HELD, LIVE, LIVE_HELD, Record, Slot, sum, sum_identity,
};
use crate::journal::{LARGE as LARGE_SIZE, SMALL as SMALL_SIZE};
use crate::mapping::Mapping;
use crate::sys;
use crate::text::until_nul;
use core::ffi::CStr;
use core::num::NonZeroU32;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mm::Advice;

/// How the slots of one size are laid out: segment k holds `first << k` of them.
pub(super) struct Shape {
    size: usize,
    first: NonZeroU32,
}

impl Shape {
    pub(super) const fn room(&self) -> usize {
        self.size - size_of::<Slot>()
    }

    fn segment_of(&self, index: u32) -> u32 {
        (index / self.first).saturating_add(1).checked_ilog2().unwrap_or(0)
    }
}

/// For most paths: the first segment is 16 KiB.
pub(super) const SMALL: Shape = Shape { size: SMALL_SIZE, first: NonZeroU32::new(64).unwrap() };
/// For any path that one system call takes: 32 KiB.
pub(super) const LARGE: Shape = Shape { size: LARGE_SIZE, first: NonZeroU32::new(7).unwrap() };
const SEGMENTS: usize = 22;

/// Slots of one size. All zero is empty.
#[repr(C)]
pub(super) struct Slots {
    pub(super) segments: [AtomicPtr<u8>; SEGMENTS],
    /// Slots handed out so far, free ones included.
    pub(super) used: AtomicU32,
    /// Somebody is looking for slots whose directory the program removed by itself.
    reclaiming: AtomicU32,
    /// Top of the free list: a counter against ABA, and the index plus one.
    free: AtomicU64,
}

#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    slots: &'a Slots,
    shape: &'static Shape,
    index: u32,
    slot: NonNull<Slot>,
}

impl Slots {
    /// A slot for the caller alone, in state `BUSY`.
    #[inline(never)]
    pub(super) fn take(&self, shape: &'static Shape, journal: Option<&Header>) -> Option<Place<'_>> {
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
                self.grow(shape, used, journal)?;
            }
            if self.used.compare_exchange(used, used + 1, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                let place = self.place(shape, used)?;
                place.state().store(BUSY, Ordering::Release);
                return Some(place);
            }
        }
    }

    pub(super) fn place(&self, shape: &'static Shape, index: u32) -> Option<Place<'_>> {
        let segment = shape.segment_of(index);
        let before = shape.first.get() * ((1 << segment) - 1);
        let start = NonNull::new(self.segments.get(segment as usize)?.load(Ordering::Acquire))?;
        let offset = (index - before) as usize * shape.size;
        // SAFETY: segment k holds `first << k` slots, of which this is number `index - before`.
        let slot = unsafe { start.add(offset) }.cast();
        Some(Place { slots: self, shape, index, slot })
    }

    /// In the journal. Where that cannot grow, in memory that nobody finds after a SIGKILL.
    fn grow(&self, shape: &'static Shape, used: u32, journal: Option<&Header>) -> Option<()> {
        let segment = shape.segment_of(used);
        let pointer = self.segments.get(segment as usize)?;
        let count = shape.first.get() << segment;
        let fresh = match journal.and_then(|journal| journal.extend(shape.size, count)) {
            Some(start) => start,
            None => Mapping::for_this_process(shape.size * count as usize, Advice::LinuxDontFork).ok()?.leak(),
        };
        // Where another thread was quicker, these slots are never used.
        let _ = pointer.compare_exchange(null_mut(), fresh.as_ptr(), Ordering::AcqRel, Ordering::Acquire);
        Some(())
    }

    /// Frees the slots of what the program has removed by itself. Says whether that were enough to go on with: at least
    /// a quarter, so that the cost of looking is spread over as many new ones. A program that removes nothing by itself
    /// pays for a few looks only, spread over all slots.
    fn reclaim(&self, shape: &'static Shape, used: u32) -> bool {
        const SAMPLE: u32 = 8;
        if used == 0 || self.reclaiming.swap(1, Ordering::AcqRel) != 0 {
            return false;
        }
        let sampled = self.free_what_is_gone(shape, used, NonZeroU32::new(used / SAMPLE).unwrap_or(NonZeroU32::MIN));
        let freed = if sampled == 0 { 0 } else { sampled + self.free_what_is_gone(shape, used, NonZeroU32::MIN) };
        self.reclaiming.store(0, Ordering::Release);
        freed != 0 && freed >= used / 4
    }

    /// Looks at one in `distance` of the `used` slots. Says how many it freed.
    #[inline(never)]
    fn free_what_is_gone(&self, shape: &'static Shape, used: u32, distance: NonZeroU32) -> u32 {
        let mut freed = 0;
        let indexes = (0..used.div_ceil(distance.get())).map(|number| number * distance.get());
        for place in indexes.filter_map(|index| self.place(shape, index)) {
            let Some(was) = place.claim(LIVE) else { continue };
            let gone = match identity::at(CWD, place.path()) {
                // A file's name is nobody else's, and its number may change (mergerfs).
                Ok(seen) => place.entry() == Entry::Directory && seen.identity.is_other_than(&place.identity()),
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

    /// Takes it from `LIVE` or `INTENT`, and says so.
    pub(super) fn claim(&self, from: u32) -> Option<u32> {
        let held = if from == LIVE { LIVE_HELD } else { INTENT_HELD };
        self.state().compare_exchange(from, held, Ordering::AcqRel, Ordering::Acquire).ok()
    }

    /// Takes it from `LIVE`; where another thread has it, which only looks whether the file is open, once that is done. Not
    /// for ever: it may be this very one, in the middle of which a signal handler runs.
    pub(super) fn claim_in_turn(&self) -> Option<u32> {
        for _ in 0..500 {
            let claimed = self.claim(LIVE);
            if claimed.is_some() || self.state().load(Ordering::Acquire) != LIVE_HELD {
                return claimed;
            }
            sys::sleep_a_millisecond();
        }
        None
    }

    /// Whether somebody is about to make what it says, or has it for a moment.
    pub(super) fn is_in_hand(&self) -> bool {
        !matches!(self.state().load(Ordering::Acquire), FREE | LIVE)
    }

    pub(super) fn claim_any(&self) -> Option<u32> {
        self.claim(LIVE).or_else(|| self.claim(INTENT))
    }

    pub(super) fn put_back(&self, state: u32) {
        self.state().store(state, Ordering::Release);
    }

    pub(super) fn release(&self) {
        self.put_back(FREE);
        self.slots.push(self);
    }

    /// Of a slot that the caller has claimed.
    pub(super) fn entry(&self) -> Entry {
        // SAFETY: the caller has claimed the slot.
        Entry::decode(unsafe { (*self.slot.as_ptr()).entry })
    }

    pub(super) fn set_entry(&self, entry: Entry) {
        // SAFETY: the caller has claimed the slot.
        unsafe { (*self.slot.as_ptr()).entry = entry.encode() };
    }

    pub(super) fn identity(&self) -> Identity {
        // SAFETY: the caller has claimed the slot.
        unsafe { (*self.slot.as_ptr()).identity }
    }

    pub(super) fn set_identity(&self, made: &Identity) {
        // SAFETY: the caller has claimed the slot.
        unsafe {
            (*self.slot.as_ptr()).identity = *made;
            (*self.slot.as_ptr()).identity_sum = sum_identity(made);
        }
    }

    /// What it says, to one who has claimed it from state `was`.
    pub(super) fn record(&self, was: u32) -> Record<'a> {
        Record { path: self.path(), entry: self.entry(), made: (was == LIVE).then(|| self.identity()) }
    }

    pub(super) fn path(&self) -> &'a CStr {
        // SAFETY: the caller has claimed the slot; `write` has put `length` bytes and a NUL behind the fixed part.
        let bytes = unsafe {
            let length = (*self.slot.as_ptr()).length as usize + 1;
            core::slice::from_raw_parts(self.slot.as_ptr().add(1).cast::<u8>(), length.min(self.shape.room()))
        };
        until_nul(bytes).unwrap_or(c"")
    }

    pub(super) fn write(&self, path: &[u8], entry: Entry) {
        let length = path.len().min(self.shape.room() - 1);
        // SAFETY: the caller has claimed the slot; `length` bytes and a NUL fit behind the fixed part.
        unsafe {
            let slot = self.slot.as_ptr();
            (*slot).entry = entry.encode();
            (*slot).length = length as u32;
            (*slot).path_sum = sum(path.get(..length).unwrap_or(path));
            let text = slot.add(1).cast::<u8>();
            core::ptr::copy_nonoverlapping(path.as_ptr(), text, length);
            *text.add(length) = 0;
        }
    }
}
