//! Each errand with a tracer that says no to everything, and with none any more.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

use tmpshim_core::parasite::{Errand, Kind, Said};
use tmpshim_core::sys;

use super::{address, c_path, open_errand, refuse_questions, send, stand_in};

#[test]
fn s_a_stand_in_is_made_and_the_thread_is_as_before() {
    let root = tempfile::tempdir().unwrap();
    let mut file = stand_in(root.path());
    file.write_all(b"text").unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777 & !0o640, 0);
    let link = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    assert!(link.to_str().unwrap().contains("/.tmpshim-l"), "{link:?}");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn s_what_no_syscall_instruction_began_is_gone_back_to_as_well() {
    let root = tempfile::tempdir().unwrap();
    let back = send(Errand { mode: 0o600, ..open_errand(&c_path(&root.path().join("none"))) }, false);
    back.check();
    // Where the path is no directory, the program's own errno comes back.
    assert_eq!(back.answer.result, -i64::from(libc::EOPNOTSUPP));
}

#[test]
fn s_a_bad_address_is_the_kernels_to_refuse() {
    let back = send(Errand { path: 8, refusal: 0, ..open_errand(c"") }, true);
    back.check();
    assert_eq!((back.answer.result, back.answer.said), (-i64::from(libc::EFAULT), Said::Nothing as u32));
    for kind in [Kind::Link, Kind::Directory] {
        let errand = Errand {
            kind: kind as u32,
            refusal: 0,
            path: 8,
            new: 8,
            flags: libc::AT_SYMLINK_FOLLOW,
            ..open_errand(c"")
        };
        let back = send(errand, true);
        assert_eq!(
            (back.answer.result, back.answer.said),
            (-i64::from(libc::EFAULT), Said::Nothing as u32),
            "{kind:?}"
        );
    }
}

fn publish_errand(old: &CStr, new: &CStr) -> Errand {
    Errand {
        kind: Kind::Link as u32,
        refusal: libc::ENOENT as u32,
        directory: libc::AT_FDCWD,
        flags: libc::AT_SYMLINK_FOLLOW,
        path: address(old),
        to: libc::AT_FDCWD,
        new: address(new),
        ..Errand::default()
    }
}

#[test]
fn s_a_file_is_published() {
    let root = tempfile::tempdir().unwrap();
    let mut file = stand_in(root.path());
    let text: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
    file.write_all(&text).unwrap();
    let (old, new) = (CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap(), root.path().join("new"));
    let new_text = c_path(&new);
    let errand = publish_errand(&old, &new_text);
    let back = send(errand, true);
    back.check();
    assert_eq!((back.answer.result, back.answer.said), (0, Said::Published as u32));
    assert_eq!(fs::read(&new).unwrap(), text);
    // The descriptor is the published file's now, where it was.
    file.write_all(b"more").unwrap();
    assert_eq!(fs::metadata(&new).unwrap().len(), text.len() as u64 + 4);
    let mut all = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut all).unwrap();
    assert!(all.starts_with(&text) && all.ends_with(b"more"));
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);

    // Again: what is there is never replaced, and a file with a name is none of ours.
    let back = send(errand, true);
    back.check();
    assert_eq!((back.answer.result, back.answer.said), (-i64::from(libc::ENOENT), Said::Nothing as u32));
    // Without an attempt of the program's own, that is made.
    let other = c_path(&root.path().join("other"));
    let back = send(Errand { refusal: 0, new: address(&other), ..errand }, true);
    assert_eq!((back.answer.result, back.answer.said), (0, Said::Nothing as u32));
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
}

#[test]
fn s_a_directory_is_made_also_where_nobody_records_it() {
    let root = tempfile::tempdir().unwrap();
    for name in ["one", "two/"] {
        let path = c_path(&root.path().join(name));
        let errand = Errand {
            kind: Kind::Directory as u32,
            directory: libc::AT_FDCWD,
            path: address(&path),
            mode: 0o700,
            ..Errand::default()
        };
        let back = send(errand, true);
        back.check();
        assert_eq!((back.answer.result, back.answer.said), (0, Said::Nothing as u32));
        assert!(root.path().join(name).is_dir());
        assert_eq!(send(errand, true).answer.result, -i64::from(libc::EEXIST));
    }
}

/// Should the program be killed now, nobody would remove it (T5).
#[test]
fn s6_without_a_tracer_nothing_is_made_that_has_a_name_of_ours() {
    let root = tempfile::tempdir().unwrap();
    // As a stand-in was made while there was one.
    let hidden = root.path().join(format!(".tmpshim-l{}", "0".repeat(32)));
    let file = File::create_new(&hidden).unwrap();
    fs::remove_file(&hidden).unwrap();
    let changed = || fs::metadata(root.path()).map(|seen| (seen.mtime(), seen.mtime_nsec())).unwrap();
    let before = changed();
    for mode in [0o600, 0o640] {
        let back = send(Errand { mode, ..open_errand(&c_path(root.path())) }, true);
        back.check();
        assert_eq!(back.answer.result, -i64::from(libc::EOPNOTSUPP), "mode {mode:o}");
    }
    let (old, new) = (CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap(), root.path().join("new"));
    let new = c_path(&new);
    let back = send(publish_errand(&old, &new), true);
    back.check();
    assert_eq!(back.answer.result, -i64::from(libc::ENOENT));
    assert_eq!(changed(), before, "something was there for a moment");
}

static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handle(_: i32) {
    let local = 0u8;
    HANDLED.store((&raw const local).addr(), Ordering::Relaxed);
}

#[test]
fn s_a_signal_that_has_waited_is_handled_on_the_programs_own_stack() {
    let root = tempfile::tempdir().unwrap();
    // SAFETY: the handler stores a number; nothing else here has to do with SIGUSR2.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as *const () as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR2, &raw const action, null_mut()), 0);
    }
    refuse_questions();
    let before = sys::block_signals(1 << (libc::SIGUSR2 - 1));
    sys::raise(libc::SIGUSR2).unwrap();
    assert_eq!(HANDLED.load(Ordering::Relaxed), 0);
    let back = send(open_errand(&c_path(root.path())), true);
    sys::set_signal_mask(before);
    back.check();
    assert!(back.answer.result >= 0);
    sys::close(back.answer.result as i32);
    let (handled, own) = (HANDLED.load(Ordering::Relaxed), (&raw const before).addr());
    assert!(handled.abs_diff(own) < 64 * 1024, "{handled:x}, and this is {own:x}");
}
