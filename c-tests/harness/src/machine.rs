//! For which machine the programs are built, and what of the matrix runs there.
//!
//! With `TMPSHIM_MACHINE=aarch64-linux-gnu` the compiler of that name builds them, and the kernel starts them by qemu-user;
//! `scripts/aarch64` sees to that, and to a library and a command for that machine.

use std::path::Path;

use serde::Deserialize;

use crate::compile::Reach;
use crate::engine::Engine;
use crate::table;

pub(crate) enum Machine {
    Own,
    Emulated {
        /// As compilers are named by it.
        triplet: String,
        /// What qemu-user cannot do.
        beyond: Vec<Beyond>,
    },
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
        let Ok(triplet) = std::env::var("TMPSHIM_MACHINE") else { return Ok(Self::Own) };
        let beyond = table::parse::<BeyondFile>(&root.join("c-tests/matrix").join(table::EMULATED))?.beyond;
        Ok(Self::Emulated { triplet, beyond })
    }

    /// What comes before the names of compilers and of their like.
    pub(crate) fn prefix(&self) -> String {
        match self {
            Self::Own => String::new(),
            Self::Emulated { triplet, .. } => format!("{triplet}-"),
        }
    }

    /// Rust's name for it.
    pub(crate) fn target(&self) -> String {
        let architecture = match self {
            Self::Own => std::env::consts::ARCH,
            Self::Emulated { triplet, .. } => triplet.split('-').next().unwrap_or_default(),
        };
        format!("{architecture}-unknown-linux-gnu")
    }

    /// Whether such cells run there at all. qemu-user has neither seccomp nor ptrace, and scripts are for this machine's
    /// programs.
    pub(crate) fn runs(&self, reach: Option<Reach>, engine: Engine) -> bool {
        match self {
            Self::Own => true,
            Self::Emulated { .. } => {
                matches!(reach, Some(Reach::Glibc | Reach::Fortify | Reach::Syscall)) && !engine.is_supervisor()
            }
        }
    }

    /// Why a cell cannot run there although others like it do.
    pub(crate) fn obstacle(&self, cell: &str) -> Option<&str> {
        let Self::Emulated { beyond, .. } = self else { return None };
        let named = |beyond: &&Beyond| beyond.cells.iter().any(|part| cell.contains(part.as_str()));
        beyond.iter().find(named).map(|beyond| beyond.reason.as_str())
    }
}
