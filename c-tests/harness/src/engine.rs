//! What stands between a program and the kernel. A new engine is a variant and a line in each function here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Obstacle;
use crate::compile::{Builds, Reach};
use crate::mounts::Filesystem;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    /// The control: nothing.
    None,
    /// The library.
    Preload,
    /// The supervisor of `tmpshim run`, and no library.
    Notify,
    /// The tracer of `tmpshim run`, and no library.
    Trace,
    /// What `tmpshim run` does by itself: the supervisor, and the library as well.
    Auto,
    /// The same on Linux 4.18, where there is no listener: the tracer, and the library.
    #[serde(rename = "old-kernel")]
    OldKernel,
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
            Self::Notify => "notify",
            Self::Trace => "trace",
            Self::Auto => "auto",
            Self::OldKernel => "old-kernel",
        }
    }

    /// Whether it answers from outside of the program.
    pub(crate) fn is_supervisor(self) -> bool {
        matches!(self, Self::Notify | Self::Trace | Self::Auto | Self::OldKernel)
    }

    /// Whether the engine can see the calls of such a program there at all.
    pub(crate) fn reaches(self, reach: Option<Reach>, filesystem: Filesystem) -> bool {
        let has_libc = !matches!(reach, Some(Reach::Static | Reach::Go | Reach::Cgo | Reach::I386));
        // Of two filters the stricter answer counts: what one refuses, the supervisor's never hears of.
        let is_heard_of = filesystem.denied_with().is_none();
        match self {
            Self::None => true,
            Self::Preload => has_libc,
            Self::Notify | Self::Trace => is_heard_of,
            Self::Auto | Self::OldKernel => has_libc || is_heard_of,
        }
    }

    pub(crate) fn wrap(self, artefacts: &Artefacts, builds: &Builds) -> Result<Wrapped, Obstacle> {
        let mut before = Vec::new();
        if self == Self::OldKernel {
            before.push(builds.tool("old_kernel.c")?.into_os_string());
        }
        Ok(match self {
            Self::None => Wrapped::default(),
            Self::Preload => Wrapped { preload: vec![built(&artefacts.library)?], ..Wrapped::default() },
            Self::Notify | Self::Trace | Self::Auto | Self::OldKernel => {
                let engine = if self == Self::OldKernel { Self::Auto } else { self };
                let mut prefix = before;
                prefix.push(built(&artefacts.command)?.into_os_string());
                prefix.extend(["run", "--engine", engine.name(), "--"].map(OsString::from));
                Wrapped { prefix, ..Wrapped::default() }
            }
        })
    }
}

fn built(path: &Path) -> Result<PathBuf, Obstacle> {
    // ld.so ignores what it cannot load, and every test would then fail for a reason that nobody sees.
    let path = path.canonicalize().map_err(|error| Obstacle::Broken(format!("{}: {error}", path.display())))?;
    Ok(path)
}
