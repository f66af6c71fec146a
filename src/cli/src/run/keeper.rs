//! A process that stays behind when the program has ended and what it started has not: a daemon may start programs for
//! as long as it lives, and each of their loaders looks for the library. When nobody is left, it cleans up behind them.

use std::fs;
use std::os::fd::RawFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, setsid};

use super::family::Family;
use super::in_use;
use super::place::Place;

/// How long nobody must have been seen before nobody is believed to be there: a process that is just being executed has
/// no environment to be seen by.
const GRACE: Duration = Duration::from_millis(500);

/// How long to wait for a process that cannot be waited for (before Linux 5.3), or is not known.
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };
const SLOWEST: Duration = Duration::from_secs(8);

/// Hands both over to a new process, which removes them when nobody can need them any more.
pub(super) fn start(place: Option<&Place>, family: Option<&Family>) {
    // Where there can be no such process, they stay without a lock, and the next run sees to them.
    // SAFETY: this process has a single thread, so the child may do whatever this one may.
    if unsafe { libc::fork() } == 0 {
        let places = place.iter().flat_map(|place| place.descriptors());
        let families = family.iter().flat_map(|family| family.descriptors());
        detach(&places.chain(families).collect::<Vec<_>>());
        keep(place, family);
        if let Some(family) = family {
            family.end();
        }
        if let Some(place) = place {
            place.remove();
        }
        // SAFETY: _exit(2) ends the process and nothing else: the parent's buffers are not the child's to flush.
        unsafe { libc::_exit(0) }
    }
}

/// Leaves the terminal, the caller's directory, and every descriptor but those that are needed: who reads a pipe to its
/// end would wait for us.
pub(super) fn detach(needed: &[RawFd]) {
    // It was forked, so it leads no process group yet and this cannot fail.
    let _ = setsid();
    let _ = rustix::process::chdir("/");
    let numbers = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let open: Vec<RawFd> = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| !needed.contains(descriptor)) {
        // SAFETY: nothing in this process uses another descriptor again; it ends without running any destructor.
        unsafe { libc::close(descriptor) };
    }
}

/// Returns when nobody is left.
fn keep(place: Option<&Place>, family: Option<&Family>) {
    let mut seen = true;
    let mut pause = GRACE;
    // Without /proc nobody can be seen, now or later.
    while let Some(users) = users(place, family) {
        match users.first() {
            Some(&user) => await_end(user, GRACE),
            None if seen => std::thread::sleep(GRACE),
            None => {
                // Who has changed its environment is known by its journal.
                let Some(&living) = family.map(Family::sweep).unwrap_or_default().first() else { return };
                match Pid::from_raw(living.cast_signed()) {
                    Some(living) => await_end(living, pause),
                    None => std::thread::sleep(pause),
                }
                pause = SLOWEST.min(pause * 2);
            }
        }
        seen = !users.is_empty();
    }
}

fn users(place: Option<&Place>, family: Option<&Family>) -> Option<Vec<Pid>> {
    let mut users = Vec::new();
    if let Some(place) = place {
        users.extend(in_use::users(&place.path)?);
    }
    if let Some(family) = family {
        users.extend(in_use::heirs(family.path())?);
    }
    Some(users)
}

/// Waits for the end of a process, for `otherwise` where it cannot be waited for.
fn await_end(pid: Pid, otherwise: Duration) {
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => {
            // Its end, or the programs it has turned into meanwhile: either way the next look tells.
            let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&PATIENCE));
        }
        Err(_) => std::thread::sleep(otherwise),
    }
}
