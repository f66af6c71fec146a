//! `tmpshim sweep`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::every;
use super::state::{directory, lister};
use crate::sweep::Options;
use crate::sweep::piled::{Glob, Request, owner};

/// The parser.
pub(crate) fn command() -> Command {
    lister("sweep")
        .about("Remove what programs have left that were killed or could not clean up")
        .override_usage(
            "tmpshim sweep [--dry-run] [--json] [--state-dir DIR]\n       \
             tmpshim sweep --match GLOB [OPTIONS] DIR...",
        )
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
        .args(piled())
        .after_help(
            "Without --match: looks through this user's state directories: TMPSHIM_STATE_DIR, $XDG_RUNTIME_DIR/tmpshim, \
             /run/tmpshim (root), /dev/shm/tmpshim-UID. As root also through everyone else's, with the rights of their \
             owners. What a living program may still use is not touched. What has something mounted at or below it, in \
             any mount namespace that can be seen, is skipped.\n\n\
             With --match: removes directories that piled up before tmpshim came and that no journal tells of. Only \
             real directories right in DIR whose names match; never files, never through a symbolic link, never across \
             a mount. DIR itself may not be a link (write DIR/ to follow one). What is in use stays, however old: what \
             is, or has below it, some process's or thread's working directory, root, program, open or mapped file, a \
             mount point or what is mounted elsewhere, a layer of an overlay, a bound socket, what an environment or \
             command line names, what a journal of tmpshim names (the sweep without --match sees to that), what has \
             somebody's flock(2). Of the rest only what nobody has changed since --older-than goes; with 0s age does \
             not count. It shows what it is going to do and asks, then looks at each directory again right before it \
             removes it. Without a terminal and without --yes or --dry-run it only shows.\n\
             A user other than root cannot see what others use: only directories of that user go that give group and \
             others no permission. For root that holds where there are processes that it may not look at, as in a \
             container without CAP_SYS_PTRACE; and in a PID namespace, processes outside of it are not seen: sweep \
             there only what is not shared with them. What begins to use a directory at the very moment of its removal \
             is not seen. Ctrl-C stops after the directory at hand, a second one at once; with --contents that one may \
             be half removed.\n\n\
             With --json each line has \"event\": removed, would-remove, skipped (a program made it, and it stays), left \
             (of tmpshim's own, or it could not be removed, and it stays), living (a journal in use) or summary; and, \
             where they apply, \"path\", \"kind\" (directory or file), \"program\", \"pid\", \"uid\", \"journal\", \"why\"; \
             the summary has \"time\" (not of a dry run) and \"counts\" of \"directories\", \"files\", \"left\", \
             \"living\" and, with --match, \"skipped\".\n\n\
             With --host the command enters the mount namespace of process 1 first, so state directories and paths are \
             the host's. What programs in containers have left is not seen from there: tmpshim run in the container sees \
             to it.\n\n\
             Exit codes: 0 all is done, also where there was nothing to do, or, with --match, where all that stays is \
             skipped (in use or perhaps so, too young, not empty, another user's); 1 something had to be left, or nothing \
             was done because nobody said yes, or the host could not be entered; 2 wrong usage. With --every, those of the \
             last sweep that ended.",
        )
}

/// What belongs to `--match`.
fn piled() -> [Arg; 6] {
    [
        Arg::new("match")
            .long("match")
            .value_name("GLOB")
            .action(ArgAction::Append)
            .value_parser(OsStringValueParser::new().try_map(Glob::parse))
            .requires("directory")
            .conflicts_with("state-dir")
            .help(
                "Remove directories in DIR with such names that no journal tells of; may be given more than once. In a \
                 shell it needs quotes: --match '.criu.temp-aa-policy.*'",
            ),
        Arg::new("older-than")
            .long("older-than")
            .value_name("AGE")
            .requires("match")
            .default_value("1h")
            .value_parser(humantime::parse_duration)
            .help("Only what has not been changed for so long: 90s, 30m, 1h, 2d, 1w; 0s for any age"),
        Arg::new("owner")
            .long("owner")
            .value_name("USER")
            .requires("match")
            .value_parser(owner::parse)
            .help("Only directories of this user, by name (in /etc/passwd) or number [default: for root everyone's]"),
        Arg::new("contents")
            .long("contents")
            .action(ArgAction::SetTrue)
            .requires("match")
            .help("Also directories that are not empty, with all that is in them"),
        Arg::new("yes").long("yes").short('y').action(ArgAction::SetTrue).requires("match").help("Do not ask"),
        Arg::new("directory")
            .value_name("DIR")
            .num_args(1..)
            .requires("match")
            .value_parser(clap::value_parser!(PathBuf))
            .help("Where to look for directories with such names; not below it"),
    ]
}

/// What `tmpshim sweep` is to do.
pub(crate) fn parsed(matches: &ArgMatches) -> Options {
    let piled = matches.get_many::<Glob>("match").map(|globs| Request {
        globs: globs.cloned().collect(),
        directories: matches.get_many("directory").into_iter().flatten().cloned().collect(),
        older_than: matches.get_one::<Duration>("older-than").copied().unwrap_or_default(),
        owner: matches.get_one("owner").copied(),
        contents: matches.get_flag("contents"),
        yes: matches.get_flag("yes"),
    });
    Options {
        dry: matches.get_flag("dry-run"),
        json: matches.get_flag("json"),
        state: directory(matches),
        every: every::parsed(matches),
        host: matches.get_flag("host"),
        piled,
    }
}
