//! Runs every program and script of the matrix in every cell where it applies: how the program reaches the kernel, which
//! engine is above it, and on which filesystem. Trials are named `label::name::reach::engine::filesystem`, so that part of
//! a name selects them: `cargo test -p tmpshim-harness -- T3::`, `… -- ::preload::bindfs`.
//!
//! Mounting needs root; without it the cells say so and are ignored. `TMPSHIM_LIBRARY` and `TMPSHIM_BIN` name the files
//! under test, by default those in `dist/`. With `CI=true` an ignored cell that `c-tests/matrix/skips.toml` does not list
//! is a failure. `TMPSHIM_REPORT` names a file to which the programs that may print something write when they pass,
//! `TMPSHIM_STORM_SECONDS` says for how long the storm of D5 lasts. `TMPSHIM_MACHINE`, `TMPSHIM_BUILD` and
//! `TMPSHIM_PROGRAMS` are for [`machine`].

mod cell;
mod compile;
mod engine;
mod injector;
mod janitor;
mod machine;
mod mounts;
mod once;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use cell::Cell;

/// Why a cell could not be judged.
#[derive(Clone)]
pub(crate) enum Obstacle {
    /// Something it needs is not on this machine.
    Missing(String),
    /// The cell itself, or the machinery around it, is wrong.
    Broken(String),
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // A program that is killed before it has marked its shared memory for removal (lease.rs) leaves that in here, not on
    // the machine, where there is room for 4,096. Without root nobody is killed there that often.
    // SAFETY: a namespace that memory safety does not rest on; no other thread is there yet.
    let _ = unsafe { unshare_unsafe(UnshareFlags::NEWIPC) };
    // Programs that were built elsewhere bring the matrix with them.
    let root = std::env::var_os("TMPSHIM_PROGRAMS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), PathBuf::from);
    match run(&arguments, &root) {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("matrix: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, root: &Path) -> Result<ExitCode, String> {
    let root = root.canonicalize().map_err(|error| format!("{}: {error}", root.display()))?;
    let tests = table::read(&root)?;
    let skips = table::Skips::read(&root)?;
    let site = Arc::new(cell::Site::new(&root)?);

    let mut trials = Vec::new();
    for test in tests {
        let test = Arc::new(test);
        for cell in Cell::all_of(&test, site.machine()) {
            let (site, name) = (Arc::clone(&site), cell.name());
            let skips = skips.clone();
            trials.push(Trial::ignorable_test(name.clone(), move || match cell.run(&site) {
                Ok(()) => Ok(Completion::Completed),
                Err(Obstacle::Broken(what)) => Err(Failed::from(what)),
                Err(Obstacle::Missing(what)) if skips.forbid(&name) => {
                    Err(Failed::from(format!("skipped, and skips.toml does not allow that: {what}")))
                }
                Err(Obstacle::Missing(what)) => Ok(Completion::ignored_with(what)),
            }));
        }
    }
    let conclusion = libtest_mimic::run(arguments, trials);
    let site = Arc::into_inner(site).ok_or("a cell still holds the scratch directory")?;
    site.close()?;
    Ok(conclusion.exit_code())
}
