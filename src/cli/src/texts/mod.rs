//! What is printed about the command and the library: manual pages and the shells' completions. All of it follows from
//! the parser and from the one table of settings, so a flag that is added there needs nothing here.

mod completions;
mod man;

use crate::failure::Failure;
use crate::output::print;

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
