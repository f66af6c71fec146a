//! A thread of a 32-bit program: it goes back into 32-bit code, without a tracer.

use std::arch::naked_asm;
use std::mem::{offset_of, size_of};
use std::path::Path;
use std::ptr::null_mut;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use tmpshim_core::parasite::{Answer, Frame, Saved};
use tmpshim_core::sys;
use tmpshim_core::tmpfile::survey::Survey;
use tmpshim_supervise::trace::image::Image;

use super::{FLAGS, PARASITE, SLOT, c_path, open_errand, refuse_questions};

const CODE: u64 = 0x23;
const PAGE: usize = 4096;

/// What the program finds, at its stack pointer.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Seen {
    /// eax, ebx, ebp, edi, esi, edx, ecx.
    registers: [u32; 7],
    flags: u32,
    segment: u32,
    /// Where 64-bit code goes on.
    back: [u32; 2],
    padding: u32,
    /// The stack pointer of the test.
    stack: u64,
}

/// The program: copied to where 32-bit code can be.
#[unsafe(naked)]
unsafe extern "C" fn program() {
    naked_asm!(
        ".code32",
        "mov [esp], eax",
        "mov [esp + 4], ebx",
        "mov [esp + 8], ebp",
        "mov [esp + 12], edi",
        "mov [esp + 16], esi",
        "mov [esp + 20], edx",
        "mov [esp + 24], ecx",
        "pushfd",
        "pop dword ptr [esp + {flags}]",
        "mov eax, cs",
        "mov [esp + {segment}], eax",
        "call 2f",
        // Where that comes back to is where 64-bit code goes on.
        ".code64",
        "mov rsp, [rsp + {stack}]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        ".code32",
        "2:",
        "pop eax",
        "mov [esp + {back}], eax",
        "mov dword ptr [esp + {back} + 4], 0x33",
        "ljmp [esp + {back}]",
        ".code64",
        flags = const offset_of!(Seen, flags),
        segment = const offset_of!(Seen, segment),
        back = const offset_of!(Seen, back),
        stack = const offset_of!(Seen, stack),
    )
}

/// # Safety
/// As the parasite's entry; `seen` lies below 4 GiB.
#[unsafe(naked)]
unsafe extern "C" fn enter(entry: u64, frame: *mut Frame, seen: *mut Seen) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdx + {stack}], rsp",
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsp, rsi",
        "jmp rax",
        stack = const offset_of!(Seen, stack),
    )
}

#[test]
fn s_a_32_bit_program_goes_on_where_it_was() {
    if !Path::new("/proc/sys/abi/vsyscall32").exists() {
        return println!("this kernel runs no 32-bit programs");
    }
    refuse_questions();
    let image = Image::parse(PARASITE).unwrap();
    let root = tempfile::tempdir().unwrap();
    let directory = c_path(root.path());
    let length = image.length() + PAGE + SLOT + PAGE;
    let low = MapFlags::PRIVATE | MapFlags::from_bits_retain(libc::MAP_32BIT as u32);
    // SAFETY: a fresh mapping for all of it, one part behind the other: parasite, program, slot, and the program's stack.
    unsafe {
        let base = mmap_anonymous(null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, low).unwrap();
        assert!((base as u64) < 1 << 31);
        base.cast::<u8>().copy_from_nonoverlapping(image.at(base as u64).as_ptr(), image.length());
        let text = base.wrapping_byte_add(image.length());
        // Somewhat more than it is long.
        text.cast::<u8>().copy_from_nonoverlapping((program as *const ()).cast(), 128);
        mprotect(base, image.length() + PAGE, MprotectFlags::READ | MprotectFlags::EXEC).unwrap();
        let seen: *mut Seen = text.wrapping_byte_add(PAGE + SLOT + PAGE / 2).cast();
        seen.write(Seen::default());

        let mut saved = Saved {
            instruction: text as u64,
            flags: FLAGS,
            segment: CODE,
            mask: 1 << (libc::SIGUSR1 - 1),
            ..Saved::default()
        };
        for (n, register) in saved.registers.iter_mut().enumerate() {
            *register = 0x1111_0000 + n as u64;
        }
        saved.registers[12] = seen as u64;
        let frame: *mut Frame = text.wrapping_byte_add(PAGE + SLOT - size_of::<Frame>()).cast();
        frame.write(Frame { saved, errand: open_errand(&directory), answer: Answer::default(), survey: Survey::new() });
        let before = sys::set_signal_mask(u64::MAX);
        enter(base as u64 + image.entry(), frame, seen);
        let mask = sys::set_signal_mask(before);

        let (seen, answer) = (*seen, (*frame).answer);
        munmap(base, length).unwrap();
        assert!(answer.result >= 0);
        sys::close(answer.result as i32);
        let registers = [0, 1, 2, 3, 4, 13].map(|n: usize| saved.registers[n] as u32);
        assert_eq!(seen.registers[0], answer.result as u32);
        assert_eq!(seen.registers[1..], registers);
        assert_eq!(u64::from(seen.flags) & FLAGS, FLAGS);
        assert_eq!((u64::from(seen.segment), mask), (CODE, saved.mask));
    }
}
