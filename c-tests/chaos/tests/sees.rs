//! Chaos sees it: with something broken on purpose it must report a difference, and without it none. What the model says of
//! a program without any engine, the kernel says as well.
//!
//! Wants root, what scripts/build has built, and gcc.

use std::path::Path;
use std::process::{Command, Output};

fn chaos(arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // In the background SIGINT and SIGQUIT are ignored, and the programs are to be ended by them.
    Command::new("env")
        .arg("--default-signal")
        .arg(env!("CARGO_BIN_EXE_chaos"))
        .args(arguments)
        .current_dir(root)
        .output()
        .expect("env starts")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// With this broken, a few dozen programs are more than enough. The series is always the same.
fn sees(broken: &str, engine: &str, filesystem: &str) {
    let limits = ["--operations", "20000", "--first", "1", "--no-shrink"];
    let cell = ["--engine", engine, "--filesystem", filesystem, "--broken", broken];
    let output = chaos(&[&limits[..], &cell[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{broken} under {engine}: {}", said(&output));
    let again = format!("--broken {broken}");
    assert!(
        said(&output).contains("again: scripts/chaos --seed ") && said(&output).contains(&again),
        "{}",
        said(&output)
    );
}

#[test]
fn it_sees_directories_that_are_left() {
    for engine in ["preload", "notify", "trace", "auto", "keeper"] {
        sees("cleanup", engine, "tmpfs");
    }
}

#[test]
fn it_sees_that_nothing_stands_in() {
    for engine in ["preload", "notify", "trace"] {
        sees("tmpfile", engine, "bindfs");
    }
}

#[test]
fn it_sees_that_the_library_does_nothing() {
    sees("shim", "preload", "always");
}

#[test]
fn it_sees_that_nobody_has_swept() {
    sees("sweep", "preload", "always");
}

#[test]
fn the_model_is_right_about_the_kernel() {
    let output = chaos(&["--operations", "4000", "--first", "1", "--engine", "none"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn a_seed_is_the_same_program_each_time() {
    let print = || said(&chaos(&["--print", "--seed", "7", "--engine", "preload"]));
    let first = print();
    assert!(first.contains("\n0 0 end ") && first == print(), "{first}");
}
