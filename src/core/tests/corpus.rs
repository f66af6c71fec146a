//! What the fuzzer has found to be different from everything else it tried (../fuzz), checked without it.

#[path = "../fuzz/checks/globs.rs"]
mod globs;
#[path = "../fuzz/checks/journal.rs"]
mod journal;
#[path = "../fuzz/checks/quick.rs"]
mod quick;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

/// Calls `check` with each file of a corpus, and says which one it was if that goes wrong.
fn replay(corpus: &str, check: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(corpus);
    let mut count = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let input = fs::read(&path).unwrap();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&input))) {
            eprintln!("with {}", path.display());
            resume_unwind(panic);
        }
        count += 1;
    }
    assert!(count > 20, "{count} files in {}", directory.display());
}

#[test]
fn d5_any_file_as_a_journal() {
    let state = tempfile::tempdir().unwrap();
    replay("journal", |input| journal::check(state.path(), input));
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
}

#[test]
fn d1_any_globs_and_any_path() {
    replay("globs", globs::check);
}
