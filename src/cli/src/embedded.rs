//! The three files that the command carries inside (see build.rs).

/// `libtmpshim.so`.
pub(crate) static LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libtmpshim.so"));

/// The demo's legacy program (legacy/main.rs), a dynamic executable.
pub(crate) static LEGACY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/legacy"));

/// The code that the tracer has the program's own threads execute.
pub(crate) static PARASITE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/parasite"));
