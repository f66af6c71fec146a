//! Where a thread begins, and how it goes back, on AArch64.
#![expect(clippy::too_many_lines, reason = "one instruction a line")]

use core::arch::naked_asm;
use core::mem::offset_of;
use tmpshim_core::parasite::{Answer, Frame, Saved, Trap};
use tmpshim_core::tmpfile::plan::{QUESTION_DIRECTORY, QUESTION_FLAGS};

const SAVED: usize = offset_of!(Frame, saved);

// The kernel's `struct rt_sigframe`: siginfo, ucontext, and in its reserved part the vector registers.
const CONTEXT: usize = 128;
const STACK: usize = CONTEXT + offset_of!(libc::ucontext_t, uc_stack);
const MASK: usize = CONTEXT + offset_of!(libc::ucontext_t, uc_sigmask);
const MACHINE: usize = CONTEXT + offset_of!(libc::ucontext_t, uc_mcontext);
const REGISTERS: usize = MACHINE + offset_of!(libc::mcontext_t, regs);
const RESERVED: usize = 592;
const VECTORS: usize = RESERVED + 16;
const VECTORS_MAGIC: usize = 0x4650_8001;
const VECTORS_SIZE: usize = 16 + 32 * 16;
/// Where the list of what is in the reserved part ends.
const LAST: usize = RESERVED + VECTORS_SIZE;
const SIZE: usize = LAST + 16;

const _: () = assert!(MACHINE == 304 && REGISTERS == 312 && MASK == 168 && SIZE.is_multiple_of(16));
const _: () = assert!(offset_of!(libc::mcontext_t, pstate) + 16 == RESERVED - MACHINE);

/// Begins with the frame's address, a multiple of 64, in x0 and sp; the memory below is the stack. Ends at the tracer's
/// last trap. Where that comes back, there is no tracer, and the thread goes back by itself: as from a signal handler, for
/// only rt_sigreturn(2) gives all registers and the mask back at once. What it wants is where the vector registers, which
/// the code in between may use, were put at the beginning.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn tmpshim_parasite() -> ! {
    naked_asm!(
        "mov x19, x0",
        "sub sp, sp, #{size}",
        "add x9, sp, #{vectors}",
        "mrs x10, fpsr",
        "mrs x11, fpcr",
        "stp w10, w11, [x9, #-8]",
        "stp q0, q1, [x9]",
        "stp q2, q3, [x9, #32]",
        "stp q4, q5, [x9, #64]",
        "stp q6, q7, [x9, #96]",
        "stp q8, q9, [x9, #128]",
        "stp q10, q11, [x9, #160]",
        "stp q12, q13, [x9, #192]",
        "stp q14, q15, [x9, #224]",
        "stp q16, q17, [x9, #256]",
        "stp q18, q19, [x9, #288]",
        "stp q20, q21, [x9, #320]",
        "stp q22, q23, [x9, #352]",
        "stp q24, q25, [x9, #384]",
        "stp q26, q27, [x9, #416]",
        "stp q28, q29, [x9, #448]",
        "stp q30, q31, [x9, #480]",
        "bl {run}",
        "add x9, sp, #{vectors}",
        "ldp w10, w11, [x9, #-8]",
        "msr fpsr, x10",
        "msr fpcr, x11",
        "ldp q0, q1, [x9]",
        "ldp q2, q3, [x9, #32]",
        "ldp q4, q5, [x9, #64]",
        "ldp q6, q7, [x9, #96]",
        "ldp q8, q9, [x9, #128]",
        "ldp q10, q11, [x9, #160]",
        "ldp q12, q13, [x9, #192]",
        "ldp q14, q15, [x9, #224]",
        "ldp q16, q17, [x9, #256]",
        "ldp q18, q19, [x9, #288]",
        "ldp q20, q21, [x9, #320]",
        "ldp q22, q23, [x9, #352]",
        "ldp q24, q25, [x9, #384]",
        "ldp q26, q27, [x9, #416]",
        "ldp q28, q29, [x9, #448]",
        "ldp q30, q31, [x9, #480]",
        // The last trap.
        "mov w0, #{directory_low}",
        "movk w0, #{directory_high}, lsl #16",
        "mov x1, xzr",
        "mov w2, #{flags_low}",
        "movk w2, #{flags_high}, lsl #16",
        "mov x3, x19",
        "mov x4, #{end}",
        "mov x8, #{openat}",
        "svc #0",
        // No tracer. The alternate stack is among what the call sets: as it is.
        "mov x0, xzr",
        "add x1, sp, #{stack}",
        "mov x8, #{sigaltstack}",
        "svc #0",
        "stp xzr, xzr, [sp, #{context}]",
        "ldr x9, [x19, #{saved_mask}]",
        "str x9, [sp, #{mask}]",
        "str xzr, [sp, #{machine}]",
        "ldr x9, [x19, #{result}]",
        "str x9, [sp, #{registers}]",
        // x1 to x30 and the stack pointer lie in the same order here and there.
        "add x9, x19, #{saved_registers}",
        "add x10, sp, #{registers} + 8",
        "mov x11, #31",
        "2:",
        "ldr x12, [x9], #8",
        "str x12, [x10], #8",
        "subs x11, x11, #1",
        "b.ne 2b",
        "ldr x12, [x19, #{saved_instruction}]",
        "ldr x13, [x19, #{saved_flags}]",
        "stp x12, x13, [x10]",
        "mov w12, #{magic_low}",
        "movk w12, #{magic_high}, lsl #16",
        "mov w13, #{vectors_size}",
        "add x10, sp, #{reserved}",
        "stp w12, w13, [x10]",
        "str xzr, [sp, #{last}]",
        "mov x8, #{sigreturn}",
        "svc #0",
        "brk #1",
        size = const SIZE,
        vectors = const VECTORS,
        run = sym crate::run,
        directory_low = const QUESTION_DIRECTORY & 0xffff,
        directory_high = const (QUESTION_DIRECTORY >> 16) & 0xffff,
        flags_low = const QUESTION_FLAGS & 0xffff,
        flags_high = const (QUESTION_FLAGS >> 16) & 0xffff,
        end = const Trap::End as u64,
        openat = const libc::SYS_openat,
        stack = const STACK,
        sigaltstack = const libc::SYS_sigaltstack,
        context = const CONTEXT,
        saved_mask = const SAVED + offset_of!(Saved, mask),
        mask = const MASK,
        machine = const MACHINE,
        result = const offset_of!(Frame, answer) + offset_of!(Answer, result),
        registers = const REGISTERS,
        saved_registers = const SAVED + offset_of!(Saved, registers),
        saved_instruction = const SAVED + offset_of!(Saved, instruction),
        saved_flags = const SAVED + offset_of!(Saved, flags),
        magic_low = const VECTORS_MAGIC & 0xffff,
        magic_high = const VECTORS_MAGIC >> 16,
        vectors_size = const VECTORS_SIZE,
        reserved = const RESERVED,
        last = const LAST,
        sigreturn = const libc::SYS_rt_sigreturn,
    )
}
