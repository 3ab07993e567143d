//! Whether a changed plan is healthy: no clock, no channel. Told what answered before and what answers now.
//!
//! Only buses that the change touched are looked at. One is healthy if at least half of the points that answered before it
//! and are still wanted answer again; where none did, if anything on it answers at all. Sources that send when they like
//! (MQTT) cannot be told from silent ones in so short a time.

use std::collections::BTreeMap;

use gateway_model::{EngineTime, Plan};

use crate::config::Site;
use crate::config::difference::{Act, Difference};
use crate::recorder::Snapshot;

/// Of the points that answered before, so many per cent must answer again.
const SHARE_PERCENT: usize = 50;
/// Periods of its slowest point that a bus is watched for, …
const PERIODS: i64 = 3;
/// … at least so long, ms, …
const WATCH_MIN_MS: i64 = 10_000;
/// … and at most.
const WATCH_MAX_MS: i64 = 5 * 60_000;

/// What is expected of the buses that a change touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Per bus: ids of points that are expected, and whether they answered before.
    buses: BTreeMap<String, (Vec<String>, bool)>,
    /// How long it takes to see, ms of engine time; 0 = nothing is to be seen.
    pub for_ms: i64,
}

impl Watch {
    /// After a change; `before` is the state just before it.
    pub fn new(site: &Site, difference: &Difference, before: &Snapshot) -> Self {
        let mut watch = Self { buses: BTreeMap::new(), for_ms: 0 };
        for (name, act) in &difference.buses {
            if *act == Act::Removed {
                continue;
            }
            let ids = points_on(&site.plan, name);
            if ids.is_empty() {
                continue;
            }
            let answered = |id: &str| {
                let place = before.plan.points.iter().position(|point| point.id == id);
                place.is_some_and(|place| matches!(before.answering.get(place), Some(Some(_))))
            };
            let known: Vec<String> =
                ids.iter().filter(|(id, _)| answered(id)).map(|(id, _)| id.clone()).collect();
            let slowest = ids.iter().map(|(_, every)| *every).max().unwrap_or(0);
            watch.for_ms = watch.for_ms.max((slowest * PERIODS).clamp(WATCH_MIN_MS, WATCH_MAX_MS));
            let expected = if known.is_empty() {
                (ids.into_iter().map(|(id, _)| id).collect(), false)
            } else {
                (known, true)
            };
            // A bus that was planned anew and was silent before is no worse.
            if expected.1 || *act != Act::Replanned {
                watch.buses.insert(name.clone(), expected);
            }
        }
        watch
    }

    /// Is there anything to be seen?
    pub fn is_empty(&self) -> bool {
        self.buses.is_empty()
    }

    /// What is wrong now, in words; `None` = nothing.
    pub fn judge(&self, since: EngineTime, now: &Snapshot) -> Option<String> {
        let answers = |id: &String| {
            let place = now.plan.points.iter().position(|point| point.id == *id);
            place.is_some_and(|place| {
                now.answering.get(place).is_some_and(|at| at.is_some_and(|at| at >= since))
            })
        };
        let mut wrong = Vec::new();
        for (bus, (expected, before)) in &self.buses {
            let answering = expected.iter().filter(|id| answers(id)).count();
            let ill = if *before { answering * 100 < expected.len() * SHARE_PERCENT } else { answering == 0 };
            if ill {
                let were = if *before { "that answered before" } else { "on it" };
                wrong.push(format!("bus `{bus}`: {answering} of {} points {were} answer", expected.len()));
            }
        }
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }
}

/// Ids and periods of the points that are asked for on a bus.
fn points_on(plan: &Plan, bus: &str) -> Vec<(String, i64)> {
    let on = |point: &gateway_model::PointPlan| {
        let device = plan.devices.get(point.device.slot())?;
        let name = plan.buses.get(usize::from(device.bus))?;
        (name == bus && point.every_ms > 0).then(|| (point.id.clone(), point.every_ms))
    };
    plan.points.iter().filter_map(on).collect()
}
