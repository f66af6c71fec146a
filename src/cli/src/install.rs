//! `tmpshim install`: copies the command to where other containers find it.

use std::fs::File;
use std::path::Path;

use crate::embedded::LIBRARY;
use crate::failure::Failure;
use crate::output::{own_mark, replace};

/// Copies the command and the library, the command last: who finds it finds both.
pub(crate) fn install(directory: &Path) -> Result<u8, Failure> {
    let (library, command) = (directory.join("libtmpshim.so"), directory.join("tmpshim"));
    let failure = |target: &Path| {
        let remedy = "give --to a directory that this user may write to, with room for 4 MiB";
        let target = target.to_path_buf();
        move |error| Failure::on(1, "cannot write", &target, error, remedy)
    };
    replace(&library, &own_mark(), 0o755, &mut &*LIBRARY).map_err(failure(&library))?;
    let copied = File::open("/proc/self/exe").and_then(|mut own| replace(&command, &own_mark(), 0o755, &mut own));
    copied.map(|()| 0).map_err(failure(&command))
}
