//! The journal: what a process made and has not removed, in a file that outlives it (D3, D5, T5).
//!
//! One file for each process that tracks something. It is locked by flock(2), one page of it is mapped, and then it is
//! closed: the lock stays as long as anybody has that mapping, which is the process and whatever was forked from it. What
//! is written to the slots goes through other mappings, which a forked child does not have.
//!
//! A journal whose lock is free is dead if its owner is (exec takes the mapping away, too), and nobody is noted who still
//! needs what stands in it. Whoever gets the lock of a dead journal cleans up. It is read with pread(2) and never mapped:
//! what lies there is hostile input, and a file that is cut while it is read must not end the reader with SIGBUS.
//!
//! ```text
//! 0     magic, version, checksum          written once, the magic last
//!       owner, namespace, root, program, own path
//!       how it ended, segments, holders   written while it lives
//! 4096  slots, in segments; each twice as large as the one before of its kind
//! ```

mod header;
mod own;
mod reader;
mod slot;

pub use header::{Header, layout, root};
pub use own::Own;
pub use reader::{Fate, Journal, Life, Refusal};
pub use slot::{
    BUSY, Entry, FREE, INTENT, INTENT_HELD, LARGE, LIVE, LIVE_HELD, Parsed, Record, SLOT, SMALL, Slot, sum,
    sum_identity,
};

/// What a journal begins with.
pub const MAGIC: [u8; 8] = *b"tmpshimJ";
/// Of this layout. A journal of another version is left to the program that knows it.
pub const VERSION: u32 = 1;
/// Bytes in front of the first segment.
pub const HEADER: usize = 4096;
/// No journal is larger: four million directories.
pub const LARGEST: u64 = 1 << 30;

#[cfg(test)]
mod tests;
