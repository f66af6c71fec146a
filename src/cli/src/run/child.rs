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
pub(super) use tmpshim_supervise::trace::{Change, End};

use super::loaded::Verification;
use super::program;
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

/// The program as its caller would have started it. `last` is done by its process, in front of the exec; it must be
/// async-signal-safe.
fn command<F>(order: &Order<'_>, caller: Caller, last: F) -> Command
where
    F: Fn() -> Result<(), Errno> + Send + Sync + 'static,
{
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
            last().map_err(io::Error::from)
        });
    }
    command
}

/// Becomes the program. Returns where that fails.
pub(super) fn exec<F>(order: &Order<'_>, caller: Caller, last: F) -> io::Error
where
    F: Fn() -> Result<(), Errno> + Send + Sync + 'static,
{
    command(order, caller, last).exec()
}

/// The running program.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    /// It has ended, which was said, and is to be reaped.
    is_ending: bool,
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
    /// Starts the program. `last` as of [`command`].
    ///
    /// # Errors
    /// As execvp(3), as fork(2), and as `last`.
    pub(super) fn start<F>(order: &Order<'_>, caller: Caller, last: F) -> io::Result<Self>
    where
        F: Fn() -> Result<(), Errno> + Send + Sync + 'static,
    {
        adopt_orphans();
        let child = command(order, caller, last).spawn()?;
        Ok(Self::of(Pid::from_raw(child.id() as i32).expect("a process has a positive number")))
    }

    /// A child, or one that is to become ours by its parent's death.
    pub(super) fn of(pid: Pid) -> Self {
        Self { pid, is_ending: false }
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Passes signals on until the program has ended; reaps whatever else became our child.
    pub(super) fn end(mut self, mut verification: Option<Verification>) -> End {
        loop {
            match self.look() {
                Change::Stopped(signal) => {
                    if signals::stop_by(signal) {
                        signals::send(self.pid, libc::SIGCONT);
                    }
                    continue;
                }
                Change::Ending(end) => {
                    let _ = waitpid(Some(self.pid), WaitOptions::NOHANG);
                    return end;
                }
                Change::Quiet | Change::Alone => {}
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

    /// Reaps whoever else has ended, until something concerns the caller.
    pub(super) fn look(&mut self) -> Change {
        loop {
            let (pid, end) = match changed() {
                Ok(Some(seen)) => seen,
                Ok(None) => return Change::Quiet,
                Err(Errno::INTR) => continue,
                Err(_) => return Change::Alone,
            };
            if let Some(end) = end.filter(|_| pid == self.pid && !self.is_ending) {
                self.is_ending = true;
                return Change::Ending(end);
            }
            let seen = waitpid(Some(pid), WaitOptions::NOHANG | WaitOptions::UNTRACED);
            if let Ok(Some((_, status))) = seen
                && let Some(signal) = status.stopping_signal().filter(|_| pid == self.pid)
            {
                return Change::Stopped(signal);
            }
        }
    }
}

/// A child that has ended or stopped, and how it ended; it stays to be waited for.
///
/// # Errors
/// ECHILD where there is none at all.
fn changed() -> Result<Option<(Pid, Option<End>)>, Errno> {
    // SAFETY: siginfo_t is plain data, for which zero is a value.
    let mut seen: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let what = libc::WEXITED | libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: writes to `seen`, which lives on this frame.
    if unsafe { libc::waitid(libc::P_ALL, 0, &raw mut seen, what) } != 0 {
        return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::CHILD));
    }
    // SAFETY: what waitid(2) has written, or zero.
    let (pid, status) = unsafe { (seen.si_pid(), seen.si_status()) };
    Ok(Pid::from_raw(pid).map(|pid| (pid, End::of(seen.si_code, status))))
}

/// How a process has ended, if it has.
pub(super) fn end_of(status: WaitStatus) -> Option<End> {
    let by_signal = status.terminating_signal().map(End::Signal);
    by_signal.or_else(|| status.exit_status().map(|status| End::Status(status as u8)))
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
/// for ever, since one may hang in the kernel. `is_alone` reaps, and says whether they are.
pub(super) fn end_all(mut is_alone: impl FnMut() -> bool) {
    const PATIENCE: Duration = Duration::from_secs(5);
    // SAFETY: kill(2) touches no memory; -1 is everybody but PID 1.
    unsafe { libc::kill(-1, libc::SIGKILL) };
    let deadline = Instant::now() + PATIENCE;
    while !is_alone() && Instant::now() < deadline {
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
