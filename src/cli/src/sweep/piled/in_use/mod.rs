//! What is in use on this machine, by whom: by identity, because other mount namespaces see other paths, and by path,
//! because not every filesystem has the same numbers everywhere (D6).

mod journals;
mod kernel;
mod processes;
mod sockets;

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::sweep::mounts::Mounts;

/// Who uses something, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    Process { pid: u32, how: How },
    Socket,
    Journal,
    Kernel(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    WorkingDirectory,
    Root,
    Program,
    OpenFile,
    MappedFile,
    Named,
}

/// A file as the candidates' side knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File {
    /// What stat(2) says.
    pub(crate) device: u64,
    /// What the mount tables say, where it is known.
    pub(crate) mounted: Option<u64>,
    pub(crate) inode: u64,
}

/// Everything in use that can be seen, at one time.
#[derive(Debug, Default)]
pub(crate) struct InUse {
    /// By inode number, with the device where that is known.
    files: HashMap<u64, Vec<(Option<u64>, User)>>,
    /// Sorted once all are there.
    paths: Vec<(Vec<u8>, User)>,
    /// What environments and command lines name, which says less than to have it open. Sorted, too.
    named: Vec<(Vec<u8>, User)>,
    /// Bound sockets: the last component of the path that was bound, and the one before.
    sockets: HashMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    /// Names in paths of which it is not known where they begin.
    components: HashMap<Vec<u8>, User>,
    pub(crate) unseen: Unseen,
    taken: Option<Instant>,
    cost: Duration,
}

/// What could not be looked at.
#[derive(Debug, Default)]
pub(crate) struct Unseen {
    /// Processes that this one may not look at.
    pub(crate) processes: u64,
    /// Their users.
    pub(crate) users: BTreeSet<u32>,
    /// There are, or may be, processes that are not even listed.
    pub(crate) hidden: bool,
    /// State directories and journals; the first of them and why.
    pub(crate) journals: Option<(u64, String)>,
}

impl InUse {
    /// Looks at everything.
    pub(crate) fn look(mounts: &Mounts) -> Self {
        let begun = Instant::now();
        let mut in_use = Self::default();
        processes::add(&mut in_use, mounts);
        sockets::add(&mut in_use);
        kernel::add(&mut in_use, mounts);
        journals::add(&mut in_use);
        in_use.sort();
        in_use.cost = begun.elapsed();
        in_use.taken = Some(Instant::now());
        in_use
    }

    /// Whether it is time to look again: looking takes a tenth of the time at most.
    pub(crate) fn is_stale(&self) -> bool {
        const SOON: Duration = Duration::from_secs(2);
        self.taken.is_none_or(|taken| taken.elapsed() > SOON.max(self.cost * 10))
    }

    /// Who uses this very file. Where a device is not known, the number alone counts.
    pub(crate) fn file(&self, file: File) -> Option<User> {
        let users = self.files.get(&file.inode)?;
        let is_its =
            |device: Option<u64>| device.is_none_or(|device| device == file.device || Some(device) == file.mounted);
        // A filesystem whose own device is not known may have any.
        users.iter().find(|(device, _)| file.mounted.is_none() || is_its(*device)).map(|(_, user)| *user)
    }

    /// Who uses the directory at `path`, or something below it, by that path.
    pub(crate) fn path(&self, path: &[u8]) -> Option<User> {
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        let by_name = || self.components.get(name).copied();
        at_or_below(&self.paths, path).or_else(by_name).or_else(|| at_or_below(&self.named, path))
    }

    /// Whether a socket in a directory of that name is a bound one.
    pub(crate) fn socket(&self, name: &[u8], parent: &[u8]) -> Option<User> {
        let parents = self.sockets.get(name)?;
        (parents.contains(parent) || parents.contains(&b""[..])).then_some(User::Socket)
    }

    fn sort(&mut self) {
        for paths in [&mut self.paths, &mut self.named] {
            paths.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        }
    }

    fn add_path(&mut self, path: &[u8], user: User) {
        if path.first() == Some(&b'/') {
            self.paths.push((path.to_vec(), user));
        }
    }

    fn add_file(&mut self, device: Option<u64>, inode: u64, user: User) {
        let users = self.files.entry(inode).or_default();
        if !users.iter().any(|(known, _)| *known == device) {
            users.push((device, user));
        }
    }
}

/// The first of `sorted` that is `path`, or below it.
fn at_or_below(sorted: &[(Vec<u8>, User)], path: &[u8]) -> Option<User> {
    let is_before = |(known, _): &(Vec<u8>, User)| known.as_slice() < path;
    let (found, user) = sorted.get(sorted.partition_point(is_before))?;
    if found == path {
        return Some(*user);
    }
    let below = [path, b"/"].concat();
    let is_before = |(known, _): &(Vec<u8>, User)| known.as_slice() < below.as_slice();
    let (found, user) = sorted.get(sorted.partition_point(is_before))?;
    found.starts_with(&below).then_some(*user)
}

impl User {
    /// For people.
    pub(crate) fn describe(self) -> String {
        let (pid, how) = match self {
            Self::Process { pid, how } => (pid, how),
            Self::Socket => return "a socket in it is bound".to_owned(),
            Self::Journal => return "a journal names it; tmpshim sweep without --match sees to that".to_owned(),
            Self::Kernel(how) => return how.to_owned(),
        };
        let how = match how {
            How::WorkingDirectory => "the working directory is at or below it",
            How::Root => "the root directory is at or below it",
            How::Program => "the program is in it",
            How::OpenFile => "it, or something in it, is open",
            How::MappedFile => "a file in it is mapped",
            How::Named => "the environment or command line names it",
        };
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let name = name.trim_end();
        if name.is_empty() { format!("process {pid}: {how}") } else { format!("process {pid} ({name}): {how}") }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn d6_a_path_is_in_use_where_it_or_something_below_it_is() {
        let user = User::Socket;
        let mut in_use = InUse::default();
        for path in ["/tmp/a", "/tmp/a b/c", "/tmp/a-b/c", "/tmp/d/e/f (deleted)", "relative"] {
            in_use.add_path(path.as_bytes(), user);
        }
        in_use.sort();
        for (path, expected) in [
            ("/tmp/a", true),
            ("/tmp/a b", true),
            ("/tmp/a-b", true),
            ("/tmp/a-", false),
            ("/tmp/d", true),
            ("/tmp/d/e/f", false),
            ("/tmp/d/e/g", false),
            ("/tmp/b", false),
            ("/zzz", false),
        ] {
            assert_eq!(in_use.path(path.as_bytes()).is_some(), expected, "{path}");
        }
    }

    #[test]
    fn d6_a_number_counts_alone_where_the_device_is_not_known() {
        let mut in_use = InUse::default();
        in_use.add_file(Some(7), 100, User::Socket);
        in_use.add_file(None, 200, User::Socket);
        let file = |device, mounted, inode| in_use.file(File { device, mounted, inode }).is_some();
        assert!(file(7, Some(9), 100) && file(9, Some(7), 100) && file(9, None, 100));
        assert!(!file(8, Some(9), 100) && !file(7, Some(7), 101));
        assert!(file(8, Some(9), 200));
    }

    #[test]
    fn d6_this_process_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        std::fs::create_dir_all(&path).unwrap();
        let open = std::fs::File::open(&path).unwrap();
        // Without the journals of others, which takes a fork: that child would hold what other tests have locked.
        let mut in_use = InUse::default();
        processes::add(&mut in_use, &Mounts::look());
        in_use.sort();
        let own = User::Process { pid: std::process::id(), how: How::OpenFile };
        assert_eq!(in_use.path(root.path().join("a").as_os_str().as_bytes()), Some(own));
        let seen = rustix::fs::fstat(&open).unwrap();
        assert_eq!(
            in_use.file(File { device: seen.st_dev, mounted: Some(seen.st_dev), inode: seen.st_ino }),
            Some(own)
        );
    }
}
