//! What the compiler makes of loops over bytes and of assignments: no libc brings it here.
//!
//! In assembler, because the compiler would turn a loop in them into a call of themselves.

use core::arch::asm;

#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's promise; the direction flag is clear, as in every call.
    unsafe {
        asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= length {
        // SAFETY: as this function's own contract: forwards, no byte is overwritten before it is read.
        return unsafe { memcpy(to, from, length) };
    }
    let (last_to, last_from) = (to.wrapping_add(length).wrapping_sub(1), from.wrapping_add(length).wrapping_sub(1));
    // SAFETY: the caller's promise; backwards, and the direction flag is clear again behind it.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") length => _, inout("rdi") last_to => _,
            inout("rsi") last_from => _, options(nostack));
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    // SAFETY: the caller's promise; the direction flag is clear, as in every call.
    unsafe {
        asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _, in("al") byte as u8,
            options(nostack, preserves_flags));
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, length: usize) -> i32 {
    let (mut left, mut right) = (0u32, 0u32);
    // SAFETY: the caller's promise; without a length nothing is compared, and the flags say "equal" before.
    unsafe {
        asm!("cmp eax, eax", "repe cmpsb", "je 2f", "movzx {left:e}, byte ptr [rsi - 1]",
            "movzx {right:e}, byte ptr [rdi - 1]", "2:", left = inout(reg) left, right = inout(reg) right,
            inout("rcx") length => _, inout("rdi") other => _, inout("rsi") one => _, options(nostack, readonly));
    }
    left as i32 - right as i32
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, length: usize) -> i32 {
    // SAFETY: as this function's own contract.
    unsafe { memcmp(one, other, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let left: usize;
    // SAFETY: the caller's promise that there is a NUL; the direction flag is clear, as in every call.
    unsafe {
        asm!("repne scasb", inout("rcx") usize::MAX => left, inout("rdi") text => _, in("al") 0u8,
            options(nostack, readonly));
    }
    // One for every byte, the NUL too.
    usize::MAX - left - 1
}
