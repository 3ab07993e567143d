//! The ledger of medical waste: every bag or box from its label to its hand-over, and to the receipt of who disposes of it.
//!
//! ```text
//! labelled (sealed, weighed at the source) → stored → removed (hand-over) → received
//! ```
//! The clock of a bag runs from its label. At each link the weight that is stated is compared with what the link before said of
//! the same labels; a scale that is read checks the label itself. Links that an institution never uses are never missed: storing
//! and receipts count from their first entry on. A label is remembered for a week after its bag left, so that it is noticed when it
//! is given twice; one that two hand-overs have passed over has vanished. A hand-over without labels changes nothing: nobody can
//! say what left.

use alloc::string::String;
use alloc::vec::Vec;

use gateway_model::{About, BagState, EngineTime, FactBody, ModuleEvent, WastePlan, WasteState};

/// Bags remembered at most: five years of a clinic, some days of a hospital. At the limit those that have left go
/// first, then the oldest.
const BAGS_MAX: usize = 4096;
/// Labels of bags that left are remembered for a week …
const GONE_MS: i64 = 7 * 86_400_000;
/// … and for two months while nobody has received them.
const ON_THE_ROAD_MS: i64 = 62 * 86_400_000;
/// What lay on the scale this long before a label was given is what the label is about.
const WEIGHED_MS: i64 = 10 * 60_000;
/// Weights that differ by no more divisions of a scale than this agree.
const DIVISIONS: i64 = 3;
/// National Hazardous Waste List 2025, HW01: infectious, sharps, pathological (V), chemical, pharmaceutical (K).
const CATEGORIES: [&str; 5] = ["841-001-01", "841-002-01", "841-003-01", "841-004-01", "841-005-01"];

/// The ledger at work.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Waste {
    plan: WastePlan,
    pub(crate) state: WasteState,
}

/// Something that was noticed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Noticed {
    /// What.
    pub(crate) event: ModuleEvent,
    /// The value to be shown, kg (bags, of those that vanished).
    pub(crate) value: Option<f64>,
    /// The limit to be shown, kg.
    pub(crate) limit: Option<f64>,
    /// Which bags.
    pub(crate) about: Option<About>,
}

impl Noticed {
    /// With nothing else to say.
    pub(crate) fn of(event: ModuleEvent) -> Self {
        Self { event, value: None, limit: None, about: None }
    }

    fn about<'l>(self, labels: impl IntoIterator<Item = &'l str>) -> Self {
        Self { about: About::labels(labels), ..self }
    }
}

/// A bag that is still here.
fn is_here(bag: &BagState) -> bool {
    bag.gone.is_none()
}

impl Waste {
    pub(crate) fn new(plan: &WastePlan) -> Self {
        Self { plan: plan.clone(), state: WasteState::default() }
    }

    pub(crate) fn fact(&mut self, now: EngineTime, fact: &FactBody) -> Vec<Noticed> {
        self.forget(now);
        match fact {
            FactBody::BagLabelled { label, grams, category, department } => {
                self.labelled(now, BagState::new(label, category, department, *grams, now))
            }
            FactBody::BagsStored { labels, grams, place: _ } => self.stored(now, labels, *grams),
            FactBody::HandOver { labels, grams, to: _ } => self.handed_over(now, labels, *grams),
            FactBody::WasteReceived { labels, grams, by: _ } => self.received(now, labels, *grams),
            FactBody::Weighing { net_g, .. } => {
                self.weighed(now, *net_g);
                Vec::new()
            }
            FactBody::Visits { .. }
            | FactBody::HandpiecesPacked { .. }
            | FactBody::Device(_)
            | FactBody::DutyDone { .. } => Vec::new(),
        }
    }

    /// A stable weight lies on the scale.
    pub(crate) fn weighed(&mut self, now: EngineTime, grams: i64) {
        if grams > 0 {
            self.state.weighing = Some((now, grams));
        }
    }

    fn forget(&mut self, now: EngineTime) {
        let awaited = self.state.receives;
        self.state.bags.retain(|bag| {
            bag.gone.is_none_or(|gone| {
                let on_the_road = awaited && bag.received.is_none();
                now.since(gone) <= if on_the_road { ON_THE_ROAD_MS } else { GONE_MS }
            })
        });
    }

    fn labelled(&mut self, now: EngineTime, mut bag: BagState) -> Vec<Noticed> {
        if let Some(known) = self.state.bags.iter_mut().find(|known| known.label == bag.label) {
            if known.gone.is_none() {
                known.again_g = known.again_g.saturating_add(bag.grams);
            }
            return Vec::from([Noticed::of(ModuleEvent::DuplicateLabel).about([bag.label.as_str()])]);
        }
        let mut noticed = Vec::new();
        if !CATEGORIES.contains(&bag.category.as_str()) {
            noticed.push(Noticed::of(ModuleEvent::UnknownCategory).about([bag.label.as_str()]));
        }
        let weighing = self.state.weighing.take().filter(|(at, _)| now.since(*at) <= WEIGHED_MS);
        if let Some((_, grams)) = weighing {
            bag.weighed_g = Some(grams);
            let label = [bag.label.as_str()];
            noticed.extend(self.balance(bag.grams, grams, self.plan.tolerance_permille, label));
        }
        if self.state.bags.len() >= BAGS_MAX {
            let gone = self.state.bags.iter().position(|bag| bag.gone.is_some());
            self.state.bags.remove(gone.unwrap_or(0));
        }
        self.state.bags.push(bag);
        noticed
    }

    fn stored(&mut self, now: EngineTime, labels: &[String], grams: i64) -> Vec<Noticed> {
        self.state.stores = true;
        let pending = |bag: &BagState| bag.stored.is_none() && bag.gone.is_none();
        self.link(labels, grams, self.plan.tolerance_permille, pending, |bag| bag.stored = Some(now))
    }

    fn handed_over(&mut self, now: EngineTime, labels: &[String], grams: i64) -> Vec<Noticed> {
        if labels.is_empty() {
            return Vec::new();
        }
        let before = self.state.removed.replace(now);
        let mut noticed = self.link(
            labels,
            grams,
            self.plan.tolerance_permille,
            |bag| bag.gone.is_none(),
            |bag| bag.gone = Some(now),
        );
        let mut vanished = Vec::new();
        for bag in self.state.bags.iter_mut().filter(|bag| bag.gone.is_none()) {
            // One hand-over may leave a bag behind; a second one passes over what is no longer there.
            if before.is_some_and(|before| bag.at <= before) {
                bag.passed_over = bag.passed_over.saturating_add(1);
                if bag.passed_over == 1 {
                    vanished.push(bag.label.as_str());
                }
            }
        }
        if !vanished.is_empty() {
            let value = Some(vanished.len() as f64);
            noticed.push(Noticed { value, ..Noticed::of(ModuleEvent::Vanished).about(vanished) });
        }
        noticed
    }

    fn received(&mut self, now: EngineTime, labels: &[String], grams: i64) -> Vec<Noticed> {
        self.state.receives = true;
        let permille = self.plan.other_permille.unwrap_or(self.plan.tolerance_permille);
        let pending = |bag: &BagState| bag.gone.is_some() && bag.received.is_none();
        self.link(labels, grams, permille, pending, |bag| bag.received = Some(now))
    }

    /// These bags pass a link that states their weight together.
    fn link(
        &mut self,
        labels: &[String],
        grams: i64,
        permille: u16,
        pending: impl Fn(&BagState) -> bool,
        mut pass: impl FnMut(&mut BagState),
    ) -> Vec<Noticed> {
        let (mut sum, mut again, mut unknown) = (0_i64, 0_i64, Vec::new());
        for (n, label) in labels.iter().enumerate() {
            // A label that was given twice is named twice: that was said when it was given.
            if labels[..n].contains(label) {
                continue;
            }
            match self.state.bags.iter_mut().find(|bag| bag.label == *label && pending(bag)) {
                Some(bag) => {
                    pass(bag);
                    sum = sum.saturating_add(bag.weighed_g.unwrap_or(bag.grams));
                    again = again.saturating_add(bag.again_g);
                }
                None => unknown.push(label.as_str()),
            }
        }
        if !unknown.is_empty() {
            // Their weight is not known, so nothing can be compared with the sum.
            return Vec::from([Noticed::of(ModuleEvent::UnknownLabel).about(unknown)]);
        }
        if labels.is_empty() {
            return Vec::new();
        }
        // Two bags under one label weigh both; one bag entered twice weighs once.
        let twice = sum.saturating_add(again);
        let off = |sum: i64| grams.saturating_sub(sum).saturating_abs();
        let expected = if off(twice) < off(sum) { twice } else { sum };
        self.balance(expected, grams, permille, labels.iter().map(String::as_str)).into_iter().collect()
    }

    /// Two links that say different weights of the same bags.
    fn balance<'l>(
        &self,
        expected: i64,
        grams: i64,
        permille: u16,
        labels: impl IntoIterator<Item = &'l str>,
    ) -> Option<Noticed> {
        let relative = expected.saturating_mul(i64::from(permille)) / 1000;
        let rounding = self.plan.division_g.map_or(0, |division| division.saturating_mul(DIVISIONS));
        let tolerance = self.plan.tolerance_g.max(relative).max(rounding);
        let difference = grams.saturating_sub(expected).saturating_abs();
        let great = self.plan.great_g.is_some_and(|great| difference > great);
        let event = if great { ModuleEvent::WeightLost } else { ModuleEvent::WeightDiffers };
        let kg = |grams: i64| Some(grams as f64 / 1000.0);
        (difference > tolerance).then(|| {
            let (value, limit) = (kg(difference), kg(tolerance));
            Noticed { value, limit, ..Noticed::of(event).about(labels) }
        })
    }

    /// When the oldest bag that is here was labelled.
    fn oldest(&self) -> Option<EngineTime> {
        self.state.bags.iter().filter(|bag| is_here(bag)).map(|bag| bag.at).min()
    }

    /// When the oldest bag that was never stored was labelled.
    fn at_source(&self) -> Option<EngineTime> {
        self.state
            .bags
            .iter()
            .filter(|bag| is_here(bag))
            .filter(|bag| bag.stored.is_none())
            .map(|bag| bag.at)
            .min()
    }

    /// When the bag that nobody has received for longest left.
    fn on_the_road(&self) -> Option<EngineTime> {
        self.state.bags.iter().filter(|bag| bag.received.is_none()).filter_map(|bag| bag.gone).min()
    }

    /// Since when nothing has been removed although something is here.
    fn unremoved(&self) -> Option<EngineTime> {
        let oldest = self.oldest()?;
        Some(self.state.removed.map_or(oldest, |removed| removed.max(oldest)))
    }

    /// The moments from which its outputs grow.
    pub(crate) fn growing(&self) -> impl Iterator<Item = EngineTime> {
        [self.oldest(), self.at_source(), self.on_the_road(), self.unremoved()].into_iter().flatten()
    }

    /// By the output numbers of [`WastePlan`].
    pub(crate) fn output(&self, now: EngineTime, output: u8) -> Option<f64> {
        let here = || self.state.bags.iter().filter(|bag| is_here(bag));
        let since = |at: Option<EngineTime>| at.map_or(0, |at| now.since(at)) as f64;
        match output {
            WastePlan::OLDEST_MS => Some(since(self.oldest())),
            WastePlan::BAGS => Some(here().count() as f64),
            WastePlan::GRAMS => Some(here().map(|bag| bag.grams).fold(0, i64::saturating_add) as f64),
            WastePlan::AT_SOURCE_MS => self.state.stores.then(|| since(self.at_source())),
            WastePlan::ON_THE_ROAD_MS => self.state.receives.then(|| since(self.on_the_road())),
            WastePlan::UNREMOVED_MS => Some(since(self.unremoved())),
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
        Waste::new(&WastePlan {
            feed: DeviceIx(0),
            tolerance_g: 500,
            tolerance_permille: 30,
            other_permille: Some(50),
            great_g: Some(2_000),
            ..WastePlan::default()
        })
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
        assert_eq!(waste.fact(EngineTime(0), &bag("a", 3000)), []);
        assert_eq!(waste.fact(EngineTime(10 * H), &bag("b", 2000)), []);
        assert_eq!(waste.output(EngineTime(40 * H), WastePlan::OLDEST_MS), Some((40 * H) as f64));
        assert_eq!(waste.fact(EngineTime(41 * H), &hand_over(&["a"], 3200)), []);
        assert_eq!(waste.output(EngineTime(41 * H), WastePlan::OLDEST_MS), Some((31 * H) as f64));
        assert_eq!(waste.output(EngineTime(41 * H), WastePlan::GRAMS), Some(2000.0));
    }

    #[test]
    fn weights_may_differ_by_the_tolerance_and_no_more() {
        for (grams, differs) in [(3500, false), (3501, true), (2499, true)] {
            let mut waste = ledger();
            waste.fact(EngineTime(0), &bag("a", 3000));
            let noticed = waste.fact(EngineTime(H), &hand_over(&["a"], grams));
            assert_eq!(!noticed.is_empty(), differs, "{grams}");
        }
        let mut heavy = ledger();
        heavy.fact(EngineTime(0), &bag("a", 100_000));
        assert_eq!(heavy.fact(EngineTime(H), &hand_over(&["a"], 97_001)), [], "3 % of 100 kg");
    }

    #[test]
    fn three_divisions_of_a_coarse_scale_are_its_rounding() {
        for (division_g, agrees) in [(None, false), (Some(100), false), (Some(200), true), (Some(500), true)]
        {
            let mut waste = ledger();
            waste.plan.division_g = division_g;
            waste.fact(EngineTime(0), &bag("a", 10_000));
            let noticed = waste.fact(EngineTime(H), &hand_over(&["a"], 9_400));
            assert_eq!(noticed.is_empty(), agrees, "{division_g:?}: {noticed:?}");
        }
    }

    #[test]
    fn a_label_given_twice_and_one_that_nobody_gave_are_noticed() {
        let mut waste = ledger();
        waste.fact(EngineTime(0), &bag("a", 1000));
        let twice = [Noticed::of(ModuleEvent::DuplicateLabel).about(["a"])];
        assert_eq!(waste.fact(EngineTime(H), &bag("a", 1000)), twice);
        waste.fact(EngineTime(2 * H), &hand_over(&["a"], 1000));
        assert_eq!(waste.fact(EngineTime(3 * H), &bag("a", 1000)), twice, "within a week");
        assert_eq!(waste.fact(EngineTime(200 * H), &bag("a", 1000)), [], "after it");
        let unknown = waste.fact(EngineTime(201 * H), &hand_over(&["x"], 1000));
        assert_eq!(unknown, [Noticed::of(ModuleEvent::UnknownLabel).about(["x"])]);
        assert_eq!(waste.output(EngineTime(201 * H), WastePlan::BAGS), Some(1.0));
    }

    #[test]
    fn each_link_is_weighed_against_the_one_before() {
        let mut waste = ledger();
        let labels = |labels: &[&str]| labels.iter().map(ToString::to_string).collect::<Vec<_>>();
        waste.weighed(EngineTime(0), 4_000);
        let off = |event, kg, of, labels: &[&'static str]| {
            let about = Noticed::of(event).about(labels.iter().copied());
            [Noticed { value: Some(kg), limit: Some(of), ..about }]
        };
        assert_eq!(
            waste.fact(EngineTime(60_000), &bag("a", 3_000)),
            off(ModuleEvent::WeightDiffers, 1.0, 0.5, &["a"]),
            "the label against the scale"
        );
        assert_eq!(waste.fact(EngineTime(H), &bag("b", 20_000)), [], "one weighing is of one bag");
        let stored = |grams| FactBody::BagsStored { labels: labels(&["a", "b"]), grams, place: "s".into() };
        assert_eq!(waste.fact(EngineTime(2 * H), &stored(23_281)), [], "3 % of what the scale said");
        let lost = off(ModuleEvent::WeightLost, 2.5, 0.72, &["a", "b"]);
        assert_eq!(waste.fact(EngineTime(3 * H), &hand_over(&["a", "b"], 21_500)), lost);
        let received = |grams| FactBody::WasteReceived { labels: labels(&["a", "b"]), grams, by: "d".into() };
        assert_eq!(
            waste.fact(EngineTime(4 * H), &received(22_800)),
            [],
            "5 % between scales of different houses"
        );
        assert_eq!(
            waste.fact(EngineTime(5 * H), &received(22_800)),
            [Noticed::of(ModuleEvent::UnknownLabel).about(["a", "b"])]
        );
    }

    #[test]
    fn links_that_are_used_are_missed_and_others_are_not() {
        let mut waste = ledger();
        waste.fact(EngineTime(0), &bag("a", 1_000));
        let at = |waste: &Waste, h: i64, output| waste.output(EngineTime(h * H), output);
        assert_eq!(at(&waste, 5, WastePlan::AT_SOURCE_MS), None, "nobody here enters what is stored");
        let one = |label: &str| Vec::from([label.to_string()]);
        waste.fact(
            EngineTime(5 * H),
            &FactBody::BagsStored { labels: one("a"), grams: 1_000, place: "s".into() },
        );
        waste.fact(EngineTime(6 * H), &bag("b", 1_000));
        assert_eq!(at(&waste, 30, WastePlan::AT_SOURCE_MS), Some((24 * H) as f64));
        assert_eq!(at(&waste, 30, WastePlan::UNREMOVED_MS), Some((30 * H) as f64));
        waste.fact(EngineTime(30 * H), &hand_over(&["a"], 1_000));
        assert_eq!(at(&waste, 31, WastePlan::UNREMOVED_MS), Some(H as f64));
        assert_eq!(at(&waste, 31, WastePlan::ON_THE_ROAD_MS), None);
        let received = FactBody::WasteReceived { labels: one("a"), grams: 1_000, by: "d".into() };
        waste.fact(EngineTime(32 * H), &received);
        waste.fact(EngineTime(40 * H), &hand_over(&["b"], 1_000));
        assert_eq!(at(&waste, 300, WastePlan::ON_THE_ROAD_MS), Some((260 * H) as f64));
    }

    #[test]
    fn two_bags_under_one_label_leave_together_and_one_entered_twice_leaves_once() {
        for (grams, agrees) in [(2_000, true), (5_000, true), (3_500, false)] {
            let mut waste = ledger();
            waste.fact(EngineTime(0), &bag("a", 2_000));
            assert_eq!(
                waste.fact(EngineTime(H), &bag("a", 3_000)),
                [Noticed::of(ModuleEvent::DuplicateLabel).about(["a"])]
            );
            assert_eq!(
                waste.fact(EngineTime(2 * H), &hand_over(&["a", "a"], grams)).is_empty(),
                agrees,
                "{grams}"
            );
        }
    }

    #[test]
    fn what_two_hand_overs_passed_over_has_vanished() {
        let mut waste = ledger();
        for (h, label) in [(0, "a"), (1, "b"), (2, "c")] {
            waste.fact(EngineTime(h * H), &bag(label, 1_000));
        }
        assert_eq!(waste.fact(EngineTime(3 * H), &hand_over(&["b"], 1_000)), [], "left behind once");
        waste.fact(EngineTime(4 * H), &bag("d", 1_000));
        let vanished = [Noticed { value: Some(1.0), ..Noticed::of(ModuleEvent::Vanished).about(["a"]) }];
        assert_eq!(waste.fact(EngineTime(24 * H), &hand_over(&["c"], 1_000)), vanished, "d is younger");
        assert_eq!(waste.fact(EngineTime(48 * H), &hand_over(&["d"], 1_000)), [], "said once");
        let odd = FactBody::BagLabelled {
            label: "x".into(),
            category: "841-009-01".into(),
            department: "d".into(),
            grams: 1,
        };
        let unknown = [Noticed::of(ModuleEvent::UnknownCategory).about(["x"])];
        assert_eq!(waste.fact(EngineTime(49 * H), &odd), unknown);
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
