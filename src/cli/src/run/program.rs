//! The program that is to be run: where it is, and whether a preloaded library can reach it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, StatVfsMountFlags, access, getxattr, statvfs};

use crate::elf::{self, Kind};

/// How many `#!` lines the kernel follows.
const SCRIPTS: usize = 5;

/// What a preloaded library can do for a program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Everything; or nothing is known against it, and the start will tell.
    Full,
    /// No loader in this file.
    Static(PathBuf),
    /// Opens files without libc.
    Go(PathBuf),
    /// The loader ignores the environment.
    SetUid(PathBuf),
    /// Built for another architecture.
    Foreign(PathBuf),
}

impl Reach {
    /// Looks at the program that `name` stands for.
    pub(crate) fn of(name: &OsStr) -> Self {
        let Some(path) = find(name, env::var_os("PATH").as_deref()) else { return Self::Full };
        let mut followed = follow(path);
        match (followed.kind, followed.chain.pop()) {
            (Ok(kind), Some(path)) => Self::of_kind(&kind, path),
            // Executable and not readable: such a program is no less preloaded, and nothing more can be known.
            _ => Self::Full,
        }
    }

    fn of_kind(kind: &Kind, path: PathBuf) -> Self {
        match kind {
            Kind::Foreign => Self::Foreign(path),
            Kind::Static => Self::Static(path),
            Kind::Dynamic { .. } if gains_rights(&path) => Self::SetUid(path),
            Kind::Dynamic { go: true, .. } => Self::Go(path),
            Kind::Dynamic { .. } | Kind::Script(_) | Kind::Other => Self::Full,
        }
    }

    /// One line for the user where the library cannot reach the program.
    pub(crate) fn warning(&self) -> Option<String> {
        let (path, what, effect) = match self {
            Self::Full => return None,
            Self::Static(path) => (path, "is statically linked", "the library is not loaded into it"),
            Self::Go(path) => (path, "is a Go program", "it opens files without libc, past the library"),
            Self::SetUid(path) => (path, "gains rights when it starts", "its loader ignores the library"),
            Self::Foreign(path) => (path, "is built for another architecture", "the library cannot be loaded into it"),
        };
        let path = path.display();
        Some(format!(
            "{path} {what}: {effect}, and it runs as it would without tmpshim (a supervisor may reach it: --engine notify, or trace)"
        ))
    }
}

/// A program, and what its `#!` lines lead to.
#[derive(Debug)]
pub(crate) struct Followed {
    /// The file itself, then each interpreter; never empty.
    pub(crate) chain: Vec<PathBuf>,
    /// Of the last one.
    pub(crate) kind: io::Result<Kind>,
}

/// Follows `#!` lines as far as the kernel does.
pub(crate) fn follow(path: PathBuf) -> Followed {
    let mut chain = vec![path];
    loop {
        let kind = elf::probe(chain.last().expect("never empty"));
        match kind {
            Ok(Kind::Script(interpreter)) if chain.len() <= SCRIPTS => chain.push(interpreter),
            kind => return Followed { chain, kind },
        }
    }
}

/// Where execvp(3) finds `name`.
pub(crate) fn find(name: &OsStr, path: Option<&OsStr>) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(name));
    }
    // execvp(3) without PATH; an empty entry is the current directory.
    let path = path.map_or_else(|| OsString::from("/bin:/usr/bin"), OsStr::to_os_string);
    env::split_paths(&path)
        .map(
            |directory| if directory.as_os_str().is_empty() { Path::new(".").join(name) } else { directory.join(name) },
        )
        .find(|file| file.is_file() && access(file, Access::EXEC_OK).is_ok())
}

/// Whether the kernel will set `AT_SECURE` for this program.
pub(crate) fn gains_rights(path: &Path) -> bool {
    let Ok(file) = fs::metadata(path) else { return false };
    let ignored = statvfs(path).is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::NOSUID))
        || rustix::thread::no_new_privs().unwrap_or(false);
    let by_capability =
        !rustix::process::getuid().is_root() && getxattr(path, "security.capability", &mut [0u8; 64][..]).is_ok();
    !ignored
        && (by_capability || changes_ids(&file, rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()))
}

/// Whether the set-user-ID or set-group-ID bit changes anything for this user and group.
fn changes_ids(file: &Metadata, user: u32, group: u32) -> bool {
    let mode = file.permissions().mode();
    // Without group execution the bit once meant mandatory locking, and the kernel does not change the group.
    let sets_group = mode & 0o2010 == 0o2010;
    (mode & 0o4000 != 0 && file.uid() != user) || (sets_group && file.gid() != group)
}

/// The loader of the program that `name` stands for, if it has one.
pub(super) fn loader(name: &OsStr) -> Option<PathBuf> {
    let followed = follow(find(name, env::var_os("PATH").as_deref())?);
    if let Ok(Kind::Dynamic { loader, .. }) = followed.kind { Some(loader) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_execvp_finds_them() {
        let path = Some(OsStr::new("/nonexistent:/bin:/usr/bin"));
        assert_eq!(find(OsStr::new("./x/y"), path), Some("./x/y".into()));
        assert_eq!(find(OsStr::new("sh"), path), Some("/bin/sh".into()));
        assert_eq!(find(OsStr::new("no-such-program"), path), None);
        assert_eq!(find(OsStr::new("etc"), Some(OsStr::new("/"))), None, "a directory is no program");
    }

    #[test]
    fn scripts_lead_to_their_interpreter() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("one"), format!("#!{}\n", path("two").display())).unwrap();
        fs::write(path("two"), "#!/bin/sh -e\n").unwrap();
        let followed = follow(path("one"));
        assert_eq!(followed.chain, [path("one"), path("two"), "/bin/sh".into()]);
        assert!(matches!(followed.kind, Ok(Kind::Dynamic { .. } | Kind::Static)));
        fs::write(path("loop"), format!("#!{}\n", path("loop").display())).unwrap();
        let followed = follow(path("loop"));
        assert!(followed.chain.len() == SCRIPTS + 1 && matches!(followed.kind, Ok(Kind::Script(_))));
        assert!(follow(path("absent")).kind.is_err());
    }

    #[test]
    fn set_uid_counts_only_where_it_changes_something() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let probe = |mode: u32, user, group| {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            changes_ids(&fs::metadata(&file).unwrap(), user, group)
        };
        let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        assert!(!probe(0o755, user + 1, group + 1));
        assert!(!probe(0o4755, user, group) && probe(0o4755, user + 1, group));
        assert!(!probe(0o2755, user, group) && probe(0o2755, user, group + 1));
        assert!(!probe(0o2745, user, group + 1));
    }

    #[test]
    fn what_cannot_be_reached_is_said_in_one_line() {
        let path = PathBuf::from("/x/program");
        assert_eq!(Reach::Full.warning(), None);
        for reach in
            [Reach::Static(path.clone()), Reach::Go(path.clone()), Reach::SetUid(path.clone()), Reach::Foreign(path)]
        {
            let warning = reach.warning().unwrap();
            assert!(warning.contains("/x/program") && !warning.contains('\n'), "{warning}");
        }
    }
}
