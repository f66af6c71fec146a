//! Programs that shut themselves in by Landlock. The kernel shows nobody what such a process may not do any more, so from
//! then on it gets the kernel's own answers to all its calls: otherwise we would do for it what it has given up (S2).

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tmpshim_core::kin::{self, Process};

use crate::target::Status;

/// Who did so.
#[derive(Default)]
pub(crate) struct Sandboxes {
    /// When the first was started that did; 0 where none has.
    since: AtomicU64,
    inside: Mutex<Vec<Process>>,
}

impl Sandboxes {
    /// A thread is about to shut itself in.
    pub(crate) fn add(&self, thread: u32) {
        let Some(status) = Status::of(thread) else { return };
        let start = kin::status(status.process).map_or(1, |seen| seen.start.max(1));
        let mut inside = self.inside.lock();
        // Those that have ended: whoever they have started is an orphan by now.
        inside.retain(Process::is_alive);
        inside.push(Process::new(status.process, start));
        let since = self.since.load(Ordering::Relaxed);
        if since == 0 || start < since {
            self.since.store(start, Ordering::Release);
        }
    }

    /// Whether a process may be inside: itself, an ancestor of it, or, where its ancestors have ended, perhaps one of those.
    /// `main` is the program that our own process has started.
    pub(crate) fn may_hold(&self, process: u32, main: u32) -> bool {
        let since = self.since.load(Ordering::Acquire);
        if since == 0 {
            return false;
        }
        let inside = self.inside.lock();
        let mut pid = process;
        loop {
            let Some(seen) = kin::status(pid) else { return true };
            if inside.contains(&Process::new(pid, seen.start)) {
                return true;
            }
            if pid == main || seen.parent <= 1 {
                return false;
            }
            if seen.parent == std::process::id() {
                // An orphan.
                return seen.start >= since;
            }
            pid = seen.parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn s2_whoever_is_inside_and_what_it_has_started_is_told_from_others() {
        let sandboxes = Sandboxes::default();
        let start = |name: &str| Command::new(name).stdin(Stdio::piped()).spawn().unwrap();
        let (mut first, mut second) = (start("cat"), start("cat"));
        assert!(!sandboxes.may_hold(first.id(), first.id()));
        sandboxes.add(first.id());
        assert!(sandboxes.may_hold(first.id(), first.id()));
        // Ours, and so either the program itself or an orphan that may be of the first.
        assert!(!sandboxes.may_hold(second.id(), second.id()));
        assert!(sandboxes.may_hold(second.id(), first.id()));
        assert!(sandboxes.may_hold(0, first.id()), "who cannot be seen may be anybody");
        for child in [&mut first, &mut second] {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }
}
