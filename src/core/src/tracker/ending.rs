//! The end of a process, and what the dead have left: who was the last, and removing what that one made (D2, D3, D5).

use super::page::{NOBODY, Page, SETTLED};
use super::{Cleaned, Tracker};
use crate::clean::{Cleaner, is_gone, remove_if_closed};
use crate::fd::Fd;
use crate::journal::{self, Entry, Fate, HEADER, Header, Journal, Life, Record};
use crate::kin::{self, Process};
use crate::lease::Lease;
use crate::listing;
use crate::name::{Kind, mark};
use crate::remove::{Outcome, Stuck};
use crate::settings::Cleanup;
use crate::stack;
use crate::state;
use crate::sys;
use crate::text::{PATH_MAX, Text, split};
use core::ffi::CStr;
use core::ptr::null_mut;
use core::sync::atomic::Ordering;
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;
use rustix::mm::munmap;

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself: a living child that runs another program may still use what it was told of.
    Orderly,
    /// By a signal, which such children get as well, or outlive in vain.
    Signal,
}

impl Tracker {
    /// Cleans up behind processes that are gone (D5), as far as their journals lie in `state`; with `former`, also behind
    /// this one's life before an exec.
    pub(super) fn sweep(&self, page: &Page, state: &Fd, former: bool) {
        let own = page.journal().map_or(Process::new(0, 0), Header::owner);
        let namespace = page.journal().map_or(0, Header::pid_namespace);
        let mut cleaner = Cleaner::default();
        let mut buffer = [0u8; 4096];
        listing::each_name(state, &mut buffer, |name| {
            if mark(name.to_bytes()).is_none_or(|mark| mark.kind != Kind::Journal) {
                return;
            }
            let Ok(journal) = Journal::take(state.as_fd(), name) else { return };
            match journal.life(&own, namespace) {
                Life::Former if !former => page.has_former.store(1, Ordering::Relaxed),
                Life::Dead | Life::Former => self.clean_dead(&journal, state, name, &mut cleaner),
                Life::Alive | Life::Unknown => {}
            }
        });
    }

    /// Cleans up what stands in a journal whose lock is ours and whose processes are dead, and removes it if nothing is
    /// left to do.
    fn clean_dead(&self, journal: &Journal, state: &Fd, name: &CStr, cleaner: &mut Cleaner) {
        let header = journal.header();
        // From here its paths lead elsewhere.
        if header.root() != journal::root() {
            return;
        }
        let cleanup = header.cleanup();
        let kept = journal.each(|record| {
            if cleanup == Cleanup::Off && record.entry == Entry::Directory && record.made.is_some() {
                return Fate::Forget;
            }
            let outcome = cleaner.clean_dead(record, cleanup != Cleanup::Empty, header.created());
            (self.surroundings.report)(&Cleaned { path: record.path, outcome });
            if matches!(outcome, Outcome::Stuck(_)) { Fate::Keep } else { Fate::Forget }
        });
        if kept == 0 {
            let _ = crate::fd::unlinkat(state, name, AtFlags::empty());
        }
    }

    /// The end of this process: removes everything that it made and nobody removed, and what its dead ancestors have left
    /// if it is the last one that could use it. Any thread, also in a signal handler, on a stack of its own. All signals
    /// of the calling thread wait until it is done. Where another thread is at it already, waits for that one first.
    /// Without `as_heir`, ancestors are not looked after; where nothing else was tracked, no system call is made then.
    pub fn clean_up(&self, cleanup: Cleanup, ending: Ending, as_heir: bool) {
        // SAFETY: the pointer is null or a page that is never unmapped.
        let Some(page) = (unsafe { self.page.load(Ordering::Acquire).as_ref() }) else { return };
        match page.stage.load(Ordering::Acquire) {
            SETTLED => {
                // A child that shares our memory; as pid 1 of a new namespace, when we are a pid 1 ourselves.
                let outer = page.outer_pid.load(Ordering::Relaxed);
                if page.pid.load(Ordering::Relaxed) != sys::getpid() || outer != 0 && outer != kin::number_in_proc() {
                    return;
                }
                page.alone(|| {
                    self.end(page, cleanup, ending);
                    if page.has_former.swap(0, Ordering::Relaxed) != 0
                        && let Some(state) = page.journal().and_then(|header| open_state_of(header.path()))
                    {
                        self.sweep(page, &state, true);
                    }
                    if as_heir {
                        self.inherit(ending);
                    }
                });
            }
            // Wiped: this is a forked child that has made nothing itself, or shares the memory of one.
            NOBODY if as_heir && self.inherited().next().is_some() && kin::owns_its_memory() => {
                on_fresh_stack(|| self.inherit(ending));
            }
            _ => {}
        }
    }

    /// What this process made itself.
    fn end(&self, page: &Page, cleanup: Cleanup, ending: Ending) {
        let header = page.journal();
        page.is_ending.swap(1, Ordering::SeqCst);
        // Both are said before the lock is given up: who is the last one may go by them from then on.
        let is_held = page.wait_for_makers() && ending == Ending::Orderly && note_children(header);
        if let Some(header) = header {
            header.end(cleanup);
        }
        // The journal stays open until all is removed, so that nobody else begins.
        let (is_last, _lock) = match Lease::from_word(page.lease.load(Ordering::Relaxed)) {
            Some(lease) if lease.is_last() => (true, None),
            _ => {
                let regained = header.and_then(|header| self.regain(page, header));
                (regained.is_some(), regained)
            }
        };
        // A child that was told has perhaps ended since, and left it all to this one, which still had the lock then.
        let is_held = is_held && header.is_none_or(|header| header.holders().any(|holder| holder.is_alive()));
        let mut cleaner = Cleaner::default();
        let mut kept = 0;
        // The newest first: its path may lead through an older one.
        for place in page.places() {
            let Some(was) = place.claim_any() else { continue };
            let record = place.record(was);
            let is_directory = record.entry == Entry::Directory;
            // One that was only announced may be ours alone, around a stand-in.
            if is_directory && cleanup == Cleanup::Off && record.made.is_some() {
                // Something may still go wrong before this process has ended.
                place.put_back(was);
                continue;
            }
            let outcome = if is_last && !(is_held && is_directory) {
                cleaner.clean(&record, cleanup != Cleanup::Empty)
            } else if !is_directory && record.made.is_some_and(|made| remove_if_closed(record.path, &made)) {
                Outcome::Removed
            } else if is_last && is_gone(&record) {
                // Nothing for the children to hold, and so no journal. Who is not the last leaves that to who is: it may be
                // in a chroot, where the path leads elsewhere.
                Outcome::NotThere
            } else {
                Outcome::Stuck(Stuck::InUse)
            };
            (self.surroundings.report)(&Cleaned { path: record.path, outcome });
            if header.is_some() && may_go_later(outcome, &record) {
                place.put_back(was);
                kept += 1;
            } else {
                place.release();
            }
        }
        let Some(header) = header else { return };
        if kept == 0 && is_last {
            let _ = crate::fd::unlinkat(CWD, header.path(), AtFlags::empty());
        }
        // What another process may be cleaning by now is not ours any more.
        page.given_up.store(u32::from(kept != 0), Ordering::Relaxed);
    }

    /// Gives up the lock of this process's journal, and takes it again where nobody else has it.
    fn regain(&self, page: &Page, header: &Header) -> Option<Journal> {
        let held = page.held.swap(null_mut(), Ordering::AcqRel);
        self.let_go(held);
        take(header.path()).map(|taken| taken.journal)
    }

    /// Gives up a lock.
    fn let_go(&self, held: *mut Header) {
        for place in &self.inherited.0 {
            let _ = place.compare_exchange(held, null_mut(), Ordering::AcqRel, Ordering::Acquire);
        }
        if !held.is_null() {
            // SAFETY: a mapping of this size, which nobody looks at any more: the lists above were its only holders.
            let _ = unsafe { munmap(held.cast(), HEADER) };
        }
    }

    /// The locks that this process has from those it comes from, its parent's first.
    #[inline(never)]
    pub(super) fn inherited(&self) -> impl Iterator<Item = *mut Header> {
        // SAFETY: the pointer is null or a page that is never unmapped.
        let page = unsafe { self.page.load(Ordering::Acquire).as_ref() };
        let own = page.map_or(null_mut(), |page| page.held.load(Ordering::Acquire));
        let all = self.inherited.0.iter().rev().map(|place| place.load(Ordering::Acquire));
        all.filter(move |&held| !held.is_null() && held != own)
    }

    /// Gives up the locks of ancestors, and cleans up behind those of whom this process was the last.
    fn inherit(&self, ending: Ending) {
        let mut own = None;
        let pid = sys::getpid();
        let has_children = ending == Ending::Orderly && sys::has_children();
        while let Some(held) = self.inherited().next() {
            // SAFETY: a mapping of this size that fork has handed down; it is given up only below.
            let header = unsafe { &*held };
            let mut path = Text::<PATH_MAX>::new();
            path.push(header.path().to_bytes());
            // It may have been noted, before it could be known whether it would start another program. And what it has
            // started itself may need what its ancestor made. Both before the lock is given up, as in `end`.
            if has_children || header.holders().any(|holder| holder.pid == pid) {
                header.change(|header| {
                    header.let_go(pid);
                    if has_children {
                        note_children(Some(header));
                    }
                });
            }
            self.let_go(held);
            let Some(Taken { state, mut name, journal }) = path.as_c_str().and_then(take) else { continue };
            let own = own.get_or_insert_with(Process::current);
            // A parent that ended first has noted this process as one that needs it: not any more.
            if !matches!(journal.life(own, kin::pid_namespace()), Life::Dead | Life::Former) {
                continue;
            }
            if let Some(name) = name.as_c_str() {
                self.clean_dead(&journal, &state, name, &mut Cleaner::default());
            }
        }
    }
}

/// Whether somebody else can come back to it: from where it was made, when it is free, or when a filesystem is well again.
/// A directory that the program has no right to remove, or where something is mounted, is reported once.
pub fn may_go_later(outcome: Outcome, record: &Record<'_>) -> bool {
    match outcome {
        Outcome::Stuck(Stuck::Refused(Errno::PERM | Errno::ACCESS | Errno::ROFS)) => record.entry != Entry::Directory,
        // A server may still have a name for what was open in a directory around a stand-in.
        Outcome::NotEmpty => record.made.is_none(),
        outcome => matches!(outcome, Outcome::Stuck(Stuck::InUse | Stuck::OtherNamespace | Stuck::Refused(_))),
    }
}

/// A journal with its lock, and where it lies.
struct Taken {
    state: Fd,
    name: Text<256>,
    journal: Journal,
}

/// Takes the journal with this path; nothing where somebody else has its lock, or it is not to be touched.
fn take(path: &CStr) -> Option<Taken> {
    let state = open_state_of(path)?;
    let (_, name) = split(path.to_bytes())?;
    let mut name = Text::new().also(name);
    let journal = Journal::take(state.as_fd(), name.as_c_str()?).ok()?;
    Some(Taken { state, name, journal })
}

fn open_state_of(journal: &CStr) -> Option<Fd> {
    let (directory, _) = split(journal.to_bytes())?;
    let mut path = state::Path::new().also(directory);
    state::open(path.as_c_str()?, rustix::process::geteuid().as_raw()).ok()
}

/// Notes the living children of this process. Says whether there is one.
fn note_children(journal: Option<&Header>) -> bool {
    let mut any = false;
    kin::each_child(|child| {
        if let Some(journal) = journal {
            journal.hold(&child);
        }
        any = true;
    });
    any
}

/// With all signals of this thread waiting, on a stack that is mapped for it: there may be hardly any left.
fn on_fresh_stack(work: impl FnOnce()) {
    let mask = sys::set_signal_mask(u64::MAX);
    if let Ok(top) = stack::map() {
        // SAFETY: mapped by the line above, and nobody else knows it.
        unsafe { stack::call_on(top, work) };
    }
    sys::set_signal_mask(mask);
}
