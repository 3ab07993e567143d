//! A recording served again: every request is answered as the device answered it.
//!
//! A [`Tape`] is a recording in memory, indexed; a [`Player`] answers from it. Neither knows a clock or a socket: both are
//! told the moment, in the recording's own civil time. [`serve`] puts a player on streams.
//!
//! A request finds its exchange by bus, unit and PDU: transaction ids and checksums do not matter. Of all exchanges of
//! that request the one meant is the last one at or before the moment asked ([`Matching::Time`]; the first one, if it was
//! first asked later), or simply the next one ([`Matching::Order`]). The answer is what came then: the same bytes, pieces
//! and pauses, silence and hang-ups included. In Modbus TCP the transaction id is put in the place of the recorded one; an
//! id that was foreign stays foreign by the same distance.
//!
//! What a weighing indicator said is said again at its moments, to whoever is connected ([`Player::said`]).
//!
//! Leaves out: writes change nothing (a recorded write answers as it did, what is read later does not follow from it).

pub mod serve;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::civil::Civil;
use crate::face::answer::{Act, ILLEGAL_ADDRESS, Then, exception, framed};
use crate::face::frame::{Found, Request, Transport, find};
use crate::recording::file::{ReadError, Reader};
use crate::recording::{Bus, Exchange, Line, Published, Side};

/// Lines of a recording at most: more are refused, cut the recording in pieces.
pub const LINES_MAX: usize = 5_000_000;
/// Different requests never recorded that are told one by one; further ones are counted together.
pub const STRANGERS_MAX: usize = 1000;

/// Why there is no tape.
#[derive(Debug, thiserror::Error)]
pub enum TapeError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A line names a bus that no line before it does.
    #[error(
        "line {line}: bus `{bus}` is not among the `buses` of the first line, and no line before tells of it"
    )]
    Bus {
        /// From 1.
        line: u64,
        /// Which.
        bus: String,
    },
    /// Too long.
    #[error("more than {LINES_MAX} lines: cut the recording in pieces")]
    Long,
}

/// What a request is found by: position of the bus, unit, PDU.
type Key = (usize, u8, Vec<u8>);

/// All exchanges of one request, by time.
#[derive(Debug)]
struct Track {
    exchanges: Vec<Take>,
    /// How many were played, for [`Matching::Order`].
    played: AtomicUsize,
}

#[derive(Debug)]
struct Take {
    at: Civil,
    acts: Vec<Act>,
    transaction: Option<u16>,
}

/// What a bus said unasked, or its hanging up.
#[derive(Debug)]
struct Said {
    /// Civil time, µs.
    at_us: i64,
    then: Then,
}

/// See the module.
#[derive(Debug)]
pub struct Tape {
    from: Civil,
    to: Civil,
    /// One that talks otherwise from some moment on is another from there, with a number after its name.
    buses: Vec<Bus>,
    /// As the recording calls each.
    called: Vec<String>,
    /// Which one a name means, as far as the recording is read.
    meant: HashMap<String, usize>,
    tracks: HashMap<Key, Track>,
    /// Per bus: what it said, where it speaks unasked.
    streams: Vec<Vec<Said>>,
    /// Per bus: from this moment on connections are made (or not).
    ways: Vec<Vec<(Civil, bool)>>,
    messages: Vec<Published>,
    exchanges: usize,
    unanswerable: u64,
    gaps: u64,
    torn: bool,
}

impl Tape {
    /// Reads a file; a `.zst` is expanded.
    pub fn open(path: &Path) -> Result<Self, TapeError> {
        Self::read(Reader::open(path)?)
    }

    /// Reads a whole recording.
    pub fn read(reader: Reader) -> Result<Self, TapeError> {
        let head = reader.head.clone();
        let mut tape = Self {
            from: Civil(head.from),
            to: Civil(head.from),
            streams: Vec::new(),
            ways: Vec::new(),
            buses: Vec::new(),
            called: Vec::new(),
            meant: HashMap::new(),
            tracks: HashMap::new(),
            messages: Vec::new(),
            exchanges: 0,
            unanswerable: 0,
            gaps: 0,
            torn: false,
        };
        for bus in head.buses {
            tape.meet(bus);
        }
        for (n, line) in reader.enumerate() {
            if n >= LINES_MAX {
                return Err(TapeError::Long);
            }
            match line {
                Ok((number, line)) => tape.add(number, line)?,
                // What a killed recorder leaves: everything before it is good.
                Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::UnexpectedEof => {
                    tape.torn = true;
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        // An exchange is written when it is over: lines may stand a little out of order.
        tape.messages.sort_by_key(|message| message.at);
        tape.streams.iter_mut().for_each(|stream| stream.sort_by_key(|said| said.at_us));
        tape.ways.iter_mut().for_each(|way| way.sort_by_key(|(at, _)| *at));
        tape.tracks.values_mut().for_each(|track| track.exchanges.sort_by_key(|take| take.at));
        Ok(tape)
    }

    fn add(&mut self, line: u64, it: Line) -> Result<(), TapeError> {
        self.to = self.to.max(it.at());
        let position = |bus: String| {
            let found = self.meant.get(&bus).copied();
            found.ok_or(TapeError::Bus { line, bus })
        };
        match it {
            Line::Exchange(exchange) => {
                let bus = position(exchange.bus.clone())?;
                self.ways[bus].push((exchange.at, true));
                let transport = self.buses[bus].transport;
                if transport.is_weighing() {
                    self.hear(bus, &exchange);
                    return Ok(());
                }
                match find(transport, &exchange.ask) {
                    Found::Request(request, bytes) if bytes == exchange.ask.len() => {
                        self.exchanges += 1;
                        let key = (bus, request.unit, request.pdu);
                        let track = self
                            .tracks
                            .entry(key)
                            .or_insert_with(|| Track { exchanges: Vec::new(), played: AtomicUsize::new(0) });
                        track.exchanges.push(Take {
                            at: exchange.at,
                            acts: acts(&exchange),
                            transaction: request.transaction,
                        });
                    }
                    Found::Request(..) | Found::More | Found::Skip(_) | Found::Lost => self.unanswerable += 1,
                }
            }
            Line::Refusal(refusal) => {
                let bus = position(refusal.bus)?;
                self.ways[bus].push((refusal.at, false));
            }
            Line::Published(message) => self.messages.push(message),
            Line::Bus { bus, .. } => self.meet(bus),
            Line::Gap { n, .. } => self.gaps += n,
            Line::Note { .. } | Line::End { .. } => {}
        }
        Ok(())
    }

    /// From here on this bus is meant by its name.
    fn meet(&mut self, bus: Bus) {
        let mut known = self.buses.iter().zip(&self.called);
        let known = known.position(|(it, called)| *called == bus.name && it.transport == bus.transport);
        let place = known.unwrap_or_else(|| {
            let free = |name: &String| self.buses.iter().all(|it| it.name != *name);
            let numbered = (2..).map(|n: u64| format!("{}-{n}", bus.name));
            let name = std::iter::once(bus.name.clone()).chain(numbered).find(free).unwrap_or_default();
            self.buses.push(Bus { name, transport: bus.transport });
            self.called.push(bus.name.clone());
            self.streams.push(Vec::new());
            self.ways.push(Vec::new());
            self.buses.len() - 1
        });
        self.meant.insert(bus.name, place);
    }

    /// Takes in what an indicator said. It goes on after the moment of its line.
    fn hear(&mut self, bus: usize, exchange: &Exchange) {
        let begun_us = exchange.at.0.saturating_mul(1_000);
        for (after_us, then) in timed(exchange) {
            let at_us = begun_us.saturating_add_unsigned(after_us);
            self.to = self.to.max(Civil(at_us.div_euclid(1_000)));
            self.streams[bus].push(Said { at_us, then });
        }
    }

    /// Its first moment.
    #[must_use]
    pub const fn from(&self) -> Civil {
        self.from
    }

    /// Its last moment.
    #[must_use]
    pub const fn to(&self) -> Civil {
        self.to
    }

    /// The Modbus servers, in the order of their positions.
    #[must_use]
    pub fn buses(&self) -> &[Bus] {
        &self.buses
    }

    /// The position of a bus.
    #[must_use]
    pub fn bus(&self, name: &str) -> Option<usize> {
        self.buses.iter().position(|bus| bus.name == name)
    }

    /// All messages, by time.
    #[must_use]
    pub fn messages(&self) -> &[Published] {
        &self.messages
    }

    /// Exchanges that can be played.
    #[must_use]
    pub const fn exchanges(&self) -> usize {
        self.exchanges
    }

    /// Pieces that indicators said unasked.
    #[must_use]
    pub fn said(&self) -> usize {
        self.streams.iter().map(Vec::len).sum()
    }

    /// Exchanges whose request is none: kept in the file, never played.
    #[must_use]
    pub const fn unanswerable(&self) -> u64 {
        self.unanswerable
    }

    /// Exchanges and messages that whoever recorded could not keep.
    #[must_use]
    pub const fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Did the file end in the middle?
    #[must_use]
    pub const fn is_torn(&self) -> bool {
        self.torn
    }
}

/// What the device did, as acts.
fn acts(exchange: &Exchange) -> Vec<Act> {
    let timed = timed(exchange).into_iter();
    timed.map(|(after_us, then)| Act::After(Duration::from_micros(after_us), then)).collect()
}

/// What the device did, and how long after the request.
fn timed(exchange: &Exchange) -> Vec<(u64, Then)> {
    let pieces = exchange.got.iter().map(|got| (got.after_us, Then::Send(got.bytes.clone())));
    let mut timed: Vec<(u64, Then)> = pieces.collect();
    if let Some((after_us, Side::Device)) = exchange.closed {
        timed.push((after_us, Then::HangUp));
    }
    timed.sort_by_key(|(after_us, _)| *after_us);
    timed
}

/// Which of the exchanges of a request is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Matching {
    /// The last one at or before the moment asked: whoever polls otherwise than was recorded sees the world of then.
    #[default]
    Time,
    /// The next one, whenever asked: for those who ask exactly what was asked. After the last one it counts as never recorded.
    Order,
}

/// What becomes of a request that was never recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stranger {
    /// Exception 2 (illegal data address) where its unit was recorded, silence where not even that.
    #[default]
    Refused,
    /// No answer.
    Silent,
}

/// What happens after the last moment of the recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AtEnd {
    /// Everything stays as it was then.
    #[default]
    Hold,
    /// It begins anew.
    Loop,
}

/// How to play.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// See there.
    pub matching: Matching,
    /// See there.
    pub stranger: Stranger,
    /// See there.
    pub at_end: AtEnd,
}

/// What was played so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests answered (or passed over in silence) as recorded.
    pub played: u64,
    /// Requests never recorded.
    pub strangers: u64,
    /// Those, by bus, unit and PDU in hex, at most [`STRANGERS_MAX`] of them.
    pub by_request: BTreeMap<String, u64>,
}

/// See the module. Everything takes `&self`: one player serves many connections.
#[derive(Debug)]
pub struct Player {
    tape: Tape,
    options: Options,
    played: AtomicU64,
    strangers: Mutex<(u64, BTreeMap<String, u64>)>,
}

impl Player {
    /// Plays a tape.
    #[must_use]
    pub fn new(tape: Tape, options: Options) -> Self {
        Self { tape, options, played: AtomicU64::new(0), strangers: Mutex::default() }
    }

    /// What is played.
    #[must_use]
    pub const fn tape(&self) -> &Tape {
        &self.tape
    }

    /// What to do for a request on a bus (by position) at a moment of the recording's civil time.
    pub fn answer(&self, bus: usize, request: &Request, at: Civil) -> Vec<Act> {
        let at = self.within(at);
        let key = (bus, request.unit, request.pdu.clone());
        let take = self.tape.tracks.get(&key).and_then(|track| match self.options.matching {
            Matching::Time => {
                let after = track.exchanges.partition_point(|take| take.at <= at);
                track.exchanges.get(after.saturating_sub(1))
            }
            Matching::Order => {
                let next = track.played.fetch_add(1, Ordering::Relaxed);
                let wrapped = match self.options.at_end {
                    AtEnd::Hold => next,
                    AtEnd::Loop => next % track.exchanges.len().max(1),
                };
                track.exchanges.get(wrapped)
            }
        });
        match take {
            Some(take) => {
                self.played.fetch_add(1, Ordering::Relaxed);
                match (take.transaction, request.transaction) {
                    (Some(recorded), Some(live)) => retagged(&take.acts, recorded, live),
                    (None | Some(_), None) | (None, Some(_)) => take.acts.clone(),
                }
            }
            None => self.stranger(bus, request),
        }
    }

    fn stranger(&self, bus: usize, request: &Request) -> Vec<Act> {
        let name = self.tape.buses.get(bus).map_or("?", |bus| bus.name.as_str());
        let what = format!("{name}/{} {}", request.unit, crate::recording::hex(&request.pdu));
        let (count, by_request) =
            &mut *self.strangers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *count += 1;
        if by_request.len() < STRANGERS_MAX || by_request.contains_key(&what) {
            *by_request.entry(what).or_default() += 1;
        }
        let unit_known = self.tape.tracks.keys().any(|(b, unit, _)| *b == bus && *unit == request.unit);
        match self.options.stranger {
            Stranger::Refused if unit_known => {
                let function = request.pdu.first().copied().unwrap_or(0);
                vec![Act::Send(framed(request, request.unit, &exception(function, ILLEGAL_ADDRESS)))]
            }
            Stranger::Refused | Stranger::Silent => Vec::new(),
        }
    }

    /// Could a connection to this bus be made at this moment?
    #[must_use]
    pub fn accepts(&self, bus: usize, at: Civil) -> bool {
        let at = self.within(at);
        let Some(way) = self.tape.ways.get(bus) else { return false };
        let after = way.partition_point(|(since, _)| *since <= at);
        way.get(after.saturating_sub(1)).is_none_or(|(_, open)| *open)
    }

    /// The messages at or after the first moment and before the second, in order.
    pub fn messages_between(&self, from: Civil, to: Civil) -> impl Iterator<Item = &Published> {
        let all = &self.tape.messages;
        let first = all.partition_point(|message| message.at < from);
        all[first..].iter().take_while(move |message| message.at < to)
    }

    /// What an indicator says from a moment on, with the civil time of each in µs; without end where the tape begins anew.
    pub fn said(&self, bus: usize, from: Civil) -> impl Iterator<Item = (i64, &Then)> {
        let stream = self.tape.streams.get(bus).map_or(&[][..], Vec::as_slice);
        let (from_us, begun) = (from.0.saturating_mul(1_000), self.tape.from.0);
        let long = self.tape.to.0 - begun;
        let rounds = match self.options.at_end {
            _ if stream.is_empty() => 0..0,
            AtEnd::Loop if long > 0 => (from.0 - begun).div_euclid(long)..i64::MAX,
            AtEnd::Hold | AtEnd::Loop => 0..1,
        };
        let moved = move |round: i64| {
            let by_us = round.saturating_mul(long).saturating_mul(1_000);
            stream.iter().map(move |said| (said.at_us.saturating_add(by_us), &said.then))
        };
        // Whoever connects in the millisecond in which it hung up does so after that.
        let ahead = move |at_us: i64, then: &Then| match then {
            Then::Send(_) => at_us >= from_us,
            Then::HangUp => at_us - from_us >= 1_000,
        };
        rounds.flat_map(moved).filter(move |(at_us, then)| ahead(*at_us, then))
    }

    /// What was played so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let (strangers, by_request) =
            self.strangers.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        Counts { played: self.played.load(Ordering::Relaxed), strangers, by_request }
    }

    /// A moment as the tape knows it.
    fn within(&self, at: Civil) -> Civil {
        let long = self.tape.to.0 - self.tape.from.0;
        match self.options.at_end {
            AtEnd::Loop if long > 0 => Civil(self.tape.from.0 + (at.0 - self.tape.from.0).rem_euclid(long)),
            AtEnd::Hold | AtEnd::Loop => at,
        }
    }
}

/// The acts of a Modbus TCP exchange with its transaction ids moved from the recorded to the live request.
fn retagged(acts: &[Act], recorded: u16, live: u16) -> Vec<Act> {
    let mut acts = acts.to_vec();
    let mut bytes: Vec<&mut u8> = acts
        .iter_mut()
        .filter_map(|act| match act {
            Act::After(_, Then::Send(bytes)) | Act::Send(bytes) => Some(bytes),
            Act::After(_, Then::HangUp) | Act::Wait(_) | Act::HangUp | Act::GoDeaf => None,
        })
        .flatten()
        .collect();
    let distance = live.wrapping_sub(recorded);
    let mut at = 0;
    let mut boundary = true;
    while at + 1 < bytes.len() {
        let id = u16::from_be_bytes([*bytes[at], *bytes[at + 1]]);
        let header: Vec<u8> = bytes[at..].iter().take(6).map(|byte| **byte).collect();
        let zero = |i: usize| header.get(i).is_none_or(|byte| *byte == 0);
        let looks_so = zero(2) && zero(3);
        // Amid noise only a whole header with the very id is taken for one.
        if looks_so && (boundary || (header.len() == 6 && id == recorded)) {
            let [high, low] = id.wrapping_add(distance).to_be_bytes();
            (*bytes[at], *bytes[at + 1]) = (high, low);
            let length = header.get(4..6).map_or(0, |l| usize::from(u16::from_be_bytes([l[0], l[1]])));
            at += 6 + length;
            boundary = true;
        } else {
            at += 1;
            boundary = false;
        }
    }
    acts
}

/// How a bus talked, for those who serve it.
impl Player {
    /// The transport of a bus by position.
    #[must_use]
    pub fn transport(&self, bus: usize) -> Option<Transport> {
        self.tape.buses.get(bus).map(|bus| bus.transport)
    }
}
