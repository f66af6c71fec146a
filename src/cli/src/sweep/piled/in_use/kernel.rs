//! What the kernel itself holds, for no process: loop devices, swap files, layers of overlays.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use super::{InUse, User};
use crate::sweep::mounts::{Mounts, plain};

pub(super) fn add(in_use: &mut InUse, mounts: &Mounts) {
    let user = User::Kernel("a loop device is backed by a file in it");
    for device in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        if device.file_name().as_bytes().starts_with(b"loop")
            && let Ok(path) = fs::read(device.path().join("loop/backing_file"))
        {
            in_use.add_path(path.trim_ascii_end(), user);
        }
    }
    let user = User::Kernel("swap space is in it");
    for line in fs::read("/proc/swaps").unwrap_or_default().split(|&byte| byte == b'\n') {
        in_use.add_path(&plain(line.split(|&byte| byte == b' ').next().unwrap_or_default()), user);
    }
    let user = User::Kernel("an overlay filesystem has a layer in it; unmount that");
    for path in mounts.layers() {
        in_use.add_path(&path, user);
        // As whoever mounted it saw it, who may be in another mount namespace.
        for part in path.split(|&byte| byte == b'/').filter(|part| !part.is_empty()) {
            in_use.components.insert(part.to_vec(), user);
        }
    }
}
