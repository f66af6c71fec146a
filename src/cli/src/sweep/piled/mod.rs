//! `tmpshim sweep --match`: removes directories that piled up before tmpshim came and that no journal tells of (D6).
//!
//! Nobody's word is taken for it that they are left over: what is in use stays, and so does what is young. What was found
//! is shown, and looked at again right before it is removed.

mod ask;
mod below;
mod candidate;
mod in_use;
mod interrupt;
pub(crate) mod owner;
mod place;
mod plan;
mod removal;
mod request;

pub(crate) use request::{Glob, Request};

use candidate::{Judge, Kept, Stay, Touch};
use interrupt::Interrupt;
use place::Place;
use plan::Plan;

use super::line::{Line, What};
use super::report::Report;
use crate::failure::Failure;

/// Whether anything is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    /// Nobody is to be asked: `--dry-run`.
    Dry,
    /// Nobody can be asked.
    Nobody,
}

/// Sweeps; exit status 1 where something could not be removed, or nobody said yes.
pub(crate) fn sweep(request: &Request, dry: bool, json: bool, is_followed: bool) -> Result<u8, Failure> {
    let terminal = if dry || request.yes { None } else { ask::Terminal::open() };
    let may_act = !dry && (request.yes || terminal.is_some());
    let mut report = Report::planned(json, !may_act, is_followed);
    let mut judge = Judge::new(request);
    let mut plan = Plan::default();
    let places = Place::open_all(&request.directories, &judge.mounts, &mut report);
    for place in &places {
        look(place, request, &mut judge, &mut plan, &mut report);
    }
    plan.sort(&places);
    let text = plan.text(request, &judge.in_use.unseen);
    match &terminal {
        Some(terminal) if json => terminal.show(&text),
        _ if json => {}
        _ => report.say(&text),
    }
    let answer = match &terminal {
        _ if dry => Answer::Dry,
        _ if plan.is_empty() || request.yes => Answer::Yes,
        Some(terminal) if terminal.ask(&plan.question()) => Answer::Yes,
        Some(_) => Answer::No,
        None => Answer::Nobody,
    };
    let mut ended_by = None;
    match answer {
        Answer::Yes => {
            let interrupt = Interrupt::hold();
            removal::remove(&plan, &places, &mut judge, &mut report, &interrupt);
            ended_by = interrupt.seen();
        }
        Answer::Dry | Answer::Nobody => {
            for found in plan.found() {
                report.tell_programs(&found.line(What::WouldRemove, &places));
            }
        }
        Answer::No => {}
    }
    let status = report.end()?;
    if let Some(signal) = ended_by {
        interrupt::end(signal);
    }
    if answer == Answer::Nobody {
        anstream::eprintln!(
            "tmpshim: nothing was removed: standard input is no terminal to ask on; give --yes, or --dry-run to only look"
        );
    }
    Ok(if matches!(answer, Answer::No | Answer::Nobody) { 1 } else { status })
}

/// Everything in one directory that matches.
fn look(place: &Place, request: &Request, judge: &mut Judge<'_>, plan: &mut Plan, report: &mut Report) {
    let names = match place.names(request) {
        Ok(names) => names,
        Err(why) => {
            return report.tell(&Line::left(&place.shown(), format!("{why}; give this user the right to read it")));
        }
    };
    for name in names {
        match judge.examine(place, &name, None, Touch::Look) {
            Ok(looked) => plan.add(place.index, name, &looked),
            Err(Kept { why: Stay::Gone, .. }) => {}
            Err(kept) => {
                let line = kept.line(&place.join(&name), request);
                if line.event == What::Left {
                    report.tell(&line);
                } else {
                    report.tell_programs(&line);
                    plan.skip(kept.why.group(request), line);
                }
            }
        }
    }
}
