//! What anybody uses stays.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::rights::is_root;
use super::site::{Site, holder, paths, using, within};
use super::sweeping::{Holder, NOBODY, TMPSHIM, lines, names, tool};
use super::waiting::eventually;

#[test]
fn d6_what_a_process_uses_stays() {
    let cases: [(&str, &str, &[&str], &str); 8] = [
        ("cwd", "", &[], "the working directory is"),
        ("cwd", "deep", &["--contents"], "the working directory is"),
        ("open", "", &[], "is open"),
        ("open", "deep/file", &["--contents"], "is open"),
        ("mapped", "deep/file", &["--contents"], "is mapped"),
        ("thread-open", "", &[], "is open"),
        ("thread-alone", "", &[], "the working directory is"),
        ("waits", "", &[], "the environment or command line names it"),
    ];
    for (how, below, arguments, why) in cases {
        let site = Site::new();
        let path = if arguments.is_empty() { site.leak("leak-used") } else { site.full("leak-used") };
        let holder = using(&[how.as_ref(), path.join(below).as_os_str()]);
        site.assert_stays_while_used(holder, arguments, why);
    }
}

#[test]
fn d6_a_root_directory_and_a_threads_own_working_directory_stay() {
    if !is_root("chroot") {
        return;
    }
    for (how, why) in [("root", "the root directory is"), ("thread-cwd", "the working directory is")] {
        let site = Site::new();
        let path = site.leak("leak-used");
        site.assert_stays_while_used(using(&[how.as_ref(), path.as_os_str()]), &[], why);
    }
}

#[test]
fn d6_a_running_program_stays() {
    let site = Site::new();
    let program = site.leak("leak-used").join("program");
    fs::copy(holder(), &program).unwrap();
    // What another thread has just forked may still have the copy open to be written.
    eventually("it can be started", || {
        let mut command = Command::new(&program);
        command.arg("not known").stderr(Stdio::null());
        command.status().is_ok()
    });
    // Through a name of another directory: the command line says nothing.
    let link = site.path("other/program");
    symlink(&program, &link).unwrap();
    let holder = Holder::start(Command::new(&link).args(["waits", "/"]).current_dir("/"));
    site.assert_stays_while_used(holder, &["--contents"], "process");
}

#[test]
fn d6_a_bound_socket_stays_and_a_stale_one_does_not() {
    for how in ["bound", "bound-here"] {
        let site = Site::new();
        let path = site.leak("leak-used");
        let bound = if how == "bound" { path.join("agent") } else { path };
        let holder = using(&[how.as_ref(), bound.as_os_str()]);
        // The directory's own name is on the command line of the holder, which is one more reason.
        site.assert_stays_while_used(holder, &["--contents"], "");
    }
    // Nothing else tells of this one.
    let site = Site::new();
    let path = site.leak("leak-used");
    let mut command = Command::new(holder());
    command.args(["bound-here", "piled/leak-used"]).current_dir(site.root.path());
    let holder = Holder::start(&mut command);
    assert!(path.join("agent").exists());
    site.assert_stays_while_used(holder, &["--contents"], "a socket in it is bound");
}

#[test]
fn d6_what_somebody_has_locked_stays() {
    if !is_root("another user's process") {
        return;
    }
    // Root's processes cannot be looked at by this user, but whoever holds a lock says so.
    let site = Site::new();
    chown(site.path("piled"), Some(NOBODY), Some(NOBODY)).unwrap();
    let (used, free) = (site.leak("leak-used"), site.leak("leak-free"));
    for path in [&used, &free] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let holder = using(&["flock".as_ref(), used.as_os_str()]);
    let sweep = || {
        let output = within(&mut site.command_as(Some(NOBODY), &["--yes", "--json", "--older-than", "0s"]));
        assert!(output.status.success(), "{output:?}");
        lines(&output)
    };
    let all = sweep();
    assert_eq!(site.names(), ["leak-used"], "{all:?}");
    assert!(all.iter().any(|line| line["why"] == "in use: somebody has it locked (flock)"), "{all:?}");
    holder.end();
    sweep();
    assert!(site.names().is_empty());
}

#[test]
fn d6_what_a_journal_names_is_left_to_the_ordinary_sweep() {
    let site = Site::new();
    let victim = |how: &str| {
        let mut command = Command::new(tool("victim"));
        command.args(["leak-XXXXXX", how, "1"]).current_dir(site.path("piled"));
        command.env("LD_PRELOAD", tool("libtmpshim.so")).env("TMPSHIM_STATE_DIR", site.path("state"));
        command
    };
    assert_eq!(victim("killed").output().unwrap().status.signal(), Some(libc::SIGKILL));
    let dead = site.names();
    let mut living = victim("stays");
    // Its library would sweep up behind the dead one.
    living.env("TMPSHIM_STATE_DIR", site.path("other")).env("HOME", "/");
    fs::set_permissions(site.path("other"), fs::Permissions::from_mode(0o700)).unwrap();
    let holder = Holder::start(&mut living);
    for name in names(&site.path("other")) {
        // The sweep looks into one directory of this user's choice: a journal is a journal, wherever it lies.
        fs::hard_link(site.path("other").join(&name), site.path("state").join(&name)).unwrap();
    }
    assert_eq!(site.names().len(), 2);
    site.leak("leak-free");
    let all = site.sweep(&[]);
    assert_eq!(paths(&all, "removed"), [site.piled("leak-free")]);
    assert_eq!(paths(&all, "skipped").len(), 2);
    let by_journal =
        |line: &&Value| line["why"] == "in use: a journal names it; tmpshim sweep without --match sees to that";
    let told: Vec<_> = all.iter().filter(by_journal).map(|line| line["path"].as_str().unwrap()).collect();
    assert!(told.contains(&site.piled(&dead[0]).to_str().unwrap()), "{all:?}");
    holder.end();
    let swept = Command::new(TMPSHIM).args(["sweep", "--state-dir"]).arg(site.path("state")).output().unwrap();
    assert!(swept.status.success(), "{swept:?}");
    assert!(site.names().is_empty(), "{swept:?}");
}
