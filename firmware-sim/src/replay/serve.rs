//! A player on streams and, for its messages, in time.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

use super::Player;
use crate::civil::Civil;
use crate::clock::Clock;
use crate::face::answer::Act;
use crate::face::frame::{FRAME_MAX, Request, Transport};
use crate::line::{Line, Settings};
use crate::mqtt::Publication;
use crate::talk::{Answers, Later, Next, act, talk};

/// Connections to one bus at a time; more are closed at once.
pub const CONNECTIONS_MAX: usize = 256;
/// Wait after an accept that failed: out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One bus of a player, by a clock that tells the recording's civil time.
#[derive(Debug, Clone)]
pub struct Desk {
    player: Arc<Player>,
    bus: usize,
    clock: Clock,
}

impl Desk {
    /// The bus at this position.
    #[must_use]
    pub const fn new(player: Arc<Player>, bus: usize, clock: Clock) -> Self {
        Self { player, bus, clock }
    }

    /// Serves one stream until it ends: a socket, or `tokio::io::duplex` in virtual time.
    pub async fn stream(&self, io: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
        match self.player.transport(self.bus) {
            Some(transport) if self.player.accepts(self.bus, self.clock.now()) => {
                if transport.is_weighing() {
                    self.speak(io, None).await
                } else {
                    talk(io, transport, None, self).await
                }
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Says what an indicator said, each piece at its moment; deaf. Ends when it hung up, or when the other side does.
    async fn speak(
        &self,
        mut io: impl AsyncRead + AsyncWrite + Unpin,
        line: Option<Settings>,
    ) -> std::io::Result<()> {
        let mut said = self.player.said(self.bus, self.clock.now()).peekable();
        let mut ignored = [0; FRAME_MAX];
        loop {
            let at_us = said.peek().map(|(at_us, _)| *at_us);
            tokio::select! {
                () = self.moment(at_us) => {}
                read = io.read(&mut ignored) => match read? {
                    0 => return Ok(()),
                    _ => continue,
                },
            }
            let Some((_, then)) = said.next() else { continue };
            match act(&mut io, line, vec![then.clone().into()], &mut Later::default()).await? {
                Next::Listen => {}
                Next::End | Next::Swallow => return Ok(()),
            }
        }
    }

    /// Waits for a moment, to the millisecond; for ever where there is none.
    async fn moment(&self, at_us: Option<i64>) {
        match at_us {
            Some(at_us) => self.clock.until(Civil(at_us.div_euclid(1_000))).await,
            None => std::future::pending().await,
        }
    }

    /// Serves connections for ever.
    pub async fn listen(self, listener: TcpListener) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
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
                    let desk = self.clone();
                    tokio::spawn(async move {
                        if let Err(error) = desk.stream(stream).await {
                            tracing::debug!(%peer, %error, "connection ended");
                        }
                        drop(place);
                    });
                }
            }
        }
    }
}

impl Desk {
    /// Serves a serial line for ever. There is no connection on it: where none was accepted, nobody answers.
    pub async fn line(self, mut line: Line, settings: Settings) {
        let weighing = self.player.transport(self.bus).is_some_and(Transport::is_weighing);
        let there = There(self);
        loop {
            let ended = if weighing {
                there.0.speak(&mut line, Some(settings)).await
            } else {
                talk(&mut line, Transport::Rtu, Some(settings), &there).await
            };
            // It ends when nothing was said for long, or when the line fails.
            if let Err(error) = ended {
                tracing::warn!(%error, "the line failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whoever answers on a line, while somebody is there.
struct There(Desk);

impl Answers for There {
    async fn answer(&self, request: Request) -> Vec<Act> {
        if self.0.player.accepts(self.0.bus, self.0.clock.now()) {
            self.0.answer(request).await
        } else {
            Vec::new()
        }
    }
}

impl Answers for Desk {
    async fn answer(&self, request: Request) -> Vec<Act> {
        self.player.answer(self.bus, &request, self.clock.now())
    }
}

/// Sends every message of the tape when its moment comes, from now to the recording's end; waits where the taker is slow.
pub async fn publish(player: Arc<Player>, clock: Clock, to: mpsc::Sender<Publication>) {
    let begin = clock.now();
    for message in player.messages_between(begin, Civil(i64::MAX)) {
        clock.until(message.at).await;
        let publication = Publication {
            topic: message.topic.clone(),
            payload: message.payload.clone(),
            retain: message.retain,
        };
        if to.send(publication).await.is_err() {
            return;
        }
    }
}
