//! Places in the journal for a call that is answered with somebody else's rights.

use tmpshim_core::journal::Entry;
use tmpshim_core::tracker::{Ticket, Tracker};

/// Places for what a call may announce, since the journal can only be made, and grow, while we are ourselves: dropped by a
/// thread just before it takes as many, there are always enough for all.
pub(crate) struct Room([Option<Ticket<'static>>; 4]);

impl Room {
    pub(crate) fn make(tracker: Option<&'static Tracker>) -> Self {
        let long = [b'/'; 1000];
        let place = |path: &[u8]| tracker.and_then(|tracker| tracker.reserve(path, Entry::File { mode: None }));
        Self([place(b"/"), place(b"/"), place(&long), place(&long)])
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        for ticket in self.0.iter_mut().filter_map(Option::take) {
            ticket.abandon();
        }
    }
}
