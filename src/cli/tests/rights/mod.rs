//! What a test may do here.

/// Whether we are root; what is not shown without is said.
pub(crate) fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not shown: {what} takes root");
    }
    root
}
