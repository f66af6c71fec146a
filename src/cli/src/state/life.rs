//! Whether anybody still needs what a journal holds, also where it comes from another PID namespace (D3, D7).

use std::fs;
use std::os::unix::fs::MetadataExt;

use tmpshim_core::journal::{Header, Journal, Life};
use tmpshim_core::kin::{self, Process};

/// The inode of the PID namespace that the machine started with (`PROC_PID_INIT_INO` of linux/proc_ns.h).
const INITIAL: u64 = 0xefff_fffc;

/// What is known of the processes of a journal whose lock is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Dead,
    Alive,
    /// They cannot be seen from here.
    Hidden,
}

/// Looks for them. The calling process counts as anybody does.
pub(crate) fn of(journal: &Journal) -> Verdict {
    match journal.life(&Process::new(0, 0), kin::pid_namespace()) {
        Life::Dead => Verdict::Dead,
        Life::Alive | Life::Former => Verdict::Alive,
        Life::Unknown => elsewhere(journal.header(), &Seen::look()),
    }
}

/// A process as /proc shows it.
#[derive(Clone, Debug)]
struct Shown {
    /// Its PID namespace; nothing where this user may not know.
    namespace: Option<u64>,
    /// Its number in there.
    pid: u32,
    start: u64,
    /// Its clock is not ours: start times cannot be compared.
    other_clock: bool,
}

/// All processes that can be seen.
struct Seen {
    all: Vec<Shown>,
    /// There are no others.
    complete: bool,
}

impl Seen {
    fn look() -> Self {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let own_clock = fs::metadata("/proc/self/ns/time").map(|clock| clock.ino()).ok();
        let all = numbers.filter_map(|number| Shown::read(number, own_clock)).collect();
        // Where /proc hides processes, the first one is hidden from all but root; where it is another namespace's, it
        // speaks of others.
        let complete = kin::pid_namespace() == INITIAL
            && kin::number_in_proc() == std::process::id()
            && fs::read("/proc/1/stat").is_ok();
        Self { all, complete }
    }
}

impl Shown {
    fn read(number: u32, own_clock: Option<u64>) -> Option<Self> {
        let seen = kin::status(number).filter(|seen| !seen.is_zombie)?;
        let status = fs::read(format!("/proc/{number}/status")).ok()?;
        let line = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"NSpid:"));
        // Before Linux 4.1 there is no such line; then only the number here is known.
        let pid = line.and_then(|line| str::from_utf8(line).ok()?.split_whitespace().next_back()?.parse().ok());
        let of = |what: &str| fs::metadata(format!("/proc/{number}/ns/{what}")).map(|namespace| namespace.ino()).ok();
        Some(Self {
            namespace: of("pid"),
            pid: pid.unwrap_or(number),
            start: seen.start,
            other_clock: of("time") != own_clock,
        })
    }

    fn may_be(&self, wanted: &Process, namespace: u64) -> bool {
        let same_namespace = namespace == 0 || self.namespace.is_none_or(|shown| shown == namespace);
        let same_start =
            wanted.start == 0 || self.start == wanted.start || self.namespace.is_some() && self.other_clock;
        same_namespace && same_start && self.pid == wanted.pid
    }
}

/// A journal from another PID namespace.
fn elsewhere(header: &Header, seen: &Seen) -> Verdict {
    let owner = (!header.has_ended()).then(|| header.owner());
    let mut wanted = header.holders().chain(owner);
    let namespace = header.pid_namespace();
    if wanted.any(|wanted| seen.all.iter().any(|shown| shown.may_be(&wanted, namespace))) {
        Verdict::Alive
    } else if seen.complete {
        Verdict::Dead
    } else {
        Verdict::Hidden
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(namespace: Option<u64>) -> Shown {
        Shown { namespace, pid: 7, start: 100, other_clock: false }
    }

    #[test]
    fn d7_a_process_of_another_namespace_is_known_by_number_start_and_namespace() {
        let process = shown(Some(5));
        assert!(process.may_be(&Process::new(7, 100), 5));
        assert!(process.may_be(&Process::new(7, 0), 5) && process.may_be(&Process::new(7, 100), 0));
        assert!(!process.may_be(&Process::new(7, 100), 6));
        assert!(!process.may_be(&Process::new(8, 100), 5) && !process.may_be(&Process::new(7, 101), 5));
        // Nothing is removed for what cannot be known.
        assert!(shown(None).may_be(&Process::new(7, 100), 5));
        assert!(Shown { other_clock: true, ..process }.may_be(&Process::new(7, 101), 5));
    }

    #[test]
    fn d7_this_process_is_seen() {
        let own = Process::current();
        let seen = Seen::look();
        assert!(seen.all.iter().any(|shown| shown.may_be(&own, kin::pid_namespace())));
    }
}
