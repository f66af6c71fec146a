//! `tmpshim library`.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};

/// The parser.
pub(crate) fn command() -> Command {
    Command::new("library")
        .about("Write libtmpshim.so, which this command carries inside, to a file")
        .arg(
            Arg::new("output")
                .long("output")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("The file to write, replaced at once if it exists; - for standard output"),
        )
        .after_help("Exit codes: 0 written, 1 could not be written, 2 wrong usage.")
}

/// The file of `tmpshim library`.
pub(crate) fn output(matches: &ArgMatches) -> &Path {
    matches.get_one::<PathBuf>("output").expect("clap requires it")
}
