//! The gateway's own page: what it sees and whether the center has it. Read-only but for the hour of installation ([`install`]), on
//! loopback unless the site file says otherwise; a strict CSP and no script at all.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::get;
use gateway_model::{
    BadCause, CivilTime, DeviceIx, EngineTime, GatewayId, Plan, Priority, Quality, Raw, Shown, Text,
    UncertainCause, Unit,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bus::health::Told;
use crate::metrics::Metrics;
use crate::recorder::Snapshot;
use crate::told::Entries;
use crate::{change, sinks, uplink};

mod install;
mod install_words;
mod installation;
mod words;

use words::{Lang, Words};

/// Nothing but our own style sheet; nobody may frame the page.
const CSP: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const STYLE: &str = include_str!("style.css");

/// What the page shows, besides what it asks the recorder.
#[derive(Clone)]
pub struct Page(Arc<Facts>);

/// See [`Page`].
pub struct Facts {
    /// The site as people call it.
    pub name: Text,
    /// Whose page it is.
    pub gateway: GatewayId,
    /// Under the demo clock.
    pub simulated: bool,
    /// The recorder's doors, and the way in for whoever installs.
    pub entries: Entries,
    /// The uplink, if there is a center.
    pub uplink: Option<uplink::Status>,
    /// Where records go besides the center.
    pub sinks: watch::Receiver<Vec<sinks::status::Status>>,
    /// What became of another configuration.
    pub configuration: watch::Receiver<change::Shown>,
    /// Counters.
    pub metrics: Metrics,
}

impl Page {
    /// For these facts.
    pub fn new(facts: Facts) -> Self {
        Self(Arc::new(facts))
    }

    /// The routes, for a server or a test.
    pub fn routes(self) -> Router {
        Router::new()
            .route("/", get(status_page))
            .route("/style.css", get(style))
            .route("/metrics", get(metrics))
            .route("/api/status", get(status_json))
            .merge(install::routes())
            .with_state(self)
            .layer(axum::middleware::map_response(guarded))
    }

    /// Serves until stopped.
    pub async fn run(self, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
        axum::serve(listener, self.routes()).with_graceful_shutdown(stop.cancelled_owned()).await?;
        Ok(())
    }

    async fn status(&self) -> Result<Status, StatusCode> {
        // The recorder ends before the page does.
        let snapshot =
            self.0.entries.doors.asks.snapshot().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        Ok(self.0.status(&snapshot))
    }
}

/// The state as JSON.
#[derive(Debug, Serialize)]
pub struct Status {
    site: String,
    institution: String,
    gateway: String,
    simulated: bool,
    epoch: u64,
    /// Last record: `epoch/seq`.
    last: Option<String>,
    /// Receipted by the center without a hole: `epoch/seq`.
    through: Option<String>,
    center: &'static str,
    /// What went over the line to the center this month; heads and framing are estimated.
    line: Option<LineRow>,
    engine_time: i64,
    civil_time: Option<i64>,
    refusing: bool,
    ring_bytes: u64,
    keep_bytes: u64,
    /// What is wrong with buses and on them; the devices of a dead bus are folded into it.
    troubles: Vec<TroubleRow>,
    alerts: Vec<AlertRow>,
    points: Vec<PointRow>,
    sinks: Vec<sinks::status::Shown>,
    configuration: change::Shown,
    #[serde(skip)]
    utc_offset_min: i16,
}

#[derive(Debug, Serialize)]
struct LineRow {
    used_bytes: u64,
    /// `None` = not metered.
    budget_bytes: Option<u64>,
    /// `enough`, `short` (80 %: readings every 30 min), `spent` (100 %: conclusions only).
    level: &'static str,
}

#[derive(Debug, Serialize)]
struct TroubleRow {
    bus: String,
    /// `None`: of the bus as such.
    unit: Option<u8>,
    trouble: &'static str,
    #[serde(skip)]
    words: Text,
}

#[derive(Debug, Serialize)]
struct AlertRow {
    id: String,
    rule: String,
    device: String,
    #[serde(skip)]
    device_name: Text,
    #[serde(skip)]
    title: Text,
    #[serde(skip)]
    action: Text,
    priority: u8,
    state: &'static str,
    since: i64,
    since_civil: Option<i64>,
    value: Option<f64>,
    limit: Option<f64>,
}

#[derive(Debug, Serialize)]
struct PointRow {
    id: String,
    #[serde(skip)]
    name: Text,
    #[serde(skip)]
    device_name: Text,
    value: Option<f64>,
    unit: &'static str,
    quality: &'static str,
    at: Option<i64>,
    at_civil: Option<i64>,
}

impl Facts {
    fn status(&self, snapshot: &Snapshot) -> Status {
        let plan = &snapshot.plan;
        let civil = |at: EngineTime| self.entries.doors.civil.civil(at).map(|civil| civil.0);
        let alerts = snapshot.alerts.iter().filter_map(|alert| {
            let rule = plan.rules.get(alert.rule.slot())?;
            let device = plan.devices.get(rule.subject.slot())?;
            Some(AlertRow {
                id: alert.alert.to_string(),
                rule: rule.id.clone(),
                device: device.id.clone(),
                device_name: device.name.clone(),
                title: rule.text.title.clone(),
                action: rule.text.action.clone(),
                priority: match rule.priority {
                    Priority::Red => 1,
                    Priority::Orange => 2,
                    Priority::Yellow => 3,
                    Priority::Blue => 4,
                },
                state: shown(alert.regions.shown()),
                since: alert.since.0,
                since_civil: civil(alert.since),
                value: alert.value,
                limit: alert.limit,
            })
        });
        let points = plan.points.iter().zip(&snapshot.points).map(|(point, last)| {
            let number = |raw: Raw| raw.value(point.gain, point.offset);
            PointRow {
                id: point.id.clone(),
                name: point.name.clone(),
                device_name: device_name(plan, point.device),
                value: last.and_then(|(_, quality)| quality.number()).and_then(number),
                unit: if point.truth { Unit::Truth.symbol() } else { point.unit.symbol() },
                quality: quality(last.map(|(_, quality)| quality)),
                at: last.map(|(at, _)| at.0),
                at_civil: last.and_then(|(at, _)| civil(at)),
            }
        });
        let (ring_bytes, keep_bytes) = snapshot.bytes;
        Status {
            site: plan.site.0.clone(),
            institution: plan.institution.0.clone(),
            gateway: self.gateway.to_string(),
            simulated: self.simulated,
            epoch: snapshot.epoch,
            last: snapshot.last.map(|last| last.to_string()),
            through: self
                .uplink
                .as_ref()
                .and_then(uplink::Status::receipted)
                .map(|through| through.to_string()),
            center: match &self.uplink {
                None => "none",
                Some(uplink) if uplink.failures() == 0 => "up",
                Some(_) => "down",
            },
            line: self.uplink.as_ref().and_then(uplink::Status::line).map(|line| LineRow {
                used_bytes: line.used,
                budget_bytes: line.budget,
                level: line.level.code(),
            }),
            engine_time: snapshot.now.0,
            civil_time: civil(snapshot.now),
            refusing: snapshot.refusing,
            ring_bytes,
            keep_bytes,
            troubles: self.metrics.boards().told().into_iter().map(TroubleRow::from).collect(),
            alerts: alerts.collect(),
            points: points.collect(),
            sinks: self.sinks.borrow().iter().map(sinks::status::Status::shown).collect(),
            configuration: self.configuration.borrow().clone(),
            utc_offset_min: plan.utc_offset_min,
        }
    }
}

impl From<Told> for TroubleRow {
    fn from(told: Told) -> Self {
        Self { bus: told.bus, unit: told.unit, trouble: told.trouble.word(), words: told.words }
    }
}

fn device_name(plan: &Plan, device: DeviceIx) -> Text {
    let device = plan.devices.get(device.slot());
    device.map_or_else(|| Text { zh: String::new(), en: String::new() }, |device| device.name.clone())
}

fn shown(shown: Shown) -> &'static str {
    match shown {
        Shown::Normal => "normal",
        Shown::Unacknowledged => "active",
        Shown::Acknowledged => "acknowledged",
        Shown::ReturnedUnacknowledged => "returned",
        Shown::Latched => "latched",
        Shown::Shelved => "shelved",
        Shown::SuppressedByDesign => "suppressed",
        Shown::OutOfService => "out-of-service",
    }
}

fn quality(quality: Option<Quality<Raw>>) -> &'static str {
    match quality {
        None => "none",
        Some(Quality::Good(_)) => "good",
        Some(Quality::Uncertain(_, UncertainCause::Stale)) => "stale",
        Some(Quality::Uncertain(_, UncertainCause::Clock | UncertainCause::Held)) => "uncertain",
        Some(Quality::Bad(BadCause::Stuck)) => "stuck",
        Some(Quality::Bad(_)) => "bad",
    }
}

#[derive(Deserialize)]
struct Asked {
    lang: Option<String>,
}

#[derive(Template)]
#[template(path = "status.html")]
struct StatusPage<'a> {
    words: &'static Words,
    lang: Lang,
    name: &'a str,
    status: &'a Status,
    utc_offset_min: i16,
}

impl StatusPage<'_> {
    fn text<'t>(&self, text: &'t Text) -> &'t str {
        self.lang.pick(text)
    }

    /// Those that are not over (`true`), or those that are over and nobody has received.
    fn alerts(&self, now: bool) -> Vec<&AlertRow> {
        self.status.alerts.iter().filter(|alert| (alert.state == "returned") != now).collect()
    }

    fn time(&self, civil: Option<i64>) -> String {
        civil.map_or_else(|| "—".to_owned(), |civil| words::time(CivilTime(civil), self.utc_offset_min))
    }

    /// Bytes as MB.
    #[expect(clippy::trivially_copy_pass_by_ref, clippy::unused_self, reason = "what templates call")]
    fn megabytes(&self, bytes: &u64) -> String {
        format!("{:.1} MB", *bytes as f64 / 1e6)
    }

    fn number(&self, value: Option<f64>, point: &str, unit: &str) -> String {
        self.words.number(value, point, unit)
    }
}

async fn status_page(
    State(page): State<Page>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, StatusCode> {
    let accepts = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let lang = Lang::choose(asked.lang.as_deref(), accepts);
    let status = page.status().await?;
    let name = lang.pick(&page.0.name);
    let utc_offset_min = status.utc_offset_min;
    let html = StatusPage { words: lang.words(), lang, name, status: &status, utc_offset_min };
    let html = html.render().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Html(html).into_response())
}

async fn status_json(State(page): State<Page>) -> Result<Json<Status>, StatusCode> {
    Ok(Json(page.status().await?))
}

async fn metrics(State(page): State<Page>) -> Result<Response, StatusCode> {
    let snapshot = page.0.entries.doors.asks.snapshot().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let metrics = &page.0.metrics;
    let (ring, keep) = snapshot.bytes;
    metrics.alerts(snapshot.alerts.len());
    metrics.journal("ring_bytes", ring);
    metrics.journal("keep_bytes", keep);
    metrics.journal("epoch", snapshot.epoch);
    metrics.journal("last_seq", snapshot.last.map_or(0, |last| last.seq));
    if let Some(through) = page.0.uplink.as_ref().and_then(uplink::Status::receipted) {
        metrics.journal("receipted_epoch", through.epoch);
        metrics.journal("receipted_seq", through.seq);
    }
    if let Some(line) = page.0.uplink.as_ref().and_then(uplink::Status::line) {
        metrics.line("used_bytes", line.used);
        metrics.line("budget_bytes", line.budget.unwrap_or(0));
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], metrics.text()).into_response())
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    // The installation's pages have forms and say so themselves.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(CSP));
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With "no-referrer" a browser sends `Origin: null` with the page's own forms, which `install` then takes for foreign.
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
