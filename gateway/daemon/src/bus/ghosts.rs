//! Which earlier answers may still be on their way, on a line whose answers do not say what they answer.
//!
//! An RTU answer shows its unit, function and length, and nothing else. So after a question its *shape* stays taken for a
//! while, and a question of the same shape at another address is not asked meanwhile: a late, doubled or repeated answer
//! could be taken for its answer. A question of another shape may be asked at once: there is nothing to confuse.
//!
//! Promises: while no answer comes later than [`late_max`] after its request, and no second copy of one later than twice the
//! longest answer time after the first, no answer is ever taken for that of a question at another address. The planner gives the requests of one device different shapes, so that this costs nothing.
//!
//! Leaves out: waiting ([`super::guard`]).

use std::time::{Duration, Instant};

use super::frame::{Question, Shape};

/// A device, or a serial server with a queue, answers within so many time-outs or never.
const LATE_TIMEOUTS: u32 = 5;
/// Shapes remembered at most; beyond it the one that is free soonest is forgotten.
const GHOSTS_MAX: usize = 512;

/// How late an answer may be and still be kept from the wrong question: five time-outs.
pub fn late_max(limit: Duration) -> Duration {
    limit * LATE_TIMEOUTS
}

/// A question whose answer may come, or come again.
#[derive(Debug, Clone, Copy)]
struct Ghost {
    shape: Shape,
    first: u16,
    count: u16,
    sent: Instant,
    /// Its answer never came, or something odd did.
    doubtful: bool,
    until: Instant,
}

/// All of a line.
#[derive(Debug, Default)]
pub struct Ghosts(Vec<Ghost>);

/// What stands between a question and the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Nothing.
    None,
    /// A late answer would be one to this very question: the right point, but an old value. Silence and one read that is
    /// thrown away make sure.
    Stale {
        /// When the older request went out.
        sent: Instant,
    },
    /// A late answer would land in a wrong point until then.
    Wrong {
        /// When no answer can come any more.
        until: Instant,
    },
}

impl Ghosts {
    /// A question was asked; `doubtful` unless a good answer came. Its shape is taken until `until`.
    pub fn add(&mut self, question: Question, sent: Instant, until: Instant, doubtful: bool) {
        self.0.retain(|ghost| ghost.until > sent);
        let shape = question.shape();
        let same = |ghost: &&mut Ghost| {
            (ghost.shape, ghost.first, ghost.count) == (shape, question.first, question.count)
        };
        if let Some(known) = self.0.iter_mut().find(same) {
            // A good answer does not make an older doubt undone: that answer may still come.
            known.until = known.until.max(until);
            known.doubtful |= doubtful;
            known.sent = sent;
            return;
        }
        if self.0.len() >= GHOSTS_MAX
            && let Some(soonest) = (0..self.0.len()).min_by_key(|&ix| self.0[ix].until)
        {
            self.0.swap_remove(soonest);
        }
        self.0.push(Ghost { shape, first: question.first, count: question.count, sent, doubtful, until });
    }

    /// May an answer to an older asking of the very same question still come at `now`? Then what comes next need not be the
    /// newest one's own.
    pub fn expects(&self, question: Question, now: Instant) -> bool {
        let shape = question.shape();
        self.0.iter().any(|ghost| {
            (ghost.shape, ghost.first, ghost.count) == (shape, question.first, question.count)
                && ghost.until > now
        })
    }

    /// The same question was answered after silence, and that answer thrown away: what comes now is its own.
    pub fn trust_again(&mut self, question: Question) {
        let shape = question.shape();
        for ghost in &mut self.0 {
            if (ghost.shape, ghost.first, ghost.count) == (shape, question.first, question.count) {
                ghost.doubtful = false;
            }
        }
    }

    /// What keeps `question` from being asked at `now`.
    pub fn obstacle(&self, question: Question, now: Instant) -> Obstacle {
        let shape = question.shape();
        let mut obstacle = Obstacle::None;
        for ghost in self.0.iter().filter(|ghost| ghost.shape == shape && ghost.until > now) {
            let same = (ghost.first, ghost.count) == (question.first, question.count);
            obstacle = match obstacle {
                Obstacle::Wrong { until } if !same => Obstacle::Wrong { until: until.max(ghost.until) },
                Obstacle::None | Obstacle::Stale { .. } if !same => Obstacle::Wrong { until: ghost.until },
                Obstacle::None | Obstacle::Stale { .. } if ghost.doubtful => {
                    Obstacle::Stale { sent: ghost.sent }
                }
                Obstacle::None | Obstacle::Stale { .. } | Obstacle::Wrong { .. } => obstacle,
            };
        }
        obstacle
    }

    /// A sound frame that answers nothing that was just asked: how long after its request it came, if it is an answer that
    /// was still expected or a second copy of one.
    pub fn recognise(&self, shape: Shape, now: Instant) -> Option<Duration> {
        let known = self.0.iter().filter(|ghost| ghost.shape == shape && ghost.until > now);
        // The youngest: an older one would make every estimate that is built on it grow.
        known.map(|ghost| now.saturating_duration_since(ghost.sent)).min()
    }

    /// A refusal that nobody just caused: late, if that unit was asked lately.
    pub fn recognise_refusal(&self, unit: u8, function: u8, now: Instant) -> bool {
        self.0
            .iter()
            .any(|ghost| ghost.shape.unit == unit && ghost.shape.function == function && ghost.until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FunctionCode, UnitId};

    fn question(first: u16, count: u16) -> Question {
        Question { unit: UnitId(1), function: FunctionCode::HoldingRegisters, first, count }
    }

    #[test]
    fn a_shape_is_taken_only_for_other_addresses_and_only_for_a_while() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut ghosts = Ghosts::default();
        ghosts.add(question(0, 2), at(0), at(500), false);
        assert_eq!(ghosts.obstacle(question(0, 2), at(10)), Obstacle::None, "the same question again");
        assert_eq!(ghosts.obstacle(question(9, 3), at(10)), Obstacle::None, "another shape");
        assert_eq!(ghosts.obstacle(question(9, 2), at(10)), Obstacle::Wrong { until: at(500) });
        assert_eq!(ghosts.obstacle(question(9, 2), at(500)), Obstacle::None, "no answer comes that late");
        ghosts.add(question(0, 2), at(600), at(3_100), true);
        assert_eq!(ghosts.obstacle(question(0, 2), at(700)), Obstacle::Stale { sent: at(600) });
        assert_eq!(ghosts.recognise(question(9, 2).shape(), at(800)), Some(Duration::from_millis(200)));
        assert_eq!(ghosts.recognise(question(9, 3).shape(), at(800)), None);
    }

    #[test]
    fn bits_share_a_shape_by_the_byte() {
        let bits = |first, count| Question { function: FunctionCode::Coils, ..question(first, count) };
        let start = Instant::now();
        let mut ghosts = Ghosts::default();
        ghosts.add(bits(0, 8), start, start + Duration::from_secs(1), false);
        assert!(matches!(ghosts.obstacle(bits(0, 7), start), Obstacle::Wrong { .. }));
        assert_eq!(ghosts.obstacle(bits(0, 9), start), Obstacle::None);
    }

    #[test]
    fn there_is_a_limit() {
        let start = Instant::now();
        let mut ghosts = Ghosts::default();
        for first in 0..1_000 {
            ghosts.add(question(first, 1), start, start + Duration::from_millis(u64::from(first) + 1), true);
        }
        assert_eq!(ghosts.0.len(), GHOSTS_MAX);
        assert!(ghosts.0.iter().any(|ghost| ghost.first == 999), "the longest-lived stay");
    }
}
