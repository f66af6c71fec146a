//! Frames as they lie in a thread's memory.

use std::mem::offset_of;

use rustix::io::Errno;
use tmpshim_core::parasite::{Answer, Errand, Frame, Saved};
use tmpshim_core::tmpfile::survey::Survey;

use super::memory;

/// The bytes of a plain value.
fn bytes_of<T>(value: &T) -> &[u8] {
    // SAFETY: as many bytes as the value has; none of the types that this is used for has any in between, which a test
    // holds against their fields.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// The frame of a thread that goes on an errand. `native` is the answer that it gets where nobody gives another.
pub(crate) fn bytes(saved: &Saved, errand: &Errand, native: Option<i64>, survey: &Survey) -> Vec<u8> {
    let result = native.unwrap_or(-i64::from(Errno::NOSYS.raw_os_error()));
    let answer = Answer { result, ..Answer::default() };
    let mut frame = vec![0; size_of::<Frame>()];
    for (offset, bytes) in [
        (offset_of!(Frame, saved), bytes_of(saved)),
        (offset_of!(Frame, errand), bytes_of(errand)),
        (offset_of!(Frame, answer), bytes_of(&answer)),
        (offset_of!(Frame, survey), bytes_of(survey)),
    ] {
        frame[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    frame
}

/// What the parasite of a thread has answered; `survey` learns what it has found out.
pub(crate) fn answer(thread: u32, frame: u64, survey: &Survey) -> Option<Answer> {
    let start = offset_of!(Frame, answer);
    let bytes = memory::read(thread, frame + start as u64, size_of::<Frame>() - start)?;
    // SAFETY: the bytes are there, and any are an answer.
    let answer = unsafe { bytes.as_ptr().cast::<Answer>().read_unaligned() };
    let offset = offset_of!(Frame, survey) - start;
    // SAFETY: as above, behind it.
    survey.learn(&unsafe { bytes[offset..].as_ptr().cast::<Survey>().read_unaligned() });
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s2_a_frame_has_no_gaps_and_is_read_as_it_was_written() {
        assert_eq!(size_of::<Saved>(), 8 * (31 + 4));
        assert_eq!(size_of::<Errand>(), 4 * 6 + 8 * 3);
        assert_eq!(size_of::<Answer>(), 8 + 4 * 2);
        assert_eq!(size_of::<Survey>(), 8 * 34);
        let saved = Saved { instruction: 7, ..Saved::default() };
        let errand = Errand { kind: 2, resolve: 9, ..Errand::default() };
        let bytes = bytes(&saved, &errand, Some(-95), &Survey::new());
        let own = std::process::id();
        let read = answer(own, bytes.as_ptr() as u64, &Survey::new()).unwrap();
        assert_eq!(read, Answer { result: -95, said: 0, abandoned: 0 });
        assert_eq!(bytes[offset_of!(Frame, saved) + 8 * 31], 7);
    }
}
