//! What an actor does next.

use super::names::is_in;
use super::{Actor, Directory, Generator, Kind, MOST_FILES, MOST_NAMES, Open};
use crate::script::Op;

const O_WRONLY: i32 = 1;
const O_RDWR: i32 = 2;
const O_EXCL: i32 = 0o200;
const O_APPEND: i32 = 0o2000;
pub(super) const O_CLOEXEC: i32 = 0o2_000_000;

const MODES: [u32; 8] = [0o600, 0o644, 0o666, 0o777, 0o640, 0o400, 0o000, 0o755];
const UMASKS: [u32; 5] = [0o022, 0, 0o077, 0o027, 0o002];
/// Those that a program handles or ignores here.
const HANDLED: [i32; 5] = [10, 12, 15, 1, 2];

impl Generator {
    pub(super) fn operation(&mut self, actor: &mut Actor) {
        if self.names >= MOST_NAMES - 4 || self.files >= MOST_FILES - 2 {
            return;
        }
        let calm = !actor.is_loose;
        match self.rng.u32(0..124) {
            0..=13 => self.mkdtemp(actor),
            14..=23 => self.mkdir(actor, true),
            24..=27 if calm => self.mkdir(actor, false),
            28..=33 if calm => self.rmdir(actor),
            34..=38 if calm => self.rename_directory(actor),
            39..=44 => self.create(actor),
            45..=46 if calm => self.unlink(actor),
            47..=48 if calm => self.symlink(actor),
            49 if calm => self.chmod(actor),
            50..=62 => self.tmpfile(actor),
            63..=78 => self.write(actor),
            79..=84 => self.check(actor),
            85..=90 => self.close(actor),
            91..=98 => self.publish(actor),
            99..=100 if calm => self.umask(actor),
            101..=104 if calm => self.chdir(actor),
            105 if calm => self.closefrom(actor),
            106..=108 if actor.kind == Kind::Process => self.signals(actor),
            109..=117 => self.start(actor),
            118..=119 => self.thread(actor),
            _ => self.stands(actor),
        }
    }

    fn mkdtemp(&mut self, actor: &mut Actor) {
        let (place, name) = (self.place_for(actor), self.new_name());
        let path = self.spell(actor, &format!("{place}/m-{name}.XXXXXX"));
        if self.works(actor, Op::Mkdtemp { name, path }) {
            actor.made(format!("{place}/%{name}"), true);
        }
    }

    fn mkdir(&mut self, actor: &mut Actor, is_tracked: bool) {
        let (place, name) = (self.place_for(actor), self.new_name());
        let whole = format!("{place}/{}-{name}", if is_tracked { 'k' } else { 'u' });
        // Killed in the instant after, only what is 0700 is known for its own.
        let mode = if actor.is_loose || self.chance(70) { 0o700 } else { 0o755 };
        let op = Op::Mkdir { door: self.rng.u8(0..4), mode, path: self.spell(actor, &whole) };
        if self.works(actor, op) {
            actor.made(whole, is_tracked);
        }
    }

    fn rmdir(&mut self, actor: &mut Actor) {
        let Some(whole) = self.directory(actor) else { return };
        let path = self.spell(actor, &whole);
        let is_used = actor.cwd.as_deref() == Some(&whole) || actor.files.iter().any(|open| open.directory == whole);
        if is_used || !self.works(actor, Op::Rmdir { path }) {
            return;
        }
        actor.directories.retain(|directory| directory.path != whole);
        // Something else under its name is not ours to remove, unless it is made so that it is tracked again.
        match self.rng.u32(0..4) {
            0 => {
                let Some(other) = self.directory(actor).filter(|other| !is_in(&whole, other)) else { return };
                let op = Op::Rename { from: self.spell_name(actor, &other), to: self.spell(actor, &whole) };
                if self.works(actor, op) {
                    actor.rename(&other, &whole);
                }
            }
            1 => {
                let op = Op::Symlink { target: "@/../canary".to_owned(), path: self.spell(actor, &whole) };
                if self.works(actor, op) {
                    actor.plain.push(whole);
                }
            }
            2 => {
                let op = Op::Mkdir { door: 0, mode: 0o700, path: self.spell(actor, &whole) };
                if self.works(actor, op) {
                    let is_tracked = crate::model::is_tracked(&whole);
                    actor.made(whole, is_tracked);
                }
            }
            _ => {}
        }
    }

    fn rename_directory(&mut self, actor: &mut Actor) {
        let Some(from) = self.directory(actor) else { return };
        let (place, name) = (self.place(actor), self.new_name());
        // Over another, whose record is then nobody's, or to a new name.
        let to = if self.chance(15) { self.directory(actor).unwrap_or_default() } else { format!("{place}/r-{name}") };
        if to.is_empty() || is_in(&to, &from) || actor.cwd.as_deref() == Some(&to) {
            return;
        }
        let op = Op::Rename { from: self.spell_name(actor, &from), to: self.spell(actor, &to) };
        if self.works(actor, op) {
            actor.directories.retain(|directory| directory.path != to);
            let was_tracked = actor.directories.iter().any(|one| one.path == from && one.is_tracked());
            actor.rename(&from, &to);
            // Who is traced may have been away when its directory was looked at, and it is the program's from then on.
            if self.chance(25) && !was_tracked {
                let op = Op::Rename { from: self.spell_name(actor, &to), to: self.spell(actor, &from) };
                if self.works(actor, op) {
                    actor.rename(&to, &from);
                }
            }
        }
    }

    fn create(&mut self, actor: &mut Actor) {
        let place = if actor.is_loose { self.tracked_directory(actor) } else { self.directory(actor) };
        let Some(place) = place else { return };
        let whole = format!("{place}/f-{}", self.new_name());
        let path = self.spell(actor, &whole);
        let op = Op::Create { path, mode: self.mode(), seed: self.rng.u32(0..1000), length: self.length() };
        if self.works(actor, op) {
            actor.plain.push(whole);
        }
    }

    fn unlink(&mut self, actor: &mut Actor) {
        if actor.plain.is_empty() {
            return;
        }
        let place = self.rng.usize(..actor.plain.len());
        let path = self.spell(actor, &actor.plain[place].clone());
        if self.works(actor, Op::Unlink { path }) {
            actor.plain.remove(place);
        }
    }

    fn symlink(&mut self, actor: &mut Actor) {
        let Some(place) = self.directory(actor) else { return };
        let whole = format!("{place}/l-{}", self.new_name());
        let target = if self.chance(50) { "@/../canary".to_owned() } else { format!("@{place}") };
        let op = Op::Symlink { target, path: self.spell(actor, &whole) };
        if self.works(actor, op) {
            actor.plain.push(whole);
        }
    }

    fn chmod(&mut self, actor: &mut Actor) {
        let Some(whole) = self.directory(actor) else { return };
        let op = Op::Chmod { mode: [0o700, 0o000, 0o500, 0o755][self.rng.usize(..4)], path: self.spell(actor, &whole) };
        self.works(actor, op);
    }

    fn tmpfile(&mut self, actor: &mut Actor) {
        let directory = self.place_for(actor);
        let path = self.spell(actor, &directory);
        self.files += 1;
        let mut flags = if self.chance(60) { O_RDWR } else { O_WRONLY };
        for (flag, percent) in [(O_EXCL, 12), (O_APPEND, 12), (O_CLOEXEC, 60)] {
            if self.chance(percent) {
                flags |= flag;
            }
        }
        if self.chance(2) {
            flags &= !O_RDWR & !O_WRONLY;
        }
        let file = self.files;
        let op = Op::Tmpfile { file, door: self.rng.u8(0..5), flags, mode: self.mode(), path };
        if self.works(actor, op) {
            actor.files.push(Open { file, directory, flags, is_published: false });
        }
    }

    fn write(&mut self, actor: &Actor) {
        let Some(Open { file, flags, is_published, .. }) = self.file(actor) else { return };
        // What was published may be cut off in the middle of a later write.
        if is_published && actor.is_loose {
            return;
        }
        let (seed, length) = (self.rng.u32(0..1000), self.length());
        let op = match self.rng.u32(0..12) {
            0..=1 if flags & O_APPEND == 0 => Op::Pwrite { file, seed, length, offset: self.rng.u64(0..20_000) },
            2..=3 => Op::Truncate { file, length },
            4 => Op::Fchmod { file, mode: self.mode() },
            5 => Op::Move { file },
            _ => Op::Write { file, seed, length },
        };
        self.works(actor, op);
    }

    fn check(&mut self, actor: &Actor) {
        let Some(Open { file, .. }) = self.file(actor) else { return };
        let reopened = self.chance(50);
        self.works(actor, Op::Check { file, reopened });
    }

    fn close(&mut self, actor: &mut Actor) {
        let Some(Open { file, .. }) = self.file(actor) else { return };
        if self.works(actor, Op::Close { file }) {
            actor.files.retain(|open| open.file != file);
        }
    }

    fn publish(&mut self, actor: &mut Actor) {
        let Some(Open { file, .. }) = self.file(actor) else { return };
        let (place, name) = (self.place(actor), self.new_name());
        // Now and then a name that is taken.
        let taken = actor.plain.first().cloned().filter(|_| self.chance(10));
        let whole = taken.unwrap_or_else(|| format!("{place}/p-{name}"));
        let op = Op::Publish { file, form: self.rng.u8(0..7), path: self.spell(actor, &whole) };
        if self.works(actor, op) {
            actor.plain.push(whole);
            for open in actor.files.iter_mut().filter(|open| open.file == file) {
                open.is_published = true;
                // Some servers only rename what is unlinked while it is open: no directory to be removed by rmdir.
                open.directory.clone_from(&place);
            }
        }
    }

    fn umask(&mut self, actor: &Actor) {
        if !actor.has_threads() {
            let mode = UMASKS[self.rng.usize(..UMASKS.len())];
            self.works(actor, Op::Umask { mode });
        }
    }

    fn chdir(&mut self, actor: &mut Actor) {
        if actor.has_threads() {
            return;
        }
        let whole = self.place(actor);
        let path = self.spell(actor, &whole);
        if self.works(actor, Op::Chdir { path }) {
            actor.cwd = Some(whole);
        }
    }

    fn closefrom(&mut self, actor: &mut Actor) {
        if !actor.has_threads() && self.works(actor, Op::Closefrom) {
            actor.files.clear();
        }
    }

    fn signals(&mut self, actor: &Actor) {
        let signal = HANDLED[self.rng.usize(..HANDLED.len())];
        match self.rng.u32(0..4) {
            0 => {
                let microseconds = [0, 300, 1000, 5000][self.rng.usize(..4)];
                self.works(actor, Op::Storm { microseconds });
            }
            1 if !actor.has_threads() => {
                let disposition = self.rng.u8(0..3);
                self.works(actor, Op::Signal { signal, disposition });
            }
            _ => {
                self.works(actor, Op::Raise { signal });
            }
        }
    }

    fn stands(&mut self, actor: &Actor) {
        if let Some(whole) = self.directory(actor) {
            let path = self.spell(actor, &whole);
            self.works(actor, Op::Stands { path });
        }
    }

    fn file(&mut self, actor: &Actor) -> Option<Open> {
        if actor.files.is_empty() { None } else { Some(actor.files[self.rng.usize(..actor.files.len())].clone()) }
    }

    /// As `place`; whoever may be cut off makes nothing in what stays.
    fn place_for(&mut self, actor: &Actor) -> String {
        if !actor.is_loose {
            return self.place(actor);
        }
        self.tracked_directory(actor).filter(|_| self.chance(50)).unwrap_or_default()
    }

    pub(super) fn mode(&mut self) -> u32 {
        MODES[self.rng.usize(..MODES.len())]
    }

    pub(super) fn length(&mut self) -> u64 {
        match self.rng.u32(0..20) {
            0..=1 => 0,
            2..=3 => self.rng.u64(4000..70_000),
            _ => self.rng.u64(1..600),
        }
    }
}

impl Actor {
    fn made(&mut self, path: String, is_tracked: bool) {
        let recorded = is_tracked.then(|| path.clone());
        self.directories.push(Directory { path, recorded, maker: self.process });
    }
}
