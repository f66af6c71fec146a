//! `tmpshim doctor` on real filesystems, programs and processes: what it finds, what it ends with, and that it leaves
//! nothing. Everything it prints is checked against docs/doctor.schema.json.

#[path = "../src/demo/refusal.rs"]
mod refusal;

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter, sock_fprog};
use serde_json::Value;
use tempfile::TempDir;

const TMPSHIM: &str = env!("CARGO_BIN_EXE_tmpshim");
const NOBODY: u32 = 65534;
const AS_NOBODY: [&str; 6] = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];

/// What a document is to look like.
fn validator() -> &'static jsonschema::Validator {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    SCHEMA.get_or_init(|| jsonschema::validator_for(&schema()).unwrap())
}

fn schema() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/doctor.schema.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A directory in which things are mounted and built.
struct Ground {
    directory: TempDir,
    mounts: Vec<PathBuf>,
}

impl Ground {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("tmpshim-doctor-").tempdir().unwrap();
        set_mode(directory.path(), 0o755);
        Self { directory, mounts: Vec::new() }
    }

    /// Nothing, and the reason is said, where there are no mounts here.
    fn with_mounts(programs: &[&str]) -> Option<Self> {
        let has = |program: &&&str| Command::new(program).arg("--version").output().is_err();
        if let Some(program) = programs.iter().find(has) {
            eprintln!("not shown: it takes {program}: scripts/setup");
            return None;
        }
        is_root().then(Self::new)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn make(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        set_mode(&path, 0o1777);
        path
    }

    /// Mounts something on `name`.
    fn mount(&mut self, name: &str, line: &[&str]) -> PathBuf {
        let path = self.make(name);
        let (program, arguments) = line.split_first().unwrap();
        let mut command = Command::new(program);
        let mounted = command.args(arguments).arg(&path).stderr(Stdio::null()).status().unwrap();
        assert!(mounted.success(), "{line:?}");
        self.mounts.push(path.clone());
        path
    }

    fn tmpfs(&mut self, options: &str) -> PathBuf {
        self.mount("tmpfs", &["mount", "-t", "tmpfs", "-o", options, "tmpshim-doctor"])
    }

    /// A bindfs of a directory of its own, with a mode that lets everybody in.
    fn bindfs(&mut self) -> PathBuf {
        let backing = self.make("backing");
        self.mount("mount", &["bindfs", backing.to_str().unwrap()])
    }

    /// A C program.
    fn build(&self, name: &str, compiler: &[&str], source: &str) -> Option<PathBuf> {
        let (file, program) = (self.path(&format!("{name}.c")), self.path(name));
        fs::write(&file, source).unwrap();
        let (gcc, flags) = compiler.split_first().unwrap();
        let built = Command::new(gcc).args(flags).args(["-w", "-o"]).arg(&program).arg(&file).output();
        if built.as_ref().is_ok_and(|built| built.status.success()) {
            return Some(program);
        }
        eprintln!("not shown: {compiler:?} does not build: scripts/setup ({built:?})");
        None
    }

    fn library(&self) -> PathBuf {
        let library = self.path("libtmpshim.so");
        assert!(Command::new(TMPSHIM).args(["library", "--output"]).arg(&library).status().unwrap().success());
        library
    }

    /// Where every user can execute it.
    fn command(&self) -> PathBuf {
        let path = self.path("tmpshim");
        if !path.exists() {
            fs::copy(TMPSHIM, &path).unwrap();
        }
        path
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for path in &self.mounts {
            let _ = Command::new("umount").arg("--lazy").arg(path).status();
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not shown: it takes root");
    }
    root
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A server that renames removes the name when the file is closed, which may come after the end.
fn assert_empty(directory: &Path) {
    let names = || -> Vec<_> { fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect() };
    let deadline = Instant::now() + Duration::from_secs(20);
    while !names().is_empty() {
        assert!(Instant::now() < deadline, "{}: {:?}", directory.display(), names());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What the command has found.
struct Report {
    status: i32,
    document: Value,
}

impl Report {
    fn of(command: &mut Command) -> Self {
        let output = command.env_remove("TMPSHIM_LOG").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let wrong: Vec<_> = validator().iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{wrong:?} in {text}");
        let status = output.status.code().unwrap_or_else(|| panic!("{output:?}"));
        assert_eq!(document["exit"], status);
        let verdict = ["well", "will-fail", "could-not-tell"][status as usize];
        assert_eq!(document["verdict"], verdict);
        assert!(output.stderr.is_empty(), "{output:?}");
        Self { status, document }
    }

    fn subjects(&self) -> &[Value] {
        self.document["subjects"].as_array().unwrap()
    }

    /// The first subject of a kind.
    fn first(&self, kind: &str) -> &Value {
        let found = self.subjects().iter().find(|subject| subject["kind"] == kind);
        found.unwrap_or_else(|| panic!("no {kind} in {:#}", self.document))
    }

    /// The directory of this name.
    fn directory(&self, path: &Path) -> &Value {
        let name = path.to_str().unwrap();
        let found = self.subjects().iter().find(|subject| subject["kind"] == "directory" && subject["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {:#}", self.document))
    }
}

/// A finding of a subject; null where there is none.
fn finding<'a>(subject: &'a Value, name: &str) -> &'a Value {
    let all = subject["findings"].as_array().unwrap();
    all.iter().find(|finding| finding["name"] == name).unwrap_or(&Value::Null)
}

fn verdict<'a>(subject: &'a Value, name: &str) -> &'a str {
    finding(subject, name)["verdict"].as_str().unwrap_or("absent")
}

fn commands(subject: &Value) -> Vec<&str> {
    subject["cures"].as_array().unwrap().iter().filter_map(|cure| cure["command"].as_str()).collect()
}

fn command() -> Command {
    let mut command = Command::new(TMPSHIM);
    command.args(["doctor", "--json"]);
    command
}

fn doctor(argument: impl AsRef<std::ffi::OsStr>) -> Report {
    Report::of(command().arg(argument))
}

/// The same as another user.
fn as_nobody(ground: &Ground) -> Command {
    let mut command = Command::new(AS_NOBODY[0]);
    command.args(&AS_NOBODY[1..]).arg(ground.command()).args(["doctor", "--json"]);
    command
}

fn pid(pid: u32) -> Report {
    Report::of(command().args(["--pid", &pid.to_string()]))
}

#[test]
fn the_schema_names_what_can_be_found() {
    assert!(jsonschema::meta::is_valid(&schema()));
    let help = Command::new(TMPSHIM).args(["doctor", "--help"]).output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains("docs/doctor.schema.json"));
    // A document that is none is refused: the check checks.
    assert!(!validator().is_valid(&serde_json::json!({ "version": 1 })));
}

/// Its command is run with the other guides' (c-tests/real/guides.sh).
#[test]
fn the_example_of_the_document_about_the_document_is_one() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/doctor-json.md")).unwrap();
    let (_, rest) = page.split_once("```json\n").unwrap();
    let example: Value = serde_json::from_str(rest.split_once("```").unwrap().0).unwrap();
    assert!(validator().is_valid(&example));
}

#[test]
fn without_arguments_it_looks_where_temporary_files_are_made() {
    let ground = Ground::new();
    let (temporary, current) = (ground.make("temporary"), ground.make("current"));
    let report = Report::of(command().env("TMPDIR", &temporary).current_dir(&current));
    let names: Vec<_> = report.subjects().iter().map(|subject| subject["name"].as_str().unwrap()).collect();
    assert_eq!(names, [temporary.to_str().unwrap(), "/tmp", "/var/tmp", current.to_str().unwrap(), ""]);
    let system = report.first("system");
    for name in ["kernel", "user", "supervisor", "library", "state-directory"] {
        assert!(!finding(system, name).is_null(), "{name}");
    }
    // One that is not there is a failure: programs go by it.
    let report = Report::of(command().env("TMPDIR", ground.path("absent")).current_dir(&current));
    assert_eq!(report.status, 1);
    assert_eq!(finding(report.directory(&ground.path("absent")), "answer")["errno"], "ENOENT");
    assert_empty(&temporary);
    assert_empty(&current);
}

const OPENS: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
int main(int count, char **arguments) {
    int fd = open(arguments[1], O_TMPFILE | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0) { perror("open"); return 1; }
    char path[64];
    sprintf(path, "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY) < 0 ? 2 : 0;
}
"#;

#[test]
fn filesystems_without_o_tmpfile_and_the_command_that_cures_them() {
    let programs = ["bindfs", "mergerfs", "fuse-overlayfs", "gcc"];
    let Some(mut ground) = Ground::with_mounts(&programs) else { return };
    let Some(program) = ground.build("opens", &["gcc", "-static"], OPENS) else { return };
    let names = ["b", "r", "m", "lower", "upper", "work"];
    let [bound, removed, merged, lower, upper, work] = names.map(|name| ground.make(name).to_str().unwrap().to_owned());
    let layers = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    for (name, line, kind, unlinked, error) in [
        ("bindfs", &["bindfs", &bound][..], "fuse", "hides", None),
        ("hard-remove", &["bindfs", "-o", "hard_remove", &removed], "fuse", "breaks", Some("ENOENT")),
        ("mergerfs", &["mergerfs", &merged], "fuse.mergerfs", "breaks", Some("ESTALE")),
        ("overlay", &["fuse-overlayfs", "-o", &layers], "fuse.fuse-overlayfs", "works", None),
    ] {
        let path = ground.mount(name, line);
        let report = doctor(&path);
        let directory = report.first("directory");
        assert_eq!(report.status, 1);
        assert_eq!(finding(directory, "mount")["value"]["type"], kind);
        assert_eq!(finding(directory, "mount")["value"]["point"], path.to_str().unwrap());
        assert_eq!(verdict(directory, "tmpfile"), "will-fail");
        assert_eq!(finding(directory, "tmpfile")["errno"], "EOPNOTSUPP");
        assert_eq!(verdict(directory, "stand-in"), "well", "{name}");
        assert_eq!(finding(directory, "unlinked")["value"], unlinked, "{name}");
        assert_eq!(finding(directory, "unlinked")["errno"].as_str(), error, "{name}");
        assert_empty(&path);
        // What is printed is what helps.
        let cure = commands(directory)[0].replace("PROGRAM", &format!("{} {}", program.display(), path.display()));
        let without = Command::new(&program).arg(&path).output().unwrap();
        assert_eq!(without.status.code(), Some(1), "{name}: {without:?}");
        let with = Command::new("sh").args(["-c", &cure]).output().unwrap();
        assert_eq!(with.status.code(), Some(0), "{name}: {cure}: {with:?}");
        assert_empty(&path);
    }
    // A command that supervises already is told from the filesystem's own answer.
    let path = ground.path("bindfs");
    let report = Report::of(Command::new(TMPSHIM).args(["run", "--", TMPSHIM, "doctor", "--json"]).arg(&path));
    let directory = report.first("directory");
    assert_eq!((report.status, verdict(directory, "tmpfile")), (0, "well"));
    assert!(finding(directory, "tmpfile")["found"].as_str().unwrap().contains("supervisor above"));
    assert_empty(&path);
}

#[test]
fn a_place_that_needs_no_tmpshim_is_named() {
    let Some(mut ground) = Ground::with_mounts(&["bindfs", "unshare"]) else { return };
    let without = ground.bindfs();
    let told = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", script, TMPSHIM]).arg(&without);
        let report = Report::of(&mut command);
        assert_eq!(report.status, 1);
        let cures: Vec<_> = commands(report.first("directory")).into_iter().map(str::to_owned).collect();
        assert!(cures[0].ends_with(" run -- PROGRAM"), "{cures:?}");
        cures.into_iter().find(|command| command.starts_with("TMPDIR="))
    };
    // The command may lie below one of them.
    let with = told("exec 3<\"$0\"; mount -t tmpfs none /var/tmp; exec /proc/self/fd/3 doctor --json \"$1\"");
    assert_eq!(with.as_deref(), Some("TMPDIR=/var/tmp PROGRAM"));
    // None where there is none.
    let cover = "mount --bind \"$1\" /var/tmp; mount --bind /var/tmp /tmp";
    assert_eq!(told(&format!("exec 3<\"$0\"; {cover}; exec /proc/self/fd/3 doctor --json /var/tmp")), None);
    assert_empty(&without);
}

#[test]
fn filesystems_with_o_tmpfile_are_well() {
    let Some(mut ground) = Ground::with_mounts(&["mount"]) else { return };
    let image = ground.path("image");
    fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
    let mut paths = vec![("tmpfs", ground.tmpfs("size=16m"))];
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).status();
    if made.is_ok_and(|made| made.success()) && Path::new("/dev/loop-control").exists() {
        paths.push(("ext4", ground.mount("ext4", &["mount", "-o", "loop", image.to_str().unwrap()])));
        fs::remove_dir(ground.path("ext4/lost+found")).unwrap();
    } else {
        eprintln!("not shown: ext4 takes mkfs.ext4 and loop devices");
    }
    for (kind, path) in paths {
        let report = doctor(&path);
        let directory = report.first("directory");
        assert_eq!(report.status, 0, "{directory:#}");
        assert_eq!(finding(directory, "mount")["value"]["type"], kind);
        for name in ["access", "space", "inodes", "tmpfile", "linkat", "reopen", "unlinked"] {
            assert_eq!(verdict(directory, name), "well", "{name}: {directory:#}");
        }
        assert_eq!((verdict(directory, "stand-in"), commands(directory).len()), ("absent", 0));
        assert_empty(&path);
    }
}

#[test]
fn a_filter_that_refuses_is_seen_as_one() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut command = command();
    command.arg(directory.path());
    // SAFETY: two prctl calls, between fork and exec.
    unsafe { command.pre_exec(refusal::refuse) };
    let report = Report::of(&mut command);
    let found = report.first("directory");
    assert_eq!((report.status, &finding(found, "tmpfile")["errno"]), (1, &Value::from("EOPNOTSUPP")));
    assert!(finding(found, "tmpfile")["found"].as_str().unwrap().contains("seccomp"));
    assert_eq!(verdict(found, "stand-in"), "well");
    assert_eq!(finding(report.first("system"), "seccomp")["value"], "filter");
    assert_empty(directory.path());
}

#[test]
fn what_is_closed_full_or_used_up() {
    let Some(mut ground) = Ground::with_mounts(&["mount"]) else { return };
    for (options, fill, name, fails, error) in [
        ("ro", false, "mount-options", "will-fail", Some("EROFS")),
        ("size=64k", true, "space", "will-fail", None),
        ("nr_inodes=2", true, "inodes", "will-fail", None),
        ("noexec", false, "mount-options", "beware", None),
        ("mode=0777", false, "access", "beware", None),
    ] {
        let path = ground.tmpfs(options);
        if fill {
            // As much as there is room for.
            let _ = fs::write(path.join("file"), vec![1; 128 << 10]);
        }
        let report = doctor(&path);
        let directory = report.first("directory");
        assert_eq!(report.status, i32::from(fails == "will-fail"), "{options}: {directory:#}");
        assert_eq!(verdict(directory, name), fails, "{options}: {directory:#}");
        assert_eq!(finding(directory, name)["errno"].as_str(), error);
        if fill {
            assert_eq!(finding(directory, name)["value"]["free"], 0);
            assert_eq!(finding(directory, "unlinked")["errno"], "ENOSPC");
            fs::remove_file(path.join("file")).unwrap();
        }
        assert_empty(&path);
        assert!(Command::new("umount").arg(&path).status().unwrap().success());
        fs::remove_dir(&path).unwrap();
        ground.mounts.clear();
    }
}

#[test]
fn scarce_room_is_told_and_no_failure() {
    let Some(mut ground) = Ground::with_mounts(&["mount"]) else { return };
    let path = ground.tmpfs("size=1m");
    fs::write(path.join("file"), vec![1; 1020 << 10]).unwrap();
    let report = doctor(&path);
    assert_eq!((report.status, verdict(report.first("directory"), "space")), (0, "beware"));
    fs::remove_file(path.join("file")).unwrap();
    assert_empty(&path);
}

#[test]
fn directories_that_piled_up_are_counted() {
    let ground = Ground::new();
    let path = ground.make("work");
    let make = |number: u32| fs::create_dir(path.join(format!(".criu.temp-aa-policy.{number:06}"))).unwrap();
    (0..99).for_each(make);
    let report = doctor(&path);
    assert_eq!(verdict(report.first("directory"), "left"), "absent");
    (99..120).for_each(make);
    let report = doctor(&path);
    let directory = report.first("directory");
    assert_eq!((report.status, verdict(directory, "left")), (0, "beware"));
    let value = serde_json::json!({ "glob": ".criu.temp-aa-policy.*", "count": 120 });
    assert_eq!(finding(directory, "left")["value"], value);
    let expected = format!("sweep --dry-run --match '.criu.temp-aa-policy.*' {}", path.display());
    assert!(commands(directory)[0].ends_with(&expected), "{directory:#}");
}

#[test]
fn a_directory_that_this_user_may_not_write_to() {
    if !is_root() {
        return;
    }
    let ground = Ground::new();
    let closed = ground.make("closed");
    set_mode(&closed, 0o755);
    let report = Report::of(as_nobody(&ground).arg(&closed));
    let directory = report.first("directory");
    assert_eq!((report.status, &finding(directory, "access")["errno"]), (1, &Value::from("EACCES")));
    assert_eq!(finding(directory, "access")["value"]["writable"], false);
    assert_eq!(verdict(directory, "tmpfile"), "absent", "nothing is tried by force");
    // To be somewhere is not to make files there.
    let report = Report::of(as_nobody(&ground).env("TMPDIR", "/dev/shm").current_dir(&closed));
    assert_eq!(verdict(report.directory(&closed), "access"), "note");
    // A directory in which nothing can be seen.
    set_mode(&closed, 0o700);
    let report = Report::of(as_nobody(&ground).arg(closed.join("below")));
    assert_eq!(report.status, 2);
    assert_empty(&closed);
}

#[test]
fn in_an_append_only_directory_nothing_is_tried() {
    if !is_root() {
        return;
    }
    let ground = Ground::new();
    let path = ground.make("append");
    let change = |flag: &str| Command::new("chattr").arg(flag).arg(&path).stderr(Stdio::null()).status();
    if !change("+a").is_ok_and(|changed| changed.success()) {
        return eprintln!("not shown: it takes chattr, and a filesystem that has append-only directories");
    }
    let report = doctor(&path);
    change("-a").unwrap();
    assert_eq!((report.status, verdict(report.first("directory"), "unlinked")), (1, "will-fail"));
    assert_empty(&path);
}

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
    server.wait().unwrap();
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

/// `program` is found to be this: linkage, libc, reach of library and supervisor, exit status.
#[track_caller]
fn assert_program(program: &Path, linkage: &str, libc: Option<&str>, library: bool, supervisor: bool) -> Report {
    let report = doctor(program);
    let found = report.first("program");
    assert_eq!(finding(found, "linkage")["value"], linkage, "{found:#}");
    assert_eq!(finding(found, "libc")["value"]["libc"].as_str(), libc, "{found:#}");
    assert_eq!(finding(found, "library")["value"], library, "{found:#}");
    assert_eq!(finding(found, "supervisor")["value"], supervisor, "{found:#}");
    let commands = commands(found);
    assert!(commands[0].ends_with(&format!("run -- {}", program.display())), "{commands:?}");
    assert_eq!(commands.iter().any(|command| command.contains("LD_PRELOAD=")), library, "{commands:?}");
    report
}

const NOTHING: &str = "int main(void) { return 0; }";

#[test]
fn programs_of_all_kinds() {
    let ground = Ground::new();
    let glibc = Some("glibc");
    // The command itself.
    let report = assert_program(Path::new(TMPSHIM), "static", None, false, true);
    assert_eq!(report.status, 0, "to be static is no failure");
    let Some(program) = ground.build("dynamic", &["gcc"], NOTHING) else { return };
    let report = assert_program(&program, "dynamic", glibc, true, true);
    let found = finding(report.first("program"), "libc");
    let installed = found["value"]["installed"].as_str().unwrap();
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), format!("glibc {installed}"));
    assert!(found["value"]["needs"].as_str().unwrap().starts_with("2."));
    // The libc is the loader's, so a script's interpreter counts.
    let script = ground.path("script");
    fs::write(&script, format!("#!{}\n", program.display())).unwrap();
    set_mode(&script, 0o755);
    let report = assert_program(&script, "dynamic", glibc, true, true);
    let chain = [script.to_str().unwrap(), program.to_str().unwrap()];
    assert_eq!(finding(report.first("program"), "file")["value"], Value::from(chain.to_vec()));
    if let Some(program) = ground.build("musl", &["musl-gcc"], NOTHING) {
        let report = assert_program(&program, "dynamic", Some("musl"), true, true);
        let version = &finding(report.first("program"), "libc")["value"]["installed"];
        assert!(version.as_str().unwrap().starts_with("1."), "{version}");
    }
    if cfg!(target_arch = "x86_64")
        && let Some(program) = ground.build("i386", &["gcc", "-m32"], NOTHING)
    {
        let report = assert_program(&program, "dynamic", glibc, false, true);
        assert_eq!(finding(report.first("program"), "architecture")["value"], "i386");
    }
}

#[test]
fn go_is_known_with_and_without_cgo() {
    let ground = Ground::new();
    let source = ground.path("program.go");
    for (cgo, text, value) in
        [("0", "package main\nfunc main() {}\n", "go"), ("1", "package main\nimport \"C\"\nfunc main() {}\n", "cgo")]
    {
        fs::write(&source, text).unwrap();
        let program = ground.path(value);
        let mut go = Command::new("go");
        go.args(["build", "-o"]).arg(&program).arg(&source).current_dir(ground.directory.path());
        go.env("CGO_ENABLED", cgo).env("GO111MODULE", "off").env("GOCACHE", ground.path("cache"));
        match go.status() {
            Err(error) => return eprintln!("not shown: it takes go: {error}"),
            Ok(status) => assert!(status.success()),
        }
        let (linkage, libc) = if value == "go" { ("static", None) } else { ("dynamic", Some("glibc")) };
        let report = assert_program(&program, linkage, libc, false, true);
        assert_eq!((report.status, &finding(report.first("program"), "go")["value"]), (0, &Value::from(value)));
    }
}

#[test]
fn a_program_that_gains_rights_is_reached_by_those_who_have_them() {
    if !is_root() {
        return;
    }
    let ground = Ground::new();
    let Some(program) = ground.build("set-uid", &["gcc"], NOTHING) else { return };
    set_mode(&program, 0o4755);
    // For root it changes nothing.
    let report = assert_program(&program, "dynamic", Some("glibc"), true, true);
    assert_eq!((report.status, &finding(report.first("program"), "rights")["value"]), (0, &Value::from(false)));
    let report = Report::of(as_nobody(&ground).arg(&program));
    let found = report.first("program");
    assert_eq!((report.status, &finding(found, "rights")["value"]), (1, &Value::from(true)));
    assert_eq!([verdict(found, "library"), verdict(found, "supervisor")], ["will-fail"; 2]);
    assert!(commands(found).is_empty(), "{found:#}");
}

/// Forbids seccomp(2), as some sandboxes do.
fn forbid_seccomp() -> std::io::Result<()> {
    let statement = |code: u32, k: u32| sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let filter = [
        statement(BPF_LD | BPF_W | BPF_ABS, 0),
        sock_filter { code: (BPF_JMP | BPF_JEQ | BPF_K) as u16, jt: 0, jf: 1, k: libc::SYS_seccomp as u32 },
        statement(BPF_RET | BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        statement(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    rustix::thread::set_no_new_privs(true)?;
    // SAFETY: the kernel copies the filter, which it does not write to, before the call returns.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[test]
fn where_no_engine_reaches_a_program_that_is_said() {
    let mut command = command();
    command.arg(TMPSHIM);
    // SAFETY: two prctl calls, between fork and exec.
    unsafe { command.pre_exec(forbid_seccomp) };
    let report = Report::of(&mut command);
    let (program, system) = (report.first("program"), report.first("system"));
    assert_eq!((report.status, verdict(system, "supervisor")), (1, "beware"));
    assert!(finding(system, "supervisor")["found"].as_str().unwrap().contains("EPERM"));
    assert_eq!([verdict(program, "library"), verdict(program, "supervisor")], ["will-fail"; 2]);
}

#[test]
fn without_a_state_directory_that_is_said() {
    let Some(ground) = Ground::with_mounts(&["unshare"]) else { return };
    let (own, tmp) = (ground.make("own"), ground.make("tmp"));
    let script = "mount --make-rprivate / && mount -t tmpfs -o ro x /dev/shm && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).args(AS_NOBODY).arg(ground.command());
    command.args(["doctor", "--json"]).arg(&tmp).env_remove("XDG_RUNTIME_DIR").env_remove("TMPSHIM_STATE_DIR");
    let report = Report::of(&mut command);
    assert_eq!((report.status, verdict(report.first("system"), "state-directory")), (1, "will-fail"));
    // With one of his own all is well.
    chown(&own, Some(NOBODY), Some(NOBODY)).unwrap();
    set_mode(&own, 0o700);
    let report = Report::of(command.env("TMPSHIM_STATE_DIR", &own));
    assert_eq!(report.status, 0, "{:#}", report.document);
    assert_eq!(finding(report.first("system"), "state-directory")["value"], own.to_str().unwrap());
    assert_empty(&own);
    assert_empty(&tmp);
}

#[test]
fn what_is_neither_is_told_and_the_rest_is_looked_at() {
    let ground = Ground::new();
    let (open, file) = (ground.make("open"), ground.path("file"));
    fs::write(&file, "").unwrap();
    let report = Report::of(command().args([&ground.path("absent"), &file, &open]).arg("no-such-program"));
    assert_eq!(report.status, 2);
    let why: Vec<_> = report.subjects().iter().map(|subject| finding(subject, "argument")["found"].as_str()).collect();
    assert!(why[0].unwrap().contains("No such file") && why[1].unwrap().contains("EACCES"), "{why:?}");
    assert!(why[2].is_none() && why[3].unwrap().contains("PATH"), "{why:?}");
    assert_eq!(verdict(report.directory(&open), "tmpfile"), "well");
    for wrong in [&["--pid", "x"][..], &["--pid"], &["--unknown"]] {
        let output = Command::new(TMPSHIM).arg("doctor").args(wrong).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{wrong:?}");
    }
    assert_empty(&open);
}

#[test]
fn the_table_says_the_same_and_moves_no_cursor() {
    let ground = Ground::new();
    let path = ground.make("a\u{1b}[2J\u{9b}b");
    let run = |colour: &[(&str, &str)]| -> Output {
        let mut command = Command::new(TMPSHIM);
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").envs(colour.iter().copied());
        command.arg("doctor").args([&path, &ground.path("absent")]).output().unwrap()
    };
    let plain = run(&[]);
    let text = String::from_utf8(plain.stdout).unwrap();
    assert_eq!(plain.status.code(), Some(2));
    assert!(text.chars().all(|character| character == '\n' || !character.is_control()), "{text:?}");
    for part in ["Directory ", "open with O_TMPFILE", "works", "could not tell", "System\n", "state directory"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let coloured = String::from_utf8(run(&[("CLICOLOR_FORCE", "1")]).stdout).unwrap();
    assert!(coloured.contains("\u{1b}[32mwell\u{1b}[0m"), "{coloured}");
    assert!(!coloured.contains("\u{1b}[2J"), "{coloured}");
    let plain = String::from_utf8(run(&[("NO_COLOR", "1")]).stdout).unwrap();
    assert!(plain.contains("works") && !plain.contains('\u{1b}'), "{plain}");
    // Whoever has closed its input and errors is told the same.
    let line = format!("exec {TMPSHIM} doctor --json '{}' <&- 2>&-", ground.path("open").display());
    ground.make("open");
    assert_eq!(Report::of(Command::new("sh").args(["-c", &line])).status, 0);
    // A reader that cannot take it is told of.
    if let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") {
        let output = Command::new(TMPSHIM).arg("doctor").arg(&path).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write standard output"));
    }
    assert_empty(&path);
}

/// A program that waits for its input to end; what else was started for it.
struct Waiting {
    child: Child,
    input: Option<ChildStdin>,
    /// As it says itself.
    pid: u32,
    server: Option<u32>,
}

impl Waiting {
    /// `script` says on its first line which process is to be looked at and, behind it, which server to end.
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut numbers = line.split_whitespace().map(|number| number.parse().unwrap());
        let input = child.stdin.take();
        let waiting = Self { child, input, pid: numbers.next().unwrap(), server: numbers.next() };
        let executable = format!("/proc/{}/exe", waiting.pid);
        let is_there = || fs::read_link(&executable).is_ok_and(|path| !path.ends_with("sh") && !path.ends_with("dash"));
        eventually("the program runs", is_there);
        waiting
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
        if let Some(server) = self.server {
            // It is ours, and was the program's child. It may have ended with the mount.
            // SAFETY: kill(2) touches no memory.
            unsafe { libc::kill(server as i32, libc::SIGTERM) };
        }
    }
}

/// A program with a bindfs on its /tmp only, under what `prefix` says. The server has its files in a
/// place that is not below /tmp.
fn elsewhere(place: &Path, namespaces: &[&str], prefix: &[&str]) -> Waiting {
    let script = "mount --make-rprivate / || exit; \
        mount -t tmpfs -o mode=0755 tmpshim-doctor \"$1\" && mkdir -m 1777 \"$1/backing\" || exit; \
        mount -t tmpfs tmpshim-doctor /tmp || exit; \
        bindfs -f \"$1/backing\" /tmp & server=$!; shift; \
        until grep -q ' /tmp fuse' /proc/self/mounts; do kill -0 $server || exit; done; \
        exec \"$@\" sh -c \"echo \\$\\$ $server; exec cat\"";
    let mut command = Command::new("unshare");
    command.arg("--mount").args(namespaces).args(["sh", "-c", script, "sh"]).arg(place).args(prefix);
    command.env_remove("TMPDIR").env_remove("LD_PRELOAD").current_dir("/").stderr(Stdio::null());
    Waiting::start(&mut command)
}

#[test]
fn a_process_is_seen_with_its_own_mounts_and_rights() {
    let Some(ground) = Ground::with_mounts(&["bindfs", "unshare"]) else { return };
    // Not below /tmp, which is another one in there.
    let place = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir_in("/var/tmp").unwrap();
    let (shim, library) = (place.path().join("tmpshim"), place.path().join("libtmpshim.so"));
    let hidden = place.path().join("hidden");
    fs::create_dir(&hidden).unwrap();
    fs::copy(TMPSHIM, &shim).unwrap();
    fs::copy(ground.library(), &library).unwrap();
    let (run, preload) = (shim.to_str().unwrap(), format!("LD_PRELOAD={}", library.display()));
    for (prefix, supervised, preloaded, status) in [
        (&[][..], false, false, 1),
        (&[run, "run", "--engine", "notify", "--"], true, false, 0),
        (&[run, "run", "--engine", "preload", "--"], false, true, 0),
        (&[run, "run", "--"], true, true, 0),
        (&["env", &preload], false, true, 0),
        (&["env", &preload, "TMPSHIM_TMPFILE=off"], false, true, 1),
        // A supervisor that was asked for directories only.
        (&[run, "run", "--engine", "notify", "--tmpfile", "off", "--track", "x*", "--"], true, false, 1),
    ] {
        let waiting = elsewhere(&hidden, &[], &[&AS_NOBODY[..], prefix].concat());
        let report = pid(waiting.pid);
        let process = report.first("process");
        assert_eq!(report.status, status, "{prefix:?}: {:#}", report.document);
        assert_eq!(finding(process, "supervised")["value"]["supervised"], supervised, "{prefix:?}: {process:#}");
        assert_eq!(finding(process, "preloaded")["value"], preloaded, "{prefix:?}: {process:#}");
        assert_eq!(finding(process, "process")["value"]["uid"], NOBODY);
        assert_eq!(finding(process, "namespaces")["value"], Value::from(vec!["mount"]));
        let names: Vec<_> = report.subjects().iter().map(|subject| subject["kind"].as_str().unwrap()).collect();
        assert_eq!(names, ["process", "program", "directory", "directory", "directory", "system"]);
        let directory = report.directory(Path::new("/tmp"));
        assert_eq!(
            (&directory["pid"], &finding(directory, "mount")["value"]["type"]),
            (&waiting.pid.into(), &"fuse".into())
        );
        assert_eq!(finding(directory, "tmpfile")["errno"], "EOPNOTSUPP");
        assert_eq!(verdict(directory, "tmpfile"), if status == 0 { "note" } else { "will-fail" });
        assert_eq!(verdict(directory, "stand-in"), "well");
        assert_eq!(report.first("program")["cures"].as_array().unwrap().is_empty(), status == 0, "{prefix:?}");
        // It is in /, where its user may make nothing.
        assert_eq!(verdict(report.directory(Path::new("/")), "access"), "note");
        let inside = PathBuf::from(format!("/proc/{}/root/tmp", waiting.pid));
        assert_empty(&inside);
        // His own processes the user may look at, too; he needs no rights that he has not.
        if prefix.is_empty() {
            let mut command = as_nobody(&ground);
            let report = Report::of(command.args(["--pid", &waiting.pid.to_string()]));
            assert_eq!(report.status, 1, "{:#}", report.document);
            assert_eq!(finding(report.directory(Path::new("/tmp")), "tmpfile")["errno"], "EOPNOTSUPP");
            assert_empty(&inside);
        }
    }
}

#[test]
fn a_process_in_another_user_namespace() {
    let Some(_ground) = Ground::with_mounts(&["bindfs", "unshare"]) else { return };
    let place = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir_in("/var/tmp").unwrap();
    let waiting = elsewhere(place.path(), &["--user", "--map-root-user"], &["env"]);
    // Its server lets nobody in from outside, root neither.
    let inside = PathBuf::from(format!("/proc/{}/root", waiting.pid));
    assert!(fs::read_dir(inside.join("tmp")).is_err());
    let report = pid(waiting.pid);
    let process = report.first("process");
    assert_eq!(finding(process, "namespaces")["value"], Value::from(vec!["mount", "user"]));
    let directory = report.directory(Path::new("/tmp"));
    assert_eq!((report.status, &finding(directory, "tmpfile")["errno"]), (1, &Value::from("EOPNOTSUPP")));
    assert_eq!(verdict(directory, "stand-in"), "well", "{directory:#}");
    let backing = place.path().strip_prefix("/").unwrap().join("backing");
    assert_empty(&inside.join(backing));
}

const MAKES: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <unistd.h>
int main(int count, char **arguments) {
    char path[4096], file[5000];
    snprintf(path, sizeof path, "%s/made-XXXXXX", arguments[1]);
    if (!mkdtemp(path)) return 1;
    snprintf(file, sizeof file, "%s/open", path);
    if (open(file, O_CREAT | O_RDWR, 0600) < 0) return 1;
    printf("%d\n", getpid());
    fflush(stdout);
    getchar();
    return 0;
}
"#;

#[test]
fn what_a_process_has_made_and_how_it_is_set() {
    let ground = Ground::new();
    let Some(program) = ground.build("makes", &["gcc"], MAKES) else { return };
    let (work, state) = (ground.make("work"), ground.make("state"));
    set_mode(&state, 0o700);
    let mut command = Command::new(&program);
    command.arg(&work).env("LD_PRELOAD", ground.library()).env("TMPSHIM_STATE_DIR", &state).env("TMPDIR", &work);
    command.env("TMPSHIM_CLEANUP", "some").env("TMPSHIM_FOO", "\u{1b}c").stderr(Stdio::null()).current_dir(&work);
    let waiting = Waiting::start(&mut command);
    let report = pid(waiting.pid);
    let process = report.first("process");
    let made: Vec<_> = fs::read_dir(&work).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(finding(process, "journal")["value"]["paths"], Value::from(vec![made[0].to_str().unwrap()]));
    let journals = &finding(process, "journal")["value"]["journals"];
    assert!(journals[0].as_str().unwrap().starts_with(state.to_str().unwrap()), "{journals}");
    let used = finding(process, "in-use")["value"].as_array().unwrap();
    assert!(used.contains(&made[0].join("open").to_str().unwrap().into()), "{used:?}");
    assert_eq!(finding(process, "settings")["value"]["TMPSHIM_CLEANUP"], "some");
    let all = process["findings"].as_array().unwrap().iter().filter(|finding| finding["verdict"] == "beware");
    let wrong: Vec<_> = all.map(|finding| finding["found"].as_str().unwrap()).collect();
    assert!(wrong.len() == 2 && wrong.iter().any(|line| line.contains("TMPSHIM_FOO")), "{wrong:?}");
    // The directory is the temporary one and the current one, and is looked at once.
    let names: HashSet<_> = report
        .subjects()
        .iter()
        .map(|subject| (&subject["kind"], &subject["name"]))
        .map(|pair| format!("{pair:?}"))
        .collect();
    assert_eq!(names.len(), report.subjects().len());
    let table = Command::new(TMPSHIM).args(["doctor", "--pid", &waiting.pid.to_string()]).output().unwrap();
    let text = String::from_utf8(table.stdout).unwrap();
    assert!(text.contains("\\u{1b}c") && text.chars().all(|letter| letter == '\n' || !letter.is_control()), "{text:?}");
    drop(waiting);
    assert_empty(&work);
    assert_empty(&state);
}

#[test]
fn processes_that_cannot_be_looked_at() {
    let could_not = |report: &Report, why: &str| {
        let process = report.first("process");
        assert_eq!((report.status, verdict(process, "process")), (2, "could-not-tell"), "{process:#}");
        let found = finding(process, "process")["found"].as_str().unwrap();
        assert!(found.contains(why), "{found}");
    };
    // One that has ended and is not there any more; then one that is still asked for.
    let mut ended = Command::new("true").spawn().unwrap();
    let number = ended.id();
    eventually("it is a zombie", || {
        fs::read_to_string(format!("/proc/{number}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    });
    could_not(&pid(number), "zombie");
    ended.wait().unwrap();
    could_not(&pid(number), "no process");
    if fs::read_link("/proc/2/exe").is_err()
        && fs::read_to_string("/proc/2/comm").is_ok_and(|name| name.contains("kthread"))
    {
        could_not(&pid(2), "kernel");
    }
    if is_root() {
        let ground = Ground::new();
        let own = std::process::id().to_string();
        could_not(&Report::of(as_nobody(&ground).args(["--pid", &own])), "as root");
    }
}
