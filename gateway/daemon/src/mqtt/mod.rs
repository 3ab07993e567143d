//! Listens to a broker and hands what devices say to the recorder.
//!
//! Promises: a publish is handed over before it is acknowledged; the connection is made anew with back-off,
//! subscriptions with it; a full recorder costs readings, which are counted and become a gap record (cause overrun).
//!
//! The session is a clean one, always: a broker that kept readings for us would deliver old values that look new. What a
//! device says while nobody listens is missing, and missing is what its points then are. A feed that must not lose a
//! message asks for the acknowledgement of its own broker and sends again (docs/feeds).
//!
//! Leaves out: what payloads mean ([`payload`]); the broker itself ([`broker`]).

mod access;
pub mod broker;
mod front;
mod gate;
mod link;
pub mod payload;
mod sparing;
mod translate;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gateway_model::EngineTime;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::access::check;
pub use self::link::Address;
use self::link::{Ended, Heard, Link, Message};
pub use self::translate::{Translator, matches, points};
use crate::clock::Clock;
use crate::config::{External, MqttPlan};
use crate::metrics::Metrics;
use crate::pause::Backoff;
use crate::recorder::{Civil, Event, Inputs, Refused};
use crate::recording::Recording;

/// Distance between attempts to connect, real time.
const CONNECT_FIRST: Duration = Duration::from_millis(250);
/// See [`CONNECT_FIRST`].
const CONNECT_LAST: Duration = Duration::from_secs(30);
/// The same where the broker answers and says no: somebody has to change something first.
const REFUSED_FIRST: Duration = Duration::from_secs(5);
/// See [`REFUSED_FIRST`].
const REFUSED_LAST: Duration = Duration::from_mins(5);
/// A connection that lasted so long was a good one: the next failure begins with short pauses again.
const STEADY: Duration = Duration::from_secs(10);

/// How to call somebody else's broker: reads the password and the certificates.
pub fn external(plan: &External, client_id: &str) -> anyhow::Result<Address> {
    let login = match &plan.login {
        Some((user, file)) => Some((user.clone(), access::password(file)?)),
        None => None,
    };
    Ok(Address {
        host: plan.host.clone(),
        port: plan.port,
        version: plan.version,
        tls: plan.tls.as_ref().map(access::client).transpose()?.map(Arc::new),
        login,
        client_id: plan.client_id.clone().unwrap_or_else(|| client_id.to_owned()),
    })
}

/// One connection to one broker.
pub struct Listener {
    translator: Translator,
    address: Address,
    inputs: Inputs,
    metrics: Metrics,
    overrun: Option<(EngineTime, u64)>,
    recording: Option<Recording>,
    civil: Civil,
    changes: Option<mpsc::Receiver<Resubscribe>>,
    /// The topics of the last subscription.
    asked: Vec<String>,
    connected: Connected,
}

/// Is there a connection to the broker? Shared with whoever asks.
#[derive(Debug, Clone, Default)]
pub struct Connected(Arc<AtomicBool>);

impl Connected {
    /// Now.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, connected: bool) {
        self.0.store(connected, Ordering::Relaxed);
    }
}

/// Other subscriptions for a listener that runs; the connection stays.
#[derive(Debug)]
pub struct Resubscribe {
    /// What is listened to from now on.
    pub plans: Vec<MqttPlan>,
    /// Where readings go: a source that knows the new slots.
    pub inputs: Inputs,
}

/// Between two connections.
struct Pauses {
    lost: Backoff,
    refused: Backoff,
    said: bool,
}

impl Listener {
    /// Nothing is opened yet.
    pub fn new(
        plans: Vec<MqttPlan>,
        address: Address,
        inputs: Inputs,
        civil: Civil,
        metrics: Metrics,
    ) -> Self {
        let translator = Translator::new(plans, civil.clone(), metrics.clone());
        Self {
            translator,
            address,
            inputs,
            metrics,
            overrun: None,
            recording: None,
            civil,
            changes: None,
            asked: Vec::new(),
            connected: Connected::default(),
        }
    }

    /// Tells whether there is a connection, from now on.
    pub fn connected(&self) -> Connected {
        self.connected.clone()
    }

    /// Writes down what comes as well.
    #[must_use]
    pub fn recorded(self, recording: Option<Recording>) -> Self {
        Self { recording, ..self }
    }

    /// Listens to something else from the moment that comes.
    #[must_use]
    pub fn changing(self, changes: mpsc::Receiver<Resubscribe>) -> Self {
        Self { changes: Some(changes), ..self }
    }

    /// Listens until told to stop.
    pub async fn run(mut self, clock: Clock, stop: CancellationToken) -> anyhow::Result<()> {
        let mut pauses = Pauses {
            lost: Backoff::new(CONNECT_FIRST, CONNECT_LAST),
            refused: Backoff::new(REFUSED_FIRST, REFUSED_LAST),
            said: false,
        };
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                ended = self.session(&clock, &mut pauses) => ended,
            };
            self.connected.set(false);
            let Err(ended) = ended else { return Ok(()) };
            // Our own broker stops at the same moment as we do.
            if stop.is_cancelled() {
                return Ok(());
            }
            let pause = self.ended(&ended, &mut pauses);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Counts and says it; how long to wait.
    fn ended(&self, ended: &Ended, pauses: &mut Pauses) -> Duration {
        let Address { host, port, .. } = &self.address;
        self.metrics.mqtt(if ended.refused { "connection_refused" } else { "connection_lost" });
        if !std::mem::replace(&mut pauses.said, true) {
            let why = &ended.why;
            if ended.refused {
                tracing::warn!(
                    host,
                    port,
                    why,
                    "the broker refuses us: check `user` and `password_file`, said once"
                );
            } else {
                tracing::warn!(host, port, why, "no connection to the broker; trying again, said once");
            }
        }
        if ended.refused { pauses.refused.pause() } else { pauses.lost.pause() }
    }

    /// One connection, from start to failure. `Ok`: the recorder has gone.
    async fn session(&mut self, clock: &Clock, pauses: &mut Pauses) -> Result<(), Ended> {
        let mut link = Link::new(&self.address);
        let mut since = None;
        loop {
            let next = tokio::select! {
                next = link.next() => next,
                Some(change) = changed(&mut self.changes) => {
                    self.resubscribe(change, &link, since.is_some())?;
                    continue;
                }
            };
            let heard = match next {
                Ok(heard) => heard,
                Err(ended) => {
                    if since.is_some_and(|since: Instant| since.elapsed() >= STEADY) {
                        pauses.lost.reset();
                        pauses.refused.reset();
                    }
                    return Err(ended);
                }
            };
            match heard {
                Heard::Connected => {
                    self.connected.set(true);
                    since = Some(Instant::now());
                    if std::mem::take(&mut pauses.said) {
                        tracing::info!(host = self.address.host, "connected to the broker again");
                    }
                    let topics = self.translator.topics();
                    if !topics.is_empty() {
                        self.asked.clone_from(&topics);
                        link.subscribe(topics)?;
                    }
                }
                Heard::Subscribed(refused) => self.subscribed(&refused),
                Heard::Message(message) => {
                    if self.take(clock, &message).is_err() {
                        return Ok(());
                    }
                    link.acknowledge(&message)?;
                }
                Heard::Other => {}
            }
        }
    }

    /// Topics that stay are not asked for again: their retained messages would come a second time.
    fn resubscribe(&mut self, change: Resubscribe, link: &Link, connected: bool) -> Result<(), Ended> {
        let before = self.translator.topics();
        self.translator = Translator::new(change.plans, self.civil.clone(), self.metrics.clone());
        self.inputs = change.inputs;
        if !connected {
            return Ok(());
        }
        let now = self.translator.topics();
        for gone in before.iter().filter(|topic| !now.contains(topic)) {
            link.unsubscribe(gone)?;
        }
        let new: Vec<String> = now.into_iter().filter(|topic| !before.contains(topic)).collect();
        if new.is_empty() {
            return Ok(());
        }
        self.asked.clone_from(&new);
        link.subscribe(new)
    }

    fn subscribed(&self, refused: &[bool]) {
        self.metrics.mqtt("subscribed");
        for (topic, refused) in self.asked.iter().zip(refused) {
            if *refused {
                self.metrics.mqtt("subscription_refused");
                tracing::warn!(
                    topic,
                    "the broker does not let us listen to this topic: its points stay without data"
                );
            }
        }
    }

    /// Hands one publish to the recorder, without waiting: the event loop must go on.
    fn take(&mut self, clock: &Clock, message: &Message) -> Result<(), Refused> {
        let at = clock.now();
        self.settle_overrun(at)?;
        let topic = String::from_utf8_lossy(message.topic());
        if let Some(recording) = &self.recording {
            recording.message(&topic, message.payload(), message.retained());
        }
        for event in self.translator.events(&topic, message.payload(), message.retained(), at) {
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

/// The next change; for ever, where there can be none.
async fn changed(changes: &mut Option<mpsc::Receiver<Resubscribe>>) -> Option<Resubscribe> {
    match changes {
        Some(changes) => changes.recv().await,
        None => std::future::pending().await,
    }
}
