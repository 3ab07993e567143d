//! Plain JSON to somebody's broker.
//!
//! | topic | retained | what |
//! |---|---|---|
//! | `PREFIX/SITE/gateway` | yes | `{"state": "online"}`, and the last will `{"state": "offline"}` |
//! | `PREFIX/SITE/alert/DEVICE/PACK/RULE` | yes | the newest change of the alert of this rule |
//! | `PREFIX/SITE/reading/DEVICE/POINT` | no | every reading that was kept |
//! | `PREFIX/SITE/readings/DEVICE` | no | with `by_device`, instead: those of one moment in one message |
//! | `PREFIX/SITE/cycle/DEVICE` | no | every cycle |
//! | `PREFIX/SITE/gap` | no | readings that are not there |
//!
//! Promises: QoS 1; delivered is what the broker has acknowledged, and nothing else; after any failure of the connection a
//! new client sends again from the first message without acknowledgement. What the broker does with it afterwards is its own
//! business: it may drop for slow subscribers what it has acknowledged.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::broker::{AHEAD, Call, Link, Notice, Outcome, Said};
use super::core::{Limits, Parcel, Policy, Trouble};
use super::http::{secret, tls};
use super::scene::{Happening, Scene};
use super::told;
use crate::config::{MqttSinkPlan, SinkPlan};

/// Pauses while the broker is away.
pub const POLICY: Policy = Policy::Doubling { first: 500, last: 30_000 };
/// What the head of a publish takes besides topic and payload, at most.
const HEAD_BYTES: usize = 16;
/// How long a good-bye may take.
const BYE: Duration = Duration::from_secs(1);

/// One broker.
pub struct Mqtt {
    plan: MqttSinkPlan,
    sink: SinkPlan,
    site: String,
    gateway: String,
    link: Option<Link>,
}

impl Mqtt {
    /// Opens nothing yet.
    pub fn new(sink: &SinkPlan, plan: &MqttSinkPlan, site: &str, gateway: &str) -> Self {
        Self {
            plan: plan.clone(),
            sink: sink.clone(),
            site: site.to_owned(),
            gateway: gateway.to_owned(),
            link: None,
        }
    }

    /// As much as is handed over before the next look at what was acknowledged. After the last message of a batch the sink waits for
    /// the last acknowledgements, which TCP's delayed confirmation of what the broker wrote before can hold back for 40 ms: a
    /// batch is so large that this does not matter at thousands of messages a second.
    pub fn limits() -> Limits {
        Limits { count: AHEAD, bytes: 1 << 20, linger: 0 }
    }

    /// Publishes; how many the broker acknowledged, in order, and what it said of the next.
    pub async fn send(&mut self, parcels: &[Parcel]) -> (usize, Option<Trouble>) {
        let packet_max = match self.connected().await {
            Ok(packet_max) => packet_max,
            Err(trouble) => return (0, Some(trouble)),
        };
        let fits = |parcel: &&Parcel| parcel.topic.len() + parcel.body.len() + HEAD_BYTES <= packet_max;
        let mut notices = Vec::new();
        for parcel in parcels.iter().take_while(fits) {
            match self.publish(&parcel.topic, &parcel.body, parcel.retain).await {
                Some(notice) => notices.push(notice),
                None => break,
            }
        }
        let published = notices.len();
        for (taken, notice) in notices.into_iter().enumerate() {
            if let Err(trouble) = self.acknowledged(notice).await {
                return (taken, Some(trouble));
            }
        }
        match parcels.get(published) {
            None => (published, None),
            Some(parcel) if !fits(&parcel) => {
                let words = format!("larger than the {packet_max} bytes that the broker takes");
                (published, Some(Trouble::Poison { words, only: true }))
            }
            Some(_) => (published, Some(self.lost())),
        }
    }

    /// Says good-bye, so that the last will is not needed.
    pub async fn close(&mut self) {
        let topic = self.state_topic();
        let Some(link) = &self.link else { return };
        let bye = async {
            if let Some(notice) = link.publish(&topic, &self.state("offline"), true).await {
                // Without an acknowledgement the last will says the same.
                let _acknowledged = notice.outcome().await;
            }
            link.disconnect().await;
        };
        let _in_time = tokio::time::timeout(BYE, bye).await;
        self.link = None;
    }

    /// The connection, and the largest packet that its broker takes.
    async fn connected(&mut self) -> Result<usize, Trouble> {
        if let Some(Said::Up(packet_max)) = self.link.as_ref().map(|link| link.said.borrow().clone()) {
            return Ok(packet_max);
        }
        self.link = None;
        let call = self.call().map_err(|error| Trouble::Refused { words: format!("{error:#}") })?;
        let mut link = Link::open(call);
        let heard = tokio::time::timeout(self.sink.timeout, async {
            link.said.wait_for(|said| !matches!(said, Said::Nothing)).await.map(|said| said.clone())
        });
        let packet_max = match heard.await {
            Ok(Ok(Said::Up(packet_max))) => packet_max,
            Ok(Ok(Said::Lost(trouble))) => return Err(trouble),
            Ok(Ok(Said::Nothing) | Err(_)) => return Err(Trouble::Down { words: "no connection".into() }),
            Err(_) => return Err(Trouble::Down { words: "the broker does not answer".into() }),
        };
        self.link = Some(link);
        let (topic, state) = (self.state_topic(), self.state("online"));
        match self.publish(&topic, &state, true).await {
            Some(notice) => self.acknowledged(notice).await.map(|()| packet_max),
            None => Err(self.lost()),
        }
    }

    async fn publish(&self, topic: &str, body: &str, retain: bool) -> Option<Notice> {
        let sent = self.link.as_ref()?.publish(topic, body, retain);
        tokio::time::timeout(self.sink.timeout, sent).await.ok()?
    }

    async fn acknowledged(&mut self, notice: Notice) -> Result<(), Trouble> {
        let Ok(outcome) = tokio::time::timeout(self.sink.timeout, notice.outcome()).await else {
            self.link = None;
            return Err(Trouble::Down { words: "no acknowledgement in time".into() });
        };
        match outcome {
            Outcome::Acknowledged => Ok(()),
            Outcome::Refused(trouble) => {
                // What is on its way behind it is sent again, in order.
                self.link = None;
                Err(trouble)
            }
            Outcome::Lost => Err(self.lost()),
        }
    }

    /// Why the connection is gone.
    fn lost(&mut self) -> Trouble {
        let said = self.link.take().map(|link| link.said.borrow().clone());
        match said {
            Some(Said::Lost(trouble)) => trouble,
            Some(Said::Up(_) | Said::Nothing) | None => {
                Trouble::Down { words: "the connection was lost".into() }
            }
        }
    }

    fn call(&self) -> anyhow::Result<Call> {
        let login = match &self.plan.login {
            Some(login) => Some((login.user.clone(), secret(&login.password_file)?)),
            None => None,
        };
        let tls = if self.plan.tls { Some(Arc::new(tls(self.sink.ca_file.as_deref())?)) } else { None };
        Ok(Call {
            id: format!("nonsite-{}-{}", &self.gateway[..12], self.sink.name),
            host: self.plan.host.clone(),
            port: self.plan.port,
            version: self.plan.version,
            login,
            tls,
            timeout: self.sink.timeout,
            will: (self.state_topic(), self.state("offline")),
        })
    }

    fn state_topic(&self) -> String {
        format!("{}/{}/gateway", self.plan.prefix, self.site)
    }

    fn state(&self, state: &str) -> String {
        json!({"state": state, "gateway": self.gateway}).to_string()
    }
}

/// Topic, whether the broker keeps it, and body of what happened, if this sink tells it.
pub fn message(
    scene: &Scene,
    happening: Happening<'_>,
    plan: &MqttSinkPlan,
) -> Option<(String, bool, String)> {
    let base = format!("{}/{}", plan.prefix, scene.plan.site.0);
    match happening {
        Happening::Reading(reading) => {
            let (point, told) = plan.readings.then(|| told::one(scene, reading))??;
            Some((format!("{base}/reading/{point}"), false, told))
        }
        Happening::Alert(at, change) => {
            let told = scene.alert(at, change)?;
            let text = |name: &str| told.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
            let topic = format!("{base}/alert/{}/{}", text("device"), text("rule"));
            Some((topic, true, serde_json::Value::from(told).to_string()))
        }
        Happening::Cycle(at, cycle) => {
            let (device, told) = scene.cycle(at, cycle)?;
            Some((format!("{base}/cycle/{device}"), false, told.to_string()))
        }
        Happening::Gap(gap) => Some((format!("{base}/gap"), false, scene.gap(gap).to_string())),
        Happening::Clock(_) => None,
    }
}
