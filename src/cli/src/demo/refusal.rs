//! A seccomp filter that answers as a filesystem without `O_TMPFILE` does, for machines where none can be mounted.

use std::io;

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter, sock_fprog,
};

/// `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_AARCH64` of linux/audit.h, which libc does not have.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
/// `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_AARCH64` of linux/audit.h, which libc does not have.
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Where `struct seccomp_data` has the call's number, the architecture, and the low half of argument `index`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

const fn load(offset: u32) -> sock_filter {
    statement(BPF_LD | BPF_W | BPF_ABS, offset)
}

const fn statement(code: u32, value: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k: value }
}

/// Where the accumulator is `value` goes `equal` instructions ahead, else `other`.
const fn branch(value: u32, equal: u8, other: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | BPF_JEQ | BPF_K) as u16, jt: equal, jf: other, k: value }
}

#[cfg(target_arch = "x86_64")]
const OPEN: u32 = libc::SYS_open as u32;
/// There is no open(2) on this architecture; the number of none is compared instead.
#[cfg(target_arch = "aarch64")]
const OPEN: u32 = u32::MAX;
const OPENAT: u32 = libc::SYS_openat as u32;
const TMPFILE: u32 = libc::O_TMPFILE as u32;
const REFUSED: u32 = libc::SECCOMP_RET_ERRNO | libc::EOPNOTSUPP as u32;

/// Everything is allowed but open and openat with all bits of `O_TMPFILE`.
const FILTER: [sock_filter; 12] = [
    load(ARCH),
    branch(ARCHITECTURE, 0, 8),
    load(NUMBER),
    branch(OPEN, 3, 0),
    branch(OPENAT, 0, 5),
    load(argument(2)),
    // Over the next one: open's flags are one argument earlier.
    statement(BPF_JMP | BPF_JA, 1),
    load(argument(1)),
    statement(BPF_ALU | BPF_AND | BPF_K, TMPFILE),
    branch(TMPFILE, 1, 0),
    statement(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW),
    statement(BPF_RET | BPF_K, REFUSED),
];

/// Refuses `O_TMPFILE` to this process and everything that it will start. Async-signal-safe.
pub(super) fn refuse() -> io::Result<()> {
    let filter = sock_fprog { len: FILTER.len() as u16, filter: FILTER.as_ptr().cast_mut() };
    rustix::thread::set_no_new_privs(true)?;
    // SAFETY: the kernel copies the filter, which it does not write to, before the call returns.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do with a call.
    fn answer(architecture: u32, number: u32, flags_at: u32, flags: u32) -> u32 {
        let mut accumulator = 0;
        let mut at = 0usize;
        loop {
            let sock_filter { code, jt, jf, k } = FILTER[at];
            at += 1;
            match u32::from(code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    accumulator = match k {
                        NUMBER => number,
                        ARCH => architecture,
                        offset if offset == argument(flags_at) => flags,
                        _ => 0,
                    }
                }
                code if code == BPF_ALU | BPF_AND | BPF_K => accumulator &= k,
                code if code == BPF_JMP | BPF_JA => at += k as usize,
                code if code == BPF_JMP | BPF_JEQ | BPF_K => at += usize::from(if accumulator == k { jt } else { jf }),
                code if code == BPF_RET | BPF_K => return k,
                code => panic!("instruction {code:#x}"),
            }
        }
    }

    #[test]
    fn only_o_tmpfile_is_refused() {
        const DIRECTORY: u32 = libc::O_DIRECTORY as u32;
        let opens: &[(u32, u32)] =
            if cfg!(target_arch = "x86_64") { &[(OPEN, 1), (OPENAT, 2)] } else { &[(OPENAT, 2)] };
        for &(number, flags_at) in opens {
            for other in [0, 1, 2, libc::O_CLOEXEC as u32, libc::O_EXCL as u32] {
                assert_eq!(answer(ARCHITECTURE, number, flags_at, TMPFILE | other), REFUSED);
                for allowed in [0, DIRECTORY, TMPFILE & !DIRECTORY, libc::O_CREAT as u32] {
                    assert_eq!(answer(ARCHITECTURE, number, flags_at, allowed | other), libc::SECCOMP_RET_ALLOW);
                }
            }
            assert_eq!(answer(0x4000_0003, number, flags_at, TMPFILE), libc::SECCOMP_RET_ALLOW);
        }
        for number in (0..1000).filter(|number| opens.iter().all(|(open, _)| open != number)) {
            for flags_at in 0..6 {
                assert_eq!(answer(ARCHITECTURE, number, flags_at, TMPFILE), libc::SECCOMP_RET_ALLOW);
            }
        }
    }
}
