//! What lies below a directory that is to go with its contents: whether anybody uses it, when it was changed last, and how
//! much it is.

use std::ffi::{CStr, CString};
use std::os::fd::AsFd;

use rustix::fs::{Dir, FileType, OFlags, StatxFlags};
use rustix::io::Errno;
use tmpshim_core::fd::Fd;

use super::candidate::{Judge, Stay, newest, open_at, refused, times};
use super::in_use::File;
use crate::state::text;

/// How deep it goes: every level is an open descriptor.
const DEEPEST: usize = 200;

/// What everything below has in common.
pub(super) struct Below<'a, 'b> {
    pub(super) judge: &'a Judge<'b>,
    pub(super) device: Option<u64>,
    pub(super) mount: u64,
    /// Of the directory above all.
    pub(super) name: &'a [u8],
}

struct Level {
    dir: Dir,
    name: Vec<u8>,
}

/// The newest time below, and the bytes on disk.
pub(super) fn look(below: &Below<'_, '_>, top: &Fd) -> Result<(u64, u64), Stay> {
    let failed = |error: Errno| Stay::Failed(refused(error));
    let (mut latest, mut bytes) = (0, 0);
    let mut levels = vec![Level { dir: Dir::read_from(top).map_err(failed)?, name: below.name.to_vec() }];
    while let Some(level) = levels.last_mut() {
        let Some(entry) = level.dir.read() else {
            levels.pop();
            continue;
        };
        let entry = entry.map_err(failed)?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        let name = entry.file_name().to_owned();
        let directory = level.dir.fd().map_err(failed)?;
        let seen = match times(directory, &name) {
            Ok(seen) => seen,
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(failed(error)),
        };
        if seen.stx_mask & StatxFlags::MNT_ID.bits() != 0 && seen.stx_mnt_id != below.mount {
            return Err(Stay::Mounted("something is mounted below it".to_owned()));
        }
        let kind = FileType::from_raw_mode(seen.stx_mode.into());
        below.in_use(&seen, kind, &name, &level.name)?;
        let time = newest(&seen);
        if below.judge.is_young(time) {
            return Err(Stay::Young);
        }
        latest = latest.max(time);
        bytes += seen.stx_blocks * 512;
        if kind == FileType::Directory
            && let Some(child) = below.enter(directory, &name, seen.stx_uid)?
        {
            if levels.len() >= DEEPEST {
                let why = format!("it is more than {DEEPEST} levels deep; look at it, and remove it by hand (rm -r)");
                return Err(Stay::Failed(why));
            }
            levels.push(Level { dir: Dir::read_from(child).map_err(failed)?, name: name.into_bytes() });
        }
    }
    Ok((latest, bytes))
}

impl Below<'_, '_> {
    fn in_use(&self, seen: &rustix::fs::Statx, kind: FileType, name: &CString, parent: &[u8]) -> Result<(), Stay> {
        let device = rustix::fs::makedev(seen.stx_dev_major, seen.stx_dev_minor);
        let in_use = &self.judge.in_use;
        let user = in_use.file(File { device, mounted: self.device, inode: seen.stx_ino });
        let is_socket = kind == FileType::Socket;
        let user = user.or_else(|| if is_socket { in_use.socket(name.to_bytes(), parent) } else { None });
        user.map_or(Ok(()), |user| Err(Stay::InUse(user.describe())))
    }

    /// Opens a directory below; nothing where it is gone, or is this user's own and cannot be read.
    fn enter(&self, directory: impl AsFd, name: &CStr, uid: u32) -> Result<Option<Fd>, Stay> {
        match open_at(directory, name, OFlags::RDONLY) {
            Ok(child) => Ok(Some(child)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(Errno::XDEV) => Err(Stay::Mounted("something is mounted below it".to_owned())),
            // It is made readable when it is removed. Who has something open in it is known by path.
            Err(Errno::ACCESS) if uid == self.judge.euid() => Ok(None),
            Err(error) => {
                let what = format!("a directory below it, of user {uid}: {}; sweep as root", text(error));
                Err(Stay::Failed(what))
            }
        }
    }
}
