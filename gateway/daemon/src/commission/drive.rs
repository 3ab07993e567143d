//! Carries a [`Dialogue`] out on a line and a terminal.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

use super::detective;
use super::dialogue::{Act, Dialogue, Event, Found, Value, Written};
use super::line::{Framing, Heard, Line};
use crate::bus::dial::{Dial, Serial, Tcp};
use crate::config::{Card, CardSettings, FunctionCode, LineSettings};

/// Exceptions by which a gateway says that nobody is behind it.
const NOBODY: [u8; 2] = [0x0A, 0x0B];
/// Questions to one unit id: two devices that answer in turn show themselves.
const ASKED: usize = 4;
/// Unit ids looked at where the whole range is not asked for: what devices ship with.
const USUAL: u8 = 32;

/// The line and how it is used.
pub struct Bench {
    /// Where.
    pub address: String,
    /// How a serial port is set for devices out of their boxes.
    pub line: LineSettings,
    /// The speed that devices are given, if they are.
    pub baud: Option<u32>,
    /// Framing.
    pub framing: Framing,
    /// How long an answer may take.
    pub wait: Duration,
    /// Look at all 247 unit ids for each device.
    pub all_ids: bool,
    /// What is being installed.
    pub card: Card,
    /// Where its settings are.
    pub settings: CardSettings,
}

impl Bench {
    /// Until the person has no more devices, or nothing more to say.
    pub async fn run(
        &self,
        dialogue: &mut Dialogue,
        mut answers: impl AsyncBufRead + Unpin,
        mut screen: impl Write,
    ) -> anyhow::Result<()> {
        let mut event = Event::Begin;
        // How the device is spoken to that is being installed.
        let mut at = self.line;
        loop {
            let act = dialogue.next(event);
            for line in dialogue.talk.drain(..) {
                writeln!(screen, "{line}")?;
            }
            event = match act {
                Act::Finish => return Ok(()),
                Act::Ask(question) => {
                    write!(screen, "{question}: ")?;
                    screen.flush()?;
                    let mut line = String::new();
                    if answers.read_line(&mut line).await? == 0 { Event::Hush } else { Event::Said(line) }
                }
                Act::Find => {
                    let (found, line) = self.find(dialogue).await?;
                    at = line;
                    Event::Found(found)
                }
                Act::Write { from, to, baud } => {
                    let wrote = self.write(at, from, to, baud).await?;
                    at = self.then(at, &wrote);
                    Event::Wrote(wrote)
                }
                Act::Meet { unit, baud } => {
                    let met = self.meet(at, unit, baud).await?;
                    at = self.then(at, &met);
                    Event::Wrote(met)
                }
                Act::Read(unit) => Event::Values(self.values(at, unit).await?),
            };
        }
    }

    /// A fresh connection each time: between two devices the line is taken apart.
    async fn open(&self, at: LineSettings) -> anyhow::Result<Line> {
        let stream = dial(&self.address, at).dial(&self.address).await;
        let stream = stream.with_context(|| format!("connect to {}", self.address))?;
        Ok(Line::new(stream, self.framing, self.wait))
    }

    /// Where the speed is our own: the one that devices are given, if it is another than they come with.
    fn faster(&self) -> Option<LineSettings> {
        let baud = self.baud.filter(|baud| is_serial(&self.address) && *baud != self.line.baud)?;
        Some(LineSettings { baud, ..self.line })
    }

    /// How a device is spoken to after its settings were written.
    fn then(&self, at: LineSettings, wrote: &Result<Written, String>) -> LineSettings {
        match wrote {
            Ok(Written::Read) => self.faster().unwrap_or(at),
            Ok(Written::AfterPower | Written::Unseen) | Err(_) => at,
        }
    }

    /// Who is there, and at which speed. One that was given its speed already is found, too; one that was left on the line beside the
    /// next is noticed.
    async fn find(&self, dialogue: &Dialogue) -> anyhow::Result<(Found, LineSettings)> {
        let given: Vec<u8> = dialogue.installed.iter().map(|device| device.unit).collect();
        let mut usual = vec![self.card.unit];
        usual.extend(&given);
        usual.extend(1..=if self.all_ids { 247 } else { USUAL });
        let found = self.look(self.line, &usual).await?;
        let Some(faster) = self.faster() else { return Ok((found, self.line)) };
        match found {
            Found::Several(_) => Ok((found, self.line)),
            Found::Nobody => Ok((self.look(faster, &usual).await?, faster)),
            Found::One(unit) => Ok(match self.look(faster, &given).await? {
                Found::Nobody => (found, self.line),
                Found::One(other) => (Found::Several(format!("地址 unit ids {unit}, {other}")), self.line),
                several @ Found::Several(_) => (several, self.line),
            }),
        }
    }

    async fn look(&self, at: LineSettings, units: &[u8]) -> anyhow::Result<Found> {
        let mut line = self.open(at).await?;
        let mut live: Vec<u8> = Vec::new();
        let mut seen: Vec<u8> = Vec::new();
        for &unit in units {
            if seen.contains(&unit) {
                continue;
            }
            seen.push(unit);
            match self.there(&mut line, unit).await? {
                Some(Ok(())) => live.push(unit),
                Some(Err(how)) => return Ok(Found::Several(how)),
                None => {}
            }
        }
        Ok(match live[..] {
            [] => Found::Nobody,
            [unit] => Found::One(unit),
            _ => Found::Several(format!(
                "地址 unit ids {}",
                live.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            )),
        })
    }

    /// Is somebody there? `Err`: more than one.
    async fn there(&self, line: &mut Line, unit: u8) -> anyhow::Result<Option<Result<(), String>>> {
        let mut first: Option<Vec<u16>> = None;
        for n in 0..ASKED {
            let heard = match line.read(unit, FunctionCode::HoldingRegisters, self.settings.id, 1).await? {
                Ok(words) => {
                    let same = first.get_or_insert_with(|| words.clone()) == &words;
                    if same {
                        continue;
                    }
                    Heard::Garbled
                }
                Err(heard) => heard,
            };
            match heard {
                Heard::Silence if n == 0 => return Ok(None),
                Heard::Exception(code) if NOBODY.contains(&code) => return Ok(None),
                Heard::Exception(_) | Heard::Answer(_) => {}
                Heard::Garbled | Heard::Several | Heard::Silence => {
                    return Ok(Some(Err(format!(
                        "地址{unit}上两台应答 answers of two devices on unit id {unit}"
                    ))));
                }
            }
        }
        Ok(Some(Ok(())))
    }

    async fn write(
        &self,
        at: LineSettings,
        from: u8,
        to: u8,
        baud: Option<u32>,
    ) -> anyhow::Result<Result<Written, String>> {
        let mut line = self.open(at).await?;
        if let Some((register, value)) = self.settings.unlock {
            line.write(from, register, value).await?;
        }
        if from != to {
            // The answer may come under the old id, the new one, or not at all: reading back tells.
            line.write(from, self.settings.id, u16::from(to)).await?;
            let read = line.read(to, FunctionCode::HoldingRegisters, self.settings.id, 1).await?;
            if read != Ok(vec![u16::from(to)]) {
                return Ok(Err(format!(
                    "地址{to}读回 read back under {to}: {read:?}; 断电再试 some devices want a power cycle"
                )));
            }
            if self.there(&mut line, from).await?.is_some() {
                return Ok(Err(format!("地址{from}仍有应答 something still answers under {from}")));
            }
        }
        let Some(baud) = baud else { return Ok(Ok(Written::Read)) };
        let Some((register, code)) = self.speed(baud) else {
            return Ok(Err(format!(
                "{}: 不能设 cannot be set to {baud} bit/s over the line",
                self.card.profile
            )));
        };
        line.write(to, register, code).await?;
        drop(line);
        if self.faster().is_some() {
            // Silent at both speeds: some are until their power was gone.
            return Ok(Ok(self.meet(at, to, baud).await?.unwrap_or(Written::AfterPower)));
        }
        let stands = self.open(at).await?.read(to, FunctionCode::HoldingRegisters, register, 1).await?;
        match stands {
            Ok(words) if words == [code] && is_serial(&self.address) => Ok(Ok(Written::Read)),
            Ok(words) if words == [code] => Ok(Ok(Written::Unseen)),
            Err(Heard::Silence | Heard::Garbled) => Ok(Ok(Written::Unseen)),
            other => Ok(Err(format!("速率读回 speed read back: {other:?}"))),
        }
    }

    /// Where the speed is written, and what for this one.
    fn speed(&self, baud: u32) -> Option<(u16, u16)> {
        let (_, code) = self.settings.bauds.iter().find(|(speed, _)| *speed == baud)?;
        Some((self.settings.baud?, *code))
    }

    /// Does a device that was given a speed answer at it, or at the old one?
    async fn meet(&self, at: LineSettings, unit: u8, baud: u32) -> anyhow::Result<Result<Written, String>> {
        let Some((register, code)) = self.speed(baud) else { return Ok(Err("no speed is known".to_owned())) };
        let mut heard = Vec::new();
        for (line, written) in [(LineSettings { baud, ..at }, Written::Read), (at, Written::AfterPower)] {
            match self.open(line).await?.read(unit, FunctionCode::HoldingRegisters, register, 1).await? {
                Ok(words) if words == [code] => return Ok(Ok(written)),
                other => heard.push(format!("{} bit/s: {other:?}", line.baud)),
            }
        }
        Ok(Err(format!("地址{unit}没有应答 unit id {unit} does not answer: {}", heard.join(", "))))
    }

    async fn values(&self, at: LineSettings, unit: u8) -> anyhow::Result<Vec<Value>> {
        let mut line = self.open(at).await?;
        let mut values = Vec::new();
        for field in &self.card.fields {
            let count = words(&field.kind);
            if let Ok(words) = line.read(unit, field.function, field.address, count).await?
                && let Some(value) = detective::plausible(field, &words)
            {
                values.push((field.name.clone(), value, field.unit.symbol()));
            }
        }
        Ok(values)
    }
}

/// A serial port, not a host.
pub(crate) fn is_serial(address: &str) -> bool {
    address.starts_with('/')
}

/// How to get at a line: a serial port set like this, else TCP.
pub(crate) fn dial(address: &str, line: LineSettings) -> Arc<dyn Dial> {
    if is_serial(address) { Arc::new(Serial(line)) } else { Arc::new(Tcp) }
}

/// Registers of a type.
pub(crate) fn words(kind: &str) -> u16 {
    match kind {
        "u32" | "i32" | "f32" => 2,
        "u64" | "i64" | "f64" => 4,
        _ => 1,
    }
}
