//! Calls that come again: before Linux 5.19 any signal takes a program out of a call that was received (S3).

use std::collections::HashMap;
use std::os::fd::AsFd;

use libc::seccomp_notif;
use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;

use crate::job::Replacement;
use crate::listener::Listener;

/// What was done for a call whose program was taken away by a signal before it could be told (before Linux 5.19, where
/// such a call comes again).
pub(crate) struct Interrupted {
    pub(crate) replacement: Option<Replacement>,
}

/// Calls that were done and come again, by thread: what was done must not be done twice (Sydbox's `go mod download` got
/// EEXIST from its own first try).
#[derive(Default)]
pub(crate) struct Unfinished {
    /// Then none comes again.
    killable: bool,
    threads: Mutex<HashMap<u32, Caller>>,
    free: Condvar,
    done: Mutex<HashMap<u32, (Words, Interrupted)>>,
}

/// A thread whose calls are under way.
#[derive(Default)]
struct Caller {
    busy: bool,
    /// Its newest call. All others were taken away by signals.
    newest: u64,
}

/// What tells a call from another of the same thread.
type Words = (i32, [u64; 6]);

fn words(stopped: &seccomp_notif) -> Words {
    (stopped.data.nr, stopped.data.args)
}

impl Unfinished {
    /// `killable` if nothing but a fatal signal interrupts a call that we have seen.
    pub(crate) fn new(killable: bool) -> Self {
        Self { killable, ..Self::default() }
    }

    /// Whether nothing but a fatal signal interrupts a call that we have seen.
    pub(crate) fn is_killable(&self) -> bool {
        self.killable
    }

    /// One call of a thread after the other: the first may still be under way when the thread makes it again. Nothing where
    /// it makes it once more before this one's turn has come: Go's signals would fill all our threads with waiters.
    pub(crate) fn take_turn(&self, stopped: &seccomp_notif) -> Option<Turn<'_>> {
        if self.killable {
            return Some(Turn { of: self, thread: stopped.pid, call: stopped.id });
        }
        let mut threads = self.threads.lock();
        threads.entry(stopped.pid).or_default().newest = stopped.id;
        self.free.notify_all();
        loop {
            let caller = threads.entry(stopped.pid).or_default();
            if caller.newest != stopped.id {
                return None;
            }
            if !caller.busy {
                caller.busy = true;
                return Some(Turn { of: self, thread: stopped.pid, call: stopped.id });
            }
            self.free.wait(&mut threads);
        }
    }

    pub(crate) fn remember(&self, stopped: &seccomp_notif, interrupted: Interrupted) {
        if !self.killable {
            self.done.lock().insert(stopped.pid, (words(stopped), interrupted));
        }
    }

    /// Answers a call that was done before.
    pub(crate) fn finish(&self, stopped: &seccomp_notif, listener: &Listener) -> bool {
        if self.killable {
            return false;
        }
        // Any other call of this thread means that it has given that one up.
        let Some((was, interrupted)) = self.done.lock().remove(&stopped.pid) else { return false };
        if was != words(stopped) {
            return false;
        }
        let id = stopped.id;
        let replaced = interrupted.replacement.as_ref().map(|replacement| {
            listener.replace(id, replacement.number, replacement.file.as_fd(), replacement.close_on_exec)
        });
        if replaced == Some(Err(Errno::NOENT)) || listener.answer(id, Ok(())) == Err(Errno::NOENT) {
            self.remember(stopped, interrupted);
        }
        true
    }
}

pub(crate) struct Turn<'a> {
    of: &'a Unfinished,
    thread: u32,
    call: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.of.killable {
            return;
        }
        let mut threads = self.of.threads.lock();
        if let Some(caller) = threads.get_mut(&self.thread) {
            caller.busy = false;
            // Else the one that waits removes it.
            if caller.newest == self.call {
                threads.remove(&self.thread);
            }
        }
        self.of.free.notify_all();
    }
}
