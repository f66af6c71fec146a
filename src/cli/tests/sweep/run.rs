//! What `tmpshim run` cleans up by itself.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::rights::is_root;
use super::site::Site;
use super::sweeping::{TMPSHIM, lines, names, ready, text, tool};
use super::waiting::{end_of, eventually};

fn run(site: &Site) -> Command {
    let mut command = Command::new(TMPSHIM);
    command.args(["run", "--state-dir"]).arg(site.state()).arg("--").env_remove("LD_PRELOAD");
    command
}

/// A victim under `tmpshim run`.
fn run_victim(site: &Site, what: &str) -> Command {
    let mut command = run(site);
    command.arg(tool("victim")).arg(site.template()).args([what, "3", "file"]);
    command
}

#[test]
fn d5_run_cleans_up_behind_a_program_that_was_killed() {
    let site = Site::new();
    let output = run_victim(&site, "killed").output().unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGKILL));
    assert_eq!(text(&output), "ready\n");
    site.assert_clean();
    // And behind what the program started and is gone before it.
    let script = format!("'{}' '{}' killed 3; exit 4", tool("victim").display(), site.template().display());
    let output = run(&site).args(["sh", "-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    site.assert_clean();
}

#[test]
fn d5_run_cleans_up_when_the_daemon_has_ended() {
    let site = Site::new();
    let script = format!(
        "'{}' '{}' stays 3 <&3 & echo $! >'{root}/pid'; while [ -d '{root}' ] && [ ! -e '{root}/go' ]; do :; done",
        tool("victim").display(),
        site.template().display(),
        root = site.root.path().display(),
    );
    let line = format!("exec 3<&0; exec '{TMPSHIM}' run --state-dir '{}' -- sh -c \"$SCRIPT\"", site.state().display());
    let mut command = Command::new("sh");
    command.args(["-c", &line]).env("SCRIPT", script).env_remove("LD_PRELOAD");
    let (mut child, _output) = ready(&mut command);
    // The shell and the daemon are not in step.
    let number = || fs::read_to_string(site.root.path().join("pid")).ok()?.trim().parse::<i32>().ok();
    eventually("the shell has written its child's number", || number().is_some());
    let pid = number().unwrap();
    let input = child.stdin.take();
    fs::write(site.root.path().join("go"), "").unwrap();
    assert!(end_of(&mut child).success(), "run ends with its program");
    assert_eq!(names(&site.work()).len(), 3, "the daemon lives");
    // SAFETY: kill(2) touches no memory; the daemon waits for its standard input, which is open.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
    eventually("the keeper has cleaned up", || names(&site.work()).is_empty() && names(&site.state()).is_empty());
    drop(input);
}

#[test]
fn d5_a_killed_run_is_cleaned_up_by_sweep_or_the_next_run() {
    for next in ["sweep", "run"] {
        let site = Site::new();
        let mut command = run_victim(&site, "stays");
        let (mut child, _output) = ready(&mut command);
        let input = child.stdin.take();
        let victim =
            lines(&Command::new(TMPSHIM).args(["ps", "--json", "--state-dir"]).arg(site.state()).output().unwrap())[0]
                ["pid"]
                .as_i64()
                .unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(site.sweep(&[]).status.success());
        assert_eq!((names(&site.work()).len(), names(&site.state()).len()), (3, 1), "the program lives");
        // SAFETY: kill(2) touches no memory; the program waits for its standard input, which is open.
        assert_eq!(unsafe { libc::kill(victim as i32, libc::SIGKILL) }, 0);
        eventually("it is gone", || {
            if next == "sweep" {
                assert!(site.sweep(&[]).status.success());
            } else {
                assert!(run(&site).arg("true").status().unwrap().success());
            }
            names(&site.work()).is_empty() && names(&site.state()).is_empty()
        });
        drop(input);
    }
}

#[test]
fn d5_runs_within_runs_leave_nothing() {
    let site = Site::new();
    let mut command = run(&site);
    command.args([TMPSHIM, "run", "--"]).arg(tool("victim")).arg(site.template()).args(["killed", "3"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGKILL));
    site.assert_clean();
}

#[test]
fn s4_as_pid_1_run_cleans_up_behind_those_that_end_with_it() {
    if !is_root("a PID namespace") {
        return;
    }
    let site = Site::new();
    let script = format!(
        "'{}' '{}' daemon 3 <&3 >'{said}'; while ! grep -q ready '{said}'; do :; done; exit 7",
        tool("victim").display(),
        site.template().display(),
        said = site.root.path().join("said").display(),
    );
    let line = format!("exec 3<&0; exec '{TMPSHIM}' run --state-dir '{}' -- sh -c \"$SCRIPT\"", site.state().display());
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "sh", "-c", &line]).env("SCRIPT", script).env_remove("LD_PRELOAD");
    // Open until the end, so that nothing but the end of PID 1 ends the daemon.
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let input = child.stdin.take();
    assert_eq!(end_of(&mut child).code(), Some(7));
    site.assert_clean();
    drop(input);
}

#[test]
fn run_without_a_state_directory_says_so_on_the_log_only() {
    let site = Site::new();
    let log = site.root.path().join("log");
    if !is_root("a machine without a state directory") {
        return;
    }
    let script = format!(
        "mount --make-rprivate / && mount -t tmpfs -o ro none /dev/shm && mount -t tmpfs -o ro none /run && \
         exec '{TMPSHIM}' run --log '{}' -- '{}' '{}' ends 2",
        log.display(),
        tool("victim").display(),
        site.template().display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).env_remove("LD_PRELOAD").env_remove("XDG_RUNTIME_DIR");
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output), "ready\n");
    assert!(names(&site.work()).is_empty(), "it cleans up behind itself all the same");
    let said = fs::read_to_string(&log).unwrap();
    let line: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!((&line["event"], &line["program"]), (&"no-state-directory".into(), &"tmpshim".into()));
}
