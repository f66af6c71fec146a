//! Whose directories go, by whose hand.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::rights::is_root;
use super::site::{Site, holder, open_permissions, paths, within};
use super::sweeping::{Holder, NOBODY, lines, text, tool};

#[test]
fn d6_root_takes_one_users_or_everybodys() {
    if !is_root("directories of others") {
        return;
    }
    let site = Site::new();
    for (name, uid) in [("leak-root", 0), ("leak-nobody", NOBODY), ("leak-4711", 4711)] {
        chown(site.leak(name), Some(uid), Some(uid)).unwrap();
    }
    site.sweep(&["--owner", "4711"]);
    assert_eq!(site.names(), ["leak-nobody", "leak-root"]);
    let all = site.sweep(&["--owner", "root"]);
    assert_eq!(site.names(), ["leak-nobody"]);
    assert_eq!(paths(&all, "skipped"), [site.piled("leak-nobody")]);
    assert!(all.iter().any(|line| line["why"] == "of another user" && line["uid"] == NOBODY));
    site.sweep(&[]);
    assert!(site.names().is_empty());
}

#[test]
fn d6_root_without_the_right_to_look_takes_only_what_no_unseen_process_can_use() {
    const SOMEBODY: u32 = 470_011;
    if !is_root("other users' processes") {
        return;
    }
    let site = Site::new();
    for (name, uid) in [("leak-used", NOBODY), ("leak-free", SOMEBODY), ("leak-open", SOMEBODY)] {
        chown(site.leak(name), Some(uid), Some(uid)).unwrap();
    }
    open_permissions(&site.piled("leak-open"));
    let mut holder = Command::new(holder());
    holder.args(["waits", "/"]).current_dir("/").uid(NOBODY).gid(NOBODY);
    let holder = Holder::start(&mut holder);
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"]).arg(tool("tmpshim"));
    command.args(["sweep", "--match", "leak-*", "--older-than", "0s", "--yes"]).arg(site.path("piled"));
    command.env("TMPSHIM_STATE_DIR", site.path("state")).stdin(Stdio::null());
    let output = within(&mut command);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(site.names(), ["leak-open", "leak-used"], "{said}");
    assert!(
        said.contains("are taken, of users without such processes") && said.contains("with CAP_SYS_PTRACE"),
        "{said}"
    );
    holder.end();
    site.sweep(&[]);
    assert!(site.names().is_empty());
}

#[test]
fn d6_others_take_only_what_nobody_else_can_use() {
    if !is_root("another user") {
        return;
    }
    let site = Site::new();
    fs::set_permissions(site.path("piled"), fs::Permissions::from_mode(0o1777)).unwrap();
    for name in ["leak-own", "leak-open", "leak-full"] {
        chown(site.leak(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    open_permissions(&site.piled("leak-open"));
    // As a program of that user leaves it that took its rights away.
    let inner = site.piled("leak-full/inner");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("file"), "x").unwrap();
    for path in [inner.join("file"), inner.clone()] {
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o000)).unwrap();
    let hidden = site.leak("leak-hidden");
    chown(&hidden, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o000)).unwrap();
    site.leak("leak-root");
    let run = |arguments: &[&str]| {
        within(&mut site.command_as(Some(NOBODY), &[&["--yes", "--older-than", "0s"], arguments].concat()))
    };
    let output = run(&[]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(site.names(), ["leak-full", "leak-open", "leak-root"], "{said}");
    assert!(
        said.contains("only directories without permission for group and others are taken, of this user"),
        "{said}"
    );
    let output = run(&["--contents"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(site.names(), ["leak-open", "leak-root"], "{}", text(&output));

    // In a directory of one's own one may remove what others own, and does not: nobody knows whether they use it.
    chown(site.path("piled"), Some(NOBODY), Some(NOBODY)).unwrap();
    let output = run(&["--owner", "root", "--json"]);
    let all = lines(&output);
    assert_eq!(paths(&all, "skipped").len(), 2);
    let told = all.iter().find(|line| line["path"].as_str().is_some_and(|path| path.ends_with("leak-root"))).unwrap();
    assert_eq!((&told["uid"], told["why"].as_str().unwrap().contains("cannot be looked at")), (&0.into(), true));
    assert_eq!(site.names(), ["leak-open", "leak-root"]);
}
