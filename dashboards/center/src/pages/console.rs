//! The center's pages: what they ask the store for, and what their forms do.

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::alerts::AlertsPage;
use super::asker::{Asker, Stop, own_path, page};
use super::case::{CasePage, Typed, main_alert};
use super::curve::{self, Curve};
use super::gateways::GatewaysPage;
use super::requests::{PauseForm, pause_form, pause_max};
use super::tasks::TasksPage;
use super::view::Ctx;
use crate::app::{App, AppState};
use crate::auth::Viewer;
use crate::cases::{self, CommandRequest};
use crate::error::ApiError;
use crate::readings;
use crate::store::alerts::AlertFilter;
use crate::store::cases::CaseFilter;
use crate::store::{AlertRow, CaseDetail, Scope};

/// Width of the chart on a case page, in the drawing's own units.
const CHART_WIDTH: u32 = 960;

/// What any form of a page may bring; each act takes its own.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(super) struct ActForm {
    pub(super) csrf: String,
    pub(super) seen: u32,
    pub(super) back: String,
    pub(super) recipient: Option<String>,
    pub(super) deadline: Option<String>,
    pub(super) requirement: Option<String>,
    pub(super) decision: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) disposition: Option<String>,
    pub(super) text: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    step: Option<String>,
    state: Option<String>,
}

/// `GET /`.
pub(super) async fn tasks(
    State(app): State<AppState>,
    asker: Asker,
    Query(filter): Query<Filter>,
) -> Result<Response, Stop> {
    let viewer = asker.of_center()?;
    let scope = viewer.scope();
    let failed = |error: sqlx::Error| asker.stop(error, "/");
    let cases = app.store.case_list(&scope, CaseFilter::Active).await.map_err(failed)?;
    let gateways = app.store.gateways(&scope, app.clock.real()).await.map_err(failed)?;
    let requests = app.store.requests(&scope, app.clock.civil().0).await.map_err(failed)?;
    let requests = (requests.as_slice(), viewer.user.role.is_on_duty());
    let step = filter.step.as_deref().filter(|step| !step.is_empty());
    Ok(page(StatusCode::OK, &TasksPage::new(asker.shell("tasks"), &cases, &gateways, requests, step)))
}

/// `GET /alerts`.
pub(super) async fn alerts(
    State(app): State<AppState>,
    asker: Asker,
    Query(filter): Query<Filter>,
) -> Result<Response, Stop> {
    let viewer = asker.of_center()?;
    let scope = viewer.scope();
    let all = filter.state.as_deref() == Some("all");
    let failed = |error: sqlx::Error| asker.stop(error, "/");
    let alerts =
        app.store.alert_list(&scope, AlertFilter { open_only: !all, after: None }).await.map_err(failed)?;
    // An alert may outlive its case: a false alarm is closed while the condition still holds.
    let cases = app.store.case_list(&scope, CaseFilter::All).await.map_err(failed)?;
    let receives = viewer.user.role.is_on_duty();
    Ok(page(StatusCode::OK, &AlertsPage::new(asker.shell("alerts"), &alerts, &cases, all, receives)))
}

/// `GET /gateways`.
pub(super) async fn gateways(State(app): State<AppState>, asker: Asker) -> Result<Response, Stop> {
    let viewer = asker.of_center()?;
    let gateways = app
        .store
        .gateways(&viewer.scope(), app.clock.real())
        .await
        .map_err(|error| asker.stop(error, "/"))?;
    Ok(page(StatusCode::OK, &GatewaysPage::new(asker.shell("gateways"), &gateways, viewer.admin().is_ok())))
}

/// `GET /cases/{id}`.
pub(super) async fn case(
    State(app): State<AppState>,
    asker: Asker,
    Path(id): Path<i64>,
) -> Result<Response, Stop> {
    let viewer = asker.of_center()?;
    let detail = cases::detail(&app, viewer, id).await.map_err(|error| asker.stop(error, "/"))?;
    Ok(draw(&app, &asker, viewer, &detail, StatusCode::OK, &Typed::default()).await)
}

/// `GET /cases/{id}/{act}`: a refused form loaded again without a script leads back to its case.
pub(super) async fn back(Path((id, _)): Path<(i64, String)>) -> Redirect {
    Redirect::to(&format!("/cases/{id}"))
}

/// `POST /cases/{id}/{act}`.
pub(super) async fn act(
    State(app): State<AppState>,
    asker: Asker,
    Path((id, act)): Path<(i64, String)>,
    Form(form): Form<ActForm>,
) -> Result<Response, Stop> {
    let viewer = asker.of_center()?;
    let here = format!("/cases/{id}");
    viewer.check_csrf(&form.csrf).map_err(|error| asker.stop(error, &here))?;
    let deadline = form.deadline.as_deref().and_then(|text| asker.ctx.zone.parse_field(text));
    let request = CommandRequest {
        command: act,
        seen: form.seen,
        recipient: form.recipient.clone(),
        deadline,
        requirement: form.requirement.clone(),
        text: form.text.clone(),
        attachments: None,
        decision: form.decision.clone(),
        reason: form.reason.clone(),
        disposition: form.disposition.clone(),
    };
    match cases::command(&app, viewer, id, request).await {
        Ok(_) if form.back.is_empty() => Ok(Redirect::to(&here).into_response()),
        Ok(_) => Ok(Redirect::to(&own_path(&form.back)).into_response()),
        Err(error) => {
            let (status, _, _) = error.parts();
            // What was typed stays; what the case has become meanwhile is shown beside it.
            let typed = Typed {
                refusal: Some(asker.words(&error)),
                requirement: form.requirement,
                deadline: form.deadline,
                reason: form.reason.or(form.text),
            };
            let detail = cases::detail(&app, viewer, id).await.map_err(|error| asker.stop(error, "/"))?;
            Ok(draw(&app, &asker, viewer, &detail, status, &typed).await)
        }
    }
}

async fn draw(
    app: &App,
    asker: &Asker,
    viewer: &Viewer,
    detail: &CaseDetail,
    status: StatusCode,
    typed: &Typed,
) -> Response {
    let curve = readings_around(app, &viewer.scope(), detail, CHART_WIDTH, asker.ctx).await;
    let shell = asker.shell_at("tasks", format!("/cases/{}", detail.row.id));
    let mark = confidence_mark(app, detail).await.unwrap_or_else(|error| {
        tracing::error!(error = format!("{error:#}"), case = detail.row.id, "plan of a case's rule");
        String::new()
    });
    let pause = if viewer.user.role.is_on_duty() {
        pause_of(app, viewer, detail, asker.ctx).await
    } else {
        PauseForm::default()
    };
    page(status, &CasePage::new(shell, detail, &mark, curve, pause, typed))
}

/// Whether the reminders of a case's alert may pause, and what was asked about them. The rest of the page matters more.
pub(super) async fn pause_of(app: &App, viewer: &Viewer, detail: &CaseDetail, ctx: Ctx) -> PauseForm {
    let Some(alert) = main_alert(&detail.alerts) else { return PauseForm::default() };
    match app.store.requests(&viewer.scope(), ctx.now).await {
        Ok(requests) => pause_form(alert, pause_max(app, alert).await, &requests, ctx),
        Err(error) => {
            tracing::error!(%error, case = detail.row.id, "requests about a case");
            PauseForm::default()
        }
    }
}

/// How sure the rule's figure is, from the newest plan of its gateway; empty when the rule is no longer there.
async fn confidence_mark(app: &App, detail: &CaseDetail) -> anyhow::Result<String> {
    let row = &detail.row;
    let Some(plan) = app.plans.newest(&app.store, &row.gateway).await? else { return Ok(String::new()) };
    Ok(cases::rule_of(&plan, &row.rule, &row.device)
        .map(|(_, rule)| rule.text.mark.clone())
        .unwrap_or_default())
}

/// The chart of a case. Whatever keeps it from being drawn is said in its place: the rest of the page matters more.
pub(super) async fn readings_around(
    app: &App,
    scope: &Scope,
    detail: &CaseDetail,
    width: u32,
    ctx: Ctx,
) -> Curve {
    let t = ctx.texts();
    let without = |note: &str| Curve { note: Some(note.to_owned()), ..Curve::default() };
    let Some(alert) = main_alert(&detail.alerts) else { return without(&t.case_chart_none) };
    let point = match point_of(app, scope, alert).await {
        Ok(Some(point)) => point,
        Ok(None) => return without(&t.case_chart_none),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), case = detail.row.id, "points of a chart");
            return without(&t.case_chart_failed);
        }
    };
    let verification = detail.verification.as_ref();
    let (from, to) = curve::span(alert, verification, ctx.now);
    match readings::series(app, scope, &alert.gateway, &point, from, to).await {
        Ok(series) => curve::draw("readings", alert, &series, verification, width, ctx),
        Err(ApiError::NotFound) => without(&t.case_chart_none),
        Err(error) => {
            tracing::error!(?error, case = detail.row.id, "readings of a chart");
            without(&t.case_chart_failed)
        }
    }
}

/// The point an alert shows; an event without one is drawn with the first measured point of its device.
async fn point_of(app: &App, scope: &Scope, alert: &AlertRow) -> sqlx::Result<Option<String>> {
    if let Some(point) = &alert.point {
        return Ok(Some(point.clone()));
    }
    let points = app.store.points(scope, &alert.gateway).await?;
    Ok(points.into_iter().find(|point| point.device == alert.device && !point.truth).map(|point| point.id))
}
