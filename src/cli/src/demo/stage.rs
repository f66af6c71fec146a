//! Starts one program, with or without the library, and tells how it ended.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Resource, Rlimit, setrlimit};

use super::acts::REFUSAL;
use super::refusal;
use crate::run::preload;
use crate::signals::{self, Set};
use crate::state::Directory;
use crate::sweep::sweeper::Sweeper;

/// No program here takes more than an instant; one that hangs must not take the demo's half minute.
const PATIENCE: Duration = Duration::from_secs(5);

/// What every program is started with.
#[derive(Debug)]
pub(super) struct Stage {
    /// The legacy program.
    pub(super) legacy: PathBuf,
    library: PathBuf,
    state: PathBuf,
}

/// One start of one program.
#[derive(Debug)]
pub(super) struct Play {
    pub(super) command: Vec<OsString>,
    /// Preload the library.
    pub(super) shim: bool,
    /// Refuse `O_TMPFILE` by a filter.
    pub(super) refuse: bool,
    /// Sent once the program says "ready".
    pub(super) signal: Option<i32>,
}

/// How it ended, and what it said on either output.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) said: String,
}

impl Stage {
    pub(super) fn new(legacy: &Path, library: &Path, state: PathBuf) -> Self {
        Self { legacy: legacy.to_path_buf(), library: library.to_path_buf(), state }
    }

    /// Starts the program and waits for its end.
    ///
    /// # Errors
    /// Where it cannot be started, or does not end in time (it is killed then).
    pub(super) fn play(&self, play: &Play) -> io::Result<Ended> {
        let (mut reader, writer) = io::pipe()?;
        let mut command = Command::new(&play.command[0]);
        command.args(&play.command[1..]).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        self.environment(&mut command, play.shim);
        // A group of its own: Ctrl-C is for the demo, which ends what it has started.
        command.process_group(0);
        let (refuse, signal) = (play.refuse, play.signal);
        // SAFETY: only system calls are made in the child, nothing is allocated.
        unsafe {
            command.pre_exec(move || {
                // abort() must not leave a core file in the directory that is looked at.
                setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
                // A shell starts what it sends to the background with SIGINT ignored, and a program inherits that.
                signal.into_iter().for_each(signals::default);
                signals::restore(Set::of(&[]));
                if refuse { refusal::refuse() } else { Ok(()) }
            });
        }
        let mut child = command.spawn()?;
        // Holds the pipe's writing ends, of which only the program's shall be left.
        drop(command);
        let said = listen(&mut reader, &child, play.signal);
        if said.is_err() {
            child.kill()?;
        }
        let status = child.wait()?;
        Ok(Ended { status, said: said? })
    }

    /// Whether this machine lets a program refuse itself `O_TMPFILE`.
    pub(super) fn can_refuse(&self) -> bool {
        let command = vec![self.legacy.clone().into_os_string(), "none".into(), "none".into()];
        self.play(&Play { command, shim: false, refuse: true, signal: None }).is_ok()
    }

    /// What `tmpshim sweep --state-dir` does.
    pub(super) fn sweep(&self) {
        if let Ok(directory) = Directory::open(&self.state) {
            Sweeper::new(false, &OnceCell::new()).directory(&directory, &mut |_| ());
        }
    }

    fn environment(&self, command: &mut Command, shim: bool) {
        let settings = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TMPSHIM"));
        settings.for_each(|(name, _)| {
            command.env_remove(name);
        });
        command.env("LC_ALL", "C").env_remove("LD_PRELOAD");
        if shim {
            command.env("LD_PRELOAD", preload::merge(&self.library, None)).env("TMPSHIM_STATE_DIR", &self.state);
        }
    }
}

/// Reads what the program says until it has closed its output, and sends the signal when it is ready for it.
fn listen(reader: &mut io::PipeReader, child: &Child, mut signal: Option<i32>) -> io::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut said = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        if poll(&mut [PollFd::new(reader, PollFlags::IN)], Some(&left))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut bytes = [0; 1024];
        let count = reader.read(&mut bytes)?;
        if count == 0 {
            return Ok(String::from_utf8_lossy(&said).into_owned());
        }
        said.extend_from_slice(&bytes[..count]);
        if said.starts_with(b"ready\n")
            && let Some(signal) = signal.take()
            && let Some(pid) = Pid::from_raw(child.id() as i32)
        {
            signals::send(pid, signal);
        }
    }
}

impl Ended {
    /// For people: how a program ended that was expected to work.
    pub(super) fn describe(&self) -> String {
        // Programs say more besides, before and after it.
        let last = self.said.lines().next_back().unwrap_or_default().trim();
        let reason = if self.said.contains(REFUSAL) { REFUSAL } else { last };
        match (self.status.code(), self.status.signal()) {
            (Some(0), _) => "works".to_owned(),
            (Some(code), _) if reason.is_empty() => format!("exit status {code}"),
            (Some(_), _) => reason.to_owned(),
            (None, signal) => format!("ended by signal {}", signal.unwrap_or(0)),
        }
    }
}
