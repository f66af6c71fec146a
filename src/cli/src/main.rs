//! tmpshim: runs programs that cannot be changed, on filesystems without `O_TMPFILE` and without leaking directories.
//!
//! The command starts without Rust's runtime, which would ignore SIGPIPE and open /dev/null for standard descriptors
//! that are closed: the program that `run` starts has to find both as the caller left them.
#![cfg_attr(not(test), no_main)]

mod arguments;
mod demo;
mod doctor;
mod elf;
mod embedded;
mod failure;
mod install;
mod library;
mod metrics;
mod output;
mod ps;
mod run;
mod signals;
mod state;
mod sweep;
mod texts;

use std::ffi::{CStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStringExt;

use failure::Failure;

// A test binary brings its own `main`.
#[cfg_attr(not(test), unsafe(no_mangle))]
extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    let arguments = (0..usize::try_from(count).unwrap_or(0)).map(|index| {
        // SAFETY: the C runtime passes `count` pointers to terminated strings, which live as long as the process.
        let argument = unsafe { CStr::from_ptr(*arguments.add(index)) };
        OsString::from_vec(argument.to_bytes().to_vec())
    });
    let status = command(arguments.collect()).unwrap_or_else(|failure| {
        anstream::eprintln!("tmpshim: {failure}");
        failure.status
    });
    // Flushes standard output, which nobody else does without the runtime.
    std::process::exit(status.into())
}

/// Does what the command line says; the exit status of the command.
fn command(arguments: Vec<OsString>) -> Result<u8, Failure> {
    let matches = arguments::command().try_get_matches_from(arguments).unwrap_or_else(|error| error.exit());
    match matches.subcommand() {
        Some(("run", matches)) => run::run(arguments::run::parsed(matches)),
        Some(("doctor", matches)) => doctor::doctor(&arguments::doctor::parsed(matches)),
        Some(("sweep", matches)) => sweep::sweep(&arguments::sweep::parsed(matches)),
        Some(("ps", matches)) => ps::ps(&arguments::ps::parsed(matches)),
        Some(("metrics", matches)) => metrics::metrics(arguments::metrics::parsed(matches)),
        Some(("install", matches)) => install::install(arguments::install::directory(matches)),
        Some(("library", matches)) => library::write(arguments::library::output(matches)),
        Some(("man", matches)) => texts::man(arguments::man::parsed(matches)),
        Some(("completions", matches)) => texts::completions(arguments::completions::parsed(matches)),
        Some(("demo", _)) => demo::demo(),
        _ => unreachable!("clap requires one of these"),
    }
}
