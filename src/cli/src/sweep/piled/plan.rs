//! What is going to be removed, and what is not and why, shown before anything is done.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt::Write as _;
use std::time::SystemTime;

use indicatif::{HumanBytes, HumanCount};
use tmpshim_core::identity::Identity;

use super::candidate::Looked;
use super::in_use::Unseen;
use super::owner;
use super::place::Place;
use super::request::Request;
use crate::output::shown;
use crate::sweep::line::{Kind, Line, What};

/// How many of a kind are shown one by one.
const FEW: usize = 5;

/// A directory that is to be removed.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) place: usize,
    pub(super) name: CString,
    pub(super) identity: Identity,
    pub(super) uid: u32,
    newest: u64,
    bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    found: Vec<Found>,
    paths: Vec<String>,
    /// By reason: how many, and the first of them.
    skipped: BTreeMap<String, (u64, Vec<Line>)>,
}

impl Found {
    pub(super) fn line(&self, event: What, places: &[Place]) -> Line {
        let path = places.get(self.place).map(|place| place.join(&self.name)).unwrap_or_default();
        Line { kind: Some(Kind::Directory), uid: Some(self.uid), ..Line::new(event, &path) }
    }
}

impl Plan {
    pub(super) fn add(&mut self, place: usize, name: CString, looked: &Looked) {
        let Looked { identity, uid, newest, bytes, .. } = *looked;
        self.found.push(Found { place, name, identity, uid, newest, bytes });
    }

    pub(super) fn skip(&mut self, group: String, line: Line) {
        let (count, lines) = self.skipped.entry(group).or_default();
        *count += 1;
        if lines.len() < FEW {
            lines.push(line);
        }
    }

    /// Oldest first.
    pub(super) fn sort(&mut self, places: &[Place]) {
        self.found.sort_by_key(|found| found.newest);
        let path = |found: &Found| found.line(What::WouldRemove, places).path;
        self.paths = self.found.iter().take(FEW).filter_map(path).collect();
    }

    pub(super) fn found(&self) -> &[Found] {
        &self.found
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn question(&self) -> String {
        format!("Remove {}? [y/N] ", directories(self.found.len()))
    }

    /// All of it, for people.
    pub(super) fn text(&self, request: &Request, unseen: &Unseen) -> String {
        let mut text = String::new();
        self.say_found(&mut text, request);
        for (why, (count, lines)) in &self.skipped {
            let _ = writeln!(text, "skipped {}: {why}", HumanCount(*count));
            for line in lines {
                let path = shown(line.path.as_deref().unwrap_or_default());
                let told = line.why.as_deref().filter(|told| *told != why).map(shown);
                let told = told.map(|told| format!(": {}", told.strip_prefix("in use: ").unwrap_or(&told)));
                let _ = writeln!(text, "  {path}{}", told.unwrap_or_default());
            }
            say_rest(&mut text, *count, lines.len());
        }
        say_unseen(&mut text, unseen);
        text
    }

    fn say_found(&self, text: &mut String, request: &Request) {
        let (Some(oldest), Some(newest)) = (self.found.first(), self.found.last()) else {
            text.push_str("nothing to remove\n");
            return;
        };
        let names = owner::names();
        let mut owners: BTreeMap<u32, u64> = BTreeMap::new();
        for found in &self.found {
            *owners.entry(found.uid).or_default() += 1;
        }
        let owners: Vec<_> = owners
            .into_iter()
            .map(|(uid, count)| {
                let name = names.get(&uid).map_or_else(|| uid.to_string(), |name| shown(name));
                format!("{} of {name}", HumanCount(count))
            })
            .collect();
        let _ = write!(text, "to remove: {} ({})", directories(self.found.len()), owners.join(", "));
        let (oldest, newest) = (age(oldest.newest), age(newest.newest));
        let ages = if oldest == newest { oldest } else { format!("{oldest} to {newest}") };
        let _ = write!(text, ", last changed {ages} ago");
        if request.contents {
            let bytes = self.found.iter().map(|found| found.bytes).sum();
            let _ = write!(text, ", with {} of contents", HumanBytes(bytes));
        }
        text.push('\n');
        for path in &self.paths {
            let _ = writeln!(text, "  {}", shown(path));
        }
        say_rest(text, self.found.len() as u64, self.paths.len());
    }
}

fn say_rest(text: &mut String, count: u64, told: usize) {
    let rest = count.saturating_sub(told as u64);
    if rest > 0 {
        let _ = writeln!(text, "  … and {} more", HumanCount(rest));
    }
}

/// What could not be looked at, and so may be in use.
fn say_unseen(text: &mut String, unseen: &Unseen) {
    if unseen.processes > 0 {
        let count = HumanCount(unseen.processes);
        let is_root = rustix::process::geteuid().is_root();
        let whose = if is_root { "of users without such processes" } else { "of this user" };
        let _ = writeln!(
            text,
            "note: {count} processes cannot be looked at, and may use anything; only directories without permission for \
             group and others are taken, {whose}"
        );
    }
    if unseen.hidden {
        text.push_str(
            "note: processes outside of this PID namespace, or hidden by /proc, cannot be seen; sweep only what is not \
             shared with them\n",
        );
    }
    if let Some((count, first)) = &unseen.journals {
        let _ = writeln!(text, "note: {count} journals or state directories cannot be read, as {}", shown(first));
    }
}

fn directories(count: usize) -> String {
    if count == 1 { "1 directory".to_owned() } else { format!("{} directories", HumanCount(count as u64)) }
}

/// How long ago a time is, to its largest unit.
fn age(time: u64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = now.as_secs().saturating_sub(time / 1_000_000_000);
    let (count, unit) = match seconds {
        0..120 => (seconds, "s"),
        120..7200 => (seconds / 60, "min"),
        7200..172_800 => (seconds / 3600, "h"),
        _ => (seconds / 86_400, " days"),
    };
    format!("{count}{unit}")
}
