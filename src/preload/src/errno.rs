//! The program's errno.

use core::ffi::c_int;
use rustix::io::Errno;
use tmpshim_core::sys;

unsafe extern "C" {
    fn __errno_location() -> *mut c_int;
}

/// Its value.
pub(crate) fn get() -> c_int {
    // SAFETY: glibc and musl both give a pointer to the calling thread's own.
    unsafe { *__errno_location() }
}

/// Sets it.
#[inline(never)]
pub(crate) fn set(value: c_int) {
    // SAFETY: as above.
    unsafe { *__errno_location() = value }
}

/// Hands a result of the core to a C caller: the value with errno as it was `before`, or -1 with the error.
pub(crate) fn answer(result: Result<c_int, Errno>, before: c_int) -> c_int {
    match result {
        Ok(value) => {
            set(before);
            value
        }
        Err(error) => {
            set(error.raw_os_error());
            -1
        }
    }
}

/// The other way: what a libc call of the kind "-1 and errno" says.
pub(crate) fn result(value: c_int) -> Result<c_int, Errno> {
    if value < 0 { Err(sys::error(get())) } else { Ok(value) }
}
