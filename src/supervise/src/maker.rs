//! Who makes a directory that is to be tracked, and which that is (D1).

use std::ffi::CString;

use rustix::fs::{CWD, readlinkat};
use rustix::time::{ClockId, clock_gettime};
use tmpshim_core::glob::any_matches;
use tmpshim_core::identity::Identity;
use tmpshim_core::kin::{self, Process};
use tmpshim_core::settings::Cleanup;

use crate::custody::Custody;
use crate::target::Target;

/// Who makes a directory that is to be tracked.
pub(crate) struct Maker {
    process: Process,
    ancestors: Vec<Process>,
    program: Vec<u8>,
    /// [`clock`] before it is made.
    started: u64,
}

impl Maker {
    /// Nothing where the path matches no glob, or leads elsewhere than ours: the kernel makes it, and nobody removes it.
    pub(crate) fn of(target: &Target, from: i32, path: &[u8], custody: &Custody) -> Option<Self> {
        let settings = custody.settings;
        if settings.cleanup == Cleanup::Off || !target.shares_mounts() {
            return None;
        }
        let text = absolute(target, from, path)?;
        if !any_matches(settings.track, &text) || !settings.wants(&text) {
            return None;
        }
        let program = target.program();
        if settings.skips_program(&program) {
            return None;
        }
        let process = target.status()?.process;
        let seen = kin::status(process)?;
        let ancestors = ancestors(seen.parent);
        Some(Self { process: Process::new(process, seen.start), ancestors, program, started: clock() })
    }

    /// The directory with this path, from the root.
    pub(crate) fn has_made(&self, path: CString, identity: Identity) -> Made {
        Made {
            path,
            identity,
            started: self.started,
            program: self.program.clone(),
            maker: self.process,
            ancestors: self.ancestors.clone(),
        }
    }
}

/// The path from the root, in the program's own words where it gave it so, as the library would match it.
fn absolute(target: &Target, directory: i32, path: &[u8]) -> Option<Vec<u8>> {
    let end = path.iter().rposition(|&byte| byte != b'/')? + 1;
    if path[0] == b'/' {
        return Some(path[..end].to_vec());
    }
    let from = match directory {
        libc::AT_FDCWD => readlinkat(CWD, format!("/proc/{}/cwd", target.thread), Vec::new()).ok()?.into_bytes(),
        number => target.descriptor_link(number)?,
    };
    (from.first() == Some(&b'/')).then(|| [&from[..], b"/", &path[..end]].concat())
}

/// A process's parent with this number, and that one's, up to this process.
fn ancestors(mut pid: u32) -> Vec<Process> {
    let mut found = Vec::new();
    while pid > 1
        && pid != std::process::id()
        && let Some(status) = kin::status(pid)
    {
        found.push(Process::new(pid, status.start));
        pid = status.parent;
    }
    found
}

/// Now, in the units of process start times: clock ticks since boot.
fn clock() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    // The kernel shows all of them as hundredths.
    now.tv_sec as u64 * 100 + now.tv_nsec as u64 / 10_000_000
}

/// A directory that was made.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) path: CString,
    pub(crate) identity: Identity,
    /// [`clock`] before it was made.
    pub(crate) started: u64,
    pub(crate) program: Vec<u8>,
    pub(crate) maker: Process,
    /// They are older than it, however coarse the clock.
    pub(crate) ancestors: Vec<Process>,
}
