//! Which file a linkat means, and whether it is one of ours (T7).

use crate::name::{Kind, Mark, mark};
use crate::sys;
use crate::text::{PATH_MAX, Text, fd_path};
use core::ffi::{CStr, c_char};
use rustix::fd::{BorrowedFd, RawFd};
use rustix::fs::{OFlags, SeekFrom, fcntl_getfl, seek};
use rustix::io::{Errno, FdFlags, fcntl_getfd};

/// The program's descriptor of the file that a linkat names: in this process, or in one under supervision.
pub trait Descriptor {
    /// One of this process by which the file can be looked at and opened again; it may be an O_PATH one.
    fn file(&self) -> BorrowedFd<'_>;

    /// Its status flags, and whether it is closed on exec.
    ///
    /// # Errors
    /// EBADF where it was closed meanwhile.
    fn flags(&self) -> Result<(OFlags, bool), Errno>;

    /// Its offset in bytes.
    ///
    /// # Errors
    /// EBADF where it has none.
    fn offset(&self) -> Result<u64, Errno>;

    /// Makes its number refer to `file`, in one step: at no time is it closed or somebody else's.
    fn replace(&self, file: BorrowedFd<'_>, close_on_exec: bool);
}

/// A descriptor of this process.
pub struct Own(RawFd);

impl Descriptor for Own {
    fn file(&self) -> BorrowedFd<'_> {
        // SAFETY: the program's own descriptor, in the middle of its own call.
        unsafe { sys::borrow(self.0) }
    }

    fn flags(&self) -> Result<(OFlags, bool), Errno> {
        Ok((fcntl_getfl(self.file())?, fcntl_getfd(self.file())?.contains(FdFlags::CLOEXEC)))
    }

    fn offset(&self) -> Result<u64, Errno> {
        seek(self.file(), SeekFrom::Current(0))
    }

    fn replace(&self, file: BorrowedFd<'_>, close_on_exec: bool) {
        let flags = if close_on_exec { libc::O_CLOEXEC } else { 0 };
        // The file has its name by now: there is no way back.
        for _ in 0..100 {
            if !matches!(sys::dup3(file, self.0, flags), Err(Errno::BUSY | Errno::INTR)) {
                break;
            }
        }
    }
}

/// A file of ours that a linkat names.
pub struct Source<D> {
    /// The program's own descriptor of it, where it has one.
    pub descriptor: Option<D>,
    /// The text of its `/proc/self/fd` link.
    pub link: Text<PATH_MAX>,
    /// What its name says.
    pub mark: Mark,
}

impl<D> Source<D> {
    /// Whether it may be published at all.
    pub fn is_exclusive(&self) -> bool {
        self.mark.kind == Kind::Exclusive
    }
}

/// Finds out. Stateless: the name is the mark, so it works for files that came by fork, exec or SCM_RIGHTS. Only the
/// kernel reads `path`, unless it is empty.
///
/// # Safety
/// With AT_EMPTY_PATH in `flags`, `path` can be read for one byte.
pub unsafe fn find(directory: RawFd, path: *const c_char, flags: i32) -> Option<Source<Own>> {
    // SAFETY: as this function's own contract.
    if flags & libc::AT_EMPTY_PATH != 0 && unsafe { *path } == 0 {
        return by_descriptor(directory);
    }
    if flags & libc::AT_SYMLINK_FOLLOW == 0 {
        return None;
    }
    let mut link = read_link(directory, path)?;
    let mut number = None;
    // `/dev/stdin` is a symbolic link to `/proc/self/fd/0`.
    if link.as_bytes().starts_with(b"/proc/") {
        number = descriptor_of(link.as_bytes());
        link = read_link(sys::CWD, link.as_c_str()?.as_ptr())?;
    }
    let mark = mark_of_ours(link.as_bytes())?;
    if number.is_none() {
        // SAFETY: the kernel has just read a link by this path.
        number = descriptor_of(unsafe { CStr::from_ptr(path) }.to_bytes());
    }
    // `/proc/PID/fd/N` may be another process's: then N here is something else.
    let fd = number.filter(|&fd| by_descriptor(fd).is_some_and(|own| own.link.as_bytes() == link.as_bytes()));
    Some(Source { descriptor: fd.map(Own), link, mark })
}

fn by_descriptor(fd: RawFd) -> Option<Source<Own>> {
    if fd < 0 {
        return None;
    }
    // SAFETY: only its number is looked at; a closed one has no link.
    let mut path = fd_path(unsafe { sys::borrow(fd) });
    let link = read_link(sys::CWD, path.as_c_str()?.as_ptr())?;
    let mark = mark_of_ours(link.as_bytes())?;
    Some(Source { descriptor: Some(Own(fd)), link, mark })
}

/// What the text of a `/proc/self/fd` link says of a stand-in; nothing where it is of something else.
pub fn mark_of_ours(link: &[u8]) -> Option<Mark> {
    mark(link).filter(|mark| matches!(mark.kind, Kind::Linkable | Kind::Exclusive))
}

fn read_link(directory: RawFd, path: *const c_char) -> Option<Text<PATH_MAX>> {
    let mut link = Text::new();
    let length = sys::readlinkat(directory, path, link.spare()).ok()?;
    link.set_length(length);
    (!link.is_cut()).then_some(link)
}

/// The number a path ends with.
pub fn descriptor_of(path: &[u8]) -> Option<RawFd> {
    let digits = path.rsplit(|&byte| byte == b'/').next().filter(|digits| (1..=9).contains(&digits.len()))?;
    digits.iter().try_fold(0, |number: RawFd, digit| match digit {
        b'0'..=b'9' => Some(number * 10 + RawFd::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t7_the_last_component_is_the_descriptor() {
        for (path, expected) in [
            ("/proc/self/fd/12", Some(12)),
            ("7", Some(7)),
            ("/proc/self/fd/", None),
            ("/proc/self/fd/1x", None),
            ("/dev/fd/0", Some(0)),
            ("/proc/self/fd/9999999999", None),
            ("", None),
        ] {
            assert_eq!(descriptor_of(path.as_bytes()), expected, "{path}");
        }
    }
}
