//! `--history RECORDING`: the days before a demo, in virtual time, through the same recorder as live readings.
//!
//! A recording holds what devices showed and when that changed; here they are polled again, at the periods of the
//! site file, in virtual time. Promises: nothing is told from a clock but the recording; what comes out is what polling
//! those devices at that time would have given. Only into an empty journal and only under the demo clock: a past that
//! was fed in is never evidence.
//!
//! Leaves out: request errors other than silence, and the time that requests take.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;

use anyhow::Context as _;
use gateway_engine::intake::Answer;
use gateway_model::{BadCause, CivilTime, EngineTime};
use serde::Deserialize;

use crate::bus::decode;
use crate::config::{BlockPlan, FunctionCode, Site};
use crate::metrics::Metrics;
use crate::mqtt::Translator;
use crate::recorder::core::Core;
use crate::recorder::{Answers, Civil, Event};

/// A line of a recording: one answer or payload.
const LINE_MAX: usize = 128 * 1024;

/// First line. What else it says is the recorder's business.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Head {
    recording: u32,
    /// First moment, civil ms.
    pub from: i64,
    /// Its end, civil ms.
    pub to: i64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Words { t: i64, bus: String, unit: u8, table: Table, first: u16, words: Vec<u16> },
    Payload { t: i64, topic: String, payload: String },
    Silent { t: i64, bus: String, unit: u8, silent: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Table {
    Coil,
    Discrete,
    Holding,
    Input,
}

impl Table {
    fn function(self) -> FunctionCode {
        match self {
            Self::Coil => FunctionCode::Coils,
            Self::Discrete => FunctionCode::DiscreteInputs,
            Self::Holding => FunctionCode::HoldingRegisters,
            Self::Input => FunctionCode::InputRegisters,
        }
    }
}

impl Line {
    fn at(&self) -> i64 {
        match self {
            Self::Words { t, .. } | Self::Payload { t, .. } | Self::Silent { t, .. } => *t,
        }
    }
}

/// When a recording begins and ends.
pub fn head(path: &Path) -> anyhow::Result<Head> {
    let mut lines = open(path)?;
    let line = lines.next().context("the recording is empty")??;
    let head: Head = serde_json::from_str(&line)
        .context("the first line of a recording says `recording`, `from`, `to`")?;
    anyhow::ensure!(head.recording == 1, "recordings of version {} are not known here", head.recording);
    Ok(head)
}

fn open(path: &Path) -> anyhow::Result<Lines<BufReader<File>>> {
    let file = File::open(path).with_context(|| format!("open the recording {}", path.display()))?;
    Ok(BufReader::new(file).lines())
}

/// What the devices show at a virtual moment.
#[derive(Default)]
struct Shown {
    registers: BTreeMap<(usize, u8, FunctionCode, u16), u16>,
    silent: BTreeSet<(usize, u8)>,
}

impl Shown {
    fn answers(&self, block: &BlockPlan, at: EngineTime) -> Answers {
        let read = |offset| {
            let key = (block.bus, block.unit.0, block.function, block.first + offset);
            self.registers.get(&key).copied()
        };
        let words: Option<Vec<u16>> = (0..block.count).map(read).collect();
        let words = words.filter(|_| !self.silent.contains(&(block.bus, block.unit.0)));
        let answer = |point| match &words {
            Some(words) => decode::raw(point, words).map_or(Answer::Failed(BadCause::Malformed), Answer::Raw),
            None => Answer::Failed(BadCause::NoCommunication),
        };
        Answers {
            at,
            items: block.points.iter().map(|point| (point.point, answer(point))).collect(),
            frame: words.as_ref().map(|words| words.iter().flat_map(|word| word.to_be_bytes()).collect()),
        }
    }
}

/// Feeds a recording. Engine time equals civil time here: the journal was begun at the recording's first moment.
/// Returns how many answers and payloads were eaten.
pub fn feed(
    core: &mut Core,
    site: &Site,
    path: &Path,
    civil: &Civil,
    metrics: &Metrics,
) -> anyhow::Result<usize> {
    let head = head(path)?;
    let engine = |t: i64| civil.engine(CivilTime(t)).unwrap_or(EngineTime(t));
    let mut translator = Translator::new(site.mqtt.clone(), civil.clone(), metrics.clone());
    let mut lines = (1..).zip(open(path)?).skip(1).map(parse).peekable();
    let mut shown = Shown::default();
    let mut due: Vec<i64> = vec![head.from; site.blocks.len()];
    let mut eaten = 0;
    loop {
        let poll = due.iter().copied().enumerate().min_by_key(|(_, at)| *at).filter(|(_, at)| *at < head.to);
        let line = match lines.peek() {
            Some(Ok(line)) => Some(line.at()),
            Some(Err(_)) => Some(i64::MIN),
            None => None,
        };
        // What changes at a moment is seen by a poll at that moment.
        match (line, poll) {
            (Some(at), poll) if poll.is_none_or(|(_, polled)| at <= polled) => {
                let Some(line) = lines.next() else { break };
                for event in shown.change(line?, site, &mut translator, engine) {
                    advance(core, engine(at))?;
                    core.take(event, engine(at))?;
                    eaten += 1;
                }
            }
            (_, Some((slot, at))) => {
                let block = &site.blocks[slot];
                due[slot] = at + i64::try_from(block.every.as_millis()).unwrap_or(i64::MAX).max(1);
                // Timers that fall between two polls fire before the later one, as they would live.
                advance(core, engine(at))?;
                core.take(Event::Answers(shown.answers(block, engine(at))), engine(at))?;
                eaten += 1;
            }
            (_, None) => break,
        }
    }
    advance(core, engine(head.to))?;
    Ok(eaten)
}

fn parse((number, line): (usize, std::io::Result<String>)) -> anyhow::Result<Line> {
    let line = line.with_context(|| format!("read line {number} of the recording"))?;
    anyhow::ensure!(line.len() <= LINE_MAX, "line {number} of the recording is longer than {LINE_MAX} bytes");
    serde_json::from_str(&line).with_context(|| format!("line {number} of the recording"))
}

/// Lets virtual time pass in the steps in which the recorder would have woken.
pub fn advance(core: &mut Core, to: EngineTime) -> anyhow::Result<()> {
    while core.wake_at() < to {
        let wake = core.wake_at().max(core.now());
        core.advance(wake)?;
        if core.wake_at() <= wake {
            // Whatever is still due at this very moment has been tried.
            break;
        }
    }
    core.advance(to)
}

impl Shown {
    /// Takes a line in; a message is an event at once.
    fn change(
        &mut self,
        line: Line,
        site: &Site,
        translator: &mut Translator,
        engine: impl Fn(i64) -> EngineTime,
    ) -> Vec<Event> {
        let slot = |bus: &str| site.buses.iter().position(|plan| plan.name == bus);
        match line {
            Line::Words { bus, unit, table, first, words, .. } => {
                // A bus that the site file does not have is nobody's.
                if let Some(slot) = slot(&bus) {
                    self.silent.remove(&(slot, unit));
                    let function = table.function();
                    let keyed = (first..).zip(words).map(|(at, word)| ((slot, unit, function, at), word));
                    self.registers.extend(keyed);
                }
                Vec::new()
            }
            Line::Silent { bus, unit, silent, .. } => {
                if let Some(slot) = slot(&bus).filter(|_| silent) {
                    self.silent.insert((slot, unit));
                }
                Vec::new()
            }
            Line::Payload { t, topic, payload } => {
                translator.events(&topic, payload.as_bytes(), false, engine(t))
            }
        }
    }
}
