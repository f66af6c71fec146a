//! Finding the next definition of a symbol, by reading the loader's own tables.
//!
//! `dlsym(RTLD_NEXT)` would do it, but it takes the loader's lock and may allocate, which has hung programs whose
//! allocator opens files (jemalloc #443); before glibc 2.34 it lies in a library that a program may not have; and asking
//! for forty symbols at start costs every process that never needs them. Reading the tables needs no lock and no system
//! call, so it can wait until a symbol is first wanted, in any thread and in a signal handler.
//!
//! What is read is what debuggers rely on: the list of loaded objects behind DT_DEBUG, and of each its dynamic section
//! (System V ABI). glibc and musl lay both out the same way. Only objects that were there at start are read: they are
//! never unloaded.

use core::ffi::{CStr, c_char};
use core::ptr::null;
use core::sync::atomic::{AtomicPtr, Ordering};

/// `struct link_map`, its public part.
#[repr(C)]
struct LinkMap {
    base: usize,
    name: *const c_char,
    dynamic: *const Dynamic,
    next: *const LinkMap,
    previous: *const LinkMap,
}

/// `struct r_debug`, as far as it is needed.
#[repr(C)]
struct Debug {
    version: i32,
    map: *const LinkMap,
}

/// `Elf64_Dyn`.
#[repr(C)]
struct Dynamic {
    tag: i64,
    value: usize,
}

/// `Elf64_Phdr`.
#[repr(C)]
struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    address: usize,
    physical: u64,
    file_size: u64,
    memory_size: u64,
    alignment: u64,
}

/// `Elf64_Sym`.
#[repr(C)]
struct Symbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: usize,
    size: u64,
}

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_NOTE: u32 = 4;
const PT_PHDR: u32 = 6;
const DT_HASH: i64 = 4;
const DT_STRTAB: i64 = 5;
const DT_SYMTAB: i64 = 6;
const DT_DEBUG: i64 = 21;
const DT_GNU_HASH: i64 = 0x6fff_fef5;
const DT_VERSYM: i64 = 0x6fff_fff0;

unsafe extern "C" {
    fn getauxval(kind: libc::c_ulong) -> libc::c_ulong;
    /// Our own dynamic section: a symbol that every linker makes, hidden.
    static _DYNAMIC: [Dynamic; 0];
}

/// The object that is ours, and the last one that was loaded when we looked first.
static OWN: AtomicPtr<LinkMap> = AtomicPtr::new(core::ptr::null_mut());
static LAST: AtomicPtr<LinkMap> = AtomicPtr::new(core::ptr::null_mut());

/// A word of the auxiliary vector, 0 where it is not there. No system call.
pub(crate) fn auxiliary(kind: libc::c_ulong) -> usize {
    // SAFETY: takes any number.
    unsafe { getauxval(kind) as usize }
}

/// A symbol's name, as its two hashes, which are computed when this is compiled: 60 bits are as good as the name, and a
/// third of the room.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    gnu: u32,
    system_v: u32,
}

impl Wanted {
    pub(crate) const fn new(name: &'static CStr) -> Self {
        let (mut hashes, mut rest) = (Self::NOTHING, name.to_bytes());
        while let [letter, behind @ ..] = rest {
            hashes = hashes.and(*letter);
            rest = behind;
        }
        hashes
    }

    /// The hashes of an empty name.
    const NOTHING: Self = Self { gnu: 5381, system_v: 0 };

    /// The hashes of a name that is longer by a letter.
    const fn and(self, letter: u8) -> Self {
        let hash = (self.system_v << 4).wrapping_add(letter as u32);
        let high = hash & 0xf000_0000;
        let gnu = self.gnu.wrapping_mul(33).wrapping_add(letter as u32);
        Self { gnu, system_v: (hash ^ (high >> 24)) & !high }
    }

    /// Whether this is its name.
    ///
    /// # Safety
    /// `name` is closed by NUL.
    unsafe fn is(&self, name: *const c_char) -> bool {
        let (mut hashes, mut letter) = (Self::NOTHING, name);
        // SAFETY: as this function's own contract.
        unsafe {
            while *letter != 0 {
                hashes = hashes.and(*letter as u8);
                letter = letter.add(1);
            }
        }
        hashes.gnu == self.gnu && hashes.system_v == self.system_v
    }
}

/// Shows `look` the tables of each object behind ours, in the loader's order, as long as it asks for more.
pub(crate) fn each_behind(mut look: impl FnMut(&Tables) -> bool) {
    if find_ourselves().is_none() {
        return;
    }
    let last = LAST.load(Ordering::Acquire);
    // SAFETY: `OWN` and what follows up to `LAST` are entries of the loader's list that are never removed.
    unsafe {
        let mut map = OWN.load(Ordering::Acquire).cast_const();
        while map != last {
            map = (*map).next;
            if map.is_null() || !Tables::of(map).is_none_or(|tables| look(&tables)) {
                break;
            }
        }
    }
}

/// Finds our own entry in the loader's list, once.
#[inline(never)]
fn find_ourselves() -> Option<()> {
    if !OWN.load(Ordering::Acquire).is_null() {
        return Some(());
    }
    // SAFETY: the program headers and the dynamic section of the main program, as the kernel and the loader left them;
    // the list behind DT_DEBUG is complete before any constructor runs.
    unsafe {
        let mut map = (*Program::new()?.debug()?).map;
        let mut own = null();
        let mut last = null();
        while !map.is_null() {
            if (*map).dynamic == (&raw const _DYNAMIC).cast() {
                own = map;
            }
            last = map;
            map = (*map).next;
        }
        if own.is_null() {
            return None;
        }
        LAST.store(last.cast_mut(), Ordering::Release);
        OWN.store(own.cast_mut(), Ordering::Release);
    }
    Some(())
}

/// The main program, as the kernel or the loader has mapped it.
struct Program {
    base: usize,
    headers: &'static [ProgramHeader],
}

impl Program {
    fn new() -> Option<Self> {
        let first = auxiliary(libc::AT_PHDR) as *const ProgramHeader;
        if first.is_null() {
            return None;
        }
        // SAFETY: AT_PHNUM headers lie at AT_PHDR, for as long as the process lives.
        let headers = unsafe { core::slice::from_raw_parts(first, auxiliary(libc::AT_PHNUM)) };
        let own = headers.iter().find(|header| header.kind == PT_PHDR)?;
        Some(Self { base: first.addr().wrapping_sub(own.address), headers })
    }

    /// The loader's `r_debug`, to which DT_DEBUG points.
    ///
    /// # Safety
    /// The process was started by a dynamic loader, which it was if this library is in it.
    unsafe fn debug(&self) -> Option<*const Debug> {
        let dynamic = self.headers.iter().find(|header| header.kind == PT_DYNAMIC)?;
        let section = self.base.wrapping_add(dynamic.address) as *const Dynamic;
        // SAFETY: the dynamic section ends with a null tag.
        unsafe { Some(value_of(section, DT_DEBUG)? as *const Debug).filter(|debug| !debug.is_null()) }
    }

    /// The words of its notes, a slice for each segment of them.
    fn notes(&self) -> impl Iterator<Item = &'static [u32]> {
        let is_loaded = |note: &ProgramHeader| {
            self.headers.iter().any(|load| {
                // What lies in front of the segment is far behind it.
                let offset = note.address.wrapping_sub(load.address) as u64;
                load.kind == PT_LOAD && offset < load.file_size && note.file_size <= load.file_size - offset
            })
        };
        let notes =
            self.headers.iter().filter(move |note| note.kind == PT_NOTE && note.address % 4 == 0 && is_loaded(note));
        // SAFETY: these addresses are mapped, and never written to.
        notes.map(|note| unsafe {
            core::slice::from_raw_parts(self.base.wrapping_add(note.address) as *const u32, note.file_size as usize / 4)
        })
    }
}

/// Whether the main program is Go's: it carries the note that Go's linker puts into everything, of type 4 and from "Go".
pub(crate) fn is_go() -> bool {
    const NAME: u32 = u32::from_ne_bytes(*b"Go\0\0");
    let Some(program) = Program::new() else { return false };
    // A note: the length of the name, that of what it says, its type, the name.
    program.notes().any(|words| words.windows(4).any(|words| matches!(words, [4, _, 4, NAME])))
}

/// The path of this library, as the loader knows it.
pub(crate) fn own_path() -> Option<&'static CStr> {
    find_ourselves()?;
    // SAFETY: `OWN` is an entry of the loader's list that is never removed; its name is closed by NUL.
    unsafe { Some(CStr::from_ptr((*OWN.load(Ordering::Acquire)).name)) }
}

/// # Safety
/// `section` is a dynamic section.
unsafe fn value_of(mut section: *const Dynamic, tag: i64) -> Option<usize> {
    // SAFETY: it ends with a null tag.
    unsafe {
        while (*section).tag != 0 {
            if (*section).tag == tag {
                return Some((*section).value);
            }
            section = section.add(1);
        }
    }
    None
}

/// What an object's dynamic section tells.
pub(crate) struct Tables {
    base: usize,
    symbols: *const Symbol,
    strings: *const c_char,
    versions: *const u16,
    gnu_hash: *const u32,
    hash: *const u32,
}

impl Tables {
    /// # Safety
    /// `map` is an entry of the loader's list.
    unsafe fn of(map: *const LinkMap) -> Option<Self> {
        // SAFETY: a dynamic section, which ends with a null tag.
        unsafe {
            let base = (*map).base;
            let mut tables =
                Self { base, symbols: null(), strings: null(), versions: null(), gnu_hash: null(), hash: null() };
            let mut entry = (*map).dynamic;
            if entry.is_null() {
                return None;
            }
            while (*entry).tag != 0 {
                // glibc writes addresses into the section, musl and the kernel's vDSO leave offsets.
                let value = (*entry).value;
                let address = if value < base { value.wrapping_add(base) } else { value };
                match (*entry).tag {
                    DT_SYMTAB => tables.symbols = address as _,
                    DT_STRTAB => tables.strings = address as _,
                    DT_VERSYM => tables.versions = address as _,
                    DT_GNU_HASH => tables.gnu_hash = address as _,
                    DT_HASH => tables.hash = address as _,
                    _ => {}
                }
                entry = entry.add(1);
            }
            (!tables.symbols.is_null() && !tables.strings.is_null()).then_some(tables)
        }
    }

    /// The address of its definition in this object.
    pub(crate) fn look_up(&self, wanted: &Wanted) -> Option<usize> {
        // SAFETY: `of` is the only one to make tables: they are an object's.
        let index = unsafe {
            if !self.gnu_hash.is_null() {
                self.by_gnu_hash(wanted)
            } else if !self.hash.is_null() {
                self.by_hash(wanted)
            } else {
                None
            }
        }?;
        // SAFETY: an index that a hash table of this object gave.
        Some(self.base.wrapping_add(unsafe { (*self.symbols.add(index as usize)).value }))
    }

    /// # Safety
    /// As `look_up`; there is a DT_GNU_HASH.
    unsafe fn by_gnu_hash(&self, wanted: &Wanted) -> Option<u32> {
        // SAFETY: the layout that every linker writes: four words, the Bloom filter, the buckets, the chains.
        unsafe {
            let table = self.gnu_hash;
            let (buckets, first, words, shift) = (*table, *table.add(1), *table.add(2), *table.add(3));
            if buckets == 0 || words == 0 {
                return None;
            }
            // The number of words, of 64 bits each, is a power of two.
            let at = 4 + 2 * ((wanted.gnu / 64) & (words - 1)) as usize;
            let word = u64::from(*table.add(at)) | u64::from(*table.add(at + 1)) << 32;
            let bits = 1u64 << (wanted.gnu % 64) | 1u64 << (wanted.gnu.wrapping_shr(shift) % 64);
            if word & bits != bits {
                return None;
            }
            let bucket = table.add(4 + 2 * words as usize);
            let chain = bucket.add(buckets as usize);
            let mut index = *bucket.add((wanted.gnu % buckets) as usize);
            if index < first {
                return None;
            }
            loop {
                let hash = *chain.add((index - first) as usize);
                if (hash ^ wanted.gnu) >> 1 == 0 && self.defines(index, wanted) {
                    return Some(index);
                }
                if hash & 1 != 0 {
                    return None;
                }
                index += 1;
            }
        }
    }

    /// # Safety
    /// As `look_up`; there is a DT_HASH.
    unsafe fn by_hash(&self, wanted: &Wanted) -> Option<u32> {
        // SAFETY: the System V layout: two counts, the buckets, the chains.
        unsafe {
            let buckets = *self.hash;
            if buckets == 0 {
                return None;
            }
            let chain = self.hash.add(2 + buckets as usize);
            let mut index = *self.hash.add(2 + (wanted.system_v % buckets) as usize);
            while index != 0 {
                if self.defines(index, wanted) {
                    return Some(index);
                }
                index = *chain.add(index as usize);
            }
        }
        None
    }

    /// Whether this symbol is a function of the wanted name, in the version that programs linked today get.
    ///
    /// # Safety
    /// `index` came from a hash table of this object.
    unsafe fn defines(&self, index: u32, wanted: &Wanted) -> bool {
        const FUNCTION: u8 = 2;
        const WEAK: u8 = 2;
        const HIDDEN: u16 = 0x8000;
        // SAFETY: as this function's own contract; names are closed by NUL.
        unsafe {
            let symbol = &*self.symbols.add(index as usize);
            let binding = symbol.info >> 4;
            let old = !self.versions.is_null() && *self.versions.add(index as usize) & HIDDEN != 0;
            symbol.section != 0
                && symbol.value != 0
                && symbol.info & 15 == FUNCTION
                && (1..=WEAK).contains(&binding)
                && !old
                && wanted.is(self.strings.add(symbol.name as usize))
        }
    }
}
