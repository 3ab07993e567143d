//! Chatter while there is no room: one record per rule on its subject and period instead of one per change.
//!
//! The first changes of a rule are told at once ([`TOLD_AT_ONCE`]); from then on they are counted, and a period's end
//! tells them as one. Periods double, so that a rule that never rests costs a record a day at last. A period without
//! a change ends it.

use std::collections::BTreeMap;

use gateway_model::{
    AlertChange, AlertId, Change, Conclusion, ConclusionBody, EngineTime, Folded, RuleIx, SuppressionChange,
};

/// Changes of one rule that are recorded one by one.
const TOLD_AT_ONCE: u32 = 4;
/// The first period, ms; …
const PERIOD_MIN_MS: i64 = 600_000;
/// … and the longest.
const PERIOD_MAX_MS: i64 = 86_400_000;
/// Occurrences of one rule that are told in one fold; of older ones only their number is.
const OCCURRENCES_MAX: usize = 16;

/// Every rule that has changed since the room ran out.
#[derive(Debug, Default)]
pub(super) struct Folds(BTreeMap<RuleIx, Fold>);

#[derive(Debug)]
struct Fold {
    told: u32,
    until: EngineTime,
    period_ms: i64,
    changes: u32,
    span: Option<(EngineTime, EngineTime)>,
    /// Last change of each occurrence, and whether it began in this period.
    last: BTreeMap<AlertId, (AlertChange, bool)>,
}

impl Folds {
    /// Is there a change among these that has to be told at once?
    pub(super) fn fresh(&mut self, list: &[Conclusion], now: EngineTime) -> bool {
        self.0.retain(|_, fold| fold.changes > 0 || fold.until > now);
        list.iter().any(|conclusion| match &conclusion.body {
            ConclusionBody::Alert(AlertChange { rule: Some(rule), .. })
            | ConclusionBody::Suppression(SuppressionChange { rule, .. }) => {
                self.0.get(rule).is_none_or(|fold| fold.told < TOLD_AT_ONCE)
            }
            // The end of an alert whose rule is gone comes once.
            ConclusionBody::Alert(_)
            | ConclusionBody::Cycle(_)
            | ConclusionBody::Order { .. }
            | ConclusionBody::Config(_) => true,
            ConclusionBody::Storage(_) | ConclusionBody::Folded(_) => false,
        })
    }

    /// These were recorded one by one.
    pub(super) fn told(&mut self, list: &[Conclusion], now: EngineTime) {
        for conclusion in list {
            if let ConclusionBody::Alert(AlertChange { rule: Some(rule), .. })
            | ConclusionBody::Suppression(SuppressionChange { rule, .. }) = &conclusion.body
            {
                let fold = self.0.entry(*rule).or_insert_with(|| Fold::new(now));
                fold.told = fold.told.saturating_add(1);
            }
        }
    }

    /// These will be told as one; what is no alert comes back.
    pub(super) fn add(&mut self, list: Vec<Conclusion>, now: EngineTime) -> Vec<Conclusion> {
        let mut others = Vec::new();
        for conclusion in list {
            match conclusion.body {
                ConclusionBody::Alert(change) if change.rule.is_some() => {
                    let Some(rule) = change.rule else { continue };
                    let fold = self.0.entry(rule).or_insert_with(|| Fold::new(now));
                    fold.add(conclusion.at, change);
                }
                // What holds stands in the regions of the rule's alerts and in the next checkpoint.
                ConclusionBody::Suppression(change) => {
                    let fold = self.0.entry(change.rule).or_insert_with(|| Fold::new(now));
                    fold.count(conclusion.at);
                }
                ConclusionBody::Alert(_)
                | ConclusionBody::Cycle(_)
                | ConclusionBody::Order { .. }
                | ConclusionBody::Storage(_)
                | ConclusionBody::Folded(_)
                | ConclusionBody::Config(_) => others.push(conclusion),
            }
        }
        others
    }

    /// Has a period with changes ended?
    pub(super) fn due(&self, now: EngineTime) -> bool {
        self.0.values().any(|fold| fold.changes > 0 && fold.until <= now)
    }

    /// Everything not told yet, as one conclusion per rule.
    pub(super) fn conclusions(&self) -> Vec<Conclusion> {
        self.0.iter().filter_map(|(rule, fold)| fold.conclusion(*rule)).collect()
    }

    /// Those conclusions are on disk.
    pub(super) fn settled(&mut self, now: EngineTime) {
        for fold in self.0.values_mut().filter(|fold| fold.changes > 0) {
            let period_ms = (fold.period_ms * 2).min(PERIOD_MAX_MS);
            *fold = Fold { period_ms, told: TOLD_AT_ONCE, until: now.plus(period_ms), ..Fold::new(now) };
        }
    }
}

impl Fold {
    fn new(now: EngineTime) -> Self {
        Self {
            told: 0,
            until: now.plus(PERIOD_MIN_MS),
            period_ms: PERIOD_MIN_MS,
            changes: 0,
            span: None,
            last: BTreeMap::new(),
        }
    }

    fn count(&mut self, at: EngineTime) {
        self.changes = self.changes.saturating_add(1);
        self.span = Some((self.span.map_or(at, |(from, _)| from), at));
    }

    fn add(&mut self, at: EngineTime, change: AlertChange) {
        self.count(at);
        let began_here = change.change == Change::Raised
            || self.last.get(&change.alert).is_some_and(|(_, began_here)| *began_here);
        if began_here && matches!(change.change, Change::Cleared(_)) {
            self.last.remove(&change.alert);
            return;
        }
        self.last.insert(change.alert, (change, began_here));
        while self.last.len() > OCCURRENCES_MAX {
            self.last.pop_first();
        }
    }

    fn conclusion(&self, rule: RuleIx) -> Option<Conclusion> {
        let (from, to) = self.span?;
        let last = self.last.values().map(|(change, _)| change.clone()).collect();
        let folded = Folded { rule, changes: self.changes, from, to, last };
        Some(Conclusion { at: to, body: ConclusionBody::Folded(folded) })
    }
}
