//! Processes, with their own mounts and rights.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;

use super::ground::{AS_NOBODY, Ground, NOBODY, TMPSHIM, assert_empty, set_mode};
use super::report::{Report, as_nobody, finding, pid, verdict};
use super::rights::is_root;
use super::waiting::eventually;

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

const MAKES: &str = include_str!("makes.c");

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
    if is_root("becoming another user") {
        let ground = Ground::new();
        let own = std::process::id().to_string();
        could_not(&Report::of(as_nobody(&ground).args(["--pid", &own])), "as root");
    }
}
