//! What a program is started with under us is what it is started with anyway.

use std::fs;
use std::process::Stdio;

use super::program::Program;
use super::rights::is_root;
use super::stage::Under::Nothing;
use super::stage::{ENGINES, Stage, Under, WITH_AND_WITHOUT};
use super::waiting::end_of;

/// What a program says of the state it was started in.
fn state(stage: &Stage, before: &[&str], under: Under) -> Vec<String> {
    let mut command = stage.command_after(before, under, &["state", "", "a b", "--engine"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{under:?} {output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// What a program is started with under us is what it is started with anyway, and the variables of ours.
fn assert_same_state(stage: &Stage, before: &[&str], engine: Under) {
    let mut expected = state(stage, before, Nothing);
    // The program differs by its name.
    expected[0] = format!("argument {}", engine.program());
    let is_ours = |line: &String| {
        ["LD_PRELOAD", "TMPSHIM_STATE_DIR"].iter().any(|name| line.starts_with(&format!("environment {name}=")))
    };
    let mut seen = state(stage, before, engine);
    seen.retain(|line| !is_ours(line));
    assert_eq!(seen, expected, "{engine:?} {before:?}");
}

#[test]
fn s4_what_a_program_inherits_is_unchanged() {
    if !is_root("an odd state") {
        return;
    }
    let stage = Stage::new();
    for engine in ENGINES {
        assert_same_state(&stage, &[], engine);
        assert_same_state(&stage, &[Nothing.program(), "odd"], engine);
    }
    stage.assert_clear();
}

#[test]
fn s4_blocked_and_ignored_signals_reach_the_program_unchanged() {
    let stage = Stage::new();
    for engine in ENGINES {
        for (ignored, blocked) in
            [("1", "0"), ("0", "1"), ("1", "1"), ("2", "3"), ("3", "2"), ("17", "17"), ("13", "1")]
        {
            assert_same_state(&stage, &[Nothing.program(), "with-signals", ignored, blocked], engine);
        }
    }
    stage.assert_clear();
}

#[test]
fn s4_signals_that_were_waiting_reach_the_program() {
    let stage = Stage::new();
    for under in WITH_AND_WITHOUT {
        let launcher = [Nothing.program(), "with-pending"];
        let (mut program, _) = Program::start(stage.command_after(&launcher, under, &["count"]));
        let mut seen: Vec<i32> = (0..5).map(|_| program.next().parse().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, [libc::SIGUSR1, libc::SIGTERM, 40, 40, 40], "{under:?}");
        assert_eq!(program.end_count(), ["end"], "{under:?}");
    }
    stage.assert_clear();
}

#[test]
fn s4_closed_descriptors_stay_closed_and_nothing_is_written_into_the_programs_files() {
    let stage = Stage::new();
    for closed in 0..8 {
        let seen = |under| {
            let file = stage.path("file");
            let before = [Nothing.program(), "without-descriptors", &closed.to_string()];
            let mut command = stage.command_after(&before, under, &["descriptors", file.to_str().unwrap()]);
            // Something to complain about.
            command.env("TMPSHIM_NONSENSE", "1").stdout(Stdio::null()).stderr(Stdio::null());
            assert_eq!(end_of(&mut command.spawn().unwrap()).code(), Some(0), "{under:?} {closed}");
            let text = fs::read_to_string(&file).unwrap();
            fs::remove_file(file).unwrap();
            text
        };
        let expected = seen(Nothing);
        for engine in ENGINES {
            assert_eq!(seen(engine), expected, "{engine:?} {closed}");
        }
    }
    stage.assert_clear();
}
