//! The parasite: what the traced engine makes a program's own thread do (S). `tmpshim_core::parasite` says what it is told
//! and how it asks.
//!
//! It is mapped into programs of every kind, static ones and 32-bit ones among them, and nothing is loaded for it: no
//! libc, no writable memory but the stack that it is sent to, no panic path. Only the baseline's instructions, and never
//! the x87: the vector registers are saved by [`entry`], for a system call keeps them.
#![no_std]

mod directory;
#[cfg_attr(target_arch = "aarch64", path = "entry_aarch64.rs")]
mod entry;
mod link;
#[cfg_attr(target_arch = "aarch64", path = "memory_aarch64.rs")]
mod memory;
mod open;
mod records;

use core::ffi::c_char;
use core::ptr::with_exposed_provenance;
use records::Overseer;
use rustix::io::Errno;
use tmpshim_core::parasite::{Frame, Kind, Said};

/// Never called: the link fails where a panic path is left, because nothing defines this symbol.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn tmpshim_a_panic_path_is_linked() -> !;
    }
    // SAFETY: it cannot be reached: a parasite that refers to it is never linked.
    unsafe { tmpshim_a_panic_path_is_linked() }
}

/// What the program's call gives, and what the log says of it.
type Done = (Result<i32, Errno>, Said);

/// Does the errand.
///
/// # Safety
/// Called by `entry` alone, in a thread that has made the errand's system call, with a whole frame that nobody else looks
/// at meanwhile.
unsafe extern "C" fn run(frame: *mut Frame) {
    // SAFETY: as this function's own contract.
    let frame = unsafe { &mut *frame };
    let overseer = Overseer::new();
    let errand = &frame.errand;
    // SAFETY: the errand is the program's own system call.
    let (result, said) = unsafe {
        match errand.kind {
            kind if kind == Kind::Open as u32 => open::run(errand, &frame.survey, &overseer),
            kind if kind == Kind::Link as u32 => link::run(errand, &frame.survey, &overseer),
            kind if kind == Kind::Directory as u32 => directory::run(errand, &overseer),
            _ => (Err(Errno::NOSYS), Said::Nothing),
        }
    };
    frame.answer.result = match result {
        Ok(value) => value.into(),
        Err(error) => -i64::from(error.raw_os_error()),
    };
    frame.answer.said = said as u32;
    frame.answer.abandoned = overseer.abandoned();
}

/// An address of the program's.
fn text(address: u64) -> *const c_char {
    with_exposed_provenance(address as usize)
}
