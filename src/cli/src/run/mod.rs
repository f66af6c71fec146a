//! `tmpshim run`: starts a program with the library preloaded, and ends as the program ends.

mod child;
pub(crate) mod in_use;
mod keeper;
pub(crate) mod library;
pub(crate) mod place;
pub(crate) mod preload;
pub(crate) mod program;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::arguments::Run;
use crate::failure::Failure;
use crate::signals;
use program::Reach;

/// Exit status where tmpshim itself failed, as of env(1), nohup(1) and timeout(1).
pub(crate) const OWN_FAILURE: u8 = 125;

/// Runs the program; the exit status with which to end. Does not return where a signal ended the program.
pub(crate) fn run(run: Run) -> Result<u8, Failure> {
    // From here to the end signals are taken one at a time, so that none ends us between writing and removing a file.
    let caller = child::Caller::remember();
    let reach = Reach::of(&run.program[0]);
    if let Some(warning) = reach.warning() {
        anstream::eprintln!("tmpshim: warning: {warning}");
    }
    let state =
        run.settings.iter().find(|(variable, _)| *variable == "TMPSHIM_STATE_DIR").map(|(_, value)| value.clone());
    let state: Option<OsString> = state.or_else(|| env::var_os("TMPSHIM_STATE_DIR"));
    let library = match reach {
        // The loader of another architecture would complain about the library on the program's standard error.
        Reach::Foreign(_) => None,
        Reach::Full => Some(library::find(state.map(PathBuf::from))?),
        // It is of no use to the program itself, only to what the program starts.
        Reach::Static(_) | Reach::Go(_) | Reach::SetUid(_) => {
            let found = library::find(state.map(PathBuf::from));
            found.inspect_err(|failure| anstream::eprintln!("tmpshim: warning: {failure}")).ok()
        }
    };

    let mut environment = run.settings;
    if let Some(library) = &library {
        environment.push(("LD_PRELOAD", preload::merge(&library.path, env::var_os("LD_PRELOAD").as_deref())));
    }
    let ended = child::Child::start(&run.program, environment, caller).map(child::Child::end);
    if let Some(library) = library {
        library.release();
    }
    Ok(match ended? {
        child::End::Status(status) => status,
        child::End::Signal(signal) => signals::end_by(signal),
    })
}
