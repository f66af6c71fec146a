//! Who outlives whom: orphans, daemons, and when one of us is killed.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::sync::mpsc::RecvTimeoutError;

use rustix::stdio::{dup2_stderr, stdout};

use super::processes::{descendants, kill, running, state_of};
use super::program::Program;
use super::rights::is_root;
use super::stage::Under::Nothing;
use super::stage::{AS_PID_1, ENGINES, Stage, TMPSHIM};
use super::waiting::{PATIENCE, eventually};

fn assert_no_zombie(below: i32) {
    eventually("nobody stays a zombie", || descendants(below).iter().all(|(_, state)| *state != 'Z'));
}

#[test]
fn s4_orphans_are_reaped_while_the_program_runs() {
    let stage = Stage::new();
    for engine in ENGINES {
        let (mut program, _) = Program::start(stage.command(engine, &["serve"]));
        let before = descendants(program.pid()).len();
        for _ in 0..3 {
            let orphans = program.ask("orphans 20");
            let mut orphans = orphans.split(' ').skip(1);
            assert_eq!(orphans.clone().count(), 20);
            assert_no_zombie(program.pid());
            assert!(orphans.all(|orphan| state_of(orphan.parse().unwrap()).is_none()), "{engine:?}");
        }
        assert_eq!(descendants(program.pid()).len(), before, "{engine:?}");
        program.say("exit 8");
        assert_eq!(program.end().code(), Some(8));
    }
    stage.assert_clear();
}

#[test]
fn s4_as_pid_1_orphans_are_reaped_also_those_of_strangers_and_daemons_end() {
    if !is_root("a PID namespace") {
        return;
    }
    let stage = Stage::new();
    for engine in ENGINES {
        let (mut program, _) = Program::start(stage.command_after(&AS_PID_1, engine, &["serve"]));
        let init = running(TMPSHIM, program.pid()).unwrap();
        let before = descendants(init).len();
        assert_eq!(program.ask("orphans 20").split(' ').count(), 21);
        assert_no_zombie(program.pid());
        // As by `docker exec`: their orphans are PID 1's.
        let into = ["nsenter", "--pid", "--mount", "--target", &init.to_string()];
        let (mut stranger, _) = Program::start(stage.command_after(&into, Nothing, &["serve"]));
        assert_eq!(stranger.ask("orphans 20").split(' ').count(), 21);
        assert_no_zombie(program.pid());
        stranger.say("exit 0");
        assert_eq!(stranger.end().code(), Some(0));
        assert_eq!(descendants(init).len(), before, "{engine:?}");
        program.say("daemon 9");
        assert_eq!(program.end().code(), Some(9), "{engine:?}");
    }
    stage.assert_clear();
}

#[test]
fn s4_a_daemon_outlives_the_program_under_the_same_supervisor() {
    let stage = Stage::new();
    for engine in ENGINES {
        let mut command = stage.command(engine, &["serve"]);
        // SAFETY: one system call, in the child.
        unsafe { command.pre_exec(|| Ok(dup2_stderr(stdout())?)) };
        let (mut program, _) = Program::start(command);
        program.say("daemon 7");
        assert_eq!(program.end().code(), Some(7), "{engine:?}: we end with the program");
        let daemon = program.number_after("daemon");
        assert_eq!(program.ask("add 3 4"), "sum 7");
        assert_eq!(program.ask("supervised"), if engine.has_supervisor() { "yes" } else { "no" }, "{engine:?}");
        let orphans = program.ask("orphans 10");
        for orphan in orphans.split(' ').skip(1) {
            eventually("it is reaped", || state_of(orphan.parse().unwrap()).is_none());
        }
        program.say("mute");
        // Who reads what the program wrote does not have to wait for whoever else is still there.
        assert_eq!(program.lines.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected), "{engine:?}");
        assert!(stage.family().contains(&daemon), "{engine:?}");
        drop(program.input.take());
        eventually("nobody is left", || stage.family().is_empty());
    }
    stage.assert_clear();
}

#[test]
fn s4_when_we_are_killed_the_program_goes_on() {
    let stage = Stage::new();
    for engine in ENGINES {
        let (mut program, _) = Program::start(stage.command(engine, &["serve"]));
        kill(program.pid(), libc::SIGKILL);
        assert_eq!(program.end().signal(), Some(libc::SIGKILL));
        assert_eq!(program.ask("add 3 4"), "sum 7", "{engine:?}");
        assert_eq!(program.ask("supervised"), if engine.has_supervisor() { "yes" } else { "no" }, "{engine:?}");
        drop(program.input.take());
        eventually("nobody is left", || stage.family().is_empty());
        // What was kept for it the next one removes.
        assert_eq!(stage.end(&[], engine, &["exit", "0"]).code(), Some(0));
    }
    stage.assert_clear();
}

#[test]
fn s4_when_the_supervisor_is_killed_we_end_as_the_program_ends() {
    let stage = Stage::new();
    let places = if is_root("a PID namespace") { &[&[][..], &AS_PID_1] } else { &[&[][..]][..] };
    for (engine, before) in ENGINES
        .iter()
        .filter(|engine| engine.has_supervisor())
        .flat_map(|engine| places.iter().map(move |place| (*engine, *place)))
    {
        for (last, status, signal) in [("exit 42", Some(42), None), ("signal 15", None, Some(15))] {
            let (mut program, _) = Program::start(stage.command_after(before, engine, &["serve"]));
            let front = if before.is_empty() { program.pid() } else { running(TMPSHIM, program.pid()).unwrap() };
            // It answers, so it has told the front of the program.
            assert_eq!(program.ask("supervised"), "yes");
            let supervisor = running(TMPSHIM, front).unwrap();
            kill(supervisor, libc::SIGKILL);
            eventually("it is gone", || !matches!(state_of(supervisor), Some(state) if state != 'Z'));
            assert_eq!(program.ask("add 3 4"), "sum 7", "{engine:?}");
            kill(front, libc::SIGWINCH);
            program.say(last);
            let expected = match (before, signal) {
                ([_, ..], Some(signal)) => (Some(128 + signal), None),
                _ => (status, signal),
            };
            let ended = program.end();
            assert_eq!((ended.code(), ended.signal()), expected, "{engine:?} {before:?}");
        }
        assert_eq!(stage.end(&[], engine, &["exit", "0"]).code(), Some(0));
    }
    stage.assert_clear();
}
