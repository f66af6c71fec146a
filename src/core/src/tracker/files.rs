//! What is recorded, found again by its path: files that keep a hidden name (T6), and a supervisor's directories.

use super::Tracker;
use super::page::Page;
use super::slots::{LARGE, Place, SMALL};
use crate::clean::remove_if_closed;
use crate::identity::Identity;
use crate::journal::{Entry, LIVE, Record};
use core::sync::atomic::Ordering;

impl Tracker {
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

    /// Hands what is recorded of this directory to `clean`, and forgets it if that says so. Whether there was such a record.
    /// The path does not suffice: a program may have removed one that it made there before. For a supervisor, whose own end
    /// is not that of those it made directories for.
    pub fn settle_directory(&self, path: &[u8], made: &Identity, clean: impl FnOnce(&Record<'_>) -> bool) -> bool {
        for place in self.mine().into_iter().flat_map(Page::places) {
            let Some(was) = place.claim_in_turn() else { continue };
            if place.entry() != Entry::Directory || place.path().to_bytes() != path || place.identity() != *made {
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
}
