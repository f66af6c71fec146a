//! A filesystem as the model sees it: names, and what they lead to. Paths are those of the script.

use std::collections::BTreeMap;

pub(crate) const ENOENT: i32 = 2;
pub(crate) const EEXIST: i32 = 17;
pub(crate) const ENOTDIR: i32 = 20;
pub(crate) const EISDIR: i32 = 21;
pub(crate) const EINVAL: i32 = 22;
pub(crate) const ENOTEMPTY: i32 = 39;
/// What the path leads to is outside of the arena.
pub(crate) const ELSEWHERE: i32 = -100;

/// The number of a node, which stands for its identity.
pub(crate) type Id = usize;

/// The root of the directory that all of a program is in.
pub(crate) const ARENA: Id = 0;

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Directory { mode: u32, names: BTreeMap<String, Id>, parent: Option<Id> },
    File { mode: u32, bytes: Vec<u8>, links: u32 },
    Link,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
}

/// Where a process's paths begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From {
    pub(crate) cwd: Id,
    pub(crate) root: Option<Id>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::Directory { mode: 0o755, names: BTreeMap::new(), parent: None }] }
    }

    fn child(&self, directory: Id, name: &str) -> Result<Option<Id>, i32> {
        match &self.nodes[directory] {
            Node::Directory { names, .. } => Ok(if name == "." { Some(directory) } else { names.get(name).copied() }),
            _ => Err(ENOTDIR),
        }
    }

    /// The directory that a path's last name is in, and that name.
    pub(crate) fn above<'p>(&self, from: From, path: &'p str) -> Result<(Id, &'p str), i32> {
        let (mut at, rest) = match (path.strip_prefix('@'), path.strip_prefix('/')) {
            (Some(rest), _) if from.root.is_none() => (ARENA, rest.trim_start_matches('/')),
            (None, Some(rest)) => (from.root.ok_or(ELSEWHERE)?, rest),
            (Some(_), _) => return Err(ENOENT),
            (None, None) => (from.cwd, path),
        };
        let (directories, last) = rest.rsplit_once('/').unwrap_or(("", rest));
        for name in directories.split('/').filter(|name| !name.is_empty()) {
            at = self.child(at, name)?.ok_or(ENOENT)?;
        }
        Ok((at, if last.is_empty() { "." } else { last }))
    }

    pub(crate) fn find(&self, from: From, path: &str) -> Result<Id, i32> {
        let (directory, name) = self.above(from, path)?;
        self.child(directory, name)?.ok_or(ENOENT)
    }

    pub(crate) fn directory(&self, from: From, path: &str) -> Result<Id, i32> {
        let found = self.find(from, path)?;
        if matches!(self.nodes[found], Node::Directory { .. }) { Ok(found) } else { Err(ENOTDIR) }
    }

    /// Whether the directory can still be reached from the arena.
    pub(crate) fn is_attached(&self, mut directory: Id) -> bool {
        while let Node::Directory { parent, .. } = &self.nodes[directory] {
            match parent {
                Some(above) => directory = *above,
                None => return directory == ARENA,
            }
        }
        false
    }

    /// Whether it is that directory, or below it.
    pub(crate) fn is_in(&self, mut directory: Id, above: Id) -> bool {
        loop {
            if directory == above {
                return true;
            }
            match &self.nodes[directory] {
                Node::Directory { parent: Some(parent), .. } => directory = *parent,
                _ => return false,
            }
        }
    }

    /// The path from the arena to a directory.
    pub(crate) fn path_of(&self, directory: Id) -> Option<String> {
        let Node::Directory { parent, .. } = &self.nodes[directory] else { return None };
        let Some(parent) = *parent else { return (directory == ARENA).then(String::new) };
        let Node::Directory { names, .. } = &self.nodes[parent] else { return None };
        let name = names.iter().find(|(_, id)| **id == directory)?.0;
        Some(format!("{}/{name}", self.path_of(parent)?))
    }

    /// A new node under a name that nothing has yet.
    pub(crate) fn add(&mut self, from: From, path: &str, node: Node) -> Result<Id, i32> {
        let (directory, name) = self.above(from, path)?;
        let name = name.to_owned();
        if self.child(directory, &name)?.is_some() {
            return Err(EEXIST);
        }
        if !self.is_attached(directory) {
            return Err(ENOENT);
        }
        let id = self.nodes.len();
        self.nodes.push(node);
        self.attach(directory, name, id);
        Ok(id)
    }

    pub(crate) fn attach(&mut self, directory: Id, name: String, id: Id) {
        match &mut self.nodes[id] {
            Node::Directory { parent, .. } => *parent = Some(directory),
            Node::File { links, .. } => *links += 1,
            Node::Link => {}
        }
        if let Node::Directory { names, .. } = &mut self.nodes[directory] {
            names.insert(name, id);
        }
    }

    fn detach(&mut self, directory: Id, name: &str) {
        let Node::Directory { names, .. } = &mut self.nodes[directory] else { return };
        let Some(id) = names.remove(name) else { return };
        match &mut self.nodes[id] {
            Node::Directory { parent, .. } => *parent = None,
            Node::File { links, .. } => *links -= 1,
            Node::Link => {}
        }
    }

    fn is_empty(&self, id: Id) -> bool {
        matches!(&self.nodes[id], Node::Directory { names, .. } if names.is_empty())
    }

    pub(crate) fn rmdir(&mut self, from: From, path: &str) -> Result<Id, i32> {
        let id = self.directory(from, path)?;
        if !self.is_empty(id) {
            return Err(ENOTEMPTY);
        }
        let (directory, name) = self.above(from, path)?;
        let name = name.to_owned();
        self.detach(directory, &name);
        Ok(id)
    }

    pub(crate) fn unlink(&mut self, from: From, path: &str) -> Result<(), i32> {
        let id = self.find(from, path)?;
        if matches!(self.nodes[id], Node::Directory { .. }) {
            return Err(EISDIR);
        }
        let (directory, name) = self.above(from, path)?;
        let name = name.to_owned();
        self.detach(directory, &name);
        Ok(())
    }

    pub(crate) fn rename(&mut self, from: From, old: &str, new: &str) -> Result<Option<Id>, i32> {
        let id = self.find(from, old)?;
        let (from_directory, from_name) = self.above(from, old)?;
        let (to_directory, to_name) = self.above(from, new)?;
        if !self.is_attached(to_directory) {
            return Err(ENOENT);
        }
        let is_directory = matches!(self.nodes[id], Node::Directory { .. });
        if is_directory && self.is_in(to_directory, id) {
            return Err(EINVAL);
        }
        let (from_name, to_name) = (from_name.to_owned(), to_name.to_owned());
        let there = self.child(to_directory, &to_name)?;
        if let Some(there) = there {
            if there == id {
                return Ok(None);
            }
            match (is_directory, matches!(self.nodes[there], Node::Directory { .. })) {
                (true, false) => return Err(ENOTDIR),
                (false, true) => return Err(EISDIR),
                (true, true) if !self.is_empty(there) => return Err(ENOTEMPTY),
                _ => self.detach(to_directory, &to_name),
            }
        }
        // A file with several names must not count as gone in between.
        self.attach(to_directory, to_name, id);
        if let Node::File { links, .. } = &mut self.nodes[id] {
            *links -= 1;
        }
        if let Node::Directory { names, .. } = &mut self.nodes[from_directory] {
            names.remove(&from_name);
        }
        Ok(there)
    }

    /// Removes what is at that path from the arena, with all that is in it, if it is that directory.
    pub(crate) fn remove(&mut self, path: &str, id: Id) -> bool {
        let from = From { cwd: ARENA, root: None };
        let whole = format!("@{path}");
        if self.find(from, &whole) != Ok(id) {
            return false;
        }
        let Ok((directory, name)) = self.above(from, &whole) else { return false };
        let name = name.to_owned();
        self.detach(directory, &name);
        true
    }

    /// All that there is, by path from the arena.
    pub(crate) fn all(&self) -> BTreeMap<String, Id> {
        let mut all = BTreeMap::new();
        let mut left = vec![(ARENA, String::new())];
        while let Some((directory, path)) = left.pop() {
            let Node::Directory { names, .. } = &self.nodes[directory] else { continue };
            for (name, id) in names {
                let below = format!("{path}/{name}");
                left.push((*id, below.clone()));
                all.insert(below, *id);
            }
        }
        all
    }
}
