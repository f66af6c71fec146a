//! The supervised engine: for programs that a preloaded library cannot reach, because they make their system calls
//! themselves.
//!
//! A seccomp filter, put on before the program starts and inherited by all that it starts, stops the few calls that may
//! ask for O_TMPFILE or concern such files (S1). A supervisor outside learns of each, does for the program what the
//! library would have done inside it, with the same decisions (tmpshim-core) and the program's own rights (S2), and
//! answers.
//!
//! A call's way: `supervisor` takes it from the `listener`; `call` says what it is; `target` shows who made it, `start` where
//! its paths begin; as a `job`, `open`, `link` or `directory` answer it, with the `rights` of the target; for a target in another user
//! namespace a process of its own does (`alone`).

mod alone;
mod call;
pub mod custody;
mod directory;
pub mod filter;
pub mod install;
mod job;
mod link;
pub mod listener;
mod maker;
mod open;
mod rights;
mod room;
mod sandbox;
mod start;
pub mod supervisor;
mod target;
pub mod trace;
mod unfinished;
pub mod watch;

/// The calling thread's last error.
fn last_errno() -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(rustix::io::Errno::IO)
}
