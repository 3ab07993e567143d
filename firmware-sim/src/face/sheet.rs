//! Instruments whose registers are a plain table: what each address means, from domain.md C.1, C.2, C.4 and C.5.
//!
//! A [`Sheet`] is the page of the manual; [`Sheeted`] is that page with signals on its terminals and a unit id. Ids, baud
//! codes and relays can be written. Leaves out other writing, private frames (Renke's `FD FD FD`) and instruments whose map nobody has seen (JXEC-T, DDS661, DL/T 645).

use super::answer::{ILLEGAL_ADDRESS, ILLEGAL_VALUE};
use super::maps::{Block, Table, f32_half, half, s16, u16_of};
use crate::device::{meter, scale};
use crate::signal::{SignalIx, Signals};

/// What a register holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Always this: offsets nobody set, channel types.
    Fixed(u16),
    /// This until somebody writes it: baud codes of an unknown meaning, relays.
    Held(u16),
    /// The line speed, this until somebody writes it. It is in force when the power comes back.
    Baud(u16, Rates),
    /// The unit id. Whoever writes it has to ask for the new one from then on.
    Id,
    /// The unit id as two words of a float.
    IdF32,
    /// Signed word, so many steps to the unit.
    S16(usize, Steps),
    /// Unsigned word.
    U16(usize, Steps),
    /// Two words, high first.
    U32(usize, Steps),
    /// Two words, low first.
    U32LowFirst(usize, Steps),
    /// Two words, high first, two's complement.
    S32(usize, Steps),
    /// Two words, IEEE 754, high first.
    F32(usize, Steps),
    /// One bit.
    Bit(usize),
}

/// What the words of a line speed mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rates {
    /// bit/s.
    Itself,
    /// A code each.
    Codes(&'static [(u16, u32)]),
}

impl Rates {
    /// bit/s.
    fn of(self, word: u16) -> Option<u32> {
        match self {
            Self::Itself => Some(word.into()),
            Self::Codes(codes) => codes.iter().find(|(code, _)| *code == word).map(|(_, rate)| *rate),
        }
    }
}

/// Steps of a register in one unit of its signal; negative: units of the signal in one step.
type Steps = i32;

fn in_steps(value: f64, steps: Steps) -> f64 {
    if steps < 0 { value / f64::from(-steps) } else { value * f64::from(steps) }
}

impl What {
    const fn words(self) -> u16 {
        match self {
            Self::U32(..) | Self::U32LowFirst(..) | Self::S32(..) | Self::F32(..) | Self::IdF32 => 2,
            Self::Fixed(_)
            | Self::Held(_)
            | Self::Baud(..)
            | Self::Id
            | Self::S16(..)
            | Self::U16(..)
            | Self::Bit(_) => 1,
        }
    }
}

/// A register, or two, in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell(Table, u16, What);

/// What is connected to an instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wiring {
    /// Signals, each on its terminal; what an open terminal reads, if it may be open.
    Terminals(&'static [(&'static str, Option<i16>)]),
    /// All quantities of one device, in its order; the terminal has the name of the device's kind.
    Device(&'static str, &'static [crate::device::Quantity]),
}

/// One page of a manual.
#[derive(Debug, PartialEq, Eq)]
pub struct Sheet {
    /// The word a scenario uses.
    pub word: &'static str,
    /// What is connected to it.
    pub wiring: Wiring,
    cells: &'static [Cell],
    /// Registers without a meaning that answer zero all the same, first and last.
    zeros: &'static [(Table, u16, u16)],
    /// The documented measuring registers.
    pub blocks: &'static [Block],
}

use Table::{Coil, Discrete, Holding, Input};
use What::{Baud, Bit, F32, Fixed, Held, Id, IdF32, S16, S32, U16, U32, U32LowFirst};

const fn block(table: Table, first: u16, count: u16) -> Block {
    Block { table, first, count }
}

/// Temperature, and humidity that may be left open: then 45 %.
const AIR: Wiring = Wiring::Terminals(&[("temperature", None), ("humidity", Some(45))]);
const METER: Wiring = Wiring::Device("meter", meter::QUANTITIES);
const SCALE: Wiring = Wiring::Device("scale", scale::QUANTITIES);
/// Eight inputs, open ones off.
const INPUTS: Wiring = Wiring::Terminals(&[
    ("di-1", Some(0)),
    ("di-2", Some(0)),
    ("di-3", Some(0)),
    ("di-4", Some(0)),
    ("di-5", Some(0)),
    ("di-6", Some(0)),
    ("di-7", Some(0)),
    ("di-8", Some(0)),
]);
const RELAYS: [Cell; 8] = [
    Cell(Coil, 0, Held(0)),
    Cell(Coil, 1, Held(0)),
    Cell(Coil, 2, Held(0)),
    Cell(Coil, 3, Held(0)),
    Cell(Coil, 4, Held(0)),
    Cell(Coil, 5, Held(0)),
    Cell(Coil, 6, Held(0)),
    Cell(Coil, 7, Held(0)),
];
const INPUTS_AND_RELAYS: [Cell; 16] = {
    let mut cells = [Cell(Coil, 0, Held(0)); 16];
    let mut i = 0;
    while i < 8 {
        cells[i] = BITS[i];
        cells[i + 8] = RELAYS[i];
        i += 1;
    }
    cells
};
const BITS: [Cell; 8] = [
    Cell(Discrete, 0, Bit(0)),
    Cell(Discrete, 1, Bit(1)),
    Cell(Discrete, 2, Bit(2)),
    Cell(Discrete, 3, Bit(3)),
    Cell(Discrete, 4, Bit(4)),
    Cell(Discrete, 5, Bit(5)),
    Cell(Discrete, 6, Bit(6)),
    Cell(Discrete, 7, Bit(7)),
];

/// Every sheet there is. Positions of a meter's and a scale's quantities: see their `QUANTITIES`.
pub static SHEETS: &[Sheet] = &[
    Sheet {
        // C.1: tenths; the baud register holds the rate itself, whatever the manual says.
        word: "xy-md02",
        wiring: AIR,
        cells: &[
            Cell(Input, 1, S16(0, 10)),
            Cell(Input, 2, U16(1, 10)),
            Cell(Holding, 0x0101, Id),
            Cell(Holding, 0x0102, Baud(9600, Rates::Itself)),
            Cell(Holding, 0x0103, Fixed(0)),
            Cell(Holding, 0x0104, Fixed(0)),
        ],
        zeros: &[],
        blocks: &[block(Input, 1, 2)],
    },
    Sheet {
        // C.1, the red-LED clone: the same registers in hundredths, other configuration.
        word: "md02",
        wiring: AIR,
        cells: &[
            Cell(Input, 1, S16(0, 100)),
            Cell(Input, 2, U16(1, 100)),
            Cell(Holding, 0x0100, Id),
            Cell(Holding, 0x0101, Baud(2, Rates::Codes(&[(0, 2_400), (1, 4_800), (2, 9_600)]))),
        ],
        zeros: &[],
        blocks: &[block(Input, 1, 2)],
    },
    Sheet {
        // C.1: order reversed.
        word: "shtc3",
        wiring: AIR,
        cells: &[Cell(Holding, 0, U16(1, 10)), Cell(Holding, 1, S16(0, 10))],
        zeros: &[],
        blocks: &[block(Holding, 0, 2)],
    },
    Sheet {
        // C.1: 4800 baud from the factory; answers FC 03 and 04 alike.
        word: "rs-ws-n01",
        wiring: AIR,
        cells: &[
            Cell(Holding, 0, U16(1, 10)),
            Cell(Holding, 1, S16(0, 10)),
            Cell(Input, 0, U16(1, 10)),
            Cell(Input, 1, S16(0, 10)),
        ],
        zeros: &[],
        blocks: &[block(Holding, 0, 2)],
    },
    Sheet {
        // C.1. How the baud register counts is in no text that was found: the rate itself here.
        word: "jxct-air",
        wiring: AIR,
        cells: &[
            Cell(Holding, 0, U16(1, 10)),
            Cell(Holding, 1, S16(0, 10)),
            Cell(Holding, 0x0100, Id),
            Cell(Holding, 0x0101, Held(9600)),
        ],
        zeros: &[],
        blocks: &[block(Holding, 0, 2)],
    },
    Sheet {
        // C.1: registers between humidity and light answer zero.
        word: "cwt",
        wiring: Wiring::Terminals(&[("temperature", None), ("humidity", Some(45)), ("light", Some(0))]),
        cells: &[
            Cell(Holding, 0, S16(1, 10)),
            Cell(Holding, 1, S16(0, 10)),
            Cell(Holding, 6, S16(2, 10)),
            Cell(Holding, 0x07D0, Id),
            Cell(Holding, 0x07D1, Held(2)),
        ],
        zeros: &[(Holding, 2, 5)],
        blocks: &[block(Holding, 0, 2)],
    },
    Sheet {
        // C.2: made for sunlight. 1 W/m² is 100 µW/cm²: a step of this register is 10 µW/cm².
        word: "jxct-uv",
        wiring: Wiring::Terminals(&[("uv", None), ("humidity", Some(45)), ("temperature", Some(24))]),
        cells: &[Cell(Holding, 0, U16(1, 10)), Cell(Holding, 1, S16(2, 10)), Cell(Holding, 8, U16(0, -10))],
        zeros: &[],
        blocks: &[block(Holding, 0, 2), block(Holding, 8, 1)],
    },
    Sheet {
        // No public map of a 254 nm transmitter was found; this one is ours.
        word: "uvc-254",
        wiring: Wiring::Terminals(&[("uv", None), ("hours", None)]),
        cells: &[Cell(Holding, 0, U16(0, 10)), Cell(Holding, 1, U32(1, 10))],
        zeros: &[],
        blocks: &[block(Holding, 0, 3)],
    },
    Sheet {
        // C.2: ozone in hundredths of a ppm.
        word: "jxbs-o3",
        wiring: Wiring::Terminals(&[("ozone", None), ("humidity", Some(45)), ("temperature", Some(24))]),
        cells: &[Cell(Holding, 0, U16(1, 10)), Cell(Holding, 1, S16(2, 10)), Cell(Holding, 6, U16(0, 100))],
        zeros: &[],
        blocks: &[block(Holding, 0, 2), block(Holding, 6, 1)],
    },
    Sheet {
        // C.2: one decimal; the unit's code is the vendor's own choice: 3 for kPa here. 9600 baud is code 3.
        word: "pressure",
        wiring: Wiring::Terminals(&[("value", None)]),
        cells: &[
            Cell(Holding, 0, Id),
            Cell(Holding, 1, Fixed(3)),
            Cell(Holding, 2, Fixed(3)),
            Cell(Holding, 3, Fixed(1)),
            Cell(Holding, 4, S16(0, 10)),
            Cell(Holding, 5, Fixed(0)),
            Cell(Holding, 6, Fixed(4000)),
        ],
        zeros: &[],
        blocks: &[block(Holding, 0, 7)],
    },
    Sheet {
        // C.3: output modes 0.
        word: "waveshare-8di",
        wiring: INPUTS,
        cells: &INPUTS_AND_RELAYS,
        zeros: &[(Holding, 0x1000, 0x1007)],
        blocks: &[block(Discrete, 0, 8)],
    },
    Sheet {
        // C.3, Relay 8CH: no inputs.
        word: "waveshare-relay",
        wiring: Wiring::Terminals(&[]),
        cells: &RELAYS,
        zeros: &[],
        blocks: &[block(Coil, 0, 8)],
    },
    Sheet {
        // C.3, Relay (D) 8CH.
        word: "waveshare-relay-d",
        wiring: INPUTS,
        cells: &INPUTS_AND_RELAYS,
        zeros: &[],
        blocks: &[block(Coil, 0, 8), block(Discrete, 0, 8)],
    },
    Sheet {
        // C.4: 2400 baud from the factory; between its floats this meter answers zero.
        word: "sdm120",
        wiring: METER,
        cells: &[
            Cell(Input, 0x0000, F32(0, 1)),
            Cell(Input, 0x0006, F32(1, 1)),
            Cell(Input, 0x000C, F32(2, 1)),
            Cell(Input, 0x0012, F32(3, 1)),
            Cell(Input, 0x0018, F32(4, 1)),
            Cell(Input, 0x001E, F32(5, 1)),
            Cell(Input, 0x0046, F32(6, 1)),
            Cell(Input, 0x0048, F32(7, 1)),
            Cell(Input, 0x004A, F32(8, 1)),
            Cell(Input, 0x0156, F32(9, 1)),
            Cell(Holding, 0x0014, IdF32),
        ],
        // Holding: parity none and 2400 baud, as the float 0.
        zeros: &[(Input, 0x0002, 0x005F), (Holding, 0x0012, 0x0013), (Holding, 0x001C, 0x001D)],
        blocks: &[block(Input, 0x0000, 0x20), block(Input, 0x0046, 6), block(Input, 0x0156, 2)],
    },
    Sheet {
        // C.4: floats, power in kW and kvar; switched from DL/T 645 to Modbus by whoever installed it.
        word: "ddsu666",
        wiring: METER,
        cells: &[
            Cell(Holding, 0x2000, F32(0, 1)),
            Cell(Holding, 0x2002, F32(1, 1)),
            Cell(Holding, 0x2004, F32(2, -1000)),
            Cell(Holding, 0x2006, F32(4, -1000)),
            Cell(Holding, 0x200A, F32(5, 1)),
            Cell(Holding, 0x200E, F32(6, 1)),
            Cell(Holding, 0x4000, F32(7, 1)),
            Cell(Holding, 0x400A, F32(8, 1)),
        ],
        zeros: &[(Holding, 0x2008, 0x2009), (Holding, 0x200C, 0x200D)],
        blocks: &[block(Holding, 0x2000, 16), block(Holding, 0x4000, 2), block(Holding, 0x400A, 2)],
    },
    Sheet {
        // C.4, the -H variant: id 11 from the factory, apparent power (kVA) too.
        word: "ddsu666-h",
        wiring: METER,
        cells: &[
            Cell(Holding, 0x2000, F32(0, 1)),
            Cell(Holding, 0x2002, F32(1, 1)),
            Cell(Holding, 0x2004, F32(2, -1000)),
            Cell(Holding, 0x2006, F32(4, -1000)),
            Cell(Holding, 0x200A, F32(5, 1)),
            Cell(Holding, 0x200E, F32(6, 1)),
            Cell(Holding, 0x2012, F32(3, -1000)),
            Cell(Holding, 0x4000, F32(7, 1)),
            Cell(Holding, 0x400A, F32(8, 1)),
        ],
        zeros: &[(Holding, 0x2008, 0x2009), (Holding, 0x200C, 0x200D), (Holding, 0x2010, 0x2011)],
        blocks: &[block(Holding, 0x2000, 20), block(Holding, 0x4000, 2), block(Holding, 0x400A, 2)],
    },
    Sheet {
        // C.4: low word first; energy in Wh; no alarm.
        word: "pzem-016",
        wiring: METER,
        cells: &[
            Cell(Input, 0, U16(0, 10)),
            Cell(Input, 1, U32LowFirst(1, 1000)),
            Cell(Input, 3, U32LowFirst(2, 10)),
            Cell(Input, 5, U32LowFirst(7, 1000)),
            Cell(Input, 7, U16(6, 10)),
            Cell(Input, 8, U16(5, 100)),
            Cell(Input, 9, Fixed(0)),
        ],
        zeros: &[],
        blocks: &[block(Input, 0, 10)],
    },
    Sheet {
        // C.4: registers between are answered with zero; reactive power and power factor are not documented.
        word: "dds238",
        wiring: METER,
        cells: &[
            Cell(Holding, 0x0000, U32(9, 100)),
            Cell(Holding, 0x0008, U32(8, 100)),
            Cell(Holding, 0x000A, U32(7, 100)),
            Cell(Holding, 0x000C, U16(0, 10)),
            Cell(Holding, 0x000D, U16(1, 100)),
            Cell(Holding, 0x000E, S16(2, 1)),
            Cell(Holding, 0x0011, U16(6, 100)),
        ],
        zeros: &[(Holding, 0x0002, 0x0007), (Holding, 0x000F, 0x0010)],
        blocks: &[block(Holding, 0, 18)],
    },
    Sheet {
        // C.5, Laumas W100: command register reads 0; gross and tare in the last place of the display, 0.01 kg here.
        word: "laumas-w100",
        wiring: SCALE,
        cells: &[Cell(Holding, 5, Fixed(0)), Cell(Holding, 7, S32(0, 100)), Cell(Holding, 72, S32(2, 100))],
        zeros: &[(Holding, 16, 17)],
        blocks: &[block(Holding, 7, 2), block(Holding, 72, 2)],
    },
    Sheet {
        // C.5, single source: slave 15 from the factory; numbers of the manual less one; status bit 0 is our guess of motion.
        word: "mettler-cell",
        wiring: SCALE,
        cells: &[
            Cell(Holding, 41_000, F32(2, 1)),
            Cell(Holding, 41_002, F32(1, 1)),
            Cell(Holding, 41_004, Bit(3)),
            Cell(Holding, 41_005, Fixed(0)),
        ],
        zeros: &[],
        blocks: &[block(Holding, 41_000, 6)],
    },
];

/// The sheet of this word.
#[must_use]
pub fn find(word: &str) -> Option<&'static Sheet> {
    SHEETS.iter().find(|sheet| sheet.word == word)
}

/// An instrument in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheeted {
    /// Its page.
    pub sheet: &'static Sheet,
    /// What is on each terminal.
    pub wires: Vec<Option<SignalIx>>,
    /// Its unit id.
    pub unit: u8,
    /// What was written: table, address, word.
    pub held: Vec<(Table, u16, u16)>,
    /// Its line speed, bit/s, if it was given one and had its power taken since; `None`: that of its line.
    pub baud: Option<u32>,
}

impl Sheeted {
    /// See [`super::maps::Map::word`].
    #[must_use]
    pub fn word(&self, table: Table, address: u16, signals: &Signals) -> Option<u16> {
        let cell = self.sheet.cells.iter().find(|Cell(of, first, what)| {
            *of == table && (*first..first.saturating_add(what.words())).contains(&address)
        });
        let Some(Cell(_, first, what)) = cell else {
            let zero =
                |(of, first, last): &(Table, u16, u16)| *of == table && (*first..=*last).contains(&address);
            return self.sheet.zeros.iter().any(zero).then_some(0);
        };
        let second = address > *first;
        let shown = |terminal: usize, steps: Steps| in_steps(self.shown(terminal, signals), steps);
        let u32_of = |value: f64| libm::round(value).clamp(0.0, f64::from(u32::MAX)) as u32;
        Some(match *what {
            Fixed(word) => word,
            Held(word) | Baud(word, _) => self.held(table, address).unwrap_or(word),
            Id => u16::from(self.unit),
            IdF32 => f32_half(f64::from(self.unit), second),
            S16(terminal, steps) => s16(shown(terminal, steps)),
            U16(terminal, steps) => u16_of(shown(terminal, steps)),
            U32(terminal, steps) => half(u32_of(shown(terminal, steps)), second),
            U32LowFirst(terminal, steps) => half(u32_of(shown(terminal, steps)), !second),
            S32(terminal, steps) => half(libm::round(shown(terminal, steps)) as i32 as u32, second),
            F32(terminal, steps) => f32_half(shown(terminal, steps), second),
            Bit(terminal) => u16::from(shown(terminal, 1) > 0.5),
        })
    }

    fn held(&self, table: Table, address: u16) -> Option<u16> {
        let written = self.held.iter().find(|(of, at, _)| (*of, *at) == (table, address));
        written.map(|(_, _, word)| *word)
    }

    fn cell(&self, table: Table, address: u16) -> Option<What> {
        let found = self.sheet.cells.iter().find(|Cell(of, at, _)| (*of, *at) == (table, address));
        found.map(|Cell(_, _, what)| *what)
    }

    /// Has this table anything that can be written? If not, writing is an illegal function.
    #[must_use]
    pub fn can_be_written(&self, table: Table) -> bool {
        self.sheet
            .cells
            .iter()
            .any(|Cell(of, _, what)| *of == table && matches!(what, Held(_) | Baud(..) | Id))
    }

    /// The power came back: the speed that was written is in force.
    pub fn power_up(&mut self) {
        let written = self.sheet.cells.iter().find_map(|Cell(table, at, what)| {
            let Baud(_, rates) = what else { return None };
            rates.of(self.held(*table, *at)?)
        });
        self.baud = written.or(self.baud);
    }

    /// Writes consecutive registers, all or none; the exception otherwise.
    pub fn write(&mut self, table: Table, first: u16, words: &[u16]) -> Result<(), u8> {
        let cells = (first..=u16::MAX).zip(words).map(|(at, word)| (at, *word, self.cell(table, at)));
        let cells: Vec<_> = cells.collect();
        if cells.len() < words.len()
            || cells.iter().any(|(_, _, what)| !matches!(what, Some(Held(_) | Baud(..) | Id)))
        {
            return Err(ILLEGAL_ADDRESS);
        }
        if cells.iter().any(|(_, word, what)| *what == Some(Id) && !(1..=247).contains(word)) {
            return Err(ILLEGAL_VALUE);
        }
        for (at, word, what) in cells {
            if what == Some(Id) {
                self.unit = word as u8;
            } else {
                self.held.retain(|(of, held, _)| (*of, *held) != (table, at));
                self.held.push((table, at, word));
            }
        }
        Ok(())
    }

    fn shown(&self, terminal: usize, signals: &Signals) -> f64 {
        match (self.wires.get(terminal).copied().flatten(), self.sheet.wiring) {
            (Some(ix), _) => signals.shown(ix),
            (None, Wiring::Terminals(terminals)) => terminals[terminal].1.map_or(0.0, f64::from),
            (None, Wiring::Device(..)) => 0.0,
        }
    }

    /// See [`super::maps::Map::has`].
    #[must_use]
    pub fn has(&self, table: Table) -> bool {
        self.sheet.cells.iter().any(|Cell(of, ..)| *of == table)
            || self.sheet.zeros.iter().any(|(of, ..)| *of == table)
    }
}
