//! linkat of a stand-in (T7 as seen through the supervisor).

use std::cell::RefCell;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, fstat, readlinkat, stat};
use rustix::io::Errno;
use tmpshim_core::name::Mark;
use tmpshim_core::next::Next;
use tmpshim_core::publish::publish;
use tmpshim_core::publish::source::{Descriptor, Source, descriptor_of, mark_of_ours};
use tmpshim_core::text::Text;
use tmpshim_core::tmpfile::Means;
use tmpshim_core::tracker::Tracker;

use crate::call::Link;
use crate::custody::Said;
use crate::job::{Answer, Outcome, Replacement};
use crate::start::Start;
use crate::supervisor::Supervisor;
use crate::target::{Target, line, path, place};

/// A linkat of a file of ours, ready to be done with the target's rights.
pub(crate) struct Job {
    theirs: Theirs,
    /// What `/proc/TID/fd` says of it.
    text: Vec<u8>,
    mark: Mark,
    pub(crate) new: Start,
    path: Vec<u8>,
}

impl Job {
    /// Nothing where the file is not ours: the kernel knows the answer.
    pub(crate) fn prepare(target: &Target, link: &Link, tracker: Option<&Tracker>) -> Option<Self> {
        let number = descriptor_meant(target, link)?;
        let text = target.descriptor_link(number)?;
        let mark = mark_of_ours(&text)?;
        // A file that keeps its name (T6) is ours only if we gave it.
        if !mark.unlinked && tracker.is_none_or(|tracker| tracker.mode_of_file(&text).is_none()) {
            return None;
        }
        let theirs = Theirs::open(target, number)?;
        let path = path(target.thread, link.new)?;
        let new = Start::of(target, link.to, path.clone(), 0)?;
        Some(Self { theirs, text, mark, new, path })
    }

    /// While the call `id` waits.
    pub(crate) fn run(
        &self,
        (parent, name): &(OwnedFd, CString),
        supervisor: &Supervisor,
        id: u64,
        tracker: Option<&Tracker>,
    ) -> Outcome {
        let replace = |theirs: &Theirs, file: BorrowedFd<'_>, close_on_exec| {
            let number = theirs.number as u32;
            if supervisor.listener.replace(id, number, file, close_on_exec) == Err(Errno::NOENT)
                && let Ok(file) = file.try_clone_to_owned()
            {
                *theirs.missed.borrow_mut() = Some(Replacement { number, file, close_on_exec });
            }
        };
        let descriptor = Some(Replacing { theirs: &self.theirs, replace });
        let source = Source { descriptor, link: Text::new().also(&self.text), mark: self.mark };
        let means = Means { next: &Next::KERNEL, survey: &supervisor.survey, tracker };
        // SAFETY: the name is ours and closed by NUL.
        let answer = unsafe { publish(&source, parent.as_raw_fd(), name.as_ptr(), &means) };
        let (answer, said) = match answer {
            Ok(()) => (Answer::Done(self.theirs.missed.take()), Said::Published),
            Err(error) => (Answer::Error(error), Said::CouldNotPublish(error)),
        };
        Outcome { answer, said: Some((said, self.path.clone())) }
    }
}

/// The number of the target's own descriptor that the call names, as far as can be told without looking at the file.
fn descriptor_meant(target: &Target, link: &Link) -> Option<i32> {
    let old = path(target.thread, link.old)?;
    if old.is_empty() {
        return (link.flags & libc::AT_EMPTY_PATH != 0).then_some(link.from);
    }
    if link.flags & libc::AT_SYMLINK_FOLLOW == 0 {
        return None;
    }
    let (parent, name, text) = link_at(target, link.from, old)?;
    // `/dev/stdin` is a symbolic link to `/proc/self/fd/0`.
    let (parent, name, text) =
        if text.starts_with(b"/proc/") { link_at(target, libc::AT_FDCWD, text)? } else { (parent, name, text) };
    let number = descriptor_of(name.to_bytes())?;
    // By a way that was not recognised, such as `/proc/self/../self/fd/N`, which has led to ourselves.
    if is_our_table(&parent) {
        return Some(number);
    }
    // `/proc/PID/fd/N` may be another process's: then N here is something else.
    (target.descriptor_link(number)? == text).then_some(number)
}

/// Whether it is the directory of this process's descriptors, or of this thread's.
fn is_our_table(directory: &OwnedFd) -> bool {
    let seen = fstat(directory).map(|seen| (seen.st_dev, seen.st_ino));
    let tables = ["/proc/self/fd", "/proc/thread-self/fd"].map(|path| stat(path).map(|own| (own.st_dev, own.st_ino)));
    seen.is_ok() && tables.contains(&seen)
}

/// The symbolic link at a path, and what it says.
fn link_at(target: &Target, directory: i32, path: Vec<u8>) -> Option<(OwnedFd, CString, Vec<u8>)> {
    let (parent, name) = Start::of(target, directory, path, 0)?.open_parent(target.other_root())?.ok()?;
    let text = readlinkat(&parent, name.as_c_str(), Vec::new()).ok()?.into_bytes();
    Some((parent, name, text))
}

/// A descriptor of the target's.
struct Theirs {
    number: i32,
    /// The same file.
    file: OwnedFd,
    flags: OFlags,
    close_on_exec: bool,
    offset: u64,
    missed: RefCell<Option<Replacement>>,
}

impl Theirs {
    fn open(target: &Target, number: i32) -> Option<Self> {
        let file = place(target.thread, &format!("fd/{number}")).ok()?;
        let text = fs::read_to_string(format!("/proc/{}/fdinfo/{number}", target.thread)).ok()?;
        let (offset, flags) = parse(&text)?;
        let close_on_exec = flags.contains(OFlags::CLOEXEC);
        Some(Self { number, file, flags, close_on_exec, offset, missed: RefCell::new(None) })
    }
}

/// Offset and flags, from what proc_pid_fdinfo(5) says.
fn parse(text: &str) -> Option<(u64, OFlags)> {
    let flags = u32::from_str_radix(line(text.as_bytes(), "flags")?, 8).ok()?;
    Some((line(text.as_bytes(), "pos")?.parse().ok()?, OFlags::from_bits_retain(flags)))
}

/// It, and how its number comes to refer to another file.
struct Replacing<'a, F> {
    theirs: &'a Theirs,
    replace: F,
}

impl<F: Fn(&Theirs, BorrowedFd<'_>, bool)> Descriptor for Replacing<'_, F> {
    fn file(&self) -> BorrowedFd<'_> {
        self.theirs.file.as_fd()
    }

    fn flags(&self) -> Result<(OFlags, bool), Errno> {
        Ok((self.theirs.flags.difference(OFlags::CLOEXEC), self.theirs.close_on_exec))
    }

    fn offset(&self) -> Result<u64, Errno> {
        Ok(self.theirs.offset)
    }

    fn replace(&self, file: BorrowedFd<'_>, close_on_exec: bool) {
        (self.replace)(self.theirs, file, close_on_exec);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Place;
    use rustix::fs::{CWD, Mode, openat};
    use std::io::{Seek, SeekFrom};

    #[test]
    fn t7_a_descriptor_is_known_by_what_proc_says() {
        assert_eq!(parse("pos:\t12\nflags:\t0100001\nmnt_id:\t3\n"), Some((12, OFlags::from_bits_retain(0o100_001))));
        assert_eq!(parse("pos:\t12\n"), None);
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::APPEND | OFlags::CLOEXEC;
        let mut file = fs::File::from(openat(CWD, "/dev/shm", flags, Mode::RUSR).unwrap());
        file.seek(SeekFrom::Start(7)).unwrap();
        let root = openat(CWD, "/", OFlags::PATH, Mode::empty()).unwrap();
        let target = Target::of(std::process::id(), Place::of(root.as_fd()).unwrap()).unwrap();
        let theirs = Theirs::open(&target, file.as_raw_fd()).unwrap();
        assert_eq!((theirs.offset, theirs.close_on_exec), (7, true));
        assert!(theirs.flags.contains(OFlags::RDWR | OFlags::APPEND));
    }
}
