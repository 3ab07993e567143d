//! Endpoints on sockets, serial lines and any other stream: one task per connection, one request at a time, as the boxes do.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::face::answer::Act;
use crate::face::frame::{FRAME_MAX, Request};
use crate::host::Host;
use crate::line::{Ear, Line, Settings};
use crate::scenario::Endpoint;
use crate::talk::{Answers, Later, Next, act, swallow, talk};

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
    let ear = line.ear().unwrap_or_else(|error| {
        tracing::warn!(%error, endpoint = endpoint.name, "its speed cannot be asked: devices answer at any");
        None
    });
    loop {
        if let Err(error) = heard(&mut line, ear.as_ref(), &endpoint, ix, &host).await {
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
    heard(io, None, endpoint, ix, host).await
}

/// The same; `ear` tells at which speed the other end speaks, where that is known.
async fn heard(
    io: impl AsyncRead + AsyncWrite + Unpin,
    ear: Option<&Ear>,
    endpoint: &Endpoint,
    ix: usize,
    host: &Host,
) -> std::io::Result<()> {
    let line = endpoint.transport.is_serial().then_some(endpoint.line);
    match &endpoint.indicator {
        Some(indicator) => send(io, line, indicator.every, ix, host).await,
        None => talk(io, endpoint.transport, line, &Seat { endpoint: ix, host, ear }).await,
    }
}

/// One endpoint of a living world.
struct Seat<'a> {
    endpoint: usize,
    host: &'a Host,
    ear: Option<&'a Ear>,
}

impl Answers for Seat<'_> {
    async fn answer(&self, request: Request) -> Vec<Act> {
        if let Some(ear) = self.ear {
            let (endpoint, unit) = (self.endpoint, request.unit);
            let understood = match ear.baud() {
                Ok(baud) => self.host.with(move |world| world.understands(endpoint, unit, baud)).await,
                Err(_) => Some(true),
            };
            if understood != Some(true) {
                return Vec::new();
            }
        }
        self.host.ask(self.endpoint, request).await
    }
}

/// A weighing indicator: frame after frame, deaf. Its pace is real time (or tokio's paused one), not the world's.
async fn send(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    line: Option<Settings>,
    every: Duration,
    ix: usize,
    host: &Host,
) -> std::io::Result<()> {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ignored = [0; FRAME_MAX];
    let mut later = Later::default();
    loop {
        let acts = tokio::select! {
            then = later.next() => vec![then.into()],
            _ = ticks.tick() => match host.with(move |world| world.weighing(ix)).await {
                Some(acts) => acts,
                None => return Ok(()),
            },
            read = io.read(&mut ignored) => match read? {
                0 => return Ok(()),
                _ => continue,
            },
        };
        match act(&mut io, line, acts, &mut later).await? {
            Next::Listen => {}
            Next::End => return Ok(()),
            Next::Swallow => return swallow(io, &mut ignored).await,
        }
    }
}
