//! The seccomp filter, as data (S1). What it does not know it allows, foreign architectures included: a program must not
//! notice that it is there.

use libc::{
    AT_EMPTY_PATH, AT_SYMLINK_FOLLOW, BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET,
    BPF_W, O_PATH, O_TMPFILE, PTRACE_ATTACH, PTRACE_SEIZE, PTRACE_TRACEME, SECCOMP_RET_ALLOW, SECCOMP_RET_TRACE,
    SECCOMP_RET_USER_NOTIF, sock_filter,
};

/// Who is told of a call that is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Whoever has the listener: seccomp_unotify(2).
    Listener,
    /// The tracer: ptrace(2).
    Tracer,
}

/// What a tracer is told with each stop (`PTRACE_GETEVENTMSG`), so that it knows them from those of the program's own
/// filters.
pub const TRACE_MARK: u16 = 0x7473;

/// Which calls are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// Opens with O_TMPFILE, and linkat of an open file (T1, T7).
    pub files: bool,
    /// mkdir and mkdirat (D1).
    pub directories: bool,
}

/// The system calls of one architecture that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// `AUDIT_ARCH_…`, as the kernel tells it.
    pub architecture: u32,
    /// Newer architectures have openat only.
    pub open: Option<u32>,
    /// openat(2).
    pub openat: u32,
    /// openat2(2).
    pub openat2: u32,
    /// linkat(2).
    pub linkat: u32,
    /// Newer architectures have mkdirat only.
    pub mkdir: Option<u32>,
    /// mkdirat(2).
    pub mkdirat: u32,
    /// ptrace(2).
    pub ptrace: u32,
}

impl Numbers {
    /// Whether a call of this number is ever stopped.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has(&self, number: u32) -> bool {
        [self.openat, self.openat2, self.linkat, self.mkdirat, self.ptrace].contains(&number)
            || [self.open, self.mkdir].contains(&Some(number))
    }
}

/// landlock_restrict_self(2), the same everywhere.
pub const LANDLOCK_RESTRICT_SELF: u32 = 446;

/// The architectures whose programs run on this kernel and are looked at: the native one first. x32 has numbers of its
/// own, all with bit 30 set, so none of these.
#[cfg(target_arch = "x86_64")]
pub const ARCHITECTURES: [Numbers; 2] = [
    Numbers {
        architecture: 0xc000_003e,
        open: Some(2),
        openat: 257,
        openat2: 437,
        linkat: 265,
        mkdir: Some(83),
        mkdirat: 258,
        ptrace: 101,
    },
    // i386, whose O_TMPFILE has the same value.
    Numbers {
        architecture: 0x4000_0003,
        open: Some(5),
        openat: 295,
        openat2: 437,
        linkat: 303,
        mkdir: Some(39),
        mkdirat: 296,
        ptrace: 26,
    },
];
/// The architecture whose programs are looked at. 32-bit ARM's O_TMPFILE has another value, so it is left alone.
#[cfg(target_arch = "aarch64")]
pub const ARCHITECTURES: [Numbers; 1] = [Numbers {
    architecture: 0xc000_00b7,
    open: None,
    openat: 56,
    openat2: 437,
    linkat: 37,
    mkdir: None,
    mkdirat: 34,
    ptrace: 117,
}];

/// What has to hold of a call's argument.
#[derive(Clone, Copy)]
enum When {
    Always,
    /// All bits of O_TMPFILE (one of them is O_DIRECTORY), and not O_PATH, which makes the kernel forget them.
    Tmpfile(u32),
    /// The argument has one of these bits.
    AnyOf(u32, u32),
    /// The argument is one of these.
    OneOf(u32, [u32; 3]),
}

/// Where `struct seccomp_data` has its fields: number, architecture, instruction pointer, six arguments of 64 bits.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The instructions for all architectures.
pub fn program(watch: Watch, told: Told) -> Vec<sock_filter> {
    let mut program = vec![load(ARCHITECTURE)];
    for numbers in &ARCHITECTURES {
        let section = section(numbers, watch, told);
        program.push(jump(BPF_JEQ, numbers.architecture, section.len()));
        program.extend(section);
    }
    program.push(answer(SECCOMP_RET_ALLOW));
    program
}

fn section(numbers: &Numbers, watch: Watch, told: Told) -> Vec<sock_filter> {
    let mut rules = Vec::new();
    if watch.files {
        rules.extend([
            (Some(numbers.openat), When::Tmpfile(2)),
            (numbers.open, When::Tmpfile(1)),
            // Its flags lie in memory.
            (Some(numbers.openat2), When::Always),
            (Some(numbers.linkat), When::AnyOf(4, (AT_EMPTY_PATH | AT_SYMLINK_FOLLOW) as u32)),
        ]);
    }
    if watch.directories {
        rules.extend([(numbers.mkdir, When::Always), (Some(numbers.mkdirat), When::Always)]);
    }
    if watch != Watch::default() {
        // Not to be answered, but to be known.
        rules.push(match told {
            Told::Listener => (Some(LANDLOCK_RESTRICT_SELF), When::Always),
            // Whoever wants to trace one of ours: a thread has one tracer.
            Told::Tracer => (Some(numbers.ptrace), When::OneOf(0, [PTRACE_TRACEME, PTRACE_ATTACH, PTRACE_SEIZE])),
        });
    }
    let mut section = vec![load(NUMBER)];
    for (number, when) in rules {
        let Some(number) = number else { continue };
        let decision = decision(when, told);
        section.push(jump(BPF_JEQ, number, decision.len()));
        section.extend(decision);
    }
    section.push(answer(SECCOMP_RET_ALLOW));
    section
}

/// Ends in an answer whatever the arguments are, so that the number need not be loaded again.
fn decision(when: When, told: Told) -> Vec<sock_filter> {
    let stop = match told {
        Told::Listener => SECCOMP_RET_USER_NOTIF,
        Told::Tracer => SECCOMP_RET_TRACE | u32::from(TRACE_MARK),
    };
    let (stop, allow) = (answer(stop), answer(SECCOMP_RET_ALLOW));
    match when {
        When::Always => vec![stop],
        When::Tmpfile(argument) => vec![
            load_argument(argument),
            instruction(BPF_ALU | BPF_AND | BPF_K, (O_TMPFILE | O_PATH) as u32),
            jump(BPF_JEQ, O_TMPFILE as u32, 1),
            stop,
            allow,
        ],
        When::AnyOf(argument, bits) => vec![load_argument(argument), jump(BPF_JSET, bits, 1), stop, allow],
        When::OneOf(argument, [one, two, three]) => vec![
            load_argument(argument),
            jump(BPF_JEQ, one, 1),
            stop,
            jump(BPF_JEQ, two, 1),
            stop,
            jump(BPF_JEQ, three, 1),
            stop,
            allow,
        ],
    }
}

fn instruction(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn load(offset: u32) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, offset)
}

/// The lower half: flags are 32 bits, and both architectures are little-endian.
fn load_argument(number: u32) -> sock_filter {
    load(ARGUMENTS + 8 * number)
}

/// Goes on with the next instruction where the comparison holds, else over `otherwise` of them.
fn jump(comparison: u32, k: u32, otherwise: usize) -> sock_filter {
    let jf = u8::try_from(otherwise).expect("sections are short");
    sock_filter { jf, ..instruction(BPF_JMP | comparison | BPF_K, k) }
}

fn answer(action: u32) -> sock_filter {
    instruction(BPF_RET | BPF_K, action)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libc::{O_CREAT, O_DIRECTORY, O_RDWR};

    /// Runs the filter as the kernel does.
    fn run(program: &[sock_filter], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let word = |offset: u32| match offset {
            NUMBER => number,
            ARCHITECTURE => architecture,
            _ => {
                let argument = arguments[(offset - ARGUMENTS) as usize / 8];
                if offset.is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 }
            }
        };
        let (mut accumulator, mut next) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[next];
            next += 1;
            let is = |wanted: u32| u32::from(code) == wanted;
            if is(BPF_LD | BPF_W | BPF_ABS) {
                accumulator = word(k);
            } else if is(BPF_ALU | BPF_AND | BPF_K) {
                accumulator &= k;
            } else if is(BPF_JMP | BPF_JEQ | BPF_K) {
                next += usize::from(if accumulator == k { jt } else { jf });
            } else if is(BPF_JMP | BPF_JSET | BPF_K) {
                next += usize::from(if accumulator & k == 0 { jf } else { jt });
            } else if is(BPF_RET | BPF_K) {
                return k;
            } else {
                panic!("unknown instruction {code:#x}");
            }
        }
    }

    fn notified(watch: Watch, architecture: u32, arguments: [u64; 6]) -> Vec<u32> {
        stopped(watch, Told::Listener, architecture, arguments)
    }

    fn stopped(watch: Watch, told: Told, architecture: u32, arguments: [u64; 6]) -> Vec<u32> {
        const TRACE: u32 = SECCOMP_RET_TRACE | TRACE_MARK as u32;
        let program = program(watch, told);
        let stopped = |number: &u32| match (told, run(&program, architecture, *number, arguments)) {
            (Told::Listener, SECCOMP_RET_USER_NOTIF) | (Told::Tracer, TRACE) => true,
            (_, SECCOMP_RET_ALLOW) => false,
            (_, other) => panic!("{other:#x}"),
        };
        (0..600).chain(0x4000_0000..0x4000_0258).filter(stopped).collect()
    }

    /// And the one call that is always stopped.
    fn sorted(numbers: &[Option<u32>]) -> Vec<u32> {
        let mut numbers: Vec<u32> = numbers.iter().flatten().copied().chain([LANDLOCK_RESTRICT_SELF]).collect();
        numbers.sort_unstable();
        numbers
    }

    const FILES: Watch = Watch { files: true, directories: false };
    const DIRECTORIES: Watch = Watch { files: false, directories: true };
    const ALL: Watch = Watch { files: true, directories: true };

    #[test]
    fn s1_flags_decide_on_every_number_of_every_architecture() {
        let tmpfile = (O_TMPFILE | O_RDWR) as u64;
        for numbers in &ARCHITECTURES {
            let Numbers { architecture, open, openat, openat2, .. } = *numbers;
            // Only where each call has its flags.
            for (position, door) in [(1, open), (2, Some(openat))] {
                let mut arguments = [0; 6];
                arguments[position] = tmpfile;
                assert_eq!(notified(FILES, architecture, arguments), sorted(&[door, Some(openat2)]));
                // The kernel ignores the upper half of an int.
                arguments[position] |= 0xffff_ffff << 32;
                assert_eq!(notified(FILES, architecture, arguments), sorted(&[door, Some(openat2)]));
            }
            for flags in [0, O_DIRECTORY, O_TMPFILE & !O_DIRECTORY, O_TMPFILE | O_PATH, O_RDWR | O_CREAT] {
                let mut arguments = [flags as u64; 6];
                // O_CREAT is AT_EMPTY_PATH's neighbour, and other bits are others of linkat's.
                arguments[4] = 0;
                assert_eq!(notified(FILES, architecture, arguments), sorted(&[Some(openat2)]), "flags {flags:o}");
            }
        }
    }

    #[test]
    fn s1_links_of_open_files_and_directories_on_request() {
        for numbers in &ARCHITECTURES {
            let Numbers { architecture, openat2, linkat, mkdir, mkdirat, .. } = *numbers;
            let directories = [mkdir, Some(mkdirat)];
            for flags in [AT_EMPTY_PATH, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH | AT_SYMLINK_FOLLOW] {
                let arguments = [0, 0, 0, 0, flags as u64, 0];
                assert_eq!(notified(FILES, architecture, arguments), sorted(&[Some(openat2), Some(linkat)]));
                let all = [&[Some(openat2), Some(linkat)][..], &directories].concat();
                assert_eq!(notified(ALL, architecture, arguments), sorted(&all));
            }
            assert_eq!(notified(FILES, architecture, [0; 6]), sorted(&[Some(openat2)]));
            assert_eq!(notified(DIRECTORIES, architecture, [!0; 6]), sorted(&directories));
            assert_eq!(notified(Watch::default(), architecture, [!0; 6]), []);
        }
    }

    #[test]
    fn s1_a_tracer_is_told_of_the_same_calls_and_of_other_tracers() {
        for numbers in &ARCHITECTURES {
            let Numbers { architecture, ptrace, .. } = *numbers;
            for request in [PTRACE_TRACEME, PTRACE_ATTACH, PTRACE_SEIZE] {
                // Neither O_TMPFILE nor a flag of linkat's.
                let arguments = [u64::from(request), 0, 0, 0, 0, 0];
                let expected: Vec<u32> = notified(ALL, architecture, arguments)
                    .into_iter()
                    .filter(|number| *number != LANDLOCK_RESTRICT_SELF)
                    .collect();
                let mut seen = stopped(ALL, Told::Tracer, architecture, arguments);
                assert!(seen.contains(&ptrace));
                seen.retain(|number| *number != ptrace);
                assert_eq!(seen, expected);
            }
            let arguments = [u64::from(libc::PTRACE_CONT), 0, 0, 0, 0, 0];
            assert!(!stopped(ALL, Told::Tracer, architecture, arguments).contains(&ptrace));
        }
    }

    #[test]
    fn s1_other_architectures_are_left_alone() {
        // MIPS, 32-bit ARM, RISC-V, nothing.
        for architecture in [0x8, 0x4000_0028, 0xc000_00f3, 0] {
            assert_eq!(notified(ALL, architecture, [!(O_PATH as u64); 6]), []);
        }
    }
}
