//! Where a path of the target's begins (S2).

use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, openat, openat2, readlinkat};
use rustix::io::Errno;

use crate::target::{Target, place};

/// Where the walk along a path begins, said so that it ends, in a thread of ours with the target's root and rights, where
/// it would in the target.
#[derive(Debug)]
pub(crate) struct Start {
    /// Nothing where the path says it all.
    directory: Option<OwnedFd>,
    path: CString,
    /// `RESOLVE_*`
    resolve: u64,
}

const NO_MAGIC_LINKS: u64 = ResolveFlags::NO_MAGICLINKS.bits() as u32 as u64;

impl Start {
    /// `resolve` is what the program itself asked for.
    pub(crate) fn of(target: &Target, directory: i32, path: Vec<u8>, resolve: u64) -> Option<Self> {
        let fixed = resolve & u64::from((ResolveFlags::IN_ROOT | ResolveFlags::BENEATH).bits() as u32) != 0;
        let is_absolute = path.first() == Some(&b'/');
        if !fixed
            && is_absolute
            && let Some((own, rest)) = own_directory(&path, &target.root)
        {
            // From the directory that `/proc/self` is for the program, in our own /proc.
            let what = if own == Own::Process { target.status()?.process } else { target.thread };
            let directory = place(what, ".").ok()?;
            let path = CString::new(if rest.is_empty() { b"." } else { rest }).ok()?;
            return Some(Self { directory: Some(directory), path, resolve });
        }
        let mut resolve = resolve;
        if !names_a_process(&path) {
            // A symbolic link that leads into `/proc/self` after all would mean us: refused, and the kernel answers.
            resolve |= NO_MAGIC_LINKS;
        }
        let directory = match directory {
            _ if is_absolute && !fixed => None,
            libc::AT_FDCWD => Some(place(target.thread, "cwd").ok()?),
            number if number < 0 => return None,
            number => Some(place(target.thread, &format!("fd/{number}")).ok()?),
        };
        Some(Self { directory, path: CString::new(path).ok()?, resolve })
    }

    /// Opens the directory it leads to. In a thread that is not in the target's root, `root` is that.
    pub(crate) fn open(&self, more: OFlags, root: Option<&OwnedFd>) -> Result<OwnedFd, Errno> {
        self.open_path(&self.path, more, root)
    }

    /// Opens the directory that what it leads to lies in, and says the name that it has there, with slashes behind it
    /// where the program gave such. Nothing where there can be no such name. `root` as above.
    pub(crate) fn open_parent(&self, root: Option<&OwnedFd>) -> Option<Result<(OwnedFd, CString), Errno>> {
        let path = self.path.to_bytes();
        let end = path.iter().rposition(|&byte| byte != b'/')? + 1;
        let name = path[..end].iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let parent = if name == 0 { &b"."[..] } else { &path[..name] };
        let (parent, name) = (CString::new(parent).ok()?, CString::new(&path[name..]).ok()?);
        Some(self.open_path(&parent, OFlags::empty(), root).map(|parent| (parent, name)))
    }

    fn open_path(&self, path: &CString, more: OFlags, root: Option<&OwnedFd>) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | more;
        let resolve = ResolveFlags::from_bits_retain(self.resolve);
        let open = || match (&self.directory, root) {
            (None, None) => openat2(CWD, path, flags, Mode::empty(), resolve),
            (Some(from), None) => openat2(from, path, flags, Mode::empty(), resolve),
            (None, Some(root)) => openat2(root, path, flags, Mode::empty(), resolve | ResolveFlags::IN_ROOT),
            // Where a path that leads up, or through an absolute link, ends would depend on the root: refused (EXDEV).
            (Some(from), Some(_)) => openat2(from, path, flags, Mode::empty(), resolve | ResolveFlags::BENEATH),
        };
        // EAGAIN: something was renamed or mounted meanwhile, anywhere, and the kernel cannot tell whether ".." is safe. Left to
        // the kernel, the program's own call may come through and meet what we stand in for.
        let mut answers = std::iter::repeat_with(open).take(1000);
        answers.find(|answer| !matches!(answer, Err(Errno::AGAIN))).unwrap_or(Err(Errno::AGAIN))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Process,
    Thread,
}

/// Whether the path begins with a name for the program's own directory in /proc, and what follows.
fn own_directory<'a>(path: &'a [u8], root: &OwnedFd) -> Option<(Own, &'a [u8])> {
    let (own, rest) = split_own(path)?;
    let proc = openat(root, "proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let is_proc = fstatfs(&proc).ok()?.f_type == libc::PROC_SUPER_MAGIC;
    let leads_there = !path.starts_with(b"/dev/")
        || readlinkat(root, "dev/fd", Vec::new()).is_ok_and(|link| link.as_bytes() == b"/proc/self/fd");
    (is_proc && leads_there).then_some((own, rest))
}

fn split_own(path: &[u8]) -> Option<(Own, &[u8])> {
    let after = |prefix: &[u8]| match path.strip_prefix(prefix)? {
        [] => Some(&b""[..]),
        [b'/', ..] => path.get(prefix.len() + 1..),
        _ => None,
    };
    if after(b"/dev/fd").is_some() {
        return Some((Own::Process, &path[b"/dev/".len()..]));
    }
    let own = after(b"/proc/self").map(|rest| (Own::Process, rest));
    own.or_else(|| after(b"/proc/thread-self").map(|rest| (Own::Thread, rest)))
}

/// Whether the path goes through a process that it names by number.
fn names_a_process(path: &[u8]) -> bool {
    path.strip_prefix(b"/proc/").and_then(<[u8]>::first).is_some_and(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn s2_names_of_the_programs_own_directory() {
        for (path, expected) in [
            (&b"/proc/self"[..], Some((Own::Process, &b""[..]))),
            (b"/proc/self/fd/7", Some((Own::Process, b"fd/7"))),
            (b"/proc/thread-self/cwd", Some((Own::Thread, b"cwd"))),
            (b"/dev/fd/7", Some((Own::Process, b"fd/7"))),
            (b"/dev/fd", Some((Own::Process, b"fd"))),
            (b"/proc/selfish", None),
            (b"/proc/7/fd/3", None),
            (b"/tmp", None),
        ] {
            assert_eq!(split_own(path), expected, "{}", path.escape_ascii());
        }
        assert!(names_a_process(b"/proc/7/fd/3") && !names_a_process(b"/proc/self") && !names_a_process(b"/proc/"));
    }

    #[test]
    fn s2_from_another_root_without_proc_self_is_nobody() {
        let place = |path: &str| OwnedFd::from(File::open(path).unwrap());
        assert_eq!(own_directory(b"/proc/self/fd", &place("/")), Some((Own::Process, &b"fd"[..])));
        assert_eq!(own_directory(b"/proc/self/fd", &place("/usr")), None);
    }

    #[test]
    fn s2_a_path_is_a_parent_and_a_name() {
        let parts = |path: &str| {
            let start = Start { directory: None, path: CString::new(path).unwrap(), resolve: 0 };
            start.open_parent(None).map(|opened| opened.map(|(_, name)| name.into_string().unwrap()))
        };
        for (path, name) in [("/dev/x", "x"), ("/x", "x"), ("x", "x"), ("/dev//x//", "x//"), ("/dev/..", "..")] {
            assert_eq!(parts(path), Some(Ok(name.to_owned())), "{path}");
        }
        assert_eq!((parts(""), parts("//")), (None, None));
        assert_eq!(parts("/dev/null/x"), Some(Err(Errno::NOTDIR)));
    }
}
