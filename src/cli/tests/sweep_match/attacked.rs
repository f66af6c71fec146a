//! Somebody who swaps what is there while the sweep looks.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::mount::{UnmountFlags, mount_bind, unmount};

use super::rights::is_root;
use super::site::{Site, paths, within};
use super::sweeping::lines;
use super::waiting::PATIENCE;

/// Swaps what is there for links, other directories and mounts of what must stay, as fast as it can, until it is told to
/// stop; how often.
fn attack(site: &Site, number: usize, with_mounts: bool, stop: &AtomicBool, swaps: &AtomicU64) {
    let (canary, away) = (site.path("other"), site.path(&format!("away-{number}")));
    let (target, link) = (site.piled(&format!("leak-{number}")), site.path(&format!("link-{number}")));
    let sub = target.join("sub");
    symlink(&canary, &link).unwrap();
    while !stop.load(Ordering::Relaxed) {
        // Each of these fails where the sweep was quicker.
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(sub.join("deep"));
        let _ = fs::write(sub.join("deep/file"), "x");
        let _ = fs::write(target.join("file"), "x");
        // The directory itself becomes a link and is itself again.
        let _ = renameat_with(CWD, &target, CWD, &link, RenameFlags::EXCHANGE);
        let _ = renameat_with(CWD, &link, CWD, &target, RenameFlags::EXCHANGE);
        // One below it does.
        if fs::rename(&sub, &away).is_ok() {
            let _ = symlink(&canary, &sub);
            let _ = fs::remove_file(&sub);
            // And comes back, or leads out of it from further down.
            let _ = fs::rename(&away, &sub);
        }
        if let Ok(true) = fs::exists(&away) {
            let _ = fs::remove_dir_all(&away);
        }
        if with_mounts && mount_bind(&canary, sub.join("deep")).is_ok() {
            let _ = fs::exists(sub.join("deep/file"));
            unmount(sub.join("deep"), UnmountFlags::DETACH).unwrap();
        }
        // Whatever has become of the two, the link is a link again.
        if !link.is_symlink() {
            let _ = fs::remove_dir_all(&link);
            let _ = fs::remove_file(&target);
            let _ = symlink(&canary, &link);
        }
        swaps.fetch_add(1, Ordering::Relaxed);
    }
    let _ = fs::remove_file(&link);
}

#[test]
fn d6_an_attacker_who_swaps_directories_links_and_mounts_leads_it_nowhere() {
    let with_mounts = is_root("a mount");
    // Also on what does not give inode numbers anew only.
    for parent in [std::env::temp_dir(), "/dev/shm".into()] {
        let site = Site::new_in(&parent);
        let canary = site.path("other");
        fs::create_dir_all(canary.join("deep/deeper")).unwrap();
        for name in ["file", "deep/file", "deep/deeper/file"] {
            fs::write(canary.join(name), "kept").unwrap();
        }
        let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut removed = 0;
        std::thread::scope(|scope| {
            for number in 0..3 {
                let (site, stop, swaps) = (&site, &stop, &swaps);
                scope.spawn(move || attack(site, number, with_mounts, stop, swaps));
            }
            let deadline = Instant::now() + PATIENCE;
            while removed < 60 && Instant::now() < deadline {
                let output = within(&mut site.command(&["--yes", "--json", "--older-than", "0s", "--contents"]));
                // What is swapped away under its hands may have to be left, and nothing worse.
                assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
                removed += paths(&lines(&output), "removed").len();
                if !canary.join("deep/deeper/file").exists() {
                    break;
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        for name in ["file", "deep/file", "deep/deeper/file"] {
            assert_eq!(fs::read_to_string(canary.join(name)).unwrap(), "kept", "after {removed} removals");
        }
        // The sweep had something to do, while the attack went on: on a busy machine not as often as on a quiet one.
        let swaps = swaps.load(Ordering::Relaxed);
        assert!(removed >= 10 && swaps > 100, "{removed} removed, {swaps} swaps");
        for name in site.names() {
            let path = site.piled(&name);
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
        assert!(site.names().is_empty());
    }
}
