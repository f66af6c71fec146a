//! `tmpshim sweep --match`: what piled up goes, and what anybody uses does not (D6).

mod terminal;

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};
use serde_json::Value;
use tempfile::TempDir;
use terminal::Terminal;

const TMPSHIM: &str = env!("CARGO_BIN_EXE_tmpshim");
const NOBODY: u32 = 65534;
const PATIENCE: Duration = Duration::from_mins(1);

static TOOLS: OnceLock<TempDir> = OnceLock::new();

/// What is static is never dropped.
extern "C" fn remove_tools() {
    if let Some(tools) = TOOLS.get() {
        let _ = fs::remove_dir_all(tools.path());
    }
}

/// The holder (sweep_match.c), a victim for the library, and the command, where every user can reach them.
fn tool(name: &str) -> PathBuf {
    let tools = TOOLS.get_or_init(|| {
        let directory = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sweep_match.c");
        let victim = directory.path().join("victim.c");
        let text = "#include <signal.h>\n#include <stdio.h>\n#include <stdlib.h>\n\
                    int main(int count, char **arguments) { (void)count; if (!mkdtemp(arguments[1])) return 1;\n\
                    if (arguments[2][0] == 'k') raise(SIGKILL); puts(\"ready\"); fflush(stdout); getchar(); return 0; }";
        fs::write(&victim, text).unwrap();
        for (source, name) in [(source, "holder"), (victim, "victim")] {
            let mut cc = Command::new("cc");
            cc.args(["-O1", "-pthread", "-o"]).arg(directory.path().join(name)).arg(source);
            assert!(cc.status().unwrap().success());
        }
        let library = directory.path().join("libtmpshim.so");
        assert!(Command::new(TMPSHIM).args(["library", "--output"]).arg(library).status().unwrap().success());
        fs::copy(TMPSHIM, directory.path().join("tmpshim")).unwrap();
        // SAFETY: it takes nothing, and does not end the process.
        assert_eq!(unsafe { libc::atexit(remove_tools) }, 0);
        directory
    });
    tools.path().join(name)
}

/// A directory in which things pile up, and what is beside it.
struct Site {
    root: TempDir,
}

impl Site {
    fn new() -> Self {
        Self::new_in(&std::env::temp_dir())
    }

    fn new_in(parent: &Path) -> Self {
        let root = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir_in(parent).unwrap();
        let site = Self { root };
        for name in ["piled", "other", "state"] {
            fs::create_dir(site.path(name)).unwrap();
        }
        fs::set_permissions(site.path("state"), fs::Permissions::from_mode(0o700)).unwrap();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn piled(&self, name: &str) -> PathBuf {
        self.path("piled").join(name)
    }

    /// Makes an empty directory, as mkdtemp does.
    fn leak(&self, name: &str) -> PathBuf {
        let path = self.piled(name);
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        path
    }

    /// Makes one with `deep/file` in it.
    fn full(&self, name: &str) -> PathBuf {
        let path = self.leak(name);
        fs::create_dir(path.join("deep")).unwrap();
        fs::write(path.join("deep/file"), [7; 4096]).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.command_as(None, arguments)
    }

    fn command_as(&self, uid: Option<u32>, arguments: &[&str]) -> Command {
        let mut command = Command::new(tool("tmpshim"));
        command.args(["sweep", "--match", "leak-*"]).args(arguments).arg(self.path("piled"));
        command.env("TMPSHIM_STATE_DIR", self.path("state")).stdin(Stdio::null());
        if let Some(uid) = uid {
            command.uid(uid).gid(uid);
        }
        command
    }

    /// With `--yes`, whatever the age, the lines of `--json`.
    fn sweep(&self, arguments: &[&str]) -> Vec<Value> {
        let all = [&["--yes", "--json", "--older-than", "0s"], arguments].concat();
        let output = within(&mut self.command(&all));
        assert!(output.status.success(), "{output:?}");
        lines(&output)
    }

    fn names(&self) -> Vec<String> {
        names(&self.path("piled"))
    }

    /// Runs `leak-used` through a sweep while somebody uses it, and through another one when that is over.
    #[track_caller]
    fn assert_stays_while_used(&self, holder: Holder, arguments: &[&str], why: &str) {
        self.leak("leak-free");
        fs::create_dir(self.piled("canary")).unwrap();
        let all = self.sweep(arguments);
        assert_eq!(self.names(), ["canary", "leak-used"], "{all:?}");
        assert_eq!(paths(&all, "removed"), [self.piled("leak-free")]);
        assert_eq!(paths(&all, "skipped"), [self.piled("leak-used")]);
        let told = all.iter().find(|line| line["event"] == "skipped").unwrap()["why"].as_str().unwrap();
        assert!(told.contains(why), "{why} in {told}");
        holder.end();
        let all = self.sweep(arguments);
        assert_eq!(self.names(), ["canary"], "{all:?}");
        assert_eq!(paths(&all, "removed"), [self.piled("leak-used")]);
    }
}

/// A process that uses something until it is ended.
struct Holder {
    child: Child,
    input: Option<ChildStdin>,
}

impl Holder {
    fn new(arguments: &[&OsStr]) -> Self {
        let mut command = Command::new(tool("holder"));
        command.args(arguments).current_dir("/");
        Self::start(&mut command)
    }

    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let input = child.stdin.take();
        Self { child, input }
    }

    fn end(mut self) {
        drop(self.input.take());
        self.child.wait().unwrap();
    }
}

fn within(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut output, mut errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let read = std::thread::spawn(move || {
        let mut text = Vec::new();
        output.read_to_end(&mut text).unwrap();
        text
    });
    let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
    let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    if poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience)).unwrap() == 0 {
        child.kill().unwrap();
        panic!("it hangs");
    }
    let status = child.wait().unwrap();
    let mut stderr = Vec::new();
    errors.read_to_end(&mut stderr).unwrap();
    Output { status, stdout: read.join().unwrap(), stderr }
}

fn lines(output: &Output) -> Vec<Value> {
    str::from_utf8(&output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The paths of the lines of one kind, sorted.
fn paths(lines: &[Value], event: &str) -> Vec<PathBuf> {
    let found = lines.iter().filter(|line| line["event"] == event);
    let mut paths: Vec<PathBuf> = found.map(|line| line["path"].as_str().unwrap().into()).collect();
    paths.sort();
    paths
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap() + str::from_utf8(&output.stderr).unwrap()
}

fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not shown: {what} takes root");
    }
    root
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::yield_now();
    }
}

/// Waits until a directory was changed so long ago.
fn grow_old(path: &Path, age: Duration) {
    let seen = fs::symlink_metadata(path).unwrap();
    let changed = SystemTime::UNIX_EPOCH + Duration::new(seen.ctime() as u64, seen.ctime_nsec() as u32);
    eventually("time goes by", || SystemTime::now() > changed + age);
}

fn open_permissions(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn d6_only_empty_directories_of_that_name_go() {
    let site = Site::new();
    for number in 0..20 {
        site.leak(&format!("leak-{number}"));
    }
    site.full("leak-full");
    site.leak("other-1");
    site.leak("x-leak-1");
    fs::write(site.piled("leak-file"), "kept").unwrap();
    symlink(site.path("other"), site.piled("leak-link")).unwrap();
    symlink("nowhere", site.piled("leak-dangling")).unwrap();
    fs::create_dir(site.piled("other-1/leak-below")).unwrap();
    let kept = ["leak-dangling", "leak-file", "leak-full", "leak-link", "other-1", "x-leak-1"];
    let all = site.sweep(&[]);
    assert_eq!(site.names(), kept);
    assert_eq!((paths(&all, "removed").len(), paths(&all, "skipped")), (20, vec![site.piled("leak-full")]));
    assert!(all.iter().any(|line| line["why"] == "not empty; --contents takes them with what is in them"));
    let summary = all.last().unwrap();
    assert_eq!(summary["event"], "summary");
    assert_eq!(summary["counts"].to_string(), r#"{"directories":20,"files":0,"left":0,"living":0,"skipped":1}"#);
    let uid = rustix::process::geteuid().as_raw();
    assert!(all.iter().filter(|line| line["event"] == "removed").all(|line| line["uid"] == uid));
    assert!(site.path("other").is_dir() && site.piled("other-1/leak-below").is_dir());
    assert_eq!(fs::read_to_string(site.piled("leak-file")).unwrap(), "kept");

    let all = site.sweep(&["--contents"]);
    assert_eq!(paths(&all, "removed"), [site.piled("leak-full")]);
    assert_eq!(site.names(), kept.into_iter().filter(|name| *name != "leak-full").collect::<Vec<_>>());
}

#[test]
fn d6_contents_go_and_what_links_in_them_lead_to_stays() {
    let site = Site::new();
    let full = site.full("leak-full");
    fs::write(site.path("other/canary"), "kept").unwrap();
    symlink(site.path("other"), full.join("deep/link")).unwrap();
    symlink("../../other/canary", full.join("link")).unwrap();
    symlink("/", full.join("root")).unwrap();
    fs::hard_link(site.path("other/canary"), full.join("hard")).unwrap();
    drop(UnixListener::bind(full.join("stale")).unwrap());
    for mode in [0o000, 0o100, 0o500] {
        let path = full.join(format!("deep/{mode}"));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let all = site.sweep(&["--contents"]);
    assert_eq!((site.names().len(), paths(&all, "removed").len()), (0, 1), "{all:?}");
    assert_eq!(names(&site.path("other")), ["canary"]);
    assert_eq!(fs::read_to_string(site.path("other/canary")).unwrap(), "kept");
}

#[test]
fn d6_what_a_process_uses_stays() {
    let cases: [(&str, &str, &[&str], &str); 8] = [
        ("cwd", "", &[], "the working directory is"),
        ("cwd", "deep", &["--contents"], "the working directory is"),
        ("open", "", &[], "is open"),
        ("open", "deep/file", &["--contents"], "is open"),
        ("mapped", "deep/file", &["--contents"], "is mapped"),
        ("thread-open", "", &[], "is open"),
        ("thread-alone", "", &[], "the working directory is"),
        ("waits", "", &[], "the environment or command line names it"),
    ];
    for (how, below, arguments, why) in cases {
        let site = Site::new();
        let path = if arguments.is_empty() { site.leak("leak-used") } else { site.full("leak-used") };
        let holder = Holder::new(&[how.as_ref(), path.join(below).as_os_str()]);
        site.assert_stays_while_used(holder, arguments, why);
    }
}

#[test]
fn d6_a_root_directory_and_a_threads_own_working_directory_stay() {
    if !is_root("chroot") {
        return;
    }
    for (how, why) in [("root", "the root directory is"), ("thread-cwd", "the working directory is")] {
        let site = Site::new();
        let path = site.leak("leak-used");
        site.assert_stays_while_used(Holder::new(&[how.as_ref(), path.as_os_str()]), &[], why);
    }
}

#[test]
fn d6_a_running_program_stays() {
    let site = Site::new();
    let program = site.leak("leak-used").join("program");
    fs::copy(tool("holder"), &program).unwrap();
    // What another thread has just forked may still have the copy open to be written.
    eventually("it can be started", || {
        let mut command = Command::new(&program);
        command.arg("not known").stderr(Stdio::null());
        command.status().is_ok()
    });
    // Through a name of another directory: the command line says nothing.
    let link = site.path("other/program");
    symlink(&program, &link).unwrap();
    let holder = Holder::start(Command::new(&link).args(["waits", "/"]).current_dir("/"));
    site.assert_stays_while_used(holder, &["--contents"], "process");
}

#[test]
fn d6_a_bound_socket_stays_and_a_stale_one_does_not() {
    for how in ["bound", "bound-here"] {
        let site = Site::new();
        let path = site.leak("leak-used");
        let bound = if how == "bound" { path.join("agent") } else { path };
        let holder = Holder::new(&[how.as_ref(), bound.as_os_str()]);
        // The directory's own name is on the command line of the holder, which is one more reason.
        site.assert_stays_while_used(holder, &["--contents"], "");
    }
    // Nothing else tells of this one.
    let site = Site::new();
    let path = site.leak("leak-used");
    let mut command = Command::new(tool("holder"));
    command.args(["bound-here", "piled/leak-used"]).current_dir(site.root.path());
    let holder = Holder::start(&mut command);
    assert!(path.join("agent").exists());
    site.assert_stays_while_used(holder, &["--contents"], "a socket in it is bound");
}

#[test]
fn d6_use_in_another_mount_namespace_under_another_path_counts() {
    if !is_root("a mount namespace") {
        return;
    }
    for (how, why) in [
        ("elsewhere-open", "is open"),
        ("elsewhere-cwd", "the working directory is"),
        ("elsewhere-mapped", "is mapped"),
        ("elsewhere-mount", "tmpfs is mounted on"),
        ("elsewhere-source", "it, or a part of it, is mounted on"),
    ] {
        let site = Site::new();
        let used = site.full("leak-used");
        let path = if why.contains("mounted") { used } else { site.path("piled") };
        let holder = Holder::new(&[how.as_ref(), path.as_os_str(), site.path("other").as_os_str()]);
        site.assert_stays_while_used(holder, &["--contents"], why);
        assert!(names(&site.path("other")).is_empty());
    }
}

#[test]
fn d6_a_layer_of_an_overlay_stays() {
    if !is_root("an overlay") {
        return;
    }
    // An overlay takes no layer from another overlay, which a container may have for all but this.
    let site = Site::new_in(Path::new("/dev/shm"));
    // A name in a layer's path counts wherever it stands: other tests' directories must not have it.
    let path = site.leak("leak-layers");
    for name in ["lower", "upper", "work"] {
        fs::create_dir(path.join(name)).unwrap();
    }
    site.leak("leak-free");
    let holder = Holder::new(&["overlay".as_ref(), path.as_os_str(), site.path("other").as_os_str()]);
    let all = site.sweep(&["--contents"]);
    assert_eq!(site.names(), ["leak-layers"], "{all:?}");
    assert!(all.iter().any(|line| line["why"] == "in use: an overlay filesystem has a layer in it; unmount that"));
    holder.end();
    site.sweep(&["--contents"]);
    assert!(site.names().is_empty());
}

#[test]
fn d6_what_somebody_has_locked_stays() {
    if !is_root("another user's process") {
        return;
    }
    // Root's processes cannot be looked at by this user, but whoever holds a lock says so.
    let site = Site::new();
    chown(site.path("piled"), Some(NOBODY), Some(NOBODY)).unwrap();
    let (used, free) = (site.leak("leak-used"), site.leak("leak-free"));
    for path in [&used, &free] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let holder = Holder::new(&["flock".as_ref(), used.as_os_str()]);
    let sweep = || {
        let output = within(&mut site.command_as(Some(NOBODY), &["--yes", "--json", "--older-than", "0s"]));
        assert!(output.status.success(), "{output:?}");
        lines(&output)
    };
    let all = sweep();
    assert_eq!(site.names(), ["leak-used"], "{all:?}");
    assert!(all.iter().any(|line| line["why"] == "in use: somebody has it locked (flock)"), "{all:?}");
    holder.end();
    sweep();
    assert!(site.names().is_empty());
}

#[test]
fn d6_what_a_journal_names_is_left_to_the_ordinary_sweep() {
    let site = Site::new();
    let victim = |how: &str| {
        let mut command = Command::new(tool("victim"));
        command.arg("leak-XXXXXX").arg(how).current_dir(site.path("piled"));
        command.env("LD_PRELOAD", tool("libtmpshim.so")).env("TMPSHIM_STATE_DIR", site.path("state"));
        command
    };
    assert_eq!(victim("killed").status().unwrap().signal(), Some(libc::SIGKILL));
    let dead = site.names();
    let mut living = victim("lives");
    // Its library would sweep up behind the dead one.
    living.env("TMPSHIM_STATE_DIR", site.path("other")).env("HOME", "/");
    fs::set_permissions(site.path("other"), fs::Permissions::from_mode(0o700)).unwrap();
    let holder = Holder::start(&mut living);
    for name in names(&site.path("other")) {
        // The sweep looks into one directory of this user's choice: a journal is a journal, wherever it lies.
        fs::hard_link(site.path("other").join(&name), site.path("state").join(&name)).unwrap();
    }
    assert_eq!(site.names().len(), 2);
    site.leak("leak-free");
    let all = site.sweep(&[]);
    assert_eq!(paths(&all, "removed"), [site.piled("leak-free")]);
    assert_eq!(paths(&all, "skipped").len(), 2);
    let by_journal =
        |line: &&Value| line["why"] == "in use: a journal names it; tmpshim sweep without --match sees to that";
    let told: Vec<_> = all.iter().filter(by_journal).map(|line| line["path"].as_str().unwrap()).collect();
    assert!(told.contains(&site.piled(&dead[0]).to_str().unwrap()), "{all:?}");
    holder.end();
    let swept = Command::new(TMPSHIM).args(["sweep", "--state-dir"]).arg(site.path("state")).output().unwrap();
    assert!(swept.status.success(), "{swept:?}");
    assert!(site.names().is_empty(), "{swept:?}");
}

#[test]
fn d6_age_is_a_floor() {
    const FLOOR: Duration = Duration::from_secs(6);
    let site = Site::new();
    for name in ["leak-old", "leak-future", "leak-old-full", "leak-young-full"] {
        site.leak(name);
    }
    fs::write(site.piled("leak-old-full/file"), "old").unwrap();
    fs::write(site.piled("leak-young-full/file"), "old").unwrap();
    let future = SystemTime::now() + Duration::from_secs(100_000);
    File::open(site.piled("leak-future")).unwrap().set_modified(future).unwrap();
    grow_old(&site.piled("leak-future"), FLOOR);
    grow_old(&site.piled("leak-young-full"), FLOOR);
    site.leak("leak-young");
    // The directory does not change when the file in it does.
    fs::write(site.piled("leak-young-full/file"), "young").unwrap();
    let output = within(&mut site.command(&["--yes", "--contents", "--older-than", "6s"]));
    assert!(output.status.success());
    let said = text(&output);
    assert_eq!(site.names(), ["leak-future", "leak-young", "leak-young-full"], "{said}");
    assert!(said.contains("skipped 3: changed less than 6s ago (--older-than), or in the future\n"), "{said}");
    assert!(said.ends_with("removed: 2 directories; skipped: 3\n"), "{said}");

    // An hour is what is asked for where nothing is.
    let output = within(&mut site.command(&["--yes", "--contents"]));
    assert!(text(&output).contains("changed less than 1h ago"), "{output:?}");
    assert_eq!(site.names().len(), 3);
    site.sweep(&["--contents"]);
    assert!(site.names().is_empty());
}

#[test]
fn d6_root_takes_one_users_or_everybodys() {
    if !is_root("directories of others") {
        return;
    }
    let site = Site::new();
    for (name, uid) in [("leak-root", 0), ("leak-nobody", NOBODY), ("leak-4711", 4711)] {
        chown(site.leak(name), Some(uid), Some(uid)).unwrap();
    }
    site.sweep(&["--owner", "4711"]);
    assert_eq!(site.names(), ["leak-nobody", "leak-root"]);
    let all = site.sweep(&["--owner", "root"]);
    assert_eq!(site.names(), ["leak-nobody"]);
    assert_eq!(paths(&all, "skipped"), [site.piled("leak-nobody")]);
    assert!(all.iter().any(|line| line["why"] == "of another user" && line["uid"] == NOBODY));
    site.sweep(&[]);
    assert!(site.names().is_empty());
}

#[test]
fn d6_root_without_the_right_to_look_takes_only_what_no_unseen_process_can_use() {
    const SOMEBODY: u32 = 470_011;
    if !is_root("other users' processes") {
        return;
    }
    let site = Site::new();
    for (name, uid) in [("leak-used", NOBODY), ("leak-free", SOMEBODY), ("leak-open", SOMEBODY)] {
        chown(site.leak(name), Some(uid), Some(uid)).unwrap();
    }
    open_permissions(&site.piled("leak-open"));
    let mut holder = Command::new(tool("holder"));
    holder.args(["waits", "/"]).current_dir("/").uid(NOBODY).gid(NOBODY);
    let holder = Holder::start(&mut holder);
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"]).arg(tool("tmpshim"));
    command.args(["sweep", "--match", "leak-*", "--older-than", "0s", "--yes"]).arg(site.path("piled"));
    command.env("TMPSHIM_STATE_DIR", site.path("state")).stdin(Stdio::null());
    let output = within(&mut command);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(site.names(), ["leak-open", "leak-used"], "{said}");
    assert!(
        said.contains("are taken, of users without such processes") && said.contains("with CAP_SYS_PTRACE"),
        "{said}"
    );
    holder.end();
    site.sweep(&[]);
    assert!(site.names().is_empty());
}

#[test]
fn d6_others_take_only_what_nobody_else_can_use() {
    if !is_root("another user") {
        return;
    }
    let site = Site::new();
    fs::set_permissions(site.path("piled"), fs::Permissions::from_mode(0o1777)).unwrap();
    for name in ["leak-own", "leak-open", "leak-full"] {
        chown(site.leak(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    open_permissions(&site.piled("leak-open"));
    // As a program of that user leaves it that took its rights away.
    let inner = site.piled("leak-full/inner");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("file"), "x").unwrap();
    for path in [inner.join("file"), inner.clone()] {
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o000)).unwrap();
    let hidden = site.leak("leak-hidden");
    chown(&hidden, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o000)).unwrap();
    site.leak("leak-root");
    let run = |arguments: &[&str]| {
        within(&mut site.command_as(Some(NOBODY), &[&["--yes", "--older-than", "0s"], arguments].concat()))
    };
    let output = run(&[]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(site.names(), ["leak-full", "leak-open", "leak-root"], "{said}");
    assert!(
        said.contains("only directories without permission for group and others are taken, of this user"),
        "{said}"
    );
    let output = run(&["--contents"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(site.names(), ["leak-open", "leak-root"], "{}", text(&output));

    // In a directory of one's own one may remove what others own, and does not: nobody knows whether they use it.
    chown(site.path("piled"), Some(NOBODY), Some(NOBODY)).unwrap();
    let output = run(&["--owner", "root", "--json"]);
    let all = lines(&output);
    assert_eq!(paths(&all, "skipped").len(), 2);
    let told = all.iter().find(|line| line["path"].as_str().is_some_and(|path| path.ends_with("leak-root"))).unwrap();
    assert_eq!((&told["uid"], told["why"].as_str().unwrap().contains("cannot be looked at")), (&0.into(), true));
    assert_eq!(site.names(), ["leak-open", "leak-root"]);
}

#[test]
fn d6_mount_points_stay_and_a_server_that_does_not_answer_is_not_waited_for() {
    if !is_root("a mount") {
        return;
    }
    let site = Site::new();
    let mounted = site.leak("leak-mounted");
    mount("none", &mounted, "tmpfs", MountFlags::empty(), c"").unwrap();
    let stopped = site.leak("leak-stopped");
    let deep = site.full("leak-deep").join("deep");
    let source = site.path("other");
    fs::write(source.join("file"), "kept").unwrap();
    let mut server = Command::new("bindfs").args(["-f"]).arg(&source).arg(&stopped).spawn().expect("bindfs");
    eventually("bindfs serves", || stopped.join("file").exists());
    mount_bind(&stopped, &deep).unwrap();
    // Somebody has a file of it open, and another one works there.
    let file = Holder::new(&["open".as_ref(), stopped.join("file").as_os_str()]);
    let cwd = Holder::new(&["cwd".as_ref(), deep.as_os_str()]);
    let pid = Pid::from_child(&server);
    kill_process(pid, Signal::STOP).unwrap();
    waitpid(Some(pid), WaitOptions::UNTRACED).unwrap();
    site.leak("leak-free");
    let all = site.sweep(&["--contents"]);
    assert_eq!(paths(&all, "removed"), [site.piled("leak-free")], "{all:?}");
    assert_eq!(paths(&all, "skipped").len(), 3);
    kill_process(pid, Signal::CONT).unwrap();
    assert_eq!(fs::read_to_string(stopped.join("file")).unwrap(), "kept");
    file.end();
    cwd.end();
    for path in [&deep, &stopped, &mounted] {
        unmount(path, UnmountFlags::DETACH).unwrap();
    }
    server.wait().unwrap();
    site.sweep(&["--contents"]);
    assert!(site.names().is_empty());
    assert_eq!(names(&source), ["file"]);
}

#[test]
fn d6_nothing_is_changed_without_a_yes() {
    let site = Site::new();
    for number in 0..8 {
        site.leak(&format!("leak-{number}"));
    }
    site.full("leak-full");
    let before = site.names();
    for arguments in [&["--dry-run"][..], &["--dry-run", "--yes"]] {
        let output = within(&mut site.command(&[&["--older-than", "0s"], arguments].concat()));
        let said = text(&output);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("to remove: 8 directories (8 of "), "{said}");
        assert!(said.contains("\n  … and 3 more\n") && said.contains("skipped 1: not empty;"), "{said}");
        assert!(said.ends_with("to be removed: 8 directories; skipped: 1\n"), "{said}");
        assert_eq!(site.names(), before);
    }
    let output = within(&mut site.command(&["--older-than", "0s", "--contents"]));
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("to remove: 9 directories") && said.contains("of contents"), "{said}");
    assert!(said.contains("nothing was removed: standard input is no terminal to ask on; give --yes"), "{said}");
    let output = within(&mut site.command(&["--older-than", "0s", "--json"]));
    assert_eq!((output.status.code(), paths(&lines(&output), "would-remove").len()), (Some(1), 8));
    assert_eq!(site.names(), before);
    // Where there is nothing to do nobody has to be asked.
    let output = within(site.command(&[]).args(["--owner", "0"]));
    assert_eq!((output.status.code(), site.names()), (Some(0), before), "{output:?}");
}

#[test]
fn d6_a_directory_that_is_given_is_a_directory() {
    let site = Site::new();
    site.leak("leak-1");
    symlink(site.path("piled"), site.path("link")).unwrap();
    fs::write(site.path("file"), "").unwrap();
    let run = |directories: &[PathBuf]| {
        let mut command = Command::new(TMPSHIM);
        command.args(["sweep", "--match", "leak-*", "--yes", "--older-than", "0s"]).args(directories);
        command.env("TMPSHIM_STATE_DIR", site.path("state"));
        let output = within(&mut command);
        (output.status.code(), text(&output))
    };
    for (name, why) in [
        ("link", "it is a symbolic link to "),
        ("file", "it is not a directory; give"),
        ("absent", "No such file or directory; give"),
    ] {
        let (status, said) = run(&[site.path(name)]);
        assert!(status == Some(1) && said.contains(why), "{said}");
        assert_eq!(site.names(), ["leak-1"]);
    }
    // One that is there is seen to all the same, once.
    let (status, said) = run(&[site.path("absent"), site.path("link/"), site.path("piled")]);
    assert_eq!((status, site.names().len()), (Some(1), 0), "{said}");
    assert!(said.ends_with("removed: 1 directory; left: 1\n"), "{said}");
}

#[test]
fn d6_wrong_usage_is_said() {
    for (arguments, why) in [
        (&["--match", "*", "/tmp"][..], "nearly every name"),
        (&["--match", "/tmp/x*", "/tmp"], "no name has a slash"),
        (&["--match", "x*"], "<DIR>"),
        (&["/tmp"], "--match"),
        (&["--contents"], "--match"),
        (&["--yes"], "--match"),
        (&["--match", "x*", "--older-than", "5", "/tmp"], "time unit"),
        (&["--match", "x*", "--owner", "no-such-user", "/tmp"], "/etc/passwd"),
        (&["--match", "x*", "--state-dir", "/tmp", "/tmp"], "--state-dir"),
    ] {
        let output = within(Command::new(TMPSHIM).arg("sweep").args(arguments));
        let said = text(&output);
        assert!(output.status.code() == Some(2) && said.contains(why), "{arguments:?}: {said}");
    }
}

/// Starts the command on this terminal, `stdin` being the terminal or nothing.
fn start(terminal: &Terminal, command: &mut Command, reads: bool) -> Child {
    terminal.lead(command);
    command.stdin(if reads { terminal.stdio() } else { Stdio::null() });
    command.stdout(terminal.stdio()).stderr(terminal.stdio()).spawn().unwrap()
}

#[test]
fn d6_on_a_terminal_it_asks_and_no_is_the_default() {
    for (keys, reads, status) in [
        ("y\n", true, 0),
        ("yes\n", false, 0),
        ("n\n", true, 1),
        ("\n", true, 1),
        ("\u{4}", true, 1),
        ("ye\n", false, 1),
    ] {
        let site = Site::new();
        for number in 0..3 {
            site.leak(&format!("leak-{number}"));
        }
        fs::create_dir(site.piled("canary")).unwrap();
        let mut terminal = Terminal::open();
        let mut child = start(&terminal, &mut site.command(&["--older-than", "0s"]), reads);
        terminal.expect("to remove: 3 directories (3 of ");
        terminal.expect("leak-");
        terminal.expect("Remove 3 directories? [y/N] ");
        assert_eq!(site.names().len(), 4);
        terminal.keys(keys);
        let removed = if status == 0 { 3 } else { 0 };
        terminal.expect(&format!("removed: {removed} directories"));
        assert_eq!(child.wait().unwrap().code(), Some(status), "{keys:?}");
        assert_eq!(site.names().len(), 4 - removed);
        assert!(site.piled("canary").is_dir());
    }
}

#[test]
fn d6_everything_is_looked_at_again_after_the_answer() {
    let site = Site::new();
    for name in ["leak-1", "leak-filled", "leak-gone", "leak-replaced", "leak-used"] {
        site.leak(name);
    }
    let mut terminal = Terminal::open();
    let mut child = start(&terminal, &mut site.command(&["--older-than", "0s"]), true);
    terminal.expect("Remove 5 directories? [y/N] ");
    fs::write(site.piled("leak-filled/file"), "x").unwrap();
    fs::remove_dir(site.piled("leak-gone")).unwrap();
    fs::rename(site.piled("leak-replaced"), site.path("moved")).unwrap();
    site.leak("leak-replaced");
    let holder = Holder::new(&["cwd".as_ref(), site.piled("leak-used").as_os_str()]);
    terminal.keys("y\n");
    terminal.expect("removed: 1 directory; skipped: 2");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(site.names(), ["leak-filled", "leak-replaced", "leak-used"]);
    assert!(site.path("moved").is_dir());
    holder.end();
}

#[test]
fn d6_ctrl_c_stops_between_two_directories_and_what_was_done_is_told() {
    let site = Site::new_in(Path::new("/dev/shm"));
    for number in 0..30_000 {
        site.leak(&format!("leak-{number}"));
    }
    let mut child = site.command(&["--older-than", "0s", "--yes", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGINT));
    let summary: Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
    let removed = 30_000 - site.names().len();
    assert!(removed > 0 && removed < 30_000, "{removed}");
    assert_eq!((&summary["event"], &summary["counts"]["directories"]), (&"summary".into(), &removed.into()));
    assert_eq!(rest.lines().count(), removed);
}

/// Swaps what is there for links, other directories and mounts of what must stay, as fast as it can, until it is told to
/// stop; how often.
fn attack(site: &Site, number: usize, with_mounts: bool, stop: &AtomicBool, swaps: &AtomicU64) {
    let (canary, away) = (site.path("other"), site.path(&format!("away-{number}")));
    let (target, link) = (site.piled(&format!("leak-{number}")), site.path(&format!("link-{number}")));
    let sub = target.join("sub");
    symlink(&canary, &link).unwrap();
    while !stop.load(Ordering::Relaxed) {
        // Each of these fails where the sweep was quicker.
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(sub.join("deep"));
        let _ = fs::write(sub.join("deep/file"), "x");
        let _ = fs::write(target.join("file"), "x");
        // The directory itself becomes a link and is itself again.
        let _ = renameat_with(CWD, &target, CWD, &link, RenameFlags::EXCHANGE);
        let _ = renameat_with(CWD, &link, CWD, &target, RenameFlags::EXCHANGE);
        // One below it does.
        if fs::rename(&sub, &away).is_ok() {
            let _ = symlink(&canary, &sub);
            let _ = fs::remove_file(&sub);
            // And comes back, or leads out of it from further down.
            let _ = fs::rename(&away, &sub);
        }
        if let Ok(true) = fs::exists(&away) {
            let _ = fs::remove_dir_all(&away);
        }
        if with_mounts && mount_bind(&canary, sub.join("deep")).is_ok() {
            let _ = fs::exists(sub.join("deep/file"));
            unmount(sub.join("deep"), UnmountFlags::DETACH).unwrap();
        }
        // Whatever has become of the two, the link is a link again.
        if !link.is_symlink() {
            let _ = fs::remove_dir_all(&link);
            let _ = fs::remove_file(&target);
            let _ = symlink(&canary, &link);
        }
        swaps.fetch_add(1, Ordering::Relaxed);
    }
    let _ = fs::remove_file(&link);
}

#[test]
fn d6_an_attacker_who_swaps_directories_links_and_mounts_leads_it_nowhere() {
    let with_mounts = is_root("a mount");
    // Also on what does not give inode numbers anew only.
    for parent in [std::env::temp_dir(), "/dev/shm".into()] {
        let site = Site::new_in(&parent);
        let canary = site.path("other");
        fs::create_dir_all(canary.join("deep/deeper")).unwrap();
        for name in ["file", "deep/file", "deep/deeper/file"] {
            fs::write(canary.join(name), "kept").unwrap();
        }
        let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut removed = 0;
        std::thread::scope(|scope| {
            for number in 0..3 {
                let (site, stop, swaps) = (&site, &stop, &swaps);
                scope.spawn(move || attack(site, number, with_mounts, stop, swaps));
            }
            let deadline = Instant::now() + PATIENCE;
            while removed < 60 && Instant::now() < deadline {
                let output = within(&mut site.command(&["--yes", "--json", "--older-than", "0s", "--contents"]));
                // What is swapped away under its hands may have to be left, and nothing worse.
                assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
                removed += paths(&lines(&output), "removed").len();
                if !canary.join("deep/deeper/file").exists() {
                    break;
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        for name in ["file", "deep/file", "deep/deeper/file"] {
            assert_eq!(fs::read_to_string(canary.join(name)).unwrap(), "kept", "after {removed} removals");
        }
        // The sweep had something to do, while the attack went on: on a busy machine not as often as on a quiet one.
        let swaps = swaps.load(Ordering::Relaxed);
        assert!(removed >= 10 && swaps > 100, "{removed} removed, {swaps} swaps");
        for name in site.names() {
            let path = site.piled(&name);
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
        assert!(site.names().is_empty());
    }
}
