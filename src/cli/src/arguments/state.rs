//! What the commands have in common that look into state directories.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command};

/// One with `--json` and `--state-dir`.
pub(super) fn lister(name: &'static str) -> Command {
    Command::new(name)
        .arg(
            Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print one JSON object a line, for programs"),
        )
        .arg(
            Arg::new("state-dir")
                .long("state-dir")
                .value_name("DIR")
                .value_parser(
                    OsStringValueParser::new().try_map(|path| {
                        std::path::absolute(&path).map_err(|error| format!("no absolute path: {error}"))
                    }),
                )
                .help("Look only at this state directory"),
        )
}

/// The value of `--state-dir`.
pub(super) fn directory(matches: &ArgMatches) -> Option<PathBuf> {
    matches.get_one::<PathBuf>("state-dir").cloned()
}
