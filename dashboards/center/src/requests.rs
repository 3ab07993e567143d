//! What a unit asks of the center, and what it declares: to pause the reminders of an alert for a time, and days on which it
//! is closed.
//!
//! | act | who | what follows |
//! |---|---|---|
//! | ask for a pause | the unit, of an alert of its own that is not over | it waits for an answer |
//! | pause at once | duty officer, reviewer, administrator | the order to the gateway |
//! | grant, refuse | the same; never the unit | the order to the gateway, or the reason |
//! | declare a closure | the unit, of its own gateways | the order to each of them |
//!
//! Promises: a pause ends by itself, at the latest when its rule says so, and as soon as the condition returns to normal; who
//! asked and who granted is in the audit log, and in the gateway's signed record once it carried the order out (T14–T16). A
//! closure puts absence and duty rules to sleep and makes "used while closed" an alert; it is never a permission for anything.
//! Leaves out: taking a declared closure back (the center's people order another configuration), and devices out of service,
//! which are taken out on site under a permit.

use gateway_model::{AlertId, CivilTime, CommandBody, Plan};

use crate::app::App;
use crate::auth::Viewer;
use crate::cases;
use crate::error::ApiError;
use crate::orders::{self, Asked, ORDER_LIFE_MS, gateway_of};
use crate::project::Changes;
use crate::store::requests::{self as rows, NewRequest};
use crate::store::{AlertRow, alerts as alert_rows, audit, count_up};

/// Characters of a reason, at most.
pub const REASON_MAX: usize = 300;
/// A closure that is longer is an institution that has shut down: that is told to the center, not to the gateway, ms.
pub const CLOSURE_MAX_MS: i64 = 92 * 86_400_000;
/// A closure may be declared when it has begun already, but not after the fact, ms.
const CLOSURE_LATE_MS: i64 = 86_400_000;

/// What the form or the program says: it must be there, and short.
pub(crate) fn reason_of(text: &str) -> Result<&str, ApiError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(ApiError::invalid("reason_required", "请填写原因。", "Give a reason."));
    }
    short(text)
}

/// As a gateway's record and a page can hold it.
fn short(text: &str) -> Result<&str, ApiError> {
    if text.chars().count() > REASON_MAX {
        return Err(ApiError::invalid("too_long", "请不要超过300个字。", "Keep it to 300 characters."));
    }
    Ok(text)
}

/// How long the reminders of an alert may pause at most, ms; `None` = they cannot be.
pub async fn pause_max_ms(app: &App, alert: &AlertRow) -> anyhow::Result<Option<i64>> {
    let plan = app.plans.newest(&app.store, &alert.gateway).await?;
    Ok(plan.and_then(|plan| pause_max_in(&plan, alert)))
}

/// The same, by a plan that is at hand.
pub fn pause_max_in(plan: &Plan, alert: &AlertRow) -> Option<i64> {
    let of_gateway = alert.source == "gateway";
    let (_, rule) = cases::rule_of(plan, &alert.rule, &alert.device).filter(|_| of_gateway)?;
    rule.handling.as_ref().map(|handling| handling.pause_max_ms).filter(|max| *max > 0)
}

/// Asks for a pause of an alert's reminders; who may grant it grants it by asking. The number of the request.
pub async fn pause(app: &App, viewer: &Viewer, n: i64, for_ms: i64, reason: &str) -> Result<i64, ApiError> {
    let reason = reason_of(reason)?;
    let unit = viewer.user.role == center_casebook::Role::Institution;
    if !unit && !viewer.user.role.is_on_duty() {
        return Err(ApiError::Forbidden);
    }
    let alert = app.store.alert(n).await?.filter(|alert| viewer.scope().sees(&alert.institution));
    let alert = alert.ok_or(ApiError::NotFound)?;
    let max = pause_max_ms(app, &alert).await?.ok_or_else(|| {
        ApiError::invalid(
            "not_possible",
            "该预警的提醒不能暂停。",
            "Reminders of this alert cannot be paused.",
        )
    })?;
    if for_ms <= 0 || for_ms > max {
        let hours = max / 3_600_000;
        return Err(ApiError::Invalid(
            "out_of_range",
            crate::error::words(
                &format!("该预警的提醒最多可暂停{hours}小时。"),
                &format!("Reminders of this alert can be paused for {hours} h at most."),
            ),
        ));
    }
    let now = app.clock.civil();
    let mut tx = app.store.write().await?;
    let held = alert_rows::by_number(&mut tx, n).await?.ok_or(ApiError::NotFound)?;
    if held.row.state != "open" {
        return Err(ApiError::Conflict(
            "over",
            crate::error::words("该预警已经恢复。", "This alert is over."),
        ));
    }
    if rows::is_asked(&mut tx, n).await? {
        return Err(ApiError::Conflict(
            "asked_already",
            crate::error::words(
                "已经申请过，请等待监管中心答复。",
                "A pause of it waits for an answer already.",
            ),
        ));
    }
    let order = if unit {
        None
    } else {
        let asked = Pause { alert: held.alert, event: held.row.event, for_ms, reason };
        Some(asked.order(&mut tx, app, viewer, &held.row.gateway, now).await?)
    };
    let id = count_up(&mut tx, "requests").await?;
    let request = NewRequest {
        institution: &held.row.institution,
        gateway: &held.row.gateway,
        kind: "pause",
        alert: Some(n),
        for_ms: Some(for_ms),
        span: None,
        reason,
        by: &viewer.user.id,
        at: now.0,
        state: if unit { "asked" } else { "granted" },
        order,
    };
    rows::add(&mut tx, id, &request).await?;
    let act = if unit { "ask_pause" } else { "pause" };
    audit::note(&mut tx, now.0, &viewer.user.id, act, &format!("alert {n}, request {id}")).await?;
    tx.commit().await?;
    told(app, Some(n)).await;
    Ok(id)
}

/// Grants or refuses a pause that was asked for.
pub async fn answer(app: &App, viewer: &Viewer, id: i64, grant: bool, words: &str) -> Result<(), ApiError> {
    if !viewer.user.role.is_on_duty() {
        return Err(ApiError::Forbidden);
    }
    let words = if grant { short(words.trim())? } else { reason_of(words)? };
    let request = app.store.request(&viewer.scope(), id).await?.ok_or(ApiError::NotFound)?;
    let (Some(n), Some(for_ms)) = (request.alert, request.for_ms) else { return Err(ApiError::NotFound) };
    let now = app.clock.civil();
    let mut tx = app.store.write().await?;
    let held = alert_rows::by_number(&mut tx, n).await?.ok_or(ApiError::NotFound)?;
    if grant && held.row.state != "open" {
        return Err(ApiError::Conflict(
            "over",
            crate::error::words(
                "该预警已经恢复，不用再暂停。",
                "This alert is over; nothing needs to be paused.",
            ),
        ));
    }
    let order = if grant {
        let asked = Pause { alert: held.alert, event: held.row.event, for_ms, reason: &request.reason };
        Some(asked.order(&mut tx, app, viewer, &request.gateway, now).await?)
    } else {
        None
    };
    let state = if grant { "granted" } else { "refused" };
    if !rows::answer(&mut tx, id, state, (&viewer.user.id, now.0), words, order).await? {
        return Err(ApiError::Conflict(
            "answered_already",
            crate::error::words("该申请已经答复。", "This request has been answered."),
        ));
    }
    let act = if grant { "grant_pause" } else { "refuse_pause" };
    audit::note(&mut tx, now.0, &viewer.user.id, act, &format!("alert {n}, request {id}")).await?;
    tx.commit().await?;
    told(app, Some(n)).await;
    Ok(())
}

/// Declares that the unit is closed in a span of civil time (停业、停诊报备): an order to each of its gateways. The numbers
/// of the requests, one per gateway.
pub async fn declare_closure(
    app: &App,
    viewer: &Viewer,
    (from, to): (i64, i64),
    reason: &str,
) -> Result<Vec<i64>, ApiError> {
    let reason = reason_of(reason)?;
    let institution = viewer.user.institution.as_deref().ok_or(ApiError::Forbidden)?;
    if viewer.user.role != center_casebook::Role::Institution {
        return Err(ApiError::Forbidden);
    }
    let now = app.clock.civil();
    if to <= from || to <= now.0 || from < now.0.saturating_sub(CLOSURE_LATE_MS) {
        return Err(ApiError::invalid(
            "out_of_range",
            "请填写还没有结束的停业日期，最早从昨天开始。",
            "Give days that are not over yet, from yesterday on at the earliest.",
        ));
    }
    if to.saturating_sub(from) > CLOSURE_MAX_MS {
        return Err(ApiError::invalid(
            "too_long",
            "一次报备最多92天；更长时间停业请联系监管中心。",
            "At most 92 days at once; tell the center if you close for longer.",
        ));
    }
    let gateways = app.store.gateways(&viewer.scope(), app.clock.real()).await?;
    if gateways.is_empty() {
        return Err(ApiError::Conflict(
            "no_gateway",
            crate::error::words(
                "还没有网关，不用报备。",
                "There is no gateway yet: nothing needs to be declared.",
            ),
        ));
    }
    let mut tx = app.store.write().await?;
    let mut ids = Vec::with_capacity(gateways.len());
    for gateway in &gateways {
        let asked = Asked {
            gateway: gateway_of(&gateway.id)?,
            issued: now,
            // What has begun meanwhile still counts; what is over does not.
            life_ms: to.saturating_sub(now.0),
            author: &viewer.user.id,
            body: CommandBody::DeclareClosure {
                from: CivilTime(from),
                to: CivilTime(to),
                reason: reason.to_owned(),
            },
            alert: None,
        };
        let order = orders::give(&mut tx, &app.key, app.order_epoch(), asked).await?;
        let id = count_up(&mut tx, "requests").await?;
        let request = NewRequest {
            institution,
            gateway: &gateway.id,
            kind: "closure",
            alert: None,
            for_ms: None,
            span: Some((from, to)),
            reason,
            by: &viewer.user.id,
            at: now.0,
            state: "declared",
            order: Some(order),
        };
        rows::add(&mut tx, id, &request).await?;
        audit::note(
            &mut tx,
            now.0,
            &viewer.user.id,
            "declare_closure",
            &format!("{}, request {id}", gateway.id),
        )
        .await?;
        ids.push(id);
    }
    tx.commit().await?;
    told(app, None).await;
    Ok(ids)
}

/// What the gateway is asked for.
struct Pause<'a> {
    alert: AlertId,
    event: u32,
    for_ms: i64,
    reason: &'a str,
}

impl Pause<'_> {
    /// T15: it ends as soon as the condition returns to normal, and at the latest after its time.
    async fn order(
        &self,
        tx: &mut sqlx::SqliteConnection,
        app: &App,
        viewer: &Viewer,
        gateway: &str,
        now: CivilTime,
    ) -> sqlx::Result<(i64, i64)> {
        let asked = Asked {
            gateway: gateway_of(gateway)?,
            issued: now,
            life_ms: self.for_ms.min(ORDER_LIFE_MS),
            author: &viewer.user.id,
            body: CommandBody::Pause {
                alert: self.alert,
                event: self.event,
                for_ms: self.for_ms,
                once: true,
                reason: self.reason.to_owned(),
            },
            alert: Some(self.alert),
        };
        orders::give(tx, &app.key, app.order_epoch(), asked).await
    }
}

/// Open pages and gateways that wait for orders.
async fn told(app: &App, alert: Option<i64>) {
    app.ordered.notify_waiters();
    let mut changes = Changes::default();
    changes.alerts.extend(alert);
    changes.publish(app).await;
}
