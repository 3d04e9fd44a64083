//! A sign of life for an operator who waits at a terminal; scripts and pipes see nothing of it.

use std::io::{IsTerminal as _, Write as _};

/// Counts the scorings that were read, on stderr and only if that is a terminal.
pub(super) struct Progress {
    read: usize,
    shown: bool,
}

impl Progress {
    /// Scorings between two signs of life: about a second on a remote ledger.
    const EVERY: usize = 5_000;

    pub(super) fn new() -> Self {
        Self { read: 0, shown: false }
    }

    pub(super) fn count(&mut self) {
        self.read += 1;
        if self.read.is_multiple_of(Self::EVERY) && std::io::stderr().is_terminal() {
            self.shown = true;
            // It is a sign of life, nothing more.
            let _ = write!(std::io::stderr(), "\r{} scorings read…", self.read);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}
