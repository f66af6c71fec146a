//! A program under the traced engine lies to its tracer, which may have more rights than it has: nothing goes that is not the
//! program's own (S2, D6).

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const TMPSHIM: &str = env!("CARGO_BIN_EXE_tmpshim");
const NOBODY: u32 = 65534;
const HIDDEN: &str = ".tmpshim-l00112233445566778899aabbccddeeff";
const KEPT: &str = ".tmpshim-x00112233445566778899aabbccddeeff";
const PRIVATE: &str = ".tmpshim-d00112233445566778899aabbccddeeff";

/// A bindfs mount, the program, and what it is after.
struct Ground {
    directory: TempDir,
    program: PathBuf,
}

impl Ground {
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not shown: it takes root");
            return None;
        }
        // A filesystem that gives a birth time, and inode numbers once only.
        let directory = tempfile::Builder::new().prefix("tmpshim-hostile-").tempdir_in("/dev/shm").unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = directory.path().join("program");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile.c");
        let built = Command::new("gcc").args(["-O1", "-static", "-o"]).arg(&program).arg(source).status().unwrap();
        assert!(built.success());
        let ground = Self { directory, program };
        for name in ["behind", "mount", "victim"] {
            fs::create_dir(ground.path(name)).unwrap();
            fs::set_permissions(ground.path(name), fs::Permissions::from_mode(0o777)).unwrap();
        }
        let mounted = Command::new("bindfs").arg(ground.path("behind")).arg(ground.path("mount")).status().unwrap();
        assert!(mounted.success());
        Some(ground)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What the program is after, of this user's.
    fn lay_out(&self, user: u32) {
        let victim = self.path("victim");
        for name in ["precious", HIDDEN, KEPT] {
            fs::write(victim.join(name), "kept").unwrap();
        }
        for name in ["tree", "tracked", PRIVATE] {
            fs::DirBuilder::new().mode(0o700).create(victim.join(name)).unwrap();
        }
        fs::write(victim.join("tracked/file"), "kept").unwrap();
        fs::write(self.path("precious"), "kept").unwrap();
        for entry in fs::read_dir(&victim).unwrap() {
            chown(entry.unwrap().path(), Some(user), None).unwrap();
        }
    }

    fn attack(&self) -> Output {
        let mut command = Command::new(TMPSHIM);
        command.args(["run", "--engine", "trace", "--track", "*/tracked", "--state-dir"]).arg(self.path("state"));
        command.arg("--").arg(&self.program).arg(self.path("mount")).arg(NOBODY.to_string()).arg(self.path("victim"));
        command.env_remove("LD_PRELOAD").output().unwrap()
    }

    fn left(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path("victim"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = Command::new("fusermount").args(["-u", "-z"]).arg(self.path("mount")).status();
    }
}

/// What the tracer has answered: names that are nobody's but ours, or the one that mkdir was asked for.
const ANSWERS: &str = "plain no, above no, directory no, hidden yes, private yes, kept yes, tracked no\n\
                       plain no, above no, directory no, hidden yes, private yes, kept yes, tracked yes\n";

#[test]
fn d6_a_program_that_lies_to_its_tracer_has_nothing_removed_that_is_somebody_elses() {
    let Some(ground) = Ground::new() else { return };
    ground.lay_out(0);
    // One that nobody has open is nobody's any more.
    let _in_use = fs::File::open(ground.path("victim").join(KEPT)).unwrap();
    let output = ground.attack();
    assert_eq!(String::from_utf8_lossy(&output.stdout), ANSWERS.repeat(2), "{output:?}");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(ground.left(), [PRIVATE, HIDDEN, KEPT, "precious", "tracked", "tree"]);
    for name in ["victim/precious", "victim/tracked/file", "precious"] {
        assert_eq!(fs::read_to_string(ground.path(name)).unwrap(), "kept", "{name}");
    }
    assert_eq!(fs::read_dir(ground.path("state")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(ground.path("mount")).unwrap().count(), 0);
}

/// Or the test above would show nothing: the same lies about what is the program's own user's are believed.
#[test]
fn d6_what_a_program_says_of_its_own_is_believed() {
    let Some(ground) = Ground::new() else { return };
    ground.lay_out(NOBODY);
    let _in_use = fs::File::open(ground.path("victim").join(KEPT)).unwrap();
    let output = ground.attack();
    assert_eq!(String::from_utf8_lossy(&output.stdout), ANSWERS.repeat(2), "{output:?}");
    assert_eq!(ground.left(), [PRIVATE, "precious", "tree"]);
}
