//! Signals that come to us reach the program, once each.

use rustix::termios::{Winsize, tcsetwinsize};

use super::processes::{kill, running};
use super::program::Program;
use super::rights::is_root;
use super::stage::Under::Nothing;
use super::stage::{AS_PID_1, ENGINES, LAST, Stage, TMPSHIM, Under, WITH_AND_WITHOUT};
use super::terminal::Terminal;

/// Each signal that can be caught, alone; then all at once, those that are queued several times.
fn assert_passes_signals_on(program: &mut Program, to: i32, engine: Under) {
    let catchable = || (1..=LAST).filter(|&signal| signal != libc::SIGKILL && signal != libc::SIGSTOP);
    for signal in catchable() {
        kill(to, signal);
        program.expect_signal(signal, &format!("{engine:?}"));
    }
    // One that continues a process takes those that stop it back before they arrive.
    let times = |signal| if signal >= 32 { 5 } else { 1 };
    let mut expected: Vec<_> = catchable().filter(|&signal| signal != libc::SIGCONT).collect();
    expected = expected.iter().flat_map(|&signal| std::iter::repeat_n(signal, times(signal))).collect();
    for &signal in &expected {
        kill(to, signal);
    }
    let mut seen: Vec<i32> = expected.iter().map(|_| program.next().parse().unwrap()).collect();
    seen.sort_unstable();
    assert_eq!(seen, expected, "{engine:?}");
}

#[test]
fn s4_every_catchable_signal_arrives_once_and_queued_ones_with_their_count() {
    let stage = Stage::new();
    for engine in ENGINES {
        let (mut program, _) = Program::start(stage.command(engine, &["count"]));
        let to = program.pid();
        assert_passes_signals_on(&mut program, to, engine);
        assert_eq!(program.end_count(), ["end"], "{engine:?}");
    }
    stage.assert_clear();
}

#[test]
fn s4_as_pid_1_every_catchable_signal_arrives_once() {
    if !is_root("a PID namespace") {
        return;
    }
    let stage = Stage::new();
    for engine in ENGINES {
        let (mut program, _) = Program::start(stage.command_after(&AS_PID_1, engine, &["count"]));
        let init = running(TMPSHIM, program.pid()).unwrap();
        assert_passes_signals_on(&mut program, init, engine);
        assert_eq!(program.end_count(), ["end"], "{engine:?}");
    }
    stage.assert_clear();
}

#[test]
fn s4_signals_that_the_kernel_sends_to_us_alone_reach_the_program() {
    let stage = Stage::new();
    for under in WITH_AND_WITHOUT {
        // `perl -e 'alarm 10; exec @ARGV'` is how programs get a time limit.
        let launcher = [Nothing.program(), "with-alarm"];
        let (mut program, _) = Program::start(stage.command_after(&launcher, under, &["count"]));
        program.expect_signal(libc::SIGALRM, &format!("{under:?}"));
        assert_eq!(program.end_count(), ["end"], "{under:?}");
    }
    stage.assert_clear();
}

#[test]
fn s4_what_the_terminal_sends_arrives_once() {
    let stage = Stage::new();
    for under in WITH_AND_WITHOUT {
        let mut terminal = Terminal::open();
        let mut command = stage.command(under, &["count"]);
        terminal.lead(&mut command);
        let (mut program, _) = Program::with_input(command.stdin(terminal.stdio()));
        for (keys, signal) in [
            ("\x03", libc::SIGINT),
            ("\x1c", libc::SIGQUIT),
            ("\x1a", libc::SIGTSTP),
            ("", libc::SIGWINCH),
            ("\x03", libc::SIGINT),
        ] {
            terminal.keys(keys);
            if signal == libc::SIGWINCH {
                let size = Winsize { ws_row: 33, ws_col: 44, ws_xpixel: 0, ws_ypixel: 0 };
                tcsetwinsize(&terminal.master, size).unwrap();
            }
            program.expect_signal(signal, &format!("{under:?}"));
            // Comes after whatever else there is.
            kill(program.pid(), LAST);
            program.expect_signal(LAST, &format!("{under:?}, after {signal}"));
        }
        terminal.keys("\x04");
        assert_eq!(program.end_count(), ["end"], "{under:?}");
    }
    stage.assert_clear();
}

#[test]
fn s4_a_hangup_of_the_terminal_reaches_the_program() {
    let stage = Stage::new();
    for under in WITH_AND_WITHOUT {
        let terminal = Terminal::open();
        let mut command = stage.command(under, &["count"]);
        terminal.lead(&mut command);
        let (mut program, _) = Program::start(command);
        // The kernel tells the leader of the session, and nobody else.
        drop(terminal.master);
        let mut seen = [program.next(), program.next()];
        seen.sort();
        assert_eq!(seen, [libc::SIGHUP, libc::SIGCONT].map(|signal| signal.to_string()), "{under:?}");
        assert_eq!(program.end_count(), ["end"], "{under:?}");
    }
    stage.assert_clear();
}
