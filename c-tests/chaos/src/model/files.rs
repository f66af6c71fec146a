//! Open files: what is in them, and what publishing them comes to.

use super::{Invalid, Model, Process};
use crate::script::{Detail, Op};
use crate::world::{EEXIST, EINVAL, ENOENT, Id, Node};

const O_ACCMODE: i32 = 0o3;
const O_EXCL: i32 = 0o200;
const O_APPEND: i32 = 0o2000;
const O_CLOEXEC: i32 = 0o2_000_000;

/// A file that was opened with O_TMPFILE.
#[derive(Clone, Debug)]
pub(super) struct Open {
    node: Id,
    /// The directory it was opened in.
    pub(super) directory: Id,
    offset: u64,
    flags: i32,
    /// How many names it was given.
    names: u32,
    /// Where; unlinked there, it has a name of the server's.
    pub(super) published_in: Vec<Id>,
    /// This image did not open it.
    pub(super) was_handed_over: bool,
}

impl Open {
    pub(super) fn closes_on_exec(&self) -> bool {
        self.flags & O_CLOEXEC != 0
    }
}

/// The byte at a place of what is written, as the interpreter makes it.
pub(super) fn pattern(seed: u32, i: u64) -> u8 {
    let i = i as i64;
    (i64::from(seed) * 31 + i * 7 + (i >> 8) * 13 + 1) as u8
}

/// FNV-1a.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

impl Model {
    pub(super) fn file_operation(&mut self, process: Process, op: &Op) -> Result<Result<Detail, i32>, Invalid> {
        match op {
            Op::Tmpfile { file, flags, mode, path, .. } => {
                return Ok(self.open(process, *file, *flags, *mode, path).map(|()| Detail::None));
            }
            Op::Closefrom => self.processes[process].files.clear(),
            Op::Close { file } => {
                self.processes[process].files.remove(file).ok_or(Invalid)?;
            }
            Op::Write { file, seed, length } => {
                let open = self.open_file(process, *file)?;
                let append = open.flags & O_APPEND != 0;
                let at = if append { self.bytes(open.node).len() as u64 } else { open.offset };
                self.put(open.node, at, *seed, *length);
                self.processes[process].files.get_mut(file).ok_or(Invalid)?.offset = at + length;
            }
            Op::Pwrite { file, seed, length, offset } => {
                let open = self.open_file(process, *file)?;
                // Where Linux's pwrite does not do what it says.
                if open.flags & O_APPEND != 0 {
                    return Err(Invalid);
                }
                self.put(open.node, *offset, *seed, *length);
            }
            Op::Truncate { file, length } => {
                let open = self.open_file(process, *file)?;
                self.bytes(open.node).resize(*length as usize, 0);
            }
            Op::Fchmod { file, mode: new } => {
                let open = self.open_file(process, *file)?;
                if let Node::File { mode, .. } = &mut self.world.nodes[open.node] {
                    *mode = *new;
                }
            }
            Op::Check { file, reopened } => {
                let open = self.open_file(process, *file)?;
                let needs_proc = *reopened || open.flags & O_ACCMODE == 1;
                if needs_proc && self.processes[process].from.root.is_some() {
                    return Err(Invalid);
                }
                let bytes = self.bytes(open.node);
                return Ok(Ok(Detail::Content(bytes.len() as u64, sum(bytes))));
            }
            Op::Move { file } => {
                self.open_file(process, *file)?;
            }
            Op::Publish { file, path, .. } => {
                let open = self.open_file(process, *file)?;
                return self.publish(process, *file, &open, path).map(|done| done.map(|()| Detail::None));
            }
            _ => return Err(Invalid),
        }
        Ok(Ok(Detail::None))
    }

    fn open(&mut self, process: Process, file: usize, flags: i32, mode: u32, path: &str) -> Result<(), i32> {
        let state = &self.processes[process];
        // The kernel looks at the flags first.
        if flags & O_ACCMODE == 0 {
            return Err(EINVAL);
        }
        let directory = self.world.directory(state.from, path)?;
        if !self.world.is_attached(directory) {
            return Err(ENOENT);
        }
        let node = self.world.nodes.len();
        self.world.nodes.push(Node::File { mode: mode & !state.umask, bytes: vec![], links: 0 });
        let open = Open { node, directory, offset: 0, flags, names: 0, published_in: vec![], was_handed_over: false };
        self.processes[process].files.insert(file, open);
        self.processes[process].opened_in.insert(directory);
        Ok(())
    }

    fn publish(&mut self, process: Process, file: usize, open: &Open, path: &str) -> Result<Result<(), i32>, Invalid> {
        let from = self.processes[process].from;
        if from.root.is_some() {
            return Err(Invalid);
        }
        // Where a server keeps a name for it, the kernel can link such a file, and the library does not look at what
        // another process has opened. Its second name may be a copy's, once the library has begun to look.
        let is_special = open.flags & O_EXCL != 0 || open.names > 0;
        if self.rules.hides && is_special && open.was_handed_over {
            return Err(Invalid);
        }
        let (directory, name) = match self.world.above(from, path) {
            Ok((directory, name)) => (directory, name.to_owned()),
            Err(errno) => return Ok(Err(errno)),
        };
        if self.world.find(from, path).is_ok() {
            return Ok(Err(EEXIST));
        }
        if !self.world.is_attached(directory) || open.flags & O_EXCL != 0 {
            return Ok(Err(ENOENT));
        }
        // A file whose names are all gone again is an ordinary deleted one, which FUSE servers keep a name for. To them each
        // name is a file of its own, so there the first one counts.
        let links = match self.world.nodes[open.node] {
            Node::File { links, .. } => links,
            _ => 0,
        };
        let is_deleted = if self.rules.hides { links < open.names } else { links == 0 };
        if open.names > 0 && is_deleted {
            return Err(Invalid);
        }
        self.world.attach(directory, name, open.node);
        let open = self.processes[process].files.get_mut(&file).ok_or(Invalid)?;
        open.names += 1;
        open.published_in.push(directory);
        self.processes[process].opened_in.insert(directory);
        Ok(Ok(()))
    }

    /// The file that the operation gives a name to.
    pub(super) fn published(&self, process: Process, op: &Op) -> Option<Id> {
        match op {
            Op::Publish { file, .. } => self.processes[process].files.get(file).map(|open| open.node),
            _ => None,
        }
    }

    fn open_file(&self, process: Process, file: usize) -> Result<Open, Invalid> {
        self.processes[process].files.get(&file).cloned().ok_or(Invalid)
    }

    fn bytes(&mut self, node: Id) -> &mut Vec<u8> {
        match &mut self.world.nodes[node] {
            Node::File { bytes, .. } => bytes,
            _ => unreachable!("only files are opened"),
        }
    }

    fn put(&mut self, node: Id, at: u64, seed: u32, length: u64) {
        if length == 0 {
            return;
        }
        let bytes = self.bytes(node);
        if bytes.len() < (at + length) as usize {
            bytes.resize((at + length) as usize, 0);
        }
        for i in 0..length {
            bytes[(at + i) as usize] = pattern(seed, i);
        }
    }

    /// A server that renames what is unlinked and open keeps the directories around it from being removed by the process
    /// itself, which has it open to its end.
    pub(super) fn note_files_in_use(&mut self, process: Process) {
        if !self.rules.hides {
            return;
        }
        let state = &self.processes[process];
        let opened: Vec<Id> = state.files.values().map(|open| open.node).collect();
        let mut directories: Vec<Id> = state.files.values().map(|open| open.directory).collect();
        directories.extend(state.files.values().flat_map(|open| &open.published_in));
        // Where it has a name by now, too.
        directories.extend((0..self.world.nodes.len()).filter(|id| match &self.world.nodes[*id] {
            Node::Directory { names, .. } => names.values().any(|named| opened.contains(named)),
            _ => false,
        }));
        for record in &mut self.records {
            if directories.iter().any(|directory| self.world.is_in(*directory, record.node)) {
                record.may_stay = true;
            }
        }
    }
}
