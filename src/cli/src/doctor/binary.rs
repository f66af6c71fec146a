//! What a program file says of itself, beyond what `run` has to know (elf.rs). It is read and never run.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use object::elf::{DT_NEEDED, FileHeader32, FileHeader64, SHT_SYMTAB};
use object::read::StringTable;
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionTable, Sym};
use object::{Endianness, FileKind, ReadCache, ReadRef};

use crate::elf::carries_gos_note;

/// Major and minor, as in GLIBC_2.34.
pub(super) type Version = (u32, u32);

/// An ELF file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Binary {
    pub(super) machine: String,
    pub(super) bits: u32,
    /// Nothing in a static program.
    pub(super) loader: Option<PathBuf>,
    pub(super) needed: Vec<String>,
    /// The highest symbol version of glibc's that it asks for.
    pub(super) glibc: Option<Version>,
    pub(super) is_go: bool,
    /// Of a Go program: linked with C.
    pub(super) has_cgo: bool,
}

impl Binary {
    /// Reads it; nothing where it is no ELF file, or is broken.
    pub(super) fn read(file: File) -> Option<Self> {
        let data = ReadCache::new(file);
        let data = &data;
        match FileKind::parse(data).ok()? {
            FileKind::Elf64 => headers::<FileHeader64<Endianness>, _>(data).ok(),
            FileKind::Elf32 => headers::<FileHeader32<Endianness>, _>(data).ok(),
            _ => None,
        }
    }

    /// Whether it is to be loaded with musl.
    pub(super) fn is_musl(&self) -> bool {
        let loader = self.loader.as_ref().and_then(|loader| loader.file_name());
        loader.is_some_and(|name| name.to_string_lossy().starts_with("ld-musl-"))
    }
}

fn headers<'data, Elf, R>(data: R) -> object::read::Result<Binary>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let header = Elf::parse(data)?;
    let endian = header.endian()?;
    let bits = if header.is_type_64() { 64 } else { 32 };
    let mut binary = Binary { machine: machine(header.e_machine(endian).0), bits, ..Binary::default() };
    for segment in header.program_headers(endian, data)? {
        if let Some(path) = segment.interpreter(endian, data)? {
            binary.loader = Some(PathBuf::from(OsString::from_vec(path.to_vec())));
        }
        binary.is_go |= carries_gos_note::<Elf, R>(segment, endian, data)?;
    }
    // A program without sections still starts; what stands in them is then unknown.
    let sections = header.sections(endian, data)?;
    let _ = imports::<Elf, R>(&sections, endian, data, &mut binary);
    binary.has_cgo = binary.is_go && (!binary.needed.is_empty() || has_symbol(&sections, endian, data, b"x_cgo_init"));
    Ok(binary)
}

fn imports<'data, Elf, R>(
    sections: &SectionTable<'data, Elf, R>,
    endian: Endianness,
    data: R,
    binary: &mut Binary,
) -> object::read::Result<()>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    if let Some((entries, strings)) = sections.dynamic(endian, data)? {
        let strings: StringTable<'data, R> = sections.strings(endian, data, strings)?;
        for entry in entries.iter().filter(|entry| entry.tag(endian) == DT_NEEDED) {
            let name = u32::try_from(entry.val(endian)).ok().and_then(|at| strings.get(at).ok());
            binary.needed.extend(name.map(|name| String::from_utf8_lossy(name).into_owned()));
        }
    }
    if let Some((mut libraries, strings)) = sections.gnu_verneed(endian, data)? {
        let strings = sections.strings(endian, data, strings)?;
        while let Some((_, mut versions)) = libraries.next()? {
            while let Some(version) = versions.next()? {
                let asked = version.name(endian, strings)?.strip_prefix(b"GLIBC_").and_then(parse_version);
                binary.glibc = binary.glibc.max(asked);
            }
        }
    }
    Ok(())
}

/// From `2.34`, or `2.2.5`.
pub(super) fn parse_version(text: &[u8]) -> Option<Version> {
    let mut parts = str::from_utf8(text).ok()?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn has_symbol<'data, Elf, R>(sections: &SectionTable<'data, Elf, R>, endian: Endianness, data: R, name: &[u8]) -> bool
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let Ok(symbols) = sections.symbols(endian, data, SHT_SYMTAB) else { return false };
    symbols.iter().any(|symbol| symbol.name(endian, symbols.strings()).is_ok_and(|symbol| symbol == name))
}

/// `e_machine` by the name that uname(1) has for it.
fn machine(number: u16) -> String {
    match number {
        3 => "i386".to_owned(),
        8 => "mips".to_owned(),
        20 | 21 => "powerpc".to_owned(),
        22 => "s390".to_owned(),
        40 => "arm".to_owned(),
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        243 => "riscv".to_owned(),
        258 => "loongarch".to_owned(),
        other => format!("machine {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::{LEGACY, LIBRARY};

    fn read(bytes: &[u8]) -> Option<Binary> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Binary::read(File::open(file.path()).unwrap())
    }

    #[test]
    fn the_demos_program_and_the_library_say_what_they_need() {
        let legacy = read(LEGACY).unwrap();
        assert!(legacy.loader.is_some() && !legacy.is_go && !legacy.is_musl());
        assert_eq!((legacy.machine.as_str(), legacy.bits), (std::env::consts::ARCH, usize::BITS));
        assert!(legacy.needed.iter().any(|name| name == "libc.so.6"), "{:?}", legacy.needed);
        assert!(read(LIBRARY).unwrap().glibc.is_some_and(|version| version <= (2, 17)));
    }

    #[test]
    fn what_is_broken_is_nothing() {
        for length in [0, 4, 17, 63, 100] {
            assert_eq!(read(&LEGACY[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn versions() {
        assert_eq!(parse_version(b"2.2.5"), Some((2, 2)));
        assert_eq!(parse_version(b"2.34"), Some((2, 34)));
        assert_eq!(parse_version(b"PRIVATE"), None);
    }
}
