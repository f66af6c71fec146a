//! Looking at something in a process of its own, which a server that does not answer (FUSE, NFS) may keep, and which takes
//! on another user's rights for good.
//!
//! No name is left behind: while one of ours is there, all signals of that process wait. So whoever ends it, by Ctrl-C or
//! because it is silent for too long, ends it before or after, and where the server holds it up in between, the process
//! stays until the server answers, removes the name, and ends.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getppid, kill_process, pidfd_open,
    set_parent_process_death_signal, waitpid,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::finding::{Cure, Finding, Name, Subject, Verdict};
use crate::signals::{Set, block, restore};

/// How long it may say nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is said of one that says nothing for so long.
const SILENCE: &str = "does not answer";

/// How long it has to end, once it was told to.
const GRACE: Duration = Duration::from_millis(500);

/// Where the process says what it finds.
pub(super) struct Teller(PipeWriter);

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Line<T> {
    Finding(Finding),
    Cure(Cure),
    More(T),
}

impl Teller {
    pub(super) fn find(&mut self, finding: Finding) {
        self.line(&Line::<()>::Finding(finding));
    }

    pub(super) fn cure(&mut self, cure: Cure) {
        self.line(&Line::<()>::Cure(cure));
    }

    /// What others than the reader are to know.
    pub(super) fn more(&mut self, more: &impl Serialize) {
        self.line(&Line::More(more));
    }

    fn line(&mut self, line: &impl Serialize) {
        if let Ok(mut bytes) = serde_json::to_vec(line) {
            bytes.push(b'\n');
            // Whoever listened has ended or given up. What is to be removed is removed all the same.
            let _ = self.0.write_all(&bytes);
        }
    }
}

/// All signals wait while this is there.
pub(super) struct Undisturbed(Set);

impl Undisturbed {
    pub(super) fn begin() -> Self {
        Self(block(Set::ALL))
    }
}

impl Drop for Undisturbed {
    fn drop(&mut self) {
        restore(self.0);
    }
}

/// Has `work` done in a process of its own; what it finds goes into `subject`, what else it says is handed back.
pub(super) fn look<T: DeserializeOwned>(subject: &mut Subject, work: impl FnOnce(&mut Teller)) -> Vec<T> {
    let mut more = Vec::new();
    if let Err(why) = attend(subject, work, &mut more) {
        if why.starts_with(SILENCE) {
            subject
                .cure(Cure::advice("its server hangs, and so will programs there: look at the server, or the network"));
        }
        subject.find(Finding::new(Name::Answer, Verdict::CouldNotTell, why));
    }
    more
}

fn attend<T: DeserializeOwned>(
    subject: &mut Subject,
    work: impl FnOnce(&mut Teller),
    more: &mut Vec<T>,
) -> Result<(), String> {
    let (reader, writer) = raised_pipe().map_err(|error| format!("no pipe: {error}"))?;
    let doctor = rustix::process::getpid();
    // SAFETY: this command has a single thread, so the child may do whatever this process may.
    match unsafe { libc::fork() } {
        -1 => Err(format!("no process: {}", std::io::Error::last_os_error())),
        0 => {
            drop(reader);
            let _ = let_go_of_output();
            prepare(doctor);
            work(&mut Teller(writer));
            // SAFETY: _exit(2) ends the process and nothing else: the parent's buffers are not the child's to flush.
            unsafe { libc::_exit(0) }
        }
        child => {
            drop(writer);
            let child = Pid::from_raw(child).ok_or("no process")?;
            listen(reader, child, subject, more)
        }
    }
}

/// Above the standard descriptors: where the caller closed one of those, the pipe would be in its place.
fn raised_pipe() -> std::io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = pipe()?;
    Ok((fcntl_dupfd_cloexec(&reader, 3)?.into(), fcntl_dupfd_cloexec(&writer, 3)?.into()))
}

/// Whoever reads the doctor's output waits for the last process that has it open.
fn let_go_of_output() -> rustix::io::Result<()> {
    let nothing = openat(CWD, c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let Ok(nothing) = nothing else {
        for number in 0..3 {
            // SAFETY: standard descriptors, which nobody in this process owns.
            unsafe { rustix::io::close(number) };
        }
        return Ok(());
    };
    dup2_stdin(&nothing)?;
    dup2_stdout(&nothing)?;
    dup2_stderr(&nothing)
}

/// The signals that end it must be able to: whoever started the doctor may have them blocked or ignored.
fn prepare(doctor: Pid) {
    // SAFETY: a disposition of this process; no handler is involved.
    unsafe { libc::signal(libc::SIGTERM, libc::SIG_DFL) };
    restore(Set::of(&[]));
    // Its lines go nowhere once the doctor has ended.
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
    if getppid() != Some(doctor) {
        // SAFETY: as in `attend`.
        unsafe { libc::_exit(0) }
    }
}

/// Says again who ends this process with the doctor: taking on other rights has cleared it.
pub(super) fn rights_have_changed() {
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
}

fn listen<T: DeserializeOwned>(
    mut reader: PipeReader,
    child: Pid,
    subject: &mut Subject,
    more: &mut Vec<T>,
) -> Result<(), String> {
    let mut said = Vec::new();
    let mut heard = Instant::now();
    loop {
        if !wait(reader.as_fd(), PATIENCE.saturating_sub(heard.elapsed())) {
            return Err(give_up(child));
        }
        let mut bytes = [0; 8192];
        match reader.read(&mut bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
            Ok(count) => said.extend_from_slice(&bytes[..count]),
        }
        heard = Instant::now();
        while let Some(end) = said.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = said.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(Line::Finding(finding)) => subject.find(finding),
                Ok(Line::Cure(cure)) => subject.cure(cure),
                Ok(Line::More(said)) => more.push(said),
                Err(_) => {}
            }
        }
    }
    // It has closed the pipe, which it does by ending; a server may hold it up in that.
    match ended(child, PATIENCE) {
        Some(status) if status.exit_status() == Some(0) => Ok(()),
        Some(status) => {
            let how =
                status.terminating_signal().map_or_else(|| "early".to_owned(), |number| format!("by signal {number}"));
            Err(format!("the process that looked was ended {how}"))
        }
        None => Err(give_up(child)),
    }
}

/// Ends a silent process, if it can be ended.
fn give_up(child: Pid) -> String {
    let _ = kill_process(child, Signal::TERM);
    // Whose rights it has can have stopped it.
    let _ = kill_process(child, Signal::CONT);
    let silence = format!("{SILENCE} (for {} s)", PATIENCE.as_secs());
    if ended(child, GRACE).is_some() {
        return silence;
    }
    format!("{silence}; process {child} waits for it and ends, with nothing left behind, when it answers")
}

/// How it ended, if it does so in this time.
fn ended(child: Pid, patience: Duration) -> Option<WaitStatus> {
    let ended = || waitpid(Some(child), WaitOptions::NOHANG).ok().flatten().map(|(_, status)| status);
    if let Ok(end) = pidfd_open(child, PidfdFlags::empty()) {
        wait(end.as_fd(), patience);
        return ended();
    }
    // Before Linux 5.3.
    let deadline = Instant::now() + patience;
    loop {
        let status = ended();
        if status.is_some() || Instant::now() >= deadline {
            return status;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether there is something to read in this time.
fn wait(fd: impl AsFd, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            Ok(count) => return count > 0,
            // It cannot be waited for; to read tells.
            Err(_) => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Kind;

    fn subject() -> Subject {
        Subject::new(Kind::Directory, "/x", None)
    }

    #[test]
    fn what_is_found_comes_back() {
        let mut subject = subject();
        let more: Vec<u32> = look(&mut subject, |teller| {
            teller.find(Finding::well(Name::Kernel, "a\nb"));
            teller.more(&7u32);
            teller.cure(Cure::advice("rest"));
        });
        assert_eq!((more, subject.verdict), (vec![7], Verdict::Well));
        assert_eq!(subject.found(Name::Kernel).unwrap().found, "a\nb");
        assert_eq!(subject.cures, [Cure::advice("rest")]);
    }

    #[test]
    fn a_process_that_is_killed_is_noticed_and_what_it_said_stays() {
        let mut subject = subject();
        let _: Vec<()> = look(&mut subject, |teller| {
            teller.find(Finding::note(Name::Kernel, "x"));
            // SAFETY: a signal to this process itself.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        });
        assert!(subject.found(Name::Kernel).is_some());
        let answer = subject.found(Name::Answer).unwrap();
        assert!(answer.verdict == Verdict::CouldNotTell && answer.found.contains("signal 9"), "{}", answer.found);
    }

    #[test]
    fn no_signal_ends_it_while_it_must_not_be_disturbed() {
        let mut subject = subject();
        let _: Vec<()> = look(&mut subject, |teller| {
            let undisturbed = Undisturbed::begin();
            // SAFETY: a signal to this process itself.
            unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
            teller.find(Finding::note(Name::Kernel, "the name is removed"));
            drop(undisturbed);
            teller.find(Finding::note(Name::Yama, "never said"));
        });
        assert!(subject.found(Name::Kernel).is_some() && subject.found(Name::Yama).is_none());
    }
}
