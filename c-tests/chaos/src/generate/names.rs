//! Paths: as the generator keeps them, from the arena, and as a process spells them.

use super::{Actor, Generator};

pub(super) fn is_in(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What a path is called after something at or above it was renamed.
fn renamed(path: &str, from: &str, to: &str) -> String {
    if is_in(path, from) { format!("{to}{}", &path[from.len()..]) } else { path.to_owned() }
}

impl Generator {
    pub(super) fn new_name(&mut self) -> usize {
        self.names += 1;
        self.names
    }

    /// The path as the program gives it: absolute, or from where it is.
    pub(super) fn spell(&mut self, actor: &Actor, path: &str) -> String {
        if let Some(cwd) = &actor.cwd
            && is_in(path, cwd)
            && self.chance(60)
        {
            let rest = &path[cwd.len()..];
            return if rest.is_empty() { ".".to_owned() } else { rest[1..].to_owned() };
        }
        format!("@{path}")
    }

    /// The same of what is to be removed or renamed, which `.` cannot be.
    pub(super) fn spell_name(&mut self, actor: &Actor, path: &str) -> String {
        if actor.cwd.as_deref() == Some(path) { format!("@{path}") } else { self.spell(actor, path) }
    }

    /// A directory to make something in: the arena itself, or one of its own.
    pub(super) fn place(&mut self, actor: &Actor) -> String {
        if self.chance(45) { String::new() } else { self.directory(actor).unwrap_or_default() }
    }

    pub(super) fn directory(&mut self, actor: &Actor) -> Option<String> {
        if actor.directories.is_empty() {
            return None;
        }
        let place = self.rng.usize(..actor.directories.len());
        Some(actor.directories[place].path.clone())
    }

    /// One of its own that lies in a tracked one of its own, or is it.
    pub(super) fn tracked_directory(&mut self, actor: &Actor) -> Option<String> {
        let goes = |path: &str| {
            let top = path.split('/').nth(1).unwrap_or_default();
            actor.directories.iter().any(|other| other.is_tracked() && other.path[1..] == *top)
        };
        let tracked: Vec<_> = actor.directories.iter().filter(|directory| goes(&directory.path)).collect();
        if tracked.is_empty() { None } else { Some(tracked[self.rng.usize(..tracked.len())].path.clone()) }
    }
}

impl Actor {
    /// Follows a rename of its own.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        for directory in &mut self.directories {
            directory.path = renamed(&directory.path, from, to);
        }
        for path in self.plain.iter_mut().chain(self.files.iter_mut().map(|open| &mut open.directory)) {
            *path = renamed(path, from, to);
        }
        if let Some(cwd) = &mut self.cwd {
            *cwd = renamed(cwd, from, to);
        }
    }
}
