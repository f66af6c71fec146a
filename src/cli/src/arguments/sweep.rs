//! `tmpshim sweep`.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::every;
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
        .arg(every::flag("Sweep again and again, with so much time in between (10m), until SIGTERM or SIGINT"))
        .arg(
            Arg::new("host")
                .long("host")
                .action(ArgAction::SetTrue)
                .help("Sweep the host from a container that shares its PID namespace (hostPID: true), as root"),
        )
        .after_help(
            "Looks through this user's state directories: TMPSHIM_STATE_DIR, $XDG_RUNTIME_DIR/tmpshim, /run/tmpshim (root), \
             /dev/shm/tmpshim-UID. As root also through everyone else's, with the rights of their owners.\n\n\
             What a living program may still use is not touched. What has something mounted at or below it, in any mount \
             namespace that can be seen, is skipped.\n\n\
             With --json each line has \"event\": removed, would-remove, skipped (a program made it, and it stays), left \
             (of tmpshim's own, and it stays), living (a journal in use) or summary; and, where they apply, \"path\", \
             \"kind\" (directory or file), \"program\", \"pid\", \"uid\", \"journal\", \"why\"; the summary has \"time\" (not of a dry run) and \"counts\" of \
             \"directories\", \"files\", \"left\" and \"living\".\n\n\
             With --host the command enters the mount namespace of process 1 first, so state directories and paths are the \
             host's. What programs in containers have left is not seen from there: tmpshim run in the container sees to it.\n\n\
             Exit codes: 0 all is done, also where there was nothing to do; 1 something had to be left, or the host not be \
             entered; 2 wrong usage. With --every, those of the last sweep that ended.",
        )
}

/// What `tmpshim sweep` is to do.
pub(crate) fn parsed(matches: &ArgMatches) -> Options {
    Options {
        dry: matches.get_flag("dry-run"),
        json: matches.get_flag("json"),
        state: directory(matches),
        every: every::parsed(matches),
        host: matches.get_flag("host"),
    }
}
