//! What stands between a program and the kernel. A new engine is a variant and a line in each function here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Obstacle;
use crate::compile::Reach;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    /// The control: nothing.
    None,
    Preload,
}

/// The built files under test.
pub(crate) struct Artefacts {
    pub(crate) library: PathBuf,
    pub(crate) command: PathBuf,
}

impl Artefacts {
    pub(crate) fn find(root: &Path) -> Self {
        let named = |variable: &str, otherwise: &str| {
            std::env::var_os(variable).map_or_else(|| root.join(otherwise), |path| root.join(path))
        };
        Self { library: named("TMPSHIM_LIBRARY", "dist/libtmpshim.so"), command: named("TMPSHIM_BIN", "dist/tmpshim") }
    }
}

/// A program's command line under an engine.
#[derive(Default)]
pub(crate) struct Wrapped {
    /// What comes before the program.
    pub(crate) prefix: Vec<OsString>,
    /// Libraries that ld.so loads before all others, in this order.
    pub(crate) preload: Vec<PathBuf>,
}

impl Engine {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Preload => "preload",
        }
    }

    /// Whether the engine can see the calls of such a program at all.
    pub(crate) fn reaches(self, reach: Option<Reach>) -> bool {
        match self {
            Self::None => true,
            Self::Preload => !matches!(reach, Some(Reach::Static | Reach::Go | Reach::Cgo)),
        }
    }

    pub(crate) fn wrap(self, artefacts: &Artefacts) -> Result<Wrapped, Obstacle> {
        match self {
            Self::None => Ok(Wrapped::default()),
            Self::Preload => Ok(Wrapped { preload: vec![built(&artefacts.library)?], ..Wrapped::default() }),
        }
    }
}

fn built(path: &Path) -> Result<PathBuf, Obstacle> {
    // ld.so ignores what it cannot load, and every test would then fail for a reason that nobody sees.
    let path = path.canonicalize().map_err(|error| Obstacle::Broken(format!("{}: {error}", path.display())))?;
    Ok(path)
}
