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

#[cfg(test)]
mod tests {
    use gateway_model::{BadCause, Raw};

    use super::*;
    use crate::config::load_str;

    const AGE_MS: [i64; 2] = [60_000, 0];

    /// Two points: one ages, the other is believed for ever.
    fn plan(ages: [i64; 2]) -> Plan {
        let site = load_str("hotel.toml", include_str!("../../../../deploy/example/hotel.toml")).unwrap();
        let mut plan = Plan::clone(&site.plan);
        plan.points.truncate(2);
        (plan.rules, plan.modules) = (Vec::new(), Vec::new());
        for (point, max_age_ms) in plan.points.iter_mut().zip(ages) {
            *point = gateway_model::PointPlan { max_age_ms, span: None, sentinels: vec![], ..point.clone() };
        }
        plan
    }

    #[test]
    fn nobody_has_looked_at_first() {
        assert_eq!(Aging::of(&plan(AGE_MS)).from(), EngineTime(i64::MIN));
    }

    #[test]
    fn after_a_look_it_is_when_the_next_value_ages_and_never_where_none_does() {
        let mut intake = Intake::new(&plan(AGE_MS));
        let mut aging = Aging::of(&plan(AGE_MS));
        aging.looked(&intake);
        assert_eq!(aging.from(), EngineTime(i64::MAX));
        intake.offer(PointIx(0), EngineTime(1_000), Answer::Raw(Raw::Int(1)));
        aging.looked(&intake);
        assert_eq!(aging.from(), EngineTime(61_000));

        let (ageless, items) = (plan([0, 0]), [(PointIx(0), Answer::Raw(Raw::Int(1)))]);
        let mut aging = Aging::of(&ageless);
        aging.looked(&Intake::new(&ageless));
        aging.heard(EngineTime(1_000), &items);
        assert_eq!(aging.from(), EngineTime(i64::MAX));
    }

    #[test]
    fn what_comes_may_bring_it_nearer_and_never_puts_it_off() {
        let mut aging = Aging::of(&plan(AGE_MS));
        aging.looked(&Intake::new(&plan(AGE_MS)));
        let items = [(PointIx(1), Answer::Raw(Raw::Int(1)))];
        aging.heard(EngineTime(5_000), &items);
        assert_eq!(aging.from(), EngineTime(65_000));
        aging.heard(EngineTime(9_000), &items);
        assert_eq!(aging.from(), EngineTime(65_000));
        // A stamp of the past, and one that is as old as what its point had.
        aging.heard(EngineTime(2_000), &[(PointIx(0), Answer::Failed(BadCause::NoCommunication))]);
        assert_eq!(aging.from(), EngineTime(62_000));
        aging.heard(EngineTime(9_000), &[(PointIx(0), Answer::Held(Raw::Int(1)))]);
        assert_eq!(aging.from(), EngineTime(i64::MIN));
    }

    /// The promise: whoever looks only when it says so marks every value at the same call as one who always looks.
    #[test]
    fn it_is_never_later_than_the_first_value_that_becomes_stale() {
        let plan = plan([60_000, 45_000]);
        let (mut intake, mut aging) = (Intake::new(&plan), Aging::of(&plan));
        let mut dice = 7_u64;
        let mut now = EngineTime(0);
        let (mut looks, mut marks) = (0, 0);
        for _ in 0..5_000 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let roll = dice >> 33;
            now = now.plus((roll % 9_000) as i64);
            let raw = Raw::Int((roll / 7 % 5) as i64);
            let answer = match roll / 11 % 10 {
                0 => Answer::Held(raw),
                1 => Answer::Failed(BadCause::NoCommunication),
                _ => Answer::Raw(raw),
            };
            let (point, at) = (PointIx((roll / 3 % 2) as u32), now.plus(-((roll / 13 % 3_000) as i64)));
            if (roll / 17).is_multiple_of(4) {
                aging.heard(at, &[(point, answer)]);
                intake.offer(point, at, answer);
            }
            let due = intake.clone().stale(now);
            if aging.from() <= now {
                (looks, marks) = (looks + 1, marks + due.len());
                assert_eq!(intake.stale(now), due);
                aging.looked(&intake);
            } else {
                assert_eq!(due, [], "nobody was told to look at {now:?}");
            }
        }
        assert!(marks > 100 && looks < 4_000, "{marks} marks in {looks} looks");
    }
}
