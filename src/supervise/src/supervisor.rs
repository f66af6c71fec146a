//! Taking calls and answering them: any number of threads, of which one at a time waits for the next call and the others
//! are busy with theirs, so that a slow filesystem holds up nobody but who uses it.

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libc::seccomp_notif;
use parking_lot::{Condvar, Mutex, RwLock};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::Pid;
use tmpshim_core::settings::{Cleanup, Settings};
use tmpshim_core::tmpfile::plan::QUESTION_ANSWER;
use tmpshim_core::tmpfile::survey::Survey;
use tmpshim_core::tracker::Tracker;

use crate::call::{Call, call_of};
use crate::custody::{Custody, STACK};
use crate::directory;
use crate::job::{Answer, Job, Located, Outcome};
use crate::listener::Listener;
use crate::open::{self, Native};
use crate::rights::{Hand, Trouble};
use crate::room::Room;
use crate::sandbox::Sandboxes;
use crate::target::{Place, Status, Target};
use crate::unfinished::{Interrupted, Unfinished};
use crate::watch::Clean;
use crate::{alone, link};

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
            unfinished: Unfinished::new(killable),
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
            Answer::File { file, close_on_exec } => match self.hand_over(id, file, close_on_exec) {
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

    /// Where no signal comes in between, our own descriptor is closed before the call ends: a server that renames what is open
    /// (`.fuse_hidden…`) removes that when the program closes its own, and the directory is empty then.
    fn hand_over(&self, id: u64, file: OwnedFd, close_on_exec: bool) -> Result<(), Errno> {
        if !self.unfinished.is_killable() {
            return self.listener.hand_over(id, file.as_fd(), close_on_exec);
        }
        let number = self.listener.give(id, file.as_fd(), close_on_exec)?;
        drop(file);
        self.listener.answer_with(id, Ok(number))
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
