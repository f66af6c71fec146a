//! Random programs under every engine, against a model of what must exist at the end (see ARCHITECTURE.md, "Chaos").

mod arguments;
mod board;
mod cell;
mod execute;
mod generate;
mod judge;
mod model;
mod place;
mod script;
mod shrink;
mod watchdog;
mod worker;
mod world;

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;

use arguments::Arguments;
use cell::Cell;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match (arguments.worker, &arguments.scratch) {
        (Some(worker), Some(scratch)) => worker::work(&arguments, worker, scratch, &root()),
        _ if arguments.print => print(&arguments),
        _ => lead(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(what) => {
            eprintln!("chaos: {what}");
            ExitCode::from(2)
        }
    }
}

/// The repository, where scripts/chaos begins.
fn root() -> PathBuf {
    env::current_dir().unwrap_or_default()
}

/// Only shows the program.
fn print(arguments: &Arguments) -> Result<bool, String> {
    let seed = arguments.seed.unwrap_or_default();
    for cell in Cell::chosen(arguments).into_iter().take(1) {
        let program = generate::program(seed, cell.is_wild());
        let expected = model::expected(&program, cell.rules())
            .map_err(|_| format!("seed {seed}: the generator made what the model does not know"))?;
        print!("{}", execute::text(&program, &expected));
    }
    Ok(true)
}

/// Makes the place, starts the workers, and adds up what they say.
fn lead(arguments: &Arguments) -> Result<bool, String> {
    let cells = Cell::chosen(arguments);
    if cells.is_empty() {
        return Err(
            "nothing is run so: --engine none takes --filesystem tmpfs, notify and trace --reach static".to_owned()
        );
    }
    for built in ["dist/libtmpshim.so", "dist/tmpshim"] {
        if !root().join(built).exists() {
            return Err(format!("{built} is not there: run scripts/build first"));
        }
    }
    let first = arguments.first.unwrap_or_else(|| {
        // By the clock, and short enough to be copied by hand.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64 % 1_000_000_000)
    });
    place::leave_the_namespaces()?;
    let scratch =
        tempfile::Builder::new().prefix("chaos.").tempdir().map_err(|error| format!("a directory: {error}"))?;
    let mounts = place::Mounts::make(scratch.path(), &cells)?;
    let done = place::build(&root(), scratch.path(), &cells).and_then(|()| {
        if arguments.seed.is_none() {
            println!("chaos: {} ways to run a program; this series again: --first {first}", cells.len());
        }
        run_workers(arguments, first, scratch.path())
    });
    mounts.undo()?;
    done
}

fn run_workers(arguments: &Arguments, first: u64, scratch: &Path) -> Result<bool, String> {
    let begin = Instant::now();
    let program = env::current_exe().map_err(|error| format!("itself: {error}"))?;
    let mut workers = vec![];
    for worker in 0..arguments.workers {
        let mut command = Command::new(&program);
        command.args(env::args_os().skip(1)).arg(format!("--worker={worker}")).arg("--scratch").arg(scratch);
        if arguments.first.is_none() && arguments.seed.is_none() {
            command.arg(format!("--first={first}"));
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        workers.push(child.map_err(|error| format!("{}: {error}", program.display()))?);
    }
    let (mut programs, mut operations, mut fine, mut broken) = (0, 0, true, None);
    for mut worker in workers {
        for line in worker.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines).map_while(Result::ok)
        {
            let words: Vec<&str> = line.split(' ').collect();
            if let [worker::TOTAL, some, more] = words[..] {
                programs += some.parse::<u64>().unwrap_or(0);
                operations += more.parse::<u64>().unwrap_or(0);
            } else {
                println!("{line}");
            }
        }
        match worker.wait().map(|status| status.code()) {
            Ok(Some(0)) => {}
            Ok(Some(1)) => fine = false,
            other => broken = Some(format!("a worker ended with {other:?}")),
        }
    }
    let milliseconds = begin.elapsed().as_millis().max(1) as u64;
    let each = operations * 1000 / milliseconds;
    println!("chaos: {programs} programs, {operations} operations in {} s, {each} each second", milliseconds / 1000);
    broken.map_or(Ok(fine), Err)
}
