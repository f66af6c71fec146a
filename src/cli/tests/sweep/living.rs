//! What somebody still uses stays, and sweeps do not get into each other's way.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use super::forged::Forged;
use super::site::{Site, events};
use super::sweeping::{TMPSHIM, lines, names, ready, text};
use super::waiting::{end_of, eventually};

#[test]
fn d5_what_is_alive_is_left_alone_and_listed() {
    let site = Site::new();
    let (mut child, _output) = ready(&mut site.victim("stays", 4));
    let swept = site.sweep(&["--json"]);
    assert!(swept.status.success());
    let all = lines(&swept);
    let living = events(&all, "living");
    assert_eq!((living.len(), &living[0]["pid"]), (1, &child.id().into()));
    assert_eq!(names(&site.work()).len(), 4);

    let ps = |arguments: &[&str]| {
        let output =
            Command::new(TMPSHIM).arg("ps").args(arguments).arg("--state-dir").arg(site.state()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output
    };
    let all = lines(&ps(&["--json"]));
    assert_eq!(all.len(), 1);
    assert_eq!((&all[0]["pid"], &all[0]["program"]), (&child.id().into(), &"victim".into()));
    assert_eq!((&all[0]["bytes"], &all[0]["state"]), (&20.into(), &"living".into()));
    let directories = all[0]["directories"].as_array().unwrap();
    let mut listed: Vec<_> = directories.iter().map(|directory| directory["path"].as_str().unwrap()).collect();
    listed.sort_unstable();
    let expected: Vec<_> = names(&site.work()).iter().map(|name| site.work().join(name)).collect();
    assert_eq!(listed, expected.iter().map(|path| path.to_str().unwrap()).collect::<Vec<_>>());
    assert_eq!(all[0]["state_directory"], site.state().to_str().unwrap());

    let said = text(&ps(&[]));
    assert!(said.lines().count() == 2 && said.trim_start().starts_with("PID"), "{said}");
    for part in [child.id().to_string().as_str(), "victim", " 4 ", " 20 ", site.state().to_str().unwrap()] {
        assert!(said.contains(part), "{part} in\n{said}");
    }

    child.kill().unwrap();
    child.wait().unwrap();
    let said = text(&ps(&[]));
    assert!(said.ends_with("1 dead: tmpshim sweep removes what they left\n") && !said.contains("victim"), "{said}");
    assert!(site.sweep(&[]).status.success());
    site.assert_clean();
}

#[test]
fn d3_a_forked_child_keeps_what_its_dead_parent_made() {
    let site = Site::new();
    let (mut parent, output) = ready(&mut site.victim("daemon", 2));
    // The child ends with it.
    let input = parent.stdin.take();
    assert!(end_of(&mut parent).success());
    assert_eq!(events(&lines(&site.sweep(&["--json"])), "living").len(), 1);
    assert_eq!(names(&site.work()).len(), 2);
    drop((input, output));
    eventually("the daemon has ended and cleaned up", || names(&site.work()).is_empty());
}

#[test]
fn t5_a_hidden_name_goes_unless_somebody_has_the_file_open() {
    let site = Site::new();
    site.kill_one(1);
    let journal = site.journal();
    let hidden = site.work().join(format!(".tmpshim-l{}", "0a".repeat(16)));
    fs::write(&hidden, "x").unwrap();
    fs::write(&journal, Forged::from(&journal).claim(&hidden, 1 << 16)).unwrap();
    let open = fs::File::open(&hidden).unwrap();
    open.read_at(&mut [0], 0).unwrap();
    assert!(open.as_fd().try_clone_to_owned().is_ok());
    for arguments in [&["--json", "--dry-run"][..], &["--json"]] {
        let output = site.sweep(arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(events(&lines(&output), "skipped")[0]["why"].as_str().unwrap().contains("open"));
        assert!(hidden.exists());
    }
    drop(open);
    let all = lines(&site.sweep(&["--json"]));
    assert_eq!(events(&all, "removed")[0]["kind"], "file");
    assert!(!hidden.exists() && names(&site.state()).is_empty());
}

#[test]
fn d5_sweeps_at_the_same_time_share_the_work() {
    let site = Site::new();
    for _ in 0..20 {
        site.kill_one_beside(50);
    }
    let sweeps: Vec<_> = (0..4)
        .map(|_| {
            let mut command = Command::new(TMPSHIM);
            command.args(["sweep", "--json", "--state-dir"]).arg(site.state());
            command.stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut removed = 0;
    for sweep in sweeps {
        let output = sweep.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let all = lines(&output);
        removed += events(&all, "removed").len();
        assert_eq!(events(&all, "skipped").len() + events(&all, "left").len(), 0);
    }
    assert_eq!(removed, 1000, "each is removed once");
    site.assert_clean();
}
