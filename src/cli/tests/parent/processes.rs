//! What is running, and in which state.

use std::fs;
use std::path::Path;

pub(crate) fn kill(pid: i32, signal: i32) {
    // SAFETY: kill(2) touches no memory.
    let answer = unsafe { libc::kill(pid, signal) };
    assert_eq!(answer, 0, "{pid} {signal}");
}

/// Every process: its number, its parent's and its state.
pub(crate) fn processes() -> Vec<(i32, i32, char)> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats
        .filter_map(|stat| {
            let (pid, rest) = stat.split_once(' ')?;
            let mut fields = rest.rsplit_once(") ")?.1.split(' ');
            let state = fields.next()?.chars().next()?;
            Some((pid.parse().ok()?, fields.next()?.parse().ok()?, state))
        })
        .collect()
}

/// Everybody below a process: numbers and states.
pub(crate) fn descendants(of: i32) -> Vec<(i32, char)> {
    let all = processes();
    let mut found = Vec::new();
    let mut parents = vec![of];
    while let Some(above) = parents.pop() {
        for &(pid, _, state) in all.iter().filter(|(_, parent, _)| *parent == above) {
            found.push((pid, state));
            parents.push(pid);
        }
    }
    found
}

pub(crate) fn state_of(pid: i32) -> Option<char> {
    processes().into_iter().find(|(number, _, _)| *number == pid).map(|(_, _, state)| state)
}

/// Stopped by a signal, and where somebody traces it, by the tracer's leave.
pub(crate) fn is_stopped(pid: i32) -> bool {
    matches!(state_of(pid), Some('T' | 't'))
}

/// Below a process, the first that runs this file.
pub(crate) fn running(file: &str, below: i32) -> Option<i32> {
    let runs = |pid: &i32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == Path::new(file));
    descendants(below).into_iter().map(|(pid, _)| pid).find(runs)
}
