//! libtmpshim.so
#![no_std]

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn tmpshim_a_panic_path_is_linked() -> !;
    }
    // SAFETY: never linked.
    unsafe { tmpshim_a_panic_path_is_linked() }
}

/// x
#[unsafe(no_mangle)]
pub extern "C" fn tmpshim_test() -> i32 { rustix::process::getpid().as_raw_nonzero().get() }
