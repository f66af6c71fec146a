//! The attacks that need no second process; the others are programs in c-tests (d6_*.c).

use super::*;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tmpshim-remove-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn remove(root: &Path, name: &CStr, made: &Identity, contents: bool) -> Outcome {
    let parent = fs::File::open(root).unwrap();
    Remover::new().unwrap().remove(parent.as_fd(), name, made, contents)
}

fn identity(path: &Path) -> Identity {
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    identity::at(rustix::fs::CWD, &name).unwrap().identity
}

#[test]
fn d6_a_tree_goes_and_what_links_point_to_stays() {
    let scratch = Scratch::new("tree");
    let root = &scratch.0;
    fs::create_dir_all(root.join("d/a/b/c")).unwrap();
    fs::create_dir(root.join("canary")).unwrap();
    fs::write(root.join("canary/file"), "kept").unwrap();
    fs::write(root.join("d/a/file"), "x").unwrap();
    fs::hard_link(root.join("canary/file"), root.join("d/a/b/hard")).unwrap();
    symlink("../../canary", root.join("d/a/soft")).unwrap();
    symlink("nowhere", root.join("d/dangling")).unwrap();
    for mode in [0o000, 0o100, 0o444] {
        let path = root.join(format!("d/{mode}"));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let made = identity(&root.join("d"));
    assert_eq!(remove(root, c"d", &made, false), Outcome::NotEmpty);
    assert_eq!(remove(root, c"d", &made, true), Outcome::Removed);
    assert_eq!(fs::read_to_string(root.join("canary/file")).unwrap(), "kept");
    assert_eq!(remove(root, c"d", &made, true), Outcome::NotThere);
}

#[test]
fn d6_something_else_with_the_name_stays() {
    let scratch = Scratch::new("replaced");
    let root = &scratch.0;
    fs::create_dir_all(root.join("d/full")).unwrap();
    let made = identity(&root.join("d"));
    fs::rename(root.join("d"), root.join("moved")).unwrap();
    symlink("moved", root.join("d")).unwrap();
    assert_eq!(remove(root, c"d", &made, true), Outcome::NotThere);
    fs::remove_file(root.join("d")).unwrap();
    fs::create_dir(root.join("d")).unwrap();
    assert_eq!(remove(root, c"d", &made, true), Outcome::NotThere);
    fs::write(root.join("d/file"), "x").unwrap();
    assert_eq!(remove(root, c"d", &made, true), Outcome::NotThere);
    assert!(root.join("moved/full").is_dir() && root.join("d/file").exists());
    let other = Identity { mount: made.mount + 1, ..made };
    assert_eq!(remove(root, c"moved", &other, true), Outcome::Stuck(Stuck::OtherNamespace));
}

#[test]
fn d6_three_thousand_levels_and_a_hundred_thousand_entries() {
    let scratch = Scratch::new("deep");
    let root = &scratch.0;
    fs::create_dir(root.join("d")).unwrap();
    let made = identity(&root.join("d"));
    let mut below = rustix::fs::openat(rustix::fs::CWD, root.join("d"), OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..3000 {
        for name in ["x", "y"] {
            rustix::fs::mkdirat(&below, name, Mode::RWXU).unwrap();
        }
        rustix::fs::mkdirat(&below, "y/z", Mode::RWXU).unwrap();
        below = rustix::fs::openat(&below, "x", OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    for number in 0..100_000 {
        rustix::fs::mknodat(&below, format!("{number}"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    }
    assert_eq!(remove(root, c"d", &made, true), Outcome::Removed);
}

#[test]
fn d6_without_openat2_it_is_the_same() {
    let scratch = Scratch::new("old");
    let root = &scratch.0;
    fs::create_dir_all(root.join("d/1/2/3/4/5/6/7/8/9/10/11/12")).unwrap();
    fs::create_dir_all(root.join("d/1/2/3/4/5/6/7/8/9/10/other/12")).unwrap();
    let made = identity(&root.join("d"));
    let mut remover = Remover::new().unwrap();
    remover.without_openat2 = true;
    assert_eq!(remover.remove(fs::File::open(root).unwrap().as_fd(), c"d", &made, true), Outcome::Removed);
}
