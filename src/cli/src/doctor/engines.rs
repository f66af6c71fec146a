//! Which engines are to be had here: tried, not read from a version number.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};
use tmpshim_supervise::filter::Watch;
use tmpshim_supervise::install;

use super::child::{Teller, Undisturbed};
use super::finding::{Finding, Name, Verdict};
use super::words::quoted;
use crate::run::library::{self, NAME};
use crate::run::program::find;
use crate::run::supervision::{Kind, Refused};

/// Where the library is put by those who have none yet.
const USUAL: &str = "/usr/local/lib";

/// What was found out.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Engines {
    /// How this command is to be called: by its name where a shell finds it.
    pub(super) command: String,
    /// How a command line begins that preloads the library.
    pub(super) preload: Option<String>,
    /// The same for programs whose loader knows `$LIB`, where a package has put the library there: then 32-bit children
    /// have nothing to complain about.
    pub(super) preload_by_lib: Option<String>,
    /// Why there can be no supervisor.
    pub(super) no_supervisor: Option<String>,
    /// The supervisor that there would be takes the rights that set-uid programs gain, for want of these.
    pub(super) costs_rights: Option<String>,
    /// One is above the doctor itself.
    pub(super) is_supervised: bool,
    /// A seccomp filter is on the doctor itself.
    pub(super) is_filtered: bool,
}

impl Default for Engines {
    /// Nothing known.
    fn default() -> Self {
        Self {
            command: "tmpshim".to_owned(),
            preload: None,
            preload_by_lib: None,
            no_supervisor: Some("it was not found out".to_owned()),
            costs_rights: None,
            is_supervised: false,
            is_filtered: false,
        }
    }
}

fn command() -> String {
    let own = std::env::current_exe().ok();
    let found = find("tmpshim".as_ref(), std::env::var_os("PATH").as_deref());
    let is_found = found.and_then(|path| path.canonicalize().ok()).is_some_and(|path| Some(path) == own);
    match own.filter(|_| !is_found) {
        Some(own) => quoted(&own),
        None => "tmpshim".to_owned(),
    }
}

/// Tries both.
pub(super) fn look(teller: &mut Teller) -> Engines {
    let mut engines = Engines {
        command: command(),
        no_supervisor: None,
        is_supervised: install::is_supervised(),
        is_filtered: seccomp_mode("self") == Some(2),
        ..Engines::default()
    };
    for finding in supervisor(&mut engines) {
        teller.find(finding);
    }
    let preload = library();
    let has_any = engines.no_supervisor.is_none() || preload.is_ok();
    let finding = match &preload {
        Ok(Library { path, stays: true, .. }) => {
            Finding::well(Name::Library, format!("can be loaded, from {}", path.display()))
        }
        Ok(Library { path, .. }) => {
            // A directory of its own, for each run, in there; or a file in memory, for want of one.
            let place = path.parent().and_then(Path::parent).filter(|_| !path.starts_with("/proc"));
            let place = place
                .map_or_else(|| "keeps it in memory".to_owned(), |place| format!("puts it into {}", place.display()));
            Finding::well(Name::Library, format!("can be loaded; tmpshim run {place}"))
        }
        Err(why) => Finding::new(Name::Library, missing(has_any), why),
    };
    teller.find(finding.with(preload.is_ok()));
    let target = if access(USUAL, Access::WRITE_OK).is_ok() { USUAL } else { "\"$HOME\"" };
    let written = format!("{} library --output {target}/{NAME} && LD_PRELOAD={target}/{NAME}", engines.command);
    if let Ok(library) = preload {
        let preloaded = |path: &Path| format!("LD_PRELOAD={}", quoted(path));
        engines.preload_by_lib = library.by_lib.as_deref().map(preloaded);
        engines.preload = Some(if library.stays { preloaded(&library.path) } else { written });
    }
    engines
}

/// A missing engine is a failure only where the other one is missing, too.
fn missing(has_any: bool) -> Verdict {
    if has_any { Verdict::Beware } else { Verdict::WillFail }
}

/// As `tmpshim run --engine auto` chooses.
fn supervisor(engines: &mut Engines) -> Vec<Finding> {
    if engines.is_supervised {
        return vec![Finding::well(Name::Supervisor, "one of tmpshim's is above this command already").with(true)];
    }
    match Refused::or_first(&Kind::ALL, Watch { files: true, directories: false }) {
        Ok((kind, refused)) => {
            let mut found = "possible".to_owned();
            if kind.costs_rights() {
                let (wanted, by) = match kind {
                    Kind::Notify => ("CAP_SYS_ADMIN", "no_new_privs"),
                    Kind::Trace => ("CAP_SYS_ADMIN and CAP_SYS_PTRACE", "ptrace"),
                };
                found = format!("{found}; without {wanted} set-uid programs below it gain no rights ({by})");
                engines.costs_rights = Some(wanted.to_owned());
            }
            let name = kind.name();
            let engine = match kind {
                Kind::Notify => name.to_owned(),
                Kind::Trace => format!("{name}; not notify: {}", refused.why()),
            };
            vec![Finding::well(Name::Supervisor, found).with(true), Finding::note(Name::Engine, engine).with(name)]
        }
        Err(refused) => {
            let why = refused.to_string();
            engines.no_supervisor = Some(why.clone());
            vec![Finding::new(Name::Supervisor, Verdict::Beware, why).with(false)]
        }
    }
}

struct Library {
    path: PathBuf,
    /// With `$LIB` in it.
    by_lib: Option<PathBuf>,
    /// It lies there anyway.
    stays: bool,
}

/// As `tmpshim run` does it. What was written is removed at once.
fn library() -> Result<Library, String> {
    let _undisturbed = Undisturbed::begin();
    let staged = library::find(None).map_err(|failure| failure.to_string())?;
    let path = staged.path.clone();
    let by_lib = Some(staged.name_for(None).to_path_buf()).filter(|by_lib| *by_lib != path);
    staged.remove();
    Ok(Library { stays: Path::new(&path).exists(), path, by_lib })
}

/// As `/proc/PID/status` tells it: 2 is a filter.
pub(super) fn seccomp_mode(pid: &str) -> Option<u8> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Seccomp:"))?.trim().parse().ok()
}

/// Whether this process has a right.
pub(super) fn has(capability: CapabilitySet) -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}
