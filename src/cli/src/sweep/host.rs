//! `--host`: from a container into the mount namespace of process 1, so that /proc, /run, /dev/shm and all paths are the
//! host's.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tmpshim_core::kin;

use crate::failure::Failure;

/// Enters it. Nothing has to be done where it is our own already.
pub(super) fn enter() -> Result<(), Failure> {
    let cannot = |why: &dyn std::fmt::Display, remedy: &str| {
        Failure::new(1, "cannot enter the mount namespace of process 1", why, remedy)
    };
    let share = "set hostPID: true in the pod, or run the container with --pid host";
    if std::process::id() == 1 {
        return Err(cannot(&"process 1 is this sweep itself, so the container has a PID namespace of its own", share));
    }
    if kin::number_in_proc() != std::process::id() {
        return Err(cannot(&"/proc is not that of this PID namespace, or not there", "mount /proc in the container"));
    }
    let name = fs::read_to_string("/proc/1/comm").unwrap_or_default();
    if name.trim_end() == "pause" {
        let why = "it is the pod's own (pause), not the host's";
        return Err(cannot(&why, "set hostPID: true in the pod, in place of shareProcessNamespace"));
    }
    let privilege = "run as root, with the capabilities SYS_ADMIN, SYS_CHROOT and SYS_PTRACE, not confined by AppArmor or \
                     SELinux (deploy/node/daemonset.yaml)";
    let refused = |error: io::Error| cannot(&error, privilege);
    // Where /proc is ours, process 1 in it is the first of our PID namespace; this asks the kernel itself.
    let namespace =
        |process: &str, kind: &str| fs::metadata(format!("/proc/{process}/ns/{kind}")).map(|seen| seen.ino());
    if namespace("1", "pid").map_err(refused)? != kin::pid_namespace() {
        return Err(cannot(&"process 1 is in another PID namespace", share));
    }
    if namespace("1", "mnt").map_err(refused)? == namespace("self", "mnt").map_err(refused)? {
        return Ok(());
    }
    let theirs = File::open("/proc/1/ns/mnt").map_err(refused)?;
    // The root and the working directory become those of that namespace.
    move_into_link_name_space(theirs.as_fd(), Some(LinkNameSpaceType::Mount)).map_err(|error| refused(error.into()))
}
