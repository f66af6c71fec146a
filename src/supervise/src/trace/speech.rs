//! The log of a tracer: by a thread of its own, since a log may be a pipe that nobody reads, and all the program's threads
//! wait for the tracer.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::custody::{Custody, STACK, Said, Speaker};

/// How many lines may wait to be written. More are lost: nobody reads them.
const LINES: usize = 4096;
/// How long the end of a program waits for a log that nobody reads.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is said, the path in the program's own words, and who says it.
pub(super) type Line = (Said, Vec<u8>, Speaker);

/// The way to that thread, where there is a log.
pub(super) struct Speech(Option<(SyncSender<Line>, Receiver<()>)>);

impl Speech {
    /// Every signal must be blocked in the calling thread.
    pub(super) fn start(custody: &Arc<Custody>) -> io::Result<Self> {
        if !custody.is_logged() {
            return Ok(Self(None));
        }
        let (sender, lines) = sync_channel::<Line>(LINES);
        let (done, ended) = sync_channel(1);
        let custody = Arc::clone(custody);
        std::thread::Builder::new().stack_size(STACK).spawn(move || {
            for (said, path, speaker) in lines {
                custody.say(said, &path, speaker);
            }
            let _ = done.send(());
        })?;
        Ok(Self(Some((sender, ended))))
    }

    pub(super) fn say(&self, line: Line) {
        if let Some((sender, _)) = &self.0 {
            let _ = sender.try_send(line);
        }
    }

    /// Waits until all is written.
    pub(super) fn end(self) {
        let Some((sender, ended)) = self.0 else { return };
        drop(sender);
        // Told so, or the thread is gone.
        let (Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) = ended.recv_timeout(PATIENCE);
    }
}
