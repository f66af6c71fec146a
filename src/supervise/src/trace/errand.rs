//! What is to be made of a call that has stopped.

use std::ffi::CString;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::io::Errno;
use tmpshim_core::identity::Identity;
use tmpshim_core::parasite::{Answer, Errand, Kind, Said as Done};
use tmpshim_core::publish::may_be_ours;
use tmpshim_core::settings::Tmpfile;
use tmpshim_core::sys;
use tmpshim_core::tmpfile::Made as StandIn;
use tmpshim_core::tmpfile::plan;

use super::machine::Interest;
use crate::call::Call;
use crate::custody::{Custody, Said};
use crate::maker::{Made, Maker};
use crate::target::{Target, path};

/// A call on its way: the program makes it, or a parasite.
pub(crate) struct Work {
    call: Call,
    maker: Option<MakerOf>,
}

/// Who makes a directory that is to be tracked.
struct MakerOf {
    maker: Maker,
    /// The last component of its path.
    name: Vec<u8>,
    /// When, in nanoseconds since 1970.
    begun: u64,
}

impl Work {
    /// What a call is to us.
    pub(crate) fn of(thread: u32, call: Option<Call>, custody: &Custody) -> (Interest, Option<Self>) {
        let work = |call, maker| Some(Self { call, maker });
        match call {
            Some(Call::Question) => (Interest::Question, None),
            Some(Call::Open(open)) if custody.settings.tmpfile == Tmpfile::Always && plan::is_valid(open.flags) => {
                (Interest::Replace, work(Call::Open(open), None))
            }
            // The kernel could link a file that keeps a hidden name, ours or its server's: it would leave that one (T6), and
            // on FUSE readers would see an old size.
            Some(call @ Call::Link(_)) if custody.has_stood_in() => (Interest::Replace, work(call, None)),
            Some(call @ (Call::Open(_) | Call::Link(_))) => (Interest::Try, work(call, None)),
            Some(call @ Call::Directory(directory)) => {
                let target = Target::elsewhere(thread);
                let maker = target.zip(path(thread, directory.path)).and_then(|(target, path)| {
                    let maker = Maker::of(&target, directory.from, &path, custody)?;
                    let name = path.split(|&byte| byte == b'/').rfind(|component| !component.is_empty())?.to_vec();
                    let begun = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
                    Some(MakerOf { maker, name, begun })
                });
                if maker.is_some() { (Interest::Replace, work(call, maker)) } else { (Interest::None, None) }
            }
            None | Some(Call::Sandbox) => (Interest::None, None),
        }
    }

    /// What the directory is to be called that is to be tracked.
    pub(crate) fn directory_name(&self) -> Option<&[u8]> {
        self.maker.as_ref().map(|maker| &maker.name[..])
    }

    /// What is to be known of it once it is there, and when it was begun in nanoseconds since 1970.
    pub(crate) fn has_made(&self, path: CString, identity: Identity) -> Option<(Made, u64)> {
        self.maker.as_ref().map(|of| (of.maker.has_made(path, identity), of.begun))
    }

    /// What a parasite is to do after the program's own attempt, if that was made; nothing where its answer is the right one.
    pub(crate) fn errand(&self, native: Option<i64>) -> Option<Errand> {
        let error = native.map(error_of);
        let mut errand = match self.call {
            Call::Open(open) => Errand {
                kind: Kind::Open as u32,
                directory: open.directory,
                flags: open.flags,
                path: open.path,
                mode: open.mode,
                resolve: open.resolve,
                ..Errand::default()
            },
            Call::Link(link) => Errand {
                kind: Kind::Link as u32,
                directory: link.from,
                flags: link.flags,
                path: link.old,
                to: link.to,
                new: link.new,
                ..Errand::default()
            },
            Call::Directory(directory) => Errand {
                kind: Kind::Directory as u32,
                directory: directory.from,
                path: directory.path,
                mode: directory.mode,
                ..Errand::default()
            },
            Call::Question | Call::Sandbox => return None,
        };
        let Some(error) = error else { return Some(errand) };
        let error = error?;
        errand.refusal = match self.call {
            Call::Open(open) => match plan::after(error, open.flags) {
                plan::Answer::Return => return None,
                plan::Answer::StandIn => 0,
                plan::Answer::StandInIfDirectory => error.raw_os_error() as u32,
            },
            _ if may_be_ours(error) => error.raw_os_error() as u32,
            _ => return None,
        };
        Some(errand)
    }

    /// What the log is to say of it, and of which path in the program's own words.
    pub(crate) fn said(&self, answer: &Answer) -> Option<(Said, u64)> {
        let error = error_of(answer.result);
        let is = |done: Done| answer.said == done as u32;
        match (self.call, error) {
            (Call::Open(open), Some(error)) => Some((Said::CouldNotStandIn(error), open.path)),
            (Call::Open(open), None) => {
                let made = if is(Done::Kept) { StandIn::Kept } else { StandIn::Unlinked };
                Some((Said::StoodIn(made), open.path))
            }
            (Call::Link(link), error) if is(Done::Published) => {
                Some((error.map_or(Said::Published, Said::CouldNotPublish), link.new))
            }
            _ => None,
        }
    }
}

/// The error that a result is, if it is one.
fn error_of(result: i64) -> Option<Errno> {
    (-4095..0).contains(&result).then(|| sys::error(-result as i32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Link, Open};
    use libc::{O_RDWR, O_TMPFILE};

    #[test]
    fn t2_an_errand_is_what_a_filesystem_without_o_tmpfile_asks_for() {
        let open = Open { directory: 5, path: 7, flags: O_TMPFILE | O_RDWR, mode: 0o640, resolve: 8 };
        let work = |call| Work { call, maker: None };
        let after = |result: i64| work(Call::Open(open)).errand(Some(result));
        // Restarted by the kernel (ERESTARTSYS), worked, somebody else's error.
        for result in [-512, 0, 3, -i64::from(libc::EACCES), -i64::from(libc::ENOSPC)] {
            assert_eq!(after(result), None, "{result}");
        }
        let errand = after(-i64::from(libc::EOPNOTSUPP)).unwrap();
        assert_eq!((errand.kind, errand.refusal, errand.directory, errand.path), (1, 0, 5, 7));
        assert_eq!((errand.flags, errand.mode, errand.resolve), (open.flags, 0o640, 8));
        assert_eq!(after(-i64::from(libc::EINVAL)).unwrap().refusal, libc::EINVAL as u32);
        assert_eq!(work(Call::Open(open)).errand(None).unwrap().refusal, 0);

        let link = Link { from: 5, old: 1, to: 4, new: 2, flags: 0x400 };
        let after = |result: i64| work(Call::Link(link)).errand(Some(result));
        assert_eq!((after(0), after(-i64::from(libc::EEXIST))), (None, None));
        let errand = after(-i64::from(libc::ENOENT)).unwrap();
        assert_eq!((errand.kind, errand.refusal, errand.directory, errand.path), (2, libc::ENOENT as u32, 5, 1));
        assert_eq!((errand.to, errand.new, errand.flags), (4, 2, 0x400));
    }
}
