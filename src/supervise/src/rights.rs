//! What decides what a thread may do with a file, taken on by one of ours for the time of a call, so that the supervisor
//! never does for a program what the program could not do itself (S2).
//!
//! Credentials belong to a thread in Linux; libc's functions, which would change them in all threads, are gone around.

use std::os::fd::OwnedFd;

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{chroot, fchdir, umask};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use crate::target::Status;

/// What decides it, but for root and umask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    /// Real, effective, saved, and the one that counts for files. Some FUSE mounts look at the first three.
    pub(crate) users: [u32; 4],
    pub(crate) groups: [u32; 4],
    /// In order.
    pub(crate) more_groups: Vec<u32>,
    /// The effective ones.
    pub(crate) capabilities: u64,
    /// Inode of the user namespace in which they count.
    pub(crate) namespace: u64,
    /// What a security module (AppArmor, SELinux) calls it. Not to be taken on.
    pub(crate) label: Vec<u8>,
}

/// A thread, or process, of ours with a root and an umask of its own, and with what it needs to become itself again.
pub(crate) struct Hand {
    own: Rights,
    sets: CapabilitySets,
    root: OwnedFd,
    /// Users and groups need not come back. In somebody else's user namespace ours may have no numbers.
    is_for_one_call: bool,
    has_own_umask: bool,
}

/// The umask of all threads that have none of their own.
static UMASK: RwLock<Option<u32>> = RwLock::new(None);

/// Why a thread did not come to act for somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is as it was: these rights are not to be had.
    Unavailable,
    /// It must not be used any more.
    Lost,
}

impl Hand {
    /// Makes the calling thread one; nothing where it cannot be.
    pub(crate) fn new(is_for_one_call: bool) -> Option<Self> {
        // Docker's profile forbids unshare(2) to those without CAP_SYS_ADMIN. A forked process shares nothing.
        // SAFETY: unshare(2) of root, directory and umask concerns nothing but where relative paths begin, and this
        // thread uses none.
        let has_own_umask = is_for_one_call || unsafe { libc::unshare(libc::CLONE_FS) } == 0;
        // So that what was given up for a call can be had back after it.
        // SAFETY: a flag of the calling thread; no memory is touched.
        unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) };
        let own = Status::of(rustix::thread::gettid().as_raw_nonzero().get() as u32)?.rights;
        let root = openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
        Some(Self { own, sets: capabilities(None).ok()?, root, is_for_one_call, has_own_umask })
    }

    pub(crate) fn rights(&self) -> &Rights {
        &self.own
    }

    /// Whether it can enter another root.
    pub(crate) fn has_own_root(&self) -> bool {
        self.has_own_umask
    }

    /// Does `work` with the umask and rights of somebody else in the same user namespace, and with this root, if not ours.
    pub(crate) fn act_as<T>(
        &self,
        status: &Status,
        root: Option<&OwnedFd>,
        work: impl FnOnce() -> T,
    ) -> Result<T, Trouble> {
        let wanted = &self.shown(&status.rights);
        let has_rights = *wanted == self.own;
        if wanted.namespace != self.own.namespace
            || wanted.label != self.own.label
            || wanted.capabilities & !self.own.capabilities != 0
        {
            return Err(Trouble::Unavailable);
        }
        let _others_wait = (!self.has_own_umask).then(|| share_umask(status.umask));
        if self.has_own_umask {
            umask(Mode::from_raw_mode(status.umask));
        }
        let entered = root.is_none_or(|root| self.has_own_root() && enter(root).is_some());
        let taken_on = entered && (has_rights || take_on(wanted, &self.own, self.sets).is_some());
        let done = taken_on.then(work);
        let is_itself =
            (has_rights || self.put_off(wanted).is_some()) && (root.is_none() || enter(&self.root).is_some());
        match done {
            _ if !is_itself => Err(Trouble::Lost),
            Some(done) => Ok(done),
            None => Err(Trouble::Unavailable),
        }
    }

    /// Whether a thread of ours cannot take on all that `wanted` is: what a mount that is one user's alone (FUSE without
    /// allow_other) looks at.
    pub(crate) fn holds_back(&self, wanted: &Rights) -> bool {
        self.shown(wanted).users != wanted.users
    }

    /// What is taken on of `wanted`. Who has the real or the saved user of a thread may send it signals, SIGKILL included,
    /// and that ends all of this process: those two stay ours, unless this is a process for one call.
    fn shown(&self, wanted: &Rights) -> Rights {
        let [_, effective, _, for_files] = wanted.users;
        let [real, _, saved, _] = if self.is_for_one_call { wanted.users } else { self.own.users };
        Rights { users: [real, effective, saved, for_files], ..wanted.clone() }
    }

    fn put_off(&self, wanted: &Rights) -> Option<()> {
        // The permitted ones were kept, and the order is that of taking on, backwards.
        let all = CapabilitySets { effective: self.sets.permitted, ..self.sets };
        set_capabilities(None, all).ok()?;
        if set_ids(&self.own, wanted).is_none() && !self.is_for_one_call {
            return None;
        }
        set_capabilities(None, self.sets).ok()
    }
}

/// Makes it that of all threads that have none of their own, for as long as the answer lives. Most programs have the same,
/// so few wait here.
fn share_umask(wanted: u32) -> RwLockReadGuard<'static, Option<u32>> {
    let shared = UMASK.read();
    if *shared == Some(wanted) {
        return shared;
    }
    drop(shared);
    let mut own = UMASK.write();
    umask(Mode::from_raw_mode(wanted));
    *own = Some(wanted);
    RwLockWriteGuard::downgrade(own)
}

fn enter(root: &OwnedFd) -> Option<()> {
    fchdir(root).ok()?;
    chroot(".").ok()
}

/// `own` are the rights until here, with these capability sets.
fn take_on(wanted: &Rights, own: &Rights, sets: CapabilitySets) -> Option<()> {
    set_ids(wanted, own)?;
    let effective = CapabilitySet::from_bits_retain(wanted.capabilities);
    set_capabilities(None, CapabilitySets { effective, ..sets }).ok()
}

/// Users and groups.
fn set_ids(wanted: &Rights, current: &Rights) -> Option<()> {
    let done = |answer: libc::c_long| (answer == 0).then_some(());
    if wanted.more_groups != current.more_groups {
        // SAFETY: the call reads `more_groups`, as many as it says.
        done(unsafe { libc::syscall(libc::SYS_setgroups, wanted.more_groups.len(), wanted.more_groups.as_ptr()) })?;
    }
    for (wanted, current, set_three, set_one) in [
        (wanted.groups, current.groups, libc::SYS_setresgid, libc::SYS_setfsgid),
        (wanted.users, current.users, libc::SYS_setresuid, libc::SYS_setfsuid),
    ] {
        if wanted == current {
            continue;
        }
        let [real, effective, saved, for_files] = wanted;
        // SAFETY: numbers only.
        done(unsafe { libc::syscall(set_three, real, effective, saved) })?;
        if for_files != effective {
            // It answers with the one before, so only asking again tells.
            // SAFETY: numbers only.
            let now = unsafe {
                libc::syscall(set_one, for_files);
                libc::syscall(set_one, u32::MAX)
            };
            (now as u32 == for_files).then_some(())?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    /// In a thread of its own, since what it changes is the thread's.
    fn in_a_thread(test: impl FnOnce() + Send) {
        std::thread::scope(|scope| scope.spawn(test).join().unwrap());
    }

    #[test]
    fn s2_a_thread_acts_with_other_rights_and_is_itself_again() {
        in_a_thread(|| {
            let hand = Hand::new(false).unwrap();
            if hand.own.users[1] != 0 {
                return eprintln!("not shown: it takes root");
            }
            let own = hand.own.clone();
            let wanted = Rights {
                users: [1001, 1002, 1003, 1002],
                groups: [2001, 2002, 2003, 2003],
                more_groups: vec![7, 8],
                capabilities: 0,
                ..own.clone()
            };
            let now = || Status::of(rustix::thread::gettid().as_raw_nonzero().get() as u32).unwrap();
            for wanted in [
                wanted.clone(),
                Rights { capabilities: 1 << 1, ..wanted.clone() },
                Rights { users: [0, 0, 0, 1001], capabilities: 0, ..own.clone() },
                Rights { capabilities: own.capabilities & !(1 << 1), ..own.clone() },
                own.clone(),
            ] {
                let status = Status { process: 1, umask: 0o27, rights: wanted.clone() };
                let seen = hand.act_as(&status, None, now).unwrap();
                let [_, effective, _, for_files] = wanted.users;
                let shown = Rights { users: [0, effective, 0, for_files], ..wanted };
                assert_eq!((seen.rights, seen.umask), (shown, 0o27));
                assert_eq!(now().rights, own);
            }
            let more = Rights { capabilities: own.capabilities | 1 << 60, ..own.clone() };
            let status = Status { process: 1, umask: 0, rights: more };
            assert_eq!(hand.act_as(&status, None, now), Err(Trouble::Unavailable));
            assert_eq!(now().rights, own);
        });
    }

    #[test]
    fn s2_threads_without_an_umask_of_their_own_take_turns() {
        let hand = |_| Hand { has_own_umask: false, ..Hand::new(false).unwrap() };
        let rounds = |thread: u32| {
            let hand = hand(thread);
            let status = Status { process: 1, umask: thread, rights: hand.own.clone() };
            for _ in 0..200 {
                assert_eq!(hand.act_as(&status, None, || UMASK.read_recursive().unwrap()), Ok(thread));
            }
            let root = openat(CWD, "/dev", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
            assert_eq!(hand.act_as(&status, Some(&root), || ()), Err(Trouble::Unavailable));
        };
        std::thread::scope(|scope| {
            for thread in [0o22, 0o27, 0o77, 0o22] {
                scope.spawn(move || rounds(thread));
            }
        });
    }

    #[test]
    fn s2_a_thread_enters_another_root_and_comes_home() {
        in_a_thread(|| {
            let hand = Hand::new(false).unwrap();
            if hand.own.users[1] != 0 {
                return eprintln!("not shown: it takes root");
            }
            let root = openat(CWD, "/dev", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
            let status = Status { process: 1, umask: 0, rights: hand.own.clone() };
            let exists = || (std::fs::exists("/null").unwrap(), std::fs::exists("/dev/null").unwrap());
            assert_eq!(hand.act_as(&status, Some(&root), exists), Ok((true, false)));
            assert_eq!(exists(), (false, true));
        });
        assert!(std::fs::exists("/dev/null").unwrap(), "the other threads stay where they are");
    }
}
