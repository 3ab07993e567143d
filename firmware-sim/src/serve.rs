//! Endpoints on sockets, serial lines and any other stream: one task per connection, one request at a time, as the boxes do.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::face::answer::Act;
use crate::face::answer::Then;
use crate::face::frame::{FRAME_MAX, Found, Request, find};
use crate::host::Host;
use crate::line::Line;
use crate::scenario::Endpoint;
use crate::talk::{Answers, talk};

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
        None if endpoint.transport.is_serial() => answer(io, endpoint, ix, host).await,
        None => talk(io, endpoint.transport, &Seat { ix, host }).await,
    }
}

/// One endpoint of a living world.
struct Seat<'a> {
    ix: usize,
    host: &'a Host,
}

impl Answers for Seat<'_> {
    async fn answer(&self, request: Request) -> Vec<Act> {
        self.host.ask(self.ix, request).await
    }
}

/// A serial line: silence ends a request, and nobody hangs up.
async fn answer(
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
                act(&mut io, endpoint, host.ask(ix, request).await).await?;
            }
            Found::More if held.is_empty() => match io.read(&mut chunk).await? {
                0 => return Ok(()),
                bytes => held.extend_from_slice(&chunk[..bytes]),
            },
            // No frame is longer than FRAME_MAX, so `held` cannot grow beyond two chunks.
            Found::More => match tokio::time::timeout(SILENCE, io.read(&mut chunk)).await {
                // What came so far was no request.
                Err(_) => held.clear(),
                Ok(Ok(0)) => return Ok(()),
                Ok(Ok(bytes)) => held.extend_from_slice(&chunk[..bytes]),
                Ok(Err(error)) => return Err(error),
            },
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

/// Does what is to be done; `false` when that was to hang up. A line cannot be hung up: nothing more comes, and that is all.
async fn act(
    io: &mut (impl AsyncWrite + Unpin),
    endpoint: &Endpoint,
    acts: Vec<Act>,
) -> std::io::Result<bool> {
    let serial = endpoint.transport.is_serial();
    for act in acts {
        match act {
            Act::Wait(pause) => tokio::time::sleep(pause).await,
            Act::Send(bytes) => put(io, endpoint, &bytes).await?,
            Act::After(pause, Then::Send(bytes)) => {
                tokio::time::sleep(pause).await;
                put(io, endpoint, &bytes).await?;
            }
            Act::After(_, Then::HangUp) | Act::HangUp | Act::GoDeaf => return Ok(serial),
        }
    }
    Ok(true)
}

/// Sends, on a line at the pace of its bits.
async fn put(io: &mut (impl AsyncWrite + Unpin), endpoint: &Endpoint, bytes: &[u8]) -> std::io::Result<()> {
    if !endpoint.transport.is_serial() {
        return io.write_all(bytes).await;
    }
    for piece in bytes.chunks(PIECE) {
        io.write_all(piece).await?;
        tokio::time::sleep(endpoint.line.pause(piece.len())).await;
    }
    Ok(())
}
