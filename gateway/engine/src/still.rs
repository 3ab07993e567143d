//! How long a point has stood still, to tell a frozen probe from a steady quantity.
//!
//! A *stretch* begins with a value and lasts while no other differs from it by more than the point's noise. Once a stretch has
//! lasted [`Stuck::after_ms`], whatever is still like it is *stuck*: intake hands it on as [`BadCause::Stuck`], which no rule
//! believes, until the point moves.
//!
//! - A silence of the point's maximum age or longer begins the stretch anew: nobody knows that it stood still all the
//!   while. Not if it was stuck before: a probe is not alive again because its power was cut.
//! - A value that the source itself says is an older one (held) proves neither movement nor standstill.
//! - Intake and engine keep the same stretch, each from what it sees: intake keeps every answer that begins one, every
//!   first failure and every first answer after it. So a restart or a verifier finds it in the records. While intake thins,
//!   a stretch of less than a heartbeat may lack in them.
//!
//! - At or below [`Stuck::above`], where that is stated, there is no stretch: a lamp that is off stands still for a reason.
//! - Another probe at the same place begins anew (`forget`).
//!
//! Leaves out: reasons to stand still that another point tells. Whoever sets it says that this one cannot.

use alloc::boxed::Box;

use gateway_model::{BadCause, EngineTime, PointPlan, Quality, Raw, Still, Stuck, UncertainCause};

/// Two values this close, as a share of the larger, differ by rounding only: 4.4 − 4.3 is not more than 0.1.
const ROUNDING: f64 = 1e-9;

/// What an answer says of the stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It begins another; the one before lasted for so long.
    Moved(i64),
    /// It goes on, or nobody watches.
    Unmoved,
    /// It has lasted too long.
    Stuck,
}

/// Watches one point. Most have none, so it lies apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StillWatch {
    limit: Stuck,
    gain: f64,
    offset: f64,
    max_age_ms: i64,
    pub(crate) still: Option<Still>,
}

impl StillWatch {
    pub(crate) fn new(plan: &PointPlan) -> Option<Box<Self>> {
        let watch = |limit| Self {
            limit,
            gain: plan.gain,
            offset: plan.offset,
            max_age_ms: plan.max_age_ms,
            still: None,
        };
        plan.stuck.map(watch).map(Box::new)
    }

    /// A value that was measured at `at`, not before the last one.
    pub(crate) fn see(&mut self, at: EngineTime, raw: Raw) -> Seen {
        if self.rests(raw) {
            return self.still.take().map_or(Seen::Unmoved, |still| Seen::Moved(at.since(still.since)));
        }
        let Some(still) = self.still.filter(|still| !self.differs(still.value, raw)) else {
            let lasted = self.still.map_or(i64::MAX, |still| at.since(still.since));
            self.still = Some(Still { value: raw, since: at, silent: None });
            return Seen::Moved(lasted);
        };
        let lost = still.silent.is_some_and(|silent| {
            let long = self.max_age_ms > 0 && at.since(silent) >= self.max_age_ms;
            long && silent.since(still.since) < self.limit.after_ms
        });
        let since = if lost { at } else { still.since };
        self.still = Some(Still { since, silent: None, ..still });
        if self.is_stuck(at) { Seen::Stuck } else { Seen::Unmoved }
    }

    /// Nothing of what was seen counts any more.
    pub(crate) fn forget(&mut self) {
        self.still = None;
    }

    /// Would a value like the last be stuck at `at`?
    pub(crate) fn is_stuck(&self, at: EngineTime) -> bool {
        self.still.is_some_and(|still| at.since(still.since) >= self.limit.after_ms)
    }

    /// It was stuck, and said so: not silent.
    pub(crate) fn heard(&mut self) {
        if let Some(still) = &mut self.still {
            still.silent = None;
        }
    }

    /// No value, from `at`.
    pub(crate) fn silent(&mut self, at: EngineTime) {
        if let Some(still) = &mut self.still {
            still.silent.get_or_insert(at);
        }
    }

    /// As the record has it: what intake made of what it saw.
    pub(crate) fn eat(&mut self, at: EngineTime, value: Quality<Raw>) {
        match value {
            Quality::Good(raw) | Quality::Uncertain(raw, UncertainCause::Clock) => {
                self.see(at, raw);
            }
            Quality::Uncertain(_, UncertainCause::Held) => (),
            Quality::Bad(BadCause::Stuck) => self.heard(),
            Quality::Uncertain(_, UncertainCause::Stale)
            | Quality::Bad(
                BadCause::NoCommunication
                | BadCause::DeviceRefused
                | BadCause::Malformed
                | BadCause::Sentinel
                | BadCause::Implausible
                | BadCause::SourceOffline
                | BadCause::GatewayDown
                | BadCause::NeverSeen,
            ) => self.silent(at),
        }
    }

    /// So low that it may stand still.
    fn rests(&self, raw: Raw) -> bool {
        self.limit.above.zip(raw.value(self.gain, self.offset)).is_some_and(|(above, value)| value <= above)
    }

    /// By more than noise; what is no number moves nothing.
    fn differs(&self, one: Raw, other: Raw) -> bool {
        let value = |raw: Raw| raw.value(self.gain, self.offset);
        let Some((one, other)) = value(one).zip(value(other)) else { return false };
        let rounding = ROUNDING * libm::fmax(libm::fabs(one), libm::fabs(other));
        libm::fabs(one - other) > self.limit.noise + rounding
    }
}

/// Recorded readings under another word on how long a point may stand still: what intake would have made of them, as far as the
/// record goes. It lacks what was thinned (found at the latest a heartbeat later), and the number of answers that were stuck
/// then: those stay so.
#[derive(Debug)]
pub struct Restuck {
    watch: Box<StillWatch>,
    last: Option<EngineTime>,
}

impl Restuck {
    /// For readings that come as numbers scaled by this plan; `None` = it may stand still for ever.
    pub fn new(plan: &PointPlan) -> Option<Self> {
        StillWatch::new(plan).map(|watch| Self { watch, last: None })
    }

    /// What a reading counts as. Late ones say nothing.
    pub fn judge(&mut self, at: EngineTime, value: Quality<Raw>) -> Quality<Raw> {
        if self.last.is_some_and(|last| at < last) {
            return value;
        }
        self.last = Some(at);
        let stuck = match value {
            Quality::Good(raw) | Quality::Uncertain(raw, UncertainCause::Clock) => {
                self.watch.see(at, raw) == Seen::Stuck
            }
            Quality::Uncertain(_, UncertainCause::Held) if self.watch.is_stuck(at) => {
                self.watch.heard();
                true
            }
            Quality::Uncertain(_, UncertainCause::Held | UncertainCause::Stale) | Quality::Bad(_) => {
                self.watch.eat(at, value);
                false
            }
        };
        if stuck { Quality::Bad(BadCause::Stuck) } else { value }
    }

    /// Would it be stuck at `at`, were it still like the last number?
    pub fn is_stuck(&self, at: EngineTime) -> bool {
        self.watch.is_stuck(at)
    }

    /// Another probe, or a time of which nothing is known.
    pub fn forget(&mut self) {
        self.watch.forget();
    }
}
