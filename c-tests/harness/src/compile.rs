//! Builds the C and Go programs, each once for every way in which it is to reach the kernel.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::Obstacle;
use crate::once::OnceByKey;

/// How a program makes its system calls.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reach {
    Glibc,
    /// glibc's checked entry points, `__open_2` and its kin.
    Fortify,
    /// `syscall(2)` of glibc: the program is built with `VIA_SYSCALL`.
    Syscall,
    Musl,
    Static,
    Go,
    Cgo,
}

impl Reach {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Glibc => "glibc",
            Self::Fortify => "fortify",
            Self::Syscall => "syscall",
            Self::Musl => "musl",
            Self::Static => "static",
            Self::Go => "go",
            Self::Cgo => "cgo",
        }
    }

    fn compiler(self) -> Command {
        let mut command = Command::new(match self {
            Self::Musl => "musl-gcc",
            Self::Go | Self::Cgo => "go",
            _ => "gcc",
        });
        match self {
            Self::Go => command.env("CGO_ENABLED", "0").arg("build"),
            Self::Cgo => command.env("CGO_ENABLED", "1").arg("build"),
            _ => command.args(["-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]),
        };
        match self {
            Self::Fortify => command.args(["-O2", "-D_FORTIFY_SOURCE=2"]),
            Self::Syscall => command.args(["-O1", "-DVIA_SYSCALL"]),
            Self::Static => command.args(["-O1", "-static"]),
            Self::Glibc | Self::Musl => command.arg("-O1"),
            Self::Go | Self::Cgo => &mut command,
        };
        command
    }
}

/// Everything built so far.
pub(crate) struct Builds {
    directory: PathBuf,
    sources: PathBuf,
    done: OnceByKey<(PathBuf, Reach), PathBuf>,
}

impl Builds {
    pub(crate) fn new(directory: PathBuf, sources: PathBuf) -> Self {
        Self { directory, sources, done: OnceByKey::default() }
    }

    /// The built program; a relative source is one of `c-tests/programs`.
    pub(crate) fn program(&self, source: &Path, reach: Reach) -> Result<PathBuf, Obstacle> {
        let source = self.sources.join(source);
        self.done.get((source.clone(), reach), || {
            let stem = source.file_stem().unwrap_or_default().to_string_lossy();
            let output = self.directory.join(format!("{stem}-{}", reach.name()));
            run_to_end(reach.compiler().arg("-o").arg(&output).arg(&source))?;
            Ok(output)
        })
    }
}

/// Runs a tool that must succeed. A tool that is not installed is missing, anything else is broken.
pub(crate) fn run_to_end(command: &mut Command) -> Result<(), Obstacle> {
    let tool = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(Obstacle::Broken(format!(
            "{command:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ))),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Obstacle::Missing(format!("{tool} is not installed"))),
        Err(error) => Err(Obstacle::Broken(format!("{tool}: {error}"))),
    }
}
