//! Looks for a shorter program that shows a difference, too: whatever can be left out is.

use std::collections::BTreeSet;

use crate::script::{File, List, Op, Program};

/// The shortest that is found with so many tries.
pub(crate) fn shrink(program: &Program, mut tries: usize, mut is_bad: impl FnMut(&Program) -> bool) -> Program {
    let mut best = program.clone();
    loop {
        let before = best.operations();
        for candidate in Candidates::of(&best) {
            let Some(shorter) = candidate.without(&best) else { continue };
            if tries == 0 {
                return best;
            }
            tries -= 1;
            if is_bad(&shorter) {
                best = shorter;
            }
        }
        if best.operations() == before {
            return best;
        }
    }
}

/// What can be left out.
enum Part {
    Child(List),
    File(File),
    Range { list: List, length: usize, from_end: usize },
}

struct Candidates;

impl Candidates {
    /// The larger ones first. Places are counted from the end, so that they hold when others were left out before them.
    fn of(program: &Program) -> Vec<Part> {
        let mut parts: Vec<Part> = (1..program.lists.len()).map(Part::Child).collect();
        let files: BTreeSet<File> = program.lists.iter().flatten().filter_map(file).collect();
        parts.extend(files.into_iter().map(Part::File));
        for length in [16, 4, 1] {
            for (list, ops) in program.lists.iter().enumerate() {
                let ends = (0..ops.len()).step_by(length);
                parts.extend(ends.map(|end| Part::Range { list, length, from_end: (end + length).min(ops.len()) }));
            }
        }
        parts
    }
}

impl Part {
    /// The program without it, if there is anything to leave out.
    fn without(&self, program: &Program) -> Option<Program> {
        let mut shorter = program.clone();
        match *self {
            Self::Child(list) => {
                for ops in &mut shorter.lists {
                    ops.retain(|op| other_list(op) != Some(list));
                }
                shorter.lists[list].clear();
            }
            Self::File(number) => {
                for ops in &mut shorter.lists {
                    ops.retain(|op| file(op) != Some(number));
                    for op in ops.iter_mut() {
                        if let Op::Start { files, .. } | Op::Exec { files, .. } = op {
                            files.retain(|file| *file != number);
                        }
                    }
                }
            }
            Self::Range { list, length, from_end } => {
                let ops = &mut shorter.lists[list];
                let start = ops.len().checked_sub(from_end)?;
                let end = (start + length).min(ops.len());
                ops.drain(start..end);
            }
        }
        (shorter.operations() < program.operations()).then_some(shorter)
    }
}

fn other_list(op: &Op) -> Option<List> {
    match op {
        Op::Start { child: list, .. }
        | Op::Wait { child: list }
        | Op::Signalled { child: list, .. }
        | Op::KillAt { child: list, .. }
        | Op::Gone { child: list, .. }
        | Op::Thread { list }
        | Op::Join { list } => Some(*list),
        _ => None,
    }
}

fn file(op: &Op) -> Option<File> {
    match op {
        Op::Tmpfile { file, .. }
        | Op::Write { file, .. }
        | Op::Pwrite { file, .. }
        | Op::Truncate { file, .. }
        | Op::Fchmod { file, .. }
        | Op::Check { file, .. }
        | Op::Move { file }
        | Op::Close { file }
        | Op::Publish { file, .. } => Some(*file),
        _ => None,
    }
}
