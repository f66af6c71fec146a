//! `tmpshim man`.

use clap::{Arg, ArgMatches, Command};

use crate::texts::Page;

/// The parser.
pub(crate) fn command() -> Command {
    Command::new("man")
        .about("Print a manual page of this version")
        .arg(
            Arg::new("page")
                .value_name("PAGE")
                .value_parser(["tmpshim", "libtmpshim"])
                .default_value("tmpshim")
                .help("The command's page or the library's"),
        )
        .after_help(
            "The page is written in roff, for man(1): `tmpshim man | man -l -`. Into the manual it goes as tmpshim.1 or \
             libtmpshim.7.\n\n\
             Exit codes: 0 printed, 1 could not be written, 2 wrong usage.",
        )
}

/// The page of `tmpshim man`.
pub(crate) fn parsed(matches: &ArgMatches) -> Page {
    match matches.get_one::<String>("page").map(String::as_str) {
        Some("libtmpshim") => Page::Library,
        _ => Page::Command,
    }
}
