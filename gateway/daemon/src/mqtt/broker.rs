//! The embedded MQTT broker, so that a bare gateway needs nothing else. The only files that know `mqtt5` are this one
//! and its `gate`.
//!
//! Promises: in memory, with every limit set; beyond loopback nobody without a password; hand-shakes of TLS happen
//! in `front`, so that one silent caller keeps nobody else waiting; a failing broker ends the process instead of
//! leaving a gateway that listens to nobody.
//!
//! Leaves out: persistence, bridges: for those there is an external broker.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use gateway_wire::hex;
use mqtt5::broker::MqttBroker;
use mqtt5::broker::config::{AuthConfig, BrokerConfig, RateLimitConfig, StorageBackend, StorageConfig};
use tokio_util::sync::CancellationToken;

use super::access;
use super::front::Front;
use super::gate::Gate;
use super::link::Address;
use crate::config::{Embedded, MqttVersion};
use crate::metrics::Metrics;

/// Topic and properties of a packet, beside its payload.
const PACKET_EXTRA: usize = 64 * 1024;
/// Retained messages: a few per device.
const RETAINED_MAX: usize = 4_096;
/// Messages kept for one slow subscriber; the newest are dropped beyond it.
const QUEUE_MAX: usize = 4_096;
/// Bytes kept for one slow subscriber.
const QUEUE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Subscriptions of one client. Our own is one client too.
const SUBSCRIPTIONS_MAX: usize = 16_384;

/// A bound broker.
pub struct Broker {
    server: MqttBroker,
    front: Option<Front>,
    /// Where devices call.
    pub address: SocketAddr,
    /// How the gateway itself calls.
    pub own: Address,
}

impl Broker {
    /// Binds. `data` is the gateway's own directory: the library would otherwise write into the working directory.
    /// `name`: as what the gateway calls itself here.
    pub async fn bind(plan: &Embedded, data: &Path, name: &str, metrics: &Metrics) -> anyhow::Result<Self> {
        let listen = plan.listen;
        anyhow::ensure!(
            listen.ip().is_loopback() || !plan.clients.is_empty(),
            "the embedded broker lets anybody in and listens on loopback only, not on {listen}: \
             name its clients ([[broker.client]]) or use an external broker"
        );
        let mut password = [0; 32];
        getrandom::fill(&mut password).context("no random bytes for the broker's own password")?;
        let password = hex(&password);
        let gate = Gate::new(&plan.clients, (name, &password), metrics.clone())?;
        let front = match &plan.tls {
            Some(tls) => {
                let tls = access::server(tls)?;
                Some(Front::bind(listen, tls, plan.connections, metrics.clone()).await?)
            }
            None => None,
        };
        // Behind the front the broker itself is not to be seen from elsewhere.
        let inner = if front.is_some() { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) } else { listen };
        let server = MqttBroker::with_config(config(plan, inner, data))
            .await
            .map_err(|error| anyhow::anyhow!("start the embedded broker on {inner}: {error}"))?
            .with_auth_provider(Arc::new(gate));
        let bound = server.local_addr().context("the embedded broker did not say where it listens")?;
        let own = Address {
            host: reachable(bound.ip()).to_string(),
            port: bound.port(),
            version: MqttVersion::V5,
            tls: None,
            login: Some((name.to_owned(), password)),
            client_id: name.to_owned(),
        };
        let address = front.as_ref().map_or(bound, |front| front.address);
        Ok(Self { server, front, address, own })
    }

    /// Serves until stopped.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { mut server, front, own, .. } = self;
        let stopper = server.shutdown_handle();
        let serve =
            async { server.run().await.map_err(|error| anyhow::anyhow!("the embedded broker: {error}")) };
        tokio::pin!(serve);
        let front = async {
            match front {
                Some(front) => front.run((own.host, own.port)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = &mut serve => ended,
            () = front => anyhow::bail!("the embedded broker's TLS front ended"),
            () = stop.cancelled() => {
                stopper.shutdown();
                serve.await
            }
        }
    }
}

/// Where this machine finds a listener on this address.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other @ (IpAddr::V4(_) | IpAddr::V6(_)) => other,
    }
}

fn config(plan: &Embedded, listen: SocketAddr, data: &Path) -> BrokerConfig {
    let packet_max = plan.payload_max + PACKET_EXTRA.min(plan.payload_max);
    let mut config = BrokerConfig::default()
        .with_bind_address(listen)
        // One more: the gateway's own connection is not of those that were promised to devices.
        .with_max_clients(plan.connections + 1)
        .with_max_packet_size(packet_max)
        .with_max_retained_messages(RETAINED_MAX)
        .with_max_retained_message_size(packet_max)
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
    config
}
