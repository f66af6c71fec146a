//! `tmpshim sweep`, `tmpshim ps`, and what `tmpshim run` cleans up, on programs that were killed (D5, D6, T5).

use std::ffi::{CString, OsStr};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const TMPSHIM: &str = env!("CARGO_BIN_EXE_tmpshim");
const NOBODY: u32 = 65534;

/// Makes directories and says so; then is killed, ends, or goes on, as its second argument says.
const VICTIM: &str = r#"
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
int main(int count, char **arguments) {
    int most = atoi(arguments[3]);
    for (int number = 0; number < most; number++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/victim-XXXXXX", arguments[1]);
        if (!mkdtemp(path)) { perror(path); return 1; }
        if (count > 4) {
            strcat(path, "/file");
            int fd = open(path, O_WRONLY | O_CREAT, 0600);
            if (fd < 0 || write(fd, "12345", 5) != 5) { perror(path); return 1; }
            close(fd);
        }
    }
    if (!strcmp(arguments[2], "daemon") && fork()) _exit(0);
    puts("ready");
    fflush(stdout);
    if (!strcmp(arguments[2], "killed")) raise(SIGKILL);
    getchar();
    return 0;
}
"#;

struct Tools {
    directory: TempDir,
}

static TOOLS: OnceLock<Tools> = OnceLock::new();

/// What is static is never dropped.
extern "C" fn remove_tools() {
    if let Some(tools) = TOOLS.get() {
        let _ = fs::remove_dir_all(tools.directory.path());
    }
}

/// The compiled victim and the library, where every user can reach them.
fn tools() -> &'static Tools {
    TOOLS.get_or_init(|| {
        let directory = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap();
        let source = directory.path().join("victim.c");
        fs::write(&source, VICTIM).unwrap();
        let victim = directory.path().join("victim");
        let built = Command::new("cc").arg("-o").arg(&victim).arg(&source).status().unwrap();
        assert!(built.success());
        let library = directory.path().join("libtmpshim.so");
        let written = Command::new(TMPSHIM).args(["library", "--output"]).arg(&library).status().unwrap();
        assert!(written.success());
        // SAFETY: it takes nothing, and does not end the process.
        assert_eq!(unsafe { libc::atexit(remove_tools) }, 0);
        // Where every user can execute it.
        fs::copy(TMPSHIM, directory.path().join("tmpshim")).unwrap();
        Tools { directory }
    })
}

impl Tools {
    fn victim(&self) -> PathBuf {
        self.directory.path().join("victim")
    }

    fn command(&self) -> PathBuf {
        self.directory.path().join("tmpshim")
    }

    fn library(&self) -> PathBuf {
        self.directory.path().join("libtmpshim.so")
    }
}

/// A state directory, and one in which victims work.
struct Site {
    root: TempDir,
}

impl Site {
    fn new() -> Self {
        Self::new_in(&std::env::temp_dir())
    }

    fn new_in(parent: &Path) -> Self {
        let root = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir_in(parent).unwrap();
        fs::create_dir(root.path().join("state")).unwrap();
        fs::set_permissions(root.path().join("state"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::create_dir(root.path().join("work")).unwrap();
        Self { root }
    }

    fn give_to(self, uid: u32) -> Self {
        for path in [self.state(), self.work()] {
            chown(path, Some(uid), Some(uid)).unwrap();
        }
        self
    }

    fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// The victim, with the library: it does `what` after it has made `count` directories, each with a file in it.
    fn victim(&self, what: &str, count: u32) -> Command {
        let mut command = Command::new(tools().victim());
        command.arg(self.work()).args([what, &count.to_string(), "file"]);
        command.env("LD_PRELOAD", tools().library()).env("TMPSHIM_STATE_DIR", self.state());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    /// Leaves `count` directories, and a journal that tells of them.
    fn kill_one(&self, count: u32) {
        let before = names(&self.state()).len();
        let output = self.victim("killed", count).output().unwrap();
        assert_eq!(output.status.signal(), Some(libc::SIGKILL), "{output:?}");
        assert_eq!(names(&self.state()).len(), before + 1);
    }

    fn journal(&self) -> PathBuf {
        let names = names(&self.state());
        assert_eq!(names.len(), 1, "{names:?}");
        self.state().join(&names[0])
    }

    fn sweep(&self, arguments: &[&str]) -> Output {
        sweep(&self.state(), arguments)
    }

    #[track_caller]
    fn assert_clean(&self) {
        assert_eq!((names(&self.work()), names(&self.state())), (Vec::new(), Vec::new()));
    }
}

fn sweep(state: &Path, arguments: &[&str]) -> Output {
    Command::new(TMPSHIM).arg("sweep").args(arguments).arg("--state-dir").arg(state).output().unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap() + str::from_utf8(&output.stderr).unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.stderr.is_empty(), "{output:?}");
    str::from_utf8(&output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines of one kind.
fn events<'a>(lines: &'a [Value], event: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["event"] == event).collect()
}

fn ready(command: &mut Command) -> (Child, BufReader<impl Read + use<>>) {
    let mut child = command.spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, output)
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::yield_now();
    }
}

fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not shown: {what} takes root");
    }
    root
}

#[test]
fn d5_what_sigkill_left_goes_and_is_told() {
    let site = Site::new();
    site.kill_one(3);
    let made = names(&site.work());
    let before = fs::read(site.journal()).unwrap();

    let dry = site.sweep(&["--dry-run"]);
    let said = text(&dry);
    assert!(dry.status.success(), "{said}");
    for name in &made {
        let path = site.work().join(name);
        assert!(said.contains(&format!("would remove {} (made by victim, process ", path.display())), "{said}");
    }
    assert!(said.ends_with("to be removed: 3 directories, 0 hidden files\n"), "{said}");
    assert_eq!(names(&site.work()), made);
    assert_eq!(fs::read(site.journal()).unwrap(), before, "nothing is written, either");

    let output = site.sweep(&[]);
    assert!(output.status.success());
    assert_eq!(text(&output), said.replace("would remove", "removed").replace("to be removed", "removed"));
    site.assert_clean();
    assert_eq!(text(&site.sweep(&[])), "removed: 0 directories, 0 hidden files\n");
    assert_eq!(sweep(&site.root.path().join("absent"), &[]).status.code(), Some(0));
}

#[test]
fn d5_json_is_an_object_a_line() {
    let site = Site::new();
    site.kill_one(2);
    let journal = site.journal();
    let all = lines(&site.sweep(&["--json"]));
    assert_eq!(all.len(), 3);
    for line in &all[..2] {
        assert_eq!(
            (&line["event"], &line["kind"], &line["program"]),
            (&"removed".into(), &"directory".into(), &"victim".into())
        );
        assert_eq!(line["journal"], journal.to_str().unwrap());
        assert_eq!(line["uid"], rustix::process::geteuid().as_raw());
        assert!(line["pid"].as_u64().unwrap() > 0);
        assert!(line["path"].as_str().unwrap().starts_with(site.work().to_str().unwrap()));
    }
    let mut summary = all[2].clone();
    assert!(summary.as_object_mut().unwrap().remove("time").unwrap().as_u64().unwrap() > 1_700_000_000);
    assert_eq!(summary.to_string(), r#"{"counts":{"directories":2,"files":0,"left":0,"living":0},"event":"summary"}"#);
}

#[test]
fn d5_what_is_alive_is_left_alone_and_listed() {
    let site = Site::new();
    let (mut child, _output) = ready(&mut site.victim("stays", 4));
    let swept = site.sweep(&["--json"]);
    assert!(swept.status.success());
    let all = lines(&swept);
    let living = events(&all, "living");
    assert_eq!((living.len(), &living[0]["pid"]), (1, &child.id().into()));
    assert_eq!(names(&site.work()).len(), 4);

    let ps = |arguments: &[&str]| {
        let output =
            Command::new(TMPSHIM).arg("ps").args(arguments).arg("--state-dir").arg(site.state()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output
    };
    let all = lines(&ps(&["--json"]));
    assert_eq!(all.len(), 1);
    assert_eq!((&all[0]["pid"], &all[0]["program"]), (&child.id().into(), &"victim".into()));
    assert_eq!((&all[0]["bytes"], &all[0]["state"]), (&20.into(), &"living".into()));
    let directories = all[0]["directories"].as_array().unwrap();
    let mut listed: Vec<_> = directories.iter().map(|directory| directory["path"].as_str().unwrap()).collect();
    listed.sort_unstable();
    let expected: Vec<_> = names(&site.work()).iter().map(|name| site.work().join(name)).collect();
    assert_eq!(listed, expected.iter().map(|path| path.to_str().unwrap()).collect::<Vec<_>>());
    assert_eq!(all[0]["state_directory"], site.state().to_str().unwrap());

    let said = text(&ps(&[]));
    assert!(said.lines().count() == 2 && said.trim_start().starts_with("PID"), "{said}");
    for part in [child.id().to_string().as_str(), "victim", " 4 ", " 20 ", site.state().to_str().unwrap()] {
        assert!(said.contains(part), "{part} in\n{said}");
    }

    child.kill().unwrap();
    child.wait().unwrap();
    let said = text(&ps(&[]));
    assert!(said.ends_with("1 dead: tmpshim sweep removes what they left\n") && !said.contains("victim"), "{said}");
    assert!(site.sweep(&[]).status.success());
    site.assert_clean();
}

#[test]
fn d3_a_forked_child_keeps_what_its_dead_parent_made() {
    let site = Site::new();
    let (mut parent, output) = ready(&mut site.victim("daemon", 2));
    // Waiting would close it, and the child ends with it.
    let input = parent.stdin.take();
    assert!(parent.wait().unwrap().success());
    assert_eq!(events(&lines(&site.sweep(&["--json"])), "living").len(), 1);
    assert_eq!(names(&site.work()).len(), 2);
    drop((input, output));
    eventually("the daemon has ended and cleaned up", || names(&site.work()).is_empty());
}

#[test]
fn d5_sweeps_at_the_same_time_share_the_work() {
    let site = Site::new();
    for _ in 0..20 {
        site.kill_one_beside(50);
    }
    let sweeps: Vec<_> = (0..4)
        .map(|_| {
            let mut command = Command::new(TMPSHIM);
            command.args(["sweep", "--json", "--state-dir"]).arg(site.state());
            command.stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut removed = 0;
    for sweep in sweeps {
        let output = sweep.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let all = lines(&output);
        removed += events(&all, "removed").len();
        assert_eq!(events(&all, "skipped").len() + events(&all, "left").len(), 0);
    }
    assert_eq!(removed, 1000, "each is removed once");
    site.assert_clean();
}

impl Site {
    /// Leaves a journal beside others: the victims' own library would sweep theirs.
    fn kill_one_beside(&self, count: u32) {
        let other = Self::new();
        let mut command = self.victim("killed", count);
        command.env("TMPSHIM_STATE_DIR", other.state());
        assert_eq!(command.output().unwrap().status.signal(), Some(libc::SIGKILL));
        let journal = other.journal();
        fs::copy(&journal, self.state().join(journal.file_name().unwrap())).unwrap();
    }
}

#[test]
fn d5_hostile_journals_harm_nothing_and_are_named() {
    let site = Site::new();
    site.kill_one(2);
    let whole = fs::read(site.journal()).unwrap();
    fs::remove_file(site.journal()).unwrap();
    let state = site.state();
    let mut number = 0;
    let mut fresh = || {
        number += 1;
        state.join(format!(".tmpshim-j{number:032x}"))
    };
    let mut expected = Vec::new();
    let mut add = |bytes: &[u8]| {
        let path = fresh();
        fs::write(&path, bytes).unwrap();
        expected.push(path);
    };
    add(&whole[..100]);
    add(&whole[..4095]);
    add(b"random bytes, or nearly");
    add(&vec![0xff; 20_000]);
    let mut version = whole.clone();
    version[8] = 99;
    add(&version);
    let mut summed = whole.clone();
    summed[40] ^= 1;
    add(&summed);
    // Random bytes behind a good header: every slot is damaged.
    let mut slots = whole.clone();
    slots[4096..].iter_mut().enumerate().for_each(|(index, byte)| *byte = (index * 7 + 3) as u8);
    add(&slots);
    // Cut behind the header: the segments are not there.
    add(&whole[..4096]);
    let sparse = fresh();
    fs::write(&sparse, &whole).unwrap();
    fs::OpenOptions::new().write(true).open(&sparse).unwrap().set_len(1 << 40).unwrap();
    let link = fresh();
    symlink("/etc/passwd", &link).unwrap();
    let directory = fresh();
    fs::create_dir(&directory).unwrap();
    let fifo = fresh();
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    expected.extend([sparse, link, directory, fifo]);
    let before = fs::read("/etc/passwd").unwrap();

    for arguments in [&["--json", "--dry-run"][..], &["--json"]] {
        let begun = Instant::now();
        let output = site.sweep(arguments);
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let all = lines(&output);
        let mut left: Vec<_> =
            events(&all, "left").iter().map(|line| line["path"].as_str().unwrap().to_owned()).collect();
        left.sort();
        left.dedup();
        let mut expected: Vec<_> = expected.iter().map(|path| path.to_str().unwrap().to_owned()).collect();
        expected.sort();
        assert_eq!(left, expected);
        assert!(events(&all, "left").iter().all(|line| line["why"].as_str().unwrap().contains(';')), "what to do");
    }
    assert_eq!(names(&state).len(), expected.len());
    assert_eq!(names(&site.work()).len(), 2);
    assert_eq!(fs::read("/etc/passwd").unwrap(), before);

    // An empty one is what is left of a process that was killed at its first step.
    let blank = fresh();
    fs::write(&blank, "").unwrap();
    site.sweep(&["--dry-run"]);
    assert!(blank.exists());
    site.sweep(&[]);
    assert!(!blank.exists());
}

/// A journal that says another path and identity than it did: for records that no library writes.
struct Forged {
    bytes: Vec<u8>,
    slot: usize,
}

impl Forged {
    fn from(journal: &Path) -> Self {
        let bytes = fs::read(journal).unwrap();
        let of = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        let slot = (4096..bytes.len()).step_by(256).find(|&at| of(at) == tmpshim_core::journal::LIVE).unwrap();
        Self { bytes, slot }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[self.slot + at..self.slot + at + bytes.len()].copy_from_slice(bytes);
    }

    /// Says that `path` was made, and is what is there now.
    fn claim(mut self, path: &Path, entry: u32) -> Vec<u8> {
        use tmpshim_core::journal::{SLOT, sum, sum_identity};
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        let seen = tmpshim_core::identity::at(rustix::fs::CWD, &name).unwrap();
        let identity = seen.identity;
        let words = [identity.device, identity.inode, identity.birth, identity.generation, identity.mount];
        self.put(8, &entry.to_ne_bytes());
        self.put(12, &(name.as_bytes().len() as u32).to_ne_bytes());
        self.put(16, &sum(name.as_bytes()).to_ne_bytes());
        self.put(20, &sum_identity(&identity).to_ne_bytes());
        self.put(24, &words.map(u64::to_ne_bytes).concat());
        self.put(SLOT, name.as_bytes_with_nul());
        self.bytes
    }
}

/// The header says that it was made later than it was, `by` an hour at a time.
fn postdate(bytes: &mut [u8], by: u64) {
    const CREATED: usize = 72;
    let ended = header_end(bytes);
    let created = u64::from_ne_bytes(bytes[CREATED..CREATED + 8].try_into().unwrap());
    assert!(created > 1_700_000_000_000_000_000, "nanoseconds since 1970 stand there");
    bytes[CREATED..CREATED + 8].copy_from_slice(&(created + by * 3_600_000_000_000).to_ne_bytes());
    let sum = tmpshim_core::journal::sum(&bytes[16..ended]);
    bytes[12..16].copy_from_slice(&sum.to_ne_bytes());
}

#[test]
fn d6_a_journal_that_names_what_tmpshim_never_made_removes_nothing() {
    // Where birth times are told.
    let site = Site::new_in(Path::new("/dev/shm"));
    site.kill_one(1);
    let journal = site.journal();
    let outside = site.root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "kept").unwrap();
    let dotted = site.work().join("../outside");
    let file = outside.join("file");
    let original = fs::read(&journal).unwrap();
    // Older than the journal, a way through `..`, a file whose name is not one of ours.
    for (path, entry, hours) in [(&outside, 0, 2), (&dotted, 0, 0), (&file, 1 << 16, 0)] {
        let mut forged = Forged::from(&journal).claim(path, entry);
        postdate(&mut forged, hours);
        fs::write(&journal, forged).unwrap();
        for arguments in [&["--json", "--dry-run"][..], &["--json"]] {
            let output = site.sweep(arguments);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let all = lines(&output);
            let skipped = events(&all, "skipped");
            assert_eq!(skipped.len(), 1);
            assert_eq!(skipped[0]["path"], path.to_str().unwrap());
            assert!(skipped[0]["why"].as_str().unwrap().contains("makes nothing like it"), "{skipped:?}");
        }
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "kept");
        fs::write(&journal, &original).unwrap();
    }
    assert!(site.sweep(&[]).status.success());
    site.assert_clean();
}

#[test]
fn d6_what_a_dead_container_was_about_to_make_is_not_looked_for_below_another_root() {
    use tmpshim_core::journal::layout;
    for is_below_another_root in [false, true] {
        let site = Site::new_in(Path::new("/dev/shm"));
        site.kill_one(1);
        let made = site.work().join(&names(&site.work())[0]);
        // Announced and not made, though an empty directory has that path by now.
        let announced = site.work().join("announced");
        for directory in [&announced, &site.state().join("init-0123456789abcdef")] {
            fs::create_dir(directory).unwrap();
            fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
        }
        let journal = site.state().join(names(&site.state()).iter().find(|name| name.starts_with('.')).unwrap());
        let mut forged = Forged::from(&journal);
        forged.put(0, &tmpshim_core::journal::INTENT.to_ne_bytes());
        let mut forged = forged.claim(&announced, 0);
        forged[layout::PID_NAMESPACE + 16] ^= u8::from(is_below_another_root);
        let sum = tmpshim_core::journal::sum(&forged[layout::SUMMED]);
        forged[layout::CHECKSUM..layout::CHECKSUM + 4].copy_from_slice(&sum.to_ne_bytes());
        fs::remove_file(&journal).unwrap();
        fs::write(site.state().join("init-0123456789abcdef").join(journal.file_name().unwrap()), forged).unwrap();

        assert_eq!(site.sweep(&[]).status.code(), Some(0));
        assert_eq!(announced.exists(), is_below_another_root);
        let _ = fs::remove_dir(&announced);
        fs::remove_dir_all(&made).unwrap();
        site.assert_clean();
    }
}

#[test]
fn d6_a_users_journal_that_names_the_systems_directories_removes_nothing() {
    if !is_root("becoming another user") {
        return;
    }
    let site = Site::new().give_to(NOBODY);
    let mut victim = site.victim("killed", 1);
    assert_eq!(victim.uid(NOBODY).gid(NOBODY).output().unwrap().status.signal(), Some(libc::SIGKILL));
    let journal = site.journal();
    let before = names(Path::new("/etc"));
    fs::write(&journal, Forged::from(&journal).claim(Path::new("/etc"), 0)).unwrap();
    // By that user himself: whatever is wrong with the sweep, the kernel keeps /etc from him.
    let mut sweep = Command::new(tools().command());
    let output = sweep.args(["sweep", "--state-dir"]).arg(site.state()).uid(NOBODY).gid(NOBODY).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output).contains("skipped /etc (made by victim"), "{output:?}");
    assert_eq!(names(Path::new("/etc")), before);
}

#[test]
fn d6_a_path_that_becomes_a_link_between_check_and_removal_leads_nowhere() {
    let site = Site::new();
    site.kill_one(300);
    let canary = site.root.path().join("canary");
    fs::create_dir(&canary).unwrap();
    let all = names(&site.work());
    for name in &all {
        fs::create_dir(canary.join(name)).unwrap();
        fs::write(canary.join(name).join("file"), "kept").unwrap();
    }
    let (work, aside, link) = (site.work(), site.root.path().join("aside"), site.root.path().join("link"));
    symlink(&canary, &link).unwrap();
    let stop = AtomicBool::new(false);
    let swaps = std::thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            let mut swaps = 0u32;
            while !stop.load(Ordering::Relaxed) {
                // The whole directory, and each one in it, is a link to the canary's for an instant.
                fs::rename(&work, &aside).unwrap();
                fs::rename(&link, &work).unwrap();
                fs::rename(&work, &link).unwrap();
                fs::rename(&aside, &work).unwrap();
                let name = &all[swaps as usize % all.len()];
                let (own, away) = (work.join(name), work.join("away"));
                if fs::rename(&own, &away).is_ok() {
                    if symlink(canary.join(name), &own).is_ok() {
                        fs::remove_file(&own).unwrap();
                    }
                    let _ = fs::rename(&away, &own);
                }
                swaps += 1;
            }
            swaps
        });
        for _ in 0..5 {
            site.sweep(&[]);
        }
        stop.store(true, Ordering::Relaxed);
        attacker.join().unwrap()
    });
    assert!(swaps > 0);
    for name in &all {
        assert_eq!(fs::read_to_string(canary.join(name).join("file")).unwrap(), "kept");
    }
}

#[test]
fn d5_root_sweeps_for_others_with_their_rights_only() {
    if !is_root("sweeping for others") {
        return;
    }
    let site = Site::new().give_to(NOBODY);
    let kill = || {
        let mut command = site.victim("killed", 2);
        command.uid(NOBODY).gid(NOBODY);
        assert_eq!(command.output().unwrap().status.signal(), Some(libc::SIGKILL));
    };
    kill();
    let journal = site.journal();
    assert_eq!(fs::metadata(&journal).unwrap().uid(), NOBODY);
    let original = fs::read(&journal).unwrap();

    // Root's own directory, whole and young, is named by that user's journal.
    let precious = site.root.path().join("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "kept").unwrap();
    fs::write(&journal, Forged::from(&journal).claim(&precious, 0)).unwrap();
    let output = site.sweep(&["--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let all = lines(&output);
    let skipped = events(&all, "skipped");
    assert_eq!((skipped.len(), &skipped[0]["path"]), (1, &precious.to_str().unwrap().into()));
    assert_eq!(skipped[0]["uid"], NOBODY);
    assert_eq!(fs::read_to_string(precious.join("file")).unwrap(), "kept");

    // Links in the way: for a journal, for a run's directory, and for the state directory itself.
    fs::write(&journal, &original).unwrap();
    let link = |name: &str, target: &Path| {
        symlink(target, site.state().join(name)).unwrap();
        site.state().join(name)
    };
    let roots = Site::new();
    roots.kill_one(1);
    let links = [
        link(".tmpshim-j00000000000000000000000000000000", &roots.journal()),
        link("run-0123456789abcdef", &roots.state()),
    ];
    let output = site.sweep(&["--json"]);
    let all = lines(&output);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(events(&all, "left").len(), 1, "the link that stands for a journal");
    assert_eq!(events(&all, "removed").len(), 1, "the other one went with the forged journal");
    assert_eq!(names(&roots.work()).len(), 1);
    for link in links {
        fs::remove_file(link).unwrap();
    }
    site.assert_clean();
    fs::remove_dir(site.state()).unwrap();
    symlink(roots.state(), site.state()).unwrap();
    assert_eq!(site.sweep(&[]).status.code(), Some(1));
    assert_eq!(names(&roots.work()).len(), 1);
    fs::remove_file(site.state()).unwrap();
    assert!(roots.sweep(&[]).status.success());
    roots.assert_clean();
}

/// With a /dev/shm and a /run of its own, so that nobody else's state is touched.
const OTHERS: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs none /dev/shm
mount -t tmpfs none /run
chmod 1777 /dev/shm
user() { setpriv --reuid=7001 --regid=7001 --clear-groups env "$@"; }
mkdir -p /run/user/7001 /run/user/7002
chown 7001:7001 /run/user/7001 "$WORK"
LD_PRELOAD=$LIBRARY user "$VICTIM" "$WORK" killed 1 || true
LD_PRELOAD=$LIBRARY user XDG_RUNTIME_DIR=/run/user/7001 "$VICTIM" "$WORK" killed 1 || true
# What root left is another sweep's, and no user can lead root there.
LD_PRELOAD=$LIBRARY TMPSHIM_STATE_DIR=/dev/shm/roots "$VICTIM" "$ROOTS" killed 1 || true
chown 7002:7002 /run/user/7002
ln -s /dev/shm/roots /run/user/7002/tmpshim
ln -s /dev/shm/roots /dev/shm/tmpshim-7002
test "$(ls "$WORK" | wc -l)" = 2
"$TMPSHIM" sweep --json
test "$(ls "$ROOTS" | wc -l)" = 1
test -z "$(ls -A /dev/shm/tmpshim-7001 /run/user/7001/tmpshim | grep tmpshim-j)"
"#;

#[test]
fn d5_root_finds_the_usual_places_of_others() {
    if !is_root("sweeping for others") {
        return;
    }
    let site = Site::new();
    let roots = site.root.path().join("roots");
    fs::create_dir(&roots).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "bash", "-c", OTHERS]).env("WORK", site.work()).env("ROOTS", &roots);
    command.env("VICTIM", tools().victim()).env("LIBRARY", tools().library()).env("TMPSHIM", TMPSHIM);
    command.env_remove("TMPSHIM_STATE_DIR").env_remove("XDG_RUNTIME_DIR");
    let output = command.output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches(r#""event":"removed""#).count(), 2, "{said}");
    assert_eq!(said.matches(r#""uid":7001"#).count(), 2, "{said}");
    assert!(names(&site.work()).is_empty());
}

#[test]
fn d6_what_is_a_mount_point_elsewhere_stays_until_it_is_none() {
    if !is_root("a mount namespace") {
        return;
    }
    let site = Site::new();
    site.kill_one(2);
    let made = names(&site.work());
    let (at, below) = (site.work().join(&made[0]), site.work().join(&made[1]).join("deep"));
    fs::create_dir(&below).unwrap();
    let script = format!(
        "mount --make-rprivate / && mount -t tmpfs none '{}' && mount -t tmpfs none '{}' && echo ready && exec cat",
        at.display(),
        below.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let (mut holder, _output) = ready(&mut command);
    for arguments in [&["--json", "--dry-run"][..], &["--json"]] {
        let output = site.sweep(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let all = lines(&output);
        let skipped = events(&all, "skipped");
        assert_eq!(skipped.len(), 2, "{all:?}");
        for line in skipped {
            let why = line["why"].as_str().unwrap();
            assert!(why.contains("tmpfs is mounted on") && why.contains(&holder.id().to_string()), "{why}");
        }
    }
    assert!(at.exists() && below.exists());
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", holder.id())).unwrap();
    assert_eq!(mounts.matches(site.work().to_str().unwrap()).count(), 2, "still mounted there");
    drop(holder.stdin.take());
    holder.wait().unwrap();
    let output = site.sweep(&[]);
    assert!(output.status.success(), "{output:?}");
    site.assert_clean();
}

#[test]
fn d6_a_mount_seen_only_from_a_root_of_its_own_counts() {
    if !is_root("a mount namespace") {
        return;
    }
    let site = Site::new();
    site.kill_one(2);
    let made = names(&site.work());
    // The one process of that namespace has a root in which the mount above has no line.
    let script = format!(
        "mount --make-rprivate / && mount -t tmpfs none '{}' && mkdir '{}/keep' && echo ready && exec chroot '{}' /victim \
         / stays 0",
        site.work().join(&made[0]).display(),
        site.work().join(&made[0]).display(),
        site.root.path().display(),
    );
    fs::copy(tools().victim(), site.root.path().join("victim")).unwrap();
    let static_victim = Command::new("cc")
        .args(["-static", "-o"])
        .arg(site.root.path().join("victim"))
        .arg(tools().directory.path().join("victim.c"))
        .status()
        .unwrap();
    assert!(static_victim.success());
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let (mut holder, mut output) = ready(&mut command);
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n", "from below the new root");
    let all = lines(&site.sweep(&["--json"]));
    assert_eq!((events(&all, "skipped").len(), events(&all, "removed").len()), (1, 1), "{all:?}");
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert!(site.sweep(&[]).status.success());
    site.assert_clean();
}

#[test]
fn d6_what_was_made_in_another_mount_namespace_goes_where_nothing_is_mounted_on_it() {
    if !is_root("a mount namespace") {
        return;
    }
    let site = Site::new();
    let victim = site.victim("killed", 2);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--"]).arg(victim.get_program()).args(victim.get_args());
    command.envs(
        victim.get_envs().filter_map(|(name, value)| Some((name, value?))).filter(|(name, _)| *name != "LD_PRELOAD"),
    );
    // unshare itself makes no directory; with the library it would be none the worse.
    command.env("LD_PRELOAD", tools().library());
    assert_eq!(command.output().unwrap().status.signal(), Some(libc::SIGKILL));
    assert_eq!(names(&site.work()).len(), 2);
    let output = site.sweep(&[]);
    assert!(output.status.success(), "{output:?}");
    site.assert_clean();
}

#[test]
fn d7_what_comes_from_another_pid_namespace_is_judged_by_what_can_be_seen() {
    if !is_root("a PID namespace") {
        return;
    }
    let site = Site::new();
    let start = |what: &str| {
        let victim = site.victim(what, 1);
        let mut command = Command::new("unshare");
        command
            .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
            .arg(victim.get_program())
            .args(victim.get_args());
        command.env("LD_PRELOAD", tools().library()).env("TMPSHIM_STATE_DIR", site.state());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    };
    let (mut holder, _output) = ready(&mut start("stays"));
    assert_eq!(events(&lines(&site.sweep(&["--json"])), "living").len(), 1);
    drop(holder.stdin.take());
    holder.wait().unwrap();

    let _ = start("killed").output().unwrap();
    let initial = fs::metadata("/proc/self/ns/pid").unwrap().ino() == 0xefff_fffc;
    let output = site.sweep(&["--json"]);
    if initial {
        assert!(output.status.success(), "{output:?}");
        site.assert_clean();
    } else {
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains("another PID namespace"));
    }
}

#[test]
fn d5_below_another_root_what_is_not_found_is_not_forgotten() {
    if !is_root("another root directory") {
        return;
    }
    let site = Site::new();
    site.kill_one(1);
    let journal = site.journal();
    // As written by a process with another root, where the path leads to something else.
    let mut bytes = fs::read(&journal).unwrap();
    let (owner, ended) = (16, header_end(&bytes));
    let root_inode = 16 + 16 + 8 + 8;
    bytes[root_inode] ^= 1;
    let sum = tmpshim_core::journal::sum(&bytes[owner..ended]);
    bytes[12..16].copy_from_slice(&sum.to_ne_bytes());
    let name = &names(&site.work())[0];
    fs::rename(site.work().join(name), site.root.path().join("away")).unwrap();
    fs::write(&journal, &bytes).unwrap();
    let output = site.sweep(&[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output).contains("made below another root directory; run the sweep there"), "{output:?}");
    assert!(journal.exists());
    // What is found is what was made, and goes.
    fs::rename(site.root.path().join("away"), site.work().join(name)).unwrap();
    let output = site.sweep(&[]);
    assert!(output.status.success(), "{output:?}");
    site.assert_clean();
}

/// Where the part of the header ends that is summed up: as far as the sum says.
fn header_end(bytes: &[u8]) -> usize {
    let said = u32::from_ne_bytes(bytes[12..16].try_into().unwrap());
    (17..=4096).find(|&end| tmpshim_core::journal::sum(&bytes[16..end]) == said).expect("it was whole")
}

#[test]
fn d5_state_directories_that_are_none_are_said() {
    let site = Site::new();
    fs::set_permissions(site.state(), fs::Permissions::from_mode(0o777)).unwrap();
    let output = site.sweep(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("others may write to it; chmod"), "{output:?}");
    let usage = Command::new(TMPSHIM).args(["sweep", "--no-such-flag"]).output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
}

fn run(site: &Site) -> Command {
    let mut command = Command::new(TMPSHIM);
    command.args(["run", "--state-dir"]).arg(site.state()).arg("--").env_remove("LD_PRELOAD");
    command
}

/// A victim under `tmpshim run`.
fn run_victim(site: &Site, what: &str) -> Command {
    let mut command = run(site);
    command.arg(tools().victim()).arg(site.work()).args([what, "3", "file"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
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
    let script = format!("'{}' '{}' killed 3; exit 4", tools().victim().display(), site.work().display());
    let output = run(&site).args(["sh", "-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    site.assert_clean();
}

#[test]
fn d5_run_cleans_up_when_the_daemon_has_ended() {
    let site = Site::new();
    let script = format!(
        "'{}' '{}' stays 3 <&3 & echo $! >'{root}/pid'; while [ -d '{root}' ] && [ ! -e '{root}/go' ]; do :; done",
        tools().victim().display(),
        site.work().display(),
        root = site.root.path().display(),
    );
    let line = format!("exec 3<&0; exec '{TMPSHIM}' run --state-dir '{}' -- sh -c \"$SCRIPT\"", site.state().display());
    let mut command = Command::new("sh");
    command.args(["-c", &line]).env("SCRIPT", script).env_remove("LD_PRELOAD");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let (mut child, _output) = ready(&mut command);
    // The shell and the daemon are not in step.
    let number = || fs::read_to_string(site.root.path().join("pid")).ok()?.trim().parse::<i32>().ok();
    eventually("the shell has written its child's number", || number().is_some());
    let pid = number().unwrap();
    let input = child.stdin.take();
    fs::write(site.root.path().join("go"), "").unwrap();
    assert!(child.wait().unwrap().success(), "run ends with its program");
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
    command.args([TMPSHIM, "run", "--"]).arg(tools().victim()).arg(site.work()).args(["killed", "3"]);
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
        tools().victim().display(),
        site.work().display(),
        said = site.root.path().join("said").display(),
    );
    let line = format!("exec 3<&0; exec '{TMPSHIM}' run --state-dir '{}' -- sh -c \"$SCRIPT\"", site.state().display());
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "sh", "-c", &line]).env("SCRIPT", script).env_remove("LD_PRELOAD");
    // Open until the end, so that nothing but the end of PID 1 ends the daemon.
    let child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut child = child;
    let input = child.stdin.take();
    assert_eq!(child.wait().unwrap().code(), Some(7));
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
        tools().victim().display(),
        site.work().display()
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

#[test]
fn the_names_of_things_do_not_reach_a_terminal_raw() {
    let site = Site::new();
    let work = site.work().join(OsStr::from_bytes(b"a\x1b[31mb"));
    fs::create_dir(&work).unwrap();
    let mut command = Command::new(tools().victim());
    command.arg(&work).args(["killed", "1"]);
    command.env("LD_PRELOAD", tools().library()).env("TMPSHIM_STATE_DIR", site.state());
    assert_eq!(command.output().unwrap().status.signal(), Some(libc::SIGKILL));
    let output = site.sweep(&[]);
    assert!(output.status.success());
    assert!(!output.stdout.contains(&0x1b) && text(&output).contains("a\\u{1b}[31mb/victim-"), "{output:?}");
    assert_eq!(names(&work), Vec::<String>::new());
}

#[test]
fn t5_a_hidden_name_goes_unless_somebody_has_the_file_open() {
    let site = Site::new();
    site.kill_one(1);
    let journal = site.journal();
    let hidden = site.work().join(format!(".tmpshim-l{}", "0a".repeat(16)));
    fs::write(&hidden, "x").unwrap();
    fs::write(&journal, Forged::from(&journal).claim(&hidden, 1 << 16)).unwrap();
    let open = fs::File::open(&hidden).unwrap();
    open.read_at(&mut [0], 0).unwrap();
    assert!(open.as_fd().try_clone_to_owned().is_ok());
    for arguments in [&["--json", "--dry-run"][..], &["--json"]] {
        let output = site.sweep(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(events(&lines(&output), "skipped")[0]["why"].as_str().unwrap().contains("open"));
        assert!(hidden.exists());
    }
    drop(open);
    let all = lines(&site.sweep(&["--json"]));
    assert_eq!(events(&all, "removed")[0]["kind"], "file");
    assert!(!hidden.exists() && names(&site.state()).is_empty());
}
