//! The supervised engine: for programs that a preloaded library cannot reach, because they make their system calls
//! themselves.
//!
//! A seccomp filter, put on before the program starts and inherited by all that it starts, stops the few calls that may
//! ask for O_TMPFILE (S1). A supervisor outside learns of each, does for the program what the library would have done
//! inside it, with the same decisions (tmpshim-core) and the program's own rights (S2), and answers with a descriptor.

pub mod filter;
pub mod install;
pub mod notify;
mod target;
mod worker;
