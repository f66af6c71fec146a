//! Which libc a program will get: read from the files beside its loader, never by running anything.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::binary::{Binary, Version, parse_version};
use super::outlook::Outlook;

/// The oldest glibc that the library loads with.
pub(super) const OLDEST: Version = (2, 16);

/// As much of a libc is read.
const MOST: u64 = 16 << 20;

/// What is installed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Libc {
    Glibc(Option<Version>),
    Musl(Option<String>),
    /// A loader that nobody here knows.
    Other,
    /// The loader is not there: the program does not start.
    Missing(PathBuf),
}

impl Libc {
    /// That of a dynamic program.
    pub(super) fn of(binary: &Binary, outlook: &Outlook) -> Option<Self> {
        let loader = binary.loader.as_ref()?;
        if outlook.read(loader).is_err_and(|error| error == rustix::io::Errno::NOENT) {
            return Some(Self::Missing(loader.clone()));
        }
        if binary.is_musl() {
            // The loader is the library.
            return Some(Self::Musl(read(outlook, loader).and_then(|bytes| musl(&bytes))));
        }
        let name = loader.file_name()?.to_string_lossy();
        if !name.starts_with("ld-linux") && !name.starts_with("ld64") && !name.starts_with("ld.so") {
            return Some(Self::Other);
        }
        let beside =
            |loader: PathBuf| read(outlook, &loader.with_file_name("libc.so.6")).and_then(|bytes| glibc(&bytes));
        Some(Self::Glibc(steps(outlook, loader).into_iter().rev().find_map(beside)))
    }

    /// For people.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Glibc(Some((major, minor))) => format!("glibc {major}.{minor}"),
            Self::Glibc(None) => "glibc, version unknown".to_owned(),
            Self::Musl(Some(version)) => format!("musl {version}"),
            Self::Musl(None) => "musl, version unknown".to_owned(),
            Self::Other => "unknown".to_owned(),
            Self::Missing(loader) => format!("its loader {} is not there", loader.display()),
        }
    }
}

/// The loader, and where its symbolic links lead: libc lies beside one of them.
fn steps(outlook: &Outlook, loader: &Path) -> Vec<PathBuf> {
    let mut steps = vec![loader.to_path_buf()];
    while let Some(link) = steps.last().filter(|_| steps.len() < 8).and_then(|path| outlook.link(path)) {
        let next = steps.last().and_then(|path| path.parent()).map(|parent| parent.join(link));
        steps.extend(next);
    }
    steps
}

fn read(outlook: &Outlook, path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    outlook.read(path).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// From its banner: "GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36."
fn glibc(bytes: &[u8]) -> Option<Version> {
    const BANNER: &[u8] = b"GNU C Library ";
    const VERSION: &[u8] = b"release version ";
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    let banner = &bytes[find(bytes, BANNER)?..];
    let banner = &banner[..banner.len().min(256)];
    let version = &banner[find(banner, VERSION)? + VERSION.len()..];
    let end = version.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.').unwrap_or(version.len());
    parse_version(&version[..end])
}

/// musl carries its version as a text of its own, the only one of that form.
fn musl(bytes: &[u8]) -> Option<String> {
    let is_version = |text: &&[u8]| {
        let parts: Vec<_> = text.split(|&byte| byte == b'.').collect();
        parts.len() == 3
            && parts.iter().all(|part| (1..=3).contains(&part.len()) && part.iter().all(u8::is_ascii_digit))
    };
    let mut found = bytes.split(|&byte| byte == 0).filter(is_version);
    let version = found.next()?;
    found.next().is_none().then(|| String::from_utf8_lossy(version).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banners_tell_versions() {
        let banner = b"\0GNU C Library (Debian GLIBC 2.36-9+deb12u14) stable release version 2.36.\nCopyright";
        assert_eq!(glibc(banner), Some((2, 36)));
        assert_eq!(glibc(b"GNU C Library release version 2.5, by Roland"), Some((2, 5)));
        assert_eq!(glibc(b"nothing"), None);
        assert_eq!(musl(b"\0x\x001.2.3\0y"), Some("1.2.3".to_owned()));
        assert_eq!(musl(b"\x001.2.3\x004.5.6\0"), None);
    }

    #[test]
    fn this_machines_libc_is_found_or_its_loader_missing() {
        let loader = Some(PathBuf::from("/no/such/ld-linux-x86-64.so.2"));
        let binary = Binary { loader, ..Binary::default() };
        let found = Libc::of(&binary, &Outlook::own()).unwrap();
        assert!(matches!(found, Libc::Missing(_)) && found.describe().contains("/no/such/"));
        assert_eq!(Libc::of(&Binary::default(), &Outlook::own()), None);
    }
}
