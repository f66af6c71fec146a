//! Machines on which no engine works, or no state can be kept.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::Command;

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter, sock_fprog};

use super::ground::{AS_NOBODY, Ground, NOBODY, TMPSHIM, assert_empty, set_mode};
use super::report::{Report, command, finding, verdict};

/// Forbids seccomp(2), as some sandboxes do.
fn forbid_seccomp() -> std::io::Result<()> {
    let statement = |code: u32, k: u32| sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let filter = [
        statement(BPF_LD | BPF_W | BPF_ABS, 0),
        sock_filter { code: (BPF_JMP | BPF_JEQ | BPF_K) as u16, jt: 0, jf: 1, k: libc::SYS_seccomp as u32 },
        statement(BPF_RET | BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        statement(BPF_RET | BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    rustix::thread::set_no_new_privs(true)?;
    // SAFETY: the kernel copies the filter, which it does not write to, before the call returns.
    let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[test]
fn where_no_engine_reaches_a_program_that_is_said() {
    let mut command = command();
    command.arg(TMPSHIM);
    // SAFETY: two prctl calls, between fork and exec.
    unsafe { command.pre_exec(forbid_seccomp) };
    let report = Report::of(&mut command);
    let (program, system) = (report.first("program"), report.first("system"));
    assert_eq!((report.status, verdict(system, "supervisor")), (1, "beware"));
    assert!(finding(system, "supervisor")["found"].as_str().unwrap().contains("EPERM"));
    assert_eq!([verdict(program, "library"), verdict(program, "supervisor")], ["will-fail"; 2]);
}

#[test]
fn without_a_state_directory_that_is_said() {
    let Some(ground) = Ground::with_mounts(&["unshare"]) else { return };
    let (own, tmp) = (ground.make("own"), ground.make("tmp"));
    let script = "mount --make-rprivate / && mount -t tmpfs -o ro x /dev/shm && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).args(AS_NOBODY).arg(ground.command());
    command.args(["doctor", "--json"]).arg(&tmp).env_remove("XDG_RUNTIME_DIR").env_remove("TMPSHIM_STATE_DIR");
    let report = Report::of(&mut command);
    assert_eq!((report.status, verdict(report.first("system"), "state-directory")), (1, "will-fail"));
    // With one of his own all is well.
    chown(&own, Some(NOBODY), Some(NOBODY)).unwrap();
    set_mode(&own, 0o700);
    let report = Report::of(command.env("TMPSHIM_STATE_DIR", &own));
    assert_eq!(report.status, 0, "{:#}", report.document);
    assert_eq!(finding(report.first("system"), "state-directory")["value"], own.to_str().unwrap());
    assert_empty(&own);
    assert_empty(&tmp);
}
