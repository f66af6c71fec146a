//! What the command says when it cannot do its own work.

use std::fmt;
use std::path::Path;

/// What failed, on which path, why, and what to do about it; with the command's exit status.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: u8,
    message: String,
}

impl Failure {
    /// `what` failed because of `why`; `remedy` is what the user can do.
    pub(crate) fn new(status: u8, what: impl fmt::Display, why: impl fmt::Display, remedy: &str) -> Self {
        Self { status, message: without_numbers(&format!("{what}: {why}; {remedy}")) }
    }

    /// The same for a system call on `path`.
    pub(crate) fn on(status: u8, what: &str, path: &Path, why: impl fmt::Display, remedy: &str) -> Self {
        Self::new(status, format_args!("{what} {}", path.display()), why, remedy)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

/// Rust's errors end in "(os error 2)", which says nothing that their text does not.
pub(crate) fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(')').map_or(part, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_step_path_reason_and_remedy() {
        let error = std::io::Error::from_raw_os_error(libc::ENOENT);
        let failure =
            Failure::on(1, "cannot open", Path::new("/x"), format_args!("a ({error}), b ({error})"), "make it");
        let reason = "No such file or directory";
        assert_eq!(failure.to_string(), format!("cannot open /x: a ({reason}), b ({reason}); make it"));
    }
}
