//! Who keeps the record of what is made: the process itself ([`Tracker`]), or a tracer that it asks.

use crate::identity::Identity;
use crate::name::Name;
use crate::tracker::{self, Entry, Tracker};
use rustix::fd::BorrowedFd;

/// What a stand-in and a publishing need of it.
pub trait Records {
    /// A place for one thing.
    type Ticket<'a>: Ticket
    where
        Self: 'a;

    /// As [`Tracker::announce`].
    fn announce(&self, directory: BorrowedFd<'_>, known: &[u8], name: &Name, entry: Entry) -> Option<Self::Ticket<'_>>;

    /// Whether whoever kept the record is gone. What is made then, nobody removes should its maker be killed: so make nothing.
    fn is_lost(&self) -> bool {
        false
    }

    /// As [`Tracker::reclaim_a_few_files`].
    fn reclaim_a_few_files(&self);

    /// As [`Tracker::mode_of_file`].
    fn mode_of_file(&self, path: &[u8]) -> Option<Option<u32>>;

    /// As [`Tracker::forget_file`].
    fn forget_file(&self, path: &[u8]);
}

/// A place for one thing that was announced.
pub trait Ticket {
    /// The thing was made, and this is it.
    fn confirm(self, made: &Identity);

    /// The thing was not made, or is gone.
    fn abandon(self);

    /// The thing was made, and nobody can tell what it is: what was announced holds on.
    fn leave(self);
}

impl Records for Tracker {
    type Ticket<'a> = tracker::Ticket<'a>;

    #[inline]
    fn announce(&self, directory: BorrowedFd<'_>, known: &[u8], name: &Name, entry: Entry) -> Option<Self::Ticket<'_>> {
        self.announce(directory, known, name, entry)
    }

    #[inline]
    fn reclaim_a_few_files(&self) {
        self.reclaim_a_few_files();
    }

    #[inline]
    fn mode_of_file(&self, path: &[u8]) -> Option<Option<u32>> {
        self.mode_of_file(path)
    }

    #[inline]
    fn forget_file(&self, path: &[u8]) {
        self.forget_file(path);
    }
}

impl Ticket for tracker::Ticket<'_> {
    #[inline]
    fn confirm(self, made: &Identity) {
        self.confirm(made);
    }

    #[inline]
    fn abandon(self) {
        self.abandon();
    }

    #[inline]
    fn leave(self) {
        self.leave();
    }
}
