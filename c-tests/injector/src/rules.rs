//! Which calls fail, and how many there were.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::{c_char, c_int, c_ulong};
use parking_lot::Mutex;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Open,
    Openat,
    Linkat,
    Unlinkat,
}

const CALLS: [(&str, Call); 4] =
    [("open", Call::Open), ("openat", Call::Openat), ("linkat", Call::Linkat), ("unlinkat", Call::Unlinkat)];

struct Rule {
    call: Call,
    /// All of these flags must be there.
    flags: c_int,
    errno: c_int,
}

static RULES: LazyLock<Mutex<Vec<Rule>>> =
    LazyLock::new(|| Mutex::new(parse(&std::env::var("FAULT").unwrap_or_default())));
static LOG: LazyLock<Option<CString>> =
    LazyLock::new(|| std::env::var_os("FAULT_CALLS").and_then(|path| CString::new(path.as_bytes()).ok()));
static COUNTS: [AtomicUsize; CALLS.len()] = [const { AtomicUsize::new(0) }; CALLS.len()];

/// What the program gets: the errno of the first rule that fits, else what the next function says.
pub(crate) fn answer(call: Call, flags: c_int, next: impl FnOnce() -> c_int) -> c_int {
    COUNTS[call as usize].fetch_add(1, Ordering::Relaxed);
    log(call);
    let fits = |rule: &&Rule| rule.call == call && flags & rule.flags == rule.flags;
    let errno = RULES.lock().iter().find(fits).map(|rule| rule.errno);
    match errno {
        Some(errno) => {
            // SAFETY: errno's address is always valid in its own thread.
            unsafe { *libc::__errno_location() = errno };
            -1
        }
        None => next(),
    }
}

/// Rules that do not parse are a mistake in a test: better to end it than to let it pass.
fn parse(text: &str) -> Vec<Rule> {
    text.split(',')
        .filter(|rule| !rule.is_empty())
        .map(|rule| parse_one(rule).unwrap_or_else(|| refuse(rule)))
        .collect()
}

fn parse_one(rule: &str) -> Option<Rule> {
    let mut parts = rule.split(':');
    let name = parts.next()?;
    let &(_, call) = CALLS.iter().find(|(known, _)| *known == name)?;
    let flags = match parts.next()? {
        "O_TMPFILE" => libc::O_TMPFILE,
        "O_CREAT" => libc::O_CREAT,
        "any" => 0,
        _ => return None,
    };
    Some(Rule { call, flags, errno: parts.next()?.parse().ok()? })
}

fn refuse(rule: &str) -> ! {
    eprintln!("injector: {rule}: give call:condition:errno");
    std::process::abort()
}

/// Opened anew each time: the program may close every descriptor it does not know. By system calls, since `open` would come
/// back here.
fn log(call: Call) {
    let Some(path) = &*LOG else { return };
    let line = format!("{}\n", CALLS[call as usize].0);
    // SAFETY: the path and the line live until the calls are over, and the lengths are theirs.
    unsafe {
        let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC;
        let file = libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0o644);
        libc::syscall(libc::SYS_write, file, line.as_ptr(), line.len());
        libc::syscall(libc::SYS_close, file);
    }
}

/// Replaces the rules; an empty string removes them all.
///
/// # Safety
/// `rules` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fault_rules(rules: *const c_char) {
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(rules) };
    *RULES.lock() = parse(&String::from_utf8_lossy(text.to_bytes()));
}

/// How many calls of this name came through so far, failed ones included.
///
/// # Safety
/// `name` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fault_calls(name: *const c_char) -> c_ulong {
    // SAFETY: the caller's promise.
    let name = OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes());
    let found = CALLS.iter().find(|(known, _)| OsStr::new(known) == name);
    found.map_or(0, |&(_, call)| COUNTS[call as usize].load(Ordering::Relaxed) as c_ulong)
}
