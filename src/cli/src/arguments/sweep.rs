//! `tmpshim sweep`.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::state::{directory, lister};
use crate::sweep::Options;

/// The parser.
pub(crate) fn command() -> Command {
    lister("sweep")
        .about("Remove what programs have left that were killed or could not clean up")
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("Say what would be removed, and change nothing"),
        )
        .after_help(
            "Looks through this user's state directories: TMPSHIM_STATE_DIR, $XDG_RUNTIME_DIR/tmpshim, /run/tmpshim (root), \
             /dev/shm/tmpshim-UID. As root also through everyone else's, with the rights of their owners.\n\n\
             What a living program may still use is not touched. What has something mounted at or below it, in any mount \
             namespace that can be seen, is skipped.\n\n\
             With --json each line has \"event\": removed, would-remove, skipped (a program made it, and it stays), left \
             (of tmpshim's own, and it stays), living (a journal in use) or summary; and, where they apply, \"path\", \
             \"kind\" (directory or file), \"program\", \"pid\", \"uid\", \"journal\", \"why\"; the summary has \"counts\" of \
             \"directories\", \"files\", \"left\" and \"living\".\n\n\
             Exit codes: 0 all is done, also where there was nothing to do; 1 something had to be left; 2 wrong usage.",
        )
}

/// What `tmpshim sweep` is to do.
pub(crate) fn parsed(matches: &ArgMatches) -> Options {
    Options { dry: matches.get_flag("dry-run"), json: matches.get_flag("json"), state: directory(matches) }
}
