//! `tmpshim metrics`, on what programs and sweeps really write, and on what somebody writes who means harm.

mod rights;
mod waiting;

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use rights::is_root;
use waiting::{end_of, eventually};

const TMPSHIM: &str = env!("CARGO_BIN_EXE_tmpshim");

/// Makes a directory and a file without a name, gives that one a name, and ends.
const PROGRAM: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **arguments) {
    if (chdir(arguments[1]) != 0) return 1;
    char path[64], made[] = "made-XXXXXX";
    int fd = open(".", O_TMPFILE | O_RDWR, 0600);
    if (fd < 0) { perror("open"); return 2; }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (linkat(AT_FDCWD, path, AT_FDCWD, "published", AT_SYMLINK_FOLLOW) != 0) { perror("linkat"); return 3; }
    if (open("/nonexistent", O_TMPFILE | O_RDWR, 0600) >= 0) return 4;
    printf("own output");
    fflush(stdout);
    return count > 1 && mkdtemp(made) ? 0 : 5;
}
"#;

fn line(program: &str, event: &str, path: &str) -> String {
    format!("{{\"time\":1.0,\"pid\":7,\"program\":\"{program}\",\"event\":\"{event}\",\"path\":\"{path}\"}}\n")
}

fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(TMPSHIM);
    command.arg("metrics").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut to = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || to.write_all(input));
        child.wait_with_output().unwrap()
    })
}

/// Of `metric{program="NAME"}`.
fn values(text: &str, metric: &str) -> HashMap<String, u64> {
    let start = format!("{metric}{{program=\"");
    let of = |line: &str| {
        let (name, value) = line.strip_prefix(&start)?.rsplit_once("\"} ")?;
        Some((name.to_owned(), value.parse().unwrap()))
    };
    text.lines().filter_map(of).collect()
}

/// What Prometheus's own parser says of it, where there is one.
fn assert_well_formed(text: &str) {
    let script = "import sys\nfrom prometheus_client.parser import text_string_to_metric_families as parse\n\
                  print(sum(len(family.samples) for family in parse(sys.stdin.read())))";
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if str::from_utf8(&output.stderr).unwrap().contains("No module named") {
        return eprintln!("not shown: no python3-prometheus-client");
    }
    let samples = text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(str::from_utf8(&output.stdout).unwrap().trim(), samples.to_string(), "{output:?}\n{text}");
}

#[test]
fn what_a_program_did_is_on_its_standard_output_and_is_counted() {
    let root = TempDir::new().unwrap();
    let at = |name: &str| root.path().join(name);
    fs::write(at("program.c"), PROGRAM).unwrap();
    assert!(Command::new("cc").arg("-o").arg(at("program")).arg(at("program.c")).status().unwrap().success());
    let mut said = Vec::new();
    for engine in ["preload", "auto"] {
        let work = at(engine);
        fs::create_dir(&work).unwrap();
        let mut command = Command::new(TMPSHIM);
        command.args(["run", "--engine", engine, "--log", "stdout", "--tmpfile", "always", "--state-dir"]);
        let output = command.arg(at("state")).arg("--").arg(at("program")).arg(&work).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(text.contains("own output"), "{text}");
        assert!(!text.contains("\"event\"") || !String::from_utf8_lossy(&output.stderr).contains("\"event\""));
        said.extend_from_slice(&output.stdout);
        said.push(b'\n');
    }
    let output = run(&["--output", "-", "-"], &said);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for metric in ["fallbacks_total", "publishes_total", "directories_removed_total"] {
        assert_eq!(values(&text, &format!("tmpshim_{metric}"))["program"], 2, "{metric}: {text}");
    }
    assert_eq!(values(&text, "tmpshim_directories_skipped_total")["program"], 0);
    assert_well_formed(&text);
}

#[test]
fn what_sweeps_and_programs_say_of_the_same_directory_is_counted_once() {
    let hidden = format!("/tmp/.tmpshim-l{}", "0".repeat(32));
    let sweeps = |event: &str, path: &str, kind: &str| {
        format!(
            "{{\"event\":\"{event}\",\"path\":\"{path}\",\"kind\":\"{kind}\",\"program\":\"criu\",\"pid\":7,\"uid\":0}}\n"
        )
    };
    let log = [
        line("criu", "skipped", "/tmp/a"),
        sweeps("skipped", "/tmp/a", "directory"),
        sweeps("skipped", "/tmp/a", "directory"),
        sweeps("removed", "/tmp/a", "directory"),
        line("criu", "removed", "/tmp/b"),
        line("criu", "removed", &hidden),
        sweeps("removed", &hidden, "file"),
        sweeps("would-remove", "/tmp/c", "directory"),
        "{\"event\":\"summary\",\"counts\":{\"directories\":1,\"files\":1,\"left\":2,\"living\":0},\"time\":1795406037}\n".to_owned(),
    ];
    let text = String::from_utf8(run(&["--output", "-", "-"], log.concat().as_bytes()).stdout).unwrap();
    assert_eq!(values(&text, "tmpshim_directories_removed_total")["criu"], 2, "{text}");
    assert_eq!(values(&text, "tmpshim_directories_skipped_total")["criu"], 1, "{text}");
    assert!(text.contains("\ntmpshim_last_sweep_timestamp_seconds 1795406037\n"), "{text}");
    assert!(text.contains("\ntmpshim_last_sweep_left 2\n"), "{text}");
    assert_well_formed(&text);
}

#[test]
fn hostile_logs_cost_little_and_break_nothing() {
    let root = TempDir::new().unwrap();
    let at = |name: &str| root.path().join(name).display().to_string();
    let mut log = File::create(at("a.log")).unwrap();
    for number in 0..3000 {
        log.write_all(line(&format!("p{number}"), "stood-in", "/tmp").as_bytes()).unwrap();
    }
    let nasty = r#"\"}} 1\n# TYPE x counter\\ \u0000\u2028\r"#;
    log.write_all(line(nasty, "stood-in", "/tmp").as_bytes()).unwrap();
    log.write_all(b"\xff\xfe{\"event\":\"\xff\n").unwrap();
    // A line of 1 GiB, and one of ours behind it.
    log.set_len(1 << 30).unwrap();
    drop(log);
    let mut log = OpenOptions::new().append(true).open(at("a.log")).unwrap();
    log.write_all(format!("\n{}", line("p0", "stood-in", "/tmp")).as_bytes()).unwrap();
    let mut first = File::create(at("b.log")).unwrap();
    first.write_all(line(nasty, "published", "/tmp").as_bytes()).unwrap();
    fs::write(at("secret"), line("secret", "published", "/tmp")).unwrap();
    std::os::unix::fs::symlink(at("secret"), at("link.log")).unwrap();
    assert!(Command::new("mkfifo").arg(at("pipe.log")).status().unwrap().success());
    // Not far above what the command takes by itself.
    let script = "ulimit -v 65536; exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, TMPSHIM, "metrics", "--output", "-", &at("*.log")]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert!(
        complaints.contains("link.log: it is a symbolic link") && complaints.contains("pipe.log: it is no plain file")
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let counts = values(&text, "tmpshim_fallbacks_total");
    assert_eq!((counts.len(), counts["p0"]), (1001, 2));
    assert_eq!(counts.values().sum::<u64>(), 3002);
    assert!(!text.contains("secret") && text.lines().all(|line| line.starts_with('#') || line.starts_with("tmpshim_")));
    assert_well_formed(&text);
}

/// One that goes on, and its file.
struct Following {
    child: Child,
    output: PathBuf,
}

impl Following {
    fn start(before: &[&str], logs: &Path, output: PathBuf) -> Self {
        let mut words = before.to_vec();
        words.extend([TMPSHIM, "metrics", "--every", "1s", "--output"]);
        let mut command = Command::new(words[0]);
        let child = command.args(&words[1..]).arg(&output).arg(logs.join("*/*.log")).spawn().unwrap();
        Self { child, output }
    }

    fn count(&self) -> Option<u64> {
        let text = fs::read_to_string(&self.output).ok()?;
        assert!(text.ends_with('\n') && text.contains("tmpshim_log_files"), "half a file: {text}");
        values(&text, "tmpshim_fallbacks_total").get("p").copied()
    }

    /// Until it has counted as much; on the way no count goes back.
    fn reaches(&self, wanted: u64) {
        let mut last = 0;
        eventually(&format!("{wanted} are counted"), || {
            let count = self.count().unwrap_or(last);
            assert!(last <= count && count <= wanted, "{last}, then {count}, of {wanted}");
            last = count;
            count == wanted
        });
    }

    fn end(mut self) {
        // SAFETY: kill(2) touches no memory; it is our own child, and nobody has waited for it.
        assert_eq!(unsafe { libc::kill(self.child.id().cast_signed(), libc::SIGTERM) }, 0);
        assert_eq!(end_of(&mut self.child).code(), Some(0));
    }
}

#[test]
fn logs_are_followed_and_counts_never_go_back() {
    let root = TempDir::new().unwrap();
    let logs = root.path().join("logs");
    fs::create_dir_all(logs.join("a")).unwrap();
    let append = |name: &str, text: &str| {
        let mut file = OpenOptions::new().create(true).append(true).open(logs.join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    let event = format!("2026-11-23T05:00:00.1Z stdout F {}", line("p", "stood-in", "/tmp"));
    append("a/0.log", &event);
    let output = root.path().join("out").join("tmpshim.prom");
    fs::create_dir(output.parent().unwrap()).unwrap();
    // What a killed one has left.
    fs::write(output.with_file_name(".tmpshim.prom.new"), "half").unwrap();
    let following = Following::start(&[], &logs, output.clone());
    following.reaches(1);
    assert_eq!(fs::metadata(&output).unwrap().permissions().mode() & 0o7777, 0o644);
    append("a/0.log", &event[..50]);
    append("a/0.log", &event[50..]);
    fs::create_dir(logs.join("b")).unwrap();
    append("b/0.log", &event.repeat(3));
    following.reaches(5);
    // Truncated, with less in it than before.
    fs::write(logs.join("b/0.log"), &event).unwrap();
    following.reaches(6);
    append("a/0.log", &event);
    fs::rename(logs.join("a/0.log"), logs.join("a/0.log.20261123")).unwrap();
    append("a/0.log", &event);
    following.reaches(8);
    fs::remove_dir_all(logs.join("b")).unwrap();
    append("a/0.log", &event);
    following.reaches(9);
    following.end();
    let left: Vec<_> =
        fs::read_dir(output.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["tmpshim.prom"]);
}

#[test]
fn s4_as_process_1_it_ends_when_asked_to() {
    if !is_root("a PID namespace") {
        return;
    }
    let root = TempDir::new().unwrap();
    let output = root.path().join("tmpshim.prom");
    let mut following = Following::start(&["unshare", "--pid", "--fork", "--kill-child"], root.path(), output.clone());
    eventually("the file is written", || output.exists());
    let children = format!("/proc/{0}/task/{0}/children", following.child.id());
    let inner: i32 = fs::read_to_string(children).unwrap().trim().parse().unwrap();
    // SAFETY: kill(2) touches no memory; its parent, our child, has not waited for it.
    assert_eq!(unsafe { libc::kill(inner, libc::SIGTERM) }, 0);
    assert_eq!(end_of(&mut following.child).code(), Some(0));
}

#[test]
fn what_cannot_be_done_is_said() {
    let root = TempDir::new().unwrap();
    let at = |name: &str| root.path().join(name).display().to_string();
    let said = |arguments: &[&str], status: i32| {
        let output = run(arguments, b"");
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let text = said(&["--output", &at("no/out.prom"), "-"], 1);
    assert!(
        text.contains(&format!("cannot write {}: No such file", at("no/out.prom"))) && text.contains("give --output")
    );
    let text = said(&["--output", &at("out.prom"), &at("absent")], 1);
    assert!(text.contains(&format!("cannot read {}: No such file", at("absent"))), "{text}");
    assert!(Path::new(&at("out.prom")).exists(), "what can be counted is");
    assert!(said(&["--output", &at("out.prom"), "--every", "10m", "-"], 2).contains("cannot follow -"));
    assert!(said(&["--output", &at("out.prom"), "--every", "0s", &at("a")], 2).contains("at least 1s"));
    assert_eq!(said(&["--output", &at("out.prom"), &at("*.log")], 0), "");
}
