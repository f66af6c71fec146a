//! The command line: parsed to plain data here, acted upon elsewhere. One file a subcommand: `command` is its parser,
//! `parsed` makes the data.

pub(crate) mod completions;
pub(crate) mod doctor;
mod every;
pub(crate) mod install;
pub(crate) mod library;
pub(crate) mod man;
pub(crate) mod metrics;
pub(crate) mod ps;
pub(crate) mod run;
mod state;
pub(crate) mod sweep;

use clap::Command;

/// The parser of the whole command.
pub(crate) fn command() -> Command {
    Command::new("tmpshim")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs programs that cannot be changed, on filesystems without O_TMPFILE and without leaking directories")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(run::command())
        .subcommand(doctor::command())
        .subcommand(sweep::command())
        .subcommand(ps::command())
        .subcommand(metrics::command())
        .subcommand(library::command())
        .subcommand(install::command())
        .subcommand(man::command())
        .subcommand(completions::command())
        .subcommand(
            Command::new("demo")
                .about("Show both problems and both cures on this machine, in half a minute, and leave nothing behind")
                .after_help(
                    "Exit codes: 0 every line is as promised, 1 a line is not, 2 wrong usage, 3 nothing could be shown \
                     on this machine. Ended by Ctrl-C it removes what it made and ends by the same signal.\n\
                     No privilege is needed. As root, with bindfs, mergerfs or fuse-overlayfs in PATH, it also uses a \
                     real FUSE mount, in a temporary directory of its own.",
                ),
        )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_well_formed() {
        super::command().debug_assert();
    }
}
