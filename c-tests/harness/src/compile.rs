//! Builds the C and Go programs, each once for every way in which it is to reach the kernel.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::Obstacle;
use crate::machine::Machine;
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
    /// Go's own system calls, in a static program. A C program is linked into Go for that (`doors.go`).
    Go,
    /// The same in a program that uses the shared libc.
    Cgo,
    /// A 32-bit program without a libc, on an x86-64 kernel.
    I386,
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
            Self::I386 => "i386",
        }
    }

    /// `machine` is what stands before the compiler's name.
    fn compiler(self, machine: &str) -> Command {
        let mut command = Command::new(format!("{machine}{}", if self == Self::Musl { "musl-gcc" } else { "gcc" }));
        command.args(["-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]);
        command.args(match self {
            Self::Fortify => ["-O2", "-D_FORTIFY_SOURCE=2"].as_slice(),
            Self::Syscall => &["-O1", "-DVIA_SYSCALL"],
            Self::Static | Self::Go => &["-O1", "-static"],
            Self::Glibc | Self::Musl | Self::Cgo => &["-O1"],
            Self::I386 => {
                &["-O1", "-m32", "-static", "-nostdlib", "-ffreestanding", "-fno-pic", "-fno-stack-protector"]
            }
        });
        command
    }

    /// What builds a program that is written in Go.
    fn go_compiler(self, machine: &Machine) -> Command {
        let mut command = go(machine);
        if self == Self::Cgo {
            // What makes a program that uses no C a dynamic one.
            command.arg("-ldflags=-linkmode=external");
        } else {
            command.env("CGO_ENABLED", "0");
        }
        command
    }
}

fn go(machine: &Machine) -> Command {
    let mut command = Command::new("go");
    command.env("CGO_ENABLED", "1").env("GOFLAGS", "").args(["build"]);
    if let Some(architecture) = machine.go() {
        command.env("GOARCH", architecture).env("CC", format!("{}gcc", machine.prefix()));
    }
    command
}

/// Everything built so far.
pub(crate) struct Builds {
    machine: Machine,
    directory: PathBuf,
    sources: PathBuf,
    harness: PathBuf,
    done: OnceByKey<(PathBuf, Reach), PathBuf>,
    tools: OnceByKey<PathBuf, PathBuf>,
    doors: OnceByKey<(), PathBuf>,
}

impl Builds {
    /// Builds into `scratch`, where the machine has no place of its own for that.
    pub(crate) fn new(scratch: PathBuf, tests: &Path, machine: Machine) -> Self {
        Self {
            directory: machine.directory().map_or(scratch, Path::to_owned),
            sources: tests.join("programs"),
            harness: tests.join("harness/src"),
            machine,
            done: OnceByKey::default(),
            tools: OnceByKey::default(),
            doors: OnceByKey::default(),
        }
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Where what is built lies: made by `make`, or found where nothing is built.
    pub(crate) fn made(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Result<(), Obstacle>,
    ) -> Result<PathBuf, Obstacle> {
        let output = self.directory.join(name);
        if !self.machine.only_runs() {
            make(&output)?;
        } else if !output.exists() {
            return Err(Obstacle::Missing(format!("{name} was not built")));
        }
        Ok(output)
    }

    /// A program of the harness itself, or of what is beside it: static, and for the machine that it runs on.
    pub(crate) fn tool(&self, source: &str) -> Result<PathBuf, Obstacle> {
        let source = self.harness.join(source);
        self.tools.get(source.clone(), || {
            let stem = source.file_stem().unwrap_or_default().to_string_lossy();
            self.made(&stem, |output| {
                run_to_end(Reach::Static.compiler(&self.machine.own_prefix()).arg("-o").arg(output).arg(&source))
            })
        })
    }

    /// The built program; a relative source is one of `c-tests/programs`.
    pub(crate) fn program(&self, source: &Path, reach: Reach) -> Result<PathBuf, Obstacle> {
        if reach == Reach::I386 && !cfg!(target_arch = "x86_64") {
            return Err(Obstacle::Missing("no x86-64".to_owned()));
        }
        let source = self.sources.join(source);
        self.done.get((source.clone(), reach), || {
            let stem = source.file_stem().unwrap_or_default().to_string_lossy();
            self.made(&format!("{stem}-{}", reach.name()), |output| self.build(&source, reach, output))
        })
    }

    fn build(&self, source: &Path, reach: Reach, output: &Path) -> Result<(), Obstacle> {
        let is_go = source.extension().is_some_and(|extension| extension == "go");
        let mut command = if is_go { reach.go_compiler(&self.machine) } else { reach.compiler(&self.machine.prefix()) };
        command.arg("-o").arg(output);
        if is_go {
            command.arg(self.sources.join("check.go"));
        }
        command.arg(source);
        if !is_go && matches!(reach, Reach::Go | Reach::Cgo) {
            command.arg("-include").arg(self.harness.join("doors.h")).arg(self.doors()?);
        }
        run_to_end(&mut command)
    }

    /// Go, to be linked to a C program.
    fn doors(&self) -> Result<PathBuf, Obstacle> {
        self.doors.get((), || {
            let archive = self.directory.join("doors.a");
            let source = self.harness.join("doors.go");
            run_to_end(go(&self.machine).arg("-buildmode=c-archive").arg("-o").arg(&archive).arg(source))?;
            Ok(archive)
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
