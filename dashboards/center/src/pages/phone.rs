//! The institution's pages: what they ask the store for, and what their forms do.

use std::collections::HashMap;

use axum::Form;
use axum::extract::multipart::{Multipart, MultipartError};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use gateway_model::Plan;

use super::asker::{Asker, Stop, page};
use super::console::{ActForm, pause_of, readings_around};
use super::texts::fill;
use super::unit::{Asked, PHOTO_MAX_MB, PHOTOS_MAX, UnitCasePage, UnitPage, is_own};
use crate::app::{App, AppState};
use crate::attachments::{self, ATTACHMENT_MAX};
use crate::auth::Viewer;
use crate::cases::{self, CommandRequest};
use crate::digests;
use crate::error::{ApiError, words};
use crate::requests::pause_max_in;
use crate::store::Words;
use crate::store::alerts::AlertFilter;
use crate::store::cases::CaseFilter;

/// Width of the chart on a phone, in the drawing's own units: its labels stay readable.
const CHART_WIDTH: u32 = 420;
/// Bytes of a text field of a form, at most; the casebook's own limit on texts is below it.
const FIELD_MAX: usize = 16 << 10;
/// Body of a submission, at most: every photo at its largest, and the fields around them.
pub(super) const SUBMISSION_MAX: usize = PHOTOS_MAX * ATTACHMENT_MAX + (64 << 10);

/// `GET /unit`.
pub(super) async fn unit(State(app): State<AppState>, asker: Asker) -> Result<Response, Stop> {
    let scope = asker.of_unit()?.scope();
    let failed = |error: sqlx::Error| asker.stop(error, "/unit");
    let institutions = app.store.institutions(&scope).await.map_err(failed)?;
    let cases = app.store.case_list(&scope, CaseFilter::All).await.map_err(failed)?;
    let open = AlertFilter { open_only: true, after: None };
    let alerts = app.store.alert_list(&scope, open).await.map_err(failed)?;
    let gateways = app.store.gateways(&scope, app.clock.real()).await.map_err(failed)?;
    let mut points = Vec::new();
    let mut pause_max = HashMap::new();
    for gateway in &gateways {
        let plan = app.plans.newest(&app.store, &gateway.id).await.unwrap_or_else(|error| {
            // The page is of use without it.
            tracing::error!(error = format!("{error:#}"), gateway = gateway.id, "plan of a gateway");
            None
        });
        let names = plan.as_deref().map(device_names).unwrap_or_default();
        for alert in alerts.iter().filter(|alert| is_own(alert) && alert.gateway == gateway.id) {
            let max = plan.as_deref().and_then(|plan| pause_max_in(plan, alert));
            pause_max.extend(max.map(|max| (alert.n, max)));
        }
        let rows = app.store.points(&scope, &gateway.id).await.map_err(failed)?;
        points.extend(rows.into_iter().map(|point| {
            let name = names.get(&point.device).map_or_else(String::new, |name| asker.ctx.words(name));
            (name, point)
        }));
    }
    let name =
        institutions.first().map_or_else(String::new, |institution| asker.ctx.words(&institution.name));
    let requests = app.store.requests(&scope, app.clock.civil().0).await.map_err(failed)?;
    let duties = digests::today(&app, &scope).await.unwrap_or_else(|error| {
        // The page is of use without them.
        tracing::error!(error = format!("{error:#}"), "duties of a unit");
        Vec::new()
    });
    let asked = Asked { requests: &requests, pause_max, duties: &duties };
    let shell = asker.shell("unit");
    Ok(page(StatusCode::OK, &UnitPage::new(shell, name, &cases, &alerts, &gateways, &points, &asked)))
}

/// What people call the devices of a gateway.
fn device_names(plan: &Plan) -> HashMap<String, Words> {
    plan.devices.iter().map(|device| (device.id.clone(), Words::from(device.name.clone()))).collect()
}

/// `GET /unit/cases/{id}`.
pub(super) async fn case(
    State(app): State<AppState>,
    asker: Asker,
    Path(id): Path<i64>,
) -> Result<Response, Stop> {
    let viewer = asker.of_unit()?;
    draw(&app, &asker, viewer, id, StatusCode::OK, None, "").await
}

/// `POST /unit/cases/{id}/accept`.
pub(super) async fn accept(
    State(app): State<AppState>,
    asker: Asker,
    Path(id): Path<i64>,
    Form(form): Form<ActForm>,
) -> Result<Response, Stop> {
    let viewer = asker.of_unit()?;
    viewer.check_csrf(&form.csrf).map_err(|error| asker.stop(error, &format!("/unit/cases/{id}")))?;
    let request =
        CommandRequest { command: "accept".to_owned(), seen: form.seen, ..CommandRequest::default() };
    answer(&app, &asker, viewer, id, cases::command(&app, viewer, id, request).await.err(), "").await
}

/// `POST /unit/cases/{id}/submit`: text and photos in one form, so that it works without a script.
pub(super) async fn submit(
    State(app): State<AppState>,
    asker: Asker,
    Path(id): Path<i64>,
    form: Multipart,
) -> Result<Response, Stop> {
    let viewer = asker.of_unit()?;
    let mut text = String::new();
    let error = match take(&app, &asker, viewer, form, &mut text).await {
        Ok((seen, attachments)) => {
            let request = CommandRequest {
                command: "submit".to_owned(),
                seen,
                text: Some(text.clone()),
                attachments: Some(attachments),
                ..CommandRequest::default()
            };
            cases::command(&app, viewer, id, request).await.err()
        }
        Err(error) => Some(error),
    };
    answer(&app, &asker, viewer, id, error, &text).await
}

async fn answer(
    app: &App,
    asker: &Asker,
    viewer: &Viewer,
    id: i64,
    error: Option<ApiError>,
    typed: &str,
) -> Result<Response, Stop> {
    match error {
        None => Ok(Redirect::to(&format!("/unit/cases/{id}")).into_response()),
        Some(ApiError::NotFound) => Err(asker.stop(ApiError::NotFound, "/unit")),
        Some(error) => {
            let (status, _, _) = error.parts();
            draw(app, asker, viewer, id, status, Some(asker.words(&error)), typed).await
        }
    }
}

/// Reads the form in its order: token and number first, so that nothing is kept for a stranger. Each photo is on disk
/// before the next is read. `text` is filled even when something later is refused.
async fn take(
    app: &App,
    asker: &Asker,
    viewer: &Viewer,
    mut form: Multipart,
    text: &mut String,
) -> Result<(u32, Vec<String>), ApiError> {
    let mut csrf = false;
    let mut seen = 0;
    let mut photos = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|error| broken(&error))? {
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "csrf" => {
                viewer.check_csrf(&short(field.bytes().await)?)?;
                csrf = true;
            }
            "seen" => seen = short(field.bytes().await)?.parse().unwrap_or(0),
            "text" => *text = short(field.bytes().await)?,
            "photo" => {
                if !csrf {
                    return Err(ApiError::Csrf);
                }
                let bytes = field.bytes().await.map_err(|error| broken(&error))?;
                // A file field that nobody used.
                if bytes.is_empty() {
                    continue;
                }
                if photos.len() == PHOTOS_MAX {
                    return Err(said(asker, "too_many_attachments", |t| &t.unit_photo_too_many));
                }
                if bytes.len() > ATTACHMENT_MAX {
                    return Err(said(asker, "too_large", |t| &t.unit_photo_too_large));
                }
                if attachments::sniff(&bytes).is_none() {
                    return Err(said(asker, "media_type", |t| &t.unit_photo_kind));
                }
                photos.push(attachments::put(app, viewer, None, bytes).await?.sha256);
            }
            _ => {
                return Err(ApiError::invalid(
                    "field",
                    "提交的内容不完整或格式不对。",
                    "What was sent is malformed.",
                ));
            }
        }
    }
    if csrf { Ok((seen, photos)) } else { Err(ApiError::Csrf) }
}

/// A refusal in the words of the page, with its limits filled in.
fn said(asker: &Asker, code: &'static str, pick: fn(&super::texts::Texts) -> &String) -> ApiError {
    let text =
        fill(pick(asker.ctx.texts()), &[("n", &PHOTOS_MAX.to_string()), ("mb", &PHOTO_MAX_MB.to_string())]);
    ApiError::Invalid(code, words(&text, &text))
}

fn short(bytes: Result<axum::body::Bytes, MultipartError>) -> Result<String, ApiError> {
    let bytes = bytes.map_err(|error| broken(&error))?;
    if bytes.len() > FIELD_MAX {
        return Err(ApiError::TooLarge);
    }
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

fn broken(error: &MultipartError) -> ApiError {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return ApiError::TooLarge;
    }
    ApiError::invalid("form", "提交的内容不完整或格式不对。", "What was sent is incomplete or malformed.")
}

async fn draw(
    app: &App,
    asker: &Asker,
    viewer: &Viewer,
    id: i64,
    status: StatusCode,
    refusal: Option<String>,
    typed: &str,
) -> Result<Response, Stop> {
    let detail = cases::detail(app, viewer, id).await.map_err(|error| asker.stop(error, "/unit"))?;
    let curve = readings_around(app, &viewer.scope(), &detail, CHART_WIDTH, asker.ctx).await;
    let pause = pause_of(app, viewer, &detail, asker.ctx).await;
    let shell = asker.shell_at("unit", format!("/unit/cases/{id}"));
    Ok(page(status, &UnitCasePage::new(shell, &detail, curve, pause, refusal, typed)))
}
