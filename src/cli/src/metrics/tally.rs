//! The counts, and how node_exporter's textfile collector reads them.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use super::event::{Event, What};

/// How many programs are told apart: each is a time series for whoever collects them.
const PROGRAMS: usize = 1000;

/// How many characters of a program's name are kept.
const NAME: usize = 64;

/// How many directories that stay are remembered.
const STAYING: usize = 100_000;

/// How far another clock may be ahead, in seconds.
const SLACK: f64 = 300.0;

const COUNTERS: [(&str, &str); 6] = [
    ("tmpshim_fallbacks_total", "O_TMPFILE opens that a file stood in for."),
    ("tmpshim_fallback_failures_total", "O_TMPFILE opens that no file could stand in for."),
    ("tmpshim_publishes_total", "Files without a name that were given one by linkat."),
    ("tmpshim_publish_failures_total", "Files without a name that could not be given one."),
    ("tmpshim_directories_removed_total", "Directories removed behind the program that made them."),
    ("tmpshim_directories_skipped_total", "Directories that were to be removed and stay, each counted once."),
];

/// What was counted.
#[derive(Default)]
pub(super) struct Tally {
    programs: BTreeMap<String, [u64; COUNTERS.len()]>,
    /// Directories that stay: every sweep says so again.
    staying: HashSet<u64>,
    hashes: RandomState,
    last_sweep: Option<(f64, u64)>,
}

impl Tally {
    pub(super) fn count(&mut self, event: Event) {
        match event {
            Event::Swept { time, left } => {
                // One of the future would be the last for ever.
                if time <= now() + SLACK && self.last_sweep.is_none_or(|(last, _)| last <= time) {
                    self.last_sweep = Some((time, left));
                }
            }
            Event::Done { what, program, path } => {
                let directory = self.hashes.hash_one((&program, &path));
                match what {
                    What::Skipped if self.staying.contains(&directory) => return,
                    What::Skipped if self.staying.len() < STAYING => {
                        self.staying.insert(directory);
                    }
                    What::Removed => {
                        self.staying.remove(&directory);
                    }
                    _ => {}
                }
                self.of(&program)[what as usize] += 1;
            }
        }
    }

    fn of(&mut self, program: &str) -> &mut [u64; COUNTERS.len()] {
        let mut name: String = program.chars().take(NAME).map(|c| if c.is_control() { '?' } else { c }).collect();
        if self.programs.len() >= PROGRAMS && !self.programs.contains_key(&name) {
            "other".clone_into(&mut name);
        }
        self.programs.entry(name).or_default()
    }

    /// The text format: HELP and TYPE, then a line for each program, whether it is 0 or not.
    pub(super) fn text(&self, files: usize) -> String {
        let mut text = String::new();
        let head = |text: &mut String, name: &str, help: &str, kind: &str| {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        };
        for (index, (name, help)) in COUNTERS.iter().enumerate() {
            head(&mut text, name, help, "counter");
            for (program, counts) in &self.programs {
                let _ = writeln!(text, "{name}{{program=\"{}\"}} {}", escaped(program), counts[index]);
            }
        }
        if let Some((time, left)) = self.last_sweep {
            let name = "tmpshim_last_sweep_timestamp_seconds";
            head(&mut text, name, "When a sweep has last ended, in seconds since 1970.", "gauge");
            let _ = writeln!(text, "{name} {time}");
            let name = "tmpshim_last_sweep_left";
            head(&mut text, name, "What that sweep had to leave.", "gauge");
            let _ = writeln!(text, "{name} {left}");
        }
        let name = "tmpshim_log_files";
        head(&mut text, name, "Log files that are being read.", "gauge");
        let _ = writeln!(text, "{name} {files}");
        text
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// As the exposition format wants label values.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(what: What, program: &str, path: &str) -> Event {
        Event::Done { what, program: program.to_owned(), path: path.to_owned() }
    }

    #[test]
    fn names_are_cut_and_escaped_and_there_are_never_too_many() {
        let mut tally = Tally::default();
        tally.count(done(What::Fallback, "a\"b\\c\n\u{1b}ü", "/tmp"));
        tally.count(done(What::Fallback, &"x".repeat(5000), "/tmp"));
        for number in 0..5000 {
            tally.count(done(What::Publish, &format!("p{number}"), "/tmp"));
        }
        let text = tally.text(3);
        assert!(text.contains("tmpshim_fallbacks_total{program=\"a\\\"b\\\\c??ü\"} 1\n"), "{text}");
        assert!(text.contains(&format!("program=\"{}\"}} 1\n", "x".repeat(64))));
        assert!(text.contains("tmpshim_publishes_total{program=\"other\"} 4002\n"));
        assert_eq!(text.matches("tmpshim_publishes_total{").count(), PROGRAMS + 1);
        assert!(text.contains("tmpshim_log_files 3\n") && !text.contains("last_sweep"));
    }

    #[test]
    fn a_directory_that_stays_is_counted_once() {
        let mut tally = Tally::default();
        for _ in 0..3 {
            tally.count(done(What::Skipped, "criu", "/tmp/a"));
        }
        tally.count(done(What::Skipped, "criu", "/tmp/b"));
        tally.count(done(What::Removed, "criu", "/tmp/a"));
        tally.count(done(What::Skipped, "criu", "/tmp/a"));
        assert_eq!(tally.programs["criu"], [0, 0, 0, 0, 1, 3]);
    }

    #[test]
    fn the_newest_sweep_is_the_last() {
        let mut tally = Tally::default();
        for (time, left) in [(5.0, 1), (7.5, 2), (6.0, 3), (9e18, 4), (now() + 3600.0, 5)] {
            tally.count(Event::Swept { time, left });
        }
        let text = tally.text(0);
        assert!(
            text.contains("tmpshim_last_sweep_timestamp_seconds 7.5\n") && text.contains("tmpshim_last_sweep_left 2\n")
        );
    }
}
