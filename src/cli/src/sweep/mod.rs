//! `tmpshim sweep`: removes what programs have left that were killed, or could not clean up themselves (D5, D6, T5).

mod again;
mod host;
mod line;
pub(crate) mod mounts;
pub(crate) mod piled;
mod progress;
mod report;
pub(crate) mod sweeper;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use crate::failure::Failure;
use crate::state::places::{self, Foreign};
use crate::state::{self, as_user};
use crate::state::{Directory, Objection};
use line::Line;
use mounts::Mounts;
use report::Report;
use sweeper::Sweeper;

/// What `tmpshim sweep` was asked to do.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) dry: bool,
    pub(crate) json: bool,
    /// Only this state directory.
    pub(crate) state: Option<PathBuf>,
    /// Again and again, with so much time in between.
    pub(crate) every: Option<Duration>,
    /// In the mount namespace of process 1.
    pub(crate) host: bool,
    /// What no journal tells of (`--match`), and nothing else.
    pub(crate) piled: Option<piled::Request>,
}

/// Sweeps; exit status 1 where something had to be left.
pub(crate) fn sweep(options: &Options) -> Result<u8, Failure> {
    if options.host {
        host::enter()?;
    }
    match options.every {
        Some(every) => again::again(every, || once(options)),
        None => once(options),
    }
}

fn once(options: &Options) -> Result<u8, Failure> {
    if let Some(request) = &options.piled {
        return piled::sweep(request, options.dry, options.json, options.every.is_some());
    }
    let mounts = OnceCell::new();
    let mut report = Report::new(options.json, options.dry, options.every.is_some());
    let work = |uid: u32| {
        let mounts = &mounts;
        move |directory: &Directory, tell: &mut dyn FnMut(&Line)| {
            Sweeper::new(options.dry, mounts).directory(directory, &mut |said| {
                if let Some(line) = Line::of(said, options.dry, uid) {
                    tell(&line);
                }
            });
        }
    };
    each_directory(options.state.as_deref(), &mut |found| match found {
        Found::Own(directory) => {
            let work = work(rustix::process::geteuid().as_raw());
            if let Err(why) = as_user::beside(directory, work, |line| report.tell(&line)) {
                let why = format!("{why}; see to what it waits for and sweep again");
                report.tell(&Line::left(&directory.path, why));
            }
        }
        Found::Foreign(foreign) => {
            // With root's eyes, before they are closed: the user may not see what others have mounted.
            mounts.get_or_init(Mounts::look);
            if let Err(why) = as_user::visit(foreign, work(foreign.uid), |line| report.tell(&line)) {
                let why = format!("{why}; run tmpshim sweep as user {}", foreign.uid);
                report.tell(&Line::left(&foreign.path, why));
            }
        }
        Found::Unusable(path, objection) => {
            let (why, remedy) = state::describe(objection);
            report.tell(&Line::left(path, format!("{why}; {remedy}")));
        }
    });
    report.end()
}

/// A state directory, in the order in which they are looked for.
pub(crate) enum Found<'a> {
    Own(&'a Directory),
    /// To be opened with its owner's rights.
    Foreign(&'a Foreign),
    /// Named by the user, and not to be used.
    Unusable(&'a Path, Objection),
}

/// Calls `each` with every state directory that this user may see to, or with `only` that one.
pub(crate) fn each_directory(only: Option<&Path>, each: &mut dyn FnMut(Found<'_>)) {
    let is_root = rustix::process::geteuid().is_root();
    let setting = places::setting();
    let own = only.map_or_else(|| places::own(&setting), |only| vec![only.to_path_buf()]);
    for path in own {
        let is_named = only.is_some() || path.as_os_str() == setting;
        match Directory::open(&path) {
            Ok(directory) => each(Found::Own(&directory)),
            Err(Objection::Refused(Errno::NOENT)) => {}
            Err(Objection::Owner) if is_root && is_named => match places::foreign(&path) {
                Some(foreign) => each(Found::Foreign(&foreign)),
                None => each(Found::Unusable(&path, Objection::Owner)),
            },
            Err(objection) if is_named => each(Found::Unusable(&path, objection)),
            // What others have put at a usual place is none of ours.
            Err(_) => {}
        }
    }
    if is_root && only.is_none() {
        for foreign in places::everyones() {
            each(Found::Foreign(&foreign));
        }
    }
}
