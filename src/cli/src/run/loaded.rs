//! Whether the library that a program was given is in it: a loader ignores what it cannot load, and the operator would
//! believe that all is well.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::library::NAME;

/// When to look, after the start: loading takes some milliseconds, on a bad day much longer.
const LOOKS: [Duration; 4] =
    [Duration::from_millis(30), Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(5)];

/// One program that is watched until its library has been seen.
#[derive(Debug)]
pub(super) struct Verification {
    pid: Pid,
    started: Instant,
    looks: usize,
}

/// What its memory shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Loaded,
    /// A dynamic program without it.
    Missing,
    /// Not there any more, not ours to look at, or a program that no library is loaded into.
    Unknown,
}

impl Verification {
    pub(super) fn begin(pid: Pid) -> Self {
        Self { pid, started: Instant::now(), looks: 0 }
    }

    /// How long to wait before the next look; nothing where none is to come.
    pub(super) fn patience(&self) -> Option<Duration> {
        Some(LOOKS.get(self.looks)?.saturating_sub(self.started.elapsed()))
    }

    /// Looks, if it is time, and says what is wrong at the last one.
    pub(super) fn look(&mut self) {
        if self.patience() != Some(Duration::ZERO) {
            return;
        }
        self.looks += 1;
        let path = format!("/proc/{}/maps", self.pid.as_raw_nonzero());
        match seen(&fs::read(path).unwrap_or_default()) {
            Seen::Loaded => self.looks = LOOKS.len(),
            Seen::Missing if self.looks == LOOKS.len() => {
                let program = fs::read_link(format!("/proc/{}/exe", self.pid.as_raw_nonzero()));
                anstream::eprintln!(
                    "tmpshim: warning: {NAME} was not loaded into {} (process {}): its loader refused it or the program \
                     has cleared LD_PRELOAD; its mkdtemp directories are not tracked",
                    program.unwrap_or_else(|_| PathBuf::from("the program")).display(),
                    self.pid.as_raw_nonzero()
                );
            }
            Seen::Missing | Seen::Unknown => {}
        }
    }
}

/// Reads `/proc/PID/maps`.
fn seen(maps: &[u8]) -> Seen {
    let has = |name: &[u8]| maps.windows(name.len()).any(|window| window == name);
    if has(NAME.as_bytes()) {
        Seen::Loaded
    } else if has(b"/libc.so.6") || has(b"/ld-musl-") || has(b"/libc-2.") {
        Seen::Missing
    } else {
        Seen::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s7_a_library_is_seen_in_the_memory_of_its_program() {
        let line = |name: &str| format!("7f0000000000-7f0000001000 r-xp 00000000 00:20 77 {name}\n");
        let text = |names: &[&str]| names.iter().map(|name| line(name)).collect::<String>();
        for (names, expected) in [
            (&["/usr/bin/perl", "/usr/lib/libc.so.6", "/x/libtmpshim.so"][..], Seen::Loaded),
            (&["/usr/bin/perl", "/usr/lib/libc.so.6", "/memfd:libtmpshim.so (deleted)"], Seen::Loaded),
            (&["/usr/bin/perl", "/usr/lib/libc.so.6"], Seen::Missing),
            (&["/bin/busybox", "/lib/ld-musl-x86_64.so.1"], Seen::Missing),
            (&["/usr/bin/clair"], Seen::Unknown),
            (&[], Seen::Unknown),
        ] {
            assert_eq!(seen(text(names).as_bytes()), expected, "{names:?}");
        }
    }

    #[test]
    fn s7_looks_come_one_after_the_other_and_end() {
        let mut verification = Verification::begin(rustix::process::getpid());
        assert!(verification.patience().is_some());
        verification.started = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
        for _ in 0..LOOKS.len() {
            verification.look();
        }
        assert_eq!(verification.patience(), None);
    }
}
