//! mkdir of what is to be tracked, for programs that make their directories by raw system calls (D1).

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Mode, mkdirat};
use rustix::io::Errno;
use tmpshim_core::identity;
use tmpshim_core::sys;
use tmpshim_core::tracker::{Entry, Tracker};

use crate::call::MakeDirectory;
use crate::custody::Custody;
use crate::job::{Answer, Outcome};
use crate::maker::Maker;
use crate::start::Start;
use crate::target::{Target, path};

/// A mkdir that is to be tracked, ready to be done with the target's rights.
pub(crate) struct Job {
    pub(crate) start: Start,
    mode: u32,
    maker: Maker,
}

impl Job {
    /// Nothing where it is not to be tracked.
    pub(crate) fn prepare(target: &Target, call: &MakeDirectory, custody: &Custody) -> Option<Self> {
        let path = path(target.thread, call.path)?;
        let maker = Maker::of(target, call.from, &path, custody)?;
        let start = Start::of(target, call.from, path, 0)?;
        Some(Self { start, mode: call.mode, maker })
    }

    pub(crate) fn run(
        &self,
        (parent, name): &(OwnedFd, CString),
        custody: &Custody,
        tracker: Option<&Tracker>,
    ) -> Outcome {
        let trimmed = name.to_bytes().iter().rposition(|&byte| byte != b'/').map_or(0, |end| end + 1);
        let plain = &name.to_bytes()[..trimmed];
        let path = real_path(parent, plain).filter(|_| !matches!(plain, b"." | b".."));
        let ticket = tracker.zip(path.as_ref()).and_then(|(tracker, path)| {
            let ticket = tracker.reserve(path.to_bytes(), Entry::Directory)?;
            // Who finds an announcement believes it of an empty directory of mode 0700 only, and under a name of the
            // program's choice there may be another.
            if self.mode & 0o7777 == 0o700 && sys::exists(parent.as_raw_fd(), name.as_ptr()) == Err(Errno::NOENT) {
                ticket.announce();
            }
            Some(ticket)
        });
        let made = mkdirat(parent, name, Mode::from_raw_mode(self.mode));
        if let Some(ticket) = ticket {
            match made.and_then(|()| identity::at(parent.as_fd(), &CString::new(plain).unwrap_or_default())) {
                Ok(seen) if seen.is_directory() => {
                    ticket.confirm(&seen.identity);
                    custody.makers.add(self.maker.has_made(path.unwrap_or_default(), seen.identity));
                }
                _ => ticket.abandon(),
            }
        }
        let answer = made.map_or_else(Answer::Error, |()| Answer::Done(None));
        Outcome { answer, said: None }
    }
}

/// Where it is, whatever happens to links and working directories later.
fn real_path(parent: &OwnedFd, name: &[u8]) -> Option<CString> {
    let parent = std::fs::read_link(format!("/proc/self/fd/{}", parent.as_raw_fd())).ok()?;
    let parent = parent.as_os_str().as_bytes();
    let parent = parent.strip_suffix(b"/").unwrap_or(parent);
    CString::new([parent, b"/", name].concat()).ok().filter(|path| path.to_bytes().first() == Some(&b'/'))
}
