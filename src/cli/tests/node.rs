//! What runs on a cluster's nodes and in its pods: `sweep --every`, `sweep --host`, `install`, and `run` as process 1 of a
//! container that is killed and started again (D5).

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const TMPSHIM: &str = env!("CARGO_BIN_EXE_tmpshim");

/// Makes a directory in the one that it is given, says so, and waits for a line, or with another argument for ever.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **arguments) {
    char path[4096];
    if (count < 2) return 1;
    snprintf(path, sizeof path, "%s/made-XXXXXX", arguments[1]);
    if (!mkdtemp(path)) return 2;
    puts("ready");
    fflush(stdout);
    if (count > 2) pause();
    getchar();
    return 0;
}
"#;

/// A program, the library, a state directory, and one to work in.
struct Site {
    root: TempDir,
}

impl Site {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        let site = Self { root };
        fs::write(site.at("program.c"), PROGRAM).unwrap();
        let built = Command::new("cc").arg("-o").arg(site.at("program")).arg(site.at("program.c")).status().unwrap();
        assert!(built.success());
        for name in ["state", "work"] {
            fs::create_dir(site.at(name)).unwrap();
            fs::set_permissions(site.at(name), fs::Permissions::from_mode(0o700)).unwrap();
        }
        let installed = Command::new(TMPSHIM).args(["library", "--output"]).arg(site.at("lib.so")).status().unwrap();
        assert!(installed.success());
        site
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn made(&self) -> Vec<String> {
        names(&self.at("work"))
    }

    /// A program with the library is killed, and leaves a directory and a journal.
    fn leave_one(&self) {
        let before = self.made().len();
        let mut command = Command::new(self.at("program"));
        command.arg(self.at("work")).env("LD_PRELOAD", self.at("lib.so")).env("TMPSHIM_STATE_DIR", self.at("state"));
        let (mut child, _output) = ready(&mut command, "ready");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(self.made().len(), before + 1);
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Starts it, and waits for a line that holds `word`.
fn ready(command: &mut Command, word: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    until_said(&mut output, word);
    (child, output)
}

fn until_said(output: &mut BufReader<ChildStdout>, word: &str) -> String {
    let mut line = String::new();
    while !line.contains(word) {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "it never says {word}");
    }
    line
}

fn send(pid: i32, signal: i32) {
    // SAFETY: kill(2) touches no memory.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

/// Process 1 of the namespace that our child has made.
fn first_of(child: &Child) -> i32 {
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    fs::read_to_string(children).unwrap().trim().parse().unwrap()
}

fn in_namespace() -> Option<Command> {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    let possible = Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "true"]).output();
    if possible.is_ok_and(|output| output.status.success()) {
        return Some(command);
    }
    eprintln!("not shown: no PID namespace can be had here");
    None
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap() + str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn d5_a_sweep_that_goes_on_sweeps_again_and_ends_when_asked_to() {
    let site = Site::new();
    site.leave_one();
    let outer = in_namespace();
    let commands = [
        Some(Command::new(TMPSHIM)),
        outer.map(|mut outer| {
            outer.arg(TMPSHIM);
            outer
        }),
    ];
    for (turn, mut command) in commands.into_iter().flatten().enumerate() {
        if turn > 0 {
            site.leave_one();
        }
        command.args(["sweep", "--every", "1s", "--json", "--state-dir"]).arg(site.at("state"));
        let (mut child, mut output) = ready(&mut command, "\"summary\"");
        // From a PID namespace of its own nobody can tell who is dead in this one: then everything is left.
        if turn == 0 {
            assert!(site.made().is_empty());
            site.leave_one();
            until_said(&mut output, "\"removed\"");
            let summary: Value = serde_json::from_str(&until_said(&mut output, "\"summary\"")).unwrap();
            assert_eq!(summary["counts"]["directories"], 1);
            assert!(site.made().is_empty() && names(&site.at("state")).is_empty());
        }
        // By the second, the first has its status.
        until_said(&mut output, "\"summary\"");
        let pid = if turn == 0 { child.id().cast_signed() } else { first_of(&child) };
        send(pid, [libc::SIGTERM, libc::SIGINT][turn]);
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(i32::from(turn == 1)), "{rest}");
    }
}

#[test]
fn d5_a_container_that_was_killed_is_cleaned_up_behind_when_it_starts_again() {
    let site = Site::new();
    let start = || {
        let mut command = in_namespace()?;
        command.args([TMPSHIM, "run", "--log", "stdout", "--state-dir"]).arg(site.at("state")).arg("--");
        command.arg(site.at("program")).arg(site.at("work"));
        Some(command)
    };
    let Some(mut command) = start() else { return };
    let (mut child, _output) = ready(&mut command, "ready");
    let first = site.made();
    assert_eq!(first.len(), 1);
    // Nobody else's sweep, from whatever namespace, touches what lives.
    for mut sweep in [Command::new(TMPSHIM), in_namespace().unwrap()] {
        if sweep.get_program() == "unshare" {
            sweep.arg(TMPSHIM);
        }
        sweep.args(["sweep", "--json", "--state-dir"]).arg(site.at("state")).output().unwrap();
        assert_eq!(site.made(), first);
    }
    // Another of the same kind beside it does not, either.
    let (mut other, _output_of_other) = ready(&mut start().unwrap(), "ready");
    assert_eq!(site.made().len(), 2);
    drop(other.stdin.take());
    other.wait().unwrap();
    assert_eq!(site.made(), first);

    // Its input stays open: at its end it would end by itself.
    let input = child.stdin.take();
    send(first_of(&child), libc::SIGKILL);
    child.wait().unwrap();
    drop(input);
    assert_eq!(site.made(), first, "a killed container leaves what it made");
    assert_eq!(names(&site.at("state")).len(), 1);
    let (mut again, mut output) = ready(&mut start().unwrap(), "\"removed\"");
    until_said(&mut output, "ready");
    assert_eq!(site.made().len(), 1);
    assert_ne!(site.made(), first);
    drop(again.stdin.take());
    assert!(again.wait().unwrap().success());
    assert!(site.made().is_empty() && names(&site.at("state")).is_empty());
}

#[test]
fn d5_from_a_container_the_host_is_swept_and_nothing_else_is_entered() {
    let site = Site::new();
    let Some(mut host) = in_namespace() else { return };
    // The state directory and the program's own are only what they are in the mount namespace of process 1.
    let script = r#"
        cd "$1"
        LD_PRELOAD=$1/lib.so TMPSHIM_STATE_DIR=$1/state ./program "$1/work" stays >said &
        timeout 30 sh -c 'until grep -q ready said; do :; done'
        kill -KILL $!
        wait $! 2>/dev/null
        container() {
            unshare --mount sh -c '
                mount -t tmpfs -o mode=700 none "$1/state" && mount -t tmpfs -o mode=700 none "$1/work" || exit
                shift
                exec "$@"' sh "$@"
        }
        container "$1" "$2" sweep --state-dir "$1/state"
        echo "without: $?, $(ls work | wc -l)"
        container "$1" "$2" sweep --host --json --state-dir "$1/state"
        echo "with: $?, $(ls work | wc -l)"
        "$2" sweep --host --state-dir "$1/state"
        echo "on the host itself: $?"
    "#;
    let output =
        host.args(["sh", "-c", script, "sh"]).arg(site.root.path()).arg(TMPSHIM).stdin(Stdio::piped()).output();
    let said = text(&output.unwrap());
    assert!(said.contains("without: 0, 1"), "{said}");
    assert!(said.contains("with: 0, 0") && said.contains("\"program\":\"program\""), "{said}");
    assert!(said.contains("on the host itself: 0"), "{said}");

    let alone = in_namespace().unwrap().args([TMPSHIM, "sweep", "--host"]).output().unwrap();
    assert_eq!(alone.status.code(), Some(1));
    assert!(
        text(&alone).contains("process 1 is this sweep itself") && text(&alone).contains("set hostPID: true"),
        "{alone:?}"
    );
    // /proc of the outer namespace: process 1 in there is another one.
    let outer =
        Command::new("unshare").args(["--pid", "--fork", "sh", "-c", "\"$0\" sweep --host; exit $?", TMPSHIM]).output();
    let outer = outer.unwrap();
    assert_eq!(outer.status.code(), Some(1));
    assert!(text(&outer).contains("/proc is not that of this PID namespace"), "{outer:?}");
    // In a pod that shares its own namespace, process 1 is called so.
    let script = "echo pause >/proc/self/comm; \"$0\" sweep --host; exit $?";
    let pod = in_namespace().unwrap().args(["sh", "-c", script, TMPSHIM]).output().unwrap();
    assert_eq!(pod.status.code(), Some(1));
    assert!(text(&pod).contains("shareProcessNamespace"), "{pod:?}");
}

#[test]
fn install_puts_both_files_where_all_can_use_them() {
    let root = TempDir::new().unwrap();
    let to = root.path().join("to");
    let install = || {
        let mut command = Command::new("sh");
        command.args(["-c", "umask 077; exec \"$0\" install --to \"$1\"", TMPSHIM]).arg(&to).output().unwrap()
    };
    let failed = install();
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        text(&failed).contains(&format!("cannot write {}/libtmpshim.so: No such file", to.display())),
        "{failed:?}"
    );
    fs::create_dir(&to).unwrap();
    fs::write(to.join("tmpshim"), "old").unwrap();
    for _ in 0..2 {
        let output = install();
        assert!(output.status.success() && text(&output).is_empty(), "{output:?}");
        let mut installed = names(&to);
        installed.sort();
        assert_eq!(installed, ["libtmpshim.so", "tmpshim"]);
        for name in installed {
            assert_eq!(fs::metadata(to.join(name)).unwrap().permissions().mode() & 0o7777, 0o755);
        }
        assert_eq!(fs::read(to.join("tmpshim")).unwrap(), fs::read(TMPSHIM).unwrap());
    }
    // The library beside the command is the one that is used.
    let output = Command::new(to.join("tmpshim")).args(["run", "--", "cat", "/proc/self/maps"]).output().unwrap();
    assert!(text(&output).contains(to.join("libtmpshim.so").to_str().unwrap()), "{output:?}");
}
