//! What a parasite asks of the tracer: the journal's work.

use std::ffi::CString;
use std::sync::Arc;

use tmpshim_core::glob::any_matches;
use tmpshim_core::identity::Identity;
use tmpshim_core::journal::Entry;
use tmpshim_core::name::{Kind, mark};
use tmpshim_core::parasite::{Announcement, Confirmation, NO_MODE, Place, Trap};

use super::memory;
use super::registers::{Native, Registers};
use super::tracer::{Announced, Tracer};
use crate::target::Target;

/// How many tickets a parasite can have: a bit each says which it has given up.
const TICKETS: usize = 32;

/// Any negative answer.
const NO: i64 = -1;

/// Answers one question of a thread that is inside.
pub(super) fn serve(tracer: &mut Tracer, thread: u32, registers: &Native) -> i64 {
    let [_, _, _, message, kind, _] = registers.arguments();
    let answer = match kind {
        kind if kind == Trap::Announce as u64 => announce(tracer, thread, message),
        kind if kind == Trap::Confirm as u64 => confirm(tracer, thread, message),
        kind if kind == Trap::ModeOfFile as u64 => path_at(thread, message).and_then(|path| {
            let mode = tracer.custody.tracker.mode_of_file(&path)?;
            Some(mode.map_or(NO_MODE, i64::from))
        }),
        kind if kind == Trap::ForgetFile as u64 => path_at(thread, message).map(|path| {
            tracer.custody.tracker.forget_file(&path);
            0
        }),
        _ => None,
    };
    answer.unwrap_or(NO)
}

/// What lies in the thread's memory.
///
/// # Safety
/// Any bytes are a `T`.
unsafe fn read<T>(thread: u32, address: u64) -> Option<T> {
    let bytes = memory::read(thread, address, size_of::<T>())?;
    // SAFETY: as many bytes as it has; the rest is this function's own contract.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

fn announce(tracer: &mut Tracer, thread: u32, message: u64) -> Option<i64> {
    // SAFETY: numbers and bytes.
    let message: Announcement = unsafe { read(thread, message) }?;
    let target = Target::elsewhere(thread)?;
    if !target.shares_mounts() {
        return None;
    }
    let name = message.name.get(..message.length as usize)?;
    let directory = target.descriptor_link(message.directory)?;
    let path = [directory.strip_suffix(b"/").unwrap_or(&directory), b"/", name].concat();
    if path.first() != Some(&b'/') {
        return None;
    }
    let path = CString::new(path).ok()?;
    let custody = Arc::clone(&tracer.custody);
    let tracker = custody.tracker;
    let visit = tracer.visit(thread).filter(|visit| visit.tickets.len() < TICKETS)?;
    // What is noted is removed with our rights, and the program may have written the message itself: so nothing but what a
    // parasite makes.
    let is_tracked = || visit.work.maker.is_some() && any_matches(custody.settings.track, path.to_bytes());
    let entry = match message.entry {
        1 if is_ours(name) => Entry::File { mode: u32::try_from(message.mode).ok() },
        2 if is_ours(name) || !name.contains(&b'/') && is_tracked() => Entry::Directory,
        _ => return None,
    };
    let ticket = tracker.reserve(path.to_bytes(), entry)?;
    if message.removable != 0 {
        ticket.announce();
    }
    visit.tickets.push(Announced { ticket: Some(ticket), path });
    let number = visit.tickets.len() as i64 - 1;
    if matches!(entry, Entry::File { mode: Some(_) }) {
        // A program may make them faster than they are looked through once a second.
        tracer.custody.makers.wake();
    }
    Some(number)
}

/// Whether it is a name that we give to files and directories.
fn is_ours(name: &[u8]) -> bool {
    !name.contains(&b'/') && mark(name).is_some_and(|mark| !mark.unlinked && mark.kind != Kind::Journal)
}

fn confirm(tracer: &mut Tracer, thread: u32, message: u64) -> Option<i64> {
    // SAFETY: numbers.
    let message: Confirmation = unsafe { read(thread, message) }?;
    let identity: Identity = message.identity;
    let visit = tracer.visit(thread)?;
    let announced = visit.tickets.get_mut(message.ticket as usize)?;
    announced.ticket.take()?.confirm(&identity);
    if let Some(maker) = &visit.work.maker {
        let made = maker.has_made(announced.path.clone()).unproven();
        tracer.custody.makers.add(made);
    }
    Some(0)
}

fn path_at(thread: u32, message: u64) -> Option<Vec<u8>> {
    // SAFETY: a number and bytes.
    let place: Place = unsafe { read(thread, message) }?;
    place.path.get(..place.length as usize).map(<[u8]>::to_vec)
}
