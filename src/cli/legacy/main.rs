//! The legacy program of `tmpshim demo`: does with its temporary files what Clair 4.7.3 and CRIU do with theirs.
//!
//! It stands for a binary that nobody can change: dynamically linked against libc.so.6, which is how a preloaded library
//! reaches it, and with no idea that tmpshim exists. It asks for symbols that every glibc has had since its first
//! release on the architecture, so the one built here runs wherever the command runs. Rust's library would ask for more
//! (and for `libgcc_s`), hence freestanding, with the few lines of start code that a C compiler would add.
//!
//!     legacy clair DIR           exit 0: written, opened again, read back; 1: as Clair, with its message
//!     legacy publish DIR PATH    the same file, then given the name PATH by linkat(2)
//!     legacy criu DIR END        makes CRIU's directory in DIR with a file in it, then ends as END says

#![no_std]
#![no_main]

use core::ffi::{CStr, c_char, c_int, c_void};
use core::panic::PanicInfo;

const O_WRONLY: c_int = 0o1;
const O_CREAT: c_int = 0o100;
const O_CLOEXEC: c_int = 0o200_0000;
#[cfg(target_arch = "x86_64")]
const O_TMPFILE: c_int = 0o2020_0000;
#[cfg(target_arch = "aarch64")]
const O_TMPFILE: c_int = 0o2004_0000;
const AT_FDCWD: c_int = -100;
const AT_SYMLINK_FOLLOW: c_int = 0x400;

unsafe extern "C" {
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn read(fd: c_int, bytes: *mut c_void, length: usize) -> isize;
    fn write(fd: c_int, bytes: *const c_void, length: usize) -> isize;
    fn linkat(old_at: c_int, old: *const c_char, new_at: c_int, new: *const c_char, flags: c_int) -> c_int;
    fn chdir(path: *const c_char) -> c_int;
    fn mkdtemp(template: *mut c_char) -> *mut c_char;
    fn pause() -> c_int;
    fn abort() -> !;
    fn exit(status: c_int) -> !;
    fn _exit(status: c_int) -> !;
    fn strerror(errno: c_int) -> *const c_char;
    fn __errno_location() -> *mut c_int;
}

// `__libc_start_main` got a second version in glibc 2.34; a program that asks for the first one starts everywhere.
#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".symver __libc_start_main, __libc_start_main@GLIBC_2.2.5",
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov r9, rdx",
    "pop rsi",
    "mov rdx, rsp",
    "and rsp, -16",
    "push rax",
    "push rsp",
    "xor r8d, r8d",
    "xor ecx, ecx",
    "lea rdi, [rip + main]",
    "call __libc_start_main@PLT",
    "hlt",
);
#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".symver __libc_start_main, __libc_start_main@GLIBC_2.17",
    ".globl _start",
    "_start:",
    "mov x29, #0",
    "mov x30, #0",
    "mov x5, x0",
    "ldr x1, [sp]",
    "add x2, sp, #8",
    "mov x6, sp",
    "adrp x0, main",
    "add x0, x0, :lo12:main",
    "mov x3, #0",
    "mov x4, #0",
    "bl __libc_start_main",
    "brk #1",
);

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: abort(3) takes nothing and may be called anywhere.
    unsafe { abort() }
}

#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    if count != 3 && count != 4 {
        say(c"usage: legacy clair DIR | publish DIR PATH | criu DIR END\n");
        return 2;
    }
    // SAFETY: the kernel passes `count` strings, and 3 is the terminating null pointer where there are only three.
    let (mode, directory, last) = unsafe { (*arguments.add(1), *arguments.add(2), *arguments.add(3)) };
    // SAFETY: argument 1 was counted above and is a C string.
    match unsafe { CStr::from_ptr(mode) }.to_bytes() {
        b"clair" => clair(directory, core::ptr::null()),
        b"publish" => clair(directory, last),
        b"criu" if count == 4 => criu(directory, last),
        _ => 2,
    }
}

/// Clair's layer file: nameless, written through one descriptor, then opened again by /proc to be read.
fn clair(directory: *const c_char, publish: *const c_char) -> c_int {
    const LAYER: &[u8; 12] = b"layer bytes\n";
    // SAFETY: `directory` is an argument of the program, a C string.
    let file = unsafe { open(directory, O_WRONLY | O_CLOEXEC | O_TMPFILE, 0o644) };
    if file < 0 {
        return fail(c"Error opening temporary file");
    }
    // SAFETY: the buffer is the constant above, with its own length.
    if unsafe { write(file, LAYER.as_ptr().cast(), LAYER.len()) } != LAYER.len() as isize {
        return fail(c"Error writing the temporary file");
    }
    let mut name = *b"/proc/self/fd/00\0";
    if !(0..100).contains(&file) {
        return fail(c"Error: unexpected descriptor");
    }
    name[14] = b'0' + (file / 10) as u8;
    name[15] = b'0' + (file % 10) as u8;
    // The kernel's names have no leading zero.
    if file < 10 {
        name[14] = name[15];
        name[15] = 0;
    }
    // SAFETY: `name` is terminated, O_RDONLY takes no mode.
    let again = unsafe { open(name.as_ptr().cast(), O_CLOEXEC) };
    if again < 0 {
        return fail(c"Error opening the temporary file again");
    }
    let mut bytes = [0u8; 32];
    // SAFETY: the buffer is the array above, with its own length.
    let got = unsafe { read(again, bytes.as_mut_ptr().cast(), bytes.len()) };
    if got != LAYER.len() as isize || !bytes.starts_with(LAYER) {
        return fail(c"Error reading the temporary file back");
    }
    if !publish.is_null() {
        // SAFETY: both names are terminated strings that outlive the call.
        let linked = unsafe { linkat(AT_FDCWD, name.as_ptr().cast(), AT_FDCWD, publish, AT_SYMLINK_FOLLOW) };
        if linked != 0 {
            return fail(c"Error publishing the temporary file");
        }
    }
    // SAFETY: both descriptors were opened here.
    unsafe { close(again) + close(file) }
}

/// CRIU's policy directory: a relative name in the work directory, never removed.
fn criu(directory: *const c_char, end: *const c_char) -> c_int {
    let mut template = *b".criu.temp-aa-policy.XXXXXX\0";
    // SAFETY: `directory` is an argument of the program, a C string.
    if unsafe { chdir(directory) } != 0 {
        return fail(c"Error entering the work directory");
    }
    // SAFETY: the template is a terminated, writable array.
    let made = unsafe { mkdtemp(template.as_mut_ptr().cast()) };
    // SAFETY: `made` is null or the template.
    if made.is_null() || unsafe { chdir(made) } != 0 {
        return fail(c"Error making the policy directory");
    }
    // SAFETY: the name is terminated, O_CREAT has its mode.
    let policy = unsafe { open(c"policy".as_ptr(), O_WRONLY | O_CREAT | O_CLOEXEC, 0o600) };
    // SAFETY: the descriptor was opened just above, ".." is terminated.
    if policy < 0 || unsafe { close(policy) != 0 || chdir(c"..".as_ptr()) != 0 } {
        return fail(c"Error writing the policy");
    }
    // SAFETY: `end` is argument 3, which `main` has counted.
    match unsafe { CStr::from_ptr(end) }.to_bytes() {
        b"return" => 0,
        // SAFETY: exit(3) takes any status.
        b"exit" => unsafe { exit(0) },
        // SAFETY: _exit(2) takes any status.
        b"_exit" => unsafe { _exit(0) },
        // SAFETY: abort(3) takes nothing.
        b"abort" => unsafe { abort() },
        _ => {
            say(c"ready\n");
            loop {
                // SAFETY: pause(2) takes nothing.
                unsafe { pause() };
            }
        }
    }
}

fn fail(what: &CStr) -> c_int {
    // SAFETY: errno of this thread; strerror returns a terminated string.
    let why = unsafe { CStr::from_ptr(strerror(*__errno_location())) };
    say(what);
    say(c": ");
    say(why);
    say(c"\n");
    1
}

fn say(text: &CStr) {
    let bytes = text.to_bytes();
    // SAFETY: the buffer is the string's own. Where nobody reads it there is nothing to be done.
    unsafe { write(2, bytes.as_ptr().cast(), bytes.len()) };
}
