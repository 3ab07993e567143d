//! Lines to InfluxDB, or whatever understands them: `/api/v2/write`, or `/write` of version 1.
//!
//! | measurement | tags | fields |
//! |---|---|---|
//! | `reading` | gateway, site, device, point, unit | `value` (float; not there when bad), `quality` (2 good, 1 uncertain, 0 bad), `cause` (text, when not good) |
//! | `alert` | gateway, site, device, rule, priority | `change`, `state`, `alert` (text), `event` (integer), `value`, `limit` (float) |
//! | `cycle` | gateway, site, device, program | `n`, `hold_ms`, `unseen_ms` (integer), `peak_c` (float), `outcome` (text) |
//! | `gap` | gateway, site, cause, point (none = every point) | `count`, `length_ms` (integer) |
//!
//! Times are milliseconds. A line that comes twice is the same point to the database, so sending again does no harm.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use gateway_model::{AlertChange, EngineTime, ModulePlan, Reading};
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::core::{Limits, Parcel, Policy, Trouble};
use super::http::{Answer, Http, secret};
use super::line::Line;
use super::scene::{Happening, Scene, code};
use crate::config::{InfluxApi, InfluxPlan, SinkPlan};

/// Pauses while the database is away.
pub const POLICY: Policy = Policy::Doubling { first: 1_000, last: 60_000 };

/// One database.
pub struct Influx {
    plan: InfluxPlan,
    http: Http,
}

impl Influx {
    /// Opens nothing yet.
    pub fn new(sink: &SinkPlan, plan: &InfluxPlan) -> Self {
        Self { plan: plan.clone(), http: Http::new(sink.ca_file.clone(), sink.timeout) }
    }

    /// One request at a time holds so much.
    pub fn limits(plan: &InfluxPlan) -> Limits {
        Limits { count: plan.lines, bytes: plan.bytes, linger: plan.every.as_millis() as u64 }
    }

    /// Posts the lines; how many were taken, and what stood in the way of the rest.
    pub async fn send(&mut self, parcels: &[Parcel]) -> (usize, Option<Trouble>) {
        let body = parcels.iter().fold(String::new(), |mut body, parcel| {
            body.push_str(&parcel.body);
            body.push('\n');
            body
        });
        let (url, headers, body) = match self.request(body.into_bytes()) {
            Ok(request) => request,
            Err(error) => return (0, Some(Trouble::Refused { words: format!("{error:#}") })),
        };
        match self.http.post(&url, headers, body).await {
            Ok(answer) => match trouble(answer) {
                None => (parcels.len(), None),
                some => (0, some),
            },
            Err(trouble) => (0, Some(trouble)),
        }
    }

    fn request(&self, body: Vec<u8>) -> anyhow::Result<(String, HeaderMap, Vec<u8>)> {
        let mut headers = HeaderMap::new();
        let (path, query, authorization) = match &self.plan.api {
            InfluxApi::V2 { org, bucket, token_file } => {
                let token = token_file.as_deref().map(secret).transpose()?;
                let query = [("org", org.as_str()), ("bucket", bucket), ("precision", "ms")];
                ("/api/v2/write", query.to_vec(), token.map(|token| format!("Token {token}")))
            }
            InfluxApi::V1 { database, login } => {
                let basic = login.as_ref().map(|login| -> anyhow::Result<String> {
                    use base64::Engine as _;
                    let pair = format!("{}:{}", login.user, secret(&login.password_file)?);
                    Ok(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
                });
                ("/write", vec![("db", database.as_str()), ("precision", "ms")], basic.transpose()?)
            }
        };
        if let Some(authorization) = authorization {
            let mut value = HeaderValue::from_str(&authorization)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.plan.url), query)?;
        if !self.plan.gzip {
            return Ok((url.into(), headers, body));
        }
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let mut packer = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::default());
        packer.write_all(&body)?;
        Ok((url.into(), headers, packer.finish()?))
    }
}

/// What an answer means; `None` = everything is stored.
fn trouble(answer: Answer) -> Option<Trouble> {
    let Answer { status, after, words } = answer;
    match status {
        _ if status.is_success() => None,
        // A line that cannot be read, or whose field is of another kind in the database. InfluxDB may have stored the other
        // lines; storing them again changes nothing.
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            Some(Trouble::Poison { words, only: false })
        }
        StatusCode::PAYLOAD_TOO_LARGE => Some(Trouble::TooLarge { words }),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Some(Trouble::Busy { after, words })
        }
        StatusCode::REQUEST_TIMEOUT => Some(Trouble::Down { words }),
        _ if status.is_server_error() => Some(Trouble::Down { words }),
        _ if status.is_redirection() => Some(Trouble::Refused {
            words: format!("{words} (redirects are not followed: write the new address)"),
        }),
        // Token, organisation, bucket, address: for a person.
        _ => Some(Trouble::Refused { words }),
    }
}

/// The line for what happened; `Err` where the time of it is not known.
pub fn line(scene: &Scene, happening: Happening<'_>) -> Result<Option<String>, NoClock> {
    let (at, line) = match happening {
        Happening::Clock(_) => return Ok(None),
        Happening::Reading(reading) => (reading.at, reading_line(scene, reading)),
        Happening::Alert(at, change) => (at, alert_line(scene, change)),
        Happening::Cycle(at, cycle) => (at, cycle_line(scene, cycle)),
        Happening::Gap(gap) => (gap.from, Some(gap_line(scene, gap))),
    };
    let civil = scene.civil(at).ok_or(NoClock)?;
    Ok(line.and_then(|line| line.at(civil)))
}

/// Nobody knows what time it was: a database of times has no place for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoClock;

fn begin(scene: &Scene, measurement: &str) -> Line {
    Line::new(measurement).tag("gateway", scene.gateway_text()).tag("site", &scene.plan.site.0)
}

fn simulated(scene: &Scene, line: Line) -> Line {
    if scene.simulated { line.tag("simulated", "true") } else { line }
}

fn reading_line(scene: &Scene, reading: &Reading) -> Option<Line> {
    let point = scene.plan.points.get(reading.point.slot())?;
    let device = scene.plan.devices.get(point.device.slot())?;
    let (value, quality, cause) = scene.quality(reading)?;
    let rank = match quality {
        "good" => 2,
        "uncertain" => 1,
        _ => 0,
    };
    let name = point.id.strip_prefix(&device.id).and_then(|name| name.strip_prefix('/')).unwrap_or(&point.id);
    let line = begin(scene, "reading").tag("device", &device.id).tag("point", name);
    let line = simulated(scene, line.tag("unit", point.unit.symbol()));
    Some(line.float("value", value).integer("quality", rank).text("cause", &cause.unwrap_or_default()))
}

fn alert_line(scene: &Scene, change: &AlertChange) -> Option<Line> {
    let fields = scene.alert(EngineTime(0), change)?;
    let text = |name: &str| fields.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    let rank = fields
        .get("priority")
        .and_then(serde_json::Value::as_u64)
        .map(|rank| rank.to_string())
        .unwrap_or_default();
    let line = begin(scene, "alert").tag("device", text("device")).tag("rule", text("rule"));
    let line = simulated(scene, line.tag("priority", &rank));
    let line = line.text("change", text("change")).text("state", text("state")).text("alert", text("alert"));
    Some(line.integer("event", change.event.into()).float("value", change.value).float("limit", change.limit))
}

fn cycle_line(scene: &Scene, cycle: &gateway_model::Cycle) -> Option<Line> {
    let ModulePlan::HeatCycle(module) = scene.plan.modules.get(cycle.module.slot())? else {
        return None;
    };
    let device = scene.plan.devices.get(module.device.slot())?;
    let (_, told) = scene.cycle(EngineTime(0), cycle)?;
    let line = begin(scene, "cycle").tag("device", &device.id).tag("program", &module.program.id);
    let line = simulated(scene, line).integer("n", cycle.n.into()).integer("hold_ms", cycle.hold_ms);
    let line = line.integer("unseen_ms", cycle.unseen_ms).float("peak_c", Some(cycle.peak_c));
    Some(line.text("outcome", told["outcome"].as_str().unwrap_or_default()))
}

fn gap_line(scene: &Scene, gap: &gateway_model::Gap) -> Line {
    let told = scene.gap(gap);
    let line = begin(scene, "gap").tag("cause", &code(&gap.cause));
    let line = simulated(scene, line.tag("point", told["point"].as_str().unwrap_or_default()));
    let count = i64::try_from(gap.count).unwrap_or(i64::MAX);
    line.integer("count", count).integer("length_ms", gap.to.since(gap.from))
}
