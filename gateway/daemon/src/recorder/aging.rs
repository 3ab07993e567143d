//! When a value that nobody renews becomes stale: a moment before which none does, so that not every point is looked at
//! whenever something comes.
//!
//! Promises: [`Aging::from`] is never later than the moment at which a value becomes stale. It may be earlier: then somebody
//! looks and finds nothing, about once in the shortest of all greatest ages and not once an event.

use gateway_engine::intake::{Answer, Intake};
use gateway_model::{EngineTime, Plan, PointIx};

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aging {
    from: EngineTime,
    /// The shortest of all greatest ages, ms; none where every value is believed for ever.
    shortest: Option<i64>,
}

impl Aging {
    /// Nobody has looked yet.
    pub(super) fn of(plan: &Plan) -> Self {
        let ages = plan.points.iter().map(|point| point.max_age_ms).filter(|age| *age > 0);
        Self { from: EngineTime(i64::MIN), shortest: ages.min() }
    }

    /// No value becomes stale before.
    pub(super) fn from(&self) -> EngineTime {
        self.from
    }

    /// Answers that came.
    pub(super) fn heard(&mut self, at: EngineTime, items: &[(PointIx, Answer)]) {
        let Some(shortest) = self.shortest else { return };
        // A value that is held elsewhere is as old as the last of its own that its point had.
        let held = items.iter().any(|(_, answer)| matches!(answer, Answer::Held(_)));
        let from = if held { EngineTime(i64::MIN) } else { at.plus(shortest) };
        self.from = self.from.min(from);
    }

    /// Somebody has looked at every point.
    pub(super) fn looked(&mut self, intake: &Intake) {
        self.from = intake.next_stale().unwrap_or(EngineTime(i64::MAX));
    }
}
