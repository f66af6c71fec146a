//! What is mounted where, in every mount namespace that can be seen (D6).
//!
//! rmdir(2) of a directory that is a mount point in another mount namespace succeeds, and detaches what is mounted there.
//! So before a directory goes, the mount tables of all processes are looked at. Paths do not tell: another namespace sees
//! the same directory elsewhere. A mount's place is that of its mount point inside of the filesystem that holds it: the
//! device of the mount above, the part of that filesystem which is mounted, and the rest of the way.

mod known;

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{CWD, Mode, OFlags, openat};
use tmpshim_core::identity;

/// Device number, as mount tables write it.
type Device = Vec<u8>;

/// All of them, as they were when the sweep began.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    /// There are processes of which nothing was read.
    is_cut: bool,
    /// Of this process's own namespace.
    own: Vec<Mount>,
    /// By the filesystem that the mount point lies in.
    by_device: HashMap<Device, Vec<Placed>>,
    /// Those of which only the path is known that its namespace gives them.
    unplaced: Vec<Placed>,
    descriptions: Vec<Description>,
    /// Of all namespaces: no two mounts of a machine have the same id.
    by_id: HashMap<u64, Mount>,
    /// Mount points, as seen from our root, of filesystems whose server may be asked when a path only leads there.
    remote: Vec<Vec<u8>>,
}

/// A line of `/proc/PID/mountinfo` (proc(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    id: u64,
    parent: u64,
    device: Device,
    root: Vec<u8>,
    point: Vec<u8>,
    kind: Vec<u8>,
    /// Of the filesystem, not of the mount.
    options: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Placed {
    path: Vec<u8>,
    description: usize,
}

#[derive(Clone, Debug)]
struct Description {
    kind: String,
    point: String,
    /// A process in that namespace; nothing for our own.
    seen_by: Option<(u32, String)>,
}

/// The names in one directory that are mount points, or lead to one.
#[derive(Debug)]
pub(crate) enum Around {
    Names(HashMap<Vec<u8>, usize>),
    /// It is not known where the directory is: any mount may be in it.
    Anywhere,
}

impl Mounts {
    /// Reads the tables of all processes that this one may look at.
    pub(crate) fn look() -> Self {
        let mut mounts = Self::default();
        let own_namespace = namespace("self");
        let mut known = HashSet::new();
        let mut placed = HashSet::new();
        let mut unplaced = Vec::new();
        let listed: Vec<_> = fs::read_dir("/proc").into_iter().flatten().collect();
        mounts.is_cut = listed.iter().any(Result::is_err);
        let processes = listed.iter().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        for process in std::iter::once(None).chain(processes.map(Some)) {
            let name = process.map_or_else(|| "self".to_owned(), |process| process.to_string());
            // By its text: to look at the root itself would ask its filesystem.
            let Ok(root) = fs::read_link(format!("/proc/{name}/root")) else { continue };
            let Some(namespace) = namespace(&name) else { continue };
            if !known.insert((namespace, root.clone())) {
                continue;
            }
            let Ok(table) = fs::read(format!("/proc/{name}/mountinfo")) else { continue };
            let table = parse(&table);
            let seen_by = process.filter(|_| Some(namespace) != own_namespace).map(|process| (process, comm(process)));
            let by_id: HashMap<u64, &Mount> = table.iter().map(|mount| (mount.id, mount)).collect();
            for mount in &table {
                let path = joined(root.as_os_str().as_bytes(), &mount.point);
                mounts.by_id.entry(mount.id).or_insert_with(|| mount.clone());
                if known::may_ask_a_server(&mount.kind) {
                    mounts.remote.push(path.clone());
                }
                let at = by_id.get(&mount.parent).filter(|above| above.id != mount.id);
                let at = at.and_then(|above| Some((above.device.clone(), above.place(&mount.point)?)));
                if path == b"/" || at.is_some() && placed.contains(&(namespace, mount.id)) {
                    continue;
                }
                let description = mounts.descriptions.len();
                mounts.descriptions.push(Description {
                    kind: String::from_utf8_lossy(&mount.kind).into_owned(),
                    point: String::from_utf8_lossy(&path).into_owned(),
                    seen_by: seen_by.clone(),
                });
                if let Some((device, path)) = at {
                    placed.insert((namespace, mount.id));
                    mounts.by_device.entry(device).or_default().push(Placed { path, description });
                } else {
                    unplaced.push(((namespace, mount.id), Placed { path, description }));
                }
            }
            if process.is_none() {
                mounts.own = table;
            }
        }
        // What one process of a namespace cannot place, because of a root of its own, another one may have.
        let rest = unplaced.into_iter().filter(|(mount, _)| !placed.contains(mount));
        mounts.unplaced = rest.map(|(_, mount)| mount).collect();
        mounts
    }

    /// Whether there are processes of which nothing was read, because /proc could not be listed to its end.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether anything is known: not without /proc.
    pub(crate) fn are_known(&self) -> bool {
        !self.own.is_empty()
    }

    /// What the directory with this path has around.
    pub(crate) fn around(&self, parent: &[u8]) -> Around {
        let Some((device, place)) = self.place(parent) else { return Around::Anywhere };
        let below = self.by_device.get(&device).into_iter().flatten().filter_map(|mount| {
            let rest = below(&mount.path, &place)?;
            let name = rest.split(|&byte| byte == b'/').next().filter(|name| !name.is_empty())?;
            Some((name.to_vec(), mount.description))
        });
        Around::Names(below.collect())
    }

    /// The device of a directory, and where it is in that filesystem.
    fn place(&self, directory: &[u8]) -> Option<(Device, Vec<u8>)> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, OsStr::from_bytes(directory), flags, Mode::empty()).ok()?;
        let real = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?.into_os_string().into_vec();
        let id = identity::filesystem(std::os::fd::AsFd::as_fd(&fd))?.mount;
        let by_id = self.own.iter().find(|mount| id != 0 && mount.id == id);
        // Before Linux 5.8: the last one of those that are deepest.
        let by_path = || {
            let holding = self.own.iter().filter(|mount| id == 0 && below(&real, &mount.point).is_some());
            holding.max_by_key(|mount| mount.point.len())
        };
        let mount = by_id.or_else(by_path)?;
        Some((mount.device.clone(), mount.place(&real)?))
    }

    /// What is mounted at or below `name` in a directory, for people.
    pub(crate) fn at_or_below(&self, around: &Around, name: &[u8]) -> Option<String> {
        if self.is_cut {
            return Some("/proc could not be listed whole, and anything may be mounted there".to_owned());
        }
        // Names that programs make up are found nowhere else by chance.
        let passes = |mount: &&Placed| mount.path.split(|&byte| byte == b'/').any(|part| part == name);
        let placed = match around {
            Around::Names(names) => names.get(name).copied(),
            Around::Anywhere => self.by_device.values().flatten().find(passes).map(|mount| mount.description),
        };
        let found = placed.or_else(|| self.unplaced.iter().find(passes).map(|mount| mount.description))?;
        let Description { kind, point, seen_by } = self.descriptions.get(found)?;
        Some(match seen_by {
            None => format!("{kind} is mounted on {point}"),
            Some((process, program)) => {
                format!("{kind} is mounted on {point} in the mount namespace of process {process} ({program})")
            }
        })
    }
}

impl Mount {
    /// Where `path`, as this mount's namespace gives it, is in the filesystem that is mounted.
    fn place(&self, path: &[u8]) -> Option<Vec<u8>> {
        Some(joined(&self.root, below(path, &self.point)?))
    }
}

/// The rest of `path` below `directory`, empty for itself.
fn below<'a>(path: &'a [u8], directory: &[u8]) -> Option<&'a [u8]> {
    if directory == b"/" {
        return path.strip_prefix(b"/");
    }
    let rest = path.strip_prefix(directory)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"/") }
}

fn joined(directory: &[u8], rest: &[u8]) -> Vec<u8> {
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    let joined = if rest.is_empty() { directory.to_vec() } else { [directory, b"/", rest].concat() };
    if joined.is_empty() { b"/".to_vec() } else { joined }
}

fn namespace(process: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{process}/ns/mnt")).map(|namespace| namespace.ino()).ok()
}

fn comm(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/comm"))
        .map_or_else(|_| "?".to_owned(), |name| name.trim_end().to_owned())
}

fn parse(table: &[u8]) -> Vec<Mount> {
    table.split(|&byte| byte == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let number = |field: &[u8]| str::from_utf8(field).ok()?.parse().ok();
    let (id, parent) = (number(fields.next()?)?, number(fields.next()?)?);
    let (device, root, point) = (fields.next()?.to_vec(), plain(fields.next()?), plain(fields.next()?));
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let kind = fields.next()?.to_vec();
    let options = fields.nth(1).map(plain).unwrap_or_default();
    Some(Mount { id, parent, device, root, point, kind, options })
}

/// Space, tab, newline and backslash are written as a backslash and three octal digits.
pub(crate) fn plain(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| byte == b'\\');
        let digits = digits.filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        let (byte, after) = digits.map_or((byte, after), |digits| {
            let value = digits.iter().fold(0u32, |value, digit| value * 8 + u32::from(digit - b'0'));
            (value as u8, &after[3..])
        });
        plain.push(byte);
        rest = after;
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /proc rw - proc proc rw
30 22 254:0 /srv/data /mnt/a\\040b rw shared:7 master:3 - ext4 /dev/vda rw
31 30 0:40 / /mnt/a\\040b/x/y rw - tmpfs none rw";

    #[test]
    fn d6_a_table_is_read() {
        let table = parse(TABLE.as_bytes());
        assert_eq!(table.len(), 4);
        let expected = Mount {
            id: 30,
            parent: 22,
            device: b"254:0".to_vec(),
            root: b"/srv/data".to_vec(),
            point: b"/mnt/a b".to_vec(),
            kind: b"ext4".to_vec(),
            options: b"rw".to_vec(),
        };
        assert_eq!(table[2], expected);
        assert!(parse(b"1 2\nx y z\n\n1 2 3:4 / / rw").is_empty());
        assert_eq!(plain(b"a\\134\\0409\\04"), b"a\\ 9\\04");
    }

    #[test]
    fn d6_a_mount_point_is_known_by_its_place_in_the_filesystem() {
        let table = parse(TABLE.as_bytes());
        // Seen at /mnt/a b/x/y in that namespace, it is /srv/data/x/y of the filesystem.
        assert_eq!(table[2].place(&table[3].point), Some(b"/srv/data/x/y".to_vec()));
        assert_eq!(table[0].place(b"/srv"), Some(b"/srv".to_vec()));
        assert_eq!(table[2].place(b"/mnt/a bc"), None);
        assert_eq!(joined(b"/", b"/"), b"/");
    }

    #[test]
    fn d6_what_is_mounted_here_is_seen_and_its_neighbours_are_not() {
        let mounts = Mounts::look();
        assert!(mounts.are_known());
        let root = mounts.around(b"/");
        let proc = mounts.at_or_below(&root, b"proc").unwrap();
        assert!(proc.contains("mounted on /proc"), "{proc}");
        assert_eq!(mounts.at_or_below(&root, b"no-such-name"), None);
        assert_eq!(mounts.at_or_below(&Around::Anywhere, b"no-such-name"), None);
        assert!(mounts.at_or_below(&Around::Anywhere, b"proc").is_some());
        let cut = Mounts { is_cut: true, ..mounts };
        assert!(cut.at_or_below(&Around::Names(HashMap::new()), b"no-such-name").is_some());
    }
}
