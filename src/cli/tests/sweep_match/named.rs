//! Which names and directories are meant, what goes with them, and how old they are.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::site::{Site, grow_old, paths, within};
use super::sweeping::{TMPSHIM, names, text};

#[test]
fn d6_only_empty_directories_of_that_name_go() {
    let site = Site::new();
    for number in 0..20 {
        site.leak(&format!("leak-{number}"));
    }
    site.full("leak-full");
    site.leak("other-1");
    site.leak("x-leak-1");
    fs::write(site.piled("leak-file"), "kept").unwrap();
    symlink(site.path("other"), site.piled("leak-link")).unwrap();
    symlink("nowhere", site.piled("leak-dangling")).unwrap();
    fs::create_dir(site.piled("other-1/leak-below")).unwrap();
    let kept = ["leak-dangling", "leak-file", "leak-full", "leak-link", "other-1", "x-leak-1"];
    let all = site.sweep(&[]);
    assert_eq!(site.names(), kept);
    assert_eq!((paths(&all, "removed").len(), paths(&all, "skipped")), (20, vec![site.piled("leak-full")]));
    assert!(all.iter().any(|line| line["why"] == "not empty; --contents takes them with what is in them"));
    let summary = all.last().unwrap();
    assert_eq!(summary["event"], "summary");
    assert_eq!(summary["counts"].to_string(), r#"{"directories":20,"files":0,"left":0,"living":0,"skipped":1}"#);
    let uid = rustix::process::geteuid().as_raw();
    assert!(all.iter().filter(|line| line["event"] == "removed").all(|line| line["uid"] == uid));
    assert!(site.path("other").is_dir() && site.piled("other-1/leak-below").is_dir());
    assert_eq!(fs::read_to_string(site.piled("leak-file")).unwrap(), "kept");

    let all = site.sweep(&["--contents"]);
    assert_eq!(paths(&all, "removed"), [site.piled("leak-full")]);
    assert_eq!(site.names(), kept.into_iter().filter(|name| *name != "leak-full").collect::<Vec<_>>());
}

#[test]
fn d6_contents_go_and_what_links_in_them_lead_to_stays() {
    let site = Site::new();
    let full = site.full("leak-full");
    fs::write(site.path("other/canary"), "kept").unwrap();
    symlink(site.path("other"), full.join("deep/link")).unwrap();
    symlink("../../other/canary", full.join("link")).unwrap();
    symlink("/", full.join("root")).unwrap();
    fs::hard_link(site.path("other/canary"), full.join("hard")).unwrap();
    drop(UnixListener::bind(full.join("stale")).unwrap());
    for mode in [0o000, 0o100, 0o500] {
        let path = full.join(format!("deep/{mode}"));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let all = site.sweep(&["--contents"]);
    assert_eq!((site.names().len(), paths(&all, "removed").len()), (0, 1), "{all:?}");
    assert_eq!(names(&site.path("other")), ["canary"]);
    assert_eq!(fs::read_to_string(site.path("other/canary")).unwrap(), "kept");
}

#[test]
fn d6_age_is_a_floor() {
    const FLOOR: Duration = Duration::from_secs(6);
    let site = Site::new();
    for name in ["leak-old", "leak-future", "leak-old-full", "leak-young-full"] {
        site.leak(name);
    }
    fs::write(site.piled("leak-old-full/file"), "old").unwrap();
    fs::write(site.piled("leak-young-full/file"), "old").unwrap();
    let future = SystemTime::now() + Duration::from_secs(100_000);
    File::open(site.piled("leak-future")).unwrap().set_modified(future).unwrap();
    grow_old(&site.piled("leak-future"), FLOOR);
    grow_old(&site.piled("leak-young-full"), FLOOR);
    site.leak("leak-young");
    // The directory does not change when the file in it does.
    fs::write(site.piled("leak-young-full/file"), "young").unwrap();
    let output = within(&mut site.command(&["--yes", "--contents", "--older-than", "6s"]));
    assert!(output.status.success());
    let said = text(&output);
    assert_eq!(site.names(), ["leak-future", "leak-young", "leak-young-full"], "{said}");
    assert!(said.contains("skipped 3: changed less than 6s ago (--older-than), or in the future\n"), "{said}");
    assert!(said.ends_with("removed: 2 directories; skipped: 3\n"), "{said}");

    // An hour is what is asked for where nothing is.
    let output = within(&mut site.command(&["--yes", "--contents"]));
    assert!(text(&output).contains("changed less than 1h ago"), "{output:?}");
    assert_eq!(site.names().len(), 3);
    site.sweep(&["--contents"]);
    assert!(site.names().is_empty());
}

#[test]
fn d6_a_directory_that_is_given_is_a_directory() {
    let site = Site::new();
    site.leak("leak-1");
    symlink(site.path("piled"), site.path("link")).unwrap();
    fs::write(site.path("file"), "").unwrap();
    let run = |directories: &[PathBuf]| {
        let mut command = Command::new(TMPSHIM);
        command.args(["sweep", "--match", "leak-*", "--yes", "--older-than", "0s"]).args(directories);
        command.env("TMPSHIM_STATE_DIR", site.path("state"));
        let output = within(&mut command);
        (output.status.code(), text(&output))
    };
    for (name, why) in [
        ("link", "it is a symbolic link to "),
        ("file", "it is not a directory; give"),
        ("absent", "No such file or directory; give"),
    ] {
        let (status, said) = run(&[site.path(name)]);
        assert!(status == Some(1) && said.contains(why), "{said}");
        assert_eq!(site.names(), ["leak-1"]);
    }
    // One that is there is seen to all the same, once.
    let (status, said) = run(&[site.path("absent"), site.path("link/"), site.path("piled")]);
    assert_eq!((status, site.names().len()), (Some(1), 0), "{said}");
    assert!(said.ends_with("removed: 1 directory; left: 1\n"), "{said}");
}

#[test]
fn d6_wrong_usage_is_said() {
    for (arguments, why) in [
        (&["--match", "*", "/tmp"][..], "nearly every name"),
        (&["--match", "/tmp/x*", "/tmp"], "no name has a slash"),
        (&["--match", "x*"], "<DIR>"),
        (&["/tmp"], "--match"),
        (&["--contents"], "--match"),
        (&["--yes"], "--match"),
        (&["--match", "x*", "--older-than", "5", "/tmp"], "time unit"),
        (&["--match", "x*", "--owner", "no-such-user", "/tmp"], "/etc/passwd"),
        (&["--match", "x*", "--state-dir", "/tmp", "/tmp"], "--state-dir"),
    ] {
        let output = within(Command::new(TMPSHIM).arg("sweep").args(arguments));
        let said = text(&output);
        assert!(output.status.code() == Some(2) && said.contains(why), "{arguments:?}: {said}");
    }
}
