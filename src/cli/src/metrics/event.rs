//! One line of a log: whether it is one of ours, and what it says. Anybody may have written it.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;
use tmpshim_core::name::mark;

/// What is counted, in the order of the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Fallback,
    FallbackFailure,
    Publish,
    PublishFailure,
    Removed,
    Skipped,
}

/// What a line says.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    /// Something that `program` did, or that was done behind it.
    Done { what: What, program: String, path: String },
    /// A sweep has ended.
    Swept { time: f64, left: u64 },
}

/// The fields of both kinds of lines: the library's have a time, a pid and a program, a sweep's a kind or counts.
#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    time: Option<f64>,
    pid: Option<u64>,
    program: Option<String>,
    path: Option<String>,
    detail: Option<String>,
    kind: Option<String>,
    counts: Option<Counts>,
}

#[derive(Deserialize)]
struct Counts {
    left: u64,
}

/// A line of Docker's json-file.
#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
}

/// Reads a line, without its newline; nothing where it is not one of ours.
pub(super) fn read(line: &[u8]) -> Option<Event> {
    if !line.starts_with(br#"{"log":"#) {
        return bare(line);
    }
    // Most lines are a program's own: those are not even parsed.
    memmem::find(line, b"event")?;
    bare(serde_json::from_slice::<Wrapped<'_>>(line).ok()?.log.as_bytes())
}

/// What containerd and CRI-O write in front of a line, or a program without a newline of its own, is passed over.
fn bare(line: &[u8]) -> Option<Event> {
    let at = memmem::find(line, br#""event":""#)?;
    // No string of JSON has a quotation mark in it that stands behind a brace: it is the object's own.
    let start = memmem::rfind(line.get(..at + 1)?, b"{\"")?;
    let mut reader = serde_json::Deserializer::from_slice(line.get(start..)?);
    Object::deserialize(&mut reader).ok()?.event()
}

impl Object<'_> {
    fn event(self) -> Option<Event> {
        if let (Some(counts), Some(time), "summary") = (&self.counts, self.time, &*self.event) {
            return (time.is_finite() && time > 0.0).then_some(Event::Swept { time, left: counts.left });
        }
        let is_sweeps = self.kind.is_some();
        let is_librarys = self.time.is_some() && self.pid.is_some() && self.program.is_some();
        let what = match &*self.event {
            "stood-in" if is_librarys => What::Fallback,
            "could-not-stand-in" if is_librarys => What::FallbackFailure,
            "published" if is_librarys => What::Publish,
            "could-not-publish" if is_librarys => What::PublishFailure,
            "removed" if is_librarys || is_sweeps => What::Removed,
            // The program was quicker: nothing stays.
            "skipped" if is_librarys && self.detail.as_deref().is_some_and(|why| why.starts_with("not there")) => {
                return None;
            }
            "skipped" if is_librarys || is_sweeps => What::Skipped,
            _ => return None,
        };
        let path = self.path?;
        let is_ours = mark(path.as_bytes()).is_some() || is_sweeps && self.kind.as_deref() != Some("directory");
        if matches!(what, What::Removed | What::Skipped) && is_ours {
            return None;
        }
        Some(Event::Done { what, program: self.program.unwrap_or_else(|| "unknown".to_owned()), path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        r#"{"time":1795406037.614,"pid":8,"program":"clair","event":"stood-in","path":"/tmp","detail":"unlinked"}"#;

    fn what(line: &str) -> Option<What> {
        match read(line.as_bytes())? {
            Event::Done { what, .. } => Some(what),
            Event::Swept { .. } => None,
        }
    }

    #[test]
    fn a_line_is_known_bare_and_in_the_formats_of_container_runtimes() {
        let docker =
            serde_json::json!({"log": format!("{LINE}\n"), "stream": "stdout", "time": "2026-11-23T05:00:00Z"});
        for line in [
            LINE.to_owned(),
            format!("2026-11-23T05:00:00.1Z stdout F {LINE}"),
            format!("50 % done {LINE}"),
            format!("{LINE} and more"),
            docker.to_string(),
        ] {
            let expected = Event::Done { what: What::Fallback, program: "clair".to_owned(), path: "/tmp".to_owned() };
            assert_eq!(read(line.as_bytes()), Some(expected), "{line}");
        }
    }

    #[test]
    fn every_event_is_counted_as_what_it_is() {
        let line = |event: &str, path: &str, detail: &str| {
            what(
                &LINE
                    .replace("stood-in", event)
                    .replace("\"/tmp\"", &format!("\"{path}\""))
                    .replace("unlinked", detail),
            )
        };
        assert_eq!(line("could-not-stand-in", "/tmp", ""), Some(What::FallbackFailure));
        assert_eq!(line("published", "/tmp/a", ""), Some(What::Publish));
        assert_eq!(line("could-not-publish", "/tmp/a", ""), Some(What::PublishFailure));
        assert_eq!(line("removed", "/tmp/a", ""), Some(What::Removed));
        assert_eq!(line("skipped", "/tmp/a", "not empty"), Some(What::Skipped));
        assert_eq!(line("skipped", "/tmp/a", "not there, or something else has the name"), None);
        assert_eq!(line("go-program", "/tmp/a", ""), None);
        let hidden = format!("/tmp/.tmpshim-l{}", "0".repeat(32));
        assert_eq!(line("removed", &hidden, ""), None);
        assert_eq!(line("skipped", &hidden, "not empty"), None);
    }

    #[test]
    fn a_sweeps_lines_are_counted_where_they_are_about_directories() {
        let line = |event: &str, kind: &str| {
            what(&format!(r#"{{"event":"{event}","path":"/tmp/a","kind":"{kind}","program":"criu","pid":7,"uid":0}}"#))
        };
        assert_eq!(line("removed", "directory"), Some(What::Removed));
        assert_eq!(line("skipped", "directory"), Some(What::Skipped));
        for (event, kind) in [("removed", "file"), ("skipped", "file"), ("would-remove", "directory"), ("living", "")] {
            assert_eq!(line(event, kind), None, "{event} {kind}");
        }
        let summary =
            r#"{"event":"summary","time":1795406037,"counts":{"directories":1,"files":0,"left":2,"living":0}}"#;
        assert_eq!(read(summary.as_bytes()), Some(Event::Swept { time: 1_795_406_037.0, left: 2 }));
        // A dry run has none: nothing was swept.
        assert_eq!(read(summary.replace(r#""time":1795406037,"#, "").as_bytes()), None);
    }

    #[test]
    fn what_is_not_ours_is_passed_over() {
        for line in [
            "",
            "{",
            "\"event\":\"",
            "{\"event\":\"removed\"}",
            r#"{"event":"removed","path":"/tmp/a"}"#,
            r#"{"event":"stood-in","path":"/tmp","kind":"directory"}"#,
            r#"{"time":"soon","pid":1,"program":"p","event":"removed","path":"/a"}"#,
            r#"{"time":1,"pid":1,"program":7,"event":"removed","path":"/a"}"#,
            r#"{"message":"{\"time\":1,\"pid\":1,\"program\":\"p\",\"event\":\"removed\",\"path\":\"/a\"}"}"#,
            r#"{"event":"summary","time":-1,"counts":{"left":2}}"#,
            r#"{"event":"summary","time":1,"counts":{"left":-2}}"#,
            r#"{"log":"nothing of an event"}"#,
            r#"{"log":7,"event":"x"}"#,
        ] {
            assert_eq!(read(line.as_bytes()), None, "{line}");
        }
        assert_eq!(read(b"\xff\xfe{\"event\":\"\xff\"}"), None);
        let deep = format!("{{\"event\":\"removed\",\"x\":{}", "[".repeat(60_000));
        assert_eq!(read(deep.as_bytes()), None);
        let cut = LINE.len() - 1;
        assert_eq!(read(&LINE.as_bytes()[..cut]), None);
    }
}
