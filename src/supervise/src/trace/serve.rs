//! What a parasite asks of the tracer: the journal's work.

use std::ffi::CString;
use std::sync::Arc;

use tmpshim_core::journal::Entry;
use tmpshim_core::name::{Kind, LENGTH, mark};
use tmpshim_core::parasite::{Announcement, Confirmation, NO, NO_MODE, Place, Trap};

use super::memory;
use super::registers::{Native, Registers};
use super::tracer::Tracer;
use super::visit::Announced;
use crate::custody::Claim;
use crate::target::Target;

/// How many tickets a parasite can have: a bit each says which it has given up.
const TICKETS: usize = 32;

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

/// What is announced is removed by us should its maker die, perhaps with more rights than that has: so only under a name
/// that nobody else gives anything, or the one that the program is known to make a directory of.
fn is_ours_to_remove(name: &[u8], entry: Entry, directory: Option<&[u8]>) -> bool {
    let kind = mark(name).filter(|mark| name.len() == LENGTH && !mark.unlinked).map(|mark| mark.kind);
    match entry {
        Entry::File { .. } => matches!(kind, Some(Kind::Linkable | Kind::Exclusive | Kind::Publishing | Kind::Probe)),
        Entry::Directory => kind == Some(Kind::Private) || directory == Some(name),
    }
}

fn announce(tracer: &mut Tracer, thread: u32, message: u64) -> Option<i64> {
    // SAFETY: numbers and bytes.
    let message: Announcement = unsafe { read(thread, message) }?;
    let target = Target::elsewhere(thread)?;
    if !target.shares_mounts() {
        return None;
    }
    let entry = match message.entry {
        1 => Entry::File { mode: u32::try_from(message.mode).ok() },
        2 => Entry::Directory,
        _ => return None,
    };
    let name = message.name.get(..message.length as usize)?;
    let tracker = tracer.custody.tracker;
    let visit = tracer.visit(thread).filter(|visit| visit.tickets.len() < TICKETS)?;
    if !is_ours_to_remove(name, entry, visit.work.directory_name()) {
        return None;
    }
    let directory = target.descriptor_link(message.directory)?;
    let path = [directory.strip_suffix(b"/").unwrap_or(&directory), b"/", name].concat();
    let path = CString::new(path).ok().filter(|path| path.to_bytes().first() == Some(&b'/'))?;
    let user = visit.user?;
    let ticket = tracker.reserve(path.to_bytes(), entry)?;
    if message.removable != 0 {
        ticket.announce();
    }
    visit.tickets.push(Announced { ticket: Some(ticket), claim: Claim { user, path }, entry });
    let number = visit.tickets.len() as i64 - 1;
    if matches!(entry, Entry::File { mode: Some(_) }) {
        // A program may make them faster than they are looked through once a second.
        tracer.custody.makers.wake();
    }
    Some(number)
}

fn confirm(tracer: &mut Tracer, thread: u32, message: u64) -> Option<i64> {
    // SAFETY: numbers.
    let message: Confirmation = unsafe { read(thread, message) }?;
    let custody = Arc::clone(&tracer.custody);
    let visit = tracer.visit(thread)?;
    let announced = visit.tickets.get_mut(message.ticket as usize)?;
    let claim = Claim { user: announced.claim.user, path: announced.claim.path.clone() };
    let directory = match announced.entry {
        Entry::File { mode: Some(_) } => None,
        Entry::Directory => Some(visit.work.has_made(claim.path.clone(), message.identity)?),
        // Nothing that is kept.
        Entry::File { mode: None } => return None,
    };
    announced.ticket.take()?.confirm(&message.identity);
    custody.check(claim, message.identity, directory);
    Some(0)
}

fn path_at(thread: u32, message: u64) -> Option<Vec<u8>> {
    // SAFETY: a number and bytes.
    let place: Place = unsafe { read(thread, message) }?;
    place.path.get(..place.length as usize).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tmpshim_core::name::Name;

    #[test]
    fn s2_a_program_announces_nothing_that_somebody_else_could_have_made() {
        let file = Entry::File { mode: None };
        let own = Name::fresh(Kind::Linkable).unwrap();
        let private = Name::fresh(Kind::Private).unwrap();
        assert!(is_ours_to_remove(own.as_bytes(), file, None));
        assert!(is_ours_to_remove(private.as_bytes(), Entry::Directory, None));
        assert!(is_ours_to_remove(b"made", Entry::Directory, Some(b"made")));
        let above = [b"../", own.as_bytes()].concat();
        let deleted = [own.as_bytes(), b" (deleted)"].concat();
        let journal = Name::fresh(Kind::Journal).unwrap();
        let others: [&[u8]; 7] = [b"", b"passwd", b"..", &above, &deleted, private.as_bytes(), journal.as_bytes()];
        for name in others {
            assert!(!is_ours_to_remove(name, file, Some(name)), "{}", name.escape_ascii());
        }
        for name in [b"" as &[u8], b"passwd", own.as_bytes(), b"a/made"] {
            assert!(!is_ours_to_remove(name, Entry::Directory, Some(b"made")), "{}", name.escape_ascii());
        }
    }
}
