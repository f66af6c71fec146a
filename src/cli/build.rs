//! Builds the two files that the command carries inside: `libtmpshim.so`, and the legacy program of the demo.
//!
//! The library cannot be a dependency: a static target cannot produce a cdylib, and one build for both would unify
//! rustix's features (see Cargo.toml). So cargo is run once more, for that package alone, with a target folder of its
//! own and without the static flag. The legacy program is one freestanding file, for which the compiler alone is enough.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let root = manifest.ancestors().nth(2).expect("the command lies in src/cli of the workspace");
    let out = PathBuf::from(variable("OUT_DIR"));
    let target = variable("TARGET");
    for input in ["Cargo.toml", "Cargo.lock", "src/core", "src/preload", "src/cli/build.rs", "src/cli/legacy"] {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }
    library(root, &out, &target);
    legacy(&manifest, &out, &target);
}

fn library(root: &Path, out: &Path, target: &str) {
    let nested = out.join("library");
    let status = Command::new(variable("CARGO"))
        .current_dir(root)
        .args(["build", "--release", "--locked", "--package", "tmpshim-preload", "--target", target, "--target-dir"])
        .arg(&nested)
        // The outer build's flags and wrappers are meant for the command; the library names its own.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_MAKEFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CLIPPY_ARGS")
        .env("RUSTFLAGS", "-C target-feature=-crt-static")
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "libtmpshim.so could not be built: see cargo's messages above");

    let built = nested.join(target).join("release/libtmpshim.so");
    let library = out.join("libtmpshim.so");
    fs::copy(&built, &library).unwrap_or_else(|error| panic!("{} to {}: {error}", built.display(), library.display()));
}

fn legacy(manifest: &Path, out: &Path, target: &str) {
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--edition", "2024", "--crate-name", "legacy", "--crate-type", "bin", "--target", target]);
    // Dynamic, whatever the command is; no start files, which would ask for this machine's newest symbols.
    for option in [
        "target-feature=-crt-static",
        "panic=abort",
        "opt-level=s",
        "codegen-units=1",
        "strip=symbols",
        "link-arg=-nostartfiles",
        "link-arg=-nostdlib",
        "link-arg=-Wl,--no-as-needed,-l:libc.so.6",
        "link-arg=-Wl,--hash-style=both",
    ] {
        rustc.arg("-C").arg(option);
    }
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = std::ffi::OsString::from("linker=");
        option.push(linker);
        rustc.arg("-C").arg(option);
    }
    let status = rustc.arg("-o").arg(out.join("legacy")).arg(manifest.join("legacy/main.rs")).status();
    assert!(status.expect("rustc can be started").success(), "the demo's legacy program could not be built");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("cargo sets {name}: {error}"))
}
