//! Which processes are there: the one that wrote a journal, the children of this one, and whoever shares its memory (D3).
//!
//! A process is known by its number and its start time, because numbers come back. Where /proc cannot tell, the answer is
//! the one that removes nothing.

use crate::fd::openat;
use crate::sys;
use crate::text::Text;
use core::ffi::CStr;
use rustix::fs::{CWD, Mode, OFlags, stat};
use rustix::io::Errno;

/// A process: its number in the PID namespace of whoever looks, and when it was started, in clock ticks since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Process {
    /// Start time; 0 where /proc did not tell.
    pub start: u64,
    /// Number, never 0 for a process.
    pub pid: u32,
    reserved: u32,
}

/// What `/proc/PID/stat` says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its parent's number.
    pub parent: u32,
    /// When it was started, in clock ticks since boot.
    pub start: u64,
    /// It has ended, and its parent has not asked how.
    pub is_zombie: bool,
}

impl Process {
    /// One that is known by both.
    pub const fn new(pid: u32, start: u64) -> Self {
        Self { start, pid, reserved: 0 }
    }

    /// The calling process.
    pub fn current() -> Self {
        Self::new(sys::getpid(), read_status(c"/proc/self/stat").map_or(0, |status| status.start))
    }

    /// Whether it lives. A zombie does not. Where its start time is not known, on either side, any process with its number
    /// is taken for it.
    pub fn is_alive(&self) -> bool {
        if self.pid == 0 || sys::kill(self.pid, 0) == Err(Errno::SRCH) {
            return false;
        }
        // Where /proc is another namespace's, it speaks of others.
        let is_told = number_in_proc() == sys::getpid();
        status(self.pid).filter(|_| is_told).is_none_or(|status| {
            !status.is_zombie && (self.start == 0 || status.start == 0 || status.start == self.start)
        })
    }
}

/// This process's number in the namespace of whoever mounted /proc, 0 where it cannot be had.
pub fn number_in_proc() -> u32 {
    let mut text = [0u8; 16];
    let length = sys::readlinkat(sys::CWD, c"/proc/self".as_ptr(), &mut text).unwrap_or(0);
    text.get(..length).and_then(number).unwrap_or(0)
}

/// The PID namespace of this process, as the inode number that stands for it; 0 without /proc.
pub fn pid_namespace() -> u64 {
    stat(c"/proc/self/ns/pid").map_or(0, |namespace| namespace.st_ino)
}

/// Whether this process is the only one that uses its memory. Where that cannot be told, no.
///
/// unshare(2) of the memory of a process with one thread does nothing where nobody else uses it, and is refused with
/// EINVAL where somebody does: a vfork child, or any other made with CLONE_VM. Where unshare is forbidden (container
/// profiles), or there are more threads, the thread's word for its end tells: libc's fork has one registered, vfork and
/// raw clones have none.
pub fn owns_its_memory() -> bool {
    sys::unshare_memory().is_ok() || sys::clear_tid_address().is_ok_and(|address| address != 0)
}

/// Whether the memory is certainly another process's: a vfork child's, or any other's that was made with CLONE_VM.
///
/// Of several threads unshare(2) is refused as well, so that is asked, too, and before: who has been the only thread still is,
/// and one that ends between the two would otherwise make a guest of this. A thread's directory is a link more.
pub fn is_guest() -> bool {
    !sys::clear_tid_address().is_ok_and(|address| address != 0)
        && stat(c"/proc/self/task").is_ok_and(|threads| threads.st_nlink == 3)
        && sys::unshare_memory() == Err(Errno::INVAL)
}

/// Calls `each` with every living child of this process, whatever it runs by now. One system call where there is none;
/// otherwise all of /proc is looked through, because the lists of children in it are an option of the kernel.
pub fn each_child(mut each: impl FnMut(Process)) {
    if !sys::has_children() {
        return;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(directory) = openat(CWD, c"/proc", flags, Mode::empty()) else { return };
    let own = sys::getpid();
    if number_in_proc() != own {
        return;
    }
    let mut listing = [0u8; 4096];
    crate::listing::each_name(&directory, &mut listing, |name| {
        let Some(pid) = number(name.to_bytes()) else { return };
        if let Some(status) = status(pid)
            && status.parent == own
            && !status.is_zombie
        {
            each(Process::new(pid, status.start));
        }
    });
}

/// Looks at a process, by its number in the namespace of whoever mounted /proc.
pub fn status(pid: u32) -> Option<Status> {
    let mut path = Text::<32>::new();
    path.push(b"/proc/").push_decimal(pid.into()).push(b"/stat");
    read_status(path.as_c_str()?)
}

fn read_status(path: &CStr) -> Option<Status> {
    let file = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = [0u8; 512];
    let length = rustix::io::read(&file, &mut text).ok()?;
    parse(text.get(..length)?)
}

/// Reads a line of proc_pid_stat(5): the program's name in the middle may hold anything, its last `)` ends it.
fn parse(text: &[u8]) -> Option<Status> {
    let end = text.iter().rposition(|&byte| byte == b')')?;
    // Behind it: state (3rd field), parent (4th), ..., start time (22nd).
    let mut fields = text.get(end + 2..)?.split(|&byte| byte == b' ');
    let state = *fields.next()?.first()?;
    let parent = number(fields.next()?)?;
    let start = decimal(fields.nth(17)?)?;
    Some(Status { parent, start, is_zombie: matches!(state, b'Z' | b'X' | b'x') })
}

fn number(text: &[u8]) -> Option<u32> {
    decimal(text)?.try_into().ok()
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit < 10 { value.checked_mul(10)?.checked_add(digit.into()) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d3_a_stat_line_is_read_whatever_the_program_is_called() {
        let fields = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        let seen = parse(format!("12 (a) b) Z {}", fields.replacen('1', "34", 1)).as_bytes()).unwrap();
        assert_eq!(seen, Status { parent: 34, start: 777, is_zombie: true });
        for broken in ["", "12", "12 (a)", "12 (a) S", "12 (a) S 1 2 3", "12 (a) S x 2"] {
            assert_eq!(parse(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn d3_this_process_lives_and_its_children_are_seen_until_they_end() {
        let own = Process::current();
        assert!(own.start != 0 && own.is_alive());
        assert!(!Process::new(own.pid, own.start + 1).is_alive());
        assert!(!Process::new(0, 0).is_alive());
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let children = || {
            let mut found = Vec::new();
            each_child(|process| found.push(process.pid));
            found
        };
        assert!(children().contains(&child.id()));
        let known = Process::new(child.id(), status(child.id()).unwrap().start);
        assert!(known.is_alive());
        drop(child.stdin.take());
        // A zombie first, nothing then.
        while children().contains(&child.id()) {
            std::thread::yield_now();
        }
        assert!(!known.is_alive());
        child.wait().unwrap();
        assert!(!known.is_alive());
    }
}
