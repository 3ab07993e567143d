//! Coverage: how many of the answers that were due in a window came.
//!
//! While the calendar says that everything may be switched off, a gateway that is not there owes none.

use alloc::vec::Vec;

use gateway_model::{EngineTime, Plan, PointCounts, PointIx};

use super::Window;
use crate::hours::{Hours, contact_due_ms};

/// Between two spans of counts, so many periods without any are nothing but the space between two records.
const HOLE_IN_PERIODS: i64 = 3;
pub(super) const ALL_PERMILLE: u16 = 1000;

/// What was counted of one point over a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) from: EngineTime,
    pub(super) to: EngineTime,
    pub(super) point: PointIx,
    due: u32,
    answered: u32,
}

impl Counted {
    pub(super) fn new((from, to): (EngineTime, EngineTime), counts: &PointCounts) -> Self {
        Self { from, to, point: counts.point, due: counts.due, answered: counts.answered }
    }
}

/// Answers ÷ due of the worst of these points, ‰. Where nothing is watched nothing is due.
pub(super) fn worst(
    plan: &Plan,
    window: Window,
    watched: &[PointIx],
    counts: &[Counted],
    hours: &Hours<'_>,
) -> u16 {
    let of = watched.iter().map(|&point| coverage(plan, window, point, counts, hours));
    of.min().unwrap_or(ALL_PERMILLE)
}

/// Answers ÷ due of one point, ‰.
fn coverage(plan: &Plan, window: Window, point: PointIx, counts: &[Counted], hours: &Hours<'_>) -> u16 {
    let mut spans: Vec<_> = counts
        .iter()
        .filter(|counts| counts.point == point && counts.to >= window.from && counts.from <= window.to)
        .collect();
    spans.sort_by_key(|counts| (counts.from, counts.to));
    let (mut due, mut answered) = (0_u64, 0_u64);
    for counts in &spans {
        let all = u64::from(counts.due);
        let span_ms = counts.to.since(counts.from);
        due = due.saturating_add(if counts.answered == 0 && span_ms > 0 {
            // What nobody answered at all: a gap record of a gateway that was switched off.
            (u128::from(all) * owed_ms(hours, counts.from, counts.to) as u128 / span_ms as u128) as u64
        } else {
            all
        });
        answered = answered.saturating_add(u64::from(counts.answered));
    }
    let every_ms = plan.points.get(point.slot()).map_or(0, |point| point.every_ms);
    if every_ms > 0 {
        let mut reached = window.from;
        let end = (window.to, window.to);
        for (from, to) in spans.iter().map(|counts| (counts.from, counts.to)).chain([end]) {
            let hole = from.since(reached);
            if hole > every_ms.saturating_mul(HOLE_IN_PERIODS) {
                due = due.saturating_add((owed_ms(hours, reached, from) / every_ms) as u64);
            }
            reached = reached.max(to);
        }
    }
    match (every_ms > 0, due) {
        (false, 0) => ALL_PERMILLE,
        (true, 0) => 0,
        (_, due) => u16::try_from(u128::from(answered) * 1000 / u128::from(due))
            .map_or(ALL_PERMILLE, |p| p.min(ALL_PERMILLE)),
    }
}

/// So much of the span a gateway should have been there, ms: all of it while nobody knows the time.
fn owed_ms(hours: &Hours<'_>, from: EngineTime, to: EngineTime) -> i64 {
    match (hours.civil(from), hours.civil(to)) {
        (Some(from), Some(to)) => contact_due_ms(hours.plan, from, to),
        (None, _) | (_, None) => to.since(from).max(0),
    }
}
