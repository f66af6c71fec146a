//! The filesystems under test, each mounted once, when the first cell asks for it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Deserialize;

use crate::Obstacle;
use crate::compile::run_to_end;
use crate::once::OnceByKey;

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Filesystem {
    Bindfs,
    /// bindfs that really removes what is unlinked: the open file is unusable from then on.
    #[serde(rename = "bindfs-hard_remove")]
    BindfsHardRemove,
    /// bindfs over a tmpfs of one mebibyte, one for each cell: another would take its space.
    BindfsSmall,
    Mergerfs,
    FuseOverlayfs,
    Tmpfs,
    Ext4,
    /// tmpfs, with `O_TMPFILE` refused by a seccomp filter. openat2 keeps its flags in memory, where no filter sees them.
    #[serde(rename = "denied:EOPNOTSUPP")]
    DeniedEopnotsupp,
    #[serde(rename = "denied:EISDIR")]
    DeniedEisdir,
    #[serde(rename = "denied:ENOSYS")]
    DeniedEnosys,
    #[serde(rename = "denied:EINVAL")]
    DeniedEinval,
    #[serde(rename = "denied:ENOENT")]
    DeniedEnoent,
}

impl Filesystem {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bindfs => "bindfs",
            Self::BindfsHardRemove => "bindfs-hard_remove",
            Self::BindfsSmall => "bindfs-small",
            Self::Mergerfs => "mergerfs",
            Self::FuseOverlayfs => "fuse-overlayfs",
            Self::Tmpfs => "tmpfs",
            Self::Ext4 => "ext4",
            Self::DeniedEopnotsupp => "denied:EOPNOTSUPP",
            Self::DeniedEisdir => "denied:EISDIR",
            Self::DeniedEnosys => "denied:ENOSYS",
            Self::DeniedEinval => "denied:EINVAL",
            Self::DeniedEnoent => "denied:ENOENT",
        }
    }

    /// The errno with which `O_TMPFILE` opens are to be refused, by name.
    pub(crate) fn denied_with(self) -> Option<&'static str> {
        self.name().strip_prefix("denied:")
    }

    pub(crate) fn has_tmpfile(self) -> bool {
        matches!(self, Self::Tmpfs | Self::Ext4)
    }
}

/// Everything mounted so far. Unmounting is the janitor's work.
pub(crate) struct Mounts {
    directory: PathBuf,
    points: OnceByKey<(Filesystem, u32), PathBuf>,
    handed_out: AtomicU32,
}

impl Mounts {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, points: OnceByKey::default(), handed_out: AtomicU32::new(0) }
    }

    /// A new empty directory on the filesystem, in which everybody may create files.
    pub(crate) fn fresh_directory(&self, filesystem: Filesystem) -> Result<PathBuf, Obstacle> {
        // One tmpfs serves every errno: the refusal is in the filter.
        let place = if filesystem.denied_with().is_some() { Filesystem::Tmpfs } else { filesystem };
        let number = self.handed_out.fetch_add(1, Ordering::Relaxed);
        let copy = if place == Filesystem::BindfsSmall { number } else { 0 };
        let mount = self.points.get((place, copy), || self.mount(place, copy))?;
        let directory = mount.join(number.to_string());
        fs::create_dir(&directory)
            .and_then(|()| fs::set_permissions(&directory, fs::Permissions::from_mode(0o1777)))
            .map_err(|error| Obstacle::Broken(format!("{}: {error}", directory.display())))?;
        Ok(directory)
    }

    fn mount(&self, filesystem: Filesystem, copy: u32) -> Result<PathBuf, Obstacle> {
        if !fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
            return Err(Obstacle::Missing("mounting needs root".to_owned()));
        }
        let backing = |options: &[&str]| self.backing(filesystem, copy, options);
        let point = self.make(filesystem.name(), copy, "mount")?;
        match filesystem {
            Filesystem::Ext4 => {
                let image = self.directory.join("ext4.image");
                run_to_end(Command::new("truncate").args(["-s", "256M"]).arg(&image))?;
                run_to_end(Command::new("mkfs.ext4").arg("-q").arg(&image))?;
                mount(&["-o", "loop"], &image, &point)?;
            }
            Filesystem::Bindfs => fuse(Command::new("bindfs").arg(backing(&[])?).arg(&point))?,
            Filesystem::BindfsHardRemove => {
                let backing = backing(&[])?;
                fuse(Command::new("bindfs").args(["-o", "hard_remove"]).arg(backing).arg(&point))?;
            }
            Filesystem::BindfsSmall => {
                let backing = backing(&["-o", "size=1m"])?;
                fuse(Command::new("bindfs").arg(backing).arg(&point))?;
            }
            Filesystem::Mergerfs => {
                let backing = backing(&[])?;
                fuse(Command::new("mergerfs").args(["-o", "allow_other,minfreespace=0"]).arg(backing).arg(&point))?;
            }
            Filesystem::FuseOverlayfs => {
                let backing = backing(&[])?;
                let mut layers = Vec::new();
                for layer in ["lowerdir", "upperdir", "workdir"] {
                    let path = backing.join(layer);
                    create(&path)?;
                    layers.push(format!("{layer}={}", path.display()));
                }
                fuse(Command::new("fuse-overlayfs").args(["-o", &layers.join(",")]).arg(&point))?;
            }
            _ => mount(&["-t", "tmpfs"], Path::new("tmpfs"), &point)?,
        }
        // The root of a filesystem may have come with any mode; other users must get to the cells' directories.
        fs::set_permissions(&point, fs::Permissions::from_mode(0o755))
            .map_err(|error| Obstacle::Broken(format!("{}: {error}", point.display())))?;
        Ok(point)
    }

    /// A tmpfs for a FUSE filesystem to lie over.
    fn backing(&self, filesystem: Filesystem, copy: u32, options: &[&str]) -> Result<PathBuf, Obstacle> {
        let point = self.make(filesystem.name(), copy, "backing")?;
        mount(&[&["-t", "tmpfs"], options].concat(), Path::new("tmpfs"), &point)?;
        Ok(point)
    }

    fn make(&self, name: &str, copy: u32, purpose: &str) -> Result<PathBuf, Obstacle> {
        let path = self.directory.join(format!("{name}.{copy}.{purpose}"));
        create(&path)?;
        Ok(path)
    }
}

fn create(path: &Path) -> Result<(), Obstacle> {
    fs::create_dir(path).map_err(|error| Obstacle::Broken(format!("{}: {error}", path.display())))
}

/// A machine where a mount is refused, such as a container without loop devices, cannot run the cell.
fn mount(options: &[&str], what: &Path, point: &Path) -> Result<(), Obstacle> {
    as_missing(run_to_end(Command::new("mount").args(options).arg(what).arg(point)))
}

fn fuse(command: &mut Command) -> Result<(), Obstacle> {
    // The daemon outlives this call: it must not hold a pipe of ours, and an interrupt at the terminal must not reach it
    // before the cells are gone.
    let tool = command.get_program().to_string_lossy().into_owned();
    let status = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Obstacle::Missing(format!("{command:?}: {status}"))),
        Err(error) => Err(Obstacle::Missing(format!("{tool}: {error}"))),
    }
}

fn as_missing(result: Result<(), Obstacle>) -> Result<(), Obstacle> {
    result.map_err(|obstacle| match obstacle {
        Obstacle::Broken(what) | Obstacle::Missing(what) => Obstacle::Missing(what),
    })
}
