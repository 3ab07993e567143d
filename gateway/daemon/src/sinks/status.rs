//! What the page shows of a sink.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gateway_journal::Position;
use serde::Serialize;

/// How a sink is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The last attempt went well, or there was none.
    Works,
    /// The target does not answer as it should; trying again.
    Failing,
    /// The target refuses: a person has to act.
    Refused,
    /// The target wants nothing more; `gateway sink resume` goes on.
    Stopped,
    /// Waits until the time is known.
    NoClock,
    /// Its own folder cannot be written; it begins again with the next start.
    Broken,
}

/// Written by the sink, read by the page; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Status(Arc<Mutex<Shown>>);

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Its name.
    pub name: String,
    /// `influxdb`, `mqtt`, `webhook`.
    pub kind: &'static str,
    /// How it is doing.
    pub state: State,
    /// What the target said, where it is not doing well.
    pub words: String,
    /// Last record that is done: `epoch/seq`.
    pub cursor: Option<String>,
    /// Newest record there is.
    pub newest: Option<String>,
    /// Read and not yet delivered.
    pub waiting: usize,
    /// Messages that made room for others.
    pub late: usize,
    /// Spans it will never get.
    pub gaps: usize,
    /// Set aside since the start.
    pub aside: u64,
}

impl Status {
    /// Of a sink that has done nothing yet.
    pub fn new(name: &str, kind: &'static str) -> Self {
        Self(Arc::new(Mutex::new(Shown {
            name: name.to_owned(),
            kind,
            state: State::Works,
            words: String::new(),
            cursor: None,
            newest: None,
            waiting: 0,
            late: 0,
            gaps: 0,
            aside: 0,
        })))
    }

    /// The row.
    pub fn shown(&self) -> Shown {
        self.lock().clone()
    }

    pub(super) fn set(&self, state: State, words: &str) {
        let mut shown = self.lock();
        shown.state = state;
        words.clone_into(&mut shown.words);
    }

    pub(super) fn set_aside(&self) {
        self.lock().aside += 1;
    }

    pub(super) fn figures(
        &self,
        cursor: Option<Position>,
        newest: Option<Position>,
        waiting: usize,
        late: usize,
        gaps: usize,
    ) {
        let mut shown = self.lock();
        shown.cursor = cursor.map(|position| position.to_string());
        shown.newest = newest.map(|position| position.to_string());
        (shown.waiting, shown.late, shown.gaps) = (waiting, late, gaps);
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
