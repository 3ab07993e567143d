//! Plain JSON to somebody's broker.
//!
//! | topic | retained | what |
//! |---|---|---|
//! | `PREFIX/SITE/gateway` | yes | `{"state": "online"}`, and the last will `{"state": "offline"}` |
//! | `PREFIX/SITE/alert/DEVICE/PACK/RULE` | yes | the newest change of the alert of this rule |
//! | `PREFIX/SITE/reading/DEVICE/POINT` | no | every reading that was kept |
//! | `PREFIX/SITE/cycle/DEVICE` | no | every cycle |
//! | `PREFIX/SITE/gap` | no | readings that are not there |
//!
//! Promises: QoS 1; delivered is what the broker has acknowledged, and nothing else; after any failure of the connection a
//! new client sends again from the first message without acknowledgement. What the broker does with it afterwards is its own
//! business: it may drop for slow subscribers what it has acknowledged.

use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, LastWill, MqttOptions, Packet, PubAckReason,
    PublishNotice, PublishNoticeError, PublishOptions, QoS, TlsConfiguration, Transport,
};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::core::{Limits, Parcel, Policy, Trouble};
use super::http::{secret, tls};
use super::scene::{Happening, Scene};
use crate::config::{MqttSinkPlan, SinkPlan};

/// Pauses while the broker is away.
pub const POLICY: Policy = Policy::Doubling { first: 500, last: 30_000 };
/// Messages on their way at a time; the library keeps to the broker's own window below it.
const WINDOW: usize = 64;
/// Bytes of one message, whatever the broker allows.
const PACKET_MAX: u32 = 256 * 1024;
/// What the head of a publish takes besides topic and payload, at most.
const HEAD_BYTES: usize = 16;
/// Silence after which the connection is tested, seconds.
const KEEP_ALIVE_S: u16 = 15;
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

struct Link {
    client: AsyncClient,
    task: JoinHandle<()>,
    said: watch::Receiver<Said>,
}

/// What is known of a connection.
#[derive(Debug, Clone)]
enum Said {
    Nothing,
    /// It stands; the broker takes packets up to this size.
    Up(usize),
    Lost(Trouble),
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
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

    /// As much as may be on its way.
    pub fn limits() -> Limits {
        Limits { count: WINDOW, bytes: 1 << 20, linger: 0 }
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
            let options = PublishOptions::new(QoS::AtLeastOnce).retain(true);
            if let Ok(notice) = link.client.publish_tracked(topic, self.state("offline"), options).await {
                // Without an acknowledgement the last will says the same.
                let _acknowledged = notice.wait_completion_async().await;
            }
            link.client.disconnect().await
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
        let options = self.options().map_err(|error| Trouble::Refused { words: format!("{error:#}") })?;
        let mut link = connect(options);
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

    async fn publish(&self, topic: &str, body: &str, retain: bool) -> Option<PublishNotice> {
        let client = &self.link.as_ref()?.client;
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(retain);
        let sent = client.publish_tracked(topic.to_owned(), body.to_owned(), options);
        tokio::time::timeout(self.sink.timeout, sent).await.ok()?.ok()
    }

    async fn acknowledged(&mut self, notice: PublishNotice) -> Result<(), Trouble> {
        let waited = tokio::time::timeout(self.sink.timeout, notice.wait_completion_async()).await;
        let Ok(answer) = waited else {
            self.link = None;
            return Err(Trouble::Down { words: "no acknowledgement in time".into() });
        };
        match answer {
            Ok(()) | Err(PublishNoticeError::V5PubAck(PubAckReason::NoMatchingSubscribers)) => Ok(()),
            Err(PublishNoticeError::V5PubAck(reason)) => {
                // What is on its way behind it is sent again, in order.
                self.link = None;
                Err(refusal(reason))
            }
            Err(_) => Err(self.lost()),
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

    fn options(&self) -> anyhow::Result<MqttOptions> {
        let id = format!("nonsite-{}-{}", &self.gateway[..12], self.sink.name);
        let mut options = MqttOptions::new(id, (self.plan.host.clone(), self.plan.port));
        options.set_keep_alive(KEEP_ALIVE_S).set_clean_start(true);
        options.set_connect_timeout(self.sink.timeout);
        options.set_last_will(LastWill::new(
            self.state_topic(),
            self.state("offline"),
            QoS::AtLeastOnce,
            true,
            None,
        ));
        if let Some(login) = &self.plan.login {
            options.set_credentials(login.user.clone(), secret(&login.password_file)?);
        }
        if self.plan.tls {
            let config = std::sync::Arc::new(tls(self.sink.ca_file.as_deref())?);
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(config)));
        }
        Ok(options)
    }

    fn state_topic(&self) -> String {
        format!("{}/{}/gateway", self.plan.prefix, self.site)
    }

    fn state(&self, state: &str) -> String {
        json!({"state": state, "gateway": self.gateway}).to_string()
    }
}

/// Opens a connection and keeps it moving in a task of its own: nothing slow happens between two polls.
fn connect(options: MqttOptions) -> Link {
    let (client, mut events) = AsyncClient::builder(options).capacity(WINDOW).build();
    let (tell, said) = watch::channel(Said::Nothing);
    let task = tokio::spawn(async move {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(ack))) => {
                    let told = ack.properties.and_then(|properties| properties.max_packet_size);
                    tell.send_replace(Said::Up(told.unwrap_or(PACKET_MAX).min(PACKET_MAX) as usize));
                }
                Ok(Event::Incoming(_) | Event::Outgoing(_) | Event::Auth(_)) => {}
                Err(error) => {
                    tell.send_replace(Said::Lost(failure(&error)));
                    return;
                }
            }
        }
    });
    Link { client, task, said }
}

/// Why there is no connection.
fn failure(error: &ConnectionError) -> Trouble {
    let words = crate::chain(error);
    let for_a_person = matches!(
        error,
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::BadUserNamePassword
                | ConnectReturnCode::NotAuthorized
                | ConnectReturnCode::Banned
                | ConnectReturnCode::ClientIdentifierNotValid
                | ConnectReturnCode::BadAuthenticationMethod
        )
    );
    if for_a_person { Trouble::Refused { words } } else { Trouble::Down { words } }
}

/// What a broker means by not taking a message.
fn refusal(reason: PubAckReason) -> Trouble {
    let words = format!("the broker refused the message: {reason:?}");
    match reason {
        PubAckReason::TopicNameInvalid | PubAckReason::PayloadFormatInvalid => {
            Trouble::Poison { words, only: true }
        }
        PubAckReason::NotAuthorized => Trouble::Refused { words },
        PubAckReason::QuotaExceeded => Trouble::Busy { after: None, words },
        PubAckReason::Success
        | PubAckReason::NoMatchingSubscribers
        | PubAckReason::UnspecifiedError
        | PubAckReason::ImplementationSpecificError
        | PubAckReason::PacketIdentifierInUse => Trouble::Down { words },
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
            let (point, told) = plan.readings.then(|| scene.reading(reading))??;
            Some((format!("{base}/reading/{point}"), false, told.to_string()))
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
