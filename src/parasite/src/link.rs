//! Publishing (T7).

use crate::records::Overseer;
use crate::{Done, text};
use rustix::io::Errno;
use tmpshim_core::next::Next;
use tmpshim_core::parasite::{Errand, Said};
use tmpshim_core::publish::publish;
use tmpshim_core::publish::source::{self, Own, Source};
use tmpshim_core::records::Records;
use tmpshim_core::sys;
use tmpshim_core::tmpfile::Means;
use tmpshim_core::tmpfile::survey::Survey;

/// Where the program's own call has failed, its errno is the answer for what is none of ours; where there was no such
/// call, it is made now.
///
/// # Safety
/// The paths are the program's own, or any addresses.
#[inline(never)]
pub(crate) unsafe fn run(errand: &Errand, survey: &Survey, overseer: &Overseer) -> Done {
    let (old, new) = (text(errand.path), text(errand.new));
    let is_readable = sys::is_readable(old.cast());
    // SAFETY: the line above has asked the kernel.
    let find = || unsafe { source::find(errand.directory, old, errand.flags) };
    let found = if is_readable { find() } else { None };
    let is_ours =
        |source: &Source<Own>| source.mark.unlinked || overseer.mode_of_file(source.link.as_bytes()).is_some();
    // By reference: a source is large, and the stack is not.
    let Some(source) = found.as_ref().filter(|source| is_ours(source)) else {
        let answer = match errand.refusal {
            0 => sys::linkat(errand.directory, old, errand.to, new, errand.flags).map(|()| 0),
            refusal => Err(sys::error(refusal as i32)),
        };
        return (answer, Said::Nothing);
    };
    let means = Means { next: &Next::KERNEL, survey, tracker: Some(overseer) };
    // SAFETY: `publish` lets the kernel read the path first.
    match unsafe { publish(source, errand.to, new, &means) } {
        Err(Errno::FAULT) => (Err(Errno::FAULT), Said::Nothing),
        answer => (answer.map(|()| 0), Said::Published),
    }
}
