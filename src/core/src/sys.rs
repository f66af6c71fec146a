//! System calls that rustix does not offer, or offers only with a checked path.
//!
//! A hook must hand the program's own pointer to the kernel: only the kernel can say EFAULT without crashing. And signal
//! dispositions must be read and set past libc, whose `sigaction` is one of the hooks.
//!
//! Everything here is one `syscall` instruction: async-signal-safe, errno untouched, any thread, also after fork.

use crate::fd::Fd;
use core::ffi::c_char;
use core::mem::MaybeUninit;
use rustix::fd::{AsRawFd, BorrowedFd, RawFd};
use rustix::io::Errno;

/// `AT_FDCWD` as the kernel takes it.
pub const CWD: RawFd = libc::AT_FDCWD;

/// The size of the kernel's signal set in bytes (x86-64 and AArch64), which is not libc's.
const SIGSET_SIZE: usize = 8;

/// Makes a system call with up to six arguments. Unused ones may hold anything: where they are not even initialised, the
/// registers for them keep what they have, and nothing is written to them.
///
/// # Safety
/// As for the system call: every pointer argument must be valid for what the kernel does with it, or be one whose
/// refusal (EFAULT) is wanted.
#[inline]
pub unsafe fn raw(number: libc::c_long, arguments: [MaybeUninit<usize>; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the x86-64 system call convention; rcx and r11 are the two registers the instruction destroys.
    unsafe {
        core::arch::asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b, in("rdx") c,
            in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the AArch64 system call convention; it destroys no register but x0.
    unsafe {
        core::arch::asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c, in("x3") d,
            in("x4") e, in("x5") f, options(nostack));
    }
    result
}

/// The kernel's answer as a result: -4095 to -1 is an errno.
#[inline]
pub fn check(answer: isize) -> Result<usize, Errno> {
    if (-4095..0).contains(&answer) { Err(error(-answer as i32)) } else { Ok(answer as usize) }
}

/// An errno by its number, 1 to 4095. What no kernel says becomes the nearest that it may.
#[inline]
pub const fn error(number: i32) -> Errno {
    let number = if number < 1 {
        1
    } else if number > 4095 {
        4095
    } else {
        number
    };
    // rustix's own constructor has a panic path that the compiler does not see through.
    // SAFETY: Errno is a transparent u16 that holds the negated number, from 0xf001 on; a test holds every number
    // against rustix's constructor.
    unsafe { core::mem::transmute::<u16, Errno>((number as u16).wrapping_neg()) }
}

/// Looks at a descriptor, or `AT_FDCWD`, that somebody else owns.
///
/// # Safety
/// It is not -1, and where it is not open an error is the wanted answer.
#[inline]
pub unsafe fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: as this function's own contract; said to the compiler so that it drops rustix's own check.
    unsafe {
        core::hint::assert_unchecked(fd != -1);
        BorrowedFd::borrow_raw(fd)
    }
}

macro_rules! call {
    ($number:expr $(, $argument:expr)*) => {{
        let mut arguments = [MaybeUninit::uninit(); 6];
        let mut _next = arguments.iter_mut();
        $( if let Some(slot) = _next.next() { slot.write($argument as usize); } )*
        // SAFETY: forwarded to the function around it, which states what its pointers must be.
        check(unsafe { raw($number, arguments) })
    }};
}

/// openat(2) on a program's own path pointer.
///
/// # Safety
/// `path` is only read by the kernel: any value is allowed, a bad one is EFAULT. Declared unsafe because the descriptor
/// that comes back is not yet owned by anything.
#[inline(never)]
pub unsafe fn openat(directory: RawFd, path: *const c_char, flags: i32, mode: u32) -> Result<RawFd, Errno> {
    call!(libc::SYS_openat, directory as isize, path, flags as isize, mode).map(|fd| fd as RawFd)
}

/// openat2(2) on a program's own pointers.
///
/// # Safety
/// As [`openat`]; `how` is only read by the kernel as well.
#[inline]
pub unsafe fn openat2(directory: RawFd, path: *const c_char, how: *const u8, size: usize) -> Result<RawFd, Errno> {
    call!(libc::SYS_openat2, directory as isize, path, how, size).map(|fd| fd as RawFd)
}

/// linkat(2) on a program's own path pointers: never dereferenced here, so a bad one is EFAULT.
#[inline]
pub fn linkat(from: RawFd, old: *const c_char, to: RawFd, new: *const c_char, flags: i32) -> Result<(), Errno> {
    call!(libc::SYS_linkat, from as isize, old, to as isize, new, flags as isize).map(drop)
}

/// mkdirat(2) on a program's own path pointer.
#[inline]
pub fn mkdirat(directory: RawFd, path: *const c_char, mode: u32) -> Result<(), Errno> {
    call!(libc::SYS_mkdirat, directory as isize, path, mode).map(drop)
}

/// readlinkat(2) on a program's own path pointer. What comes back fits `buffer`; a longer target is cut.
#[inline]
pub fn readlinkat(directory: RawFd, path: *const c_char, buffer: &mut [u8]) -> Result<usize, Errno> {
    call!(libc::SYS_readlinkat, directory as isize, path, buffer.as_mut_ptr(), buffer.len())
}

/// Whether a name exists, on a program's own path pointer; a symbolic link counts as itself.
pub fn exists(directory: RawFd, path: *const c_char) -> Result<(), Errno> {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    call!(libc::SYS_newfstatat, directory as isize, path, status.as_mut_ptr(), libc::AT_SYMLINK_NOFOLLOW as isize)
        .map(drop)
}

/// getxattr(2), following symbolic links (a descriptor is reached through its `/proc/self/fd` name).
pub fn getxattr(path: &core::ffi::CStr, name: &core::ffi::CStr, value: &mut [u8]) -> Result<usize, Errno> {
    call!(libc::SYS_getxattr, path.as_ptr(), name.as_ptr(), value.as_mut_ptr(), value.len())
}

/// A number that two files with the same inode number do not share, from the handle that `name_to_handle_at(2)` gives.
/// Only `FILEID_INO32_GEN` (ext4 and most others: inode and generation) counts: FUSE puts a node number in its handles,
/// which changes when the kernel forgets the node.
pub fn generation(directory: BorrowedFd<'_>, name: &core::ffi::CStr, flags: i32) -> Option<u64> {
    const FILEID_INO32_GEN: u32 = 1;
    const ROOM: u32 = 64;
    let mut handle = [0u32; 2 + ROOM as usize / 4];
    handle[0] = ROOM;
    let mut mount = 0i32;
    // This call follows no link unless asked, so AT_SYMLINK_NOFOLLOW is not among its flags.
    let flags = flags & libc::AT_EMPTY_PATH;
    let directory = directory.as_raw_fd() as isize;
    call!(libc::SYS_name_to_handle_at, directory, name.as_ptr(), handle.as_mut_ptr(), &raw mut mount, flags as isize)
        .ok()?;
    let [8, FILEID_INO32_GEN, inode, generation, ..] = handle else { return None };
    Some(u64::from(inode) << 32 | u64::from(generation)).filter(|&number| number != 0)
}

/// unlinkat(2) on a program's own path pointer.
#[inline(never)]
pub fn unlinkat(directory: RawFd, path: *const c_char, flags: i32) -> Result<(), Errno> {
    call!(libc::SYS_unlinkat, directory as isize, path, flags as isize).map(drop)
}

/// getdents64(2) into `buffer`; 0 at the end of the directory.
pub fn getdents(directory: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    call!(libc::SYS_getdents64, directory.as_raw_fd() as isize, buffer.as_mut_ptr(), buffer.len())
}

/// close(2).
pub fn close(fd: RawFd) {
    let _ = call!(libc::SYS_close, fd as isize);
}

/// dup3(2): `to` is the file of `from` afterwards, in one step.
pub fn dup3(from: BorrowedFd<'_>, to: RawFd, flags: i32) -> Result<(), Errno> {
    call!(libc::SYS_dup3, from.as_raw_fd() as isize, to as isize, flags as isize).map(drop)
}

/// fchmod(2).
pub fn fchmod(fd: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    call!(libc::SYS_fchmod, fd.as_raw_fd() as isize, mode).map(drop)
}

/// getcwd(2): the length, its closing NUL included. Begins with `(unreachable)` outside of the root.
pub fn getcwd(buffer: &mut [u8]) -> Result<usize, Errno> {
    call!(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len())
}

/// chmod of an O_PATH descriptor: `fchmodat2(2)` since Linux 6.6, before that through `/proc`.
pub fn chmod_open(fd: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    const FCHMODAT2: libc::c_long = 452;
    let raw = fd.as_raw_fd() as isize;
    match call!(FCHMODAT2, raw, c"".as_ptr(), mode, libc::AT_EMPTY_PATH as isize) {
        Err(Errno::NOSYS | Errno::PERM) => {
            let mut path = crate::text::fd_path(fd);
            let path = path.as_c_str().ok_or(Errno::NAMETOOLONG)?;
            call!(libc::SYS_fchmodat, CWD as isize, path.as_ptr(), mode).map(drop)
        }
        answer => answer.map(drop),
    }
}

/// getrandom(2) to a program's own address: EFAULT where it cannot be written.
pub fn getrandom(address: *mut u8, length: usize) -> Result<usize, Errno> {
    call!(libc::SYS_getrandom, address, length, 0usize)
}

/// getgroups(2). EINVAL where there are more groups than `groups` holds.
pub fn getgroups(groups: &mut [u32]) -> Result<usize, Errno> {
    call!(libc::SYS_getgroups, groups.len(), groups.as_mut_ptr())
}

/// `mq_open(2)` of a new queue of one message of one byte. The kernel's name has no slash in front.
pub fn mq_create(name: &core::ffi::CStr, mode: u32) -> Result<Fd, Errno> {
    let attributes: [i64; 8] = [0, 1, 1, 0, 0, 0, 0, 0];
    let flags = libc::O_CREAT | libc::O_EXCL | libc::O_RDONLY | libc::O_CLOEXEC;
    let fd = call!(libc::SYS_mq_open, name.as_ptr(), flags as isize, mode, attributes.as_ptr())?;
    // SAFETY: the kernel has just made this descriptor for us, nothing else owns it.
    Ok(unsafe { Fd::own(fd as RawFd) })
}

/// `mq_unlink(2)`.
pub fn mq_unlink(name: &core::ffi::CStr) -> Result<(), Errno> {
    call!(libc::SYS_mq_unlink, name.as_ptr()).map(drop)
}

/// fcntl(2) `F_SETLEASE` for writing: succeeds only where nothing else has the file open or mapped. A break would send
/// SIGIO, which ends a program by default, so SIGURG, which is ignored by default, is asked for first.
pub fn set_write_lease(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    const F_SETSIG: usize = 10;
    const F_SETLEASE: usize = 1024;
    let fd = fd.as_raw_fd() as isize;
    call!(libc::SYS_fcntl, fd, F_SETSIG, libc::SIGURG as isize)?;
    call!(libc::SYS_fcntl, fd, F_SETLEASE, libc::F_WRLCK as isize).map(drop)
}

/// The kernel's `struct sigaction` (x86-64, AArch64): not libc's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct KernelSigaction {
    /// `SIG_DFL`, `SIG_IGN`, or the address of a handler.
    pub handler: usize,
    /// `SA_*` flags.
    pub flags: u64,
    /// The signal trampoline, with `SA_RESTORER` (x86-64 only; the field exists on both).
    pub restorer: usize,
    /// Signals blocked while the handler runs: bit n-1 stands for signal n.
    pub mask: u64,
}

/// `rt_sigaction(2)`. `signal` is 1 to 64.
///
/// # Safety
/// A handler in `new` must be safe to run at any instruction of any thread.
pub unsafe fn rt_sigaction(signal: i32, new: Option<&KernelSigaction>) -> Result<KernelSigaction, Errno> {
    let mut old = KernelSigaction { handler: 0, flags: 0, restorer: 0, mask: 0 };
    let new = new.map_or(core::ptr::null(), core::ptr::from_ref);
    call!(libc::SYS_rt_sigaction, signal as isize, new, &raw mut old, SIGSET_SIZE)?;
    Ok(old)
}

/// `rt_sigprocmask(2)` of the calling thread: sets the whole mask, gives the old one. Bit n-1 stands for signal n.
pub fn set_signal_mask(mask: u64) -> u64 {
    let mut old = 0u64;
    let _ = call!(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK as isize, &raw const mask, &raw mut old, SIGSET_SIZE);
    old
}

/// `rt_sigprocmask(2)` of the calling thread: blocks the signals in `mask` as well, gives the old mask.
pub fn block_signals(mask: u64) -> u64 {
    let mut old = 0u64;
    let _ = call!(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK as isize, &raw const mask, &raw mut old, SIGSET_SIZE);
    old
}

/// Whether the page at `address` can be read, without touching it: `rt_sigprocmask(2)` copies its set before it looks at
/// `how`, so an address the kernel cannot read is EFAULT and any other EINVAL.
pub fn is_readable(address: *const u8) -> bool {
    const NO_SUCH_HOW: usize = 99;
    // Eight aligned bytes do not reach into the next page.
    let aligned = address.addr() & !7;
    let answer = call!(libc::SYS_rt_sigprocmask, NO_SUCH_HOW, aligned, core::ptr::null::<u8>(), SIGSET_SIZE);
    // Null would mean "no set".
    aligned != 0 && answer != Err(Errno::FAULT)
}

/// Whether a string can be read up to its NUL, or for as long as any path may be. The page that was asked about last is
/// not asked about again: a loop uses one buffer, on its stack for the most part.
pub fn is_readable_string(text: *const c_char) -> bool {
    use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    const PAGE: usize = 4096;
    static KNOWN: AtomicUsize = AtomicUsize::new(usize::MAX);
    let mut address = text.cast::<u8>();
    for _ in 0..3 {
        let page = address.addr() / PAGE;
        if page != KNOWN.load(Relaxed) {
            if !is_readable(address) {
                return false;
            }
            KNOWN.store(page, Relaxed);
        }
        let rest = PAGE - address.addr() % PAGE;
        for _ in 0..rest {
            // SAFETY: the kernel has just said that this page can be read.
            if unsafe { *address } == 0 {
                return true;
            }
            address = address.wrapping_add(1);
        }
    }
    true
}

/// Queues `information` as `signal` for the calling thread (`rt_tgsigqueueinfo(2)`): a process may send itself any code.
///
/// # Safety
/// `information` points to a whole `siginfo_t`.
pub unsafe fn queue_to_self(signal: i32, information: *const libc::siginfo_t) -> Result<(), Errno> {
    let process = call!(libc::SYS_getpid)?;
    let thread = call!(libc::SYS_gettid)?;
    call!(libc::SYS_rt_tgsigqueueinfo, process, thread, signal as isize, information).map(drop)
}

/// Sends `signal` to the calling thread (tgkill(2)), as raise(3) does.
pub fn raise(signal: i32) -> Result<(), Errno> {
    let process = call!(libc::SYS_getpid)?;
    let thread = call!(libc::SYS_gettid)?;
    call!(libc::SYS_tgkill, process, thread, signal as isize).map(drop)
}

/// The calling thread's alternate stack: its address and size, or nothing where it has none.
pub fn alternate_stack() -> Option<(usize, usize)> {
    let mut stack = MaybeUninit::<libc::stack_t>::zeroed();
    call!(libc::SYS_sigaltstack, core::ptr::null::<u8>(), stack.as_mut_ptr()).ok()?;
    // SAFETY: all-zero bytes are a valid stack_t, and the kernel has filled it.
    let stack = unsafe { stack.assume_init() };
    (stack.ss_flags & libc::SS_DISABLE == 0).then_some((stack.ss_sp as usize, stack.ss_size))
}

/// The process as seen in its own pid namespace. Not cached: a vfork child must see its own.
pub fn getpid() -> u32 {
    call!(libc::SYS_getpid).unwrap_or(0) as u32
}

/// The calling thread, in its own pid namespace.
pub fn gettid() -> u32 {
    call!(libc::SYS_gettid).unwrap_or(0) as u32
}

/// kill(2); signal 0 only asks whether the process is there.
pub fn kill(pid: u32, signal: i32) -> Result<(), Errno> {
    call!(libc::SYS_kill, pid, signal as isize).map(drop)
}

/// unshare(2) of the memory, which changes nothing: EINVAL where it is shared with another process, or by threads.
pub fn unshare_memory() -> Result<(), Errno> {
    call!(libc::SYS_unshare, libc::CLONE_VM as isize).map(drop)
}

/// The word that the kernel clears when the calling thread ends, 0 for none (`PR_GET_TID_ADDRESS`; EINVAL where the kernel
/// was built without checkpointing).
pub fn clear_tid_address() -> Result<usize, Errno> {
    let mut address = 0usize;
    call!(libc::SYS_prctl, libc::PR_GET_TID_ADDRESS as isize, &raw mut address)?;
    Ok(address)
}

/// Whether this process has a child, living or not yet waited for (waitid(2)). Nothing is taken from it.
pub fn has_children() -> bool {
    const P_ALL: usize = 0;
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    let none = core::ptr::null::<u8>();
    call!(libc::SYS_waitid, P_ALL, 0usize, none, flags as isize, none).is_ok()
}

/// flock(2) for this open file alone, EAGAIN where another has it.
pub fn lock(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    call!(libc::SYS_flock, fd.as_raw_fd() as isize, (libc::LOCK_EX | libc::LOCK_NB) as isize).map(drop)
}

/// shmget(2) of a new segment of one page, for this user only.
pub fn shm_create() -> Result<i32, Errno> {
    call!(libc::SYS_shmget, libc::IPC_PRIVATE as isize, 4096usize, 0o600usize).map(|segment| segment as i32)
}

/// shmat(2), anywhere.
pub fn shm_attach(segment: i32) -> Result<usize, Errno> {
    call!(libc::SYS_shmat, segment as isize, core::ptr::null::<u8>(), libc::SHM_RDONLY as isize)
}

/// shmctl(2) IPC_RMID: the segment goes with its last attachment.
pub fn shm_remove(segment: i32) -> Result<(), Errno> {
    call!(libc::SYS_shmctl, segment as isize, libc::IPC_RMID as isize, core::ptr::null::<u8>()).map(drop)
}

/// How many address spaces a segment is attached to.
pub fn shm_attachments(segment: i32) -> Result<u64, Errno> {
    let mut state = MaybeUninit::<libc::shmid_ds>::zeroed();
    call!(libc::SYS_shmctl, segment as isize, libc::IPC_STAT as isize, state.as_mut_ptr())?;
    // SAFETY: all-zero bytes are a valid shmid_ds, and the kernel has filled it.
    Ok(unsafe { state.assume_init() }.shm_nattch)
}

/// execve(2). Comes back only where it cannot be.
///
/// # Safety
/// Both lists are closed by null and made of strings that are closed by NUL.
pub unsafe fn execve(
    path: &core::ffi::CStr,
    arguments: *const *const c_char,
    variables: *const *const c_char,
) -> Errno {
    call!(libc::SYS_execve, path.as_ptr(), arguments, variables).err().unwrap_or(Errno::INVAL)
}

/// Ends the process with `status`, all threads, running nothing.
pub fn exit_group(status: i32) -> ! {
    loop {
        let _ = call!(libc::SYS_exit_group, status as isize);
    }
}

/// Sleeps until `word` is no longer `value`, somebody wakes it, or a tenth of a second has gone (futex(2)).
pub fn wait_while(word: &core::sync::atomic::AtomicU32, value: u32) {
    let timeout: [i64; 2] = [0, 100_000_000];
    let _ = call!(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT as isize, value, timeout.as_ptr());
}

/// Sleeps for a millisecond, or until a signal comes (clock_nanosleep(2)).
pub fn sleep_a_millisecond() {
    let time: [i64; 2] = [0, 1_000_000];
    let none = core::ptr::null::<u8>();
    let _ = call!(libc::SYS_clock_nanosleep, libc::CLOCK_MONOTONIC as isize, 0usize, time.as_ptr(), none);
}

/// Wakes everybody that waits on `word`.
#[inline(never)]
pub fn wake_all(word: &core::sync::atomic::AtomicU32) {
    let _ = call!(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE as isize, i32::MAX as isize);
}

/// A time as nanoseconds since 1970.
pub fn nanoseconds(seconds: i64, nanoseconds: u64) -> u64 {
    (seconds as u64).wrapping_mul(1_000_000_000).wrapping_add(nanoseconds)
}

/// Wall clock time: seconds and nanoseconds since 1970.
pub fn wall_clock() -> (i64, i64) {
    let mut time = [0i64; 2];
    let _ = call!(libc::SYS_clock_gettime, libc::CLOCK_REALTIME as isize, time.as_mut_ptr());
    (time[0], time[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_is_rustix_s() {
        for number in 1..=4095 {
            assert_eq!(error(number), Errno::from_raw_os_error(number));
            assert_eq!(error(number).raw_os_error(), number);
        }
        assert_eq!(error(0), error(1));
        assert_eq!(check(-libc::EPERM as isize), Err(Errno::PERM));
        assert_eq!(check(-4096), Ok(-4096isize as usize));
    }

    #[test]
    fn what_cannot_be_read_is_known_without_touching_it() {
        assert!(!is_readable_string(core::ptr::null()));
        assert!(is_readable_string(c"text".as_ptr()));
        assert!(is_readable(b"12345678".as_ptr()));
        assert!(!is_readable(core::ptr::null()));
        assert!(!is_readable(core::ptr::without_provenance(usize::MAX - 7)));
    }
}
