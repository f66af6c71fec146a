//! A stack of our own: a clean-up in a signal handler may have been started on an alternate stack of MINSIGSTKSZ bytes,
//! or on a thread that was given hardly any (D4).

use crate::mapping::Mapping;
use core::ffi::c_void;
use core::ptr::NonNull;
use rustix::io::Errno;
use rustix::mm::Advice;

/// What is mapped; touched only as far as it is used.
const SIZE: usize = 128 * 1024;

/// Maps one, for this process only: a forked child does not have it. Gives its upper end.
///
/// # Errors
/// ENOMEM.
pub fn map() -> Result<NonNull<u8>, Errno> {
    let start = Mapping::for_this_process(SIZE, Advice::LinuxDontFork)?.leak();
    // SAFETY: one past the mapping's last byte.
    Ok(unsafe { start.add(SIZE) })
}

/// Calls `work` on the stack that ends at `top`, and comes back.
///
/// # Safety
/// `top` came from `map`, in this process, and nobody else is on that stack.
pub unsafe fn call_on<F: FnOnce()>(top: NonNull<u8>, work: F) {
    unsafe extern "C" fn run<F: FnOnce()>(work: *mut c_void) {
        // SAFETY: the pointer to the option below, which lives until this returns.
        if let Some(work) = unsafe { &mut *work.cast::<Option<F>>() }.take() {
            work();
        }
    }
    let mut work = Some(work);
    let argument: *mut c_void = (&raw mut work).cast();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the stack pointer is kept in a register that `run` preserves, and is back before the block ends; `top` is
    // aligned to a page; everything else that a call may change is declared.
    unsafe {
        core::arch::asm!("mov r12, rsp", "mov rsp, {top}", "call {run}", "mov rsp, r12",
            top = in(reg) top.as_ptr(), run = in(reg) run::<F> as *const (), in("rdi") argument, out("r12") _,
            clobber_abi("C"));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("mov x20, sp", "mov sp, {top}", "blr {run}", "mov sp, x20",
            top = in(reg) top.as_ptr(), run = in(reg) run::<F> as *const (), in("x0") argument, out("x20") _,
            clobber_abi("C"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d4_work_is_done_on_the_other_stack() {
        let top = map().unwrap();
        let mut seen = 0;
        // SAFETY: mapped by the line above, and nobody else knows it.
        unsafe { call_on(top, || seen = (&raw const seen).addr() ^ (&raw const top).addr()) };
        let mut inside = 0;
        // SAFETY: as above.
        unsafe {
            call_on(top, || {
                let local = 0u8;
                inside = (&raw const local).addr();
            });
        };
        let range = top.addr().get() - SIZE..top.addr().get();
        assert!(range.contains(&inside) && !range.contains(&(&raw const inside).addr()));
        assert_ne!(seen, 0);
    }
}
