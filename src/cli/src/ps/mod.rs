//! `tmpshim ps`: the programs that live, and what they have made.

mod walk;

use std::ffi::CString;
use std::fmt::Write as _;
use std::io::{Write as _, stdout};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use rustix::fs::{CWD, Mode, OFlags, openat};
use serde::{Deserialize, Serialize};
use tmpshim_core::identity;
use tmpshim_core::journal::{Entry, Fate, Journal, Record, Refusal};

use crate::failure::Failure;
use crate::output::shown;
use crate::state::life::{self, Verdict};
use crate::state::{self, Directory, as_user};
use crate::sweep::sweeper::{describe, path_of};
use crate::sweep::{Found, each_directory};

/// What `tmpshim ps` was asked to do.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) json: bool,
    /// Only this state directory.
    pub(crate) state: Option<PathBuf>,
}

/// A program with a journal.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Program {
    state: State,
    pid: u32,
    uid: u32,
    #[serde(rename = "program")]
    name: String,
    /// Of its journal, in seconds.
    age: u64,
    bytes: u64,
    directories: Vec<Made>,
    /// Hidden names.
    files: Vec<String>,
    journal: String,
    state_directory: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Living,
    /// Its processes cannot be seen from here.
    Unknown,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Made {
    path: String,
    /// Below it; nothing where something else, or nothing, has the name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    bytes: Option<u64>,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
enum Seen {
    Program(Program),
    Dead,
    Unreadable { path: String, why: String },
}

/// Lists them.
pub(crate) fn ps(options: &Options) -> Result<u8, Failure> {
    let mut all = Vec::new();
    each_directory(options.state.as_deref(), &mut |found| match found {
        Found::Own(directory) => look(directory, &mut |seen| all.push(seen)),
        Found::Foreign(foreign) => {
            let work = |directory: &Directory, tell: &mut dyn FnMut(&Seen)| look(directory, &mut |seen| tell(&seen));
            let path = foreign.path.to_string_lossy().into_owned();
            if let Err(why) = as_user::visit(foreign, work, |seen| all.push(seen)) {
                let why = format!("{why}; run tmpshim ps as user {}", foreign.uid);
                all.push(Seen::Unreadable { path, why });
            }
        }
        Found::Unusable(path, objection) => {
            let (why, remedy) = state::describe(objection);
            let path = path.to_string_lossy().into_owned();
            all.push(Seen::Unreadable { path, why: format!("{why}; {remedy}") });
        }
    });
    let status = u8::from(all.iter().any(|seen| matches!(seen, Seen::Unreadable { .. })));
    for seen in &all {
        if let Seen::Unreadable { path, why } = seen {
            anstream::eprintln!("tmpshim: cannot look into {}: {}", shown(path), shown(why));
        }
    }
    let dead = all.iter().filter(|seen| matches!(seen, Seen::Dead)).count();
    let programs: Vec<_> = all
        .into_iter()
        .filter_map(|seen| if let Seen::Program(program) = seen { Some(program) } else { None })
        .collect();
    let mut text = String::new();
    if options.json {
        for program in &programs {
            text += &serde_json::to_string(program).unwrap_or_default();
            text.push('\n');
        }
    } else {
        text = table(&programs, crate::output::width());
        if dead > 0 {
            let _ = writeln!(text, "{dead} dead: tmpshim sweep removes what they left");
        }
    }
    let mut output = stdout().lock();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    written
        .map(|()| status)
        .map_err(|error| Failure::new(1, "cannot write standard output", error, "give it a file or pipe that takes it"))
}

/// Everything in a state directory, and in those of runs in it.
fn look(directory: &Directory, tell: &mut dyn FnMut(Seen)) {
    for name in directory.journals() {
        if let Some(seen) = look_at(directory, &name) {
            tell(seen);
        }
    }
    for (_, family) in directory.families() {
        look(&family, tell);
    }
}

fn look_at(directory: &Directory, name: &CString) -> Option<Seen> {
    let path = directory.join(name).to_string_lossy().into_owned();
    let journal = match Journal::peek(directory.as_fd(), name) {
        Ok(journal) => journal,
        // Nothing stands in it, or not yet.
        Err(Refusal::Gone | Refusal::Blank) => return None,
        Err(refusal) => return Some(Seen::Unreadable { path, why: describe(refusal) }),
    };
    let state = match life::of(&journal) {
        Verdict::Alive => State::Living,
        // A child of its owner may have the lock.
        verdict => match Journal::take(directory.as_fd(), name) {
            Err(Refusal::Locked) => State::Living,
            Err(_) => return None,
            Ok(_) if verdict == Verdict::Dead => return Some(Seen::Dead),
            Ok(_) => State::Unknown,
        },
    };
    let header = journal.header();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut program = Program {
        state,
        pid: header.owner().pid,
        uid: rustix::process::geteuid().as_raw(),
        name: String::from_utf8_lossy(header.program()).into_owned(),
        age: now.saturating_sub(Duration::from_nanos(header.created())).as_secs(),
        bytes: 0,
        directories: Vec::new(),
        files: Vec::new(),
        journal: path,
        state_directory: directory.path.to_string_lossy().into_owned(),
    };
    // It goes on writing: what is half written is not there yet.
    journal.each(|record| {
        let path = path_of(record).to_string_lossy().into_owned();
        if record.entry == Entry::Directory {
            let bytes = bytes(record);
            program.bytes += bytes.unwrap_or(0);
            program.directories.push(Made { path, bytes });
        } else {
            program.files.push(path);
        }
        Fate::Keep
    });
    Some(Seen::Program(program))
}

/// What lies below a directory, if it is the one that was made.
fn bytes(record: &Record<'_>) -> Option<u64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = record.made?;
    let directory = openat(CWD, record.path, flags, Mode::empty()).ok()?;
    let seen = identity::of(directory.as_fd()).ok()?;
    seen.identity.is_same_file(&made).then(|| walk::bytes(&directory))
}

fn table(programs: &[Program], width: Option<u16>) -> String {
    if programs.is_empty() {
        return "no living program has anything of its own\n".to_owned();
    }
    let mut table = Table::new();
    table.load_preset(NOTHING);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table.set_header(["PID", "UID", "PROGRAM", "DIRECTORIES", "FILES", "BYTES", "AGE", "STATE DIRECTORY"]);
    for program in programs {
        let name = match program.state {
            State::Living => shown(&program.name),
            State::Unknown => format!("{} (living or dead)", shown(&program.name)),
        };
        table.add_row([
            program.pid.to_string(),
            program.uid.to_string(),
            name,
            program.directories.len().to_string(),
            program.files.len().to_string(),
            program.bytes.to_string(),
            age(program.age),
            shown(&program.state_directory),
        ]);
    }
    for number in [0, 1, 3, 4, 5, 6] {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt() + "\n"
}

/// As ps(1) has it: days, hours, minutes, seconds.
fn age(seconds: u64) -> String {
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    match (hours / 24, hours % 24) {
        (0, 0) => format!("{minutes:02}:{seconds:02}"),
        (0, hours) => format!("{hours:02}:{minutes:02}:{seconds:02}"),
        (days, hours) => format!("{days}-{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program {
        Program {
            state: State::Living,
            pid: 12,
            uid: 7,
            name: "criu\u{1b}".to_owned(),
            age: 93_784,
            bytes: 4096,
            directories: vec![Made { path: "/x".to_owned(), bytes: Some(4096) }],
            files: Vec::new(),
            journal: "/s/j".to_owned(),
            state_directory: "/s/".to_owned() + &"long".repeat(100),
        }
    }

    #[test]
    fn a_table_is_as_wide_as_it_has_to_be() {
        let text = table(&[program()], None);
        assert_eq!(text.lines().count(), 2);
        for part in ["12", "criu\\u{1b}", "4096", "1-02:03:04", &"long".repeat(100)] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(table(&[program()], Some(80)).lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn ages_read_as_those_of_ps() {
        assert_eq!([age(5), age(3_605), age(86_400)], ["00:05", "01:00:05", "1-00:00:00"]);
    }

    #[test]
    fn what_a_child_says_comes_back_as_it_was() {
        for seen in [Seen::Program(program()), Seen::Dead] {
            let line = serde_json::to_string(&seen).unwrap();
            assert_eq!(serde_json::from_str::<Seen>(&line).unwrap(), seen);
        }
    }
}
