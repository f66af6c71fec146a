//! What there is once a process: its settings, its name, its record of what it made.

use crate::elf::auxiliary;
use crate::next::look_for;
use crate::{disposition, exit, go, syscall};
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_int};
use core::mem::MaybeUninit;
use core::slice;
use core::sync::atomic::{AtomicBool, Ordering};
use once_cell::race::OnceRef;
use tmpshim_core::event::Event;
use tmpshim_core::settings::{Log, Settings, is_ours};
use tmpshim_core::sys;
use tmpshim_core::text::{last_component, part};
use tmpshim_core::tmpfile::survey::Survey;
use tmpshim_core::tracker::{Cleaned, Inherited, Surroundings, Tracker};

/// What this process has made.
pub(crate) static TRACKER: Tracker =
    Tracker::new(Surroundings { moved_in: disposition::watch, settings, program, report: report_cleaned }, &INHERITED);
static INHERITED: Inherited = Inherited::new();
/// What is known of filesystems.
pub(crate) static SURVEY: Survey = Survey::new();
/// Whether a file ever stood in for an O_TMPFILE one here.
pub(crate) static HAS_STOOD_IN: AtomicBool = AtomicBool::new(false);

/// Whether such a file has a hidden name.
pub(crate) static HAS_KEPT: AtomicBool = AtomicBool::new(false);

/// Whether this process, or one that it was forked from, has put on a seccomp filter.
pub(crate) static IS_SANDBOXED: AtomicBool = AtomicBool::new(false);

/// Where nothing is to be done: before the settings are read, and for ever in a set-uid program.
static INERT: Settings<'static> = Settings { enabled: false, ..Settings::DEFAULT };
static SETTINGS: OnceRef<'static, Settings<'static>> = OnceRef::new();
static READING: AtomicBool = AtomicBool::new(false);
static STORE: Store = Store(UnsafeCell::new(MaybeUninit::uninit()));

/// Settings and the text they point to: programs write over their environment (setproctitle).
struct Store(UnsafeCell<MaybeUninit<Stored>>);

struct Stored {
    settings: Settings<'static>,
    program: [u8; 256],
    text: [u8; TEXT],
}

/// What is read beside the settings: the state directory may lie there.
const RUNTIME: &[u8] = b"XDG_RUNTIME_DIR";

/// Room for the longest value of every setting that is text.
const TEXT: usize = 6 * 4100;

// SAFETY: written by one thread, the one that took `READING`, before `SETTINGS` is set, and only read after that.
unsafe impl Sync for Store {}

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// The settings.
pub(crate) fn settings() -> &'static Settings<'static> {
    match SETTINGS.get() {
        Some(settings) => settings,
        None => read(),
    }
}

/// The program's name: the last component of what was executed, and of a multi-call binary what it was to be.
pub(crate) fn program() -> &'static [u8] {
    if SETTINGS.get().is_none() {
        return b"";
    }
    // SAFETY: written before `SETTINGS` was set, never after.
    let stored = unsafe { (*STORE.0.get()).assume_init_ref() };
    let program = &raw const stored.program;
    // SAFETY: its last byte is never written, and the storage was all zero.
    unsafe { CStr::from_ptr(program.cast()) }.to_bytes()
}

fn report_cleaned(cleaned: &Cleaned<'_>) {
    log(&Event::Cleaned { path: cleaned.path.to_bytes(), outcome: cleaned.outcome });
}

/// Writes a line about what was done, where somebody wants to know.
pub(crate) fn log(event: &Event<'_>) {
    let log = settings().log;
    if log != Log::None {
        event.write(log, sys::getpid(), program());
    }
}

/// The constructor. glibc gives it the program's arguments and environment, as the kernel made them; musl gives nothing,
/// which shows in that the one does not lie behind the other.
pub(crate) extern "C" fn start(count: c_int, list: *const *const c_char, variables: *const *const c_char) {
    // All that every process needs, at once.
    let [on_exit, at_quick_exit, start_main] = exit::NEXT;
    look_for(&[syscall::SYSCALL.entry(), on_exit, at_quick_exit, start_main]);
    syscall::prepare();
    if settings().enabled {
        exit::prepare();
        let given = count > 0 && list.wrapping_add(count as usize + 1) == variables;
        // SAFETY: libc's own list.
        go::start_again(given.then(|| unsafe { slice::from_raw_parts(list, count as usize) }));
    }
}

/// Reads the environment, once; another library's constructor may call a hook before ours has run. Whoever comes in the
/// middle of it finds us inert.
#[cold]
#[inline(never)]
fn read() -> &'static Settings<'static> {
    if READING.swap(true, Ordering::AcqRel) {
        return SETTINGS.get().unwrap_or(&INERT);
    }
    // Never trust the environment of a set-uid process.
    if auxiliary(libc::AT_SECURE) != 0 {
        let _ = SETTINGS.set(&INERT);
        return &INERT;
    }
    // SAFETY: `READING` lets one thread get here, once. `Stored` is made of bytes and of what is written next.
    let stored = unsafe {
        let stored = (*STORE.0.get()).as_mut_ptr();
        // INERT and one flag, which differ from the default in nothing: the library holds only one of the two.
        core::ptr::copy_nonoverlapping(&raw const INERT, &raw mut (*stored).settings, 1);
        (*stored).settings.enabled = Settings::DEFAULT.enabled;
        &mut *stored
    };
    let mut free: &'static mut [u8] = &mut stored.text;
    each_variable(|name, value| {
        let Some((kept, rest)) = core::mem::take(&mut free).split_at_mut_checked(value.len()) else { return };
        free = rest;
        kept.copy_from_slice(value);
        if name == RUNTIME {
            stored.settings.runtime_directory = kept;
        } else if let Err(problem) = stored.settings.set(name, kept) {
            // SAFETY: only written to.
            let _ = rustix::io::write(unsafe { sys::borrow(2) }, problem.describe().as_bytes());
        }
    });
    let name = last_component(executed().to_bytes());
    let name = if is_many_programs(name) { applet() } else { name };
    for (slot, byte) in stored.program.iter_mut().take(255).zip(name) {
        *slot = *byte;
    }
    let settings = &stored.settings;
    let _ = SETTINGS.set(settings);
    settings
}

/// What was executed, as the path that the kernel was given.
pub(crate) fn executed() -> &'static CStr {
    let path = auxiliary(libc::AT_EXECFN) as *const c_char;
    // SAFETY: closed by NUL.
    if path.is_null() { c"" } else { unsafe { CStr::from_ptr(path) } }
}

/// The environment, for system calls.
pub(crate) fn environment() -> *const *const c_char {
    // SAFETY: libc's own variable.
    unsafe { environ }
}

/// Calls `each` with every variable of the environment that claims to be a setting, and with `RUNTIME`.
fn each_variable(mut each: impl FnMut(&'static [u8], &'static [u8])) {
    // SAFETY: `environ` is libc's; it is null or a list that ends with null, of strings closed by NUL.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            // Most begin with other letters: a look at the first, and at the second where there is one.
            if matches!(**entry as u8, b'T' | b'X') && matches!(*(*entry).add(1) as u8, b'M' | b'D') {
                let text = CStr::from_ptr(*entry).to_bytes();
                let name = part(text, b'=', 0);
                if let Some(value) = text.get(name.len() + 1..)
                    && (is_ours(name) || name == RUNTIME)
                {
                    each(name, value);
                }
            }
            entry = entry.add(1);
        }
    }
}

/// The program's arguments, as long as none of its code has run: `environ` is where the kernel put it, behind them and the
/// null that closes them, and they lie behind their number. None where another library has replaced `environ`.
#[inline(never)]
pub(crate) fn arguments() -> &'static [*const c_char] {
    let here = MaybeUninit::<usize>::uninit();
    // SAFETY: what lies between this frame and `environ` is the stack.
    unsafe {
        let end = environ.cast::<usize>();
        let words = end.addr().saturating_sub(here.as_ptr().addr()) / size_of::<usize>();
        let count = (1..words.saturating_sub(1)).find(|&count| *end.sub(2 + count) == count);
        count.map_or(&[], |count| slice::from_raw_parts(end.sub(1 + count).cast(), count))
    }
}

/// What a multi-call binary is to be: the name it was called by, or else its first argument.
fn applet() -> &'static [u8] {
    let mut names = arguments().iter().map(|&argument| {
        // SAFETY: the kernel closes every argument by NUL.
        last_component(unsafe { CStr::from_ptr(argument) }.to_bytes())
    });
    let name = names.next().unwrap_or(b"");
    if is_many_programs(name) { names.next().unwrap_or(name) } else { name }
}

#[inline(never)]
fn is_many_programs(name: &[u8]) -> bool {
    name == b"busybox" || name == b"toybox"
}
