//! Directories that are full, used up, littered or closed.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::ground::{Ground, assert_empty, set_mode};
use super::report::{Report, as_nobody, commands, doctor, finding, verdict};
use super::rights::is_root;

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
    if !is_root("becoming another user") {
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
    if !is_root("an append-only directory") {
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
