//! `tmpshim install`.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};

/// The parser.
pub(crate) fn command() -> Command {
    Command::new("install")
        .about("Copy this command and libtmpshim.so into a directory, from where other containers can use them")
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("DIR")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("The directory, which must be there; files of the names tmpshim and libtmpshim.so are replaced"),
        )
        .after_help(
            "For the init container of a pod: an image with nothing but this file in it has no cp. Both files get mode \
             0755, whatever the umask.\n\n\
             Exit codes: 0 both are there, 1 one could not be written, 2 wrong usage.",
        )
}

/// The directory of `tmpshim install`.
pub(crate) fn directory(matches: &ArgMatches) -> &Path {
    matches.get_one::<PathBuf>("to").expect("clap requires it")
}
