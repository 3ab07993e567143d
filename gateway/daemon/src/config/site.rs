//! What a site file resolves to: everything the shell needs to run one site, checked once.
//!
//! Slots: `buses[i]` is slot `i` of `Plan::buses`; the broker follows them as the last slot.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use gateway_model::{Plan, PointIx, Text};
use gateway_rules::{Problem, Source};

use super::broker::Broker;
use super::mapping::MqttPlan;

/// A checked site: what runs, and nothing that could still be wrong in itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// What the engine eats and every config record holds.
    pub plan: Plan,
    /// The site as people call it.
    pub name: Text,
    /// Serial lines and Modbus TCP servers; `buses[i]` is slot `i` of `plan.buses`.
    pub buses: Vec<BusPlan>,
    /// What is read from them, grouped by bus, then unit, then address.
    pub blocks: Vec<BlockPlan>,
    /// What is listened to.
    pub mqtt: Vec<MqttPlan>,
    /// Where MQTT comes from. Slot `buses.len()` of `plan.buses`, named `mqtt`.
    pub broker: Broker,
    /// Where records go; `None` = nowhere yet: they stay in the journal.
    pub center: Option<CenterPlan>,
    /// Where and how much is kept.
    pub journal: JournalPlan,
    /// The status page; `None` = none.
    pub page: Option<PagePlan>,
    /// The packs that took part, in the order of `plan.packs`; the bytes behind their hashes.
    pub packs: Vec<Source>,
    /// Rules that a device does not get because it lacks an optional point: (device id, rule id, point).
    pub left_out: Vec<(String, String, String)>,
    /// Odd, but not wrong: shown by `gateway check`, never fatal.
    pub warnings: Vec<Problem>,
}

impl Site {
    /// Moves a bus to another address (tests, demonstrations, `--bus NAME=HOST:PORT`).
    pub fn override_address(&mut self, bus: &str, address: &str) -> Result<(), String> {
        if !super::checks::is_address(address) {
            return Err(format!("`{address}` is not host:port"));
        }
        let known = self.buses.iter().map(|bus| bus.name.clone()).collect::<Vec<_>>().join(", ");
        let found = self.buses.iter_mut().find(|known| known.name == bus);
        let bus = found.ok_or_else(|| format!("there is no bus `{bus}`; buses: {known}"))?;
        address.clone_into(&mut bus.address);
        Ok(())
    }
}

/// One connection over which one request at a time is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusPlan {
    /// `cabinets`.
    pub name: String,
    /// Framing.
    pub transport: Transport,
    /// `host:port`.
    pub address: String,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Silence kept after each answer before the next request.
    pub gap: Duration,
    /// Speed of the serial line behind it, bit/s, if there is one: only for estimates.
    pub baud: Option<u32>,
}

/// How frames travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Modbus TCP.
    Tcp,
    /// RTU frames through a TCP connection (serial servers).
    RtuOverTcp,
}

/// A Modbus unit that may be asked: 1–247.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId(pub u8);

/// What is read, in the order of the function codes 1 to 4. Nothing is ever written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FunctionCode {
    /// 01.
    Coils,
    /// 02.
    DiscreteInputs,
    /// 03.
    HoldingRegisters,
    /// 04.
    InputRegisters,
}

/// One request, repeated. Contiguous: every register or bit in it belongs to a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPlan {
    /// Slot in [`Site::buses`].
    pub bus: usize,
    /// Whom.
    pub unit: UnitId,
    /// What.
    pub function: FunctionCode,
    /// First register or bit, from 0 as on the wire.
    pub first: u16,
    /// How many registers (≤ 125) or bits (≤ 2000).
    pub count: u16,
    /// How often.
    pub every: Duration,
    /// What is in it.
    pub points: Vec<BlockPoint>,
}

/// Where a point lies in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockPoint {
    /// Which point.
    pub point: PointIx,
    /// Registers or bits from the start of the block.
    pub offset: u16,
    /// How it is encoded.
    pub encoding: Encoding,
}

/// How words become a raw value. Scaling and inversion are the point's gain and offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// What the words hold.
    pub kind: EncodingKind,
    /// In which order they hold it; without effect on bits and single registers in `Abcd`.
    pub order: WordOrder,
}

/// What the words of a point hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodingKind {
    /// A coil or discrete input: `Raw::Int(0 | 1)`.
    Bit,
    /// One bit of a register, 0 = lowest: `Raw::Int(0 | 1)`.
    RegisterBit(u8),
    /// `Raw::Int`.
    U16,
    /// `Raw::Int`.
    I16,
    /// `Raw::Int`.
    U32,
    /// `Raw::Int`.
    I32,
    /// `Raw::F32`.
    F32,
    /// `Raw::F64`.
    F64,
}

/// Order of the bytes of a value that spans registers, A = highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordOrder {
    /// High word first, high byte first: what Modbus asks for.
    Abcd,
    /// Low word first.
    Cdab,
    /// High word first, bytes swapped.
    Badc,
    /// Everything reversed.
    Dcba,
}

impl FunctionCode {
    /// The table it reads, as profiles name it.
    pub fn table(self) -> &'static str {
        match self {
            Self::Coils => "coil",
            Self::DiscreteInputs => "discrete",
            Self::HoldingRegisters => "holding",
            Self::InputRegisters => "input",
        }
    }
}

impl WordOrder {
    /// As profiles write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Abcd => "ABCD",
            Self::Cdab => "CDAB",
            Self::Badc => "BADC",
            Self::Dcba => "DCBA",
        }
    }
}

impl fmt::Display for EncodingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bit => f.write_str("bit"),
            Self::RegisterBit(bit) => write!(f, "bit {bit}"),
            Self::U16 => f.write_str("u16"),
            Self::I16 => f.write_str("i16"),
            Self::U32 => f.write_str("u32"),
            Self::I32 => f.write_str("i32"),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
        }
    }
}

impl EncodingKind {
    /// Registers it spans; bits span one bit.
    pub fn words(self) -> u16 {
        match self {
            Self::Bit | Self::RegisterBit(_) | Self::U16 | Self::I16 => 1,
            Self::U32 | Self::I32 | Self::F32 => 2,
            Self::F64 => 4,
        }
    }
}

/// The center's door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CenterPlan {
    /// `https://…`, or `http://…` on loopback or where the file says so in as many words. Without a slash at the end.
    pub url: String,
}

/// The journal's place and limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalPlan {
    /// Directory; relative to the site file. `None` = under the data directory.
    pub dir: Option<PathBuf>,
    /// Bytes for readings.
    pub ring_bytes: u64,
    /// Bytes for everything else.
    pub keep_bytes: u64,
    /// Bytes of one segment file.
    pub segment_bytes: u64,
    /// Records are sealed at least this often: what a crash can lose.
    pub seal_every: Duration,
}

/// The status page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagePlan {
    /// Port 0 = any free one.
    pub listen: SocketAddr,
}
