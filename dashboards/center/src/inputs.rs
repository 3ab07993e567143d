//! Inputs and gaps of a gateway over a span of engine time, decoded from segments.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_model::{EngineTime, Plan};
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
