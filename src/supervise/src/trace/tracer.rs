//! The tracer: one event at a time, from whichever thread has stopped.

use std::collections::{HashMap, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use libc::PTRACE_TRACEME;
use rustix::io::Errno;
use rustix::process::Pid;
use tmpshim_core::journal::Entry;
use tmpshim_core::parasite::Trap;
use tmpshim_core::settings::{Cleanup, Settings};
use tmpshim_core::tmpfile::plan::QUESTION_ANSWER;
use tmpshim_core::tmpfile::survey::Survey;
use tmpshim_core::tracker::Ticket;

use super::errand::Work;
use super::frame;
use super::image::Image;
use super::machine::{Action, Event, Interest, Memory, Room, State, step};
use super::ptrace;
use super::registers::{Native, Registers};
use super::signals::Traveller;
use super::space::{self, Shared, Space, Stacks};
use super::speech::Speech;
use super::wait::{self, End, Ended, Stop, Why};
use super::{memory, serve};
use crate::call::{Call, call_by};
use crate::custody::{Claim, Custody};
use crate::filter::{ARCHITECTURES, TRACE_MARK};
use crate::supervisor::Clean;
use crate::target::{Target, path};

/// The tracer of one program and of all that it starts. The thread that made it is the tracer for the kernel, and the only
/// one that may use it.
pub struct Tracer {
    main: u32,
    pub(super) custody: Arc<Custody>,
    watching: JoinHandle<()>,
    speech: Speech,
    image: Image,
    pub(super) survey: Survey,
    threads: HashMap<u32, Thread>,
    /// Those that have stopped and were not seen to yet.
    stopped: VecDeque<Stop>,
    stacks: Stacks,
    /// Threads that wait for memory or a stack.
    waiting: VecDeque<u32>,
    /// There is something that one of those may have waited for.
    has_room: bool,
    /// Who waits until we have let go of a thread.
    heirs: HashMap<u32, Vec<u32>>,
    ending: Option<u32>,
}

/// What concerns whoever has started the program, by [`Tracer::look`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// This signal has stopped the program.
    Stopped(i32),
    /// The program has ended; it is reaped by the next call.
    Ending(End),
    /// Nothing for now. A SIGCHLD says that there is more.
    Quiet,
    /// Nobody is left.
    Alone,
}

/// One thread.
#[derive(Default)]
struct Thread {
    state: State,
    space: Shared,
    visit: Option<Box<Visit>>,
    /// Its next call is the kernel's.
    passes: bool,
    /// It is traced no longer as soon as it runs.
    is_wanted: bool,
    /// It has stopped with its process, and has not gone on yet.
    is_stopped: bool,
}

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

impl Tracer {
    /// Takes on the program, a child of this process that waits before its filter and its first exec. `parasite` is the
    /// linked file with the code that is mapped into programs. Every signal must be blocked in the calling thread.
    ///
    /// # Errors
    /// As ptrace(2): EPERM where somebody else traces it, ESRCH where it has ended; ENOEXEC where the file is no parasite;
    /// EAGAIN where there can be no thread.
    pub fn seize(program: Pid, parasite: &[u8], settings: Settings<'static>, clean: Clean) -> Result<Self, Errno> {
        let main = program.as_raw_nonzero().get().cast_unsigned();
        let image = Image::parse(parasite).map_err(|_| Errno::NOEXEC)?;
        let custody = Custody::new(settings, clean)?;
        let watching = custody.start().map_err(|_| Errno::AGAIN)?;
        let speech = Speech::start(&custody).map_err(|_| Errno::AGAIN)?;
        ptrace::seize(main)?;
        Ok(Self {
            main,
            custody,
            watching,
            speech,
            image,
            survey: Survey::new(),
            threads: HashMap::from([(main, Thread::default())]),
            stopped: VecDeque::new(),
            stacks: Stacks::default(),
            waiting: VecDeque::new(),
            has_room: false,
            heirs: HashMap::new(),
            ending: None,
        })
    }

    /// Sees to all that has stopped or ended, until something concerns the caller. Does not wait.
    pub fn look(&mut self) -> Change {
        if let Some(ended) = self.ending.take() {
            self.bury(ended);
        }
        loop {
            while let Some(stop) = self.stopped.pop_front() {
                if let Some(change) = self.handle(stop) {
                    return change;
                }
            }
            // Each that has stopped has one turn, and those that have ended are seen to in between: the kernel tells of
            // the youngest first, so that some which stop all the time would keep all others waiting.
            self.stopped.extend(std::iter::from_fn(wait::stopped));
            loop {
                match wait::ended() {
                    Ended::One(thread, end) if thread == self.main => {
                        self.ending = Some(thread);
                        return Change::Ending(end);
                    }
                    Ended::One(thread, _) => {
                        self.stopped.retain(|stop| stop.thread != thread);
                        self.bury(thread);
                    }
                    Ended::None if self.stopped.is_empty() => return Change::Quiet,
                    Ended::Nobody if self.stopped.is_empty() => return Change::Alone,
                    Ended::NotYet | Ended::None | Ended::Nobody => break,
                }
            }
        }
    }

    /// Nobody is left: removes what is left, directories only if `cleanup` says so.
    pub fn end(self, cleanup: Cleanup) {
        self.speech.end();
        self.custody.end(cleanup, self.watching);
    }

    fn handle(&mut self, Stop { thread, why }: Stop) -> Option<Change> {
        let mut change = None;
        let event = match why {
            Why::Child(signal) => return (thread == self.main).then_some(Change::Stopped(signal)),
            Why::Seccomp => Event::Called(self.interest_of(thread)),
            Why::AtCall => Event::AtCall,
            Why::Forked { is_process } => {
                self.has_forked(thread, is_process);
                Event::Passing
            }
            Why::Executed => {
                self.has_executed(thread);
                Event::Executed
            }
            Why::GroupStop(signal) => {
                change = (thread == self.main).then_some(Change::Stopped(signal));
                Event::GroupStop
            }
            Why::Passing => Event::Passing,
            Why::Signal(signal) => Event::Signal(signal),
        };
        self.threads.entry(thread).or_default().is_stopped = event == Event::GroupStop;
        self.advance(thread, event);
        if event == Event::GroupStop {
            self.each_waiting(|tracer, other| tracer.shares_memory(thread, other).then_some(Event::Stopping));
        }
        self.make_room();
        change
    }

    /// Sees to those that wait for memory or a stack, if there is some.
    fn make_room(&mut self) {
        while std::mem::take(&mut self.has_room) {
            self.each_waiting(|tracer, thread| Some(Event::Found(tracer.room(thread))));
        }
    }

    fn each_waiting(&mut self, event: impl Fn(&mut Self, u32) -> Option<Event>) {
        for thread in std::mem::take(&mut self.waiting) {
            if !self.threads.get(&thread).is_some_and(|waiting| matches!(waiting.state, State::Waiting { .. })) {
                continue;
            }
            match event(self, thread) {
                Some(event) => self.advance(thread, event),
                None => self.waiting.push_back(thread),
            }
        }
    }

    fn shares_memory(&self, one: u32, other: u32) -> bool {
        match (self.threads.get(&one), self.threads.get(&other)) {
            (Some(one), Some(other)) => Shared::ptr_eq(&one.space, &other.space),
            _ => false,
        }
    }

    /// Whether its process is being stopped, as others of its threads have been.
    fn is_being_stopped(&self, id: u32) -> bool {
        self.threads.iter().any(|(other, thread)| thread.is_stopped && self.shares_memory(id, *other))
    }

    fn advance(&mut self, id: u32, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next {
            let thread = self.threads.entry(id).or_default();
            let (state, action) = step(thread.state, event);
            thread.state = state;
            next = match self.perform(id, action) {
                Ok(next) => next,
                // It is dead, and its end on its way.
                Err(Errno::SRCH) => None,
                // Nothing that a kernel is known to refuse; but whatever it is, nobody must hang for it.
                Err(_) => {
                    self.threads.entry(id).or_default().state = State::Running;
                    if self.give_back(id, None).is_err() {
                        let _ = ptrace::resume(id, 0);
                    }
                    None
                }
            };
        }
    }

    fn perform(&mut self, id: u32, action: Action) -> Result<Option<Event>, Errno> {
        match action {
            Action::Resume(signal) => self.go_on(id, signal)?,
            Action::ResumeToCall(signal) => ptrace::resume_to_call(id, signal)?,
            Action::Listen if self.is_wanted(id) => self.let_go(id, 0)?,
            Action::Listen => ptrace::listen(id)?,
            Action::Leave if self.is_being_stopped(id) => return Ok(Some(Event::Stopping)),
            Action::Leave => self.waiting.push_back(id),
            Action::Refuse => self.answer(id, Errno::NOSYS)?,
            Action::Answer => self.answer(id, QUESTION_ANSWER)?,
            Action::Try => ptrace::resume_to_call(id, 0)?,
            Action::Look => return Ok(Some(Event::Looked { fails: self.has_failed(id)? })),
            Action::Replace | Action::Find => return Ok(Some(Event::Found(self.room(id)))),
            Action::Map(what) => self.map(id, what)?,
            Action::Mapped(what) => return Ok(Some(Event::Found(self.has_mapped(id, what)))),
            Action::Enter => self.enter(id)?,
            Action::Serve => {
                let registers = ptrace::registers(id)?;
                let answer = serve::serve(self, id, &registers);
                ptrace::set_registers(id, &registers.answered(answer))?;
                self.go_on(id, 0)?;
            }
            Action::Finish => self.finish(id)?,
            Action::GiveUp => self.give_up(id)?,
            Action::Again => self.try_again(id)?,
            Action::Hand => self.hand(id)?,
            Action::Forget => self.go_on(id, 0)?,
        }
        Ok(None)
    }

    pub(super) fn visit(&mut self, id: u32) -> Option<&mut Visit> {
        self.threads.get_mut(&id)?.visit.as_deref_mut()
    }

    fn is_wanted(&self, id: u32) -> bool {
        self.threads.get(&id).is_some_and(|thread| thread.is_wanted && thread.state == State::Running)
    }

    fn go_on(&mut self, id: u32, signal: i32) -> Result<(), Errno> {
        if self.is_wanted(id) { self.let_go(id, signal) } else { ptrace::resume(id, signal) }
    }

    fn answer(&mut self, id: u32, error: Errno) -> Result<(), Errno> {
        let registers = ptrace::registers(id)?;
        ptrace::set_registers(id, &registers.answered(-i64::from(error.raw_os_error())))?;
        self.go_on(id, 0)
    }

    /// What the call is to us that the filter has stopped; it is remembered where it is something.
    fn interest_of(&mut self, id: u32) -> Interest {
        let (Ok(registers), Ok(mark)) = (ptrace::registers(id), ptrace::message(id)) else { return Interest::None };
        if mark != u64::from(TRACE_MARK) {
            return Interest::Foreign;
        }
        let (architecture, number, arguments) = (registers.architecture(), registers.number(), registers.arguments());
        if ARCHITECTURES.iter().any(|numbers| numbers.architecture == architecture && numbers.ptrace == number) {
            return Interest::Tracing;
        }
        let call = call_by(id, architecture, number, arguments);
        if call == Some(Call::Question) {
            return if arguments[4] == Trap::End as u64 { Interest::End } else { Interest::Question };
        }
        let thread = self.threads.entry(id).or_default();
        if thread.state == State::Inside || std::mem::take(&mut thread.passes) {
            return Interest::None;
        }
        let (interest, work) = Work::of(id, call, &self.custody);
        thread.visit = work.map(|work| {
            let visit = Visit {
                work,
                registers,
                native: None,
                mask: None,
                user: None,
                is_torn: false,
                stack: None,
                tickets: Vec::new(),
            };
            Box::new(visit)
        });
        interest
    }

    /// Whether its own call has failed so that it has to go on an errand.
    fn has_failed(&mut self, id: u32) -> Result<bool, Errno> {
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
    fn room(&mut self, id: u32) -> Room {
        let Some(thread) = self.threads.get_mut(&id) else { return Room::Impossible };
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
                Room::Without(Memory::Code)
            }
        }
    }

    /// Makes it map memory. If we died now, it would go on with what that call gave in the place of its own.
    fn map(&mut self, id: u32, what: Memory) -> Result<(), Errno> {
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
        if visit.mask.is_none() {
            let mask = ptrace::signal_mask(id)?;
            let traveller = Traveller::of(id, mask);
            (visit.mask, visit.user) = (Some(mask), traveller.user);
            ptrace::set_signal_mask(id, traveller.mask)?;
        }
        ptrace::set_registers(id, &visit.registers.mapping(length, protection))?;
        ptrace::resume_to_call(id, 0)
    }

    /// It has; what it has now.
    fn has_mapped(&mut self, id: u32, what: Memory) -> Room {
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
        if is_there && space.borrow().stacks.is_none() {
            return Room::Without(Memory::Stacks);
        }
        space.borrow_mut().mapper = None;
        self.has_room = true;
        if is_there { self.room(id) } else { Room::Impossible }
    }

    /// Sends it where its frame is. It comes back by itself if we die, from the first instruction on; so its signals are
    /// blocked last.
    fn enter(&mut self, id: u32) -> Result<(), Errno> {
        let Some(thread) = self.threads.get_mut(&id) else { return Err(Errno::SRCH) };
        let Space { code: Some(code), stacks: Some(stacks), .. } = *thread.space.borrow() else {
            return Err(Errno::SRCH);
        };
        let Some(visit) = thread.visit.as_deref_mut() else { return Err(Errno::SRCH) };
        let frame = space::frame(stacks, visit.stack.ok_or(Errno::SRCH)?);
        ptrace::set_registers(id, &visit.registers.visiting(code + self.image.entry(), frame))?;
        if visit.mask.is_none() {
            let mask = ptrace::signal_mask(id)?;
            let traveller = Traveller::of(id, mask);
            (visit.mask, visit.user) = (Some(mask), traveller.user);
            ptrace::set_signal_mask(id, traveller.mask)?;
        }
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
    fn finish(&mut self, id: u32) -> Result<(), Errno> {
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
        self.forget_visit(id);
        self.go_on(id, 0)?;
        if let Some(line) = line {
            self.speech.say(line);
        }
        Ok(())
    }

    /// It gets the kernel's own answer.
    fn give_up(&mut self, id: u32) -> Result<(), Errno> {
        let visit = self.visit(id).ok_or(Errno::SRCH)?;
        let registers = match visit.native {
            Some(result) => Some(visit.registers.answered(result)),
            // Its call was skipped to map memory in its place.
            None => visit.is_torn.then(|| visit.registers.again()),
        };
        let is_skipped = visit.native.is_none() && visit.is_torn;
        if let Some(thread) = self.threads.get_mut(&id).filter(|_| is_skipped) {
            thread.passes = true;
        }
        self.give_back(id, registers)
    }

    /// It makes its call once more, from the beginning.
    fn try_again(&mut self, id: u32) -> Result<(), Errno> {
        let registers = self.visit(id).ok_or(Errno::SRCH)?.registers.again();
        self.give_back(id, Some(registers))
    }

    /// It gets everything back without having been inside, and goes on.
    fn give_back(&mut self, id: u32, registers: Option<Native>) -> Result<(), Errno> {
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

    /// Somebody of ours wants to trace somebody: a thread has one tracer.
    fn hand(&mut self, id: u32) -> Result<(), Errno> {
        let [request, whom, ..] = ptrace::registers(id)?.arguments();
        if request as u32 == PTRACE_TRACEME {
            if let Some(thread) = self.threads.get_mut(&id) {
                thread.is_wanted = true;
            }
            return self.go_on(id, 0);
        }
        let whom = whom as u32;
        // In another PID namespace the number means somebody else.
        let namespace = |whose: &str| std::fs::metadata(format!("/proc/{whose}/ns/pid")).ok().map(|seen| seen.ino());
        let is_ours = whom != id && namespace(&id.to_string()) == namespace("self");
        match self.threads.get_mut(&whom).filter(|_| is_ours) {
            Some(thread) if ptrace::interrupt(whom).is_ok() => {
                thread.is_wanted = true;
                self.heirs.entry(whom).or_default().push(id);
                Ok(())
            }
            _ => self.go_on(id, 0),
        }
    }

    fn let_go(&mut self, id: u32, signal: i32) -> Result<(), Errno> {
        let answer = ptrace::detach(id, signal);
        self.forget(id);
        answer
    }

    /// A thread is gone, or no longer ours.
    fn forget(&mut self, id: u32) {
        self.forget_visit(id);
        self.threads.remove(&id);
        for heir in self.heirs.remove(&id).unwrap_or_default() {
            let _ = self.go_on(heir, 0);
        }
    }

    fn bury(&mut self, id: u32) {
        wait::reap(id);
        self.forget(id);
        self.make_room();
    }

    /// Its errand is over, one way or the other.
    fn forget_visit(&mut self, id: u32) {
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
        let tickets = visit.tickets.into_iter();
        self.custody.settle(tickets.filter_map(|announced| Some((announced.ticket?, announced.claim))));
    }

    /// It has started a thread or a process, which may have been seen before.
    fn has_forked(&mut self, id: u32, is_process: bool) {
        let Ok(new) = ptrace::message(id) else { return };
        let new = new as u32;
        let is_thread = !is_process && Path::new(&format!("/proc/{id}/task/{new}")).exists();
        let space = Shared::clone(&self.threads.entry(id).or_default().space);
        let space = if is_thread { space } else { space.borrow().inherited() };
        let child = self.threads.entry(new).or_default();
        let is_untouched = *child.space.borrow() == Space::default();
        if is_untouched {
            child.space = space;
        }
    }

    /// It is the only thread of its process now, and has that one's number.
    fn has_executed(&mut self, id: u32) {
        if let Ok(former) = ptrace::message(id)
            && former as u32 != id
        {
            self.forget(former as u32);
        }
        self.forget_visit(id);
        let is_wanted = self.threads.get(&id).is_some_and(|thread| thread.is_wanted);
        self.threads.insert(id, Thread { is_wanted, ..Thread::default() });
    }
}
