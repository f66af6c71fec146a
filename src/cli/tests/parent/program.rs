//! A program that speaks with the test.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};

use super::waiting::{PATIENCE, end_of};

/// A program that speaks with us.
pub(crate) struct Program {
    child: Child,
    pub(crate) input: Option<ChildStdin>,
    pub(crate) lines: Receiver<String>,
}

impl Program {
    /// Starts it, and says which process it is.
    pub(crate) fn start(mut command: Command) -> (Self, i32) {
        Self::with_input(command.stdin(Stdio::piped()))
    }

    pub(crate) fn with_input(command: &mut Command) -> (Self, i32) {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let program = Self { input: child.stdin.take(), child, lines };
        let pid = program.number_after("ready");
        (program, pid)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub(crate) fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it says something")
    }

    pub(crate) fn expect_signal(&self, signal: i32, when: &str) {
        let line = self.lines.recv_timeout(PATIENCE);
        assert_eq!(line.as_deref(), Ok(signal.to_string().as_str()), "{when}, signal {signal}");
    }

    pub(crate) fn number_after(&self, word: &str) -> i32 {
        let line = self.next();
        line.strip_prefix(word).and_then(|rest| rest.trim().parse().ok()).unwrap_or_else(|| panic!("{word}: {line}"))
    }

    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.next()
    }

    pub(crate) fn end(&mut self) -> ExitStatus {
        end_of(&mut self.child)
    }

    /// Ends a program that counts signals; what it had still to say.
    pub(crate) fn end_count(&mut self) -> Vec<String> {
        drop(self.input.take());
        assert_eq!(self.end().code(), Some(0));
        self.lines.iter().collect()
    }
}
