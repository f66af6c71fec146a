//! A program whose calls the kernel tells of to its tracer, the overseer (ptrace(2)).
//!
//! It must be traced before it has the filter, and the tracer must see it execute; so it is not started by `Command`, which
//! would wait for that and reap it, but by a fork that waits for a word of the tracer's.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use libc::sock_filter;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use rustix::process::{Pid, getpid};
use tmpshim_core::settings::Settings;
use tmpshim_supervise::listener::socket_pair;
use tmpshim_supervise::trace::{self, Tracer};
use tmpshim_supervise::watch::Clean;

use super::OWN_FAILURE;
use super::child::{self, Caller, Order};
use super::news::News;
use crate::embedded::PARASITE;
use crate::failure::Failure;

/// What the overseer says to the process that is to become the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// It is traced: put the filter on and become the program.
    Traced = 1,
    /// Nobody traces it: become the program, unchanged.
    Alone,
    /// End.
    GiveUp,
}

/// The process that is to become the program, which waits.
pub(super) struct Waiting {
    pub(super) pid: Pid,
    link: OwnedFd,
}

/// The overseer's end of the way to it. It is closed at the other end when the program is executed.
pub(super) struct Link(OwnedFd);

/// Forks the process that becomes the program when [`Waiting::seize`] says so. `news` leads to the front.
pub(super) fn start(filter: Vec<sock_filter>, order: &Order<'_>, caller: Caller, news: OwnedFd) -> io::Result<Waiting> {
    let (link, theirs) = socket_pair()?;
    child::adopt_orphans();
    // SAFETY: this process has a single thread, so the child may do whatever this one may.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        drop(link);
        become_program(filter, order, caller, news, &theirs);
        // SAFETY: _exit(2) ends the process and nothing else: the parent's buffers are not the child's to flush.
        unsafe { libc::_exit(OWN_FAILURE.into()) }
    }
    match Pid::from_raw(pid).filter(|_| pid > 0) {
        Some(pid) => Ok(Waiting { pid, link }),
        None => Err(io::Error::last_os_error()),
    }
}

/// Returns where that fails. All signals are blocked until it is known who traces it.
fn become_program(filter: Vec<sock_filter>, order: &Order<'_>, caller: Caller, news: OwnedFd, link: &OwnedFd) {
    // From here on the front must know whom it waits for, whatever becomes of the overseer.
    if !News::Started(getpid()).send(news.as_fd()) {
        return anstream::eprintln!("tmpshim: {}", not_begun(&order.command[0]));
    }
    drop(news);
    let error = match Word::receive(link) {
        Some(Word::Traced) => child::exec(order, caller, move || trace::install(&filter)),
        Some(Word::Alone) => {
            // The library would start us again for a Go program, in vain and for ever (T9).
            // SAFETY: this process has a single thread.
            unsafe { std::env::set_var("TMPSHIM_REEXEC", "off") };
            child::exec(order, caller, || Ok(()))
        }
        Some(Word::GiveUp) => return,
        None => {
            return anstream::eprintln!("tmpshim: {}", not_begun(&order.command[0]));
        }
    };
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    let _ = send(link, &errno.to_ne_bytes(), SendFlags::NOSIGNAL);
}

/// What to say where the overseer is gone before the program has begun.
pub(super) fn not_begun(program: &OsStr) -> Failure {
    let why = "the supervisor was killed meanwhile";
    Failure::on(OWN_FAILURE, "cannot start", program.as_ref(), why, "try again")
}

/// What to say where [`Waiting::seize`] has failed.
pub(super) fn not_traced(program: &OsStr, errno: i32) -> Failure {
    let why = format_args!("cannot trace it ({})", io::Error::from_raw_os_error(errno)).to_string();
    let remedy = "try again, or give --best-effort to run it unchanged";
    Failure::on(OWN_FAILURE, "cannot start", program.as_ref(), why, remedy)
}

impl Waiting {
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        vec![self.link.as_raw_fd()]
    }

    /// Becomes its tracer and lets it go on. Where that cannot be, it goes on without, if it `goes_alone`, or ends.
    pub(super) fn seize(&self, settings: Settings<'static>, clean: Clean, goes_alone: bool) -> Result<Tracer, Errno> {
        let tracer = Tracer::seize(self.pid, PARASITE, settings, clean);
        let word = match &tracer {
            Ok(_) => Word::Traced,
            Err(_) if goes_alone => Word::Alone,
            Err(_) => Word::GiveUp,
        };
        word.send(&self.link);
        tracer
    }

    pub(super) fn link(self) -> Link {
        Link(self.link)
    }
}

impl Link {
    /// The errno of an exec that has failed, once the process has ended.
    pub(super) fn errno(&self) -> Option<i32> {
        let mut bytes = [0; 4];
        match retry_on_intr(|| recv(&self.0, &mut bytes[..], RecvFlags::DONTWAIT)) {
            Ok((length, _)) if length == bytes.len() => Some(i32::from_ne_bytes(bytes)),
            _ => None,
        }
    }
}

impl Word {
    fn send(self, link: &OwnedFd) {
        // Where the process has ended, that is what the overseer sees next. Otherwise it must not wait for ever.
        if retry_on_intr(|| send(link, &[self as u8], SendFlags::NOSIGNAL)).is_err() {
            let _ = shutdown(link, Shutdown::Both);
        }
    }

    /// Waits for it; nothing where the overseer is gone.
    fn receive(link: &OwnedFd) -> Option<Self> {
        let mut byte = [0];
        match retry_on_intr(|| rustix::io::read(link, &mut byte)) {
            Ok(1) => [Self::Traced, Self::Alone, Self::GiveUp].into_iter().find(|word| *word as u8 == byte[0]),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_arrive_and_silence_is_told_from_them() {
        let (ours, theirs) = socket_pair().unwrap();
        for word in [Word::Traced, Word::Alone, Word::GiveUp] {
            word.send(&ours);
            assert_eq!(Word::receive(&theirs), Some(word));
        }
        drop(ours);
        assert_eq!(Word::receive(&theirs), None);
    }

    #[test]
    fn an_exec_that_has_failed_is_told_from_one_that_has_not() {
        let (ours, theirs) = socket_pair().unwrap();
        let link = Link(ours);
        assert_eq!(link.errno(), None, "open still");
        send(&theirs, &libc::ENOENT.to_ne_bytes(), SendFlags::NOSIGNAL).unwrap();
        assert_eq!(link.errno(), Some(libc::ENOENT));
        drop(theirs);
        assert_eq!(link.errno(), None, "closed by exec");
    }
}
