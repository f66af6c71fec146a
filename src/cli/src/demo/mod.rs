//! `tmpshim demo`: both problems and both cures, on this machine.
//!
//! A legacy program of our own (legacy/main.rs) does what Clair and CRIU do, once as it is and once with the library
//! preloaded. Every line of the table says what was seen, never what was expected.

mod acts;
mod fuse;
mod ground;
mod interrupt;
mod refusal;
mod stage;
mod table;

use std::io::Write;
use std::path::PathBuf;

use crate::elf::{self, Kind};
use crate::embedded::LEGACY;
use crate::failure::Failure;
use crate::run::library;
use crate::signals;
use acts::Line;
use interrupt::Interrupt;
use stage::Stage;

/// Exit status where this machine has nothing to show it on.
const NOTHING_TO_SHOW: u8 = 3;

/// What was seen, and what could not be shown and why.
#[derive(Debug, Default)]
struct Seen {
    lines: Vec<Line>,
    missing: Vec<String>,
}

/// Plays everything; exit status 0 only where every line is as promised.
pub(crate) fn demo() -> Result<u8, Failure> {
    require_loader()?;
    anstream::println!("tmpshim demo: a legacy program of this demo's own, as it is and with the library preloaded.");
    // Nothing has been made so far, so a reader that is gone may end us here; later there would be things to remove.
    let _ = anstream::stdout().flush();

    let interrupt = Interrupt::hold();
    let seen = play(&interrupt)?;
    if let Some(signal) = interrupt.seen() {
        return Ok(signals::end_by(signal));
    }
    interrupt.release();
    let kept = seen.lines.iter().filter(|line| line.kept).count();
    table::print(&seen, kept);
    Ok(match seen.lines.len() {
        0 => NOTHING_TO_SHOW,
        all => u8::from(kept < all),
    })
}

/// Everything that `play` makes is gone when it returns.
fn play(interrupt: &Interrupt) -> Result<Seen, Failure> {
    let directory = tempfile::Builder::new().prefix("tmpshim-demo-").tempdir().map_err(|error| {
        let remedy = "set TMPDIR to a directory in which files can be made";
        Failure::on(NOTHING_TO_SHOW, "cannot make a directory in", &std::env::temp_dir(), error, remedy)
    })?;
    let state = directory.path().join("state");
    let program = library::stage("legacy", LEGACY, 0o755, None)?;
    let seen = library::find(None).map(|library| {
        let stage = Stage::new(&program.path, &library.path, state);
        let mut seen = Seen::default();
        acts::all(&stage, directory.path(), interrupt, &mut seen);
        library.remove();
        seen
    });
    program.remove();
    seen
}

/// The library reaches a program through libc's loader, so the demo's program has one; a machine without it, such as
/// Alpine, would only say "not found".
fn require_loader() -> Result<(), Failure> {
    let loader = match elf::probe_bytes(LEGACY) {
        Kind::Dynamic { loader, .. } => loader,
        _ => PathBuf::from("a loader"),
    };
    if loader.exists() {
        return Ok(());
    }
    Err(Failure::on(
        NOTHING_TO_SHOW,
        "cannot start the demo's legacy program with",
        &loader,
        "this machine has no glibc",
        "run the demo where there is one; programs built for this machine's libc can be tried with tmpshim run",
    ))
}
