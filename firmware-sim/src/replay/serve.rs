//! A player on streams and, for its messages, in time.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

use super::Player;
use crate::civil::Civil;
use crate::clock::Clock;
use crate::face::answer::Act;
use crate::face::frame::{Request, Transport};
use crate::line::{Line, Settings};
use crate::mqtt::Publication;
use crate::talk::{Answers, talk};

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
                talk(io, transport, None, self).await
            }
            Some(_) | None => Ok(()),
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
        let there = There(self);
        loop {
            // It ends when nothing was said for long, or when the line fails.
            if let Err(error) = talk(&mut line, Transport::Rtu, Some(settings), &there).await {
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
