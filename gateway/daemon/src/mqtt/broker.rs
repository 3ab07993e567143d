//! The embedded MQTT broker, so that a bare gateway needs nothing else. The only file that knows `mqtt5`.
//!
//! Promises: anonymous, therefore on loopback only; in memory, with every limit set; a failing broker ends the
//! process instead of leaving a gateway that listens to nobody.
//!
//! Leaves out: TLS, passwords, persistence: for those there is an external broker.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use mqtt5::broker::config::{AuthConfig, BrokerConfig, RateLimitConfig, StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerShutdownHandle, MqttBroker};

/// Devices of one site.
const CLIENTS_MAX: usize = 256;
/// Packets: payloads of 64 KiB, their topics and properties. Larger ones end their connection.
const PACKET_MAX: usize = 128 * 1024;
/// Retained messages: a few per device.
const RETAINED_MAX: usize = 4_096;
/// Messages kept for one slow subscriber; the newest are dropped beyond it.
const QUEUE_MAX: usize = 4_096;
/// Bytes kept for one slow subscriber.
const QUEUE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Subscriptions of one client.
const SUBSCRIPTIONS_MAX: usize = 256;

/// A bound broker.
pub struct Broker {
    broker: MqttBroker,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Broker {
    /// Binds. `data` is the gateway's own directory: the library would otherwise write into the working directory.
    pub async fn bind(listen: SocketAddr, data: &Path) -> anyhow::Result<Self> {
        anyhow::ensure!(
            listen.ip().is_loopback(),
            "the embedded broker asks for no password and listens on loopback only, not on {listen}: \
             use an external broker to reach other machines"
        );
        let mut config = BrokerConfig::default()
            .with_bind_address(listen)
            .with_max_clients(CLIENTS_MAX)
            .with_max_packet_size(PACKET_MAX)
            .with_max_retained_messages(RETAINED_MAX)
            .with_max_retained_message_size(PACKET_MAX)
            .with_max_subscriptions_per_client(SUBSCRIPTIONS_MAX)
            .with_client_channel_capacity(QUEUE_MAX)
            .with_session_expiry(Duration::from_hours(1))
            .with_sys_topics_enabled(false)
            .with_auth(AuthConfig {
                allow_anonymous: true,
                rate_limit: RateLimitConfig { enabled: false, ..RateLimitConfig::default() },
                ..AuthConfig::default()
            })
            .with_storage(
                StorageConfig::default()
                    .with_backend(StorageBackend::Memory)
                    .with_base_dir(data.join("mqtt"))
                    .with_persistence(false)
                    .with_max_queued_messages_per_client(QUEUE_MAX)
                    .with_max_queued_bytes_per_client(QUEUE_BYTES_MAX),
            );
        config.topic_alias_maximum = 64;
        let broker = MqttBroker::with_config(config)
            .await
            .map_err(|error| anyhow::anyhow!("start the embedded broker on {listen}: {error}"))?;
        let address = broker
            .local_addr()
            .ok_or_else(|| anyhow::anyhow!("the embedded broker did not say where it listens"))?;
        Ok(Self { broker, address })
    }

    /// Ends [`Self::run`].
    pub fn stopper(&self) -> BrokerShutdownHandle {
        self.broker.shutdown_handle()
    }

    /// Serves until stopped.
    pub async fn run(mut self) -> anyhow::Result<()> {
        self.broker.run().await.map_err(|error| anyhow::anyhow!("the embedded broker: {error}"))
    }
}
