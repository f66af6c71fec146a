//! Reading a journal whose owner may be dead.

use super::slot::{Entry, FREE, LARGE, Parsed, Record, SMALL};
use super::{HEADER, Header, LARGEST, MAGIC, VERSION};
use crate::fd::{Fd, openat};
use crate::kin::Process;
use crate::sys;
use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::sync::atomic::Ordering;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat};
use rustix::io::{Errno, pread, pwrite};

/// Why a file in the state directory is not looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody has the lock: it is alive, or being swept.
    Locked,
    /// Somebody else has removed it.
    Gone,
    /// Its owner was killed before anything stood in it. `take` has removed it.
    Blank,
    /// No plain file, or of another user.
    Foreign,
    /// Of a version that this program does not know.
    Version(u32),
    /// What it says of itself does not fit.
    Damaged,
    /// A system call's answer.
    Refused(Errno),
}

/// Whether anybody may still use what a journal with a free lock holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Nobody.
    Dead,
    /// The calling process itself: it made the journal before its exec, or is noted as one that still needs it.
    Former,
    /// Its owner runs another program by now, or a child of it does.
    Alive,
    /// It comes from another PID namespace.
    Unknown,
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is done with.
    Forget,
    /// Somebody has to come back to it.
    Keep,
}

/// A journal of a process that may be dead, open.
#[derive(Debug)]
pub struct Journal {
    file: Fd,
    length: u64,
    header: Header,
}

impl Journal {
    /// Opens the file `name` and takes its lock.
    ///
    /// # Errors
    /// Why it is not to be touched.
    pub fn take(directory: BorrowedFd<'_>, name: &CStr) -> Result<Self, Refusal> {
        Self::open(directory, name, true)
    }

    /// Opens the file `name` to be looked at, whoever has its lock.
    ///
    /// # Errors
    /// As [`Journal::take`].
    pub fn peek(directory: BorrowedFd<'_>, name: &CStr) -> Result<Self, Refusal> {
        Self::open(directory, name, false)
    }

    fn open(directory: BorrowedFd<'_>, name: &CStr, lock: bool) -> Result<Self, Refusal> {
        // O_NONBLOCK: a FIFO would wait for its other end.
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = openat(directory, name, flags, Mode::empty()).map_err(|error| match error {
            Errno::NOENT => Refusal::Gone,
            Errno::LOOP | Errno::ISDIR | Errno::NXIO => Refusal::Foreign,
            error => Refusal::Refused(error),
        })?;
        if lock {
            match sys::lock(file.as_fd()) {
                Err(Errno::AGAIN) => return Err(Refusal::Locked),
                answer => answer.map_err(Refusal::Refused)?,
            }
        }
        let seen = fstat(file.as_fd()).map_err(Refusal::Refused)?;
        let is_file = FileType::from_raw_mode(seen.st_mode) == FileType::RegularFile;
        if !is_file || seen.st_uid != rustix::process::geteuid().as_raw() {
            return Err(Refusal::Foreign);
        }
        if seen.st_nlink == 0 {
            return Err(Refusal::Gone);
        }
        let length = seen.st_size as u64;
        let mut header = MaybeUninit::<Header>::zeroed();
        // SAFETY: all of it, and zero so far.
        let bytes = unsafe { core::slice::from_raw_parts_mut(header.as_mut_ptr().cast::<u8>(), size_of::<Header>()) };
        let read = read_at(&file, bytes, 0).map_err(Refusal::Refused)?;
        // SAFETY: integers only, for which any bytes are values.
        let header = unsafe { header.assume_init() };
        let judged = Self::judge(&header, read, length);
        if lock && judged == Err(Refusal::Blank) {
            // Here, because the lock goes with `file`: its owner may be about to take it, and looks then whether the file
            // still has a name.
            let _ = crate::fd::unlinkat(directory, name, AtFlags::empty());
        }
        judged?;
        Ok(Self { file, length, header })
    }

    /// Whether a header is one: a pure function of what was read.
    fn judge(header: &Header, read: usize, length: u64) -> Result<(), Refusal> {
        if header.magic == [0; 8] && header.ended.load(Ordering::Relaxed) == 0 {
            return Err(Refusal::Blank);
        }
        if header.magic != MAGIC || read < size_of::<Header>() {
            return Err(Refusal::Damaged);
        }
        if header.version != VERSION {
            return Err(Refusal::Version(header.version));
        }
        if header.checksum != header.fixed_sum() || length < HEADER as u64 || length > LARGEST {
            return Err(Refusal::Damaged);
        }
        Ok(())
    }

    /// Its first page.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Its size in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether anybody still needs it whom the lock does not tell of. `own` is the calling process, `namespace` its
    /// PID namespace.
    pub fn life(&self, own: &Process, namespace: u64) -> Life {
        let header = &self.header;
        let needs_pids = !header.has_ended() || header.holders().next().is_some();
        if needs_pids && header.pid_namespace != namespace {
            return Life::Unknown;
        }
        let mut is_own = !header.has_ended() && header.owner == *own;
        for holder in header.holders().filter(Process::is_alive) {
            if holder.pid != own.pid {
                return Life::Alive;
            }
            is_own = true;
        }
        if is_own {
            return Life::Former;
        }
        if header.has_ended() {
            return Life::Dead;
        }
        if header.owner.is_alive() { Life::Alive } else { Life::Dead }
    }

    /// Calls `each` with every record, the newest first as far as the order of slots tells, files before directories, which
    /// they may lie in; and forgets in the file what it says to forget. How many were kept; a slot, or a segment, that is
    /// damaged counts as kept.
    pub fn each(&self, mut each: impl FnMut(&Record<'_>) -> Fate) -> u32 {
        let mut torn = false;
        let files = self.each_of(false, &mut torn, &mut each);
        files + self.each_of(true, &mut torn, &mut each) + u32::from(torn)
    }

    /// Of files or of directories only; `torn` if not all could be read.
    fn each_of(&self, directories: bool, torn: &mut bool, each: &mut dyn FnMut(&Record<'_>) -> Fate) -> u32 {
        let mut kept = 0u32;
        // What segments may take up together: were they to overlap, as they only do in a file that nobody here wrote, every
        // slot of a large one could be asked to be read dozens of times.
        let mut room = self.length.saturating_sub(HEADER as u64);
        for segment in self.header.segments.iter().rev() {
            let size = segment.size.load(Ordering::Acquire) as usize;
            let count = segment.count.load(Ordering::Relaxed);
            let offset = segment.offset.load(Ordering::Relaxed);
            let length = u64::from(count) * size as u64;
            let end = offset.checked_add(length);
            let fits = length <= room && end.is_some_and(|end| end <= self.length) && offset >= HEADER as u64;
            match size {
                0 => continue,
                SMALL | LARGE if fits => kept += self.each_in(size, offset, count, directories, torn, each),
                _ => {
                    kept += u32::from(!directories);
                    continue;
                }
            }
            room -= length;
        }
        kept
    }

    fn each_in(
        &self,
        size: usize,
        start: u64,
        count: u32,
        directories: bool,
        torn: &mut bool,
        each: &mut dyn FnMut(&Record<'_>) -> Fate,
    ) -> u32 {
        const CHUNK: usize = 8192;
        let at_once = CHUNK.checked_div(size).unwrap_or(1) as u32;
        let mut kept = 0;
        let mut chunk = Chunk([0u8; CHUNK]);
        let mut end = count;
        while end > 0 {
            let first = end.saturating_sub(at_once);
            let offset = start + u64::from(first) * size as u64;
            let Some(bytes) = chunk.0.get_mut(..(end - first) as usize * size) else { break };
            if !read_at(&self.file, bytes, offset).is_ok_and(|read| read == bytes.len()) {
                *torn = true;
                break;
            }
            let mut forgotten = false;
            for index in (0..end - first).rev() {
                let start = index as usize * size;
                let fate = match Record::parse(bytes.get(start..start + size).unwrap_or(&[])) {
                    Parsed::Nothing => continue,
                    Parsed::Damaged if directories => continue,
                    Parsed::Damaged => Fate::Keep,
                    Parsed::Record(record) if directories != (record.entry == Entry::Directory) => continue,
                    Parsed::Record(record) => each(&record),
                };
                if fate == Fate::Keep {
                    kept += 1;
                } else if let Some(state) = bytes.get_mut(start..).and_then(|slot| slot.first_chunk_mut()) {
                    *state = FREE.to_ne_bytes();
                    forgotten = true;
                }
            }
            // So that nobody comes back to them, and takes what has their paths by then for them.
            if forgotten {
                let _ = pwrite(&self.file, &*bytes, offset);
            }
            end = first;
        }
        kept
    }
}

/// Slots are read where their integers may stand.
#[repr(align(16))]
struct Chunk([u8; 8192]);

/// Reads until `bytes` are full or the file ends.
fn read_at(file: &Fd, bytes: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut read = 0;
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match pread(file, &mut *rest, offset + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
