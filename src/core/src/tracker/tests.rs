use super::*;
use std::fs;
use std::path::PathBuf;

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("tmpshim-tracker-{name}-{}", std::process::id()));
    fs::create_dir(&path).unwrap();
    path
}

fn make(tracker: &Tracker, path: &str) {
    let ticket = tracker.reserve(path.as_bytes(), Entry::Directory).unwrap();
    ticket.announce();
    fs::create_dir(path).unwrap();
    let path = std::ffi::CString::new(path).unwrap();
    ticket.confirm(&identity::at(CWD, &path).unwrap().identity);
}

#[test]
fn d1_any_number_of_any_length_is_removed_and_nothing_else() {
    let root = scratch("many");
    let tracker = Tracker::new(|| {});
    let long = "x".repeat(250);
    for number in 0..1500 {
        make(&tracker, &format!("{}/{number}", root.display()));
    }
    for number in 0..40 {
        make(&tracker, &format!("{}/{number}-{long}", root.display()));
    }
    fs::create_dir(root.join("other")).unwrap();
    let mut removed = 0;
    tracker.clean_up(Cleanup::All, |cleaned| {
        assert_eq!(cleaned.outcome, Outcome::Removed);
        removed += 1;
    });
    assert_eq!(removed, 1540);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
    tracker.clean_up(Cleanup::All, |_| panic!("everything is forgotten"));
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn d5_slots_are_used_again_when_the_program_cleans_up_itself() {
    let root = scratch("reuse");
    let tracker = Tracker::new(|| {});
    for number in 0..5000 {
        let path = format!("{}/{number}", root.display());
        make(&tracker, &path);
        fs::remove_dir(&path).unwrap();
    }
    let page = tracker.mine().unwrap();
    assert!(page.small.segments[1].load(Ordering::Relaxed).is_null(), "one segment of 64 KiB is enough");
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn d6_an_unconfirmed_directory_goes_only_if_empty_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let root = scratch("intent");
    let tracker = Tracker::new(|| {});
    for (name, mode, full) in [("empty", 0o700, false), ("public", 0o755, false), ("full", 0o700, true)] {
        let path = root.join(name);
        tracker.reserve(path.to_str().unwrap().as_bytes(), Entry::Directory).unwrap().announce();
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        if full {
            fs::write(path.join("file"), "").unwrap();
        }
    }
    tracker.clean_up(Cleanup::All, |_| {});
    assert!(!root.join("empty").exists() && root.join("public").exists() && root.join("full/file").exists());
    fs::remove_dir_all(root).unwrap();
}

extern "C" fn child(tracker: *mut libc::c_void) -> i32 {
    // SAFETY: the tracker outlives the child, which is waited for.
    unsafe { &*tracker.cast::<Tracker>() }.clean_up(Cleanup::All, |_| {});
    0
}

#[test]
fn d3_a_child_that_shares_or_copies_the_memory_removes_nothing() {
    let root = scratch("child");
    let tracker = Tracker::new(|| {});
    make(&tracker, &format!("{}/d", root.display()));
    let mut stack = vec![0u128; 16 * 1024];
    for flags in [libc::SIGCHLD, libc::SIGCHLD | libc::CLONE_VM, libc::SIGCHLD | libc::CLONE_VM | libc::CLONE_VFORK] {
        let top = stack.as_mut_ptr_range().end.cast();
        let argument = (&raw const tracker).cast_mut().cast();
        let mut status = -1;
        // SAFETY: the stack is as large as the child needs and is not used by anybody else until it was waited for.
        let pid = unsafe { libc::clone(child, top, flags, argument) };
        assert!(pid > 0);
        // SAFETY: `status` is valid for writing.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(status, 0);
    }
    assert!(root.join("d").is_dir());
    tracker.clean_up(Cleanup::All, |_| {});
    assert!(!root.join("d").exists());
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn t6_a_closed_file_loses_its_hidden_name_and_an_open_one_keeps_it() {
    let root = scratch("files");
    let tracker = Tracker::new(|| {});
    let mut open = Vec::new();
    for number in 0..100 {
        let path = format!("{}/{number}", root.display());
        let ticket = tracker.reserve(path.as_bytes(), Entry::File { mode: Some(0o644) }).unwrap();
        ticket.announce();
        let file = fs::File::create(&path).unwrap();
        ticket.confirm(&identity::of(std::os::fd::AsFd::as_fd(&file)).unwrap().identity);
        if number % 10 == 0 {
            open.push(file);
        }
        tracker.reclaim_a_few_files();
    }
    for _ in 0..30 {
        tracker.reclaim_a_few_files();
    }
    assert_eq!(fs::read_dir(&root).unwrap().count(), open.len());
    let kept = format!("{}/0", root.display());
    assert_eq!(tracker.mode_of_file(kept.as_bytes()), Some(Some(0o644)));
    tracker.keep_mode_of_file(kept.as_bytes());
    assert_eq!(tracker.mode_of_file(kept.as_bytes()), Some(None));
    assert_eq!(tracker.mode_of_file(b"/other"), None);
    tracker.clean_up(Cleanup::Off, |_| {});
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    fs::remove_dir(root).unwrap();
}

#[test]
fn d6_a_record_goes_when_a_new_directory_looks_the_same() {
    let tracker = Tracker::new(|| {});
    let weak = Identity { device: 1, inode: 2, birth: 0, generation: 0, mount: 3 };
    for path in [&b"/nowhere/one"[..], b"/nowhere/two"] {
        let ticket = tracker.reserve(path, Entry::Directory).unwrap();
        ticket.announce();
        ticket.confirm(&weak);
    }
    let mut left = Vec::new();
    tracker.clean_up(Cleanup::All, |cleaned| left.push(cleaned.path.to_owned()));
    assert_eq!(left, [c"/nowhere/two".to_owned()]);
}
