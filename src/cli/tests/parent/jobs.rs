//! Sessions, stopping and going on: job control.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};

use super::processes::{is_stopped, kill, running};
use super::program::Program;
use super::rights::is_root;
use super::stage::Under::Nothing;
use super::stage::{AS_PID_1, ENGINES, STOPPING, Stage, TMPSHIM, WITH_AND_WITHOUT};
use super::terminal::Terminal;
use super::waiting::{end_of, eventually};

#[test]
fn s4_session_group_and_terminal_are_as_without() {
    let stage = Stage::new();
    let seen = ENGINES.map(|engine| {
        let program = |under| {
            let terminal = Terminal::open();
            let mut command = stage.command(under, &["state"]);
            terminal.lead(&mut command);
            let mut child = command.stdin(terminal.stdio()).stdout(Stdio::piped()).spawn().unwrap();
            let mut said = String::new();
            child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
            assert_eq!(end_of(&mut child).code(), Some(0));
            let line = said.lines().find(|line| line.starts_with("session")).unwrap();
            line.replace(&child.id().to_string(), "LEADER")
        };
        [program(engine), program(Nothing)]
    });
    for [with, without] in seen {
        assert_eq!(with, without);
        assert!(without.contains("terminal 1, in front LEADER"), "{without}");
    }
    stage.assert_clear();
}

/// Waits for the next change of a child: whether it was stopped, continued, or has ended.
fn change_of(child: i32) -> WaitStatus {
    let options = WaitOptions::UNTRACED | WaitOptions::CONTINUED | WaitOptions::NOHANG;
    let mut change = None;
    eventually("it stops or goes on", || {
        change = waitpid(Pid::from_raw(child), options).unwrap();
        change.is_some()
    });
    change.unwrap().1
}

#[test]
fn s4_stopped_and_continued_with_the_program() {
    let stage = Stage::new();
    for engine in ENGINES {
        let mut command = stage.command(engine, &["serve"]);
        // Not one without a parent outside: that is never stopped by a terminal.
        command.process_group(0);
        let (mut program, pid) = Program::start(command);
        let front = program.pid();
        for signal in STOPPING {
            let expect_stop = |by: &str| {
                let change = change_of(front);
                assert_eq!(change.stopping_signal(), Some(signal), "{engine:?} {by} {change:?}");
                eventually(&format!("{engine:?} {signal} {by}: the program is stopped"), || is_stopped(pid));
            };
            let expect_continuation = || assert!(change_of(front).continued(), "{engine:?} {signal}");
            program.say(&format!("signal {signal}"));
            expect_stop("by itself");
            kill(front, libc::SIGCONT);
            expect_continuation();
            assert_eq!(program.next(), "still here");

            kill(pid, signal);
            expect_stop("by another");
            kill(front, libc::SIGCONT);
            expect_continuation();
            assert_eq!(program.ask("add 1 2"), "sum 3");

            if signal != libc::SIGSTOP {
                kill(front, signal);
                expect_stop("through us");
                kill(front, libc::SIGCONT);
                expect_continuation();
                assert_eq!(program.ask("add 2 2"), "sum 4");
            }
        }
        program.say("exit 5");
        assert_eq!(program.end().code(), Some(5));
    }
    stage.assert_clear();
}

#[test]
fn s4_as_pid_1_a_stopped_program_goes_on() {
    if !is_root("a PID namespace") {
        return;
    }
    let stage = Stage::new();
    for engine in ENGINES {
        let mut command = stage.command_after(&AS_PID_1, engine, &["serve"]);
        command.process_group(0);
        let (mut program, _) = Program::start(command);
        let init = running(TMPSHIM, program.pid()).unwrap();
        let pid = running(engine.program(), init).unwrap();
        for signal in STOPPING {
            program.say(&format!("signal {signal}"));
            eventually("it stops", || is_stopped(pid));
            kill(init, libc::SIGCONT);
            assert_eq!(program.next(), "still here", "{engine:?} {signal}");
        }
        program.say("exit 6");
        assert_eq!(program.end().code(), Some(6));
    }
    stage.assert_clear();
}

#[test]
fn s4_job_control_in_a_shell_is_as_without() {
    let stage = Stage::new();
    for under in WITH_AND_WITHOUT {
        eprintln!("{under:?}");
        let mut terminal = Terminal::open();
        let mut command = stage.prepared("bash");
        command.args(["--norc", "--noprofile", "--noediting", "-i"]).env("TERM", "dumb").env("PS1", "PROMPT ");
        terminal.lead(&mut command);
        let mut bash =
            command.stdin(terminal.stdio()).stdout(terminal.stdio()).stderr(terminal.stdio()).spawn().unwrap();
        let program = Stage::line(&[], under, &["serve"]).join(" ");
        terminal.keys(&format!("{program}\n"));
        terminal.expect("ready ");
        terminal.keys("add 20 22\n");
        terminal.expect("sum 42");
        terminal.keys("\x1a");
        terminal.expect("Stopped");
        terminal.keys("echo was=$?\n");
        terminal.expect("was=148");
        terminal.keys("jobs -l\n");
        terminal.expect("Stopped");
        terminal.keys("fg\n");
        terminal.keys("add 1 2\n");
        terminal.expect("sum 3");
        terminal.keys("\x1a");
        terminal.expect("Stopped");
        // In the background it may not read from the terminal, and the next attempt stops it again.
        terminal.keys("bg; wait %1; echo waited=$?\n");
        terminal.expect("waited=149");
        terminal.keys("fg\n");
        terminal.keys("add 2 2\n");
        terminal.expect("sum 4");
        terminal.keys("\x03");
        // What is typed while a job is being interrupted is lost.
        terminal.expect("PROMPT");
        terminal.keys("echo was=$?\n");
        terminal.expect("was=130");
        terminal.keys("exit 7\n");
        assert_eq!(end_of(&mut bash).code(), Some(7), "{under:?}");
    }
    stage.assert_clear();
}
