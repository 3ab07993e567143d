//! A bar on stderr for work that takes its time; only where a person looks at it.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Not drawn more often.
const EVERY: Duration = Duration::from_millis(200);
/// Characters.
const WIDTH: u64 = 40;

/// See the module. Gone when it is dropped.
pub(super) struct Progress {
    total: u64,
    done: u64,
    drawn: Option<Instant>,
    shown: bool,
}

impl Progress {
    /// Of so much work.
    pub(super) fn of(total: u64) -> Self {
        Self { total: total.max(1), done: 0, drawn: None, shown: std::io::stderr().is_terminal() }
    }

    /// So much more is done.
    pub(super) fn add(&mut self, done: u64) {
        self.done += done;
        if !self.shown || self.drawn.is_some_and(|drawn| drawn.elapsed() < EVERY) {
            return;
        }
        self.drawn = Some(Instant::now());
        let done = self.done.min(self.total);
        let full = "#".repeat((done * WIDTH / self.total) as usize);
        // Whoever cannot be shown a bar needs none.
        let _drawn = write!(std::io::stderr(), "\r[{full:<40}] {:3} %", done * 100 / self.total);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _wiped = write!(std::io::stderr(), "\r{:60}\r", "");
        }
    }
}
