//! Any file as a journal (checks/journal.rs).
#![no_main]

#[path = "../checks/journal.rs"]
mod journal;
#[path = "../checks/quick.rs"]
mod quick;

use std::path::PathBuf;
use std::sync::LazyLock;

/// Where the file lies while it is looked at: one directory a process, below TMPDIR, which scripts/fuzz removes.
static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = std::env::temp_dir().join(format!("fuzz-journal-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("TMPDIR is a directory that can be written to");
    path
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| journal::check(&DIRECTORY, input));
