//! Writing into a thread's memory. What it has written is read as for the other engine (target.rs).

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use super::ptrace;
use crate::last_errno;

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
