//! What a stopped thread's registers say of its system call, and how it is made to do something else. Pure: registers in,
//! registers out.

use tmpshim_core::parasite::Saved;

/// The registers of one architecture.
pub(crate) trait Registers: Copy {
    /// `AUDIT_ARCH_…` of the call that it is in, by its number, which the filter has stopped.
    fn architecture(&self) -> u32;

    /// The number of that call.
    fn number(&self) -> u32;

    /// Its arguments.
    fn arguments(&self) -> [u64; 6];

    /// What it gave, at its end.
    fn result(&self) -> i64;

    /// Without the call, as if that had given `result`.
    fn answered(self, result: i64) -> Self;

    /// About to make its call, at the end of which it is, once more.
    fn again(self) -> Self;

    /// About to make another call in the place of the one it is at the end of: mmap, private and of no file.
    fn mapping(self, length: u64, protection: i32) -> Self;

    /// About to run a parasite, in whatever mode it was before. `frame` is its argument and where its stack begins.
    fn visiting(self, entry: u64, frame: u64) -> Self;

    /// What a parasite needs to come back without us.
    fn saved(&self, mask: u64) -> Saved;
}

#[cfg(target_arch = "x86_64")]
pub(crate) type Native = libc::user_regs_struct;
#[cfg(target_arch = "aarch64")]
pub(crate) type Native = Arm;

const PRIVATE: u64 = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as u64;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{PRIVATE, Registers, Saved};
    use crate::filter::ARCHITECTURES;
    use libc::user_regs_struct;

    /// The code segment of 64-bit programs.
    const SEGMENT_64: u64 = 0x33;
    /// `syscall`, `int 0x80` and what the vDSO has behind `sysenter` take two bytes each; so the kernel, too, goes back by
    /// that much where it makes a call once more.
    const INSTRUCTION: u64 = 2;
    const I386_MMAP2: u64 = 192;

    impl Registers for user_regs_struct {
        fn architecture(&self) -> u32 {
            let [native, other] = &ARCHITECTURES;
            // A program of 64 bits can make the other's calls, by `int 0x80`. But for openat2's, all numbers differ.
            let is_native = self.cs == SEGMENT_64 && native.has(self.number());
            if is_native { native.architecture } else { other.architecture }
        }

        fn number(&self) -> u32 {
            self.orig_rax as u32
        }

        fn arguments(&self) -> [u64; 6] {
            if self.architecture() == ARCHITECTURES[0].architecture {
                return [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9];
            }
            [self.rbx, self.rcx, self.rdx, self.rsi, self.rdi, self.rbp].map(|word| u64::from(word as u32))
        }

        fn result(&self) -> i64 {
            match self.rax as i32 {
                _ if self.cs == SEGMENT_64 => self.rax as i64,
                error @ -4095..0 => error.into(),
                // An address, perhaps in the upper half of 32 bits.
                other => i64::from(other as u32),
            }
        }

        fn answered(self, result: i64) -> Self {
            Self { orig_rax: u64::MAX, rax: result as u64, ..self }
        }

        fn again(self) -> Self {
            Self { rip: self.rip - INSTRUCTION, rax: self.orig_rax, orig_rax: u64::MAX, ..self }
        }

        fn mapping(self, length: u64, protection: i32) -> Self {
            let (rip, protection) = (self.rip - INSTRUCTION, protection as u64);
            let own = Self { rip, orig_rax: u64::MAX, ..self };
            if self.architecture() == ARCHITECTURES[0].architecture {
                let rax = libc::SYS_mmap as u64;
                Self { rax, rdi: 0, rsi: length, rdx: protection, r10: PRIVATE, r8: u64::MAX, r9: 0, ..own }
            } else {
                let none = u64::from(u32::MAX);
                Self { rax: I386_MMAP2, rbx: 0, rcx: length, rdx: protection, rsi: PRIVATE, rdi: none, rbp: 0, ..own }
            }
        }

        fn visiting(self, entry: u64, frame: u64) -> Self {
            Self { rip: entry, rsp: frame, rdi: frame, cs: SEGMENT_64, orig_rax: u64::MAX, ..self }
        }

        fn saved(&self, mask: u64) -> Saved {
            let mut registers = [0; 31];
            let own = [
                self.rbx, self.rbp, self.rdi, self.rsi, self.rdx, self.r8, self.r9, self.r10, self.r12, self.r13,
                self.r14, self.r15, self.rsp, self.rcx, self.r11,
            ];
            registers[..own.len()].copy_from_slice(&own);
            Saved { registers, instruction: self.rip, flags: self.eflags, segment: self.cs, mask }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        const EMPTY: user_regs_struct = {
            // SAFETY: plain data, for which zero is a value.
            unsafe { std::mem::zeroed() }
        };

        fn native() -> user_regs_struct {
            let call = user_regs_struct { orig_rax: 257, rdi: 1, rsi: 2, rdx: 3, r10: 4, r8: 5, r9: 6, ..EMPTY };
            user_regs_struct { cs: 0x33, rip: 0x1002, rsp: 77, rax: -38i64 as u64, ..call }
        }

        fn other() -> user_regs_struct {
            let call = user_regs_struct { orig_rax: 295, rbx: 1, rcx: 2, rdx: 3, rsi: 4, rdi: 5, rbp: 6, ..EMPTY };
            user_regs_struct { cs: 0x23, rip: 0x1002, rsp: 77, rax: 0xffff_ffda, ..call }
        }

        #[test]
        fn s1_a_call_of_either_architecture() {
            for (registers, architecture, number) in [(native(), 0xc000_003e, 257), (other(), 0x4000_0003, 295)] {
                assert_eq!((registers.architecture(), registers.number()), (architecture, number));
                assert_eq!(registers.arguments(), [1, 2, 3, 4, 5, 6]);
                assert_eq!(registers.result(), -38);
            }
            assert_eq!(user_regs_struct { rax: 0xf7ff_1000, ..other() }.result(), 0xf7ff_1000);
            // By `int 0x80` from 64 bits; only the lower halves count.
            let mixed = user_regs_struct { cs: 0x33, rbx: !0 << 32 | 1, ..other() };
            assert_eq!((mixed.architecture(), mixed.arguments()[0]), (0x4000_0003, 1));
        }

        #[test]
        fn s2_the_call_is_replaced_and_comes_back_whole() {
            for registers in [native(), other()] {
                let answered = registers.answered(-17);
                assert_eq!((answered.rax as i32, answered.orig_rax as i32, answered.rip), (-17, -1, registers.rip));
                let again = registers.again();
                assert_eq!((again.rip, again.rax, again.orig_rax as i32), (0x1000, registers.orig_rax, -1));
                let mapping = registers.mapping(8192, 5);
                assert_eq!((mapping.rip, mapping.rsp, mapping.cs), (0x1000, 77, registers.cs));
                let arguments = user_regs_struct { orig_rax: registers.orig_rax, ..mapping }.arguments();
                assert_eq!(arguments[..4], [0, 8192, 5, PRIVATE]);
                assert_eq!((arguments[4] as i32, arguments[5]), (-1, 0));
                let visiting = registers.visiting(0x5000, 0x7fc0);
                assert_eq!((visiting.rip, visiting.rsp, visiting.rdi, visiting.cs), (0x5000, 0x7fc0, 0x7fc0, 0x33));
                assert_eq!(visiting.orig_rax as i32, -1, "nothing is made once more");
                let saved = registers.saved(9);
                assert_eq!((saved.instruction, saved.segment, saved.mask), (0x1002, registers.cs, 9));
                assert_eq!(saved.registers[12..14], [77, registers.rcx]);
            }
        }
    }
}

/// `struct user_pt_regs`.
#[cfg(any(test, target_arch = "aarch64"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct ArmUser {
    pub(crate) registers: [u64; 31],
    pub(crate) stack: u64,
    pub(crate) instruction: u64,
    pub(crate) flags: u64,
}

/// AArch64's.
#[cfg(any(test, target_arch = "aarch64"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arm {
    pub(crate) user: ArmUser,
    /// The number of the call, by a set of its own: -1 is none.
    pub(crate) call: i32,
}

#[cfg(any(test, target_arch = "aarch64"))]
mod arm {
    use super::{Arm, PRIVATE, Registers, Saved};

    const ARCHITECTURE: u32 = 0xc000_00b7;
    const INSTRUCTION: u64 = 4;
    const MMAP: u64 = 222;

    impl Registers for Arm {
        fn architecture(&self) -> u32 {
            ARCHITECTURE
        }

        fn number(&self) -> u32 {
            self.call as u32
        }

        fn arguments(&self) -> [u64; 6] {
            std::array::from_fn(|index| self.user.registers[index])
        }

        fn result(&self) -> i64 {
            self.user.registers[0] as i64
        }

        fn answered(mut self, result: i64) -> Self {
            self.call = -1;
            self.user.registers[0] = result as u64;
            self
        }

        fn again(mut self) -> Self {
            self.call = -1;
            self.user.instruction -= INSTRUCTION;
            self
        }

        fn mapping(mut self, length: u64, protection: i32) -> Self {
            self.call = -1;
            self.user.instruction -= INSTRUCTION;
            self.user.registers[..6].copy_from_slice(&[0, length, protection as u64, PRIVATE, u64::MAX, 0]);
            self.user.registers[8] = MMAP;
            self
        }

        fn visiting(mut self, entry: u64, frame: u64) -> Self {
            self.call = -1;
            self.user.instruction = entry;
            self.user.stack = frame;
            self.user.registers[0] = frame;
            self
        }

        fn saved(&self, mask: u64) -> Saved {
            let mut registers = [0; 31];
            registers[..30].copy_from_slice(&self.user.registers[1..]);
            registers[30] = self.user.stack;
            Saved { registers, instruction: self.user.instruction, flags: self.user.flags, segment: 0, mask }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::trace::registers::ArmUser;

        #[test]
        fn s2_arm_does_the_same() {
            let user = ArmUser {
                registers: std::array::from_fn(|index| index as u64),
                stack: 99,
                instruction: 0x1004,
                flags: 3,
            };
            let registers = Arm { user, call: 56 };
            assert_eq!((registers.number(), registers.arguments()), (56, [0, 1, 2, 3, 4, 5]));
            let answered = registers.answered(-17);
            assert_eq!(
                (answered.result(), answered.call, &answered.user.registers[1..]),
                (-17, -1, &user.registers[1..])
            );
            let mapping = registers.mapping(8192, 5);
            assert_eq!(
                (mapping.user.instruction, mapping.user.registers[8], mapping.arguments()[1]),
                (0x1000, 222, 8192)
            );
            let visiting = registers.visiting(0x5000, 0x7fc0);
            assert_eq!(
                (visiting.user.instruction, visiting.user.stack, visiting.user.registers[0]),
                (0x5000, 0x7fc0, 0x7fc0)
            );
            let saved = registers.saved(9);
            assert_eq!((saved.registers[0], saved.registers[29], saved.registers[30]), (1, 30, 99));
            assert_eq!((saved.instruction, saved.mask), (0x1004, 9));
        }
    }
}
