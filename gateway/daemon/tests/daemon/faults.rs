//! A million faulted transactions: no value in a wrong point.
//!
//! The peer is bytes and delays, written without the guard's code. Every point of it has values that no other point can have
//! (number × 1,000 + n), so that each word of each answer tells where it comes from. Time is virtual.
//!
//! What the peer keeps to, as the guard says it must: no answer comes later than four time-outs after its request (the guard
//! allows five), a second copy follows the first no later than the first followed the request, and what damages a checksummed frame is a burst of at most 16
//! bits, which CRC-16 always finds. TCP does not damage bytes.
//!
//! `NONSITE_FAULTS` says how many (20,000), `NONSITE_SEED` which; `cargo xtask long faults` runs a million.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use gateway::bus::frame::{self, Body, Found};
use gateway::bus::guard::{Link, Question};
use gateway::config::{BusPlan, FunctionCode, Transport, UnitId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// What once failed, and is tried on every run: transport, seed, how many faults.
const KEPT: [(Transport, u64, u64); 1] = [
    // The copy of an answer that was thrown away was taken for the next one's, whose own came from another unit.
    (Transport::Rtu, 101, 50_001),
];
const COUNT: u64 = 20_000;
/// Within so many the control has to fail.
const CONTROL: u64 = 1_000;
const LIMIT: Duration = Duration::from_millis(100);
/// Lateness beyond which the peer keeps its peace.
const LATE: Duration = Duration::from_millis(400);

/// Questions, many of one shape: unit, first, count. All of holding registers.
const QUESTIONS: [(u8, u16, u16); 12] = [
    (1, 0, 4),
    (1, 4, 4),
    (1, 8, 4),
    (1, 16, 1),
    (1, 17, 1),
    (1, 18, 1),
    (1, 20, 3),
    (2, 0, 4),
    (2, 4, 4),
    (2, 12, 2),
    (2, 14, 2),
    (2, 20, 5),
];

/// The only values register `at` of `unit` can have are its number × 1,000 and up to 999 more.
fn number(unit: u8, at: u16) -> u16 {
    (u16::from(unit) - 1) * 30 + at + 1
}

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    fn micros(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(from * 1000 + self.below((to - from) * 1000))
    }
}

thread_local! {
    /// What happened last, for whoever has to understand a failure.
    static STORY: RefCell<VecDeque<String>> = const { RefCell::new(VecDeque::new()) };
}

/// Lines of a story.
const STORY_MAX: usize = 60;

fn tell(line: impl FnOnce() -> String) {
    STORY.with_borrow_mut(|story| {
        if story.len() == STORY_MAX {
            story.pop_front();
        }
        story.push_back(line());
    });
}

fn story() -> String {
    let lines: Vec<String> =
        STORY.with_borrow(|story| story.iter().map(|line| format!("  {line}")).collect());
    format!("\n{}", lines.join("\n"))
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum = 0xFFFF_u16;
    for byte in bytes {
        sum ^= u16::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xA001 } else { sum >> 1 };
        }
    }
    sum.to_le_bytes()
}

/// Devices that do everything wrong.
struct Peer {
    tcp: bool,
    dice: Dice,
    connections: mpsc::UnboundedReceiver<DuplexStream>,
    /// What is still to be sent, and when.
    later: Vec<(Instant, Vec<u8>)>,
    /// The last request's answer: when asked, when given (if it was), and its bytes.
    last: Option<(Instant, Option<Instant>, Vec<u8>)>,
    n: u16,
    began: Instant,
    faulted: mpsc::UnboundedSender<&'static str>,
}

impl Peer {
    fn wrap(&self, transaction: [u8; 2], body: &[u8]) -> Vec<u8> {
        if self.tcp {
            let length = (body.len() as u16).to_be_bytes();
            [&transaction[..], &[0, 0], &length, body].concat()
        } else {
            [body, &checksum(body)].concat()
        }
    }

    fn answer(&mut self, transaction: [u8; 2], unit: u8, function: u8, first: u16, count: u16) -> Vec<u8> {
        self.n = (self.n + 1) % 1000;
        let mut body = vec![unit, function, (count * 2) as u8];
        for at in first..first + count {
            body.extend((number(unit, at) * 1000 + self.n).to_be_bytes());
        }
        self.wrap(transaction, &body)
    }

    async fn run(mut self) {
        while let Some(mut line) = self.connections.recv().await {
            if self.tcp {
                // What was on its way on another connection ended with it. A serial server has one queue.
                self.later.clear();
                self.last = None;
            }
            self.serve(&mut line).await;
        }
    }

    async fn serve(&mut self, line: &mut DuplexStream) {
        let mut held: VecDeque<u8> = VecDeque::new();
        let mut scrap = [0; 64];
        loop {
            self.later.sort_by_key(|(at, _)| *at);
            let next = self.later.first().map(|(at, _)| *at);
            tokio::select! {
                biased;
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    let (_, bytes) = self.later.remove(0);
                    tell(|| format!("{:?} says {bytes:?}", self.began.elapsed()));
                    if line.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                read = line.read(&mut scrap) => match read {
                    Ok(n) if n > 0 => held.extend(&scrap[..n]),
                    _ => return,
                },
            }
            let length = if self.tcp { 12 } else { 8 };
            while held.len() >= length {
                let request: Vec<u8> = held.drain(..length).collect();
                if !self.asked(&request) {
                    return;
                }
            }
        }
    }

    /// False: hang up.
    fn asked(&mut self, request: &[u8]) -> bool {
        let (transaction, body) =
            if self.tcp { ([request[0], request[1]], &request[6..]) } else { ([0, 0], request) };
        let (unit, function) = (body[0], body[1]);
        let first = u16::from_be_bytes([body[2], body[3]]);
        let count = u16::from_be_bytes([body[4], body[5]]);
        let now = Instant::now();
        let soon = now + self.dice.micros(1, 40);
        let right = self.answer(transaction, unit, function, first, count);
        let previous = self.last.take();
        let mut given = None;
        let fault = if self.dice.below(2) == 0 { 99 } else { self.dice.below(10) };
        let name = match fault {
            0 => {
                let at = now + self.dice.micros(80, LATE.as_millis() as u64);
                self.later.push((at, right.clone()));
                given = Some(at);
                "late"
            }
            1 => {
                let again = soon + (soon - now).mul_f64(self.dice.below(1000) as f64 / 1000.0);
                self.later.push((soon, right.clone()));
                self.later.push((again, right.clone()));
                given = Some(soon);
                "twice"
            }
            2 => {
                let cut = 1 + self.dice.below(right.len() as u64 - 1) as usize;
                self.later.push((soon, right[..cut].to_vec()));
                "truncated"
            }
            3 => {
                let other = self.answer(transaction, 3 - unit, function, first, count);
                self.later.push((soon, other));
                "foreign unit id"
            }
            4 if self.tcp => {
                let strange = self.dice.roll().to_be_bytes();
                let mut other = self.answer([strange[0], strange[1]], unit, function, first, count);
                // One in 65,536 would be right.
                other[0] ^= u8::from(other[..2] == transaction);
                self.later.push((soon, other));
                "foreign transaction id"
            }
            4 => {
                let other = self.answer(transaction, unit, 4, first, count);
                self.later.push((soon, other));
                "foreign function"
            }
            5 => {
                // The line is one behind: the answer before this one, if it is not too old.
                let at = now + Duration::from_millis(1);
                let fresh = previous.as_ref().filter(|(asked, given, _)| match given {
                    Some(given) if *given < *asked + LIMIT => at < *given + (*given - *asked),
                    Some(_) | None => at < *asked + LATE,
                });
                if let Some((_, _, bytes)) = fresh {
                    self.later.push((at, bytes.clone()));
                }
                "previous answer"
            }
            6 => {
                let code = 1 + self.dice.below(6) as u8;
                let refusal = self.wrap(transaction, &[unit, function | 0x80, code]);
                self.later.push((soon, refusal));
                "exception"
            }
            7 => {
                let noisy = self.noisy(&right);
                self.later.push((soon, noisy));
                given = Some(soon);
                "noise"
            }
            8 => "hang-up",
            9 => "silence",
            _ => {
                self.later.push((soon, right.clone()));
                given = Some(soon);
                ""
            }
        };
        self.last = Some((now, given, right));
        tell(|| {
            format!(
                "{:?} asked {unit} {first} ×{count}: {name}, given {:?}",
                self.began.elapsed(),
                given.map(|at| at - self.began)
            )
        });
        if !name.is_empty() {
            // Nobody counts any more when the test is over.
            self.faulted.send(name).ok();
        }
        name != "hang-up"
    }

    /// A burst of at most 16 bits, or bytes before the frame.
    fn noisy(&mut self, right: &[u8]) -> Vec<u8> {
        if !self.tcp && self.dice.below(2) == 0 {
            let mut bytes = right.to_vec();
            let at = self.dice.below(bytes.len() as u64 - 1) as usize;
            let burst = (1 + self.dice.below(0xFFFF) as u16).to_be_bytes();
            bytes[at] ^= burst[0];
            bytes[at + 1] ^= burst[1];
            return bytes;
        }
        let length = 1 + self.dice.below(20) as usize;
        let mut bytes: Vec<u8> = (0..length).map(|_| self.dice.roll() as u8).collect();
        bytes.extend(right);
        bytes
    }
}

fn plan(transport: Transport) -> BusPlan {
    BusPlan {
        name: "faults".into(),
        transport,
        address: "/dev/null".into(),
        timeout: LIMIT,
        gap: Duration::ZERO,
        line: None,
    }
}

fn question(dice: &mut Dice) -> Question {
    let (unit, first, count) = QUESTIONS[dice.below(QUESTIONS.len() as u64) as usize];
    Question { unit: UnitId(unit), function: FunctionCode::HoldingRegisters, first, count }
}

/// Words of another point than was asked for.
fn wrong(question: Question, words: &[u16]) -> usize {
    let registers = question.first..question.first + question.count;
    registers.zip(words).filter(|(at, word)| **word / 1000 != number(question.unit.0, *at)).count()
}

struct Run {
    transport: Transport,
    seed: u64,
    dice: Dice,
    connect: mpsc::UnboundedSender<DuplexStream>,
    faulted: mpsc::UnboundedReceiver<&'static str>,
    faults: BTreeMap<&'static str, u64>,
    good: u64,
}

impl Run {
    fn start(transport: Transport, seed: u64) -> Self {
        let (connect, connections) = mpsc::unbounded_channel();
        let (told, faulted) = mpsc::unbounded_channel();
        let peer = Peer {
            tcp: transport == Transport::Tcp,
            dice: Dice(seed),
            connections,
            later: Vec::new(),
            last: None,
            n: 0,
            began: Instant::now(),
            faulted: told,
        };
        tokio::spawn(peer.run());
        let dice = Dice(!seed);
        Self { transport, seed, dice, connect, faulted, faults: BTreeMap::default(), good: 0 }
    }

    fn dial(&self) -> DuplexStream {
        let (ours, theirs) = duplex(4096);
        self.connect.send(theirs).unwrap();
        ours
    }

    fn count(&mut self) -> u64 {
        while let Ok(name) = self.faulted.try_recv() {
            *self.faults.entry(name).or_default() += 1;
        }
        self.faults.values().sum()
    }

    #[expect(clippy::print_stdout, reason = "what a long run met is read with --nocapture")]
    async fn guarded(mut self, count: u64) {
        let mut link = Link::new(&plan(self.transport));
        let mut late = 0;
        while self.count() < count {
            if !link.is_up() {
                link.attach(self.dial());
            }
            let question = question(&mut self.dice);
            let asked = link.ask(question).await;
            tell(|| {
                format!(
                    "asked for {} {} ×{}: {:?}",
                    question.unit.0,
                    question.first,
                    question.count,
                    asked.as_ref().map(|a| &a.words)
                )
            });
            if let Ok(answer) = asked {
                let wrong = wrong(question, &answer.words);
                assert_eq!(
                    wrong,
                    0,
                    "{:?}, seed {}: {question:?} got {:?} after {} good answers and {:?}; add the seed to KEPT{}",
                    self.transport,
                    self.seed,
                    answer.words,
                    self.good,
                    self.faults,
                    story()
                );
                self.good += 1;
            }
            late += link.take_tally().late;
            if self.dice.below(3) == 0 {
                sleep(self.dice.micros(0, 150)).await;
            }
        }
        println!(
            "{:?}: {} good answers, {late} late ones kept out, faults {:?}",
            self.transport, self.good, self.faults
        );
        assert!(self.good > count / 4, "{} good answers", self.good);
        assert!(late > count / 100, "{late} late answers were met");
        assert!(self.faults.len() == 10, "{:?}", self.faults);
    }

    /// A master that checks each frame as well, and remembers nothing: what most libraries do.
    async fn unguarded(mut self, count: u64) -> bool {
        let framing = self.transport.framing();
        let mut line = self.dial();
        while self.count() < count {
            let question = question(&mut self.dice);
            let mut request = Vec::new();
            frame::write_request(framing, question, 7, &mut request);
            if line.write_all(&request).await.is_err() {
                line = self.dial();
                continue;
            }
            let end = Instant::now() + LIMIT;
            let mut heard = Vec::new();
            let mut scrap = [0; 256];
            let words = loop {
                match timeout_at(end, line.read(&mut scrap)).await {
                    Ok(Ok(n)) if n > 0 => heard.extend_from_slice(&scrap[..n]),
                    Err(_) => break None,
                    Ok(_) => {
                        line = self.dial();
                        break None;
                    }
                }
                if let Found::Frame(found) = frame::find(framing, &heard)
                    && found.unit == question.unit.0
                    && let Body::Data { function: 3, data } = found.body
                    && data.len() == usize::from(question.count) * 2
                {
                    break Some(frame::words(question, data));
                }
            };
            if words.is_some_and(|words| wrong(question, &words) > 0) {
                return true;
            }
        }
        false
    }
}

fn virtual_time<F: Future>(run: impl FnOnce() -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async { run().await })
}

fn number_of(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn faults_never_put_a_value_in_a_wrong_point(transport: Transport) {
    let count = number_of("NONSITE_FAULTS").unwrap_or(COUNT) / 3 + 1;
    let kept = KEPT.into_iter().filter(|(of, ..)| *of == transport).map(|(_, seed, count)| (seed, count));
    for (seed, count) in kept.chain([(number_of("NONSITE_SEED").unwrap_or(20_261_123), count)]) {
        virtual_time(|| Run::start(transport, seed).guarded(count));
    }
}

#[test]
fn faults_on_a_serial_line_never_put_a_value_in_a_wrong_point() {
    faults_never_put_a_value_in_a_wrong_point(Transport::Rtu);
}

#[test]
fn faults_behind_a_serial_server_never_put_a_value_in_a_wrong_point() {
    faults_never_put_a_value_in_a_wrong_point(Transport::RtuOverTcp);
}

#[test]
fn faults_on_modbus_tcp_never_put_a_value_in_a_wrong_point() {
    faults_never_put_a_value_in_a_wrong_point(Transport::Tcp);
}

#[test]
fn without_the_guard_values_do_land_in_wrong_points() {
    for transport in [Transport::Rtu, Transport::RtuOverTcp, Transport::Tcp] {
        let fell = virtual_time(|| Run::start(transport, 1).unguarded(CONTROL));
        assert!(fell, "{transport:?}: {CONTROL} faults did no harm: the test shows nothing");
    }
}
