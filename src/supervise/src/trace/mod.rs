//! The traced engine: for kernels on which no descriptor can be handed over (before Linux 5.14).

pub mod image;

use libc::sock_filter;
use rustix::io::Errno;
use rustix::process::{Pid, WaitStatus};
use tmpshim_core::settings::{Cleanup, Settings};

use crate::install::Refusal;
use crate::supervisor::Clean;

/// The tracer of one program and of all that it starts. The thread that made it is the tracer for the kernel, and the only
/// one that may use it.
pub struct Tracer {}

/// What concerns whoever has started the program, by [`Tracer::look`].
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// This signal has stopped the program.
    Stopped(i32),
    /// The program has ended; it is reaped by the next call.
    Ending(WaitStatus),
    /// Nothing for now. A SIGCHLD says that there is more.
    Quiet,
    /// Nobody is left.
    Alone,
}

impl Tracer {
    /// Takes on the program, a child of this process that waits before its filter and its first exec. `parasite` is the
    /// linked file with the code that is mapped into programs.
    ///
    /// # Errors
    /// As ptrace(2): EPERM where somebody else traces it, ESRCH where it has ended.
    pub fn seize(_program: Pid, _parasite: &[u8], _settings: Settings<'static>, _clean: Clean) -> Result<Self, Errno> {
        Err(Errno::NOSYS)
    }

    /// Sees to all that has stopped or ended, until something concerns the caller.
    pub fn look(&mut self) -> Change {
        Change::Alone
    }

    /// Nobody is left: removes what is left, directories only if `cleanup` says so.
    pub fn end(self, _cleanup: Cleanup) {}
}

/// Tries everything with a process that ends at once.
///
/// # Errors
/// Why there can be no tracer.
pub fn probe(_filter: &[sock_filter]) -> Result<(), Refusal> {
    Err(Refusal::Missing)
}

/// Puts the filter on the calling thread, which somebody traces already. Async-signal-safe: for the child between fork and
/// exec. Promises no_new_privs only where the kernel asks for that.
///
/// # Errors
/// As seccomp(2).
pub fn install(_filter: &[sock_filter]) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

/// Whether set-uid programs below, which could do so now, will no longer gain rights.
pub fn costs_rights() -> bool {
    false
}
