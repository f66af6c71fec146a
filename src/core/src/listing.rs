//! The names in a directory, read into memory of the caller's.

use crate::fd::Fd;
use crate::sys;
use crate::text::until_nul;
use core::ffi::CStr;
use rustix::fd::AsFd;

/// One entry of a listing.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// Its name.
    pub name: &'a CStr,
    /// `DT_…`.
    pub kind: u8,
    /// Where the listing goes on behind it.
    pub offset: u64,
    /// How many bytes of the listing it takes up, never 0.
    pub size: u16,
}

impl<'a> Listed<'a> {
    /// Reads a `linux_dirent64`: inode (8 bytes), offset (8), record length (2), type (1), name.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        const NAME: usize = 19;
        let offset = u64::from_ne_bytes(*bytes.get(8..)?.first_chunk()?);
        let size = u16::from_ne_bytes(*bytes.get(16..)?.first_chunk()?);
        let name = until_nul(bytes.get(NAME..size.into())?)?;
        Some(Self { name, kind: *bytes.get(18)?, offset, size })
    }

    /// Whether it is the directory itself, or the one above.
    pub fn is_dots(&self) -> bool {
        matches!(self.name.to_bytes(), b"." | b"..")
    }
}

/// Calls `each` with every name but `.` and `..`, from where `directory` was read to last. Ends early where it cannot be
/// read. `buffer` holds a part of the listing; 280 bytes are the least that is of any use.
pub fn each_name(directory: &Fd, buffer: &mut [u8], mut each: impl FnMut(&CStr)) {
    while let Ok(length) = sys::getdents(directory.as_fd(), buffer) {
        let Some(mut unread) = buffer.get(..length).filter(|unread| !unread.is_empty()) else { return };
        while let Some(entry) = Listed::parse(unread) {
            if !entry.is_dots() {
                each(entry.name);
            }
            unread = unread.get(entry.size.into()..).unwrap_or(&[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fd::openat;
    use rustix::fs::{CWD, Mode, OFlags};

    #[test]
    fn every_name_comes_once_however_small_the_buffer() {
        let root = tempfile::tempdir().unwrap();
        let mut expected: Vec<String> = (0..100).map(|number| format!("{number}-{}", "x".repeat(number))).collect();
        for name in &expected {
            std::fs::write(root.path().join(name), "").unwrap();
        }
        expected.sort();
        for size in [280, 4096] {
            let path = std::ffi::CString::new(root.path().to_str().unwrap()).unwrap();
            let directory = openat(CWD, &path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
            let mut found = Vec::new();
            each_name(&directory, &mut vec![0; size], |name| found.push(name.to_str().unwrap().to_owned()));
            found.sort();
            assert_eq!(found, expected);
        }
    }
}
