//! A program: what it is, whether the engines reach it, and how to start it. It is read and never run.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, getxattr, statvfs};
use serde_json::json;

use super::binary::Binary;
use super::child::Teller;
use super::engines::Engines;
use super::finding::{Cure, Finding, Name, Verdict};
use super::libc::{Libc, OLDEST};
use super::outlook::Outlook;
use super::words::quoted_word;
use crate::elf::Kind;
use crate::run::installed::knows_lib;
use crate::run::program::{Followed, follow, gains_rights};

/// A program to look at.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// As the operator, or the process, calls it.
    pub(super) command: String,
    pub(super) path: PathBuf,
    pub(super) running: Option<Running>,
}

/// What is known of a program because it runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    /// The kernel has marked it as one that gained rights.
    pub(super) is_secure: bool,
    /// tmpshim stands in for it already.
    pub(super) is_helped: bool,
}

/// Why the library does not reach a program.
struct NotReached(String);

/// What is known of a program when the engines are compared.
struct Reached {
    library: Result<(), NotReached>,
    /// How a command line begins that preloads it.
    preload: Option<String>,
    is_secure: bool,
    /// The kernel starts it by itself, and the supervisor's filter knows its system calls: those of i386 on x86-64, too.
    is_native: bool,
}

/// Looks at it, in a process that ends afterwards.
pub(super) fn look(outlook: &Outlook, target: &Target, engines: &Engines, teller: &mut Teller) {
    let Followed { chain, kind } = follow(target.path.clone());
    let last = chain.last().unwrap_or(&target.path);
    if chain.len() > 1 {
        let names: Vec<_> = chain.iter().map(|path| path.display().to_string()).collect();
        teller.find(Finding::note(Name::File, format!("script: {}", names.join(" → "))).with(names));
    } else if target.running.is_none() {
        let path = target.path.display().to_string();
        teller.find(Finding::note(Name::File, path.clone()).with(vec![path]));
    }
    let kind = match kind {
        Ok(kind) => kind,
        Err(error) => {
            let why =
                format!("{} cannot be read: {}", last.display(), crate::failure::without_numbers(&error.to_string()));
            return teller.find(Finding::new(Name::Linkage, Verdict::CouldNotTell, why));
        }
    };
    let binary = fs::File::open(last).ok().and_then(Binary::read);
    let Some(binary) = binary else {
        let why =
            format!("{} is neither an ELF program nor a script: only the kernel knows what starts it", last.display());
        return teller.find(Finding::new(Name::Linkage, Verdict::CouldNotTell, why));
    };
    let libc = Libc::of(&binary, outlook);
    describe(&binary, libc.as_ref(), teller);
    let is_secure = rights(last, target.running.map(|running| running.is_secure), teller);
    let library = by_library(&kind, &binary, libc.as_ref(), is_secure);
    let knows_lib = binary.loader.as_deref().is_some_and(|loader| knows_lib(Path::new(loader)));
    let preload = engines.preload_by_lib.as_ref().filter(|_| knows_lib).or(engines.preload.as_ref());
    let preload = preload.filter(|_| library.is_ok()).cloned();
    let is_native = kind != Kind::Foreign || cfg!(target_arch = "x86_64") && binary.machine == "i386";
    reach(target, Reached { library, preload, is_secure, is_native }, engines, teller);
}

/// What stands in the file.
fn describe(binary: &Binary, libc: Option<&Libc>, teller: &mut Teller) {
    let Binary { machine, bits, .. } = binary;
    teller.find(Finding::note(Name::Architecture, format!("{machine}, {bits} bits")).with(machine.clone()));
    let linkage = if binary.loader.is_some() { "dynamic" } else { "static" };
    teller.find(Finding::note(Name::Linkage, linkage).with(linkage));
    let needs = binary.glibc.map(|(major, minor)| format!("{major}.{minor}"));
    let Some(libc) = libc else {
        teller.find(Finding::note(Name::Libc, "inside the program, if any").with(json!({ "libc": null })));
        return go(binary, teller);
    };
    let mut found = libc.describe();
    let mut verdict = Verdict::Note;
    if let Some(needs) = &needs {
        found = format!("{found}; needs {needs}");
    }
    if let (Libc::Glibc(Some(installed)), Some(needed)) = (libc, binary.glibc)
        && needed > *installed
    {
        verdict = Verdict::WillFail;
        found += ": the program does not start here";
    }
    if matches!(libc, Libc::Missing(_)) {
        verdict = Verdict::WillFail;
        found += ": the program does not start here";
    }
    let (name, version) = match libc {
        Libc::Glibc(version) => ("glibc", version.map(|(major, minor)| format!("{major}.{minor}"))),
        Libc::Musl(version) => ("musl", version.clone()),
        Libc::Other | Libc::Missing(_) => ("unknown", None),
    };
    let value = json!({ "libc": name, "installed": version, "needs": needs });
    teller.find(Finding::new(Name::Libc, verdict, found).with(value));
    go(binary, teller);
}

fn go(binary: &Binary, teller: &mut Teller) {
    if binary.is_go {
        let (found, value) = if binary.has_cgo { ("yes, with cgo", "cgo") } else { ("yes", "go") };
        teller.find(Finding::note(Name::Go, found).with(value));
    }
}

/// Whether the loader will ignore the environment; said where the file could have it so.
fn rights(path: &Path, known: Option<bool>, teller: &mut Teller) -> bool {
    let is_secure = known.unwrap_or_else(|| gains_rights(path));
    let mut found = Vec::new();
    if let Ok(seen) = fs::metadata(path) {
        found.extend((seen.mode() & 0o4000 != 0).then(|| format!("set-uid {}", seen.uid())));
        found.extend((seen.mode() & 0o2010 == 0o2010).then(|| format!("set-gid {}", seen.gid())));
    }
    let has_capabilities = getxattr(path, "security.capability", &mut [0u8; 64][..]).is_ok();
    found.extend(has_capabilities.then(|| "file capabilities".to_owned()));
    if found.is_empty() && !is_secure {
        return false;
    }
    let is_nosuid = statvfs(path).is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::NOSUID));
    let effect = match (is_secure, known, is_nosuid) {
        (true, Some(_), _) => "it has gained rights at its start",
        (true, None, _) => "it gains rights",
        (false, _, true) => "without effect, for the mount is nosuid",
        (false, _, false) => "without effect for this user",
    };
    let found = if found.is_empty() { effect.to_owned() } else { format!("{}: {effect}", found.join(", ")) };
    teller.find(Finding::note(Name::Rights, found).with(is_secure));
    is_secure
}

fn by_library(kind: &Kind, binary: &Binary, libc: Option<&Libc>, is_secure: bool) -> Result<(), NotReached> {
    let no = |why: &str| Err(NotReached(why.to_owned()));
    match kind {
        Kind::Static => no("static: nothing is loaded into it"),
        Kind::Foreign => no("built for another architecture than the library"),
        Kind::Dynamic { .. } if is_secure => no("it gains rights, so its loader ignores the library"),
        Kind::Dynamic { go: true, .. } => no("Go: it opens files without libc"),
        Kind::Other | Kind::Script(_) if binary.loader.is_none() => no("not a program by itself, or a loader"),
        _ => match libc {
            Some(Libc::Glibc(Some(version))) if *version < OLDEST => {
                let (major, minor) = OLDEST;
                no(&format!("the library needs glibc {major}.{minor}"))
            }
            Some(Libc::Other) => no("its libc is neither glibc nor musl"),
            _ => Ok(()),
        },
    }
}

/// What reaches it here, and the command line.
fn reach(
    target: &Target,
    Reached { library, preload, is_secure, is_native }: Reached,
    engines: &Engines,
    teller: &mut Teller,
) {
    let supervisor = match &engines.no_supervisor {
        Some(why) => Err(format!("none here: {why}")),
        None if !is_native => Err("an emulator starts it, which only the kernel knows".to_owned()),
        None => match engines.costs_rights.as_ref().filter(|_| is_secure) {
            Some(wanted) => {
                Err(format!("under one it would gain no rights here, for want of {wanted}; start tmpshim run as root"))
            }
            None => Ok(()),
        },
    };
    let is_reached = preload.is_some() || supervisor.is_ok();
    let missed = if is_reached { Verdict::Note } else { Verdict::WillFail };
    let find = |name, reach: Result<(), String>| {
        let does = reach.is_ok();
        match reach {
            Ok(()) => Finding::well(name, "reaches it"),
            Err(why) => Finding::new(name, missed, format!("does not reach it: {why}")),
        }
        .with(does)
    };
    let by_library = library.is_ok();
    teller.find(find(Name::Library, library.map_err(|NotReached(why)| why)));
    teller.find(find(Name::Supervisor, supervisor));
    let command = &target.command;
    if target.running.is_some_and(|running| running.is_helped) {
        return;
    }
    if is_reached {
        let again = if target.running.is_some() { "start it again, for" } else { "for" };
        let what = if by_library { "O_TMPFILE opens and mkdtemp directories" } else { "O_TMPFILE opens" };
        teller.cure(Cure::new(format!("{again} {what}:"), format!("{} run -- {command}", engines.command)));
        if let Some(preload) = preload {
            teller.cure(Cure::new("or by the library alone:", format!("{preload} {command}")));
        }
    } else {
        teller.cure(Cure::advice(
            "tmpshim does not help this program here; give it a TMPDIR on a filesystem with O_TMPFILE",
        ));
    }
}

/// A command line, for a shell.
pub(super) fn command_line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quoted_word).collect::<Vec<_>>().join(" ")
}
