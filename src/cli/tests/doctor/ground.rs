//! Where a test mounts and builds.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::rights::is_root;

pub(crate) const TMPSHIM: &str = env!("CARGO_BIN_EXE_tmpshim");
pub(crate) const NOBODY: u32 = 65534;
pub(crate) const AS_NOBODY: [&str; 6] = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];

/// A directory in which things are mounted and built.
pub(crate) struct Ground {
    pub(crate) directory: TempDir,
    pub(crate) mounts: Vec<PathBuf>,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("tmpshim-doctor-").tempdir().unwrap();
        set_mode(directory.path(), 0o755);
        Self { directory, mounts: Vec::new() }
    }

    /// Nothing, and the reason is said, where there are no mounts here.
    pub(crate) fn with_mounts(programs: &[&str]) -> Option<Self> {
        let has = |program: &&&str| Command::new(program).arg("--version").output().is_err();
        if let Some(program) = programs.iter().find(has) {
            eprintln!("not shown: it takes {program}: scripts/setup");
            return None;
        }
        is_root("a mount").then(Self::new)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn make(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        set_mode(&path, 0o1777);
        path
    }

    /// Mounts something on `name`.
    pub(crate) fn mount(&mut self, name: &str, line: &[&str]) -> PathBuf {
        let path = self.make(name);
        let (program, arguments) = line.split_first().unwrap();
        let mut command = Command::new(program);
        let mounted = command.args(arguments).arg(&path).stderr(Stdio::null()).status().unwrap();
        assert!(mounted.success(), "{line:?}");
        self.mounts.push(path.clone());
        path
    }

    pub(crate) fn tmpfs(&mut self, options: &str) -> PathBuf {
        self.mount("tmpfs", &["mount", "-t", "tmpfs", "-o", options, "tmpshim-doctor"])
    }

    /// A bindfs of a directory of its own, with a mode that lets everybody in.
    pub(crate) fn bindfs(&mut self) -> PathBuf {
        let backing = self.make("backing");
        self.mount("mount", &["bindfs", backing.to_str().unwrap()])
    }

    /// A C program.
    pub(crate) fn build(&self, name: &str, compiler: &[&str], source: &str) -> Option<PathBuf> {
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

    pub(crate) fn library(&self) -> PathBuf {
        let library = self.path("libtmpshim.so");
        assert!(Command::new(TMPSHIM).args(["library", "--output"]).arg(&library).status().unwrap().success());
        library
    }

    /// Where every user can execute it.
    pub(crate) fn command(&self) -> PathBuf {
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

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A server that renames removes the name when the file is closed, which may come after the end.
pub(crate) fn assert_empty(directory: &Path) {
    let names = || -> Vec<_> { fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect() };
    let deadline = Instant::now() + Duration::from_secs(20);
    while !names().is_empty() {
        assert!(Instant::now() < deadline, "{}: {:?}", directory.display(), names());
        std::thread::sleep(Duration::from_millis(2));
    }
}
