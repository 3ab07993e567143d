//! Readings of one point for a chart, decoded from segments: civil time, gaps as gaps.

use std::collections::BTreeMap;

use gateway_model::{EngineTime, Input, Plan, PointIx};
use gateway_wire::Body;

use crate::app::App;
use crate::civil::ClockTable;
use crate::error::ApiError;
use crate::inputs::{self, Part};
use crate::project::said;
use crate::store::{Sample, Scope, Series};

/// Longest span of one question, ms; longer is refused (10-min rows come later).
pub const SPAN_MAX_MS: i64 = 48 * 3_600_000;
/// Samples of one answer, at most; the rest is cut off and said to be.
const SAMPLES_MAX: usize = 50_000;
/// A reading may come this much later than planned before its absence is a gap, ms.
const SLACK_MS: i64 = 2_000;

/// Readings of one point between two civil times, both in ms.
pub async fn series(
    app: &App,
    scope: &Scope,
    gateway: &str,
    point: &str,
    from: i64,
    to: i64,
) -> Result<Series, ApiError> {
    if from >= to || to - from > SPAN_MAX_MS {
        return Err(ApiError::invalid(
            "span",
            "时间范围须为正且不超过48小时。",
            "The span must be positive and at most 48 hours.",
        ));
    }
    let enrolled = app.store.enrolled(gateway).await?.filter(|enrolled| scope.sees(&enrolled.institution));
    let enrolled = enrolled.ok_or(ApiError::NotFound)?;
    let known = app.store.points(scope, gateway).await?.into_iter().find(|row| row.id == point);
    let known = known.ok_or(ApiError::NotFound)?;
    let rows = app.store.clocks(gateway).await?;
    let offsets = || rows.iter().filter(|row| row.known).map(|row| row.offset_ms);
    let (Some(least), Some(most)) = (offsets().min(), offsets().max()) else {
        // Nothing is known of civil time: nothing can be shown on its axis.
        return Ok(Series {
            point: known,
            from,
            to,
            samples: Vec::new(),
            gaps: vec![(from, to)],
            truncated: false,
        });
    };
    let parts = inputs::load(app, &enrolled, EngineTime(from - most), EngineTime(to - least)).await?;
    let clocks = ClockTable::new(rows);
    let mut found = collect(&parts.list, &clocks, point, from, to);
    let truncated = parts.truncated || found.samples.len() > SAMPLES_MAX;
    found.samples.truncate(SAMPLES_MAX);
    let until = app.store.newest(gateway).await?.map_or(from, |at| clocks.civil(EngineTime(at), 0).0);
    let gaps = found.gaps(from, to.min(until.max(from)), to);
    Ok(Series { point: known, from, to, samples: found.samples, gaps, truncated })
}

struct Found {
    samples: Vec<Sample>,
    said_gaps: Vec<(i64, i64)>,
    /// Longest time between two kept readings of a point that is read as planned; `None` = it sends when it likes.
    step_ms: Option<i64>,
}

fn collect(parts: &[Part], clocks: &ClockTable, point: &str, from: i64, to: i64) -> Found {
    let mut found = Found { samples: Vec::new(), said_gaps: Vec::new(), step_ms: None };
    let mut slots: BTreeMap<(i64, i64), Option<PointIx>> = BTreeMap::new();
    let within = |at: i64| (from..=to).contains(&at);
    for part in parts {
        let Some(plan) = &part.plan else { continue };
        let slot = *slots.entry((part.row.epoch, part.row.config)).or_insert_with(|| slot(plan, point));
        let Some(slot) = slot else { continue };
        let about = &plan.points[slot.slot()];
        if about.every_ms > 0 {
            found.step_ms =
                Some(about.every_ms.max(if about.deadband > 0.0 { about.heartbeat_ms } else { 0 }));
        }
        match &part.body {
            Body::Inputs(inputs) => {
                for input in &inputs.items {
                    let Input::Reading(reading) = input else { continue };
                    let at = clocks.civil(reading.at, 0).0;
                    if reading.point != slot || !within(at) {
                        continue;
                    }
                    let (quality, cause, value) = said(&reading.value, about.gain, about.offset);
                    found.samples.push(Sample { at, value, quality: quality.to_owned(), cause });
                }
            }
            Body::Gap(gap) if gap.point.is_none_or(|of| of == slot) => {
                let (first, last) = (clocks.civil(gap.from, 0).0, clocks.civil(gap.to, 0).0);
                if first < to && last > from {
                    found.said_gaps.push((first.max(from), last.min(to)));
                }
            }
            Body::Gap(_)
            | Body::Start(_)
            | Body::Config(_)
            | Body::Conclusions(_)
            | Body::Checkpoint(_)
            | Body::Parted(_)
            | Body::Part(_) => {}
        }
    }
    // Late readings are kept where they were eaten; a chart wants them where they belong.
    found.samples.sort_by_key(|sample| sample.at);
    found
}

fn slot(plan: &Plan, point: &str) -> Option<PointIx> {
    plan.points.iter().position(|known| known.id == point).map(PointIx::of)
}

impl Found {
    /// Gaps that were said, and silence longer than the plan allows. `until` is as far as records reach.
    fn gaps(&self, from: i64, until: i64, to: i64) -> Vec<(i64, i64)> {
        let mut gaps = self.said_gaps.clone();
        if let Some(step) = self.step_ms {
            let allowed = 2 * step + SLACK_MS;
            let mut before = from;
            for at in self.samples.iter().map(|sample| sample.at).chain([until]) {
                if at - before > allowed {
                    gaps.push((before, at));
                }
                before = at;
            }
        } else if self.samples.is_empty() {
            gaps.push((from, until));
        }
        if until < to {
            gaps.push((until, to));
        }
        gaps.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::new();
        for (first, last) in gaps {
            match merged.last_mut() {
                Some(held) if first <= held.1 => held.1 = held.1.max(last),
                Some(_) | None if last > first => merged.push((first, last)),
                Some(_) | None => {}
            }
        }
        merged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: i64) -> Sample {
        Sample { at, value: Some(1.0), quality: "good".into(), cause: None }
    }

    #[test]
    fn silence_longer_than_planned_is_a_gap() {
        let found = Found {
            samples: vec![sample(0), sample(10_000), sample(90_000)],
            said_gaps: vec![],
            step_ms: Some(10_000),
        };
        assert_eq!(found.gaps(0, 95_000, 100_000), vec![(10_000, 90_000), (95_000, 100_000)]);
    }

    #[test]
    fn gaps_that_touch_are_one() {
        let found = Found { samples: vec![sample(0)], said_gaps: vec![(50, 70), (60, 90)], step_ms: None };
        assert_eq!(found.gaps(0, 100, 100), vec![(50, 90)]);
    }
}
