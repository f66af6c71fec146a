//! `libtmpshim.so`: for every program that reaches the kernel through libc.
//!
//! Each hook is a few lines around `tmpshim_core`: arguments in, core called, errno out. It runs inside somebody else's
//! process, so: no allocator, no lock, no panic path is linked, no thread is started, no descriptor kept; what is not
//! ours to handle goes on to the next `open` in line with one test and one jump (T8).
#![no_std]

use core::ffi::{c_char, c_int};

mod disposition;
mod elf;
mod errno;
mod exit;
mod file;
mod go;
mod link;
mod memory;
mod next;
mod process;
mod sandbox;
mod signal;
mod syscall;
mod tempdir;

/// Never called: the link fails where a panic path is left, because nothing defines this symbol.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn tmpshim_a_panic_path_is_linked() -> !;
    }
    // SAFETY: it cannot be reached: a library that refers to it is never linked.
    unsafe { tmpshim_a_panic_path_is_linked() }
}

/// Run by the loader, before the program's own code and after libc is ready.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = process::start;

/// Run at the end of exit(3) where libc has no `on_exit` (musl).
#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = exit::at_unload;
