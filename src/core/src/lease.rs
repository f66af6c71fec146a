//! Whether another process may still use what this one made (D3): one that was forked since, and lives.
//!
//! The kernel counts it. A System V shared memory segment is attached to this process and marked for removal at once: a
//! forked child inherits the attachment, whatever way it was forked, and loses it by exec, exit or SIGKILL; the segment
//! goes with the last one. No descriptor, no name, nothing to be left behind.

use crate::sys;

/// An attachment of this process.
#[derive(Clone, Copy, Debug)]
pub struct Lease(i32);

impl Lease {
    /// Attaches a segment. Nothing where System V IPC is not there or its limits are reached.
    pub fn take() -> Option<Self> {
        let segment = sys::shm_create().ok()?;
        let attached = sys::shm_attach(segment);
        let _ = sys::shm_remove(segment);
        attached.ok().map(|_| Self(segment))
    }

    /// Whether this process is the only one left. Also "no" where that cannot be told: in another IPC namespace.
    pub fn is_last(self) -> bool {
        sys::shm_attachments(self.0) == Ok(1)
    }

    /// For keeping it in one word: never 0.
    pub fn to_word(this: Option<Self>) -> u32 {
        this.map_or(0, |lease| lease.0 as u32 + 1)
    }

    /// From that word.
    pub fn from_word(word: u32) -> Option<Self> {
        word.checked_sub(1).map(|segment| Self(segment as i32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d3_a_forked_child_counts_as_long_as_it_lives() {
        // Where all numbers of the machine are taken, there are some in a namespace of one's own; that is for root.
        // SAFETY: it concerns this thread, which has nothing attached yet.
        let _ = unsafe { libc::unshare(libc::CLONE_NEWIPC) };
        let lease = Lease::take().unwrap();
        assert!(Lease::from_word(Lease::to_word(Some(lease))).unwrap().is_last());
        assert!(Lease::from_word(Lease::to_word(None)).is_none());
        let mut ends = [0; 2];
        // SAFETY: two descriptors are written to an array of two; the child makes system calls only.
        let child = unsafe {
            assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
            libc::fork()
        };
        if child == 0 {
            let mut byte = 0u8;
            // SAFETY: one byte; returns when the parent closes its end.
            unsafe {
                libc::close(ends[1]);
                libc::read(ends[0], (&raw mut byte).cast(), 1);
            }
            sys::exit_group(0);
        }
        assert!(!lease.is_last());
        // SAFETY: descriptors of our own, a status that may be null.
        unsafe {
            libc::close(ends[1]);
            libc::close(ends[0]);
            assert_eq!(libc::waitpid(child, core::ptr::null_mut(), 0), child);
        }
        assert!(lease.is_last());
    }
}
