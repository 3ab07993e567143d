//! The API for people and programs: JSON in, JSON out, every refusal in words.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use center_casebook::Role;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::app::AppState;
use crate::auth::{LoggedIn, Viewer};
use crate::cases::{self, CommandRequest};
use crate::enrolment::{self, Address, NewInstitution};
use crate::error::{ApiError, words};
use crate::store::PAGE_MAX;
use crate::store::alerts::AlertFilter;
use crate::store::cases::CaseFilter;
use crate::{attachments, leads, metrics as counters, readings as series, requests};

/// JSON of a request; what is wrong with it is said in both languages.
pub(super) struct Asked<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(JsonRejection::BytesRejection(rejection))
                if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE =>
            {
                Err(ApiError::TooLarge)
            }
            Err(error) => Err(ApiError::Malformed(
                "json",
                words("请求内容无法解析。", &format!("The request cannot be read: {error}.")),
            )),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Setup {
    code: String,
    user: String,
    password: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    user: String,
    password: String,
}

fn logged_in(status: StatusCode, session: LoggedIn) -> Response {
    let body = json!({ "csrf": session.csrf, "user": session.user });
    (status, [(header::SET_COOKIE, session.cookie)], Json(body)).into_response()
}

pub(super) async fn setup(
    State(app): State<AppState>,
    Asked(asked): Asked<Setup>,
) -> Result<Response, ApiError> {
    Ok(logged_in(StatusCode::CREATED, app.setup(&asked.code, &asked.user, &asked.password).await?))
}

pub(super) async fn login(
    State(app): State<AppState>,
    Asked(asked): Asked<Login>,
) -> Result<Response, ApiError> {
    Ok(logged_in(StatusCode::OK, app.login(&asked.user, &asked.password).await?))
}

pub(super) async fn logout(State(app): State<AppState>, viewer: Viewer) -> Result<Response, ApiError> {
    let cookie = app.logout(&viewer).await?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

pub(super) async fn me(viewer: Viewer) -> Json<Value> {
    Json(json!({ "user": viewer.user, "csrf": viewer.csrf() }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    user: String,
    password: String,
    role: String,
    institution: Option<String>,
}

pub(super) async fn add_user(
    State(app): State<AppState>,
    viewer: Viewer,
    Asked(asked): Asked<NewUser>,
) -> Result<Response, ApiError> {
    let role = Role::parse(&asked.role)
        .ok_or_else(|| ApiError::invalid("role", "没有该角色。", "There is no such role."))?;
    let user = app.add_user(&viewer, &asked.user, &asked.password, role, asked.institution).await?;
    Ok((StatusCode::CREATED, Json(json!({ "user": user }))).into_response())
}

pub(super) async fn users(State(app): State<AppState>, viewer: Viewer) -> Result<Json<Value>, ApiError> {
    viewer.admin()?;
    Ok(Json(json!({ "users": app.store.users().await? })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    name: String,
}

pub(super) async fn add_token(
    State(app): State<AppState>,
    viewer: Viewer,
    Asked(asked): Asked<NewToken>,
) -> Result<Response, ApiError> {
    let token = app.add_token(&viewer, &asked.name).await?;
    Ok((StatusCode::CREATED, Json(json!({ "token": token }))).into_response())
}

pub(super) async fn put_institution(
    State(app): State<AppState>,
    viewer: Viewer,
    Asked(asked): Asked<NewInstitution>,
) -> Result<Response, ApiError> {
    let row = enrolment::put_institution(&app, &viewer, asked).await?;
    Ok((StatusCode::CREATED, Json(row)).into_response())
}

pub(super) async fn institutions(
    State(app): State<AppState>,
    viewer: Viewer,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "institutions": app.store.institutions(&viewer.scope()).await? })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ForSite {
    institution: String,
    site: String,
}

pub(super) async fn enrolment_code(
    State(app): State<AppState>,
    viewer: Viewer,
    Address(address): Address,
    Asked(asked): Asked<ForSite>,
) -> Result<Response, ApiError> {
    let made = enrolment::make_code(&app, &viewer, &asked.institution, &asked.site).await?;
    let link = address.map(|address| format!("{address}/enrol#{}", made.whole));
    let body = json!({ "code": made.typed.to_string(), "link": link, "expires": made.expires });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

pub(super) async fn gateways(State(app): State<AppState>, viewer: Viewer) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "gateways": app.store.gateways(&viewer.scope(), app.clock.real()).await? })))
}

#[derive(Debug, Deserialize)]
pub(super) struct OfGateway {
    gateway: String,
}

pub(super) async fn points(
    State(app): State<AppState>,
    viewer: Viewer,
    Query(asked): Query<OfGateway>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "points": app.store.points(&viewer.scope(), &asked.gateway).await? })))
}

pub(super) async fn cycles(
    State(app): State<AppState>,
    viewer: Viewer,
    Query(asked): Query<OfGateway>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "cycles": app.store.cycles(&viewer.scope(), &asked.gateway).await? })))
}

#[derive(Debug, Deserialize)]
pub(super) struct AlertsAsked {
    state: Option<String>,
    after: Option<i64>,
}

pub(super) async fn alerts(
    State(app): State<AppState>,
    viewer: Viewer,
    Query(asked): Query<AlertsAsked>,
) -> Result<Json<Value>, ApiError> {
    let open_only = match asked.state.as_deref() {
        None | Some("open") => true,
        Some("all") => false,
        Some(_) => {
            return Err(ApiError::invalid("state", "state 须为 open 或 all。", "state is open or all."));
        }
    };
    let filter = AlertFilter { open_only, after: asked.after };
    let alerts = app.store.alert_list(&viewer.scope(), filter).await?;
    let more = alerts.len() as i64 == PAGE_MAX;
    let next = alerts.iter().map(|alert| alert.n).max().filter(|_| more);
    Ok(Json(json!({ "alerts": alerts, "next": next })))
}

/// The gateway makes itself a new key as soon as it hears of it.
pub(super) async fn rotate_key(
    State(app): State<AppState>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    crate::succession::order_rotation(&app, &viewer, &id).await?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Debug, Deserialize)]
pub(super) struct CasesAsked {
    state: Option<String>,
}

pub(super) async fn cases(
    State(app): State<AppState>,
    viewer: Viewer,
    Query(asked): Query<CasesAsked>,
) -> Result<Json<Value>, ApiError> {
    let filter = CaseFilter::parse(asked.state.as_deref())
        .ok_or_else(|| ApiError::invalid("state", "没有该状态。", "There is no such state."))?;
    Ok(Json(json!({ "cases": app.store.case_list(&viewer.scope(), filter).await? })))
}

pub(super) async fn case(
    State(app): State<AppState>,
    viewer: Viewer,
    Path(id): Path<i64>,
) -> Result<Response, ApiError> {
    Ok(Json(cases::detail(&app, &viewer, id).await?).into_response())
}

pub(super) async fn command(
    State(app): State<AppState>,
    viewer: Viewer,
    Path(id): Path<i64>,
    Asked(asked): Asked<CommandRequest>,
) -> Result<Response, ApiError> {
    Ok(Json(cases::command(&app, &viewer, id, asked).await?).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PauseAsked {
    for_ms: i64,
    reason: String,
}

/// A unit asks, the center's people do it at once.
pub(super) async fn pause(
    State(app): State<AppState>,
    viewer: Viewer,
    Path(n): Path<i64>,
    Asked(asked): Asked<PauseAsked>,
) -> Result<Response, ApiError> {
    let id = requests::pause(&app, &viewer, n, asked.for_ms, &asked.reason).await?;
    Ok((StatusCode::CREATED, Json(json!({ "request": id }))).into_response())
}

pub(super) async fn requests(State(app): State<AppState>, viewer: Viewer) -> Result<Json<Value>, ApiError> {
    let list = app.store.requests(&viewer.scope(), app.clock.civil().0).await?;
    Ok(Json(json!({ "requests": list })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    grant: bool,
    #[serde(default)]
    answer: String,
}

pub(super) async fn answer_request(
    State(app): State<AppState>,
    viewer: Viewer,
    Path(id): Path<i64>,
    Asked(asked): Asked<Answer>,
) -> Result<StatusCode, ApiError> {
    requests::answer(&app, &viewer, id, asked.grant, &asked.answer).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
pub(super) struct Since {
    from: Option<i64>,
}

/// Duties as they were told; without `from`, those of the last two days.
pub(super) async fn digests(
    State(app): State<AppState>,
    viewer: Viewer,
    Query(asked): Query<Since>,
) -> Result<Json<Value>, ApiError> {
    let from = asked.from.unwrap_or_else(|| app.clock.civil().0 - 2 * 86_400_000);
    Ok(Json(json!({ "digests": app.store.digests(&viewer.scope(), from).await? })))
}

#[derive(Debug, Deserialize)]
pub(super) struct OfWeek {
    week: Option<i64>,
}

/// Leads of a week, which is named by its first moment; without one, the newest list. They are the center's.
pub(super) async fn leads(
    State(app): State<AppState>,
    viewer: Viewer,
    Query(asked): Query<OfWeek>,
) -> Result<Json<Value>, ApiError> {
    if viewer.user.role == Role::Institution {
        return Err(ApiError::Forbidden);
    }
    let week = asked.week.unwrap_or_else(|| leads::listed_week(app.clock.civil()));
    Ok(Json(json!({ "week": week, "leads": app.store.leads(&viewer.scope(), week).await? })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dismissal {
    reason: String,
}

pub(super) async fn dismiss_lead(
    State(app): State<AppState>,
    viewer: Viewer,
    Path(id): Path<i64>,
    Asked(asked): Asked<Dismissal>,
) -> Result<StatusCode, ApiError> {
    leads::dismiss(&app, &viewer, id, &asked.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn lead_to_case(
    State(app): State<AppState>,
    viewer: Viewer,
    Path(id): Path<i64>,
) -> Result<Response, ApiError> {
    let case = leads::open_case(&app, &viewer, id).await?;
    Ok((StatusCode::CREATED, Json(json!({ "case": case }))).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Closure {
    from: i64,
    to: i64,
    reason: String,
}

pub(super) async fn declare_closure(
    State(app): State<AppState>,
    viewer: Viewer,
    Asked(asked): Asked<Closure>,
) -> Result<Response, ApiError> {
    let ids = requests::declare_closure(&app, &viewer, (asked.from, asked.to), &asked.reason).await?;
    Ok((StatusCode::CREATED, Json(json!({ "requests": ids }))).into_response())
}

pub(super) async fn put_attachment(
    State(app): State<AppState>,
    viewer: Viewer,
    Path(sha256): Path<String>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let row = attachments::put(&app, &viewer, Some(&sha256), body).await?;
    Ok((StatusCode::CREATED, Json(row)).into_response())
}

pub(super) async fn attachment(
    State(app): State<AppState>,
    viewer: Viewer,
    Path(sha256): Path<String>,
) -> Result<Response, ApiError> {
    let (row, bytes) = attachments::get(&app, &viewer.scope(), &sha256).await?;
    let headers = [
        (header::CONTENT_TYPE, row.media_type),
        // Named by its content: it never changes.
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable".to_owned()),
    ];
    Ok((headers, bytes).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EraseAsked {
    reason: String,
}

/// A logged act: id and hash stay.
pub(super) async fn erase_attachment(
    State(app): State<AppState>,
    viewer: Viewer,
    Path(sha256): Path<String>,
    Asked(asked): Asked<EraseAsked>,
) -> Result<StatusCode, ApiError> {
    attachments::erase(&app, &viewer, &sha256, &asked.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
pub(super) struct ReadingsAsked {
    gateway: String,
    point: String,
    from: i64,
    to: i64,
}

pub(super) async fn readings(
    State(app): State<AppState>,
    viewer: Viewer,
    Query(asked): Query<ReadingsAsked>,
) -> Result<Response, ApiError> {
    let found =
        series::series(&app, &viewer.scope(), &asked.gateway, &asked.point, asked.from, asked.to).await?;
    Ok(Json(found).into_response())
}

/// Counters name no institution; they are for whoever may reach this address.
pub(super) async fn metrics(State(app): State<AppState>, _headers: HeaderMap) -> Result<Response, ApiError> {
    let text = counters::text(&app).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

pub(super) async fn healthz(state: State<AppState>) -> Result<Response, ApiError> {
    super::healthy(state).await
}
