//! What must come of a program: the answer to each operation, and what exists at the end. The program's own view of a
//! filesystem that has everything (`world`), and one rule more: a tracked directory goes when the last that could use it has
//! ended, if it still is what its path leads to.
//!
//! Lists that run at once do not touch the same names (the generator sees to that), so it does not matter in which order
//! they are gone through: a child's list is carried out where it is started.

mod files;
mod records;

use std::collections::{BTreeMap, BTreeSet};

use crate::script::{ANY, Answer, Detail, End, File, LAST_THREAD, List, Op, Program, RAW, SIGKILL, SIGNALLED, Way};
use crate::world::{ARENA, ELSEWHERE, From, Id, Node, World};
use files::Open;
use records::Record;
pub(crate) use records::When;

/// What an engine does, as far as it makes a difference to a program or to what is left of it.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a rule of its own")]
pub(crate) struct Rules {
    /// Whether directories are removed at all.
    pub(crate) removes: bool,
    /// Whether the process itself removes them, so that they are gone when it has been waited for.
    pub(crate) at_once: bool,
    /// Whether somebody outside of the program removes what its processes could not.
    pub(crate) supervised: bool,
    /// Whether the filesystem keeps a name for an unlinked file that is open.
    pub(crate) hides: bool,
}

/// The program is none that the generator would have made: something that the model does not know of would decide.
#[derive(Debug)]
pub(crate) struct Invalid;

type Process = usize;

/// A process as the kernel has it, through all images that it executes.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct State {
    parent: Option<Process>,
    list: List,
    from: From,
    umask: u32,
    files: BTreeMap<File, Open>,
    /// Where it has had files open.
    opened_in: BTreeSet<Id>,
    signals: BTreeMap<i32, u8>,
    /// Who keeps the record of what it makes: itself, or whose memory it has.
    maker: Process,
    /// Whether it has what keeps its ancestors' directories: it was forked, and is no other image.
    holds: bool,
    /// Whether this image of it has anything on record.
    has_recorded: bool,
    /// Whether it ends in a way in which it can clean up.
    clean: bool,
    end: Option<i32>,
    /// It, or a thread of it, may end at any instant, before it has waited for anybody.
    is_cut_off: bool,
    threads: BTreeSet<List>,
    /// Threads that nobody waits for.
    has_loose_threads: bool,
    is_parked: bool,
    waited: bool,
}

impl State {
    /// The one that the script begins in.
    fn first() -> Self {
        Self {
            parent: None,
            list: 0,
            from: From { cwd: ARENA, root: None },
            umask: 0o022,
            files: BTreeMap::new(),
            opened_in: BTreeSet::new(),
            signals: BTreeMap::new(),
            maker: 0,
            holds: true,
            has_recorded: false,
            clean: true,
            end: None,
            is_cut_off: false,
            threads: BTreeSet::new(),
            has_loose_threads: false,
            is_parked: false,
            waited: false,
        }
    }

    /// The directories in which a server may keep a name for an open file of it. Where threads run, one of them may fork in
    /// the instant between opening and closing.
    fn may_be_open_in(&self) -> BTreeSet<Id> {
        let open = self.files.values().flat_map(|open| open.published_in.iter().chain([&open.directory]));
        let once = self.opened_in.iter().filter(|_| self.has_loose_threads || !self.threads.is_empty());
        open.chain(once).copied().collect()
    }
}

pub(crate) struct Model {
    rules: Rules,
    pub(crate) world: World,
    processes: Vec<State>,
    records: Vec<Record>,
    /// What lists made that may be cut off.
    loose: BTreeSet<Id>,
    /// Names that mkdtemp has chosen.
    names: BTreeSet<String>,
    has_loose: bool,
}

/// What must be there at the end.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) answers: Vec<Vec<Answer>>,
    pub(crate) status: i32,
    pub(crate) world: World,
    /// Directories that may be there, by path from the arena, and how long.
    pub(crate) lenient: BTreeMap<String, When>,
    /// What may be missing.
    pub(crate) optional: BTreeSet<Id>,
    /// Whether all ended so that nothing at all may be left before a sweep.
    pub(crate) is_clean: bool,
    /// Whether, now and then, only a sweep removes what must be gone.
    pub(crate) may_be_late: bool,
}

impl Model {
    pub(crate) fn new(rules: Rules) -> Self {
        let world = World::new();
        let mut model = Self {
            rules,
            world,
            processes: vec![],
            records: vec![],
            loose: BTreeSet::new(),
            names: BTreeSet::new(),
            has_loose: false,
        };
        model.processes.push(State::first());
        model
    }

    /// A process that the script starts; its files are the starter's no more.
    pub(crate) fn start(&mut self, by: Process, list: List, way: Way, given: &[File]) -> Result<Process, Invalid> {
        let mut files = BTreeMap::new();
        // The others' are closed a moment later.
        let opened_in = self.processes[by].may_be_open_in();
        for file in given {
            let mut open = self.processes[by].files.remove(file).ok_or(Invalid)?;
            open.was_handed_over = true;
            if way != Way::Spawn || !open.closes_on_exec() {
                files.insert(*file, open);
            } else {
                return Err(Invalid);
            }
        }
        let new = self.processes.len();
        let parent = &self.processes[by];
        let signals = parent.signals.iter().filter(|(_, how)| way != Way::Spawn || **how == 1);
        let state = State {
            parent: Some(by),
            list,
            from: parent.from,
            umask: parent.umask,
            opened_in,
            files,
            signals: signals.map(|(signal, how)| (*signal, *how)).collect(),
            maker: if way == Way::Vfork { parent.maker } else { new },
            // One from before there was anything on record is noted at its parent's end, as a child of another image is. Where
            // threads run, nobody knows which came first.
            holds: way == Way::Fork && parent.has_recorded && parent.threads.is_empty(),
            ..State::first()
        };
        self.processes.push(state);
        Ok(new)
    }

    /// The process goes on as another image.
    pub(crate) fn execute(&mut self, process: Process, given: &[File]) -> Result<(), Invalid> {
        let state = &mut self.processes[process];
        if given.iter().any(|file| state.files.get(file).is_none_or(Open::closes_on_exec)) {
            return Err(Invalid);
        }
        state.files.retain(|file, _| given.contains(file));
        state.files.values_mut().for_each(|open| open.was_handed_over = true);
        state.signals.retain(|_, disposition| *disposition == 1);
        state.holds = false;
        state.has_recorded = false;
        if state.maker == process {
            state.clean = false;
        } else {
            state.maker = process;
        }
        Ok(())
    }

    /// A thread, which is to be waited for if it is not loose.
    pub(crate) fn thread(&mut self, process: Process, list: List, is_loose: bool) {
        let state = &mut self.processes[process];
        if is_loose {
            state.has_loose_threads = true;
        } else {
            state.threads.insert(list);
        }
    }

    /// Whatever the process or thread runs may be cut off.
    pub(crate) fn cut_off(&mut self, process: Process) {
        self.processes[process].clean = false;
        self.processes[process].is_cut_off = true;
        self.has_loose = true;
    }

    /// Carries out one operation, other than those that begin another list, and says how it is to be answered.
    pub(crate) fn step(&mut self, process: Process, is_loose: bool, op: &Op) -> Result<Answer, Invalid> {
        let is_unknown = |name: &str| name.starts_with('%') && !self.names.contains(name);
        if op.paths().iter().any(|path| path.split('/').any(is_unknown)) {
            return Err(Invalid);
        }
        let nodes = self.world.nodes.len();
        let answer = self.carry_out(process, op);
        if is_loose {
            self.loose.extend(self.published(process, op));
            self.loose.extend(nodes..self.world.nodes.len());
        }
        match answer? {
            Ok(detail) => Ok(Answer { errno: 0, detail }),
            Err(ELSEWHERE) => Err(Invalid),
            Err(errno) => Ok(Answer { errno, detail: Detail::None }),
        }
    }

    fn carry_out(&mut self, process: Process, op: &Op) -> Result<Result<Detail, i32>, Invalid> {
        let from = self.processes[process].from;
        let masked = |mode: u32| mode & !self.processes[process].umask;
        let done = match op {
            Op::Mkdtemp { path, name } => {
                let path = path.replace(&format!("m-{name}.XXXXXX"), &format!("%{name}"));
                let made = self.make_directory(process, &path, masked(0o700), true);
                if made.is_ok() {
                    self.names.insert(format!("%{name}"));
                }
                made
            }
            Op::Mkdir { mode, path, .. } => self.make_directory(process, path, masked(*mode), is_tracked(path)),
            Op::Rmdir { path } => self.rmdir(process, path)?,
            Op::Rename { from: old, to } => self.rename(process, old, to)?,
            Op::Create { path, mode, seed, length } => {
                let bytes = (0..*length).map(|i| files::pattern(*seed, i)).collect();
                self.world.add(from, path, Node::File { mode: masked(*mode), bytes, links: 0 }).map(drop)
            }
            Op::Unlink { path } => self.world.unlink(from, path),
            Op::Symlink { path, .. } => self.world.add(from, path, Node::Link).map(drop),
            Op::Chmod { mode, path } => self.world.directory(from, path).map(|id| {
                if let Node::Directory { mode: old, .. } = &mut self.world.nodes[id] {
                    *old = *mode;
                }
            }),
            Op::Chdir { path } => self.world.directory(from, path).map(|id| self.processes[process].from.cwd = id),
            Op::Chroot { path } => self.world.directory(from, path).map(|id| {
                let state = &mut self.processes[process];
                state.from = From { cwd: id, root: Some(id) };
                state.clean = false;
            }),
            Op::Umask { mode } => {
                self.processes[process].umask = *mode;
                Ok(())
            }
            Op::Signal { signal, disposition } => {
                self.processes[process].signals.insert(*signal, *disposition);
                Ok(())
            }
            Op::Raise { signal } if self.disposition(process, *signal) == 0 => return Err(Invalid),
            Op::Stands { path } => self.world.find(from, path).map(drop),
            Op::Gone { child, path } => {
                let child = self.child(process, *child)?;
                if !self.processes[child].waited {
                    return Err(Invalid);
                }
                match self.world.find(from, path) {
                    Ok(_) if self.rules.removes => Err(ANY),
                    _ if !self.has_ended(child) => Err(ANY),
                    found => found.map(drop),
                }
            }
            Op::Wait { child } => return self.wait(process, *child).map(Ok),
            Op::End(End::Raise(signal)) if self.disposition(process, *signal) != 0 => return Err(Invalid),
            // glibc loads libgcc_s for it, which is not in the other root.
            Op::End(End::Code(LAST_THREAD, _)) if from.root.is_some() => return Err(Invalid),
            // A thread that nobody waited for is one that may be cut off.
            Op::End(_) if !self.processes[process].threads.is_empty() => return Err(Invalid),
            Op::End(end) => {
                self.end(process, end.status(), matches!(end, End::Kill | End::Code(RAW, _)));
                Ok(())
            }
            Op::Signalled { child, signal } => {
                let child = self.child(process, *child)?;
                let is_handled = *signal != SIGKILL && self.disposition(child, *signal) != 0;
                if is_handled || !self.processes[child].is_parked || self.processes[child].end.is_some() {
                    return Err(Invalid);
                }
                self.end(child, SIGNALLED + signal, *signal == SIGKILL);
                Ok(())
            }
            Op::Join { list } if !self.processes[process].threads.remove(list) => return Err(Invalid),
            Op::Raise { .. } | Op::Storm { .. } | Op::Join { .. } | Op::Orphaned | Op::Setsid => Ok(()),
            Op::KillAt { child, .. } => {
                self.child(process, *child)?;
                Ok(())
            }
            Op::Park => {
                self.processes[process].is_parked = true;
                Ok(())
            }
            Op::Start { .. } | Op::Exec { .. } | Op::Thread { .. } => return Err(Invalid),
            _ => return self.file_operation(process, op),
        };
        Ok(done.map(|()| Detail::None))
    }

    pub(crate) fn disposition(&self, process: Process, signal: i32) -> u8 {
        self.processes[process].signals.get(&signal).copied().unwrap_or(0)
    }

    fn make_directory(&mut self, process: Process, path: &str, mode: u32, tracked: bool) -> Result<(), i32> {
        let from = self.processes[process].from;
        let node = Node::Directory { mode, names: BTreeMap::new(), parent: None };
        let id = self.world.add(from, path, node)?;
        if tracked {
            self.record(process, id);
        }
        Ok(())
    }

    fn rmdir(&mut self, process: Process, path: &str) -> Result<Result<(), i32>, Invalid> {
        let from = self.processes[process].from;
        if let Ok(id) = self.world.directory(from, path) {
            self.must_be_idle(process, id)?;
        }
        Ok(self.world.rmdir(from, path).map(drop))
    }

    fn rename(&mut self, process: Process, old: &str, new: &str) -> Result<Result<(), i32>, Invalid> {
        let from = self.processes[process].from;
        if old == "." {
            return Err(Invalid);
        }
        if let Ok(id) = self.world.directory(from, new) {
            self.must_be_idle(process, id)?;
        }
        if let Ok(id) = self.world.directory(from, old) {
            self.must_be_held(process, id)?;
        }
        Ok(self.world.rename(from, old, new).map(drop))
    }

    /// Nobody's working directory or root is removed, nor a directory in which a server keeps a name for an open file. What
    /// another process has closed, or whether it has ended, is known once it was waited for.
    fn must_be_idle(&self, process: Process, id: Id) -> Result<(), Invalid> {
        let is_idle = self.processes.iter().enumerate().all(|(other, state)| {
            let stands_in = state.end.is_none() && (state.from.cwd == id || state.from.root == Some(id));
            let has_open = if other == process {
                state.may_be_open_in().contains(&id)
            } else {
                !self.was_waited_for(other) && state.opened_in.contains(&id)
            };
            !stands_in && !has_open
        });
        if is_idle { Ok(()) } else { Err(Invalid) }
    }

    /// What another process made, and nothing keeps for this one, may go before it is moved.
    fn must_be_held(&self, process: Process, id: Id) -> Result<(), Invalid> {
        let holds = self.processes[process].holds;
        let is_moved = |record: &Record| record.maker != process && self.world.is_in(record.node, id);
        if holds || !self.records.iter().any(is_moved) { Ok(()) } else { Err(Invalid) }
    }

    fn child(&self, parent: Process, list: List) -> Result<Process, Invalid> {
        let is_it = |state: &State| state.parent == Some(parent) && state.list == list;
        self.processes.iter().position(is_it).ok_or(Invalid)
    }

    fn wait(&mut self, process: Process, list: List) -> Result<Detail, Invalid> {
        let child = self.child(process, list)?;
        let status = self.processes[child].end.ok_or(Invalid)?;
        self.processes[child].waited = true;
        if self.rules.at_once && self.has_ended(child) {
            self.remove_of(child);
        }
        Ok(Detail::Status(status, None))
    }

    fn end(&mut self, process: Process, status: i32, is_unclean: bool) {
        self.note_files_in_use(process);
        let state = &mut self.processes[process];
        state.end = Some(status);
        state.clean &= !is_unclean;
    }
}

/// As `TMPSHIM_TRACK` has it.
pub(crate) fn is_tracked(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with("k-") || name.starts_with('%'))
}

/// Goes through a whole program.
pub(crate) fn expected(program: &Program, rules: Rules) -> Result<Expected, Invalid> {
    let mut run = Run {
        model: Model::new(rules),
        program,
        answers: program.lists.iter().map(|list| vec![Answer::default(); list.len()]).collect(),
    };
    run.list(0, 0, false)?;
    let Run { model, answers, .. } = run;
    model.finish(answers)
}

struct Run<'p> {
    model: Model,
    program: &'p Program,
    answers: Vec<Vec<Answer>>,
}

impl Run<'_> {
    fn list(&mut self, process: Process, list: List, is_thread: bool) -> Result<(), Invalid> {
        let (ops, is_loose) = (&self.program.lists[list], self.program.loose[list]);
        if is_loose {
            self.model.cut_off(process);
        }
        let mut killed = BTreeSet::new();
        for (place, op) in ops.iter().enumerate() {
            let mut answer = Answer::default();
            match op {
                Op::Start { child, way, files } => {
                    let new = self.model.start(process, *child, *way, files)?;
                    // A process that is forked while its parent cleans up finds what goes, too.
                    self.list(new, *child, is_thread && is_loose)?;
                }
                Op::Exec { image, files } => {
                    self.model.execute(process, files)?;
                    return self.list(process, *image, false);
                }
                Op::Thread { list } => {
                    self.model.thread(process, *list, self.program.loose[*list]);
                    self.list(process, *list, true)?;
                }
                _ => answer = self.model.step(process, is_loose, op)?,
            }
            if let Op::KillAt { child, .. } = op {
                killed.insert(*child);
            }
            if let (Op::Wait { child }, Detail::Status(status, _)) = (op, answer.detail)
                && killed.contains(child)
            {
                answer.detail = Detail::Status(status, Some(SIGNALLED + SIGKILL));
            }
            // The process may clean up already while the thread still runs.
            if is_loose && is_thread {
                answer.errno = ANY;
            }
            self.answers[list][place] = answer;
        }
        Ok(())
    }
}
