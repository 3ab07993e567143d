//! `center audit GATEWAY --day D`: what became of every reading that was due on a day, point by point, from the records here.
//!
//! The counterpart of `gateway audit`: the same sums over the same signed records, so that the two can be compared line by
//! line. Works beside a running center: it only reads. Promises: every record is opened with the key that may have signed
//! it; what is not here is counted and makes the answer incomplete.

use anyhow::{Context as _, ensure};
use gateway_evidence::{Audit, Audited, Dates, civil};
use gateway_model::EngineTime;
use gateway_wire::Joiner;

use crate::config::Config;
use crate::segments;
use crate::store::Store;

/// Days have no daylight saving here: the site's offset from UTC is fixed.
const DAY_MS: i64 = 86_400_000;

/// What was found.
#[derive(Debug)]
pub struct DayAudit {
    /// The sums.
    pub audited: Audited,
    /// Records that cannot be read or were not understood.
    pub unread: u64,
    /// Numbers that are not here, and of which no record says that they are gone.
    pub missing: u64,
}

/// Adds up one day (`2026-11-20`, at the site) of one gateway.
pub async fn audit(config: &Config, gateway: &str, day: &str) -> anyhow::Result<DayAudit> {
    let database = config.data.join("center.db");
    ensure!(database.exists(), "{} is not there: name the center's data with --data", database.display());
    let store = Store::open(&database).await?;
    let known =
        store.enrolled(gateway).await?.with_context(|| format!("gateway {gateway} is not enrolled"))?;
    let plans = crate::plans::Plans::new(config.data.join("segments"));
    let newest = store.config_at(gateway, i64::MAX).await?.context("no config of this gateway is here")?;
    let offset = plans.of(&store, &newest, &known.ring).await?.utc_offset_min;
    let midnight = civil(day, offset).map_err(anyhow::Error::msg)?;
    let mut dates = Dates::default();
    for clock in store.clocks(gateway).await?.into_iter().filter(|clock| clock.known) {
        dates.learn(EngineTime(clock.since), clock.offset_ms);
    }
    let from = dates.engine(midnight).context("no record says what the civil time was")?;
    let to = from.plus(DAY_MS);
    let mut sums = Audit::new(from, to);
    let (mut unread, mut joiner) = (0, Joiner::default());
    let folder = config.data.join("segments");
    for row in store.records_for_audit(gateway, from.0, to.0).await? {
        let bytes = segments::read(&folder, row.place)
            .with_context(|| format!("record {}/{}", row.epoch, row.seq))?;
        let opened = known.ring.open(&bytes).ok().map(|opened| joiner.opened(opened));
        match opened.and_then(|opened| Some((opened.header, opened.body.ok()?))) {
            Some((header, body)) => sums.take(&header, &body),
            None => unread += 1,
        }
    }
    let missing = store.missing(gateway).await?;
    store.close().await;
    Ok(DayAudit { audited: sums.finish(), unread, missing })
}
