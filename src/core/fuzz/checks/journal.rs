//! What must hold for any file that lies in a state directory, in the fuzzer and in the tests that replay its corpus.
//!
//! The same is worked out twice: by `tmpshim_core::journal`, from the file, and here, from its bytes in memory and with
//! everything that std has. Nothing is ever removed: no `Cleaner` is called, whatever the paths say.

use crate::quick::quick;
use std::fs::{self, File};
use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;
use tmpshim_core::identity::Identity;
use tmpshim_core::journal::{
    BUSY, Entry, FREE, Fate, HEADER, INTENT, INTENT_HELD, Journal, LARGE, LARGEST, LIVE, LIVE_HELD, Life, MAGIC,
    Parsed, Record, Refusal, SLOT, SMALL, Slot, VERSION, layout, sum,
};
use tmpshim_core::kin::Process;
use tmpshim_core::settings::Cleanup;

/// No file that is looked at is larger.
const ROOM: usize = 96 * 1024;
/// The PID namespace that a built journal says it comes from.
const NAMESPACE: u64 = 0x0123_4567_89ab_cdef;
/// Longer than anything here takes, and shorter than what a size from the file could make it take.
const LIMIT: Duration = Duration::from_secs(10);

static OWN: LazyLock<Process> = LazyLock::new(Process::current);

/// `directory` is empty, and is so again afterwards. The first byte of `input` says what the rest is: a file as it stands,
/// or instructions to build one (1); whether it is to get past the checksum of its first page (2); and, in six bits, which
/// records are forgotten.
pub(crate) fn check(directory: &Path, input: &[u8]) {
    let Some((&how, rest)) = input.split_first() else { return };
    for skipped in [0, 1, rest.len() / 2] {
        compare(Record::parse(rest.get(skipped..).unwrap_or_default()), &parse(&rest[skipped.min(rest.len())..]));
    }
    let mut image = if how & 1 == 0 { raw(rest) } else { build(rest) };
    if how & 2 != 0 {
        seal(&mut image);
    }
    let path = directory.join("journal");
    fs::write(&path, &image).unwrap();
    let opened = File::open(directory).unwrap();
    let is_blank = judge(&image) == Err(Refusal::Blank);
    quick(LIMIT, || check_file(opened.as_fd(), &path, image, how >> 2));
    // Who takes a blank one removes it.
    assert_eq!(fs::remove_file(&path).is_err(), is_blank);
}

fn check_file(directory: BorrowedFd<'_>, path: &Path, mut image: Vec<u8>, mixed: u8) {
    let expected = judge(&image);
    let peeked = Journal::peek(directory, c"journal");
    let taken = Journal::take(directory, c"journal");
    let (Ok(peeked), Ok(taken)) = (&peeked, &taken) else {
        let expected = expected.expect_err("it was refused");
        assert_eq!(peeked.expect_err("what is refused once is refused always"), expected);
        assert_eq!(taken.expect_err("what is refused once is refused always"), expected);
        return;
    };
    expected.expect("it was accepted");
    assert_eq!(Journal::take(directory, c"journal").expect_err("it is taken"), Refusal::Locked);
    for journal in [peeked, taken] {
        check_header(journal, &image);
    }
    each(peeked, &mut image, path, |_| Fate::Keep);
    each(taken, &mut image, path, |number| if mixed >> (number % 6) & 1 == 0 { Fate::Keep } else { Fate::Forget });
    each(taken, &mut image, path, |_| Fate::Keep);
    each(taken, &mut image, path, |_| Fate::Forget);

    let header = taken.header();
    let more = Process::new(1 << 22, 1);
    let has_room = layout::HOLDERS.step_by(16).any(|at| word(&image, at + 12) == FREE_PLACE);
    // What was read, and not the file: where that is, it says itself.
    header.hold(&more);
    assert!(!has_room || header.holders().any(|holder| holder == more));
    header.let_go(more.pid);
    assert!(header.holders().all(|holder| holder.pid != more.pid));
    header.end(Cleanup::Empty);
    assert!(header.has_ended() && header.cleanup() == Cleanup::Empty);
    assert!(fs::read(path).unwrap() == image);
}

/// The last word of a holder.
const FREE_PLACE: u32 = 0;
const TAKEN_PLACE: u32 = 2;

fn check_header(journal: &Journal, image: &[u8]) {
    let header = journal.header();
    assert_eq!(journal.length(), image.len() as u64);
    assert_eq!(header.path().to_bytes(), text(&image[layout::PATH]));
    assert_eq!(header.program(), text(&image[layout::PROGRAM]));
    assert_eq!(header.owner(), process(image, layout::OWNER));
    assert_eq!(header.pid_namespace(), long(image, layout::PID_NAMESPACE));
    assert_eq!(header.root(), (long(image, layout::PID_NAMESPACE + 8), long(image, layout::PID_NAMESPACE + 16)));
    assert_eq!(header.created(), long(image, layout::CREATED));
    let ended = word(image, layout::ENDED);
    assert_eq!(header.has_ended(), ended != 0);
    let cleanup = match if ended == 0 { word(image, layout::CLEANUP) } else { ended } & 0xff {
        0 => Cleanup::All,
        1 => Cleanup::Empty,
        // What a program's exit status decides is nothing that a killed one has.
        2 if ended == 0 => Cleanup::All,
        2 => Cleanup::Failed,
        _ => Cleanup::Off,
    };
    assert_eq!(header.cleanup(), cleanup);
    let taken = layout::HOLDERS.step_by(16).filter(|at| word(image, at + 12) == TAKEN_PLACE);
    let holders = taken.map(|at| Process::new(word(image, at + 8), long(image, at)));
    let holders: Vec<_> = holders.filter(|holder| holder.pid != 0).collect();
    assert!(header.holders().eq(holders.iter().copied()));
    for namespace in [0, NAMESPACE, header.pid_namespace()] {
        let expected = life(image, &holders, namespace);
        let life = journal.life(&OWN, namespace);
        assert!(expected.is_none_or(|expected| expected == life), "{expected:?}, not {life:?}");
    }
}

/// What `Journal::life` is to say; nothing where other processes of this machine decide it.
fn life(image: &[u8], holders: &[Process], namespace: u64) -> Option<Life> {
    let has_ended = word(image, layout::ENDED) != 0;
    if (!has_ended || !holders.is_empty()) && long(image, layout::PID_NAMESPACE) != namespace {
        return Some(Life::Unknown);
    }
    let others = holders.iter().filter(|holder| holder.pid != OWN.pid);
    let others: Vec<_> = others.map(is_alive).collect();
    let is_noted = holders.iter().any(|holder| holder.pid == OWN.pid && is_alive(holder) == Some(true));
    let owner = process(image, layout::OWNER);
    match () {
        () if others.contains(&Some(true)) => Some(Life::Alive),
        () if others.contains(&None) => None,
        () if is_noted => Some(Life::Former),
        () if has_ended => Some(Life::Dead),
        () if owner == *OWN => Some(Life::Former),
        () => is_alive(&owner).map(|is_alive| if is_alive { Life::Alive } else { Life::Dead }),
    }
}

fn is_alive(process: &Process) -> Option<bool> {
    // PID_MAX_LIMIT of the kernel: no process has a higher number.
    const HIGHEST: u32 = 1 << 22;
    match process.pid {
        0 => Some(false),
        pid if pid == OWN.pid => Some(process.start == 0 || process.start == OWN.start),
        pid if pid > HIGHEST && i32::try_from(pid).is_ok() => Some(false),
        _ => None,
    }
}

/// Has `journal` call for each of its records, and compares with what `image` holds, the file after it included.
fn each(journal: &Journal, image: &mut Vec<u8>, path: &Path, fate: impl Fn(usize) -> Fate) {
    let most = (image.len() - HEADER) / SMALL;
    let mut seen: Vec<Held> = Vec::new();
    let kept = journal.each(|record| {
        assert!(record.path.to_bytes().starts_with(b"/"), "no absolute path: {record:?}");
        assert_eq!(Entry::decode(record.entry.encode()), record.entry);
        assert!(seen.len() < most, "more records than there is room for");
        seen.push(Held::new(record));
        fate(seen.len() - 1)
    });
    let (expected, expected_kept) = walk(image, fate);
    for (number, pair) in seen.iter().zip(&expected).enumerate() {
        assert_eq!(pair.0, pair.1, "record {number}");
    }
    assert_eq!((seen.len(), kept), (expected.len(), expected_kept), "records, and how many of them are kept");
    assert!(fs::read(path).unwrap() == *image, "what is not forgotten stays as it is");
}

/// What `Journal::each` is to do, done to the bytes: the records in their order, and how many were kept.
fn walk(image: &mut [u8], fate: impl Fn(usize) -> Fate) -> (Vec<Held>, u32) {
    let (mut seen, mut kept) = (Vec::new(), 0);
    let mut room = image.len() - HEADER;
    for at in layout::SEGMENTS.step_by(16).rev() {
        let (offset, count, size) = (long(image, at), word(image, at + 8) as usize, word(image, at + 12) as usize);
        if size == 0 {
            continue;
        }
        let start = usize::try_from(offset).unwrap();
        let all = count.checked_mul(size).filter(|&all| all <= room);
        let end = all.and_then(|all| start.checked_add(all)).filter(|&end| end <= image.len());
        let (Some(all), Some(end)) = (all, end.filter(|_| start >= HEADER && matches!(size, SMALL | LARGE))) else {
            kept += 1;
            continue;
        };
        room -= all;
        for slot in (start..end).step_by(size).rev() {
            let fate = match parse(&image[slot..slot + size]) {
                Expected::Nothing => continue,
                Expected::Damaged => Fate::Keep,
                Expected::Record(record) => {
                    seen.push(record);
                    fate(seen.len() - 1)
                }
            };
            match fate {
                Fate::Keep => kept += 1,
                Fate::Forget => put(image, slot + offset_of!(Slot, state), &FREE.to_ne_bytes()),
            }
        }
    }
    (seen, kept)
}

/// A record that outlives the slot it was read from.
#[derive(Debug, PartialEq)]
struct Held {
    path: Vec<u8>,
    entry: Entry,
    made: Option<Identity>,
}

impl Held {
    fn new(record: &Record<'_>) -> Self {
        Self { path: record.path.to_bytes().to_vec(), entry: record.entry, made: record.made }
    }
}

/// As `Parsed`.
#[derive(Debug)]
enum Expected {
    Nothing,
    Damaged,
    Record(Held),
}

fn compare(parsed: Parsed<'_>, expected: &Expected) {
    match (parsed, expected) {
        (Parsed::Nothing, Expected::Nothing) | (Parsed::Damaged, Expected::Damaged) => {}
        (Parsed::Record(record), Expected::Record(expected)) => assert_eq!(Held::new(&record), *expected),
        (parsed, expected) => panic!("{parsed:?}, not {expected:?}"),
    }
}

/// What a slot says.
fn parse(slot: &[u8]) -> Expected {
    if slot.len() < SLOT {
        return Expected::Damaged;
    }
    let state = word(slot, offset_of!(Slot, state));
    let is_live = match state {
        FREE | BUSY => return Expected::Nothing,
        INTENT | INTENT_HELD => false,
        LIVE | LIVE_HELD => true,
        _ => return Expected::Damaged,
    };
    let identity = &slot[offset_of!(Slot, identity)..][..size_of::<Identity>()];
    if is_live && sum(identity) != word(slot, offset_of!(Slot, identity_sum)) {
        return Expected::Damaged;
    }
    let length = word(slot, offset_of!(Slot, length)) as usize;
    let (path, rest) = slot[SLOT..].split_at(length.min(slot.len() - SLOT));
    let is_whole = rest.first() == Some(&0) && path.first() == Some(&b'/') && !path.contains(&0);
    if !is_whole || sum(path) != word(slot, offset_of!(Slot, path_sum)) {
        return Expected::Damaged;
    }
    let entry = word(slot, offset_of!(Slot, entry));
    let entry = match (entry >> 16 & 1, entry >> 17 & 1) {
        (0, _) => Entry::Directory,
        (_, 0) => Entry::File { mode: Some(entry & 0o7777) },
        _ => Entry::File { mode: None },
    };
    let made = is_live.then(|| Identity {
        device: long(identity, offset_of!(Identity, device)),
        inode: long(identity, offset_of!(Identity, inode)),
        birth: long(identity, offset_of!(Identity, birth)),
        generation: long(identity, offset_of!(Identity, generation)),
        mount: long(identity, offset_of!(Identity, mount)),
    });
    Expected::Record(Held { path: path.to_vec(), entry, made })
}

/// Whether a file is a journal.
fn judge(image: &[u8]) -> Result<(), Refusal> {
    let page = page(image);
    let is_whole = image.len() >= HEADER && image.len() as u64 <= LARGEST;
    match () {
        () if page[..MAGIC.len()] == [0; 8] && word(&page, layout::ENDED) == 0 => Err(Refusal::Blank),
        () if page[..MAGIC.len()] != MAGIC || image.len() < layout::HOLDERS.end => Err(Refusal::Damaged),
        () if word(&page, layout::VERSION) != VERSION => Err(Refusal::Version(word(&page, layout::VERSION))),
        () if is_whole && word(&page, layout::CHECKSUM) == sum(&page[layout::SUMMED]) => Ok(()),
        () => Err(Refusal::Damaged),
    }
}

/// The first page; where the file ends, zeros.
fn page(image: &[u8]) -> [u8; HEADER] {
    let mut page = [0; HEADER];
    let length = image.len().min(HEADER);
    page[..length].copy_from_slice(&image[..length]);
    page
}

/// Up to its NUL; nothing where it has none.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|&byte| byte == 0).map_or(&[], |end| &bytes[..end])
}

fn process(image: &[u8], at: usize) -> Process {
    let mut process = Process::new(word(image, at + 8), long(image, at));
    // SAFETY: integers only, without padding, and as many bytes as that. One of its fields is private, and compared.
    unsafe {
        let bytes = std::ptr::from_mut(&mut process).cast::<u8>();
        bytes.copy_from_nonoverlapping(image[at..at + size_of::<Process>()].as_ptr(), size_of::<Process>());
    }
    process
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Writes what fits.
fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    for (to, from) in image.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

/// Bytes as they stand, and a number of pages of zeros behind them.
fn raw(input: &[u8]) -> Vec<u8> {
    let Some((&pages, rest)) = input.split_first() else { return Vec::new() };
    let mut image = rest.to_vec();
    image.truncate(ROOM);
    image.resize((image.len() + usize::from(pages) * HEADER).min(ROOM), 0);
    image
}

/// Makes a first page one that is taken for that of a journal.
fn seal(image: &mut [u8]) {
    if image.len() >= layout::HOLDERS.end {
        put(image, 0, &MAGIC);
        put(image, layout::VERSION, &VERSION.to_ne_bytes());
        let sum = sum(&image[layout::SUMMED]);
        put(image, layout::CHECKSUM, &sum.to_ne_bytes());
    }
}

/// Numbers out of the input; zeros where it is used up.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn bytes(&mut self, count: usize) -> &[u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    fn number(&mut self, count: usize) -> u64 {
        self.bytes(count).iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
    }

    fn byte(&mut self) -> u8 {
        self.number(1) as u8
    }

    fn word(&mut self) -> u32 {
        self.number(4) as u32
    }
}

/// A journal with one segment that fills it, and what the instructions make of that.
fn build(input: &[u8]) -> Vec<u8> {
    let mut input = Input(input);
    let pages = usize::from(input.byte() % 16);
    let mut image = vec![0; HEADER + pages * 4096];
    put(&mut image, layout::PID_NAMESPACE, &NAMESPACE.to_ne_bytes());
    put(&mut image, layout::PROGRAM.start, b"program");
    put(&mut image, layout::PATH.start, b"/state/journal");
    segment(&mut image, 0, HEADER as u64, (pages * 4096 / SMALL) as u32, SMALL as u32);
    while !input.0.is_empty() {
        let instruction = input.byte();
        let variant = instruction >> 3;
        match instruction & 7 {
            0 => slot(&mut image, variant, &mut input),
            1 => {
                // A run of slots, each with a path of its own.
                let (first, count) = (usize::from(input.byte()), usize::from(input.byte()));
                for number in first..first + count {
                    let path = format!("/tmp/{number}");
                    let at = HEADER + number * if variant & 8 == 0 { SMALL } else { LARGE };
                    write_slot(&mut image, at, u32::from(variant & 7), 0, path.as_bytes(), [number as u64; 5]);
                }
            }
            2 => {
                let number = usize::from(input.byte());
                let count = input.number(if variant & 1 == 0 { 1 } else { 4 }) as u32;
                let size = match variant >> 1 & 3 {
                    0 => SMALL as u32,
                    1 => LARGE as u32,
                    2 => 0,
                    _ => input.word(),
                };
                // By slots, by bytes, or anywhere.
                let offset = match variant >> 3 {
                    0 => HEADER as u64 + input.number(1) * u64::from(size),
                    1 => input.number(3),
                    2 => input.number(8),
                    _ => u64::MAX - input.number(2),
                };
                segment(&mut image, number, offset, count, size);
            }
            3 => {
                let at = input.number(if variant & 1 == 0 { 2 } else { 3 }) as usize;
                let count = usize::from(input.byte());
                let bytes = input.bytes(count);
                put(&mut image, at, bytes);
            }
            4 => {
                let number = usize::from(input.byte());
                let at = if variant & 4 == 0 { layout::HOLDERS.start + number * 16 } else { layout::OWNER };
                let (own, mut start) = (OWN.pid, input.number(usize::from(variant >> 3) * 2));
                let pid = match variant & 3 {
                    0 => own,
                    1 => 0,
                    2 => 1 << 23,
                    _ => input.word(),
                };
                if pid == own && start == 1 {
                    start = OWN.start;
                }
                put(&mut image, at, &start.to_ne_bytes());
                let place = if at < layout::HOLDERS.start { 0 } else { TAKEN_PLACE };
                put(&mut image, at + 8, &(u64::from(place) << 32 | u64::from(pid)).to_ne_bytes());
            }
            5 => {
                let at = if variant & 1 == 0 { layout::ENDED } else { layout::CLEANUP };
                let code = input.number(if variant & 2 == 0 { 1 } else { 4 }) as u32;
                put(&mut image, at, &(if variant & 4 == 0 { code } else { code | 1 << 8 }).to_ne_bytes());
            }
            6 => {
                let length = input.number(3) as usize % ROOM;
                image.resize(length, 0);
            }
            _ => {
                // Text that may fill its place to the end.
                let place = if variant & 1 == 0 { layout::PROGRAM } else { layout::PATH };
                let (byte, count) = (input.byte(), usize::from(input.byte()) * 8);
                let text = vec![byte; count.min(place.len())];
                put(&mut image, place.start, &text);
            }
        }
    }
    image
}

/// Slot number `input`, whole or with something that does not fit.
fn slot(image: &mut [u8], variant: u8, input: &mut Input<'_>) {
    let at = HEADER + usize::from(input.byte()) * if variant & 1 == 0 { SMALL } else { LARGE };
    let state = u32::from(input.byte() % 8);
    let entry = input.number(3) as u32;
    let wrong = input.byte();
    let count = usize::from(input.byte()) * if variant & 2 == 0 { 1 } else { 17 };
    let mut path = vec![b'/'];
    if wrong & 1 != 0 {
        path.clear();
    }
    path.extend_from_slice(input.bytes(count.min(255)));
    let last = path.last().copied().unwrap_or(b'x');
    path.resize(count.max(path.len()), last);
    let identity = std::array::from_fn(|_| input.number(1));
    write_slot(image, at, state, entry, &path, identity);
    for (bit, field) in [
        (2, offset_of!(Slot, path_sum)),
        (4, offset_of!(Slot, identity_sum)),
        (8, offset_of!(Slot, length)),
        (16, offset_of!(Slot, state)),
        (32, offset_of!(Slot, identity)),
        (64, SLOT + 1),
    ] {
        if wrong & bit != 0 {
            put(image, at + field, &input.word().to_ne_bytes());
        }
    }
}

fn write_slot(image: &mut [u8], at: usize, state: u32, entry: u32, path: &[u8], identity: [u64; 5]) {
    let identity: Vec<u8> = identity.iter().flat_map(|number| number.to_ne_bytes()).collect();
    put(image, at + offset_of!(Slot, state), &state.to_ne_bytes());
    put(image, at + offset_of!(Slot, entry), &entry.to_ne_bytes());
    put(image, at + offset_of!(Slot, length), &(path.len() as u32).to_ne_bytes());
    put(image, at + offset_of!(Slot, path_sum), &sum(path).to_ne_bytes());
    put(image, at + offset_of!(Slot, identity_sum), &sum(&identity).to_ne_bytes());
    put(image, at + offset_of!(Slot, identity), &identity);
    put(image, at + SLOT, path);
    put(image, at + SLOT + path.len(), &[0]);
}

fn segment(image: &mut [u8], number: usize, offset: u64, count: u32, size: u32) {
    let at = layout::SEGMENTS.start + number * 16;
    if at < layout::SEGMENTS.end {
        put(image, at, &offset.to_ne_bytes());
        put(image, at + 8, &count.to_ne_bytes());
        put(image, at + 12, &size.to_ne_bytes());
    }
}
