//! What a site file resolves to: everything the shell needs to run one site, checked once.
//!
//! Slots: `buses[i]` is slot `i` of `Plan::buses`; the broker follows them as the last slot.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gateway_model::{Plan, PointIx, Text};
use gateway_rules::{Problem, Source};

use super::broker::Broker;
use super::mapping::MqttPlan;
use super::own::SensePlan;
use super::sinks::SinkPlan;
use crate::bus::frame::Framing;

/// A checked site: what runs, and nothing that could still be wrong in itself. Cloning one copies no plan and no blocks: most of what a
/// gateway holds in memory, and several parts keep the site.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// What the engine eats and every config record holds.
    pub plan: Arc<Plan>,
    /// The site as people call it.
    pub name: Text,
    /// Serial lines and Modbus TCP servers; `buses[i]` is slot `i` of `plan.buses`.
    pub buses: Vec<BusPlan>,
    /// What is read from them, grouped by bus, then unit, then address.
    pub blocks: Arc<[BlockPlan]>,
    /// What is heard from weighing indicators.
    pub streams: Vec<StreamPlan>,
    /// What is listened to.
    pub mqtt: Vec<MqttPlan>,
    /// What the box tells of itself.
    pub senses: Vec<SensePlan>,
    /// How far a point may be off beside a reference, in its unit, where profile or site file say so.
    pub accuracy: BTreeMap<PointIx, f64>,
    /// Where MQTT comes from. Slot `buses.len()` of `plan.buses`, named `mqtt`.
    pub broker: Broker,
    /// Where records go; `None` = nowhere yet: they stay in the journal.
    pub center: Option<CenterPlan>,
    /// Where and how much is kept.
    pub journal: JournalPlan,
    /// The status page; `None` = none.
    pub page: Option<PagePlan>,
    /// Where records go besides the center.
    pub sinks: Vec<SinkPlan>,
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
        let known = self.buses.iter().map(|bus| bus.name.clone()).collect::<Vec<_>>().join(", ");
        let slot = self.buses.iter().position(|known| known.name == bus);
        let slot = slot.ok_or_else(|| format!("there is no bus `{bus}`; buses: {known}"))?;
        let transport = self.buses[slot].transport;
        if !super::checks::is_endpoint(transport, address) {
            return Err(format!("`{address}` is not {}", transport.endpoint_hint()));
        }
        let owner = |(n, other): (usize, &BusPlan)| n != slot && other.address == address;
        if let Some((_, other)) = self.buses.iter().enumerate().find(|bus| owner(*bus)) {
            return Err(format!("bus `{}` has `{address}` already: one endpoint, one bus", other.name));
        }
        address.clone_into(&mut self.buses[slot].address);
        Ok(())
    }

    /// Requests of a bus.
    pub fn blocks_of(&self, slot: usize) -> Vec<BlockPlan> {
        self.blocks.iter().filter(|block| block.bus == slot).cloned().collect()
    }

    /// Streams of a bus.
    pub fn streams_of(&self, slot: usize) -> Vec<StreamPlan> {
        self.streams.iter().filter(|stream| stream.bus == slot).cloned().collect()
    }
}

/// One connection over which one request at a time is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusPlan {
    /// `cabinets`.
    pub name: String,
    /// Framing.
    pub transport: Transport,
    /// `host:port`, or the path of a serial port.
    pub address: String,
    /// How long an answer may take, beside what its bytes take on the line.
    pub timeout: Duration,
    /// Silence kept after each answer before the next request: what transceivers take to turn an RS-485 line around. On a
    /// line of known speed at least 3.5 characters are kept in any case.
    pub gap: Duration,
    /// The serial line: of the port itself, or of the serial server or gateway behind it, if that is known.
    pub line: Option<LineSettings>,
}

/// How a serial line is set; eight data bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineSettings {
    /// Bits per second.
    pub baud: u32,
    /// Parity.
    pub parity: Parity,
    /// Stop bits, 1 or 2.
    pub stop_bits: u8,
}

/// Parity of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parity {
    /// No parity bit.
    None,
    /// Even.
    Even,
    /// Odd.
    Odd,
}

impl LineSettings {
    /// What most instruments ship with: 9600 8N1.
    pub const USUAL: Self = Self { baud: 9_600, parity: Parity::None, stop_bits: 1 };
    /// From this speed on the silence between frames is fixed (Modbus Serial Line V1.02 §2.5.1.1).
    const FIXED_SILENCE_FROM: u32 = 19_200;

    /// How long a character takes: start bit, eight data bits, parity, stop bits.
    pub fn character(self) -> Duration {
        let bits = 9 + u64::from(self.parity != Parity::None) + u64::from(self.stop_bits);
        Duration::from_nanos(bits * 1_000_000_000 / u64::from(self.baud.max(1)))
    }

    /// Silence that ends a frame: 3.5 characters, 1.75 ms from 19,200 baud on.
    pub fn silence(self) -> Duration {
        if self.baud >= Self::FIXED_SILENCE_FROM {
            Duration::from_micros(1_750)
        } else {
            self.character().mul_f64(3.5)
        }
    }
}

impl fmt::Display for LineSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Even => 'E',
            Parity::Odd => 'O',
        };
        write!(f, "{} baud 8{parity}{}", self.baud, self.stop_bits)
    }
}

impl BusPlan {
    /// How long a character takes on the line; zero where no line is known.
    pub fn character(&self) -> Duration {
        self.line.map_or(Duration::ZERO, LineSettings::character)
    }

    /// Silence between RTU frames; zero where no line is known, and behind Modbus TCP, whose other side keeps it.
    pub fn silence(&self) -> Duration {
        match self.transport.framing() {
            Framing::Tcp => Duration::ZERO,
            Framing::Rtu => self.line.map_or(Duration::ZERO, LineSettings::silence),
        }
    }
}

/// How frames travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Modbus TCP.
    Tcp,
    /// RTU frames through a TCP connection (serial servers, DTUs).
    RtuOverTcp,
    /// RTU frames on a serial port.
    Rtu,
    /// A weighing indicator that sends by itself, through a TCP connection.
    WeighingOverTcp,
    /// The same on a serial port.
    Weighing,
}

impl Transport {
    /// All of them, as site files name them.
    pub const NAMED: [(&'static str, Self); 5] = [
        ("tcp", Self::Tcp),
        ("rtu-over-tcp", Self::RtuOverTcp),
        ("rtu", Self::Rtu),
        ("weighing-over-tcp", Self::WeighingOverTcp),
        ("weighing", Self::Weighing),
    ];

    /// As site files name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::RtuOverTcp => "rtu-over-tcp",
            Self::Rtu => "rtu",
            Self::WeighingOverTcp => "weighing-over-tcp",
            Self::Weighing => "weighing",
        }
    }

    /// Is its address a serial port?
    pub fn is_serial(self) -> bool {
        match self {
            Self::Rtu | Self::Weighing => true,
            Self::Tcp | Self::RtuOverTcp | Self::WeighingOverTcp => false,
        }
    }

    /// Does an indicator send on it, unasked?
    pub fn is_weighing(self) -> bool {
        match self {
            Self::WeighingOverTcp | Self::Weighing => true,
            Self::Tcp | Self::RtuOverTcp | Self::Rtu => false,
        }
    }

    /// How Modbus frames are told apart on it. Weighing indicators send none.
    pub fn framing(self) -> Framing {
        match self {
            Self::Tcp => Framing::Tcp,
            Self::RtuOverTcp | Self::Rtu | Self::WeighingOverTcp | Self::Weighing => Framing::Rtu,
        }
    }

    /// What its address looks like.
    pub fn endpoint_hint(self) -> &'static str {
        if self.is_serial() { "the path of a serial port, such as /dev/ttyUSB0" } else { "host:port" }
    }
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

/// What is wanted of one unit side by side. In [`Site::blocks`] every register or bit belongs to a point; the planner
/// (`bus::planner`) makes requests of the same kind of them, which may read over holes.
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
    /// What waits when the bus is short of time.
    pub priority: Urgency,
    /// What this device allows in one request.
    pub reach: Reach,
    /// What is in it.
    pub points: Vec<BlockPoint>,
}

/// Which of two requests that are due goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// At its time.
    Normal,
    /// When nothing else is due, but at the latest a period after its time.
    Low,
}

/// What a device allows in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reach {
    /// Registers, at most; bits are always 2000.
    pub registers: u16,
    /// May registers between points be read along? A device that refuses is found out and remembered.
    pub holes: bool,
}

impl Reach {
    /// What the protocol allows.
    pub const PROTOCOL: Self = Self { registers: crate::bus::frame::REGISTERS_MAX, holes: true };
}

/// Where a point lies in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPoint {
    /// Which point.
    pub point: PointIx,
    /// Registers or bits from the start of the block.
    pub offset: u16,
    /// How it is encoded.
    pub encoding: Encoding,
    /// Another register of the block that says where the decimal point stands.
    pub scale: Option<Scale>,
    /// The only integers the instrument can say (an enumeration); empty = any.
    pub codes: Vec<i64>,
}

impl BlockPoint {
    /// Registers or bits from the start of the block to the first of the point, and behind its last.
    pub fn span(&self) -> (u16, u16) {
        let own = (self.offset, self.offset + self.encoding.kind.words());
        self.scale.map_or(own, |scale| {
            (own.0.min(scale.offset), own.1.max(scale.offset + scale.encoding.kind.words()))
        })
    }
}

/// A register that says where the decimal point of another stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// Registers from the start of the block.
    pub offset: u16,
    /// How it is encoded: an integer.
    pub encoding: Encoding,
    /// It holds 1, 10, 100, …, not the number of decimals.
    pub divisor: bool,
}

/// What is heard from one weighing indicator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPlan {
    /// Slot in [`Site::buses`].
    pub bus: usize,
    /// How it writes.
    pub format: WeighingFormat,
    /// How often a reading is taken of what it sends.
    pub every: Duration,
    /// Largest difference of weights that still counts as standing still, in steps of the last digit.
    pub division: u32,
    /// What is a point.
    pub points: Vec<(PointIx, WeighingField)>,
}

/// How a weighing indicator writes (domain C.5, [73][74][75]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeighingFormat {
    /// Yaohua XK3190-A9, A12: continuous, tf = 0, twelve bytes with a XOR.
    YaohuaTf0,
    /// Yaohua, Keli "=" mode: digits last first.
    Equals,
    /// Yaohua A12, A12E text: `ww000.000kg`.
    YaohuaAscii,
}

/// What an indicator says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WeighingField {
    /// What the display shows: gross, or net once a tare is set.
    Weight,
    /// Gross, where the format says so.
    Gross,
    /// Net, where the format says so.
    Net,
    /// Tare, where the format says so.
    Tare,
    /// 1 while the weight stands still.
    Stable,
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
    /// Some bits of a register as a number: `Raw::Int`.
    Bits {
        /// Lowest.
        from: u8,
        /// Highest, included.
        to: u8,
    },
    /// One byte of a register: `Raw::Int`.
    U8(Half),
    /// One byte of a register, with sign: `Raw::Int`.
    I8(Half),
    /// `Raw::Int`.
    U16,
    /// `Raw::Int`.
    I16,
    /// The lower three bytes of two registers, whatever stands in the fourth: `Raw::Int`.
    U24,
    /// The same with sign in its bit 23: `Raw::Int`.
    I24,
    /// `Raw::Int`.
    U32,
    /// `Raw::Int`.
    I32,
    /// `Raw::Int`; above 2^63 − 1 it is no value.
    U64,
    /// `Raw::Int`.
    I64,
    /// `Raw::F32`.
    F32,
    /// `Raw::F64`.
    F64,
    /// So many registers of four-bit digits: `Raw::Int`.
    Bcd(u8),
    /// So many registers of text that is a number: `Raw::Dec` with exactly the digits that are there.
    Ascii(u8),
}

/// Which byte of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// Bits 8 to 15.
    High,
    /// Bits 0 to 7.
    Low,
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
    /// On the wire.
    pub fn code(self) -> u8 {
        match self {
            Self::Coils => 1,
            Self::DiscreteInputs => 2,
            Self::HoldingRegisters => 3,
            Self::InputRegisters => 4,
        }
    }

    /// Does it read bits, not registers?
    pub fn of_bits(self) -> bool {
        match self {
            Self::Coils | Self::DiscreteInputs => true,
            Self::HoldingRegisters | Self::InputRegisters => false,
        }
    }

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
            Self::Bits { from, to } => write!(f, "bits {from}-{to}"),
            Self::U8(Half::High) => f.write_str("u8 high"),
            Self::U8(Half::Low) => f.write_str("u8 low"),
            Self::I8(Half::High) => f.write_str("i8 high"),
            Self::I8(Half::Low) => f.write_str("i8 low"),
            Self::U64 => f.write_str("u64"),
            Self::I64 => f.write_str("i64"),
            Self::Bcd(words) => write!(f, "bcd {}", u16::from(*words) * 4),
            Self::Ascii(words) => write!(f, "ascii {}", u16::from(*words) * 2),
            Self::U16 => f.write_str("u16"),
            Self::I16 => f.write_str("i16"),
            Self::U24 => f.write_str("u24"),
            Self::I24 => f.write_str("i24"),
            Self::U32 => f.write_str("u32"),
            Self::I32 => f.write_str("i32"),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
        }
    }
}

impl EncodingKind {
    /// Registers of text, at most.
    pub const ASCII_WORDS_MAX: u8 = 16;

    /// Registers it spans; bits span one bit.
    pub fn words(self) -> u16 {
        match self {
            Self::Bit
            | Self::RegisterBit(_)
            | Self::Bits { .. }
            | Self::U8(_)
            | Self::I8(_)
            | Self::U16
            | Self::I16 => 1,
            Self::U24 | Self::I24 | Self::U32 | Self::I32 | Self::F32 => 2,
            Self::U64 | Self::I64 | Self::F64 => 4,
            Self::Bcd(words) | Self::Ascii(words) => words.into(),
        }
    }

    /// Is it an integer?
    pub fn is_integer(self) -> bool {
        match self {
            Self::F32 | Self::F64 | Self::Ascii(_) => false,
            Self::Bit
            | Self::RegisterBit(_)
            | Self::Bits { .. }
            | Self::U8(_)
            | Self::I8(_)
            | Self::U16
            | Self::I16
            | Self::U24
            | Self::I24
            | Self::U32
            | Self::I32
            | Self::U64
            | Self::I64
            | Self::Bcd(_) => true,
        }
    }
}

/// The center's door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CenterPlan {
    /// `https://…`, or `http://…` on loopback or where the file says so in as many words. Without a slash at the end.
    pub url: String,
    /// Bytes a month that the line to it may carry; `None` = it is not metered.
    pub month_bytes: Option<u64>,
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
