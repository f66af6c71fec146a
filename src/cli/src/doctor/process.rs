//! A running process: what it is, and what of tmpshim is in it or above it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tmpshim_core::kin;

use super::child::Teller;
use super::finding::{Finding, Name, Verdict};
use super::outlook::{Outlook, namespace};
use super::program::command_line;
use super::{Source, ancestors, journals, settings, system};
use crate::run::library;

/// What looking at its program and its directories takes.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Facts {
    pub(super) pid: u32,
    pub(super) start: u64,
    /// How it could be started again.
    pub(super) command: String,
    /// Its `TMPDIR`, if it has one.
    pub(super) temporary: Option<OsString>,
    pub(super) current: Option<OsString>,
    pub(super) is_secure: bool,
    /// Who stands in for O_TMPFILE in it already.
    pub(super) is_helped: Option<String>,
}

/// Looks at it, in a process that ends afterwards. What follows from it is said as [`Facts`].
pub(super) fn look(pid: u32, teller: &mut Teller) {
    let start = match living(pid) {
        Ok(start) => start,
        Err(why) => return teller.find(Finding::new(Name::Process, Verdict::CouldNotTell, why)),
    };
    let read = |what: &str| fs::read(format!("/proc/{pid}/{what}"));
    let environment = match read("environ") {
        Ok(environment) => variables(&environment),
        Err(error) => {
            let error = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            let why = if rustix::process::geteuid().is_root() {
                "this root has not the rights that it has: run tmpshim doctor outside of the container"
            } else {
                "of another user's process only root is told; run tmpshim doctor as root"
            };
            return teller.find(Finding::refused(Name::Process, Verdict::CouldNotTell, error, why));
        }
    };
    let link = |what: &str| fs::read_link(format!("/proc/{pid}/{what}")).ok();
    let status = String::from_utf8_lossy(&read("status").unwrap_or_default()).into_owned();
    let arguments = strings(&read("cmdline").unwrap_or_default());
    let executable = link("exe");
    let temporary = settings::value(&environment, "TMPDIR").map(|path| OsString::from_vec(path.to_vec()));
    let temporary = temporary.map(PathBuf::from);
    identity(pid, executable.as_deref(), &status, teller);
    let is_preloaded = has_library(&read("maps").unwrap_or_default());
    let is_go = is_go(pid);
    teller.find(preloaded(is_preloaded, is_go, &environment));
    let above = ancestors::look(pid);
    teller.find(above.finding());
    if let Some(finding) = system::seccomp(&pid.to_string()) {
        teller.find(finding);
    }
    if field(&status, "NoNewPrivs:") == Some("1") {
        teller.find(Finding::note(Name::NoNewPrivileges, "set: set-uid programs below it gain no rights").with(true));
    }
    for finding in settings::look(&environment) {
        teller.find(finding);
    }
    let shown =
        temporary.as_ref().map_or_else(|| "not set: /tmp, as a rule".to_owned(), |path| path.display().to_string());
    teller.find(
        Finding::note(Name::TemporaryDirectory, shown).with(temporary.as_ref().map(|path| path.to_string_lossy())),
    );
    let current = link("cwd");
    teller.find(in_use(pid, temporary.as_deref(), current.as_deref()));
    let stands_in = settings::stand_in(&environment);
    let is_helped = if above.answers() && stands_in {
        Some("the supervisor above it answers in its place".to_owned())
    } else {
        (is_preloaded && !is_go && stands_in).then(|| "the library in it stands in".to_owned())
    };
    let command = if arguments.is_empty() {
        executable.map(|path| path.display().to_string()).unwrap_or_default()
    } else {
        command_line(arguments.iter().map(String::as_str))
    };
    let is_secure = read("auxv").is_ok_and(|vector| is_secure(&vector));
    let (temporary, current) = (temporary.map(PathBuf::into_os_string), current.map(PathBuf::into_os_string));
    teller.more(&Facts { pid, start, command, temporary, current, is_secure, is_helped });
    // At last, since it takes on that process's rights.
    journals::look(pid, start, &status, &environment, teller);
}

/// When it was started.
fn living(pid: u32) -> Result<u64, String> {
    let status = match kin::status(pid) {
        Some(status) => status,
        None if Path::new("/proc/self").exists() => {
            let is_hidden = rustix::process::Pid::from_raw(pid as i32)
                .is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(Errno::SRCH));
            return Err(if is_hidden {
                "/proc does not show it (hidepid); run tmpshim doctor as root".to_owned()
            } else {
                "no process has this number".to_owned()
            });
        }
        None => return Err("there is no /proc here; mount one".to_owned()),
    };
    if status.is_zombie {
        return Err("it has ended; its parent has not asked how (zombie)".to_owned());
    }
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // PF_KTHREAD of linux/sched.h, in the seventh field behind the name.
    let flags = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(6)?.parse::<u64>().ok());
    if flags.is_some_and(|flags| flags & 0x0020_0000 != 0) {
        return Err("a thread of the kernel's: it runs no program".to_owned());
    }
    Ok(status.start)
}

fn identity(pid: u32, executable: Option<&Path>, status: &str, teller: &mut Teller) {
    let user = field(status, "Uid:").and_then(|line| line.split_whitespace().nth(1)).unwrap_or("?");
    let program = executable.map_or_else(|| "its program cannot be read".to_owned(), |path| path.display().to_string());
    let value = json!({ "uid": user.parse::<u32>().ok(), "executable": executable.map(|path| path.to_string_lossy()) });
    teller.find(Finding::note(Name::Process, format!("{program}, user {user}")).with(value));
    let own: Vec<_> = ["mnt", "pid", "user"]
        .into_iter()
        .filter(|kind| namespace(&pid.to_string(), kind) != namespace("self", kind))
        .collect();
    if !own.is_empty() {
        let names = own.iter().map(|kind| if *kind == "mnt" { "mount" } else { *kind }).collect::<Vec<_>>();
        teller.find(Finding::note(Name::Namespaces, format!("others than here: {}", names.join(", "))).with(names));
    }
}

fn preloaded(is_preloaded: bool, is_go: bool, environment: &settings::Variables) -> Finding {
    let asked =
        settings::value(environment, "LD_PRELOAD").is_some_and(|value| contains(value, library::NAME.as_bytes()));
    let (verdict, found) = match (is_preloaded, is_go, asked) {
        (true, true, _) => (Verdict::Note, "loaded, and of no use: Go opens files without libc"),
        (true, false, _) => (Verdict::Well, "loaded"),
        (false, _, true) => {
            (Verdict::Beware, "not loaded, although LD_PRELOAD names it: its loader refused or has none")
        }
        (false, ..) => (Verdict::Note, "not loaded"),
    };
    Finding::new(Name::Preloaded, verdict, found).with(is_preloaded)
}

/// Its open files, and its current directory, below where temporary files are made.
fn in_use(pid: u32, temporary: Option<&Path>, current: Option<&Path>) -> Finding {
    let places: Vec<&Path> = temporary.into_iter().chain(["/tmp", "/var/tmp"].map(Path::new)).collect();
    let is_below = |path: &PathBuf| places.iter().any(|place| path != place && path.starts_with(place));
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Finding::new(
            Name::InUse,
            Verdict::CouldNotTell,
            "its descriptors cannot be read; run tmpshim doctor as root",
        );
    };
    let open = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    let mut found: Vec<_> = open.chain(current.map(Path::to_path_buf)).filter(is_below).collect();
    found.sort();
    found.dedup();
    let listed: Vec<_> = found.iter().map(|path| path.to_string_lossy()).collect();
    let text = match &listed[..] {
        [] => "none".to_owned(),
        all if all.len() <= 4 => all.join(", "),
        all => format!("{} and {} more", all[..3].join(", "), all.len() - 3),
    };
    Finding::note(Name::InUse, text).with(json!(listed))
}

/// As the doctor's program part sees it: by the program's own notes.
fn is_go(pid: u32) -> bool {
    let executable = fs::File::open(format!("/proc/{pid}/exe")).ok();
    executable.and_then(super::binary::Binary::read).is_some_and(|binary| binary.is_go)
}

fn has_library(maps: &[u8]) -> bool {
    contains(maps, library::NAME.as_bytes())
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}

/// Whether AT_SECURE (23) is set in what `/proc/PID/auxv` has: pairs of words.
fn is_secure(vector: &[u8]) -> bool {
    const WORD: usize = size_of::<usize>();
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0usize, |word, &byte| word << 8 | usize::from(byte));
    vector.chunks_exact(2 * WORD).any(|pair| word(&pair[..WORD]) == 23 && word(&pair[WORD..]) != 0)
}

/// The rest of the line that begins with `label`.
pub(super) fn field<'a>(status: &'a str, label: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(label)).map(str::trim)
}

fn strings(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    let words = bytes.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    if bytes.is_empty() { Vec::new() } else { words.collect() }
}

fn variables(environment: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let all = environment.split(|&byte| byte == 0);
    all.filter_map(|variable| {
        let at = variable.iter().position(|&byte| byte == b'=')?;
        Some((variable[..at].to_vec(), variable[at + 1..].to_vec()))
    })
    .collect()
}

impl Facts {
    /// The directories that it makes temporary files in: path, and whether somebody has said so.
    pub(super) fn directories(&self) -> Vec<(PathBuf, Source)> {
        let current = self.current.as_ref().map(PathBuf::from);
        // A relative one begins from where the process is.
        let from = current.clone().unwrap_or_default();
        super::usual(self.temporary.as_ref().map(|path| from.join(path)), current)
    }

    /// Its view, if it is still the same process.
    pub(super) fn outlook(&self) -> Result<Outlook, String> {
        Outlook::of(self.pid, self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_not_there_or_no_program_is_told() {
        assert!(living(i32::MAX as u32).unwrap_err().contains("no process"));
        assert!(living(std::process::id()).is_ok());
    }

    #[test]
    fn what_proc_says_is_taken_apart() {
        let all = variables(b"A=1\0B=\0TMPDIR=/x=y\0nothing\0");
        assert_eq!(settings::value(&all, "TMPDIR"), Some(&b"/x=y"[..]));
        assert_eq!(
            (all.len(), strings(b"a\0b c\0"), strings(b"")),
            (3, vec!["a".to_owned(), "b c".to_owned()], vec![])
        );
        assert_eq!(field("Name:\tx\nNoNewPrivs:\t1\n", "NoNewPrivs:"), Some("1"));
        let word = |value: usize| value.to_le_bytes();
        assert!(is_secure(&[word(6), word(4096), word(23), word(1)].concat()));
        assert!(!is_secure(&[word(23), word(0), word(0), word(0)].concat()));
    }
}
