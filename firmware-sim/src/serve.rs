//! Modbus over sockets: one task per connection, one request at a time, as the boxes do.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::face::answer::Act;
use crate::face::frame::{FRAME_MAX, Found, find};
use crate::host::Host;
use crate::scenario::Endpoint;

/// A connection that says nothing for so long (real time) is closed: its place may be the last.
const IDLE: Duration = Duration::from_mins(5);
/// Wait after an accept that failed: out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves endpoint number `ix` for ever; beyond its `connections` at a time, more are closed at once.
pub async fn serve(listener: TcpListener, endpoint: Endpoint, ix: usize, host: Host) {
    let endpoint = Arc::new(endpoint);
    let room = Arc::new(Semaphore::new(endpoint.connections));
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
                let (host, endpoint) = (host.clone(), Arc::clone(&endpoint));
                tokio::spawn(async move {
                    if let Err(error) = self::stream(stream, &endpoint, ix, &host).await {
                        tracing::debug!(%peer, %error, "connection ended");
                    }
                    drop(place);
                });
            }
        }
    }
}

/// Is endpoint number `ix` on any stream of bytes, a socket or `tokio::io::duplex`, until the other side, or a fault, ends
/// it. Waits are tokio's: where its time is paused, they are virtual.
pub async fn stream(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    endpoint: &Endpoint,
    ix: usize,
    host: &Host,
) -> std::io::Result<()> {
    let mut held: Vec<u8> = Vec::with_capacity(FRAME_MAX);
    let mut chunk = [0; FRAME_MAX];
    loop {
        match find(endpoint.transport, &held) {
            Found::Lost => return Ok(()),
            Found::Skip(bytes) => {
                held.drain(..bytes);
            }
            Found::Request(request, bytes) => {
                held.drain(..bytes);
                for act in host.ask(ix, request).await {
                    match act {
                        Act::Wait(pause) => tokio::time::sleep(pause).await,
                        Act::Send(bytes) => io.write_all(&bytes).await?,
                        Act::HangUp => return Ok(()),
                    }
                }
            }
            // No frame is longer than FRAME_MAX, so `held` cannot grow beyond two chunks.
            Found::More => match tokio::time::timeout(IDLE, io.read(&mut chunk)).await {
                Err(_) | Ok(Ok(0)) => return Ok(()),
                Ok(Ok(bytes)) => held.extend_from_slice(&chunk[..bytes]),
                Ok(Err(error)) => return Err(error),
            },
        }
    }
}
