//! `LD_PRELOAD`, whose entries are separated by colons or spaces.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::library::NAME;

/// Puts our library in front of what the user preloads already. Another copy of ours, from an outer `tmpshim run` or from
/// the user, goes: two of them would each do the whole work.
pub(crate) fn merge(ours: &Path, theirs: Option<&OsStr>) -> OsString {
    let ours = ours.as_os_str().as_bytes();
    let theirs = theirs.unwrap_or_default().as_bytes().split(|&byte| is_separator(byte));
    let theirs = theirs.filter(|entry| {
        let name = entry.rsplit(|&byte| byte == b'/').next();
        !entry.is_empty() && *entry != ours && name != Some(NAME.as_bytes())
    });
    OsString::from_vec([ours].into_iter().chain(theirs).collect::<Vec<_>>().join(&b':'))
}

/// Whether a path reaches the loader as it is: a separator would cut it, and `$` begins what the loader replaces.
pub(crate) fn can_name(path: &Path) -> bool {
    !path.as_os_str().as_bytes().iter().any(|&byte| is_separator(byte) || byte == b'$')
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b':' | b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(theirs: &str) -> String {
        merge(Path::new("/l/libtmpshim.so"), Some(OsStr::new(theirs))).into_string().unwrap()
    }

    #[test]
    fn ours_is_in_front_and_theirs_stay_in_order() {
        assert_eq!(merge(Path::new("/l/libtmpshim.so"), None), "/l/libtmpshim.so");
        assert_eq!(merged(""), "/l/libtmpshim.so");
        assert_eq!(merged("a.so"), "/l/libtmpshim.so:a.so");
        assert_eq!(merged("/x/b.so a.so:c.so "), "/l/libtmpshim.so:/x/b.so:a.so:c.so");
    }

    #[test]
    fn ours_is_there_once() {
        assert_eq!(merged("/l/libtmpshim.so"), "/l/libtmpshim.so");
        assert_eq!(merged("a.so:/l/libtmpshim.so:/other/libtmpshim.so"), "/l/libtmpshim.so:a.so");
        assert_eq!(merged("libtmpshim.so.old"), "/l/libtmpshim.so:libtmpshim.so.old");
        assert_eq!(merge(Path::new("/proc/7/fd/3"), Some(OsStr::new("/proc/7/fd/3"))), "/proc/7/fd/3");
    }

    #[test]
    fn paths_that_the_loader_would_misread() {
        assert!(can_name(Path::new("/run/x/libtmpshim.so")));
        for path in ["/a b/l.so", "/a:b/l.so", "/$LIB/l.so"] {
            assert!(!can_name(Path::new(path)), "{path}");
        }
    }
}
