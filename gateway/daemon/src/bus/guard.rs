//! One line or connection that never hands out an answer to another question.
//!
//! - A request goes out only onto a silent line: what came before it is read away, looked at and counted.
//! - The answer has the unit, the function and exactly the length that was asked for, and on Modbus TCP the transaction id.
//! - Modbus TCP: any doubt ends the connection. An answer to an earlier request of the same connection is told by its
//!   transaction id, counted as late and passed over.
//! - RTU, where an answer does not say what it answers: no question is asked whose answer could be taken for a late one of
//!   another address ([`super::ghosts`]); where the same question was left unanswered, silence for the longest answer time
//!   ever seen and 3.5 characters, then one read that is thrown away. What may have been the copy of an older answer is taken for the same
//!   question only, and another is not asked before the longest answer time ever seen has passed: its own answer is still to come, or somebody else's. A serial line stays open; a connection to a serial
//!   server ends after any oddity, and after three requests in a row that met silence.
//!
//! Leaves out: when to ask and when to connect again ([`super`]), what the words mean ([`super::decode`]).

use std::io;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use gateway_model::BadCause;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{timeout, timeout_at};

use super::dial::{Dial, Stream};
use super::frame::{self, Body, FRAME_MAX, Found, Framing, Shape};
use super::ghosts::{Ghosts, Obstacle, late_max};
use crate::clock;
use crate::config::{BusPlan, Transport};

pub use super::frame::Question;

/// Opening a connection may take this long. Real time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes before a frame that a transceiver may add when the line turns around.
const STRAY_MAX: usize = 4;
/// Requests in a row that meet silence before a connection to a serial server is thought dead.
const SILENT_MAX: u32 = 3;
/// Transaction ids back from the last one that are known as ours.
const RECENT: u16 = 64;
/// A fresh connection to a serial server is listened to for the time-out of a request, but no longer than this: it may still
/// hold what came while nobody was connected.
const LISTEN_MAX: Duration = Duration::from_millis(300);
/// Silence after bytes that nobody asked for, at least: serial servers and converters deliver in pieces.
const QUIET_MIN: Duration = Duration::from_millis(10);

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

/// The words of an answer and its frame, where there is one already.
type Looked = Option<(Vec<u16>, Vec<u8>)>;

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
    #[error("bytes that are no Modbus frame: {0}")]
    Malformed(&'static str),
    /// Two different answers to one request.
    #[error("two different answers from unit {unit}")]
    TwoAnswers {
        /// Who.
        unit: u8,
    },
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
            Self::Foreign
            | Self::Unasked
            | Self::WrongLength { .. }
            | Self::Malformed(_)
            | Self::TwoAnswers { .. } => BadCause::Malformed,
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
            Self::TwoAnswers { .. } => "two_answers",
            Self::Impossible { .. } => "impossible",
        }
    }
}

/// What was heard beside the answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answers to earlier requests, late or doubled, that were kept from every point.
    pub late: u64,
    /// Other bytes that nobody asked for, per silence.
    pub unasked: u64,
    /// Answers with a few stray bytes before them.
    pub stray: u64,
    /// Requests heard back: an echo of the adapter.
    pub echoes: u64,
    /// Second, different answers: two devices with one unit id.
    pub twins: u64,
    /// Reads that were thrown away after a doubt.
    pub thrown_away: u64,
}

/// One line or connection, one question at a time.
pub struct Link {
    transport: Transport,
    limit: Duration,
    gap: Duration,
    /// How long one character takes; zero where the speed is not known.
    character: Duration,
    /// 3.5 characters.
    silence: Duration,
    stream: Option<Box<dyn Stream>>,
    buffer: Vec<u8>,
    request: Vec<u8>,
    transaction: u16,
    /// First id of this connection.
    opened_at: u16,
    ghosts: Ghosts,
    /// A question whose end was not seen: its caller went away.
    asking: Option<(Question, Instant)>,
    /// A question whose answer may have been the copy of an older one: until then its own may come.
    owed: Option<(Question, Instant)>,
    heard_at: Option<Instant>,
    /// The last answer: its shape, and how its frame ended.
    last: Option<(Shape, [u8; 2])>,
    slowest: Duration,
    silent: u32,
    /// Nothing was asked on this connection yet.
    fresh: bool,
    tally: Tally,
}

impl Link {
    /// Not connected yet.
    pub fn new(plan: &BusPlan) -> Self {
        Self {
            transport: plan.transport,
            limit: plan.timeout,
            gap: plan.gap,
            character: plan.character(),
            silence: plan.silence(),
            stream: None,
            buffer: Vec::with_capacity(2 * FRAME_MAX),
            request: Vec::with_capacity(16),
            transaction: 0,
            opened_at: 0,
            ghosts: Ghosts::default(),
            asking: None,
            owed: None,
            heard_at: None,
            last: None,
            slowest: Duration::ZERO,
            silent: 0,
            fresh: false,
            tally: Tally::default(),
        }
    }

    /// How long an answer may take from now on, beside what its bytes take on the line.
    pub fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Is there a connection that may be used?
    pub fn is_up(&self) -> bool {
        self.stream.is_some()
    }

    /// What was heard beside answers since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Opens a connection.
    pub async fn connect(&mut self, dial: &dyn Dial, address: &str) -> Result<(), BusError> {
        self.stream = None;
        let failed = |source| BusError::Connect { address: address.to_owned(), source };
        let stream = timeout(CONNECT_TIMEOUT, dial.dial(address))
            .await
            .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
            .map_err(failed)?;
        self.attach(stream);
        Ok(())
    }

    /// Uses a connection that is already open.
    pub fn attach(&mut self, stream: impl Stream + 'static) {
        self.buffer.clear();
        self.last = None;
        self.silent = 0;
        // Before the very first question nothing can be on its way.
        self.fresh = self.transaction > 0;
        self.opened_at = self.transaction;
        self.stream = Some(Box::new(stream));
    }

    /// When `question` may be asked without waiting for an older answer to become impossible; `None` = `now`.
    pub fn held_until(&self, question: Question, now: Instant) -> Option<Instant> {
        // Modbus TCP says what it answers.
        if self.framing() == Framing::Tcp {
            return None;
        }
        match self.ghosts.obstacle(question, now) {
            Obstacle::Wrong { until } => Some(until),
            Obstacle::Stale { .. } | Obstacle::None => None,
        }
    }

    /// Asks one question. Drop-safe: a caller that goes away leaves a link that will not be used again.
    pub async fn ask(&mut self, question: Question) -> Result<Answer, BusError> {
        let max = question.limit();
        if !(1..=max).contains(&question.count) {
            return Err(BusError::Impossible { count: question.count, max });
        }
        if let Some((abandoned, sent)) = self.asking.take() {
            self.remember(abandoned, sent, true);
        }
        // Taken out: a cancelled call must not leave it behind.
        let mut stream = self.stream.take().ok_or(BusError::NotConnected)?;
        let outcome = self.talk(&mut *stream, question).await;
        if self.stays(&outcome) {
            self.stream = Some(stream);
        }
        outcome
    }

    fn framing(&self) -> Framing {
        self.transport.framing()
    }

    /// May the stream be used again after this?
    fn stays(&mut self, outcome: &Result<Answer, BusError>) -> bool {
        match outcome {
            Ok(_) | Err(BusError::Exception { .. }) => {
                self.silent = 0;
                true
            }
            Err(BusError::Timeout { .. }) if self.framing() == Framing::Rtu => {
                self.silent += 1;
                self.transport == Transport::Rtu || self.silent < SILENT_MAX
            }
            Err(
                BusError::Timeout { .. }
                | BusError::Foreign
                | BusError::Unasked
                | BusError::WrongLength { .. }
                | BusError::Malformed(_)
                | BusError::TwoAnswers { .. },
            ) => self.transport == Transport::Rtu,
            Err(
                BusError::Broken(_)
                | BusError::Connect { .. }
                | BusError::NotConnected
                | BusError::Impossible { .. },
            ) => false,
        }
    }

    async fn talk(&mut self, stream: &mut dyn Stream, question: Question) -> Result<Answer, BusError> {
        if std::mem::take(&mut self.fresh) && self.framing() == Framing::Rtu {
            self.listen(stream, clock::instant() + self.limit.min(LISTEN_MAX)).await?;
        }
        if let Some((_, until)) = self.owed.take_if(|(owed, _)| *owed != question) {
            self.listen(stream, until).await?;
        }
        self.settle(stream).await?;
        if self.framing() == Framing::Rtu {
            self.clear_the_way(stream, question).await?;
        }
        self.exchange(stream, question).await
    }

    /// Waits until no answer but its own can be taken for the answer to `question`.
    async fn clear_the_way(&mut self, stream: &mut dyn Stream, question: Question) -> Result<(), BusError> {
        loop {
            match self.ghosts.obstacle(question, clock::instant()) {
                Obstacle::None => return Ok(()),
                Obstacle::Wrong { until } => {
                    self.listen(stream, until).await?;
                    self.settle(stream).await?;
                }
                Obstacle::Stale { sent } => {
                    let since = self.heard_at.map_or(sent, |heard| heard.max(sent));
                    self.listen(stream, since + self.slowest + self.silence).await?;
                    self.settle(stream).await?;
                    self.tally.thrown_away += 1;
                    match self.exchange(stream, question).await {
                        Ok(_) | Err(BusError::Exception { .. }) => {}
                        Err(error) => return Err(error),
                    }
                    self.ghosts.trust_again(question);
                    return self.settle(stream).await;
                }
            }
        }
    }

    /// Reads until a moment; what comes is looked at by [`Self::settle`].
    async fn listen(&mut self, stream: &mut dyn Stream, until: Instant) -> Result<(), BusError> {
        while let Ok(read) = timeout_at(until.into(), self.read(stream)).await {
            read?;
            self.trim();
        }
        Ok(())
    }

    /// Keeps what is remembered of an unasked stream of bytes within a frame or two.
    fn trim(&mut self) {
        if self.buffer.len() > 2 * FRAME_MAX {
            self.buffer.clear();
            self.tally.unasked += 1;
        }
    }

    async fn read(&mut self, stream: &mut dyn Stream) -> Result<(), BusError> {
        let mut scrap = [0; FRAME_MAX];
        match stream.read(&mut scrap).await {
            Ok(0) => Err(BusError::Broken(io::ErrorKind::UnexpectedEof.into())),
            Ok(bytes) => {
                self.buffer.extend_from_slice(&scrap[..bytes]);
                self.heard_at = Some(clock::instant());
                Ok(())
            }
            Err(error) => Err(BusError::Broken(error)),
        }
    }

    /// Makes sure that the line is silent and was for long enough; looks at what came since the last answer.
    async fn settle(&mut self, stream: &mut dyn Stream) -> Result<(), BusError> {
        let mut came = !self.buffer.is_empty();
        while let Some(read) = self.read(stream).now_or_never() {
            read?;
            came = true;
            self.trim();
        }
        if came {
            self.drain(stream).await?;
        }
        if let Some(heard) = self.heard_at {
            let pause = self.gap.max(self.silence);
            if !pause.is_zero() {
                tokio::time::sleep_until((heard + pause).into()).await;
            }
        }
        Ok(())
    }

    async fn drain(&mut self, stream: &mut dyn Stream) -> Result<(), BusError> {
        if self.framing() == Framing::Tcp {
            return self.pass_over_late().map_or(Err(BusError::Unasked), |()| Ok(()));
        }
        // A line that is never silent is somebody else's, or broken.
        let end = clock::instant() + self.limit;
        let quiet = self.silence.max(QUIET_MIN);
        while let Ok(read) = timeout(quiet, self.read(stream)).await {
            read?;
            self.trim();
            if clock::instant() > end {
                self.buffer.clear();
                return Err(BusError::Unasked);
            }
        }
        self.look_at_leftovers();
        Ok(())
    }

    /// Modbus TCP: everything in the buffer are answers to earlier requests of this connection; else `None`.
    fn pass_over_late(&mut self) -> Option<()> {
        while !self.buffer.is_empty() {
            let Found::Frame(found) = frame::find(Framing::Tcp, &self.buffer) else { return None };
            let (id, length) = (found.transaction?, found.bytes.len());
            if !self.is_recent(id) {
                return None;
            }
            self.tally.late += 1;
            self.buffer.drain(..length);
        }
        Some(())
    }

    /// Is it an id that this connection has used?
    fn is_recent(&self, id: u16) -> bool {
        let back = self.transaction.wrapping_sub(id);
        back < RECENT && back < self.transaction.wrapping_sub(self.opened_at)
    }

    /// RTU: what came while nobody was asked. Counted, and forgotten.
    fn look_at_leftovers(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut rest = &buffer[..];
        while !rest.is_empty() {
            let Found::Frame(found) = frame::find(Framing::Rtu, rest) else { break };
            self.count_leftover(&found);
            rest = &rest[found.bytes.len()..];
        }
        if rest.len() > STRAY_MAX {
            self.tally.unasked += 1;
        } else if !rest.is_empty() {
            self.tally.stray += 1;
        }
        self.buffer = buffer;
        self.buffer.clear();
    }

    fn count_leftover(&mut self, found: &frame::Frame<'_>) {
        let Some(shape) = found.shape() else {
            self.tally.late += 1;
            return;
        };
        let heard = self.heard_at.unwrap_or_else(clock::instant);
        match (self.last, self.ghosts.recognise(shape, heard)) {
            (Some((last, end)), _) if last == shape && !found.bytes.ends_with(&end) => self.tally.twins += 1,
            (_, Some(age)) => {
                self.slowest = self.slowest.max(age);
                self.tally.late += 1;
            }
            (_, None) => self.tally.unasked += 1,
        }
    }

    /// One request and its answer.
    async fn exchange(&mut self, stream: &mut dyn Stream, question: Question) -> Result<Answer, BusError> {
        let framing = self.framing();
        self.transaction = self.transaction.wrapping_add(1);
        self.request.clear();
        frame::write_request(framing, question, self.transaction, &mut self.request);
        self.buffer.clear();
        self.last = None;
        let asked = clock::instant();
        self.asking = Some((question, asked));
        let limit = self.limit_of(question);
        let written = stream.write_all(&self.request).await;
        let outcome = match written {
            Ok(()) => self.answer(stream, question, asked, limit).await,
            Err(error) => Err(BusError::Broken(error)),
        };
        self.asking = None;
        self.heard_at = Some(clock::instant());
        match &outcome {
            Ok(answer) => {
                self.slowest = self.slowest.max(answer.answered.saturating_duration_since(asked));
                let copy = self.framing() == Framing::Rtu && self.ghosts.expects(question, asked);
                self.owed = copy.then_some((question, asked + self.slowest + self.silence));
                self.remember(question, asked, false);
            }
            // A refusal may be that of a gateway on the way, and the device's own answer still come.
            Err(_) => self.remember(question, asked, true),
        }
        outcome
    }

    /// How long a question may take: the time-out, and what its bytes and those of its answer take on the line.
    fn limit_of(&self, question: Question) -> Duration {
        let on_the_line = question.request_bytes(Framing::Rtu) + question.answer_bytes(Framing::Rtu);
        self.limit + self.character * on_the_line as u32
    }

    fn remember(&mut self, question: Question, sent: Instant, doubtful: bool) {
        let limit = self.limit_of(question);
        if self.framing() == Framing::Rtu {
            // What was taken for the answer may have been that to an older asking: then its own is still to come.
            let until = if doubtful || self.ghosts.expects(question, sent) {
                sent + late_max(limit)
            } else {
                // A second copy of an answer follows the first sooner than the slowest answer followed its request.
                clock::instant() + (self.slowest * 2).clamp(QUIET_MIN * 2, self.limit.max(QUIET_MIN * 2))
            };
            self.ghosts.add(question, sent, until, doubtful);
        }
    }

    async fn answer(
        &mut self,
        stream: &mut dyn Stream,
        question: Question,
        asked: Instant,
        limit: Duration,
    ) -> Result<Answer, BusError> {
        let end = asked + limit;
        let unit = question.unit.0;
        loop {
            match timeout_at(end.into(), self.read(stream)).await {
                Err(_) if self.buffer.is_empty() => return Err(BusError::Timeout { unit, after: limit }),
                Err(_) => return Err(BusError::Malformed("they end before a frame does")),
                Ok(read) => read?,
            }
            let seen = match self.framing() {
                Framing::Tcp => self.look_tcp(question)?,
                Framing::Rtu => self.look_rtu(question)?,
            };
            if let Some((words, frame)) = seen {
                return Ok(Answer { words, frame, asked, answered: clock::instant() });
            }
            if self.buffer.len() > 2 * FRAME_MAX {
                return Err(BusError::Malformed("more than any answer"));
            }
        }
    }

    fn look_tcp(&mut self, question: Question) -> Result<Looked, BusError> {
        loop {
            let found = match frame::find(Framing::Tcp, &self.buffer) {
                Found::More => return Ok(None),
                Found::Junk(why) => return Err(BusError::Malformed(why)),
                Found::Frame(found) => found,
            };
            let length = found.bytes.len();
            if found.transaction != Some(self.transaction) {
                if !found.transaction.is_some_and(|id| self.is_recent(id)) {
                    return Err(BusError::Foreign);
                }
                self.tally.late += 1;
                self.buffer.drain(..length);
                continue;
            }
            let words = matched(question, &found)?.ok_or(BusError::Foreign)?;
            let frame = found.bytes.to_vec();
            self.buffer.drain(..length);
            // Anything behind it but a copy or a late answer: then this one may be the end of one and the start of another.
            self.pass_over_late().ok_or(BusError::Unasked)?;
            return Ok(Some((words, frame)));
        }
    }

    fn look_rtu(&mut self, question: Question) -> Result<Looked, BusError> {
        loop {
            for stray in 0..=STRAY_MAX.min(self.buffer.len()) {
                let Found::Frame(found) = frame::find(Framing::Rtu, &self.buffer[stray..]) else { continue };
                let (unit, shape) = (found.unit, found.shape());
                let Some(words) = matched(question, &found).transpose() else { continue };
                let words = match words {
                    Ok(words) => words,
                    Err(BusError::WrongLength { .. }) => continue,
                    Err(error) => return Err(error),
                };
                let frame = found.bytes.to_vec();
                self.tally.stray += u64::from(stray > 0);
                self.buffer.drain(..stray + frame.len());
                let end = [frame[frame.len() - 2], frame[frame.len() - 1]];
                self.last = shape.map(|shape| (shape, end));
                if let Found::Frame(second) = frame::find(Framing::Rtu, &self.buffer)
                    && second.shape() == shape
                    && !second.bytes.ends_with(&end)
                {
                    self.tally.twins += 1;
                    return Err(BusError::TwoAnswers { unit });
                }
                return Ok(Some((words, frame)));
            }
            if self.buffer.len() >= self.request.len() && self.buffer.starts_with(&self.request) {
                self.tally.echoes += 1;
                self.buffer.drain(..self.request.len());
                continue;
            }
            match frame::find(Framing::Rtu, &self.buffer) {
                Found::More => return Ok(None),
                Found::Junk(why) => {
                    let head = [question.unit.0, question.function.code(), question.shape().bytes];
                    if self.buffer.starts_with(&head)
                        && self.buffer.len() >= question.answer_bytes(Framing::Rtu)
                    {
                        return Err(BusError::Malformed(why));
                    }
                    return Ok(None);
                }
                Found::Frame(found) => {
                    let length = found.bytes.len();
                    match self.late(question, &found) {
                        Ok(age) => self.slowest = self.slowest.max(age),
                        Err(error) => return Err(error),
                    }
                    self.tally.late += 1;
                    self.buffer.drain(..length);
                }
            }
            if self.buffer.is_empty() {
                return Ok(None);
            }
        }
    }

    /// A sound frame that is not the answer: how late it is, or what is wrong with it.
    fn late(&self, question: Question, found: &frame::Frame<'_>) -> Result<Duration, BusError> {
        let now = clock::instant();
        let age = match (found.shape(), found.body) {
            (Some(shape), _) => self.ghosts.recognise(shape, now),
            (None, Body::Exception { function, .. }) => {
                self.ghosts.recognise_refusal(found.unit, function, now).then_some(Duration::ZERO)
            }
            (None, Body::Data { .. }) => None,
        };
        age.ok_or_else(|| match matched(question, found) {
            Err(error @ BusError::WrongLength { .. }) => error,
            Ok(_) | Err(_) => BusError::Foreign,
        })
    }
}

/// The words of a sound frame, if it answers the question: unit, function, length. `None`: somebody else's.
fn matched(question: Question, found: &frame::Frame<'_>) -> Result<Option<Vec<u16>>, BusError> {
    let unit = question.unit.0;
    if found.unit != unit {
        return Ok(None);
    }
    match found.body {
        Body::Exception { function, code } if function == question.function.code() => {
            Err(BusError::Exception { unit, code })
        }
        Body::Data { function, data } if function == question.function.code() => {
            if data.len() != usize::from(question.shape().bytes) {
                let got = if question.function.of_bits() { data.len() * 8 } else { data.len() / 2 };
                return Err(BusError::WrongLength { unit, asked: question.count.into(), got });
            }
            Ok(Some(frame::words(question, data)))
        }
        Body::Exception { .. } | Body::Data { .. } => Ok(None),
    }
}
