//! Kernels that hand no descriptor over (before Linux 5.14), as far as a filter that refuses the same can stand for them.

mod rights;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_FILTER_FLAG_NEW_LISTENER,
    SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, sock_filter, sock_fprog,
};
use serde_json::Value;
use tempfile::TempDir;

use rights::is_root;

const TMPSHIM: &str = env!("CARGO_BIN_EXE_tmpshim");

/// What is refused.
#[derive(Clone, Copy, Debug)]
enum Refused {
    /// The listener of a filter, with this errno.
    Listener(i32),
    /// And ptrace(2).
    Both,
}

impl Refused {
    fn filter(self) -> Vec<sock_filter> {
        let statement = |code: u32, k: u32| sock_filter { code: code as u16, jt: 0, jf: 0, k };
        let jump = |how: u32, k: u32, jf: u8| sock_filter { code: (BPF_JMP | how | BPF_K) as u16, jt: 0, jf, k };
        let number = statement(BPF_LD | BPF_W | BPF_ABS, 0);
        let refuse = |errno: i32| statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | errno as u32);
        let errno = if let Self::Listener(errno) = self { errno } else { libc::EINVAL };
        let mut filter = vec![
            number,
            jump(BPF_JEQ, libc::SYS_seccomp as u32, 3),
            // The lower half of its second argument.
            statement(BPF_LD | BPF_W | BPF_ABS, 24),
            jump(BPF_JSET, SECCOMP_FILTER_FLAG_NEW_LISTENER as u32, 1),
            refuse(errno),
        ];
        if matches!(self, Self::Both) {
            filter.extend([number, jump(BPF_JEQ, libc::SYS_ptrace as u32, 1), refuse(libc::EPERM)]);
        }
        filter.push(statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
        filter
    }

    /// Has `command` find it so.
    fn around(self, mut command: Command) -> Command {
        let filter = self.filter();
        let put_on = move || {
            let program = sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
            // SAFETY: the kernel copies the filter, which it does not write to, before the call returns.
            let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
            if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        };
        // SAFETY: one system call, between fork and exec.
        unsafe { command.pre_exec(put_on) };
        command.env_remove("LD_PRELOAD");
        command
    }

    fn run(self, flags: &[&str], program: &[&str]) -> Output {
        let mut command = Command::new(TMPSHIM);
        command.arg("run").args(flags).arg("--").args(program);
        self.around(command).output().unwrap()
    }
}

/// A bindfs mount, and a static program beside it.
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
        let ground = Self { directory: tempfile::Builder::new().prefix("tmpshim-old-").tempdir().unwrap() };
        for name in ["backing", "mount"] {
            fs::create_dir(ground.path(name)).unwrap();
        }
        let mounted = Command::new("bindfs").args([ground.path("backing"), ground.path("mount")]).status().unwrap();
        assert!(mounted.success());
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/notify.c");
        let built = Command::new("gcc").args(["-static", "-o"]).arg(ground.path("program")).arg(source).status();
        assert!(built.unwrap().success());
        Some(ground)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.path("mount")).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

fn message(output: &Output) -> String {
    let message = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(message.lines().count() <= 1, "{message}");
    message
}

#[test]
fn s5_where_there_is_no_listener_auto_takes_the_tracer_and_says_nothing() {
    let Some(ground) = Ground::new() else { return };
    let program = [&ground.text("program"), &ground.text("mount"), "exit", "7"];
    // An old kernel; somebody else's supervisor above.
    for refused in [Refused::Listener(libc::EINVAL), Refused::Listener(libc::EBUSY)] {
        for flags in [&[][..], &["--engine", "auto"], &["--engine", "trace"]] {
            let run = refused.run(flags, &program);
            assert_eq!((run.status.code(), message(&run).as_str()), (Some(7), ""), "{refused:?} {flags:?}");
        }
    }
    assert_eq!(fs::read_dir(ground.path("backing")).unwrap().count(), 0);
}

#[test]
fn s5_a_traced_program_has_a_tracer_and_a_notified_one_has_none() {
    if !is_root("such a filter") {
        return;
    }
    let look = ["sh", "-c", "while read name value; do [ $name = TracerPid: ] && echo $value; done < /proc/$$/status"];
    let tracer = |output: &Output| {
        assert_eq!(message(output), "");
        String::from_utf8(output.stdout.clone()).unwrap().trim().parse::<u32>().unwrap()
    };
    assert_ne!(tracer(&Refused::Listener(libc::EINVAL).run(&[], &look)), 0);
    let mut notified = Command::new(TMPSHIM);
    let output = notified.args(["run", "--"]).args(look).env_remove("LD_PRELOAD").output().unwrap();
    assert_eq!(tracer(&output), 0);
}

#[test]
fn s2_a_program_that_has_become_another_users_is_answered_by_a_tracer_without_cap_sys_ptrace() {
    let Some(ground) = Ground::new() else { return };
    for (path, mode) in [(ground.directory.path().to_owned(), 0o755), (ground.path("backing"), 0o1777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let user = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"];
    for what in [["exit", "7"], ["publish", ""]] {
        // As root in a container by Docker.
        let mut run = Command::new("setpriv");
        run.args(["--bounding-set", "-sys_ptrace", "--inh-caps", "-all", TMPSHIM, "run", "--engine", "trace", "--"]);
        run.args(user).arg(ground.path("program")).arg(ground.path("mount")).args(what).env_remove("LD_PRELOAD");
        let output = run.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(if what[0] == "exit" { 7 } else { 0 }), "{what:?}: {said}");
        let left = || fs::read_dir(ground.path("backing")).unwrap().count();
        assert_eq!(left(), 0, "{what:?}");
    }
}

#[test]
fn s5_without_a_listener_notify_says_why() {
    if !is_root("such a filter") {
        return;
    }
    let Some(ground) = Ground::new() else { return };
    let program = [&ground.text("program"), &ground.text("mount"), "exit", "7"];
    let run = Refused::Listener(libc::EINVAL).run(&["--engine", "notify"], &program);
    let said = message(&run);
    assert_eq!(run.status.code(), Some(125), "{said}");
    assert!(said.contains("older than 5.14") && said.contains("--best-effort") && !said.contains("ptrace"), "{said}");
}

#[test]
fn s5_without_listener_and_tracer_one_line_names_both_reasons() {
    let Some(ground) = Ground::new() else { return };
    let (program, mount) = (ground.text("program"), ground.text("mount"));
    let refused = Refused::Both.run(&[], &[&program, &mount, "exit", "7"]);
    let said = message(&refused);
    assert_eq!(refused.status.code(), Some(125), "{said}");
    assert!(["older than 5.14", "EINVAL", "ptrace", "EPERM", "--best-effort"].iter().all(|part| said.contains(part)));
    let traced = Refused::Both.run(&["--engine", "trace"], &[&program, &mount, "exit", "7"]);
    let said = message(&traced);
    assert_eq!(traced.status.code(), Some(125), "{said}");
    assert!(said.contains("ptrace") && !said.contains("5.14"), "{said}");
    // Unchanged, and so without O_TMPFILE.
    let unchanged = Refused::Both.run(&["--best-effort"], &[&program, &mount, "exit", "7"]);
    let said = String::from_utf8(unchanged.stderr).unwrap();
    assert!(unchanged.status.code() == Some(1) && said.contains("no supervisor"), "{said}");
    // The library reaches it.
    let open = "use Fcntl; sysopen(my $f, $ARGV[0], 020200000 | O_RDWR) or die $!; exit 7";
    let preloaded = Refused::Both.run(&[], &["perl", "-e", open, &mount]);
    let said = message(&preloaded);
    assert_eq!(preloaded.status.code(), Some(7), "{said}");
    assert!(["5.14", "ptrace", "the library is preloaded instead"].iter().all(|part| said.contains(part)), "{said}");
}

#[test]
fn s4_under_a_tracer_a_program_that_cannot_start_is_told_as_any() {
    let trace = |program: &str| {
        let mut command = Command::new(TMPSHIM);
        command.args(["run", "--engine", "trace", "--", program]).env_remove("LD_PRELOAD").output().unwrap()
    };
    for (program, status, part) in [
        ("no-such-program", 127, "not found in any directory of PATH"),
        ("/no/such/program", 127, "No such file"),
        ("/etc/passwd", 126, "Permission denied"),
    ] {
        let output = trace(program);
        let said = message(&output);
        assert_eq!(output.status.code(), Some(status), "{said}");
        assert!(said.contains(program) && said.contains(part), "{said}");
    }
}

#[test]
fn s4_under_a_tracer_statuses_and_signals_are_the_programs() {
    let trace = |script: &str| {
        let mut command = Command::new(TMPSHIM);
        command.args(["run", "--engine", "trace", "--", "sh", "-c", script]);
        command.env_remove("LD_PRELOAD").status().unwrap()
    };
    // 125 is what tmpshim itself would end with.
    for status in [0, 1, 125, 126, 255] {
        assert_eq!(trace(&format!("exit {status}")).code(), Some(status));
    }
    for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGHUP, libc::SIGSEGV, 64] {
        assert_eq!(trace(&format!("ulimit -c 0; kill -{signal} $$; exit 3")).signal(), Some(signal));
    }
}

fn found<'a>(subject: &'a Value, name: &str) -> Option<&'a Value> {
    subject["findings"].as_array().unwrap().iter().find(|finding| finding["name"] == name)
}

/// The first subject of this kind.
fn doctor(mut command: Command, kind: &str) -> Value {
    let output = command.output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let subjects = document["subjects"].as_array().unwrap();
    subjects.iter().find(|subject| subject["kind"] == kind).unwrap().clone()
}

#[test]
fn s5_the_doctor_says_which_engine_auto_takes_and_why() {
    if !is_root("such a filter") {
        return;
    }
    let ask = || {
        let mut command = Command::new(TMPSHIM);
        command.args(["doctor", "--json", "/tmp"]).env_remove("LD_PRELOAD");
        command
    };
    let system = doctor(ask(), "system");
    assert_eq!(found(&system, "engine").unwrap()["value"], "notify");
    let system = doctor(Refused::Listener(libc::EINVAL).around(ask()), "system");
    assert_eq!(found(&system, "supervisor").unwrap()["value"], true);
    let engine = found(&system, "engine").unwrap();
    assert_eq!(engine["value"], "trace");
    assert!(engine["found"].as_str().unwrap().contains("older than 5.14"), "{engine}");
    let system = doctor(Refused::Both.around(ask()), "system");
    let supervisor = found(&system, "supervisor").unwrap();
    assert_eq!((&supervisor["value"], found(&system, "engine")), (&Value::from(false), None));
    assert!(["5.14", "ptrace"].iter().all(|why| supervisor["found"].as_str().unwrap().contains(why)), "{supervisor}");
}

#[test]
fn s5_the_doctor_knows_the_tracer_above_a_process() {
    for (engine, traced) in [("trace", true), ("notify", false)] {
        let mut run = Command::new(TMPSHIM);
        run.args(["run", "--engine", engine, "--", "sh", "-c", "echo $$; read line"]).env_remove("LD_PRELOAD");
        let mut run = run.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut pid = String::new();
        BufReader::new(run.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        let mut ask = Command::new(TMPSHIM);
        ask.args(["doctor", "--json", "--pid", pid.trim()]).env_remove("LD_PRELOAD");
        let process = doctor(ask, "process");
        drop(run.stdin.take());
        let _ = run.wait();
        let supervised = &found(&process, "supervised").unwrap()["value"];
        assert_eq!((&supervised["supervised"], &supervised["engine"]), (&Value::from(true), &Value::from(engine)));
        let seen = found(&process, "supervised").unwrap()["found"].as_str().unwrap();
        assert_eq!(seen.contains("debugger"), traced, "{seen}");
    }
}
