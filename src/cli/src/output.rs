//! Where a command's product goes: to standard output, or into a file that is replaced at once.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, IsTerminal, Read, Write, stdout};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::failure::Failure;

/// Text that somebody else has chosen, for a terminal: nothing in it moves the cursor.
pub(crate) fn shown(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

/// Writes to standard output; the exit status.
pub(crate) fn print(bytes: &[u8]) -> Result<u8, Failure> {
    let mut stdout = stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    let remedy = "give it a file or pipe that takes it";
    written.map(|()| 0).map_err(|error| Failure::new(1, "cannot write standard output", error, remedy))
}

/// Writes a file beside its target and renames it: who opens the target meanwhile finds the old one or the new one, whole,
/// and a program that runs keeps its own. The mode is as given, whatever the umask. Two that write at once need a `mark`
/// each; what one that was killed has left goes with the next of the same mark.
pub(crate) fn replace(target: &Path, mark: &str, mode: u32, from: &mut dyn Read) -> io::Result<()> {
    let name = target.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{mark}"));
    let beside = target.with_file_name(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).and_then(|mut file| {
        io::copy(from, &mut file)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        fs::rename(&beside, target)
    });
    written.inspect_err(|_| {
        // What could not be finished must not stay. Where it cannot be removed either, the first error says more.
        let _ = fs::remove_file(&beside);
    })
}

/// A mark of this process's own, as long as it lives.
pub(crate) fn own_mark() -> String {
    format!("{}.new", std::process::id())
}

/// Columns of the terminal; nothing in a file or a pipe, where a line is as long as it has to be.
pub(crate) fn width() -> Option<u16> {
    let terminal = stdout().is_terminal().then(stdout)?;
    rustix::termios::tcgetwinsize(terminal).ok().map(|size| size.ws_col).filter(|&columns| columns > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("file");
        let names = || fs::read_dir(directory.path()).unwrap().count();
        // Left by one that was killed.
        fs::write(directory.path().join(".file.new"), "half").unwrap();
        replace(&target, "new", 0o751, &mut &b"first"[..]).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "first");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o751);
        assert_eq!(names(), 1);

        assert!(replace(&target, "new", 0o644, &mut Broken).is_err());
        assert_eq!((fs::read_to_string(&target).unwrap().as_str(), names()), ("first", 1));
        assert!(replace(Path::new("/"), "new", 0o644, &mut &b""[..]).is_err());
    }
}
