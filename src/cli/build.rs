//! Builds the three files that the command carries inside: `libtmpshim.so`, the parasite of the traced engine, and the
//! legacy program of the demo.
//!
//! The first two cannot be dependencies: a static target cannot produce a cdylib, and one build for all would unify
//! rustix's features (see Cargo.toml). So cargo is run once more for each of those packages alone, with a target folder of
//! their own and without the static flag. The legacy program is one freestanding file, for which the compiler alone is
//! enough.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let root = manifest.ancestors().nth(2).expect("the command lies in src/cli of the workspace");
    let out = PathBuf::from(variable("OUT_DIR"));
    let target = variable("TARGET");
    let built_from = ["Cargo.toml", "Cargo.lock", "src/core", "src/preload", "src/parasite"];
    for input in built_from.into_iter().chain(["src/cli/build.rs", "src/cli/legacy"]) {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }
    library("tmpshim-preload", "libtmpshim.so", root, &out.join("libtmpshim.so"), &target);
    library("tmpshim-parasite", "libtmpshim_parasite.so", root, &out.join("parasite"), &target);
    legacy(&manifest, &out, &target);
}

/// Builds `package`, and copies the file that comes of it.
fn library(package: &str, file: &str, root: &Path, to: &Path, target: &str) {
    let nested = to.with_file_name("library");
    // Atomics as functions come with a constructor that wants the loader's symbols: the library has none but libc's.
    let atomics = if target.starts_with("aarch64") { ",-outline-atomics" } else { "" };
    let status = Command::new(variable("CARGO"))
        .current_dir(root)
        .args(["build", "--release", "--locked", "--package", package, "--target", target, "--target-dir"])
        .arg(&nested)
        // The outer build's flags and wrappers are meant for the command; the library names its own.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_MAKEFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CLIPPY_ARGS")
        // A call is rarely shorter than what the compiler would put in its place to save space.
        .env("RUSTFLAGS", format!("-C target-feature=-crt-static{atomics} -C llvm-args=--inline-threshold=7"))
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "{file} could not be built: see cargo's messages above");

    let built = nested.join(target).join("release").join(file);
    fs::copy(&built, to).unwrap_or_else(|error| panic!("{} to {}: {error}", built.display(), to.display()));
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
