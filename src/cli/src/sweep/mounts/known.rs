//! What all mounts together tell of things that no journal names: which device a file has, what is mounted elsewhere, what
//! overlays are made of.

use std::collections::HashMap;
use std::fs;

use super::{Mount, Mounts, below, parse};

impl Mounts {
    /// The device that a mount shows, in the kernel's numbers and not in those of stat(2), which btrfs and overlayfs make
    /// up.
    pub(crate) fn device(&self, mount: u64) -> Option<u64> {
        number(&self.by_id.get(&mount)?.device)
    }

    /// The same of a mount that is in no table yet, from the one of a process that has something open on it.
    pub(crate) fn device_for(process: u32, mount: u64) -> Option<u64> {
        let table = parse(&fs::read(format!("/proc/{process}/mountinfo")).ok()?);
        number(&table.iter().find(|listed| listed.id == mount)?.device)
    }

    /// Whether to look at `path`, one of those that `/proc/PID/cwd` and its kin have, may mean to wait for a server.
    pub(crate) fn is_remote(&self, path: &[u8]) -> bool {
        self.remote.iter().any(|point| below(path, point).is_some())
    }

    /// The names in a directory that are mounted somewhere else, or hold what is: by a bind mount, for one.
    /// Where it is not known which filesystem it is, all names in them.
    pub(crate) fn sources(&self, parent: &[u8]) -> HashMap<Vec<u8>, String> {
        let describe = |mount: &Mount| {
            let point = String::from_utf8_lossy(&mount.point);
            format!("it, or a part of it, is mounted on {point}")
        };
        let Some((device, place)) = self.place(parent) else {
            let parts = self.by_id.values().flat_map(|mount| {
                let parts = mount.root.split(|&byte| byte == b'/').filter(|part| !part.is_empty());
                parts.map(move |part| (part.to_vec(), describe(mount)))
            });
            return parts.collect();
        };
        let found = self.by_id.values().filter(|mount| mount.device == device).filter_map(|mount| {
            let rest = below(&mount.root, &place)?;
            let name = rest.split(|&byte| byte == b'/').next().filter(|name| !name.is_empty())?;
            Some((name.to_vec(), describe(mount)))
        });
        found.collect()
    }

    /// The directories that overlay filesystems are made of, as whoever mounted them wrote it.
    pub(crate) fn layers(&self) -> impl Iterator<Item = Vec<u8>> {
        let overlays = self.by_id.values().filter(|mount| mount.kind == b"overlay");
        let options = overlays.flat_map(|mount| mount.options.split(|&byte| byte == b','));
        let values = options.filter_map(|option| {
            let end = option.iter().position(|&byte| byte == b'=')?;
            let is_layer =
                matches!(&option[..end], b"lowerdir" | b"lowerdir+" | b"datadir+" | b"upperdir" | b"workdir");
            is_layer.then(|| &option[end + 1..])
        });
        values.flat_map(|value| value.split(|&byte| byte == b':')).filter(|path| !path.is_empty()).map(<[u8]>::to_vec)
    }
}

/// Whether a filesystem of that kind asks its server when a path only leads there, whatever the call says.
pub(super) fn may_ask_a_server(kind: &[u8]) -> bool {
    matches!(kind, b"nfs" | b"nfs4" | b"9p" | b"cifs" | b"smb3" | b"ceph" | b"afs")
}

/// `major:minor` as one number.
fn number(device: &[u8]) -> Option<u64> {
    let (major, minor) = str::from_utf8(device).ok()?.split_once(':')?;
    Some(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const TABLE: &str = "\
22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 254:0 /srv/data/inner /mnt rw - ext4 /dev/vda rw
31 22 0:40 / /merged rw - overlay none rw,lowerdir=/a/lower:/b,upperdir=/tmp/u,workdir=/tmp/w,index=off
32 22 0:41 / /home rw - nfs4 server:/ rw";

    fn mounts() -> Mounts {
        let all = parse(TABLE.as_bytes());
        Mounts {
            own: all.clone(),
            by_id: all.into_iter().map(|mount| (mount.id, mount)).collect(),
            ..Mounts::default()
        }
    }

    #[test]
    fn d6_layers_and_devices_are_read() {
        let mut layers: Vec<_> = mounts().layers().collect();
        layers.sort();
        assert_eq!(layers, [&b"/a/lower"[..], b"/b", b"/tmp/u", b"/tmp/w"]);
        assert_eq!((mounts().device(30), mounts().device(99)), (Some(rustix::fs::makedev(254, 0)), None));
        assert!(may_ask_a_server(b"nfs4") && !may_ask_a_server(b"fuse.bindfs"));
    }

    #[test]
    fn d6_where_the_filesystem_is_not_known_every_name_on_the_way_counts() {
        let sources = mounts().sources(b"/no/such/directory");
        let mut names: Vec<_> = sources.keys().map(Vec::as_slice).collect();
        names.sort_unstable();
        assert_eq!(names, [&b"data"[..], b"inner", b"srv"]);
        assert_eq!(sources[&b"srv"[..]], "it, or a part of it, is mounted on /mnt");
    }
}
