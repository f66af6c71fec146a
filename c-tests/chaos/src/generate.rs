//! Random programs. One number decides all of it. Each process, and each thread, has names and files of its own, which it may
//! hand over to those that it starts: so all may run at once, and yet it is known what must come of it.

mod ends;
mod names;
mod operations;

use fastrand::Rng;

use crate::model::{Model, Rules};
use crate::script::{Answer, File, List, Op, Program, Way};

/// A directory that an actor may do with what it likes.
#[derive(Clone, Debug)]
struct Directory {
    /// From the arena: `/name/name`.
    path: String,
    /// The path that it has on record: it goes only while it has that.
    recorded: Option<String>,
    maker: usize,
}

impl Directory {
    fn is_tracked(&self) -> bool {
        self.recorded.as_ref() == Some(&self.path)
    }
}

#[derive(Clone, Debug)]
struct Open {
    file: File,
    /// Of the directory that it was opened in.
    directory: String,
    flags: i32,
    is_published: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Process,
    /// Shares its parent's memory: what it may do is little.
    Vfork,
    Thread,
}

/// Whoever carries out a list.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Actor {
    process: usize,
    list: List,
    kind: Kind,
    is_loose: bool,
    depth: usize,
    directories: Vec<Directory>,
    files: Vec<Open>,
    /// Files and links with names.
    plain: Vec<String>,
    /// Processes to be waited for; whether they wait for a signal.
    children: Vec<(List, bool)>,
    threads: Vec<List>,
    loose_threads: bool,
    cwd: Option<String>,
    /// A child of another image counts on directories that only an exit leaves to it.
    must_exit: bool,
    on_main_thread: bool,
}

struct Generator {
    rng: Rng,
    model: Model,
    program: Program,
    names: usize,
    files: usize,
    budget: usize,
    /// Whether lists may be cut off at any instant.
    wild: bool,
}

const MOST_LISTS: usize = 24;
const MOST_FILES: usize = 250;
const MOST_NAMES: usize = 500;

/// The program of a seed. Without `wild` nothing in it depends on time.
pub(crate) fn program(seed: u64, wild: bool) -> Program {
    // The rules make no difference to what is generated, but these notice most.
    let rules = Rules { removes: true, at_once: true, supervised: false, hides: true };
    let mut rng = Rng::with_seed(seed);
    let budget = rng.usize(20..160);
    let mut generator =
        Generator { rng, model: Model::new(rules), program: Program::default(), names: 0, files: 0, budget, wild };
    let list = generator.new_list(false);
    let mut actor = Actor::new(0, list, Kind::Process, 0);
    generator.body(&mut actor);
    generator.program
}

impl Actor {
    fn new(process: usize, list: List, kind: Kind, depth: usize) -> Self {
        Self {
            process,
            list,
            kind,
            is_loose: false,
            depth,
            directories: vec![],
            files: vec![],
            plain: vec![],
            children: vec![],
            threads: vec![],
            loose_threads: false,
            cwd: None,
            must_exit: false,
            on_main_thread: kind == Kind::Process,
        }
    }

    fn has_threads(&self) -> bool {
        !self.threads.is_empty() || self.loose_threads || self.kind == Kind::Thread
    }
}

impl Generator {
    fn new_list(&mut self, is_loose: bool) -> List {
        self.program.lists.push(vec![]);
        self.program.loose.push(is_loose);
        self.program.lists.len() - 1
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(0..100) < percent
    }

    /// Adds the operation if the model knows what must come of it.
    fn emit(&mut self, actor: &Actor, op: Op) -> Option<Answer> {
        let answer = self.model.step(actor.process, actor.is_loose, &op).ok()?;
        self.program.lists[actor.list].push(op);
        self.budget = self.budget.saturating_sub(1);
        Some(answer)
    }

    /// The same of what must work.
    fn works(&mut self, actor: &Actor, op: Op) -> bool {
        self.emit(actor, op).is_some_and(|answer| answer.errno == 0)
    }

    /// Adds one that begins another list, which the model has been told of.
    fn push(&mut self, actor: &Actor, op: Op) {
        self.program.lists[actor.list].push(op);
    }

    fn body(&mut self, actor: &mut Actor) {
        if actor.is_loose {
            self.model.cut_off(actor.process);
        }
        let most = if actor.depth == 0 { 60 } else { 25 };
        let mut left = self.rng.usize(2..most).min(self.budget.max(3));
        while left > 0 && self.budget > 0 {
            self.operation(actor);
            left -= 1;
        }
        match actor.kind {
            Kind::Thread => {}
            Kind::Vfork => self.end_of_vfork(actor),
            Kind::Process => self.end(actor),
        }
    }

    /// Starts a process, and generates what it does.
    fn start(&mut self, actor: &mut Actor) {
        if self.program.lists.len() >= MOST_LISTS || actor.depth >= 4 || self.budget < 6 || actor.kind == Kind::Vfork {
            return;
        }
        let wild = actor.is_loose || (self.wild && self.chance(12));
        let way = match self.rng.u32(0..10) {
            // Whether another thread has made something by then decides what becomes of what a vfork child makes.
            0 | 1 if !actor.is_loose && !actor.has_threads() => Way::Vfork,
            2 | 3 => Way::Spawn,
            _ => Way::Fork,
        };
        let wild = wild && way != Way::Vfork;
        let is_orphan = !wild && way != Way::Vfork && self.chance(25);
        let list = self.new_list(wild);
        let (files, given) = self.hand_over(actor, way);
        let Ok(process) = self.model.start(actor.process, list, way, &files) else { return };
        self.push(actor, Op::Start { child: list, way, files });
        let kind = if way == Way::Vfork { Kind::Vfork } else { Kind::Process };
        let mut child = Actor::new(process, list, kind, actor.depth + 1);
        child.is_loose = wild;
        child.files = given;
        child.cwd.clone_from(&actor.cwd);
        child.on_main_thread = way == Way::Spawn || (way == Way::Fork && actor.on_main_thread);
        match way {
            Way::Vfork => {}
            Way::Fork => {
                child.directories = self.hand_over_directories(actor, |directory| !wild || directory.is_tracked());
            }
            Way::Spawn if is_orphan && self.can_be_inherited_by_image(actor) => {
                // Those that the maker's exit notes it for. It only looks at them.
                let process = actor.process;
                let seen =
                    self.hand_over_directories(actor, |directory| directory.is_tracked() && directory.maker == process);
                actor.must_exit |= !seen.is_empty();
                self.orphan(&child, &seen);
            }
            Way::Spawn => {
                // What is tracked goes at its maker's end, and with it what is in it.
                let tracked: Vec<_> = actor.directories.iter().filter(|one| one.is_tracked()).cloned().collect();
                let stays = |directory: &Directory| !tracked.iter().any(|one| names::is_in(&one.path, &directory.path));
                child.directories = self.hand_over_directories(actor, |directory| !wild && stays(directory));
            }
        }
        if way == Way::Fork && is_orphan {
            let seen = child.directories.clone();
            self.orphan(&child, &seen);
        }
        let waits = !is_orphan && !wild && way != Way::Vfork && self.chance(20);
        if waits && self.body_until_signalled(&mut child) {
            actor.children.push((list, true));
            return;
        }
        self.body(&mut child);
        if wild && !actor.is_loose {
            let most = 1 << self.rng.u32(4..20);
            let spins = self.rng.u32(0..most);
            self.emit(actor, Op::KillAt { child: list, spins });
        }
        if !is_orphan {
            actor.children.push((list, false));
            if way == Way::Vfork || (!actor.is_loose && self.chance(40)) {
                self.wait_for_one(actor);
            }
        }
    }

    fn can_be_inherited_by_image(&self, actor: &Actor) -> bool {
        actor.kind == Kind::Process
            && !actor.is_loose
            && !actor.loose_threads
            && self.model.can_note_children(actor.process)
    }

    /// It goes on when its parent is gone, and what it was left must be there.
    fn orphan(&mut self, child: &Actor, seen: &[Directory]) {
        if self.chance(50) {
            self.emit(child, Op::Setsid);
        }
        self.emit(child, Op::Orphaned);
        for directory in seen {
            let path = self.spell(child, &directory.path);
            self.emit(child, Op::Stands { path });
        }
    }

    /// Not where it must exit by itself.
    fn body_until_signalled(&mut self, child: &mut Actor) -> bool {
        let mut left = self.rng.usize(1..8);
        while left > 0 && self.budget > 0 {
            self.operation(child);
            left -= 1;
        }
        self.join_all(child);
        self.wait_for_all(child);
        !child.must_exit && !child.loose_threads && self.emit(child, Op::Park).is_some()
    }

    fn hand_over(&mut self, actor: &mut Actor, way: Way) -> (Vec<File>, Vec<Open>) {
        if way == Way::Vfork {
            return (vec![], vec![]);
        }
        let mut given = vec![];
        let mut place = 0;
        while place < actor.files.len() {
            let stays_open = actor.files[place].flags & operations::O_CLOEXEC == 0;
            // The giver may still remove the name of one that has got one.
            let is_all = !actor.files[place].is_published;
            if is_all && given.len() < 4 && (way == Way::Fork || stays_open) && self.chance(30) {
                given.push(actor.files.remove(place));
            } else {
                place += 1;
            }
        }
        (given.iter().map(|open| open.file).collect(), given)
    }

    /// With all that is in them: paths of the giver's that lie below are the child's, too.
    fn hand_over_directories(&mut self, actor: &mut Actor, fits: impl Fn(&Directory) -> bool) -> Vec<Directory> {
        let mut given: Vec<Directory> = vec![];
        for directory in actor.directories.clone() {
            let is_top = directory.path.matches('/').count() == 1;
            // The giver must not be in it any more, nor have files there that it closes later.
            let is_used = actor.cwd.as_ref().is_some_and(|cwd| names::is_in(cwd, &directory.path));
            if is_top && fits(&directory) && !is_used && self.chance(40) {
                given.extend(actor.directories.extract_if(.., |below| names::is_in(&below.path, &directory.path)));
                actor.plain.retain(|path| !names::is_in(path, &directory.path));
            }
        }
        given
    }

    fn thread(&mut self, actor: &mut Actor) {
        if self.program.lists.len() >= MOST_LISTS || actor.kind != Kind::Process || self.budget < 6 || actor.is_loose {
            return;
        }
        let is_loose = self.wild && self.chance(10) && !actor.must_exit;
        let list = self.new_list(is_loose);
        self.push(actor, Op::Thread { list });
        self.model.thread(actor.process, list, is_loose);
        let mut thread = Actor::new(actor.process, list, Kind::Thread, actor.depth + 1);
        thread.is_loose = is_loose;
        if !is_loose {
            thread.directories = self.hand_over_directories(actor, |_| true);
            thread.files = self.hand_over(actor, Way::Fork).1;
        }
        self.body(&mut thread);
        self.wait_for_all(&mut thread);
        if is_loose {
            actor.loose_threads = true;
        } else {
            actor.threads.push(list);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::program;
    use crate::model::{Rules, expected};
    use crate::script::Op;

    #[test]
    fn the_model_knows_every_program_whatever_the_rules() {
        let mut operations = 0;
        for seed in 0..300 {
            for wild in [false, true] {
                let program = program(seed, wild);
                operations += program.operations();
                for number in 0..16 {
                    let is = |bit: u32| number & bit != 0;
                    let rules = Rules { removes: is(1), at_once: is(2), supervised: is(4), hides: is(8) };
                    assert!(expected(&program, rules).is_ok(), "seed {seed}, {rules:?}");
                }
            }
        }
        assert!(operations > 300 * 2 * 20, "{operations}");
    }

    #[test]
    fn every_kind_of_operation_is_among_few_programs() {
        let all: Vec<Op> = (0..300).flat_map(|seed| program(seed, true).lists.into_iter().flatten()).collect();
        let has = |kind: fn(&Op) -> bool| assert!(all.iter().any(kind));
        has(|op| matches!(op, Op::Chroot { .. }));
        has(|op| matches!(op, Op::Closefrom));
        has(|op| matches!(op, Op::KillAt { .. }));
        has(|op| matches!(op, Op::Signalled { .. }));
        has(|op| matches!(op, Op::Exec { .. }));
        has(|op| matches!(op, Op::Orphaned));
        has(|op| matches!(op, Op::Setsid));
        has(|op| matches!(op, Op::Storm { .. }));
        has(|op| matches!(op, Op::Thread { .. }));
        has(|op| matches!(op, Op::Gone { .. }));
        for form in 0..7 {
            assert!(
                all.iter().any(|op| matches!(op, Op::Publish { form: other, .. } if *other == form)),
                "form {form}"
            );
        }
    }
}
