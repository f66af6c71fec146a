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

use crate::fd::{Fd, openat};
use crate::identity::Identity;
use crate::kin::Process;
use crate::mapping::Shared;
use crate::name::{Kind, Name};
use crate::settings::Cleanup;
use crate::sys;
use crate::text::{Text, until_nul};
use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::mem::{MaybeUninit, offset_of};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, stat};
use rustix::io::{Errno, pread, pwrite};

/// What a journal begins with.
pub const MAGIC: [u8; 8] = *b"tmpshimJ";
/// Of this layout. A journal of another version is left to the program that knows it.
pub const VERSION: u32 = 1;
/// Bytes in front of the first segment.
pub const HEADER: usize = 4096;
const SEGMENTS: usize = 44;
const HOLDERS: usize = 96;
/// What a program's name and a journal's path may take up, each closed by NUL.
const PROGRAM: usize = 64;
const PATH: usize = 1280;
/// No journal is larger: four million directories.
pub const LARGEST: u64 = 1 << 30;

/// Nothing stands in the slot.
pub const FREE: u32 = 0;
/// It is being written. What it says does not hold, and nothing was made yet.
pub const BUSY: u32 = 1;
/// The path stands, the thing may or may not exist.
pub const INTENT: u32 = 2;
/// Made, and known by its identity.
pub const LIVE: u32 = 3;
/// As `INTENT`, in somebody's hands.
pub const INTENT_HELD: u32 = 4;
/// As `LIVE`, in somebody's hands.
pub const LIVE_HELD: u32 = 5;

/// What a slot stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A directory.
    Directory,
    /// A file's hidden name, and the mode the file is to have when it is published.
    File {
        /// Permissions, `07777` at most; nothing where the program has said fchmod itself.
        mode: Option<u32>,
    },
}

const FILE: u32 = 1 << 16;
const DECIDED: u32 = 1 << 17;

impl Entry {
    /// As one word.
    pub const fn encode(self) -> u32 {
        match self {
            Self::Directory => 0,
            Self::File { mode: Some(mode) } => FILE | mode & 0o7777,
            Self::File { mode: None } => FILE | DECIDED,
        }
    }

    /// From that word; every word is one or the other.
    pub const fn decode(word: u32) -> Self {
        if word & FILE == 0 {
            return Self::Directory;
        }
        Self::File { mode: if word & DECIDED == 0 { Some(word & 0o7777) } else { None } }
    }
}

/// The fixed part of a slot; its path follows, closed by NUL.
#[derive(Debug)]
#[repr(C)]
pub struct Slot {
    /// `FREE` to `LIVE_HELD`.
    pub state: AtomicU32,
    /// The owner's list of free slots: the index of the next one, plus one. Nobody else looks at it.
    pub next_free: AtomicU32,
    /// `Entry::encode`.
    pub entry: u32,
    /// Of the path, without its NUL.
    pub length: u32,
    /// Of the path.
    pub path_sum: u32,
    /// Of the identity.
    pub identity_sum: u32,
    /// Which file it is, in state `LIVE`.
    pub identity: Identity,
}

// `Journal::each` frees a slot by its first word.
const _: () = assert!(offset_of!(Slot, state) == 0);

/// Bytes of a slot in front of its path.
pub const SLOT: usize = size_of::<Slot>();
/// Bytes of a slot for most paths.
pub const SMALL: usize = 256;
/// Bytes of a slot for any path that one system call takes.
pub const LARGE: usize = crate::text::PATH_MAX + 128;

/// A checksum: against what a program's stray pointer, or a disk, does to a journal. It is no protection from anybody.
pub fn sum(bytes: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut sum = FACTOR ^ bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        sum = (sum ^ u64::from_ne_bytes(*word)).wrapping_mul(FACTOR).rotate_left(29);
    }
    for &byte in rest {
        sum = (sum ^ u64::from(byte)).wrapping_mul(FACTOR).rotate_left(29);
    }
    (sum ^ sum >> 32) as u32
}

/// The same of an identity.
pub fn sum_identity(identity: &Identity) -> u32 {
    // SAFETY: five words without padding.
    sum(unsafe { core::slice::from_raw_parts(core::ptr::from_ref(identity).cast(), size_of::<Identity>()) })
}

/// Where a run of slots lies.
#[derive(Debug)]
#[repr(C)]
struct Segment {
    offset: AtomicU64,
    count: AtomicU32,
    /// Of one slot; 0 while the others are not yet written.
    size: AtomicU32,
}

/// A process that needs what the journal holds and has no mapping of it.
#[derive(Debug)]
#[repr(C)]
struct Holder {
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
    magic: [u8; 8],
    version: u32,
    checksum: u32,
    owner: Process,
    pid_namespace: u64,
    root_device: u64,
    root_inode: u64,
    device: u64,
    inode: u64,
    created: u64,
    uid: u32,
    cleanup: u32,
    program: [u8; PROGRAM],
    path: [u8; PATH],
    /// `RUNNING`, or how the owner ended: by itself, so that it cannot be another program by now.
    ended: AtomicU32,
    segments_used: AtomicU32,
    length: AtomicU64,
    segments: [Segment; SEGMENTS],
    holders: [Holder; HOLDERS],
}

const RUNNING: u32 = 0;
const ENDED: u32 = 1 << 8;
const _: () = assert!(size_of::<Header>() <= HEADER && size_of::<Slot>() == 64 && SMALL > SLOT && LARGE > SLOT);

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

const fn cleanup_code(cleanup: Cleanup) -> u32 {
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

/// What a process has of the journal it has just made.
#[derive(Clone, Copy, Debug)]
pub struct Own {
    /// Read-only; this mapping holds the lock, here and in every forked process.
    pub lease: NonNull<Header>,
    /// To be written through; a forked child does not have it.
    pub header: NonNull<Header>,
}

impl Own {
    /// Makes a journal in `directory`, which has the path `state`.
    ///
    /// # Errors
    /// What a system call answered; ENAMETOOLONG where the path is too long. Nothing is left then.
    #[inline(never)]
    pub fn make(directory: &Fd, state: &[u8], cleanup: Cleanup, program: &[u8]) -> Result<Self, Errno> {
        const ATTEMPTS: u32 = 16;
        for _ in 0..ATTEMPTS {
            let name = Name::fresh(Kind::Journal)?;
            let mut path = Text::<PATH>::new();
            path.push(state).push(b"/").push(name.as_bytes());
            if path.is_cut() {
                return Err(Errno::NAMETOOLONG);
            }
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = openat(directory, name.as_c_str(), flags, Mode::RUSR | Mode::WUSR)?;
            let made = Self::fill(directory, &file, &name, path.as_bytes(), cleanup, program);
            match made {
                Ok(Some(own)) => return Ok(own),
                // Somebody who sweeps came between creation and lock, and took it for a dead one without content.
                Ok(None) => {}
                Err(error) => {
                    let _ = crate::fd::unlinkat(directory, name.as_c_str(), AtFlags::empty());
                    return Err(error);
                }
            }
        }
        Err(Errno::AGAIN)
    }

    fn fill(
        directory: &Fd,
        file: &Fd,
        name: &Name,
        path: &[u8],
        cleanup: Cleanup,
        program: &[u8],
    ) -> Result<Option<Self>, Errno> {
        if sys::lock(file.as_fd()).is_err() {
            return Ok(None);
        }
        let seen = fstat(file.as_fd())?;
        if seen.st_nlink == 0 {
            return Ok(None);
        }
        write_zeros(file, 0, HEADER as u64)?;
        let again =
            openat(directory, name.as_c_str(), OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let writable = Shared::map(again.as_fd(), 0, HEADER)?;
        let lease = Shared::map_for_children(file.as_fd(), HEADER)?;
        let header = writable.leak().cast::<Header>();
        // SAFETY: a page of our own, zero up to here, which nobody else knows yet; it is never unmapped.
        unsafe {
            let header = header.as_ptr();
            (*header).version = VERSION;
            (*header).owner = Process::current();
            (*header).pid_namespace = crate::kin::pid_namespace();
            ((*header).root_device, (*header).root_inode) = root();
            ((*header).device, (*header).inode) = (seen.st_dev, seen.st_ino);
            let (seconds, nanoseconds) = sys::wall_clock();
            (*header).created = sys::nanoseconds(seconds, nanoseconds as u64);
            (*header).uid = seen.st_uid;
            (*header).cleanup = cleanup_code(cleanup);
            copy(&mut (*header).program, program);
            copy(&mut (*header).path, path);
            (*header).length = AtomicU64::new(HEADER as u64);
            (*header).checksum = (*header).fixed_sum();
            core::sync::atomic::fence(Ordering::Release);
            (*header).magic = MAGIC;
        }
        Ok(Some(Self { lease: lease.leak().cast(), header }))
    }
}

fn copy(to: &mut [u8], from: &[u8]) {
    // The last byte stays zero.
    let room = to.len() - 1;
    for (slot, byte) in to.iter_mut().take(room).zip(from) {
        *slot = *byte;
    }
}

/// Zeros that take no room in the file of the library.
struct Zeros(UnsafeCell<[u8; 16 * 1024]>);

// SAFETY: never written.
unsafe impl Sync for Zeros {}

static ZEROS: Zeros = Zeros(UnsafeCell::new([0; 16 * 1024]));

/// Gives the file room: a hole would be SIGBUS where the filesystem is full.
fn write_zeros(file: &Fd, start: u64, length: u64) -> Result<(), Errno> {
    // SAFETY: never written.
    let zeros = unsafe { &*ZEROS.0.get() };
    let mut written = 0;
    while written < length {
        let part = zeros.get(..(length - written).min(zeros.len() as u64) as usize).unwrap_or(zeros);
        match pwrite(file, part, start + written) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(count) => written += count as u64,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Header {
    fn fixed_sum(&self) -> u32 {
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

/// What one slot says.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// An absolute path.
    pub path: &'a CStr,
    /// What it is.
    pub entry: Entry,
    /// Which file it is; nothing where it was announced and perhaps never made.
    pub made: Option<Identity>,
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

    /// Calls `each` with every record, the newest first as far as the order of slots tells, and forgets in the file what
    /// it says to forget. How many were kept; a slot, or a segment, that is damaged counts as kept.
    pub fn each(&self, mut each: impl FnMut(&Record<'_>) -> Fate) -> u32 {
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
                SMALL | LARGE if fits => kept += self.each_in(size, offset, count, &mut each),
                _ => {
                    kept += 1;
                    continue;
                }
            }
            room -= length;
        }
        kept
    }

    fn each_in(&self, size: usize, start: u64, count: u32, each: &mut dyn FnMut(&Record<'_>) -> Fate) -> u32 {
        const CHUNK: usize = 8192;
        let at_once = CHUNK.checked_div(size).unwrap_or(1) as u32;
        let mut kept = 0;
        let mut chunk = Chunk([0u8; CHUNK]);
        let mut end = count;
        while end > 0 {
            let first = end.saturating_sub(at_once);
            let offset = start + u64::from(first) * size as u64;
            let Some(bytes) = chunk.0.get_mut(..(end - first) as usize * size) else { return kept + 1 };
            if !read_at(&self.file, bytes, offset).is_ok_and(|read| read == bytes.len()) {
                return kept + 1;
            }
            let mut forgotten = false;
            for index in (0..end - first).rev() {
                let start = index as usize * size;
                let fate = match Record::parse(bytes.get(start..start + size).unwrap_or(&[])) {
                    Parsed::Nothing => continue,
                    Parsed::Damaged => Fate::Keep,
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

/// What the bytes of a slot are.
#[derive(Debug)]
pub enum Parsed<'a> {
    /// A free one, or one that stood for nothing yet.
    Nothing,
    /// It contradicts itself.
    Damaged,
    /// A record.
    Record(Record<'a>),
}

impl<'a> Record<'a> {
    /// Reads a slot: any bytes, of any length. A pure function.
    #[inline(never)]
    pub fn parse(bytes: &'a [u8]) -> Parsed<'a> {
        let Some((fixed, path)) = bytes.split_at_checked(SLOT) else { return Parsed::Damaged };
        // SAFETY: as many bytes as the structure has, read wherever they lie; integers only.
        let slot = unsafe { fixed.as_ptr().cast::<Slot>().read_unaligned() };
        let state = slot.state.load(Ordering::Relaxed);
        if matches!(state, FREE | BUSY) {
            return Parsed::Nothing;
        }
        let path = until_nul(path).filter(|path| path.count_bytes() == slot.length as usize);
        let Some(path) = path else { return Parsed::Damaged };
        let made = match state {
            INTENT | INTENT_HELD => None,
            LIVE | LIVE_HELD if slot.identity_sum == sum_identity(&slot.identity) => Some(slot.identity),
            _ => return Parsed::Damaged,
        };
        if slot.path_sum != sum(path.to_bytes()) || path.to_bytes().first() != Some(&b'/') {
            return Parsed::Damaged;
        }
        Parsed::Record(Self { path, entry: Entry::decode(slot.entry), made })
    }
}

#[cfg(test)]
mod tests;
