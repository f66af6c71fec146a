//! What programs run on: the filesystems, in a mount namespace of our own, and the interpreter, built in three ways.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::arguments::{Filesystem, Reach, name};
use crate::cell::Cell;
use crate::execute;

/// Servers of filesystems; they end with this process, and with them the mounts.
pub(crate) struct Mounts {
    servers: Vec<Child>,
    points: Vec<std::path::PathBuf>,
}

/// Enters namespaces of its own: what is mounted, and the shared memory of whoever is killed before it is marked for
/// removal, goes with them.
pub(crate) fn leave_the_namespaces() -> Result<(), String> {
    // SAFETY: new namespaces change nothing that memory safety rests on; no other thread is there yet.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWIPC) }
        .and_then(|()| mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC))
        .map_err(|error| format!("no namespaces of its own: {error}; run it as root"))
}

impl Mounts {
    /// Mounts what the cells want below the scratch directory.
    pub(crate) fn make(scratch: &Path, cells: &[Cell]) -> Result<Self, String> {
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "tmpfs"]).arg(scratch))?;
        let mut mounts = Self { servers: vec![], points: vec![scratch.to_owned()] };
        for filesystem in [Filesystem::Tmpfs, Filesystem::Bindfs, Filesystem::FuseOverlayfs] {
            let point = execute::mount(scratch, filesystem);
            fs::create_dir(&point).map_err(|error| format!("{}: {error}", point.display()))?;
            let is_wanted = cells.iter().any(|cell| execute::mount(scratch, cell.filesystem) == point);
            if !is_wanted || filesystem == Filesystem::Tmpfs {
                continue;
            }
            let backing = scratch.join(format!("{}.backing", name(filesystem)));
            for layer in ["lower", "upper", "work"] {
                let layer = backing.join(layer);
                fs::create_dir_all(&layer).map_err(|error| format!("{}: {error}", layer.display()))?;
            }
            // The servers stay in the foreground and end with us, however we end.
            let mut server = Command::new("setpriv");
            server.args(["--pdeathsig", "KILL"]);
            if filesystem == Filesystem::Bindfs {
                server.args(["bindfs", "-f"]).arg(backing.join("upper")).arg(&point);
            } else {
                let layers = ["lower", "upper", "work"]
                    .map(|layer| format!("{layer}dir={}", backing.join(layer).display()))
                    .join(",");
                server.args(["fuse-overlayfs", "-f", "-o", &layers]).arg(&point);
            }
            let child = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            mounts.servers.push(child.map_err(|error| format!("setpriv: {error}"))?);
            mounts.points.push(point.clone());
            wait_until_mounted(&point, &name(filesystem))?;
        }
        Ok(mounts)
    }

    /// Unmounts everything, and says what would not go.
    pub(crate) fn undo(mut self) -> Result<(), String> {
        let mut result = Ok(());
        for point in self.points.iter().rev() {
            let deadline = Instant::now() + Duration::from_secs(10);
            while let Err(error) = run(Command::new("umount").arg(point)) {
                if Instant::now() > deadline {
                    result = Err(error);
                    break;
                }
                sleep(Duration::from_millis(50));
            }
        }
        for server in &mut self.servers {
            if result.is_err() {
                let _ = server.kill();
            }
            let _ = server.wait();
        }
        result
    }
}

fn wait_until_mounted(point: &Path, filesystem: &str) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let whole = format!(" {} ", point.display());
    while !fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().contains(&whole) {
        if Instant::now() > deadline {
            return Err(format!(
                "{filesystem} does not mount on {}: is it installed? scripts/setup does it",
                point.display()
            ));
        }
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Builds the interpreter in those ways that the cells want.
pub(crate) fn build(root: &Path, scratch: &Path, cells: &[Cell]) -> Result<(), String> {
    let sources = root.join("c-tests/chaos/interpreter");
    for reach in [Reach::Glibc, Reach::Musl, Reach::Static] {
        if !cells.iter().any(|cell| cell.reach == reach) {
            continue;
        }
        let mut compiler = Command::new(if reach == Reach::Musl { "musl-gcc" } else { "gcc" });
        compiler.args(["-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]);
        if reach == Reach::Static {
            compiler.arg("-static");
        }
        compiler.args(["main.c", "calls.c", "end.c"].map(|source| sources.join(source)));
        run(compiler.arg("-o").arg(execute::interpreter(scratch, reach)))?;
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(format!("{}: {error}", command.get_program().to_string_lossy())),
    }
}
