//! `tmpshim doctor`: from the symptom to the cure.
//!
//! Each subject (a directory, a program, a process, the system) is looked at in a process of its own (child.rs), which
//! says what it finds line by line: a hanging server keeps that process, and not the doctor. Then all is shown at once.

mod ancestors;
mod binary;
mod calls;
mod child;
mod directory;
mod engines;
mod errno;
mod finding;
mod journals;
mod left;
mod libc;
mod mount;
mod outlook;
mod process;
mod program;
mod settings;
mod show;
mod system;
mod tries;
mod words;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FileType, StatxFlags, access, statx};

use crate::failure::{Failure, without_numbers};
use crate::run::program::find;
use directory::Context;
use engines::Engines;
use finding::{Finding, Kind, Name, Subject, Verdict};
use outlook::Outlook;
use process::Facts;
use serde::{Deserialize, Serialize};
use words::quoted_word;

/// What `tmpshim doctor` was asked to do.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) json: bool,
    pub(crate) pids: Vec<u32>,
    /// Directories and programs.
    pub(crate) targets: Vec<OsString>,
}

/// Looks at everything, and says what was found; the exit status.
pub(crate) fn doctor(options: &Options) -> Result<u8, Failure> {
    let mut system = Subject::new(Kind::System, "", None);
    let engines: Vec<Engines> = child::look(&mut system, system::look);
    let doctor = Doctor { engines: engines.into_iter().next().unwrap_or_default() };
    let mut subjects = Vec::new();
    let mut targets: Vec<_> = options.targets.iter().map(sorted).collect();
    if targets.is_empty() && options.pids.is_empty() {
        let temporary = env::var_os("TMPDIR").filter(|path| !path.is_empty()).map(PathBuf::from);
        let usual = usual(temporary, env::current_dir().ok());
        targets.extend(usual.into_iter().map(|(path, source)| Target::Directory(path.into(), source)));
    }
    // The command that a directory's cure names: the program that was asked about.
    let program = targets.iter().find_map(|target| match target {
        Target::Program(name, _) => Some(quoted_word(&name.to_string_lossy())),
        _ => None,
    });
    for target in targets {
        subjects.push(match target {
            Target::Directory(path, source) => doctor.directory(Path::new(&path), source, program.as_deref(), None),
            Target::Program(name, path) => doctor.program(&name, path.into()),
            Target::Neither(name, why) => {
                let mut subject = Subject::new(Kind::Argument, name.to_string_lossy(), None);
                subject.find(Finding::new(Name::Argument, Verdict::CouldNotTell, why));
                subject
            }
        });
    }
    for &pid in &options.pids {
        doctor.process(pid, &mut subjects);
    }
    subjects.push(system);
    let verdict = Verdict::of_all(subjects.iter().map(|subject| subject.verdict));
    let shown = if options.json { show::document(&subjects, verdict) } else { show::table(&subjects, verdict) };
    shown
        .map(|()| verdict.status())
        .map_err(|error| Failure::new(2, "cannot write standard output", error, "give it a file or pipe that takes it"))
}

/// What an argument stands for. Paths as text of the system's own, of which not all is UTF-8.
#[derive(Deserialize, Serialize)]
enum Target {
    Directory(OsString, Source),
    /// As it was given, and where it is.
    Program(OsString, OsString),
    Neither(OsString, String),
}

/// Why a directory is looked at.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum Source {
    /// Asked for, by argument or `TMPDIR`, or where everybody makes temporary files.
    Meant,
    /// Many systems have none.
    Optional,
    /// It is only where one happens to be.
    Current,
}

/// The same in a process of its own: the directory may be one that does not answer.
fn sorted(name: &OsString) -> Target {
    let mut subject = Subject::new(Kind::Argument, "", None);
    let found: Vec<Target> = child::look(&mut subject, |teller| teller.more(&sort(name)));
    let why = subject.findings.pop().map(|finding| finding.found).unwrap_or_default();
    found.into_iter().next().unwrap_or_else(|| Target::Neither(name.clone(), why))
}

/// Tells directories from programs, as the operator means them.
fn sort(name: &OsString) -> Target {
    let neither = |why: String| Target::Neither(name.clone(), why);
    let path = Path::new(name);
    // As far as it is known without asking: of the place where a server's filesystem is mounted, always.
    let known = statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE);
    if known.is_ok_and(|seen| FileType::from_raw_mode(seen.stx_mode.into()) == FileType::Directory) {
        return Target::Directory(name.clone(), Source::Meant);
    }
    match fs::metadata(path) {
        Ok(seen) if seen.is_dir() => return Target::Directory(name.clone(), Source::Meant),
        Ok(seen) if seen.is_file() && path.as_os_str().to_string_lossy().contains('/') => {
            return match access(path, Access::EXEC_OK) {
                Ok(()) => Target::Program(name.clone(), name.clone()),
                Err(error) => neither(format!("a file that this user may not execute: {}", errno::said(error))),
            };
        }
        _ => {}
    }
    match find(name, env::var_os("PATH").as_deref()) {
        Some(found) if found.is_file() => Target::Program(name.clone(), found.into()),
        Some(found) => match fs::metadata(&found) {
            Ok(_) => neither("neither a directory nor a program".to_owned()),
            Err(error) => neither(without_numbers(&error.to_string())),
        },
        None => neither("no directory of this name here, and no program of this name in PATH".to_owned()),
    }
}

/// Where temporary files are made: each once.
fn usual(temporary: Option<PathBuf>, current: Option<PathBuf>) -> Vec<(PathBuf, Source)> {
    let mut all: Vec<(PathBuf, Source)> = Vec::new();
    let shared = [(PathBuf::from("/tmp"), Source::Meant), (PathBuf::from("/var/tmp"), Source::Optional)];
    let own = temporary.map(|path| (path, Source::Meant)).into_iter();
    for (path, source) in own.chain(shared).chain(current.map(|path| (path, Source::Current))) {
        if !all.iter().any(|(known, _)| *known == path) {
            all.push((path, source));
        }
    }
    all
}

/// What is known of the system, for the rest.
struct Doctor {
    engines: Engines,
}

impl Doctor {
    fn directory(&self, path: &Path, source: Source, program: Option<&str>, process: Option<&Facts>) -> Subject {
        let mut subject = Subject::new(Kind::Directory, path.to_string_lossy(), process.map(|facts| facts.pid));
        let name = program.unwrap_or("PROGRAM");
        let context = Context {
            may_be_closed: source == Source::Current,
            may_be_missing: source == Source::Optional,
            is_helped: process.and_then(|facts| facts.is_helped.clone()),
            run: format!("{} run -- {name}", self.engines.command),
            command: self.engines.command.clone(),
            program: name.to_owned(),
            // Whether that reaches a program that was named is said where that is looked at.
            preload: self
                .engines
                .preload
                .as_ref()
                .filter(|_| program.is_none())
                .map(|preload| format!("{preload} {name}")),
            is_filtered: self.engines.is_filtered,
        };
        let _: Vec<()> = child::look(&mut subject, |teller| {
            let outlook = process.map_or_else(|| Ok(Outlook::own()), Facts::outlook);
            match outlook {
                Ok(mut outlook) => directory::look(&mut outlook, path, &context, teller),
                Err(why) => teller.find(Finding::new(Name::Answer, Verdict::CouldNotTell, why)),
            }
        });
        subject
    }

    fn program(&self, name: &OsString, path: PathBuf) -> Subject {
        let mut subject = Subject::new(Kind::Program, name.to_string_lossy(), None);
        let target = program::Target { command: quoted_word(&name.to_string_lossy()), path, running: None };
        let _: Vec<()> = child::look(&mut subject, |teller| {
            program::look(&Outlook::own(), &target, &self.engines, teller);
        });
        subject
    }

    /// The process, its program and its directories.
    fn process(&self, pid: u32, subjects: &mut Vec<Subject>) {
        let mut subject = Subject::new(Kind::Process, pid.to_string(), Some(pid));
        let facts: Vec<Facts> = child::look(&mut subject, |teller| process::look(pid, teller));
        subjects.push(subject);
        let Some(facts) = facts.into_iter().next() else { return };
        let name = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let mut subject = Subject::new(Kind::Program, name.to_string_lossy(), Some(pid));
        let path = PathBuf::from(format!("/proc/{pid}/exe"));
        let running = program::Running { is_secure: facts.is_secure, is_helped: facts.is_helped.is_some() };
        let target = program::Target { command: facts.command.clone(), path, running: Some(running) };
        let _: Vec<()> = child::look(&mut subject, |teller| match facts.outlook() {
            Ok(outlook) => program::look(&outlook, &target, &self.engines, teller),
            Err(why) => teller.find(Finding::new(Name::Answer, Verdict::CouldNotTell, why)),
        });
        subjects.push(subject);
        for (path, source) in facts.directories() {
            subjects.push(self.directory(&path, source, Some(&facts.command), Some(&facts)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_usual_place_is_looked_at_once() {
        let paths = |temporary: Option<&str>, current: &str| -> Vec<String> {
            let all = usual(temporary.map(PathBuf::from), Some(PathBuf::from(current)));
            all.into_iter().map(|(path, _)| path.display().to_string()).collect()
        };
        assert_eq!(paths(None, "/srv"), ["/tmp", "/var/tmp", "/srv"]);
        assert_eq!(paths(Some("/tmp"), "/var/tmp"), ["/tmp", "/var/tmp"]);
        assert_eq!(paths(Some("/x"), "/x"), ["/x", "/tmp", "/var/tmp"]);
    }

    #[test]
    fn arguments_are_told_apart() {
        let kind = |name: &str| match sort(&OsString::from(name)) {
            Target::Directory(..) => "directory".to_owned(),
            Target::Program(_, path) => path.to_string_lossy().into_owned(),
            Target::Neither(_, why) => why,
        };
        assert_eq!(kind("/"), "directory");
        assert_eq!(kind("/bin/sh"), "/bin/sh");
        assert!(kind("sh").ends_with("/sh"), "{}", kind("sh"));
        assert!(kind("/no/such").contains("No such file"), "{}", kind("/no/such"));
        assert!(kind("no-such-program").contains("PATH"));
        assert!(kind("/etc/passwd").contains("may not execute"));
        assert!(kind("/dev/null").contains("neither"));
    }
}
