//! What one thing's slot holds, and reading it.

use crate::identity::Identity;
use crate::text::until_nul;
use core::ffi::CStr;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, Ordering};

/// Nothing stands in the slot.
pub const FREE: u32 = 0;
/// It is being written. What it says does not hold, and nothing was made yet.
pub const BUSY: u32 = 1;
/// The path stands, the thing may or may not exist.
pub const INTENT: u32 = 2;
/// Made, and known by its identity.
pub const LIVE: u32 = 3;
/// As `INTENT`, in somebody's hands.
pub const INTENT_HELD: u32 = 4;
/// As `LIVE`, in somebody's hands.
pub const LIVE_HELD: u32 = 5;

/// What a slot stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A directory.
    Directory,
    /// A file's hidden name, and the mode the file is to have when it is published.
    File {
        /// Permissions, `07777` at most; nothing where the program has said fchmod itself.
        mode: Option<u32>,
    },
}

pub(super) const FILE: u32 = 1 << 16;
const DECIDED: u32 = 1 << 17;

impl Entry {
    /// As one word.
    pub const fn encode(self) -> u32 {
        match self {
            Self::Directory => 0,
            Self::File { mode: Some(mode) } => FILE | mode & 0o7777,
            Self::File { mode: None } => FILE | DECIDED,
        }
    }

    /// From that word; every word is one or the other.
    pub const fn decode(word: u32) -> Self {
        if word & FILE == 0 {
            return Self::Directory;
        }
        Self::File { mode: if word & DECIDED == 0 { Some(word & 0o7777) } else { None } }
    }
}

/// The fixed part of a slot; its path follows, closed by NUL.
#[derive(Debug)]
#[repr(C)]
pub struct Slot {
    /// `FREE` to `LIVE_HELD`.
    pub state: AtomicU32,
    /// The owner's list of free slots: the index of the next one, plus one. Nobody else looks at it.
    pub next_free: AtomicU32,
    /// `Entry::encode`.
    pub entry: u32,
    /// Of the path, without its NUL.
    pub length: u32,
    /// Of the path.
    pub path_sum: u32,
    /// Of the identity.
    pub identity_sum: u32,
    /// Which file it is, in state `LIVE`.
    pub identity: Identity,
}

// `Journal::each` frees a slot by its first word.
const _: () = assert!(offset_of!(Slot, state) == 0);

/// Bytes of a slot in front of its path.
pub const SLOT: usize = size_of::<Slot>();
/// Bytes of a slot for most paths.
pub const SMALL: usize = 256;
/// Bytes of a slot for any path that one system call takes.
pub const LARGE: usize = crate::text::PATH_MAX + 128;

const _: () = assert!(SLOT == 64 && SMALL > SLOT && LARGE > SLOT);

/// A checksum: against what a program's stray pointer, or a disk, does to a journal. It is no protection from anybody.
pub fn sum(bytes: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut sum = FACTOR ^ bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        sum = (sum ^ u64::from_ne_bytes(*word)).wrapping_mul(FACTOR).rotate_left(29);
    }
    for &byte in rest {
        sum = (sum ^ u64::from(byte)).wrapping_mul(FACTOR).rotate_left(29);
    }
    (sum ^ sum >> 32) as u32
}

/// The same of an identity.
pub fn sum_identity(identity: &Identity) -> u32 {
    // SAFETY: five words without padding.
    sum(unsafe { core::slice::from_raw_parts(core::ptr::from_ref(identity).cast(), size_of::<Identity>()) })
}

/// What one slot says.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// An absolute path.
    pub path: &'a CStr,
    /// What it is.
    pub entry: Entry,
    /// Which file it is; nothing where it was announced and perhaps never made.
    pub made: Option<Identity>,
}

/// What the bytes of a slot are.
#[derive(Debug)]
pub enum Parsed<'a> {
    /// A free one, or one that stood for nothing yet.
    Nothing,
    /// It contradicts itself.
    Damaged,
    /// A record.
    Record(Record<'a>),
}

impl<'a> Record<'a> {
    /// Reads a slot: any bytes, of any length. A pure function.
    #[inline(never)]
    pub fn parse(bytes: &'a [u8]) -> Parsed<'a> {
        let Some((fixed, path)) = bytes.split_at_checked(SLOT) else { return Parsed::Damaged };
        // SAFETY: as many bytes as the structure has, read wherever they lie; integers only.
        let slot = unsafe { fixed.as_ptr().cast::<Slot>().read_unaligned() };
        let state = slot.state.load(Ordering::Relaxed);
        if matches!(state, FREE | BUSY) {
            return Parsed::Nothing;
        }
        let path = until_nul(path).filter(|path| path.count_bytes() == slot.length as usize);
        let Some(path) = path else { return Parsed::Damaged };
        let made = match state {
            INTENT | INTENT_HELD => None,
            LIVE | LIVE_HELD if slot.identity_sum == sum_identity(&slot.identity) => Some(slot.identity),
            _ => return Parsed::Damaged,
        };
        if slot.path_sum != sum(path.to_bytes()) || path.to_bytes().first() != Some(&b'/') {
            return Parsed::Damaged;
        }
        Parsed::Record(Self { path, entry: Entry::decode(slot.entry), made })
    }
}
