//! What the compiler makes of loops over bytes and of assignments, on AArch64: no libc brings it here.
//!
//! In assembler, because the compiler would turn a loop in them into a call of themselves. Byte by byte: what is moved here
//! are names and small structures.

use core::arch::naked_asm;

#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    naked_asm!(
        "mov x3, x0",
        "cbz x2, 3f",
        "2:",
        "ldrb w4, [x1], #1",
        "strb w4, [x3], #1",
        "subs x2, x2, #1",
        "b.ne 2b",
        "3:",
        "ret",
    )
}

#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    naked_asm!(
        // Forwards where no byte is overwritten before it is read, else backwards.
        "sub x3, x0, x1",
        "cmp x3, x2",
        "b.hs {memcpy}",
        "2:",
        "sub x2, x2, #1",
        "ldrb w4, [x1, x2]",
        "strb w4, [x0, x2]",
        "cbnz x2, 2b",
        "ret",
        memcpy = sym memcpy,
    )
}

#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    naked_asm!("mov x3, x0", "cbz x2, 3f", "2:", "strb w1, [x3], #1", "subs x2, x2, #1", "b.ne 2b", "3:", "ret",)
}

#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, length: usize) -> i32 {
    naked_asm!(
        "mov x3, x0",
        "mov w0, wzr",
        "cbz x2, 3f",
        "2:",
        "ldrb w4, [x3], #1",
        "ldrb w5, [x1], #1",
        "subs w0, w4, w5",
        "b.ne 3f",
        "subs x2, x2, #1",
        "b.ne 2b",
        "3:",
        "ret",
    )
}

#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, length: usize) -> i32 {
    naked_asm!("b {memcmp}", memcmp = sym memcmp)
}

#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    naked_asm!(
        "mov x1, x0",
        "2:",
        "ldrb w2, [x1], #1",
        "cbnz w2, 2b",
        "sub x0, x1, x0",
        // One for every byte, the NUL too.
        "sub x0, x0, #1",
        "ret",
    )
}
