//! Journals that are damaged or lie, and paths that change under the sweep, lead it nowhere.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::forged::{Forged, postdate};
use super::rights::is_root;
use super::site::{Site, events};
use super::sweeping::{NOBODY, lines, names, text, tool};

#[test]
fn d5_hostile_journals_harm_nothing_and_are_named() {
    let site = Site::new();
    site.kill_one(2);
    let whole = fs::read(site.journal()).unwrap();
    fs::remove_file(site.journal()).unwrap();
    let state = site.state();
    let mut number = 0;
    let mut fresh = || {
        number += 1;
        state.join(format!(".tmpshim-j{number:032x}"))
    };
    let mut expected = Vec::new();
    let mut add = |bytes: &[u8]| {
        let path = fresh();
        fs::write(&path, bytes).unwrap();
        expected.push(path);
    };
    add(&whole[..100]);
    add(&whole[..4095]);
    add(b"random bytes, or nearly");
    add(&vec![0xff; 20_000]);
    let mut version = whole.clone();
    version[8] = 99;
    add(&version);
    let mut summed = whole.clone();
    summed[40] ^= 1;
    add(&summed);
    // Random bytes behind a good header: every slot is damaged.
    let mut slots = whole.clone();
    slots[4096..].iter_mut().enumerate().for_each(|(index, byte)| *byte = (index * 7 + 3) as u8);
    add(&slots);
    // Cut behind the header: the segments are not there.
    add(&whole[..4096]);
    let sparse = fresh();
    fs::write(&sparse, &whole).unwrap();
    fs::OpenOptions::new().write(true).open(&sparse).unwrap().set_len(1 << 40).unwrap();
    let link = fresh();
    symlink("/etc/passwd", &link).unwrap();
    let directory = fresh();
    fs::create_dir(&directory).unwrap();
    let fifo = fresh();
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    expected.extend([sparse, link, directory, fifo]);
    let before = fs::read("/etc/passwd").unwrap();

    for arguments in [&["--json", "--dry-run"][..], &["--json"]] {
        let begun = Instant::now();
        let output = site.sweep(arguments);
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let all = lines(&output);
        let mut left: Vec<_> =
            events(&all, "left").iter().map(|line| line["path"].as_str().unwrap().to_owned()).collect();
        left.sort();
        left.dedup();
        let mut expected: Vec<_> = expected.iter().map(|path| path.to_str().unwrap().to_owned()).collect();
        expected.sort();
        assert_eq!(left, expected);
        assert!(events(&all, "left").iter().all(|line| line["why"].as_str().unwrap().contains(';')), "what to do");
    }
    assert_eq!(names(&state).len(), expected.len());
    assert_eq!(names(&site.work()).len(), 2);
    assert_eq!(fs::read("/etc/passwd").unwrap(), before);

    // An empty one is what is left of a process that was killed at its first step.
    let blank = fresh();
    fs::write(&blank, "").unwrap();
    site.sweep(&["--dry-run"]);
    assert!(blank.exists());
    site.sweep(&[]);
    assert!(!blank.exists());
}

#[test]
fn d6_a_journal_that_names_what_tmpshim_never_made_removes_nothing() {
    // Where birth times are told.
    let site = Site::new_in(Path::new("/dev/shm"));
    site.kill_one(1);
    let journal = site.journal();
    let outside = site.root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "kept").unwrap();
    let dotted = site.work().join("../outside");
    let file = outside.join("file");
    let original = fs::read(&journal).unwrap();
    // Older than the journal, a way through `..`, a file whose name is not one of ours.
    for (path, entry, hours) in [(&outside, 0, 2), (&dotted, 0, 0), (&file, 1 << 16, 0)] {
        let mut forged = Forged::from(&journal).claim(path, entry);
        postdate(&mut forged, hours);
        fs::write(&journal, forged).unwrap();
        for arguments in [&["--json", "--dry-run"][..], &["--json"]] {
            let output = site.sweep(arguments);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let all = lines(&output);
            let skipped = events(&all, "skipped");
            assert_eq!(skipped.len(), 1);
            assert_eq!(skipped[0]["path"], path.to_str().unwrap());
            assert!(skipped[0]["why"].as_str().unwrap().contains("makes nothing like it"), "{skipped:?}");
        }
        assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "kept");
        fs::write(&journal, &original).unwrap();
    }
    assert!(site.sweep(&[]).status.success());
    site.assert_clean();
}

#[test]
fn d6_a_users_journal_that_names_the_systems_directories_removes_nothing() {
    if !is_root("becoming another user") {
        return;
    }
    let site = Site::new().give_to(NOBODY);
    let mut victim = site.victim("killed", 1);
    assert_eq!(victim.uid(NOBODY).gid(NOBODY).output().unwrap().status.signal(), Some(libc::SIGKILL));
    let journal = site.journal();
    let before = names(Path::new("/etc"));
    fs::write(&journal, Forged::from(&journal).claim(Path::new("/etc"), 0)).unwrap();
    // By that user himself: whatever is wrong with the sweep, the kernel keeps /etc from him.
    let mut sweep = Command::new(tool("tmpshim"));
    let output = sweep.args(["sweep", "--state-dir"]).arg(site.state()).uid(NOBODY).gid(NOBODY).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output).contains("skipped /etc (made by victim"), "{output:?}");
    assert_eq!(names(Path::new("/etc")), before);
}

#[test]
fn d6_a_path_that_becomes_a_link_between_check_and_removal_leads_nowhere() {
    let site = Site::new();
    site.kill_one(300);
    let canary = site.root.path().join("canary");
    fs::create_dir(&canary).unwrap();
    let all = names(&site.work());
    for name in &all {
        fs::create_dir(canary.join(name)).unwrap();
        fs::write(canary.join(name).join("file"), "kept").unwrap();
    }
    let (work, aside, link) = (site.work(), site.root.path().join("aside"), site.root.path().join("link"));
    symlink(&canary, &link).unwrap();
    let stop = AtomicBool::new(false);
    let swaps = std::thread::scope(|scope| {
        let attacker = scope.spawn(|| {
            let mut swaps = 0u32;
            while !stop.load(Ordering::Relaxed) {
                // The whole directory, and each one in it, is a link to the canary's for an instant.
                fs::rename(&work, &aside).unwrap();
                fs::rename(&link, &work).unwrap();
                fs::rename(&work, &link).unwrap();
                fs::rename(&aside, &work).unwrap();
                let name = &all[swaps as usize % all.len()];
                let (own, away) = (work.join(name), work.join("away"));
                if fs::rename(&own, &away).is_ok() {
                    if symlink(canary.join(name), &own).is_ok() {
                        fs::remove_file(&own).unwrap();
                    }
                    let _ = fs::rename(&away, &own);
                }
                swaps += 1;
            }
            swaps
        });
        for _ in 0..5 {
            site.sweep(&[]);
        }
        stop.store(true, Ordering::Relaxed);
        attacker.join().unwrap()
    });
    assert!(swaps > 0);
    for name in &all {
        assert_eq!(fs::read_to_string(canary.join(name).join("file")).unwrap(), "kept");
    }
}
