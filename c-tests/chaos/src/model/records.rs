//! Tracked directories: whose they are, and when they must be gone (D2, D3, D5, D6).

use std::collections::BTreeMap;
use std::iter;

use super::{Expected, Invalid, Model, Process};
use crate::script::Answer;
use crate::world::Id;

/// A directory that goes when the last that could use it has ended.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) maker: Process,
    /// From the arena, as it was when the directory was made.
    path: String,
    pub(super) node: Id,
    /// Somebody ended with an open file in it, for which the server keeps a name; or nobody
    /// has it on record in a way that helps.
    pub(super) may_stay: bool,
}

/// Until when a directory may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum When {
    /// It must be gone when all processes have ended.
    Now,
    /// It must be gone after a sweep.
    Swept,
    /// It may stay.
    Never,
}

impl Model {
    pub(super) fn record(&mut self, process: Process, node: Id) {
        let Some(path) = self.world.path_of(node) else { return };
        let maker = self.processes[process].maker;
        // What a vfork child makes before its parent has made anything, the library does not record.
        let is_guest = maker != process && self.rules.at_once;
        // Nor does what a path in another root leads to go with anybody but its maker.
        let is_elsewhere = self.rules.at_once && self.processes[process].from.root.is_some();
        let may_stay = is_elsewhere || is_guest && !self.processes[maker].has_recorded;
        self.processes[process].has_recorded |= !is_guest && !is_elsewhere;
        self.records.push(Record { maker, path, node, may_stay });
    }

    /// Whether the process and all that it started have been waited for.
    pub(super) fn has_ended(&self, process: Process) -> bool {
        self.was_waited_for(process) && self.children(process).all(|child| self.has_ended(child))
    }

    /// Not by one that may have ended before it did, nor by one that such a one has left to itself.
    pub(super) fn was_waited_for(&self, process: Process) -> bool {
        let mut ancestors = iter::successors(self.processes[process].parent, |&above| self.processes[above].parent);
        self.processes[process].waited && !ancestors.any(|above| self.processes[above].is_cut_off)
    }

    /// Whether the process's exit notes children of another image for what it has made.
    pub(crate) fn can_note_children(&self, process: Process) -> bool {
        let state = &self.processes[process];
        state.maker == process && state.clean && state.from.root.is_none()
    }

    fn children(&self, process: Process) -> impl Iterator<Item = Process> {
        (0..self.processes.len()).filter(move |child| self.processes[*child].parent == Some(process))
    }

    /// Whether the process, and then whoever of its descendants outlives it, can clean up.
    fn cleans(&self, process: Process) -> bool {
        let state = &self.processes[process];
        state.clean && self.children(process).all(|child| self.has_ended(child) || self.lets_clean(child))
    }

    /// The same of a descendant. One that shares its parent's memory neither holds nor removes anything.
    fn lets_clean(&self, process: Process) -> bool {
        let state = &self.processes[process];
        state.maker != process || (state.holds && self.cleans(process))
    }

    fn when(&self, record: &Record) -> When {
        if record.may_stay {
            When::Never
        } else if self.rules.supervised || self.cleans(record.maker) {
            When::Now
        } else {
            When::Swept
        }
    }

    /// All that a process, and what it started, had to remove at once.
    pub(super) fn remove_of(&mut self, process: Process) {
        for place in 0..self.records.len() {
            let record = &self.records[place];
            if self.is_below(record.maker, process)
                && self.rules.removes
                && !record.may_stay
                && self.cleans(record.maker)
            {
                self.world.remove(&record.path, record.node);
            }
        }
    }

    fn is_below(&self, mut process: Process, above: Process) -> bool {
        while process != above {
            match self.processes[process].parent {
                Some(parent) => process = parent,
                None => return false,
            }
        }
        true
    }

    pub(super) fn finish(mut self, answers: Vec<Vec<Answer>>) -> Result<Expected, Invalid> {
        let mut lenient = BTreeMap::new();
        let records = std::mem::take(&mut self.records);
        for record in records.iter().filter(|_| self.rules.removes) {
            let when = self.when(record);
            if self.world.remove(&record.path, record.node) && when != When::Now {
                let longest = lenient.entry(record.path.clone()).or_insert(when);
                *longest = when.max(*longest);
            }
        }
        // What may stay has its journal.
        let is_clean =
            lenient.is_empty() && !self.has_loose && (0..self.processes.len()).all(|process| self.cleans(process));
        if self.processes.iter().any(|state| state.end.is_none()) {
            return Err(Invalid);
        }
        // Two that end at once may each take the other for one that still uses it.
        let may_be_late = self.rules.at_once && self.processes.iter().skip(1).any(|state| state.holds && !state.waited);
        let status = self.processes[0].end.ok_or(Invalid)?;
        Ok(Expected { answers, status, world: self.world, lenient, optional: self.loose, is_clean, may_be_late })
    }
}
