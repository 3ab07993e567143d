//! One connection to one broker, in either version of MQTT. The only file that knows `rumqttc`.
//!
//! Promises: the session is a clean one; nothing is acknowledged before [`Link::acknowledge`]; a packet longer than
//! [`PACKET_MAX`] ends the connection.
//!
//! Leaves out: coming back after a failure ([`super::Listener`]): a failed link is thrown away, so that nothing of its
//! session can surface in the next one.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::config::MqttVersion;

/// Packets: payloads of 64 KiB with topic and properties. The broker is told and must not send larger ones.
pub(super) const PACKET_MAX: u32 = 128 * 1024;
/// Silence after which the connection is tested, seconds.
const KEEP_ALIVE_S: u16 = 15;
/// Requests of ours waiting for the connection: subscriptions and acknowledgements.
const REQUESTS_MAX: usize = 64;

/// Whom to call, and how.
#[derive(Clone)]
pub struct Address {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Which MQTT.
    pub version: MqttVersion,
    /// With TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// User and password.
    pub login: Option<(String, String)>,
    /// How we call ourselves.
    pub client_id: String,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No password in a log.
        write!(f, "{}:{} as {}", self.host, self.port, self.client_id)
    }
}

/// What came.
pub(super) enum Heard {
    /// The broker took us.
    Connected,
    /// The answer to [`Link::subscribe`], in its order: refused or not.
    Subscribed(Vec<bool>),
    /// A message.
    Message(Message),
    /// Nothing for us.
    Other,
}

/// A message that waits to be acknowledged.
pub(super) enum Message {
    V3(rumqttc_v4::Publish),
    V5(rumqttc::Publish),
}

/// Why a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    /// The broker said no to us: trying again soon does not help.
    pub(super) refused: bool,
    /// In words.
    pub(super) why: String,
}

/// A connection in one of the two versions.
pub(super) enum Link {
    V3(Box<v3::Session>),
    V5(Box<v5::Session>),
}

impl Message {
    pub(super) fn topic(&self) -> &[u8] {
        match self {
            Self::V3(publish) => &publish.topic,
            Self::V5(publish) => &publish.topic,
        }
    }

    pub(super) fn payload(&self) -> &[u8] {
        match self {
            Self::V3(publish) => &publish.payload,
            Self::V5(publish) => &publish.payload,
        }
    }

    pub(super) fn retained(&self) -> bool {
        match self {
            Self::V3(publish) => publish.retain,
            Self::V5(publish) => publish.retain,
        }
    }
}

impl Link {
    /// Nothing is sent yet.
    pub(super) fn new(address: &Address) -> Self {
        match address.version {
            MqttVersion::V3 => Self::V3(Box::new(v3::Session::new(address))),
            MqttVersion::V5 => Self::V5(Box::new(v5::Session::new(address))),
        }
    }

    /// Waits for what comes. Must be called again and again, or nothing moves, pings included.
    pub(super) async fn next(&mut self) -> Result<Heard, Ended> {
        match self {
            Self::V3(session) => session.next().await,
            Self::V5(session) => session.next().await,
        }
    }

    /// Asks for topics.
    pub(super) fn subscribe(&self, topics: Vec<String>) -> Result<(), Ended> {
        match self {
            Self::V3(session) => session.subscribe(topics),
            Self::V5(session) => session.subscribe(topics),
        }
    }

    /// Asks for a topic no more.
    pub(super) fn unsubscribe(&self, topic: &str) -> Result<(), Ended> {
        match self {
            Self::V3(session) => session.unsubscribe(topic),
            Self::V5(session) => session.unsubscribe(topic),
        }
    }

    /// It has been handed over.
    pub(super) fn acknowledge(&self, message: &Message) -> Result<(), Ended> {
        match (self, message) {
            (Self::V3(session), Message::V3(publish)) => session.acknowledge(publish),
            (Self::V5(session), Message::V5(publish)) => session.acknowledge(publish),
            // A message of another link: that one is gone, and so is whoever waits for the acknowledgement.
            (Self::V3(_), Message::V5(_)) | (Self::V5(_), Message::V3(_)) => Ok(()),
        }
    }
}

/// The two libraries are twins with types of their own: what is the same is written once.
macro_rules! version {
    ($module:ident, $mqtt:ident, $message:ident, $prepare:expr) => {
        mod $module {
            use $mqtt::{
                AckMode, AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Packet, Publish, QoS,
                SubscribeFilter, SubscribeReasonCode, TlsConfiguration, Transport,
            };

            use super::{Address, Ended, Heard, KEEP_ALIVE_S, Message, REQUESTS_MAX};

            /// A client and its event loop.
            pub(in super::super) struct Session {
                client: AsyncClient,
                events: EventLoop,
            }

            impl Session {
                pub(super) fn new(address: &Address) -> Self {
                    let broker = (address.host.clone(), address.port);
                    let mut options = MqttOptions::new(address.client_id.clone(), broker);
                    options.set_keep_alive(KEEP_ALIVE_S).set_ack_mode(AckMode::Manual);
                    let prepare: fn(&mut MqttOptions) = $prepare;
                    prepare(&mut options);
                    if let Some((user, password)) = &address.login {
                        options.set_credentials(user.clone(), password.clone().into_bytes());
                    }
                    if let Some(tls) = &address.tls {
                        let tls = TlsConfiguration::Rustls(std::sync::Arc::clone(tls));
                        options.set_transport(Transport::tls_with_config(tls));
                    }
                    let (client, events) = AsyncClient::builder(options).capacity(REQUESTS_MAX).build();
                    Self { client, events }
                }

                pub(super) async fn next(&mut self) -> Result<Heard, Ended> {
                    match self.events.poll().await {
                        Ok(Event::Incoming(Packet::ConnAck(_))) => Ok(Heard::Connected),
                        Ok(Event::Incoming(Packet::SubAck(ack))) => {
                            let refused = |code| !matches!(code, SubscribeReasonCode::Success(_));
                            Ok(Heard::Subscribed(ack.return_codes.into_iter().map(refused).collect()))
                        }
                        Ok(Event::Incoming(Packet::Publish(publish))) => {
                            Ok(Heard::Message(Message::$message(publish)))
                        }
                        Ok(_) => Ok(Heard::Other),
                        Err(error) => {
                            let refused = matches!(error, ConnectionError::ConnectionRefused(_));
                            Err(Ended { refused, why: crate::chain(&error) })
                        }
                    }
                }

                pub(super) fn subscribe(&self, topics: Vec<String>) -> Result<(), Ended> {
                    let filters =
                        topics.into_iter().map(|topic| SubscribeFilter::new(topic, QoS::AtLeastOnce));
                    self.client.try_subscribe_many(filters).map_err(|error| full(&error))
                }

                pub(super) fn unsubscribe(&self, topic: &str) -> Result<(), Ended> {
                    self.client.try_unsubscribe(topic).map_err(|error| full(&error))
                }

                pub(super) fn acknowledge(&self, publish: &Publish) -> Result<(), Ended> {
                    self.client.try_ack(publish).map_err(|error| full(&error))
                }
            }

            fn full(error: &dyn std::error::Error) -> Ended {
                Ended { refused: false, why: crate::chain(error) }
            }
        }
    };
}

version!(v3, rumqttc_v4, V3, |options| {
    options
        .set_clean_session(true)
        .set_max_packet_size(super::PACKET_MAX as usize, super::PACKET_MAX as usize);
});
version!(v5, rumqttc, V5, |options| {
    // It says nothing itself; without a limit the library keeps a place for each of 65,535 messages on their way: 16 MiB.
    options.set_outgoing_inflight_upper_limit(1);
    options.set_clean_start(true).set_max_packet_size(Some(super::PACKET_MAX));
});
