//! Where a thread begins, and how it goes back.

use core::arch::naked_asm;
use core::mem::offset_of;
use tmpshim_core::parasite::{Answer, Frame, Saved, Trap};
use tmpshim_core::tmpfile::plan::{QUESTION_DIRECTORY, QUESTION_FLAGS};

const SAVED: usize = offset_of!(Frame, saved);
const REGISTERS: usize = SAVED + offset_of!(Saved, registers);
const RESULT: usize = offset_of!(Frame, answer) + offset_of!(Answer, result);

/// Where register n is in the frame, in the order of [`Saved::registers`].
const fn register(n: usize) -> usize {
    REGISTERS + 8 * n
}

/// The program's own vector registers, and how they round.
const VECTORS: usize = 16 * 16 + 64;

/// Begins with the frame's address, a multiple of 64, in rdi and rsp, and any flags; the memory below is the stack. Ends
/// at the tracer's last trap. Where that comes back, there is no tracer, and the thread goes back by itself:
///
/// * first the mask, with the program's own stack pointer: what has waited is handled there;
/// * behind a `syscall` instruction, rcx and r11 hold the address and the flags, so the jump goes by rcx. Elsewhere (a
///   32-bit program, `int 0x80`) they hold something else: then `iret` takes everything at once, from below the frame,
///   where nothing is needed any more, a handler that comes in between included.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn tmpshim_parasite() -> ! {
    naked_asm!(
        "mov rbx, rdi",
        // No direction, no alignment checks, no single steps.
        "push 2",
        "popfq",
        "sub rsp, {vectors}",
        "movaps [rsp], xmm0",
        "movaps [rsp + 16], xmm1",
        "movaps [rsp + 32], xmm2",
        "movaps [rsp + 48], xmm3",
        "movaps [rsp + 64], xmm4",
        "movaps [rsp + 80], xmm5",
        "movaps [rsp + 96], xmm6",
        "movaps [rsp + 112], xmm7",
        "movaps [rsp + 128], xmm8",
        "movaps [rsp + 144], xmm9",
        "movaps [rsp + 160], xmm10",
        "movaps [rsp + 176], xmm11",
        "movaps [rsp + 192], xmm12",
        "movaps [rsp + 208], xmm13",
        "movaps [rsp + 224], xmm14",
        "movaps [rsp + 240], xmm15",
        "stmxcsr [rsp + 256]",
        "call {run}",
        "movaps xmm0, [rsp]",
        "movaps xmm1, [rsp + 16]",
        "movaps xmm2, [rsp + 32]",
        "movaps xmm3, [rsp + 48]",
        "movaps xmm4, [rsp + 64]",
        "movaps xmm5, [rsp + 80]",
        "movaps xmm6, [rsp + 96]",
        "movaps xmm7, [rsp + 112]",
        "movaps xmm8, [rsp + 128]",
        "movaps xmm9, [rsp + 144]",
        "movaps xmm10, [rsp + 160]",
        "movaps xmm11, [rsp + 176]",
        "movaps xmm12, [rsp + 192]",
        "movaps xmm13, [rsp + 208]",
        "movaps xmm14, [rsp + 224]",
        "movaps xmm15, [rsp + 240]",
        "ldmxcsr [rsp + 256]",
        // The last trap.
        "mov edi, {directory}",
        "xor esi, esi",
        "mov edx, {flags}",
        "mov r10, rbx",
        "mov r8d, {end}",
        "mov eax, {openat}",
        "syscall",
        // No tracer. What iret takes, and the flags alone before it.
        "mov rsp, rbx",
        "mov eax, ss",
        "push rax",
        "push qword ptr [rbx + {rsp}]",
        "push qword ptr [rbx + {eflags}]",
        "push qword ptr [rbx + {segment}]",
        "push qword ptr [rbx + {instruction}]",
        "push qword ptr [rbx + {eflags}]",
        "mov rsp, [rbx + {rsp}]",
        "mov edi, {setmask}",
        "lea rsi, [rbx + {mask}]",
        "xor edx, edx",
        "mov r10d, 8",
        "mov eax, {sigprocmask}",
        "syscall",
        "mov rcx, [rbx + {rcx}]",
        "cmp rcx, [rbx + {instruction}]",
        "lea rsp, [rbx - 48]",
        "jne 2f",
        "popfq",
        "mov rax, [rbx + {result}]",
        "mov rbp, [rbx + {rbp}]",
        "mov rdi, [rbx + {rdi}]",
        "mov rsi, [rbx + {rsi}]",
        "mov rdx, [rbx + {rdx}]",
        "mov r8, [rbx + {r8}]",
        "mov r9, [rbx + {r9}]",
        "mov r10, [rbx + {r10}]",
        "mov r11, [rbx + {r11}]",
        "mov r12, [rbx + {r12}]",
        "mov r13, [rbx + {r13}]",
        "mov r14, [rbx + {r14}]",
        "mov r15, [rbx + {r15}]",
        "mov rsp, [rbx + {rsp}]",
        "mov rbx, [rbx + {rbx}]",
        "jmp rcx",
        "2:",
        "mov rax, [rbx + {result}]",
        "mov rbp, [rbx + {rbp}]",
        "mov rdi, [rbx + {rdi}]",
        "mov rsi, [rbx + {rsi}]",
        "mov rdx, [rbx + {rdx}]",
        "mov r8, [rbx + {r8}]",
        "mov r9, [rbx + {r9}]",
        "mov r10, [rbx + {r10}]",
        "mov r11, [rbx + {r11}]",
        "mov r12, [rbx + {r12}]",
        "mov r13, [rbx + {r13}]",
        "mov r14, [rbx + {r14}]",
        "mov r15, [rbx + {r15}]",
        "lea rsp, [rbx - 40]",
        "mov rbx, [rbx + {rbx}]",
        "iretq",
        vectors = const VECTORS,
        run = sym crate::run,
        directory = const QUESTION_DIRECTORY,
        flags = const QUESTION_FLAGS,
        end = const Trap::End as u64,
        openat = const libc::SYS_openat,
        setmask = const libc::SIG_SETMASK,
        sigprocmask = const libc::SYS_rt_sigprocmask,
        result = const RESULT,
        instruction = const SAVED + offset_of!(Saved, instruction),
        eflags = const SAVED + offset_of!(Saved, flags),
        segment = const SAVED + offset_of!(Saved, segment),
        mask = const SAVED + offset_of!(Saved, mask),
        rbx = const register(0),
        rbp = const register(1),
        rdi = const register(2),
        rsi = const register(3),
        rdx = const register(4),
        r8 = const register(5),
        r9 = const register(6),
        r10 = const register(7),
        r12 = const register(8),
        r13 = const register(9),
        r14 = const register(10),
        r15 = const register(11),
        rsp = const register(12),
        rcx = const register(13),
        r11 = const register(14),
    )
}
