//! A line whose devices do what a script says, in virtual time, and the gateway's own link at the other end of it.
//!
//! Checked against a decoder that shares nothing with the gateway's: an answer that the link hands out came after its question, is
//! sound, and has the unit, the function, the length and (Modbus TCP) the transaction id of it. Each register shows
//! its own address, so an answer of a device to another question is told from the right one also where both have one shape. The script
//! keeps to what `bus::ghosts` promises to survive: no answer later than five time-outs, no second copy of one later than 18 ms.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gateway::bus::guard::{Answer, Link, Question};
use gateway::bus::{decode, frame::Framing};
use gateway::commission::line::{self, Line};
use gateway::config::{
    BlockPoint, BusPlan, Encoding, EncodingKind, FunctionCode, Half, Transport, UnitId, WordOrder,
};
use gateway_model::PointIx;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;
use tokio::time::{Instant, Sleep, sleep_until};

/// What is asked; some have one shape and another address.
const QUESTIONS: [Question; 8] = [
    question(1, FunctionCode::InputRegisters, 0, 2),
    question(1, FunctionCode::InputRegisters, 10, 2),
    question(1, FunctionCode::InputRegisters, 20, 3),
    question(1, FunctionCode::HoldingRegisters, 0, 2),
    question(2, FunctionCode::InputRegisters, 0, 2),
    question(1, FunctionCode::Coils, 0, 8),
    question(1, FunctionCode::Coils, 16, 5),
    question(2, FunctionCode::HoldingRegisters, 100, 125),
];
const TIMEOUT: Duration = Duration::from_millis(100);
/// An answer is at most so late.
const LATE_MAX_MS: u64 = 490;
/// A second copy of an answer is at most so much later.
const COPY_MAX_MS: u64 = 18;
/// Questions of one run.
const ASKED_MAX: usize = 48;

const fn question(unit: u8, function: FunctionCode, first: u16, count: u16) -> Question {
    Question { unit: UnitId(unit), function, first, count }
}

thread_local! {
    static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
}

/// A script: how the line is, then question by question what is asked and what comes.
pub fn modbus(bytes: &[u8]) {
    let Some((&head, script)) = bytes.split_first() else { return };
    let transport = [Transport::Tcp, Transport::RtuOverTcp, Transport::Rtu][usize::from(head % 3)];
    decoded(script);
    let line = Wire::new(transport, script);
    RUNTIME.with(|runtime| {
        if head & 0x80 == 0 { runtime.block_on(polled(line)) } else { runtime.block_on(installed(line)) }
    });
}

/// As a bus asks.
async fn polled(line: Wire) {
    let plan = BusPlan {
        name: "line".into(),
        transport: line.0.transport,
        address: String::new(),
        timeout: TIMEOUT,
        gap: Duration::ZERO,
        line: None,
    };
    let mut link = Link::new(&plan);
    let mut late = 0;
    for _ in 0..ASKED_MAX {
        let Some(head) = line.state().byte() else { return };
        let question = QUESTIONS[usize::from(head % 8)];
        // Somebody stops waiting in the middle of it.
        let patience = if head & 8 == 0 { None } else { line.state().byte() };
        if !link.is_up() {
            line.state().hang_up();
            link.attach(line.clone());
        }
        line.state().question = question;
        let asked = link.ask(question);
        let outcome = match patience {
            None => asked.await,
            Some(ms) => match tokio::time::timeout(Duration::from_millis(ms.into()), asked).await {
                Ok(outcome) => outcome,
                Err(_) => continue,
            },
        };
        late += link.take_tally().late;
        if let Ok(answer) = outcome {
            line.state().check(&answer);
            super::planted(|| late > 0 && answer.words.len() > 8);
        }
    }
}

/// As whoever installs asks: nothing that comes makes it panic, and registers are as many as were asked for.
async fn installed(line: Wire) {
    let framing = match line.0.transport.framing() {
        Framing::Tcp => line::Framing::Tcp,
        Framing::Rtu => line::Framing::Rtu,
    };
    let mut asking = Line::new(Box::new(line.clone()), framing, TIMEOUT);
    for _ in 0..ASKED_MAX {
        let Some(head) = line.state().byte() else { return };
        let question = QUESTIONS[usize::from(head % 8)];
        line.state().question = question;
        let Question { unit, function, first, count } = question;
        let read = asking.read(unit.0, function, first, count).await.expect("nobody hangs up");
        if let Ok(words) = read {
            assert_eq!(words.len(), usize::from(count));
        }
    }
}

/// Words of anything, in every type and order.
fn decoded(bytes: &[u8]) {
    use EncodingKind::{Ascii, Bcd, Bit, Bits, F32, F64, I8, I16, I32, I64, RegisterBit, U8, U16, U32, U64};
    let words: Vec<u16> =
        bytes.chunks_exact(2).take(16).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    let (from, to) = (bytes.first().map_or(0, |n| n % 16), bytes.get(1).map_or(15, |n| n % 16));
    let kinds = [
        Bit,
        RegisterBit(from),
        Bits { from: from.min(to), to: from.max(to) },
        U8(Half::High),
        I8(Half::Low),
        U16,
        I16,
        U32,
        I32,
        U64,
        I64,
        F32,
        F64,
        Bcd(1 + from % 4),
        Ascii(1 + to),
    ];
    for kind in kinds {
        for order in [WordOrder::Abcd, WordOrder::Cdab, WordOrder::Badc, WordOrder::Dcba] {
            let encoding = Encoding { kind, order };
            let point = BlockPoint { point: PointIx(0), offset: 0, encoding, scale: None, codes: Vec::new() };
            let raw = decode::raw(&point, &words);
            let enough = usize::from(kind.words()) <= words.len();
            assert!(enough || raw.is_none(), "{kind:?} of too few words: {raw:?}");
        }
    }
}

/// The gateway's end of a line.
#[derive(Clone)]
struct Wire(Arc<Shared>);

struct Shared {
    transport: Transport,
    state: Mutex<State>,
}

struct State {
    framing: Framing,
    script: VecDeque<u8>,
    question: Question,
    /// What comes when.
    coming: Vec<(Instant, Piece)>,
    /// Bytes that the gateway has heard since its last request, each with its piece.
    heard: Vec<(u8, usize)>,
    /// What each piece answers, if it is a device's own answer.
    answers: Vec<Option<Question>>,
    transaction: u16,
    sleep: Option<Pin<Box<Sleep>>>,
}

struct Piece {
    bytes: VecDeque<u8>,
    number: usize,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl Wire {
    fn new(transport: Transport, script: &[u8]) -> Self {
        let state = State {
            framing: transport.framing(),
            script: script.iter().copied().collect(),
            question: QUESTIONS[0],
            coming: Vec::new(),
            heard: Vec::new(),
            answers: Vec::new(),
            transaction: 0,
            sleep: None,
        };
        Self(Arc::new(Shared { transport, state: Mutex::new(state) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nothing panics while it holds this")
    }
}

impl State {
    fn byte(&mut self) -> Option<u8> {
        self.script.pop_front()
    }

    fn or_zero(&mut self) -> u8 {
        self.byte().unwrap_or(0)
    }

    /// Another connection: what was under way on the old one of Modbus TCP is gone; a serial server goes on saying it.
    fn hang_up(&mut self) {
        if self.framing == Framing::Tcp {
            self.coming.clear();
        }
    }

    /// A request went out: what the script makes of it.
    fn asked(&mut self, request: &[u8]) {
        self.heard.clear();
        if self.framing == Framing::Tcp {
            self.transaction = u16::from_be_bytes([request[0], request[1]]);
        }
        let (question, transaction) = (self.question, self.transaction);
        // A device answers once, and perhaps once more.
        let mut answered = false;
        for _ in 0..self.or_zero() % 4 {
            let (kind, time) = (self.or_zero() % 8, u64::from(self.or_zero()));
            let own = self.framed(transaction, question.unit.0, &body(question));
            match kind {
                0 | 1 if !answered => {
                    answered = true;
                    let at = (time * 2).min(LATE_MAX_MS);
                    if kind == 1 {
                        self.say((at + time % COPY_MAX_MS).min(LATE_MAX_MS), own.clone(), Some(question));
                    }
                    self.say(at, own, Some(question));
                }
                2 if !answered => {
                    answered = true;
                    let length = usize::from(self.or_zero()) % own.len();
                    self.say((time * 2).min(LATE_MAX_MS), own[..length].to_vec(), Some(question));
                }
                3 => {
                    let refusal = [question.function.code() | 0x80, self.or_zero()];
                    let refusal = self.framed(transaction, question.unit.0, &refusal);
                    self.say((time * 2).min(LATE_MAX_MS), refusal, None);
                }
                4 => {
                    let other = self.framed(transaction, question.unit.0 + 1, &body(question));
                    self.say(0, other, None);
                }
                5 => {
                    let wrong = transaction.wrapping_add(u16::from(self.or_zero()));
                    let mut body = body(question);
                    body[0] = body[0] % 4 + 1;
                    let frame = self.framed(wrong, question.unit.0, &body);
                    self.say(0, frame, None);
                }
                6 => self.say(0, request.to_vec(), None),
                _ => {
                    let length = usize::from(self.or_zero() % 64).min(self.script.len());
                    let raw = self.script.drain(..length).collect();
                    self.say((time * 2).min(LATE_MAX_MS), raw, None);
                }
            }
        }
    }

    fn framed(&self, transaction: u16, unit: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        if self.framing == Framing::Tcp {
            frame.extend(transaction.to_be_bytes());
            frame.extend([0, 0]);
            frame.extend((body.len() as u16 + 1).to_be_bytes());
        }
        frame.push(unit);
        frame.extend(body);
        if self.framing == Framing::Rtu {
            frame.extend(crc(&frame).to_le_bytes());
        }
        frame
    }

    fn say(&mut self, after_ms: u64, bytes: Vec<u8>, answers: Option<Question>) {
        let at = Instant::now() + Duration::from_millis(after_ms);
        let number = self.answers.len();
        self.answers.push(answers);
        let place = self.coming.partition_point(|(other, _)| *other <= at);
        self.coming.insert(place, (at, Piece { bytes: bytes.into(), number }));
    }

    /// Is this what the link may give as the answer to the question?
    fn check(&self, answer: &Answer) {
        let question = self.question;
        let sound = sound(self.framing, question, self.transaction, &answer.frame);
        assert_eq!(sound.as_ref(), Some(&answer.words), "{question:?}: {:02x?}", answer.frame);
        let length = answer.frame.len();
        let mut places = self
            .heard
            .windows(length)
            .filter(|place| place.iter().zip(&answer.frame).all(|((heard, _), byte)| heard == byte));
        let right = |place: &[(u8, usize)]| {
            let piece = place[0].1;
            let whole = place.iter().all(|(_, of)| *of == piece);
            // Put together of pieces, or of bytes that are no device's: then nobody can know better.
            !whole || self.answers[piece].is_none_or(|of| of == question)
        };
        assert!(places.any(right), "{question:?} was answered with what came before it, or answers another");
    }
}

/// What a device answers: registers show their address, their unit and their table.
fn body(question: Question) -> Vec<u8> {
    let Question { unit, function, first, count } = question;
    let mut data = Vec::new();
    if function.of_bits() {
        let bit = |at: u16| at < first + count && u32::from(at).wrapping_mul(2_654_435_761) >> 7 & 1 == 1;
        for byte in 0..count.div_ceil(8) {
            let from = first + byte * 8;
            data.push((0..8).map(|n| u8::from(bit(from + n)) << n).sum::<u8>());
        }
    } else {
        let word = |at: u16| at * 16 + u16::from(unit.0) * 4 + u16::from(function.code()) % 4;
        data.extend((first..first + count).flat_map(|at| word(at).to_be_bytes()));
    }
    let mut body = vec![function.code(), data.len() as u8];
    body.extend(data);
    body
}

/// The words of a frame, if it may be the answer to a question: written from the standard, not from the gateway.
fn sound(framing: Framing, question: Question, transaction: u16, frame: &[u8]) -> Option<Vec<u16>> {
    let pdu = match framing {
        Framing::Tcp => {
            let (head, pdu) = frame.split_at_checked(6)?;
            let length = u16::from_be_bytes([head[4], head[5]]);
            let known = u16::from_be_bytes([head[0], head[1]]) == transaction && head[2..4] == [0, 0];
            (known && usize::from(length) == pdu.len()).then_some(pdu)?
        }
        Framing::Rtu => {
            let (pdu, sum) = frame.split_at_checked(frame.len().checked_sub(2)?)?;
            (crc(pdu).to_le_bytes() == sum).then_some(pdu)?
        }
    };
    let [unit, function, length, data @ ..] = pdu else { return None };
    if (*unit, *function) != (question.unit.0, question.function.code()) || usize::from(*length) != data.len()
    {
        return None;
    }
    let count = usize::from(question.count);
    if question.function.of_bits() {
        let bits = data.iter().flat_map(|byte| (0..8).map(move |n| u16::from(byte >> n & 1)));
        return (data.len() == count.div_ceil(8)).then(|| bits.take(count).collect());
    }
    let words = data.chunks_exact(2).map(|pair| u16::from(pair[0]) << 8 | u16::from(pair[1]));
    (data.len() == count * 2).then(|| words.collect())
}

/// CRC-16 bit by bit (Modbus over Serial Line V1.02, 6.2.2).
fn crc(bytes: &[u8]) -> u16 {
    let mut crc = 0xFFFF_u16;
    for byte in bytes {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            let odd = crc & 1 == 1;
            crc >>= 1;
            if odd {
                crc ^= 0xA001;
            }
        }
    }
    crc
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let state = &mut *self.state();
        loop {
            let Some((at, piece)) = state.coming.first_mut() else { return Poll::Pending };
            if *at <= Instant::now() {
                let length = buffer.remaining().min(piece.bytes.len());
                let bytes: Vec<u8> = piece.bytes.drain(..length).collect();
                buffer.put_slice(&bytes);
                state.heard.extend(bytes.iter().map(|byte| (*byte, piece.number)));
                if piece.bytes.is_empty() {
                    state.coming.remove(0);
                }
                // An empty piece is no end of the connection.
                if length == 0 {
                    continue;
                }
                return Poll::Ready(Ok(()));
            }
            let sleep = state.sleep.insert(Box::pin(sleep_until(*at)));
            ready!(sleep.as_mut().poll(context));
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.state().asked(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
