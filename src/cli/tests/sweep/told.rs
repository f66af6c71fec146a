//! What was left goes, and how that is said.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use super::site::{Site, sweep};
use super::sweeping::{TMPSHIM, lines, names, text, tool};

#[test]
fn d5_what_sigkill_left_goes_and_is_told() {
    let site = Site::new();
    site.kill_one(3);
    let made = names(&site.work());
    let before = fs::read(site.journal()).unwrap();

    let dry = site.sweep(&["--dry-run"]);
    let said = text(&dry);
    assert!(dry.status.success(), "{said}");
    for name in &made {
        let path = site.work().join(name);
        assert!(said.contains(&format!("would remove {} (made by victim, process ", path.display())), "{said}");
    }
    assert!(said.ends_with("to be removed: 3 directories, 0 hidden files\n"), "{said}");
    assert_eq!(names(&site.work()), made);
    assert_eq!(fs::read(site.journal()).unwrap(), before, "nothing is written, either");

    let output = site.sweep(&[]);
    assert!(output.status.success());
    assert_eq!(text(&output), said.replace("would remove", "removed").replace("to be removed", "removed"));
    site.assert_clean();
    assert_eq!(text(&site.sweep(&[])), "removed: 0 directories, 0 hidden files\n");
    assert_eq!(sweep(&site.root.path().join("absent"), &[]).status.code(), Some(0));
}

#[test]
fn d5_json_is_an_object_a_line() {
    let site = Site::new();
    site.kill_one(2);
    let journal = site.journal();
    let all = lines(&site.sweep(&["--json"]));
    assert_eq!(all.len(), 3);
    for line in &all[..2] {
        assert_eq!(
            (&line["event"], &line["kind"], &line["program"]),
            (&"removed".into(), &"directory".into(), &"victim".into())
        );
        assert_eq!(line["journal"], journal.to_str().unwrap());
        assert_eq!(line["uid"], rustix::process::geteuid().as_raw());
        assert!(line["pid"].as_u64().unwrap() > 0);
        assert!(line["path"].as_str().unwrap().starts_with(site.work().to_str().unwrap()));
    }
    let mut summary = all[2].clone();
    assert!(summary.as_object_mut().unwrap().remove("time").unwrap().as_u64().unwrap() > 1_700_000_000);
    assert_eq!(summary.to_string(), r#"{"counts":{"directories":2,"files":0,"left":0,"living":0},"event":"summary"}"#);
}

#[test]
fn d5_state_directories_that_are_none_are_said() {
    let site = Site::new();
    fs::set_permissions(site.state(), fs::Permissions::from_mode(0o777)).unwrap();
    let output = site.sweep(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("others may write to it; chmod"), "{output:?}");
    let usage = Command::new(TMPSHIM).args(["sweep", "--no-such-flag"]).output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn the_names_of_things_do_not_reach_a_terminal_raw() {
    let site = Site::new();
    let work = site.work().join(OsStr::from_bytes(b"a\x1b[31mb"));
    fs::create_dir(&work).unwrap();
    let mut command = Command::new(tool("victim"));
    command.arg(work.join("victim-XXXXXX")).args(["killed", "1"]);
    command.env("LD_PRELOAD", tool("libtmpshim.so")).env("TMPSHIM_STATE_DIR", site.state());
    assert_eq!(command.output().unwrap().status.signal(), Some(libc::SIGKILL));
    let output = site.sweep(&[]);
    assert!(output.status.success());
    assert!(!output.stdout.contains(&0x1b) && text(&output).contains("a\\u{1b}[31mb/victim-"), "{output:?}");
    assert_eq!(names(&work), Vec::<String>::new());
}
