//! `tmpshim install`: copies the command to where other containers find it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::embedded::LIBRARY;
use crate::failure::Failure;

/// Copies the command and the library, the command last: who finds it finds both.
pub(crate) fn install(directory: &Path) -> Result<u8, Failure> {
    let own = || File::open("/proc/self/exe");
    let remedy = "give --to a directory that this user may write to, with room for 4 MiB";
    let copies = [("libtmpshim.so", copy(directory, "libtmpshim.so", &mut &*LIBRARY)), {
        let copied = own().and_then(|mut command| copy(directory, "tmpshim", &mut command));
        ("tmpshim", copied)
    }];
    for (name, copied) in copies {
        copied.map_err(|error| Failure::on(1, "cannot write", &directory.join(name), error, remedy))?;
    }
    Ok(0)
}

/// Beside its target and then renamed, so that nobody starts half of it, and a program that runs keeps its own.
fn copy(directory: &Path, name: &str, from: &mut dyn Read) -> io::Result<()> {
    let temporary = directory.join(format!(".tmpshim-install-{}-{name}", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o755).open(&temporary).and_then(|mut file| {
        io::copy(from, &mut file)?;
        file.flush()?;
        file.set_permissions(Permissions::from_mode(0o755))?;
        fs::rename(&temporary, directory.join(name))
    });
    written.inspect_err(|_| {
        // What could not be finished must not stay. Where it cannot be removed either, the first error says more.
        let _ = fs::remove_file(&temporary);
    })
}
