//! Register maps of real instruments (domain.md C), as each keeps them: where it has a register and where a hole.
//!
//! A map is asked for one address at a time and answers a word, or nothing where the instrument has no register. Every
//! map also names its documented blocks: what a recording of it holds.

use crate::signal::{SignalIx, Signals};

/// The four Modbus tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Table {
    /// Coils, FC 01.
    Coil,
    /// Discrete inputs, FC 02.
    Discrete,
    /// Holding registers, FC 03.
    Holding,
    /// Input registers, FC 04.
    Input,
}

impl Table {
    /// The word of a recording.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Coil => "coil",
            Self::Discrete => "discrete",
            Self::Holding => "holding",
            Self::Input => "input",
        }
    }
}

/// Consecutive registers that a recording holds together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Where.
    pub table: Table,
    /// Protocol address of the first.
    pub first: u16,
    /// How many.
    pub count: u16,
}

const fn block(table: Table, first: u16, count: u16) -> Block {
    Block { table, first, count }
}

/// An instrument and the signals on its terminals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Map {
    /// ComWinTop MB8ART, eight PT100.
    Mb8art([Option<SignalIx>; 8]),
    /// Waveshare Modbus RTU IO 8CH: eight inputs, eight outputs.
    Waveshare8di([Option<SignalIx>; 8]),
    /// Eastron SDM120; the signals of a meter device in its order.
    Sdm120([SignalIx; 10]),
    /// Generic pressure transmitter, tenths.
    Pressure(SignalIx),
    /// JXCT UV probe: tenths of W/m², humidity and temperature of the room.
    JxctUv(SignalIx),
    /// UVC 254 nm transmitter, a map of ours: irradiance in tenths of µW/cm², lamp hours in tenths.
    Uvc254(SignalIx, SignalIx),
    /// Weighing transmitter "scale-docs"; the signals of a scale device in its order, and its maximum in kg.
    ScaleDocs([SignalIx; 6], u32),
}

/// MB8ART: open channel, and short or wrong type.
const MB8ART_OPEN: i16 = 30_000;
const MB8ART_SHORT: i16 = -30_000;

/// A value as a word, held at the ends of what a word can say.
fn s16(value: f64) -> u16 {
    (libm::round(value).clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16) as u16
}

fn u16_of(value: f64) -> u16 {
    libm::round(value).clamp(0.0, 65_535.0) as u16
}

/// One half of a 32-bit number, high word first.
const fn half(value: u32, low: bool) -> u16 {
    if low { value as u16 } else { (value >> 16) as u16 }
}

fn f32_half(value: f64, low: bool) -> u16 {
    half((value as f32).to_bits(), low)
}

impl Map {
    /// The word at an address; bits are 0 or 1. `None`: no such register.
    #[must_use]
    pub fn word(&self, table: Table, address: u16, signals: &Signals) -> Option<u16> {
        match self {
            Self::Mb8art(channels) => mb8art(channels, table, address, signals),
            Self::Waveshare8di(inputs) => match (table, address) {
                (Table::Discrete, 0..=7) => {
                    let on = inputs[usize::from(address)].is_some_and(|ix| signals.shown(ix) > 0.5);
                    Some(u16::from(on))
                }
                (Table::Coil, 0..=7) | (Table::Holding, 0x1000..=0x1007) => Some(0),
                (Table::Discrete | Table::Coil | Table::Holding | Table::Input, _) => None,
            },
            Self::Sdm120(values) => sdm120(values, table, address, signals),
            Self::Pressure(value) => match (table, address) {
                // Its id, and one decimal.
                (Table::Holding, 0 | 3) => Some(1),
                // 9600 baud; and the unit, whose code is the vendor's own choice: 3 for kPa here.
                (Table::Holding, 1 | 2) => Some(3),
                (Table::Holding, 4) => Some(s16(signals.shown(*value) * 10.0)),
                (Table::Holding, 5) => Some(0),
                (Table::Holding, 6) => Some(4000),
                (Table::Discrete | Table::Coil | Table::Holding | Table::Input, _) => None,
            },
            Self::JxctUv(uv) => match (table, address) {
                (Table::Holding, 0) => Some(450),
                (Table::Holding, 1) => Some(240),
                // 1 W/m² is 100 µW/cm²: a step of this register is 10 µW/cm².
                (Table::Holding, 8) => Some(u16_of(signals.shown(*uv) / 10.0).min(1500)),
                (Table::Discrete | Table::Coil | Table::Holding | Table::Input, _) => None,
            },
            Self::Uvc254(uv, hours) => match (table, address) {
                (Table::Holding, 0) => Some(u16_of(signals.shown(*uv) * 10.0)),
                (Table::Holding, 1 | 2) => {
                    let tenths =
                        libm::round(signals.shown(*hours) * 10.0).clamp(0.0, f64::from(u32::MAX)) as u32;
                    Some(half(tenths, address == 2))
                }
                (Table::Discrete | Table::Coil | Table::Holding | Table::Input, _) => None,
            },
            Self::ScaleDocs(values, max_kg) => scale(values, *max_kg, table, address, signals),
        }
    }

    /// Does the instrument have this table at all? If not, its function code is illegal.
    #[must_use]
    pub const fn has(&self, table: Table) -> bool {
        match self {
            Self::Mb8art(_) => matches!(table, Table::Discrete | Table::Holding | Table::Input),
            Self::Waveshare8di(_) => matches!(table, Table::Discrete | Table::Coil | Table::Holding),
            Self::Sdm120(_) => matches!(table, Table::Input | Table::Holding),
            Self::Pressure(_) | Self::JxctUv(_) | Self::Uvc254(..) | Self::ScaleDocs(..) => {
                matches!(table, Table::Holding)
            }
        }
    }

    /// The documented measuring registers.
    #[must_use]
    pub fn blocks(&self) -> &'static [Block] {
        match self {
            Self::Mb8art(_) => const { &[block(Table::Input, 0, 8)] },
            Self::Waveshare8di(_) => const { &[block(Table::Discrete, 0, 8)] },
            Self::Sdm120(_) => {
                const {
                    &[
                        block(Table::Input, 0x0000, 0x20),
                        block(Table::Input, 0x0046, 6),
                        block(Table::Input, 0x0156, 2),
                    ]
                }
            }
            Self::Pressure(_) => const { &[block(Table::Holding, 0, 7)] },
            Self::JxctUv(_) => const { &[block(Table::Holding, 0, 2), block(Table::Holding, 8, 1)] },
            Self::Uvc254(..) => const { &[block(Table::Holding, 0, 3)] },
            Self::ScaleDocs(..) => {
                const {
                    &[
                        block(Table::Holding, 0x0008, 1),
                        block(Table::Holding, 0x001E, 2),
                        block(Table::Holding, 0x0050, 6),
                    ]
                }
            }
        }
    }

    /// The word a scenario uses for this map.
    #[must_use]
    pub const fn word_of_map(&self) -> &'static str {
        match self {
            Self::Mb8art(_) => "mb8art",
            Self::Waveshare8di(_) => "waveshare-8di",
            Self::Sdm120(_) => "sdm120",
            Self::Pressure(_) => "pressure",
            Self::JxctUv(_) => "jxct-uv",
            Self::Uvc254(..) => "uvc-254",
            Self::ScaleDocs(..) => "scale-docs",
        }
    }
}

fn mb8art(channels: &[Option<SignalIx>; 8], table: Table, address: u16, signals: &Signals) -> Option<u16> {
    match (table, address) {
        (Table::Input, 0..=7) => {
            let shown = channels[usize::from(address)].map_or(f64::INFINITY, |ix| signals.shown(ix));
            Some(if shown == f64::INFINITY {
                MB8ART_OPEN as u16
            } else if shown == f64::NEG_INFINITY {
                MB8ART_SHORT as u16
            } else {
                // −200…850 °C is what a PT100 can be.
                s16(shown.clamp(-200.0, 850.0) * 10.0)
            })
        }
        (Table::Discrete, 0..=7) => {
            let connected = channels[usize::from(address)].is_some_and(|ix| signals.shown(ix).is_finite());
            Some(u16::from(connected))
        }
        (Table::Holding, 70) => Some(1),
        (Table::Holding, 71) => Some(3),
        // Parity none, and tenths of a degree.
        (Table::Holding, 72 | 76) => Some(0),
        (Table::Holding, 128..=135) => Some(0x0200),
        (Table::Discrete | Table::Coil | Table::Holding | Table::Input, _) => None,
    }
}

fn sdm120(values: &[SignalIx; 10], table: Table, address: u16, signals: &Signals) -> Option<u16> {
    let low = address & 1 == 1;
    let at = |position: usize| Some(f32_half(signals.shown(values[position]), low));
    match (table, address & !1) {
        (Table::Input, 0x0000) => at(0),
        (Table::Input, 0x0006) => at(1),
        (Table::Input, 0x000C) => at(2),
        (Table::Input, 0x0012) => at(3),
        (Table::Input, 0x0018) => at(4),
        (Table::Input, 0x001E) => at(5),
        (Table::Input, 0x0046) => at(6),
        (Table::Input, 0x0048) => at(7),
        (Table::Input, 0x004A) => at(8),
        (Table::Input, 0x0156) => at(9),
        // Between its floats this meter answers zero.
        (Table::Input, 0x0002..=0x005E) => Some(0),
        // Parity none, 2400 baud; and its id.
        (Table::Holding, 0x0012 | 0x001C) => Some(f32_half(0.0, low)),
        (Table::Holding, 0x0014) => Some(f32_half(1.0, low)),
        (Table::Discrete | Table::Coil | Table::Holding | Table::Input, _) => None,
    }
}

fn scale(values: &[SignalIx; 6], max_kg: u32, table: Table, address: u16, signals: &Signals) -> Option<u16> {
    let Table::Holding = table else { return None };
    let hundredths = |position: usize| {
        let shown = signals.shown(values[position]).clamp(-99_999.0, 99_999.0);
        libm::round(shown * 100.0) as i32 as u32
    };
    let is = |position: usize| signals.shown(values[position]) > 0.5;
    match address {
        0x0000 => Some(1),
        0x0001 => Some(3),
        0x0008 => {
            let minus = signals.shown(values[1]) < -0.004;
            let bits = [(3, minus), (5, is(3)), (7, is(4)), (9, is(5))];
            Some(bits.into_iter().fold(2, |word, (bit, on)| word | (u16::from(on) << bit)))
        }
        0x001E | 0x001F => Some(half(hundredths(0), address == 0x001F)),
        0x002C | 0x002D => Some(half(hundredths(0).wrapping_mul(37).wrapping_add(84_213), address == 0x002D)),
        0x0050 | 0x0051 => Some(half(hundredths(0), address == 0x0051)),
        0x0052 | 0x0053 => Some(half(hundredths(1), address == 0x0053)),
        0x0054 | 0x0055 => Some(half(hundredths(2), address == 0x0055)),
        0x0056 | 0x0057 => Some(half(max_kg * 100, address == 0x0057)),
        // Division 1 in the last place; unit kg.
        0x0058 | 0x005E | 0x0068 => Some(0),
        _ => None,
    }
}
