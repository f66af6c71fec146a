//! Standing in for O_TMPFILE (T1 to T6).

use crate::records::Overseer;
use crate::{Done, text};
use rustix::io::Errno;
use tmpshim_core::next::Next;
use tmpshim_core::parasite::{Errand, Said};
use tmpshim_core::sys;
use tmpshim_core::tmpfile::survey::Survey;
use tmpshim_core::tmpfile::{Made, Means, Request, stand_in};

/// # Safety
/// The path is one that the kernel has read, or, without a refusal, any address.
#[inline(never)]
pub(crate) unsafe fn run(errand: &Errand, survey: &Survey, overseer: &Overseer) -> Done {
    let refusal = (errand.refusal != 0).then(|| sys::error(errand.refusal as i32));
    let request = Request {
        directory: errand.directory,
        path: text(errand.path),
        flags: errand.flags,
        mode: errand.mode,
        resolve: errand.resolve,
    };
    let means = Means { next: &Next::KERNEL, survey, tracker: Some(overseer) };
    // SAFETY: as this function's own contract.
    match unsafe { stand_in(&request, refusal, &means) } {
        Ok((file, Made::Unlinked)) => (Ok(file), Said::Unlinked),
        Ok((file, Made::Kept)) => (Ok(file), Said::Kept),
        // Its path cannot be read, for a log neither.
        Err(Errno::FAULT) => (Err(Errno::FAULT), Said::Nothing),
        Err(error) => (Err(error), Said::Unlinked),
    }
}
