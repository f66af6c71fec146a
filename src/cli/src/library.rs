//! `tmpshim library`: hands out the library that is inside.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::embedded::LIBRARY;
use crate::failure::Failure;

/// Writes the library to `output`, or to standard output for `-`.
pub(crate) fn write(output: &Path) -> Result<u8, Failure> {
    let remedy = "give --output a file that you may write, or - for standard output";
    if output == Path::new("-") {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(LIBRARY).and_then(|()| stdout.flush());
        return written.map(|()| 0).map_err(|error| Failure::new(1, "cannot write standard output", error, remedy));
    }
    // Beside the target and then renamed: a program that is being started sees the old library or the new one, and a
    // running one keeps its mapping.
    let directory = output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failure = |error| Failure::on(1, "cannot write the library to", output, error, remedy);
    let name = output.file_name().ok_or_else(|| failure(io::ErrorKind::IsADirectory.into()))?;
    let temporary = directory.join(format!(".tmpshim-library-{}", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o755).open(&temporary).and_then(|mut file| {
        file.write_all(LIBRARY)?;
        std::fs::rename(&temporary, directory.join(name))
    });
    written.map(|()| 0).map_err(|error| {
        // What could not be finished must not stay. Where it cannot be removed either, the first error says more.
        let _ = std::fs::remove_file(&temporary);
        failure(error)
    })
}
