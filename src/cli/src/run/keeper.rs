//! A process that stays behind when the program has ended and what it started has not: a daemon may start programs for
//! as long as it lives, and each of their loaders looks for the library.

use std::fs;
use std::os::fd::RawFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, setsid};

use super::in_use;
use super::place::Place;

/// How long nobody must have been seen before nobody is believed to be there: a process that is just being executed has
/// no environment to be seen by.
const GRACE: Duration = Duration::from_millis(500);

/// How long to wait for a process that cannot be waited for (before Linux 5.3).
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// Hands `place` over to a new process, which removes it when nobody can need it any more.
pub(super) fn start(place: &Place) {
    // Where there can be no such process, the directory stays without a lock, and the next run sees to it.
    // SAFETY: this process has a single thread, so the child may do whatever this one may.
    if unsafe { libc::fork() } == 0 {
        detach(place);
        keep(&place.path);
        place.remove();
        // SAFETY: _exit(2) ends the process and nothing else: the parent's buffers are not the child's to flush.
        unsafe { libc::_exit(0) }
    }
}

/// Leaves the terminal, the caller's directory, and every descriptor but those of `place`: who reads a pipe to its end
/// would wait for us.
fn detach(place: &Place) {
    // It was forked, so it leads no process group yet and this cannot fail.
    let _ = setsid();
    let _ = rustix::process::chdir("/");
    let numbers = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let open: Vec<RawFd> = numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| !place.descriptors().contains(descriptor)) {
        // SAFETY: nothing in this process uses another descriptor again; it ends without running any destructor.
        unsafe { libc::close(descriptor) };
    }
}

fn keep(directory: &Path) {
    let mut seen = true;
    // Without /proc nobody can be seen, now or later.
    while let Some(users) = in_use::users(directory) {
        match users.first() {
            Some(&user) => await_end(user),
            None if seen => std::thread::sleep(GRACE),
            None => return,
        }
        seen = !users.is_empty();
    }
}

fn await_end(pid: Pid) {
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => {
            // Its end, or the programs it has turned into meanwhile: either way the next look tells.
            let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&PATIENCE));
        }
        Err(_) => std::thread::sleep(GRACE),
    }
}
