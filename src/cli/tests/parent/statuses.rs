//! How the program ends is how we end.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::rights::is_root;
use super::stage::Under::Nothing;
use super::stage::{AS_PID_1, ENGINES, LAST, STOPPING, Stage};

fn shown(status: ExitStatus) -> (Option<i32>, Option<i32>, bool) {
    (status.code(), status.signal(), status.core_dumped())
}

#[test]
fn s4_all_256_exit_statuses() {
    let stage = Stage::new();
    for engine in ENGINES {
        for status in 0..=255 {
            let ended = stage.end(&[], engine, &["exit", &status.to_string()]);
            assert_eq!(shown(ended), (Some(status), None, false), "{engine:?}");
        }
    }
    stage.assert_clear();
}

#[test]
fn s4_every_signal_ends_us_as_it_ends_the_program() {
    let stage = Stage::new();
    for signal in (1..=LAST).filter(|signal| !STOPPING.contains(signal)) {
        let arguments = ["signal", &signal.to_string()];
        let without = stage.end(&[], Nothing, &arguments);
        for engine in ENGINES {
            assert_eq!(shown(stage.end(&[], engine, &arguments)), shown(without), "{engine:?} {signal}");
        }
    }
    stage.assert_clear();
}

#[test]
fn s4_a_core_is_the_programs_and_there_is_no_second() {
    let stage = Stage::new();
    let cores = || fs::read_dir(stage.directory.path()).unwrap().flatten().map(|entry| entry.path());
    let cores = || cores().filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("core"));
    for signal in [libc::SIGQUIT, libc::SIGSEGV, libc::SIGSYS] {
        let arguments = ["core", &signal.to_string()];
        let without = stage.end(&[], Nothing, &arguments);
        let natively = cores().count();
        cores().for_each(|path| fs::remove_file(path).unwrap());
        for engine in ENGINES {
            let with = stage.end(&[], engine, &arguments);
            assert_eq!(shown(with), (None, without.signal(), false), "{engine:?}");
            assert_eq!(cores().count(), natively, "{engine:?}");
            cores().for_each(|path| fs::remove_file(path).unwrap());
        }
    }
    stage.assert_clear();
}

#[test]
fn s4_as_pid_1_all_statuses_and_for_signals_the_shells() {
    if !is_root("a PID namespace") {
        return;
    }
    let stage = Stage::new();
    for engine in ENGINES {
        for status in 0..=255 {
            let ended = stage.end(&AS_PID_1, engine, &["exit", &status.to_string()]);
            assert_eq!(ended.code(), Some(status), "{engine:?}");
        }
        for signal in (1..=LAST).filter(|signal| !STOPPING.contains(signal)) {
            let arguments = ["signal", &signal.to_string()];
            let without = stage.end(&[], Nothing, &arguments);
            let expected = without.signal().map_or(without.code(), |signal| Some(128 + signal));
            assert_eq!(stage.end(&AS_PID_1, engine, &arguments).code(), expected, "{engine:?} {signal}");
        }
    }
    stage.assert_clear();
}
