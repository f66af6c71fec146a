//! The memory of a thread that has stopped.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use super::ptrace;
use crate::last_errno;
use crate::target::bytes;

/// Reads all of it, also where no more is allowed than to trace the thread: root without CAP_SYS_PTRACE may do that with
/// programs that have become another user's, and may not open their memory. A page at most.
pub(crate) fn read(thread: u32, address: u64, length: usize) -> Option<Vec<u8>> {
    let by_word = || {
        let words = (address..).step_by(8).take(length.div_ceil(8)).map(|address| ptrace::peek(thread, address));
        let words: Vec<u64> = words.collect::<Result<_, _>>().ok()?;
        let read: Vec<u8> = words.into_iter().flat_map(u64::to_ne_bytes).take(length).collect();
        Some(read)
    };
    bytes(thread, address, length).or_else(by_word)
}

/// Writes all of it, where the program itself could.
pub(crate) fn write(thread: u32, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: reads `bytes`, as long as it says; the remote address is the other process's.
    let written =
        unsafe { libc::process_vm_writev(thread as libc::pid_t, &raw const local, 1, &raw const remote, 1, 0) };
    if written == bytes.len() as isize {
        return Ok(());
    }
    if written < 0 && last_errno() == Errno::FAULT {
        return Err(Errno::FAULT);
    }
    // Forbidden by a container's profile, or to somebody who is no more than the tracer.
    write_code(thread, address, bytes)
}

/// Writes all of it, also where the program may only read or run it.
pub(crate) fn write_code(thread: u32, address: u64, bytes: &[u8]) -> Result<(), Errno> {
    let through_proc = || {
        let memory = OpenOptions::new().write(true).open(format!("/proc/{thread}/mem"))?;
        memory.write_all_at(bytes, address)
    };
    if through_proc().is_ok() {
        return Ok(());
    }
    let (words, rest) = bytes.as_chunks::<8>();
    for (word, address) in words.iter().zip((address..).step_by(8)) {
        ptrace::poke(thread, address, u64::from_ne_bytes(*word))?;
    }
    if !rest.is_empty() {
        // What is behind it is ours as well, and zero.
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        ptrace::poke(thread, address + 8 * words.len() as u64, u64::from_ne_bytes(last))?;
    }
    Ok(())
}
