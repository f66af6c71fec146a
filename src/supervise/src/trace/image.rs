//! The parasite as it is mapped: one piece of memory that is read and run, and that nobody ever writes to.

use std::fmt;

use object::LittleEndian;
use object::elf::{self, FileHeader64, Machine, ProgramHeader64, RelocationType};
use object::pod;
use object::read::elf::{FileHeader, ProgramHeader, Rela, SectionHeader};

use super::memory;

type Header = FileHeader64<LittleEndian>;
type Segment = ProgramHeader64<LittleEndian>;

const ENDIAN: LittleEndian = LittleEndian;
const PAGE: u64 = 4096;
/// More would not be one of ours.
const LONGEST: u64 = 1 << 20;

/// How many of its last bytes tell that it is there.
const LAST: usize = 64;

/// Whose code this build runs, and its one kind of relocation that needs no names: where it lies and a number.
#[cfg(target_arch = "x86_64")]
const NATIVE: (Machine, RelocationType) = (elf::EM_X86_64, elf::R_X86_64_RELATIVE);
#[cfg(target_arch = "aarch64")]
const NATIVE: (Machine, RelocationType) = (elf::EM_AARCH64, elf::R_AARCH64_RELATIVE);

/// The loaded bytes of a linked file, wherever it is mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    bytes: Vec<u8>,
    entry: u64,
    /// Where it holds an address of its own, and which.
    addresses: Vec<(usize, u64)>,
}

/// Why a file cannot be mapped as the parasite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unusable(&'static str);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the code for the traced engine is damaged: {}", self.0)
    }
}

impl std::error::Error for Unusable {}

impl Image {
    /// Reads a linked file.
    ///
    /// # Errors
    /// It is not for this machine, or needs what a flat piece of memory without a loader does not give it.
    pub fn parse(file: &[u8]) -> Result<Self, Unusable> {
        // Its tables are looked at where they lie, which needs an alignment that a file in a file does not have.
        let mut words = vec![0u64; file.len().div_ceil(8)];
        let room = pod::bytes_of_slice_mut(&mut words);
        room[..file.len()].copy_from_slice(file);
        let file = &room[..file.len()];
        let header = Header::parse(file).map_err(|_| Unusable("it is no linked file"))?;
        if !header.is_little_endian() || header.e_machine(ENDIAN) != NATIVE.0 {
            return Err(Unusable("it is for another machine"));
        }
        let segments = header.program_headers(ENDIAN, file).map_err(|_| Unusable("its segments cannot be read"))?;
        let mut image =
            Self { bytes: flat(segments, file)?, entry: header.e_entry(ENDIAN), addresses: addresses(header, file)? };
        if !segments.iter().any(|segment| runs(segment, image.entry)) {
            return Err(Unusable("it has no entry"));
        }
        let length = image.bytes.len() as u64;
        if image.addresses.iter().any(|&(offset, _)| offset as u64 + 8 > length) {
            return Err(Unusable("an address of it is to stand outside"));
        }
        image.bytes.resize(length.next_multiple_of(PAGE) as usize, 0);
        Ok(image)
    }

    /// How many bytes it takes: whole pages.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// How far behind its begin a thread starts.
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// What is to stand in memory that begins at `base`, a multiple of a page.
    pub fn at(&self, base: u64) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for &(offset, value) in &self.addresses {
            bytes[offset..offset + 8].copy_from_slice(&base.wrapping_add(value).to_ne_bytes());
        }
        bytes
    }

    /// Whether it stands at `base` in the memory of a thread that has stopped, whole: it is written from its begin on, so
    /// the last bytes tell.
    pub(crate) fn is_in(&self, thread: u32, base: u64) -> bool {
        let bytes = self.at(base);
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let start = end.saturating_sub(LAST);
        memory::read(thread, base + start as u64, end - start).is_some_and(|there| there == bytes[start..end])
    }
}

/// Where a segment lies in memory.
fn range(segment: &Segment) -> Option<(u64, u64)> {
    let start = segment.p_vaddr(ENDIAN);
    Some((start, start.checked_add(segment.p_memsz(ENDIAN))?))
}

fn runs(segment: &Segment, address: u64) -> bool {
    segment.p_type(ENDIAN) == elf::PT_LOAD
        && segment.p_flags(ENDIAN).contains(elf::PF_X)
        && range(segment).is_some_and(|(start, end)| (start..end).contains(&address))
}

fn flat(segments: &[Segment], file: &[u8]) -> Result<Vec<u8>, Unusable> {
    let relocated = segments.iter().filter(|segment| segment.p_type(ENDIAN) == elf::PT_GNU_RELRO);
    let relocated: Vec<_> = relocated.filter_map(range).collect();
    let mut bytes = Vec::new();
    for segment in segments.iter().filter(|segment| segment.p_type(ENDIAN) == elf::PT_LOAD) {
        let (start, end) = range(segment).filter(|&(_, end)| end <= LONGEST).ok_or(Unusable("it is too large"))?;
        // What a loader writes once and then protects is filled in before it is mapped here.
        let is_constant = relocated.iter().any(|&(from, to)| from <= start && end <= to);
        if segment.p_flags(ENDIAN).contains(elf::PF_W) && !is_constant {
            return Err(Unusable("it has variables"));
        }
        let data = segment.data(ENDIAN, file).map_err(|()| Unusable("it is cut"))?;
        if data.len() as u64 > end - start {
            return Err(Unusable("a segment is longer than its place"));
        }
        bytes.resize(bytes.len().max(end as usize), 0);
        bytes[start as usize..][..data.len()].copy_from_slice(data);
    }
    Ok(bytes)
}

fn addresses(header: &Header, file: &[u8]) -> Result<Vec<(usize, u64)>, Unusable> {
    let sections = header.sections(ENDIAN, file).map_err(|_| Unusable("its sections cannot be read"))?;
    let mut found = Vec::new();
    for section in sections.iter() {
        if matches!(section.sh_type(ENDIAN), elf::SHT_REL | elf::SHT_RELR | elf::SHT_CREL) {
            return Err(Unusable("it has relocations of an unknown form"));
        }
        let Some((relocations, _)) = section.rela(ENDIAN, file).map_err(|_| Unusable("its relocations are cut"))?
        else {
            continue;
        };
        for relocation in relocations {
            if relocation.r_type(ENDIAN, false) != NATIVE.1 || relocation.r_sym(ENDIAN, false) != 0 {
                return Err(Unusable("it needs something from elsewhere"));
            }
            let offset = relocation.r_offset(ENDIAN);
            let offset = usize::try_from(offset).ok().filter(|&offset| offset as u64 <= LONGEST);
            found.push((offset.ok_or(Unusable("it is too large"))?, relocation.r_addend(ENDIAN).cast_unsigned()));
        }
    }
    Ok(found)
}
