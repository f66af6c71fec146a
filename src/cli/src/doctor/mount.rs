//! The mount that a directory lies on.

use std::os::fd::BorrowedFd;

use tmpshim_core::identity;

use crate::sweep::mounts;

/// A line of `/proc/PID/mountinfo` (proc(5)).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mount {
    id: u64,
    pub(super) point: String,
    /// With the subtype, where the server gave one: `fuse.mergerfs`.
    pub(super) kind: String,
    pub(super) source: String,
    /// Of the mount, then of the filesystem.
    pub(super) options: String,
}

impl Mount {
    /// Finds it by its number, which the kernel tells since Linux 3.15.
    pub(super) fn of(directory: BorrowedFd<'_>, table: &[u8]) -> Option<Self> {
        let id = identity::filesystem(directory).map(|seen| seen.mount).filter(|&id| id != 0);
        let id = id.or_else(|| identity::mount_of(directory))?;
        table.split(|&byte| byte == b'\n').filter_map(Self::parse).find(|mount| mount.id == id)
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let line = String::from_utf8_lossy(line);
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split(' ');
        let id = mount.next()?.parse().ok()?;
        let (point, of_mount) = (mount.nth(3)?, mount.next()?);
        let mut filesystem = filesystem.split(' ');
        let (kind, source) = (filesystem.next()?, filesystem.next()?);
        let mut options: Vec<&str> = of_mount.split(',').collect();
        options.extend(
            filesystem
                .next()
                .unwrap_or_default()
                .split(',')
                .filter(|option| !of_mount.split(',').any(|own| own == *option)),
        );
        Some(Self {
            id,
            point: plain(point),
            kind: plain(kind),
            source: plain(source),
            options: plain(&options.join(",")),
        })
    }

    /// Whether its filesystem lies in the kernel and has O_TMPFILE there.
    pub(super) fn has_tmpfile(&self) -> bool {
        matches!(self.kind.as_str(), "tmpfs" | "ext4" | "xfs" | "btrfs" | "ext3" | "ext2" | "f2fs")
    }
}

/// Spaces and the like are written as three octal digits.
fn plain(field: &str) -> String {
    String::from_utf8_lossy(&mounts::plain(field.as_bytes())).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_line_tells_point_kind_source_and_options() {
        let line = b"42 27 0:39 / /tmp/a\\040b rw,nosuid shared:3 master:1 - fuse.bindfs /srv/\\134x rw,allow_other";
        let mount = Mount::parse(line).unwrap();
        assert_eq!((mount.id, mount.point.as_str(), mount.kind.as_str()), (42, "/tmp/a b", "fuse.bindfs"));
        assert_eq!((mount.source.as_str(), mount.options.as_str()), ("/srv/\\x", "rw,nosuid,allow_other"));
        assert!(!mount.has_tmpfile() && Mount::parse(b"42 27").is_none());
    }

    #[test]
    fn proc_is_found_where_it_is_mounted() {
        let directory = std::fs::File::open("/proc").unwrap();
        let table = std::fs::read("/proc/self/mountinfo").unwrap();
        let mount = Mount::of(directory.as_fd(), &table).unwrap();
        assert_eq!((mount.point.as_str(), mount.kind.as_str()), ("/proc", "proc"));
    }
}
