//! The library where a package has put it: in the directories that the GNU loader puts in the place of `$LIB`, one for each
//! architecture. A path with `$LIB` is right for 64-bit and for 32-bit programs alike; of any other, the loader of a 32-bit
//! child complains on its standard error.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::library::NAME;
use crate::embedded::LIBRARY;

/// Below the prefix that the command's `bin` is in: where the library lies, and where the 32-bit loader looks.
#[cfg(target_arch = "x86_64")]
const PLACES: [(&str, &str); 2] = [("lib/x86_64-linux-gnu", "lib/i386-linux-gnu"), ("lib64", "lib")];
/// There are no packages for other architectures.
#[cfg(not(target_arch = "x86_64"))]
const PLACES: [(&str, &str); 0] = [];

/// An installed library.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Installed {
    pub(super) path: PathBuf,
    /// The path with `$LIB` in it, where the 32-bit loader has something to find as well.
    pub(super) for_all: Option<PathBuf>,
}

/// Those that belong to this command: of the same package, and byte by byte the library that it carries inside.
pub(super) fn find() -> impl Iterator<Item = Installed> {
    let command = env::current_exe().ok();
    let prefix = command.as_deref().and_then(prefix).map(Path::to_path_buf);
    prefix.into_iter().flat_map(|prefix| below(&prefix, LIBRARY))
}

/// `/usr` of `/usr/bin/tmpshim`.
fn prefix(command: &Path) -> Option<&Path> {
    let directory = command.parent().filter(|directory| directory.ends_with("bin"))?;
    directory.parent()
}

fn below(prefix: &Path, library: &[u8]) -> Vec<Installed> {
    let installed = PLACES.iter().filter_map(|(own, other)| {
        let path = prefix.join(own).join(NAME);
        if fs::read(&path).ok()? != library {
            return None;
        }
        let for_all = prefix.join(other).join(NAME).is_file().then(|| prefix.join("$LIB").join(NAME));
        Some(Installed { path, for_all })
    });
    installed.collect()
}

/// Whether a program's loader knows `$LIB`, and as the directories of this machine. musl's takes it as it stands, and a
/// loader that lies elsewhere (Nix, Homebrew) brings directories of its own.
pub(crate) fn knows_lib(loader: &Path) -> bool {
    let name = loader.file_name().unwrap_or_default().to_string_lossy();
    let directory = loader.parent().and_then(Path::to_str).unwrap_or_default();
    name.starts_with("ld-linux") && matches!(directory, "/lib64" | "/lib" | "/usr/lib64" | "/usr/lib")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s7_the_installed_library_is_known_by_its_bytes() {
        let root = tempfile::tempdir().unwrap();
        for (own, other) in PLACES {
            let (prefix, own, other) = (root.path(), root.path().join(own), root.path().join(other));
            fs::create_dir_all(&own).unwrap();
            fs::create_dir_all(&other).unwrap();
            let path = own.join(NAME);
            assert_eq!(below(prefix, b"library"), []);
            fs::write(&path, "librarx").unwrap();
            assert_eq!(below(prefix, b"library"), [], "another version");
            fs::write(&path, "library").unwrap();
            assert_eq!(below(prefix, b"library"), [Installed { path: path.clone(), for_all: None }]);
            fs::write(other.join(NAME), "empty").unwrap();
            let for_all = Some(prefix.join("$LIB").join(NAME));
            assert_eq!(below(prefix, b"library"), [Installed { path: path.clone(), for_all }]);
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_prefix_is_what_bin_is_in() {
        assert_eq!(prefix(Path::new("/usr/bin/tmpshim")), Some(Path::new("/usr")));
        assert_eq!(prefix(Path::new("/bin/tmpshim")), Some(Path::new("/")));
        assert_eq!(prefix(Path::new("/tmp/tmpshim")), None);
    }

    #[test]
    fn s7_loaders_that_know_lib() {
        for (loader, knows) in [
            ("/lib64/ld-linux-x86-64.so.2", true),
            ("/lib/ld-linux.so.2", true),
            ("/lib/ld-linux-aarch64.so.1", true),
            ("/lib/ld-musl-x86_64.so.1", false),
            ("/nix/store/x-glibc-2.40/lib/ld-linux-x86-64.so.2", false),
            ("/home/linuxbrew/.linuxbrew/lib/ld.so", false),
        ] {
            assert_eq!(knows_lib(Path::new(loader)), knows, "{loader}");
        }
    }
}
