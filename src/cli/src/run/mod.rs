//! `tmpshim run`: starts a program with the library preloaded, and ends as the program ends.

mod child;
mod family;
pub(crate) mod in_use;
mod keeper;
pub(crate) mod library;
pub(crate) mod place;
pub(crate) mod preload;
pub(crate) mod program;

use std::env;

use crate::arguments::Run;
use crate::failure::Failure;
use crate::signals;
use family::{Family, Wishes};
use library::Staged;
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
    let wishes = Wishes::of(&run.settings);
    let state = wishes.state();
    let library = match reach {
        // The loader of another architecture would complain about the library on the program's standard error.
        Reach::Foreign(_) => None,
        Reach::Full => Some(library::find(state)?),
        // It is of no use to the program itself, only to what the program starts.
        Reach::Static(_) | Reach::Go(_) | Reach::SetUid(_) => {
            let found = library::find(state);
            found.inspect_err(|failure| anstream::eprintln!("tmpshim: warning: {failure}")).ok()
        }
    };

    let mut environment = run.settings;
    let mut family = None;
    if let Some(library) = &library {
        environment.push(("LD_PRELOAD", preload::merge(&library.path, env::var_os("LD_PRELOAD").as_deref())));
        family = Family::make(&wishes);
    }
    if let Some(family) = &family {
        environment.push(("TMPSHIM_STATE_DIR", family.path().into()));
    }
    let ended = child::Child::start(&run.program, environment, caller).map(child::Child::end);
    clean_up(library.as_ref(), family.as_ref());
    Ok(match ended? {
        child::End::Status(status) => status,
        child::End::Signal(signal) => signals::end_by(signal),
    })
}

/// After the program has ended: cleans up behind it and all that it started, or leaves somebody behind to do it when the
/// last of them has ended.
fn clean_up(library: Option<&Staged>, family: Option<&Family>) {
    let place = library.and_then(Staged::place);
    if place.is_none() && family.is_none() {
        return;
    }
    if rustix::process::getpid().as_raw_nonzero().get() == 1 {
        // Whoever is left ends with us: by the kernel, or now, so that somebody can clean up behind them.
        child::end_all();
    } else if child::has_descendants() {
        return keeper::start(place, family);
    }
    if let Some(family) = family {
        family.end();
    }
    if let Some(place) = place {
        place.remove();
    }
}
