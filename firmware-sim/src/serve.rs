//! Modbus over sockets: one task per connection, one request at a time, as the boxes do.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::face::answer::Act;
use crate::face::frame::{Request, Transport};
use crate::host::Host;
use crate::talk::{Answers, talk};

/// Wait after an accept that failed: out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves one endpoint for ever; beyond `connections` at a time, more are closed at once.
pub async fn serve(
    listener: TcpListener,
    transport: Transport,
    connections: usize,
    endpoint: usize,
    host: Host,
) {
    let room = Arc::new(Semaphore::new(connections));
    loop {
        match listener.accept().await {
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            Ok((stream, peer)) => {
                let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                    tracing::info!(%peer, "no room for another connection");
                    continue;
                };
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "no TCP_NODELAY");
                }
                let host = host.clone();
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, transport, endpoint, &host).await {
                        tracing::debug!(%peer, %error, "connection ended");
                    }
                    drop(place);
                });
            }
        }
    }
}

/// Answers requests on any stream until the other side, or a fault, ends it.
pub async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    transport: Transport,
    endpoint: usize,
    host: &Host,
) -> std::io::Result<()> {
    talk(stream, transport, &Seat { endpoint, host }).await
}

/// One endpoint of a living world.
struct Seat<'a> {
    endpoint: usize,
    host: &'a Host,
}

impl Answers for Seat<'_> {
    async fn answer(&self, request: Request) -> Vec<Act> {
        self.host.ask(self.endpoint, request).await
    }
}
