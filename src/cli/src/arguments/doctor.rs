//! `tmpshim doctor`.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::doctor::Options;

/// The parser.
pub(crate) fn command() -> Command {
    Command::new("doctor")
        .about("Say what will fail here, or in a running process, and what to do about it")
        .override_usage("tmpshim doctor [--json] [--pid PID]... [PATH|PROGRAM]...")
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print one JSON document, for programs"))
        .arg(
            Arg::new("pid")
                .long("pid")
                .value_name("PID")
                .action(ArgAction::Append)
                .value_parser(value_parser!(u32).range(1..=i64::from(i32::MAX)))
                .help("Look at a running process, with its environment, its mounts and its rights"),
        )
        .arg(
            Arg::new("target")
                .value_name("PATH|PROGRAM")
                .num_args(0..)
                .value_parser(value_parser!(OsString))
                .help(
                    "A directory, or a program as a shell finds it [default: TMPDIR, /tmp, /var/tmp, the current directory]",
                ),
        )
        .after_help(
            "A directory is tried out: files are made in it, some for an instant under a name .tmpshim-…, and nothing of \
             them stays. A program is read and never run. A directory that does not answer for 10 seconds is left \
             alone.\n\n\
             Of another user's process, root is told everything; others only what /proc lets them see.\n\n\
             With --json: one document, described by docs/doctor.schema.json.\n\n\
             Exit codes: 0 all well, 1 something will fail, 2 something could not be told, or wrong usage.",
        )
}

/// What `tmpshim doctor` is to do.
pub(crate) fn parsed(matches: &ArgMatches) -> Options {
    Options {
        json: matches.get_flag("json"),
        pids: matches.get_many::<u32>("pid").into_iter().flatten().copied().collect(),
        targets: matches.get_many::<OsString>("target").into_iter().flatten().cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::command as whole;

    #[test]
    fn processes_and_targets_are_told_apart() {
        let line = ["tmpshim", "doctor", "--pid", "7", "/tmp", "--pid=9", "clair", "--json"];
        let matches = whole().try_get_matches_from(line).unwrap();
        let options = parsed(matches.subcommand_matches("doctor").unwrap());
        assert_eq!((options.json, options.pids), (true, vec![7, 9]));
        assert_eq!(options.targets, ["/tmp", "clair"]);
        for wrong in ["0", "-1", "x", "2147483648"] {
            assert!(whole().try_get_matches_from(["tmpshim", "doctor", "--pid", wrong]).is_err(), "{wrong}");
        }
    }
}
