//! The question, on a terminal.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write, stderr, stdin};

/// Where somebody can be asked.
pub(super) struct Terminal {
    /// The controlling terminal, where standard input is something else.
    other: Option<File>,
}

impl Terminal {
    /// Standard input if that is a terminal; else the controlling one, if what is said is read on a terminal: somebody
    /// who has piped something in reads along.
    pub(super) fn open() -> Option<Self> {
        if stdin().is_terminal() {
            return Some(Self { other: None });
        }
        let is_read_along = stderr().is_terminal();
        let other = File::options().read(true).write(true).open("/dev/tty").ok().filter(|_| is_read_along)?;
        Some(Self { other: Some(other) })
    }

    /// Shows text.
    pub(super) fn show(&self, text: &str) {
        let _ = match &self.other {
            Some(terminal) => (&*terminal).write_all(text.as_bytes()),
            None => stderr().write_all(text.as_bytes()),
        };
    }

    /// Asks; only a clear yes is one.
    pub(super) fn ask(&self, question: &str) -> bool {
        self.show(question);
        let read = |source: &mut dyn Read| {
            let mut line = Vec::new();
            let read = BufReader::new(source.take(1024)).read_until(b'\n', &mut line);
            read.is_ok() && is_yes(&line)
        };
        match &self.other {
            Some(terminal) => read(&mut &*terminal),
            None => read(&mut stdin().lock()),
        }
    }
}

/// A line that was cut off, or ended without a key, is no answer.
fn is_yes(line: &[u8]) -> bool {
    let answer = line.strip_suffix(b"\n").unwrap_or_default().trim_ascii();
    answer.eq_ignore_ascii_case(b"y") || answer.eq_ignore_ascii_case(b"yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for line in ["y\n", "Y\n", " yes \n", "YES\r\n"] {
            assert!(is_yes(line.as_bytes()), "{line:?}");
        }
        for line in ["", "y", "\n", "n\n", "no\n", "ye\n", "yy\n", "yes please\n", "\u{1b}y\n"] {
            assert!(!is_yes(line.as_bytes()), "{line:?}");
        }
    }
}
