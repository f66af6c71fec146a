//! The first page: whose it is, how that ended, who still needs it, and where the slots lie.

use super::own::write_zeros;
use super::{HEADER, LARGEST, sum};
use crate::fd::{Fd, openat};
use crate::kin::Process;
use crate::mapping::Shared;
use crate::settings::Cleanup;
use crate::text::until_nul;
use core::ffi::CStr;
use core::mem::offset_of;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use rustix::fd::AsFd;
use rustix::fs::{CWD, Mode, OFlags, fstat, stat};

pub(super) const SEGMENTS: usize = 44;
pub(super) const HOLDERS: usize = 96;
/// What a program's name and a journal's path may take up, each closed by NUL.
pub(super) const PROGRAM: usize = 64;
pub(super) const PATH: usize = 1280;

/// Where a run of slots lies.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Segment {
    pub(super) offset: AtomicU64,
    pub(super) count: AtomicU32,
    /// Of one slot; 0 while the others are not yet written.
    pub(super) size: AtomicU32,
}

/// A process that needs what the journal holds and has no mapping of it.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Holder {
    start: AtomicU64,
    pid: AtomicU32,
    /// `FREE_PLACE` to `TAKEN_PLACE`.
    place: AtomicU32,
}

const FREE_PLACE: u32 = 0;
/// Somebody is writing to it.
const BUSY_PLACE: u32 = 1;
const TAKEN_PLACE: u32 = 2;

impl Holder {
    /// Takes the place into our hands.
    fn take(&self, from: u32) -> bool {
        self.place.compare_exchange(from, BUSY_PLACE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn process(&self) -> Process {
        Process::new(self.pid.load(Ordering::Relaxed), self.start.load(Ordering::Relaxed))
    }
}

/// The first page of a journal.
#[derive(Debug)]
#[repr(C)]
pub struct Header {
    pub(super) magic: [u8; 8],
    pub(super) version: u32,
    pub(super) checksum: u32,
    pub(super) owner: Process,
    pub(super) pid_namespace: u64,
    pub(super) root_device: u64,
    pub(super) root_inode: u64,
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) created: u64,
    pub(super) uid: u32,
    pub(super) cleanup: u32,
    pub(super) program: [u8; PROGRAM],
    pub(super) path: [u8; PATH],
    /// `RUNNING`, or how the owner ended: by itself, so that it cannot be another program by now.
    pub(super) ended: AtomicU32,
    pub(super) segments_used: AtomicU32,
    pub(super) length: AtomicU64,
    pub(super) segments: [Segment; SEGMENTS],
    pub(super) holders: [Holder; HOLDERS],
}

const RUNNING: u32 = 0;
const ENDED: u32 = 1 << 8;
const _: () = assert!(size_of::<Header>() <= HEADER);

/// Where the parts of the first page lie, for whoever writes one by hand: a test, or a fuzzer that has to get past the
/// checksum.
pub mod layout {
    use super::{Header, Holder, Segment, offset_of};
    use core::ops::Range;

    /// 32 bits, as the checksum. [`MAGIC`](super::MAGIC) stands in front.
    pub const VERSION: usize = offset_of!(Header, version);
    /// [`sum`](super::sum) of `SUMMED`.
    pub const CHECKSUM: usize = offset_of!(Header, checksum);
    /// What is written once.
    pub const SUMMED: Range<usize> = OWNER..ENDED;
    /// A [`Process`](crate::kin::Process).
    pub const OWNER: usize = offset_of!(Header, owner);
    /// 64 bits, as device and inode of the root directory, which follow.
    pub const PID_NAMESPACE: usize = offset_of!(Header, pid_namespace);
    /// 64 bits.
    pub const CREATED: usize = offset_of!(Header, created);
    /// 32 bits: a code.
    pub const CLEANUP: usize = offset_of!(Header, cleanup);
    /// Text, closed by NUL.
    pub const PROGRAM: Range<usize> = offset_of!(Header, program)..PATH.start;
    /// Text, closed by NUL.
    pub const PATH: Range<usize> = offset_of!(Header, path)..ENDED;
    /// 32 bits; 0 while the owner runs, above the code of a clean-up afterwards.
    pub const ENDED: usize = offset_of!(Header, ended);
    /// For each segment its offset (64 bits), the number of its slots and the size of one (32 bits each).
    pub const SEGMENTS: Range<usize> = offset_of!(Header, segments)..HOLDERS.start;
    /// For each holder a [`Process`](crate::kin::Process), whose last 32 bits say whether it is one: 0 no, 2 yes.
    pub const HOLDERS: Range<usize> = offset_of!(Header, holders)..size_of::<Header>();

    const _: () = assert!(size_of::<Segment>() == 16 && size_of::<Holder>() == 16);
}

/// The root directory of this process, by device and inode: paths in a journal start from its owner's.
pub fn root() -> (u64, u64) {
    stat(c"/").map_or((0, 0), |seen| (seen.st_dev, seen.st_ino))
}

pub(super) const fn cleanup_code(cleanup: Cleanup) -> u32 {
    match cleanup {
        Cleanup::All => 0,
        Cleanup::Empty => 1,
        Cleanup::Failed => 2,
        Cleanup::Off => 3,
    }
}

const fn cleanup_of(code: u32) -> Cleanup {
    match code & 0xff {
        0 => Cleanup::All,
        1 => Cleanup::Empty,
        2 => Cleanup::Failed,
        // What is not known removes nothing.
        _ => Cleanup::Off,
    }
}

impl Header {
    pub(super) fn fixed_sum(&self) -> u32 {
        let start = offset_of!(Self, owner);
        let length = offset_of!(Self, ended) - start;
        // SAFETY: inside of this structure, where no field is written after the sum was.
        sum(unsafe { core::slice::from_raw_parts(core::ptr::from_ref(self).cast::<u8>().add(start), length) })
    }

    /// Where the file is.
    pub fn path(&self) -> &CStr {
        until_nul(&self.path).unwrap_or(c"")
    }

    /// The owner's program.
    pub fn program(&self) -> &[u8] {
        until_nul(&self.program).map_or(b"", CStr::to_bytes)
    }

    /// The owner, by its number in its own PID namespace.
    pub fn owner(&self) -> Process {
        self.owner
    }

    /// The inode of the owner's PID namespace, 0 where it is not known.
    pub fn pid_namespace(&self) -> u64 {
        self.pid_namespace
    }

    /// The owner's root directory, as [`root`] tells it.
    pub fn root(&self) -> (u64, u64) {
        (self.root_device, self.root_inode)
    }

    /// Nanoseconds since 1970.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// The owner has said that it ends.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire) != RUNNING
    }

    /// What is to be removed: as the owner said at its end, or as it would have if something had ended it.
    pub fn cleanup(&self) -> Cleanup {
        match self.ended.load(Ordering::Acquire) {
            RUNNING => match cleanup_of(self.cleanup) {
                Cleanup::Failed => Cleanup::All,
                cleanup => cleanup,
            },
            ended => cleanup_of(ended),
        }
    }

    /// Says that the owner ends and leaves this to others. `cleanup` is not `Failed`.
    pub fn end(&self, cleanup: Cleanup) {
        self.ended.store(ENDED | cleanup_code(cleanup), Ordering::Release);
    }

    /// Notes a process that still needs what stands here, where there is room, or a place whose process has ended. Several
    /// processes may do that at once.
    pub fn hold(&self, process: &Process) {
        let is_free = |holder: &&Holder| holder.take(FREE_PLACE);
        let is_left = |holder: &&Holder| !holder.process().is_alive() && holder.take(TAKEN_PLACE);
        let place = self.holders.iter().find(is_free).or_else(|| self.holders.iter().find(is_left));
        if let Some(holder) = place {
            holder.start.store(process.start, Ordering::Relaxed);
            holder.pid.store(process.pid, Ordering::Relaxed);
            holder.place.store(TAKEN_PLACE, Ordering::Release);
        }
    }

    /// The process needs it no more.
    pub fn let_go(&self, pid: u32) {
        for holder in &self.holders {
            if holder.pid.load(Ordering::Relaxed) == pid && holder.take(TAKEN_PLACE) {
                holder.pid.store(0, Ordering::Relaxed);
                holder.place.store(FREE_PLACE, Ordering::Release);
            }
        }
    }

    /// Those processes.
    pub fn holders(&self) -> impl Iterator<Item = Process> {
        let noted = self.holders.iter().filter(|holder| holder.place.load(Ordering::Acquire) == TAKEN_PLACE);
        noted.map(Holder::process).filter(|process| process.pid != 0)
    }

    /// Lets `change` write to the header of the journal that this is a read-only view of.
    pub fn change(&self, change: impl FnOnce(&Self)) {
        let Some(file) = self.reopen() else { return };
        let Ok(mapping) = Shared::map(file.as_fd(), 0, HEADER) else { return };
        // SAFETY: a page of a file that is as long, which holds integers only.
        change(unsafe { mapping.start().cast().as_ref() });
    }

    /// The file, if it still is where it was.
    fn reopen(&self) -> Option<Fd> {
        let file = openat(CWD, self.path(), OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let seen = fstat(file.as_fd()).ok()?;
        let is_it = (seen.st_dev, seen.st_ino) == (self.device, self.inode) && seen.st_size >= HEADER as i64;
        is_it.then_some(file)
    }

    /// Makes the file longer by `count` slots of `size` bytes, and maps them for this process alone. They are all zero.
    /// Nothing where the file cannot be reached any more (chroot, another user by now), would be larger than anybody reads,
    /// or the filesystem is full.
    pub fn extend(&self, size: usize, count: u32) -> Option<NonNull<u8>> {
        let file = self.reopen()?;
        let length = (size * count as usize).next_multiple_of(HEADER);
        let longer = |used: u64| used.checked_add(length as u64).filter(|&end| end <= LARGEST);
        let offset = self.length.fetch_update(Ordering::AcqRel, Ordering::Acquire, longer).ok()?;
        write_zeros(&file, offset, length as u64).ok()?;
        let mapping = Shared::map(file.as_fd(), offset, length).ok()?;
        let segment = self.segments.get(self.segments_used.fetch_add(1, Ordering::AcqRel) as usize)?;
        segment.offset.store(offset, Ordering::Relaxed);
        segment.count.store(count, Ordering::Relaxed);
        segment.size.store(size as u32, Ordering::Release);
        Some(mapping.leak())
    }
}
