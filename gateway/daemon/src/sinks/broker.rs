//! One connection of a sink to its broker, in either version of MQTT.
//!
//! Promises: the session is a clean one; a message counts when the broker has acknowledged it; nothing slow happens between
//! two polls, because a task of its own keeps the connection moving; a link that failed says why and is of no more use.
//!
//! MQTT 3.1.1 has no word for a message that the broker does not want: there it acknowledges and forgets, or ends the
//! connection. It also never says how large a packet may be.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::core::Trouble;
use crate::config::MqttVersion;

/// Messages handed to the library at a time; it keeps to the broker's own window below it.
pub(super) const AHEAD: usize = 512;
/// Messages of one write, where so many are ready.
const WRITE: usize = 64;
/// Bytes of one message, whatever the broker allows.
const PACKET_MAX: u32 = 256 * 1024;
/// Silence after which the connection is tested, seconds.
const KEEP_ALIVE_S: u16 = 15;

/// Whom to call, and how.
pub(super) struct Call {
    pub(super) id: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) version: MqttVersion,
    pub(super) login: Option<(String, String)>,
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// How long connecting may take.
    pub(super) timeout: Duration,
    /// What the broker says for us when we are gone: topic and message, retained.
    pub(super) will: (String, String),
}

/// What is known of a connection.
#[derive(Debug, Clone)]
pub(super) enum Said {
    Nothing,
    /// It stands; the broker takes packets up to this size.
    Up(usize),
    Lost(Trouble),
}

/// Waits for the broker's acknowledgement of one message.
pub(super) enum Notice {
    V3(rumqttc_v4::PublishNotice),
    V5(rumqttc::PublishNotice),
}

/// What became of a message.
pub(super) enum Outcome {
    Acknowledged,
    /// The broker does not take it, for this reason.
    Refused(Trouble),
    /// The connection is gone.
    Lost,
}

enum Client {
    V3(rumqttc_v4::AsyncClient),
    V5(rumqttc::AsyncClient),
}

/// The connection, until it is dropped.
pub(super) struct Link {
    client: Client,
    task: JoinHandle<()>,
    pub(super) said: watch::Receiver<Said>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Calls, and goes on by itself.
    pub(super) fn open(call: Call) -> Self {
        let (tell, said) = watch::channel(Said::Nothing);
        let (client, task) = match call.version {
            MqttVersion::V3 => {
                let (client, task) = v3::open(call, tell);
                (Client::V3(client), task)
            }
            MqttVersion::V5 => {
                let (client, task) = v5::open(call, tell);
                (Client::V5(client), task)
            }
        };
        Self { client, task, said }
    }

    /// Hands a message to the connection, QoS 1; `None` = it has ended.
    pub(super) async fn publish(&self, topic: &str, body: &str, retain: bool) -> Option<Notice> {
        match &self.client {
            Client::V3(client) => v3::publish(client, topic, body, retain).await.map(Notice::V3),
            Client::V5(client) => v5::publish(client, topic, body, retain).await.map(Notice::V5),
        }
    }

    /// Ends the connection in good order, so that the broker does not speak for us.
    pub(super) async fn disconnect(&self) {
        // One that has ended already needs no good-bye.
        let _ended = match &self.client {
            Client::V3(client) => client.disconnect().await.is_ok(),
            Client::V5(client) => client.disconnect().await.is_ok(),
        };
    }
}

impl Notice {
    /// Waits for it.
    pub(super) async fn outcome(self) -> Outcome {
        match self {
            Self::V3(notice) => {
                notice.wait_completion_async().await.map_or(Outcome::Lost, |()| Outcome::Acknowledged)
            }
            Self::V5(notice) => match notice.wait_completion_async().await {
                Ok(())
                | Err(rumqttc::PublishNoticeError::V5PubAck(rumqttc::PubAckReason::NoMatchingSubscribers)) => {
                    Outcome::Acknowledged
                }
                Err(rumqttc::PublishNoticeError::V5PubAck(reason)) => Outcome::Refused(refusal(reason)),
                Err(_) => Outcome::Lost,
            },
        }
    }
}

/// What a broker means by not taking a message.
fn refusal(reason: rumqttc::PubAckReason) -> Trouble {
    use rumqttc::PubAckReason;

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

/// The two libraries are twins with types of their own: what is the same is written once.
macro_rules! version {
    ($module:ident, $mqtt:ident, $prepare:expr, $hasten:expr, $room:expr, $person:pat) => {
        mod $module {
            use tokio::sync::watch;
            use tokio::task::JoinHandle;
            use $mqtt::{
                AsyncClient, ConnectReturnCode, ConnectionError, Event, MqttOptions, Packet, PublishNotice,
                PublishOptions, QoS, TlsConfiguration, Transport,
            };

            use super::{AHEAD, Call, KEEP_ALIVE_S, PACKET_MAX, Said, Trouble, WRITE};

            pub(super) fn open(call: Call, tell: watch::Sender<Said>) -> (AsyncClient, JoinHandle<()>) {
                let mut options = MqttOptions::new(call.id, (call.host, call.port));
                options.set_keep_alive(KEEP_ALIVE_S);
                // One write for what is ready, not one for each message.
                options.set_max_request_batch(WRITE);
                if let Some((user, password)) = call.login {
                    options.set_credentials(user, password.into_bytes());
                }
                if let Some(tls) = call.tls {
                    options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
                }
                let prepare: fn(&mut MqttOptions, (String, String), std::time::Duration) = $prepare;
                prepare(&mut options, call.will, call.timeout);
                let (client, mut events) = AsyncClient::builder(options).capacity(AHEAD).build();
                let hasten: fn(&mut $mqtt::EventLoop) = $hasten;
                hasten(&mut events);
                let room: fn(&$mqtt::ConnAck) -> u32 = $room;
                let task = tokio::spawn(async move {
                    loop {
                        match events.poll().await {
                            Ok(Event::Incoming(Packet::ConnAck(ack))) => {
                                tell.send_replace(Said::Up(room(&ack).min(PACKET_MAX) as usize));
                            }
                            Ok(_) => {}
                            Err(error) => {
                                tell.send_replace(Said::Lost(failure(&error)));
                                return;
                            }
                        }
                    }
                });
                (client, task)
            }

            pub(super) async fn publish(
                client: &AsyncClient,
                topic: &str,
                body: &str,
                retain: bool,
            ) -> Option<PublishNotice> {
                let options = PublishOptions::new(QoS::AtLeastOnce).retain(retain);
                client.publish_tracked(topic.to_owned(), body.to_owned(), options).await.ok()
            }

            /// Why there is no connection: some reasons only a person can do away with.
            fn failure(error: &ConnectionError) -> Trouble {
                let words = crate::chain(error);
                if matches!(error, ConnectionError::ConnectionRefused($person)) {
                    Trouble::Refused { words }
                } else {
                    Trouble::Down { words }
                }
            }
        }
    };
}

version!(
    v3,
    rumqttc_v4,
    |options, (topic, state), _| {
        options.set_clean_session(true).set_max_packet_size(PACKET_MAX as usize, PACKET_MAX as usize);
        options.set_last_will(rumqttc_v4::LastWill::new(topic, state, rumqttc_v4::QoS::AtLeastOnce, true));
    },
    |events| {
        let mut network = events.network_options();
        // The last messages of a batch must not wait until the broker has confirmed the bytes before them.
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
    },
    |_| PACKET_MAX,
    ConnectReturnCode::BadUserNamePassword
        | ConnectReturnCode::NotAuthorized
        | ConnectReturnCode::BadClientId
        | ConnectReturnCode::RefusedProtocolVersion
);
version!(
    v5,
    rumqttc,
    |options, (topic, state), timeout| {
        options.set_clean_start(true).set_connect_timeout(timeout);
        // Without a limit the library keeps a place for each of 65,535 messages on their way: 16 MiB.
        options.set_outgoing_inflight_upper_limit(AHEAD as u16);
        options.set_last_will(rumqttc::LastWill::new(topic, state, rumqttc::QoS::AtLeastOnce, true, None));
        let mut network = options.network_options();
        // As above.
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
    },
    |_| {},
    |ack| { ack.properties.as_ref().and_then(|properties| properties.max_packet_size).unwrap_or(PACKET_MAX) },
    ConnectReturnCode::BadUserNamePassword
        | ConnectReturnCode::NotAuthorized
        | ConnectReturnCode::Banned
        | ConnectReturnCode::ClientIdentifierNotValid
        | ConnectReturnCode::BadAuthenticationMethod
        | ConnectReturnCode::UnsupportedProtocolVersion
);
