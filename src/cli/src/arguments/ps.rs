//! `tmpshim ps`.

use clap::{ArgMatches, Command};

use super::state::{directory, lister};
use crate::ps::Options;

/// The parser.
pub(crate) fn command() -> Command {
    lister("ps").about("List the programs that live and what they have made").after_help(
        "Bytes are apparent sizes of files below the directories, links not followed and mounts not entered. As root \
         everyone's programs are listed.\n\n\
         With --json each line is a program: \"pid\", \"uid\", \"program\", \"age\" in seconds, \"bytes\", \"directories\" \
         (each with \"path\", and \"bytes\" where it is there), \"files\" (hidden names), \"journal\", \
         \"state_directory\"; \"state\" is living, or unknown where its processes cannot be seen from here.\n\n\
         Exit codes: 0 listed, also where there is none; 1 a state directory could not be looked into; 2 wrong usage.",
    )
}

/// What `tmpshim ps` is to do.
pub(crate) fn parsed(matches: &ArgMatches) -> Options {
    Options { json: matches.get_flag("json"), state: directory(matches) }
}
