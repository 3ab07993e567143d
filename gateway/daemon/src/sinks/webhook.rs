//! A web address that is told of every change of an alert: CloudEvents 1.0 (structured JSON), or a body of the site's
//! own; signed as Standard Webhooks asks.
//!
//! Promises: one message per request; its id is `epoch-seq-n` of the record and stays the same however often it is sent;
//! redirects are never followed; 410 ends the sink until a person resumes it. Attempts follow [`SCHEDULE`].

use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::core::{Limits, Millis, Parcel, Trouble};
use super::http::{Answer, Http, secret};
use super::scene::{Happening, Scene};
use super::sign::{Secret, signatures};
use super::template::Template;
use crate::config::{SinkPlan, UrlPlan, WebhookPlan};

const S: Millis = 1_000;
const MIN: Millis = 60 * S;
const H: Millis = 60 * MIN;

/// At once, then after these pauses: eleven attempts within three days and six hours.
pub const SCHEDULE: &[Millis] =
    &[5 * S, 5 * MIN, 30 * MIN, 2 * H, 5 * H, 10 * H, 10 * H, 10 * H, 14 * H, 24 * H];

/// What a body of one's own may name. `id`, `type` and `source` are those of the CloudEvent.
pub const FIELDS: &[&str] = &[
    "id",
    "type",
    "source",
    "time",
    "gateway",
    "site",
    "institution",
    "alert",
    "event",
    "change",
    "cause",
    "state",
    "quality",
    "rule",
    "priority",
    "device",
    "device_zh",
    "device_en",
    "title_zh",
    "title_en",
    "action_zh",
    "action_en",
    "norm_zh",
    "norm_en",
    "point",
    "value",
    "limit",
    "unit",
    "since",
    "simulated",
];

/// One address.
pub struct Webhook {
    plan: WebhookPlan,
    http: Http,
}

impl Webhook {
    /// Opens nothing yet.
    pub fn new(sink: &SinkPlan, plan: &WebhookPlan) -> Self {
        Self { plan: plan.clone(), http: Http::new(sink.ca_file.clone(), sink.timeout) }
    }

    /// One message at a time, at once.
    pub fn limits() -> Limits {
        Limits { count: 1, bytes: 64 << 10, linger: 0 }
    }

    /// Posts the first message; `now_s` (seconds since 1970) goes into the signature.
    pub async fn send(&mut self, parcels: &[Parcel], now_s: i64) -> (usize, Option<Trouble>) {
        let Some(parcel) = parcels.first() else { return (0, None) };
        let (url, headers) = match self.request(parcel, now_s) {
            Ok(request) => request,
            Err(error) => return (0, Some(Trouble::Refused { words: format!("{error:#}") })),
        };
        match self.http.post(&url, headers, parcel.body.clone().into_bytes()).await {
            Ok(answer) => match trouble(answer) {
                None => (1, None),
                some => (0, some),
            },
            Err(trouble) => (0, Some(trouble)),
        }
    }

    fn request(&self, parcel: &Parcel, now_s: i64) -> anyhow::Result<(String, HeaderMap)> {
        let url = match &self.plan.url {
            UrlPlan::Is(url) => url.clone(),
            UrlPlan::In(file) => secret(file)?,
        };
        let mut headers = HeaderMap::new();
        let own = self.plan.body.is_some();
        let kind = if own { "application/json" } else { "application/cloudevents+json; charset=utf-8" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let id = parcel.id();
        headers.insert(HeaderName::from_static("webhook-id"), HeaderValue::from_str(&id)?);
        headers.insert(HeaderName::from_static("webhook-timestamp"), now_s.into());
        let secrets = self.plan.secret_files.iter().map(|file| Secret::parse(&secret(file)?));
        let secrets = secrets.collect::<anyhow::Result<Vec<_>>>()?;
        if !secrets.is_empty() {
            let signed = signatures(&secrets, &id, now_s, &parcel.body)?;
            headers.insert(HeaderName::from_static("webhook-signature"), HeaderValue::from_str(&signed)?);
        }
        if let Some(file) = &self.plan.token_file {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", secret(file)?))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok((url, headers))
    }
}

/// What an answer means; `None` = delivered.
fn trouble(answer: Answer) -> Option<Trouble> {
    let Answer { status, after, words } = answer;
    match status {
        _ if status.is_success() => None,
        StatusCode::GONE => Some(Trouble::Gone { words }),
        StatusCode::PAYLOAD_TOO_LARGE => Some(Trouble::TooLarge { words }),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Some(Trouble::Busy { after, words })
        }
        _ if status.is_redirection() => Some(Trouble::Refused {
            words: format!("{words} (redirects are not followed: write the new address)"),
        }),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
            Some(Trouble::Refused { words })
        }
        _ => Some(Trouble::Down { words }),
    }
}

/// The message for what happened, if it is one that this sink tells. `parcel` has its place and gets the body.
pub fn message(
    scene: &Scene,
    happening: Happening<'_>,
    template: Option<&Template>,
    parcel: &Parcel,
) -> Option<String> {
    let Happening::Alert(at, change) = happening else { return None };
    let mut fields = scene.alert(at, change)?;
    let kind =
        format!("org.nonsite.alert.{}", fields.get("change").and_then(Value::as_str).unwrap_or_default());
    let source = format!("urn:nonsite:gateway:{}", scene.gateway_text());
    if let Some(template) = template {
        fields.insert("id".into(), parcel.id().into());
        fields.insert("type".into(), kind.into());
        fields.insert("source".into(), source.into());
        return Some(template.render(&fields));
    }
    Some(event(&parcel.id(), &kind, &source, fields))
}

/// CloudEvents 1.0, structured mode. `time` is not there where the clock is not known.
fn event(id: &str, kind: &str, source: &str, data: Map<String, Value>) -> String {
    let mut event = Map::new();
    event.insert("specversion".into(), "1.0".into());
    event.insert("id".into(), id.into());
    event.insert("source".into(), source.into());
    event.insert("type".into(), kind.into());
    event.insert("subject".into(), data.get("device").cloned().unwrap_or_default());
    if let Some(time) = data.get("time").filter(|time| !time.is_null()) {
        event.insert("time".into(), time.clone());
    }
    event.insert("datacontenttype".into(), "application/json".into());
    event.insert("data".into(), data.into());
    Value::from(event).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_ends_after_about_three_days() {
        let hours = SCHEDULE.iter().sum::<Millis>() / H;
        assert!((72..=80).contains(&hours), "{hours}");
        assert!(SCHEDULE.is_sorted() && SCHEDULE.last() == Some(&(24 * H)));
    }

    #[test]
    fn every_class_of_answer_means_something() {
        let outcome = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            let answer = Answer { status, after: Some(7), words: "w".into() };
            trouble(answer).map_or("ok", |trouble| trouble.outcome())
        };
        for (status, meaning) in [
            (200, "ok"),
            (204, "ok"),
            (302, "refused"),
            (400, "down"),
            (401, "refused"),
            (404, "refused"),
            (410, "gone"),
            (413, "too_large"),
            (422, "down"),
            (429, "busy"),
            (500, "down"),
            (503, "busy"),
        ] {
            assert_eq!(outcome(status), meaning, "{status}");
        }
    }
}
