//! Recordings of real devices: every request, answer and message with its bytes and its time, as text.
//!
//! The format is in `docs/recording-format.md`; it is number 3. Number 2 is the same without what speaks unasked and is read
//! as well; number 1 is the polled history of [`crate::history`].
//! [`Line`] is one line of it, [`file`] reads and writes whole files. A line that cannot be understood is told with its
//! number; nothing is guessed.

pub mod file;

use serde::{Deserialize, Serialize};

use crate::civil::Civil;
use crate::face::frame::Transport;

/// The version written.
pub const VERSION: u32 = 3;
/// The oldest one read.
pub const VERSION_OLDEST: u32 = 2;
/// Bytes of a line at most: longer ones are refused by readers and never written.
pub const LINE_MAX: usize = 1 << 20;
/// Answer bytes of one exchange at most; a device that goes on talking is cut there and the line says so.
pub const GOT_MAX: usize = 64 * 1024;
/// Bytes of a message's payload at most, so that its line stays under [`LINE_MAX`] whatever has to be escaped.
pub const PAYLOAD_MAX: usize = 128 * 1024;

/// One Modbus server, or one weighing indicator, that was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bus {
    /// Its name, as on the other lines.
    pub name: String,
    /// How it talked.
    pub transport: Transport,
}

impl Bus {
    /// Serial lines are written as what goes over TCP: the bytes are the same.
    pub fn check(self) -> Result<Self, String> {
        match self.transport {
            Transport::Tcp | Transport::RtuOverTcp | Transport::WeighingOverTcp => Ok(self),
            Transport::Rtu | Transport::Weighing => {
                Err(format!("bus `{}` is none of tcp, rtu-over-tcp, weighing-over-tcp", self.name))
            }
        }
    }
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// [`VERSION`], or an older one.
    pub recording: u32,
    /// When it began, civil ms.
    pub from: i64,
    /// What wrote it, for people.
    #[serde(default)]
    pub by: String,
    /// The Modbus servers and indicators in it.
    #[serde(default)]
    pub buses: Vec<Bus>,
}

/// Who closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The device, or what stands before it.
    Device,
    /// The client.
    Client,
}

/// Bytes of an answer and how long after the request they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    /// Microseconds after the request's last byte.
    pub after_us: u64,
    /// The bytes that came together.
    pub bytes: Vec<u8>,
}

/// A request and all that came back before the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// When the request was complete, civil time.
    pub at: Civil,
    /// Name of the bus.
    pub bus: String,
    /// Number of the connection, from 1.
    pub conn: u64,
    /// The request frame whole; bytes that are no request are kept here too. Empty: the device spoke unasked.
    pub ask: Vec<u8>,
    /// What came back, piece by piece; nothing is silence.
    pub got: Vec<Got>,
    /// The connection ended here: so long after the request, by whom.
    pub closed: Option<(u64, Side)>,
    /// More came than [`GOT_MAX`] and is not kept.
    pub cut: bool,
}

/// A connection to the device that could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// When.
    pub at: Civil,
    /// Name of the bus.
    pub bus: String,
    /// In words.
    pub why: String,
}

/// An MQTT message as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// When.
    pub at: Civil,
    /// Where.
    pub topic: String,
    /// What.
    pub payload: Vec<u8>,
    /// With which quality of service, 0 to 2.
    pub qos: u8,
    /// Was it an old one, kept by the broker?
    pub retain: bool,
}

/// Any line after the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Request and answers.
    Exchange(Exchange),
    /// No connection.
    Refusal(Refusal),
    /// A message.
    Published(Published),
    /// A bus that came later, or talks otherwise from here on.
    Bus {
        /// When.
        at: Civil,
        /// Which.
        bus: Bus,
    },
    /// So many things were not recorded, and why: a limit of whoever recorded.
    Gap {
        /// When.
        at: Civil,
        /// How many exchanges or messages.
        n: u64,
        /// In words.
        why: String,
    },
    /// A person's remark, or why a recording begins or ends.
    Note {
        /// When.
        at: Civil,
        /// In words.
        note: String,
    },
    /// The recording was ended in order; without this line its writer was killed.
    End {
        /// When.
        at: Civil,
    },
}

/// A line as JSON has it: which fields are there says what it is.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    t: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bus: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<Transport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conn: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ask: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    got: Option<Vec<(u64, String)>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed: Option<(u64, Side)>,
    #[serde(default, skip_serializing_if = "is_false")]
    cut: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    qos: u8,
    #[serde(default, skip_serializing_if = "is_false")]
    retain: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    end: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_false(it: &bool) -> bool {
    !*it
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(it: &u8) -> bool {
    *it == 0
}

/// Bytes as a recording writes them: two hex digits each.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

/// Hex digits, in groups of any size, to bytes.
pub fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| *c != ' ')
        .map(|c| c.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()
        .ok_or_else(|| format!("`{text}` is no hex: digits 0 to f and spaces"))?;
    if digits.len() % 2 == 1 {
        return Err(format!("`{text}` is no hex: an odd number of digits"));
    }
    Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

impl Line {
    /// When it happened.
    #[must_use]
    pub const fn at(&self) -> Civil {
        match self {
            Self::Exchange(Exchange { at, .. })
            | Self::Refusal(Refusal { at, .. })
            | Self::Published(Published { at, .. })
            | Self::Bus { at, .. }
            | Self::Gap { at, .. }
            | Self::Note { at, .. }
            | Self::End { at } => *at,
        }
    }

    /// Reads a line; says in words what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let raw: Raw = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let at = Civil(raw.t);
        let missing = |what: &str| format!("a line with these fields needs `{what}`");
        if let Some(ask) = &raw.ask {
            let got = raw.got.unwrap_or_default().into_iter();
            let got = got
                .map(|(after_us, bytes)| unhex(&bytes).map(|bytes| Got { after_us, bytes }))
                .collect::<Result<Vec<_>, _>>()?;
            return Ok(Self::Exchange(Exchange {
                at,
                bus: raw.bus.ok_or_else(|| missing("bus"))?,
                conn: raw.conn.unwrap_or(1),
                ask: unhex(ask)?,
                got,
                closed: raw.closed,
                cut: raw.cut,
            }));
        }
        if let Some(topic) = raw.topic {
            let payload = match (raw.payload, raw.payload_hex) {
                (Some(text), None) => text.into_bytes(),
                (None, Some(hex)) => unhex(&hex)?,
                (None, None) | (Some(_), Some(_)) => return Err(missing("payload` or `payload_hex")),
            };
            if raw.qos > 2 {
                return Err(format!("`qos` {} is outside 0..=2", raw.qos));
            }
            return Ok(Self::Published(Published { at, topic, payload, qos: raw.qos, retain: raw.retain }));
        }
        if let Some(why) = raw.refused {
            return Ok(Self::Refusal(Refusal { at, bus: raw.bus.ok_or_else(|| missing("bus"))?, why }));
        }
        if let Some(transport) = raw.transport {
            let name = raw.bus.ok_or_else(|| missing("bus"))?;
            return Ok(Self::Bus { at, bus: Bus { name, transport }.check()? });
        }
        if let Some(n) = raw.gap {
            return Ok(Self::Gap { at, n, why: raw.why.unwrap_or_default() });
        }
        if let Some(note) = raw.note {
            return Ok(Self::Note { at, note });
        }
        if raw.end {
            Ok(Self::End { at })
        } else {
            Err(missing("ask`, `topic`, `refused`, `transport`, `gap`, `note` or `end"))
        }
    }

    /// The line as text, without its end.
    #[must_use]
    pub fn text(&self) -> String {
        let mut raw = Raw { t: self.at().0, ..Raw::default() };
        match self {
            Self::Exchange(it) => {
                raw.bus = Some(it.bus.clone());
                raw.conn = Some(it.conn);
                raw.ask = Some(hex(&it.ask));
                raw.got = Some(it.got.iter().map(|got| (got.after_us, hex(&got.bytes))).collect());
                raw.closed = it.closed;
                raw.cut = it.cut;
            }
            Self::Refusal(it) => {
                raw.bus = Some(it.bus.clone());
                raw.refused = Some(it.why.clone());
            }
            Self::Published(it) => {
                raw.topic = Some(it.topic.clone());
                match std::str::from_utf8(&it.payload) {
                    Ok(text) => raw.payload = Some(text.to_owned()),
                    Err(_) => raw.payload_hex = Some(hex(&it.payload)),
                }
                raw.qos = it.qos;
                raw.retain = it.retain;
            }
            Self::Bus { bus, .. } => {
                raw.bus = Some(bus.name.clone());
                raw.transport = Some(bus.transport);
            }
            Self::Gap { n, why, .. } => {
                raw.gap = Some(*n);
                raw.why = Some(why.clone());
            }
            Self::Note { note, .. } => raw.note = Some(note.clone()),
            Self::End { .. } => raw.end = true,
        }
        serde_json::to_string(&raw).expect("numbers and text can be written as JSON")
    }
}
