//! The doors: which routes there are, how large a body each takes, and the headers every answer carries.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};

use crate::app::AppState;
use crate::attachments::ATTACHMENT_MAX;
use crate::error::ApiError;

mod api;
mod gateway;
mod live;

/// Body of an ordinary request, at most.
pub const BODY_MAX: usize = 64 << 10;
/// Body of a batch of records, at most: a few of the largest.
pub const BATCH_MAX: usize = 8 << 20;
/// What a form adds around a picture.
const FORM_EXTRA: usize = 64 << 10;

/// Everything this center answers to.
pub fn router(app: AppState) -> Router {
    let gateway = Router::new()
        .route("/gateway/v1/identity", get(gateway::identity))
        .route("/gateway/v1/enrol", post(gateway::enrol))
        .route("/gateway/v1/keys", post(gateway::gateway_keys))
        .route("/gateway/v1/predecessor", get(gateway::predecessor))
        .route("/gateway/v1/orders", get(gateway::orders))
        .route("/gateway/v1/configurations/{sha256}", get(gateway::configuration))
        .route("/gateway/v1/session", post(gateway::session))
        .route("/gateway/v1/records", post(gateway::records).layer(DefaultBodyLimit::max(BATCH_MAX)))
        .route(
            "/gateway/v1/attachments/{sha256}",
            put(gateway::attachment)
                .get(gateway::attachment_held)
                .layer(DefaultBodyLimit::max(ATTACHMENT_MAX)),
        );
    let api = Router::new()
        .route("/api/v1/setup", post(api::setup))
        .route("/api/v1/login", post(api::login))
        .route("/api/v1/logout", post(api::logout))
        .route("/api/v1/me", get(api::me))
        .route("/api/v1/users", get(api::users).post(api::add_user))
        .route("/api/v1/tokens", post(api::add_token))
        .route("/api/v1/institutions", get(api::institutions).post(api::put_institution))
        .route("/api/v1/enrolment-codes", post(api::enrolment_code))
        .route("/api/v1/gateways", get(api::gateways))
        .route("/api/v1/gateways/{id}/rotate-key", post(api::rotate_key))
        .route("/api/v1/points", get(api::points))
        .route("/api/v1/alerts", get(api::alerts))
        .route("/api/v1/alerts/{n}/pause", post(api::pause))
        .route("/api/v1/requests", get(api::requests))
        .route("/api/v1/requests/{id}/answer", post(api::answer_request))
        .route("/api/v1/digests", get(api::digests))
        .route("/api/v1/leads", get(api::leads))
        .route("/api/v1/leads/{id}/dismiss", post(api::dismiss_lead))
        .route("/api/v1/leads/{id}/case", post(api::lead_to_case))
        .route("/api/v1/closures", post(api::declare_closure))
        .route("/api/v1/events", get(live::events))
        .route("/api/v1/cases", get(api::cases))
        .route("/api/v1/cases/{id}", get(api::case))
        .route("/api/v1/cases/{id}/commands", post(api::command))
        .route(
            "/api/v1/attachments/{sha256}",
            get(api::attachment).put(api::put_attachment).layer(DefaultBodyLimit::max(ATTACHMENT_MAX)),
        )
        .route("/api/v1/attachments/{sha256}/erase", post(api::erase_attachment))
        .route("/api/v1/readings", get(api::readings))
        .route("/api/v1/cycles", get(api::cycles))
        .route("/metrics", get(api::metrics))
        .route("/healthz", get(api::healthz));
    Router::new()
        .merge(gateway)
        .merge(api)
        .merge(crate::pages::routes().layer(DefaultBodyLimit::max(BODY_MAX)))
        .merge(crate::pages::upload_routes().layer(DefaultBodyLimit::max(ATTACHMENT_MAX + FORM_EXTRA)))
        .layer(from_fn(headers))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(app)
}

/// Nothing from elsewhere, nothing inline, in no frame; answers are not kept unless a route says so.
async fn headers(request: Request, next: Next) -> Response {
    const HEADERS: [(HeaderName, &str); 6] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// What is asked for must be able to answer: the database is read.
pub(crate) async fn healthy(State(app): State<AppState>) -> Result<Response, ApiError> {
    app.store.has_users().await?;
    Ok("ok\n".into_response())
}
