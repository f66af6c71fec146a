//! Memory from the kernel, for what does not fit the stack: there is no allocator.

use core::ptr::{NonNull, null_mut};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MremapFlags, ProtFlags, madvise, mmap, mmap_anonymous, mremap, munmap};

/// Private anonymous memory, zeroed, that goes away by itself.
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    /// Maps `length` bytes; the kernel gives memory to what is touched.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn new(length: usize) -> Result<Self, Errno> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh anonymous mapping, wherever the kernel likes.
        let map = |flags| unsafe { mmap_anonymous(null_mut(), length, protection, flags) };
        let start = map(MapFlags::PRIVATE);
        // In a 32-bit program, where a parasite makes the calls of 64 bits, the kernel looks too far up.
        #[cfg(target_arch = "x86_64")]
        let start = start.or_else(|_| map(MapFlags::PRIVATE | MapFlags::from_bits_retain(libc::MAP_32BIT as u32)));
        let start = start?;
        Ok(Self { start: NonNull::new(start.cast()).ok_or(Errno::NOMEM)?, length })
    }

    /// Maps memory that a forked child finds as `advice` says.
    ///
    /// # Errors
    /// ENOMEM. Advice the kernel does not know (MADV_WIPEONFORK before Linux 4.14) is not an error.
    pub fn for_this_process(length: usize, advice: Advice) -> Result<Self, Errno> {
        let mapping = Self::new(length)?;
        // SAFETY: the mapping above, all of it, and the advice only concerns what a child gets.
        let _ = unsafe { madvise(mapping.start.as_ptr().cast(), length, advice) };
        Ok(mapping)
    }

    /// Doubles it. It may move.
    ///
    /// # Errors
    /// ENOMEM, and then it is as before.
    pub fn grow(&mut self) -> Result<(), Errno> {
        let length = self.length * 2;
        // SAFETY: the mapping is ours alone, and `&mut self` says that nothing borrowed points into it.
        let start = unsafe { mremap(self.start.as_ptr().cast(), self.length, length, MremapFlags::MAYMOVE) }?;
        self.start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        self.length = length;
        Ok(())
    }

    /// Its first byte, on a page boundary.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Its length in bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// All of it.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: mapped readable and writable for this length, zero or written since, and borrowed through `&mut self`.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    /// Keeps it for as long as the process lives.
    pub fn leak(self) -> NonNull<u8> {
        let start = self.start;
        core::mem::forget(self);
        start
    }
}

/// A part of a file, shared with whoever maps it.
pub struct Shared(Mapping);

impl Shared {
    /// Maps `length` bytes from `offset` on, readable and writable, for this process alone: a forked child does not have
    /// them. All pages are there at once.
    ///
    /// # Errors
    /// What mmap(2) answers, ENODEV for one where the filesystem has no such mappings.
    pub fn map(file: BorrowedFd<'_>, offset: u64, length: usize) -> Result<Self, Errno> {
        let shared = Self::new(file, offset, length, ProtFlags::READ | ProtFlags::WRITE)?;
        // SAFETY: the mapping above, all of it, and the advice only concerns what a child gets.
        unsafe { madvise(shared.0.start.as_ptr().cast(), length, Advice::LinuxDontFork) }?;
        Ok(shared)
    }

    /// Maps the first `length` bytes to be read, here and in every forked child.
    ///
    /// # Errors
    /// What mmap(2) answers.
    pub fn map_for_children(file: BorrowedFd<'_>, length: usize) -> Result<Self, Errno> {
        Self::new(file, 0, length, ProtFlags::READ)
    }

    fn new(file: BorrowedFd<'_>, offset: u64, length: usize, protection: ProtFlags) -> Result<Self, Errno> {
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a fresh mapping, wherever the kernel likes.
        let start = unsafe { mmap(null_mut(), length, protection, flags, file, offset) }?;
        Ok(Self(Mapping { start: NonNull::new(start.cast()).ok_or(Errno::NOMEM)?, length }))
    }

    /// Its first byte, on a page boundary.
    pub fn start(&self) -> NonNull<u8> {
        self.0.start()
    }

    /// Keeps it for as long as the process lives.
    pub fn leak(self) -> NonNull<u8> {
        self.0.leak()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` or `grow` with this length, and this is its last use.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}
