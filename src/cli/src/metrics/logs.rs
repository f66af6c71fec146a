//! Log files that others write, truncate, rename and remove: read from where the last round ended.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use memchr::memchr;
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::failure::without_numbers;

/// The longest line that can be one of ours: a sweep's path of control characters is 24 KiB in JSON.
const LONGEST: usize = 64 * 1024;

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// How many paths are complained about: pods, and with them their logs, come and go for ever.
const COMPLAINTS: usize = 1000;

/// How many rounds a file is read on that has lost its name: who writes it may not have been told yet.
const PATIENCE: u32 = 2;

/// Takes lines apart; longer ones than [`LONGEST`] are left out.
#[derive(Default)]
pub(super) struct Splitter {
    kept: Vec<u8>,
    skips: bool,
}

impl Splitter {
    pub(super) fn feed(&mut self, mut chunk: &[u8], each: &mut dyn FnMut(&[u8])) {
        while let Some(end) = memchr(b'\n', chunk) {
            let (line, rest) = (&chunk[..end], &chunk[end + 1..]);
            if !self.skips {
                if self.kept.is_empty() {
                    each(line);
                } else if self.kept.len() + line.len() <= LONGEST {
                    self.kept.extend_from_slice(line);
                    each(&self.kept);
                }
            }
            self.kept.clear();
            self.skips = false;
            chunk = rest;
        }
        if !self.skips && self.kept.len() + chunk.len() <= LONGEST {
            self.kept.extend_from_slice(chunk);
        } else {
            self.kept.clear();
            self.skips = true;
        }
    }

    /// The last line, where nothing more can come.
    pub(super) fn end(self, each: &mut dyn FnMut(&[u8])) {
        if !self.kept.is_empty() {
            each(&self.kept);
        }
    }
}

/// A file, kept open so that it is read to its end when it is renamed or removed, and its inode number is not given to
/// another meanwhile.
struct Followed {
    file: File,
    position: u64,
    /// The line at `position` is too long.
    skips: bool,
    missed: u32,
}

/// All files.
pub(super) struct Logs {
    /// Paths and globs.
    wanted: Vec<String>,
    /// By device and inode.
    followed: HashMap<(u64, u64), Followed>,
    /// Paths that were complained about.
    known: HashSet<PathBuf>,
    /// Nothing more will come: a last line without an end is whole.
    is_last: bool,
    /// Whether a file could not be read.
    pub(super) has_failed: bool,
}

impl Logs {
    pub(super) fn new(wanted: Vec<String>, is_last: bool) -> Self {
        Self { wanted, followed: HashMap::new(), known: HashSet::new(), is_last, has_failed: false }
    }

    /// How many are being read.
    pub(super) fn len(&self) -> usize {
        self.followed.len()
    }

    /// Reads what has come since the last time, up to where each file ends at its turn; no further once `stop` says so.
    pub(super) fn round(&mut self, each: &mut dyn FnMut(&[u8]), stop: &mut dyn FnMut() -> bool) {
        for followed in self.followed.values_mut() {
            followed.missed += 1;
        }
        for path in self.paths() {
            let Err(error) = self.find(&path) else { continue };
            self.has_failed = true;
            if self.known.len() < COMPLAINTS && self.known.insert(path.clone()) {
                let why = without_numbers(&error.to_string());
                anstream::eprintln!("tmpshim: warning: cannot read {}: {why}; it is left out", path.display());
            }
        }
        for followed in self.followed.values_mut() {
            // A file that cannot be read at this moment may be at the next.
            let _ = followed.read(self.is_last, each, stop);
        }
        self.followed.retain(|_, followed| followed.missed < PATIENCE);
    }

    fn paths(&self) -> Vec<PathBuf> {
        let of = |wanted: &String| match glob::glob(wanted) {
            Ok(found) if wanted.contains(['*', '?', '[']) => found.flatten().collect(),
            // A path, or with a bracket that is none of a glob's.
            _ => vec![PathBuf::from(wanted)],
        };
        self.wanted.iter().flat_map(of).collect()
    }

    /// Takes a file up, or notes that one that is known is still there.
    fn find(&mut self, path: &Path) -> io::Result<()> {
        let seen = match fs::symlink_metadata(path) {
            Ok(seen) => seen,
            // Between listing and looking it may go, and one that was named may still come.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.is_last => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(followed) = self.followed.get_mut(&identity(&seen)) {
            followed.missed = 0;
            return Ok(());
        }
        plain(&seen)?;
        // Should it have become something else meanwhile: no link is followed, no pipe waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(openat(CWD, path, flags, Mode::empty())?);
        let seen = file.metadata()?;
        plain(&seen)?;
        self.followed
            .entry(identity(&seen))
            .or_insert(Followed { file, position: 0, skips: false, missed: 0 })
            .missed = 0;
        Ok(())
    }
}

impl Followed {
    fn read(&mut self, is_last: bool, each: &mut dyn FnMut(&[u8]), stop: &mut dyn FnMut() -> bool) -> io::Result<()> {
        // No further, or a log that grows as fast as it is read would never let us go.
        let end = self.file.metadata()?.len();
        if end < self.position {
            (self.position, self.skips) = (0, false);
        }
        let mut splitter = Splitter { kept: Vec::new(), skips: self.skips };
        let mut buffer = vec![0; CHUNK.min((end - self.position) as usize)];
        while self.position < end && !stop() {
            let room = buffer.len().min((end - self.position) as usize);
            let length = self.file.read_at(&mut buffer[..room], self.position)?;
            if length == 0 {
                break;
            }
            self.position += length as u64;
            splitter.feed(&buffer[..length], each);
        }
        self.skips = splitter.skips;
        if is_last {
            splitter.end(each);
        } else {
            // The rest of the line is read together with its beginning.
            self.position -= splitter.kept.len() as u64;
        }
        Ok(())
    }
}

fn identity(seen: &Metadata) -> (u64, u64) {
    (seen.dev(), seen.ino())
}

fn plain(seen: &Metadata) -> io::Result<()> {
    if seen.is_file() {
        return Ok(());
    }
    let what = if seen.file_type().is_symlink() { "it is a symbolic link" } else { "it is no plain file" };
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn lines(logs: &mut Logs) -> Vec<String> {
        let mut lines = Vec::new();
        logs.round(&mut |line| lines.push(String::from_utf8_lossy(line).into_owned()), &mut || false);
        lines
    }

    #[test]
    fn lines_come_whole_however_they_arrive_and_never_too_long() {
        let text =
            format!("one\n\ntwo\n{}\nthree\n{}\nfour", "x".repeat(LONGEST + 1), "y".repeat(LONGEST)).into_bytes();
        for size in [1, 7, 4096, text.len()] {
            let mut seen = Vec::new();
            let mut splitter = Splitter::default();
            let mut each = |line: &[u8]| seen.push((line.len(), line.first().copied()));
            for chunk in text.chunks(size) {
                splitter.feed(chunk, &mut each);
                assert!(splitter.kept.len() <= LONGEST);
            }
            splitter.end(&mut each);
            // One chunk that holds a long line whole may hand it on.
            seen.retain(|line| *line != (LONGEST + 1, Some(b'x')));
            let expected = [(3, b'o'), (0, 0), (3, b't'), (5, b't'), (LONGEST, b'y'), (4, b'f')];
            assert_eq!(seen, expected.map(|(length, first)| (length, (length > 0).then_some(first))), "{size}");
        }
    }

    #[test]
    fn files_are_followed_through_growth_truncation_rotation_and_removal() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.log");
        let append = |path: &Path, text: &str| {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        let mut logs = Logs::new(vec![format!("{}/*.log", root.path().display())], false);
        assert!(lines(&mut logs).is_empty());
        append(&path, "1\n2");
        assert_eq!(lines(&mut logs), ["1"]);
        assert!(lines(&mut logs).is_empty());
        append(&path, "2\n3\n");
        assert_eq!(lines(&mut logs), ["22", "3"]);
        // Truncated, and written anew.
        fs::write(&path, "4\n").unwrap();
        assert_eq!(lines(&mut logs), ["4"]);
        // Renamed, with a line that nobody has seen, and written to for a while after that.
        append(&path, "5\n");
        let rotated = root.path().join("a.log.1");
        fs::rename(&path, &rotated).unwrap();
        append(&path, "6\n");
        let mut seen = lines(&mut logs);
        seen.sort();
        assert_eq!(seen, ["5", "6"]);
        append(&rotated, "7\n");
        assert_eq!(lines(&mut logs), ["7"]);
        assert_eq!(logs.len(), 1);
        // Removed.
        append(&path, "8\n");
        fs::remove_file(&path).unwrap();
        assert_eq!(lines(&mut logs), ["8"]);
        assert!(lines(&mut logs).is_empty());
        assert_eq!(logs.len(), 0);
        assert!(!logs.has_failed);
    }

    #[test]
    fn a_line_without_end_takes_no_memory_and_what_follows_it_is_read() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.log");
        let mut logs = Logs::new(vec![path.display().to_string()], false);
        let mut file = File::create(&path).unwrap();
        for _ in 0..3 {
            file.write_all(&vec![b'x'; LONGEST]).unwrap();
            assert!(lines(&mut logs).is_empty());
        }
        file.write_all(b"\nnext\n").unwrap();
        assert_eq!(lines(&mut logs), ["next"]);
    }

    #[test]
    fn links_pipes_and_what_is_not_there_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::write(at("real"), "secret\n").unwrap();
        std::os::unix::fs::symlink(at("real"), at("link")).unwrap();
        let made = rustix::fs::mkfifoat(CWD, at("pipe"), Mode::RUSR | Mode::WUSR);
        made.unwrap();
        let wanted = ["link", "pipe", "absent", "."].map(|name| at(name).display().to_string());
        let mut logs = Logs::new(wanted.to_vec(), true);
        assert!(lines(&mut logs).is_empty());
        assert!(logs.has_failed && logs.len() == 0);
    }
}
