//! What was made, or is mounted, in other namespaces or below other roots.

use std::fs;
use std::io::BufRead;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use super::forged::{Forged, header_end};
use super::rights::is_root;
use super::site::{Site, events};
use super::sweeping::{Holder, compile, lines, names, ready, text, tool};

#[test]
fn d6_what_is_a_mount_point_elsewhere_stays_until_it_is_none() {
    if !is_root("a mount namespace") {
        return;
    }
    let site = Site::new();
    site.kill_one(2);
    let made = names(&site.work());
    let (at, below) = (site.work().join(&made[0]), site.work().join(&made[1]).join("deep"));
    fs::create_dir(&below).unwrap();
    let script = format!(
        "mount --make-rprivate / && mount -t tmpfs none '{}' && mount -t tmpfs none '{}' && echo ready && exec cat",
        at.display(),
        below.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    let holder = Holder::start(&mut command);
    for arguments in [&["--json", "--dry-run"][..], &["--json"]] {
        let output = site.sweep(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let all = lines(&output);
        let skipped = events(&all, "skipped");
        assert_eq!(skipped.len(), 2, "{all:?}");
        for line in skipped {
            let why = line["why"].as_str().unwrap();
            assert!(why.contains("tmpfs is mounted on") && why.contains(&holder.child.id().to_string()), "{why}");
        }
    }
    assert!(at.exists() && below.exists());
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", holder.child.id())).unwrap();
    assert_eq!(mounts.matches(site.work().to_str().unwrap()).count(), 2, "still mounted there");
    holder.end();
    let output = site.sweep(&[]);
    assert!(output.status.success(), "{output:?}");
    site.assert_clean();
}

#[test]
fn d6_a_mount_seen_only_from_a_root_of_its_own_counts() {
    if !is_root("a mount namespace") {
        return;
    }
    let site = Site::new();
    site.kill_one(2);
    let made = names(&site.work());
    // The one process of that namespace has a root in which the mount above has no line.
    let script = format!(
        "mount --make-rprivate / && mount -t tmpfs none '{}' && mkdir '{}/keep' && echo ready && exec chroot '{}' /victim \
         none stays 0",
        site.work().join(&made[0]).display(),
        site.work().join(&made[0]).display(),
        site.root.path().display(),
    );
    compile("sweeping/victim.c", &["-static"], &site.root.path().join("victim"));
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    let (child, mut output) = ready(&mut command);
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n", "from below the new root");
    let all = lines(&site.sweep(&["--json"]));
    assert_eq!((events(&all, "skipped").len(), events(&all, "removed").len()), (1, 1), "{all:?}");
    Holder { child }.end();
    assert!(site.sweep(&[]).status.success());
    site.assert_clean();
}

#[test]
fn d6_what_was_made_in_another_mount_namespace_goes_where_nothing_is_mounted_on_it() {
    if !is_root("a mount namespace") {
        return;
    }
    let site = Site::new();
    let victim = site.victim("killed", 2);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--"]).arg(victim.get_program()).args(victim.get_args());
    command.envs(
        victim.get_envs().filter_map(|(name, value)| Some((name, value?))).filter(|(name, _)| *name != "LD_PRELOAD"),
    );
    // unshare itself makes no directory; with the library it would be none the worse.
    command.env("LD_PRELOAD", tool("libtmpshim.so"));
    assert_eq!(command.output().unwrap().status.signal(), Some(libc::SIGKILL));
    assert_eq!(names(&site.work()).len(), 2);
    let output = site.sweep(&[]);
    assert!(output.status.success(), "{output:?}");
    site.assert_clean();
}

#[test]
fn d7_what_comes_from_another_pid_namespace_is_judged_by_what_can_be_seen() {
    if !is_root("a PID namespace") {
        return;
    }
    let site = Site::new();
    let start = |what: &str| {
        let victim = site.victim(what, 1);
        let mut command = Command::new("unshare");
        command
            .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
            .arg(victim.get_program())
            .args(victim.get_args());
        command.env("LD_PRELOAD", tool("libtmpshim.so")).env("TMPSHIM_STATE_DIR", site.state());
        command
    };
    let holder = Holder::start(&mut start("stays"));
    assert_eq!(events(&lines(&site.sweep(&["--json"])), "living").len(), 1);
    holder.end();

    let _ = start("killed").output().unwrap();
    let initial = fs::metadata("/proc/self/ns/pid").unwrap().ino() == 0xefff_fffc;
    let output = site.sweep(&["--json"]);
    if initial {
        assert!(output.status.success(), "{output:?}");
        site.assert_clean();
    } else {
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains("another PID namespace"));
    }
}

#[test]
fn d5_below_another_root_what_is_not_found_is_not_forgotten() {
    if !is_root("another root directory") {
        return;
    }
    let site = Site::new();
    site.kill_one(1);
    let journal = site.journal();
    // As written by a process with another root, where the path leads to something else.
    let mut bytes = fs::read(&journal).unwrap();
    let (owner, ended) = (16, header_end(&bytes));
    let root_inode = 16 + 16 + 8 + 8;
    bytes[root_inode] ^= 1;
    let sum = tmpshim_core::journal::sum(&bytes[owner..ended]);
    bytes[12..16].copy_from_slice(&sum.to_ne_bytes());
    let name = &names(&site.work())[0];
    fs::rename(site.work().join(name), site.root.path().join("away")).unwrap();
    fs::write(&journal, &bytes).unwrap();
    let output = site.sweep(&[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output).contains("made below another root directory; run the sweep there"), "{output:?}");
    assert!(journal.exists());
    // What is found is what was made, and goes.
    fs::rename(site.root.path().join("away"), site.work().join(name)).unwrap();
    let output = site.sweep(&[]);
    assert!(output.status.success(), "{output:?}");
    site.assert_clean();
}

#[test]
fn d6_what_a_dead_container_was_about_to_make_is_not_looked_for_below_another_root() {
    use tmpshim_core::journal::layout;
    for is_below_another_root in [false, true] {
        let site = Site::new_in(Path::new("/dev/shm"));
        site.kill_one(1);
        let made = site.work().join(&names(&site.work())[0]);
        // Announced and not made, though an empty directory has that path by now.
        let announced = site.work().join("announced");
        for directory in [&announced, &site.state().join("init-0123456789abcdef")] {
            fs::create_dir(directory).unwrap();
            fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
        }
        let journal = site.state().join(names(&site.state()).iter().find(|name| name.starts_with('.')).unwrap());
        let mut forged = Forged::from(&journal);
        forged.put(0, &tmpshim_core::journal::INTENT.to_ne_bytes());
        let mut forged = forged.claim(&announced, 0);
        forged[layout::PID_NAMESPACE + 16] ^= u8::from(is_below_another_root);
        let sum = tmpshim_core::journal::sum(&forged[layout::SUMMED]);
        forged[layout::CHECKSUM..layout::CHECKSUM + 4].copy_from_slice(&sum.to_ne_bytes());
        fs::remove_file(&journal).unwrap();
        fs::write(site.state().join("init-0123456789abcdef").join(journal.file_name().unwrap()), forged).unwrap();

        assert_eq!(site.sweep(&[]).status.code(), Some(0));
        assert_eq!(announced.exists(), is_below_another_root);
        let _ = fs::remove_dir(&announced);
        fs::remove_dir_all(&made).unwrap();
        site.assert_clean();
    }
}
