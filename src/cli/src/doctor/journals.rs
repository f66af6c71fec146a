//! What a process has made with the library or under a supervisor, as the journals say that lie in its state directory.
//! They are read with its rights, as it might have written anything there.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use serde_json::json;
use tmpshim_core::journal::{Fate, Journal};
use tmpshim_core::state::{PLACES, place};

use super::child::Teller;
use super::finding::{Finding, Name, Verdict};
use super::outlook::Outlook;
use super::process::field;
use super::settings::{Variables, value};
use crate::state::Directory;
use crate::sweep::sweeper::path_of;

use std::os::fd::AsFd;

/// Looks for its journals; takes on its rights.
pub(super) fn look(pid: u32, start: u64, status: &str, environment: &Variables, teller: &mut Teller) {
    let entered = Outlook::of(pid, start).and_then(|mut outlook| outlook.enter().map(|()| outlook));
    let outlook = match entered {
        Ok(outlook) => outlook,
        Err(why) => return teller.find(Finding::new(Name::Journal, Verdict::CouldNotTell, why)),
    };
    // Its number in its own PID namespace, which is what it knows itself by.
    let own = field(status, "NSpid:").and_then(|line| line.split_whitespace().next_back()?.parse().ok()).unwrap_or(pid);
    let mut seen = Seen { pid: own, start, made: Vec::new(), journals: Vec::new() };
    let setting = value(environment, "TMPSHIM_STATE_DIR").unwrap_or_default();
    let runtime = value(environment, "XDG_RUNTIME_DIR").unwrap_or_default();
    let user = rustix::process::geteuid().as_raw();
    for place in (0..PLACES).filter_map(|index| place(index, setting, runtime, user)) {
        let path = PathBuf::from(OsString::from_vec(place.as_bytes().to_vec()));
        let Ok(directory) = outlook.open(&path) else { continue };
        if let Ok(directory) = Directory::reopen(&directory, &path) {
            seen.directory(&directory);
        }
    }
    seen.made.sort();
    seen.made.dedup();
    let text = match &seen.made[..] {
        [] => "nothing that is still there".to_owned(),
        all if all.len() <= 4 => all.join(", "),
        all => format!("{} and {} more", all[..3].join(", "), all.len() - 3),
    };
    let value = json!({ "paths": seen.made, "journals": seen.journals });
    teller.find(Finding::note(Name::Journal, text).with(value));
}

/// What was found of one process.
struct Seen {
    pid: u32,
    start: u64,
    made: Vec<String>,
    journals: Vec<String>,
}

impl Seen {
    fn directory(&mut self, directory: &Directory) {
        for name in directory.journals() {
            let Ok(journal) = Journal::peek(directory.as_fd(), &name) else { continue };
            let owner = journal.header().owner();
            if owner.pid != self.pid || owner.start != 0 && owner.start != self.start {
                continue;
            }
            self.journals.push(directory.join(&name).to_string_lossy().into_owned());
            journal.each(|record| {
                self.made.push(path_of(record).to_string_lossy().into_owned());
                Fate::Keep
            });
        }
        for (_, family) in directory.families() {
            self.directory(&family);
        }
    }
}
