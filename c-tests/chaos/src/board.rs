//! What the interpreter wrote on its board (`struct board` in interpreter.h).

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::model::Expected;
use crate::script::{Line, Program};

const LISTS: usize = 64;
const NAMES: usize = 512;
const NAME: usize = 24;
const REPORTS: usize = 24;
const REPORT: usize = 320;
const DONE: usize = 4 + REPORTS * REPORT;
const FIRST_NAME: usize = DONE + 4 + 3 * 4 * LISTS;
const SIZE: usize = FIRST_NAME + NAMES * NAME;

/// An empty board.
pub(crate) fn prepare(path: &Path) -> io::Result<()> {
    File::create(path)?.set_len(SIZE as u64)
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// What was not as the script says, with the operation.
pub(crate) fn reports(path: &Path, program: &Program, expected: &Expected) -> io::Result<Vec<String>> {
    let bytes = fs::read(path)?;
    let lines: Vec<String> = program
        .lists
        .iter()
        .enumerate()
        .flat_map(|(list, ops)| {
            let answers = &expected.answers[list];
            ops.iter().zip(answers).map(move |(op, answer)| format!("{list} {}", Line(op, *answer)))
        })
        .collect();
    let count = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    let all = (0..count.min(REPORTS)).map(|place| {
        let report = text(&bytes[4 + place * REPORT..4 + (place + 1) * REPORT]);
        let (line, what) = report.split_once(' ').unwrap_or(("", &report));
        let line = line.parse().ok().and_then(|line: usize| lines.get(line)).map_or("?", String::as_str);
        format!("\"{line}\": {what}")
    });
    Ok(all.collect())
}

/// The operations that were carried out.
pub(crate) fn done(path: &Path) -> io::Result<u64> {
    let bytes = fs::read(path)?;
    Ok(u64::from(u32::from_le_bytes([bytes[DONE], bytes[DONE + 1], bytes[DONE + 2], bytes[DONE + 3]])))
}

/// The names that mkdtemp came to, by number.
pub(crate) fn names(path: &Path) -> io::Result<Vec<String>> {
    let bytes = fs::read(path)?;
    Ok((0..NAMES).map(|name| text(&bytes[FIRST_NAME + name * NAME..FIRST_NAME + (name + 1) * NAME])).collect())
}
