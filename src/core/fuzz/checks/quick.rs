//! What is to end soon, whatever it is given.

use std::time::Duration;

/// Does `work`, which is to take less than `limit` of this thread's time: other work on the machine does not count.
pub(crate) fn quick<T>(limit: Duration, work: impl FnOnce() -> T) -> T {
    let start = cpu_time();
    let done = work();
    let taken = cpu_time().saturating_sub(start);
    assert!(taken < limit, "it took {taken:?}, where {limit:?} are plenty");
    done
}

fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a clock that every thread has, and a place for the answer.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
