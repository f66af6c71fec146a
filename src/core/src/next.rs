//! The calls that reach the kernel through whatever stands behind us.
//!
//! Under a preload that is the next interposer (fakechroot, eatmydata), else libc; under a supervisor the kernel itself.
//! Only calls that such interposers care about go this way: those that take a path of the program's.

use crate::sys;
use core::ffi::c_char;
use rustix::fd::RawFd;
use rustix::io::Errno;

/// Where a stand-in's calls go. Every function takes the program's own pointers and must not touch errno as the program
/// sees it when it succeeds.
#[derive(Clone, Copy)]
pub struct Next {
    /// openat(2).
    pub openat: unsafe fn(RawFd, *const c_char, i32, u32) -> Result<RawFd, Errno>,
    /// openat2(2).
    pub openat2: unsafe fn(RawFd, *const c_char, *const u8, usize) -> Result<RawFd, Errno>,
    /// mkdirat(2).
    pub mkdirat: unsafe fn(RawFd, *const c_char, u32) -> Result<(), Errno>,
}

impl Next {
    /// Straight to the kernel.
    pub const KERNEL: Self = Self { openat: sys::openat, openat2: sys::openat2, mkdirat: sys::mkdirat };
}
