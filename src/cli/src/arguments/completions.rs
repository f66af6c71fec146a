//! `tmpshim completions`.

use clap::{Arg, ArgMatches, Command};

use crate::texts::Shell;

/// The parser.
pub(crate) fn command() -> Command {
    Command::new("completions")
        .about("Print what a shell completes this command's words by")
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(["bash", "zsh", "fish"])
                .help("The shell"),
        )
        .after_help(
            "For all users: bash, /usr/share/bash-completion/completions/tmpshim; zsh, \
             /usr/local/share/zsh/site-functions/_tmpshim; fish, /usr/share/fish/vendor_completions.d/tmpshim.fish. For this \
             shell only: source <(tmpshim completions bash).\n\n\
             Exit codes: 0 printed, 1 could not be written, 2 wrong usage.",
        )
}

/// The shell of `tmpshim completions`.
pub(crate) fn parsed(matches: &ArgMatches) -> Shell {
    match matches.get_one::<String>("shell").map(String::as_str) {
        Some("zsh") => Shell::Zsh,
        Some("fish") => Shell::Fish,
        _ => Shell::Bash,
    }
}
