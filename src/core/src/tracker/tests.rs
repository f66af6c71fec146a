use super::*;
use crate::identity;
use crate::journal::HEADER;
use crate::settings::Cleanup;
use core::sync::atomic::Ordering;
use rustix::fs::CWD;
use rustix::mm::munmap;
use std::cell::{Cell as Held, RefCell};
use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

/// A tracker of its own, with a state directory and a directory to work in.
pub(crate) struct Site {
    root: tempfile::TempDir,
    pub(crate) tracker: Tracker,
}

thread_local! {
    static SETTINGS: Held<&'static Settings<'static>> = const { Held::new(&Settings::DEFAULT) };
    static REPORTS: RefCell<Vec<(CString, Outcome)>> = const { RefCell::new(Vec::new()) };
}

const SURROUNDINGS: Surroundings = Surroundings {
    moved_in: || {},
    settings: || SETTINGS.get(),
    program: || b"test",
    report: |cleaned| REPORTS.with_borrow_mut(|all| all.push((cleaned.path.to_owned(), cleaned.outcome))),
};

fn tracker() -> Tracker {
    Tracker::new(SURROUNDINGS, Box::leak(Box::new(Inherited::new())))
}

impl Site {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("work")).unwrap();
        let state = root.path().join("state").to_str().unwrap().to_owned().leak();
        SETTINGS.set(Box::leak(Box::new(Settings { state_directory: state.as_bytes(), ..Settings::DEFAULT })));
        Self { root, tracker: tracker() }
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    pub(crate) fn journals(&self) -> Vec<PathBuf> {
        let Ok(state) = fs::read_dir(self.root.path().join("state")) else { return Vec::new() };
        state.map(|entry| entry.unwrap().path()).collect()
    }

    /// What was cleaned up at the end of this process.
    pub(crate) fn end(&self, cleanup: Cleanup) -> Vec<(CString, Outcome)> {
        self.tracker.clean_up(cleanup, Ending::Orderly, true);
        REPORTS.take()
    }

    /// A tracker that finds the same state directory.
    fn next(&self) -> Tracker {
        let _ = &self.root;
        tracker()
    }

    /// As SIGKILL would: the lock is free, and the journal stays.
    fn die(&self) {
        let page = self.tracker.mine().unwrap();
        // SAFETY: the mapping of this process, which nobody looks at afterwards.
        unsafe { munmap(page.held.load(Ordering::Relaxed).cast(), HEADER) }.unwrap();
        // The owner is this very process, which lives.
        page.journal().unwrap().end(Cleanup::All);
        // SAFETY: as above; a page of anonymous memory with nothing in it is what a forked child finds.
        unsafe { core::ptr::write_bytes(self.tracker.page.load(Ordering::Relaxed), 0, 1) };
    }
}

fn make(tracker: &Tracker, path: &str) {
    let ticket = tracker.reserve(path.as_bytes(), Entry::Directory).unwrap();
    ticket.announce();
    fs::create_dir(path).unwrap();
    let path = CString::new(path).unwrap();
    ticket.confirm(&identity::at(CWD, &path).unwrap().identity);
}

#[test]
fn d1_any_number_of_any_length_is_removed_and_nothing_else() {
    let site = Site::new();
    let (root, tracker) = (site.work(), &site.tracker);
    let long = "x".repeat(250);
    for number in 0..1500 {
        make(tracker, &format!("{}/{number}", root.display()));
    }
    for number in 0..40 {
        make(tracker, &format!("{}/{number}-{long}", root.display()));
    }
    fs::create_dir(root.join("other")).unwrap();
    let removed = site.end(Cleanup::All);
    assert!(removed.len() == 1540 && removed.iter().all(|(_, outcome)| *outcome == Outcome::Removed));
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
    assert_eq!(site.end(Cleanup::All), [], "everything is forgotten");
    assert_eq!(site.journals(), Vec::<PathBuf>::new());
}

#[test]
fn d5_slots_are_used_again_when_the_program_cleans_up_itself() {
    let site = Site::new();
    let (root, tracker) = (site.work(), &site.tracker);
    for number in 0..5000 {
        let path = format!("{}/{number}", root.display());
        make(tracker, &path);
        fs::remove_dir(&path).unwrap();
    }
    let page = tracker.mine().unwrap();
    assert!(page.small.segments[1].load(Ordering::Relaxed).is_null(), "one segment of 16 KiB is enough");
    assert_eq!(fs::metadata(&site.journals()[0]).unwrap().len(), 20 * 1024);
    site.end(Cleanup::All);
}

#[test]
fn d6_an_unconfirmed_directory_goes_only_if_empty_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    let (root, tracker) = (site.work(), &site.tracker);
    for (name, mode, full) in [("empty", 0o700, false), ("public", 0o755, false), ("full", 0o700, true)] {
        let path = root.join(name);
        tracker.reserve(path.to_str().unwrap().as_bytes(), Entry::Directory).unwrap().announce();
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        if full {
            fs::write(path.join("file"), "").unwrap();
        }
    }
    site.end(Cleanup::All);
    assert!(!root.join("empty").exists() && root.join("public").exists() && root.join("full/file").exists());
}

extern "C" fn child(tracker: *mut libc::c_void) -> i32 {
    // SAFETY: the tracker outlives the child, which is waited for.
    unsafe { &*tracker.cast::<Tracker>() }.clean_up(Cleanup::All, Ending::Orderly, true);
    0
}

#[test]
fn d3_a_child_that_shares_or_copies_the_memory_removes_nothing() {
    let site = Site::new();
    let (root, tracker) = (site.work(), &site.tracker);
    make(tracker, &format!("{}/d", root.display()));
    let mut stack = vec![0u128; 16 * 1024];
    for flags in [libc::SIGCHLD, libc::SIGCHLD | libc::CLONE_VM, libc::SIGCHLD | libc::CLONE_VM | libc::CLONE_VFORK] {
        let top = stack.as_mut_ptr_range().end.cast();
        let argument = core::ptr::from_ref(tracker).cast_mut().cast();
        let mut status = -1;
        // SAFETY: the stack is as large as the child needs and is not used by anybody else until it was waited for.
        let pid = unsafe { libc::clone(child, top, flags, argument) };
        assert!(pid > 0);
        // SAFETY: `status` is valid for writing.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(status, 0);
    }
    assert!(root.join("d").is_dir());
    site.end(Cleanup::All);
    assert!(!root.join("d").exists());
}

#[test]
fn t6_a_closed_file_loses_its_hidden_name_and_an_open_one_keeps_it() {
    let site = Site::new();
    let (root, tracker) = (site.work(), &site.tracker);
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
    site.end(Cleanup::Off);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

#[test]
fn d6_a_record_goes_when_a_new_directory_looks_the_same() {
    let site = Site::new();
    let tracker = &site.tracker;
    let weak = Identity { device: 1, inode: 2, birth: 0, generation: 0, mount: 3 };
    for path in [&b"/nowhere/one"[..], b"/nowhere/two"] {
        let ticket = tracker.reserve(path, Entry::Directory).unwrap();
        ticket.announce();
        ticket.confirm(&weak);
    }
    assert_eq!(site.end(Cleanup::All), [(c"/nowhere/two".to_owned(), Outcome::NotThere)]);
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn d5_the_next_that_tracks_something_removes_what_a_dead_one_left() {
    let site = Site::new();
    let work = site.work();
    for name in ["one", "two"] {
        make(&site.tracker, work.join(name).to_str().unwrap());
        fs::write(work.join(name).join("file"), "").unwrap();
    }
    fs::create_dir(work.join("other")).unwrap();
    site.tracker.reserve(work.join("never").to_str().unwrap().as_bytes(), Entry::Directory).unwrap().announce();
    let living = tracker();
    make(&living, work.join("living").to_str().unwrap());
    assert_eq!(names(&work), ["living", "one", "other", "two"], "the first journal is locked");
    site.die();
    let next = site.next();
    make(&next, work.join("next").to_str().unwrap());
    assert_eq!(names(&work), ["living", "next", "other"]);
    assert_eq!(site.journals().len(), 2);
    for tracker in [living, next] {
        tracker.clean_up(Cleanup::All, Ending::Orderly, true);
    }
    assert_eq!(names(&work), ["other"]);
    assert_eq!(site.journals(), Vec::<PathBuf>::new());
}

#[test]
fn d3_who_still_needs_a_directory_does_not_sweep_it_away() {
    let site = Site::new();
    let work = site.work();
    make(&site.tracker, work.join("handed-on").to_str().unwrap());
    // Its maker has ended and noted a child, which runs another program and tracks something of its own.
    site.tracker.mine().unwrap().journal().unwrap().hold(&Process::current());
    site.die();
    let child = site.next();
    make(&child, work.join("own").to_str().unwrap());
    assert_eq!(names(&work), ["handed-on", "own"]);
    child.clean_up(Cleanup::All, Ending::Orderly, true);
    assert_eq!(names(&work), Vec::<String>::new());
    assert_eq!(site.journals(), Vec::<PathBuf>::new());
}

#[test]
fn t5_a_directory_that_a_server_still_has_a_name_in_goes_at_the_end() {
    use crate::name::{Kind, Name};
    use std::os::unix::fs::DirBuilderExt;
    let site = Site::new();
    let name = Name::fresh(Kind::Private).unwrap();
    let path = site.work().join(std::str::from_utf8(name.as_bytes()).unwrap());
    let ticket = site.tracker.reserve(path.as_os_str().as_encoded_bytes(), Entry::Directory).unwrap();
    ticket.announce();
    fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
    fs::write(path.join(".fuse_hidden0"), "").unwrap();
    ticket.settle();
    assert!(path.exists());
    fs::remove_file(path.join(".fuse_hidden0")).unwrap();
    assert_eq!(
        site.end(Cleanup::Off),
        [(CString::new(path.as_os_str().as_encoded_bytes()).unwrap(), Outcome::Removed)]
    );
    assert!(!path.exists());
    assert_eq!(site.journals(), [] as [PathBuf; 0]);
}
