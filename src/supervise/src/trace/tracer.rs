//! The tracer: one event at a time, from whichever thread has stopped.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::io::Errno;
use rustix::process::Pid;
use tmpshim_core::parasite::Trap;
use tmpshim_core::settings::{Cleanup, Settings};
use tmpshim_core::tmpfile::plan::QUESTION_ANSWER;
use tmpshim_core::tmpfile::survey::Survey;

use super::errand::Work;
use super::image::Image;
use super::machine::{Action, Event, Interest, State, step};
use super::ptrace;
use super::registers::Registers;
use super::serve;
use super::space::{Shared, Space, Stacks};
use super::speech::Speech;
use super::visit::Visit;
use super::wait::{self, End, Ended, Stop, Why};
use crate::call::{Call, call_by};
use crate::custody::Custody;
use crate::filter::{ARCHITECTURES, TRACE_MARK};
use crate::watch::Clean;

/// The tracer of one program and of all that it starts. The thread that made it is the tracer for the kernel, and the only
/// one that may use it.
pub struct Tracer {
    main: u32,
    pub(super) custody: Arc<Custody>,
    watching: JoinHandle<()>,
    pub(super) speech: Speech,
    pub(super) image: Image,
    pub(super) survey: Survey,
    pub(super) threads: HashMap<u32, Thread>,
    /// Those that have stopped and were not seen to yet.
    stopped: VecDeque<Stop>,
    pub(super) stacks: Stacks,
    /// Threads that wait for memory or a stack.
    waiting: VecDeque<u32>,
    /// There is something that one of those may have waited for.
    pub(super) has_room: bool,
    /// Who waits until we have let go of a thread.
    pub(super) heirs: HashMap<u32, Vec<u32>>,
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
pub(super) struct Thread {
    pub(super) state: State,
    pub(super) space: Shared,
    pub(super) visit: Option<Box<Visit>>,
    /// Its next call is the kernel's.
    pub(super) passes: bool,
    /// It is traced no longer as soon as it runs.
    pub(super) is_wanted: bool,
    /// It has stopped with its process, and has not gone on yet.
    is_stopped: bool,
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
            let was = thread.state;
            let (state, action) = step(was, event);
            thread.state = state;
            next = match self.perform(id, action) {
                Ok(next) => next,
                // It is dead, and its end on its way.
                Err(Errno::SRCH) => None,
                // Nothing that a kernel is known to refuse; but whatever it is, nobody must hang for it, nor go on with
                // registers of ours. A parasite comes back by itself.
                Err(_) => {
                    self.threads.entry(id).or_default().state = State::Running;
                    let freed = if was == State::Inside {
                        let custody = Arc::clone(&self.custody);
                        self.visit(id).into_iter().for_each(|visit| visit.leave_kept(&custody));
                        self.give_back(id, None)
                    } else {
                        self.give_up(id)
                    };
                    if freed.is_err() {
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

    pub(super) fn go_on(&mut self, id: u32, signal: i32) -> Result<(), Errno> {
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
        thread.visit = work.map(|work| Box::new(Visit::new(work, registers)));
        interest
    }

    /// A thread is gone, or no longer ours.
    pub(super) fn forget(&mut self, id: u32) {
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
