//! Carries a [`Dialogue`] out on a line and a terminal.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

use super::detective;
use super::dialogue::{Act, Dialogue, Event, Found, Value};
use super::line::{Framing, Heard, Line};
use crate::bus::dial::{Dial, Serial, Tcp};
use crate::config::{Card, CardSettings, FunctionCode, LineSettings, Parity};

/// Exceptions by which a gateway says that nobody is behind it.
const NOBODY: [u8; 2] = [0x0A, 0x0B];
/// Questions to one unit id: two devices that answer in turn show themselves.
const ASKED: usize = 4;
/// Unit ids looked at where the whole range is not asked for: what devices ship with.
const USUAL: u8 = 32;

/// The line and how it is used.
pub struct Bench {
    /// How to get a connection.
    pub dial: Arc<dyn Dial>,
    /// Where.
    pub address: String,
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
                Act::Find => Event::Found(self.find(dialogue).await?),
                Act::Write { from, to, baud } => Event::Wrote(self.write(from, to, baud).await?),
                Act::Read(unit) => Event::Values(self.values(unit).await?),
            };
        }
    }

    /// A fresh connection each time: between two devices the line is taken apart.
    async fn line(&self) -> anyhow::Result<Line> {
        let stream = self.dial.dial(&self.address).await;
        let stream = stream.with_context(|| format!("connect to {}", self.address))?;
        Ok(Line::new(stream, self.framing, self.wait))
    }

    async fn find(&self, dialogue: &Dialogue) -> anyhow::Result<Found> {
        let mut line = self.line().await?;
        let mut units: Vec<u8> = vec![self.card.unit];
        units.extend(dialogue.installed.iter().map(|device| device.unit));
        units.extend(1..=if self.all_ids { 247 } else { USUAL });
        let mut live: Vec<u8> = Vec::new();
        let mut seen: Vec<u8> = Vec::new();
        for unit in units {
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

    async fn write(&self, from: u8, to: u8, baud: Option<u32>) -> anyhow::Result<Result<(), String>> {
        let mut line = self.line().await?;
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
        let Some(baud) = baud else { return Ok(Ok(())) };
        let code = self.settings.bauds.iter().find(|(speed, _)| *speed == baud).map(|(_, code)| *code);
        let (Some(register), Some(code)) = (self.settings.baud, code) else {
            return Ok(Err(format!(
                "{}: 不能设 cannot be set to {baud} bit/s over the line",
                self.card.profile
            )));
        };
        line.write(to, register, code).await?;
        match line.read(to, FunctionCode::HoldingRegisters, register, 1).await? {
            Ok(words) if words == [code] => Ok(Ok(())),
            // It listens at the new speed already: what it has, the next power cycle will show.
            Err(Heard::Silence | Heard::Garbled) => Ok(Ok(())),
            other => Ok(Err(format!("速率读回 speed read back: {other:?}"))),
        }
    }

    async fn values(&self, unit: u8) -> anyhow::Result<Vec<Value>> {
        let mut line = self.line().await?;
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

/// How to get at a line: a serial port with 8N1 at this speed, else TCP.
pub(crate) fn dial(address: &str, baud: u32) -> Arc<dyn Dial> {
    if is_serial(address) {
        Arc::new(Serial(LineSettings { baud, parity: Parity::None, stop_bits: 1 }))
    } else {
        Arc::new(Tcp)
    }
}

/// Registers of a type.
pub(crate) fn words(kind: &str) -> u16 {
    match kind {
        "u32" | "i32" | "f32" => 2,
        "u64" | "i64" | "f64" => 4,
        _ => 1,
    }
}
