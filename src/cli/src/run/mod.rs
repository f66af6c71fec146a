//! `tmpshim run`: starts a program with the library preloaded, or under a supervisor, and ends as the program ends.

mod child;
mod family;
mod front;
pub(crate) mod in_use;
pub(crate) mod installed;
mod keeper;
pub(crate) mod library;
mod loaded;
mod news;
mod notified;
mod overseen;
mod overseer;
pub(crate) mod place;
pub(crate) mod preload;
pub(crate) mod program;
pub(crate) mod supervision;
mod traced;

use std::env;
use std::io::ErrorKind;

use tmpshim_core::settings::{Cleanup, Settings, Tmpfile};
use tmpshim_supervise::filter::Watch;
use tmpshim_supervise::install;

use crate::arguments::run::{Engine, Run};
use crate::failure::{Failure, without_numbers};
use crate::signals;
use child::{Child, End, Order};
use family::{Family, Wishes};
use front::Unbegun;
use library::Staged;
use loaded::Verification;
use overseer::Household;
use program::Reach;
use supervision::{Kind, Supervision};

/// Exit status where tmpshim itself failed, as of env(1), nohup(1) and timeout(1).
pub(crate) const OWN_FAILURE: u8 = 125;

/// Runs the program; the exit status with which to end. Does not return where a signal ended the program.
pub(crate) fn run(run: Run) -> Result<u8, Failure> {
    // From here to the end signals are taken one at a time, so that none ends us between writing and removing a file.
    let caller = child::Caller::remember();
    let reach = Reach::of(&run.program[0]);
    let wishes = Wishes::of(&run.settings);
    // Where the library is in the program, it complains.
    let mut problems = String::new();
    let settings = wishes.settings(None, |problem| problems += problem);
    // Started by the library in a program's place (T9): then nobody has asked us for anything.
    let is_the_program = run.name.is_some();
    let warn = |warning: &str| {
        if !is_the_program {
            anstream::eprintln!("tmpshim: warning: {}", without_numbers(warning));
        }
    };
    let oversight = supervise(&run, &reach, &settings, &warn)?;
    let is_overseen = !matches!(oversight, Oversight::Nobody);
    let has_no_library = is_overseen && matches!(run.engine, Engine::Notify | Engine::Trace);
    if (has_no_library || matches!(reach, Reach::Static(_))) && !is_the_program {
        anstream::eprint!("{problems}");
    }
    if let Some(warning) = reach.warning().filter(|_| !is_overseen) {
        warn(&warning);
    }
    let state = wishes.state();
    let library = match reach {
        _ if has_no_library => None,
        // The loader of another architecture would complain about the library on the program's standard error.
        Reach::Foreign(_) => None,
        Reach::Full => Some(library::find(state)?),
        // It is of no use to the program itself, only to what the program starts.
        Reach::Static(_) | Reach::Go(_) | Reach::SetUid(_) => {
            let found = library::find(state);
            found.inspect_err(|failure| warn(&failure.to_string())).ok()
        }
    };

    let mut environment = run.settings;
    let mut family = None;
    if let Some(library) = &library {
        let name = library.name_for(program::loader(&run.program[0]).as_deref());
        environment.push(("LD_PRELOAD", preload::merge(name, env::var_os("LD_PRELOAD").as_deref())));
    }
    if library.is_some() || is_overseen {
        family = Family::make(&wishes);
    }
    if let Some(family) = &family {
        environment.push(("TMPSHIM_STATE_DIR", family.path().into()));
    }
    if !is_overseen && !kinds(run.engine, &reach).is_empty() {
        // The library would start us again for a Go program, in vain and for ever (T9).
        environment.push(("TMPSHIM_REEXEC", "off".into()));
    }
    let verifies = reach == Reach::Full && library.is_some() && settings.enabled;
    let verify = |pid| verifies.then(|| Verification::begin(pid));
    let order = Order { command: &run.program, name: run.name.as_ref(), environment };
    let not_started = |error| child::not_started(&run.program[0], &error);

    let (library, family) = (library.as_ref(), family.as_ref());
    let ended = if let Oversight::Own(supervision) = oversight {
        let settings = wishes.settings(family.map(Family::path), |_| {});
        let goes_alone = run.best_effort || verifies;
        let household = Household { order, settings, library, family, is_the_program, goes_alone };
        let unbegun = |why| match why {
            Unbegun::NotStarted(errno) => not_started(std::io::Error::from_raw_os_error(errno)),
            Unbegun::NotTraced(errno) => traced::not_traced(&run.program[0], errno),
            Unbegun::Killed => traced::not_begun(&run.program[0]),
        };
        overseer::start(household, caller, supervision).and_then(|front| front.end(verify).map_err(unbegun))
    } else {
        let mut started = Child::start(&order, caller, || Ok(()));
        if run.best_effort
            && let Err(error) = &mut started
            && matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::OutOfMemory)
        {
            // There is room for the program, but not for us beside it.
            *error = child::exec(&order, caller, || Ok(()));
        }
        started.map_err(not_started).map(|child| {
            let verification = verify(child.pid());
            front::Ended { end: child.end(verification), is_seen_to: false }
        })
    };
    if !ended.as_ref().is_ok_and(|ended| ended.is_seen_to) {
        clean_up(library, family);
    }
    Ok(match ended?.end {
        End::Status(status) => status,
        End::Signal(signal) => signals::end_by(signal),
    })
}

/// Who answers the program's calls.
enum Oversight {
    /// Nobody, or nobody but the library.
    Nobody,
    /// The supervisor of a run above.
    Above,
    Own(Supervision),
}

/// The supervisors that will do, if the settings give one something to do.
fn kinds(engine: Engine, reach: &Reach) -> Vec<Kind> {
    match engine {
        // A program that is to gain rights cannot, under one that has none.
        Engine::Auto => {
            let gains = matches!(reach, Reach::SetUid(_));
            Kind::ALL.into_iter().filter(|kind| !gains || !kind.costs_rights()).collect()
        }
        Engine::Preload => Vec::new(),
        Engine::Notify => vec![Kind::Notify],
        Engine::Trace => vec![Kind::Trace],
    }
}

/// Prepares a supervisor. Where it cannot be had, says why, and goes on without only if the library helps instead or the
/// user wants it so (S5).
fn supervise(run: &Run, reach: &Reach, settings: &Settings<'_>, warn: &dyn Fn(&str)) -> Result<Oversight, Failure> {
    let watch = Watch {
        files: settings.enabled && settings.tmpfile != Tmpfile::Off,
        directories: settings.enabled && !settings.track.is_empty() && settings.cleanup != Cleanup::Off,
    };
    let kinds = kinds(run.engine, reach);
    if kinds.is_empty() || watch == Watch::default() {
        return Ok(Oversight::Nobody);
    }
    if install::is_supervised() {
        if watch.directories {
            warn("a tmpshim run above supervises this program already, by its own --track");
        }
        return Ok(Oversight::Above);
    }
    let refused = match Supervision::prepare(&kinds, watch, run.killable) {
        Ok(supervision) => {
            let kind = supervision.kind();
            if kind.costs_rights() {
                warn(kind.cost());
            }
            return Ok(Oversight::Own(supervision));
        }
        Err(refused) => refused,
    };
    if *reach == Reach::Full {
        warn(&format!("no supervisor: {refused}; the library is preloaded instead"));
        return Ok(Oversight::Nobody);
    }
    if run.best_effort {
        warn(&format!("no supervisor: {refused}"));
        return Ok(Oversight::Nobody);
    }
    let what = format_args!("cannot supervise {}", run.program[0].display()).to_string();
    Err(Failure::new(OWN_FAILURE, what, refused, "or give --best-effort to run it unchanged"))
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
        child::end_all(|| !child::has_descendants());
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
