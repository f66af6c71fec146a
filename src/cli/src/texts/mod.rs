//! What is printed about the command and the library: manual pages and the shells' completions. All of it follows from
//! the parser and from the one table of settings, so a flag that is added there needs nothing here.

mod completions;
mod man;

use std::io::{self, Write};

use crate::failure::Failure;

/// A manual page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// tmpshim.1.
    Command,
    /// libtmpshim.7.
    Library,
}

/// A shell with completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints a manual page.
pub(crate) fn man(page: Page) -> Result<u8, Failure> {
    print(man::page(page, crate::arguments::command()).as_bytes())
}

/// Prints the completions of a shell.
pub(crate) fn completions(shell: Shell) -> Result<u8, Failure> {
    print(&completions::of(shell, &crate::arguments::command()))
}

fn print(text: &[u8]) -> Result<u8, Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text).and_then(|()| stdout.flush());
    let remedy = "send it to a file that you may write";
    written.map(|()| 0).map_err(|error| Failure::new(1, "cannot write standard output", error, remedy))
}
