//! How lists end: waiting for those that were started, another image, another root, and all ways to end a process.

use super::{Actor, Generator, Kind, MOST_LISTS};
use crate::script::{CODES, End, LAST_THREAD, Op, RAW};

/// Signals that end a process by default; SIGALRM is the storm's.
const DEADLY: [i32; 13] = [15, 2, 1, 3, 10, 12, 13, 24, 40, 11, 4, 7, 8];
/// Those that a parent sends.
const SENT: [i32; 7] = [9, 15, 2, 1, 10, 9, 3];

impl Generator {
    pub(super) fn wait_for_one(&mut self, actor: &mut Actor) {
        let Some((child, is_parked)) = actor.children.pop() else { return };
        if is_parked {
            // One that it does not handle; SIGKILL is always among them.
            let start = self.rng.usize(..SENT.len());
            for turn in 0..SENT.len() {
                let signal = SENT[(start + turn) % SENT.len()];
                if self.emit(actor, Op::Signalled { child, signal }).is_some() {
                    break;
                }
            }
        }
        self.emit(actor, Op::Wait { child });
        self.look_for_what_is_gone(actor, child);
    }

    /// A directory of a child that has ended.
    fn look_for_what_is_gone(&mut self, actor: &Actor, child: usize) {
        let made = self.program.lists[child].iter().find_map(|op| match op {
            Op::Mkdtemp { path, name } if path.starts_with("@/m-") => Some(format!("/%{name}")),
            Op::Mkdir { path, .. } if path.starts_with("@/k-") => Some(path[1..].to_owned()),
            _ => None,
        });
        if let Some(path) = made {
            let path = self.spell(actor, &path);
            self.emit(actor, Op::Gone { child, path });
        }
    }

    pub(super) fn wait_for_all(&mut self, actor: &mut Actor) {
        while !actor.children.is_empty() {
            self.wait_for_one(actor);
        }
    }

    pub(super) fn join_all(&mut self, actor: &mut Actor) {
        while let Some(list) = actor.threads.pop() {
            self.emit(actor, Op::Join { list });
        }
    }

    pub(super) fn end(&mut self, actor: &mut Actor) {
        self.join_all(actor);
        while let Some((_, is_parked)) = actor.children.last() {
            if *is_parked || self.chance(70) {
                self.wait_for_one(actor);
            } else {
                actor.children.pop();
            }
        }
        let may_go_on = !actor.is_loose && !actor.loose_threads && !actor.must_exit;
        if may_go_on && self.program.lists.len() < MOST_LISTS && self.budget > 5 && self.chance(12) {
            return self.another_image(actor);
        }
        if may_go_on && self.chance(6) {
            self.another_root(actor);
        }
        let end = self.way_to_end(actor);
        if self.emit(actor, Op::End(end)).is_none() {
            let code = self.rng.i32(0..90);
            self.emit(actor, Op::End(End::Code("exit", code)));
        }
    }

    fn way_to_end(&mut self, actor: &Actor) -> End {
        let code = self.rng.i32(0..90);
        let word = CODES[self.rng.usize(..CODES.len())];
        let word = if word == "return" && !actor.on_main_thread { "exit" } else { word };
        if actor.must_exit {
            return End::Code(word, code);
        }
        match self.rng.u32(0..20) {
            0..=3 => End::Raise(DEADLY[self.rng.usize(..DEADLY.len())]),
            4 => End::Abort,
            5..=6 => End::Kill,
            7 => End::Code(RAW, code),
            8 if actor.on_main_thread && !actor.loose_threads => End::Code(LAST_THREAD, 0),
            _ => End::Code(word, code),
        }
    }

    /// exec keeps what the process has made; what it only held for others it does no more.
    fn another_image(&mut self, actor: &mut Actor) {
        let process = actor.process;
        let mut files = actor.files.clone();
        files.retain(|open| open.flags & super::operations::O_CLOEXEC == 0);
        files.truncate(4);
        let given: Vec<_> = files.iter().map(|open| open.file).collect();
        if self.model.execute(process, &given).is_err() {
            return;
        }
        let image = self.new_list(false);
        self.push(actor, Op::Exec { image, files: given });
        let mut other = Actor::new(process, image, Kind::Process, actor.depth + 1);
        other.files = files;
        other.cwd.clone_from(&actor.cwd);
        if actor.kind == Kind::Process {
            other.directories.clone_from(&actor.directories);
            // Nobody who is forked from here holds what was made before.
            let lost: Vec<_> = actor.directories.iter().filter(|one| one.is_tracked()).collect();
            other.directories.retain(|one| !lost.iter().any(|above| super::names::is_in(&one.path, &above.path)));
            let own = actor.directories.iter().filter(|one| one.is_tracked() && one.maker == process);
            for directory in own.take(3) {
                let path = self.spell(&other, &directory.path);
                self.emit(&other, Op::Stands { path });
            }
        }
        self.body(&mut other);
    }

    /// In another root there is no /proc, and nothing that the process made before.
    fn another_root(&mut self, actor: &mut Actor) {
        let Some(root) = self.directory(actor) else { return };
        let path = self.spell(actor, &root);
        if !self.works(actor, Op::Chroot { path }) {
            return;
        }
        for _ in 0..self.rng.usize(1..6) {
            let name = self.new_name();
            let op = match self.rng.u32(0..5) {
                0 => Op::Mkdtemp { name, path: format!("/m-{name}.XXXXXX") },
                1 => Op::Mkdir { door: 0, mode: 0o700, path: format!("k-{name}") },
                2 => Op::Create { path: format!("/f-{name}"), mode: self.mode(), seed: 1, length: self.length() },
                _ => {
                    self.files += 1;
                    let file = self.files;
                    let path = if self.chance(50) { "/" } else { "." }.to_owned();
                    let mode = self.mode();
                    if self.works(actor, Op::Tmpfile { file, door: 0, flags: 2, mode, path }) {
                        let length = self.length();
                        self.works(actor, Op::Write { file, seed: 7, length });
                        self.works(actor, Op::Check { file, reopened: false });
                    }
                    Op::Close { file }
                }
            };
            self.works(actor, op);
        }
    }

    pub(super) fn end_of_vfork(&mut self, actor: &mut Actor) {
        if self.chance(35) && self.program.lists.len() < MOST_LISTS && self.budget > 3 {
            return self.another_image(actor);
        }
        let code = self.rng.i32(0..90);
        let end = match self.rng.u32(0..7) {
            0 => End::Kill,
            1 => End::Raise(15),
            2 => End::Code("exit_group", code),
            3 => End::Code(RAW, code),
            4 => End::Code("_Exit", code),
            _ => End::Code("_exit", code),
        };
        if self.emit(actor, Op::End(end)).is_none() {
            self.emit(actor, Op::End(End::Code("_exit", code)));
        }
    }
}
