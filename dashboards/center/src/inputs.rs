//! Inputs and gaps of a gateway over a span of engine time, decoded from segments.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_model::{BadCause, EngineTime, Gap, Input, Plan, PointCounts, PointIx, Reading};
use gateway_wire::Body;

use crate::app::App;
use crate::store::gateways::Enrolled;
use crate::store::records::RecordRow;

/// Records decoded at once; a longer span is said to be truncated. A day at one record in 30 s is 2,880.
pub const RECORDS_MAX: i64 = 6_000;

/// What one record says, with the plan to read it with.
#[derive(Debug)]
pub struct Part {
    /// Its index row.
    pub row: RecordRow,
    /// The plan it names; `None` where that is not here.
    pub plan: Option<Arc<Plan>>,
    /// What it says.
    pub body: Body,
}

/// Records of inputs and gaps that touch a span, in order of (epoch, seq).
#[derive(Debug, Default)]
pub struct Parts {
    /// In order.
    pub list: Vec<Part>,
    /// There was more.
    pub truncated: bool,
}

/// Loads what touches the span.
pub async fn load(app: &App, gateway: &Enrolled, from: EngineTime, to: EngineTime) -> anyhow::Result<Parts> {
    let mut rows =
        app.store.records_in(&gateway.id, ["inputs", "gap"], from.0, to.0, RECORDS_MAX + 1).await?;
    let truncated = rows.len() as i64 > RECORDS_MAX;
    rows.truncate(RECORDS_MAX as usize);
    Ok(Parts { list: decode(app, gateway, rows).await?, truncated })
}

/// Loads the records just before a time, in order of (epoch, seq).
pub async fn load_before(
    app: &App,
    gateway: &Enrolled,
    from: EngineTime,
    limit: i64,
) -> anyhow::Result<Vec<Part>> {
    let mut rows = app.store.records_before(&gateway.id, from.0, limit).await?;
    rows.sort_by_key(|row| (row.epoch, row.seq));
    decode(app, gateway, rows).await
}

async fn decode(app: &App, gateway: &Enrolled, rows: Vec<RecordRow>) -> anyhow::Result<Vec<Part>> {
    let mut plans: BTreeMap<(i64, i64), Option<Arc<Plan>>> = BTreeMap::new();
    for row in &rows {
        if plans.contains_key(&(row.epoch, row.config)) {
            continue;
        }
        let config = app.store.record(&gateway.id, row.epoch, row.config).await?;
        let plan = match config.filter(|config| config.kind == "config" && config.state == "stored") {
            Some(config) if config.projected => Some(app.plans.of(&app.store, &config, &gateway.ring).await?),
            Some(_) | None => None,
        };
        plans.insert((row.epoch, row.config), plan);
    }
    let bodies = app.plans.bodies(rows.clone(), &gateway.ring).await?;
    Ok(rows
        .into_iter()
        .zip(bodies)
        .map(|(row, body)| Part { plan: plans.get(&(row.epoch, row.config)).cloned().flatten(), row, body })
        .collect())
}

/// Slots of one plan in another, by point id.
pub fn slots(from: &Plan, to: &Plan) -> Vec<Option<PointIx>> {
    let slot = |id: &str| to.points.iter().position(|point| point.id == id).map(PointIx::of);
    from.points.iter().map(|point| slot(&point.id)).collect()
}

/// Readings and counts of some records, in the slots of `plan`.
#[derive(Debug, Default)]
pub struct Eaten {
    /// In the order eaten.
    pub readings: Vec<Reading>,
    /// With the span each covers.
    pub counts: Vec<(EngineTime, EngineTime, PointCounts)>,
}

/// Readings and counts of these records, in the slots of `plan`. A gap counts as readings that were due and failed.
pub fn eaten(parts: &[Part], plan: &Plan) -> Eaten {
    let mut eaten = Eaten::default();
    let mut before: Option<(i64, i64)> = None;
    for part in parts {
        let Some(own) = &part.plan else { continue };
        let map = if **own == *plan { None } else { Some(slots(own, plan)) };
        let slot = |point: PointIx| match &map {
            None => Some(point),
            Some(map) => map.get(point.slot()).copied().flatten(),
        };
        match &part.body {
            Body::Inputs(inputs) => {
                for input in &inputs.items {
                    if let Input::Reading(reading) = input
                        && let Some(point) = slot(reading.point)
                    {
                        eaten.readings.push(Reading { point, ..*reading });
                    }
                }
                // Counts cover everything since the inputs record before, in the same epoch.
                let from =
                    before.filter(|(epoch, _)| *epoch == part.row.epoch).map_or(part.row.t0, |(_, t1)| t1);
                for counts in &inputs.counts {
                    if let Some(point) = slot(counts.point) {
                        let counts = PointCounts { point, ..counts.clone() };
                        eaten.counts.push((EngineTime(from), EngineTime(part.row.t1), counts));
                    }
                }
                before = Some((part.row.epoch, part.row.t1));
            }
            Body::Gap(gap) => missing(gap, plan, slot, &mut eaten.counts),
            Body::Start(_)
            | Body::Config(_)
            | Body::Conclusions(_)
            | Body::Checkpoint(_)
            | Body::Parted(_)
            | Body::Part(_) => {}
        }
    }
    eaten
}

fn missing(
    gap: &Gap,
    plan: &Plan,
    slot: impl Fn(PointIx) -> Option<PointIx>,
    counts: &mut Vec<(EngineTime, EngineTime, PointCounts)>,
) {
    let mut failed = vec![0; BadCause::ALL.len()];
    let mut add = |point: PointIx, due: u32| {
        if due > 0 {
            failed[BadCause::GatewayDown.code()] = due;
            let lost = PointCounts { point, due, failed: failed.clone(), ..PointCounts::default() };
            counts.push((gap.from, gap.to, lost));
        }
    };
    match gap.point {
        Some(point) => {
            if let Some(point) = slot(point) {
                add(point, gap.count.min(u64::from(u32::MAX)) as u32);
            }
        }
        // The count is over all points: each lost what was due of it by plan.
        None => {
            for (index, point) in plan.points.iter().enumerate() {
                if point.every_ms > 0 {
                    add(
                        PointIx::of(index),
                        (gap.to.since(gap.from) / point.every_ms).clamp(0, i64::from(u32::MAX)) as u32,
                    );
                }
            }
        }
    }
}
