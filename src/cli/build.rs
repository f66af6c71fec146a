//! Builds `libtmpshim.so` and hands its path to the command, which carries it inside.
//!
//! The library cannot be a dependency: a static target cannot produce a cdylib, and one build for both would unify
//! rustix's features (see Cargo.toml). So cargo is run once more, for that package alone, with a target folder of its
//! own and without the static flag.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let root = manifest.ancestors().nth(2).expect("the command lies in src/cli of the workspace").to_path_buf();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let target = env::var("TARGET").expect("cargo sets TARGET");
    for input in ["Cargo.toml", "Cargo.lock", "src/core", "src/preload"] {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }

    let nested = out.join("library");
    let status = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"))
        .current_dir(&root)
        .args(["build", "--release", "--locked", "--package", "tmpshim-preload", "--target", &target, "--target-dir"])
        .arg(&nested)
        // The outer build's flags and wrappers are meant for the command; the library names its own.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_MAKEFLAGS")
        .env("RUSTFLAGS", "-C target-feature=-crt-static")
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "libtmpshim.so could not be built: see cargo's messages above");

    let built = nested.join(&target).join("release/libtmpshim.so");
    let library = out.join("libtmpshim.so");
    copy(&built, &library);
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap_or_else(|error| panic!("{} to {}: {error}", from.display(), to.display()));
}
