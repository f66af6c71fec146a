//! Descriptors that we own.
//!
//! rustix's `OwnedFd` checks for -1 by panicking, in release builds too, and its calls that return a descriptor end in
//! that check. No panic path is to be linked into the library, so those two calls, and the owner, are here; everything
//! else of rustix takes this type as it takes its own.

use crate::sys;
use core::ffi::CStr;
use core::mem::forget;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// An open descriptor, closed when it is dropped.
#[derive(Debug)]
pub struct Fd(RawFd);

impl Fd {
    /// Takes over a descriptor.
    ///
    /// # Safety
    /// It is open, so not negative, and owned by nobody else.
    #[inline]
    pub unsafe fn own(fd: RawFd) -> Self {
        Self(fd)
    }

    /// Gives it up without closing it.
    #[inline]
    pub fn into_raw(self) -> RawFd {
        let fd = self.0;
        forget(self);
        fd
    }
}

impl AsFd for Fd {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open as long as this lives.
        unsafe { sys::borrow(self.0) }
    }
}

impl AsRawFd for Fd {
    #[inline]
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        sys::close(self.0);
    }
}

/// openat(2).
///
/// # Errors
/// As openat(2).
pub fn openat(directory: impl AsFd, path: &CStr, flags: OFlags, mode: Mode) -> Result<Fd, Errno> {
    let (directory, flags) = (directory.as_fd().as_raw_fd(), flags.bits() as i32);
    // SAFETY: the path is closed by NUL, and the descriptor gets an owner at once.
    unsafe { sys::openat(directory, path.as_ptr(), flags, mode.bits()).map(|fd| Fd::own(fd)) }
}

/// unlinkat(2), which the library calls in many places and has no room for a copy in each.
pub fn unlinkat(directory: impl AsFd, path: &CStr, flags: AtFlags) -> Result<(), Errno> {
    sys::unlinkat(directory.as_fd().as_raw_fd(), path.as_ptr(), flags.bits() as i32)
}

/// openat2(2).
///
/// # Errors
/// As openat2(2); ENOSYS before Linux 5.6.
pub fn openat2(directory: impl AsFd, path: &CStr, flags: OFlags, resolve: ResolveFlags) -> Result<Fd, Errno> {
    let how = [u64::from(flags.bits()), 0, resolve.bits()];
    let directory = directory.as_fd().as_raw_fd();
    // SAFETY: the path is closed by NUL, `how` is an open_how of its first size, and the descriptor gets an owner at once.
    unsafe { sys::openat2(directory, path.as_ptr(), how.as_ptr().cast(), size_of_val(&how)).map(|fd| Fd::own(fd)) }
}
