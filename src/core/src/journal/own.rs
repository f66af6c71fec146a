//! Making a journal.

use super::header::{Header, PATH, cleanup_code, root};
use super::{HEADER, MAGIC, VERSION};
use crate::fd::{Fd, openat};
use crate::kin::Process;
use crate::mapping::Shared;
use crate::name::{Kind, Name};
use crate::settings::Cleanup;
use crate::sys;
use crate::text::Text;
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, Mode, OFlags, fstat};
use rustix::io::{Errno, pwrite};

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
        match sys::lock(file.as_fd()) {
            Ok(()) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error),
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
pub(super) fn write_zeros(file: &Fd, start: u64, length: u64) -> Result<(), Errno> {
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
