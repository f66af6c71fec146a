//! Bound unix sockets: their names stay in use although no process has the directory, or the name, open.
//!
//! The tables tell the path as it was given to bind(2), in whatever mount namespace and from whatever working directory.
//! So a socket that is found is compared by the last two components of that path.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use super::{InUse, User};

/// Adds those of every network namespace that a visible process is in.
pub(super) fn add(in_use: &mut InUse) {
    let mut known: HashSet<PathBuf> = HashSet::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let own = std::iter::once("self".to_owned());
    for process in own.chain(processes.map(|process| process.to_string())) {
        let Ok(namespace) = fs::read_link(format!("/proc/{process}/ns/net")) else { continue };
        if !known.insert(namespace) {
            continue;
        }
        let table = fs::read(format!("/proc/{process}/net/unix")).unwrap_or_default();
        for path in table.split(|&byte| byte == b'\n').filter_map(bound) {
            add_path(in_use, path);
        }
    }
}

fn add_path(in_use: &mut InUse, path: &[u8]) {
    let mut parts = path.rsplit(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let Some(name) = parts.next() else { return };
    let parent = parts.next().unwrap_or_default();
    in_use.sockets.entry(name.to_vec()).or_default().insert(parent.to_vec());
    in_use.add_path(path, User::Socket);
}

/// The path in a line of `/proc/net/unix`: behind seven fields, and not of the abstract kind.
fn bound(line: &[u8]) -> Option<&[u8]> {
    let mut rest = line;
    for _ in 0..7 {
        rest = rest.trim_ascii_start();
        rest = rest.get(rest.iter().position(|&byte| byte == b' ')?..)?;
    }
    let path = rest.get(1..)?;
    (!matches!(path.first(), None | Some(b'@'))).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d6_lines_of_the_table() {
        let line = b"0000000000000000: 00000002 00000000 00010000 0001 01 26510 /run/a b";
        assert_eq!(bound(line), Some(&b"/run/a b"[..]));
        for line in
            [&b"0000: 2 0 1 1 01   7 @abstract"[..], b"0000: 2 0 1 1 01 7", b"Num       RefCount Protocol Flags"]
        {
            assert_eq!(bound(line), None);
        }
    }

    #[test]
    fn d6_a_bound_socket_is_known_by_name_and_directory() {
        let mut in_use = InUse::default();
        for path in [&b"/tmp/dir/agent.1"[..], b"alone", b"./here", b"sub/two"] {
            add_path(&mut in_use, path);
        }
        assert!(in_use.socket(b"agent.1", b"dir").is_some() && in_use.socket(b"agent.1", b"other").is_none());
        assert!(in_use.socket(b"alone", b"any").is_some() && in_use.socket(b"here", b"any").is_some());
        assert!(in_use.socket(b"two", b"sub").is_some() && in_use.socket(b"two", b"any").is_none());
    }
}
