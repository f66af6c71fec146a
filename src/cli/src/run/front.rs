//! The process that was asked to run the program, where an overseer is between them.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, wait, waitpid};

use super::child::{Child, End};
use super::loaded::Verification;
use super::supervision::{News, handle_of};
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

impl Front {
    /// Waits for the start of the program.
    ///
    /// # Errors
    /// The errno with which it could not be started.
    pub(super) fn started(&self) -> Result<Pid, i32> {
        match News::receive(self.news.as_fd()) {
            Some(News::Started(pid)) => Ok(pid),
            Some(News::NotStarted(errno)) => {
                let _ = waitpid(Some(self.overseer), WaitOptions::empty());
                Err(errno)
            }
            _ => Err(libc::ESRCH),
        }
    }

    /// Passes signals on until the program has ended.
    pub(super) fn end(self, program: Pid, mut verification: Option<Verification>) -> Ended {
        // The program has not ended yet, or nobody has asked how.
        let handle = handle_of(program);
        let Ok(signals) = signals::descriptor(Set::ALL) else { return self.without_overseer(program, None) };
        let mut end = None;
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
                if received.is_to_be_passed_on {
                    match &handle {
                        Some(handle) => signals::send_to(handle.as_fd(), received.signal),
                        None => signals::send(program, received.signal),
                    }
                }
            }
            // As PID 1 we get orphans of whoever enters the namespace from outside; after the overseer's death, the program.
            while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
                if pid == program {
                    end = End::of(status);
                }
            }
            if !has_news {
                continue;
            }
            match News::receive(self.news.as_fd()) {
                // So that the shell which waits for us sees the job stop. Its SIGCONT is passed on like any signal.
                Some(News::Stopped(signal)) => signals::act_by_default(signal),
                Some(News::Ended(end, alone)) => {
                    if alone {
                        let _ = waitpid(Some(self.overseer), WaitOptions::empty());
                    }
                    return Ended { end, is_seen_to: true };
                }
                Some(_) => {}
                None => return self.without_overseer(program, end),
            }
        }
    }

    /// It was killed, and the program is our own child.
    fn without_overseer(self, program: Pid, end: Option<End>) -> Ended {
        let _ = waitpid(Some(self.overseer), WaitOptions::empty());
        Ended { end: end.unwrap_or_else(|| Child::of(program).end(None)), is_seen_to: false }
    }
}
