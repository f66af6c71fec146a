//! What the tests of `tmpshim sweep` have in common: programs that make directories or use them, and what is read of a
//! sweep.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use super::waiting::end_of;

pub(crate) const TMPSHIM: &str = env!("CARGO_BIN_EXE_tmpshim");
pub(crate) const NOBODY: u32 = 65534;

static TOOLS: OnceLock<TempDir> = OnceLock::new();

/// What is static is never dropped.
extern "C" fn remove_tools() {
    if let Some(tools) = TOOLS.get() {
        let _ = fs::remove_dir_all(tools.path());
    }
}

/// The victim (victim.c), the library and the command, where every user can reach them.
pub(crate) fn tool(name: &str) -> PathBuf {
    let tools = TOOLS.get_or_init(|| {
        let directory = open_directory(&std::env::temp_dir());
        compile("sweeping/victim.c", &[], &directory.path().join("victim"));
        let library = directory.path().join("libtmpshim.so");
        assert!(Command::new(TMPSHIM).args(["library", "--output"]).arg(library).status().unwrap().success());
        fs::copy(TMPSHIM, directory.path().join("tmpshim")).unwrap();
        // SAFETY: it takes nothing, and does not end the process.
        assert_eq!(unsafe { libc::atexit(remove_tools) }, 0);
        directory
    });
    tools.path().join(name)
}

/// Makes a program of one of the sources beside the tests.
pub(crate) fn compile(source: &str, flags: &[&str], program: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(source);
    let built = Command::new("cc").args(flags).arg("-o").arg(program).arg(source).status();
    assert!(built.expect("it takes cc: scripts/setup").success());
}

/// A directory that everybody can look into.
fn open_directory(parent: &Path) -> TempDir {
    tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir_in(parent).unwrap()
}

/// Such a one with some in it; the one called `state` is fit to be a state directory.
pub(crate) fn root_with(parent: &Path, names: &[&str]) -> TempDir {
    let root = open_directory(parent);
    for name in names {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    fs::set_permissions(root.path().join("state"), fs::Permissions::from_mode(0o700)).unwrap();
    root
}

/// A process that uses something until its input ends.
pub(crate) struct Holder {
    pub(crate) child: Child,
}

impl Holder {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self { child: ready(command).0 }
    }

    pub(crate) fn end(mut self) {
        drop(self.child.stdin.take());
        end_of(&mut self.child);
    }
}

/// Starts a program and waits until it says "ready"; what else it says.
pub(crate) fn ready(command: &mut Command) -> (Child, BufReader<ChildStdout>) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, output)
}

/// What is in a directory, sorted.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Everything that was said.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap() + str::from_utf8(&output.stderr).unwrap()
}

/// What was said with `--json`.
pub(crate) fn lines(output: &Output) -> Vec<Value> {
    assert!(output.stderr.is_empty(), "{output:?}");
    str::from_utf8(&output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
