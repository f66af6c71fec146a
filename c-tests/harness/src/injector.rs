//! Builds the fault injector, once, when the first cell asks for it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::Obstacle;
use crate::compile::run_to_end;
use crate::machine::Machine;

pub(crate) struct Injector {
    root: PathBuf,
    target: String,
    built: OnceLock<Result<PathBuf, Obstacle>>,
}

impl Injector {
    pub(crate) fn of(root: &Path, machine: &Machine) -> Self {
        Self { root: root.to_owned(), target: machine.target(), built: OnceLock::new() }
    }

    pub(crate) fn library(&self) -> Result<PathBuf, Obstacle> {
        self.built.get_or_init(|| self.build()).clone()
    }

    fn build(&self) -> Result<PathBuf, Obstacle> {
        // The workspace's static flag would drop the cdylib, and the outer cargo holds the lock of its own directory.
        let directory = self.root.join("target/injector");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(&self.root).env("RUSTFLAGS", "-C target-feature=-crt-static");
        cargo.args([
            "build",
            "--release",
            "--quiet",
            "-p",
            "tmpshim-injector",
            "--target",
            &self.target,
            "--target-dir",
        ]);
        run_to_end(cargo.arg(&directory))?;
        Ok(directory.join(&self.target).join("release/libtmpshim_injector.so"))
    }
}
