//! Who still has a path of ours in its environment: programs that may start others, whose loader will look there.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::Pid;

/// The processes whose environment names something in `directory`; `None` where that cannot be seen, as without /proc.
/// Those that another user owns, and this one may not look into, cannot have got the path from here: a set-uid
/// program's loader ignores it.
pub(crate) fn users(directory: &Path) -> Option<Vec<Pid>> {
    naming(directory, |next| next == Some(b'/'))
}

/// The same for those whose environment names `directory` itself, or something in it.
pub(crate) fn heirs(directory: &Path) -> Option<Vec<Pid>> {
    naming(directory, |next| matches!(next, None | Some(b'/' | 0)))
}

fn naming(directory: &Path, ends: impl Fn(Option<u8>) -> bool) -> Option<Vec<Pid>> {
    let needle = directory.as_os_str().as_bytes();
    let processes = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Pid::from_raw(number)
    });
    let names_it = |pid: &Pid| {
        let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
        let mut found = environment.windows(needle.len()).enumerate().filter(|(_, window)| *window == needle);
        found.any(|(at, _)| ends(environment.get(at + needle.len()).copied()))
    };
    Some(processes.filter(names_it).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_the_path_in_its_environment_is_seen() {
        let directory = Path::new("/nonexistent/tmpshim-run-test");
        assert_eq!(users(directory), Some(Vec::new()));
        let mut child = std::process::Command::new("cat")
            .env("LD_PRELOAD_OF_TEST", directory.join("libtmpshim.so"))
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // The kernel lets spawn return a moment before the new program's environment can be read.
        let expected = Pid::from_raw(child.id() as i32).map(|pid| vec![pid]);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while users(directory) != expected {
            assert!(std::time::Instant::now() < deadline, "{:?}", users(directory));
            std::thread::yield_now();
        }
        assert_eq!(heirs(directory), users(directory));
        assert_eq!(users(&directory.join("libtmpshim.so")), Some(Vec::new()));
        assert_eq!(heirs(&directory.join("libtmpshim.so")), users(directory));
        assert_eq!(heirs(Path::new("/nonexistent/tmpshim-run-tes")), Some(Vec::new()));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(users(directory), Some(Vec::new()));
    }
}
