//! The removal itself: each directory is locked, looked at again, and removed by what checks that it is still the same.

use std::os::fd::AsFd;

use tmpshim_core::remove::{Outcome, Remover};

use super::candidate::{Judge, Kept, Stay, Touch};
use super::interrupt::Interrupt;
use super::place::Place;
use super::plan::{Found, Plan};
use crate::state::text;
use crate::sweep::line::{Line, What};
use crate::sweep::report::Report;
use crate::sweep::sweeper::why;

/// Removes what was found, until somebody stops it.
pub(super) fn remove(plan: &Plan, places: &[Place], judge: &mut Judge<'_>, report: &mut Report, interrupt: &Interrupt) {
    if plan.is_empty() {
        return;
    }
    let mut remover = match Remover::new() {
        Ok(remover) => remover,
        Err(error) => {
            let why = format!("no memory for it: {}; sweep again", text(error));
            for found in plan.found() {
                report.tell(&Line { why: Some(why.clone()), ..found.line(What::Left, places) });
            }
            return;
        }
    };
    if !judge.request.yes {
        judge.look_again();
    }
    for found in plan.found() {
        if interrupt.seen().is_some() {
            return;
        }
        judge.refresh();
        let Some(place) = places.get(found.place) else { continue };
        one(found, place, places, judge, &mut remover, report);
    }
}

fn one(
    found: &Found,
    place: &Place,
    places: &[Place],
    judge: &mut Judge<'_>,
    remover: &mut Remover,
    report: &mut Report,
) {
    let path = place.join(&found.name);
    let why = match judge.examine(place, &found.name, Some(&found.identity), Touch::Remove) {
        // Locked until it is gone.
        Ok(looked) => {
            let contents = judge.request.contents;
            match remover.remove(place.fd.as_fd(), &found.name, &looked.identity, contents) {
                Outcome::Removed => return report.tell_programs(&found.line(What::Removed, places)),
                Outcome::NotThere => Stay::Gone,
                Outcome::NotEmpty => Stay::NotEmpty,
                Outcome::Stuck(stuck) => Stay::Failed(why(stuck)),
            }
        }
        Err(kept) => kept.why,
    };
    // Where it is gone its program, or somebody else, was quicker.
    if !matches!(why, Stay::Gone) {
        report.tell(&Kept { why, uid: Some(found.uid) }.line(&path, judge.request));
    }
}
