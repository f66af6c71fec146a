//! What the tracer is asked for: its journal outlives this program.

use core::cell::Cell;
use core::mem::MaybeUninit;
use rustix::fd::{AsRawFd, BorrowedFd};
use tmpshim_core::identity::Identity;
use tmpshim_core::name::Name;
use tmpshim_core::parasite::{Announcement, Confirmation, NO, NO_MODE, Place, Trap};
use tmpshim_core::records::{self, Records};
use tmpshim_core::sys;
use tmpshim_core::text::PATH_MAX;
use tmpshim_core::tmpfile::plan::{QUESTION_DIRECTORY, QUESTION_FLAGS};
use tmpshim_core::tracker::Entry;

/// The tracer, as far as this errand has to do with it.
pub(crate) struct Overseer {
    abandoned: Cell<u32>,
    is_lost: Cell<bool>,
}

/// A place in the tracer's journal.
pub(crate) struct Ticket<'a> {
    overseer: &'a Overseer,
    number: u32,
}

impl Overseer {
    pub(crate) fn new() -> Self {
        Self { abandoned: Cell::new(0), is_lost: Cell::new(false) }
    }

    /// Bit n: ticket n was given back.
    pub(crate) fn abandoned(&self) -> u32 {
        self.abandoned.get()
    }

    /// Asks for a place for `name` in `directory`.
    #[inline(never)]
    pub(crate) fn announce_name(
        &self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        entry: Entry,
        removable: bool,
    ) -> Option<Ticket<'_>> {
        let (entry, mode) = match entry {
            Entry::File { mode } => (1, mode.map_or(-1, |mode| mode as i32)),
            Entry::Directory => (2, -1),
        };
        let mut announcement = Announcement {
            directory: directory.as_raw_fd(),
            entry,
            mode,
            removable: removable.into(),
            length: name.len() as u32,
            name: [0; 256],
        };
        fill(&mut announcement.name, name)?;
        let number = self.ask(Trap::Announce, &announcement).and_then(|answer| u32::try_from(answer).ok())?;
        (number < u32::BITS).then_some(Ticket { overseer: self, number })
    }

    #[inline(never)]
    fn ask_of_place(&self, trap: Trap, path: &[u8]) -> Option<i64> {
        let mut place = Place { length: path.len() as u32, path: [0; PATH_MAX] };
        fill(&mut place.path, path)?;
        self.ask(trap, &place)
    }

    /// Nothing where the answer is no, or there is no tracer any more.
    fn ask<T>(&self, trap: Trap, about: &T) -> Option<i64> {
        let arguments = [
            QUESTION_DIRECTORY as isize as usize,
            0,
            QUESTION_FLAGS as usize,
            core::ptr::from_ref(about).expose_provenance(),
            trap as usize,
            0,
        ];
        // SAFETY: an open of the null path, which the kernel refuses; the tracer only reads what it is about.
        let answer = unsafe { sys::raw(libc::SYS_openat, arguments.map(MaybeUninit::new)) };
        let answer = answer as i64;
        if answer < 0 && answer != NO {
            self.is_lost.set(true);
        }
        (answer >= 0).then_some(answer)
    }
}

impl Records for Overseer {
    type Ticket<'a> = Ticket<'a>;

    fn announce(&self, directory: BorrowedFd<'_>, _known: &[u8], name: &Name, entry: Entry) -> Option<Ticket<'_>> {
        self.announce_name(directory, name.as_bytes(), entry, true)
    }

    fn is_lost(&self) -> bool {
        self.is_lost.get()
    }

    /// The tracer does that by itself.
    fn reclaim_a_few_files(&self) {}

    fn mode_of_file(&self, path: &[u8]) -> Option<Option<u32>> {
        let mode = self.ask_of_place(Trap::ModeOfFile, path)?;
        Some(if mode == NO_MODE { None } else { u32::try_from(mode).ok() })
    }

    fn forget_file(&self, path: &[u8]) {
        self.ask_of_place(Trap::ForgetFile, path);
    }
}

impl records::Ticket for Ticket<'_> {
    fn confirm(self, made: &Identity) {
        self.overseer.ask(Trap::Confirm, &Confirmation { ticket: self.number, padding: 0, identity: *made });
    }

    /// Said with the answer: until then whoever looks finds nothing there, and no harm is done.
    fn abandon(self) {
        self.overseer.abandoned.set(self.overseer.abandoned() | 1 << self.number);
    }

    /// The tracer sees to what nobody has given back.
    fn leave(self) {}
}

/// Nothing where it does not fit.
fn fill(room: &mut [u8], text: &[u8]) -> Option<()> {
    // No `copy_from_slice`, which brings a panic path.
    for (to, from) in room.iter_mut().zip(text) {
        *to = *from;
    }
    (text.len() <= room.len()).then_some(())
}
