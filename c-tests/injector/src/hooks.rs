//! The functions that the injector stands before.

use libc::{c_char, c_int, mode_t};
use redhook::{hook, real};

use crate::rules::{Call, answer};

// SAFETY of every hook: the arguments are passed on as they came, to the function that the program would have reached, whose
// type the hook repeats. Optional arguments are passed in registers, where a fixed third or fourth one lies as well.

hook! {
    unsafe fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int => injected_open {
        // SAFETY: see above.
        answer(Call::Open, flags, || unsafe { real!(open)(path, flags, mode) })
    }
}

hook! {
    unsafe fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int => injected_open64 {
        // SAFETY: see above.
        answer(Call::Open, flags, || unsafe { real!(open64)(path, flags, mode) })
    }
}

hook! {
    unsafe fn openat(dirfd: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int => injected_openat {
        // SAFETY: see above.
        answer(Call::Openat, flags, || unsafe { real!(openat)(dirfd, path, flags, mode) })
    }
}

hook! {
    unsafe fn openat64(dirfd: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int => injected_openat64 {
        // SAFETY: see above.
        answer(Call::Openat, flags, || unsafe { real!(openat64)(dirfd, path, flags, mode) })
    }
}

hook! {
    unsafe fn linkat(
        from_dir: c_int, from: *const c_char, to_dir: c_int, to: *const c_char, flags: c_int
    ) -> c_int => injected_linkat {
        // SAFETY: see above.
        answer(Call::Linkat, flags, || unsafe { real!(linkat)(from_dir, from, to_dir, to, flags) })
    }
}

hook! {
    unsafe fn unlinkat(dirfd: c_int, path: *const c_char, flags: c_int) -> c_int => injected_unlinkat {
        // SAFETY: see above.
        answer(Call::Unlinkat, flags, || unsafe { real!(unlinkat)(dirfd, path, flags) })
    }
}
