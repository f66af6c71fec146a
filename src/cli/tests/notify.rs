//! The supervised engines on a filesystem without O_TMPFILE, with programs that no library reaches.

mod rights;
mod waiting;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use rights::is_root;
use waiting::{end_of, eventually};

const TMPSHIM: &str = env!("CARGO_BIN_EXE_tmpshim");

/// The kernel tells a listener of a program's calls, or a tracer.
const ENGINES: [&str; 2] = ["notify", "trace"];

/// A bindfs mount, and the programs beside it.
struct Ground {
    directory: TempDir,
}

impl Ground {
    /// Nothing, and the reason is said, where there can be none here.
    fn new() -> Option<Self> {
        let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
        if !is_root("bindfs") || !has("bindfs") || !has("gcc") {
            eprintln!("not shown: it takes root, bindfs and gcc");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("tmpshim-notify-").tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let ground = Self { directory };
        for (name, mode) in [("backing", 0o1777), ("mount", 0o755)] {
            let path = ground.path(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let mounted = Command::new("bindfs").args([ground.path("backing"), ground.path("mount")]).status().unwrap();
        assert!(mounted.success());
        Some(ground)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn mount(&self) -> PathBuf {
        self.path("mount")
    }

    fn c_program(&self) -> PathBuf {
        let program = self.path("program");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/notify.c");
        let built = Command::new("gcc").args(["-static", "-Wall", "-o"]).arg(&program).arg(source).status().unwrap();
        assert!(built.success());
        program
    }

    fn assert_empty(&self) {
        let names =
            |path: PathBuf| -> Vec<_> { fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect() };
        assert_eq!(names(self.mount()), names(self.path("backing")));
        // Removed on the filesystem below by a server that does so when the file is closed, which may come after the end.
        eventually("nothing is left", || names(self.path("backing")).iter().all(|name| name == "closed"));
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.mount()).status();
    }
}

fn supervised(engine: &str, program: &Path) -> Command {
    let mut command = Command::new(TMPSHIM);
    command.args(["run", "--engine", engine, "--"]).arg(program).env_remove("LD_PRELOAD");
    command
}

fn with_and_without(program: &Path) -> [Command; 3] {
    let [notified, traced] = ENGINES.map(|engine| supervised(engine, program));
    [Command::new(program), notified, traced]
}

fn text(output: &Output) -> String {
    format!("{:?} {}{}", output.status, output.stdout.escape_ascii(), output.stderr.escape_ascii())
}

/// Processes that are a supervisor of ours: forked from the command that runs this program.
fn supervisors(of: &Path) -> usize {
    let wanted = of.to_str().unwrap().as_bytes();
    let lines =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.windows(wanted.len()).any(|window| window == wanted)).count()
}

#[test]
fn s2_a_static_program_gets_its_files_and_exact_answers() {
    let Some(ground) = Ground::new() else { return };
    let program = ground.c_program();
    let closed = ground.mount().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    for what in ["doors", "as-somebody", "in-another-root", "storm"] {
        let without = Command::new(&program).arg(ground.mount()).arg(what).output().unwrap();
        assert_eq!(without.status.code(), Some(1), "{what}: {}", text(&without));
        for engine in ENGINES {
            let with = supervised(engine, &program).arg(ground.mount()).arg(what).output().unwrap();
            assert_eq!(with.status.code(), Some(0), "{engine} {what}: {}", text(&with));
            ground.assert_empty();
        }
    }
    // What fails on every filesystem fails as before.
    for mut command in with_and_without(&program) {
        let output = command.arg(ground.mount()).arg("refusals").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    }
    fs::remove_dir(&closed).unwrap();
    ground.assert_empty();
    assert_eq!(supervisors(&program), 0);
}

#[test]
fn s2_the_log_knows_programs_that_end_as_soon_as_they_are_answered() {
    let Some(ground) = Ground::new() else { return };
    let (source, program, log) = (ground.path("brief.c"), ground.path("brief"), ground.path("log"));
    let text = "#define _GNU_SOURCE\n#include <fcntl.h>\nint main(int argc, char **argv)\n\
                { return open(argv[argc - 1], O_TMPFILE | O_RDWR, 0600) < 0; }\n";
    fs::write(&source, text).unwrap();
    assert!(Command::new("gcc").args(["-static", "-o"]).arg(&program).arg(&source).status().unwrap().success());
    // Who asks for the name after the answer is too late.
    for engine in ENGINES {
        for _ in 0..60 {
            let mut command = Command::new(TMPSHIM);
            command.args(["run", "--engine", engine, "--log"]).arg(&log).arg("--").arg(&program).arg(ground.mount());
            assert!(command.status().unwrap().success());
        }
        let said = fs::read_to_string(&log).unwrap();
        let named = said.lines().filter(|line| line.contains(r#""program":"brief","event":"stood-in""#));
        assert_eq!((named.count(), said.lines().count()), (60, 60), "{engine}: {said}");
        fs::remove_file(&log).unwrap();
        ground.assert_empty();
    }
}

#[test]
fn s2_a_filesystem_with_o_tmpfile_is_used_as_it_is() {
    let Some(ground) = Ground::new() else { return };
    let program = ground.c_program();
    let native = tempfile::tempdir_in("/dev/shm").unwrap();
    for what in ["doors", "refusals"] {
        for mut command in with_and_without(&program) {
            let output = command.arg(native.path()).arg(what).output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{what}: {}", text(&output));
        }
    }
    assert_eq!(fs::read_dir(native.path()).unwrap().count(), 0);
}

#[test]
fn s4_status_and_signals_pass_through_a_supervised_run() {
    let Some(ground) = Ground::new() else { return };
    let program = ground.c_program();
    for engine in ENGINES {
        let run = |what: &str, number: i32| {
            supervised(engine, &program).arg(ground.mount()).args([what, &number.to_string()]).status().unwrap()
        };
        for status in [0, 1, 77, 255] {
            assert_eq!(run("exit", status).code(), Some(status), "{engine}");
        }
        for signal in [libc::SIGTERM, libc::SIGKILL] {
            assert_eq!(run("signal", signal).signal(), Some(signal), "{engine}");
        }
        let mut command = supervised(engine, &program);
        let mut child = command.arg(ground.mount()).arg("wait").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        // SAFETY: kill(2) touches no memory; the child has not been waited for.
        unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
        assert_eq!(end_of(&mut child).signal(), Some(libc::SIGTERM), "{engine}");
        ground.assert_empty();
    }
    assert_eq!(supervisors(&program), 0, "who supervised is gone when we are");
}

#[test]
fn s4_a_daemon_is_supervised_to_its_end() {
    let Some(ground) = Ground::new() else { return };
    let program = ground.c_program();
    for engine in ENGINES {
        let mut command = supervised(engine, &program);
        command.arg(ground.mount()).arg("daemon").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take();
        assert!(end_of(&mut child).success(), "{engine}: we end with the program");
        drop(input);
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "opened\n", "{engine}");
        ground.assert_empty();
        eventually("the supervisor has ended", || supervisors(&program) == 0);
    }
}

#[test]
fn s3_a_go_program_gets_its_files_by_default() {
    let Some(ground) = Ground::new() else { return };
    let program = ground.path("go-program");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/notify.go");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&program).arg(source).current_dir(ground.directory.path());
    go.env("CGO_ENABLED", "0").env("GO111MODULE", "off").env("GOCACHE", ground.path("cache"));
    match go.status() {
        Err(error) => return eprintln!("not shown: it takes go: {error}"),
        Ok(status) => assert!(status.success()),
    }
    let without = Command::new(&program).arg(ground.mount()).output().unwrap();
    assert_eq!(without.status.code(), Some(1), "{}", text(&without));
    for engine in ["auto", "trace"] {
        let with = supervised(engine, &program).arg(ground.mount()).output().unwrap();
        assert_eq!(with.status.code(), Some(0), "{engine}: {}", text(&with));
        assert!(with.stderr.is_empty(), "{engine}: {}", text(&with));
        ground.assert_empty();
        assert_eq!(supervisors(&program), 0);
    }
}

#[test]
fn s4_without_privilege_it_works_and_says_what_it_costs() {
    let Some(ground) = Ground::new() else { return };
    let program = ground.c_program();
    // Where everybody can execute it, whatever the permissions above the one that was built.
    let command = ground.path("tmpshim");
    fs::copy(TMPSHIM, &command).unwrap();
    for engine in ENGINES {
        let mut somebody = Command::new("setpriv");
        somebody.args(["--reuid", "12345", "--regid", "12345", "--clear-groups"]).arg(&command);
        somebody.args(["run", "--engine", engine, "--"]).arg(&program).arg(ground.mount()).args(["exit", "7"]);
        let output = somebody.env_remove("LD_PRELOAD").output().unwrap();
        let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
        let message = String::from_utf8_lossy(&output.stderr);
        // With a scope of 1 a process may still trace its own child.
        let is_free = matches!((engine, scope.trim()), (_, "" | "0") | ("trace", "1"));
        if is_free {
            assert_eq!(output.status.code(), Some(7), "{engine}: {}", text(&output));
            let cost = if engine == "trace" { "set-uid programs gain no rights" } else { "no_new_privs" };
            assert!(message.contains(cost) && message.lines().count() == 1, "{engine}: {message}");
        } else {
            assert_eq!(output.status.code(), Some(125), "{engine}: {}", text(&output));
            assert!(message.contains("Yama"), "{engine}: {message}");
        }
        ground.assert_empty();
    }
}

#[test]
fn s6_when_the_supervisor_is_killed_the_program_is_told_and_goes_on() {
    let Some(ground) = Ground::new() else { return };
    let program = ground.c_program();
    for engine in ENGINES {
        let mut command = supervised(engine, &program);
        command.arg(ground.mount()).arg("answer").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let supervisor = only_child(child.id());
        // SAFETY: kill(2) touches no memory.
        unsafe { libc::kill(supervisor, libc::SIGKILL) };
        eventually("it is gone", || !children(child.id()).contains(&supervisor));
        drop(child.stdin.take());
        line.clear();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "Function not implemented\n", "{engine}");
        assert_eq!(child.wait().unwrap().code(), Some(0));
        ground.assert_empty();
    }
}

#[test]
fn s5_a_run_within_a_run_leaves_the_work_to_the_outer_one() {
    let Some(ground) = Ground::new() else { return };
    let program = ground.c_program();
    let inner = |outer: &str, flags: &[&str]| {
        let mut command = supervised(outer, Path::new(TMPSHIM));
        command.arg("run").args(flags).arg("--").arg(&program).arg(ground.mount()).args(["exit", "7"]);
        command.output().unwrap()
    };
    for outer in ENGINES {
        for flags in [&[][..], &["--engine", "notify"], &["--engine", "trace"], &["--engine", "preload"]] {
            let run = inner(outer, flags);
            let says = flags.last() == Some(&"preload");
            assert_eq!(
                (run.status.code(), !run.stderr.is_empty()),
                (Some(7), says),
                "{outer} {flags:?}: {}",
                text(&run)
            );
        }
        let tracking = inner(outer, &["--track", "*/tracked*"]);
        assert_eq!(tracking.status.code(), Some(7), "{outer}: {}", text(&tracking));
        assert!(String::from_utf8(tracking.stderr).unwrap().contains("--track"), "{outer}");
    }
    ground.assert_empty();
}

#[test]
fn s2_in_other_namespaces_and_with_other_rights_files_are_published() {
    let Some(ground) = Ground::new() else { return };
    let program = ground.c_program();
    let user = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"];
    let around: [&[&str]; 7] = [
        &[],
        &user,
        &["unshare", "-Ur"],
        &["unshare", "-mpf", "--mount-proc"],
        &["unshare", "-Urmpf", "--mount-proc"],
        &[&user[..], &["unshare", "-Ur"]].concat(),
        &[&user[..], &["unshare", "-Urm"]].concat(),
    ];
    let has_user_namespaces = Command::new("unshare").args(["-Ur", "true"]).output().is_ok_and(|o| o.status.success());
    for around in around.into_iter().filter(|around| has_user_namespaces || !around.iter().any(|a| a.starts_with("-U")))
    {
        let whole =
            |command: &mut Command| command.args(around).arg(&program).arg(ground.mount()).arg("publish").output();
        let mut without = Command::new("env");
        assert_eq!(whole(&mut without).unwrap().status.code(), Some(1), "{around:?}");
        for engine in [&["notify"][..], &["notify", "--without-wait-killable"], &["trace"]] {
            let mut with = Command::new(TMPSHIM);
            with.args(["run", "--engine"]).args(engine).arg("--").env_remove("LD_PRELOAD");
            let output = whole(&mut with).unwrap();
            assert_eq!(output.status.code(), Some(0), "{around:?} {engine:?}: {}", text(&output));
            ground.assert_empty();
        }
    }
    assert_eq!(supervisors(&program), 0);
}

#[test]
fn s2_nobody_gets_out_of_a_sandbox_through_the_supervisor() {
    let Some(ground) = Ground::new() else { return };
    let program = ground.c_program();
    for engine in ENGINES {
        let output = supervised(engine, &program).arg(ground.mount()).arg("shut-in").output().unwrap();
        if output.status.code() == Some(77) {
            return eprintln!("not shown: it takes Landlock");
        }
        let seen = (output.status.code(), &output.stdout[..]);
        assert_eq!(seen, (Some(0), &b"nobody got out\n"[..]), "{engine}: {}", text(&output));
        // Who was never inside goes on.
        let both = format!("'{0}' '{1}' shut-in && '{0}' '{1}' publish", program.display(), ground.mount().display());
        let output = supervised(engine, Path::new("sh")).args(["-c", &both]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{engine}: {}", text(&output));
    }
    ground.assert_empty();
}

#[test]
fn s1_a_programs_own_filter_is_not_taken_for_ours() {
    let Some(ground) = Ground::new() else { return };
    let program = ground.c_program();
    let memory = Path::new("/dev/shm");
    for mut command in with_and_without(&program) {
        let output = command.arg(memory).arg("own-filter").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    }
    for engine in ENGINES {
        let output = supervised(engine, &program).arg(ground.mount()).arg("own-filter").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{engine}: {}", text(&output));
    }
    ground.assert_empty();
}

/// `tmpshim run` of something that makes directories called `tracked…`.
fn tracking(engine: &str, ground: &Ground, program: &Path, state: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(TMPSHIM);
    command.args(["run", "--engine", engine, "--track", "*/tracked*", "--state-dir"]).arg(state).args(flags);
    command.arg("--").arg(program).arg(ground.mount()).env_remove("LD_PRELOAD");
    command
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn d1_a_static_programs_directory_is_tracked_and_goes_as_the_settings_say() {
    let Some(ground) = Ground::new() else { return };
    let program = ground.c_program();
    let state = ground.path("state");
    for (flags, status, left) in [
        (&[][..], "0", &[][..]),
        (&[], "3", &[]),
        (&["--cleanup", "failed"], "3", &[]),
        (&["--cleanup", "failed"], "0", &["file"]),
        (&["--cleanup", "empty"], "0", &["file"]),
        (&["--cleanup", "off"], "3", &["file"]),
        (&["--skip", "*/tracked"], "0", &["file"]),
        (&["--skip-programs", "program"], "0", &["file"]),
        (&["--without-wait-killable"], "0", &[]),
    ] {
        for engine in ENGINES {
            let output = tracking(engine, &ground, &program, &state, flags).args(["make", status]).output().unwrap();
            assert_eq!(output.status.code(), status.parse().ok(), "{engine}: {}", text(&output));
            let made = ground.mount().join("tracked");
            let there = if made.exists() { names(&made) } else { Vec::new() };
            assert_eq!(there, left, "{engine} {flags:?} {status}");
            let _ = fs::remove_dir_all(&made);
            assert_eq!(names(&state), Vec::<String>::new());
        }
    }
    ground.assert_empty();
}

#[test]
fn d3_the_last_one_out_removes_what_a_static_program_made() {
    let Some(ground) = Ground::new() else { return };
    let program = ground.c_program();
    let state = ground.path("state");
    for engine in ENGINES {
        let mut command = tracking(engine, &ground, &program, &state, &[]);
        let mut child = command.arg("master").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "worker's is gone\n");
        let input = child.stdin.take();
        assert!(child.wait().unwrap().success());
        assert_eq!(names(&ground.mount()), ["tracked-master"]);
        drop(input);
        line.clear();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "still there\n");
        eventually("nobody is left", || supervisors(&program) == 0);
        assert_eq!(names(&state), Vec::<String>::new());
        ground.assert_empty();
    }
}

#[test]
fn d5_behind_a_killed_supervisor_nothing_goes_before_its_last_user() {
    let Some(ground) = Ground::new() else { return };
    let program = ground.c_program();
    let state = ground.path("state");
    for engine in ENGINES {
        let mut command = tracking(engine, &ground, &program, &state, &[]);
        let mut child = command.arg("master").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let overseer = only_child(child.id());
        // SAFETY: kill(2) touches no memory; neither has been waited for.
        let killed = unsafe { libc::kill(child.id() as i32, libc::SIGSTOP) | libc::kill(overseer, libc::SIGKILL) };
        assert_eq!(killed, 0);
        let input = child.stdin.take();
        child.kill().unwrap();
        child.wait().unwrap();
        let sweep = || Command::new(TMPSHIM).args(["sweep", "--state-dir"]).arg(&state).output().unwrap();
        assert!(sweep().status.success());
        assert_eq!(names(&ground.mount()), ["tracked-master"], "its maker's child lives");
        drop(input);
        line.clear();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "still there\n");
        eventually("it is swept", || {
            assert!(sweep().status.success());
            names(&state).is_empty()
        });
        ground.assert_empty();
    }
}

fn only_child(process: u32) -> i32 {
    let mut found = Vec::new();
    // While another child of it comes or goes, the list may leave some out (proc_pid_children(5)).
    eventually("there is one child", || {
        found = children(process);
        found.len() == 1
    });
    found[0]
}

fn children(process: u32) -> Vec<i32> {
    let line = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    line.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// `command` in a sandbox that refuses these system calls.
fn denied(ground: &Ground, program: &Path, calls: &[(libc::c_long, i32)], command: &[&str]) -> Command {
    let mut sandbox = Command::new(program);
    sandbox.arg(ground.mount()).arg("deny").env_remove("LD_PRELOAD");
    for (number, errno) in calls {
        sandbox.args([number.to_string(), errno.to_string()]);
    }
    sandbox.arg("--").args(command);
    sandbox
}

#[test]
fn s4_in_a_sandbox_like_dockers_it_works() {
    let Some(ground) = Ground::new() else { return };
    let program = ground.c_program();
    let old = [(libc::SYS_process_vm_readv, libc::EPERM), (libc::SYS_unshare, libc::EPERM)];
    let new = [(libc::SYS_unshare, libc::EPERM), (libc::SYS_setns, libc::EPERM), (libc::SYS_ptrace, libc::EPERM)];
    let none = [(libc::SYS_pidfd_open, libc::EPERM)];
    // A tracer needs ptrace, of course.
    let notified = [&old[..], &new, &none].map(|calls| ("notify", calls));
    for (engine, calls) in notified.into_iter().chain([&old[..], &new[..2], &none].map(|calls| ("trace", calls))) {
        let run = [TMPSHIM, "run", "--engine", engine, "--"];
        for what in ["doors", "publish", "storm", "as-somebody", "in-another-root"] {
            let mut command = denied(&ground, &program, calls, &run);
            if what == "as-somebody" {
                fs::create_dir(ground.mount().join("closed")).unwrap();
            }
            let output = command.arg(&program).arg(ground.mount()).arg(what).output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{engine} {what} {calls:?}: {}", text(&output));
            let _ = fs::remove_dir(ground.mount().join("closed"));
            ground.assert_empty();
        }
    }
    for (engine, errno) in ENGINES.iter().flat_map(|engine| [(engine, libc::EPERM), (engine, libc::EMFILE)]) {
        let run = [TMPSHIM, "run", "--engine", engine, "--track", "*/tracked*", "--"];
        let mut command = denied(&ground, &program, &[(libc::SYS_pidfd_open, errno)], &run);
        let mut child = command
            .arg(&program)
            .arg(ground.mount())
            .arg("made")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        drop(child.stdin.take());
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((said.as_str(), child.wait().unwrap().code()), ("there\n", Some(0)), "{engine}");
        ground.assert_empty();
    }
    assert_eq!(supervisors(&program), 0);
}

#[test]
fn s5_each_way_of_being_refused_is_one_line_that_says_what_to_do() {
    let Some(ground) = Ground::new() else { return };
    let program = ground.c_program();
    let mount = ground.mount();
    let inside = [program.to_str().unwrap(), mount.to_str().unwrap(), "exit", "7"];
    for (errno, reason, remedy) in [
        (libc::EBUSY, "EBUSY", "start the program outside of it"),
        (libc::EPERM, "EPERM", "allow the system call seccomp"),
        (libc::EINVAL, "EINVAL", "use a newer kernel"),
        (libc::ENOSYS, "ENOSYS", "CONFIG_SECCOMP_FILTER"),
    ] {
        let run = |flags: &[&str], inside: &[&str]| {
            let command = [&[TMPSHIM, "run"], flags, &["--"], inside].concat();
            denied(&ground, &program, &[(libc::SYS_seccomp, errno)], &command).output().unwrap()
        };
        for flags in [&[][..], &["--engine", "notify"]] {
            let refused = run(flags, &inside);
            let message = String::from_utf8(refused.stderr).unwrap();
            assert_eq!(refused.status.code(), Some(125), "{message}");
            assert!([reason, remedy, "--best-effort"].iter().all(|part| message.contains(part)), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
        // Unchanged, and so without O_TMPFILE.
        let unchanged = run(&["--best-effort"], &inside);
        let message = String::from_utf8(unchanged.stderr).unwrap();
        assert_eq!(unchanged.status.code(), Some(1), "{message}");
        assert!(message.contains(reason), "{message}");
        // The library reaches it.
        let preloaded = run(
            &[],
            &[
                "perl",
                "-e",
                "use Fcntl; sysopen(my $f, $ARGV[0], 020200000 | O_RDWR) or die $!; exit 7",
                mount.to_str().unwrap(),
            ],
        );
        let message = String::from_utf8(preloaded.stderr).unwrap();
        assert_eq!(preloaded.status.code(), Some(7), "{message}");
        assert!(message.contains(reason) && message.lines().count() == 1, "{message}");
        ground.assert_empty();
    }
    let run = [TMPSHIM, "run", "--engine", "notify", "--"];
    let threadless = [(libc::SYS_clone3, libc::EPERM)];
    let refused = denied(&ground, &program, &threadless, &[&run[..], &inside].concat()).output().unwrap();
    let message = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(125), "{message}");
    assert!(message.contains("clone3") && message.lines().count() == 1, "{message}");
    let mut without_proc = Command::new("unshare");
    without_proc
        .args(["-m", "sh", "-c", "umount -l /proc && exec \"$@\"", "sh", TMPSHIM, "run", "--engine", "notify", "--"])
        .args(inside);
    let refused = without_proc.env_remove("LD_PRELOAD").output().unwrap();
    let message = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(125), "{message}");
    assert!(message.contains("no /proc") && message.lines().count() == 1, "{message}");
    ground.assert_empty();
}
