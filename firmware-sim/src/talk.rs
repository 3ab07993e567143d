//! One conversation over any stream of bytes: requests are found in it, and what somebody decides is done.
//!
//! Whatever answers ([`Answers`]) only says what to do ([`Act`]); waits are tokio's, so where its time is paused they are
//! virtual. A stream is anything: a socket, a pty, `tokio::io::duplex`. On a serial line bytes take as long as its rate
//! says, silence ends what came, and nobody can hang up.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

use crate::face::answer::{Act, Then};
use crate::face::frame::{FRAME_MAX, Found, Request, Transport, find};
use crate::line::Settings;

/// A connection on which nothing is said for so long (real time) is closed: its place may be the last.
const IDLE: Duration = Duration::from_mins(5);
/// So much silence on a line ends a request that is not complete. The standard's 3.5 characters are less than what a pty and
/// a busy machine put between two bytes of one request.
const SILENCE: Duration = Duration::from_millis(50);
/// Bytes that go out on a line at once, before it is waited for as long as they take.
const PIECE: usize = 16;
/// Things to be done later on one connection at most; beyond it the earliest is done at once.
const LATER_MAX: usize = 256;

/// Whoever answers requests.
pub trait Answers {
    /// What to do for a request, in order.
    fn answer(&self, request: Request) -> impl Future<Output = Vec<Act>> + Send;
}

/// Answers requests until the other side, or a fault, ends it; `line` is how the line is set where the stream is one.
pub async fn talk(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    transport: Transport,
    line: Option<Settings>,
    answers: &impl Answers,
) -> std::io::Result<()> {
    let mut held: Vec<u8> = Vec::with_capacity(FRAME_MAX);
    let mut chunk = [0; FRAME_MAX];
    let mut later = Later::default();
    let mut heard = Instant::now();
    loop {
        let acts = match find(transport, &held) {
            Found::Lost => return Ok(()),
            Found::Skip(bytes) => {
                held.drain(..bytes);
                continue;
            }
            Found::Request(request, bytes) => {
                held.drain(..bytes);
                answers.answer(request).await
            }
            // No frame is longer than FRAME_MAX, so `held` cannot grow beyond two chunks.
            Found::More => {
                let unfinished = line.is_some() && !held.is_empty();
                let patience = if unfinished { SILENCE } else { IDLE };
                tokio::select! {
                    // What is due goes before what comes at the same moment, and that before silence.
                    biased;
                    then = later.next() => vec![then.into()],
                    read = io.read(&mut chunk) => match read? {
                        0 => return Ok(()),
                        bytes => {
                            held.extend_from_slice(&chunk[..bytes]);
                            heard = Instant::now();
                            continue;
                        }
                    },
                    () = sleep_until(heard + patience), if unfinished => {
                        held.clear();
                        continue;
                    }
                    () = sleep_until(heard + patience), if line.is_none() && later.is_empty() => return Ok(()),
                }
            }
        };
        match act(&mut io, line, acts, &mut later).await? {
            Next::Listen => heard = Instant::now(),
            Next::End => return Ok(()),
            Next::Swallow => return swallow(io, &mut chunk).await,
        }
    }
}

/// How a conversation goes on.
pub(crate) enum Next {
    /// As before.
    Listen,
    /// It is over.
    End,
    /// See [`swallow`].
    Swallow,
}

/// Does what is to be done now, and notes what is to be done later.
pub(crate) async fn act(
    io: &mut (impl AsyncWrite + Unpin),
    line: Option<Settings>,
    acts: Vec<Act>,
    later: &mut Later,
) -> std::io::Result<Next> {
    let begun = Instant::now();
    for act in acts {
        match (act, line) {
            (Act::Wait(pause), _) => tokio::time::sleep(pause).await,
            (Act::After(pause, then), _) => later.add(begun + pause, then),
            (Act::Send(bytes), None) => io.write_all(&bytes).await?,
            (Act::Send(bytes), Some(line)) => {
                for piece in bytes.chunks(PIECE) {
                    io.write_all(piece).await?;
                    tokio::time::sleep(line.pause(piece.len())).await;
                }
            }
            // There is no connection on a line to close or to forget: nothing more comes, and that is all.
            (Act::HangUp | Act::GoDeaf, Some(_)) => return Ok(Next::Listen),
            (Act::HangUp, None) => return Ok(Next::End),
            (Act::GoDeaf, None) => return Ok(Next::Swallow),
        }
    }
    Ok(Next::Listen)
}

/// The device has forgotten this connection: bytes go nowhere and nothing says so. Ends with the client, or with its patience.
pub(crate) async fn swallow(mut io: impl AsyncRead + Unpin, chunk: &mut [u8]) -> std::io::Result<()> {
    while let Ok(read) = tokio::time::timeout(IDLE, io.read(chunk)).await {
        if read? == 0 {
            return Ok(());
        }
    }
    Ok(())
}

/// What will be done later, by its time; what was said first goes first.
#[derive(Default)]
pub(crate) struct Later(std::collections::VecDeque<(Instant, Then)>);

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

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits for the next of them; for ever where there is none. Forgets nothing when it is dropped before.
    pub(crate) async fn next(&mut self) -> Then {
        match self.0.front() {
            Some((due, _)) => sleep_until(*due).await,
            None => std::future::pending().await,
        }
        match self.0.pop_front() {
            Some((_, then)) => then,
            None => std::future::pending().await,
        }
    }
}
