//! Names of ours: `.tmpshim-`, one letter that says what it is, and 128 bits in hexadecimal, random where nobody may know
//! them.
//!
//! The name is also how a file is known again as ours, in any process it was handed to: `/proc/self/fd/N` goes on
//! showing it after the file was unlinked (T7). No table, no descriptor and no attribute is needed for that.

use crate::fd::openat;
use crate::text::until_nul;
use core::ffi::CStr;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// What every name of ours begins with.
pub const PREFIX: &[u8; 9] = b".tmpshim-";
/// The whole length of a name, without the closing NUL.
pub const LENGTH: usize = PREFIX.len() + 1 + 32;
/// What the kernel puts behind the name of an unlinked file in `/proc/self/fd`.
const DELETED: &[u8] = b" (deleted)";

/// What a name of ours stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A stand-in for an O_TMPFILE file that linkat may publish.
    Linkable,
    /// A stand-in made with O_EXCL: never to be published.
    Exclusive,
    /// A copy on its way to being published.
    Publishing,
    /// A file that the survey of a filesystem tries things on.
    Probe,
    /// A directory that nobody else may enter, for a file that others may open once it has no name.
    Private,
    /// A journal, in the state directory.
    Journal,
}

impl Kind {
    const fn letter(self) -> u8 {
        match self {
            Self::Linkable => b'l',
            Self::Exclusive => b'x',
            Self::Publishing => b'p',
            Self::Probe => b's',
            Self::Private => b'd',
            Self::Journal => b'j',
        }
    }

    const fn from_letter(letter: u8) -> Option<Self> {
        Some(match letter {
            b'l' => Self::Linkable,
            b'x' => Self::Exclusive,
            b'p' => Self::Publishing,
            b's' => Self::Probe,
            b'd' => Self::Private,
            b'j' => Self::Journal,
            _ => return None,
        })
    }
}

/// A name of ours, closed by NUL.
#[derive(Clone, Copy)]
pub struct Name([u8; LENGTH + 1]);

impl Name {
    /// A fresh name. Nobody can guess it, so nobody can be waiting behind it (T4).
    ///
    /// # Errors
    /// What getrandom(2) answers, ENOSYS before Linux 3.17.
    pub fn fresh(kind: Kind) -> Result<Self, Errno> {
        let mut bits = [0u8; 16];
        random(&mut bits)?;
        Ok(Self::of(kind, bits))
    }

    /// The name of these bits: not for what has to be unknown to others.
    #[inline(never)]
    pub fn of(kind: Kind, bits: [u8; 16]) -> Self {
        let mut name = [0u8; LENGTH + 1];
        let (front, digits) = name.split_at_mut(PREFIX.len() + 1);
        for (slot, byte) in front.iter_mut().zip(PREFIX.iter().chain(&[kind.letter()])) {
            *slot = *byte;
        }
        for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(bits) {
            *pair = [hexadecimal(byte >> 4), hexadecimal(byte & 15)];
        }
        Self(name)
    }

    /// For system calls.
    pub fn as_c_str(&self) -> &CStr {
        until_nul(&self.0).unwrap_or(c"")
    }

    /// Without the closing NUL.
    pub fn as_bytes(&self) -> &[u8] {
        self.as_c_str().to_bytes()
    }
}

const fn hexadecimal(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
}

/// Fills `buffer` from the kernel's random numbers, `/dev/urandom` where getrandom(2) is missing (before Linux 3.17).
///
/// # Errors
/// Where neither can be had.
pub fn random(buffer: &mut [u8]) -> Result<(), Errno> {
    let length = buffer.len();
    match getrandom(&mut *buffer, GetRandomFlags::empty()) {
        Ok(count) if count == length => return Ok(()),
        Ok(_) | Err(Errno::NOSYS | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let source = openat(CWD, c"/dev/urandom", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    if rustix::io::read(&source, buffer)? == length { Ok(()) } else { Err(Errno::IO) }
}

/// What the text of a `/proc/self/fd` link says of a file of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What it stands for.
    pub kind: Kind,
    /// Whether its name is gone.
    pub unlinked: bool,
}

/// Reads the mark from the text of a `/proc/self/fd` link, nothing where the file is not one of ours.
pub fn mark(link: &[u8]) -> Option<Mark> {
    let (path, unlinked) = link.strip_suffix(DELETED).map_or((link, false), |path| (path, true));
    let name = path.rsplit(|&byte| byte == b'/').next()?;
    let (&letter, digits) = name.strip_prefix(PREFIX)?.split_first()?;
    let whole = digits.len() == 32 && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    Some(Mark { kind: Kind::from_letter(letter).filter(|_| whole)?, unlinked })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t4_a_name_holds_128_random_bits_and_is_known_again() {
        for kind in [Kind::Linkable, Kind::Exclusive, Kind::Publishing, Kind::Probe, Kind::Private, Kind::Journal] {
            let (one, other) = (Name::fresh(kind).unwrap(), Name::fresh(kind).unwrap());
            assert_ne!(one.as_bytes(), other.as_bytes());
            assert_eq!(one.as_bytes().len(), LENGTH);
            let path = [b"/tmp/", one.as_bytes()].concat();
            assert_eq!(mark(&path), Some(Mark { kind, unlinked: false }));
            assert_eq!(mark(&[&path[..], b" (deleted)"].concat()), Some(Mark { kind, unlinked: true }));
        }
    }

    #[test]
    fn t7_other_files_are_not_ours() {
        let own = Name::fresh(Kind::Linkable).unwrap();
        for text in [&b"/tmp/x (deleted)"[..], b"", b"pipe:[12]", b"/tmp/.tmpshim-", b"/tmp/.tmpshim-l00 (deleted)"] {
            assert_eq!(mark(text), None);
        }
        assert_eq!(mark(&[b"/tmp/", own.as_bytes(), b"/below (deleted)"].concat()), None);
        assert_eq!(mark(&[b"/tmp/", own.as_bytes(), b"0 (deleted)"].concat()), None);
    }
}
