//! ptrace(2), for the thread that has seized. Every request needs a stopped thread, but for [`seize`] and [`interrupt`];
//! ESRCH where it is not stopped, or dead: then its end is on its way, and nothing else need be done.

use libc::{
    PTRACE_CONT, PTRACE_DETACH, PTRACE_GETEVENTMSG, PTRACE_INTERRUPT, PTRACE_LISTEN, PTRACE_O_EXITKILL,
    PTRACE_O_TRACECLONE, PTRACE_O_TRACEEXEC, PTRACE_O_TRACEFORK, PTRACE_O_TRACESECCOMP, PTRACE_O_TRACESYSGOOD,
    PTRACE_O_TRACEVFORK, PTRACE_PEEKDATA, PTRACE_POKEDATA, PTRACE_SEIZE, PTRACE_SETOPTIONS, PTRACE_SYSCALL,
};
use rustix::io::Errno;

use crate::last_errno;

const PTRACE_GETSIGMASK: libc::c_uint = 0x420a;
const PTRACE_SETSIGMASK: libc::c_uint = 0x420b;
/// The size of the kernel's signal set.
const SIGSET_SIZE: usize = 8;

/// What is to be told of: calls that the filter stops, and new threads and processes, which are seized as well. Not
/// PTRACE_O_EXITKILL: who kills a tracer must not kill the program.
const OPTIONS: libc::c_int = PTRACE_O_TRACESECCOMP
    | PTRACE_O_TRACECLONE
    | PTRACE_O_TRACEFORK
    | PTRACE_O_TRACEVFORK
    | PTRACE_O_TRACEEXEC
    | PTRACE_O_TRACESYSGOOD;

fn request(request: libc::c_uint, thread: u32, address: usize, data: usize) -> Result<(), Errno> {
    // SAFETY: what is read or written in our memory is each caller's own variable, whose address it gives.
    let answer =
        unsafe { libc::syscall(libc::SYS_ptrace, request as libc::c_ulong, thread as libc::c_long, address, data) };
    if answer < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Begins to trace a process of one thread, without stopping it.
pub(crate) fn seize(thread: u32) -> Result<(), Errno> {
    request(PTRACE_SEIZE, thread, 0, OPTIONS as usize)
}

/// Whether its process is to be killed should the tracer end: for as long as it could not go on without.
pub(crate) fn end_with_us(thread: u32, ends: bool) -> Result<(), Errno> {
    let options = if ends { OPTIONS | PTRACE_O_EXITKILL } else { OPTIONS };
    request(PTRACE_SETOPTIONS, thread, 0, options as usize)
}

/// Lets it run, and gives it a signal, if not 0.
pub(crate) fn resume(thread: u32, signal: i32) -> Result<(), Errno> {
    request(PTRACE_CONT, thread, 0, signal as usize)
}

/// The same, until its next system call begins or ends.
pub(crate) fn resume_to_call(thread: u32, signal: i32) -> Result<(), Errno> {
    request(PTRACE_SYSCALL, thread, 0, signal as usize)
}

/// Leaves it in a group stop, until SIGCONT.
pub(crate) fn listen(thread: u32) -> Result<(), Errno> {
    request(PTRACE_LISTEN, thread, 0, 0)
}

/// Stops it, wherever it is.
pub(crate) fn interrupt(thread: u32) -> Result<(), Errno> {
    request(PTRACE_INTERRUPT, thread, 0, 0)
}

/// Traces it no longer.
pub(crate) fn detach(thread: u32, signal: i32) -> Result<(), Errno> {
    request(PTRACE_DETACH, thread, 0, signal as usize)
}

/// What the kernel has to say about the event it was stopped by.
pub(crate) fn message(thread: u32) -> Result<u64, Errno> {
    let mut message: libc::c_ulong = 0;
    request(PTRACE_GETEVENTMSG, thread, 0, (&raw mut message).addr())?;
    Ok(message)
}

/// Which signals it has blocked: bit n-1 stands for signal n.
pub(crate) fn signal_mask(thread: u32) -> Result<u64, Errno> {
    let mut mask = 0u64;
    request(PTRACE_GETSIGMASK, thread, SIGSET_SIZE, (&raw mut mask).addr())?;
    Ok(mask)
}

/// Sets that. SIGKILL and SIGSTOP stay as they are.
pub(crate) fn set_signal_mask(thread: u32, mask: u64) -> Result<(), Errno> {
    request(PTRACE_SETSIGMASK, thread, SIGSET_SIZE, (&raw const mask).addr())
}

/// Reads one word, also where the program may not.
pub(crate) fn peek(thread: u32, address: u64) -> Result<u64, Errno> {
    let mut word: libc::c_ulong = 0;
    request(PTRACE_PEEKDATA, thread, address as usize, (&raw mut word).addr())?;
    Ok(word)
}

/// Writes one word, also where the program may not.
pub(crate) fn poke(thread: u32, address: u64, word: u64) -> Result<(), Errno> {
    request(PTRACE_POKEDATA, thread, address as usize, word as usize)
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{registers, set_registers};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Errno, request};
    use libc::{PTRACE_GETREGS, PTRACE_SETREGS, user_regs_struct};

    /// Its registers, in the layout of 64 bits also where it is a program of 32.
    pub(crate) fn registers(thread: u32) -> Result<user_regs_struct, Errno> {
        // SAFETY: plain data, for which zero is a value.
        let mut registers: user_regs_struct = unsafe { std::mem::zeroed() };
        request(PTRACE_GETREGS, thread, 0, (&raw mut registers).addr())?;
        Ok(registers)
    }

    /// Sets them.
    pub(crate) fn set_registers(thread: u32, registers: &user_regs_struct) -> Result<(), Errno> {
        request(PTRACE_SETREGS, thread, 0, std::ptr::from_ref(registers).addr())
    }
}

#[cfg(target_arch = "aarch64")]
pub(crate) use arm::{registers, set_registers};

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::{Errno, request};
    use crate::trace::registers::Arm;
    use libc::{PTRACE_GETREGSET, PTRACE_SETREGSET};

    const NT_PRSTATUS: usize = 1;
    const NT_ARM_SYSTEM_CALL: usize = 0x404;

    fn part<T>(how: libc::c_uint, thread: u32, which: usize, data: *mut T) -> Result<(), Errno> {
        let vector = libc::iovec { iov_base: data.cast(), iov_len: size_of::<T>() };
        request(how, thread, which, (&raw const vector).addr())
    }

    /// Its registers, and the number of the call it is in.
    pub(crate) fn registers(thread: u32) -> Result<Arm, Errno> {
        let mut registers = Arm::default();
        part(PTRACE_GETREGSET, thread, NT_PRSTATUS, &raw mut registers.user)?;
        part(PTRACE_GETREGSET, thread, NT_ARM_SYSTEM_CALL, &raw mut registers.call)?;
        Ok(registers)
    }

    /// Sets them.
    pub(crate) fn set_registers(thread: u32, registers: &Arm) -> Result<(), Errno> {
        let mut registers = *registers;
        part(PTRACE_SETREGSET, thread, NT_PRSTATUS, &raw mut registers.user)?;
        part(PTRACE_SETREGSET, thread, NT_ARM_SYSTEM_CALL, &raw mut registers.call)
    }
}
