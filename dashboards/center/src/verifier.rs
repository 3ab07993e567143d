//! Verifies rectifications from data (K10–K12): once the gateway's records cover the window, the engine judges
//! them; where the gateway stays silent too long, data are insufficient, which is never a pass.
//!
//! One task looks at every pending case: at start, when records arrive, and once a second for those that never do.

use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::Context as _;
use center_casebook::{Key, Verdict, VerdictKind, Window};
use gateway_engine::verify::{self, Verdict as Found};
use gateway_evidence::Sweep;
use gateway_model::PointIx;
use gateway_wire::{Joiner, Opened};
use sha2::{Digest as _, Sha256};

use crate::app::App;
use crate::metrics::Metrics;
use crate::store::gateways::Enrolled;
use crate::store::records::RecordRow;

/// Verdicts that did not come with records are due at this pace, real time.
const TICK: Duration = Duration::from_secs(1);
/// Records of one verdict, at most: a day up to the last checkpoint and two of a window at two in 5 s, the shortest setting. With
/// more it says that the window is too long.
const RECORDS_MAX: usize = 104_000;
/// Records decoded at a time.
const RECORDS_AT_ONCE: usize = 500;

/// Starts the task. It ends when the app is dropped.
pub fn spawn(app: &Arc<App>) {
    tokio::spawn(run(Arc::downgrade(app)));
}

async fn run(app: Weak<App>) {
    loop {
        let Some(app) = app.upgrade() else { return };
        if let Err(error) = turn(&app).await {
            tracing::error!(error = format!("{error:#}"), "verification could not look at its cases");
        }
        let arrived = app.arrived.notified();
        tokio::select! {
            () = arrived => {}
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Looks at every pending case once.
pub async fn turn(app: &App) -> anyhow::Result<()> {
    for (case, gateway) in app.store.cases_verifying().await? {
        if let Err(error) = look(app, case, &gateway).await {
            tracing::error!(
                case,
                error = format!("{error:#}"),
                "a case could not be verified; it stays pending"
            );
        }
    }
    Ok(())
}

async fn look(app: &App, id: i64, gateway: &str) -> anyhow::Result<()> {
    let events = app.store.case_events(id).await?;
    let Some(case) = center_casebook::Case::replay(&events) else { return Ok(()) };
    let Some(window) = case.window else { return Ok(()) };
    let Some(enrolled) = app.store.enrolled(gateway).await? else { return Ok(()) };
    let now = crate::cases::engine_now(app, gateway).await?;
    let patience = (app.config.verify_patience().as_millis() as f64 * app.clock.speed()) as i64;
    let patient = now <= window.to.plus(patience);
    let covered = app.store.covered_until(gateway).await?.is_some_and(|until| until >= window.to.0);
    let holes = app.store.epochs(gateway).await?.iter().any(|epoch| epoch.through < epoch.last);
    if patient && (!covered || holes) {
        return Ok(());
    }
    let verdict = if covered {
        judged(app, &enrolled, &case.key, window).await?
    } else {
        Verdict {
            kind: VerdictKind::Insufficient,
            window,
            coverage_permille: 0,
            unseen: Vec::new(),
            first_violation: None,
            reason: "silent".to_owned(),
            data_hash: [0; 32],
            config_hash: [0; 32],
            method: None,
        }
    };
    let from = now.max(window.to);
    let next = Window { from, to: from.plus(window.to.since(window.from)) };
    let kind = verdict.kind;
    if crate::cases::judge(app, id, verdict, next).await? {
        Metrics::count(&app.metrics.verdicts);
        tracing::info!(case = id, verdict = kind.code(), "verdict from data");
    }
    Ok(())
}

async fn judged(app: &App, gateway: &Enrolled, key: &Key, window: Window) -> anyhow::Result<Verdict> {
    let insufficient = |reason: &str, config_hash| Verdict {
        kind: VerdictKind::Insufficient,
        window,
        coverage_permille: 0,
        unseen: Vec::new(),
        first_violation: None,
        reason: reason.to_owned(),
        data_hash: [0; 32],
        config_hash,
        method: None,
    };
    let Some(config) = app.store.config_at(&gateway.id, window.to.0).await? else {
        return Ok(insufficient("no_config", [0; 32]));
    };
    let plan = app.plans.of(&app.store, &config, &gateway.ring).await?;
    let Some((rule, _)) = crate::cases::rule_of(&plan, &key.rule, &key.device) else {
        return Ok(insufficient("rule_gone", config.hash));
    };
    // From the last checkpoint before the window: it holds what windows, counters and ledgers knew.
    let rows = app.store.records_for_evidence(&gateway.id, window.from.0, window.to.0).await?;
    if rows.len() > RECORDS_MAX {
        return Ok(insufficient("window_too_long", config.hash));
    }
    let span = verify::Window { from: window.from, to: window.to };
    let mut sweep = Sweep::new(&plan, rule, span);
    let mut joiner = Joiner::default();
    let mut hasher = Sha256::new();
    for rows in rows.chunks(RECORDS_AT_ONCE) {
        let stored: Vec<RecordRow> = rows.iter().filter(|row| row.state == "stored").cloned().collect();
        for row in &stored {
            hasher.update(row.hash);
        }
        let opened = app.plans.opened(stored, &gateway.ring).await?;
        let eat = move || {
            for Opened { header, body } in opened {
                // What is not understood counts as missing.
                if let Ok(body) = body.and_then(|body| joiner.take(&header, body)) {
                    sweep.take(&header, &body);
                }
            }
            (sweep, joiner)
        };
        (sweep, joiner) = tokio::task::spawn_blocking(eat).await.context("a sweep ended early")?;
    }
    let found = tokio::task::spawn_blocking(move || sweep.finish()).await.context("a sweep ended early")?;
    Ok(Verdict {
        kind: match found.verdict {
            Found::Pass => VerdictKind::Pass,
            Found::Fail => VerdictKind::Fail,
            Found::Insufficient => VerdictKind::Insufficient,
        },
        window,
        coverage_permille: found.coverage_permille,
        unseen: points(found.unseen),
        first_violation: found.first_violation,
        reason: found.reason.code().to_owned(),
        data_hash: hasher.finalize().into(),
        config_hash: config.hash,
        method: Some(verify::METHOD),
    })
}

fn points(mut unseen: Vec<PointIx>) -> Vec<PointIx> {
    /// Named in a verdict; a site with more is told so by the first of them.
    const UNSEEN_MAX: usize = 64;
    unseen.truncate(UNSEEN_MAX);
    unseen
}
