//! Whether one of tmpshim's supervisors is above a process: an ancestor that runs this command and holds the kernel's end
//! of a filter, or traces the process (overseer.rs). The filter is inherited by everything below, and so is the tracer.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;
use tmpshim_core::kin;

use super::engines::seccomp_mode;
use super::finding::{Finding, Name, Verdict};
use super::process::field;
use crate::run::supervision::Kind;

/// What was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Above {
    /// This process answers.
    Supervisor(u32, Kind),
    /// `tmpshim run` without a supervisor.
    Parent(u32),
    Nobody,
    /// A filter is on it, and not all that is above can be looked at.
    Hidden,
}

impl Above {
    /// Whether O_TMPFILE opens are answered.
    pub(super) fn answers(self) -> bool {
        matches!(self, Self::Supervisor(..))
    }

    pub(super) fn finding(self) -> Finding {
        let name = Name::Supervised;
        match self {
            Self::Supervisor(pid, kind) => {
                let found = match kind {
                    Kind::Notify => format!("yes, process {pid}"),
                    Kind::Trace => format!("yes, process {pid}, by ptrace: no debugger can trace this one"),
                };
                let value = json!({ "supervised": true, "pid": pid, "engine": kind.name() });
                Finding::well(name, found).with(value)
            }
            Self::Parent(pid) => {
                Finding::note(name, format!("no; tmpshim run above it (process {pid}) does not supervise it"))
                    .with(json!({ "supervised": false, "pid": pid }))
            }
            Self::Nobody => Finding::note(name, "no").with(json!({ "supervised": false })),
            Self::Hidden => {
                let why = "a filter is on it, and those above it cannot be looked at; run tmpshim doctor as root";
                Finding::new(name, Verdict::CouldNotTell, why).with(json!({ "supervised": null }))
            }
        }
    }
}

/// Looks at all that are above.
pub(super) fn look(pid: u32) -> Above {
    let is_filtered = seccomp_mode(&pid.to_string()) == Some(2);
    let tracer = tracer_of(pid);
    let mut parent = None;
    let mut is_hidden = false;
    let mut at = pid;
    // Numbers come again, so what a walk upwards sees may change meanwhile; it must not go on for ever.
    for _ in 0..1000 {
        let Some(above) = kin::status(at).map(|status| status.parent) else {
            is_hidden = true;
            break;
        };
        if above == 0 {
            // The first process, or one whose parent is outside of this PID namespace.
            is_hidden |= at != 1;
            break;
        }
        at = above;
        match is_ours(at) {
            Some(false) => {}
            None => is_hidden = true,
            Some(true) if is_filtered && tracer == Some(at) => return Above::Supervisor(at, Kind::Trace),
            Some(true) => match holds_a_filter(at) {
                Some(true) if is_filtered => return Above::Supervisor(at, Kind::Notify),
                Some(_) => parent = parent.or(Some(at)),
                None => is_hidden = true,
            },
        }
    }
    match parent {
        _ if is_filtered && is_hidden => Above::Hidden,
        Some(parent) => Above::Parent(parent),
        None => Above::Nobody,
    }
}

/// Whether a process runs this command, or one of its name; nothing where that cannot be seen.
fn is_ours(pid: u32) -> Option<bool> {
    let path = format!("/proc/{pid}/exe");
    let link = match fs::read_link(&path) {
        Ok(link) => link,
        // A thread of the kernel's has none.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(false),
        Err(_) => return None,
    };
    let is_named = link.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tmpshim"));
    let which = |path: &str| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    Some(is_named || which(&path).is_some_and(|file| Some(file) == which("/proc/self/exe")))
}

/// Whether a process can answer calls that a filter stops.
fn holds_a_filter(pid: u32) -> Option<bool> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let mut links = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    Some(links.any(|link| link.as_os_str() == "anon_inode:seccomp notify"))
}

/// Who traces a process, if anybody does whom this one can see.
fn tracer_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    field(&status, "TracerPid:")?.parse().ok().filter(|&tracer| tracer != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_a_finding_says_which_supervisor_it_is() {
        for kind in Kind::ALL {
            let above = Above::Supervisor(7, kind);
            let value = above.finding().value.unwrap();
            assert_eq!((value["supervised"].as_bool(), value["engine"].as_str()), (Some(true), Some(kind.name())));
            assert!(above.answers());
        }
        assert!(!Above::Parent(7).answers() && !Above::Hidden.answers());
    }

    #[test]
    fn who_is_not_traced_has_no_tracer() {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let expected = field(&status, "TracerPid:").and_then(|pid| pid.parse().ok()).filter(|&pid: &u32| pid != 0);
        assert_eq!(tracer_of(std::process::id()), expected);
        assert_eq!(tracer_of(i32::MAX as u32), None);
    }

    #[test]
    fn this_command_is_known_and_others_are_not() {
        assert_eq!(is_ours(std::process::id()), Some(true));
        assert_eq!(holds_a_filter(std::process::id()), Some(false));
        assert_eq!(is_ours(i32::MAX as u32), Some(false));
    }
}
