//! A line on the terminal that moves while there is much to do.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shown once it is worth it, and only on a terminal.
pub(super) struct Progress {
    begun: Instant,
    bar: Option<ProgressBar>,
    possible: bool,
}

impl Progress {
    /// What takes no longer is done before anybody could read it.
    const SOON: Duration = Duration::from_millis(500);

    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), bar: None, possible: stderr().is_terminal() }
    }

    pub(super) fn advance(&mut self, done: u64) {
        if !self.possible || self.begun.elapsed() < Self::SOON {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            // Constant, so it is well-formed always or never.
            let style = ProgressStyle::with_template("{spinner} {pos} removed ({per_sec})");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        bar.set_position(done);
    }

    /// Lets something else be written to the same terminal.
    pub(super) fn aside(&self, shared: bool, write: impl FnOnce()) {
        match &self.bar {
            Some(bar) if shared => bar.suspend(write),
            _ => write(),
        }
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
