//! What kind of program a file is, and so whether a preloaded library can reach it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use object::elf::{DT_SONAME, FileHeader32, FileHeader64, Machine, PT_DYNAMIC};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, FileKind, ReadCache, ReadRef};

/// The machine that this command and the library inside were built for.
#[cfg(target_arch = "x86_64")]
const MACHINE: Machine = object::elf::EM_X86_64;
/// The machine that this command and the library inside were built for.
#[cfg(target_arch = "aarch64")]
const MACHINE: Machine = object::elf::EM_AARCH64;

/// A program, as far as a preloaded library is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not an ELF file: a script, whose interpreter counts, or what only the kernel knows (`binfmt_misc`).
    Other,
    /// A `#!` line that names this interpreter.
    Script(PathBuf),
    /// No loader: nothing can be preloaded.
    Static,
    /// A loader will be asked to preload.
    Dynamic {
        /// The loader that it names, such as /lib64/ld-linux-x86-64.so.2.
        loader: PathBuf,
        /// Carries Go's build note: opens files without libc.
        go: bool,
    },
    /// For a machine or word size for which the library was not built: its loader would complain.
    Foreign,
}

/// Looks at a file.
///
/// # Errors
/// Where it cannot be opened or read.
pub(crate) fn probe(path: &Path) -> io::Result<Kind> {
    let mut file = File::open(path)?;
    // The kernel looks at as much for a `#!` line.
    let mut head = Vec::new();
    file.by_ref().take(256).read_to_end(&mut head)?;
    if let Some(line) = head.strip_prefix(b"#!") {
        return Ok(script(line).map_or(Kind::Other, Kind::Script));
    }
    // A file that the kernel would refuse, or that says nothing clear, is left to the kernel and to the loader.
    Ok(kind(&ReadCache::new(file)).unwrap_or(Kind::Other))
}

/// The interpreter named on a `#!` line.
fn script(line: &[u8]) -> Option<PathBuf> {
    let line = line.split(|&byte| byte == b'\n' || byte == 0).next()?;
    let word = line.split(|byte| matches!(byte, b' ' | b'\t' | b'\r')).find(|word| !word.is_empty())?;
    Some(OsString::from_vec(word.to_vec()).into())
}

/// The same for a file in memory.
pub(crate) fn probe_bytes(bytes: &[u8]) -> Kind {
    kind(bytes).unwrap_or(Kind::Other)
}

fn kind<'data, R: ReadRef<'data>>(data: R) -> object::read::Result<Kind> {
    match FileKind::parse(data)? {
        FileKind::Elf64 => headers::<FileHeader64<Endianness>, R>(data),
        FileKind::Elf32 => headers::<FileHeader32<Endianness>, R>(data),
        _ => Ok(Kind::Other),
    }
}

fn headers<'data, Elf, R>(data: R) -> object::read::Result<Kind>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let header = Elf::parse(data)?;
    let endian = header.endian()?;
    // x86-64's x32 programs have 32-bit headers; so the word size counts besides the machine.
    if header.e_machine(endian) != MACHINE || header.is_type_64() != cfg!(target_pointer_width = "64") {
        return Ok(Kind::Foreign);
    }
    let mut loader = None;
    let mut is_library = false;
    let mut go = false;
    for segment in header.program_headers(endian, data)? {
        if let Some(path) = segment.interpreter(endian, data)? {
            loader = Some(PathBuf::from(OsString::from_vec(path.to_vec())));
        }
        if segment.p_type(endian) == PT_DYNAMIC {
            let entries = segment.dynamic(endian, data)?.unwrap_or_default();
            is_library = entries.iter().any(|entry| entry.tag(endian) == DT_SONAME);
        }
        go |= carries_gos_note::<Elf, R>(segment, endian, data)?;
    }
    Ok(match loader {
        Some(loader) => Kind::Dynamic { loader, go },
        // A loader started by hand (`/lib64/ld-linux-x86-64.so.2 program`) names none, and does preload.
        None if is_library => Kind::Other,
        None => Kind::Static,
    })
}

/// Whether a segment has "Go", type 4: the build id that Go's linker leaves in everything it links.
pub(crate) fn carries_gos_note<'data, Elf, R>(
    segment: &Elf::ProgramHeader,
    endian: Elf::Endian,
    data: R,
) -> object::read::Result<bool>
where
    Elf: FileHeader,
    R: ReadRef<'data>,
{
    if let Some(mut notes) = segment.notes(endian, data)? {
        while let Some(note) = notes.next()? {
            if note.name() == b"Go" && note.n_type(endian).0 == 4 {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn what_the_command_carries() {
        let Kind::Dynamic { loader, go } = probe_bytes(crate::embedded::LEGACY) else { panic!("no loader") };
        assert!(loader.is_absolute() && !go, "{}", loader.display());
        assert_eq!(probe_bytes(crate::embedded::LIBRARY), Kind::Other, "a library is not a static program");
    }

    #[test]
    fn a_static_program_has_no_loader() {
        // This test is linked as the command is.
        assert_eq!(probe(&std::env::current_exe().unwrap()).unwrap(), Kind::Static);
    }

    #[test]
    fn gos_note_is_seen_and_other_notes_are_not() {
        // The legacy program's loader segment turned into a note: the smallest file with one.
        let mut bytes = crate::embedded::LEGACY.to_vec();
        let word = |bytes: &[u8], at: usize| {
            usize::try_from(u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())).unwrap()
        };
        let headers = word(&bytes, 32);
        let count = usize::from(u16::from_le_bytes(bytes[56..58].try_into().unwrap()));
        let note = (0..count).map(|index| headers + index * 56).find(|at| bytes[*at] == 4 && bytes[at + 1] == 0);
        let note = note.expect("the linker writes a build note");
        let at = word(&bytes, note + 8);
        assert!(matches!(probe_bytes(&bytes), Kind::Dynamic { go: false, .. }));
        // namesz 4, descsz as it was, type 4, "Go\0\0".
        bytes[at + 8] = 4;
        bytes[at + 12..at + 16].copy_from_slice(b"Go\0\0");
        assert!(matches!(probe_bytes(&bytes), Kind::Dynamic { go: true, .. }));
    }

    #[test]
    fn another_architecture_is_foreign() {
        let mut bytes = crate::embedded::LEGACY.to_vec();
        bytes[18] = 243;
        assert_eq!(probe_bytes(&bytes), Kind::Foreign);
    }

    #[test]
    fn scripts_name_their_interpreter() {
        let script = |line: &[u8]| probe(file(line).path()).unwrap();
        assert_eq!(script(b"#!/bin/sh\n"), Kind::Script("/bin/sh".into()));
        assert_eq!(script(b"#! \t/usr/bin/env python3\r\n"), Kind::Script("/usr/bin/env".into()));
        assert_eq!(script(b"#!"), Kind::Other);
        assert_eq!(script(b"#!\n/bin/sh"), Kind::Other);
    }

    #[test]
    fn what_is_broken_is_left_to_the_kernel() {
        for length in [0, 4, 17, 63, 64, 100, 400] {
            let bytes = &crate::embedded::LEGACY[..length];
            assert!(matches!(probe(file(bytes).path()).unwrap(), Kind::Other | Kind::Static), "{length} bytes");
        }
        assert!(probe(Path::new("/no/such/file")).is_err());
    }
}
