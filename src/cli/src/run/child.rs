//! The program as our child: gets our signals, and we end as it ends (S4).

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid, WaitId, WaitIdOptions, WaitOptions, WaitStatus, set_child_subreaper, wait, waitid, waitpid,
};

use super::loaded::Verification;
use super::program;
use super::supervision::Installer;
use crate::elf::{self, Kind};
use crate::failure::Failure;
use crate::signals::{self, Set};

/// What the caller had set for us, and the program must find.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    blocked: Set,
    ignores_children: bool,
}

/// What is to be run.
#[derive(Debug)]
pub(super) struct Order<'a> {
    /// The program and its arguments; never empty.
    pub(super) command: &'a [OsString],
    /// What it is to be called, if not as it was named.
    pub(super) name: Option<&'a OsString>,
    /// Variables to be added.
    pub(super) environment: Vec<(&'static str, OsString)>,
}

impl Order<'_> {
    /// To our own environment, since `Command` would put the whole into another order.
    fn add_environment(&self) {
        for (name, value) in &self.environment {
            // SAFETY: this process has a single thread yet.
            unsafe { std::env::set_var(name, value) };
        }
    }
}

/// Becomes the program, unchanged, where there can be no process for it. Returns where that fails, too.
pub(super) fn exec(order: &Order<'_>, caller: Caller) -> io::Error {
    let mut command = Command::new(&order.command[0]);
    command.args(&order.command[1..]);
    if let Some(name) = order.name {
        command.arg0(name);
    }
    if signals::is_ignored(libc::SIGPIPE) {
        // SAFETY: signal(2) is async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                signals::ignore(libc::SIGPIPE);
                Ok(())
            });
        }
    }
    if caller.ignores_children {
        signals::ignore(libc::SIGCHLD);
    }
    signals::restore(caller.blocked);
    command.exec()
}

/// The running program.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
}

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Status(u8),
    Signal(i32),
}

impl Caller {
    /// Takes every signal into our own hands, and remembers what the program must not see of it.
    pub(super) fn remember() -> Self {
        let ignores_children = signals::is_ignored(libc::SIGCHLD);
        // Ignored, the kernel would reap our children before we see how they ended.
        signals::default(libc::SIGCHLD);
        Self { blocked: signals::block(Set::ALL), ignores_children }
    }
}

/// What our descendants leave behind becomes our child and not init's, so that we know whether anybody is left.
pub(super) fn adopt_orphans() {
    // It cannot fail since Linux 3.4.
    let _ = set_child_subreaper(Some(rustix::process::getpid()));
}

impl Child {
    /// Starts the program.
    ///
    /// # Errors
    /// As execvp(3), and as fork(2) and seccomp(2).
    pub(super) fn start(order: &Order<'_>, caller: Caller, installer: Option<Installer>) -> io::Result<Self> {
        adopt_orphans();
        let ignores_pipes = signals::is_ignored(libc::SIGPIPE);
        let mut command = Command::new(&order.command[0]);
        command.args(&order.command[1..]);
        order.add_environment();
        if let Some(name) = order.name {
            command.arg0(name);
        }
        // SAFETY: only async-signal-safe functions run in the child; they touch signal dispositions, its filter and a socket.
        unsafe {
            command.pre_exec(move || {
                if ignores_pipes {
                    // `Command` has just set it to the default.
                    signals::ignore(libc::SIGPIPE);
                }
                if caller.ignores_children {
                    signals::ignore(libc::SIGCHLD);
                }
                signals::restore(caller.blocked);
                // Last, since from here on calls are looked at.
                installer.as_ref().map_or(Ok(()), |installer| installer.install().map_err(io::Error::from))
            });
        }
        let child = command.spawn()?;
        Ok(Self::of(Pid::from_raw(child.id() as i32).expect("a process has a positive number")))
    }

    /// A child, or one that is to become ours by its parent's death.
    pub(super) fn of(pid: Pid) -> Self {
        Self { pid }
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Passes signals on until the program has ended; reaps whatever else became our child.
    pub(super) fn end(self, mut verification: Option<Verification>) -> End {
        loop {
            let stopped = |signal| {
                if signals::stop_by(signal) {
                    signals::send(self.pid, libc::SIGCONT);
                }
            };
            if let Some(end) = self.reap(stopped, |_| {}) {
                return end;
            }
            let received = signals::wait(Set::ALL, verification.as_ref().and_then(Verification::patience));
            if let Some(verification) = &mut verification {
                verification.look();
            }
            if let Some(received) = received
                && received.is_to_be_passed_on
            {
                signals::send(self.pid, received.signal);
            }
        }
    }

    /// Whether it is a child of ours, alive or not.
    pub(super) fn is_ours(&self) -> bool {
        let wanted = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(self.pid), wanted).is_ok()
    }

    /// Reaps whoever has ended. How the program ended, if it has; `ended` is told before that is forgotten, and `stopped`
    /// the signals that stop it.
    pub(super) fn reap(&self, mut stopped: impl FnMut(i32), ended: impl Fn(End)) -> Option<End> {
        while let Some((pid, end)) = changed() {
            if let Some(end) = end.filter(|_| pid == self.pid) {
                ended(end);
            }
            let Ok(Some((_, status))) = waitpid(Some(pid), WaitOptions::NOHANG | WaitOptions::UNTRACED) else {
                continue;
            };
            if pid != self.pid {
                continue;
            }
            if let Some(signal) = status.stopping_signal() {
                stopped(signal);
            } else if let Some(end) = End::of(status) {
                return Some(end);
            }
        }
        None
    }
}

/// A child that has ended or stopped, and how it ended; it stays to be waited for.
fn changed() -> Option<(Pid, Option<End>)> {
    // SAFETY: siginfo_t is plain data, for which zero is a value.
    let mut seen: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let what = libc::WEXITED | libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: writes to `seen`, which lives on this frame.
    if unsafe { libc::waitid(libc::P_ALL, 0, &raw mut seen, what) } != 0 {
        return None;
    }
    // SAFETY: what waitid(2) has written, or zero.
    let (pid, status) = unsafe { (seen.si_pid(), seen.si_status()) };
    let end = match seen.si_code {
        libc::CLD_EXITED => Some(End::Status(status as u8)),
        libc::CLD_KILLED | libc::CLD_DUMPED => Some(End::Signal(status)),
        _ => None,
    };
    Some((Pid::from_raw(pid)?, end))
}

impl End {
    pub(super) fn of(status: WaitStatus) -> Option<Self> {
        let by_signal = status.terminating_signal().map(Self::Signal);
        by_signal.or_else(|| status.exit_status().map(|status| Self::Status(status as u8)))
    }
}

/// Whether a process is left that the program started, directly or not.
pub(super) fn has_descendants() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(error) => return error != Errno::CHILD,
        }
    }
}

/// Ends every process that this one, as PID 1, would take along, as the kernel would, and waits until they are gone: not
/// for ever, since one may hang in the kernel.
pub(super) fn end_all() {
    const PATIENCE: Duration = Duration::from_secs(5);
    // SAFETY: kill(2) touches no memory; -1 is everybody but PID 1.
    unsafe { libc::kill(-1, libc::SIGKILL) };
    let deadline = Instant::now() + PATIENCE;
    while has_descendants() && Instant::now() < deadline {
        let left = deadline.saturating_duration_since(Instant::now());
        signals::wait(Set::of(&[libc::SIGCHLD]), Some(left));
    }
}

/// What to say of a program that execvp(3) refused. The exit status is 127 where it is not found and 126 where it cannot be
/// executed, as of env(1) and sh(1).
pub(super) fn not_started(name: &OsString, error: &io::Error) -> Failure {
    let what = "cannot run";
    let Some(path) = program::find(name, std::env::var_os("PATH").as_deref()) else {
        let why = "not found in any directory of PATH";
        return Failure::on(127, what, Path::new(name), why, "check its spelling, or give its whole path");
    };
    if error.kind() != ErrorKind::NotFound {
        let remedy = "give a program that this user may execute and this machine can run";
        return Failure::on(126, what, &path, error, remedy);
    }
    // The kernel says "no such file" also of what the file asks for.
    let needs = match elf::probe(&path) {
        Ok(Kind::Script(interpreter)) => interpreter,
        Ok(Kind::Dynamic { loader, .. }) => loader,
        _ => return Failure::on(127, what, &path, error, "check its spelling and the current directory"),
    };
    let why = format_args!("it needs {}, which is not there", needs.display()).to_string();
    Failure::on(127, what, &path, why, "install what provides that file, or run the program where it is")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_cannot_start_are_told_apart() {
        let failure = |name: &str, errno: i32| not_started(&name.into(), &io::Error::from_raw_os_error(errno));
        let absent = failure("no-such-program", libc::ENOENT);
        assert_eq!(absent.status, 127);
        assert!(absent.to_string().contains("no-such-program: not found in any directory of PATH"), "{absent}");
        let refused = failure("/etc/passwd", libc::EACCES);
        assert_eq!(refused.status, 126);
        assert!(refused.to_string().contains("/etc/passwd: Permission denied"), "{refused}");

        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("script");
        std::fs::write(&script, "#!/no/such/interpreter -x\n").unwrap();
        let orphan = failure(script.to_str().unwrap(), libc::ENOENT);
        assert_eq!(orphan.status, 127);
        assert!(orphan.to_string().contains("needs /no/such/interpreter"), "{orphan}");
    }
}
