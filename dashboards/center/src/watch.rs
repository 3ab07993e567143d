//! Watches for gateways that have fallen silent. What is normal, whose turn it is and what is one happening is decided by
//! `center_casebook`; here are the signs of life, the calendars and the alerts.
//!
//! How long is measured in real time; whether contact was due, by the calendar of the newest plan that the gateway sent.
//! Declared closures that are only orders so far are not known here.

use std::sync::{Arc, Weak};
use std::time::Duration;

use center_casebook::{Contact, Silence, incident};
use gateway_engine::contact_due_ms;
use gateway_model::CivilTime;

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
    let townships = app.store.townships().await?;
    let sizes: Vec<usize> = townships.iter().map(|(_, gateways)| *gateways).collect();
    let civil = app.clock.civil();
    let mut silences = Vec::with_capacity(quiet.len());
    for one in &quiet {
        let of = |township: &String| townships.iter().position(|(name, _)| name == township);
        let heard = silence(app, &one.gateway, CivilTime(civil.0 - (now - one.last_seen)), civil).await;
        silences.push(Silence { township: one.township.as_ref().and_then(of), ..heard });
    }
    let together = incident(&silences, &sizes, civil);
    let mut changes = Changes::default();
    let mut tx = app.store.write().await?;
    let many = alerts::open_of_rule(&mut tx, project::MANY_SILENT.0).await?;
    match (together.first().and_then(|first| quiet.get(*first)), many) {
        (Some(first), None) => {
            let about = about(&together, &silences, &townships);
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
    let plan = match app.plans.newest(&app.store, &gateway.id).await {
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
        township: None,
    }
}

/// How many, and where, if all of them lie in one township.
fn about(together: &[usize], silences: &[Silence], townships: &[(String, usize)]) -> String {
    let mut of = together.iter().map(|place| silences.get(*place).and_then(|silence| silence.township));
    let first = of.next().flatten();
    let one = first.filter(|first| of.all(|township| township == Some(*first)));
    match one.and_then(|township| townships.get(township)) {
        Some((name, all)) => format!("{name} {}/{all}", together.len()),
        None => together.len().to_string(),
    }
}
