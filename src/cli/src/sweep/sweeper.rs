//! Cleans up behind processes that are gone: what stands in journals whose lock is free and whose processes are dead.

use std::cell::OnceCell;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FlockOperation, flock, unlinkat};
use rustix::io::Errno;
use tmpshim_core::clean::Cleaner;
use tmpshim_core::identity;
use tmpshim_core::journal::{self, Entry, Fate, Header, Journal, Record, Refusal};
use tmpshim_core::name::mark;
use tmpshim_core::remove::{Outcome, Stuck};
use tmpshim_core::settings::Cleanup;
use tmpshim_supervise::custody::NAME as SUPERVISOR;

use super::mounts::{Around, Mounts};
use crate::run::in_use;
use crate::state::life::{self, Verdict};
use crate::state::{Directory, FIRST, journals_among, text};

/// What a sweep has to say.
#[derive(Debug)]
pub(crate) enum Said<'a> {
    /// What became of something that a program made, or what would. Why it stays, and what to do, where it does.
    Thing { record: &'a Record<'a>, header: &'a Header, journal: &'a Path, outcome: Outcome, stays: Option<String> },
    /// The processes of a journal live. It is not said which where nothing could be read.
    Living { journal: &'a Path, header: Option<&'a Header> },
    /// Something of tmpshim's own, or that claims to be, that stays; why, and what to do.
    Left { path: &'a Path, why: String },
}

/// One sweep, through any number of state directories.
pub(crate) struct Sweeper<'a> {
    /// Change nothing.
    pub(crate) dry: bool,
    /// The tables, once somebody needs them.
    pub(crate) mounts: &'a OnceCell<Mounts>,
    cleaner: Cleaner,
    /// The directory that the last path lay in, and what it has around.
    around: Option<(Vec<u8>, Around)>,
    root: (u64, u64),
    /// All processes of the journals at hand have ended with process 1 of their PID namespace.
    all_dead: bool,
}

/// What a record's outcome is said to be, for people.
struct Judgement {
    outcome: Outcome,
    stays: Option<String>,
}

impl<'a> Sweeper<'a> {
    pub(crate) fn new(dry: bool, mounts: &'a OnceCell<Mounts>) -> Self {
        Self { dry, mounts, cleaner: Cleaner::default(), around: None, root: journal::root(), all_dead: false }
    }

    /// Sweeps a state directory and those of runs in it.
    pub(crate) fn directory(&mut self, directory: &Directory, say: &mut dyn FnMut(&Said<'_>)) {
        let names = match directory.names() {
            Ok(names) => names,
            Err(error) => {
                let why = format!("it cannot be listed: {}; run the sweep again", text(error));
                return say(&Said::Left { path: &directory.path, why });
            }
        };
        for name in journals_among(&names) {
            self.journal(directory, &name, say);
        }
        let outer = self.all_dead;
        for (name, family) in directory.families_among(&names) {
            // Process 1 had the lock and has lost it. It is ours as long as the directory is open.
            self.all_dead = outer || name.to_bytes().starts_with(FIRST.as_bytes()) && !self.dry && is_free(&family);
            self.directory(&family, say);
            self.remove_family(directory, &name, &family);
        }
        self.all_dead = outer;
    }

    /// Removes the directory of a run if that is over and nothing is left to do in it.
    fn remove_family(&self, parent: &Directory, name: &CString, family: &Directory) {
        // Somebody answers for it, or stands before it.
        if self.dry || !is_free(family) || family.names() != Ok(Vec::new()) {
            return;
        }
        // A program of that run would make it anew, and nobody would answer for that.
        if in_use::heirs(&family.path).is_some_and(|heirs| heirs.is_empty()) {
            let _ = unlinkat(parent, name, AtFlags::REMOVEDIR);
        }
    }

    fn journal(&mut self, directory: &Directory, name: &CString, say: &mut dyn FnMut(&Said<'_>)) {
        let path = directory.join(name);
        // Before the lock is tried for: somebody who lives may want it back at this very moment.
        let seen = Journal::peek(directory.as_fd(), name);
        if let Ok(seen) = &seen
            && !self.all_dead
            && (life::of(seen) == Verdict::Alive || is_of_a_living_family(seen, directory))
        {
            return say(&Said::Living { journal: &path, header: Some(seen.header()) });
        }
        if self.dry && matches!(seen, Err(Refusal::Blank)) {
            // To take it would remove it.
            return;
        }
        match Journal::take(directory.as_fd(), name) {
            Ok(journal) => self.unlocked(journal, directory, name, &path, say),
            Err(Refusal::Gone | Refusal::Blank) => {}
            Err(Refusal::Locked) => {
                say(&Said::Living { journal: &path, header: seen.as_ref().ok().map(Journal::header) });
            }
            Err(refusal) => say(&Said::Left { path: &path, why: describe(refusal) }),
        }
    }

    /// A journal that is locked by us.
    fn unlocked(
        &mut self,
        mut journal: Journal,
        directory: &Directory,
        name: &CStr,
        path: &Path,
        say: &mut dyn FnMut(&Said<'_>),
    ) {
        match life::of(&journal) {
            _ if self.all_dead => {}
            Verdict::Dead => {}
            Verdict::Alive => return say(&Said::Living { journal: path, header: Some(journal.header()) }),
            Verdict::Hidden => {
                let why = "it comes from another PID namespace, and its processes cannot be seen from here; run the sweep \
                           there, or as root outside of all containers";
                return say(&Said::Left { path, why: why.to_owned() });
            }
        }
        if self.dry {
            // The lock is given back before anything that takes its time.
            drop(journal);
            let Ok(again) = Journal::peek(directory.as_fd(), name) else { return };
            journal = again;
        }
        let header = journal.header();
        let mut stay = 0;
        let mut told = 0;
        let kept = journal.each(|record| {
            told += 1;
            if header.cleanup() == Cleanup::Off && record.entry == Entry::Directory && record.made.is_some() {
                return if self.dry { Fate::Keep } else { Fate::Forget };
            }
            let Judgement { outcome, stays } = self.record(record, header);
            let keep = stays.is_some();
            stay += u32::from(keep);
            say(&Said::Thing { record, header, journal: path, outcome, stays });
            if keep || self.dry { Fate::Keep } else { Fate::Forget }
        });
        let damaged = if self.dry { kept.saturating_sub(told) } else { kept.saturating_sub(stay) };
        if damaged > 0 {
            let why = format!(
                "{damaged} of its records cannot be read; look for what they name (strings {}) and then remove it by hand",
                path.display()
            );
            say(&Said::Left { path, why });
        }
        if kept == 0
            && !self.dry
            && let Err(error) = unlinkat(directory, name, AtFlags::empty())
        {
            say(&Said::Left { path, why: format!("{}; remove it by hand", text(error)) });
        }
    }

    fn record(&mut self, record: &Record<'_>, header: &Header) -> Judgement {
        // What a journal says that was written below another root leads elsewhere from here.
        let has_other_root = header.root() != self.root;
        // A container that is started again has another root, in which the same paths are its volumes'.
        let is_elsewhere = has_other_root && !self.all_dead;
        let elsewhere = || Judgement {
            outcome: Outcome::NotThere,
            stays: Some(
                "made below another root directory; run the sweep there (chroot, or in its container)".to_owned(),
            ),
        };
        if is_elsewhere && record.made.is_none() {
            return elsewhere();
        }
        if has_other_root && record.made.is_none() && record.entry == Entry::Directory {
            // An empty directory that has this path here need not be the one that was about to be made there.
            return Judgement { outcome: Outcome::NotThere, stays: None };
        }
        if record.entry == Entry::Directory
            && let Some(mounted) = self.mounted(record.path.to_bytes())
        {
            let stays = Some(format!("{mounted}; unmount it and sweep again"));
            return Judgement { outcome: Outcome::Stuck(Stuck::Mounted), stays };
        }
        let contents = header.cleanup() != Cleanup::Empty;
        let mut outcome = self.act(record, contents, header.created());
        // Its mount namespace is another one, and nothing is mounted there in any.
        if outcome == Outcome::Stuck(Stuck::OtherNamespace)
            && self.mounts().are_known()
            && let Some(made) = record.made
            && let Ok(seen) = identity::at(CWD, record.path)
            && seen.identity.is_same_file(&made)
        {
            outcome = self.act(&Record { made: Some(seen.identity), ..*record }, contents, header.created());
        }
        if is_elsewhere && outcome == Outcome::NotThere {
            return elsewhere();
        }
        let stays = match outcome {
            // Nobody but a filesystem's server has put something there: it still has a name for what was open.
            Outcome::NotEmpty if record.made.is_none() && mark(record.path.to_bytes()).is_some() => {
                Some("a server still has a name in it; sweep again".to_owned())
            }
            Outcome::Removed | Outcome::NotThere | Outcome::NotEmpty => None,
            Outcome::Stuck(stuck) => Some(why(stuck)),
        };
        Judgement { outcome, stays }
    }

    /// Removes a directory that this process answers for, as a sweep would.
    pub(crate) fn remove(&mut self, record: &Record<'_>, contents: bool) -> Outcome {
        if self.mounted(record.path.to_bytes()).is_some() {
            // Where not all tables could be read, nobody knows: whoever sweeps later may.
            let is_cut = self.mounts().is_cut();
            return Outcome::Stuck(if is_cut { Stuck::Refused(Errno::IO) } else { Stuck::Mounted });
        }
        self.act(record, contents, 0)
    }

    fn act(&mut self, record: &Record<'_>, contents: bool, created: u64) -> Outcome {
        if self.dry {
            self.cleaner.foretell(record, contents, created)
        } else {
            self.cleaner.clean_dead(record, contents, created)
        }
    }

    fn mounts(&self) -> &'a Mounts {
        self.mounts.get_or_init(Mounts::look)
    }

    /// What is mounted at or below the directory with this path, for people.
    fn mounted(&mut self, path: &[u8]) -> Option<String> {
        let mounts = self.mounts();
        let end = path.iter().rposition(|&byte| byte == b'/')?;
        let (parent, name) = (path.get(..end.max(1))?, path.get(end + 1..)?);
        if self.around.as_ref().is_none_or(|(known, _)| known != parent) {
            self.around = Some((parent.to_vec(), mounts.around(parent)));
        }
        let (_, around) = self.around.as_ref()?;
        mounts.at_or_below(around, name)
    }
}

/// Takes the lock of a run's directory, if nobody answers for that.
fn is_free(family: &Directory) -> bool {
    flock(family, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Whether a supervisor wrote it that was killed, and programs live that it made things for: it saw no fork of theirs, and so
/// could not note who needs them.
fn is_of_a_living_family(journal: &Journal, directory: &Directory) -> bool {
    journal.header().program() == SUPERVISOR && in_use::heirs(&directory.path).is_none_or(|heirs| !heirs.is_empty())
}

/// Why a file is not looked into, and what to do.
pub(crate) fn describe(refusal: Refusal) -> String {
    match refusal {
        Refusal::Foreign => "it has a journal's name and is no plain file of this user; remove it by hand".to_owned(),
        Refusal::Version(version) => {
            format!("it was written by another version of tmpshim (layout {version}); run the sweep of that version")
        }
        Refusal::Damaged => {
            "it is damaged; look for what it names (strings FILE) and then remove it by hand".to_owned()
        }
        Refusal::Refused(error) => format!("{}; give this user the right to read and write it", text(error)),
        Refusal::Locked => "somebody has its lock; try again when that one has ended".to_owned(),
        Refusal::Gone | Refusal::Blank => "nothing stands in it; nothing has to be done".to_owned(),
    }
}

/// Why a thing stays, and what to do.
pub(crate) fn why(stuck: Stuck) -> String {
    match stuck {
        Stuck::Mounted => "something is mounted at or below it; unmount it and sweep again".to_owned(),
        Stuck::OtherNamespace => {
            "it was made in another mount namespace, and without /proc nobody can tell what is mounted there; mount /proc \
             and sweep again"
                .to_owned()
        }
        Stuck::InUse => "somebody has it open; sweep again later".to_owned(),
        Stuck::Suspect => {
            "the journal names it, but tmpshim makes nothing like it; look at it, and remove the journal by hand".to_owned()
        }
        Stuck::Refused(Errno::ACCESS | Errno::PERM) => {
            "not permitted; sweep as its owner, or remove it by hand".to_owned()
        }
        Stuck::Refused(error) => format!("{}; see to that and sweep again", text(error)),
    }
}

/// The path of a record as the standard library has it.
pub(crate) fn path_of<'r>(record: &Record<'r>) -> &'r Path {
    Path::new(OsStr::from_bytes(record.path.to_bytes()))
}
