//! `tmpshim run`: starts a program with the library preloaded, or under a supervisor, and ends as the program ends.

mod child;
mod family;
pub(crate) mod in_use;
mod keeper;
pub(crate) mod library;
pub(crate) mod place;
pub(crate) mod preload;
pub(crate) mod program;
mod supervision;

use std::env;

use crate::arguments::{Engine, Run};
use crate::failure::Failure;
use crate::signals;
use family::{Family, Wishes};
use library::Staged;
use program::Reach;
use supervision::Supervision;

/// Exit status where tmpshim itself failed, as of env(1), nohup(1) and timeout(1).
pub(crate) const OWN_FAILURE: u8 = 125;

/// Runs the program; the exit status with which to end. Does not return where a signal ended the program.
pub(crate) fn run(run: Run) -> Result<u8, Failure> {
    // From here to the end signals are taken one at a time, so that none ends us between writing and removing a file.
    let caller = child::Caller::remember();
    let reach = Reach::of(&run.program[0]);
    let wishes = Wishes::of(&run.settings);
    let supervision = supervise(&run, &reach, &wishes)?;
    if let Some(warning) = reach.warning().filter(|_| supervision.is_none()) {
        anstream::eprintln!("tmpshim: warning: {warning}");
    }
    let state = wishes.state();
    let library = match reach {
        _ if run.engine == Engine::Notify && supervision.is_some() => None,
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
    let (installer, listener) = supervision.map(Supervision::split).unzip();
    let child = child::Child::start(&run.program, environment, caller, installer);
    let supervisor = if child.is_ok() { listener.and_then(supervision::Listener::start) } else { None };
    let ended = child.map(child::Child::end);
    if let Some(supervisor) = supervisor {
        supervisor.settle();
    }
    clean_up(library.as_ref(), family.as_ref());
    Ok(match ended? {
        child::End::Status(status) => status,
        child::End::Signal(signal) => signals::end_by(signal),
    })
}

/// Prepares a supervisor where the program needs one. Where it cannot be had, says why, and goes on without only if the
/// library helps instead or the user wants it so (S5).
fn supervise(run: &Run, reach: &Reach, wishes: &Wishes) -> Result<Option<Supervision>, Failure> {
    let wanted = match run.engine {
        Engine::Auto => matches!(reach, Reach::Static(_) | Reach::Go(_)),
        Engine::Preload => false,
        Engine::Notify => true,
    };
    if !wanted || !wishes.want_files() {
        return Ok(None);
    }
    let refusal = match Supervision::prepare() {
        Ok(supervision) => {
            if Supervision::costs_rights() {
                anstream::eprintln!(
                    "tmpshim: warning: without CAP_SYS_ADMIN the supervisor takes no_new_privs: set-uid programs gain no \
                     rights"
                );
            }
            return Ok(Some(supervision));
        }
        Err(refusal) => refusal,
    };
    if *reach == Reach::Full {
        anstream::eprintln!("tmpshim: warning: no supervisor: {refusal}; the library is preloaded instead");
        return Ok(None);
    }
    if run.best_effort {
        anstream::eprintln!("tmpshim: warning: no supervisor: {refusal}");
        return Ok(None);
    }
    let what = format_args!("cannot supervise {}", run.program[0].display()).to_string();
    Err(Failure::new(OWN_FAILURE, what, refusal, "or give --best-effort to run it unchanged"))
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
