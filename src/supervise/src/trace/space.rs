//! What has been mapped into address spaces, and which stacks are in use.

use std::cell::RefCell;
use std::rc::Rc;

use tmpshim_core::parasite::Frame;

use super::machine::{Memory, Room};

/// How many threads can be inside at once, in all address spaces. Others wait.
pub(crate) const STACKS: u32 = 64;
/// Bytes for each, its frame included; scripts/check-parasite says how many are needed. What lies there is only touched as
/// far as it is used.
pub(crate) const STACK: u64 = 32 << 10;

/// One address space. Threads of a process share it.
pub(crate) type Shared = Rc<RefCell<Space>>;

/// What has been mapped into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) stacks: Option<u64>,
    /// Mapped and written behind the stacks: where the code is, they are.
    pub(crate) code: Option<u64>,
    /// It was copied, perhaps before the code was there: fork copies memory first and is heard of later.
    pub(crate) is_doubtful: bool,
    /// The thread that is mapping.
    pub(crate) mapper: Option<u32>,
}

impl Space {
    /// What a copy of it has, as fork makes one.
    pub(crate) fn inherited(&self) -> Shared {
        let copied = self.code.map(|_| Self { is_doubtful: true, mapper: None, ..*self });
        Rc::new(RefCell::new(copied.unwrap_or_default()))
    }

    /// Looks, once, whether a copied one has what it is said to have.
    pub(crate) fn settle(&mut self, is_there: impl FnOnce(u64) -> bool) {
        if std::mem::take(&mut self.is_doubtful) && !self.code.is_some_and(is_there) {
            *self = Self::default();
        }
    }

    /// What a thread finds that wants to go on an errand, if there are free stacks.
    pub(crate) fn room(&self, thread: u32, is_free: bool) -> Room {
        match (self.stacks, self.code) {
            (Some(_), Some(_)) if is_free => Room::Ready,
            (Some(_), Some(_)) => Room::Busy,
            _ if self.mapper.is_some_and(|mapper| mapper != thread) => Room::Busy,
            (None, _) => Room::Without(Memory::Stacks),
            (Some(_), None) => Room::Without(Memory::Code),
        }
    }
}

/// Which stacks are in use. Each of them by one thread only, whatever address space that is in: so nobody has to know
/// who shares which.
#[derive(Debug, Default)]
pub(crate) struct Stacks(u64);

impl Stacks {
    pub(crate) fn has_free(&self) -> bool {
        self.0 != u64::MAX
    }

    pub(crate) fn take(&mut self) -> Option<u32> {
        let free = self.0.trailing_ones();
        (free < STACKS).then(|| {
            self.0 |= 1 << free;
            free
        })
    }

    pub(crate) fn give_back(&mut self, stack: u32) {
        self.0 &= !(1 << stack);
    }
}

/// Where the frame of a stack lies: at its upper end.
pub(crate) fn frame(stacks: u64, stack: u32) -> u64 {
    let end = stacks + (u64::from(stack) + 1) * STACK;
    (end - size_of::<Frame>() as u64) & !63
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_stacks_are_used_by_one_thread_at_a_time() {
        let mut stacks = Stacks::default();
        let taken: Vec<u32> = std::iter::from_fn(|| stacks.take()).collect();
        assert_eq!(taken, (0..STACKS).collect::<Vec<_>>());
        assert!(!stacks.has_free());
        stacks.give_back(17);
        assert_eq!((stacks.take(), stacks.take()), (Some(17), None));
        for stack in 0..STACKS {
            let frame = frame(0x10000, stack);
            assert!(
                frame.is_multiple_of(64)
                    && frame + size_of::<Frame>() as u64 <= 0x10000 + (u64::from(stack) + 1) * STACK
            );
        }
    }

    #[test]
    fn s2_one_thread_maps_and_the_others_wait() {
        let mut space = Space::default();
        assert_eq!(space.room(1, true), Room::Without(Memory::Stacks));
        space.mapper = Some(1);
        assert_eq!((space.room(1, true), space.room(2, true)), (Room::Without(Memory::Stacks), Room::Busy));
        space.stacks = Some(0x1000);
        assert_eq!((space.room(1, true), space.room(2, true)), (Room::Without(Memory::Code), Room::Busy));
        space.code = Some(0x2000);
        assert_eq!((space.room(2, true), space.room(2, false)), (Room::Ready, Room::Busy));
    }

    #[test]
    fn s2_what_fork_has_copied_is_looked_at_before_it_is_used() {
        // The copy may have been made before any of it: nothing tells, so it counts as nothing.
        let half = Space { stacks: Some(0x1000), mapper: Some(1), ..Space::default() };
        assert_eq!(*half.inherited().borrow(), Space::default());
        let whole = Space { code: Some(0x2000), ..half };
        for is_there in [true, false] {
            let copy = whole.inherited();
            let mut looked = Vec::new();
            for _ in 0..2 {
                copy.borrow_mut().settle(|code| {
                    looked.push(code);
                    is_there
                });
            }
            assert_eq!(looked, [0x2000]);
            let expected = if is_there { Space { mapper: None, ..whole } } else { Space::default() };
            assert_eq!(*copy.borrow(), expected);
        }
    }
}
