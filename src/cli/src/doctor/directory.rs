//! A directory: what it is, what calls really answer in it, and what to do.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, StatVfs, accessat, fstat, fstatvfs};
use rustix::io::Errno;
use serde_json::json;
use tmpshim_core::identity;

use super::calls::Calls;
use super::child::Teller;
use super::finding::{Cure, Finding, Name, Verdict};
use super::mount::Mount;
use super::outlook::Outlook;
use super::words::{bytes, quoted};
use super::{errno, left, tries};

/// What is to be known beforehand.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    /// Nobody said that files are made here: that none can be is no failure.
    pub(super) may_be_closed: bool,
    /// It need not be there.
    pub(super) may_be_missing: bool,
    /// The process whose directory it is has tmpshim already, in this way.
    pub(super) is_helped: Option<String>,
    /// How the program is started: as it is, under `tmpshim run`, with the library.
    pub(super) program: String,
    pub(super) run: String,
    /// This command.
    pub(super) command: String,
    pub(super) preload: Option<String>,
    /// A filter is on whoever looks.
    pub(super) is_filtered: bool,
}

/// Looks at a directory, in a process that ends afterwards.
pub(super) fn look(outlook: &mut Outlook, path: &Path, context: &Context, teller: &mut Teller) {
    if let Err(why) = outlook.enter() {
        return teller.find(Finding::new(Name::Answer, Verdict::CouldNotTell, why));
    }
    match outlook.open(path) {
        Ok(directory) => Look { directory, outlook, context, path }.all(teller),
        Err(Errno::NOENT) if context.may_be_missing => teller.find(Finding::note(Name::Answer, "it is not there")),
        Err(Errno::NOENT) => {
            teller.find(Finding::refused(Name::Answer, Verdict::WillFail, Errno::NOENT, "it is not there"));
            teller.cure(Cure::new(
                "make it, as root, or set TMPDIR to a directory that is there:",
                format!("mkdir -m 1777 {}", quoted(path)),
            ));
        }
        Err(Errno::NOSYS) if !outlook.is_own() => {
            let why = "it takes openat2 (Linux 5.6) to look into another root; run tmpshim doctor in there";
            teller.find(Finding::refused(Name::Answer, Verdict::CouldNotTell, Errno::NOSYS, why));
        }
        Err(error @ (Errno::ACCESS | Errno::NOTDIR)) => {
            teller.find(Finding::refused(Name::Access, closed(context), error, "files cannot be made here"));
        }
        Err(error) => teller.find(Finding::refused(Name::Answer, Verdict::CouldNotTell, error, "")),
    }
}

fn closed(context: &Context) -> Verdict {
    if context.may_be_closed { Verdict::Note } else { Verdict::WillFail }
}

/// One directory, open.
struct Look<'a> {
    directory: OwnedFd,
    outlook: &'a Outlook,
    context: &'a Context,
    path: &'a Path,
}

impl Look<'_> {
    fn fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    fn all(&self, teller: &mut Teller) {
        let mount = Mount::of(self.fd(), self.outlook.mounts());
        if let Some(mount) = &mount {
            let found = format!("{} from {}, on {}", mount.kind, mount.source, mount.point);
            teller.find(Finding::note(Name::Mount, found).with(json!({
                "type": mount.kind, "source": mount.source, "point": mount.point, "options": mount.options,
            })));
        }
        let room = fstatvfs(&self.directory).ok();
        let is_read_only = self.options(mount.as_ref(), room.as_ref(), teller);
        let is_writable = self.access(is_read_only, teller);
        if let Some(room) = &room {
            self.room(room, teller);
        }
        if !is_writable || is_read_only {
            return;
        }
        if identity::filesystem(self.fd()).is_some_and(|seen| seen.append_only) {
            let why = "append-only (chattr +a): no name could be removed again, so nothing was tried";
            return teller.find(Finding::new(Name::Unlinked, Verdict::WillFail, why));
        }
        let calls = Calls { directory: self.fd(), context: self.context, mount: mount.as_ref() };
        if calls.look(teller) {
            self.simpler(mount.as_ref(), teller);
        }
        left::look(self.fd(), self.path, self.context, teller);
    }

    /// Whether nothing can be written there.
    fn options(&self, mount: Option<&Mount>, room: Option<&StatVfs>, teller: &mut Teller) -> bool {
        use rustix::fs::StatVfsMountFlags as Flags;
        let Some(room) = room else {
            teller.find(Finding::new(Name::MountOptions, Verdict::CouldNotTell, "statvfs is refused"));
            return false;
        };
        let has = |flag| room.f_flag.contains(flag);
        // A filesystem can be read-only where its mount is not, and the other way round.
        let is_read_only =
            has(Flags::RDONLY) || mount.is_some_and(|mount| mount.options.split(',').any(|word| word == "ro"));
        let mut words = vec![if is_read_only { "ro" } else { "rw" }];
        words.extend(has(Flags::NOEXEC).then_some("noexec"));
        words.extend(has(Flags::NOSUID).then_some("nosuid"));
        let value = json!({
            "read_only": is_read_only, "noexec": has(Flags::NOEXEC), "nosuid": has(Flags::NOSUID),
        });
        let mut found = words.join(", ");
        let mut verdict = Verdict::Note;
        if is_read_only {
            verdict = closed(self.context);
            found += ": files cannot be made here (EROFS)";
        } else if has(Flags::NOEXEC) {
            verdict = Verdict::Beware;
            found += ": programs and libraries that lie here cannot be started or loaded";
        }
        teller.find(Finding {
            errno: is_read_only.then(|| "EROFS".to_owned()),
            ..Finding::new(Name::MountOptions, verdict, found).with(value)
        });
        if is_read_only && !self.context.may_be_closed {
            teller.cure(self.elsewhere());
        }
        is_read_only
    }

    /// Where such files can be made without tmpshim.
    fn simpler(&self, mount: Option<&Mount>, teller: &mut Teller) {
        for place in ["/var/tmp", "/tmp"] {
            let Ok(directory) = self.outlook.open(Path::new(place)) else { continue };
            let other = Mount::of(directory.as_fd(), self.outlook.mounts());
            // Known by its kind to be none that may not answer.
            if other.as_ref() != mount
                && other.is_some_and(|other| other.has_tmpfile())
                && tries::tmpfile(directory.as_fd()).is_ok()
            {
                let command = format!("TMPDIR={place} {}", self.context.program);
                return teller.cure(Cure::new("or, if it goes by TMPDIR, without tmpshim:", command));
            }
        }
    }

    /// Another place, since nothing can be made in this one.
    fn elsewhere(&self) -> Cure {
        Cure::new(
            "tmpshim cannot make files either; let the program use a directory that it may write to:",
            format!("TMPDIR=DIRECTORY {}", self.context.program),
        )
    }

    /// Whether this user may make files.
    fn access(&self, is_read_only: bool, teller: &mut Teller) -> bool {
        let Ok(seen) = fstat(&self.directory) else {
            teller.find(Finding::new(Name::Access, Verdict::CouldNotTell, "fstat is refused"));
            return true;
        };
        let mode = seen.st_mode & 0o7777;
        let allowed = may_write(self.fd());
        let (is_sticky, is_for_all) = (mode & 0o1000 != 0, mode & 0o002 != 0);
        let mut found = format!("mode {mode:04o}, owner {}, group {}", seen.st_uid, seen.st_gid);
        let mut verdict = Verdict::Well;
        let mut error = None;
        if let Err(refused) = allowed.filter_read_only(is_read_only) {
            verdict = closed(self.context);
            error = Some(errno::name(refused));
            let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
            found = format!("{found}: user {user}, group {group} may make no files here: {}", errno::said(refused));
        } else if is_for_all && !is_sticky {
            verdict = Verdict::Beware;
            found += ": everybody may remove everybody's files (no sticky bit)";
        } else if is_sticky {
            found += ", sticky";
        }
        let is_writable = error.is_none();
        let value = json!({
            "mode": format!("{mode:04o}"), "owner": seen.st_uid, "group": seen.st_gid, "sticky": is_sticky,
            "writable": is_writable && !is_read_only,
        });
        teller.find(Finding { errno: error, ..Finding::new(Name::Access, verdict, found).with(value) });
        if is_for_all && !is_sticky {
            teller.cure(Cure::new("as root:", format!("chmod 1777 {}", quoted(self.path))));
        } else if !is_writable && !self.context.may_be_closed {
            teller.cure(self.elsewhere());
        }
        is_writable
    }

    fn room(&self, room: &StatVfs, teller: &mut Teller) {
        // Some of it may be kept for root.
        let free = if rustix::process::geteuid().is_root() { room.f_bfree } else { room.f_bavail };
        let (free, total) = (free.saturating_mul(room.f_frsize), room.f_blocks.saturating_mul(room.f_frsize));
        let finding = if total == 0 {
            Finding::note(Name::Space, "not told")
        } else {
            let found = format!("{} of {}", bytes(free), bytes(total));
            Finding::new(Name::Space, scarce(free, total, 64 << 20), found)
        };
        let is_full = finding.verdict == Verdict::WillFail;
        teller.find(finding.with(json!({ "free": free, "total": total })));
        let (free, total) = (room.f_ffree, room.f_files);
        let finding = if total == 0 {
            Finding::note(Name::Inodes, "not counted")
        } else {
            Finding::new(Name::Inodes, scarce(free, total, 0), format!("{free} of {total}"))
        };
        let is_used_up = finding.verdict == Verdict::WillFail;
        teller.find(finding.with(json!({ "free": free, "total": total })));
        if is_full || is_used_up {
            let remove = "make room; what killed programs left behind under tmpshim goes with";
            teller.cure(Cure::new(remove, format!("{} sweep", self.context.command)));
        }
    }
}

/// A call's answer about writing, which says EROFS where that is known already.
trait Allowed {
    fn filter_read_only(self, is_read_only: bool) -> Self;
}

impl Allowed for Result<(), Errno> {
    fn filter_read_only(self, is_read_only: bool) -> Self {
        if is_read_only && self == Err(Errno::ROFS) { Ok(()) } else { self }
    }
}

/// Whether the user that counts for files may make some.
fn may_write(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    // An O_PATH descriptor, by its name in /proc: that also before Linux 5.8, where faccessat2 is missing.
    match accessat(directory, c".", wanted, AtFlags::EACCESS) {
        Err(Errno::NOSYS | Errno::PERM) => accessat(
            CWD,
            format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&directory)),
            wanted,
            AtFlags::empty(),
        ),
        answer => answer,
    }
}

/// Under 1 %, or under `least`.
fn scarce(free: u64, total: u64, least: u64) -> Verdict {
    if free == 0 {
        Verdict::WillFail
    } else if free < total / 100 || free < least.min(total / 2) {
        Verdict::Beware
    } else {
        Verdict::Well
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_scarce_under_a_hundredth_or_64_mebibytes() {
        let least = 64 << 20;
        assert_eq!(scarce(0, 100, least), Verdict::WillFail);
        assert_eq!(scarce(99 << 30, 10_000 << 30, least), Verdict::Beware);
        assert_eq!(scarce(101 << 30, 10_000 << 30, least), Verdict::Well);
        assert_eq!(scarce(63 << 20, 1 << 30, least), Verdict::Beware);
        // A small filesystem is not scarce for being small.
        assert_eq!(scarce(15 << 20, 16 << 20, least), Verdict::Well);
        assert_eq!([scarce(5, 100, 0), scarce(1, 1000, 0)], [Verdict::Well, Verdict::Beware]);
    }
}
