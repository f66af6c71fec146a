//! From a place to a record: one thing that is about to be made.

use super::may_go_later;
use super::page::Page;
use super::slots::Place;
use crate::clean::Cleaner;
use crate::identity::Identity;
use crate::journal::{BUSY, INTENT, LIVE};
use crate::remove::Outcome;
use core::cell::Cell;
use core::sync::atomic::Ordering;

/// A place for one thing that is about to be made.
#[must_use = "a ticket is confirmed or abandoned"]
pub struct Ticket<'a> {
    pub(super) page: &'a Page,
    pub(super) place: Place<'a>,
    pub(super) announced: Cell<bool>,
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

    /// Whoever was about to make the thing is dead, or could not remove it: removes it, should it be there, now or at the
    /// end. May wait for its filesystem.
    pub fn settle(self) {
        if !self.take_back() {
            return;
        }
        if self.announced.get() {
            let record = self.place.record(INTENT);
            let outcome = Cleaner::default().clean(&record, false);
            if matches!(outcome, Outcome::Stuck(_)) || may_go_later(outcome, &record) {
                return self.place.put_back(INTENT);
            }
        }
        self.place.release();
    }

    /// Makes the slot ours alone again; not where a clean-up in another thread was quicker.
    fn take_back(&self) -> bool {
        !self.announced.get() || self.place.claim(INTENT).is_some()
    }
}
