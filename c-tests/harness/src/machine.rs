//! For which machine the programs are built, and what of the matrix runs there.
//!
//! With `TMPSHIM_MACHINE=aarch64-linux-gnu` the compiler of that name builds them, and the kernel starts them by qemu-user;
//! `scripts/aarch64` sees to that, and to a library and a command for that machine. With `TMPSHIM_BUILD=DIRECTORY` they are only
//! built, with what the harness itself needs, and left there; with `TMPSHIM_PROGRAMS=DIRECTORY` it finds them there, on a
//! machine without a compiler (`scripts/old-kernel`).

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::compile::Reach;
use crate::engine::Engine;
use crate::table;

/// Where programs come from, and go to.
pub(crate) enum Machine {
    /// Built and run here.
    Own,
    /// Built here, and run here by qemu-user.
    Emulated {
        /// As compilers are named by it.
        triplet: String,
        /// What qemu-user cannot do.
        beyond: Vec<Beyond>,
    },
    /// Only built here, for this machine where there is no triplet.
    Elsewhere { triplet: Option<String>, directory: PathBuf },
    /// Built elsewhere, and run here.
    Visited { directory: PathBuf },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BeyondFile {
    beyond: Vec<Beyond>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Beyond {
    /// Parts of the trials' names.
    cells: Vec<String>,
    reason: String,
}

impl Machine {
    /// # Errors
    /// The list of what cannot be emulated cannot be read.
    pub(crate) fn from_environment(root: &Path) -> Result<Self, String> {
        let directory = |variable| std::env::var_os(variable).map(PathBuf::from);
        let triplet = std::env::var("TMPSHIM_MACHINE").ok();
        if let Some(directory) = directory("TMPSHIM_PROGRAMS") {
            return Ok(Self::Visited { directory });
        }
        if let Some(directory) = directory("TMPSHIM_BUILD") {
            return Ok(Self::Elsewhere { triplet, directory });
        }
        let Some(triplet) = triplet else { return Ok(Self::Own) };
        let beyond = table::parse::<BeyondFile>(&root.join("c-tests/matrix").join(table::EMULATED))?.beyond;
        Ok(Self::Emulated { triplet, beyond })
    }

    fn triplet(&self) -> Option<&str> {
        match self {
            Self::Emulated { triplet, .. } => Some(triplet),
            Self::Elsewhere { triplet, .. } => triplet.as_deref(),
            Self::Own | Self::Visited { .. } => None,
        }
    }

    /// What stands before the names of compilers that build the programs under test.
    pub(crate) fn prefix(&self) -> String {
        self.triplet().map_or_else(String::new, |triplet| format!("{triplet}-"))
    }

    /// The same for programs of the harness itself.
    pub(crate) fn own_prefix(&self) -> String {
        if self.only_builds() { self.prefix() } else { String::new() }
    }

    /// Go's name for it, if it is another one.
    pub(crate) fn go(&self) -> Option<&'static str> {
        self.triplet().map(|triplet| if triplet.starts_with("aarch64") { "arm64" } else { "amd64" })
    }

    /// Rust's name for it.
    pub(crate) fn target(&self) -> String {
        let architecture =
            self.triplet().and_then(|triplet| triplet.split('-').next()).unwrap_or(std::env::consts::ARCH);
        format!("{architecture}-unknown-linux-gnu")
    }

    /// Where programs are kept, if not for this run only.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Elsewhere { directory, .. } | Self::Visited { directory } => Some(directory),
            Self::Own | Self::Emulated { .. } => None,
        }
    }

    /// No program is run.
    pub(crate) fn only_builds(&self) -> bool {
        matches!(self, Self::Elsewhere { .. })
    }

    /// No program is built.
    pub(crate) fn only_runs(&self) -> bool {
        matches!(self, Self::Visited { .. })
    }

    /// How many times longer a program may take there: each instruction is emulated.
    pub(crate) fn patience(&self) -> u32 {
        if matches!(self, Self::Own) { 1 } else { 10 }
    }

    /// Whether such cells run there at all. Cross compilers have no musl and no i386; qemu-user has neither seccomp nor
    /// ptrace; and scripts are for a machine on which everything is installed.
    pub(crate) fn runs(&self, reach: Option<Reach>, engine: Engine) -> bool {
        match self {
            Self::Own => true,
            Self::Visited { .. } => reach.is_some(),
            Self::Elsewhere { .. } => {
                reach.is_some() && (self.triplet().is_none() || !matches!(reach, Some(Reach::Musl | Reach::I386)))
            }
            Self::Emulated { .. } => {
                matches!(reach, Some(Reach::Glibc | Reach::Fortify | Reach::Syscall)) && !engine.is_supervisor()
            }
        }
    }

    /// Why a cell cannot run there although others like it do.
    pub(crate) fn obstacle(&self, cell: &str, engine: Engine) -> Option<&str> {
        let Self::Emulated { beyond, .. } = self else {
            let lacks_listener = self.only_runs() && engine == Engine::Notify && kernel() < Some((5, 14));
            return lacks_listener.then_some("the engine notify takes Linux 5.14");
        };
        let named = |beyond: &&Beyond| beyond.cells.iter().any(|part| cell.contains(part.as_str()));
        beyond.iter().find(named).map(|beyond| beyond.reason.as_str())
    }
}

/// The running kernel's two first numbers.
fn kernel() -> Option<(u32, u32)> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}
