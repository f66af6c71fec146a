//! Ctrl-C and its kin, held back until what the demo has made is gone.

use std::cell::Cell;
use std::time::Duration;

use crate::signals::{self, Set};

/// What ends the demo. SIGPIPE is among them, for a reader that goes away early.
const ENDING: [i32; 5] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGPIPE];

/// Signals held back.
#[derive(Debug)]
pub(super) struct Interrupt {
    before: Set,
    seen: Cell<Option<i32>>,
}

impl Interrupt {
    /// Holds them back from here on.
    pub(super) fn hold() -> Self {
        Self { before: signals::block(Set::of(&ENDING)), seen: Cell::new(None) }
    }

    /// The first of them that has come.
    pub(super) fn seen(&self) -> Option<i32> {
        if self.seen.get().is_none() {
            self.seen.set(signals::wait(Set::of(&ENDING), Some(Duration::ZERO)).map(|received| received.signal));
        }
        self.seen.get()
    }

    /// Lets them through again.
    pub(super) fn release(&self) {
        signals::restore(self.before);
    }
}
