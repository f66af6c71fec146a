//! Servers that do not answer, and whoever ends the command in the middle: nothing hangs, nothing is left.

use std::collections::HashSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::ground::{Ground, TMPSHIM, assert_empty};
use super::report::{command, doctor, finding, validator, verdict};
use super::waiting::{end_of, eventually};

/// A bindfs of our own, to be stopped.
fn stoppable(ground: &mut Ground) -> (PathBuf, Child) {
    let (backing, path) = (ground.make("backing"), ground.make("mount"));
    let server = Command::new("bindfs").arg("-f").args([&backing, &path]).spawn().unwrap();
    ground.mounts.push(path.clone());
    let wanted = path.to_str().unwrap().to_owned();
    eventually("it is mounted", || fs::read_to_string("/proc/self/mounts").unwrap().contains(&wanted));
    fs::read_dir(&path).unwrap();
    (path, server)
}

/// Nothing is left, and the server ends with its mount.
fn take_down(mut ground: Ground, path: &Path, mut server: Child) {
    assert_empty(path);
    assert_empty(&ground.path("backing"));
    assert!(Command::new("umount").arg(path).status().unwrap().success());
    ground.mounts.clear();
    end_of(&mut server);
}

fn signal(process: u32, signal: i32) {
    // SAFETY: kill(2) touches no memory.
    assert_eq!(unsafe { libc::kill(process as i32, signal) }, 0);
}

#[test]
fn a_server_that_does_not_answer_holds_nobody_up_for_ever() {
    let Some(mut ground) = Ground::with_mounts(&["bindfs"]) else { return };
    let (path, server) = stoppable(&mut ground);
    signal(server.id(), libc::SIGSTOP);
    let begun = Instant::now();
    let report = doctor(&path);
    let took = begun.elapsed();
    signal(server.id(), libc::SIGCONT);
    assert!(took < Duration::from_secs(25), "{took:?}");
    let directory = report.first("directory");
    assert_eq!((report.status, verdict(directory, "answer")), (2, "could-not-tell"));
    assert_eq!(finding(directory, "mount")["value"]["type"], "fuse", "what the kernel knows is told");
    take_down(ground, &path, server);
}

#[test]
fn a_server_that_stops_in_the_middle_is_cleaned_up_behind_when_it_goes_on() {
    let Some(mut ground) = Ground::with_mounts(&["bindfs"]) else { return };
    let (path, server) = stoppable(&mut ground);
    let start = |_| command().arg(&path).stdout(Stdio::piped()).spawn().unwrap();
    // Some have not begun, some are in the middle, some have ended.
    let children: Vec<Child> = (0..16).map(start).collect();
    signal(server.id(), libc::SIGSTOP);
    let mut verdicts = HashSet::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(validator().is_valid(&document));
        verdicts.insert(output.status.code());
    }
    signal(server.id(), libc::SIGCONT);
    assert!(verdicts.is_subset(&HashSet::from([Some(1), Some(2)])) && verdicts.contains(&Some(2)), "{verdicts:?}");
    let wanted = path.to_str().unwrap().as_bytes();
    let is_ours =
        |line: Vec<u8>| line.starts_with(TMPSHIM.as_bytes()) && line.windows(wanted.len()).any(|part| part == wanted);
    eventually("those who waited have ended", || {
        let lines =
            fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        !lines.into_iter().any(is_ours)
    });
    take_down(ground, &path, server);
}

#[test]
fn who_ends_it_in_the_middle_finds_nothing_left() {
    let Some(mut ground) = Ground::with_mounts(&["bindfs"]) else { return };
    let path = ground.bindfs();
    let mut interrupted = 0;
    for number in [libc::SIGINT, libc::SIGTERM] {
        for delay in 0..40 {
            // The whole group, as the terminal's Ctrl-C does.
            let mut child = command().arg(&path).process_group(0).stdout(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(250 * delay));
            // SAFETY: kill(2) touches no memory; the child has not been waited for.
            unsafe { libc::kill(-(child.id() as i32), number) };
            interrupted += usize::from(child.wait().unwrap().code().is_none());
        }
    }
    assert!(interrupted > 10, "{interrupted}");
    assert_empty(&path);
    assert_empty(&ground.path("backing"));
}
