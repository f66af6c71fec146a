//! The filesystems that the demo plays on.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat, statfs};

/// A directory on some filesystem.
#[derive(Debug)]
pub(super) struct Ground {
    /// For people.
    pub(super) label: String,
    pub(super) path: PathBuf,
    /// The filesystem has `O_TMPFILE`, so it has to be refused by a filter for the problem to show.
    pub(super) refuse: bool,
}

impl Ground {
    /// Finds out what `path` lies on, and whether `O_TMPFILE` works there.
    pub(super) fn survey(path: &Path) -> Self {
        let kind = statfs(path).map_or("unknown filesystem", |found| name(found.f_type as u64));
        let refuse =
            openat(CWD, path, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR).is_ok();
        Self { label: kind.to_owned(), path: path.to_path_buf(), refuse }
    }

    /// A new directory on it for one play.
    pub(super) fn fresh(&self) -> io::Result<PathBuf> {
        let directory = tempfile::Builder::new().prefix(OsStr::new("work-")).tempdir_in(&self.path)?;
        // It goes with the whole ground; what is in it after the play is the result.
        Ok(directory.keep())
    }
}

/// What people call a filesystem with this magic number (statfs(2)).
fn name(magic: u64) -> &'static str {
    match magic {
        0x0102_1994 => "tmpfs",
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x794c_7630 => "overlayfs",
        0xf2f5_2010 => "f2fs",
        0x2fc1_2fc1 => "zfs",
        FUSE => "FUSE",
        0x6969 => "NFS",
        0x0102_1997 => "9p",
        _ => "this filesystem",
    }
}

/// `FUSE_SUPER_MAGIC`.
pub(super) const FUSE: u64 = 0x6573_5546;
