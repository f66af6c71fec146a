//! What journals name: the leases of the living, and what the ordinary sweep sees to.

use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};
use tmpshim_core::journal::{Entry, Fate, Journal, Refusal};

use super::{InUse, User};
use crate::state::{self, Directory, as_user};
use crate::sweep::sweeper::describe;
use crate::sweep::{Found, each_directory};

/// A directory in a journal, or a journal that cannot be read.
#[derive(Debug, Deserialize, Serialize)]
enum Seen {
    Directory { path: Vec<u8>, file: Option<(u64, u64)> },
    Unreadable(String),
}

/// Adds those of this user, and as root of everyone.
pub(super) fn add(in_use: &mut InUse) {
    each_directory(None, &mut |found| match found {
        Found::Own(directory) => look(directory, &mut |seen| note(in_use, seen)),
        Found::Foreign(foreign) => {
            let work = |directory: &Directory, tell: &mut dyn FnMut(&Seen)| look(directory, &mut |seen| tell(&seen));
            if let Err(why) = as_user::visit(foreign, work, |seen| note(in_use, seen)) {
                note(in_use, Seen::Unreadable(format!("{}: {why}", foreign.path.display())));
            }
        }
        Found::Unusable(path, objection) => {
            let (why, _) = state::describe(objection);
            note(in_use, Seen::Unreadable(format!("{}: {why}", path.display())));
        }
    });
}

fn note(in_use: &mut InUse, seen: Seen) {
    match seen {
        Seen::Directory { path, file } => {
            in_use.add_path(&path, User::Journal);
            if let Some((device, inode)) = file {
                in_use.add_file(Some(device), inode, User::Journal);
            }
        }
        Seen::Unreadable(why) => in_use.unseen.journals.get_or_insert((0, why)).0 += 1,
    }
}

fn look(directory: &Directory, tell: &mut dyn FnMut(Seen)) {
    for name in directory.journals() {
        match Journal::peek(directory.as_fd(), &name) {
            Ok(journal) => {
                // It goes on writing: what is half written is not there yet, and young.
                journal.each(|record| {
                    if record.entry == Entry::Directory {
                        let file = record.made.map(|made| (made.device, made.inode));
                        tell(Seen::Directory { path: record.path.to_bytes().to_vec(), file });
                    }
                    Fate::Keep
                });
            }
            Err(Refusal::Gone | Refusal::Blank) => {}
            Err(refusal) => {
                tell(Seen::Unreadable(format!("{}: {}", directory.join(&name).display(), describe(refusal))));
            }
        }
    }
    for (_, family) in directory.families() {
        look(&family, tell);
    }
}
