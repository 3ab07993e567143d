//! Endpoints on sockets, serial lines and any other stream: one task per connection, one request at a time, as the boxes do.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::face::answer::Act;
use crate::face::frame::{FRAME_MAX, Found, find};
use crate::host::Host;
use crate::line::Line;
use crate::scenario::Endpoint;

/// A connection that says nothing for so long (real time) is closed: its place may be the last.
const IDLE: Duration = Duration::from_mins(5);
/// So much silence on a line ends a request that is not complete. The standard's 3.5 characters are less than what a pty and
/// a busy machine put between two bytes of one request.
const SILENCE: Duration = Duration::from_millis(50);
/// Bytes that go out on a line at once, before it is waited for as long as they take.
const PIECE: usize = 16;
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

/// Serves endpoint number `ix` on a serial line for ever: whoever opens the other end talks to it.
pub async fn line(mut line: Line, endpoint: Endpoint, ix: usize, host: Host) {
    loop {
        if let Err(error) = stream(&mut line, &endpoint, ix, &host).await {
            tracing::warn!(%error, endpoint = endpoint.name, "the line failed");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

/// Is endpoint number `ix` on any stream of bytes, a socket, a line or `tokio::io::duplex`, until the other side, or a
/// fault, ends it. Waits are tokio's: where its time is paused, they are virtual.
pub async fn stream(
    io: impl AsyncRead + AsyncWrite + Unpin,
    endpoint: &Endpoint,
    ix: usize,
    host: &Host,
) -> std::io::Result<()> {
    match &endpoint.indicator {
        Some(indicator) => send(io, endpoint, indicator.every, ix, host).await,
        None => answer(io, endpoint, ix, host).await,
    }
}

async fn answer(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    endpoint: &Endpoint,
    ix: usize,
    host: &Host,
) -> std::io::Result<()> {
    let mut held: Vec<u8> = Vec::with_capacity(FRAME_MAX);
    let mut chunk = [0; FRAME_MAX];
    let serial = endpoint.transport.is_serial();
    loop {
        match find(endpoint.transport, &held) {
            Found::Lost => return Ok(()),
            Found::Skip(bytes) => {
                held.drain(..bytes);
            }
            Found::Request(request, bytes) => {
                held.drain(..bytes);
                if !act(&mut io, endpoint, host.ask(ix, request).await).await? {
                    return Ok(());
                }
            }
            // No frame is longer than FRAME_MAX, so `held` cannot grow beyond two chunks.
            Found::More => {
                let patience = if serial && !held.is_empty() { SILENCE } else { IDLE };
                match tokio::time::timeout(patience, io.read(&mut chunk)).await {
                    // Silence on a line: what came so far was no request, and nobody hangs up.
                    Err(_) if serial => held.clear(),
                    Err(_) | Ok(Ok(0)) => return Ok(()),
                    Ok(Ok(bytes)) => held.extend_from_slice(&chunk[..bytes]),
                    Ok(Err(error)) => return Err(error),
                }
            }
        }
    }
}

/// A weighing indicator: frame after frame, deaf. Its pace is real time (or tokio's paused one), not the world's.
async fn send(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    endpoint: &Endpoint,
    every: Duration,
    ix: usize,
    host: &Host,
) -> std::io::Result<()> {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ignored = [0; FRAME_MAX];
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let Some(acts) = host.with(move |world| world.weighing(ix)).await else { return Ok(()) };
                if !act(&mut io, endpoint, acts).await? {
                    return Ok(());
                }
            }
            read = io.read(&mut ignored) => if read? == 0 {
                return Ok(());
            },
        }
    }
}

/// Does what is to be done; `false` when that was to hang up.
async fn act(
    io: &mut (impl AsyncWrite + Unpin),
    endpoint: &Endpoint,
    acts: Vec<Act>,
) -> std::io::Result<bool> {
    for act in acts {
        match act {
            Act::Wait(pause) => tokio::time::sleep(pause).await,
            Act::Send(bytes) if endpoint.transport.is_serial() => {
                for piece in bytes.chunks(PIECE) {
                    io.write_all(piece).await?;
                    tokio::time::sleep(endpoint.line.pause(piece.len())).await;
                }
            }
            Act::Send(bytes) => io.write_all(&bytes).await?,
            // A line cannot be hung up: nothing more comes, and that is all.
            Act::HangUp => return Ok(endpoint.transport.is_serial()),
        }
    }
    Ok(true)
}
