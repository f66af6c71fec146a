//! The names in a directory, read into memory of the caller's.

use crate::fd::Fd;
use crate::sys;
use crate::text::until_nul;
use core::ffi::CStr;
use rustix::fd::AsFd;

/// Where the name stands in a `linux_dirent64`: behind inode (8 bytes), offset (8), record length (2) and type (1).
pub const NAME: usize = 19;

/// Calls `each` with every name but `.` and `..`, from where `directory` was read to last. Ends early where it cannot be
/// read. `buffer` holds a part of the listing; 280 bytes are the least that is of any use.
pub fn each_name(directory: &Fd, buffer: &mut [u8], mut each: impl FnMut(&CStr)) {
    while let Ok(length) = sys::getdents(directory.as_fd(), buffer) {
        let Some(mut unread) = buffer.get(..length).filter(|unread| !unread.is_empty()) else { return };
        while let Some(size) = unread.get(16..).and_then(|from| from.first_chunk()).copied().map(u16::from_ne_bytes) {
            let Some((entry, rest)) = unread.split_at_checked(size.into()) else { return };
            if let Some(name) = entry.get(NAME..).and_then(until_nul)
                && !matches!(name.to_bytes(), b"." | b"..")
            {
                each(name);
            }
            if size == 0 {
                return;
            }
            unread = rest;
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
