//! TLS before the embedded broker.
//!
//! Promises: every hand-shake runs by itself, for at most [`HANDSHAKE`]; connections beyond the limit are closed at
//! once and counted, those that still shake hands included; what came in goes to the broker unread and unchanged.
//!
//! Leaves out: who somebody is (`gate`): a client certificate opens the door, the password says who came.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::sparing::Sparing;
use crate::metrics::Metrics;

/// Longest hand-shake, real time.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Wait after an accept that failed: out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound front.
pub(super) struct Front {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    room: Arc<Semaphore>,
    metrics: Metrics,
    /// Where devices call.
    pub(super) address: SocketAddr,
}

impl Front {
    /// Binds.
    pub(super) async fn bind(
        listen: SocketAddr,
        tls: ServerConfig,
        connections: usize,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind(listen).await.with_context(|| format!("listen for MQTT on {listen}"))?;
        let address = listener.local_addr().context("where the MQTT front listens")?;
        let room = Arc::new(Semaphore::new(connections));
        Ok(Self { listener, acceptor: TlsAcceptor::from(Arc::new(tls)), room, metrics, address })
    }

    /// Serves for ever; dropping it ends every connection.
    pub(super) async fn run(self, broker: (String, u16)) {
        let mut calls = JoinSet::new();
        let mut said = Sparing::default();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = calls.join_next() => continue,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accept failed at the MQTT front");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&self.room).try_acquire_owned() else {
                self.metrics.mqtt("too_many_connections");
                if let Some(unsaid) = said.unsaid(()) {
                    tracing::warn!(%from, unsaid, "no room for another MQTT connection");
                }
                continue;
            };
            let (acceptor, broker, metrics) = (self.acceptor.clone(), broker.clone(), self.metrics.clone());
            calls.spawn(async move {
                let _place = place;
                if let Err(why) = call(stream, &acceptor, &broker).await {
                    metrics.mqtt(why.0);
                    tracing::debug!(%from, error = why.1, "an MQTT connection failed");
                }
            });
        }
    }
}

/// One connection from hand-shake to end.
async fn call(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    broker: &(String, u16),
) -> Result<(), (&'static str, String)> {
    let shake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
    let mut outside = match shake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(("tls_refused", error.to_string())),
        Err(_) => return Err(("tls_too_slow", format!("no hand-shake within {HANDSHAKE:?}"))),
    };
    let inside = TcpStream::connect((broker.0.as_str(), broker.1)).await;
    let mut inside = inside.map_err(|error| ("broker_unreachable", error.to_string()))?;
    // However either side hangs up: the other one learns it, and that is all there is to say.
    match tokio::io::copy_bidirectional(&mut outside, &mut inside).await {
        Ok(_) | Err(_) => Ok(()),
    }
}
