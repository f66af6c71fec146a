//! Real FUSE mounts, which have no `O_TMPFILE`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::statfs;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::ground::{FUSE, Ground};
use crate::run::program;

/// How long a mount may take to appear, and its server to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looked for in PATH, in this order.
pub(super) const SERVERS: [&str; 3] = ["bindfs", "mergerfs", "fuse-overlayfs"];

/// A mounted filesystem, unmounted when dropped.
#[derive(Debug)]
pub(super) struct Mount {
    pub(super) ground: Ground,
    server: Child,
}

/// Why there can be none here, for people.
pub(super) fn objection() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        Some("it takes root")
    } else if File::options().read(true).write(true).open("/dev/fuse").is_err() {
        Some("/dev/fuse cannot be opened")
    } else {
        None
    }
}

/// Gives this process mounts of its own: nobody else sees ours, and they end with the last process here, whatever happens.
/// Where that is not possible they are ordinary ones.
pub(super) fn keep_mounts_to_ourselves() {
    // SAFETY: only the mount namespace is left; no descriptor and no memory is affected.
    if unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.is_ok() {
        let _ = mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC);
    }
}

impl Mount {
    /// Mounts `server` below `directory`; `None` where PATH does not have it.
    pub(super) fn new(server: &str, directory: &Path) -> Option<Result<Self, String>> {
        let program = program::find(OsStr::new(server), env::var_os("PATH").as_deref())?;
        Some(Self::start(server, &program, &directory.join(server)).map_err(|error| error.to_string()))
    }

    fn start(server: &str, program: &Path, directory: &Path) -> io::Result<Self> {
        let [source, work, path] = ["source", "work", "mount"].map(|name| directory.join(name));
        for directory in [&source, &work, &path] {
            fs::create_dir_all(directory)?;
        }
        let mut command = Command::new(program);
        command.arg("-f");
        if server == "fuse-overlayfs" {
            let lower = directory.join("lower");
            fs::create_dir(&lower)?;
            let mut options = OsString::from("lowerdir=");
            options.push(lower);
            options.push(",upperdir=");
            options.push(&source);
            options.push(",workdir=");
            options.push(&work);
            command.arg("-o").arg(options);
        } else {
            command.arg(&source);
        }
        command.arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        // SAFETY: one system call is made in the child, nothing is allocated.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?));
        }
        let ground = Ground { label: format!("FUSE: {server}"), path: path.clone(), refuse: false };
        let mut mount = Self { ground, server: command.spawn()? };
        mount.await_ready(&path)?;
        Ok(mount)
    }

    fn await_ready(&mut self, path: &Path) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !statfs(path).is_ok_and(|found| found.f_type as u64 == FUSE) {
            if self.server.try_wait()?.is_some() {
                let mut said = String::new();
                if let Some(errors) = &mut self.server.stderr {
                    io::Read::read_to_string(errors, &mut said)?;
                }
                return Err(io::Error::other(said.lines().next_back().unwrap_or("it ended at once").to_owned()));
            }
            if Instant::now() > deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn path(&self) -> &PathBuf {
        &self.ground.path
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Detached, so that it goes even while something is still open on it.
        let _ = unmount(self.path(), UnmountFlags::DETACH);
        let deadline = Instant::now() + PATIENCE;
        while let Ok(None) = self.server.try_wait() {
            if Instant::now() > deadline {
                let _ = self.server.kill();
                let _ = self.server.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
