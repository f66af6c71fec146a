//! A complete copy of a file: data with its holes, mode, owner, extended attributes, times (T7).

use crate::fd::{Fd, openat};
use crate::mapping::Mapping;
use crate::sys;
use crate::text::until_nul;
use core::ffi::CStr;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{
    Gid, Mode, SeekFrom, Stat, Timespec, Timestamps, Uid, copy_file_range, fchmod, fchown, fdatasync, fgetxattr,
    flistxattr, fremovexattr, fsetxattr, fstat, ftruncate, futimens, ioctl_ficlone, seek,
};
use rustix::io::{Errno, pread, pwrite};

/// Bytes handled at a time where the kernel does not copy by itself. XATTR_LIST_MAX and XATTR_SIZE_MAX fit as well.
const CHUNK: usize = 64 * 1024;
/// What a run of zeros must fill to become a hole.
const BLOCK: usize = 4096;

/// Makes `to`, empty and new, a copy of `from`. When this returns, the data have reached the disk: a program that
/// synced its file before it published it relies on that, and errors that come late (NFS, delayed allocation) come here.
///
/// # Errors
/// ENOSPC, EDQUOT, EIO and whatever else reading and writing may say.
pub fn copy(from: &Fd, to: &Fd) -> Result<(), Errno> {
    let seen = fstat(from)?;
    let mut buffer = Mapping::new(2 * CHUNK)?;
    if ioctl_ficlone(to, from).is_err() {
        copy_data(from, to, &seen, buffer.bytes())?;
    }
    fdatasync(to).or_else(|error| if error == Errno::INVAL { Ok(()) } else { Err(error) })?;
    let same_owner = copy_owner(&seen, to)?;
    set_mode(&seen, to, same_owner)?;
    copy_attributes(from.as_fd(), to.as_fd(), buffer.bytes())?;
    // An access ACL that was copied or removed has changed the group's permissions.
    set_mode(&seen, to, same_owner)?;
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let last_access = time(seen.st_atime, seen.st_atime_nsec as _);
    let last_modification = time(seen.st_mtime, seen.st_mtime_nsec as _);
    let _ = futimens(to, &Timestamps { last_access, last_modification });
    Ok(())
}

fn copy_data(from: &Fd, to: &Fd, seen: &Stat, buffer: &mut [u8]) -> Result<(), Errno> {
    let size = seen.st_size as u64;
    // A sparse file whose filesystem does not tell where the holes are (most of FUSE): look for zeros.
    let mut by_hand = seen.st_blocks as u64 * 512 < size && next_hole(from, 0, size) >= size;
    let mut offset = 0;
    while offset < size {
        let Some(start) = next_data(from, offset, size) else { break };
        let end = next_hole(from, start, size);
        let mut done = start;
        while done < end {
            let wanted = (end - done).min(1 << 30) as usize;
            let copied = if by_hand { Err(Errno::NOSYS) } else { copy_in_kernel(from, to, done, wanted) };
            match copied {
                Ok(0) => by_hand = true,
                Ok(length) => done += length as u64,
                Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::FBIG | Errno::INTR)) => {
                    return Err(error);
                }
                // Everything else says that it cannot be done this way: EXDEV, EOPNOTSUPP, EINVAL, ENOSYS, EPERM, …
                Err(_) => {
                    by_hand = true;
                    let length = copy_by_hand(from, to, done, wanted, buffer)?;
                    if length == 0 {
                        return ftruncate(to, size);
                    }
                    done += length;
                }
            }
        }
        offset = end.max(offset + 1);
    }
    ftruncate(to, size)
}

fn copy_in_kernel(from: &Fd, to: &Fd, offset: u64, length: usize) -> Result<usize, Errno> {
    let (mut read, mut write) = (offset, offset);
    copy_file_range(from, Some(&mut read), to, Some(&mut write), length)
}

/// One chunk; 0 at the end of the file.
fn copy_by_hand(from: &Fd, to: &Fd, offset: u64, wanted: usize, buffer: &mut [u8]) -> Result<u64, Errno> {
    let Some(chunk) = buffer.get_mut(..wanted.min(CHUNK)) else { return Ok(0) };
    let length = retry(|| pread(from, &mut *chunk, offset))?;
    let mut position = offset;
    for block in chunk.get(..length).unwrap_or(&[]).chunks(BLOCK) {
        if block.iter().any(|&byte| byte != 0) {
            write_all(to, block, position)?;
        }
        position += block.len() as u64;
    }
    Ok(length as u64)
}

fn write_all(to: &Fd, mut block: &[u8], mut offset: u64) -> Result<(), Errno> {
    while !block.is_empty() {
        let written = retry(|| pwrite(to, block, offset))?;
        if written == 0 {
            return Err(Errno::IO);
        }
        block = block.get(written..).unwrap_or(&[]);
        offset += written as u64;
    }
    Ok(())
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            answer => return answer,
        }
    }
}

/// Where data begin at or behind `offset`; nothing where only a hole is left.
fn next_data(from: &Fd, offset: u64, size: u64) -> Option<u64> {
    match seek(from, SeekFrom::Data(offset)) {
        Ok(start) => Some(start).filter(|&start| start < size),
        Err(Errno::NXIO) => None,
        Err(_) => Some(offset),
    }
}

fn next_hole(from: &Fd, offset: u64, size: u64) -> u64 {
    seek(from, SeekFrom::Hole(offset)).map_or(size, |hole| hole.min(size))
}

/// Whether it has the same owner and group then.
fn copy_owner(seen: &Stat, to: &Fd) -> Result<bool, Errno> {
    let made = fstat(to)?;
    let changed = |new: u32, old: u32| (new != old).then_some(new);
    let (uid, gid) = (changed(seen.st_uid, made.st_uid), changed(seen.st_gid, made.st_gid));
    let is_same = uid.is_none() && gid.is_none();
    Ok(is_same || fchown(to, uid.map(Uid::from_raw), gid.map(Gid::from_raw)).is_ok())
}

/// With another owner, set-user-id and set-group-id would mean something else: who hands over a file of his own to be
/// published would have a program of his run as whoever publishes it.
fn set_mode(seen: &Stat, to: &Fd, same_owner: bool) -> Result<(), Errno> {
    let mode = seen.st_mode & if same_owner { 0o7777 } else { 0o1777 };
    if fstat(to)?.st_mode & 0o7777 == mode {
        return Ok(());
    }
    match fchmod(to, Mode::from_raw_mode(mode)) {
        // A filesystem without permissions shows the same for both.
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) | Ok(()) => Ok(()),
        Err(error) => Err(error),
    }
}

fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(), Errno> {
    const ACCESS_ACL: &CStr = c"system.posix_acl_access";
    let Some((names, value)) = buffer.split_at_mut_checked(CHUNK) else { return Ok(()) };
    let length = flistxattr(from, &mut *names).unwrap_or(0);
    let mut has_acl = false;
    let mut names: &[u8] = names.get(..length).unwrap_or(&[]);
    while let Some(name) = until_nul(names) {
        names = names.get(name.count_bytes() + 1..).unwrap_or(&[]);
        has_acl |= name == ACCESS_ACL;
        let Ok(length) = fgetxattr(from, name, &mut *value) else { continue };
        let copied = fsetxattr(to, name, value.get(..length).unwrap_or(&[]), rustix::fs::XattrFlags::empty());
        // Any other error: not ours to set (security.*, trusted.*), or not known there.
        if let Err(error @ (Errno::NOSPC | Errno::DQUOT)) = copied {
            return Err(error);
        }
    }
    if !has_acl {
        // The target's directory may have handed down an ACL that the file itself does not have.
        let _ = fremovexattr(to, ACCESS_ACL);
    }
    Ok(())
}

/// Opens for reading what another descriptor has open, by its `/proc` name.
///
/// # Errors
/// What open(2) says.
pub fn open_again(path: &CStr) -> Result<Fd, Errno> {
    use rustix::fs::{CWD, OFlags};
    openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())
}

/// As [`open_again`], also where the file's own mode forbids its owner to read it: nobody else can see that it does not
/// for a moment, because the file has no name.
///
/// # Errors
/// What open(2) says.
pub fn open_again_whatever_its_mode(path: &CStr, fd: BorrowedFd<'_>) -> Result<Fd, Errno> {
    let answer = open_again(path);
    if !matches!(answer, Err(Errno::ACCESS)) {
        return answer;
    }
    let mode = fstat(fd)?.st_mode & 0o7777;
    sys::fchmod(fd, mode | 0o400).map_err(|_| Errno::ACCESS)?;
    let answer = open_again(path);
    let _ = sys::fchmod(fd, mode);
    answer
}
