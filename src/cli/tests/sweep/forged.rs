//! Journals as no library writes them.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A journal that says another path and identity than it did: for records that no library writes.
pub(crate) struct Forged {
    bytes: Vec<u8>,
    slot: usize,
}

impl Forged {
    pub(crate) fn from(journal: &Path) -> Self {
        let bytes = fs::read(journal).unwrap();
        let of = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        let slot = (4096..bytes.len()).step_by(256).find(|&at| of(at) == tmpshim_core::journal::LIVE).unwrap();
        Self { bytes, slot }
    }

    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[self.slot + at..self.slot + at + bytes.len()].copy_from_slice(bytes);
    }

    /// Says that `path` was made, and is what is there now.
    pub(crate) fn claim(mut self, path: &Path, entry: u32) -> Vec<u8> {
        use tmpshim_core::journal::{SLOT, sum, sum_identity};
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        let seen = tmpshim_core::identity::at(rustix::fs::CWD, &name).unwrap();
        let identity = seen.identity;
        let words = [identity.device, identity.inode, identity.birth, identity.generation, identity.mount];
        self.put(8, &entry.to_ne_bytes());
        self.put(12, &(name.as_bytes().len() as u32).to_ne_bytes());
        self.put(16, &sum(name.as_bytes()).to_ne_bytes());
        self.put(20, &sum_identity(&identity).to_ne_bytes());
        self.put(24, &words.map(u64::to_ne_bytes).concat());
        self.put(SLOT, name.as_bytes_with_nul());
        self.bytes
    }
}

/// The header says that it was made later than it was, `by` an hour at a time.
pub(crate) fn postdate(bytes: &mut [u8], by: u64) {
    pub(crate) const CREATED: usize = 72;
    let ended = header_end(bytes);
    let created = u64::from_ne_bytes(bytes[CREATED..CREATED + 8].try_into().unwrap());
    assert!(created > 1_700_000_000_000_000_000, "nanoseconds since 1970 stand there");
    bytes[CREATED..CREATED + 8].copy_from_slice(&(created + by * 3_600_000_000_000).to_ne_bytes());
    let sum = tmpshim_core::journal::sum(&bytes[16..ended]);
    bytes[12..16].copy_from_slice(&sum.to_ne_bytes());
}

/// Where the part of the header ends that is summed up: as far as the sum says.
pub(crate) fn header_end(bytes: &[u8]) -> usize {
    let said = u32::from_ne_bytes(bytes[12..16].try_into().unwrap());
    (17..=4096).find(|&end| tmpshim_core::journal::sum(&bytes[16..end]) == said).expect("it was whole")
}
