//! What the overseer tells the front, over a socket.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::{Errno, fcntl_dupfd_cloexec, retry_on_intr};
use rustix::net::{SendFlags, send};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::child::End;

/// One piece of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The process that is to become the program.
    Started(Pid),
    /// It could not, by this errno. The only news, where there was no process.
    NotStarted(i32),
    /// It was not allowed to, since nobody could trace it, by this errno.
    NotTraced(i32),
    /// By this signal.
    Stopped(i32),
    /// The program runs, and its calls cannot be answered.
    NoSupervisor,
    /// More news come, unless the overseer dies of what it has still to do.
    HasEnded(End),
    /// And whether nobody is left, and all is cleaned up: then the overseer ends now.
    Ended(End, bool),
}

const WORDS: usize = 3;

impl News {
    /// Sends it; the front may be gone. Whether it was sent. Async-signal-safe.
    pub(super) fn send(self, socket: BorrowedFd<'_>) -> bool {
        let words: [i32; WORDS] = match self {
            Self::NotStarted(errno) => [0, errno, 0],
            Self::Started(pid) => [1, pid.as_raw_nonzero().get(), 0],
            Self::Stopped(signal) => [2, signal, 0],
            Self::NoSupervisor => [5, 0, 0],
            Self::HasEnded(End::Status(status)) => [6, 0, status.into()],
            Self::HasEnded(End::Signal(signal)) => [6, 1, signal],
            Self::NotTraced(errno) => [7, errno, 0],
            Self::Ended(End::Status(status), alone) => [if alone { 4 } else { 3 }, 0, status.into()],
            Self::Ended(End::Signal(signal), alone) => [if alone { 4 } else { 3 }, 1, signal],
        };
        let mut bytes = [0u8; WORDS * 4];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        retry_on_intr(|| send(socket, &bytes, SendFlags::NOSIGNAL)).is_ok()
    }

    /// Waits for the next; nothing where the overseer is gone.
    pub(super) fn receive(socket: BorrowedFd<'_>) -> Option<Self> {
        let mut bytes = [0u8; WORDS * 4];
        loop {
            match rustix::io::read(socket, &mut bytes) {
                Err(Errno::INTR) => {}
                Ok(length) if length == bytes.len() => break,
                _ => return None,
            }
        }
        let word = |index: usize| i32::from_ne_bytes(std::array::from_fn(|byte| bytes[index * 4 + byte]));
        let end = || if word(1) == 0 { End::Status(word(2) as u8) } else { End::Signal(word(2)) };
        Some(match word(0) {
            0 => Self::NotStarted(word(1)),
            1 => Self::Started(Pid::from_raw(word(1))?),
            2 => Self::Stopped(word(1)),
            5 => Self::NoSupervisor,
            6 => Self::HasEnded(end()),
            7 => Self::NotTraced(word(1)),
            kind => Self::Ended(end(), kind == 4),
        })
    }
}

/// The process, so that a signal reaches it and nobody who gets its number later.
pub(super) fn handle_of(pid: Pid) -> Option<OwnedFd> {
    fcntl_dupfd_cloexec(pidfd_open(pid, PidfdFlags::empty()).ok()?, 3).ok()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::process::getpid;
    use tmpshim_supervise::listener::socket_pair;

    use super::*;

    #[test]
    fn s4_news_arrive_as_they_were_sent() {
        let (ours, theirs) = socket_pair().unwrap();
        for news in [
            News::NotStarted(libc::ENOENT),
            News::NotTraced(libc::EPERM),
            News::Started(getpid()),
            News::NoSupervisor,
            News::Stopped(libc::SIGTSTP),
            News::HasEnded(End::Status(1)),
            News::Ended(End::Status(255), false),
            News::Ended(End::Status(0), true),
            News::Ended(End::Signal(libc::SIGKILL), true),
        ] {
            news.send(ours.as_fd());
            assert_eq!(News::receive(theirs.as_fd()), Some(news));
        }
        drop(ours);
        assert_eq!(News::receive(theirs.as_fd()), None);
    }
}
