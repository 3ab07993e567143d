//! What units ask for and declare: the forms for it, the lists of it, and what the center's people answer.

use axum::Form;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use center_casebook::Role;
use serde::Deserialize;

use super::asker::{Asker, Stop, own_path};
use super::format::ago;
use super::texts::{Texts, fill};
use super::view::Ctx;
use crate::app::{App, AppState};
use crate::error::ApiError;
use crate::requests;
use crate::store::{AlertRow, RequestRow};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// How long reminders may be asked to pause; what a rule does not allow is not offered.
const SPANS_MS: [i64; 6] = [HOUR_MS, 4 * HOUR_MS, 8 * HOUR_MS, DAY_MS, 3 * DAY_MS, 7 * DAY_MS];

/// The form for a pause, or what became of the last one.
#[derive(Debug, Default)]
pub(crate) struct PauseForm {
    /// [`AlertRow::n`].
    pub(crate) alert: i64,
    /// Ms, and in words; empty = nothing to be asked for.
    pub(crate) spans: Vec<(i64, String)>,
    /// Where the last request stands.
    pub(crate) said: Option<String>,
}

/// For an alert whose reminders may pause for `max_ms`; `None` = they cannot.
pub(crate) fn pause_form(
    alert: &AlertRow,
    max_ms: Option<i64>,
    requests: &[RequestRow],
    ctx: Ctx,
) -> PauseForm {
    let t = ctx.texts();
    let last = requests.iter().find(|request| request.alert == Some(alert.n));
    let waits = last.is_some_and(|request| request.state == "asked");
    let paused = alert.shown == "shelved";
    let offered = alert.state == "open" && !waits && !paused;
    let spans = SPANS_MS
        .into_iter()
        .filter(|span| offered && max_ms.is_some_and(|max| *span <= max))
        .map(|span| (span, span_name(span, t)))
        .collect();
    let said = if alert.state != "open" {
        None
    } else if paused && last.is_none() {
        Some(t.shown_shelved.clone())
    } else {
        last.filter(|request| paused || !is_spent(request, ctx.now)).map(|request| said(request, paused, ctx))
    };
    PauseForm { alert: alert.n, spans, said }
}

/// When a pause that was granted ends at the latest.
fn until(request: &RequestRow) -> Option<i64> {
    let from = request.answered_at.filter(|_| request.state == "granted")?;
    Some(from.saturating_add(request.for_ms?))
}

/// It was granted, and its time is over: it says nothing of the alert as it stands now.
fn is_spent(request: &RequestRow, now: i64) -> bool {
    until(request).is_some_and(|until| until <= now)
}

/// What was asked and where it stands; of a pause that is in force, also when it ends.
fn said(request: &RequestRow, paused: bool, ctx: Ctx) -> String {
    let t = ctx.texts();
    let span = span_name(request.for_ms.unwrap_or_default(), t);
    let stands = fill(&t.pause_said, &[("span", &span), ("standing", &standing(request, ctx))]);
    match until(request).filter(|_| paused) {
        Some(until) => fill(&t.pause_until, &[("said", &stands), ("until", &ctx.moment(until).short)]),
        None => stands,
    }
}

/// How long the reminders of this alert may pause; a plan that cannot be read offers nothing, and is logged.
pub(super) async fn pause_max(app: &App, alert: &AlertRow) -> Option<i64> {
    requests::pause_max_ms(app, alert).await.unwrap_or_else(|error| {
        tracing::error!(error = format!("{error:#}"), alert = alert.id, "plan of an alert's rule");
        None
    })
}

/// One request in a list.
#[derive(Debug)]
pub(crate) struct RequestCard {
    pub(crate) id: i64,
    pub(crate) unit: String,
    pub(crate) what: String,
    pub(crate) about: String,
    pub(crate) reason: String,
    pub(crate) asked: String,
    pub(crate) standing: String,
    pub(crate) state: String,
    /// It waits, and the asker may answer.
    pub(crate) open: bool,
}

/// Those that wait first, oldest first; then the newest.
pub(crate) fn cards(requests: &[RequestRow], answers: bool, ctx: Ctx) -> Vec<RequestCard> {
    let (waiting, others): (Vec<_>, Vec<_>) =
        requests.iter().partition::<Vec<&RequestRow>, _>(|request| request.state == "asked");
    waiting.into_iter().rev().chain(others).map(|request| card(request, answers, ctx)).collect()
}

fn card(request: &RequestRow, answers: bool, ctx: Ctx) -> RequestCard {
    let t = ctx.texts();
    let what = match (request.for_ms, request.from.zip(request.to)) {
        (Some(span), _) if is_own(request) => fill(&t.request_paused, &[("span", &span_name(span, t))]),
        (Some(span), _) => fill(&t.request_pause, &[("span", &span_name(span, t))]),
        (None, Some((from, to))) => {
            // The last day, not the midnight that ends it.
            let (first, last) = (ctx.zone.day(from, ctx.lang), ctx.zone.day(to - 1, ctx.lang));
            fill(&t.request_closure, &[("from", &first), ("to", &last)])
        }
        (None, None) => request.kind.clone(),
    };
    let names = [ctx.words(&request.device_name), ctx.words(&request.alert_title)];
    let about: Vec<String> = names.into_iter().filter(|name| !name.is_empty()).collect();
    RequestCard {
        id: request.id,
        unit: ctx.words(&request.institution_name),
        what,
        about: about.join(" · "),
        reason: request.reason.clone(),
        asked: ago(request.asked_at, ctx.now, ctx.lang),
        standing: standing(request, ctx),
        state: request.state.clone(),
        open: answers && request.state == "asked",
    }
}

/// The center's people did it at once: nobody asked, nobody granted.
fn is_own(request: &RequestRow) -> bool {
    request.answered_by.as_ref() == Some(&request.asked_by)
}

/// Where it stands, in words.
fn standing(request: &RequestRow, ctx: Ctx) -> String {
    let t = ctx.texts();
    let answer = request.answer.as_deref().unwrap_or_default();
    let stands = match (request.state.as_str(), request.outcome.as_deref()) {
        ("asked", _) => t.request_asked.clone(),
        ("refused", _) => fill(&t.request_refused, &[("answer", answer)]),
        ("declared", None) => t.request_declared.clone(),
        ("declared", Some("done")) => t.request_declared_done.clone(),
        (_, None) if is_own(request) => t.request_ordered.clone(),
        (_, Some("done")) if is_own(request) => t.request_ordered_done.clone(),
        (_, None) => t.request_granted.clone(),
        (_, Some("done")) => t.request_granted_done.clone(),
        (_, Some(_)) => t.request_failed.clone(),
    };
    // What was said to a consent, too: a refusal has its reason in its place.
    if request.state == "granted" && !answer.is_empty() {
        return fill(&t.request_said, &[("standing", &stands), ("answer", answer)]);
    }
    stands
}

fn span_name(ms: i64, t: &Texts) -> String {
    let (n, unit) = if ms % DAY_MS == 0 { (ms / DAY_MS, &t.unit_day) } else { (ms / HOUR_MS, &t.unit_hour) };
    fill(&t.request_span, &[("n", &n.to_string()), ("unit", unit)])
}

/// What these forms bring; each takes its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RequestForm {
    csrf: String,
    back: String,
    reason: String,
    for_ms: i64,
    from: String,
    to: String,
}

/// `POST /alerts/{n}/pause`: a unit asks, the center's people do it at once.
pub(super) async fn pause(
    State(app): State<AppState>,
    asker: Asker,
    Path(n): Path<i64>,
    Form(form): Form<RequestForm>,
) -> Result<Response, Stop> {
    let viewer = asker.known()?;
    let home = if viewer.user.role == Role::Institution { "/unit" } else { "/" };
    let back = if form.back.is_empty() { home.to_owned() } else { own_path(&form.back) };
    viewer.check_csrf(&form.csrf).map_err(|error| asker.stop(error, &back))?;
    requests::pause(&app, viewer, n, form.for_ms, &form.reason)
        .await
        .map_err(|error| asker.stop(error, &back))?;
    Ok(Redirect::to(&back).into_response())
}

/// `POST /requests/{id}/{answer}`: `grant` or `refuse`.
pub(super) async fn answer(
    State(app): State<AppState>,
    asker: Asker,
    Path((id, answer)): Path<(i64, String)>,
    Form(form): Form<RequestForm>,
) -> Result<Response, Stop> {
    let viewer = asker.of_center()?;
    viewer.check_csrf(&form.csrf).map_err(|error| asker.stop(error, "/"))?;
    let grant = match answer.as_str() {
        "grant" => true,
        "refuse" => false,
        _ => return Err(asker.stop(ApiError::NotFound, "/")),
    };
    requests::answer(&app, viewer, id, grant, &form.reason).await.map_err(|error| asker.stop(error, "/"))?;
    Ok(Redirect::to("/").into_response())
}

/// `POST /unit/closures`: whole days, both included.
pub(super) async fn declare_closure(
    State(app): State<AppState>,
    asker: Asker,
    Form(form): Form<RequestForm>,
) -> Result<Response, Stop> {
    let viewer = asker.of_unit()?;
    viewer.check_csrf(&form.csrf).map_err(|error| asker.stop(error, "/unit"))?;
    let day = |text: &str| asker.ctx.zone.parse_field(&format!("{}T00:00", text.trim()));
    let Some((from, last)) = day(&form.from).zip(day(&form.to)) else {
        let error = ApiError::invalid("day", "请填写开始和结束日期。", "Give the first and the last day.");
        return Err(asker.stop(error, "/unit"));
    };
    requests::declare_closure(&app, viewer, (from, last.saturating_add(DAY_MS)), &form.reason)
        .await
        .map_err(|error| asker.stop(error, "/unit"))?;
    Ok(Redirect::to("/unit").into_response())
}
