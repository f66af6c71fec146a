//! Taking calls and answering them: any number of threads, of which one at a time waits for the next call and the others
//! are busy with theirs, so that a slow filesystem holds up nobody but who uses it.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libc::seccomp_notif;
use parking_lot::{Condvar, Mutex, RwLock};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::Pid;
use tmpshim_core::journal::Entry;
use tmpshim_core::settings::{Cleanup, Settings};
use tmpshim_core::tmpfile::plan::QUESTION_ANSWER;
use tmpshim_core::tmpfile::survey::Survey;
use tmpshim_core::tracker::{Ticket, Tracker};

use crate::call::{Call, call_of};
use crate::custody::{Custody, STACK, Said};
use crate::directory;
use crate::listener::Listener;
use crate::open::{self, Native};
use crate::rights::{Hand, Trouble};
use crate::sandbox::Sandboxes;
use crate::target::{Place, Start, Status, Target};
use crate::{alone, link};

pub use crate::custody::NAME;
pub use crate::directory::{Clean, Remove};

/// How many calls may be under way at once. More wait in the kernel.
const THREADS: usize = 64;

/// What all its threads share. One in a process, in which nothing else tracks files.
pub struct Supervisor {
    pub(crate) listener: Listener,
    pub(crate) custody: Arc<Custody>,
    pub(crate) survey: Survey,
    natives: RwLock<HashSet<Native>>,
    pub(crate) home: Place,
    unfinished: Unfinished,
    sandboxes: Sandboxes,
    /// The process that was started by ours.
    main: u32,
    /// Held by the thread that waits for the next call.
    leader: Mutex<()>,
    threads: AtomicUsize,
    idle: AtomicUsize,
    /// How many calls have been taken, and not seen to yet.
    under_way: Mutex<usize>,
    settled: Condvar,
}

/// What the program gets.
pub(crate) enum Answer {
    /// The kernel's own answer to its own call: what it would have been without us.
    Native,
    /// The same, where it was EACCES for us.
    Forbidden,
    /// What a filesystem with O_TMPFILE would have said.
    Error(Errno),
    /// 0, and what could not be done before the call was interrupted.
    Done(Option<Replacement>),
    /// A stand-in.
    File { file: OwnedFd, close_on_exec: bool },
}

impl Answer {
    /// Whether more of the program's rights might have been enough.
    fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden | Self::Error(Errno::ACCESS))
    }

    /// Whether the program has what it asked for, from us.
    pub(crate) fn is_given(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Done(_))
    }
}

/// What a number of the program's is to refer to.
pub(crate) struct Replacement {
    pub(crate) number: u32,
    pub(crate) file: OwnedFd,
    pub(crate) close_on_exec: bool,
}

/// An answer, and what the log says of it, with the path in the program's own words.
pub(crate) struct Outcome {
    pub(crate) answer: Answer,
    pub(crate) said: Option<(Said, Vec<u8>)>,
}

impl Outcome {
    pub(crate) const NATIVE: Self = Self { answer: Answer::Native, said: None };

    /// The kernel's own answer, after this error of ours.
    pub(crate) fn native_after(error: Errno) -> Self {
        let answer = if error == Errno::ACCESS { Answer::Forbidden } else { Answer::Native };
        Self { answer, said: None }
    }
}

/// A call of ours, with all that has to be looked up before its target's rights are taken on.
pub(crate) enum Job {
    Open(open::Job),
    Link(link::Job),
    Directory(directory::Job),
}

/// Where a call has its effect.
enum Located {
    Directory(OwnedFd),
    Name((OwnedFd, CString)),
}

/// The directory that a name is to be in, and the name. The empty path and the root are the kernel's to judge, and so is
/// what leads through /proc/self.
fn locate_name(path: &Start, root: Option<&OwnedFd>) -> Result<Located, Outcome> {
    match path.open_parent(root) {
        None | Some(Err(Errno::LOOP | Errno::XDEV)) => Err(Outcome::NATIVE),
        Some(Err(error)) => Err(Outcome { answer: Answer::Error(error), said: None }),
        Some(Ok(place)) => Ok(Located::Name(place)),
    }
}

impl Job {
    /// With the target's rights, and its root; where that cannot be entered, `root` is that.
    fn locate(&self, root: Option<&OwnedFd>) -> Result<Located, Outcome> {
        match self {
            Self::Open(job) => job.locate(root).map(Located::Directory),
            Self::Link(job) => locate_name(&job.new, root),
            Self::Directory(job) => locate_name(&job.start, root),
        }
    }

    /// With the target's rights and our root, since much goes by our own /proc.
    fn run(&self, place: &Located, supervisor: &Supervisor, id: u64, tracker: Option<&Tracker>) -> Outcome {
        match (self, place) {
            (Self::Open(job), Located::Directory(directory)) => job.run(directory, supervisor, tracker),
            (Self::Link(job), Located::Name(name)) => job.run(name, supervisor, id, tracker),
            (Self::Directory(job), Located::Name(name)) => job.run(name, &supervisor.custody, tracker),
            _ => Outcome::NATIVE,
        }
    }
}

impl Supervisor {
    /// For a child of this process, the program, whose filter's listener this is; `killable` if nothing but a fatal signal
    /// interrupts a call that we have seen. The state directory is in the settings.
    ///
    /// # Errors
    /// As eventfd(2) and openat(2).
    pub fn new(
        main: Pid,
        listener: Listener,
        killable: bool,
        settings: Settings<'static>,
        clean: Clean,
    ) -> Result<Arc<Self>, Errno> {
        let root = openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let home = Place::of(root.as_fd()).ok_or(Errno::NOSYS)?;
        listener.wake_where_the_program_stops();
        Ok(Arc::new(Self {
            listener,
            custody: Custody::new(settings, clean)?,
            survey: Survey::new(),
            natives: RwLock::default(),
            home,
            unfinished: Unfinished { killable, ..Unfinished::default() },
            sandboxes: Sandboxes::default(),
            main: main.as_raw_nonzero().get().cast_unsigned(),
            leader: Mutex::default(),
            threads: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            under_way: Mutex::default(),
            settled: Condvar::new(),
        }))
    }

    /// Begins to answer. Every signal must be blocked in the calling thread, so that none of the new ones gets any.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn start(self: &Arc<Self>) -> std::io::Result<std::thread::JoinHandle<()>> {
        self.add_thread()?;
        self.custody.start()
    }

    fn add_thread(self: &Arc<Self>) -> std::io::Result<()> {
        let own = Arc::clone(self);
        self.threads.fetch_add(1, Ordering::Relaxed);
        let thread = std::thread::Builder::new().stack_size(STACK).spawn(move || {
            own.work();
            own.threads.fetch_sub(1, Ordering::Relaxed);
        });
        thread.map(drop).inspect_err(|_| {
            self.threads.fetch_sub(1, Ordering::Relaxed);
        })
    }

    /// One thread's life.
    fn work(self: &Arc<Self>) {
        let Some(hand) = Hand::new(false) else {
            // Better the kernel's own answers than none.
            while let Some((stopped, _)) = self.next() {
                self.listener.let_go(stopped.id);
                self.leave();
            }
            return;
        };
        loop {
            self.idle.fetch_add(1, Ordering::Relaxed);
            let next = self.next();
            let others = self.idle.fetch_sub(1, Ordering::Relaxed) - 1;
            let Some((stopped, call)) = next else { return };
            if others == 0 && self.threads.load(Ordering::Relaxed) < THREADS {
                // Where there can be no more, the calls wait for this one.
                let _ = self.add_thread();
            }
            let turn = self.unfinished.take_turn(&stopped);
            let handled = match turn {
                Some(_) => self.handle(&hand, &stopped, &call),
                // The thread has made it again meanwhile, and waits for that one's answer.
                None => Ok(()),
            };
            drop(turn);
            self.leave();
            if handled == Err(Trouble::Lost) {
                // It may be anybody now. Another takes its place.
                let _ = self.add_thread();
                return;
            }
        }
    }

    /// The next call that is not answered at once; nothing when everybody who has the filter is gone. One thread at a time
    /// waits here, and goes on waiting as long as the answers come at once: to wake another each time takes longer than
    /// they do.
    fn next(&self) -> Option<(seccomp_notif, Call)> {
        let _leader = self.leader.lock();
        while self.listener.wait() {
            let Ok(stopped) = self.listener.receive() else { continue };
            let call = if stopped.pid == 0 { None } else { call_of(&stopped) };
            match call {
                None => self.listener.let_go(stopped.id),
                Some(Call::Question) => {
                    let _ = self.listener.answer(stopped.id, Err(QUESTION_ANSWER));
                }
                Some(Call::Sandbox) => {
                    self.sandboxes.add(stopped.pid);
                    self.listener.let_go(stopped.id);
                }
                Some(Call::Open(open)) if open::is_known_native(stopped.pid, &open, self) => {
                    self.listener.let_go(stopped.id);
                }
                Some(call) => {
                    *self.under_way.lock() += 1;
                    return Some((stopped, call));
                }
            }
        }
        None
    }

    fn leave(&self) {
        let mut under_way = self.under_way.lock();
        *under_way -= 1;
        if *under_way == 0 {
            self.settled.notify_all();
        }
    }

    /// Waits until nobody works on a call any more: whoever made it may be dead for long. Not for ever, since a filesystem
    /// may hang.
    fn settle(&self) {
        const PATIENCE: Duration = Duration::from_secs(10);
        // What is taken is counted before this is let go.
        let _leader = self.leader.try_lock_for(PATIENCE);
        let deadline = Instant::now() + PATIENCE;
        let mut under_way = self.under_way.lock();
        while *under_way > 0 && !self.settled.wait_until(&mut under_way, deadline).timed_out() {}
    }

    /// Answers one call.
    fn handle(&self, hand: &Hand, stopped: &seccomp_notif, call: &Call) -> Result<(), Trouble> {
        let id = stopped.id;
        if self.unfinished.finish(stopped, &self.listener) {
            return Ok(());
        }
        let answered = Target::of(stopped.pid, self.home).and_then(|target| self.try_handle(hand, id, call, &target));
        match answered {
            Some(Ok(interrupted)) => {
                if let Some(done) = interrupted {
                    self.unfinished.remember(stopped, done);
                }
                Ok(())
            }
            // Where anything is not as it should be, the kernel knows the error.
            None => {
                self.listener.let_go(id);
                Ok(())
            }
            Some(Err(trouble)) => {
                self.listener.let_go(id);
                Err(trouble)
            }
        }
    }

    /// The answer that did not reach its program, if so.
    fn try_handle(
        &self,
        hand: &Hand,
        id: u64,
        call: &Call,
        target: &Target,
    ) -> Option<Result<Option<Interrupted>, Trouble>> {
        let tracker = target.shares_mounts().then_some(self.custody.tracker);
        let job = match call {
            Call::Open(open) => Job::Open(open::Job::prepare(target, open)?),
            Call::Link(call) => Job::Link(link::Job::prepare(target, call, tracker)?),
            Call::Directory(call) => Job::Directory(directory::Job::prepare(target, call, &self.custody)?),
            Call::Question | Call::Sandbox => return None,
        };
        let status = target.status()?;
        if self.sandboxes.may_hold(status.process, self.main) {
            return None;
        }
        // What was read until here was the program's own only if it still waits.
        if !self.listener.is_waiting(id) {
            return None;
        }
        if status.rights.namespace != hand.rights().namespace {
            alone::answer(self, id, target, &job);
            // Where it ended without an answer, the program must not wait for ever.
            self.listener.let_go(id);
            return Some(Ok(None));
        }
        let room = (status.rights != *hand.rights()).then(|| Room::make(tracker));
        let done = self.act(hand, id, target, &status, &job, (tracker, room));
        if let Ok(outcome) = &done
            && outcome.answer.is_forbidden()
            && hand.holds_back(&status.rights)
        {
            alone::answer(self, id, target, &job);
            if !self.listener.is_waiting(id) {
                return Some(Ok(None));
            }
        }
        Some(done.map(|outcome| self.respond(id, target, outcome)))
    }

    /// Does it as the target. `hand` is in the target's user namespace.
    pub(crate) fn act(
        &self,
        hand: &Hand,
        id: u64,
        target: &Target,
        status: &Status,
        job: &Job,
        (tracker, room): (Option<&Tracker>, Option<Room>),
    ) -> Result<Outcome, Trouble> {
        let run = |place: &Located| {
            drop(room);
            job.run(place, self, id, tracker)
        };
        let root = target.other_root();
        if root.is_none() || !hand.has_own_root() {
            let found = || job.locate(root).map_or_else(|outcome| outcome, |place| run(&place));
            return hand.act_as(status, None, found);
        }
        match hand.act_as(status, root, || job.locate(None))? {
            Ok(place) => hand.act_as(status, None, || run(&place)),
            Err(outcome) => Ok(outcome),
        }
    }

    /// Gives the answer, and says so on the log. What was done and did not reach the program because a signal took it away.
    pub(crate) fn respond(&self, id: u64, target: &Target, outcome: Outcome) -> Option<Interrupted> {
        // Once it is answered, it may end, and nobody knows its name any more.
        let speaker = outcome.said.as_ref().and_then(|_| self.custody.speaker(target));
        if let Some((said, _)) = &outcome.said {
            self.custody.note(*said);
        }
        let mut interrupted = None;
        match outcome.answer {
            Answer::Native | Answer::Forbidden => self.listener.let_go(id),
            Answer::Error(error) => {
                let _ = self.listener.answer(id, Err(error));
            }
            Answer::Done(replacement) => {
                if self.listener.answer(id, Ok(())) == Err(Errno::NOENT) {
                    interrupted = Some(Interrupted { replacement });
                }
            }
            Answer::File { file, close_on_exec } => match self.listener.hand_over(id, file.as_fd(), close_on_exec) {
                // Nobody waits for it: it has no name, or one that is reclaimed, and goes with us.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => {
                    let _ = self.listener.answer(id, Err(error));
                }
            },
        }
        if let Some(((said, path), speaker)) = outcome.said.zip(speaker) {
            self.custody.say(said, &path, speaker);
        }
        interrupted
    }

    pub(crate) fn has_natives(&self) -> bool {
        !self.natives.read().is_empty()
    }

    pub(crate) fn is_native(&self, native: &Native) -> bool {
        self.natives.read().contains(native)
    }

    pub(crate) fn add_native(&self, native: Native) {
        const MOST: usize = 256;
        let mut natives = self.natives.write();
        if natives.len() >= MOST {
            natives.clear();
        }
        natives.insert(native);
    }

    /// The family is gone: removes what is left, directories only if `cleanup` says so. `watching` is what [`Self::start`]
    /// gave.
    pub fn end(&self, cleanup: Cleanup, watching: std::thread::JoinHandle<()>) {
        self.settle();
        self.custody.end(cleanup, watching);
    }
}

/// Places for what a call may announce, since the journal can only be made, and grow, while we are ourselves: dropped by a
/// thread just before it takes as many, there are always enough for all.
pub(crate) struct Room([Option<Ticket<'static>>; 4]);

impl Room {
    fn make(tracker: Option<&'static Tracker>) -> Self {
        let long = [b'/'; 1000];
        let place = |path: &[u8]| tracker.and_then(|tracker| tracker.reserve(path, Entry::File { mode: None }));
        Self([place(b"/"), place(b"/"), place(&long), place(&long)])
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        for ticket in self.0.iter_mut().filter_map(Option::take) {
            ticket.abandon();
        }
    }
}

/// What was done for a call whose program was taken away by a signal before it could be told (before Linux 5.19, where
/// such a call comes again).
pub(crate) struct Interrupted {
    replacement: Option<Replacement>,
}

/// Calls that were done and come again, by thread: what was done must not be done twice (Sydbox's `go mod download` got
/// EEXIST from its own first try).
#[derive(Default)]
struct Unfinished {
    /// Then none comes again.
    killable: bool,
    threads: Mutex<HashMap<u32, Caller>>,
    free: Condvar,
    done: Mutex<HashMap<u32, (Words, Interrupted)>>,
}

/// A thread whose calls are under way.
#[derive(Default)]
struct Caller {
    busy: bool,
    /// Its newest call. All others were taken away by signals.
    newest: u64,
}

/// What tells a call from another of the same thread.
type Words = (i32, [u64; 6]);

fn words(stopped: &seccomp_notif) -> Words {
    (stopped.data.nr, stopped.data.args)
}

impl Unfinished {
    /// One call of a thread after the other: the first may still be under way when the thread makes it again. Nothing where
    /// it makes it once more before this one's turn has come: Go's signals would fill all our threads with waiters.
    fn take_turn(&self, stopped: &seccomp_notif) -> Option<Turn<'_>> {
        if self.killable {
            return Some(Turn { of: self, thread: stopped.pid, call: stopped.id });
        }
        let mut threads = self.threads.lock();
        threads.entry(stopped.pid).or_default().newest = stopped.id;
        self.free.notify_all();
        loop {
            let caller = threads.entry(stopped.pid).or_default();
            if caller.newest != stopped.id {
                return None;
            }
            if !caller.busy {
                caller.busy = true;
                return Some(Turn { of: self, thread: stopped.pid, call: stopped.id });
            }
            self.free.wait(&mut threads);
        }
    }

    fn remember(&self, stopped: &seccomp_notif, interrupted: Interrupted) {
        if !self.killable {
            self.done.lock().insert(stopped.pid, (words(stopped), interrupted));
        }
    }

    /// Answers a call that was done before.
    fn finish(&self, stopped: &seccomp_notif, listener: &Listener) -> bool {
        if self.killable {
            return false;
        }
        // Any other call of this thread means that it has given that one up.
        let Some((was, interrupted)) = self.done.lock().remove(&stopped.pid) else { return false };
        if was != words(stopped) {
            return false;
        }
        let id = stopped.id;
        let replaced = interrupted.replacement.as_ref().map(|replacement| {
            listener.replace(id, replacement.number, replacement.file.as_fd(), replacement.close_on_exec)
        });
        if replaced == Some(Err(Errno::NOENT)) || listener.answer(id, Ok(())) == Err(Errno::NOENT) {
            self.remember(stopped, interrupted);
        }
        true
    }
}

struct Turn<'a> {
    of: &'a Unfinished,
    thread: u32,
    call: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.of.killable {
            return;
        }
        let mut threads = self.of.threads.lock();
        if let Some(caller) = threads.get_mut(&self.thread) {
            caller.busy = false;
            // Else the one that waits removes it.
            if caller.newest == self.call {
                threads.remove(&self.thread);
            }
        }
        self.of.free.notify_all();
    }
}
