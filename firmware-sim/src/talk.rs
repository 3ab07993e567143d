//! One conversation over any stream of bytes: requests are found in it, and what somebody decides is done.
//!
//! Whatever answers ([`Answers`]) only says what to do ([`Act`]); waits are tokio's, so where its time is paused they are
//! virtual. A stream is anything: a socket, a pty, `tokio::io::duplex`.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

use crate::face::answer::{Act, Then};
use crate::face::frame::{FRAME_MAX, Found, Request, Transport, find};

/// A connection that says nothing for so long (real time) is closed: its place may be the last.
const IDLE: Duration = Duration::from_mins(5);
/// Things to be done later on one connection at most; beyond it the earliest is done at once.
const LATER_MAX: usize = 256;

/// Whoever answers requests.
pub trait Answers {
    /// What to do for a request, in order.
    fn answer(&self, request: Request) -> impl Future<Output = Vec<Act>> + Send;
}

/// Answers requests until the other side, or a fault, ends it.
pub async fn talk(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    transport: Transport,
    answers: &impl Answers,
) -> std::io::Result<()> {
    let mut held: Vec<u8> = Vec::with_capacity(FRAME_MAX);
    let mut chunk = [0; FRAME_MAX];
    let mut later = Later::default();
    let mut idle_at = Instant::now() + IDLE;
    loop {
        match find(transport, &held) {
            Found::Lost => return Ok(()),
            Found::Skip(bytes) => {
                held.drain(..bytes);
            }
            Found::Request(request, bytes) => {
                held.drain(..bytes);
                let asked = Instant::now();
                for act in answers.answer(request).await {
                    match act {
                        Act::Wait(pause) => tokio::time::sleep(pause).await,
                        Act::Send(bytes) => io.write_all(&bytes).await?,
                        Act::After(pause, then) => later.add(asked + pause, then),
                        Act::HangUp => return Ok(()),
                        Act::GoDeaf => return swallow(io, &mut chunk).await,
                    }
                }
            }
            // No frame is longer than FRAME_MAX, so `held` cannot grow beyond two chunks.
            Found::More => tokio::select! {
                // What is due goes before what comes at the same moment.
                biased;
                () = sleep_until(later.due().unwrap_or(idle_at)) => match later.take() {
                    None | Some(Then::HangUp) => return Ok(()),
                    Some(Then::Send(bytes)) => io.write_all(&bytes).await?,
                },
                read = io.read(&mut chunk) => match read? {
                    0 => return Ok(()),
                    bytes => {
                        held.extend_from_slice(&chunk[..bytes]);
                        idle_at = Instant::now() + IDLE;
                    }
                },
            },
        }
    }
}

/// The device has forgotten this connection: bytes go nowhere and nothing says so. Ends with the client, or with its patience.
async fn swallow(mut io: impl AsyncRead + Unpin, chunk: &mut [u8]) -> std::io::Result<()> {
    while let Ok(read) = tokio::time::timeout(IDLE, io.read(chunk)).await {
        if read? == 0 {
            return Ok(());
        }
    }
    Ok(())
}

/// What will be done later, by its time; what was said first goes first.
#[derive(Default)]
struct Later(std::collections::VecDeque<(Instant, Then)>);

impl Later {
    fn add(&mut self, at: Instant, then: Then) {
        if self.0.len() >= LATER_MAX
            && let Some(first) = self.0.front_mut()
        {
            first.0 = Instant::now();
        }
        let place = self.0.partition_point(|(due, _)| *due <= at);
        self.0.insert(place, (at, then));
    }

    fn due(&self) -> Option<Instant> {
        self.0.front().map(|(due, _)| *due)
    }

    fn take(&mut self) -> Option<Then> {
        self.0.pop_front().map(|(_, then)| then)
    }
}
