//! Listens to a broker and hands what devices say to the recorder.
//!
//! Promises: a publish is handed over before it is acknowledged; an unreadable payload is counted by reason, logged
//! at most once a minute per reason, and stores nothing; the connection is made anew with back-off, subscriptions
//! with it; a full recorder costs readings, which are counted and become a gap record (cause overrun).
//!
//! Leaves out: what payloads mean ([`payload`]); the broker itself ([`broker`]). The session is a clean one: a broker
//! that kept readings for us would deliver old values that look new.

pub mod broker;
pub mod payload;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use gateway_engine::intake::Answer;
use gateway_model::{BadCause, EngineTime, Fact, PointIx};
use gateway_wire::FRAME_MAX;
use rumqttc::{
    AckMode, AsyncClient, Event as MqttEvent, MqttOptions, Packet, Publish, QoS, SubscribeFilter, Transport,
};
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Clock};
use crate::config::{Mapping, MqttPlan};
use crate::metrics::Metrics;
use crate::pause::Backoff;
use crate::recorder::{Answers, Civil, Event, Inputs, Refused};

/// Requests of ours waiting for the connection: subscriptions and acknowledgements.
const REQUESTS_MAX: usize = 64;
/// Packets: payloads of 64 KiB with topic and properties. The broker is told and must not send larger ones.
const PACKET_MAX: u32 = 128 * 1024;
/// Silence after which the connection is tested, seconds.
const KEEP_ALIVE_S: u16 = 15;
/// Distance between attempts to connect, real time.
const CONNECT_FIRST: Duration = Duration::from_millis(250);
/// See [`CONNECT_FIRST`].
const CONNECT_LAST: Duration = Duration::from_secs(30);
/// A reason is logged at most this often.
const LOG_EVERY: Duration = Duration::from_mins(1);

/// Where the broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// TLS with public roots.
    pub tls: bool,
}

/// One connection to one broker.
pub struct Listener {
    translator: Translator,
    address: Address,
    client_id: String,
    inputs: Inputs,
    metrics: Metrics,
    overrun: Option<(EngineTime, u64)>,
}

impl Listener {
    /// Nothing is opened yet.
    pub fn new(
        plans: Vec<MqttPlan>,
        address: Address,
        client_id: String,
        inputs: Inputs,
        civil: Civil,
        metrics: Metrics,
    ) -> Self {
        let translator = Translator::new(plans, civil, metrics.clone());
        Self { translator, address, client_id, inputs, metrics, overrun: None }
    }

    /// Listens until told to stop.
    pub async fn run(mut self, clock: Clock, stop: CancellationToken) -> anyhow::Result<()> {
        let mut pause = Backoff::new(CONNECT_FIRST, CONNECT_LAST);
        let mut said = false;
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                ended = self.session(&clock, &mut pause, &mut said) => ended,
            };
            let Err(error) = ended else { return Ok(()) };
            // Our own broker stops at the same moment as we do.
            if stop.is_cancelled() {
                return Ok(());
            }
            self.metrics.mqtt("connection_lost");
            if !said {
                said = true;
                tracing::warn!(
                    host = self.address.host,
                    port = self.address.port,
                    %error,
                    "no connection to the broker; trying again, said once"
                );
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause.pause()) => {}
            }
        }
    }

    /// One connection, from start to failure. `Ok`: the recorder has gone.
    async fn session(&mut self, clock: &Clock, pause: &mut Backoff, said: &mut bool) -> Result<(), String> {
        let mut options =
            MqttOptions::new(self.client_id.clone(), (self.address.host.clone(), self.address.port));
        options
            .set_keep_alive(KEEP_ALIVE_S)
            .set_clean_start(true)
            .set_max_packet_size(Some(PACKET_MAX))
            .set_ack_mode(AckMode::Manual);
        if self.address.tls {
            let transport = Transport::try_tls_with_default_config().map_err(|error| error.to_string())?;
            options.set_transport(transport);
        }
        let (client, mut events) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
        loop {
            match events.poll().await {
                Ok(MqttEvent::Incoming(Packet::ConnAck(_))) => {
                    pause.reset();
                    if std::mem::take(said) {
                        tracing::info!(host = self.address.host, "connected to the broker again");
                    }
                    let topics = self.translator.topics();
                    if !topics.is_empty() {
                        let filters =
                            topics.into_iter().map(|topic| SubscribeFilter::new(topic, QoS::AtLeastOnce));
                        client.try_subscribe_many(filters).map_err(|error| error.to_string())?;
                    }
                }
                Ok(MqttEvent::Incoming(Packet::SubAck(ack))) => {
                    tracing::debug!(?ack, "subscribed");
                    self.metrics.mqtt("subscribed");
                }
                Ok(MqttEvent::Incoming(Packet::Publish(publish))) => {
                    if self.take(clock, &publish).is_err() {
                        return Ok(());
                    }
                    client.try_ack(&publish).map_err(|error| error.to_string())?;
                }
                Ok(MqttEvent::Incoming(_) | MqttEvent::Outgoing(_) | MqttEvent::Auth(_)) => {}
                // A fresh client each time: nothing of the old session can surface in the new one.
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Hands one publish to the recorder, without waiting: the event loop must go on.
    fn take(&mut self, clock: &Clock, publish: &Publish) -> Result<(), Refused> {
        let at = clock.now();
        self.settle_overrun(at)?;
        let topic = String::from_utf8_lossy(&publish.topic);
        for event in self.translator.events(&topic, &publish.payload, publish.retain, at) {
            let readings = event.readings();
            match self.inputs.try_send(event) {
                Ok(()) => {}
                Err(Refused::Full) => {
                    self.metrics.mqtt("overrun");
                    let (_, lost) = self.overrun.get_or_insert((at, 0));
                    *lost += readings;
                }
                Err(Refused::Stopped) => return Err(Refused::Stopped),
            }
        }
        Ok(())
    }

    /// Once there is room again, what was lost is said in a gap record.
    fn settle_overrun(&mut self, now: EngineTime) -> Result<(), Refused> {
        let Some((from, count)) = self.overrun else { return Ok(()) };
        match self.inputs.try_send(Event::Overrun { from, to: now, count }) {
            Ok(()) => {
                tracing::error!(count, "MQTT readings were lost: the recorder could not keep up");
                self.overrun = None;
                Ok(())
            }
            Err(Refused::Full) => Ok(()),
            Err(Refused::Stopped) => Err(Refused::Stopped),
        }
    }
}

/// Payloads to events, by topic: no connection.
pub struct Translator {
    plans: Vec<MqttPlan>,
    civil: Civil,
    metrics: Metrics,
    logged: HashMap<&'static str, (Instant, u64)>,
}

impl Translator {
    /// For the subscriptions of a site.
    pub fn new(plans: Vec<MqttPlan>, civil: Civil, metrics: Metrics) -> Self {
        Self { plans, civil, metrics, logged: HashMap::new() }
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
        let now = clock::instant();
        let (last, unsaid) = self.logged.entry(reason).or_insert((now, 0));
        if *unsaid == 0 || now.saturating_duration_since(*last) >= LOG_EVERY {
            // The payload itself is not logged: it may hold what nobody may keep.
            tracing::warn!(topic, reason, unsaid = unsaid.saturating_sub(1), "payload refused: {refusal}");
            *last = now;
            *unsaid = 0;
        }
        *unsaid += 1;
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
