//! The ledger of medical waste: every bag from its label to its hand-over.
//!
//! The clock of a bag runs from its label. A hand-over names the labels it takes; the weight it states is
//! compared with the sum of theirs. A label is remembered for a week after its bag left, so that it is noticed
//! when it is given twice. A hand-over without labels changes nothing: nobody can say what left.

use gateway_model::{BagState, EngineTime, FactBody, ModuleEvent, WastePlan, WasteState};

/// Bags remembered at most: five years of a clinic, some days of a hospital. At the limit those that have left go
/// first, then the oldest.
const BAGS_MAX: usize = 4096;
/// Labels of bags that left are remembered for a week.
const GONE_MS: i64 = 7 * 86_400_000;

/// The ledger at work.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Waste {
    plan: WastePlan,
    pub(crate) state: WasteState,
}

/// Something the ledger noticed: with the value and the limit to be shown, kg.
pub(crate) type Noticed = (ModuleEvent, Option<f64>, Option<f64>);

impl Waste {
    pub(crate) fn new(plan: &WastePlan) -> Self {
        Self { plan: plan.clone(), state: WasteState::default() }
    }

    pub(crate) fn fact(&mut self, now: EngineTime, fact: &FactBody) -> Option<Noticed> {
        self.state.bags.retain(|bag| bag.gone.is_none_or(|gone| now.since(gone) <= GONE_MS));
        match fact {
            FactBody::BagLabelled { label, grams, category: _, department: _ } => {
                self.labelled(now, label, *grams)
            }
            FactBody::HandOver { labels, grams, to: _ } => self.handed_over(now, labels, *grams),
            FactBody::Weighing { .. }
            | FactBody::Visits { .. }
            | FactBody::HandpiecesPacked { .. }
            | FactBody::Device(_)
            | FactBody::DutyDone { .. } => None,
        }
    }

    fn labelled(&mut self, now: EngineTime, label: &str, grams: i64) -> Option<Noticed> {
        if self.state.bags.iter().any(|bag| bag.label == label) {
            return Some((ModuleEvent::DuplicateLabel, None, None));
        }
        if self.state.bags.len() >= BAGS_MAX {
            let gone = self.state.bags.iter().position(|bag| bag.gone.is_some());
            self.state.bags.remove(gone.unwrap_or(0));
        }
        self.state.bags.push(BagState { label: label.into(), at: now, grams, gone: None });
        None
    }

    fn handed_over(
        &mut self,
        now: EngineTime,
        labels: &[alloc::string::String],
        grams: i64,
    ) -> Option<Noticed> {
        let mut sum: i64 = 0;
        let mut unknown = false;
        for label in labels {
            match self.state.bags.iter_mut().find(|bag| bag.label == *label && bag.gone.is_none()) {
                Some(bag) => {
                    bag.gone = Some(now);
                    sum = sum.saturating_add(bag.grams);
                }
                None => unknown = true,
            }
        }
        if unknown {
            return Some((ModuleEvent::UnknownLabel, None, None));
        }
        let relative = sum.saturating_mul(i64::from(self.plan.tolerance_permille)) / 1000;
        let tolerance = self.plan.tolerance_g.max(relative);
        let difference = grams.saturating_sub(sum).saturating_abs();
        (!labels.is_empty() && difference > tolerance).then(|| {
            (ModuleEvent::WeightDiffers, Some(difference as f64 / 1000.0), Some(tolerance as f64 / 1000.0))
        })
    }

    /// When the oldest bag in the store was labelled.
    pub(crate) fn oldest(&self) -> Option<EngineTime> {
        self.state.bags.iter().filter(|bag| bag.gone.is_none()).map(|bag| bag.at).min()
    }

    /// By the output numbers of [`WastePlan`].
    pub(crate) fn output(&self, now: EngineTime, output: u8) -> Option<f64> {
        let stored = || self.state.bags.iter().filter(|bag| bag.gone.is_none());
        match output {
            WastePlan::OLDEST_MS => Some(self.oldest().map_or(0, |at| now.since(at)) as f64),
            WastePlan::BAGS => Some(stored().count() as f64),
            WastePlan::GRAMS => Some(stored().map(|bag| bag.grams).fold(0, i64::saturating_add) as f64),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use gateway_model::DeviceIx;

    use super::*;

    const H: i64 = 3_600_000;

    fn ledger() -> Waste {
        Waste::new(&WastePlan { scale: None, feed: DeviceIx(0), tolerance_g: 500, tolerance_permille: 30 })
    }

    fn bag(label: &str, grams: i64) -> FactBody {
        FactBody::BagLabelled {
            label: label.into(),
            category: "841-001-01".into(),
            department: "d".into(),
            grams,
        }
    }

    fn hand_over(labels: &[&str], grams: i64) -> FactBody {
        let labels: Vec<_> = labels.iter().map(ToString::to_string).collect();
        FactBody::HandOver { labels, grams, to: "collector".into() }
    }

    #[test]
    fn a_bag_ages_from_its_label_to_its_hand_over() {
        let mut waste = ledger();
        assert_eq!(waste.fact(EngineTime(0), &bag("a", 3000)), None);
        assert_eq!(waste.fact(EngineTime(10 * H), &bag("b", 2000)), None);
        assert_eq!(waste.output(EngineTime(40 * H), WastePlan::OLDEST_MS), Some((40 * H) as f64));
        assert_eq!(waste.fact(EngineTime(41 * H), &hand_over(&["a"], 3200)), None);
        assert_eq!(waste.output(EngineTime(41 * H), WastePlan::OLDEST_MS), Some((31 * H) as f64));
        assert_eq!(waste.output(EngineTime(41 * H), WastePlan::GRAMS), Some(2000.0));
    }

    #[test]
    fn weights_may_differ_by_the_tolerance_and_no_more() {
        for (grams, differs) in [(3500, false), (3501, true), (2499, true)] {
            let mut waste = ledger();
            waste.fact(EngineTime(0), &bag("a", 3000));
            let noticed = waste.fact(EngineTime(H), &hand_over(&["a"], grams));
            assert_eq!(noticed.is_some(), differs, "{grams}");
        }
        let mut heavy = ledger();
        heavy.fact(EngineTime(0), &bag("a", 100_000));
        assert_eq!(heavy.fact(EngineTime(H), &hand_over(&["a"], 97_001)), None, "3 % of 100 kg");
    }

    #[test]
    fn a_label_given_twice_and_one_that_nobody_gave_are_noticed() {
        let mut waste = ledger();
        waste.fact(EngineTime(0), &bag("a", 1000));
        let twice = Some((ModuleEvent::DuplicateLabel, None, None));
        assert_eq!(waste.fact(EngineTime(H), &bag("a", 1000)), twice);
        waste.fact(EngineTime(2 * H), &hand_over(&["a"], 1000));
        assert_eq!(waste.fact(EngineTime(3 * H), &bag("a", 1000)), twice, "within a week");
        assert_eq!(waste.fact(EngineTime(200 * H), &bag("a", 1000)), None, "after it");
        let unknown = waste.fact(EngineTime(201 * H), &hand_over(&["x"], 1000));
        assert_eq!(unknown, Some((ModuleEvent::UnknownLabel, None, None)));
        assert_eq!(waste.output(EngineTime(201 * H), WastePlan::BAGS), Some(1.0));
    }

    #[test]
    fn the_ledger_is_bounded() {
        let mut waste = ledger();
        for n in 0..BAGS_MAX + 10 {
            waste.fact(EngineTime(n as i64), &bag(&n.to_string(), 1));
        }
        assert_eq!(waste.state.bags.len(), BAGS_MAX);
    }
}
