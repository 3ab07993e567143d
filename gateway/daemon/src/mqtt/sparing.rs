//! Says a repeated failure once, then counts it.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::clock;

/// A failure is said at most this often.
const SAY_EVERY: Duration = Duration::from_mins(1);
/// Kinds of failures told apart; further ones are said as if they were one. A stranger must not fill the memory.
const KINDS_MAX: usize = 256;

/// When each kind of failure was last said, and how often it was not.
#[derive(Debug)]
pub(super) struct Sparing<K>(HashMap<Option<K>, (Instant, u64)>);

impl<K: Eq + Hash> Default for Sparing<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Sparing<K> {
    /// It happened: how many were not said since, if it is to be said now.
    pub(super) fn unsaid(&mut self, kind: K) -> Option<u64> {
        let now = clock::instant();
        let kind = Some(kind);
        let kind = if self.0.len() < KINDS_MAX || self.0.contains_key(&kind) { kind } else { None };
        match self.0.get_mut(&kind) {
            None => {
                self.0.insert(kind, (now, 0));
                Some(0)
            }
            Some((last, unsaid)) if now.saturating_duration_since(*last) >= SAY_EVERY => {
                *last = now;
                Some(std::mem::take(unsaid))
            }
            Some((_, unsaid)) => {
                *unsaid += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_names_is_one_more_name() {
        let mut sparing = Sparing::default();
        let said = (0..10_000).filter(|n| sparing.unsaid(*n).is_some()).count();
        assert_eq!(said, KINDS_MAX + 1);
        assert_eq!(sparing.unsaid(0), None, "a known one is counted on its own");
    }
}
