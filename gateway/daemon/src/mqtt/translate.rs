//! Payloads to events, by topic: no connection.
//!
//! Promises: an unreadable payload is counted by reason, said at most once a minute per reason and topic, and stores
//! nothing; fields that no mapping names are not kept.

use std::collections::{HashMap, HashSet};

use gateway_engine::intake::Answer;
use gateway_model::{BadCause, DeviceIx, EngineTime, Fact, PointIx};
use gateway_wire::FRAME_MAX;

use super::payload::{self, Said};
use super::sparing::Sparing;
use crate::config::{Mapping, MqttPlan};
use crate::metrics::Metrics;
use crate::recorder::{Answers, Civil, Event};

/// A source's clock may be off by so much without being counted, ms.
const SKEW_MS: i64 = 60_000;
/// A source that says an earlier time has never been told the time: 2024-01-01T00:00:00Z.
const CLOCK_UNSET_MS: i64 = 1_704_067_200_000;
/// Topics whose unmapped fields are named.
const TOLD_MAX: usize = 1_024;

/// Payloads to events, by topic: no connection.
pub struct Translator {
    plans: Vec<MqttPlan>,
    by_topic: ByTopic,
    civil: Civil,
    metrics: Metrics,
    said: Sparing<(&'static str, String)>,
    /// Topics whose unmapped fields were named.
    told: HashSet<String>,
}

/// Which plans a topic may concern: not every plan is compared with every topic.
#[derive(Debug, Default)]
struct ByTopic {
    /// Topics without wildcards, and those of availability.
    named: HashMap<String, Vec<usize>>,
    /// Plans whose filter has wildcards.
    filters: Vec<usize>,
}

impl ByTopic {
    fn of(plans: &[MqttPlan]) -> Self {
        let mut all = Self::default();
        for (slot, plan) in plans.iter().enumerate() {
            let filter = plan.topic.contains(['+', '#']);
            if filter {
                all.filters.push(slot);
            }
            let topics = plan.availability.iter().map(|there| &there.topic);
            for topic in topics.chain((!filter).then_some(&plan.topic)) {
                let slots = all.named.entry(topic.clone()).or_default();
                if slots.last() != Some(&slot) {
                    slots.push(slot);
                }
            }
        }
        all
    }

    /// In the order of the plans, each once.
    fn slots(&self, topic: &str) -> Vec<usize> {
        let mut slots = self.named.get(topic).cloned().unwrap_or_default();
        if !self.filters.is_empty() {
            slots.extend(&self.filters);
            slots.sort_unstable();
            slots.dedup();
        }
        slots
    }
}

impl Translator {
    /// For the subscriptions of a site.
    pub fn new(plans: Vec<MqttPlan>, civil: Civil, metrics: Metrics) -> Self {
        let by_topic = ByTopic::of(&plans);
        Self { plans, by_topic, civil, metrics, said: Sparing::default(), told: HashSet::new() }
    }

    /// What to subscribe to, each filter once.
    pub fn topics(&self) -> Vec<String> {
        let mut topics: Vec<String> = self
            .plans
            .iter()
            .flat_map(|plan| {
                std::iter::once(&plan.topic).chain(plan.availability.iter().map(|there| &there.topic))
            })
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
        for slot in self.by_topic.slots(topic) {
            let plan = &self.plans[slot];
            if let Some(availability) = plan.availability.iter().find(|there| there.topic == topic) {
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
            let device = plan.device;
            let feed = matches!(plan.mapping, Mapping::Feed(_));
            match payload::read(&plan.mapping, payload) {
                // A retained feed message would be counted again at each connection.
                Ok(_) if feed && retained => self.refuse(topic, payload::Refusal::Retained),
                Ok(said) => {
                    self.tell_unmapped(topic, &said.unmapped);
                    self.take(said, device, retained, at, &mut events);
                }
                Err(refusal) => self.refuse(topic, refusal),
            }
        }
        if !known {
            self.metrics.mqtt("unknown_topic");
        }
        events
    }

    /// What was read of one payload, as events.
    fn take(&self, said: Said, device: DeviceIx, retained: bool, now: EngineTime, events: &mut Vec<Event>) {
        self.metrics.mqtt("ok");
        if !said.malformed.is_empty() {
            self.metrics.mqtt("bad_field");
        }
        let at = self.stamp(&said, now);
        let answer = |raw| if retained { Answer::Held(raw) } else { Answer::Raw(raw) };
        let bad = Answer::Failed(BadCause::Malformed);
        let items: Vec<_> = said
            .values
            .into_iter()
            .map(|(point, raw)| (point, answer(raw)))
            .chain(said.malformed.into_iter().map(|point| (point, bad)))
            .collect();
        if let Some(body) = said.fact {
            events.push(Event::Fact(Fact { device, at, body }));
        }
        if !items.is_empty() {
            events.push(Event::Answers(Answers { at, items, frame: Some(frame(&said.frame)) }));
        }
    }

    /// When it was. A source knows that better than the moment of arrival, as long as its clock can be believed: what
    /// was queued on the way is as old as it is. Nothing has happened that is still to come.
    fn stamp(&self, said: &Said, now: EngineTime) -> EngineTime {
        if said.bad_time {
            self.metrics.mqtt("bad_time");
        }
        let Some(time) = said.time else { return now };
        if time.0 < CLOCK_UNSET_MS {
            self.metrics.mqtt("time_unset");
            return now;
        }
        let Some(at) = self.civil.engine(time) else { return now };
        if at.0 > now.0.saturating_add(SKEW_MS) {
            self.metrics.mqtt("time_ahead");
        } else if at.0 < now.0.saturating_sub(SKEW_MS) {
            self.metrics.mqtt("time_behind");
        }
        at.min(now)
    }

    /// Names them once per topic: whoever maps a payload sees what else is in it. Contents are neither kept nor said.
    fn tell_unmapped(&mut self, topic: &str, places: &[String]) {
        if places.is_empty() {
            return;
        }
        self.metrics.mqtt("unmapped");
        if self.told.len() < TOLD_MAX && self.told.insert(topic.to_owned()) {
            tracing::info!(topic, ?places, "no mapping names these fields: they are not kept; said once");
        }
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
        Mapping::Json(mapping) => mapping.fields.iter().map(|field| field.point).collect(),
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

    #[test]
    fn a_topic_is_compared_with_the_plans_it_may_concern() {
        let part = |topic: &str, profile: &str, to: &str| {
            format!(
                "[[device.mqtt]]\ntopic = \"{topic}\"\nprofile = \"{profile}\"\nmap = {{ t = \"{to}\" }}\n"
            )
        };
        let device = |id: &str, part: &str| {
            format!(
                "[[device]]\nid = \"{id}\"\nkind = \"sensor\"\nname = {{ zh = \"点\", en = \"D\" }}\n{part}"
            )
        };
        let text = [
            "[site]\nid = \"s\"\ninstitution = \"923301000000000193\"\nname = { zh = \"点\", en = \"S\" }\n"
                .to_owned(),
            device("a", &part("tele/a/SENSOR", "tasmota", "/X/Temperature")),
            device("b", &part("tele/b/SENSOR", "tasmota", "/X/Temperature")),
            device("c", &part("tele/+/SENSOR", "tasmota", "/X/Temperature")),
        ];
        let site = crate::config::load_str("site.toml", &text.concat()).unwrap();
        let by_topic = ByTopic::of(&site.mqtt);
        assert_eq!(by_topic.slots("tele/b/SENSOR"), [1, 2]);
        assert_eq!(by_topic.slots("tele/z/SENSOR"), [2]);
        // Availability has topics of its own.
        assert_eq!(by_topic.slots("tele/a/LWT"), [0, 2]);
        let mut translator = Translator::new(site.mqtt, Civil::default(), Metrics::default());
        let payload = br#"{"X":{"Temperature":4.5},"TempUnit":"C"}"#;
        assert_eq!(translator.events("tele/b/SENSOR", payload, false, EngineTime(0)).len(), 2);
        assert_eq!(translator.events("tele/a/LWT", b"Offline", false, EngineTime(0)).len(), 1);
    }

    /// The engine time that a payload with this time gets at 1,000,000 s, and what is counted.
    fn stamped(time: &str) -> (i64, Vec<&'static str>) {
        let site = crate::config::load_str(
            "site.toml",
            "[site]\nid = \"s\"\ninstitution = \"923301000000000193\"\nname = { zh = \"点\", en = \"Site\" }\n\
             [[device]]\nid = \"d\"\nkind = \"sensor\"\nname = { zh = \"点\", en = \"D\" }\n\
             [[device.mqtt]]\ntopic = \"up\"\nprofile = \"chirpstack\"\nmap = { t = \"/object/temperature\" }\n",
        );
        let (civil, metrics) = (Civil::default(), Metrics::default());
        // 2026-01-01T00:00:00Z is engine time 0.
        civil.set(Some(1_767_225_600_000));
        let mut translator = Translator::new(site.unwrap().mqtt, civil, metrics.clone());
        let payload = format!(r#"{{"time":{time},"object":{{"temperature":4.5}}}}"#);
        let events = translator.events("up", payload.as_bytes(), false, EngineTime(1_000_000_000));
        let [Event::Answers(answers)] = &events[..] else { panic!("{events:?}") };
        let counted = ["bad_time", "time_unset", "time_ahead", "time_behind"];
        (answers.at.0, counted.into_iter().filter(|name| metrics.mqtt_count(name) > 0).collect())
    }

    #[test]
    fn a_source_says_when_it_was_as_long_as_it_can_be_believed() {
        const NOW: i64 = 1_000_000_000;
        // Engine time 1,000,000 s is 2026-01-12T13:46:40Z.
        for (time, expected, counted) in [
            (r#""2026-01-12T13:46:40Z""#, NOW, None),
            (r#""2026-01-12T21:46:10+08:00""#, NOW - 30_000, None),
            (r#""2026-01-12T13:47:30Z""#, NOW, None),
            // Nothing has happened that is still to come.
            (r#""2026-01-12T14:46:40Z""#, NOW, Some("time_ahead")),
            (r#""2099-12-31T23:59:59Z""#, NOW, Some("time_ahead")),
            // Queued on the way for an hour: an hour old.
            (r#""2026-01-12T12:46:40Z""#, NOW - 3_600_000, Some("time_behind")),
            (r#""1970-01-01T00:01:00Z""#, NOW, Some("time_unset")),
            (r#""2026-01-12T13:46:40""#, NOW, Some("bad_time")),
            ("12", NOW, Some("bad_time")),
            ("null", NOW, None),
        ] {
            assert_eq!(stamped(time), (expected, Vec::from_iter(counted)), "{time}");
        }
    }
}
