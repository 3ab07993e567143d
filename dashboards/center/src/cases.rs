//! The casebook's shell: loads a case, lets it decide, stores the events, keeps the row, tells open pages.

use center_casebook::{
    Actor, Case, CaseEvent, Command, CommandBody, CommandKind, Decision, Disposition, Key, Verdict, Window,
    decide,
};
use gateway_model::{
    CivilTime, CommandBody as OrderBody, EngineTime, InstitutionId, Plan, Priority, RulePlan,
};
use gateway_wire::unhex;
use serde::Deserialize;
use sqlx::SqliteConnection;

use crate::alerts::{priority_code, waits};
use crate::app::App;
use crate::auth::Viewer;
use crate::civil::ClockTable;
use crate::error::ApiError;
use crate::orders::{self, Asked, gateway_of};
use crate::project::Changes;
use crate::store::alerts::StoredAlert;
use crate::store::{
    AlertRow, CaseDetail, CaseRow, Words, alerts as alert_rows, audit, cases as rows, count_up,
};

pub use crate::case_view::detail;

/// How long an order waits for its gateway, ms of civil time.
const ORDER_LIFE_MS: i64 = 24 * 3_600_000;
/// Window where the rule is gone from the gateway's plan: data will be insufficient, and a person looks.
const WINDOW_DEFAULT_MS: i64 = 600_000;

/// A command as it comes in through the API or a form.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CommandRequest {
    /// Code of a [`CommandKind`].
    pub command: String,
    /// Number of the last event the author saw.
    pub seen: u32,
    /// For `dispatch`.
    pub recipient: Option<String>,
    /// For `dispatch`: civil time, ms.
    pub deadline: Option<i64>,
    /// For `dispatch`.
    pub requirement: Option<String>,
    /// For `submit`, `note`.
    pub text: Option<String>,
    /// For `submit`: SHA-256 of uploads, hex.
    pub attachments: Option<Vec<String>>,
    /// For `review`: `approve` or `reject`.
    pub decision: Option<String>,
    /// For `review`, `close`, `recall`.
    pub reason: Option<String>,
    /// For `close`.
    pub disposition: Option<String>,
}

/// K1: opens a case for an alert, or joins the open one. Answers with its number.
pub async fn raise(
    tx: &mut SqliteConnection,
    app: &App,
    alert: &StoredAlert,
    rule: &RulePlan,
    priority: Priority,
    changes: &mut Changes,
) -> anyhow::Result<i64> {
    let gateway = gateway_of(&alert.row.gateway)?;
    let key = Key::of(InstitutionId(alert.row.institution.clone()), gateway, &alert.row.device, rule);
    let open = rows::find_open(tx, &key).await?;
    let case = match open {
        Some(id) => rows::load(tx, id).await?,
        None => None,
    };
    let recurrence_of = if case.is_none() { rows::find_closed(tx, &key).await? } else { None };
    let id = match open {
        Some(id) if case.is_some() => id,
        Some(_) | None => count_up(tx, "cases").await?,
    };
    let command = Command {
        actor: Actor::Gateway(gateway),
        seen: case.as_ref().map_or(0, |case| case.event),
        body: CommandBody::Raise {
            key,
            alert: alert.alert,
            priority,
            recurrence_of: recurrence_of.map(|id| id as u64),
        },
    };
    match decide(case.as_ref(), &command, app.clock.civil()) {
        Ok(events) => store(tx, id, case, &events, Some(&alert.row), changes).await?,
        Err(refusal) => {
            tracing::error!(case = id, alert = alert.row.id, code = refusal.code(), "an alert found no case");
        }
    }
    Ok(id)
}

/// An alert of a case may have become more urgent: then the case has, too. A case that is closed stays as it is.
pub async fn worsen(
    tx: &mut SqliteConnection,
    app: &App,
    alert: &StoredAlert,
    priority: Priority,
    changes: &mut Changes,
) -> anyhow::Result<()> {
    let Some(id) = alert.row.case else { return Ok(()) };
    let Some(case) = rows::load(tx, id).await?.filter(|case| priority < case.priority) else { return Ok(()) };
    let body =
        CommandBody::Raise { key: case.key.clone(), alert: alert.alert, priority, recurrence_of: None };
    let actor = Actor::Gateway(gateway_of(&alert.row.gateway)?);
    let command = Command { actor, seen: case.event, body };
    // Refused by a case that is closed.
    if let Ok(events) = decide(Some(&case), &command, app.clock.civil()) {
        store(tx, id, Some(case), &events, None, changes).await?;
    }
    Ok(())
}

/// K18: an alert of a case is over.
pub async fn clear(
    tx: &mut SqliteConnection,
    app: &App,
    alert: &StoredAlert,
    changes: &mut Changes,
) -> anyhow::Result<()> {
    let Some(id) = alert.row.case else { return Ok(()) };
    let Some(case) = rows::load(tx, id).await? else { return Ok(()) };
    let actor = Actor::Gateway(gateway_of(&alert.row.gateway)?);
    let command = Command { actor, seen: case.event, body: CommandBody::Clear { alert: alert.alert } };
    // Refused where it is known already: told again, nothing new.
    if let Ok(events) = decide(Some(&case), &command, app.clock.civil()) {
        store(tx, id, Some(case), &events, None, changes).await?;
    }
    Ok(())
}

/// K10–K12: a verdict from data. Answers false where the case has moved on meanwhile.
pub async fn judge(app: &App, id: i64, verdict: Verdict, next: Window) -> anyhow::Result<bool> {
    let mut changes = Changes::default();
    let mut tx = app.store.write().await?;
    let Some(case) = rows::load(&mut tx, id).await? else { return Ok(false) };
    let command =
        Command { actor: Actor::Center, seen: case.event, body: CommandBody::Judge { verdict, next } };
    match decide(Some(&case), &command, app.clock.civil()) {
        Ok(events) => store(&mut tx, id, Some(case), &events, None, &mut changes).await?,
        Err(refusal) => {
            tracing::debug!(case = id, code = refusal.code(), "a verdict came too late");
            return Ok(false);
        }
    }
    tx.commit().await?;
    changes.publish(app).await;
    Ok(true)
}

async fn store(
    tx: &mut SqliteConnection,
    id: i64,
    case: Option<Case>,
    events: &[CaseEvent],
    alert: Option<&AlertRow>,
    changes: &mut Changes,
) -> anyhow::Result<()> {
    let mut case = case;
    for event in events {
        match &mut case {
            Some(case) => case.apply(event),
            None => case = Case::open(event),
        }
    }
    let (Some(case), Some(last)) = (case, events.last()) else { return Ok(()) };
    let held = rows::stored_row(tx, id).await?;
    let row = row(id, held.as_ref(), &case, last.at, alert);
    rows::append(tx, &row, priority_number(case.priority), events).await?;
    changes.cases.insert(id);
    Ok(())
}

fn priority_number(priority: Priority) -> u8 {
    match priority {
        Priority::Red => 1,
        Priority::Orange => 2,
        Priority::Yellow => 3,
        Priority::Blue => 4,
    }
}

/// The row that follows from a case. What was said when it was opened stays; at the opening it is the alert's.
fn row(id: i64, held: Option<&CaseRow>, case: &Case, at: CivilTime, alert: Option<&AlertRow>) -> CaseRow {
    let texts = |pick: fn(&CaseRow) -> &Words, other: fn(&AlertRow) -> &Words| {
        held.map(pick).or_else(|| alert.map(other)).cloned().unwrap_or_default()
    };
    let site = held.map(|row| &row.site).or_else(|| alert.map(|alert| &alert.site));
    let simulated = held.map(|row| row.simulated).or_else(|| alert.map(|alert| alert.simulated));
    CaseRow {
        id,
        state: case.state.code().to_owned(),
        event: case.event,
        institution: case.key.institution.0.clone(),
        institution_name: Words::default(),
        gateway: case.key.gateway.to_string(),
        site: site.cloned().unwrap_or_default(),
        rule: case.key.rule.clone(),
        device: case.key.device.clone(),
        device_name: texts(|row| &row.device_name, |alert| &alert.device_name),
        title: texts(|row| &row.title, |alert| &alert.title),
        sentence: texts(|row| &row.sentence, |alert| &alert.sentence),
        action: texts(|row| &row.action, |alert| &alert.action),
        norm: texts(|row| &row.norm, |alert| &alert.norm),
        priority: priority_code(case.priority).to_owned(),
        opened_at: held.map_or(at.0, |row| row.opened_at),
        updated_at: at.0,
        alert_count: case.alerts.len() as i64,
        self_cleared: case.self_cleared(),
        extensions: case.attempt.extensions,
        attempt: case.attempt.n,
        verdict: case.verdict.map(|verdict| verdict.code().to_owned()),
        acknowledged_by: case.acknowledged_by.clone(),
        dispatched_by: case.dispatched_by.clone(),
        recipient: case.recipient.clone(),
        deadline: case.deadline.map(|at| at.0),
        requirement: case.requirement.clone(),
        disposition: case.disposition.map(|disposition| disposition.code().to_owned()),
        recurrence_of: case.recurrence_of.map(|id| id as i64),
        simulated: simulated.unwrap_or_default(),
    }
}

/// A person's command.
pub async fn command(
    app: &App,
    viewer: &Viewer,
    id: i64,
    request: CommandRequest,
) -> Result<CaseDetail, ApiError> {
    // What lies outside the asker's institution does not exist for them.
    let row = app.store.case_row(&viewer.scope(), id).await?.ok_or(ApiError::NotFound)?;
    let seen = request.seen;
    let body = body(app, viewer, &row, request).await?;
    let kind = body.kind();
    let mut changes = Changes::default();
    let mut tx = app.store.write().await?;
    let case = rows::load(&mut tx, id).await?.ok_or(ApiError::NotFound)?;
    let now = app.clock.civil();
    let events = decide(Some(&case), &Command { actor: viewer.actor(), seen, body }, now)?;
    store(&mut tx, id, Some(case), &events, None, &mut changes).await?;
    if kind == CommandKind::Acknowledge {
        order_acknowledgements(&mut tx, app, viewer, id, now).await?;
    }
    audit::note(&mut tx, now.0, &viewer.user.id, kind.code(), &format!("case {id}")).await?;
    tx.commit().await?;
    if kind == CommandKind::Acknowledge {
        app.ordered.notify_waiters();
    }
    changes.publish(app).await;
    app.arrived.notify_waiters();
    detail(app, viewer, id).await
}

async fn body(
    app: &App,
    viewer: &Viewer,
    row: &CaseRow,
    request: CommandRequest,
) -> Result<CommandBody, ApiError> {
    let unknown = || ApiError::invalid("command", "无法识别的操作。", "There is no such command.");
    let kind = CommandKind::parse(&request.command).ok_or_else(unknown)?;
    let reason = request.reason.unwrap_or_default();
    Ok(match kind {
        CommandKind::Acknowledge => CommandBody::Acknowledge,
        CommandKind::Dispatch => CommandBody::Dispatch {
            recipient: request.recipient.unwrap_or_default(),
            deadline: CivilTime(request.deadline.ok_or_else(|| {
                ApiError::invalid("deadline_required", "请填写整改期限。", "Give a deadline.")
            })?),
            requirement: request.requirement.unwrap_or_default(),
        },
        CommandKind::Accept => CommandBody::Accept,
        CommandKind::Submit => {
            let (attachments, uploaded) =
                attachments(app, viewer, request.attachments.unwrap_or_default()).await?;
            let window = window(app, row).await?;
            CommandBody::Submit { text: request.text.unwrap_or_default(), attachments, uploaded, window }
        }
        CommandKind::Review => {
            let decision = match request.decision.as_deref() {
                Some("approve") => Decision::Approve,
                Some("reject") => Decision::Reject,
                Some(_) | None => {
                    return Err(ApiError::invalid(
                        "decision",
                        "请选择通过或退回。",
                        "Say approve or reject.",
                    ));
                }
            };
            CommandBody::Review { decision, reason }
        }
        CommandKind::Close => {
            let disposition =
                request.disposition.as_deref().and_then(Disposition::parse).ok_or_else(|| {
                    ApiError::invalid(
                        "disposition",
                        "请选择办结意见。",
                        "Say false_alarm or test_or_maintenance.",
                    )
                })?;
            CommandBody::Close { disposition, reason }
        }
        CommandKind::Note => CommandBody::Note { text: request.text.unwrap_or_default() },
        CommandKind::Recall => CommandBody::Recall { reason },
        CommandKind::Reverify => CommandBody::Reverify { window: window(app, row).await? },
        CommandKind::Merge => CommandBody::Merge,
        CommandKind::Object => CommandBody::Object,
        CommandKind::DecideObjection => CommandBody::DecideObjection,
        CommandKind::Transfer => CommandBody::Transfer,
        CommandKind::Extend => CommandBody::Extend,
        CommandKind::Withdraw => CommandBody::Withdraw,
        CommandKind::OnSiteResult => CommandBody::OnSiteResult,
        // Those of machines: no door for people leads there.
        CommandKind::Raise | CommandKind::Clear | CommandKind::Judge => return Err(unknown()),
    })
}

type Attachments = (Vec<minicbor::bytes::ByteArray<32>>, bool);

async fn attachments(app: &App, viewer: &Viewer, named: Vec<String>) -> Result<Attachments, ApiError> {
    let mut hashes = Vec::new();
    let mut uploaded = true;
    // One more than allowed is enough for the casebook to refuse.
    for name in named.into_iter().take(center_casebook::ATTACHMENTS_MAX + 1) {
        let hash = unhex::<32>(&name).ok_or_else(|| {
            ApiError::invalid(
                "attachment",
                "附件编号不正确。",
                "An attachment is named by its SHA-256 in hex.",
            )
        })?;
        uploaded &= app.store.attachment(&viewer.scope(), &name.to_ascii_lowercase()).await?.is_some();
        hashes.push(hash.into());
    }
    Ok((hashes, uploaded))
}

/// The rule of a case in a plan.
pub fn rule_of<'p>(
    plan: &'p Plan,
    rule: &str,
    device: &str,
) -> Option<(gateway_model::RuleIx, &'p RulePlan)> {
    let of_device =
        |found: &RulePlan| plan.devices.get(found.subject.slot()).is_some_and(|subject| subject.id == device);
    let index = plan.rules.iter().position(|found| found.id == rule && of_device(found))?;
    Some((gateway_model::RuleIx::of(index), &plan.rules[index]))
}

/// A window of the rule's length that begins now, in the gateway's engine time.
async fn window(app: &App, row: &CaseRow) -> Result<Window, ApiError> {
    let from = engine_now(app, &row.gateway).await?;
    let length = match app.store.config_at(&row.gateway, i64::MAX).await? {
        Some(config) => {
            let enrolled = app.store.enrolled(&row.gateway).await?.ok_or(ApiError::NotFound)?;
            let plan = app.plans.of(&app.store, &config, &enrolled.ring).await?;
            rule_of(&plan, &row.rule, &row.device).map(|(_, rule)| rule.verify.window_ms)
        }
        None => None,
    };
    Ok(Window { from, to: from.plus(length.filter(|length| *length > 0).unwrap_or(WINDOW_DEFAULT_MS)) })
}

/// Engine time of the gateway now, as far as can be told from here: by its last word on civil time, and never
/// before its newest record.
pub async fn engine_now(app: &App, gateway: &str) -> sqlx::Result<EngineTime> {
    let clocks = ClockTable::new(app.store.clocks(gateway).await?);
    let newest = EngineTime(app.store.newest(gateway).await?.unwrap_or(0));
    Ok(clocks.engine(app.clock.civil()).map_or(newest, |at| at.max(newest)))
}

/// T8 follows K3: each alert of the case that nobody has received yet is acknowledged at its gateway.
async fn order_acknowledgements(
    tx: &mut SqliteConnection,
    app: &App,
    viewer: &Viewer,
    case: i64,
    now: CivilTime,
) -> anyhow::Result<()> {
    for alert in alert_rows::of_case(tx, case).await? {
        if alert.row.source != "gateway" || !waits(&alert.row) {
            continue;
        }
        let asked = Asked {
            gateway: gateway_of(&alert.row.gateway)?,
            issued: now,
            life_ms: ORDER_LIFE_MS,
            author: &viewer.user.id,
            body: OrderBody::Acknowledge { alert: alert.alert, event: alert.row.event },
            alert: Some(alert.alert),
        };
        orders::give(tx, &app.key, app.order_epoch(), asked).await?;
    }
    Ok(())
}
