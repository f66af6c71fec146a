//! Filesystems with O_TMPFILE and without, and what cures them.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::ground::{Ground, TMPSHIM, assert_empty};
use super::refusal;
use super::report::{Report, command, commands, doctor, finding, verdict};

const OPENS: &str = include_str!("opens.c");

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
