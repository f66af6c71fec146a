//! Go programs (T9): this library is loaded into one that was built with cgo, but Go makes its system calls itself and
//! no hook ever fires. What helps is a supervisor, so the constructor starts the same command line once more under
//! `tmpshim run`. Neither the program's own code nor Go's runtime has run by then, and there is one thread: to the parent
//! it is the same process, with the same environment, directory, descriptors and signals.

use crate::elf::{self, auxiliary};
use crate::process::{arguments, environment, executed, log, settings};
use core::ffi::{CStr, c_char};
use core::ptr::null;
use rustix::fs::Stat;
use rustix::io::Errno;
use tmpshim_core::event::Event;
use tmpshim_core::mapping::Mapping;
use tmpshim_core::settings::Tmpfile;
use tmpshim_core::sys;
use tmpshim_core::text::{PATH_MAX, Text, last_component};
use tmpshim_core::tmpfile::plan::{QUESTION_ANSWER, QUESTION_DIRECTORY, QUESTION_FLAGS};

/// From the constructor, with the program's arguments where libc has given them. Comes back where this is no Go program, or one that has to go on
/// without us.
pub(crate) fn start_again(given: Option<&'static [*const c_char]>) {
    if settings().tmpfile != Tmpfile::Off && elf::is_go() && !is_supervised() {
        let error = if settings().reexec { execute(given) } else { Err(Errno::CANCELED) };
        if let Err(error) = error {
            log(&Event::OutOfReach { path: executed().to_bytes(), error });
        }
    }
}

/// Whether a supervisor of ours is above.
fn is_supervised() -> bool {
    // SAFETY: nothing is opened: the null path is refused.
    unsafe { sys::openat(QUESTION_DIRECTORY, null(), QUESTION_FLAGS, 0) == Err(QUESTION_ANSWER) }
}

/// Executes the command line under the `tmpshim` beside this library. Comes back only where that cannot be.
#[cold]
#[inline(never)]
fn execute(given: Option<&'static [*const c_char]>) -> Result<(), Errno> {
    const PROGRAM: &CStr = c"/proc/self/exe";
    let [name, arguments @ ..] = given.unwrap_or_else(arguments) else { return Err(Errno::INVAL) };

    let library = elf::own_path().ok_or(Errno::NOENT)?;
    let directory = library.to_bytes().strip_suffix(last_component(library.to_bytes()));
    let mut command = Text::<PATH_MAX>::new();
    let command = command.push(directory.unwrap_or(b"")).push(b"tmpshim").as_c_str().ok_or(Errno::NAMETOOLONG)?;
    // As much ours as the library: not what somebody has put beside it in a directory like /tmp.
    let beside = look_at(command)?;
    if beside.st_mode & 0o022 != 0 || beside.st_uid != look_at(library)?.st_uid {
        return Err(Errno::ACCESS);
    }

    let mut program = Text::<PATH_MAX>::new();
    let length = sys::readlinkat(sys::CWD, PROGRAM.as_ptr(), program.spare())?;
    program.set_length(length);
    let program = program.as_c_str().ok_or(Errno::NAMETOOLONG)?;
    // Deleted or replaced meanwhile, in another root; or it is the loader, which was called with the program's name.
    let (seen, running) = (look_at(program)?, look_at(PROGRAM)?);
    if (seen.st_dev, seen.st_ino) != (running.st_dev, running.st_ino) || auxiliary(libc::AT_BASE) == 0 {
        return Err(Errno::STALE);
    }

    // Where there can be no supervisor, the program must run all the same.
    let (command_name, program) = (command.as_ptr(), program.as_ptr());
    let (run, best_effort, arg0, dashes) =
        (c"run".as_ptr(), c"--best-effort".as_ptr(), c"--arg0".as_ptr(), c"--".as_ptr());
    let head = [command_name, run, best_effort, arg0, *name, dashes, program];
    let memory = Mapping::new((head.len() + arguments.len() + 1) * size_of::<*const c_char>())?;
    // SAFETY: there is room for both and the null behind them, which the kernel has written; all strings are closed by
    // NUL and live on, the environment is libc's.
    Err(unsafe {
        let list = memory.start().cast::<*const c_char>().as_ptr();
        list.copy_from_nonoverlapping(head.as_ptr(), head.len());
        list.add(head.len()).copy_from_nonoverlapping(arguments.as_ptr(), arguments.len());
        sys::execve(command, list, environment())
    })
}

#[inline(never)]
fn look_at(path: &CStr) -> Result<Stat, Errno> {
    rustix::fs::stat(path)
}
