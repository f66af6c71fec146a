//! What it asks, and what it makes of the answers: here a handler of SIGSYS, which a filter sends, says what a tracer would.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::{Mutex, MutexGuard};

use tmpshim_core::parasite::{Announcement, Confirmation, Errand, Kind, Place, Said, Trap};
use tmpshim_core::tmpfile::plan::{QUESTION_DIRECTORY, QUESTION_FLAGS};

use super::{address, answer_questions, c_path, made, open_errand, send_masked};

/// What was asked, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Announce { directory: String, entry: u32, mode: i32, removable: u32, name: String },
    Confirm { ticket: u32, inode: u64 },
    ModeOfFile(Vec<u8>),
    ForgetFile(Vec<u8>),
    End,
}

static ASKED: Mutex<Vec<Asked>> = Mutex::new(Vec::new());
/// One test at a time is asked.
static TURN: Mutex<()> = Mutex::new(());

/// # Safety
/// Called with what the parasite passes along.
unsafe fn read(kind: u64, about: u64) -> Asked {
    let place = || {
        // SAFETY: as this function's own contract.
        let place = unsafe { &*(about as *const Place) };
        place.path[..place.length as usize].to_vec()
    };
    if kind == Trap::Announce as u64 {
        // SAFETY: as above.
        let said = unsafe { &*(about as *const Announcement) };
        let name = &said.name[..said.length as usize];
        Asked::Announce {
            directory: fs::read_link(format!("/proc/self/fd/{}", said.directory)).unwrap().display().to_string(),
            entry: said.entry,
            mode: said.mode,
            removable: said.removable,
            name: String::from_utf8(name.to_vec()).unwrap(),
        }
    } else if kind == Trap::Confirm as u64 {
        // SAFETY: as above.
        let said = unsafe { &*(about as *const Confirmation) };
        Asked::Confirm { ticket: said.ticket, inode: said.identity.inode }
    } else if kind == Trap::ModeOfFile as u64 {
        Asked::ModeOfFile(place())
    } else if kind == Trap::ForgetFile as u64 {
        Asked::ForgetFile(place())
    } else {
        assert_eq!(kind, Trap::End as u64);
        Asked::End
    }
}

extern "C" fn answer(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel's own, for a handler with SA_SIGINFO.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let register = |number: i32| registers[number as usize].cast_unsigned();
    assert_eq!(register(libc::REG_RDI) as i32, QUESTION_DIRECTORY);
    assert_eq!((register(libc::REG_RSI), register(libc::REG_RDX) as i32), (0, QUESTION_FLAGS));
    // SAFETY: the filter lets nothing else come here.
    let asked = unsafe { read(register(libc::REG_R8), register(libc::REG_R10)) };
    let mut all = ASKED.lock().unwrap();
    let tickets = all.iter().filter(|asked| matches!(asked, Asked::Announce { .. })).count() as i64;
    registers[libc::REG_RAX as usize] = match &asked {
        Asked::Announce { .. } => tickets,
        Asked::Confirm { .. } | Asked::ForgetFile(_) => 0,
        Asked::ModeOfFile(path) if path.ends_with(KNOWN.as_bytes()) => 0o640,
        _ => -i64::from(libc::EFAULT),
    };
    all.push(asked);
}

/// The journal knows the file of this name, with a mode that it is still to have.
const KNOWN: &str = "77777777";

/// Makes the calling thread's questions come to [`answer`]. No other thread's.
fn begin() -> MutexGuard<'static, ()> {
    let turn = TURN.lock().unwrap();
    // SAFETY: the handler is for this test's thread, which ends with it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = answer as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        assert_eq!(libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()), 0);
    }
    answer_questions(libc::SECCOMP_RET_TRAP);
    turn
}

fn send(errand: Errand) -> (super::Back, Vec<Asked>) {
    ASKED.lock().unwrap().clear();
    let back = send_masked(errand, true, !(1 << (libc::SIGSYS - 1)));
    back.check();
    let mut asked = std::mem::take(&mut *ASKED.lock().unwrap());
    assert_eq!(asked.pop(), Some(Asked::End));
    (back, asked)
}

#[test]
fn s_everything_is_announced_before_it_is_made() {
    let _turn = begin();
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().display().to_string();

    let (back, asked) = send(open_errand(&c_path(root.path())));
    let mut file = made(&back);
    // A file to try the filesystem with, a directory that nobody else may enter, and the file in it.
    assert!(asked.len() >= 3, "{asked:?}");
    for one in &asked {
        let Asked::Announce { directory: at, entry: 1 | 2, mode: -1, removable: 1, name } = one else {
            panic!("{asked:?}")
        };
        assert!(at.starts_with(&directory) && name.starts_with(".tmpshim-") && name.len() == 42, "{asked:?}");
    }
    assert_eq!(back.answer.abandoned, (1 << asked.len()) - 1, "nothing is left of any");

    file.write_all(b"text").unwrap();
    let old = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    let new = c_path(&root.path().join("new"));
    let link = Errand {
        kind: Kind::Link as u32,
        flags: libc::AT_SYMLINK_FOLLOW,
        path: address(&old),
        to: libc::AT_FDCWD,
        new: address(&new),
        refusal: libc::ENOENT as u32,
        ..open_errand(c"")
    };
    let (back, asked) = send(link);
    assert_eq!((back.answer.result, back.answer.said), (0, Said::Published as u32));
    // Files to try the filesystem with, the directory that nobody else may enter, and the copy in it.
    let [.., Asked::Announce { name: private, entry: 2, .. }, Asked::Announce { name, entry: 1, directory: at, .. }] =
        &asked[..]
    else {
        panic!("{asked:?}")
    };
    assert!(private.starts_with(".tmpshim-d") && name.starts_with(".tmpshim-p") && at.ends_with(private), "{asked:?}");
    assert_eq!(back.answer.abandoned, (1 << asked.len()) - 1);
    assert_eq!(fs::read(root.path().join("new")).unwrap(), b"text");

    for (name, mode, removable) in [("one", 0o700, 1), ("two", 0o755, 0)] {
        let path = c_path(&root.path().join(name));
        let errand = Errand {
            kind: Kind::Directory as u32,
            directory: libc::AT_FDCWD,
            path: address(&path),
            mode,
            ..Errand::default()
        };
        let (back, asked) = send(errand);
        assert_eq!((back.answer.result, back.answer.said, back.answer.abandoned), (0, Said::Made as u32, 0));
        let inode = fs::metadata(root.path().join(name)).unwrap().ino();
        let announced = |removable| Asked::Announce {
            directory: directory.clone(),
            entry: 2,
            mode: -1,
            removable,
            name: name.to_owned(),
        };
        assert_eq!(asked, [announced(removable), Asked::Confirm { ticket: 0, inode }]);
        // What is there already may be somebody else's.
        let (back, asked) = send(errand);
        assert_eq!((back.answer.result, back.answer.said), (-i64::from(libc::EEXIST), Said::Nothing as u32));
        assert_eq!((asked, back.answer.abandoned), (vec![announced(0)], 1));
    }
}

/// A file that has a hidden name of ours still is looked up in the journal, and is none of ours where that does not know it.
#[test]
fn s_what_the_journal_does_not_know_is_none_of_ours() {
    let _turn = begin();
    let root = tempfile::tempdir().unwrap();
    let hidden = root.path().join(format!(".tmpshim-l{}", "0".repeat(32)));
    let file = File::create(&hidden).unwrap();
    let old = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    let new = c_path(&root.path().join("new"));
    let errand = Errand {
        kind: Kind::Link as u32,
        flags: libc::AT_SYMLINK_FOLLOW,
        path: address(&old),
        to: libc::AT_FDCWD,
        new: address(&new),
        refusal: libc::EPERM as u32,
        ..open_errand(c"")
    };
    let (back, asked) = send(errand);
    assert_eq!((back.answer.result, back.answer.said), (-i64::from(libc::EPERM), Said::Nothing as u32));
    assert_eq!(asked, [Asked::ModeOfFile(hidden.into_os_string().into_encoded_bytes())]);
}

#[test]
fn s_a_file_that_kept_a_hidden_name_is_published_as_it_is() {
    let _turn = begin();
    let root = tempfile::tempdir().unwrap();
    let hidden = root.path().join(format!(".tmpshim-l{}{KNOWN}", "0".repeat(24)));
    let file = File::options().create_new(true).write(true).mode(0o600).open(&hidden).unwrap();
    let inode = file.metadata().unwrap().ino();
    let old = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
    let new = root.path().join("new");
    let new_text = c_path(&new);
    let errand = Errand {
        kind: Kind::Link as u32,
        flags: libc::AT_SYMLINK_FOLLOW,
        path: address(&old),
        to: libc::AT_FDCWD,
        new: address(&new_text),
        refusal: 0,
        ..open_errand(c"")
    };
    let (back, asked) = send(errand);
    assert_eq!((back.answer.result, back.answer.said), (0, Said::Published as u32));
    let path = hidden.clone().into_os_string().into_encoded_bytes();
    let looked = Asked::ModeOfFile(path.clone());
    assert_eq!(asked, [looked.clone(), looked, Asked::ForgetFile(path)]);
    assert!(!hidden.exists());
    let seen = fs::metadata(&new).unwrap();
    assert_eq!((seen.ino(), seen.mode() & 0o7777), (inode, 0o640 & !umask()));
}

fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
    u32::from_str_radix(mask.trim(), 8).unwrap()
}
