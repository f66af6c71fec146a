//! Whether one directory may go: first whether anybody uses it, then how old it is, and whether it is empty (D6).

use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, ResolveFlags, Statx, StatxFlags, flock, statx};
use rustix::io::Errno;
use tmpshim_core::fd::{Fd, openat, openat2};
use tmpshim_core::identity::{self, Identity, Seen};
use tmpshim_core::listing::each_name;

use super::below::{self, Below};
use super::in_use::{File, InUse};
use super::place::{Place, Surroundings};
use super::request::Request;
use crate::state::text;
use crate::sweep::line::{Kind, Line, What};
use crate::sweep::mounts::Mounts;

/// Why a directory stays.
#[derive(Debug)]
pub(super) enum Stay {
    /// It is gone, or no directory, or another one than before.
    Gone,
    /// By whom, and how.
    InUse(String),
    Mounted(String),
    /// Another user's, where only one user's are meant.
    Owner,
    /// Users may have it in use whose processes cannot be looked at.
    Shared,
    Young,
    NotEmpty,
    /// It cannot be looked at or removed, why, and what to do.
    Failed(String),
}

/// A directory that stays.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) why: Stay,
    /// Whose it is, once that is known.
    pub(super) uid: Option<u32>,
}

/// What for it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    Look,
    /// It is locked for others as long as the answer lives (flock(2), the convention of systemd-tmpfiles), and not looked
    /// through just to see whether it is empty: rmdir(2) will say.
    Remove,
}

/// A directory that may go.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) identity: Identity,
    pub(super) uid: u32,
    /// The newest of all times in it.
    pub(super) newest: u64,
    /// Of what is in it.
    pub(super) bytes: u64,
    /// Locked as long as this lives.
    lock: Fd,
}

/// A directory that is open to be looked at.
struct Open {
    fd: Fd,
    /// And not only named by the descriptor.
    can_read: bool,
    seen: Seen,
    device: Option<u64>,
    touch: Touch,
}

/// What is known of this machine, and what was asked for.
pub(super) struct Judge<'a> {
    pub(super) request: &'a Request,
    pub(super) mounts: Mounts,
    pub(super) in_use: InUse,
    surroundings: HashMap<usize, Surroundings>,
    euid: u32,
}

impl<'a> Judge<'a> {
    pub(super) fn new(request: &'a Request) -> Self {
        let mounts = Mounts::look();
        let in_use = InUse::look(&mounts);
        let euid = rustix::process::geteuid().as_raw();
        Self { request, mounts, in_use, surroundings: HashMap::new(), euid }
    }

    /// Looks at the machine again if the last look is long ago.
    pub(super) fn refresh(&mut self) {
        if self.in_use.is_stale() {
            self.look_again();
        }
    }

    pub(super) fn look_again(&mut self) {
        self.mounts = Mounts::look();
        self.in_use = InUse::look(&self.mounts);
        self.surroundings.clear();
    }

    /// Looks at the directory `name`, which must be `expected` where that is given.
    pub(super) fn examine(
        &mut self,
        place: &Place,
        name: &CStr,
        expected: Option<&Identity>,
        touch: Touch,
    ) -> Result<Looked, Kept> {
        let unknown = |why| Kept { why, uid: None };
        let around = self.surroundings.entry(place.index).or_insert_with(|| place.surroundings(&self.mounts));
        // Before it is touched: whatever serves a mount may not answer.
        if let Some(mounted) = around.mounted(&self.mounts, name) {
            return Err(unknown(Stay::Mounted(mounted)));
        }
        let device = around.device;
        let (fd, can_read) = open(&place.fd, name).map_err(unknown)?;
        let seen = identity::of(fd.as_fd()).map_err(|error| unknown(Stay::Failed(refused(error))))?;
        if !seen.is_directory() || expected.is_some_and(|expected| seen.identity != *expected) {
            return Err(unknown(Stay::Gone));
        }
        if seen.identity.mount != place.identity.mount {
            return Err(unknown(Stay::Mounted("something is mounted on it".to_owned())));
        }
        let open = Open { fd, can_read, seen, device, touch };
        self.examine_open(open, &place.join(name), name).map_err(|why| Kept { why, uid: Some(seen.uid) })
    }

    fn examine_open(&self, open: Open, path: &Path, name: &CStr) -> Result<Looked, Stay> {
        let Open { fd, can_read, seen, device, touch } = open;
        let is_root = self.euid == 0;
        let wanted = self.request.owner.or((!is_root).then_some(self.euid));
        if wanted.is_some_and(|wanted| wanted != seen.uid) {
            return Err(Stay::Owner);
        }
        let file = File { device: seen.identity.device, mounted: device, inode: seen.identity.inode };
        let user = self.in_use.path(path.as_os_str().as_bytes()).or_else(|| self.in_use.file(file));
        if let Some(user) = user {
            return Err(Stay::InUse(user.describe()));
        }
        if self.may_be_in_use_unseen(seen.uid, seen.mode) {
            return Err(Stay::Shared);
        }
        if can_read && is_locked(&fd, touch) {
            return Err(Stay::InUse("somebody has it locked (flock)".to_owned()));
        }
        let times = times(&fd, c"").map_err(|error| Stay::Failed(refused(error)))?;
        let mut looked = Looked { identity: seen.identity, uid: seen.uid, newest: newest(&times), bytes: 0, lock: fd };
        if self.is_young(looked.newest) {
            return Err(Stay::Young);
        }
        if !self.request.contents {
            let is_full = touch == Touch::Look && can_read && !is_empty(&looked.lock);
            return if is_full { Err(Stay::NotEmpty) } else { Ok(looked) };
        }
        // One of this user's own that cannot be read is made readable when it is removed; what is in it is known by path.
        if can_read {
            let below = Below { judge: self, device, mount: seen.identity.mount, name: name.to_bytes() };
            let (newest, bytes) = below::look(&below, &looked.lock)?;
            looked.newest = looked.newest.max(newest);
            looked.bytes = bytes;
        }
        Ok(looked)
    }

    pub(super) fn euid(&self) -> u32 {
        self.euid
    }

    /// Whether a time is less than the wanted age ago, or in the future.
    pub(super) fn is_young(&self, time: u64) -> bool {
        let floor = self.request.older_than;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        !floor.is_zero() && u128::from(time) + floor.as_nanos() > now.as_nanos()
    }

    /// Whether processes that cannot be looked at may use a directory: those of users that may enter it. A user other than
    /// root never sees others' processes; root may enter anything, and is trusted not to.
    fn may_be_in_use_unseen(&self, uid: u32, mode: u32) -> bool {
        let unseen = &self.in_use.unseen;
        let is_closed = mode & 0o077 == 0;
        if self.euid == 0 {
            unseen.processes > 0 && (!is_closed || unseen.users.contains(&uid))
        } else {
            !is_closed || uid != self.euid
        }
    }
}

impl Stay {
    /// Why, for people and programs.
    pub(super) fn why(&self, request: &Request) -> String {
        match self {
            Self::Gone => "it is not there any more".to_owned(),
            Self::InUse(who) => format!("in use: {who}"),
            Self::Mounted(what) => format!("{what}; unmount it and sweep again"),
            _ => self.group(request),
        }
    }

    /// The same for all that stay for such a reason.
    pub(super) fn group(&self, request: &Request) -> String {
        match self {
            Self::Gone => "not there any more".to_owned(),
            Self::InUse(_) => "in use".to_owned(),
            Self::Mounted(_) => "mounted on, or somewhere else".to_owned(),
            Self::Owner => "of another user".to_owned(),
            Self::Shared => {
                "a process that cannot be looked at may use it; sweep as root, with CAP_SYS_PTRACE".to_owned()
            }
            Self::Young => {
                let age = humantime::format_duration(request.older_than);
                format!("changed less than {age} ago (--older-than), or in the future")
            }
            Self::NotEmpty => "not empty; --contents takes them with what is in them".to_owned(),
            Self::Failed(why) => why.clone(),
        }
    }
}

impl Kept {
    pub(super) fn line(&self, path: &Path, request: &Request) -> Line {
        let event = if matches!(self.why, Stay::Failed(_)) { What::Left } else { What::Skipped };
        let why = Some(self.why.why(request));
        Line { kind: Some(Kind::Directory), why, uid: self.uid, ..Line::new(event, path) }
    }
}

/// Opens a directory and nothing else, never another mount; whether it can be read.
fn open(place: &Fd, name: &CStr) -> Result<(Fd, bool), Stay> {
    match open_at(place, name, OFlags::RDONLY) {
        Ok(fd) => Ok((fd, true)),
        Err(Errno::ACCESS) => match open_at(place, name, OFlags::PATH) {
            Ok(fd) => Ok((fd, false)),
            Err(error) => Err(Stay::Failed(refused(error))),
        },
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Err(Stay::Gone),
        Err(Errno::XDEV) => Err(Stay::Mounted("something is mounted on it".to_owned())),
        Err(error) => Err(Stay::Failed(refused(error))),
    }
}

/// openat2(2) that stays on its mount, else openat(2): then the caller compares mounts.
pub(super) fn open_at(directory: impl AsFd, name: &CStr, how: OFlags) -> Result<Fd, Errno> {
    let flags = how | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    match openat2(directory.as_fd(), name, flags, resolve) {
        Err(Errno::NOSYS | Errno::PERM) => openat(directory, name, flags, Mode::empty()),
        answer => answer,
    }
}

pub(super) fn refused(error: Errno) -> String {
    format!("{}; see to that and sweep again", text(error))
}

fn is_locked(fd: &Fd, touch: Touch) -> bool {
    let how = match touch {
        // Nobody who shares it is disturbed by a look.
        Touch::Look => FlockOperation::NonBlockingLockShared,
        Touch::Remove => FlockOperation::NonBlockingLockExclusive,
    };
    // Filesystems without locks have none that is held.
    matches!(flock(fd, how), Err(Errno::WOULDBLOCK))
}

fn is_empty(fd: &Fd) -> bool {
    let mut is_empty = true;
    each_name(fd, &mut [0; 1024], |_| is_empty = false);
    is_empty
}

/// All that is wanted of a file in one look; never mounts anything.
pub(super) fn times(directory: impl AsFd, name: &CStr) -> Result<Statx, Errno> {
    let flags = if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::SYMLINK_NOFOLLOW };
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
    statx(directory, name, flags | AtFlags::NO_AUTOMOUNT, wanted)
}

/// The newest of the times that a change leaves, in nanoseconds since 1970.
pub(super) fn newest(seen: &Statx) -> u64 {
    let nanoseconds = |time: rustix::fs::StatxTimestamp| {
        u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec.into())
    };
    let birth = if seen.stx_mask & StatxFlags::BTIME.bits() == 0 { 0 } else { nanoseconds(seen.stx_btime) };
    nanoseconds(seen.stx_mtime).max(nanoseconds(seen.stx_ctime)).max(birth)
}
