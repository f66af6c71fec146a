//! A call that is answered by a process of its own, which nobody else's answer hangs on.
//!
//! For a program in another user namespace: only a process with one thread may enter that, and what it may do afterwards
//! counts in there. And where a filesystem asks for all of a program's users (FUSE without allow_other): who takes those
//! on can be ended by a signal of that user's.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::job::Job;
use crate::rights::Hand;
use crate::supervisor::Supervisor;
use crate::target::Target;

/// Answers, and returns when that is done, or cannot be: then the program still waits. In the same user namespace only what
/// is a success is an answer.
pub(crate) fn answer(supervisor: &Supervisor, id: u64, target: &Target, job: &Job) {
    let namespace =
        |whose: &str| File::open(format!("/proc/{whose}/ns/user")).and_then(|file| Ok((file.metadata()?.ino(), file)));
    let (Ok((theirs, namespace)), Ok((ours, _))) = (namespace(&target.thread.to_string()), namespace("thread-self"))
    else {
        return;
    };
    let namespace = (theirs != ours).then_some(namespace);
    // SAFETY: the child has one thread, takes no lock that another thread of ours may have held (no tracker), and libc
    // keeps its allocator usable there.
    let child = unsafe { libc::fork() };
    if child == 0 {
        act(supervisor, id, target, job, namespace.as_ref());
        // SAFETY: _exit(2) ends the process and nothing else.
        unsafe { libc::_exit(0) }
    }
    // Whoever reaps our children may have been quicker: then it has ended.
    if let Some(pid) = Pid::from_raw(child).filter(|_| child > 0)
        && let Ok(end) = pidfd_open(pid, PidfdFlags::empty())
    {
        while poll(&mut [PollFd::new(&end, PollFlags::IN)], None).is_err() {}
    }
}

fn act(supervisor: &Supervisor, id: u64, target: &Target, job: &Job, namespace: Option<&File>) {
    let enter = |namespace: &File| move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User));
    if namespace.is_some_and(|namespace| enter(namespace).is_err()) {
        return;
    }
    // Both as they look from there.
    let (Some(hand), Some(status)) = (Hand::new(true), target.status()) else { return };
    if let Ok(outcome) = supervisor.act(&hand, id, target, &status, job, (None, None))
        && (namespace.is_some() || outcome.answer.is_given())
    {
        supervisor.respond(id, target, outcome);
    }
}
