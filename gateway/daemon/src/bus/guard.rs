//! One Modbus connection that never hands out an answer to another question.
//!
//! `tokio-modbus` sends and decodes; everything it does not check is checked here:
//! - after any failure but a Modbus exception the connection is dropped, because a late answer to the abandoned
//!   request would be taken for the answer to the next one (RTU has no transaction id);
//! - a request goes out only onto a silent line: a byte that nobody asked for ends the connection;
//! - the answer has the unit, the function and exactly the length that was asked for;
//! - after a failure on RTU over TCP the new connection is first listened to, because a serial server may still
//!   deliver the late answer through it.
//!
//! Leaves out: when to ask and when to connect again ([`super`]), what the words mean ([`super::decode`]).

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use gateway_model::BadCause;
use gateway_wire::FRAME_MAX;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_modbus::client::{Client, Context};
use tokio_modbus::prelude::SlaveContext;
use tokio_modbus::{Request, Response, Slave};

use super::dial::Dial;
use crate::clock;
use crate::config::{FunctionCode, Transport, UnitId};

/// Registers in one answer, at most: 250 bytes fit a frame.
const REGISTERS_MAX: u16 = 125;
/// Bits in one answer, at most.
const BITS_MAX: u16 = 2000;
/// Opening a connection may take this long. Real time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A fresh RTU connection after a failure is listened to for the time-out of a request, but no longer than this.
const LISTEN_MAX: Duration = Duration::from_millis(300);

/// One question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Whom.
    pub unit: UnitId,
    /// What.
    pub function: FunctionCode,
    /// First register or bit, from 0.
    pub first: u16,
    /// How many.
    pub count: u16,
}

/// Its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Registers, or bits as 0 and 1: exactly as many as were asked for.
    pub words: Vec<u16>,
    /// The frame as it came from the wire.
    pub frame: Vec<u8>,
    /// When the request was sent.
    pub asked: Instant,
    /// When the answer was complete.
    pub answered: Instant,
}

impl Answer {
    /// The moment the reading is stamped with: half-way between question and answer.
    pub fn midpoint(&self) -> Instant {
        self.asked + self.answered.saturating_duration_since(self.asked) / 2
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// No connection.
    #[error("connect to {address}")]
    Connect {
        /// Where.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The last attempt failed, the next is not due yet.
    #[error("not connected")]
    NotConnected,
    /// Nothing came in time.
    #[error("no answer from unit {unit} within {after:?}")]
    Timeout {
        /// Whom.
        unit: u8,
        /// How long.
        after: Duration,
    },
    /// The other side hung up, or the network did.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The device said no.
    #[error("unit {unit} answered with exception {code}")]
    Exception {
        /// Who.
        unit: u8,
        /// The exception code.
        code: u8,
    },
    /// An answer, but of another unit, to another function or another request.
    #[error("an answer that belongs to another question")]
    Foreign,
    /// Bytes before anything was asked.
    #[error("bytes that nobody asked for")]
    Unasked,
    /// Not as long as asked for.
    #[error("unit {unit} answered {got} words or bits where {asked} were asked for")]
    WrongLength {
        /// Who.
        unit: u8,
        /// Asked for.
        asked: usize,
        /// Came.
        got: usize,
    },
    /// Not a Modbus frame.
    #[error("bytes that are no Modbus frame")]
    Malformed(#[source] io::Error),
    /// The question itself is impossible; it was not sent.
    #[error("{count} in one request is outside 1..={max}")]
    Impossible {
        /// Asked for.
        count: u16,
        /// Limit.
        max: u16,
    },
}

impl BusError {
    /// What readings say about it.
    pub fn cause(&self) -> BadCause {
        match self {
            Self::Connect { .. } | Self::NotConnected | Self::Timeout { .. } | Self::Broken(_) => {
                BadCause::NoCommunication
            }
            // A Modbus TCP gateway says so when the device behind it is silent.
            Self::Exception { code: 0x0A | 0x0B, .. } => BadCause::NoCommunication,
            Self::Exception { .. } | Self::Impossible { .. } => BadCause::DeviceRefused,
            Self::Foreign | Self::Unasked | Self::WrongLength { .. } | Self::Malformed(_) => {
                BadCause::Malformed
            }
        }
    }

    /// A name to count it by.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Connect { .. } | Self::NotConnected => "connect",
            Self::Timeout { .. } => "timeout",
            Self::Broken(_) => "broken",
            Self::Exception { .. } => "exception",
            Self::Foreign => "foreign",
            Self::Unasked => "unasked",
            Self::WrongLength { .. } => "wrong_length",
            Self::Malformed(_) => "malformed",
            Self::Impossible { .. } => "impossible",
        }
    }

    /// Is it certain that nothing more of this exchange is on its way?
    fn is_over(&self) -> bool {
        match self {
            Self::Exception { .. } | Self::Impossible { .. } => true,
            Self::Connect { .. }
            | Self::NotConnected
            | Self::Timeout { .. }
            | Self::Broken(_)
            | Self::Foreign
            | Self::Unasked
            | Self::WrongLength { .. }
            | Self::Malformed(_) => false,
        }
    }
}

/// One connection, one question at a time.
pub struct Link {
    transport: Transport,
    limit: Duration,
    gap: Duration,
    session: Option<Session>,
    failed: bool,
    answered: Option<Instant>,
}

struct Session {
    context: Context,
    heard: Arc<Mutex<Heard>>,
}

impl Link {
    /// Not connected yet. `limit`: how long an answer may take; `gap`: silence kept after each answer.
    pub fn new(transport: Transport, limit: Duration, gap: Duration) -> Self {
        Self { transport, limit, gap, session: None, failed: false, answered: None }
    }

    /// How long an answer may take from now on.
    pub fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Is there a connection that may be used?
    pub fn is_up(&self) -> bool {
        self.session.is_some()
    }

    /// Opens a connection.
    pub async fn connect(&mut self, dial: &dyn Dial, address: &str) -> Result<(), BusError> {
        self.session = None;
        let failed = |source| BusError::Connect { address: address.to_owned(), source };
        let mut stream = timeout(CONNECT_TIMEOUT, dial.dial(address))
            .await
            .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
            .map_err(failed)?;
        if self.failed && self.transport == Transport::RtuOverTcp {
            listen(&mut stream, self.limit.min(LISTEN_MAX)).await.map_err(failed)?;
        }
        self.attach(stream);
        Ok(())
    }

    /// Uses a connection that is already open.
    pub fn attach<S>(&mut self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug + 'static,
    {
        let heard = Arc::new(Mutex::new(Heard::default()));
        let tap = Tap { stream, heard: heard.clone() };
        let context = match self.transport {
            Transport::Tcp => tokio_modbus::client::tcp::attach(tap),
            Transport::RtuOverTcp => tokio_modbus::client::rtu::attach(tap),
        };
        self.failed = false;
        self.session = Some(Session { context, heard });
    }

    /// Asks one question. Drop-safe: a caller that goes away leaves a link that will not be used again.
    pub async fn ask(&mut self, question: Question) -> Result<Answer, BusError> {
        let (request, max) = match question.function {
            FunctionCode::Coils => (Request::ReadCoils(question.first, question.count), BITS_MAX),
            FunctionCode::DiscreteInputs => {
                (Request::ReadDiscreteInputs(question.first, question.count), BITS_MAX)
            }
            FunctionCode::HoldingRegisters => {
                (Request::ReadHoldingRegisters(question.first, question.count), REGISTERS_MAX)
            }
            FunctionCode::InputRegisters => {
                (Request::ReadInputRegisters(question.first, question.count), REGISTERS_MAX)
            }
        };
        if !(1..=max).contains(&question.count) {
            return Err(BusError::Impossible { count: question.count, max });
        }
        // Taken out: a cancelled call must not leave it behind.
        let mut session = self.session.take().ok_or(BusError::NotConnected)?;
        self.failed = true;
        if let Some(answered) = self.answered {
            tokio::time::sleep_until((answered + self.gap).into()).await;
        }
        let outcome = exchange(&mut session, question, request, self.limit).await.and_then(|answer| {
            if self.overfull(question, &answer) { Err(BusError::Unasked) } else { Ok(answer) }
        });
        self.answered = Some(clock::instant());
        if match &outcome {
            Ok(_) => true,
            Err(error) => error.is_over(),
        } {
            self.failed = false;
            self.session = Some(session);
        }
        outcome
    }
}

impl Link {
    /// Did more come than the answer? On TCP nothing may: the rest would be somebody else's answer. On a line behind a
    /// serial server a stray byte at the turn-around is common, and a second frame is caught by its CRC or as unasked.
    fn overfull(&self, question: Question, answer: &Answer) -> bool {
        let count = usize::from(question.count);
        let data = match question.function {
            FunctionCode::Coils | FunctionCode::DiscreteInputs => count.div_ceil(8),
            FunctionCode::HoldingRegisters | FunctionCode::InputRegisters => count * 2,
        };
        // Header of seven bytes, function, byte count.
        self.transport == Transport::Tcp && answer.frame.len() > 9 + data
    }
}

async fn exchange(
    session: &mut Session,
    question: Question,
    request: Request<'static>,
    limit: Duration,
) -> Result<Answer, BusError> {
    let unit = question.unit.0;
    session.context.set_slave(Slave(unit));
    heard(&session.heard).begin();
    let asked = clock::instant();
    let called = timeout(limit, session.context.call(request)).await;
    let answered = clock::instant();
    let (frame, unasked) = heard(&session.heard).end();
    let response = match called {
        _ if unasked => return Err(BusError::Unasked),
        Err(_) => return Err(BusError::Timeout { unit, after: limit }),
        Ok(Err(tokio_modbus::Error::Protocol(_))) => return Err(BusError::Foreign),
        Ok(Err(tokio_modbus::Error::Transport(error))) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(BusError::Malformed(error));
        }
        // At a clean hang-up the library shows whatever errno was last set: not worth showing.
        Ok(Err(tokio_modbus::Error::Transport(_))) if frame.is_empty() => {
            return Err(BusError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(Err(tokio_modbus::Error::Transport(error))) => return Err(BusError::Broken(error)),
        Ok(Ok(Err(exception))) => return Err(BusError::Exception { unit, code: exception.into() }),
        Ok(Ok(Ok(response))) => response,
    };
    let wanted = usize::from(question.count);
    let (mut words, expected) = match (question.function, response) {
        (FunctionCode::Coils, Response::ReadCoils(bits))
        | (FunctionCode::DiscreteInputs, Response::ReadDiscreteInputs(bits)) => {
            // Bits come in whole bytes.
            (bits.into_iter().map(u16::from).collect::<Vec<_>>(), wanted.div_ceil(8) * 8)
        }
        (FunctionCode::HoldingRegisters, Response::ReadHoldingRegisters(words))
        | (FunctionCode::InputRegisters, Response::ReadInputRegisters(words)) => (words, wanted),
        _ => return Err(BusError::Foreign),
    };
    if words.len() != expected {
        return Err(BusError::WrongLength { unit, asked: wanted, got: words.len() });
    }
    words.truncate(wanted);
    Ok(Answer { words, frame, asked, answered })
}

/// Reads and forgets what an earlier request may still bring.
async fn listen(stream: &mut (impl AsyncRead + Unpin), span: Duration) -> io::Result<()> {
    let mut scrap = [0; 256];
    let end = tokio::time::Instant::now() + span;
    loop {
        match tokio::time::timeout_at(end, stream.read(&mut scrap)).await {
            Err(_) => return Ok(()),
            Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error),
        }
    }
}

/// What came since the request was sent.
#[derive(Debug, Default)]
struct Heard {
    sending: bool,
    unasked: bool,
    bytes: Vec<u8>,
}

impl Heard {
    fn begin(&mut self) {
        *self = Self { sending: true, ..Self::default() };
    }

    fn end(&mut self) -> (Vec<u8>, bool) {
        (std::mem::take(&mut self.bytes), self.unasked)
    }
}

/// Held for a few instructions, never across an await.
fn heard(shared: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the bytes of each answer, and refuses to send onto a line that is not silent.
#[derive(Debug)]
struct Tap<S> {
    stream: S,
    heard: Arc<Mutex<Heard>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(task, buffer);
        if matches!(polled, Poll::Ready(Ok(()))) {
            let mut heard = heard(&self.heard);
            let room = FRAME_MAX.saturating_sub(heard.bytes.len());
            let new = &buffer.filled()[before..];
            heard.bytes.extend_from_slice(&new[..new.len().min(room)]);
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sending = std::mem::take(&mut heard(&self.heard).sending);
        if sending {
            let mut scrap = [0; 64];
            let mut early = ReadBuf::new(&mut scrap);
            match Pin::new(&mut self.stream).poll_read(task, &mut early) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) if early.filled().is_empty() => {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                Poll::Ready(Ok(())) => {
                    heard(&self.heard).unasked = true;
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        Pin::new(&mut self.stream).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}
