//! What follows from a record: points' last values, clocks, gaps, cycles, alerts, and commands to the casebook.
//!
//! A function of the record and the config it names, so that every derived table can be rebuilt from segments. A
//! record whose config is not here yet waits, and is projected when the config comes (the receipt asks for it).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gateway_model::{
    AlertId, ConclusionBody, ConfigStep, Cycle, CycleOutcome, CycleVerdict, Epoch, Gap, Input, ModulePlan,
    OrderOutcome, Plan, Priority, Quality, Raw, StartCause, StartInput,
};
use gateway_wire::{Body, ConclusionsBody, ConfigBody, InputsBody, Parted, PartedKind};
use sqlx::SqliteConnection;

use crate::alerts::{self, Raised};
use crate::app::App;
use crate::civil::ClockTable;
use crate::digests;
use crate::live::Change;
use crate::metrics::Metrics;
use crate::store::alerts::{StoredAlert, StoredCycle};
use crate::store::epochs;
use crate::store::gateways::{self, Enrolled};
use crate::store::keys::{self, KeyRow};
use crate::store::records::{self, ClockRow, RecordRow};
use crate::store::{AlertRow, CycleRow, PointRow, Scope, Words, alerts as alert_rows, count_up};

/// What a transaction changed, told to open pages once it is committed.
#[derive(Debug, Default)]
pub struct Changes {
    /// Numbers of alerts.
    pub alerts: BTreeSet<i64>,
    /// Numbers of cases.
    pub cases: BTreeSet<i64>,
    /// (gateway, epoch) in which records turned out to be gone.
    pub gone: BTreeSet<(String, i64)>,
    /// (gateway, epoch, through before, through after).
    pub chains: BTreeSet<(String, i64, i64, i64)>,
    /// Gateways whose civil times change from an engine time on.
    pub redated: BTreeMap<String, i64>,
    /// The newest reading that came, per gateway and point: written once for all records of the transaction.
    values: BTreeMap<(String, String), PointRow>,
}

impl Changes {
    /// Epochs of the gateway whose chain was looked at again.
    pub fn epochs_of(&self, gateway: &str) -> impl Iterator<Item = i64> {
        self.chains.iter().filter(move |(of, ..)| of == gateway).map(|(_, epoch, ..)| *epoch)
    }

    /// Tells every open page. Rows are read afresh, so pages get what is committed.
    pub async fn publish(self, app: &App) {
        let told = async {
            let mut alerts = self.alerts;
            for (gateway, epoch, before, after) in &self.chains {
                if after > before {
                    alerts.extend(app.store.alerts_between(gateway, *epoch, before + 1, *after).await?);
                }
            }
            for n in alerts {
                // A lead is never live: it waits for Monday.
                if let Some(row) = app.store.alert(n).await?.filter(|row| !alerts::is_lead(row)) {
                    app.hub.publish(Change::Alert(Box::new(row)));
                }
            }
            for id in self.cases {
                if let Some(row) = app.store.case_row(&Scope::All, id).await? {
                    app.hub.publish(Change::Case(Box::new(row)));
                }
            }
            Ok::<(), sqlx::Error>(())
        };
        if let Err(error) = told.await {
            tracing::error!(%error, "open pages were not told of a change; they learn of it with their next snapshot");
        }
    }
}

/// Derives what follows from one record that has just been indexed.
pub async fn record(
    tx: &mut SqliteConnection,
    app: &App,
    gateway: &Enrolled,
    row: &RecordRow,
    body: &Body,
    changes: &mut Changes,
) -> anyhow::Result<()> {
    match body {
        Body::Start(start) => started(tx, app, gateway, row, start, changes).await?,
        Body::Config(config) => {
            configured(tx, app, gateway, row, config).await?;
            records::set_projected(tx, &row.gateway, row.epoch, row.seq).await?;
            return catch_up(tx, app, gateway, row, changes).await;
        }
        Body::Inputs(inputs) => {
            clocks(tx, app, gateway, row, inputs, changes).await?;
            if gateway_evidence::tells_of_instruments(body) {
                records::add_device_record(tx, &row.gateway, row.epoch, row.seq).await?;
            }
            let Some(plan) = plan(tx, app, gateway, row).await? else { return Ok(()) };
            last_values(row, inputs, &plan, changes);
            digests::done(tx, &row.gateway, inputs, &plan).await?;
        }
        Body::Conclusions(conclusions) => {
            let Some(plan) = plan(tx, app, gateway, row).await? else { return Ok(()) };
            concluded(tx, app, gateway, row, conclusions, &plan, changes).await?;
        }
        Body::Gap(gap) => gone(tx, row, gap, changes).await?,
        Body::Parted(Parted { of: PartedKind::Config, .. }) => {
            return parted(tx, app, gateway, row, changes).await;
        }
        Body::Part(part) => {
            records::set_projected(tx, &row.gateway, row.epoch, row.seq).await?;
            let head = row.seq - 1 - i64::from(part.n);
            let head = records::find(tx, &row.gateway, row.epoch, head).await?;
            let waits = |head: &RecordRow| head.kind == "config" && head.state == "stored" && !head.projected;
            return match head.filter(waits) {
                Some(head) => parted(tx, app, gateway, &head, changes).await,
                None => Ok(()),
            };
        }
        Body::Checkpoint(state) => digests::known(tx, &row.gateway, state).await?,
        // A state that goes on in parts is that of thousands of points: its duties are known from what is entered.
        Body::Parted(Parted { of: PartedKind::Checkpoint, .. }) => {}
    }
    records::set_projected(tx, &row.gateway, row.epoch, row.seq).await?;
    Ok(())
}

/// A config in parts counts from the moment that all of them are here, in whatever order they came.
async fn parted(
    tx: &mut SqliteConnection,
    app: &App,
    gateway: &Enrolled,
    head: &RecordRow,
    changes: &mut Changes,
) -> anyhow::Result<()> {
    let rows = records::whole(tx, head).await?;
    match app.plans.whole(rows, &gateway.ring).await {
        Ok(None) => return Ok(()),
        Ok(Some(Body::Config(config))) => configured(tx, app, gateway, head, &config).await?,
        Ok(Some(_)) => not_whole(tx, app, head, "another content").await?,
        // Signed so, and no part of it will ever be another.
        Err(error) => not_whole(tx, app, head, &format!("{error:#}")).await?,
    }
    records::set_projected(tx, &head.gateway, head.epoch, head.seq).await?;
    catch_up(tx, app, gateway, head, changes).await
}

async fn not_whole(tx: &mut SqliteConnection, app: &App, head: &RecordRow, why: &str) -> sqlx::Result<()> {
    Metrics::count(&app.metrics.projection_failures);
    tracing::warn!(
        gateway = head.gateway,
        epoch = head.epoch,
        seq = head.seq,
        why,
        "a config in parts does not come together: what names it cannot be shown"
    );
    records::quarantine(tx, &head.gateway, head.epoch, head.seq).await
}

/// Records that waited for this config.
async fn catch_up(
    tx: &mut SqliteConnection,
    app: &App,
    gateway: &Enrolled,
    config: &RecordRow,
    changes: &mut Changes,
) -> anyhow::Result<()> {
    for row in records::waiting(tx, &config.gateway, config.epoch, config.seq).await? {
        match app.plans.body(&row, &gateway.ring).await {
            Ok(body) => Box::pin(record(tx, app, gateway, &row, &body, changes)).await?,
            Err(error) => {
                Metrics::count(&app.metrics.projection_failures);
                tracing::error!(error = format!("{error:#}"), "a stored record could not be read again");
            }
        }
    }
    Ok(())
}

/// The plan to read the record with; `None` = its config is not here yet.
async fn plan(
    tx: &mut SqliteConnection,
    app: &App,
    gateway: &Enrolled,
    row: &RecordRow,
) -> anyhow::Result<Option<Arc<Plan>>> {
    if let Some(plan) = app.plans.known(&row.gateway, row.epoch, row.config) {
        return Ok(Some(plan));
    }
    let Some(config) = records::find(tx, &row.gateway, row.epoch, row.config).await? else { return Ok(None) };
    if config.kind != "config" || config.state != "stored" {
        // It names a record that is no config: nothing can be derived, ever.
        Metrics::count(&app.metrics.projection_failures);
        tracing::warn!(
            gateway = row.gateway,
            epoch = row.epoch,
            seq = row.seq,
            "a record names a config that is none"
        );
        records::set_projected(tx, &row.gateway, row.epoch, row.seq).await?;
        return Ok(None);
    }
    if !config.projected {
        // Parts of it are missing.
        return Ok(None);
    }
    Ok(Some(app.plans.of_rows(records::whole(tx, &config).await?, &gateway.ring).await?))
}

async fn started(
    tx: &mut SqliteConnection,
    app: &App,
    gateway: &Enrolled,
    row: &RecordRow,
    start: &StartInput,
    changes: &mut Changes,
) -> sqlx::Result<()> {
    gateways::set_simulated(tx, &gateway.id, start.simulated).await?;
    if start.cause == StartCause::Replaced {
        return replaced(tx, app, gateway, row, start, changes).await;
    }
    let held = epochs::all(tx, &gateway.id).await?;
    let claimed = start.previous.map(|(epoch, seq)| (epoch.0 as i64, seq.0 as i64));
    let newest = held.iter().rfind(|row| row.epoch < start.epoch.0 as i64);
    // The center holds more than the gateway found on its disk: its storage lost what it had signed.
    let lost = newest.filter(|row| claimed.is_none_or(|claimed| (row.epoch, row.last) > claimed));
    if let Some(lost) = lost {
        let about = format!("{}/{}", lost.epoch, lost.last);
        center_alert(tx, app, gateway, TAIL_LOST, &about, changes).await?;
    }
    Ok(())
}

/// A box went on where the one before it stood as far as the center had it. What the other one raised behind that, it
/// does not know of: nobody else will ever end it, and where the condition still holds it is raised anew.
async fn replaced(
    tx: &mut SqliteConnection,
    app: &App,
    gateway: &Enrolled,
    row: &RecordRow,
    start: &StartInput,
    changes: &mut Changes,
) -> sqlx::Result<()> {
    // As they stand now: records of the same group may have moved the end of one.
    let known = keys::of(tx, &gateway.id).await?;
    let Some(key) = known.into_iter().rfind(|key| key.from_epoch <= row.epoch) else { return Ok(()) };
    let took = start.previous.map_or((0, 0), |(epoch, seq)| (epoch.0 as i64, seq.0 as i64));
    keys::set_bounds(tx, &gateway.id, &KeyRow { took: Some(took), ..key }).await?;
    for mut alert in alert_rows::open_of(tx, &gateway.id).await? {
        if alert.record > took && alert.record.0 < row.epoch {
            alerts::supersede(&mut alert, app.clock.civil().0);
            alert_rows::keep(tx, &alert).await?;
            changes.alerts.insert(alert.row.n);
        }
    }
    Ok(())
}

async fn configured(
    tx: &mut SqliteConnection,
    app: &App,
    gateway: &Enrolled,
    row: &RecordRow,
    config: &ConfigBody,
) -> sqlx::Result<()> {
    app.plans.keep(&row.gateway, row.epoch, row.seq, Arc::new(config.plan.clone()));
    records::add_config(tx, &row.gateway, row.epoch, row.seq, &config.software, config.semantics).await?;
    gateways::set_software(tx, &gateway.id, &config.software).await?;
    gateways::put_points(tx, &row.gateway, &config.plan).await
}

async fn clocks(
    tx: &mut SqliteConnection,
    app: &App,
    gateway: &Enrolled,
    row: &RecordRow,
    inputs: &InputsBody,
    changes: &mut Changes,
) -> sqlx::Result<()> {
    for (item, input) in inputs.items.iter().enumerate() {
        let Input::Clock(clock) = input else { continue };
        let since = match clock.since {
            Some(seq) => {
                records::began(tx, &row.gateway, row.epoch, seq.0 as i64).await?.unwrap_or(clock.at.0)
            }
            None => clock.at.0,
        };
        let known = clock.error_ms.is_some();
        let before = ClockTable::new(records::clocks(tx, &row.gateway).await?);
        let said = ClockRow {
            epoch: row.epoch,
            seq: row.seq,
            item: item as i64,
            since,
            offset_ms: clock.offset_ms,
            known,
        };
        records::add_clock(tx, &row.gateway, &said).await?;
        let held = before.offset_at(gateway_model::EngineTime(since));
        let moves = held != Some(clock.offset_ms);
        let stepped =
            held.is_some_and(|held| held.saturating_sub(clock.offset_ms).saturating_abs() > CLOCK_STEP_MS);
        if known && stepped {
            let about = format!("{}/{}", row.epoch, row.seq);
            center_alert(tx, app, gateway, CLOCK_STEP, &about, changes).await?;
        }
        if known && moves {
            // The first word also dates everything before it.
            let from = if before.offset_now().is_none() { i64::MIN } else { since };
            let held = changes.redated.entry(row.gateway.clone()).or_insert(from);
            *held = from.min(*held);
        }
    }
    Ok(())
}

/// Value, quality and cause of a reading, as the API says them.
pub fn said(value: &Quality<Raw>, gain: f64, offset: f64) -> (&'static str, Option<String>, Option<f64>) {
    let number = |raw: &Raw| raw.value(gain, offset);
    match value {
        Quality::Good(raw) => ("good", None, number(raw)),
        Quality::Uncertain(raw, cause) => ("uncertain", Some(code(cause)), number(raw)),
        Quality::Bad(cause) => ("bad", Some(code(cause)), None),
    }
}

/// `NoCommunication` as `no_communication`.
pub fn code(value: &impl std::fmt::Debug) -> String {
    let mut text = String::new();
    for c in format!("{value:?}").chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

fn last_values(row: &RecordRow, inputs: &InputsBody, plan: &Plan, changes: &mut Changes) {
    let mut newest = BTreeMap::new();
    for input in &inputs.items {
        if let Input::Reading(reading) = input {
            let held = newest.entry(reading.point).or_insert(reading);
            if reading.at >= held.at {
                *held = reading;
            }
        }
    }
    for (slot, reading) in newest {
        let Some(point) = plan.points.get(slot.slot()) else { continue };
        let (quality, cause, value) = said(&reading.value, point.gain, point.offset);
        let last = PointRow {
            gateway: row.gateway.clone(),
            id: point.id.clone(),
            device: String::new(),
            name: Words::default(),
            unit: String::new(),
            truth: point.truth,
            // Engine time: the row is told in civil time by the clock that holds when it is read.
            at: Some(reading.at.0),
            quality: quality.to_owned(),
            cause,
            value,
        };
        let key = (row.gateway.clone(), point.id.clone());
        if changes.values.get(&key).is_none_or(|held| held.at <= last.at) {
            changes.values.insert(key, last);
        }
    }
}

/// Writes the last values that a transaction's records brought.
pub async fn keep_values(tx: &mut SqliteConnection, changes: &mut Changes) -> sqlx::Result<()> {
    for last in std::mem::take(&mut changes.values).values() {
        gateways::put_value(tx, last).await?;
    }
    Ok(())
}

async fn gone(
    tx: &mut SqliteConnection,
    row: &RecordRow,
    gap: &Gap,
    changes: &mut Changes,
) -> sqlx::Result<()> {
    if let Some((epoch, first, last)) = gap.records {
        epochs::add_gone(tx, &row.gateway, epoch.0 as i64, first.0 as i64, last.0 as i64).await?;
        changes.gone.insert((row.gateway.clone(), epoch.0 as i64));
    }
    Ok(())
}

async fn concluded(
    tx: &mut SqliteConnection,
    app: &App,
    gateway: &Enrolled,
    row: &RecordRow,
    conclusions: &ConclusionsBody,
    plan: &Plan,
    changes: &mut Changes,
) -> anyhow::Result<()> {
    let clocks = ClockTable::new(records::clocks(tx, &row.gateway).await?);
    let tail = keys::of(tx, &row.gateway).await?.iter().any(|key| key.is_tail(row.epoch, row.seq));
    let fallback = row.received_at - row.t1;
    let mut last_cycle: Option<&Cycle> = None;
    for conclusion in &conclusions.list {
        match &conclusion.body {
            ConclusionBody::Alert(change) => {
                let raised = Raised {
                    app,
                    gateway,
                    row,
                    plan,
                    clocks: &clocks,
                    fallback,
                    at: conclusion.at,
                    cycle: last_cycle,
                    tail,
                };
                alerts::changed(tx, &raised, change, changes).await?;
            }
            ConclusionBody::Cycle(cycle) => {
                last_cycle = Some(cycle);
                let Some(stored) = cycle_row(row, plan, cycle, conclusion.at.0, &clocks, fallback) else {
                    continue;
                };
                alert_rows::keep_cycle(tx, &stored).await?;
            }
            ConclusionBody::Order { order, outcome } => {
                let outcome = match outcome {
                    OrderOutcome::Done => "done".to_owned(),
                    OrderOutcome::Refused(code) => format!("refused: {code}"),
                    OrderOutcome::Expired => "expired".to_owned(),
                    OrderOutcome::Declined(why) => format!("refused: {why}"),
                };
                gateways::end_order(tx, &row.gateway, (order.0 as i64, order.1 as i64), &outcome).await?;
            }
            // Occurrences that began and ended while there was no room are counted at the gateway only.
            ConclusionBody::Folded(folded) => {
                for change in &folded.last {
                    let raised = Raised {
                        app,
                        gateway,
                        row,
                        plan,
                        clocks: &clocks,
                        fallback,
                        at: folded.to,
                        cycle: last_cycle,
                        tail,
                    };
                    alerts::changed(tx, &raised, change, changes).await?;
                }
            }
            ConclusionBody::Storage(storage) => {
                tracing::warn!(gateway = %row.gateway, state = ?storage.state, "the gateway's storage");
            }
            ConclusionBody::Config(change) => {
                let (step, said) = (change.step, change.said.as_str());
                match step {
                    ConfigStep::Refused | ConfigStep::RolledBack => {
                        tracing::warn!(gateway = %row.gateway, ?step, said, "a configuration is not in force");
                    }
                    ConfigStep::Applied | ConfigStep::Confirmed => {
                        tracing::info!(gateway = %row.gateway, ?step, said, "the gateway's configuration");
                    }
                }
            }
            // In the record, and in the regions of every alert that it touches; it has no row of its own.
            ConclusionBody::Suppression(_) => (),
        }
    }
    Ok(())
}

fn cycle_row(
    row: &RecordRow,
    plan: &Plan,
    cycle: &Cycle,
    ended: i64,
    clocks: &ClockTable,
    fallback: i64,
) -> Option<StoredCycle> {
    let ModulePlan::HeatCycle(module) = plan.modules.get(cycle.module.slot())? else { return None };
    let device = plan.devices.get(module.device.slot())?;
    let civil = |at| clocks.civil(at, fallback).0;
    let outcome = match cycle.outcome {
        CycleOutcome::Judged(verdict) => match verdict {
            CycleVerdict::Passed => "passed",
            CycleVerdict::TooCool => "too_cool",
            CycleVerdict::TooShort => "too_short",
            CycleVerdict::DoorOpened => "door_opened",
            CycleVerdict::TooHot => "too_hot",
            CycleVerdict::TooWeak => "too_weak",
            CycleVerdict::Uneven => "uneven",
            CycleVerdict::NotSaturated => "not_saturated",
        },
        CycleOutcome::Drying => "drying",
        CycleOutcome::NotMeasured => "not_measured",
        CycleOutcome::Aborted => "aborted",
    };
    let shown = CycleRow {
        gateway: row.gateway.clone(),
        device: device.id.clone(),
        device_name: device.name.clone().into(),
        n: i64::from(cycle.n),
        started_at: civil(cycle.started),
        hold_started_at: cycle.hold_started.map(civil),
        ended_at: civil(gateway_model::EngineTime(ended)),
        hold_ms: cycle.hold_ms,
        peak_c: cycle.peak_c,
        hold_min_c: cycle.hold_min_c,
        hold_max_c: cycle.hold_max_c,
        door_opened: cycle.door_opened,
        unseen_ms: cycle.unseen_ms,
        outcome: outcome.to_owned(),
        program: module.program.id.clone(),
    };
    Some(StoredCycle {
        row: shown,
        epoch: row.epoch,
        started: cycle.started.0,
        hold_started: cycle.hold_started.map(|at| at.0),
        ended,
    })
}

/// Applies a later clock input to civil times that were derived before it (design §5: no record is touched).
pub async fn redate(
    tx: &mut SqliteConnection,
    app: &App,
    gateway: &str,
    since: i64,
    changes: &mut Changes,
) -> sqlx::Result<()> {
    let clocks = ClockTable::new(records::clocks(tx, gateway).await?);
    let fallback = app.clock.civil().0;
    let civil = |at: i64| clocks.civil(gateway_model::EngineTime(at), fallback - at).0;
    for mut alert in alert_rows::since(tx, gateway, since).await? {
        let before = alert.row.clone();
        alert.row.raised_at = civil(alert.raised);
        alert.row.since = alert.since.map(civil);
        alert.row.cleared_at = alert.cleared.map(civil);
        if alert.row != before {
            alert_rows::keep(tx, &alert).await?;
            changes.alerts.insert(alert.row.n);
        }
    }
    for mut cycle in alert_rows::cycles_since(tx, gateway, since).await? {
        let before = cycle.row.clone();
        cycle.row.started_at = civil(cycle.started);
        cycle.row.hold_started_at = cycle.hold_started.map(civil);
        cycle.row.ended_at = civil(cycle.ended);
        if cycle.row != before {
            alert_rows::keep_cycle(tx, &cycle).await?;
        }
    }
    Ok(())
}

/// A sign of life of a gateway: what said it was silent is over.
pub async fn sign_of_life(
    tx: &mut SqliteConnection,
    app: &App,
    gateway: &str,
    changes: &mut Changes,
) -> sqlx::Result<()> {
    if let Some(n) = gateways::seen(tx, gateway, app.clock.real(), app.clock.civil().0).await? {
        let silent = alert_rows::by_number(tx, n).await?;
        let lost = alert_rows::open_of_center(tx, gateway, LOST.0).await?;
        for alert in silent.into_iter().chain(lost) {
            center_alert_over(tx, app, alert, changes).await?;
        }
    }
    Ok(())
}

/// What the center said itself no longer holds.
pub async fn center_alert_over(
    tx: &mut SqliteConnection,
    app: &App,
    mut alert: StoredAlert,
    changes: &mut Changes,
) -> sqlx::Result<()> {
    if alert.row.state != "open" {
        return Ok(());
    }
    "cleared".clone_into(&mut alert.row.state);
    alert.row.clear_cause = Some("returned".to_owned());
    alert.row.cleared_at = Some(app.clock.civil().0);
    alert.row.event += 1;
    alert_rows::keep(tx, &alert).await?;
    changes.alerts.insert(alert.row.n);
    Ok(())
}

/// What the center raises itself: rule id, priority, title in both languages.
pub type CenterRule = (&'static str, Priority, &'static str, &'static str);

/// Same number, other bytes.
pub const EQUIVOCATION: CenterRule = (
    "center/equivocation",
    Priority::Red,
    "网关同一编号出现不同记录",
    "Gateway sent two records under one number",
);
/// A link that does not hold.
pub const CHAIN_BROKEN: CenterRule = (
    "center/chain-broken",
    Priority::Red,
    "网关记录链不连续",
    "Chain of the gateway's records does not close",
);
/// The gateway's disk holds less than the center.
pub const TAIL_LOST: CenterRule = (
    "center/tail-lost",
    Priority::Orange,
    "网关存储丢失了已上传的记录",
    "Gateway's storage lost records it had sent",
);
/// A key that had ended goes on signing: a box that was replaced is still in use somewhere, or its key was copied.
pub const REVOKED: CenterRule = (
    "center/revoked-key",
    Priority::Red,
    "已停用的网关密钥仍在签发记录",
    "A gateway key that had ended signed records",
);
/// The gateway's civil time moved by minutes: its clock was wrong before or is now.
pub const CLOCK_STEP: CenterRule = (
    "center/clock-step",
    Priority::Yellow,
    "网关时钟跳变超过5分钟",
    "Gateway's clock moved by more than five minutes",
);
/// A clock that moves by less is set as clocks are, ms.
const CLOCK_STEP_MS: i64 = 5 * 60_000;
/// No sign of life while one was due: the maintainer's task.
pub const SILENT: CenterRule =
    ("center/gateway-silent", Priority::Yellow, "网关失联", "Gateway not in contact");
/// None for days: the supervisor's.
pub const LOST: CenterRule =
    ("center/gateway-lost", Priority::Orange, "网关长时间失联", "Gateway not in contact for days");
/// Many at once: a power cut or a dead network, and one thing for the supervisor instead of one per gateway.
pub const MANY_SILENT: CenterRule = (
    "center/many-silent",
    Priority::Orange,
    "多台网关同时失联（可能停电或断网）",
    "Many gateways fell silent together (power cut or dead network?)",
);

/// Raises an alert of the center itself, unless one of the same rule about this gateway is open. Opens no case.
pub async fn center_alert(
    tx: &mut SqliteConnection,
    app: &App,
    gateway: &Enrolled,
    (rule, priority, zh, en): CenterRule,
    about: &str,
    changes: &mut Changes,
) -> sqlx::Result<i64> {
    if let Some(open) = alert_rows::open_of_center(tx, &gateway.id, rule).await? {
        return Ok(open.row.n);
    }
    let n = count_up(tx, "alerts").await?;
    let number = count_up(tx, "center_alerts").await?;
    let now = app.clock.civil().0;
    let epoch = Epoch(app.order_epoch() as u64);
    let alert = AlertId { epoch, n: number as u32 };
    let row = AlertRow {
        n,
        id: format!("center/{alert}"),
        source: "center".to_owned(),
        gateway: gateway.id.clone(),
        institution: gateway.institution.clone(),
        institution_name: Words::default(),
        site: gateway.site.clone(),
        device: String::new(),
        device_name: Words::default(),
        rule: rule.to_owned(),
        title: Words { zh: zh.to_owned(), en: en.to_owned() },
        sentence: Words { zh: format!("{zh}（{about}）。"), en: format!("{en} ({about}).") },
        action: Words::default(),
        norm: Words::default(),
        priority: alerts::priority_code(priority).to_owned(),
        told: center_casebook::Telling::Alert.code().to_owned(),
        trial: false,
        first: if rule == SILENT.0 { "maintainer" } else { "supervisor" }.to_owned(),
        state: "open".to_owned(),
        shown: "unacknowledged".to_owned(),
        quality: "good".to_owned(),
        clear_cause: None,
        chain: "closed".to_owned(),
        point: None,
        value: None,
        limit: None,
        unit: None,
        since: None,
        raised_at: now,
        cleared_at: None,
        received_at: now,
        event: 1,
        case: None,
        simulated: app.clock.simulated(),
    };
    alert_rows::keep(
        tx,
        &StoredAlert { row, alert, record: (0, 0), since: None, raised: now, cleared: None },
    )
    .await?;
    Metrics::count(&app.metrics.alerts_raised);
    changes.alerts.insert(n);
    Ok(n)
}
