//! Mounts: on it, of a part of it, in other namespaces, and with a server that does not answer.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::rights::is_root;
use super::site::{Site, paths, using};
use super::sweeping::names;
use super::waiting::eventually;

#[test]
fn d6_use_in_another_mount_namespace_under_another_path_counts() {
    if !is_root("a mount namespace") {
        return;
    }
    for (how, why) in [
        ("elsewhere-open", "is open"),
        ("elsewhere-cwd", "the working directory is"),
        ("elsewhere-mapped", "is mapped"),
        ("elsewhere-mount", "tmpfs is mounted on"),
        ("elsewhere-source", "it, or a part of it, is mounted on"),
    ] {
        let site = Site::new();
        let used = site.full("leak-used");
        let path = if why.contains("mounted") { used } else { site.path("piled") };
        let holder = using(&[how.as_ref(), path.as_os_str(), site.path("other").as_os_str()]);
        site.assert_stays_while_used(holder, &["--contents"], why);
        assert!(names(&site.path("other")).is_empty());
    }
}

#[test]
fn d6_a_layer_of_an_overlay_stays() {
    if !is_root("an overlay") {
        return;
    }
    // An overlay takes no layer from another overlay, which a container may have for all but this.
    let site = Site::new_in(Path::new("/dev/shm"));
    // A name in a layer's path counts wherever it stands: other tests' directories must not have it.
    let path = site.leak("leak-layers");
    for name in ["lower", "upper", "work"] {
        fs::create_dir(path.join(name)).unwrap();
    }
    site.leak("leak-free");
    let holder = using(&["overlay".as_ref(), path.as_os_str(), site.path("other").as_os_str()]);
    let all = site.sweep(&["--contents"]);
    assert_eq!(site.names(), ["leak-layers"], "{all:?}");
    assert!(all.iter().any(|line| line["why"] == "in use: an overlay filesystem has a layer in it; unmount that"));
    holder.end();
    site.sweep(&["--contents"]);
    assert!(site.names().is_empty());
}

#[test]
fn d6_mount_points_stay_and_a_server_that_does_not_answer_is_not_waited_for() {
    if !is_root("a mount") {
        return;
    }
    let site = Site::new();
    let mounted = site.leak("leak-mounted");
    mount("none", &mounted, "tmpfs", MountFlags::empty(), c"").unwrap();
    let stopped = site.leak("leak-stopped");
    let deep = site.full("leak-deep").join("deep");
    let source = site.path("other");
    fs::write(source.join("file"), "kept").unwrap();
    let mut server = Command::new("bindfs").args(["-f"]).arg(&source).arg(&stopped).spawn().expect("bindfs");
    eventually("bindfs serves", || stopped.join("file").exists());
    mount_bind(&stopped, &deep).unwrap();
    // Somebody has a file of it open, and another one works there.
    let file = using(&["open".as_ref(), stopped.join("file").as_os_str()]);
    let cwd = using(&["cwd".as_ref(), deep.as_os_str()]);
    let pid = Pid::from_child(&server);
    kill_process(pid, Signal::STOP).unwrap();
    waitpid(Some(pid), WaitOptions::UNTRACED).unwrap();
    site.leak("leak-free");
    let all = site.sweep(&["--contents"]);
    assert_eq!(paths(&all, "removed"), [site.piled("leak-free")], "{all:?}");
    assert_eq!(paths(&all, "skipped").len(), 3);
    kill_process(pid, Signal::CONT).unwrap();
    assert_eq!(fs::read_to_string(stopped.join("file")).unwrap(), "kept");
    file.end();
    cwd.end();
    for path in [&deep, &stopped, &mounted] {
        unmount(path, UnmountFlags::DETACH).unwrap();
    }
    server.wait().unwrap();
    site.sweep(&["--contents"]);
    assert!(site.names().is_empty());
    assert_eq!(names(&source), ["file"]);
}
