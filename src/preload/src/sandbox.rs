//! Programs that put themselves under a seccomp filter: what they may do from then on is less than what we would.

use crate::next::Next;
use crate::process::IS_SANDBOXED;
use core::ffi::{c_int, c_long, c_ulong};
use core::mem::MaybeUninit;
use core::sync::atomic::Ordering;
use tmpshim_core::sys;

const _: unsafe extern "C" fn(c_int, ...) -> c_int = libc::prctl;

type PrCtl = unsafe extern "C" fn(c_int, c_ulong, c_ulong, c_ulong, c_ulong) -> c_int;

static PRCTL: Next<PrCtl> = Next::new(c"prctl");

unsafe extern "C" fn raw_prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int {
    let arguments = [option as usize, a as usize, b as usize, c as usize, d as usize, 0].map(MaybeUninit::new);
    // SAFETY: the program's own call, for the kernel to judge.
    let answer = sys::check(unsafe { sys::raw(libc::SYS_prctl, arguments) });
    crate::errno::answer(answer.map(|value| value as c_int), crate::errno::get())
}

/// prctl(2): a look at whether a filter was put on.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int {
    // SAFETY: the program's own arguments, handed on.
    let answer = unsafe { PRCTL.get(raw_prctl)(option, a, b, c, d) };
    if option == libc::PR_SET_SECCOMP {
        note(answer.into());
    }
    answer
}

/// A filter was put on, if the call for it succeeded.
pub(crate) fn note(answer: c_long) {
    if answer >= 0 {
        IS_SANDBOXED.store(true, Ordering::Relaxed);
    }
}
