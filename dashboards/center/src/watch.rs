//! Watches for gateways that have fallen silent: 5 minutes of real time without a sign of life.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::app::App;
use crate::project::{self, Changes};
use crate::store::gateways::{self, SILENT_MS};

/// How often it looks, real time.
const TICK: Duration = Duration::from_secs(5);

/// Starts the task. It ends when the app is dropped.
pub fn spawn(app: &Arc<App>) {
    tokio::spawn(run(Arc::downgrade(app)));
}

async fn run(app: Weak<App>) {
    // Nobody was heard while the center itself was away: everybody gets the full time from its start.
    tokio::time::sleep(Duration::from_millis(SILENT_MS as u64)).await;
    loop {
        tokio::time::sleep(TICK).await;
        let Some(app) = app.upgrade() else { return };
        if let Err(error) = turn(&app, app.clock.real()).await {
            tracing::error!(error = format!("{error:#}"), "silent gateways could not be looked for");
        }
    }
}

/// Raises an alert for every gateway that has just fallen silent at `now`, real time.
pub async fn turn(app: &App, now: i64) -> anyhow::Result<()> {
    let silent = app.store.newly_silent(now - SILENT_MS).await?;
    if silent.is_empty() {
        return Ok(());
    }
    let mut changes = Changes::default();
    let mut tx = app.store.write().await?;
    for (gateway, _last_seen) in silent {
        let about = format!("> {} min", SILENT_MS / 60_000);
        let n = project::center_alert(&mut tx, app, &gateway, project::SILENT, &about, &mut changes).await?;
        gateways::set_silent(&mut tx, &gateway.id, n).await?;
    }
    tx.commit().await?;
    changes.publish(app).await;
    Ok(())
}
