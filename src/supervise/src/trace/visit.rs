//! A thread's way to an errand and back.

use std::sync::Arc;

use rustix::io::Errno;
use tmpshim_core::journal::Entry;
use tmpshim_core::tracker::Ticket;

use super::errand::Work;
use super::machine::{Memory, Room};
use super::registers::{Native, Registers};
use super::signals::Traveller;
use super::space::{self, Shared, Space};
use super::tracer::Tracer;
use super::{frame, memory, ptrace};
use crate::custody::{Claim, Custody};
use crate::target::{Target, path};

/// A call that we have to do with, and what its thread gets back.
pub(super) struct Visit {
    pub(super) work: Work,
    /// As they were when it was stopped.
    registers: Native,
    /// The answer to the program's own attempt.
    native: Option<i64>,
    /// Its signal mask, once another has been put on, and whose it is.
    mask: Option<u64>,
    pub(super) user: Option<u32>,
    /// Its registers are not its own.
    is_away: bool,
    /// It would not survive our end.
    is_torn: bool,
    stack: Option<u32>,
    pub(super) tickets: Vec<Announced>,
}

/// What was announced for a parasite.
pub(super) struct Announced {
    pub(super) ticket: Option<Ticket<'static>>,
    pub(super) claim: Claim,
    pub(super) entry: Entry,
}

impl Visit {
    pub(super) fn new(work: Work, registers: Native) -> Self {
        let (mask, user, stack) = (None, None, None);
        Self { work, registers, native: None, mask, user, is_away: false, is_torn: false, stack, tickets: Vec::new() }
    }

    /// A file that is to keep its name may be in use, even if nobody has said what it is: it goes at the end.
    pub(super) fn leave_kept(&mut self, custody: &Custody) {
        let is_kept = |announced: &mut Announced| matches!(announced.entry, Entry::File { mode: Some(_) });
        for Announced { ticket, claim, .. } in self.tickets.extract_if(.., is_kept) {
            if let Some(ticket) = ticket {
                custody.leave(ticket, claim);
            }
        }
    }

    /// Puts on the mask that its thread has on the way, once.
    fn set_out(&mut self, id: u32) -> Result<(), Errno> {
        if self.mask.is_none() {
            let mask = ptrace::signal_mask(id)?;
            let traveller = Traveller::of(id, mask);
            (self.mask, self.user) = (Some(mask), traveller.user);
            ptrace::set_signal_mask(id, traveller.mask)?;
        }
        Ok(())
    }
}

impl Tracer {
    /// Whether its own call has failed so that it has to go on an errand.
    pub(super) fn has_failed(&mut self, id: u32) -> Result<bool, Errno> {
        let result = ptrace::registers(id)?.result();
        let Some(visit) = self.visit(id) else { return Ok(false) };
        visit.native = Some(result);
        let fails = visit.work.errand(visit.native).is_some();
        if !fails {
            self.forget_visit(id);
        }
        Ok(fails)
    }

    /// What a thread has that is to go on an errand. If all, it has its stack then, with the frame on it.
    pub(super) fn room(&mut self, id: u32) -> Room {
        let Some(thread) = self.threads.get_mut(&id) else { return Room::Impossible };
        thread.space.borrow_mut().settle(|code| self.image.is_in(id, code));
        let room = thread.space.borrow().room(id, self.stacks.has_free());
        if room != Room::Ready {
            return room;
        }
        let Space { stacks: Some(stacks), .. } = *thread.space.borrow() else { return Room::Impossible };
        let Some(visit) = thread.visit.as_deref_mut() else { return Room::Impossible };
        let Some(errand) = visit.work.errand(visit.native) else { return Room::Impossible };
        let Ok(mask) = visit.mask.map_or_else(|| ptrace::signal_mask(id), Ok) else { return Room::Impossible };
        let Some(stack) = self.stacks.take() else { return Room::Busy };
        visit.stack = Some(stack);
        let bytes = frame::bytes(&visit.registers.saved(mask), &errand, visit.native, &self.survey);
        match memory::write(id, space::frame(stacks, stack), &bytes) {
            Ok(()) => Room::Ready,
            Err(error) => {
                visit.stack = None;
                self.stacks.give_back(stack);
                if error != Errno::FAULT {
                    return Room::Impossible;
                }
                // The program has unmapped it.
                *thread.space.borrow_mut() = Space::default();
                Room::Without(Memory::Stacks)
            }
        }
    }

    /// Makes it map memory. If we died now, it would go on with what that call gave in the place of its own.
    pub(super) fn map(&mut self, id: u32, what: Memory) -> Result<(), Errno> {
        let length = match what {
            Memory::Code => self.image.length() as u64,
            Memory::Stacks => u64::from(space::STACKS) * space::STACK,
        };
        let protection = match what {
            Memory::Code => libc::PROT_READ | libc::PROT_EXEC,
            Memory::Stacks => libc::PROT_READ | libc::PROT_WRITE,
        };
        let Some(thread) = self.threads.get_mut(&id) else { return Err(Errno::SRCH) };
        let Some(visit) = thread.visit.as_deref_mut() else { return Err(Errno::SRCH) };
        thread.space.borrow_mut().mapper = Some(id);
        ptrace::end_with_us(id, true)?;
        visit.is_torn = true;
        visit.set_out(id)?;
        visit.is_away = true;
        ptrace::set_registers(id, &visit.registers.mapping(length, protection))?;
        ptrace::resume_to_call(id, 0)
    }

    /// It has; what it has now.
    pub(super) fn has_mapped(&mut self, id: u32, what: Memory) -> Room {
        let address = ptrace::registers(id).map(|registers| registers.result());
        let Some(thread) = self.threads.get(&id) else { return Room::Impossible };
        let space = Shared::clone(&thread.space);
        let is_there = match (address, what) {
            (Err(_) | Ok(..0), _) => false,
            (Ok(address), Memory::Code) => {
                let base = address as u64;
                let is_written = memory::write_code(id, base, &self.image.at(base)).is_ok();
                if is_written {
                    space.borrow_mut().code = Some(base);
                }
                is_written
            }
            (Ok(address), Memory::Stacks) => {
                space.borrow_mut().stacks = Some(address as u64);
                true
            }
        };
        if is_there && space.borrow().code.is_none() {
            return Room::Without(Memory::Code);
        }
        space.borrow_mut().mapper = None;
        self.has_room = true;
        if is_there { self.room(id) } else { Room::Impossible }
    }

    /// Sends it where its frame is. It comes back by itself if we die, from the first instruction on; so its signals are
    /// blocked last.
    pub(super) fn enter(&mut self, id: u32) -> Result<(), Errno> {
        let Some(thread) = self.threads.get_mut(&id) else { return Err(Errno::SRCH) };
        let Space { code: Some(code), stacks: Some(stacks), .. } = *thread.space.borrow() else {
            return Err(Errno::SRCH);
        };
        let Some(visit) = thread.visit.as_deref_mut() else { return Err(Errno::SRCH) };
        let frame = space::frame(stacks, visit.stack.ok_or(Errno::SRCH)?);
        visit.is_away = true;
        ptrace::set_registers(id, &visit.registers.visiting(code + self.image.entry(), frame))?;
        visit.set_out(id)?;
        if visit.is_torn {
            ptrace::end_with_us(id, false)?;
        }
        ptrace::resume(id, 0)
    }

    /// Where its frame is, while it is inside.
    fn frame_of(&self, id: u32) -> Option<u64> {
        let thread = self.threads.get(&id)?;
        let stacks = thread.space.borrow().stacks?;
        Some(space::frame(stacks, thread.visit.as_ref()?.stack?))
    }

    /// Gives it everything back. Its mask first, since from then on the parasite could do the rest by itself.
    pub(super) fn finish(&mut self, id: u32) -> Result<(), Errno> {
        let answer = self.frame_of(id).and_then(|frame| frame::answer(id, frame, &self.survey));
        let custody = Arc::clone(&self.custody);
        let visit = self.visit(id).ok_or(Errno::SRCH)?;
        let result = answer.map_or(-i64::from(libc::EIO), |answer| answer.result);
        let said = answer.and_then(|answer| visit.work.said(&answer));
        // While it is there to be asked.
        let line = said.filter(|_| custody.is_logged()).and_then(|(said, address)| {
            let speaker = custody.speaker(&Target::elsewhere(id)?)?;
            Some((said, path(id, address).unwrap_or_default(), speaker))
        });
        if let Some((said, _)) = said {
            custody.note(said);
        }
        if let Some(mask) = visit.mask {
            ptrace::set_signal_mask(id, mask)?;
        }
        ptrace::set_registers(id, &visit.registers.answered(result))?;
        for (number, announced) in visit.tickets.iter_mut().enumerate() {
            // What else is still announced could not be removed.
            if answer.is_some_and(|answer| answer.abandoned >> number & 1 != 0)
                && let Some(ticket) = announced.ticket.take()
            {
                ticket.abandon();
            }
        }
        visit.leave_kept(&custody);
        self.forget_visit(id);
        self.go_on(id, 0)?;
        if let Some(line) = line {
            self.speech.say(line);
        }
        Ok(())
    }

    /// It gets the kernel's own answer.
    pub(super) fn give_up(&mut self, id: u32) -> Result<(), Errno> {
        let visit = self.visit(id).ok_or(Errno::SRCH)?;
        let registers = match visit.native {
            Some(result) => Some(visit.registers.answered(result)),
            // Its call was skipped, for another in its place or for the parasite.
            None => visit.is_away.then(|| visit.registers.again()),
        };
        let is_skipped = visit.native.is_none() && visit.is_away;
        if let Some(thread) = self.threads.get_mut(&id).filter(|_| is_skipped) {
            thread.passes = true;
        }
        self.give_back(id, registers)
    }

    /// It makes its call once more, from the beginning.
    pub(super) fn try_again(&mut self, id: u32) -> Result<(), Errno> {
        let registers = self.visit(id).ok_or(Errno::SRCH)?.registers.again();
        self.give_back(id, Some(registers))
    }

    /// It gets everything back without having been inside, and goes on.
    pub(super) fn give_back(&mut self, id: u32, registers: Option<Native>) -> Result<(), Errno> {
        let visit = self.visit(id).ok_or(Errno::SRCH)?;
        let (mask, is_torn) = (visit.mask, visit.is_torn);
        if let Some(registers) = registers {
            ptrace::set_registers(id, &registers)?;
        }
        if let Some(mask) = mask {
            ptrace::set_signal_mask(id, mask)?;
        }
        if is_torn {
            ptrace::end_with_us(id, false)?;
        }
        self.forget_visit(id);
        self.go_on(id, 0)
    }

    /// Its errand is over, one way or the other.
    pub(super) fn forget_visit(&mut self, id: u32) {
        let Some(thread) = self.threads.get_mut(&id) else { return };
        let mut space = thread.space.borrow_mut();
        if space.mapper == Some(id) {
            space.mapper = None;
            self.has_room = true;
        }
        let Some(visit) = thread.visit.take() else { return };
        if let Some(stack) = visit.stack {
            self.stacks.give_back(stack);
            self.has_room = true;
        }
        // What is still announced may be there: it has died in between.
        // The newest first: its path may lead through an older one.
        let tickets = visit.tickets.into_iter().rev();
        self.custody.settle(tickets.filter_map(|announced| Some((announced.ticket?, announced.claim))));
    }
}
