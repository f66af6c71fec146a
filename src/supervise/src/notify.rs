//! The supervisor's loop: which calls are ours to answer, and who answers them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::null_mut;

use libc::{SECCOMP_ADDFD_FLAG_SEND, SECCOMP_USER_NOTIF_FLAG_CONTINUE, seccomp_notif, seccomp_notif_resp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};
use tmpshim_core::tmpfile::plan::{KNOWN_FLAGS, OpenHow, asks_for_tmpfile, openat2_takes};
use tmpshim_core::tmpfile::survey::Survey;

use crate::filter::ARCHITECTURES;
use crate::target::{self, Rights, Status};
use crate::worker::{self, Answer, Open};

/// `struct seccomp_notif_addfd`.
#[repr(C)]
#[derive(Debug)]
struct AddFd {
    id: u64,
    flags: u32,
    source: u32,
    target: u32,
    target_flags: u32,
}

// `_IOWR('!', 0, struct seccomp_notif)` and its kin.
const RECEIVE: libc::Ioctl = (0xc050_2100u32) as libc::Ioctl;
const SEND: libc::Ioctl = (0xc018_2101u32) as libc::Ioctl;
const IS_VALID: libc::Ioctl = (0x4008_2102u32) as libc::Ioctl;
const ADD_FD: libc::Ioctl = (0x4018_2103u32) as libc::Ioctl;
const _: () = assert!(size_of::<seccomp_notif>() == 0x50 && size_of::<seccomp_notif_resp>() == 0x18);
const _: () = assert!(size_of::<AddFd>() == 0x18);

fn ioctl<T>(listener: BorrowedFd<'_>, request: libc::Ioctl, argument: &mut T) -> Result<i32, Errno> {
    // SAFETY: the size of what each request reads and writes is part of its number, and held against the type above.
    let answer = unsafe { libc::ioctl(listener.as_raw_fd(), request, std::ptr::from_mut(argument)) };
    if answer < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    Ok(answer)
}

/// Whether this kernel can hand over a descriptor and wake the program in one step (since Linux 5.14). Async-signal-safe.
///
/// # Errors
/// EINVAL where it cannot.
pub(crate) fn can_inject(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    match add_fd(listener, u64::MAX, listener, false) {
        // There is no such call.
        Err(Errno::NOENT) => Ok(()),
        answer => answer,
    }
}

fn add_fd(listener: BorrowedFd<'_>, id: u64, file: BorrowedFd<'_>, close_on_exec: bool) -> Result<(), Errno> {
    let target_flags = if close_on_exec { libc::O_CLOEXEC as u32 } else { 0 };
    let source = file.as_raw_fd() as u32;
    let mut request = AddFd { id, flags: SECCOMP_ADDFD_FLAG_SEND as u32, source, target: 0, target_flags };
    ioctl(listener, ADD_FD, &mut request).map(drop)
}

/// Wakes the program with an error, or, where there is none, lets its call go on. That it no longer waits is no error.
fn respond(listener: BorrowedFd<'_>, id: u64, error: Option<Errno>) {
    let mut response = seccomp_notif_resp {
        id,
        val: 0,
        error: error.map_or(0, |error| -error.raw_os_error()),
        flags: if error.is_some() { 0 } else { SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 },
    };
    let _ = ioctl(listener, SEND, &mut response);
}

fn is_valid(listener: BorrowedFd<'_>, id: u64) -> bool {
    ioctl(listener, IS_VALID, &mut { id }).is_ok()
}

/// A process that answers one call.
struct Worker {
    pid: Pid,
    end: OwnedFd,
    call: u64,
}

/// The supervisor, in a process of its own with a single thread.
#[derive(Debug)]
pub struct Supervisor {
    listener: OwnedFd,
    /// Whoever started us asks here, one byte a question, whether anybody is left.
    control: Option<OwnedFd>,
    rights: Rights,
}

impl Supervisor {
    /// Nothing where there is no /proc to see the programs in.
    pub fn new(listener: OwnedFd, control: OwnedFd) -> Option<Self> {
        let rights = Status::of(std::process::id())?.rights;
        Some(Self { listener, control: Some(control), rights })
    }

    /// Answers until everybody who has the filter is gone.
    pub fn serve(mut self) {
        let survey = shared_survey();
        let mut workers: Vec<Worker> = Vec::new();
        loop {
            let mut watched = vec![PollFd::new(&self.listener, PollFlags::IN)];
            watched.extend(workers.iter().map(|worker| PollFd::new(&worker.end, PollFlags::IN)));
            watched.extend(self.control.as_ref().map(|control| PollFd::new(control, PollFlags::IN)));
            if poll(&mut watched, None).is_err() {
                continue;
            }
            let seen: Vec<PollFlags> = watched.iter().map(PollFd::revents).collect();
            drop(watched);
            let mut seen = seen.into_iter();
            let calls = seen.next().unwrap_or(PollFlags::empty());
            workers.retain(|worker| {
                let has_ended = seen.next().is_some_and(|flags| !flags.is_empty());
                if has_ended {
                    let _ = waitpid(Some(worker.pid), WaitOptions::NOHANG);
                    // Where it ended without an answer, the program must not wait for ever.
                    respond(self.listener.as_fd(), worker.call, None);
                }
                !has_ended
            });
            if calls.contains(PollFlags::IN) {
                workers.extend(self.take(survey));
            } else if !calls.is_empty() {
                return;
            }
            if seen.next().is_some_and(|flags| !flags.is_empty()) && self.is_asked_for_nobody() {
                return;
            }
        }
    }

    /// Answers "somebody is left". Where nobody is, our end is the answer.
    fn is_asked_for_nobody(&mut self) -> bool {
        let Some(control) = &self.control else { return false };
        if !matches!(rustix::io::read(control, &mut [0]), Ok(1)) {
            self.control = None;
            return false;
        }
        let mut watched = [PollFd::new(&self.listener, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let _ = poll(&mut watched, Some(&at_once));
        let flags = watched[0].revents();
        if flags.contains(PollFlags::HUP) && !flags.contains(PollFlags::IN) {
            return true;
        }
        let _ = rustix::io::write(control, &[1]);
        false
    }

    /// Takes one call, and answers it or leaves that to a worker.
    fn take(&self, survey: &Survey) -> Option<Worker> {
        let listener = self.listener.as_fd();
        // SAFETY: plain data, for which zero is a value, and the one that the kernel asks for.
        let mut call: seccomp_notif = unsafe { std::mem::zeroed() };
        // ENOENT: a signal took the program away meanwhile; it comes again. EINTR: so do we.
        ioctl(listener, RECEIVE, &mut call).ok()?;
        let open = if call.pid == 0 { None } else { open_of(&call) };
        let Some(open) = open.filter(|open| asks_for_tmpfile(open.flags)) else {
            respond(listener, call.id, None);
            return None;
        };
        // SAFETY: this process has a single thread, so the child may do whatever this one may.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let answer = worker::answer(call.pid, &open, &self.rights, survey, || is_valid(listener, call.id));
            match answer {
                Answer::Continue => respond(listener, call.id, None),
                Answer::Error(error) => respond(listener, call.id, Some(error)),
                // The file has no name any more: if nobody waits for it, it goes with us.
                Answer::File(file) => {
                    match add_fd(listener, call.id, file.as_fd(), open.flags & libc::O_CLOEXEC != 0) {
                        Ok(()) | Err(Errno::NOENT) => {}
                        Err(error) => respond(listener, call.id, Some(error)),
                    }
                }
            }
            // SAFETY: _exit(2) ends the process and nothing else.
            unsafe { libc::_exit(0) }
        }
        let Some(pid) = Pid::from_raw(child).filter(|_| child > 0) else {
            respond(listener, call.id, None);
            return None;
        };
        if let Ok(end) = pidfd_open(pid, PidfdFlags::empty()) {
            return Some(Worker { pid, end, call: call.id });
        }
        // No descriptor left to watch it by.
        let _ = waitpid(Some(pid), WaitOptions::empty());
        respond(listener, call.id, None);
        None
    }
}

/// What is known of filesystems, in memory that every worker adds to. It lives as long as this process.
fn shared_survey() -> &'static Survey {
    // SAFETY: a mapping of its own; nobody else's memory is touched.
    let mapped = unsafe {
        mmap_anonymous(null_mut(), size_of::<Survey>(), ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)
    };
    match mapped {
        Ok(memory) => {
            let survey = memory.cast::<Survey>();
            // SAFETY: large enough, aligned to a page, and never unmapped; it consists of atomics only.
            unsafe {
                survey.write(Survey::new());
                &*survey
            }
        }
        // Then each worker finds out for itself.
        Err(_) => Box::leak(Box::new(Survey::new())),
    }
}

/// The open that a call is, whatever the architecture.
fn open_of(call: &seccomp_notif) -> Option<Open> {
    let numbers = ARCHITECTURES.iter().find(|numbers| numbers.architecture == call.data.arch)?;
    let number = call.data.nr as u32;
    let [first, second, third, fourth, ..] = call.data.args;
    // open(2) ignores what it does not know, and openat2(2), by which we try, does not.
    let plain = |directory, path, flags: u64, mode: u64| {
        Some(Open {
            directory,
            path,
            flags: (flags & KNOWN_FLAGS) as i32 | (flags as i32 & libc::O_PATH),
            mode: mode as u32 & 0o7777,
            resolve: 0,
        })
    };
    if numbers.open == Some(number) {
        return plain(libc::AT_FDCWD, first, second, third);
    }
    let directory = first as i32;
    if number == numbers.openat {
        return plain(directory, second, third, fourth);
    }
    // A longer structure may ask for what only the kernel knows of.
    if number != numbers.openat2 || fourth != size_of::<OpenHow>() as u64 {
        return None;
    }
    let how = target::bytes::<{ size_of::<OpenHow>() }>(call.pid, third)?;
    let [flags, mode, resolve] = [0, 8, 16].map(|at| u64::from_ne_bytes(std::array::from_fn(|index| how[at + index])));
    openat2_takes(flags, mode).then_some(Open {
        directory,
        path: second,
        flags: flags as i32,
        mode: mode as u32,
        resolve,
    })
}

/// A pair of sockets that keeps one message from the next.
///
/// # Errors
/// As socketpair(2).
pub fn socket_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}
