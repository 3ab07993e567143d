//! Watches for gateways that have fallen silent. What is normal, whose turn it is and what is one happening is decided by
//! `center_casebook`; here are the signs of life, the calendars and the alerts.
//!
//! How long is measured in real time; whether contact was due, by the calendar of the newest plan that the gateway sent.
//! Declared closures that are only orders so far are not known here.

use std::sync::{Arc, Weak};
use std::time::Duration;

use center_casebook::{Contact, Silence, incident};
use gateway_engine::contact_due_ms;
use gateway_model::{CivilTime, Plan};

use crate::app::App;
use crate::project::{self, Changes};
use crate::store::alerts;
use crate::store::gateways::{self, DELAYED_MS, Enrolled, Quiet, SILENT_MS};

/// How often it looks, real time.
const TICK: Duration = Duration::from_secs(5);
/// Was contact due at the last sign of life? Looked at over this time before it, ms.
const BEFORE_MS: i64 = 60_000;

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

/// Raises and ends what the center says of silent gateways at `now`, real time.
pub async fn turn(app: &App, now: i64) -> anyhow::Result<()> {
    let quiet = app.store.quiet(now - DELAYED_MS).await?;
    let civil = app.clock.civil();
    let mut silences = Vec::with_capacity(quiet.len());
    for one in &quiet {
        silences.push(silence(app, &one.gateway, CivilTime(civil.0 - (now - one.last_seen)), civil).await);
    }
    let together = incident(&silences, civil);
    let mut changes = Changes::default();
    let mut tx = app.store.write().await?;
    let many = alerts::open_of_rule(&mut tx, project::MANY_SILENT.0).await?;
    match (together.first().and_then(|first| quiet.get(*first)), many) {
        (Some(first), None) => {
            let about = format!("{}", together.len());
            project::center_alert(&mut tx, app, &first.gateway, project::MANY_SILENT, &about, &mut changes)
                .await?;
        }
        (None, Some(over)) => project::center_alert_over(&mut tx, app, over, &mut changes).await?,
        (Some(_), Some(_)) | (None, None) => (),
    }
    for (place, (Quiet { gateway, told, contact: before, .. }, silence)) in
        quiet.iter().zip(&silences).enumerate()
    {
        let contact = silence.contact(civil);
        let word = match contact {
            Contact::Fine => "off",
            Contact::Delayed => "delayed",
            Contact::Silent | Contact::Lost => "silent",
        };
        if before.as_deref() != Some(word) {
            gateways::set_contact(&mut tx, &gateway.id, word).await?;
        }
        if contact >= Contact::Silent && told.is_none() && !together.contains(&place) {
            let about = format!("> {} min", SILENT_MS / 60_000);
            let n =
                project::center_alert(&mut tx, app, gateway, project::SILENT, &about, &mut changes).await?;
            gateways::set_silent(&mut tx, &gateway.id, n).await?;
        }
        if contact == Contact::Lost {
            let about = format!("> {} h", center_casebook::LOST_MS / 3_600_000);
            project::center_alert(&mut tx, app, gateway, project::LOST, &about, &mut changes).await?;
        }
    }
    tx.commit().await?;
    changes.publish(app).await;
    Ok(())
}

async fn silence(app: &App, gateway: &Enrolled, last: CivilTime, now: CivilTime) -> Silence {
    let plan = match plan(app, gateway).await {
        Ok(plan) => plan,
        Err(error) => {
            tracing::warn!(gateway = gateway.id, error = format!("{error:#}"), "its calendar cannot be read");
            None
        }
    };
    let calendar = plan.as_ref().and_then(|plan| plan.judging.as_ref()?.calendar.as_ref());
    let before = CivilTime(last.0 - BEFORE_MS);
    Silence {
        last,
        due_ms: contact_due_ms(calendar, last, now),
        in_service: contact_due_ms(calendar, before, last) > 0,
    }
}

/// The newest plan that the gateway sent; `None`: it sent none yet.
async fn plan(app: &App, gateway: &Enrolled) -> anyhow::Result<Option<Arc<Plan>>> {
    let Some(config) = app.store.config_at(&gateway.id, i64::MAX).await? else { return Ok(None) };
    if let Some(plan) = app.plans.known(&config.gateway, config.epoch, config.seq) {
        return Ok(Some(plan));
    }
    let Some(known) = app.store.enrolled(&gateway.id).await? else { return Ok(None) };
    Ok(Some(app.plans.of(&app.store, &config, &known.ring).await?))
}
