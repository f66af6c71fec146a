//! One call, answered in a process of its own: it takes on the rights of the program, and whatever becomes of it (a
//! filesystem that hangs, for one) concerns nobody else.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, fstatfs, openat, readlinkat};
use rustix::io::Errno;
use tmpshim_core::next::Next;
use tmpshim_core::sys;
use tmpshim_core::tmpfile::plan::{self, Answer as Plan, OpenHow};
use tmpshim_core::tmpfile::survey::Survey;
use tmpshim_core::tmpfile::{Means, Request, stand_in};

use crate::target::{self, Rights, Status};

/// An open that asks for O_TMPFILE, in the program's own words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub(crate) directory: i32,
    /// Address of the path in the program's memory.
    pub(crate) path: u64,
    pub(crate) flags: i32,
    pub(crate) mode: u32,
    pub(crate) resolve: u64,
}

/// What the program gets.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The kernel's own answer to its own call: what it would have been without us.
    Continue,
    /// What a filesystem with O_TMPFILE would have said.
    Error(Errno),
    /// A stand-in.
    File(OwnedFd),
}

/// Answers the call. `is_valid` says whether the program still waits: what was read of it until then was its own.
/// Changes what this process is: it must end afterwards.
pub(crate) fn answer(thread: u32, open: &Open, own: &Rights, survey: &Survey, is_valid: impl Fn() -> bool) -> Answer {
    // Where anything is not as it should be, the kernel knows the error.
    act(thread, open, own, survey, is_valid).unwrap_or(Answer::Continue)
}

fn act(thread: u32, open: &Open, own: &Rights, survey: &Survey, is_valid: impl Fn() -> bool) -> Option<Answer> {
    let path = target::path(thread, open.path)?;
    let status = Status::of(thread)?;
    let root = target::place(thread, "root").ok()?;
    let start = Start::of(thread, &status, open, path, &root)?;
    if !is_valid() {
        return Some(Answer::Continue);
    }
    target::become_like(&root, &status, own)?;
    let request = Request {
        directory: start.directory.as_ref().map_or(sys::CWD, AsRawFd::as_raw_fd),
        path: start.path.as_ptr(),
        flags: open.flags,
        mode: open.mode,
        resolve: start.resolve,
    };
    Some(attempt(&request, survey))
}

fn attempt(request: &Request, survey: &Survey) -> Answer {
    let Request { directory, path, flags, mode, resolve } = *request;
    let how = OpenHow { flags: flags as u32 as u64, mode: mode.into(), resolve };
    // SAFETY: path and `how` are ours.
    let native = unsafe { sys::openat2(directory, path, (&raw const how).cast(), size_of::<OpenHow>()) };
    let refusal = match native {
        Ok(file) => {
            sys::close(file);
            // The program's own call will work as well, and is exact in whatever we do not know of.
            return Answer::Continue;
        }
        Err(error) => match plan::after(error, flags) {
            Plan::Return => return Answer::Continue,
            Plan::StandIn => None,
            Plan::StandInIfDirectory => Some(error),
        },
    };
    let means = Means { next: &Next::KERNEL, survey, tracker: None };
    // SAFETY: the path is ours.
    match unsafe { stand_in(request, refusal, &means) } {
        // SAFETY: just opened, owned by nobody else.
        Ok((file, _)) => Answer::File(unsafe { OwnedFd::from_raw_fd(file) }),
        Err(error) => Answer::Error(error),
    }
}

/// Where the walk along a path begins, said so that it ends, in this process, where it would in the program.
struct Start {
    directory: Option<OwnedFd>,
    path: CString,
    resolve: u64,
}

impl Start {
    fn of(thread: u32, status: &Status, open: &Open, path: Vec<u8>, root: &OwnedFd) -> Option<Self> {
        let fixed = open.resolve & u64::from((ResolveFlags::IN_ROOT | ResolveFlags::BENEATH).bits() as u32) != 0;
        let is_absolute = path.first() == Some(&b'/');
        if !fixed
            && is_absolute
            && let Some((directory, rest)) = own_directory(&path, root)
        {
            // From the directory that `/proc/self` is for the program, in our own /proc.
            let what = if directory == Own::Process { status.process } else { thread };
            let directory = target::place(what, ".").ok()?;
            let path = CString::new(if rest.is_empty() { b"." } else { rest }).ok()?;
            return Some(Self { directory: Some(directory), path, resolve: open.resolve });
        }
        let mut resolve = open.resolve;
        if !names_a_process(&path) {
            // A symbolic link that leads into `/proc/self` after all would mean us: refused, and the kernel answers.
            resolve |= u64::from(ResolveFlags::NO_MAGICLINKS.bits() as u32);
        }
        let directory = match open.directory {
            _ if is_absolute && !fixed => None,
            libc::AT_FDCWD => Some(target::place(thread, "cwd").ok()?),
            number if number < 0 => return None,
            number => Some(target::place(thread, &format!("fd/{number}")).ok()?),
        };
        Some(Self { directory, path: CString::new(path).ok()?, resolve })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Process,
    Thread,
}

/// Whether the path begins with a name for the program's own directory in /proc, and what follows.
fn own_directory<'a>(path: &'a [u8], root: &OwnedFd) -> Option<(Own, &'a [u8])> {
    let (own, rest) = split_own(path)?;
    let proc = openat(root, "proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let is_proc = fstatfs(&proc).ok()?.f_type == libc::PROC_SUPER_MAGIC;
    let leads_there = !path.starts_with(b"/dev/")
        || readlinkat(root, "dev/fd", Vec::new()).is_ok_and(|link| link.as_bytes() == b"/proc/self/fd");
    (is_proc && leads_there).then_some((own, rest))
}

fn split_own(path: &[u8]) -> Option<(Own, &[u8])> {
    let after = |prefix: &[u8]| match path.strip_prefix(prefix)? {
        [] => Some(&b""[..]),
        [b'/', ..] => path.get(prefix.len() + 1..),
        _ => None,
    };
    if after(b"/dev/fd").is_some() {
        return Some((Own::Process, &path[b"/dev/".len()..]));
    }
    let own = after(b"/proc/self").map(|rest| (Own::Process, rest));
    own.or_else(|| after(b"/proc/thread-self").map(|rest| (Own::Thread, rest)))
}

/// Whether the path goes through a process that it names by number.
fn names_a_process(path: &[u8]) -> bool {
    path.strip_prefix(b"/proc/").and_then(<[u8]>::first).is_some_and(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_names_of_the_programs_own_directory() {
        for (path, expected) in [
            (&b"/proc/self"[..], Some((Own::Process, &b""[..]))),
            (b"/proc/self/fd/7", Some((Own::Process, b"fd/7"))),
            (b"/proc/thread-self/cwd", Some((Own::Thread, b"cwd"))),
            (b"/dev/fd/7", Some((Own::Process, b"fd/7"))),
            (b"/dev/fd", Some((Own::Process, b"fd"))),
            (b"/proc/selfish", None),
            (b"/proc/7/fd/3", None),
            (b"/tmp", None),
        ] {
            assert_eq!(split_own(path), expected, "{}", path.escape_ascii());
        }
        assert!(names_a_process(b"/proc/7/fd/3") && !names_a_process(b"/proc/self") && !names_a_process(b"/proc/"));
    }

    #[test]
    fn s2_from_another_root_without_proc_self_is_nobody() {
        let place = |path: &str| OwnedFd::from(std::fs::File::open(path).unwrap());
        assert_eq!(own_directory(b"/proc/self/fd", &place("/")), Some((Own::Process, &b"fd"[..])));
        assert_eq!(own_directory(b"/proc/self/fd", &place("/usr")), None);
    }
}
