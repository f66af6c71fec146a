//! Builds the fault injector, once, when the first cell asks for it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::Obstacle;
use crate::compile::{Builds, run_to_end};

const FILE: &str = "libtmpshim_injector.so";

pub(crate) struct Injector {
    root: PathBuf,
    built: OnceLock<Result<PathBuf, Obstacle>>,
}

impl Injector {
    pub(crate) fn of(root: &Path) -> Self {
        Self { root: root.to_owned(), built: OnceLock::new() }
    }

    pub(crate) fn library(&self, builds: &Builds) -> Result<PathBuf, Obstacle> {
        self.built.get_or_init(|| builds.made(FILE, |output| self.build(&builds.machine().target(), output))).clone()
    }

    fn build(&self, target: &str, output: &Path) -> Result<(), Obstacle> {
        // The workspace's static flag would drop the cdylib, and the outer cargo holds the lock of its own directory.
        let directory = self.root.join("target/injector");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(&self.root).env("RUSTFLAGS", "-C target-feature=-crt-static");
        cargo.args(["build", "--release", "--quiet", "-p", "tmpshim-injector", "--target", target, "--target-dir"]);
        run_to_end(cargo.arg(&directory))?;
        let built = directory.join(target).join("release").join(FILE);
        let copied = std::fs::copy(&built, output).map(drop);
        copied.map_err(|error| Obstacle::Broken(format!("{} to {}: {error}", built.display(), output.display())))
    }
}
