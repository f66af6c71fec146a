//! What the calls that programs make with temporary files answer in a directory, and what is to be done about it.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use tmpshim_core::tmpfile::plan::{Answer, after};
use tmpshim_core::tmpfile::survey::{Survey, Unlinked};

use super::child::Teller;
use super::directory::Context;
use super::finding::{Cure, Finding, Name, Verdict};
use super::mount::Mount;
use super::tries::{self, Refused, Trouble};

/// A directory in which files can be made.
pub(super) struct Calls<'a> {
    pub(super) directory: BorrowedFd<'a>,
    pub(super) context: &'a Context,
    pub(super) mount: Option<&'a Mount>,
}

impl Calls<'_> {
    /// Tries them all; whether the directory lacks O_TMPFILE, and nobody stands in for it yet.
    pub(super) fn look(&self, teller: &mut Teller) -> bool {
        let known = Survey::new();
        let mut lacks = false;
        match tries::tmpfile(self.directory) {
            Ok(file) => self.native(file.as_fd(), teller),
            Err(error) => {
                let refused = Finding::refused(Name::Tmpfile, Verdict::WillFail, error, "");
                match after(error, libc::O_TMPFILE | libc::O_RDWR) {
                    Answer::Return => teller.find(refused),
                    Answer::StandIn | Answer::StandInIfDirectory => {
                        lacks = self.context.is_helped.is_none();
                        self.stand_in(error, refused, &known, teller);
                    }
                }
            }
        }
        self.unlinked(&known, teller);
        lacks
    }

    fn native(&self, file: BorrowedFd<'_>, teller: &mut Teller) {
        let by = if tries::is_stand_in(file) { "works, by the supervisor above tmpshim doctor" } else { "works" };
        teller.find(Finding::well(Name::Tmpfile, by));
        teller.find(match tries::link(self.directory, file) {
            Ok(()) => Finding::well(Name::Linkat, "works"),
            Err(trouble) => failure(Name::Linkat, &trouble),
        });
        teller.find(match tries::reopen(file) {
            Ok(()) => Finding::well(Name::Reopen, "works"),
            Err(error) => Finding::refused(Name::Reopen, Verdict::WillFail, error, ""),
        });
    }

    fn stand_in(&self, error: Errno, refused: Finding, known: &Survey, teller: &mut Teller) {
        let context = self.context;
        let mut refused = refused;
        if self.mount.is_some_and(Mount::has_tmpfile) && context.is_filtered {
            refused.found += ": this filesystem has it, so a seccomp filter refuses it";
        }
        let tried = tries::with_tmpshim(self.directory, error, known);
        if let (Ok(_), Some(how)) = (&tried, &context.is_helped) {
            refused.verdict = Verdict::Note;
            refused.found = format!("{}; {how}", refused.found);
        }
        teller.find(refused);
        match tried {
            Ok(found) => {
                let how = match found {
                    Unlinked::Breaks => {
                        "works, also linkat and re-open: under a hidden name that is kept while it is in use"
                    }
                    Unlinked::Hides => "works, also linkat and re-open; the server keeps a name of its own meanwhile",
                    Unlinked::Works | Unlinked::Impossible => "works, also linkat and re-open",
                };
                teller.find(Finding::well(Name::StandIn, how));
                if context.is_helped.is_none() {
                    self.cures(teller);
                }
            }
            Err(trouble) => teller.find(failure(Name::StandIn, &trouble)),
        }
    }

    fn cures(&self, teller: &mut Teller) {
        teller.cure(Cure::new(
            "what needs O_TMPFILE fails here (Clair 4.7.3, skopeo with partial images, xfs_io -T); with tmpshim it works:",
            &*self.context.run,
        ));
        if let Some(preload) = &self.context.preload {
            teller.cure(Cure::new("or, for a program that uses a shared libc and is not Go's:", &**preload));
        }
    }

    /// What programs do by themselves, tmpshim leaves to them.
    fn breaks(&self, trouble: &Trouble, teller: &mut Teller) {
        let is_full = matches!(trouble, Trouble::Refused(Refused { error: Errno::NOSPC | Errno::DQUOT, .. }));
        if !is_full {
            teller.cure(Cure::new(
                "what unlinks a file and goes on using it fails here with tmpshim, too; let it use another directory:",
                format!("TMPDIR=DIRECTORY {}", self.context.program),
            ));
        }
    }

    fn unlinked(&self, known: &Survey, teller: &mut Teller) {
        let tried = tries::unlinked(self.directory);
        teller.find(match &tried {
            Ok(()) => match tries::survey(self.directory, known) {
                Unlinked::Hides => {
                    let how = "works; the server renames the file and removes that name when it is closed";
                    Finding::well(Name::Unlinked, how).with("hides")
                }
                _ => Finding::well(Name::Unlinked, "works").with("works"),
            },
            Err(trouble) => failure(Name::Unlinked, trouble).with("breaks"),
        });
        if let Err(trouble) = tried {
            self.breaks(&trouble, teller);
        }
    }
}

fn failure(name: Name, trouble: &Trouble) -> Finding {
    match trouble {
        Trouble::Refused(Refused { call, error }) => {
            let finding = Finding::refused(name, Verdict::WillFail, *error, "");
            Finding { found: format!("{call}: {}", finding.found), ..finding }
        }
        Trouble::Stays(left, error) => {
            let what = format!("{left} could be made here and not be removed again; remove it by hand");
            Finding::refused(name, Verdict::WillFail, *error, &what)
        }
    }
}
