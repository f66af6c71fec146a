//! `tmpshim run` as a parent: the program finds and leaves behind what it would without us.

mod rights;
mod waiting;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, WaitOptions, waitpid};

use rights::is_root;
use waiting::{end_of, eventually};

const TMPSHIM: &str = env!("CARGO_BIN_EXE_tmpshim");

/// Signals that do not end a process by themselves.
const HARMLESS: [i32; 8] = [
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGURG,
    libc::SIGWINCH,
    libc::SIGSTOP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// libc's own. glibc's `posix_spawn`, by which a test starts us, leaves them ignored.
const INTERNAL: [i32; 2] = [32, 33];

fn run() -> Command {
    let mut command = Command::new(TMPSHIM);
    command.args(["run", "--"]).env_remove("LD_PRELOAD");
    command
}

/// `sh -c SCRIPT`, under `tmpshim run` and as it is.
fn shell(under_us: bool, script: &str) -> Command {
    let mut command = if under_us { run() } else { Command::new("env") };
    command.args(["sh", "-c", script]);
    command
}

fn ended(status: ExitStatus) -> (Option<i32>, Option<i32>) {
    (status.code(), status.signal())
}

/// The directories that the run with this number has made and not removed.
fn places(run: u32) -> Vec<PathBuf> {
    let prefix = format!("tmpshim-run-{run}-");
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let parents = ["/run", "/var/lib", "/dev/shm"].map(PathBuf::from).into_iter().chain(runtime);
    let entries = parents.filter_map(|parent| fs::read_dir(parent).ok()).flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)).map(|entry| entry.path()).collect()
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: kill(2) touches no memory; the child has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

/// Starts a script and waits until it has written "ready".
fn ready(script: &str) -> (Child, BufReader<impl Read>) {
    let mut child = shell(true, script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, output)
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn s4_every_exit_status_is_the_programs() {
    for status in 0..=255 {
        let ended = shell(true, &format!("exit {status}")).status().unwrap();
        assert_eq!(ended.code(), Some(status));
    }
}

#[test]
fn s4_a_program_ended_by_any_signal_ends_us_by_the_same() {
    let stopping = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    for signal in (1..=64).filter(|signal| !stopping.contains(signal)) {
        let script = format!("ulimit -c 0; kill -{signal} $$; exit 3");
        let [with, without] = [true, false].map(|us| shell(us, &script).stderr(Stdio::null()).status().unwrap());
        assert_eq!(ended(with), ended(without), "signal {signal}");
        let ends = !HARMLESS.contains(&signal) && !INTERNAL.contains(&signal);
        assert_eq!(with.signal(), ends.then_some(signal));
    }
}

#[test]
fn s4_the_core_is_the_programs_and_not_ours() {
    let directory = tempfile::tempdir().unwrap();
    let status = shell(true, "ulimit -c unlimited; kill -ABRT $$").current_dir(directory.path()).status().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGABRT));
    assert!(!status.core_dumped());
}

#[test]
fn s4_every_ending_signal_is_passed_on() {
    let not_passed_on =
        |number: &i32| HARMLESS.contains(number) || INTERNAL.contains(number) || *number == libc::SIGKILL;
    for number in (1..=64).filter(|number| !not_passed_on(number)) {
        let (mut child, _output) = ready("ulimit -c 0; echo ready; exec sleep 1000");
        let pid = child.id();
        signal(&child, number);
        assert_eq!(ended(end_of(&mut child)), (None, Some(number)));
        eventually("nothing of ours is left", || places(pid).is_empty());
    }
}

#[test]
fn s4_harmless_signals_are_passed_on_too() {
    for (number, name) in [(libc::SIGWINCH, "WINCH"), (libc::SIGURG, "URG"), (libc::SIGCONT, "CONT")] {
        let script = format!("trap 'kill $!; exit 7' {name}; sleep 1000 & echo ready; wait");
        let (mut child, _output) = ready(&script);
        signal(&child, number);
        assert_eq!(end_of(&mut child).code(), Some(7), "{name}");
    }
}

#[test]
fn s4_a_stopped_program_stops_us_and_goes_on_with_us() {
    #[expect(clippy::zombie_processes, reason = "waited for by waitpid, which tells of stops")]
    let child = shell(true, "kill -STOP $$; exit 5").spawn().unwrap();
    let pid = Pid::from_raw(child.id() as i32).unwrap();
    let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
    assert_eq!(status.stopping_signal(), Some(libc::SIGSTOP));
    signal(&child, libc::SIGCONT);
    let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
    assert_eq!(status.exit_status(), Some(5));
}

#[test]
fn s4_as_pid_1_it_reaps_and_gives_the_shells_status() {
    if !is_root("a PID namespace") {
        return;
    }
    let pid_1 = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", TMPSHIM, "run", "--", "sh", "-c", script]);
        command.output().unwrap()
    };
    let output = pid_1("exit 9");
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    assert_eq!(pid_1("kill -TERM $$").status.code(), Some(128 + libc::SIGTERM));
    // The grandchild is orphaned, ends, and must not stay as a zombie; $! of the inner shell is its number.
    let orphan = "pid=$(sh -c 'true & echo $!'); while [ -e /proc/$pid ]; do :; done; echo reaped";
    assert_eq!(text(&pid_1(orphan)).0, "reaped\n");
}

#[test]
fn s4_the_program_finds_what_the_caller_left() {
    let signals = "grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status";
    let descriptors = "for fd in 0 1 2 3 4 5 6 7 8 9; do if [ -e /proc/$$/fd/$fd ]; then echo $fd; fi; done";
    for (before, after, script) in [
        ("trap '' PIPE HUP CHLD USR1;", "", signals),
        ("", "", signals),
        ("", "<&-", descriptors),
        ("", "2>&-", descriptors),
    ] {
        let start = |program: &str| {
            let line = format!("{before} exec {program} sh -c '{}' {after}", script.replace('\'', "'\\''"));
            Command::new("sh").args(["-c", &line]).output().unwrap()
        };
        let (with, without) = (start(&format!("{TMPSHIM} run --")), start("env"));
        assert_eq!(text(&with), text(&without), "{before} {after}");
        assert!(with.status.success() && !with.stdout.is_empty());
    }
}

#[test]
fn what_cannot_be_started_is_127_or_126_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let script = |name: &str, mode: u32| {
        let path = directory.path().join(name);
        fs::write(&path, "#!/no/such/interpreter\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (plain, orphan) = (script("plain", 0o644), script("orphan", 0o755));
    for (program, status, why) in [
        ("no-such-program", 127, "not found in any directory of PATH"),
        ("/no/such/program", 127, "No such file"),
        (&orphan, 127, "/no/such/interpreter"),
        (&plain, 126, "Permission denied"),
        ("/", 126, "Permission denied"),
    ] {
        let child = run().arg(program).stderr(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let output = child.wait_with_output().unwrap();
        let (_, message) = text(&output);
        assert_eq!(output.status.code(), Some(status), "{message}");
        assert!(message.starts_with("tmpshim: cannot run ") && message.contains(program), "{message}");
        assert!(message.contains(why) && message.lines().count() == 1, "{message}");
        assert_eq!(places(pid), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_bad_flag_is_2_and_names_what_is_accepted() {
    let output = Command::new(TMPSHIM).args(["run", "--cleanup", "some", "--", "true"]).output().unwrap();
    let (_, message) = text(&output);
    assert_eq!(output.status.code(), Some(2));
    for part in ["--cleanup", "some", "all", "empty", "failed", "off"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(Command::new(TMPSHIM).args(["run"]).output().unwrap().status.code(), Some(2));
    // What looks like a flag is one, and no program's name, unless "--" stands before it.
    let output = Command::new(TMPSHIM).args(["run", "--lgo", "stderr", "true"]).output().unwrap();
    let (_, message) = text(&output);
    assert!(output.status.code() == Some(2) && message.contains("--lgo"), "{message}");
    assert_eq!(Command::new(TMPSHIM).args(["run", "--", "--lgo"]).output().unwrap().status.code(), Some(127));
    // A program's own flags are the program's, also without "--".
    let output = Command::new(TMPSHIM).args(["run", "printf", "%s ", "--log", "--", "-x"]).output().unwrap();
    assert_eq!(output.stdout, b"--log -- -x ");
}

#[test]
fn s7_the_library_is_there_for_everyone_while_the_program_runs_and_gone_afterwards() {
    let script = "echo ready; printf '%s\\n' \"$LD_PRELOAD\" \"$TMPSHIM_CLEANUP\"; read line";
    let mut child = Command::new(TMPSHIM)
        .args(["run", "--cleanup", "empty", "--", "sh", "-c", script])
        .env_remove("LD_PRELOAD")
        .env("TMPSHIM_CLEANUP", "off")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let lines: Vec<_> = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).take(3).collect();
    assert_eq!((lines[0].as_str(), lines[2].as_str()), ("ready", "empty"), "the flag wins over the environment");
    let library = Path::new(&lines[1]);
    let file = fs::metadata(library).unwrap();
    assert!(file.len() > 0);
    if rustix::process::geteuid().is_root() && library.file_name().is_some_and(|name| name == "libtmpshim.so") {
        assert_eq!(file.mode() & 0o7777, 0o644);
        for directory in library.ancestors().skip(1) {
            assert_ne!(fs::metadata(directory).unwrap().mode() & 0o001, 0, "{}", directory.display());
        }
    }
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output).1, "", "neither we nor the loader say anything");
    assert_eq!(places(pid), Vec::<PathBuf>::new());
}

#[test]
fn what_the_user_preloads_stays() {
    let directory = tempfile::tempdir().unwrap();
    let theirs = directory.path().join("theirs.so");
    let written = Command::new(TMPSHIM).args(["library", "--output"]).arg(&theirs).status().unwrap();
    assert!(written.success());
    let output = run().args(["sh", "-c", "echo \"$LD_PRELOAD\""]).env("LD_PRELOAD", &theirs).output().unwrap();
    let (preload, complaints) = text(&output);
    assert_eq!(complaints, "");
    let entries: Vec<_> = preload.trim().split(':').collect();
    assert!(entries.len() == 2 && entries[1] == theirs.to_str().unwrap(), "{preload}");
}

#[test]
fn an_inner_run_does_not_preload_twice() {
    let output = run().args([TMPSHIM, "run", "--", "sh", "-c", "echo \"$LD_PRELOAD\""]).output().unwrap();
    assert_eq!(text(&output).0.trim().split(':').count(), 1);
}

#[test]
fn s7_a_daemon_finds_the_library_after_the_program_has_ended() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    // The daemon starts another program when its input ends, long after the shell that made it is gone.
    let script = format!("{{ read line; /bin/echo started; }} <&3 >{} 2>&1 5>&- & echo ready", log.display());
    // A copy of standard output, too: whoever stays behind must not keep the caller's pipes open.
    let line = format!("exec 3<&0 5>&1; exec {TMPSHIM} run -- sh -c '{script}' 5>&1");
    let mut child =
        Command::new("sh").args(["-c", &line]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let input = child.stdin.take().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output).0.as_str()), (Some(0), "ready\n"), "we end with the program");
    drop(input);
    eventually("the daemon has ended", || fs::read_to_string(&log).is_ok_and(|log| log.ends_with('\n')));
    assert_eq!(fs::read_to_string(&log).unwrap(), "started\n", "its loader has nothing to complain about");
    eventually("nothing of ours is left", || places(pid).is_empty());
}

#[test]
fn what_a_killed_run_leaves_the_next_one_removes() {
    let (mut child, output) = ready("echo ready; read line");
    let pid = child.id();
    let input = child.stdin.take();
    child.kill().unwrap();
    child.wait().unwrap();
    drop(input);
    // The program's end closes its output.
    std::io::copy(&mut { output }, &mut std::io::sink()).unwrap();
    eventually("a later run removes it", || {
        assert!(run().arg("true").status().unwrap().success());
        places(pid).is_empty()
    });
}

#[test]
fn a_program_that_the_library_cannot_reach_is_run_and_told() {
    let mut command = Command::new(TMPSHIM);
    let output = command.args(["run", "--engine", "preload", "--", TMPSHIM, "--version"]).output().unwrap();
    let (version, warning) = text(&output);
    assert!(output.status.success() && version.starts_with("tmpshim "));
    assert!(warning.contains(TMPSHIM) && warning.contains("statically linked"), "{warning}");
    assert_eq!(warning.lines().count(), 1, "{warning}");
}

#[test]
fn the_library_is_handed_out() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("libtmpshim.so");
    for _ in 0..2 {
        assert!(Command::new(TMPSHIM).args(["library", "--output"]).arg(&file).status().unwrap().success());
    }
    let printed = Command::new(TMPSHIM).args(["library", "--output", "-"]).output().unwrap();
    assert_eq!(fs::read(&file).unwrap(), printed.stdout);
    assert!(printed.stdout.starts_with(b"\x7fELF"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);

    let refused = Command::new(TMPSHIM).args(["library", "--output", "/no/such/place/file"]).output().unwrap();
    let (_, message) = text(&refused);
    assert_eq!(refused.status.code(), Some(1));
    assert!(message.contains("/no/such/place/file: No such file") && message.contains("--output"), "{message}");
    // A full device: the error is seen, not lost in a buffer.
    if let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") {
        let status =
            Command::new(TMPSHIM).args(["library", "--output", "-"]).stdout(full).stderr(Stdio::null()).status();
        assert_eq!(status.unwrap().code(), Some(1));
    }
}

#[test]
fn the_demo_leaves_nothing_behind_when_interrupted() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = Command::new(TMPSHIM);
    let mut child = demo.arg("demo").env("TMPDIR", directory.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    eventually("it has begun", || fs::read_dir(directory.path()).unwrap().count() > 0);
    let pid = child.id();
    signal(&child, libc::SIGINT);
    assert_eq!(ended(end_of(&mut child)), (None, Some(libc::SIGINT)));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    assert_eq!(places(pid), Vec::<PathBuf>::new());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(directory.path().to_str().unwrap()), "{mounts}");
    std::io::stdout().flush().unwrap();
}
