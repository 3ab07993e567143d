//! Payloads to events, by topic: no connection.
//!
//! Promises: an unreadable payload is counted by reason, said at most once a minute per reason and topic, and stores
//! nothing; fields that no mapping names are not kept.

use gateway_engine::intake::Answer;
use gateway_model::{BadCause, EngineTime, Fact, PointIx};
use gateway_wire::FRAME_MAX;

use super::payload;
use super::sparing::Sparing;
use crate::config::{Mapping, MqttPlan};
use crate::metrics::Metrics;
use crate::recorder::{Answers, Civil, Event};

/// Payloads to events, by topic: no connection.
pub struct Translator {
    plans: Vec<MqttPlan>,
    civil: Civil,
    metrics: Metrics,
    said: Sparing<(&'static str, String)>,
}

impl Translator {
    /// For the subscriptions of a site.
    pub fn new(plans: Vec<MqttPlan>, civil: Civil, metrics: Metrics) -> Self {
        Self { plans, civil, metrics, said: Sparing::default() }
    }

    /// What to subscribe to, each filter once.
    pub fn topics(&self) -> Vec<String> {
        let mut topics: Vec<String> = self
            .plans
            .iter()
            .flat_map(|plan| std::iter::once(&plan.topic).chain(plan.availability.as_ref().map(|a| &a.topic)))
            .cloned()
            .collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// What a publish means. A topic may serve several devices.
    pub fn events(&mut self, topic: &str, payload: &[u8], retained: bool, at: EngineTime) -> Vec<Event> {
        let mut events = Vec::new();
        let mut known = false;
        for slot in 0..self.plans.len() {
            let plan = &self.plans[slot];
            if let Some(availability) = plan.availability.as_ref().filter(|a| a.topic == topic) {
                known = true;
                match payload::available(availability, payload) {
                    Ok(true) => self.metrics.mqtt("online"),
                    Ok(false) => {
                        self.metrics.mqtt("offline");
                        let gone = Answer::Failed(BadCause::SourceOffline);
                        let items = points(&plan.mapping).into_iter().map(|point| (point, gone)).collect();
                        events.push(Event::Answers(Answers { at, items, frame: Some(frame(payload)) }));
                    }
                    Err(refusal) => self.refuse(topic, refusal),
                }
            }
            let plan = &self.plans[slot];
            if !matches(&plan.topic, topic) {
                continue;
            }
            known = true;
            match payload::read(&plan.mapping, payload) {
                // A retained feed message would be counted again at each connection.
                Ok(said) if said.fact.is_some() && retained => self.refuse(topic, payload::Refusal::Retained),
                Ok(said) => {
                    self.metrics.mqtt("ok");
                    if !said.malformed.is_empty() {
                        self.metrics.mqtt("bad_field");
                    }
                    let answer = |raw| if retained { Answer::Held(raw) } else { Answer::Raw(raw) };
                    let bad = Answer::Failed(BadCause::Malformed);
                    let items: Vec<_> = said
                        .values
                        .into_iter()
                        .map(|(point, raw)| (point, answer(raw)))
                        .chain(said.malformed.into_iter().map(|point| (point, bad)))
                        .collect();
                    if let Some((body, civil)) = said.fact {
                        // Its source's clock may run ahead of ours; nothing has happened that is still to come.
                        let at = self.civil.engine(civil).map_or(at, |said| said.min(at));
                        events.push(Event::Fact(Fact { device: plan.device, at, body }));
                    }
                    if !items.is_empty() {
                        events.push(Event::Answers(Answers { at, items, frame: Some(frame(payload)) }));
                    }
                }
                Err(refusal) => self.refuse(topic, refusal),
            }
        }
        if !known {
            self.metrics.mqtt("unknown_topic");
        }
        events
    }

    fn refuse(&mut self, topic: &str, refusal: payload::Refusal) {
        let reason = refusal.reason();
        self.metrics.mqtt(reason);
        if let Some(unsaid) = self.said.unsaid((reason, topic.to_owned())) {
            // The payload itself is not logged: it may hold what nobody may keep.
            tracing::warn!(topic, reason, unsaid, "payload refused: {refusal}");
        }
    }
}

fn frame(payload: &[u8]) -> std::sync::Arc<[u8]> {
    payload[..payload.len().min(FRAME_MAX)].into()
}

/// The points a mapping can give.
pub fn points(mapping: &Mapping) -> Vec<PointIx> {
    match mapping {
        Mapping::Json(fields) => fields.iter().map(|field| field.point).collect(),
        Mapping::Milesight(mapping) => mapping.fields.iter().map(|field| field.point).collect(),
        Mapping::Feed(feed) => vec![feed.point],
    }
}

/// Does an MQTT topic match a filter? `+` is one level, `#` the rest; neither begins a match of `$…` topics.
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && !filter.starts_with('$') {
        return false;
    }
    let mut filter = filter.split('/');
    let mut topic = topic.split('/');
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            (Some(_), _) | (None, Some(_)) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_mqtt_says() {
        for (filter, topic, expected) in [
            ("tele/+/SENSOR", "tele/fridge/SENSOR", true),
            ("tele/+/SENSOR", "tele/a/b/SENSOR", false),
            ("zigbee2mqtt/#", "zigbee2mqtt/ward/1", true),
            ("zigbee2mqtt/#", "zigbee2mqtt", true),
            ("#", "$SYS/x", false),
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/b/c", "a/b", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }
}
