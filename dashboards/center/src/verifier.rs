//! Verifies rectifications from data (K10–K12): once the gateway's records cover the window, the engine judges
//! them; where the gateway stays silent too long, data are insufficient, which is never a pass.
//!
//! One task looks at every pending case: at start, when records arrive, and once a second for those that never do.

use std::sync::{Arc, Weak};
use std::time::Duration;

use center_casebook::{Key, Verdict, VerdictKind, Window};
use gateway_engine::verify::{self, Verdict as Found};
use gateway_model::{Plan, PointIx, RuleIx, RuleKind};
use sha2::{Digest as _, Sha256};

use crate::app::App;
use crate::inputs;
use crate::metrics::Metrics;
use crate::project::code;
use crate::store::gateways::Enrolled;
use crate::store::records::RecordRow;

/// Verdicts that did not come with records are due at this pace, real time.
const TICK: Duration = Duration::from_secs(1);
/// Records before a window in which the value at its beginning is looked for: more than two hours at one in 30 s.
const BEFORE_MAX: i64 = 300;
/// A cycle that ended in the window began at most this long before it, ms.
const CYCLE_MAX_MS: i64 = 4 * 3_600_000;

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
    };
    let Some(config) = app.store.config_at(&gateway.id, window.to.0).await? else {
        return Ok(insufficient("no_config", [0; 32]));
    };
    let plan = app.plans.of(&app.store, &config, &gateway.ring).await?;
    let Some((rule, found)) = crate::cases::rule_of(&plan, &key.rule, &key.device) else {
        return Ok(insufficient("rule_gone", config.hash));
    };
    let cycles = matches!(found.kind, RuleKind::CycleFailed { .. });
    let data = gather(app, gateway, &plan, window, cycles).await?;
    if data.truncated {
        return Ok(insufficient("window_too_long", config.hash));
    }
    let (plan_of, rule_of) = (Arc::clone(&plan), rule);
    let found = tokio::task::spawn_blocking(move || judge(&plan_of, rule_of, window, &data)).await?;
    Ok(Verdict { config_hash: config.hash, ..found })
}

/// What a verdict rests on.
struct Data {
    eaten: inputs::Eaten,
    rows: Vec<RecordRow>,
    truncated: bool,
}

async fn gather(
    app: &App,
    gateway: &Enrolled,
    plan: &Plan,
    window: Window,
    cycles: bool,
) -> anyhow::Result<Data> {
    let from = if cycles { window.from.plus(-CYCLE_MAX_MS) } else { window.from };
    let before = inputs::load_before(app, gateway, from, BEFORE_MAX).await?;
    let parts = inputs::load(app, gateway, from, window.to).await?;
    let truncated = parts.truncated;
    // Of what was before, only the last reading of each point.
    let mut last = std::collections::BTreeMap::new();
    for reading in inputs::eaten(&before, plan).readings {
        last.insert(reading.point, reading);
    }
    let mut leading: Vec<_> = last.into_values().collect();
    leading.sort_by_key(|reading| reading.at);
    let mut eaten = inputs::eaten(&parts.list, plan);
    eaten.readings.splice(0..0, leading);
    Ok(Data { eaten, rows: parts.list.into_iter().map(|part| part.row).collect(), truncated })
}

fn judge(plan: &Plan, rule: RuleIx, window: Window, data: &Data) -> Verdict {
    let span = verify::Window { from: window.from, to: window.to };
    let found = verify::verify(plan, rule, span, &data.eaten.readings, &data.eaten.counts);
    let mut hasher = Sha256::new();
    for row in &data.rows {
        hasher.update(row.hash);
    }
    Verdict {
        kind: match found.verdict {
            Found::Pass => VerdictKind::Pass,
            Found::Fail => VerdictKind::Fail,
            Found::Insufficient => VerdictKind::Insufficient,
        },
        window,
        coverage_permille: found.coverage_permille,
        unseen: points(found.unseen),
        first_violation: found.first_violation,
        reason: code(&found.reason),
        data_hash: hasher.finalize().into(),
        config_hash: [0; 32],
    }
}

fn points(mut unseen: Vec<PointIx>) -> Vec<PointIx> {
    /// Named in a verdict; a site with more is told so by the first of them.
    const UNSEEN_MAX: usize = 64;
    unseen.truncate(UNSEEN_MAX);
    unseen
}
