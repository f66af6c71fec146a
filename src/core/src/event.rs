//! What was done, for `TMPSHIM_LOG`: one JSON object a line, one write(2) each, no descriptor kept.

use crate::fd::openat;
use crate::remove::{Outcome, Stuck};
use crate::settings::Log;
use crate::sys;
use crate::text::{PATH_MAX, Text};
use crate::tmpfile::Made;
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
    /// What became of something that was tracked.
    Cleaned {
        /// Its absolute path.
        path: &'a [u8],
        /// What became of it.
        outcome: Outcome,
    },
}

impl Event<'_> {
    /// Writes the line. `program` is the program's name.
    pub fn write(&self, log: Log<'_>, program: &[u8]) {
        match log {
            Log::None => {}
            Log::Stderr => {
                // SAFETY: only written to; where the program has closed it, the write fails.
                let _ = rustix::io::write(unsafe { sys::borrow(2) }, self.line(program).as_bytes());
            }
            Log::File(path) => {
                let mut path = Text::<PATH_MAX>::new().also(path);
                let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY;
                let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
                if let Some(path) = path.as_c_str()
                    && let Ok(file) = openat(CWD, path, flags | OFlags::NONBLOCK, mode)
                {
                    let _ = rustix::io::write(&file, self.line(program).as_bytes());
                }
            }
        }
    }

    fn line(&self, program: &[u8]) -> Text<8192> {
        let (event, path, detail, error) = match *self {
            Self::StoodIn { path, made: Made::Unlinked } => ("stood-in", path, "unlinked", None),
            Self::StoodIn { path, made: Made::Kept } => ("stood-in", path, "hidden name kept", None),
            Self::CouldNotStandIn { path, error } => ("could-not-stand-in", path, "", Some(error)),
            Self::Published { path } => ("published", path, "", None),
            Self::CouldNotPublish { path, error } => ("could-not-publish", path, "", Some(error)),
            Self::Cleaned { path, outcome } => match outcome {
                Outcome::Removed => ("removed", path, "", None),
                Outcome::NotThere => ("skipped", path, "not there, or something else has the name", None),
                Outcome::NotEmpty => ("skipped", path, "not empty", None),
                Outcome::Stuck(Stuck::Mounted) => ("skipped", path, "a mount point is in it", None),
                Outcome::Stuck(Stuck::OtherNamespace) => ("skipped", path, "made in another mount namespace", None),
                Outcome::Stuck(Stuck::InUse) => ("skipped", path, "a process that may use it lives on", None),
                Outcome::Stuck(Stuck::Suspect) => ("skipped", path, "nothing that tmpshim makes", None),
                Outcome::Stuck(Stuck::Refused(error)) => ("skipped", path, "could not be removed", Some(error)),
            },
        };
        let mut line = Self::begin(event, program);
        // A path of control characters only would be six times as long.
        let kept = if path.len() <= 1000 { path } else { path.get(..1000).unwrap_or(path) };
        line.push(b",\"path\":\"").push_json(kept).push(b"\"");
        if !detail.is_empty() {
            line.push(b",\"detail\":\"").push(detail.as_bytes()).push(b"\"");
        }
        if let Some(error) = error {
            line.push(b",\"errno\":").push_decimal(error.raw_os_error() as u64);
        }
        line.push(b"}\n");
        line
    }

    fn begin(event: &str, program: &[u8]) -> Text<8192> {
        let (seconds, nanoseconds) = sys::wall_clock();
        let mut line = Text::new();
        line.push(b"{\"time\":").push_decimal(seconds as u64).push(b".").push_padded(nanoseconds as u64 / 1_000_000, 3);
        line.push(b",\"pid\":").push_decimal(sys::getpid().into());
        line.push(b",\"program\":\"").push_json(program.get(..64).unwrap_or(program));
        line.push(b"\",\"event\":\"").push(event.as_bytes()).push(b"\"");
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_one_json_object_on_one_line() {
        let error = Errno::NOSPC;
        let path = b"/tmp/a\"\n\\b";
        let outcomes = [
            Outcome::Removed,
            Outcome::NotThere,
            Outcome::NotEmpty,
            Outcome::Stuck(Stuck::Mounted),
            Outcome::Stuck(Stuck::OtherNamespace),
            Outcome::Stuck(Stuck::InUse),
            Outcome::Stuck(Stuck::Suspect),
            Outcome::Stuck(Stuck::Refused(error)),
        ];
        let mut events = vec![
            Event::StoodIn { path, made: Made::Unlinked },
            Event::StoodIn { path: &[7; 4095], made: Made::Kept },
            Event::CouldNotStandIn { path, error },
            Event::Published { path },
            Event::CouldNotPublish { path, error },
        ];
        events.extend(outcomes.map(|outcome| Event::Cleaned { path, outcome }));
        for event in events {
            let line = event.line(b"clair");
            assert!(!line.is_cut());
            let line = str::from_utf8(line.as_bytes()).unwrap();
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line.matches('\n').count(), 1);
            assert_eq!(object["pid"], std::process::id());
            assert_eq!(object["program"], "clair");
            assert!(object["time"].as_f64().unwrap() > 1.7e9 && object["event"].is_string());
        }
    }
}
