//! When faults are on.

use super::{FeedFault, LinkFault, Mishap, ProbeFault};
use crate::signal::SignalIx;

/// Where a fault bites.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Effect {
    /// A unit of an endpoint, or all of them.
    Link {
        /// Position of the endpoint.
        endpoint: usize,
        /// Unit id; `None` is every unit of the endpoint.
        unit: Option<u8>,
        /// What happens.
        fault: LinkFault,
    },
    /// A signal.
    Probe {
        /// Which.
        signal: SignalIx,
        /// What happens.
        fault: ProbeFault,
    },
    /// The messages of a device.
    Feed {
        /// Position of the device.
        device: usize,
        /// What happens.
        fault: FeedFault,
    },
    /// A device.
    Mishap {
        /// Position of the device.
        device: usize,
        /// What happens.
        mishap: Mishap,
    },
}

/// One fault from one second to another (seconds since the world's first midnight; `to` is the first second without it).
#[derive(Debug, Clone, PartialEq)]
pub struct Occurrence {
    /// First second.
    pub from: i64,
    /// First second without it.
    pub to: i64,
    /// What and where.
    pub effect: Effect,
    /// The target as it was named.
    pub target: String,
}

/// A power cycle without an end is over after so many seconds.
const POWER_CYCLE_S: i64 = 30;

/// Occurrences at most, planted, drawn and injected together: more are refused.
pub const OCCURRENCES_MAX: usize = 10_000;

/// The occurrences that are on or will be, and when to look again.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    list: Vec<Occurrence>,
    next: i64,
}

impl Timeline {
    /// Adds one; `false`, and nothing is added, when [`OCCURRENCES_MAX`] are there already.
    pub fn add(&mut self, occurrence: Occurrence) -> bool {
        let Effect::Link { endpoint, unit, fault: LinkFault::PowerCycle { starting: false } } =
            occurrence.effect
        else {
            return self.add_plain(occurrence);
        };
        // Off, then starting: two halves of one span, which has an end.
        let endless = occurrence.to == i64::MAX;
        let to = if endless { occurrence.from.saturating_add(POWER_CYCLE_S) } else { occurrence.to };
        let middle = occurrence.from + (to - occurrence.from + 1) / 2;
        let starting = Effect::Link { endpoint, unit, fault: LinkFault::PowerCycle { starting: true } };
        let second = Occurrence { from: middle, to, effect: starting, target: occurrence.target.clone() };
        let first = Occurrence { to: middle, ..occurrence };
        self.list.len() + 2 <= OCCURRENCES_MAX && self.add_plain(first) && self.add_plain(second)
    }

    fn add_plain(&mut self, occurrence: Occurrence) -> bool {
        if self.list.len() >= OCCURRENCES_MAX {
            return false;
        }
        self.list.push(occurrence);
        self.next = i64::MIN;
        true
    }

    /// Ends those on `target` (all of them for `None`) that are on at second `now`; says how many.
    pub fn clear(&mut self, target: Option<&str>, now: i64) -> usize {
        let before = self.list.len();
        self.list.retain(|o| o.from > now || target.is_some_and(|target| o.target != target));
        self.next = i64::MIN;
        before - self.list.len()
    }

    /// Has anything begun or ended at second `now`? If so forgets what is over; ask [`Timeline::on`] then.
    pub(crate) fn turned(&mut self, now: i64) -> bool {
        if now < self.next {
            return false;
        }
        self.list.retain(|o| o.to > now);
        self.next =
            self.list.iter().map(|o| if o.from > now { o.from } else { o.to }).min().unwrap_or(i64::MAX);
        true
    }

    /// Those that are on at second `now`.
    pub fn on(&self, now: i64) -> impl Iterator<Item = &Occurrence> {
        self.list.iter().filter(move |o| o.from <= now && now < o.to)
    }
}
