//! `tmpshim metrics`.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::every;
use crate::metrics::Options;

/// The parser.
pub(crate) fn command() -> Command {
    Command::new("metrics")
        .about("Count in logs what programs and sweeps have said, for node_exporter")
        .arg(every::flag("Go on: follow the logs, and write the file again each time"))
        .arg(
            Arg::new("output")
                .long("output")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("The file to write, replaced at once; its name must end in .prom for node_exporter; - for standard output"),
        )
        .arg(
            Arg::new("log")
                .value_name("LOG")
                .required(true)
                .num_args(1..)
                .value_parser(value_parser!(String))
                .help("Files or quoted globs, such as '/var/log/pods/*/*/*.log'; - for standard input, without --every"),
        )
        .after_help(
            "Looks for the lines of TMPSHIM_LOG and of tmpshim sweep --json, bare or as containerd, CRI-O and Docker write \
             them into files, and passes over everything else. By program: tmpshim_fallbacks_total, \
             tmpshim_fallback_failures_total, tmpshim_publishes_total, tmpshim_publish_failures_total, \
             tmpshim_directories_removed_total, tmpshim_directories_skipped_total. Of the last sweep: \
             tmpshim_last_sweep_timestamp_seconds, tmpshim_last_sweep_left. Hidden files of tmpshim's own are no directories \
             and not counted. A directory that stays is counted once, however often it is said to stay.\n\n\
             Whoever can write to a log can write such lines: the counts are as honest as the programs. Names are cut to \
             64 characters; what comes after the first 1000 programs is counted for \"other\", and what a sweep does not \
             know the program of, for \"unknown\".\n\n\
             With --every counts never go back while the command runs; at its start it counts what the logs hold. Files \
             that are truncated, renamed or new are followed. Only plain files are read: symbolic links, pipes and devices \
             are passed over with a line on standard error. SIGTERM and SIGINT end it.\n\n\
             Exit codes: 0 written; 1 the file could not be written, or a log not be read; 2 wrong usage.",
        )
}

/// What `tmpshim metrics` is to do.
pub(crate) fn parsed(matches: &ArgMatches) -> Options {
    Options {
        every: every::parsed(matches),
        output: matches.get_one::<PathBuf>("output").expect("clap requires it").clone(),
        logs: matches.get_many::<String>("log").expect("clap requires it").cloned().collect(),
    }
}
