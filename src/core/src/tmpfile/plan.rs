//! Flags and errno in, decision out (T2): pure, so that every combination is tested without a kernel.

use rustix::io::Errno;

/// `openat2`'s `struct open_how`, as far as this version of the kernel's interface goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OpenHow {
    /// `O_*` flags.
    pub flags: u64,
    /// Permissions of a new file.
    pub mode: u64,
    /// `RESOLVE_*` flags.
    pub resolve: u64,
}

/// Whether an open asks for O_TMPFILE. Both bits must be there (one of them is O_DIRECTORY), and O_PATH makes the
/// kernel forget them.
#[inline]
pub const fn asks_for_tmpfile(flags: i32) -> bool {
    flags & (libc::O_TMPFILE | libc::O_PATH) == libc::O_TMPFILE
}

/// Whether the kernel would take these flags for O_TMPFILE: a writing access mode and no O_CREAT. Otherwise EINVAL is
/// the caller's own.
pub const fn is_valid(flags: i32) -> bool {
    asks_for_tmpfile(flags) && flags & libc::O_ACCMODE != libc::O_RDONLY && flags & libc::O_CREAT == 0
}

/// The flags that openat2(2) takes; for any other the EINVAL is the caller's own.
pub const KNOWN_FLAGS: u64 = {
    use libc::{
        O_ACCMODE, O_APPEND, O_ASYNC, O_CLOEXEC, O_CREAT, O_DIRECT, O_EXCL, O_LARGEFILE, O_NOATIME, O_NOCTTY,
        O_NOFOLLOW, O_NONBLOCK, O_SYNC, O_TMPFILE, O_TRUNC,
    };
    const LARGE_FILE_OF_THE_KERNEL: i32 = 0o100_000;
    (O_ACCMODE | O_APPEND | O_ASYNC | O_CLOEXEC | O_CREAT | O_DIRECT | O_EXCL | O_LARGEFILE | O_NOATIME | O_NOCTTY)
        as u64
        | (O_NOFOLLOW | O_NONBLOCK | O_SYNC | O_TMPFILE | O_TRUNC | LARGE_FILE_OF_THE_KERNEL) as u64
};

/// Whether openat2(2), which unlike open(2) refuses what it does not know, takes these.
pub const fn openat2_takes(flags: u64, mode: u64) -> bool {
    flags & !KNOWN_FLAGS == 0 && mode & !0o7777 == 0
}

/// The question whether a supervisor of ours is above: an open of the null path with [`QUESTION_FLAGS`] in this directory,
/// which no kernel can open ("tmps", negative: no descriptor and not AT_FDCWD). The kernel itself says EFAULT.
pub const QUESTION_DIRECTORY: i32 = -0x746d_7073;
/// The flags of that open, with which every filter of ours stops it.
pub const QUESTION_FLAGS: i32 = libc::O_TMPFILE | libc::O_RDWR;
/// What the supervisor answers.
pub const QUESTION_ANSWER: Errno = Errno::ALREADY;

/// What to do about an O_TMPFILE open that the filesystem refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The error is the program's to see.
    Return,
    /// The filesystem has no O_TMPFILE: stand in.
    StandIn,
    /// It may be that; it is if the path opens as a directory.
    StandInIfDirectory,
}

/// Decides by the errno of the program's own attempt.
pub fn after(refusal: Errno, flags: i32) -> Answer {
    if !is_valid(flags) {
        return Answer::Return;
    }
    match refusal {
        Errno::OPNOTSUPP => Answer::StandIn,
        // Kernels before 3.11 (EISDIR, ENOENT), 9p and VirtFS (EINVAL), a supervisor that is gone (ENOSYS).
        Errno::ISDIR | Errno::NOSYS | Errno::INVAL | Errno::NOENT => Answer::StandInIfDirectory,
        _ => Answer::Return,
    }
}

/// The flags of the named file that stands in: everything the program asked for, but for the O_TMPFILE bits and O_TRUNC,
/// which means nothing on a new file. Closed on exec until it is handed over: another thread may be in the middle of
/// fork and exec.
pub const fn creation_flags(flags: i32) -> i32 {
    flags & !(libc::O_TMPFILE | libc::O_TRUNC) | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC
}

/// The flags for the directory itself. O_NOFOLLOW binds the last component as it does for O_TMPFILE.
pub const fn directory_flags(flags: i32) -> i32 {
    flags & libc::O_NOFOLLOW | libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC
}

#[cfg(test)]
mod tests {
    use super::*;
    use libc::{O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_PATH, O_RDONLY, O_RDWR, O_TMPFILE, O_TRUNC, O_WRONLY};

    #[test]
    fn t2_only_both_bits_are_o_tmpfile() {
        assert!(asks_for_tmpfile(O_TMPFILE | O_RDWR));
        assert!(!asks_for_tmpfile(O_DIRECTORY));
        assert!(!asks_for_tmpfile(O_TMPFILE & !O_DIRECTORY));
        assert!(!asks_for_tmpfile(O_TMPFILE | O_PATH));
    }

    #[test]
    fn t2_openat2_refuses_what_it_does_not_know() {
        assert!(openat2_takes((O_TMPFILE | O_RDWR) as u64, 0o7777));
        assert!(!openat2_takes((O_TMPFILE | O_RDWR) as u64, 0o10000));
        assert!(!openat2_takes(1 << 32 | O_TMPFILE as u64, 0));
        assert!(!openat2_takes(3 << 29 | O_TMPFILE as u64, 0));
    }

    #[test]
    fn t2_every_errno_with_every_kind_of_flags() {
        for raw in 1..134 {
            let refusal = Errno::from_raw_os_error(raw);
            for flags in [O_RDONLY, O_RDWR | O_CREAT, O_WRONLY | O_CREAT, O_RDWR & !O_DIRECTORY] {
                assert_eq!(after(refusal, flags | O_TMPFILE & !O_DIRECTORY), Answer::Return);
            }
            assert_eq!(after(refusal, O_TMPFILE | O_RDONLY), Answer::Return);
            assert_eq!(after(refusal, O_TMPFILE | O_RDWR | O_CREAT), Answer::Return);
            for flags in [O_RDWR, O_WRONLY, O_RDWR | O_WRONLY, O_RDWR | O_EXCL, O_WRONLY | O_APPEND] {
                let expected = match raw {
                    libc::EOPNOTSUPP => Answer::StandIn,
                    libc::EISDIR | libc::ENOSYS | libc::EINVAL | libc::ENOENT => Answer::StandInIfDirectory,
                    _ => Answer::Return,
                };
                assert_eq!(after(refusal, O_TMPFILE | flags), expected, "errno {raw}, flags {flags:o}");
            }
        }
    }

    #[test]
    fn t3_every_flag_carries_over() {
        for bit in 0..31 {
            let flag = 1 << bit;
            if flag & (O_TMPFILE | O_TRUNC) == 0 {
                assert_eq!(creation_flags(O_TMPFILE | O_RDWR | flag) & flag, flag);
            }
        }
        assert_eq!(creation_flags(O_TMPFILE | O_RDWR | O_TRUNC) & (O_TMPFILE | O_TRUNC), 0);
    }
}
