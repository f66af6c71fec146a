//! `tmpshim library`: hands out the library that is inside.

use std::path::Path;

use crate::embedded::LIBRARY;
use crate::failure::Failure;
use crate::output::{own_mark, print, replace};

/// Writes the library to `output`, or to standard output for `-`.
pub(crate) fn write(output: &Path) -> Result<u8, Failure> {
    if output == Path::new("-") {
        return print(LIBRARY);
    }
    replace(output, &own_mark(), 0o755, &mut &*LIBRARY).map(|()| 0).map_err(|error| {
        let remedy = "give --output a file that you may write, or - for standard output";
        Failure::on(1, "cannot write the library to", output, error, remedy)
    })
}
