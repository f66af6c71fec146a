//! The code that the traced engine puts into programs, run here in this very process and without a tracer (S): what it
//! makes, what it gives back, and how much stack it takes.

#![cfg(target_arch = "x86_64")]

#[path = "parasite/asking.rs"]
mod asking;
#[path = "parasite/errands.rs"]
mod errands;
#[path = "parasite/i386.rs"]
mod i386;
#[path = "parasite/image.rs"]
mod image;

use std::arch::naked_asm;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::mem::{offset_of, size_of};
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;

use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use tmpshim_core::parasite::{Answer, Errand, Frame, Kind, NO, Said, Saved};
use tmpshim_core::sys;
use tmpshim_core::tmpfile::plan::QUESTION_DIRECTORY;
use tmpshim_core::tmpfile::survey::Survey;
use tmpshim_supervise::trace::image::Image;

static PARASITE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/parasite"));

/// What the tracer gives a thread: the frame is in it.
const SLOT: usize = 32 * 1024;
/// What is looked at here, to see how far it would have gone.
const STACK: usize = 4 * SLOT;
const UNTOUCHED: u8 = 0xa5;

/// What a thread finds in its registers when it is back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(16))]
struct Seen {
    vectors: [u128; 16],
    /// In the order of the frame: rsp comes as 0 where it is as it was.
    registers: [u64; 15],
    result: u64,
    flags: u64,
    rounding: u64,
}

/// Goes to `entry` with the frame, as a tracer sends a thread there, and gives the frame what is to be restored of the
/// stack pointer and where to go on. All other registers hold something else meanwhile.
///
/// # Safety
/// The entry is that of the parasite, the frame whole, at the upper end of its stack.
#[unsafe(naked)]
unsafe extern "C" fn enter(entry: u64, frame: *mut Frame, seen: *mut Seen, by_return: u64) {
    naked_asm!(
        "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
        "push rdx",
        "stmxcsr [rsp - 4]",
        "mov [rsi + {rsp}], rsp",
        "lea rax, [rip + 2f]",
        "mov [rsi + {instruction}], rax",
        // As behind a `syscall` instruction, or as the frame says.
        "test rcx, rcx",
        "jz 3f",
        "mov [rsi + {rcx}], rax",
        "3:",
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsp, rsi",
        "movups xmm0, [rdx]", "movups xmm1, [rdx + 16]", "movups xmm2, [rdx + 32]", "movups xmm3, [rdx + 48]",
        "movups xmm4, [rdx + 64]", "movups xmm5, [rdx + 80]", "movups xmm6, [rdx + 96]", "movups xmm7, [rdx + 112]",
        "movups xmm8, [rdx + 128]", "movups xmm9, [rdx + 144]", "movups xmm10, [rdx + 160]",
        "movups xmm11, [rdx + 176]", "movups xmm12, [rdx + 192]", "movups xmm13, [rdx + 208]",
        "movups xmm14, [rdx + 224]", "movups xmm15, [rdx + 240]",
        "ldmxcsr [rdx + {rounding}]",
        "mov rbx, -1", "mov rbp, -1", "mov rcx, -1", "mov rdx, -1", "mov rsi, -1", "mov r8, -1", "mov r9, -1",
        "mov r10, -1", "mov r11, -1", "mov r12, -1", "mov r13, -1", "mov r14, -1", "mov r15, -1",
        // A program may have left it so.
        "std",
        "jmp rax",
        "2:",
        // Nothing but the stack pointer is known to be what it was.
        "mov [rsp - 16], rax",
        "mov rax, [rsp]",
        "mov [rax + {registers}], rbx", "mov [rax + {registers} + 8], rbp", "mov [rax + {registers} + 16], rdi",
        "mov [rax + {registers} + 24], rsi", "mov [rax + {registers} + 32], rdx", "mov [rax + {registers} + 40], r8",
        "mov [rax + {registers} + 48], r9", "mov [rax + {registers} + 56], r10", "mov [rax + {registers} + 64], r12",
        "mov [rax + {registers} + 72], r13", "mov [rax + {registers} + 80], r14", "mov [rax + {registers} + 88], r15",
        "mov [rax + {registers} + 104], rcx", "mov [rax + {registers} + 112], r11",
        "mov rbx, rax",
        "mov rax, [rsp - 16]",
        "mov [rbx + {result}], rax",
        "lea rsp, [rsp - 32]",
        "pushfq",
        "pop qword ptr [rbx + {flags}]",
        "lea rsp, [rsp + 32]",
        "cld",
        "movups [rbx], xmm0", "movups [rbx + 16], xmm1", "movups [rbx + 32], xmm2", "movups [rbx + 48], xmm3",
        "movups [rbx + 64], xmm4", "movups [rbx + 80], xmm5", "movups [rbx + 96], xmm6", "movups [rbx + 112], xmm7",
        "movups [rbx + 128], xmm8", "movups [rbx + 144], xmm9", "movups [rbx + 160], xmm10",
        "movups [rbx + 176], xmm11", "movups [rbx + 192], xmm12", "movups [rbx + 208], xmm13",
        "movups [rbx + 224], xmm14", "movups [rbx + 240], xmm15",
        "stmxcsr [rbx + {rounding}]",
        "ldmxcsr [rsp - 4]",
        "pop rdx",
        "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
        "ret",
        rsp = const offset_of!(Frame, saved) + offset_of!(Saved, registers) + 8 * 12,
        rcx = const offset_of!(Frame, saved) + offset_of!(Saved, registers) + 8 * 13,
        instruction = const offset_of!(Frame, saved) + offset_of!(Saved, instruction),
        registers = const offset_of!(Seen, registers),
        result = const offset_of!(Seen, result),
        flags = const offset_of!(Seen, flags),
        rounding = const offset_of!(Seen, rounding),
    )
}

/// The parasite, mapped as into a program.
struct Parasite {
    base: *mut std::ffi::c_void,
    image: Image,
}

impl Parasite {
    fn map() -> Self {
        let image = Image::parse(PARASITE).unwrap();
        let memory = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping, filled before anybody runs it.
        let base = unsafe {
            let base = mmap_anonymous(null_mut(), image.length(), memory, MapFlags::PRIVATE).unwrap();
            let bytes = image.at(base as u64);
            assert_eq!(bytes.len(), image.length());
            base.cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            mprotect(base, image.length(), MprotectFlags::READ | MprotectFlags::EXEC).unwrap();
            base
        };
        Self { base, image }
    }
}

impl Drop for Parasite {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, and nobody is in it.
        unsafe { munmap(self.base, self.image.length()) }.unwrap();
    }
}

/// What comes back of an errand.
struct Back {
    answer: Answer,
    seen: Seen,
    expected: Saved,
    mask: u64,
    depth: usize,
}

const FLAGS: u64 = 0x8d7;
const USER: u64 = 0x33;

/// What the kernel makes of the questions that this thread asks: a `SECCOMP_RET_` action. Until it ends.
fn answer_questions(action: u32) {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let unless = |k: u32, jf: u8| libc::sock_filter { jf, ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k) };
    let load = |offset: u32| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset);
    let mut filter = [
        load(0),
        unless(libc::SYS_openat as u32, 3),
        load(16),
        unless(QUESTION_DIRECTORY.cast_unsigned(), 1),
        statement(libc::BPF_RET | libc::BPF_K, action),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: for this test's thread, which ends with it.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

/// The tracer says no to whatever this thread asks.
fn refuse_questions() {
    answer_questions(libc::SECCOMP_RET_ERRNO | NO.unsigned_abs() as u32);
}

/// Makes this thread do an errand.
fn send(errand: Errand, by_return: bool) -> Back {
    send_masked(errand, by_return, u64::MAX)
}

/// With these signals blocked meanwhile.
fn send_masked(errand: Errand, by_return: bool, mask: u64) -> Back {
    let parasite = Parasite::map();
    // SAFETY: a fresh mapping.
    let stack = unsafe { mmap_anonymous(null_mut(), STACK, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE) };
    let stack = stack.unwrap();
    let room = STACK - size_of::<Frame>();
    let frame: *mut Frame = stack.wrapping_byte_add(room).cast();
    assert!(frame.is_aligned());
    let stack: *mut u8 = stack.cast();
    let mut saved = Saved { flags: FLAGS, segment: USER, mask: 1 << (libc::SIGUSR1 - 1), ..Saved::default() };
    for (n, register) in saved.registers.iter_mut().enumerate() {
        *register = 0x1111_2222_3333_0000 + n as u64;
    }
    let mut seen = Seen { rounding: 0x5f80, ..Seen::default() };
    for (n, vector) in seen.vectors.iter_mut().enumerate() {
        *vector = (0x77 << 120) + n as u128;
    }
    let before = sys::set_signal_mask(mask);
    // SAFETY: the mapping above holds all of it, and the parasite keeps to the stack and the errand's own paths.
    let (frame, mask) = unsafe {
        stack.write_bytes(UNTOUCHED, room);
        frame.write(Frame { saved, errand, answer: Answer::default(), survey: Survey::new() });
        enter(parasite.base as u64 + parasite.image.entry(), frame, &raw mut seen, by_return.into());
        (&*frame, sys::set_signal_mask(before))
    };
    // SAFETY: as above.
    let touched = unsafe { std::slice::from_raw_parts(stack, room) };
    let depth = room - touched.iter().position(|&byte| byte != UNTOUCHED).unwrap_or(room);
    let back = Back { answer: frame.answer, seen, expected: frame.saved, mask, depth };
    // SAFETY: nobody looks at it any more.
    unsafe { munmap(stack.cast(), STACK) }.unwrap();
    back
}

impl Back {
    /// Everything but the answer is as it was, and the slot was large enough.
    fn check(&self) {
        for (n, (vector, n128)) in self.seen.vectors.iter().zip(0u128..).enumerate() {
            assert_eq!(*vector, (0x77 << 120) + n128, "xmm{n}");
        }
        for n in (0..15).filter(|&n| n != 12) {
            assert_eq!(self.seen.registers[n], self.expected.registers[n], "register {n}");
        }
        assert_eq!(self.seen.rounding, 0x5f80);
        assert_eq!(self.seen.flags & FLAGS, FLAGS);
        assert_eq!(self.seen.result, self.answer.result.cast_unsigned());
        assert_eq!(self.mask, self.expected.mask);
        println!("{} bytes of stack", self.depth);
        assert!(self.depth > 1000 && self.depth + size_of::<Frame>() < SLOT, "{} bytes of stack", self.depth);
    }
}

fn address(text: &CStr) -> u64 {
    text.as_ptr() as u64
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

fn open_errand(directory: &CStr) -> Errand {
    Errand {
        kind: Kind::Open as u32,
        refusal: libc::EOPNOTSUPP as u32,
        directory: libc::AT_FDCWD,
        flags: libc::O_TMPFILE | libc::O_RDWR,
        path: address(directory),
        mode: 0o640,
        ..Errand::default()
    }
}

fn stand_in(directory: &Path) -> File {
    refuse_questions();
    let back = send(open_errand(&c_path(directory)), true);
    back.check();
    assert_eq!(back.answer.abandoned, 0, "nobody has given a ticket");
    made(&back)
}

fn made(back: &Back) -> File {
    assert_eq!(back.answer.said, Said::Unlinked as u32);
    let fd = i32::try_from(back.answer.result).unwrap();
    assert!(fd >= 0, "{}", Errno::from_raw_os_error(-fd));
    // SAFETY: just made for this process.
    unsafe { File::from_raw_fd(fd) }
}
