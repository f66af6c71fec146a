//! A stopped call that is ours to answer, and the answer.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use tmpshim_core::tracker::Tracker;

use crate::custody::Said;
use crate::start::Start;
use crate::supervisor::Supervisor;
use crate::{directory, link, open};

/// What the program gets.
pub(crate) enum Answer {
    /// The kernel's own answer to its own call: what it would have been without us.
    Native,
    /// The same, where it was EACCES for us.
    Forbidden,
    /// What a filesystem with O_TMPFILE would have said.
    Error(Errno),
    /// 0, and what could not be done before the call was interrupted.
    Done(Option<Replacement>),
    /// A stand-in.
    File { file: OwnedFd, close_on_exec: bool },
}

impl Answer {
    /// Whether more of the program's rights might have been enough.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden | Self::Error(Errno::ACCESS))
    }

    /// Whether the program has what it asked for, from us.
    pub(crate) fn is_given(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Done(_))
    }
}

/// What a number of the program's is to refer to.
pub(crate) struct Replacement {
    pub(crate) number: u32,
    pub(crate) file: OwnedFd,
    pub(crate) close_on_exec: bool,
}

/// An answer, and what the log says of it, with the path in the program's own words.
pub(crate) struct Outcome {
    pub(crate) answer: Answer,
    pub(crate) said: Option<(Said, Vec<u8>)>,
}

impl Outcome {
    pub(crate) const NATIVE: Self = Self { answer: Answer::Native, said: None };

    /// The kernel's own answer, after this error of ours.
    pub(crate) fn native_after(error: Errno) -> Self {
        let answer = if error == Errno::ACCESS { Answer::Forbidden } else { Answer::Native };
        Self { answer, said: None }
    }
}

/// A call of ours, with all that has to be looked up before its target's rights are taken on.
pub(crate) enum Job {
    Open(open::Job),
    Link(link::Job),
    Directory(directory::Job),
}

/// Where a call has its effect.
pub(crate) enum Located {
    Directory(OwnedFd),
    Name((OwnedFd, CString)),
}

/// The directory that a name is to be in, and the name. The empty path and the root are the kernel's to judge, and so is
/// what leads through /proc/self.
fn locate_name(path: &Start, root: Option<&OwnedFd>) -> Result<Located, Outcome> {
    match path.open_parent(root) {
        None | Some(Err(Errno::LOOP | Errno::XDEV)) => Err(Outcome::NATIVE),
        Some(Err(error)) => Err(Outcome { answer: Answer::Error(error), said: None }),
        Some(Ok(place)) => Ok(Located::Name(place)),
    }
}

impl Job {
    /// With the target's rights, and its root; where that cannot be entered, `root` is that.
    pub(crate) fn locate(&self, root: Option<&OwnedFd>) -> Result<Located, Outcome> {
        match self {
            Self::Open(job) => job.locate(root).map(Located::Directory),
            Self::Link(job) => locate_name(&job.new, root),
            Self::Directory(job) => locate_name(&job.start, root),
        }
    }

    /// With the target's rights and our root, since much goes by our own /proc.
    pub(crate) fn run(&self, place: &Located, supervisor: &Supervisor, id: u64, tracker: Option<&Tracker>) -> Outcome {
        match (self, place) {
            (Self::Open(job), Located::Directory(directory)) => job.run(directory, supervisor, tracker),
            (Self::Link(job), Located::Name(name)) => job.run(name, supervisor, id, tracker),
            (Self::Directory(job), Located::Name(name)) => job.run(name, &supervisor.custody, tracker),
            _ => Outcome::NATIVE,
        }
    }
}
