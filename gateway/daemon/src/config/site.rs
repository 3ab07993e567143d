//! What a site file resolves to: everything the shell needs to run one site, checked once.
//!
//! Slots: `buses[i]` is slot `i` of `Plan::buses`; the broker follows them as the last slot.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use gateway_model::{DeviceIx, Plan, PointIx, Text};
use gateway_rules::{Problem, Source};

use super::broker::Broker;

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

/// One subscription of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct MqttPlan {
    /// Topic filter.
    pub topic: String,
    /// Which device.
    pub device: DeviceIx,
    /// How to read a payload.
    pub mapping: Mapping,
    /// Where the source says whether it is there; its points are `SourceOffline` while it is not.
    pub availability: Option<Availability>,
}

/// Topic on which a source says whether it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    /// Topic, exact.
    pub topic: String,
    /// The whole payload, or the text at `/state` of a JSON object, that means "there".
    pub online: String,
    /// The same for "gone". Anything else is malformed: counted, without effect.
    pub offline: String,
}

/// How a payload is read. Fields that are not named here are not kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Mapping {
    /// A JSON object; every field that is there is a reading, one that is not there is none (sources send deltas).
    Json(Vec<JsonField>),
    /// Milesight's channel-type-value bytes.
    Milesight(MilesightMapping),
    /// Our own feeds: a fact of the device, and a reading of the point that absence is judged by.
    Feed(FeedMapping),
}

/// One number or truth of a JSON payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonField {
    /// Which point.
    pub point: PointIx,
    /// Keys from the root; an array index is written as a decimal number.
    pub path: Vec<String>,
    /// What must stand there.
    pub kind: JsonKind,
}

/// What a JSON field must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonKind {
    /// A JSON number: `Raw::Dec` with exactly the digits that were sent.
    Number,
    /// `Raw::Int(1)` for `true` or the first text, `Raw::Int(0)` for `false` or the second.
    Truth {
        /// Text for 1 (`ON`).
        one: String,
        /// Text for 0 (`OFF`).
        zero: String,
    },
}

/// Milesight sensors: `channel, type, little-endian value` items, back to back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MilesightMapping {
    /// How the bytes arrive.
    pub carrier: Carrier,
    /// Which items are points.
    pub fields: Vec<MilesightField>,
    /// How long the value of an item is, per (channel, type); `None` = any channel, used when no exact entry is there.
    /// An item that is in no entry ends the reading of the payload: what stands before it is kept.
    pub lengths: Vec<(Option<u8>, u8, u8)>,
}

/// One item of a Milesight payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MilesightField {
    /// Which point.
    pub point: PointIx,
    /// Channel byte.
    pub channel: u8,
    /// Type byte.
    pub kind: u8,
    /// The value is signed; little-endian, as long as `lengths` says. `Raw::Int`.
    pub signed: bool,
}

/// How the bytes of a LoRaWAN payload arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// The MQTT payload is hex digits.
    Hex,
    /// The MQTT payload is base64.
    Base64,
    /// JSON of ChirpStack v4: base64 at `/data`.
    ChirpStack,
    /// JSON of The Things Stack: base64 at `/uplink_message/frm_payload`.
    TheThingsStack,
}

/// One of our own feeds (JSON, `"v": 1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedMapping {
    /// Which.
    pub feed: Feed,
    /// The point whose reading it also is: the count (visits, packed) or the weight in kg (bag, hand-over).
    pub point: PointIx,
}

/// Our own feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// `{"v":1,"at":…,"count":1}` → `FactBody::Visits`.
    Visits,
    /// `{"v":1,"at":…,"count":6}` → `FactBody::HandpiecesPacked`.
    Packed,
    /// `{"v":1,"at":…,"label":…,"category":…,"department":…,"kg":3.25}` → `FactBody::BagLabelled`.
    Bag,
    /// `{"v":1,"at":…,"labels":[…],"kg":…,"to":…}` → `FactBody::HandOver`.
    HandOver,
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
