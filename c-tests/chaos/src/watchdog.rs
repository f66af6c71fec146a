//! Ends what does not end by itself.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const TICK: Duration = Duration::from_millis(500);

#[derive(Default)]
struct Clock {
    deadline: Option<Instant>,
    has_struck: bool,
}

/// A thread that waits until a deadline has passed, and then ends all descendants of this process.
pub(crate) struct Watchdog(Arc<Mutex<Clock>>);

impl Watchdog {
    pub(crate) fn start() -> Self {
        let shared = Arc::new(Mutex::new(Clock::default()));
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            let mut clock = theirs.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                let now = Instant::now();
                if clock.deadline.is_some_and(|deadline| deadline <= now) {
                    // Again and again, until nobody is left.
                    clock.has_struck = true;
                    end_all_below(std::process::id());
                }
                // Nobody wakes it for each program: what is a second late is early enough.
                drop(clock);
                thread::sleep(TICK);
                clock = theirs.lock().unwrap_or_else(PoisonError::into_inner);
            }
        });
        Self(shared)
    }

    pub(crate) fn set(&self, time: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Clock { deadline: Some(Instant::now() + time), has_struck: false };
    }

    /// Whether it had to end anything.
    pub(crate) fn clear(&self) -> bool {
        let mut clock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clock.deadline = None;
        clock.has_struck
    }
}

fn end_all_below(process: u32) {
    for thread in fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            end_all_below(child);
            if let Some(pid) = Pid::from_raw(child as i32) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}
