//! O_TMPFILE opens (T2 to T6 as seen through the supervisor).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, fstatfs, openat2, statx};
use rustix::io::Errno;
use tmpshim_core::next::Next;
use tmpshim_core::settings::Tmpfile;
use tmpshim_core::sys;
use tmpshim_core::tmpfile::plan::{self, Answer as Plan};
use tmpshim_core::tmpfile::{Means, Request, stand_in};

use crate::call::Open;
use crate::custody::Said;
use crate::job::{Answer, Outcome};
use crate::start::Start;
use crate::supervisor::Supervisor;
use crate::target::{Target, is_at_home, path, place};
use tmpshim_core::tracker::Tracker;

/// A filesystem that was seen to have O_TMPFILE, by device, mount and, where mount numbers come back, type: a wrong "has
/// it" would cost the program its file.
pub(crate) type Native = (u64, u64, i64);

/// An open, ready to be tried with the target's rights.
pub(crate) struct Job {
    open: Open,
    start: Start,
    path: Vec<u8>,
}

impl Job {
    /// Nothing where the kernel knows the answer.
    pub(crate) fn prepare(target: &Target, open: &Open) -> Option<Self> {
        let path = path(target.thread, open.path)?;
        let start = Start::of(target, open.directory, path.clone(), open.resolve)?;
        Some(Self { open: *open, start, path })
    }

    /// The directory; where there is none to be had, the kernel knows why.
    pub(crate) fn locate(&self, root: Option<&OwnedFd>) -> Result<OwnedFd, Outcome> {
        let follows = OFlags::from_bits_retain(self.open.flags as u32) & OFlags::NOFOLLOW;
        self.start.open(follows, root).map_err(Outcome::native_after)
    }

    pub(crate) fn run(&self, directory: &OwnedFd, supervisor: &Supervisor, tracker: Option<&Tracker>) -> Outcome {
        let Open { flags, mode, .. } = self.open;
        let path = c".".as_ptr();
        let request = Request { directory: directory.as_raw_fd(), path, flags, mode, resolve: 0 };
        let mut refusal = None;
        if supervisor.custody.settings.tmpfile == Tmpfile::Auto || !plan::is_valid(flags) {
            match attempt(&request) {
                Ok(file) => {
                    // Without a tracker this may be a process of its own, and what it learns is lost.
                    if let Some(native) = native(&file).filter(|_| tracker.is_some()) {
                        supervisor.add_native(native);
                    }
                    // The program's own call will work as well, and is exact in whatever we do not know of.
                    return Outcome::NATIVE;
                }
                Err(error) => match plan::after(error, flags) {
                    Plan::Return => return Outcome::native_after(error),
                    Plan::StandIn => {}
                    Plan::StandInIfDirectory => refusal = Some(error),
                },
            }
        }
        let means = Means { next: &Next::KERNEL, survey: &supervisor.survey, tracker };
        // SAFETY: the path is ours.
        let (answer, said) = match unsafe { stand_in(&request, refusal, &means) } {
            Ok((file, made)) => {
                // SAFETY: just opened, owned by nobody else.
                let file = unsafe { OwnedFd::from_raw_fd(file) };
                (Answer::File { file, close_on_exec: flags & libc::O_CLOEXEC != 0 }, Said::StoodIn(made))
            }
            Err(error) => (Answer::Error(error), Said::CouldNotStandIn(error)),
        };
        Outcome { answer, said: Some((said, self.path.clone())) }
    }
}

fn attempt(request: &Request) -> Result<OwnedFd, Errno> {
    let Request { directory, path, flags, mode, .. } = *request;
    // SAFETY: the path is ours.
    let opened = unsafe { sys::openat(directory, path, flags, mode) };
    // SAFETY: just opened, owned by nobody else.
    opened.map(|file| unsafe { OwnedFd::from_raw_fd(file) })
}

/// Whether the directory is known to be on a filesystem with O_TMPFILE: then the kernel's own answer, which takes the
/// target's rights into account, is the right one. Waits for no filesystem, unless the path itself lies in a page of a file
/// that has to be read first.
pub(crate) fn is_known_native(thread: u32, open: &Open, supervisor: &Supervisor) -> bool {
    let is_wanted = supervisor.custody.settings.tmpfile == Tmpfile::Always && plan::is_valid(open.flags);
    if is_wanted || open.resolve != 0 || !supervisor.has_natives() || !is_at_home(thread, supervisor.home) {
        return false;
    }
    let found = path(thread, open.path).filter(|path| !path.starts_with(b"/proc/")).and_then(|path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::CACHED | ResolveFlags::NO_MAGICLINKS;
        let from;
        let from = match open.directory {
            _ if path.first() == Some(&b'/') => CWD,
            libc::AT_FDCWD => {
                from = place(thread, "cwd").ok()?;
                from.as_fd()
            }
            _ => return None,
        };
        openat2(from, path, flags, Mode::empty(), resolve).ok()
    });
    found.and_then(|directory| native(&directory)).is_some_and(|native| supervisor.is_native(&native))
}

fn native(file: &OwnedFd) -> Option<Native> {
    let unique = StatxFlags::from_bits_retain(STATX_MNT_ID_UNIQUE);
    let seen = statx(file, "", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, StatxFlags::MNT_ID | unique).ok()?;
    // Since Linux 6.8 a mount's number is never another's.
    let kind = if seen.stx_mask & STATX_MNT_ID_UNIQUE == 0 { fstatfs(file).ok()?.f_type } else { 0 };
    Some((u64::from(seen.stx_dev_major) << 32 | u64::from(seen.stx_dev_minor), seen.stx_mnt_id, kind))
}

/// `STATX_MNT_ID_UNIQUE`
const STATX_MNT_ID_UNIQUE: u32 = 0x4000;
