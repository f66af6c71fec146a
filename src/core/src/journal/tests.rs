use super::header::{HOLDERS, PATH, PROGRAM, SEGMENTS, Segment};
use super::slot::FILE;
use super::*;
use crate::fd::Fd;
use crate::fd::openat;
use crate::identity::Identity;
use crate::kin::{Process, pid_namespace};
use crate::settings::Cleanup;
use crate::sys;
use core::mem::{MaybeUninit, offset_of};
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use rustix::fd::AsFd;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A state directory.
struct Site {
    root: tempfile::TempDir,
    directory: Fd,
}

impl Site {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let directory = open_directory(root.path().to_str().unwrap());
        Self { root, directory }
    }

    fn path(&self) -> &str {
        self.root.path().to_str().unwrap()
    }

    fn make(&self) -> Own {
        Own::make(&self.directory, self.path().as_bytes(), Cleanup::All, b"program").unwrap()
    }

    /// The only file there is.
    fn journal(&self) -> PathBuf {
        let mut all = fs::read_dir(self.root.path()).unwrap();
        let path = all.next().expect("there is a journal").unwrap().path();
        assert!(all.next().is_none(), "there is one journal");
        path
    }

    /// A journal as a process leaves it that is killed once it has done `work`.
    fn killed(&self, work: &str) -> PathBuf {
        drop(Owner::start(self, work));
        self.journal()
    }

    fn take_now(&self) -> Result<Journal, Refusal> {
        Journal::take(self.directory.as_fd(), &name_of(&self.journal()))
    }

    /// Waits for the lock: what other tests start has all descriptors of this process until it runs its program.
    fn take(&self) -> Result<Journal, Refusal> {
        self.take_as(name_of(&self.journal()).to_str().unwrap())
    }

    fn take_as(&self, name: &str) -> Result<Journal, Refusal> {
        let (name, deadline) = (CString::new(name).unwrap(), deadline());
        loop {
            match Journal::take(self.directory.as_fd(), &name) {
                Err(Refusal::Locked) if Instant::now() < deadline => std::thread::yield_now(),
                taken => return taken,
            }
        }
    }

    fn peek(&self) -> Journal {
        Journal::peek(self.directory.as_fd(), &name_of(&self.journal())).unwrap()
    }

    /// What is said to `bytes` as a file.
    fn judge(&self, bytes: &[u8]) -> Result<Journal, Refusal> {
        fs::write(self.root.path().join("judged"), bytes).unwrap();
        self.take_as("judged")
    }

    /// The bytes of a journal without slots, whose owner is dead. No file is left.
    fn sound(&self) -> Vec<u8> {
        let path = self.killed("nothing");
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(path).unwrap();
        assert_eq!(bytes.len(), HEADER);
        bytes
    }
}

fn open_directory(path: &str) -> Fd {
    let path = CString::new(path).unwrap();
    openat(CWD, &path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

fn name_of(path: &std::path::Path) -> CString {
    CString::new(path.file_name().unwrap().to_str().unwrap()).unwrap()
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

/// A process that has made a journal. Not a fork of this one, which would have the locks of all other tests.
struct Owner {
    process: std::process::Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Owner {
    fn start(site: &Site, work: &str) -> Self {
        Self::try_start(site, work).expect("this is allowed everywhere")
    }

    /// Nothing where the kernel does not let it work.
    fn try_start(site: &Site, work: &str) -> Option<Self> {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "journal::tests::owner", "--ignored", "--nocapture"]);
        command.env("TMPSHIM_TEST_WORK", work).env("TMPSHIM_TEST_STATE", site.path());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let mut owner = Self { process, said };
        (owner.hear(&["READY", "FORBIDDEN"]) == "READY").then_some(owner)
    }

    /// Waits until it says one of these words.
    fn hear(&mut self, words: &[&'static str]) -> &'static str {
        loop {
            let mut line = String::new();
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0, "it ended early");
            if let Some(word) = words.iter().find(|word| line.trim_end().ends_with(**word)) {
                return word;
            }
        }
    }

    fn known(&self) -> Process {
        let pid = self.process.id();
        let line = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let start = line.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap();
        Process::new(pid, start)
    }

    /// SIGKILL; it is a zombie then.
    fn kill(&mut self) {
        self.process.kill().unwrap();
        let mut seen = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: a place for the answer; a child of this process that nobody else waits for.
        let answer =
            unsafe { libc::waitid(libc::P_PID, self.process.id(), seen.as_mut_ptr(), libc::WEXITED | libc::WNOWAIT) };
        assert_eq!(answer, 0);
    }

    /// What it forked ends as well: it waits for that.
    fn let_go(&mut self) {
        drop(self.process.stdin.take());
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

type Work = fn(&Own);

/// What a process may do with the journal it has made.
const WORKS: &[(&str, Work)] = &[
    ("nothing", |_| {}),
    ("end", |own| header(own).end(Cleanup::Empty)),
    ("fork", |_| assert!(fork(0, || {}))),
    ("every state", leave_every_state),
    ("segments", leave_segments),
    ("the last bytes", leave_no_room),
];

/// What [`Owner`] runs.
#[test]
#[ignore = "it is a process of its own, which other tests start"]
fn owner() {
    let wanted = std::env::var("TMPSHIM_TEST_WORK").expect("other tests start this");
    let state = std::env::var("TMPSHIM_TEST_STATE").unwrap();
    let directory = open_directory(&state);
    let make = || Own::make(&directory, state.as_bytes(), Cleanup::All, b"program");
    let mut word = "READY";
    match wanted.as_str() {
        "exec" => _ = make().unwrap(),
        "pid namespace" => {
            // A user namespace as well: that needs no privilege, where the kernel lets users have one.
            let user = if rustix::process::geteuid().is_root() { 0 } else { libc::CLONE_NEWUSER };
            if !fork(user | libc::CLONE_NEWPID, || _ = make()) {
                word = "FORBIDDEN";
            }
        }
        wanted => {
            let (_, work) = WORKS.iter().find(|(name, _)| *name == wanted).expect("there is such work");
            work(&make().unwrap());
        }
    }
    println!("{word}");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let not_done = (wanted == "exec").then(|| Command::new("sh").args(["-c", "echo RUNNING; read line"]).exec());
    assert!(not_done.is_none(), "{not_done:?}");
}

/// Forks by a raw system call; the child does `work`, which makes system calls only, and ends with its standard input.
fn fork(namespaces: i32, work: impl FnOnce()) -> bool {
    let (mut told, tell) = std::io::pipe().unwrap();
    // SAFETY: only read from; where it is closed, that ends at once.
    let standard_input = unsafe { sys::borrow(0) };
    // SAFETY: as fork(2): the child has a copy of the memory, and of the stack.
    let pid = unsafe {
        sys::raw(libc::SYS_clone, [(namespaces | libc::SIGCHLD) as usize, 0, 0, 0, 0, 0].map(MaybeUninit::new))
    };
    if pid == 0 {
        work();
        let _ = rustix::io::write(&tell, b".");
        while rustix::io::read(standard_input, &mut [0u8]).is_ok_and(|count| count != 0) {}
        sys::exit_group(0);
    }
    drop(tell);
    pid > 0 && told.read_exact(&mut [0]).is_ok()
}

fn header(own: &Own) -> &Header {
    // SAFETY: mapped as long as this process lives.
    unsafe { own.header.as_ref() }
}

/// Writes a slot as its owner would: everything else first, and then the state.
fn write_slot(start: NonNull<u8>, size: usize, index: usize, state: u32, path: &[u8], entry: Entry) {
    let made = identity(index);
    // SAFETY: a mapping with a slot of this size and number, of a journal that nobody else writes to.
    unsafe {
        let slot = start.add(index * size).cast::<Slot>();
        let at = slot.as_ptr();
        (*at).entry = entry.encode();
        (*at).length = path.len() as u32;
        (*at).path_sum = sum(path);
        (*at).identity = made;
        (*at).identity_sum = sum_identity(&made);
        let text = slot.add(1).cast::<u8>().as_ptr();
        text.copy_from_nonoverlapping(path.as_ptr(), path.len());
        *text.add(path.len()) = 0;
        (*at).state.store(state, Ordering::Release);
    }
}

fn identity(index: usize) -> Identity {
    Identity { device: 1, inode: index as u64, birth: 3, generation: 4, mount: 5 }
}

/// The bytes of a slot.
fn slot(size: usize, state: u32, path: &[u8], entry: Entry) -> Vec<u8> {
    let mut bytes = vec![0u128; size / 16];
    write_slot(NonNull::new(bytes.as_mut_ptr()).unwrap().cast(), size, 0, state, path, entry);
    bytes.iter().flat_map(|part| part.to_ne_bytes()).collect()
}

/// The bytes of a journal with `slots` behind its first page, of which `segments` tells.
fn with(sound: &[u8], segments: &[(u64, u32, u32)], slots: &[u8]) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    for ((offset, count, size), at) in segments.iter().zip(layout::SEGMENTS.step_by(size_of::<Segment>())) {
        bytes[at..][..8].copy_from_slice(&offset.to_ne_bytes());
        bytes[at + 8..][..4].copy_from_slice(&count.to_ne_bytes());
        bytes[at + 12..][..4].copy_from_slice(&size.to_ne_bytes());
    }
    bytes.extend_from_slice(slots);
    bytes
}

fn seal(bytes: &mut [u8]) {
    let sum = sum(&bytes[layout::SUMMED]);
    bytes[layout::CHECKSUM..][..4].copy_from_slice(&sum.to_ne_bytes());
}

/// Paths in the order in which they come, and how many were kept.
fn paths(journal: &Journal, fate: impl Fn(&str) -> Fate) -> (Vec<String>, u32) {
    let mut paths = Vec::new();
    let kept = journal.each(|record| {
        let path = record.path.to_str().unwrap();
        paths.push(path.to_owned());
        fate(path)
    });
    (paths, kept)
}

fn other() -> Process {
    Process::new(1 << 22, 1)
}

#[test]
fn d5_what_a_killed_owner_leaves_is_read_back() {
    let site = Site::new();
    let before = sys::wall_clock().0 as u64;
    let path = site.killed("end");
    let journal = site.take().unwrap();
    let header = journal.header();
    assert_eq!(header.path().to_bytes(), path.to_str().unwrap().as_bytes());
    assert_eq!(header.program(), b"program");
    assert_eq!(header.pid_namespace(), pid_namespace());
    assert_eq!(header.root(), root());
    assert!((before..before + 3600).contains(&(header.created() / 1_000_000_000)));
    assert_eq!((header.has_ended(), header.cleanup()), (true, Cleanup::Empty));
    assert_eq!(journal.length(), HEADER as u64);
    fs::remove_file(path).unwrap();
    Own::make(&site.directory, site.path().as_bytes(), Cleanup::Failed, &[b'p'; 100]).unwrap();
    let journal = site.peek();
    assert_eq!(journal.header().program(), [b'p'; PROGRAM - 1]);
    assert_eq!(journal.header().owner(), Process::current());
    assert_eq!(journal.header().cleanup(), Cleanup::All, "killed, it has failed");
}

#[test]
fn d5_a_path_without_room_is_refused_and_nothing_is_left() {
    let site = Site::new();
    let long = [&b"/"[..], &[b'x'; PATH]].concat();
    let refused = Own::make(&site.directory, &long, Cleanup::All, b"program");
    assert_eq!(refused.unwrap_err(), Errno::NAMETOOLONG);
    assert_eq!(fs::read_dir(site.root.path()).unwrap().count(), 0);
}

#[test]
fn d5_the_lock_lasts_as_long_as_the_owner_and_what_it_forked() {
    let site = Site::new();
    let mut owner = Owner::start(&site, "fork");
    assert_eq!(site.take_now().unwrap_err(), Refusal::Locked);
    owner.kill();
    assert_eq!(site.take_now().unwrap_err(), Refusal::Locked, "the forked one lives");
    owner.let_go();
    let taken = site.take().unwrap();
    assert_eq!(site.take_now().unwrap_err(), Refusal::Locked);
    site.peek();
    drop(taken);
    site.take().unwrap();
}

#[test]
fn d5_a_header_that_does_not_hold_is_refused() {
    let site = Site::new();
    let sound = site.sound();
    let said = |bytes: &[u8]| site.judge(bytes).map(drop);
    assert_eq!(said(&sound), Ok(()));
    assert_eq!(said(&[]), Err(Refusal::Blank));
    assert_eq!(said(&[0; 3]), Err(Refusal::Blank));
    assert_eq!(said(&[0; HEADER]), Err(Refusal::Blank));
    assert_eq!(said(&[0; 2 * HEADER]), Err(Refusal::Blank));
    // Cut wherever: within the magic, the fixed part, the changing part, and the rest of the page.
    for length in [1, 7, 8, 12, 16, 100, layout::ENDED, layout::HOLDERS.end - 1, layout::HOLDERS.end, HEADER - 1] {
        assert_eq!(said(&sound[..length]), Err(Refusal::Damaged), "{length} bytes");
    }
    // Killed before the magic was written, or while it was.
    let mut blank = sound.clone();
    blank[..8].fill(0);
    assert_eq!(said(&blank), Err(Refusal::Blank));
    blank[layout::ENDED] = 1;
    assert_eq!(said(&blank), Err(Refusal::Damaged));
    for index in 0..8 {
        let mut torn = sound.clone();
        torn[index] = 0;
        assert_eq!(said(&torn), Err(Refusal::Damaged), "byte {index}");
    }
    // Another version is not looked into, whatever its checksum is.
    for version in [0, VERSION + 1, u32::MAX] {
        let mut other = sound.clone();
        other[layout::VERSION..][..4].copy_from_slice(&version.to_ne_bytes());
        assert_eq!(said(&other), Err(Refusal::Version(version)));
        other[layout::CHECKSUM] ^= 1;
        assert_eq!(said(&other), Err(Refusal::Version(version)));
    }
    // One bit anywhere in what was written once.
    for index in layout::CHECKSUM..layout::ENDED {
        let mut wrong = sound.clone();
        wrong[index] ^= 0x10;
        assert_eq!(said(&wrong), Err(Refusal::Damaged), "byte {index}");
    }
    for index in [layout::ENDED, layout::SEGMENTS.start, layout::HOLDERS.start, layout::HOLDERS.end - 1] {
        let mut changed = sound.clone();
        changed[index] ^= 0x10;
        assert_eq!(said(&changed), Ok(()), "byte {index}");
    }
}

#[test]
fn d5_a_journal_has_a_largest_size() {
    let site = Site::new();
    let sound = site.sound();
    for (length, expected) in
        [(LARGEST, None), (LARGEST + 1, Some(Refusal::Damaged)), (1 << 40, Some(Refusal::Damaged))]
    {
        fs::write(site.root.path().join("large"), &sound).unwrap();
        File::options().write(true).open(site.root.path().join("large")).unwrap().set_len(length).unwrap();
        assert_eq!(site.take_as("large").err(), expected, "{length}");
    }
}

#[test]
fn d5_text_that_is_not_closed_is_none() {
    let site = Site::new();
    let mut open = site.sound();
    open[layout::PROGRAM].fill(b'x');
    open[layout::PATH].fill(b'/');
    seal(&mut open);
    let journal = site.judge(&open).unwrap();
    assert_eq!(journal.header().program(), b"");
    assert_eq!(journal.header().path(), c"");
    assert!(journal.header().extend(SMALL, 1).is_none());
}

#[test]
fn d5_only_plain_files_of_this_user_are_opened() {
    let site = Site::new();
    let sound = site.sound();
    let path = |name: &str| site.root.path().join(name);
    let refusal = |name: &str| {
        let peeked = Journal::peek(site.directory.as_fd(), &CString::new(name).unwrap()).map(drop);
        assert_eq!(site.take_as(name).map(drop), peeked);
        peeked
    };
    assert_eq!(refusal("absent"), Err(Refusal::Gone));
    fs::write(path("plain"), &sound).unwrap();
    assert_eq!(refusal("plain"), Ok(()));
    symlink("plain", path("link")).unwrap();
    assert_eq!(refusal("link"), Err(Refusal::Foreign));
    symlink("absent", path("dangling")).unwrap();
    assert_eq!(refusal("dangling"), Err(Refusal::Foreign));
    fs::create_dir(path("directory")).unwrap();
    assert_eq!(refusal("directory"), Err(Refusal::Foreign));
    let _listener = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    assert_eq!(refusal("socket"), Err(Refusal::Foreign));
    let fifo = CString::new(path("fifo").to_str().unwrap()).unwrap();
    // SAFETY: a path closed by NUL.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    // Nobody has the other end: this test would never end.
    assert_eq!(refusal("fifo"), Err(Refusal::Foreign));
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(path("plain"), Some(12345), None).unwrap();
        assert_eq!(refusal("plain"), Err(Refusal::Foreign));
    }
}

#[test]
fn d5_segments_that_lie_say_nothing() {
    let site = Site::new();
    let small: Vec<u8> = (0..32).flat_map(|_| slot(SMALL, LIVE, b"/tmp/d", Entry::Directory)).collect();
    let start = HEADER as u64;
    let sound = site.sound();
    let records = |segments: &[(u64, u32, u32)]| {
        let (paths, kept) = paths(&site.judge(&with(&sound, segments, &small)).unwrap(), |_| Fate::Keep);
        (paths.len(), kept)
    };
    assert_eq!(records(&[(start, 32, SMALL as u32)]), (32, 32));
    for damaged in [
        // Past the end, by a slot and by as little as there is.
        (start, 33, SMALL as u32),
        (start + 1, 32, SMALL as u32),
        (start + 32 * SMALL as u64, 1, SMALL as u32),
        (start, 2, LARGE as u32),
        // Numbers that overflow whatever they are multiplied with or added to.
        (start, u32::MAX, SMALL as u32),
        (start, u32::MAX, LARGE as u32),
        (u64::MAX, 1, SMALL as u32),
        (u64::MAX - 255, 1, SMALL as u32),
        (u64::MAX - SMALL as u64 * 32 + 1, 32, SMALL as u32),
        (u64::MAX, u32::MAX, LARGE as u32),
        (1 << 63, 1, SMALL as u32),
        // The first page holds no slots.
        (0, 1, SMALL as u32),
        (start - 1, 1, SMALL as u32),
        // No slot has such a size.
        (start, 1, 1),
        (start, 1, SLOT as u32),
        (start, 1, SMALL as u32 + 1),
        (start, 1, u32::MAX),
        (start, 0, 7),
    ] {
        assert_eq!(records(&[damaged]), (0, 1), "{damaged:?}");
        assert_eq!(records(&[damaged, (start, 32, SMALL as u32), damaged]), (32, 34), "{damaged:?}");
    }
    // Of no slots, or unwritten.
    assert_eq!(records(&[(start, 0, SMALL as u32), (start, 5, 0), (start, 32, SMALL as u32)]), (32, 32));
    // A large slot may begin as a small one does.
    assert_eq!(records(&[(start, 1, LARGE as u32)]), (1, 1));
}

#[test]
fn d5_segments_that_overlap_make_no_journal_longer_than_its_file() {
    let site = Site::new();
    let slots: Vec<u8> = (0..64).flat_map(|_| slot(SMALL, LIVE, b"/tmp/d", Entry::Directory)).collect();
    let sound = site.sound();
    let records = |segments: [(u64, u32, u32); SEGMENTS], fate: Fate| {
        let (paths, kept) = paths(&site.judge(&with(&sound, &segments, &slots)).unwrap(), |_| fate);
        (paths.len(), kept as usize)
    };
    let whole = [(HEADER as u64, 64, SMALL as u32); SEGMENTS];
    assert_eq!(records(whole, Fate::Keep), (64, 64 + SEGMENTS - 1));
    let half = [(HEADER as u64, 32, SMALL as u32); SEGMENTS];
    assert_eq!(records(half, Fate::Keep), (64, 64 + SEGMENTS - 2));
    // What is forgotten in one is not there in the next.
    assert_eq!(records(half, Fate::Forget), (32, SEGMENTS - 2));
}

#[test]
fn d5_a_file_that_is_cut_while_it_is_read_ends_there() {
    let site = Site::new();
    let slots: Vec<u8> =
        (0..96).flat_map(|number| slot(SMALL, LIVE, format!("/{number}").as_bytes(), Entry::Directory)).collect();
    let sound = with(&site.sound(), &[(HEADER as u64, 96, SMALL as u32)], &slots);
    for (slots, expected) in [(96, 96), (95, 0), (0, 0)] {
        let journal = site.judge(&sound).unwrap();
        let length = (HEADER + slots * SMALL) as u64;
        File::options().write(true).open(site.root.path().join("judged")).unwrap().set_len(length).unwrap();
        let (seen, kept) = paths(&journal, |_| Fate::Keep);
        assert_eq!((seen.len(), kept), (expected, expected.max(1) as u32), "{slots} slots are left");
    }
    // In the middle: what was read before stands.
    let journal = site.judge(&sound).unwrap();
    let file = File::options().write(true).open(site.root.path().join("judged")).unwrap();
    let (seen, kept) = paths(&journal, |_| {
        file.set_len(HEADER as u64).unwrap();
        Fate::Keep
    });
    assert_eq!((seen.len(), kept), (32, 33));
}

#[test]
fn d5_a_slot_is_a_record_or_nothing() {
    let file = Entry::File { mode: Some(0o640) };
    let parse = |slot: &[u8]| match Record::parse(slot) {
        Parsed::Nothing => "nothing".to_owned(),
        Parsed::Damaged => "damaged".to_owned(),
        Parsed::Record(record) => {
            format!("{} {:?} {}", record.path.to_str().unwrap(), record.entry, record.made == Some(identity(0)))
        }
    };
    for size in [SMALL, LARGE] {
        for (state, expected) in [
            (FREE, "nothing"),
            (BUSY, "nothing"),
            (INTENT, "/tmp/d Directory false"),
            (INTENT_HELD, "/tmp/d Directory false"),
            (LIVE, "/tmp/d Directory true"),
            (LIVE_HELD, "/tmp/d Directory true"),
            (LIVE_HELD + 1, "damaged"),
            (u32::MAX, "damaged"),
        ] {
            assert_eq!(parse(&slot(size, state, b"/tmp/d", Entry::Directory)), expected, "state {state}");
        }
        let longest = [&b"/"[..], &vec![b'x'; size - SLOT - 2]].concat();
        assert!(parse(&slot(size, LIVE, &longest, file)).ends_with("File { mode: Some(416) } true"));
    }
    let sound = slot(SMALL, LIVE, b"/tmp/d", Entry::File { mode: None });
    assert_eq!(parse(&sound), "/tmp/d File { mode: None } true");
    // Cut anywhere, down to nothing, and from anywhere in memory.
    for length in 0..=SLOT + b"/tmp/d".len() {
        assert_eq!(parse(&sound[..length]), "damaged", "{length} bytes");
    }
    let shifted = [&[0][..], &sound].concat();
    assert_eq!(parse(&shifted[1..]), parse(&sound));
    // Torn: a byte of the path, of its sum, of the identity, of its sum, of the length.
    let field = |field: usize, state: u32| {
        let mut torn = slot(SMALL, state, b"/tmp/d", Entry::Directory);
        torn[field] ^= 1;
        parse(&torn)
    };
    for state in [INTENT, INTENT_HELD, LIVE, LIVE_HELD] {
        for offset in [SLOT, SLOT + 5, SLOT + 6, offset_of!(Slot, path_sum), offset_of!(Slot, length)] {
            assert_eq!(field(offset, state), "damaged", "byte {offset} in state {state}");
        }
        for offset in [offset_of!(Slot, identity_sum), offset_of!(Slot, identity), SLOT - 1] {
            let expected = if matches!(state, INTENT | INTENT_HELD) { "/tmp/d Directory false" } else { "damaged" };
            assert_eq!(field(offset, state), expected, "byte {offset} in state {state}");
        }
        for path in [&b""[..], b"tmp/d", b"./d", b"/a\0b"] {
            assert_eq!(parse(&slot(SMALL, state, path, Entry::Directory)), "damaged", "{path:?}");
        }
        // A path that fills its slot to the last byte, and so is not closed.
        let mut open = slot(SMALL, state, b"/", Entry::Directory);
        open[SLOT..].fill(b'/');
        for length in [SMALL - SLOT - 1, SMALL - SLOT, u32::MAX as usize] {
            open[offset_of!(Slot, length)..][..4].copy_from_slice(&(length as u32).to_ne_bytes());
            let sum = sum(&open[SLOT..][..length.min(SMALL - SLOT)]);
            open[offset_of!(Slot, path_sum)..][..4].copy_from_slice(&sum.to_ne_bytes());
            assert_eq!(parse(&open), "damaged", "{length}");
        }
    }
}

#[test]
fn d5_every_word_is_an_entry() {
    for entry in [Entry::Directory, Entry::File { mode: None }, Entry::File { mode: Some(0) }] {
        assert_eq!(Entry::decode(entry.encode()), entry);
    }
    assert_eq!(Entry::decode(Entry::File { mode: Some(u32::MAX) }.encode()), Entry::File { mode: Some(0o7777) });
    assert_eq!(Entry::decode(u32::MAX), Entry::File { mode: None });
    assert_eq!(Entry::decode(!FILE), Entry::Directory);
}

fn leave_every_state(own: &Own) {
    let start = header(own).extend(SMALL, 16).unwrap();
    let write = |index, state, path| write_slot(start, SMALL, index, state, path, Entry::Directory);
    write(1, FREE, b"/released");
    write(2, BUSY, b"/being-written");
    write(3, INTENT, b"/announced");
    write(4, INTENT_HELD, b"/announced-and-being-cleaned");
    write(5, LIVE, b"/made");
    write(6, LIVE_HELD, b"/made-and-being-cleaned");
    // What a stray pointer does, or a disk.
    write(7, INTENT, b"/torn-path");
    write(8, LIVE, b"/torn-path");
    write(9, LIVE, b"/torn-identity");
    // Half of a new path over an old one, in a slot that was taken: nothing was made yet.
    write(10, BUSY, b"/old");
    // SAFETY: slots of the mapping.
    unsafe {
        for index in [7, 8, 10] {
            *start.add(index * SMALL + SLOT + 3).as_ptr() = b'!';
        }
        *start.add(9 * SMALL + offset_of!(Slot, identity)).as_ptr() ^= 1;
    }
}

#[test]
fn d5_each_state_that_sigkill_may_leave() {
    let site = Site::new();
    site.killed("every state");
    let journal = site.take().unwrap();
    let mut seen = Vec::new();
    let kept = journal.each(|record| {
        seen.push((record.path.to_str().unwrap().to_owned(), record.made));
        Fate::Forget
    });
    let expected = [
        ("/made-and-being-cleaned", Some(identity(6))),
        ("/made", Some(identity(5))),
        ("/announced-and-being-cleaned", None),
        ("/announced", None),
    ];
    assert_eq!(seen, expected.map(|(path, made)| (path.to_owned(), made)));
    assert_eq!(kept, 3, "the torn ones stay");
    assert_eq!(paths(&journal, |_| Fate::Keep), (Vec::new(), 3));
}

/// More than is read at once, of both sizes, by turns.
const SHAPES: [(&str, usize, usize); 4] = [("/a", SMALL, 100), ("/b", LARGE, 5), ("/c", SMALL, 33), ("/d", LARGE, 2)];

fn leave_segments(own: &Own) {
    for (prefix, size, count) in SHAPES {
        let start = header(own).extend(size, count as u32).unwrap();
        for index in 0..count {
            write_slot(start, size, index, LIVE, format!("{prefix}/{index}").as_bytes(), Entry::Directory);
        }
    }
}

#[test]
fn d5_the_newest_comes_first_and_what_is_forgotten_stays_so() {
    let site = Site::new();
    site.killed("segments");
    let all = SHAPES.iter().flat_map(|(prefix, _, count)| (0..*count).map(move |index| format!("{prefix}/{index}")));
    let mut all: Vec<String> = all.collect();
    all.reverse();
    let journal = site.take().unwrap();
    assert_eq!(paths(&journal, |_| Fate::Keep), (all.clone(), 140));
    let before = fs::read(site.journal()).unwrap();
    let is_forgotten = |path: &str| path.ends_with('3');
    let fate = |path: &str| if is_forgotten(path) { Fate::Forget } else { Fate::Keep };
    let rest: Vec<String> = all.iter().filter(|path| !is_forgotten(path)).cloned().collect();
    assert_eq!(paths(&journal, fate), (all, rest.len() as u32));
    drop(journal);
    let journal = site.take().unwrap();
    assert_eq!(paths(&journal, |_| Fate::Keep), (rest.clone(), rest.len() as u32));
    let after = fs::read(site.journal()).unwrap();
    let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert_eq!((before.len(), changed), (after.len(), 140 - rest.len()), "of a slot, only the state");
    assert_eq!(paths(&journal, |_| Fate::Forget), (rest, 0));
    assert_eq!(paths(&journal, |_| Fate::Keep), (Vec::new(), 0));
}

#[test]
fn d5_a_journal_grows_by_what_is_asked_for() {
    let site = Site::new();
    let own = site.make();
    let file = File::open(site.journal()).unwrap();
    let mut length = HEADER as u64;
    for (number, (size, count)) in [(SMALL, 64), (LARGE, 7), (SMALL, 128), (SMALL, 1)].into_iter().enumerate() {
        let start = header(&own).extend(size, count).unwrap();
        let grown = file.metadata().unwrap().len();
        assert_eq!(grown, length + (size * count as usize).next_multiple_of(HEADER) as u64);
        let mut segment = vec![0; (grown - length) as usize];
        file.read_exact_at(&mut segment, length).unwrap();
        assert!(segment.iter().all(|&byte| byte == 0));
        let last = count as usize - 1;
        write_slot(start, size, last, LIVE, format!("/{number}").as_bytes(), Entry::Directory);
        file.read_exact_at(&mut segment, length).unwrap();
        assert_eq!(segment[last * size + SLOT..][..2], *format!("/{number}").as_bytes());
        length = grown;
    }
    assert_eq!(paths(&site.peek(), |_| Fate::Keep), (["/3", "/2", "/1", "/0"].map(str::to_owned).to_vec(), 4));
    // It knows of so many segments, and goes on without the next one.
    for _ in 4..SEGMENTS {
        assert!(header(&own).extend(SMALL, 1).is_some());
    }
    assert!(header(&own).extend(SMALL, 1).is_none());
    assert_eq!(paths(&site.peek(), |_| Fate::Keep).1, 4);
}

#[test]
fn d5_a_journal_that_is_not_there_any_more_does_not_grow() {
    let site = Site::new();
    let own = site.make();
    let path = site.journal();
    let aside = site.root.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    assert!(header(&own).extend(SMALL, 1).is_none());
    fs::write(&path, "somebody else's").unwrap();
    assert!(header(&own).extend(SMALL, 1).is_none());
    fs::remove_file(&path).unwrap();
    symlink(&aside, &path).unwrap();
    assert!(header(&own).extend(SMALL, 1).is_none());
    assert_eq!(fs::metadata(&aside).unwrap().len(), HEADER as u64);
    fs::rename(&aside, &path).unwrap();
    assert!(header(&own).extend(SMALL, 1).is_some());
}

/// As after four million directories: less is left than another segment would take.
fn leave_no_room(own: &Own) {
    header(own).length.store(LARGEST - 3 * HEADER as u64, Ordering::Relaxed);
    assert!(header(own).extend(SMALL, 64).is_none());
    let start = header(own).extend(SMALL, 32).unwrap();
    write_slot(start, SMALL, 31, LIVE, b"/last", Entry::Directory);
}

#[test]
fn d5_a_journal_never_grows_larger_than_what_is_read() {
    let site = Site::new();
    site.killed("the last bytes");
    assert_eq!(paths(&site.take().unwrap(), |_| Fate::Keep), (vec!["/last".to_owned()], 1));
}

#[test]
fn d3_what_a_killed_process_left_is_nobodys() {
    let site = Site::new();
    let mut owner = Owner::start(&site, "nothing");
    let life = || site.peek().life(&other(), pid_namespace());
    assert_eq!(site.peek().header().owner(), owner.known());
    assert_eq!(life(), Life::Alive);
    owner.kill();
    assert_eq!(life(), Life::Dead, "a zombie");
    drop(owner);
    assert_eq!(life(), Life::Dead);
    assert!(site.take().is_ok());
}

#[test]
fn d3_a_number_that_came_back_is_not_the_owner() {
    let site = Site::new();
    let owner = Owner::start(&site, "nothing");
    let mut bytes = fs::read(site.journal()).unwrap();
    let life = |bytes: &mut [u8]| {
        seal(bytes);
        site.judge(bytes).unwrap().life(&other(), pid_namespace())
    };
    assert_eq!(life(&mut bytes), Life::Alive);
    let start = layout::OWNER + offset_of!(Process, start);
    bytes[start] ^= 1;
    assert_eq!(life(&mut bytes), Life::Dead);
    // Where it is not known when the owner was started, whoever has its number is taken for it.
    bytes[start..][..8].fill(0);
    assert_eq!(life(&mut bytes), Life::Alive);
    drop(owner);
    assert_eq!(life(&mut bytes), Life::Dead);
}

#[test]
fn d3_an_owner_that_runs_another_program_lives() {
    let site = Site::new();
    let mut owner = Owner::start(&site, "exec");
    assert_eq!(site.take_now().unwrap_err(), Refusal::Locked);
    writeln!(owner.process.stdin.as_ref().unwrap()).unwrap();
    owner.hear(&["RUNNING"]);
    // Its mapping is gone.
    let journal = site.take().unwrap();
    assert_eq!(journal.life(&other(), pid_namespace()), Life::Alive);
    assert_eq!(journal.life(&owner.known(), pid_namespace()), Life::Former, "it is the one that looks");
    let reused = Process::new(owner.known().pid, owner.known().start + 1);
    assert_eq!(journal.life(&reused, pid_namespace()), Life::Alive);
    owner.kill();
    assert_eq!(journal.life(&other(), pid_namespace()), Life::Dead);
}

#[test]
fn d3_an_owner_that_has_ended_leaves_it_to_its_holders() {
    let site = Site::new();
    let mut owner = Owner::start(&site, "end");
    let mut holder = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let journal = site.peek();
    let life = |own: &Process| journal.life(own, pid_namespace());
    assert_eq!(life(&other()), Life::Dead, "although it lives: it has said so itself");
    assert_eq!(life(&owner.known()), Life::Dead);
    let holding = Process::new(holder.id(), 0);
    // Somebody who ended, somebody who never was under this number, and somebody who is there.
    journal.header().hold(&other());
    assert_eq!(life(&other()), Life::Dead);
    journal.header().hold(&Process::new(holder.id(), 1));
    assert_eq!(life(&other()), Life::Dead);
    journal.header().hold(&owner.known());
    assert_eq!(life(&other()), Life::Alive);
    assert_eq!(life(&owner.known()), Life::Former, "it would take away what it needs itself");
    assert_eq!(journal.life(&other(), pid_namespace() + 1), Life::Unknown, "whose numbers are these?");
    journal.header().hold(&holding);
    assert_eq!(life(&owner.known()), Life::Alive, "there is another one");
    assert_eq!(life(&holding), Life::Alive);
    owner.kill();
    assert_eq!(life(&other()), Life::Alive);
    assert_eq!(life(&holding), Life::Former);
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(life(&other()), Life::Dead);
}

#[test]
fn d3_holders_are_seen_by_the_next() {
    let site = Site::new();
    site.killed("nothing");
    let journal = site.take().unwrap();
    let all: Vec<_> = (1..=HOLDERS as u32).map(|number| Process::new((1 << 22) + number, u64::from(number))).collect();
    journal.header().change(|header| {
        for process in &all {
            header.hold(process);
        }
        header.end(Cleanup::Off);
    });
    assert_eq!(journal.header().holders().count(), 0, "what was read before");
    let again = site.peek();
    assert!(again.header().holders().eq(all.iter().copied()));
    assert_eq!((again.header().has_ended(), again.header().cleanup()), (true, Cleanup::Off));
    // There is no more room, but in the place of one that has ended.
    let own = Process::current();
    again.header().hold(&own);
    assert_eq!(again.header().holders().next(), Some(own));
    assert_eq!(again.header().holders().count(), HOLDERS);
    // One that ends says so itself.
    again.header().let_go(own.pid);
    assert!(again.header().holders().eq(all[1..].iter().copied()));
}

#[test]
fn d3_of_another_pid_namespace_nothing_is_known() {
    let site = Site::new();
    let Some(mut owner) = Owner::try_start(&site, "pid namespace") else {
        eprintln!("no PID namespace may be made here");
        return;
    };
    assert_eq!(site.take_now().unwrap_err(), Refusal::Locked);
    let life = |namespace: u64| site.peek().life(&other(), namespace);
    let inner = site.peek().header().pid_namespace();
    assert!(inner != 0 && inner != pid_namespace());
    assert_eq!(site.peek().header().owner().pid, 1);
    assert_eq!(life(pid_namespace()), Life::Unknown);
    // From where this test looks another process has the number, and another start time.
    assert_eq!(life(inner), Life::Dead);
    owner.let_go();
    let journal = site.take().unwrap();
    assert_eq!(life(pid_namespace()), Life::Unknown);
    // Its own word is taken, wherever it comes from, unless it is about somebody else.
    journal.header().change(|header| header.end(Cleanup::All));
    assert_eq!(life(pid_namespace()), Life::Dead);
    journal.header().change(|header| header.hold(&Process::new(1, 0)));
    assert_eq!(life(pid_namespace()), Life::Unknown);
}
