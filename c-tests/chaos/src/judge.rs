//! Compares what is there with what must be.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::model::{Expected, When};
use crate::world::Node;

/// A server hears of a file's last close after the process has ended.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) struct Judge<'a> {
    pub(crate) arena: &'a Path,
    pub(crate) state: &'a Path,
    pub(crate) expected: &'a Expected,
    /// What mkdtemp chose.
    pub(crate) names: &'a [String],
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    Directory(u32),
    File(u32, Vec<u8>),
    Link,
    Other,
}

impl Judge<'_> {
    /// All differences, when the program has ended (`is_final`: and whatever cleans up behind it, too).
    pub(crate) fn compare(&self, is_final: bool) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut nap = Duration::from_micros(200);
        loop {
            let differences = self.look(is_final).unwrap_or_else(|error| vec![error.to_string()]);
            if differences.is_empty() || Instant::now() > deadline {
                return differences;
            }
            sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(200));
        }
    }

    /// Whether anything is there that only a sweep has to remove.
    pub(crate) fn needs_sweep(&self) -> bool {
        !self.expected.is_clean || fs::read_dir(self.state).is_ok_and(|mut entries| entries.next().is_some())
    }

    pub(crate) fn may_keep_something(&self) -> bool {
        self.expected.lenient.values().any(|when| *when == When::Never)
    }

    fn look(&self, is_final: bool) -> io::Result<Vec<String>> {
        let mut differences = vec![];
        let found = self.walk()?;
        let expected = &self.expected.world.all();
        for (path, id) in expected {
            let optional = self.expected.optional.contains(id);
            match found.get(path) {
                None if optional => {}
                None => differences.push(format!("{path} is missing")),
                Some(found) => differences.extend(differs(path, &self.expected.world.nodes[*id], found)),
            }
        }
        for path in found.keys().filter(|path| !expected.contains_key(*path)) {
            if !self.may_be_left(path, is_final) {
                differences.push(format!("{path} is left"));
            }
        }
        if (is_final && !self.may_keep_something()) || self.expected.is_clean {
            for entry in fs::read_dir(self.state)? {
                let entry = entry?;
                let (name, inside) = (entry.file_name(), entry.path());
                let below = fs::read_dir(inside).into_iter().flatten().flatten().map(|below| below.file_name());
                let below: Vec<_> = below.collect();
                differences.push(format!("{} is left in the state directory, with {below:?}", name.display()));
            }
        }
        Ok(differences)
    }

    fn may_be_left(&self, path: &str, is_final: bool) -> bool {
        let until = if is_final { When::Never } else { When::Swept };
        // A name of ours may be left by SIGKILL, until the sweep.
        if !is_final
            && !self.expected.is_clean
            && path.rsplit('/').next().is_some_and(|name| name.starts_with(".tmpshim-"))
        {
            return true;
        }
        self.expected.lenient.iter().any(|(directory, when)| {
            *when >= until
                && path.strip_prefix(directory.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// All that is in the arena, by the script's names.
    fn walk(&self) -> io::Result<BTreeMap<String, Found>> {
        let mut all = BTreeMap::new();
        let mut left = vec![(self.arena.to_owned(), String::new())];
        while let Some((directory, path)) = left.pop() {
            let entries = match fs::read_dir(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                let name = self.script_name(&entry.file_name().to_string_lossy());
                let below = format!("{path}/{name}");
                match look_at(&entry.path()) {
                    // It went in between.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                    Ok(found) => {
                        if matches!(found, Found::Directory(_)) {
                            left.push((entry.path(), below.clone()));
                        }
                        all.insert(below, found);
                    }
                }
            }
        }
        Ok(all)
    }

    /// `m-7.x3YgAb` is `%7`, also where the process was killed before it could say what it had made.
    fn script_name(&self, name: &str) -> String {
        let number = name.strip_prefix("m-").and_then(|rest| rest.split_once('.'));
        let number: Option<usize> = number.and_then(|(number, _)| number.parse().ok());
        match number {
            Some(number) if self.names.get(number).is_some_and(|made| made.is_empty() || made == name) => {
                format!("%{number}")
            }
            _ => name.to_owned(),
        }
    }
}

fn look_at(path: &Path) -> io::Result<Found> {
    let metadata = fs::symlink_metadata(path)?;
    let mode = metadata.permissions().mode() & 0o7777;
    Ok(if metadata.is_dir() {
        Found::Directory(mode)
    } else if metadata.is_symlink() {
        Found::Link
    } else if metadata.is_file() {
        Found::File(mode, fs::read(path)?)
    } else {
        Found::Other
    })
}

fn differs(path: &str, node: &Node, found: &Found) -> Option<String> {
    match (node, found) {
        (Node::Directory { mode, .. }, Found::Directory(is)) if mode == is => None,
        (Node::Directory { mode, .. }, Found::Directory(is)) => {
            Some(format!("{path} has mode 0{is:o}, must be 0{mode:o}"))
        }
        (Node::File { mode, bytes, .. }, Found::File(is, content)) => {
            if mode != is {
                return Some(format!("{path} has mode 0{is:o}, must be 0{mode:o}"));
            }
            let first = bytes.iter().zip(content).position(|(must, is)| must != is);
            (bytes != content).then(|| {
                let (is, must) = (content.len(), bytes.len());
                format!("{path} has {is} bytes, must have {must}; the first other one is at {first:?}")
            })
        }
        (Node::Link, Found::Link) => None,
        _ => Some(format!(
            "{path} is something else: {}",
            match found {
                Found::Directory(_) => "a directory",
                Found::File(..) => "a file",
                Found::Link => "a link",
                Found::Other => "neither file nor directory",
            }
        )),
    }
}
