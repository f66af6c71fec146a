//! What a program tries against a supervisor that has more rights than it: lies to its tracer, signals, a filesystem that
//! hangs or is one user's alone. Nothing goes that is not the program's own (D6), and the supervisor goes on (S2).

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
        let program = build("hostile.c", directory.path());
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

/// Builds one of the programs beside this file.
fn build(source: &str, directory: &Path) -> PathBuf {
    let program = directory.join(source.trim_end_matches(".c"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(source);
    let built =
        Command::new("gcc").args(["-O1", "-static", "-pthread", "-o"]).arg(&program).arg(source).status().unwrap();
    assert!(built.success());
    program
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

/// `tmpshim run` as root, or after `before`.
fn run(before: &[&str], engine: &str) -> Command {
    let mut command = Command::new("env");
    command.args(before).arg(TMPSHIM).args(["run", "--engine", engine, "--"]).env_remove("LD_PRELOAD");
    command
}

const AS_NOBODY: [&str; 5] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];

#[test]
fn s2_a_programs_user_cannot_end_roots_supervisor_by_a_signal() {
    let Some(ground) = Ground::new() else { return };
    let program = build("hostile_signals.c", ground.directory.path());
    let attack = |mut command: Command| command.arg(&program).arg(ground.path("mount")).arg("1000").output().unwrap();
    for engine in ["notify", "trace"] {
        let mut command = run(&[], engine);
        command.args(AS_NOBODY);
        let output = attack(command);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "all files made, never hit\n", "{engine}: {output:?}");
    }
    // Or it would show nothing: a supervisor of that user's own is hit.
    let output = attack(run(&AS_NOBODY, "notify"));
    assert!(String::from_utf8_lossy(&output.stdout).ends_with(", hit\n"), "{output:?}");
}

/// A program that makes as many files as argv[2] says in argv[1]; each stays open if there is an argv[3], which is where it
/// says that they are all made, and then it waits.
const MAKER: &str = r"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **arguments)
{
    for (int i = atoi(arguments[2]); i > 0; i--) {
        int fd = open(arguments[1], O_TMPFILE | O_RDWR, 0600);
        if (fd < 0)
            return 1;
        if (count == 3)
            close(fd);
    }
    if (count == 4) {
        close(open(arguments[3], O_CREAT | O_WRONLY, 0666));
        pause();
    }
    return 0;
}
";

fn maker(directory: &Path) -> PathBuf {
    let (source, program) = (directory.join("maker.c"), directory.join("maker"));
    fs::write(&source, MAKER).unwrap();
    assert!(Command::new("gcc").args(["-static", "-o"]).arg(&program).arg(&source).status().unwrap().success());
    program
}

/// Where only the user's own processes may look, all of his identity is asked for.
#[test]
fn s2_files_on_a_mount_that_is_one_users_alone() {
    let Some(ground) = Ground::new() else { return };
    let program = maker(ground.directory.path());
    fs::create_dir(ground.path("own")).unwrap();
    chown(ground.path("own"), Some(NOBODY), Some(NOBODY)).unwrap();
    // /dev/fuse may be root's alone here. All that is mounted goes with the namespace.
    let script = "mknod -m 666 \"$0/fuse\" c 10 229 && mount --bind \"$0/fuse\" /dev/fuse && mount -t tmpfs own \"$0/behind\" &&
        chmod 777 \"$0/behind\" && setpriv --reuid=65534 --regid=65534 --clear-groups bindfs --no-allow-other \"$0/behind\" \"$0/own\" || exit 77
        \"$2\" \"$0/own\" 1 && exit 78
        \"$1\" run --engine notify -- setpriv --reuid=65534 --regid=65534 --clear-groups \"$2\" \"$0/own\" 100; status=$?
        umount -l \"$0/own\" \"$0/behind\"; exit $status";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).arg(ground.directory.path()).arg(TMPSHIM).arg(&program);
    let output = command.env_remove("LD_PRELOAD").output().unwrap();
    match output.status.code() {
        Some(77) => eprintln!("not shown: a user cannot mount here: {output:?}"),
        code => assert_eq!(code, Some(0), "{output:?}"),
    }
}

#[test]
fn s2_a_filesystem_that_hangs_holds_up_only_those_who_use_it() {
    let Some(ground) = Ground::new() else { return };
    let program = maker(ground.directory.path());
    for name in ["kept", "hanging"] {
        fs::create_dir(ground.path(name)).unwrap();
        fs::set_permissions(ground.path(name), fs::Permissions::from_mode(0o777)).unwrap();
    }
    // Here files keep a name, and the supervisor looks now and then whether they are still open.
    let mut server = Command::new("bindfs")
        .args(["-f", "-o", "hard_remove"])
        .args([ground.path("kept"), ground.path("hanging")])
        .spawn()
        .unwrap();
    // As root, with another user's programs.
    let script = "user='setpriv --reuid=65534 --regid=65534 --clear-groups'
        $user \"$1\" \"$0/hanging\" 4 \"$0/victim/made\" & holder=$!
        until [ -e \"$0/victim/made\" ]; do kill -0 $holder || exit 3; done
        kill -STOP $2; timeout 60 $user \"$1\" \"$0/mount\" 500; status=$?
        kill -CONT $2; kill $holder; exit $status";
    let mut command = run(&[], "notify");
    command.args(["timeout", "90", "sh", "-c", script]);
    command.arg(ground.directory.path()).arg(&program).arg(server.id().to_string());
    let is_mounted =
        || fs::read_to_string("/proc/self/mountinfo").unwrap().contains(ground.path("hanging").to_str().unwrap());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !is_mounted() && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    let output = command.output();
    let _ = Command::new("umount").arg("-l").arg(ground.path("hanging")).status();
    let _ = server.kill();
    let _ = server.wait();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn s2_a_path_that_changes_while_it_is_looked_at_leads_nowhere_that_the_program_may_not_go() {
    let Some(ground) = Ground::new() else { return };
    let program = build("hostile_paths.c", ground.directory.path());
    for (name, mode) in [("open", 0o777), ("shut", 0o700)] {
        fs::create_dir(ground.path("behind").join(name)).unwrap();
        fs::set_permissions(ground.path("behind").join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let attack = |engine: &str, before: &[&str]| {
        let mut command = run(&[], engine);
        command.args(before).arg(&program).arg(ground.path("mount/open")).arg(ground.path("mount/shut")).arg("1000");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{engine}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for engine in ["notify", "trace"] {
        assert_eq!(attack(engine, &AS_NOBODY), "open yes, closed no\n", "{engine}");
        // Or it would show nothing: with the right to both, it gets files in both.
        assert_eq!(attack(engine, &[]), "open yes, closed yes\n", "{engine}");
    }
}
