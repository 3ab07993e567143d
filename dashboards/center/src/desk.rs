//! What the center does by itself at half past eight: digests of duties, waste that is still there, and on Mondays the list of
//! leads (users.md B).
//!
//! One task. What it has done stands in the database, so that a restart tells nothing twice; what it missed while the center was
//! away it does as soon as it is back.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use center_casebook::{Telling, next_morning};
use gateway_model::CivilTime;

use crate::app::App;
use crate::cases;
use crate::project::Changes;
use crate::store::{AlertRow, alerts as rows};
use crate::{digests, leads};

/// How often it looks, real time.
const TICK: Duration = Duration::from_secs(10);

/// When to look at what again.
#[derive(Debug, Default)]
pub struct Desk {
    digests: BTreeMap<(String, String), i64>,
    leads: leads::Looked,
}

/// Starts the task. It ends when the app is dropped.
pub fn spawn(app: &Arc<App>) {
    tokio::spawn(run(Arc::downgrade(app)));
}

async fn run(app: Weak<App>) {
    let mut desk = Desk::default();
    loop {
        tokio::time::sleep(TICK).await;
        let Some(app) = app.upgrade() else { return };
        if let Err(error) = turn(&app, &mut desk).await {
            tracing::error!(
                error = format!("{error:#}"),
                "what is due at half past eight could not be done; it is tried again"
            );
        }
    }
}

/// Does everything whose time has come. What fails of one site or alert is logged and does not stop the others.
pub async fn turn(app: &App, desk: &mut Desk) -> anyhow::Result<()> {
    digests::turn(app, &mut desk.digests).await?;
    for alert in app.store.alerts_told(Telling::Morning.code(), None).await? {
        if let Err(error) = morning(app, &alert).await {
            tracing::error!(
                error = format!("{error:#}"),
                alert = alert.id,
                "a case could not be opened in the morning"
            );
        }
    }
    leads::turn(app, &mut desk.leads).await
}

/// Waste that has been kept too long since before the last morning, and still is: a case.
async fn morning(app: &App, alert: &AlertRow) -> anyhow::Result<()> {
    if alert.trial || digests::is_silenced(alert) {
        return Ok(());
    }
    let Some(plan) = app.plans.newest(&app.store, &alert.gateway).await? else { return Ok(()) };
    if app.clock.civil() < next_morning(CivilTime(alert.raised_at), plan.utc_offset_min) {
        return Ok(());
    }
    // Another configuration does not know the rule: its end is on its way.
    let Some((_, rule)) = cases::rule_of(&plan, &alert.rule, &alert.device) else { return Ok(()) };
    let mut changes = Changes::default();
    let mut tx = app.store.write().await?;
    let held = rows::by_number(&mut tx, alert.n).await?;
    let Some(mut held) = held.filter(|held| held.row.state == "open" && held.row.case.is_none()) else {
        return Ok(());
    };
    let case = cases::raise(&mut tx, app, &held, rule, rule.priority, &mut changes).await?;
    held.row.case = Some(case);
    rows::keep(&mut tx, &held).await?;
    tx.commit().await?;
    changes.alerts.insert(alert.n);
    changes.publish(app).await;
    Ok(())
}
