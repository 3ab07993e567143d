//! A field recording (docs/recording-format.md) through the gateway's own recorder, in virtual time: the bytes that devices
//! answered then, decoded by the registers of a site file now.
//!
//! What decides is what was asked and answered, not when this site file would have asked: each exchange gives the points that
//! lie wholly in it. So a site file with other periods, blocks or rules can be tried on the same recording. Devices are found
//! by the bus's name and the unit id, registers by function and address, messages by their topics.
//!
//! Leaves out: weighing indicators (they speak unasked, and what counts is when they are still), connections that were
//! refused, and whatever the recording says for people. What is left out is counted.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use anyhow::Context as _;
use gateway_engine::intake::Answer;
use gateway_model::{BadCause, CivilTime, EngineTime};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::bus::decode;
use crate::bus::frame::{Body, Found, Framing, Question, find, words};
use crate::config::{BlockPlan, FunctionCode, Site, Transport, UnitId};
use crate::history::advance;
use crate::metrics::Metrics;
use crate::mqtt::Translator;
use crate::recorder::core::Core;
use crate::recorder::{Answers, Civil, Event};

/// A line of a recording, at most.
const LINE_MAX: usize = 1 << 20;
/// Lines that may stand out of order: an exchange is written when it is over, or behind lines that are a minute younger. What
/// stands further behind is counted as missing: what came after it has been judged.
const LATE_MS: i64 = 120_000;

/// The first line.
#[derive(Debug, Deserialize)]
pub struct Head {
    /// Version of the format.
    recording: u32,
    /// First moment, civil ms.
    pub from: i64,
    #[serde(default)]
    buses: Vec<Bus>,
}

#[derive(Debug, Deserialize)]
struct Bus {
    name: String,
    transport: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Exchange(Exchange),
    Message(Message),
    Bus(Met),
    Other(Other),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    t: i64,
    bus: String,
    ask: String,
    got: Vec<(i64, String)>,
    #[serde(default, rename = "conn")]
    _conn: IgnoredAny,
    #[serde(default, rename = "closed")]
    _closed: IgnoredAny,
    #[serde(default, rename = "cut")]
    _cut: IgnoredAny,
    /// How its bus talked then; `None` = the recording does not say.
    #[serde(skip)]
    framing: Option<Framing>,
}

/// A bus that came later, or talks otherwise from here on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Met {
    t: i64,
    bus: String,
    transport: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    t: i64,
    topic: String,
    payload: Option<String>,
    payload_hex: Option<String>,
    #[serde(default)]
    retain: bool,
    #[serde(default, rename = "qos")]
    _qos: IgnoredAny,
}

/// Refused connections, gaps, notes, the end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Other {
    t: i64,
    gap: Option<u64>,
    #[serde(default, rename = "why")]
    _why: IgnoredAny,
    #[serde(default, rename = "bus")]
    _bus: IgnoredAny,
    #[serde(default, rename = "refused")]
    _refused: IgnoredAny,
    #[serde(default, rename = "note")]
    _note: IgnoredAny,
    #[serde(default, rename = "end")]
    _end: IgnoredAny,
}

/// What became of a recording.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fed {
    /// Exchanges and messages that gave something.
    pub used: u64,
    /// Exchanges and messages that this site file asks nothing of.
    pub unasked: u64,
    /// What the recording itself could not keep up with, or tells too late.
    pub lost: u64,
}

/// The lines of a recording, plain or compressed, without those ends.
fn lines(path: &Path) -> anyhow::Result<impl Iterator<Item = anyhow::Result<(usize, String)>>> {
    let file = File::open(path).with_context(|| format!("open the recording {}", path.display()))?;
    let reader: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "zst") {
        Box::new(zstd::Decoder::new(file).with_context(|| format!("unpack {}", path.display()))?)
    } else {
        Box::new(file)
    };
    let mut reader = BufReader::new(reader);
    let mut number = 0;
    Ok(std::iter::from_fn(move || {
        loop {
            number += 1;
            let mut line = Vec::new();
            let read = (&mut reader).take(LINE_MAX as u64 + 1).read_until(b'\n', &mut line);
            match read.with_context(|| format!("read line {number} of the recording")) {
                Ok(0) => return None,
                Ok(n) if n > LINE_MAX => {
                    return Some(Err(anyhow::anyhow!(
                        "line {number} of the recording is longer than {LINE_MAX} bytes"
                    )));
                }
                Ok(_) if line.trim_ascii().is_empty() => {}
                // Its writer was killed in the middle of it.
                Ok(_) if !line.ends_with(b"\n") => return None,
                Ok(_) => {
                    let text =
                        String::from_utf8(line).with_context(|| format!("line {number} of the recording"));
                    return Some(text.map(|text| (number, text)));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }))
}

/// Which format a recording has: 1 (polled history), 2 or 3 (exchanges).
pub fn version(path: &Path) -> anyhow::Result<u32> {
    Ok(first(path)?.recording)
}

/// When a recording begins.
pub fn head(path: &Path) -> anyhow::Result<Head> {
    let head = first(path)?;
    let version = head.recording;
    anyhow::ensure!((2..=3).contains(&version), "recordings of version {version} are not known here");
    Ok(head)
}

fn first(path: &Path) -> anyhow::Result<Head> {
    let (_, line) = lines(path)?.next().with_context(|| format!("{} is empty", path.display()))??;
    serde_json::from_str(&line).with_context(|| {
        format!(
            "{}: the first line of a recording says `recording` and `from` (docs/recording-format.md)",
            path.display()
        )
    })
}

/// Feeds a recording. Engine time equals civil time here: the journal was begun at the recording's first moment.
pub fn feed(
    core: &mut Core,
    site: &Site,
    path: &Path,
    civil: &Civil,
    metrics: &Metrics,
    mut read: impl FnMut(usize),
) -> anyhow::Result<Fed> {
    let head = head(path)?;
    let engine = |t: i64| civil.engine(CivilTime(t)).unwrap_or(EngineTime(t));
    let mut translator = Translator::new(site.mqtt.clone(), civil.clone(), metrics.clone());
    let mut fed = Fed::default();
    let mut waiting = Waiting::default();
    let mut last = head.from;
    let mut talked: HashMap<String, Framing> =
        head.buses.iter().map(|bus| (bus.name.clone(), framing(&bus.transport))).collect();
    let mut take = |line: Line, core: &mut Core, fed: &mut Fed| -> anyhow::Result<()> {
        let t = line.at();
        let at = engine(t);
        let events = match line {
            Line::Exchange(exchange) => answered(&exchange, site, at)?,
            Line::Message(message) => {
                translator.events(&message.topic, &message.bytes()?, message.retain, at)
            }
            Line::Bus(_) => return Ok(()),
            Line::Other(other) => {
                fed.lost += other.gap.unwrap_or(0);
                return Ok(());
            }
        };
        if events.is_empty() {
            fed.unasked += 1;
        } else {
            fed.used += 1;
        }
        for event in events {
            advance(core, at)?;
            core.take(event, at)?;
        }
        Ok(())
    };
    for line in lines(path)?.skip(1) {
        let (number, text) = line?;
        read(text.len());
        let mut line: Line =
            serde_json::from_str(&text).with_context(|| {
                format!(
                    "line {number} of the recording is no exchange, message, bus, refused connection, gap, note or end, or has a field \
                     that none of them has (docs/recording-format.md)"
                )
            })?;
        last = last.max(line.at());
        // As the lines stand, not by their moments: what is written after it is of a bus that talks so.
        if let Line::Bus(met) = &line {
            talked.insert(met.bus.clone(), framing(&met.transport));
        } else if let Line::Exchange(exchange) = &mut line {
            exchange.framing = talked.get(&exchange.bus).copied();
        }
        if waiting.is_past(&line) {
            fed.lost += 1;
            continue;
        }
        for ready in waiting.push(line) {
            take(ready, core, &mut fed)?;
        }
    }
    for rest in waiting.rest() {
        take(rest, core, &mut fed)?;
    }
    advance(core, engine(last))?;
    Ok(fed)
}

/// Puts lines into the order of their moments.
#[derive(Default)]
struct Waiting {
    lines: BTreeMap<(i64, u64), Line>,
    count: u64,
    /// Everything before this moment was given out.
    past: i64,
}

impl Waiting {
    fn push(&mut self, line: Line) -> Vec<Line> {
        self.count += 1;
        self.past = self.past.max(line.at().saturating_sub(LATE_MS));
        self.lines.insert((line.at(), self.count), line);
        let later = self.lines.split_off(&(self.past, 0));
        std::mem::replace(&mut self.lines, later).into_values().collect()
    }

    /// Does what was given out lie behind it? That matters for what is fed only.
    fn is_past(&self, line: &Line) -> bool {
        match line {
            Line::Exchange(_) | Line::Message(_) => line.at() < self.past,
            Line::Bus(_) | Line::Other(_) => false,
        }
    }

    fn rest(self) -> impl Iterator<Item = Line> {
        self.lines.into_values()
    }
}

impl Line {
    fn at(&self) -> i64 {
        match self {
            Self::Exchange(Exchange { t, .. })
            | Self::Message(Message { t, .. })
            | Self::Bus(Met { t, .. })
            | Self::Other(Other { t, .. }) => *t,
        }
    }
}

impl Message {
    fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        match (&self.payload, &self.payload_hex) {
            (Some(text), None) => Ok(text.clone().into_bytes()),
            (None, Some(digits)) => unhex(digits),
            _ => anyhow::bail!("a message has either `payload` or `payload_hex`"),
        }
    }
}

/// How frames lie in what a recording calls so.
fn framing(transport: &str) -> Framing {
    if transport == "tcp" { Framing::Tcp } else { Framing::Rtu }
}

/// What an exchange says of the points of a site.
fn answered(exchange: &Exchange, site: &Site, at: EngineTime) -> anyhow::Result<Vec<Event>> {
    let Some(slot) = site.buses.iter().position(|bus| bus.name == exchange.bus) else {
        return Ok(Vec::new());
    };
    let framing = exchange.framing.unwrap_or(match site.buses[slot].transport {
        Transport::Tcp => Framing::Tcp,
        Transport::RtuOverTcp | Transport::Rtu | Transport::WeighingOverTcp | Transport::Weighing => {
            Framing::Rtu
        }
    });
    let Some(question) = question(framing, &unhex(&exchange.ask)?) else { return Ok(Vec::new()) };
    let mut got = Vec::new();
    for (_, piece) in &exchange.got {
        got.extend(unhex(piece)?);
    }
    let said = said(framing, question, &got);
    let blocks = site.blocks.iter().filter(|block| {
        block.bus == slot && block.unit == question.unit && block.function == question.function
    });
    Ok(blocks
        .filter_map(|block| {
            let items: Vec<_> = block
                .points
                .iter()
                .filter_map(|point| {
                    let (from, to) = point.span();
                    let inside = block.first + from >= question.first
                        && u32::from(block.first) + u32::from(to)
                            <= u32::from(question.first) + u32::from(question.count);
                    let answer = match &said {
                        Ok(words) => {
                            let words = placed(block, question, words);
                            decode::raw(point, &words)
                                .map_or(Answer::Failed(BadCause::Malformed), Answer::Raw)
                        }
                        Err(cause) => Answer::Failed(*cause),
                    };
                    inside.then_some((point.point, answer))
                })
                .collect();
            let frame = said.is_ok().then(|| got.clone().into());
            (!items.is_empty()).then_some(Event::Answers(Answers { at, items, frame }))
        })
        .collect())
}

/// The words of an answer where they lie in a block; the rest of it is 0 and looked at by nobody.
fn placed(block: &BlockPlan, question: Question, words: &[u16]) -> Vec<u16> {
    let mut all = vec![0; usize::from(block.count)];
    for (address, word) in (u32::from(question.first)..).zip(words) {
        let place = address.checked_sub(u32::from(block.first));
        if let Some(own) = place.and_then(|place| all.get_mut(place as usize)) {
            *own = *word;
        }
    }
    all
}

/// What was asked; `None` = nothing that a gateway asks.
fn question(framing: Framing, ask: &[u8]) -> Option<Question> {
    let body = match framing {
        Framing::Tcp => ask.get(6..)?,
        Framing::Rtu => ask,
    };
    let [unit, function, a, b, c, d, ..] = *body else { return None };
    let functions = [
        FunctionCode::Coils,
        FunctionCode::DiscreteInputs,
        FunctionCode::HoldingRegisters,
        FunctionCode::InputRegisters,
    ];
    let function = functions.into_iter().find(|known| known.code() == function)?;
    Some(Question {
        unit: UnitId(unit),
        function,
        first: u16::from_be_bytes([a, b]),
        count: u16::from_be_bytes([c, d]),
    })
}

/// The words that answer the question, or why there are none.
fn said(framing: Framing, question: Question, mut got: &[u8]) -> Result<Vec<u16>, BadCause> {
    if got.is_empty() {
        return Err(BadCause::NoCommunication);
    }
    while !got.is_empty() {
        match find(framing, got) {
            Found::Frame(frame) if frame.unit == question.unit.0 => match frame.body {
                Body::Data { data, .. } if frame.shape() == Some(question.shape()) => {
                    return Ok(words(question, data));
                }
                Body::Exception { function, .. } if function == question.function.code() => {
                    return Err(BadCause::DeviceRefused);
                }
                Body::Data { .. } | Body::Exception { .. } => got = &got[frame.bytes.len().max(1)..],
            },
            Found::Frame(frame) => got = &got[frame.bytes.len().max(1)..],
            Found::More | Found::Junk(_) => got = &got[1..],
        }
    }
    Err(BadCause::Malformed)
}

fn unhex(digits: &str) -> anyhow::Result<Vec<u8>> {
    gateway_wire::unhex_any(&digits.replace(' ', "")).context("not pairs of hex digits")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gateway_journal::Limits;
    use gateway_model::{Epoch, Quality, Raw, UncertainCause};
    use serde_json::json;

    use super::*;
    use crate::bus::frame::crc;
    use crate::clock::Wall;
    use crate::recorder::Snapshot;
    use crate::recorder::core::Settings;
    use crate::recorder::start::{Heritage, Setup, start};
    use crate::state::DataDir;

    const FROM: i64 = 1_794_960_000_000;

    fn hotel() -> Site {
        crate::config::load_str("hotel.toml", include_str!("../../../deploy/example/hotel.toml")).unwrap()
    }

    /// The first read of the bus `modules`, answered with this in each register.
    fn exchange(site: &Site, t: i64, tcp: bool, word: u16) -> serde_json::Value {
        let slot = site.buses.iter().position(|bus| bus.name == "modules").unwrap();
        let block = site.blocks.iter().find(|block| block.bus == slot).unwrap();
        let framed = |body: &[u8]| {
            let bytes = if tcp {
                [&[0, 1, 0, 0, 0, u8::try_from(body.len()).unwrap()], body].concat()
            } else {
                [body, &crc(body).to_le_bytes()].concat()
            };
            gateway_wire::hex(&bytes)
        };
        let head = [block.unit.0, block.function.code()];
        let ask = [&head[..], &block.first.to_be_bytes(), &block.count.to_be_bytes()].concat();
        let words = word.to_be_bytes().repeat(usize::from(block.count));
        let answer = [&head[..], &[u8::try_from(words.len()).unwrap()], &words].concat();
        json!({ "t": t, "bus": "modules", "ask": framed(&ask), "got": [[0, framed(&answer)]] })
    }

    /// What a recorder makes of these lines.
    fn fed(site: &Site, lines: &[serde_json::Value]) -> (Snapshot, Fed) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("day.jsonl");
        let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
        std::fs::write(&path, text.join("\n") + "\n").unwrap();
        let data = DataDir::open(&dir.path().join("data")).unwrap();
        let (civil, metrics) = (Civil::default(), Metrics::default());
        let (urgent, _told) = tokio::sync::mpsc::channel(1);
        let setup = Setup {
            journal: data.journal(),
            limits: Limits::default(),
            key: data.key().unwrap(),
            plan: Arc::clone(&site.plan),
            epoch_floor: Epoch(0),
            heritage: Heritage::default(),
            from: Some(CivilTime(FROM)),
            checkpoint: data.position("checkpoint"),
            settings: Settings {
                seal_every_ms: 300_000,
                wall: Wall::demo_from(CivilTime(FROM), 0.0),
                civil: civil.clone(),
                metrics: metrics.clone(),
                urgent,
            },
        };
        let (mut core, _) = start(setup).unwrap();
        let fed = feed(&mut core, site, &path, &civil, &metrics, |_| {}).unwrap();
        (core.snapshot(), fed)
    }

    /// When the first chamber was last kept, and as what.
    fn chamber(snapshot: &Snapshot) -> (i64, Quality<Raw>) {
        let place =
            snapshot.plan.points.iter().position(|point| point.id == "cabinet-1/temperature").unwrap();
        let (at, quality) = snapshot.points[place].unwrap();
        (at.0, quality)
    }

    #[test]
    fn a_bus_that_comes_later_is_read_as_its_line_says() {
        let site = hotel();
        let head = json!({ "recording": 3, "from": FROM, "buses": [] });
        let turned = json!({ "t": FROM + 20_000, "bus": "modules", "transport": "rtu-over-tcp" });
        let lines = [
            head,
            json!({ "t": FROM, "bus": "modules", "transport": "tcp" }),
            exchange(&site, FROM + 1_000, true, 300),
            turned,
            exchange(&site, FROM + 20_000, false, 310),
        ];
        let (snapshot, found) = fed(&site, &lines);
        assert_eq!(found, Fed { used: 2, unasked: 0, lost: 0 });
        assert_eq!(chamber(&snapshot).1, Quality::Good(Raw::Int(310)));
        let (snapshot, _) = fed(&site, &lines[..3]);
        assert_eq!(chamber(&snapshot).1, Quality::Good(Raw::Int(300)));
    }

    #[test]
    fn what_stands_too_far_behind_is_missing_and_never_the_newest() {
        let site = hotel();
        let head =
            json!({ "recording": 3, "from": FROM, "buses": [{ "name": "modules", "transport": "tcp" }] });
        let note = |t: i64| json!({ "t": t, "note": "for people" });
        let lines = [
            head,
            note(FROM + 60_000),
            exchange(&site, FROM + 1_000, true, 300),
            exchange(&site, FROM + 600_000, true, 310),
            note(FROM + 1_200_000),
            // Not until now was it over, for whoever wrote this.
            exchange(&site, FROM + 2_000, true, 320),
        ];
        let (snapshot, found) = fed(&site, &lines);
        let stale = Quality::Uncertain(Raw::Int(310), UncertainCause::Stale);
        assert_eq!(chamber(&snapshot), (FROM + 600_000, stale));
        assert_eq!(found, Fed { used: 2, unasked: 0, lost: 1 });
    }
}
