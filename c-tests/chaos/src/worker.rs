//! One program after another. A worker is a process of its own, since whatever its programs leave comes to it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, set_child_subreaper, setrlimit};

use crate::arguments::Arguments;
use crate::board;
use crate::cell::Cell;
use crate::execute::{DEADLINE, Outcome, Place, text};
use crate::generate;
use crate::model::expected;
use crate::script::Program;
use crate::shrink::shrink;
use crate::watchdog::Watchdog;

/// How often a shorter program may be tried, and each of them, as what shows a difference once need not show it always.
const SHRINKING: usize = 600;
const TRIES: usize = 3;
/// A part of a program may wait for what was left out.
const DEADLINE_OF_SHORTER: Duration = Duration::from_secs(5);

/// What a worker tells who started it, in one line.
pub(crate) const TOTAL: &str = "total";

/// Runs programs until it is enough; whether all was as the model says.
pub(crate) fn work(arguments: &Arguments, worker: u64, scratch: &Path, root: &Path) -> Result<bool, String> {
    let own = scratch.join(format!("worker.{worker}"));
    let told = |error: io::Error| format!("{}: {error}", own.display());
    fs::create_dir(&own).map_err(told)?;
    let mut place = Place {
        own: own.clone(),
        scratch: scratch.to_owned(),
        library: root.join("dist/libtmpshim.so"),
        command: root.join("dist/tmpshim"),
        broken: arguments.broken.clone(),
        watchdog: Watchdog::start(),
        worker,
        deadline: DEADLINE,
    };
    set_child_subreaper(rustix::process::Pid::from_raw(1)).map_err(|error| told(error.into()))?;
    // Core files are not what this is about.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(|error| told(error.into()))?;
    let cells = Cell::chosen(arguments);
    let deadline = Instant::now() + Duration::from_secs(arguments.seconds.unwrap_or(60));
    let (mut programs, mut operations) = (0_u64, 0_u64);
    let mut fine = true;
    let stop = scratch.join("stop");
    let is_one = arguments.seed.is_some();
    for turn in 0.. {
        let number = worker + turn * arguments.workers;
        let is_enough = match (arguments.seed, arguments.operations) {
            (Some(_), _) => number >= cells.len() as u64 * u64::from(arguments.times),
            (None, Some(most)) => operations >= most / arguments.workers,
            (None, None) => Instant::now() > deadline,
        };
        if is_enough || stop.exists() {
            break;
        }
        let cell = cells[(number % cells.len() as u64) as usize];
        let seed = arguments.seed.unwrap_or(arguments.first.unwrap_or(0) + number);
        let program = generate::program(seed, cell.is_wild());
        if !cell.is_for(&program) {
            continue;
        }
        match place.run(&program, cell).map_err(told)? {
            Outcome::Fine | Outcome::Late(_) => {}
            Outcome::Invalid => return Err(format!("seed {seed}: the generator made what the model does not know")),
            Outcome::Different(differences) => {
                fine = false;
                place.deadline = DEADLINE_OF_SHORTER;
                show(arguments, &place, cell, seed, &program, &differences);
                if !is_one {
                    fs::write(&stop, "").map_err(told)?;
                }
                break;
            }
        }
        programs += 1;
        operations += board::done(&own.join("board")).map_err(told)?;
    }
    println!("{TOTAL} {programs} {operations}");
    Ok(fine)
}

fn show(arguments: &Arguments, place: &Place, cell: Cell, seed: u64, program: &Program, differences: &[String]) {
    let mut shown = String::new();
    for difference in differences {
        shown.extend(["  ", difference, "\n"]);
    }
    let broken = arguments.broken.as_ref().map_or(String::new(), |what| format!(" --broken {what}"));
    println!("chaos: not as the model says:\n{shown}  again: scripts/chaos --seed {seed} {cell}{broken}");
    if arguments.no_shrink {
        return;
    }
    let mut last = vec![];
    let shortest = shrink(program, SHRINKING, |candidate| {
        (0..TRIES).any(|_| match place.run(candidate, cell) {
            Ok(Outcome::Different(differences)) => {
                last = differences;
                true
            }
            _ => false,
        })
    });
    if let Ok(expected) = expected(&shortest, cell.rules()) {
        println!("  the shortest that was found: {} of {} operations", shortest.operations(), program.operations());
        for line in text(&shortest, &expected).lines() {
            println!("    {line}");
        }
        for difference in last {
            println!("  {difference}");
        }
    }
}
