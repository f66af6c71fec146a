//! `tmpshim metrics`: counts events in logs, and writes the counts where node_exporter's textfile collector finds them.

mod event;
mod logs;
mod tally;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::failure::Failure;
use crate::output::{print, replace};
use crate::signals::{self, Set};
use logs::{Logs, Splitter};
use tally::Tally;

/// What `tmpshim metrics` was asked to do.
#[derive(Debug)]
pub(crate) struct Options {
    /// How long to wait before the logs are read again; once where it is `None`.
    pub(crate) every: Option<Duration>,
    pub(crate) output: PathBuf,
    /// Paths, globs, or - for standard input.
    pub(crate) logs: Vec<String>,
}

/// Counts and writes; exit status 1 where a log could not be read.
pub(crate) fn metrics(options: Options) -> Result<u8, Failure> {
    let Options { every, output, logs: mut wanted } = options;
    let named = wanted.len();
    wanted.retain(|log| log != "-");
    let from_input = wanted.len() < named;
    if from_input && every.is_some() {
        let remedy = "name the files that are to be followed";
        return Err(Failure::new(2, "cannot follow -", "standard input is read once, to its end", remedy));
    }
    // Each log stays open. Where the limit cannot be raised, the first that is too many is complained about.
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limit.maximum, ..limit });
    // Taken between two steps, so that no half of a file is left; as PID 1 they would not even arrive otherwise.
    let ending = Set::of(&signals::ending());
    if every.is_some() {
        signals::block(ending);
    }
    let mut tally = Tally::default();
    let mut logs = Logs::new(wanted, every.is_none());
    let mut status = 0;
    if from_input {
        read_input(&mut tally).map_err(|error| {
            Failure::new(1, "cannot read standard input", error, "give it a file or pipe that can be read")
        })?;
    }
    let mut is_first = true;
    loop {
        let mut ended = false;
        let mut stop = || {
            ended = ended || every.is_some() && signals::take(ending).is_some();
            ended
        };
        logs.round(&mut |line| event::read(line).into_iter().for_each(|event| tally.count(event)), &mut stop);
        if ended {
            return Ok(status);
        }
        match write(&output, &tally.text(logs.len())) {
            Ok(()) => status = 0,
            Err(failure) if is_first => return Err(failure),
            // A full disk, say, which somebody will see to.
            Err(failure) => {
                anstream::eprintln!("tmpshim: {failure}");
                status = failure.status;
            }
        }
        let Some(every) = every else { return Ok(status.max(u8::from(logs.has_failed))) };
        if signals::wait(ending, Some(every)).is_some() {
            return Ok(status);
        }
        is_first = false;
    }
}

fn read_input(tally: &mut Tally) -> io::Result<()> {
    let mut each = |line: &[u8]| event::read(line).into_iter().for_each(|event| tally.count(event));
    let mut splitter = Splitter::default();
    let mut buffer = vec![0; 64 * 1024];
    let mut input = io::stdin().lock();
    loop {
        match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => splitter.feed(&buffer[..length], &mut each),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    splitter.end(&mut each);
    Ok(())
}

/// node_exporter never reads half of it, nor what has another name than *.prom.
fn write(output: &Path, text: &str) -> Result<(), Failure> {
    if output == Path::new("-") {
        return print(text.as_bytes()).map(drop);
    }
    replace(output, "new", 0o644, &mut text.as_bytes()).map_err(|error| {
        let remedy = "give --output a file in a directory that is there and that you may write to";
        Failure::on(1, "cannot write", output, error, remedy)
    })
}
