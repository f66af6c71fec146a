//! Programs that others of ours want to trace: a thread has one tracer, so we let go of it.

use std::os::unix::fs::MetadataExt;

use libc::PTRACE_TRACEME;
use rustix::io::Errno;

use super::ptrace;
use super::registers::Registers;
use super::tracer::Tracer;

impl Tracer {
    /// Somebody of ours wants to trace somebody: a thread has one tracer.
    pub(super) fn hand(&mut self, id: u32) -> Result<(), Errno> {
        let [request, whom, ..] = ptrace::registers(id)?.arguments();
        if request as u32 == PTRACE_TRACEME {
            if let Some(thread) = self.threads.get_mut(&id) {
                thread.is_wanted = true;
            }
            return self.go_on(id, 0);
        }
        let whom = whom as u32;
        // In another PID namespace the number means somebody else.
        let namespace = |whose: &str| std::fs::metadata(format!("/proc/{whose}/ns/pid")).ok().map(|seen| seen.ino());
        let is_ours = whom != id && namespace(&id.to_string()) == namespace("self");
        match self.threads.get_mut(&whom).filter(|_| is_ours) {
            Some(thread) if ptrace::interrupt(whom).is_ok() => {
                thread.is_wanted = true;
                self.heirs.entry(whom).or_default().push(id);
                Ok(())
            }
            _ => self.go_on(id, 0),
        }
    }

    pub(super) fn let_go(&mut self, id: u32, signal: i32) -> Result<(), Errno> {
        let answer = ptrace::detach(id, signal);
        self.forget(id);
        answer
    }
}
