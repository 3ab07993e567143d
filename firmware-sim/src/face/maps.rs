//! Register maps of real instruments (domain.md C), as each keeps them: where it has a register and where a hole.
//!
//! A map is asked for one address at a time and answers a word, or nothing where the instrument has no register. Every
//! map also names its documented blocks: what a recording of it holds.

use super::answer::ILLEGAL_FUNCTION;
use super::sheet::Sheeted;
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
    /// ComWinTop MB8ART, eight PT100; and its unit id.
    Mb8art([Option<SignalIx>; 8], u8),
    /// Weighing transmitter "scale-docs"; the signals of a scale device in its order, its maximum in kg, its unit id.
    ScaleDocs([SignalIx; 6], u32, u8),
    /// Any instrument whose registers are a plain table.
    Sheet(Sheeted),
}

/// MB8ART: open channel, and short or wrong type.
const MB8ART_OPEN: i16 = 30_000;
const MB8ART_SHORT: i16 = -30_000;

/// A value as a word, held at the ends of what a word can say.
pub(super) fn s16(value: f64) -> u16 {
    (libm::round(value).clamp(f64::from(i16::MIN), f64::from(i16::MAX)) as i16) as u16
}

pub(super) fn u16_of(value: f64) -> u16 {
    libm::round(value).clamp(0.0, 65_535.0) as u16
}

/// One half of a 32-bit number, high word first.
pub(super) const fn half(value: u32, low: bool) -> u16 {
    if low { value as u16 } else { (value >> 16) as u16 }
}

pub(super) fn f32_half(value: f64, low: bool) -> u16 {
    half((value as f32).to_bits(), low)
}

impl Map {
    /// The word at an address; bits are 0 or 1. `None`: no such register.
    #[must_use]
    pub fn word(&self, table: Table, address: u16, signals: &Signals) -> Option<u16> {
        match self {
            Self::Mb8art(channels, unit) => mb8art(channels, *unit, table, address, signals),
            Self::ScaleDocs(values, max_kg, unit) => scale(values, *max_kg, *unit, table, address, signals),
            Self::Sheet(sheeted) => sheeted.word(table, address, signals),
        }
    }

    /// Does the instrument have this table at all? If not, its function code is illegal.
    #[must_use]
    pub fn has(&self, table: Table) -> bool {
        match self {
            Self::Mb8art(..) => matches!(table, Table::Discrete | Table::Holding | Table::Input),
            Self::ScaleDocs(..) => matches!(table, Table::Holding),
            Self::Sheet(sheeted) => sheeted.has(table),
        }
    }

    /// The documented measuring registers.
    #[must_use]
    pub fn blocks(&self) -> &'static [Block] {
        match self {
            Self::Mb8art(..) => const { &[block(Table::Input, 0, 8)] },
            Self::ScaleDocs(..) => {
                const {
                    &[
                        block(Table::Holding, 0x0008, 1),
                        block(Table::Holding, 0x001E, 2),
                        block(Table::Holding, 0x0050, 6),
                    ]
                }
            }
            Self::Sheet(sheeted) => sheeted.sheet.blocks,
        }
    }

    /// Writes consecutive registers or coils, all or none; the exception otherwise.
    pub fn write(&mut self, table: Table, first: u16, words: &[u16]) -> Result<(), u8> {
        match self {
            Self::Sheet(sheeted) => sheeted.write(table, first, words),
            Self::Mb8art(..) | Self::ScaleDocs(..) => Err(ILLEGAL_FUNCTION),
        }
    }

    /// Has this table anything that can be written? If not, writing is an illegal function.
    #[must_use]
    pub fn can_be_written(&self, table: Table) -> bool {
        match self {
            Self::Sheet(sheeted) => sheeted.can_be_written(table),
            Self::Mb8art(..) | Self::ScaleDocs(..) => false,
        }
    }

    /// The unit id it was given by a write, for an instrument that keeps one.
    #[must_use]
    pub const fn unit(&self) -> u8 {
        match self {
            Self::Mb8art(_, unit) | Self::ScaleDocs(_, _, unit) => *unit,
            Self::Sheet(sheeted) => sheeted.unit,
        }
    }

    /// Its line speed, bit/s, if it has another than its line.
    #[must_use]
    pub const fn baud(&self) -> Option<u32> {
        match self {
            Self::Mb8art(..) | Self::ScaleDocs(..) => None,
            Self::Sheet(sheeted) => sheeted.baud,
        }
    }

    /// The power came back.
    pub fn power_up(&mut self) {
        match self {
            Self::Mb8art(..) | Self::ScaleDocs(..) => {}
            Self::Sheet(sheeted) => sheeted.power_up(),
        }
    }

    /// The word a scenario uses for this map.
    #[must_use]
    pub const fn word_of_map(&self) -> &'static str {
        match self {
            Self::Mb8art(..) => "mb8art",
            Self::ScaleDocs(..) => "scale-docs",
            Self::Sheet(sheeted) => sheeted.sheet.word,
        }
    }
}

fn mb8art(
    channels: &[Option<SignalIx>; 8],
    unit: u8,
    table: Table,
    address: u16,
    signals: &Signals,
) -> Option<u16> {
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
        (Table::Holding, 70) => Some(u16::from(unit)),
        (Table::Holding, 71) => Some(3),
        // Parity none, and tenths of a degree.
        (Table::Holding, 72 | 76) => Some(0),
        (Table::Holding, 128..=135) => Some(0x0200),
        (Table::Discrete | Table::Coil | Table::Holding | Table::Input, _) => None,
    }
}

fn scale(
    values: &[SignalIx; 6],
    max_kg: u32,
    unit: u8,
    table: Table,
    address: u16,
    signals: &Signals,
) -> Option<u16> {
    let Table::Holding = table else { return None };
    let hundredths = |position: usize| {
        let shown = signals.shown(values[position]).clamp(-99_999.0, 99_999.0);
        libm::round(shown * 100.0) as i32 as u32
    };
    let is = |position: usize| signals.shown(values[position]) > 0.5;
    match address {
        0x0000 => Some(u16::from(unit)),
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
