//! `syscall(2)`, libc's door to everything (T1).

use crate::exit::{End, clean_up};
use crate::file::{openat2_through, tmpfile};
use crate::link::{Link, link, may_name_a_descriptor};
use crate::next::Next;
use crate::sandbox;
use crate::tempdir::make_directory;
use core::ffi::{c_int, c_long};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicUsize, Ordering};
use tmpshim_core::sys;
use tmpshim_core::tmpfile::Request;
use tmpshim_core::tmpfile::plan::asks_for_tmpfile;

type Syscall = unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;

pub(crate) static SYSCALL: Next<Syscall> = Next::new(c"syscall");
/// What [`syscall`] jumps to: found by the constructor, because there is no place to look for it in the middle of a jump.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// From the constructor.
pub(crate) fn prepare() {
    NEXT.store((SYSCALL.get(raw_syscall) as *const ()).addr(), Ordering::Relaxed);
}

unsafe extern "C" fn raw_syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    let arguments = [a, b, c, d, e, f].map(|argument| MaybeUninit::new(argument as usize));
    // SAFETY: the program's own call.
    match sys::check(unsafe { sys::raw(number, arguments) }) {
        Ok(value) => value as c_long,
        Err(error) => {
            crate::errno::set(error.raw_os_error());
            -1
        }
    }
}

/// syscall(2). Takes six arguments, whether the program gave them or not: the kernel does not look at the rest. What is
/// not ours to look at goes on by a jump that leaves registers and stack as they are, so that a raw clone returns to the
/// program and never through us: hence assembly, the compiler makes a call of it.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    core::arch::naked_asm!(
        "cmp rdi, {open}",
        "je {look_at}",
        "cmp rdi, {mkdir}",
        "je {look_at}",
        "cmp rdi, {exit_group}",
        "je {look_at}",
        "cmp rdi, {openat}",
        "je {look_at}",
        "cmp rdi, {mkdirat}",
        "je {look_at}",
        "cmp rdi, {linkat}",
        "je {look_at}",
        "cmp rdi, {openat2}",
        "je {look_at}",
        "cmp rdi, {seccomp}",
        "je {look_at}",
        "mov rax, [rip + {next}]",
        "test rax, rax",
        "jz {raw}",
        "jmp rax",
        open = const libc::SYS_open,
        mkdir = const libc::SYS_mkdir,
        exit_group = const libc::SYS_exit_group,
        openat = const libc::SYS_openat,
        mkdirat = const libc::SYS_mkdirat,
        linkat = const libc::SYS_linkat,
        openat2 = const libc::SYS_openat2,
        seccomp = const libc::SYS_seccomp,
        look_at = sym look_at,
        next = sym NEXT,
        raw = sym raw_syscall,
    )
}

/// As above, where there are no `open` and `mkdir`.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    core::arch::naked_asm!(
        "cmp x0, #{exit_group}",
        "b.eq {look_at}",
        "cmp x0, #{openat}",
        "b.eq {look_at}",
        "cmp x0, #{mkdirat}",
        "b.eq {look_at}",
        "cmp x0, #{linkat}",
        "b.eq {look_at}",
        "cmp x0, #{openat2}",
        "b.eq {look_at}",
        "cmp x0, #{seccomp}",
        "b.eq {look_at}",
        "adrp x16, {next}",
        "ldr x16, [x16, :lo12:{next}]",
        "cbz x16, {raw}",
        "br x16",
        exit_group = const libc::SYS_exit_group,
        openat = const libc::SYS_openat,
        mkdirat = const libc::SYS_mkdirat,
        linkat = const libc::SYS_linkat,
        openat2 = const libc::SYS_openat2,
        seccomp = const libc::SYS_seccomp,
        look_at = sym look_at,
        next = sym NEXT,
        raw = sym raw_syscall,
    )
}

unsafe extern "C" fn look_at(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    // SAFETY: the program's own arguments, handed on.
    let native = &move || unsafe { SYSCALL.get(raw_syscall)(number, a, b, c, d, e, f) as c_int };
    let answer = match number {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open if asks_for_tmpfile(b as c_int) => tmpfile(&request(sys::CWD, a, b, c), native),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_mkdir => make_directory(sys::CWD, a as *const _, b as _, native),
        libc::SYS_openat if asks_for_tmpfile(c as c_int) => tmpfile(&request(a as c_int, b, c, d), native),
        // SAFETY: the program's own arguments, handed on.
        libc::SYS_openat2 => unsafe { openat2_through(a as c_int, b as _, c as _, d as usize, native) },
        libc::SYS_linkat if may_name_a_descriptor(e as c_int) => {
            let arguments = Link { from: a as c_int, old: b as _, to: c as c_int, new: d as _, flags: e as c_int };
            link(&arguments, native)
        }
        libc::SYS_mkdirat => make_directory(a as c_int, b as *const _, c as _, native),
        libc::SYS_seccomp => {
            let answer = native();
            sandbox::note(answer.into());
            answer
        }
        libc::SYS_exit_group => {
            clean_up(End::Status(a as c_int));
            native()
        }
        _ => native(),
    };
    answer.into()
}

const fn request(directory: c_int, path: c_long, flags: c_long, mode: c_long) -> Request {
    Request {
        directory,
        path: core::ptr::with_exposed_provenance(path as usize),
        flags: flags as c_int,
        mode: mode as u32,
        resolve: 0,
    }
}
