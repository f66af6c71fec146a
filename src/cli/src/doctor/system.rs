//! The system that the command runs on, as far as it decides what tmpshim can do.

use std::fs;
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::system::uname;
use rustix::thread::CapabilitySet;
use serde_json::json;
use tmpshim_core::kin;

use super::child::Teller;
use super::engines::{self, has, seccomp_mode};
use super::finding::{Cure, Finding, Name, Verdict};
use super::settings;
use crate::state::{self, Directory, Objection, places};

/// The inodes of the namespaces that a machine starts with (linux/proc_ns.h).
const INITIAL_PID: u64 = 0xefff_fffc;
const INITIAL_USER: u64 = 0xefff_fffd;

/// Looks at it, in a process that ends afterwards.
pub(super) fn look(teller: &mut Teller) {
    let release = uname().release().to_string_lossy().into_owned();
    teller.find(Finding::note(Name::Kernel, format!("Linux {release}")).with(release));
    teller.find(user());
    for finding in [container(), seccomp("self"), no_new_privileges(), yama()].into_iter().flatten() {
        teller.find(finding);
    }
    let engines = engines::look(teller);
    teller.more(&engines);
    let own = std::env::vars_os().map(|(name, value)| {
        use std::os::unix::ffi::OsStringExt;
        (name.into_vec(), value.into_vec())
    });
    for finding in settings::look(&own.collect::<Vec<_>>()) {
        teller.find(finding);
    }
    state_directory(teller);
}

fn user() -> Finding {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let wanted = [
        ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN),
        ("CAP_SYS_PTRACE", CapabilitySet::SYS_PTRACE),
        ("CAP_DAC_OVERRIDE", CapabilitySet::DAC_OVERRIDE),
    ];
    let held: Vec<_> = wanted.into_iter().filter(|(_, capability)| has(*capability)).map(|(name, _)| name).collect();
    let rights = if held.is_empty() { "no capability that matters here".to_owned() } else { held.join(", ") };
    let found = format!("{user}, group {group}; {rights}");
    Finding::note(Name::User, found).with(json!({ "uid": user, "gid": group, "capabilities": held }))
}

/// Only where there is something to say.
fn container() -> Option<Finding> {
    let has_own_processes = kin::pid_namespace() != INITIAL_PID;
    let has_own_users = super::outlook::namespace("self", "user").is_some_and(|user| user != INITIAL_USER);
    let is_marked = ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| Path::new(mark).exists())
        || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let mut found = Vec::new();
    found.extend(is_marked.then_some("yes, by its marks"));
    found.extend(has_own_processes.then_some("a PID namespace of its own: processes outside are not seen"));
    found.extend(has_own_users.then_some("a user namespace of its own: its root is not the machine's"));
    let value = json!({ "marked": is_marked, "pid_namespace": has_own_processes, "user_namespace": has_own_users });
    (!found.is_empty()).then(|| Finding::note(Name::Container, found.join("; ")).with(value))
}

/// Of a process; only where there is a filter.
pub(super) fn seccomp(pid: &str) -> Option<Finding> {
    let found = match seccomp_mode(pid)? {
        0 => return None,
        2 => "a filter is on it; what that refuses to programs below it cannot be read",
        _ => "strict",
    };
    Some(Finding::note(Name::Seccomp, found).with("filter"))
}

fn no_new_privileges() -> Option<Finding> {
    let is_set = rustix::thread::no_new_privs().ok()?;
    is_set.then(|| Finding::note(Name::NoNewPrivileges, "set: set-uid programs gain no rights").with(true))
}

fn yama() -> Option<Finding> {
    let scope: u8 = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok()?.trim().parse().ok()?;
    let found = match scope {
        0 => "0: no restriction",
        1 => "1: no hindrance, the supervisor is an ancestor",
        2 => "2: a supervisor needs CAP_SYS_PTRACE",
        _ => "3: nobody may read a program's memory or trace it, so there is no supervisor",
    };
    Some(Finding::note(Name::Yama, found).with(scope))
}

/// Which one would be used; nothing is made.
fn state_directory(teller: &mut Teller) {
    let mut refused = Vec::new();
    for place in places::own(&places::setting()) {
        let shown = place.display();
        match Directory::open(&place) {
            Ok(_) => {
                let value = place.to_string_lossy().into_owned();
                return teller.find(Finding::well(Name::StateDirectory, value.clone()).with(value));
            }
            Err(Objection::Refused(Errno::NOENT)) => match may_make(&place) {
                Ok(()) => {
                    let value = place.to_string_lossy().into_owned();
                    let found = format!("{shown}, which the first program makes");
                    return teller.find(Finding::well(Name::StateDirectory, found).with(value));
                }
                Err(why) => refused.push(format!("{shown}: {why}")),
            },
            Err(objection) => refused.push(format!("{shown}: {}", state::describe(objection).0)),
        }
    }
    let found =
        format!("none ({}): after SIGKILL nobody knows what a program has made, and it stays", refused.join(", "));
    teller.find(Finding::new(Name::StateDirectory, Verdict::WillFail, found));
    teller.cure(Cure::new(
        "give tmpshim a directory that is this user's alone:",
        "mkdir -m 700 DIRECTORY && export TMPSHIM_STATE_DIR=DIRECTORY",
    ));
}

fn may_make(place: &Path) -> Result<(), String> {
    let parent = place.parent().unwrap_or(Path::new("/"));
    match access(parent, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Ok(()),
        Err(Errno::NOENT) => Err(format!("{} is not there", parent.display())),
        Err(error) => Err(state::text(error)),
    }
}
