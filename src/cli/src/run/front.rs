//! The process that was asked to run the program, where an overseer is between them.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, wait, waitpid};

use super::OWN_FAILURE;
use super::child::{Child, End, end_of};
use super::loaded::Verification;
use super::news::{News, handle_of};
use crate::signals::{self, Set};

/// The overseer, as seen from here.
pub(super) struct Front {
    pub(super) overseer: Pid,
    pub(super) news: OwnedFd,
}

/// How the program ended, and whether somebody else sees to what it has left.
pub(super) struct Ended {
    pub(super) end: End,
    pub(super) is_seen_to: bool,
}

/// Why there was no program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unbegun {
    /// It could not be started, by this errno.
    NotStarted(i32),
    /// Nobody could trace it, by this errno.
    NotTraced(i32),
    /// The overseer was killed before.
    Killed,
}

impl Front {
    /// Passes signals on until the program has ended. `verify` is told which process it is.
    ///
    /// # Errors
    /// Why there was none.
    pub(super) fn end(self, verify: impl FnOnce(Pid) -> Option<Verification>) -> Result<Ended, Unbegun> {
        let program = match News::receive(self.news.as_fd()) {
            Some(News::Started(pid)) => pid,
            Some(News::NotStarted(errno)) => return Err(Unbegun::NotStarted(errno)),
            _ => return Err(Unbegun::Killed),
        };
        let mut verification = verify(program);
        // The program has not ended yet, or nobody has asked how.
        let handle = handle_of(program);
        let Ok(signals) = signals::descriptor(Set::ALL) else { return Ok(self.without_overseer(program, None)) };
        let mut end = None;
        // As it was when we stopped with it.
        let mut stopped: Option<Stopped> = None;
        loop {
            let mut watched = [PollFd::new(&signals, PollFlags::IN), PollFd::new(&self.news, PollFlags::IN)];
            let patience = verification.as_ref().and_then(Verification::patience);
            let patience =
                patience.map(|time| Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() });
            if poll(&mut watched, patience.as_ref()) == Err(Errno::INTR) {
                continue;
            }
            let has_news = !watched[1].revents().is_empty();
            if let Some(verification) = &mut verification {
                verification.look();
            }
            while let Some(received) = signals::take(Set::ALL) {
                // What continued us was sent to the group, if it has continued the program as well. Once more, and later, it
                // might undo a stop that has come since.
                let continued = received.signal == libc::SIGCONT;
                let is_done = continued && stopped.take().is_some_and(|was| Stopped::of(program) != Some(was));
                if received.is_to_be_passed_on && !is_done {
                    match &handle {
                        Some(handle) => signals::send_to(handle.as_fd(), received.signal),
                        None => signals::send(program, received.signal),
                    }
                }
            }
            // As PID 1 we get orphans of whoever enters the namespace from outside; after the overseer's death, the program.
            while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
                if pid == program {
                    end = end_of(status);
                }
            }
            let mut stopped_by = None;
            let mut has_more = has_news;
            while has_more {
                match News::receive(self.news.as_fd()) {
                    Some(News::Stopped(signal)) => stopped_by = Some(signal),
                    Some(News::Ended(end, alone)) => {
                        if alone {
                            let _ = waitpid(Some(self.overseer), WaitOptions::empty());
                        }
                        return Ok(Ended { end, is_seen_to: true });
                    }
                    Some(News::NoSupervisor) => {
                        anstream::eprintln!(
                            "tmpshim: warning: the supervisor could not begin; O_TMPFILE fails in the program"
                        );
                    }
                    Some(News::NotStarted(errno)) => {
                        let _ = waitpid(Some(self.overseer), WaitOptions::empty());
                        return Err(Unbegun::NotStarted(errno));
                    }
                    Some(News::NotTraced(errno)) => {
                        let _ = waitpid(Some(self.overseer), WaitOptions::empty());
                        return Err(Unbegun::NotTraced(errno));
                    }
                    Some(News::HasEnded(known)) => end = Some(known),
                    Some(News::Started(_)) => {}
                    None => return Ok(self.without_overseer(program, end)),
                }
                // We may have been continued only now, with old news in hand, and a newer stop just on its way.
                has_more = is_ready(&self.news, if stopped_by.is_some() { MOMENT } else { Duration::ZERO });
            }
            // News may be older than what has continued both.
            if let Some(signal) = stopped_by
                && let Some(seen) = Stopped::settled(program)
            {
                stopped = Some(seen);
                if signals::stop_by(signal) {
                    stopped = None;
                    signals::send(program, libc::SIGCONT);
                }
            }
        }
    }

    /// It was killed, and the program is our own child; or nobody could wait for both, and all is over.
    fn without_overseer(self, program: Pid, end: Option<End>) -> Ended {
        let _ = waitpid(Some(self.overseer), WaitOptions::empty());
        let mut end = end;
        while let Some(news) = News::receive(self.news.as_fd()) {
            if let News::HasEnded(known) | News::Ended(known, _) = news {
                end = Some(known);
            }
        }
        let child = Child::of(program);
        // Told of it before it was reaped, we know.
        let unknown = || if child.is_ours() { child.end(None) } else { End::Status(OWN_FAILURE) };
        Ended { end: end.unwrap_or_else(unknown), is_seen_to: false }
    }
}

/// How long the overseer takes at most, on a good day, to see that the program has stopped once more.
const MOMENT: Duration = Duration::from_millis(5);

/// Whether something can be read within that time.
fn is_ready(descriptor: &OwnedFd, patience: Duration) -> bool {
    let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
    poll(&mut [PollFd::new(descriptor, PollFlags::IN)], Some(&patience)) == Ok(1)
}

/// A process that a signal has stopped, or that is traced. Two of them are equal where it has not run in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stopped {
    /// How often it has gone to sleep.
    sleeps: u64,
}

impl Stopped {
    /// As [`Self::of`], once it has really gone to sleep: it is said to be stopped an instant before.
    fn settled(process: Pid) -> Option<Self> {
        let mut seen = Self::of(process)?;
        for _ in 0..50 {
            std::thread::sleep(Duration::from_millis(1));
            let again = Self::of(process)?;
            if again == seen {
                break;
            }
            seen = again;
        }
        Some(seen)
    }

    /// Nothing where it runs.
    fn of(process: Pid) -> Option<Self> {
        let text = std::fs::read(format!("/proc/{}/status", process.as_raw_nonzero())).ok()?;
        let text = String::from_utf8_lossy(&text);
        let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let is_stopped = line("State:")?.starts_with(['T', 't']);
        is_stopped.then_some(Self { sleeps: line("voluntary_ctxt_switches:")?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal, WaitId, WaitIdOptions, kill_process, waitid};
    use std::process::Command;

    #[test]
    fn s4_a_stop_is_told_from_the_next_one() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let until = |what| waitid(WaitId::Pid(pid), what).unwrap();
        assert_eq!(Stopped::of(pid), None);
        let mut seen = Vec::new();
        for _ in 0..3 {
            kill_process(pid, Signal::STOP).unwrap();
            until(WaitIdOptions::STOPPED);
            let first = Stopped::settled(pid).unwrap();
            assert_eq!(Stopped::of(pid), Some(first));
            assert!(!seen.contains(&first), "{seen:?} {first:?}");
            seen.push(first);
            kill_process(pid, Signal::CONT).unwrap();
            until(WaitIdOptions::CONTINUED);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
