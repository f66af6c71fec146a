//! What a stopped system call is, whatever the architecture of the program.

use libc::seccomp_notif;
use tmpshim_core::tmpfile::plan::{KNOWN_FLAGS, OpenHow, QUESTION_DIRECTORY, asks_for_tmpfile, openat2_takes};

use crate::filter::{ARCHITECTURES, LANDLOCK_RESTRICT_SELF, Numbers};
use crate::target;

/// A call that concerns us, in the program's own words. Paths are addresses in its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Open(Open),
    Link(Link),
    Directory(MakeDirectory),
    /// The question whether there is a supervisor.
    Question,
    /// The thread shuts itself in.
    Sandbox,
}

/// An open with O_TMPFILE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) directory: i32,
    pub(crate) path: u64,
    pub(crate) flags: i32,
    pub(crate) mode: u32,
    pub(crate) resolve: u64,
}

/// A linkat that may name an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) from: i32,
    pub(crate) old: u64,
    pub(crate) to: i32,
    pub(crate) new: u64,
    pub(crate) flags: i32,
}

/// A mkdir.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MakeDirectory {
    pub(crate) from: i32,
    pub(crate) path: u64,
    pub(crate) mode: u32,
}

/// What was stopped; nothing where it is none of ours after all.
pub(crate) fn call_of(stopped: &seccomp_notif) -> Option<Call> {
    call_by(stopped.pid, stopped.data.arch, stopped.data.nr as u32, stopped.data.args)
}

/// The same of a thread that somebody traces.
pub(crate) fn call_by(thread: u32, architecture: u32, number: u32, arguments: [u64; 6]) -> Option<Call> {
    let numbers = ARCHITECTURES.iter().find(|numbers| numbers.architecture == architecture)?;
    let how = |address, size| openat2_how(thread, address, size);
    decode(numbers, number, arguments, how)
}

/// `how` reads what the arguments of openat2 point to.
fn decode(
    numbers: &Numbers,
    number: u32,
    arguments: [u64; 6],
    how: impl Fn(u64, u64) -> Option<[u64; 3]>,
) -> Option<Call> {
    let [first, second, third, fourth, fifth, _] = arguments;
    // open(2) ignores what it does not know, and openat2(2), by which we try, does not.
    let plain = |directory, path, flags: u64, mode: u64| Open {
        directory,
        path,
        flags: (flags & KNOWN_FLAGS) as i32 | (flags as i32 & libc::O_PATH),
        mode: mode as u32 & 0o7777,
        resolve: 0,
    };
    let directory = first as i32;
    let call = if Some(number) == numbers.open {
        Call::Open(plain(libc::AT_FDCWD, first, second, third))
    } else if number == numbers.openat {
        if directory == QUESTION_DIRECTORY && second == 0 {
            return Some(Call::Question);
        }
        Call::Open(plain(directory, second, third, fourth))
    } else if number == numbers.openat2 {
        let [flags, mode, resolve] = how(third, fourth)?;
        if !openat2_takes(flags, mode) {
            return None;
        }
        Call::Open(Open { directory, path: second, flags: flags as i32, mode: mode as u32, resolve })
    } else if number == numbers.linkat {
        let flags = fifth as i32;
        // Any other flag is EINVAL, as the kernel will say.
        if flags & !(libc::AT_EMPTY_PATH | libc::AT_SYMLINK_FOLLOW) != 0 {
            return None;
        }
        Call::Link(Link { from: directory, old: second, to: third as i32, new: fourth, flags })
    } else if Some(number) == numbers.mkdir {
        Call::Directory(MakeDirectory { from: libc::AT_FDCWD, path: first, mode: second as u32 })
    } else if number == numbers.mkdirat {
        Call::Directory(MakeDirectory { from: directory, path: second, mode: third as u32 })
    } else {
        return (number == LANDLOCK_RESTRICT_SELF).then_some(Call::Sandbox);
    };
    match call {
        Call::Open(open) if !asks_for_tmpfile(open.flags) => None,
        call => Some(call),
    }
}

/// Flags, mode and resolve.
fn openat2_how(thread: u32, address: u64, size: u64) -> Option<[u64; 3]> {
    const KNOWN: usize = size_of::<OpenHow>();
    // Shorter or longer than a page is the kernel's to refuse; and what stands behind, only it may know of.
    let size = usize::try_from(size).ok().filter(|size| (KNOWN..=4096).contains(size))?;
    let bytes = target::bytes(thread, address, size)?;
    if bytes[KNOWN..].iter().any(|&byte| byte != 0) {
        return None;
    }
    Some([0, 8, 16].map(|at| u64::from_ne_bytes(std::array::from_fn(|index| bytes[at + index]))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use libc::{AT_FDCWD, O_DIRECTORY, O_PATH, O_RDWR, O_TMPFILE};

    const FLAGS: u64 = (O_TMPFILE | O_RDWR) as u64;

    fn decoded(number: u32, arguments: [u64; 6]) -> Vec<Option<Call>> {
        let how = |address, size| (size == 24 && address == 9).then_some([FLAGS, 0o600, 8]);
        ARCHITECTURES.iter().map(|numbers| decode(numbers, number, arguments, how)).collect()
    }

    #[test]
    fn t3_a_longer_openat2_structure_must_be_empty_behind() {
        let own = std::process::id();
        let mut how = [1u64, 2, 3, 0];
        let read = |how: &[u64; 4], size| openat2_how(own, how.as_ptr() as u64, size);
        assert_eq!((read(&how, 24), read(&how, 32)), (Some([1, 2, 3]), Some([1, 2, 3])));
        assert_eq!((read(&how, 16), read(&how, 5000)), (None, None));
        how[3] = 1;
        assert_eq!((read(&how, 24), read(&how, 32)), (Some([1, 2, 3]), None));
    }

    #[test]
    fn s1_calls_are_what_their_numbers_say_on_each_architecture() {
        for numbers in &ARCHITECTURES {
            let decode = |number, arguments| {
                decode(numbers, number, arguments, |address, size| {
                    (size == 24 && address == 9).then_some([FLAGS, 0o600, 8])
                })
            };
            let open = Open { directory: 5, path: 7, flags: FLAGS as i32, mode: 0o640, resolve: 0 };
            let unknown = FLAGS | 1 << 31;
            assert_eq!(decode(numbers.openat, [5, 7, unknown, 0o640, 0, 0]), Some(Call::Open(open)));
            assert_eq!(decode(numbers.openat, [5, 7, O_DIRECTORY as u64, 0, 0, 0]), None);
            assert_eq!(decode(numbers.openat, [5, 7, FLAGS | O_PATH as u64, 0, 0, 0]), None);
            let question = u64::from(QUESTION_DIRECTORY as u32);
            assert_eq!(decode(numbers.openat, [question, 0, FLAGS, 0, 0, 0]), Some(Call::Question));
            if let Some(number) = numbers.open {
                let expected = Open { directory: AT_FDCWD, ..open };
                assert_eq!(decode(number, [7, FLAGS, 0o640, 0, 0, 0]), Some(Call::Open(expected)));
            }
            let expected = Open { mode: 0o600, resolve: 8, ..open };
            assert_eq!(decode(numbers.openat2, [5, 7, 9, 24, 0, 0]), Some(Call::Open(expected)));
            assert_eq!(decode(numbers.openat2, [5, 7, 9, 32, 0, 0]), None);
            let link = Link { from: AT_FDCWD, old: 1, to: 4, new: 2, flags: 0x400 };
            let from = u64::from(AT_FDCWD as u32);
            assert_eq!(decode(numbers.linkat, [from, 1, 4, 2, 0x400, 0]), Some(Call::Link(link)));
            assert_eq!(decode(numbers.linkat, [from, 1, 4, 2, 0x500, 0]), None);
            let directory = MakeDirectory { from: 4, path: 1, mode: 0o700 };
            assert_eq!(decode(numbers.mkdirat, [4, 1, 0o700, 0, 0, 0]), Some(Call::Directory(directory)));
        }
        assert!(decoded(LANDLOCK_RESTRICT_SELF, [0; 6]).iter().all(|call| *call == Some(Call::Sandbox)));
        assert!(decoded(39_999, [0; 6]).iter().all(Option::is_none));
    }
}
