//! Work on another user's directory, with that user's rights and no others: whatever he has put in the way, it can do
//! him no more harm than he could himself.
//!
//! A forked child gives up root for good, does the work and says over a pipe what it did, one JSON object a line. The
//! user can still stop or kill it, or let it wait for ever for a filesystem of his own, so the parent does not trust it
//! to end.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, setrlimit, waitpid};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::places::Foreign;
use super::{Directory, Objection};

/// How long it may neither say nor compute anything.
const PATIENCE: u32 = 30;

/// How much computing one user's directory is worth, in seconds.
const MOST: u64 = 900;

/// How long all of it may take: a filesystem of that user's may answer everything just before [`PATIENCE`] is over.
const WHOLE: Duration = Duration::from_secs(2 * MOST);

/// Opens `foreign` with its owner's rights and lets `work` have it, in a process of its own. What `work` says is handed
/// to `tell` here.
///
/// # Errors
/// Why it did not come to its end, for people.
pub(crate) fn visit<T: Serialize + DeserializeOwned>(
    foreign: &Foreign,
    work: impl FnOnce(&Directory, &mut dyn FnMut(&T)),
    tell: impl FnMut(T),
) -> Result<(), String> {
    let act = |writer: &mut PipeWriter| match become_user(foreign.uid, foreign.gid) {
        Ok(()) => child(foreign, work, writer),
        Err(_) => RIGHTS,
    };
    apart(&FOREIGN, act, tell)
}

/// Lets `work` have a directory of this user's, in a process of its own as well: what it names may lie where nobody answers
/// any more, and others want to be seen to.
///
/// # Errors
/// As [`visit`].
pub(crate) fn beside<T: Serialize + DeserializeOwned>(
    directory: &Directory,
    work: impl FnOnce(&Directory, &mut dyn FnMut(&T)),
    tell: impl FnMut(T),
) -> Result<(), String> {
    let act = |writer: &mut PipeWriter| {
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        work(directory, &mut |said| say(said, writer));
        DONE
    };
    apart(&OWN, act, tell)
}

/// What is believed of a process.
struct Trust {
    /// For how many seconds it may neither say nor compute anything.
    patience: u32,
    /// How long all of it may take.
    whole: Option<Duration>,
    /// Whether it is ended where a signal stops it.
    may_be_stopped: bool,
}

const FOREIGN: Trust = Trust { patience: PATIENCE, whole: Some(WHOLE), may_be_stopped: false };

const OWN: Trust = Trust { patience: PATIENCE, whole: None, may_be_stopped: true };

fn apart<T: DeserializeOwned>(
    trust: &Trust,
    act: impl FnOnce(&mut PipeWriter) -> i32,
    mut tell: impl FnMut(T),
) -> Result<(), String> {
    let (reader, mut writer) = pipe().map_err(|error| format!("no pipe: {error}"))?;
    // SAFETY: this command has a single thread, so the child may do whatever this process may.
    match unsafe { libc::fork() } {
        -1 => Err(format!("no process: {}", std::io::Error::last_os_error())),
        0 => {
            drop(reader);
            let status = act(&mut writer);
            // SAFETY: _exit(2) ends the process and nothing else: the parent's buffers are not the child's to flush.
            unsafe { libc::_exit(status) }
        }
        child => {
            drop(writer);
            let child = Pid::from_raw(child).ok_or("no process")?;
            listen(reader, child, trust, &mut tell)
        }
    }
}

const DONE: i32 = 0;
const RIGHTS: i32 = 1;
const REFUSED: i32 = 2;

fn child<T: Serialize>(
    foreign: &Foreign,
    work: impl FnOnce(&Directory, &mut dyn FnMut(&T)),
    writer: &mut PipeWriter,
) -> i32 {
    let directory = match Directory::reopen(&foreign.fd, &foreign.path) {
        Ok(directory) => directory,
        Err(Objection::Refused(Errno::NOENT)) => return DONE,
        Err(_) => return REFUSED,
    };
    work(&directory, &mut |said| say(said, writer));
    DONE
}

fn say<T: Serialize>(said: &T, writer: &mut PipeWriter) {
    if let Ok(mut line) = serde_json::to_vec(said) {
        line.push(b'\n');
        // Where whoever listened is gone, the work is worth doing all the same.
        let _ = writer.write_all(&line);
    }
}

/// Becomes `uid` and `gid` for good. By system calls: libc's functions would do the same in every thread.
fn become_user(uid: u32, gid: u32) -> std::io::Result<()> {
    let check = |answer: libc::c_long| if answer == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) };
    let groups = [gid];
    // SAFETY: numbers, and one group in memory of ours.
    unsafe {
        check(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
        check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        check(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
    }
    let (mut users, mut members) = ([0u32; 3], [0u32; 3]);
    let [real, effective, saved] = &mut users;
    let [real_group, effective_group, saved_group] = &mut members;
    // SAFETY: six numbers are written to six places of ours; setresuid changes nothing where it is refused.
    let regained = unsafe {
        check(libc::syscall(libc::SYS_getresuid, &raw mut *real, &raw mut *effective, &raw mut *saved))?;
        check(libc::syscall(
            libc::SYS_getresgid,
            &raw mut *real_group,
            &raw mut *effective_group,
            &raw mut *saved_group,
        ))?;
        libc::syscall(libc::SYS_setresuid, 0, 0, 0) == 0
    };
    if uid == 0 || regained || users != [uid; 3] || members != [gid; 3] {
        return Err(std::io::ErrorKind::PermissionDenied.into());
    }
    // After the change, which clears it. Without them it is no less safe, only less tidy.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let limit = |most| Rlimit { current: Some(most), maximum: Some(most) };
    let _ = setrlimit(Resource::Cpu, limit(MOST));
    let _ = setrlimit(Resource::Core, limit(0));
    Ok(())
}

/// Hands on what the child says until it has ended; ends it where it was stopped, where it neither says nor does anything,
/// or where the `whole` takes too long.
fn listen<T: DeserializeOwned>(
    mut reader: PipeReader,
    child: Pid,
    trust: &Trust,
    tell: &mut impl FnMut(T),
) -> Result<(), String> {
    let deadline = trust.whole.map(|whole| Instant::now() + whole);
    let mut said = Vec::new();
    let mut quiet = 0;
    let mut computed = None;
    let mut ended = None;
    loop {
        // When it has ended, what it has said is there already.
        let patience = Timespec { tv_sec: i64::from(ended.is_none()), tv_nsec: 0 };
        let is_late = ended.is_none() && deadline.is_some_and(|deadline| Instant::now() > deadline);
        let ready = poll(&mut [PollFd::new(&reader.as_fd(), PollFlags::IN)], Some(&patience)).unwrap_or(0);
        if ready > 0 && !is_late {
            quiet = 0;
            let mut bytes = [0; 8192];
            match reader.read(&mut bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
                Ok(count) => said.extend_from_slice(&bytes[..count]),
            }
            while let Some(end) = said.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = said.drain(..=end).collect();
                if let Ok(said) = serde_json::from_slice(&line) {
                    tell(said);
                }
            }
            continue;
        }
        if ended.is_some() {
            break;
        }
        let mut why = None;
        match waitpid(Some(child), WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            Ok(Some((_, status))) if status.stopped() => {
                why = (!trust.may_be_stopped).then_some("stopped by a signal");
            }
            Ok(Some((_, status))) => ended = Some(status),
            Ok(None) | Err(_) => {}
        }
        let now = computing(child);
        quiet = if now == computed { quiet + 1 } else { 0 };
        computed = now;
        if quiet >= trust.patience {
            why = Some("waiting for something for ever");
        }
        if is_late {
            why = Some("not done in half an hour");
        }
        if let Some(why) = why {
            let _ = rustix::process::kill_process(child, Signal::KILL);
            // What it waits for may hold up its end, too: that is not waited for.
            return Err(format!("the process that did it was {why}, and was ended"));
        }
    }
    let status = match ended {
        Some(status) => status,
        None => match waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => status,
            Ok(None) | Err(_) => return Err("nobody knows how the process that did it has ended".to_owned()),
        },
    };
    if let Some(signal) = status.terminating_signal() {
        return Err(format!("the process that did it was ended by signal {signal}"));
    }
    match status.exit_status() {
        Some(DONE) => Ok(()),
        Some(REFUSED) => Err("it is not that user's alone".to_owned()),
        _ => Err("the user's rights could not be taken on".to_owned()),
    }
}

/// The clock ticks that a process has used so far.
fn computing(pid: Pid) -> Option<(u64, u64)> {
    let line = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let mut fields = line.rsplit_once(')')?.1.split(' ').skip(12);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::chown;

    fn foreign(uid: u32) -> Option<(tempfile::TempDir, Foreign)> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not shown: becoming another user takes root");
            return None;
        }
        let root = tempfile::tempdir().unwrap();
        chown(root.path(), Some(uid), Some(uid)).unwrap();
        let found = super::super::places::foreign(root.path()).unwrap();
        Some((root, found))
    }

    #[test]
    fn d5_the_work_is_done_with_that_users_rights_and_told() {
        let Some((_root, foreign)) = foreign(65534) else { return };
        let mut told = Vec::new();
        let work = |directory: &Directory, tell: &mut dyn FnMut(&(String, u32, bool))| {
            let is_root = std::fs::read("/etc/shadow").is_ok() || std::fs::write("/etc/tmpshim-test", "").is_ok();
            tell(&(directory.path.display().to_string(), rustix::process::geteuid().as_raw(), is_root));
        };
        visit(&foreign, work, |said| told.push(said)).unwrap();
        assert_eq!(told, [(foreign.path.display().to_string(), 65534, false)]);
    }

    #[test]
    fn d5_roots_own_is_not_done_that_way() {
        let Some((_root, mut foreign)) = foreign(65534) else { return };
        foreign.uid = 0;
        let work = |_: &Directory, tell: &mut dyn FnMut(&u32)| tell(&1);
        assert!(visit(&foreign, work, |_: u32| panic!("nothing is done")).is_err());
    }

    #[test]
    fn d5_a_child_that_is_killed_or_stopped_is_noticed() {
        let Some((_root, foreign)) = foreign(65534) else { return };
        for signal in [libc::SIGKILL, libc::SIGSTOP] {
            let begun = Instant::now();
            let work = |_: &Directory, _: &mut dyn FnMut(&u32)| {
                // SAFETY: a signal to this process itself.
                unsafe { libc::kill(libc::getpid(), signal) };
            };
            let error = visit(&foreign, work, |_: u32| ()).unwrap_err();
            assert!(error.contains("signal"), "{error}");
            assert!(begun.elapsed().as_secs() < 20);
        }
    }

    #[test]
    fn d5_a_child_that_always_says_something_does_not_go_on_for_ever() {
        let Some((_root, foreign)) = foreign(rustix::process::geteuid().as_raw()) else { return };
        let begun = Instant::now();
        let mut heard = 0;
        let work = |_: &Directory, tell: &mut dyn FnMut(&u32)| {
            while begun.elapsed().as_secs() < 60 {
                tell(&1);
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        let trust = Trust { whole: Some(Duration::from_secs(1)), ..FOREIGN };
        let act = |writer: &mut PipeWriter| child(&foreign, work, writer);
        let error = apart(&trust, act, |said: u32| heard += said).unwrap_err();
        assert!(error.contains("half an hour") && heard > 0, "{error}");
        assert!(begun.elapsed().as_secs() < 30);
    }

    #[test]
    fn d5_what_hangs_in_a_directory_of_our_own_is_given_up() {
        let begun = Instant::now();
        let act = |_: &mut PipeWriter| {
            std::thread::sleep(Duration::from_mins(1));
            DONE
        };
        let error = apart(&Trust { patience: 1, ..OWN }, act, |_: u32| ()).unwrap_err();
        assert!(error.contains("for ever") && begun.elapsed().as_secs() < 30, "{error}");
    }
}
