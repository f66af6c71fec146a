//! What was done, for `TMPSHIM_LOG`: one JSON object a line, one write(2) each, no descriptor kept.

use crate::fd::openat;
use crate::remove::{Outcome, Stuck};
use crate::settings::Log;
use crate::sys;
use crate::text::{PATH_MAX, Text, part};
use crate::tmpfile::Made;
use rustix::fd::AsFd;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// Something worth a line.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A file stands in for an O_TMPFILE one in this directory (the program's own path).
    StoodIn {
        /// The directory.
        path: &'a [u8],
        /// How.
        made: Made,
    },
    /// The stand-in could not be made.
    CouldNotStandIn {
        /// The directory.
        path: &'a [u8],
        /// The answer the program gets.
        error: Errno,
    },
    /// A stand-in was given a name (the program's own path).
    Published {
        /// The name.
        path: &'a [u8],
    },
    /// It could not.
    CouldNotPublish {
        /// The name.
        path: &'a [u8],
        /// The answer the program gets.
        error: Errno,
    },
    /// A program whose system calls no preload sees goes on by itself.
    OutOfReach {
        /// The program.
        path: &'a [u8],
        /// Why it was not started again under `tmpshim run`.
        error: Errno,
    },
    /// What became of something that was tracked.
    Cleaned {
        /// Its absolute path.
        path: &'a [u8],
        /// What became of it.
        outcome: Outcome,
    },
}

/// Writes a line to where somebody wants it. Whoever asked for a log that cannot be written has none.
pub fn append(log: Log<'_>, line: &[u8]) {
    let file;
    let to = match log {
        Log::None => return,
        // SAFETY: only written to; where the program has closed it, the write fails.
        Log::Stream(stream) => unsafe { sys::borrow(stream) },
        Log::File(path) => {
            let mut text = Text::<PATH_MAX>::new();
            let Some(path) = text.push(path).as_c_str() else { return };
            let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY;
            let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
            let Ok(opened) = openat(CWD, path, flags | OFlags::NONBLOCK, mode) else { return };
            file = opened;
            file.as_fd()
        }
    };
    let _ = rustix::io::write(to, line);
}

impl Event<'_> {
    /// Writes the line. `program` is the program's name, `pid` its process's number.
    pub fn write(&self, log: Log<'_>, pid: u32, program: &[u8]) {
        append(log, self.line(pid, program).as_bytes());
    }

    fn line(&self, pid: u32, program: &[u8]) -> Text<8192> {
        let (Self::StoodIn { path, .. }
        | Self::CouldNotStandIn { path, .. }
        | Self::Published { path }
        | Self::CouldNotPublish { path, .. }
        | Self::OutOfReach { path, .. }
        | Self::Cleaned { path, .. }) = *self;
        let error = match *self {
            Self::CouldNotStandIn { error, .. }
            | Self::CouldNotPublish { error, .. }
            | Self::OutOfReach { error, .. }
            | Self::Cleaned { outcome: Outcome::Stuck(Stuck::Refused(error)), .. } => Some(error),
            _ => None,
        };
        let number = match *self {
            Self::StoodIn { made: Made::Unlinked, .. } => 0,
            Self::StoodIn { made: Made::Kept, .. } => 1,
            Self::CouldNotStandIn { .. } => 2,
            Self::Published { .. } => 3,
            Self::CouldNotPublish { .. } => 4,
            Self::Cleaned { outcome, .. } => match outcome {
                Outcome::Removed => 5,
                Outcome::NotThere => 6,
                Outcome::NotEmpty => 7,
                Outcome::Stuck(Stuck::Mounted) => 8,
                Outcome::Stuck(Stuck::OtherNamespace) => 9,
                Outcome::Stuck(Stuck::InUse) => 10,
                Outcome::Stuck(Stuck::Refused(_)) => 11,
                Outcome::Stuck(Stuck::Suspect) => 12,
            },
            Self::OutOfReach { .. } => 13,
        };
        let (event, detail) = (part(WORDS, b'\n', 2 * number), part(WORDS, b'\n', 2 * number + 1));
        let (seconds, nanoseconds) = sys::wall_clock();
        let mut line = Text::new();
        line.push(b"{\"time\":").push_decimal(seconds as u64).push(b".").push_padded(nanoseconds as u64 / 1_000_000, 3);
        line.push(b",\"pid\":").push_decimal(pid.into());
        line.push(b",\"program\":\"").push_json(program.get(..64).unwrap_or(program));
        line.push(b"\",\"event\":\"").push(event);
        // A path of control characters only would be six times as long.
        line.push(b"\",\"path\":\"").push_json(path.get(..1000).unwrap_or(path)).push(b"\"");
        if !detail.is_empty() {
            line.push(b",\"detail\":\"").push(detail).push(b"\"");
        }
        if let Some(error) = error {
            line.push(b",\"errno\":").push_decimal(error.raw_os_error() as u64);
        }
        line.push(b"}\n");
        line
    }
}

/// What a line says: the event and its detail by turns, in the order in which `line` numbers them. One text, because
/// the library would have to hold a relocated pointer to each of many.
pub const WORDS: &[u8] = b"stood-in
unlinked
stood-in
hidden name kept
could-not-stand-in

published

could-not-publish

removed

skipped
not there, or something else has the name
skipped
not empty
skipped
a mount point is in it
skipped
made in another mount namespace
skipped
a process that may use it lives on
skipped
could not be removed
skipped
nothing that tmpshim makes
go-program
a preload does not reach it: use `tmpshim run`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_one_json_object_on_one_line() {
        let error = Errno::NOSPC;
        let path = b"/tmp/a\"\n\\b";
        let refused = Outcome::Stuck(Stuck::Refused(error));
        let cleaned = |outcome| Event::Cleaned { path, outcome };
        let stuck = |stuck| cleaned(Outcome::Stuck(stuck));
        let events = [
            (Event::StoodIn { path, made: Made::Unlinked }, "stood-in", "unlinked"),
            (Event::StoodIn { path: &[7; 4095], made: Made::Kept }, "stood-in", "hidden name kept"),
            (Event::CouldNotStandIn { path, error }, "could-not-stand-in", ""),
            (Event::Published { path }, "published", ""),
            (Event::CouldNotPublish { path, error }, "could-not-publish", ""),
            (cleaned(Outcome::Removed), "removed", ""),
            (cleaned(Outcome::NotThere), "skipped", "not there, or something else has the name"),
            (cleaned(Outcome::NotEmpty), "skipped", "not empty"),
            (stuck(Stuck::Mounted), "skipped", "a mount point is in it"),
            (stuck(Stuck::OtherNamespace), "skipped", "made in another mount namespace"),
            (stuck(Stuck::InUse), "skipped", "a process that may use it lives on"),
            (stuck(Stuck::Suspect), "skipped", "nothing that tmpshim makes"),
            (cleaned(refused), "skipped", "could not be removed"),
            (Event::OutOfReach { path, error }, "go-program", "a preload does not reach it: use `tmpshim run`"),
        ];
        for (event, name, detail) in events {
            let line = event.line(7, b"clair");
            assert!(!line.is_cut());
            let line = str::from_utf8(line.as_bytes()).unwrap();
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line.matches('\n').count(), 1);
            assert_eq!(object["pid"], 7);
            assert_eq!(object["program"], "clair");
            assert!(object["time"].as_f64().unwrap() > 1.7e9);
            assert_eq!(object["event"], name);
            assert_eq!(object["detail"].as_str().unwrap_or(""), detail, "{line}");
        }
    }
}
