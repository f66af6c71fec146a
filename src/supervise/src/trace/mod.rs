//! The traced engine: for kernels on which no descriptor can be handed over (before Linux 5.14).
//!
//! The filter's calls stop the thread for its tracer (`PTRACE_EVENT_SECCOMP`). The thread makes its own call, and where
//! that fails as on a filesystem without O_TMPFILE, it is sent on an *errand*: it runs the parasite
//! (tmpshim_core::parasite), which does what the library would have done, with the thread's own rights and place, while
//! its signals wait. So the tracer itself never touches a filesystem of the program's, and a slow one holds up nobody but
//! who uses it.
//!
//! A stop's way: `wait` says who has stopped and why; `machine` what is to be done, by the thread's state; the tracer does
//! it, with `ptrace`, `registers`, `memory` and what is mapped where (`space`). `errand` is what is to be made of a call,
//! `visit` the way there and back, `serve` what is asked of us meanwhile; `heirs` are those who want to trace themselves.

mod errand;
mod frame;
mod heirs;
pub mod image;
mod machine;
mod memory;
mod probe;
mod ptrace;
mod registers;
mod serve;
mod signals;
mod space;
mod speech;
mod tracer;
mod visit;
mod wait;

pub use probe::{costs_rights, install, probe};
pub use tracer::{Change, Tracer};
pub use wait::End;
