//! Sessions of gateways' uplinks: a newer one ends the older.
//!
//! A gateway begins a session with a comparison of what both ends hold; every batch then names it. What arrives late over a
//! connection that was given up names an ended session and changes nothing. Sessions live as long as the process: a center
//! that was set back to an older disk has forgotten them, so that every gateway compares again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The newest session per gateway. At most one per enrolled gateway.
#[derive(Debug)]
pub struct Sessions(Mutex<Held>);

#[derive(Debug)]
struct Held {
    last: u64,
    newest: HashMap<String, u64>,
}

impl Sessions {
    /// None yet. `start` differs between starts of the center: numbers of one are never numbers of another.
    pub fn new(start: u64) -> Self {
        Self(Mutex::new(Held { last: start, newest: HashMap::new() }))
    }

    /// Begins one.
    pub fn begin(&self, gateway: &str) -> u64 {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.last += 1;
        let session = held.last;
        held.newest.insert(gateway.to_owned(), session);
        session
    }

    /// Is it the newest of this gateway?
    pub fn holds(&self, gateway: &str, session: u64) -> bool {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.newest.get(gateway) == Some(&session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_session_of_a_gateway_counts() {
        let sessions = Sessions::new(7_000);
        let first = sessions.begin("a");
        assert!(sessions.holds("a", first) && !sessions.holds("b", first) && !sessions.holds("a", 0));
        let other = sessions.begin("b");
        let second = sessions.begin("a");
        assert!(!sessions.holds("a", first) && sessions.holds("a", second) && sessions.holds("b", other));
        // Another start of the center knows none of them.
        assert!(!Sessions::new(9_000).holds("a", second));
    }
}
