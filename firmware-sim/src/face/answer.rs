//! From a request to what goes back on the wire.

use std::time::Duration;

use super::frame::{Request, rtu, tcp};
use super::maps::{Map, Table};
use crate::signal::Signals;

/// Modbus exception codes used here.
pub const ILLEGAL_FUNCTION: u8 = 1;
/// No such register.
pub const ILLEGAL_ADDRESS: u8 = 2;
/// A count of none, or too many.
pub const ILLEGAL_VALUE: u8 = 3;
/// What a TCP gateway says of a unit that is not there.
pub const TARGET_SILENT: u8 = 0x0B;

/// Registers and bits in one request at most, by the Modbus specification.
pub const REGISTERS_MAX: u16 = 125;
/// See [`REGISTERS_MAX`].
pub const BITS_MAX: u16 = 2000;

/// How an instrument departs from its manual, or its manual from the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Its addresses are so many higher than documented: a manual that counts from 1, or from 40001.
    pub base: u16,
    /// A documented block is read whole or not at all (exception 2).
    pub whole_blocks: bool,
    /// Registers it does not have answer 0 instead of exception 2.
    pub zero_holes: bool,
    /// Registers in one request at most, when fewer than the specification's (exception 3).
    pub most: Option<u16>,
}

/// What a connection does for an answer, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Wait, in real time.
    Wait(Duration),
    /// Send these bytes.
    Send(Vec<u8>),
    /// Do this so much (real time) after the request, and go on meanwhile.
    After(Duration, Then),
    /// Close the connection.
    HangUp,
    /// Neither answer nor close from here on: the device has forgotten the connection.
    GoDeaf,
}

/// What can be done later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Close the connection.
    HangUp,
}

impl From<Then> for Act {
    fn from(then: Then) -> Self {
        match then {
            Then::Send(bytes) => Self::Send(bytes),
            Then::HangUp => Self::HangUp,
        }
    }
}

/// Words of consecutive registers, or the exception the device would answer.
pub fn read(
    map: &Map,
    quirks: Quirks,
    signals: &Signals,
    table: Table,
    first: u16,
    count: u16,
) -> Result<Vec<u16>, u8> {
    if !map.has(table) {
        return Err(ILLEGAL_FUNCTION);
    }
    let most = match table {
        Table::Coil | Table::Discrete => BITS_MAX,
        Table::Holding | Table::Input => quirks.most.unwrap_or(REGISTERS_MAX).min(REGISTERS_MAX),
    };
    if count == 0 || count > most {
        return Err(ILLEGAL_VALUE);
    }
    let first = first.checked_sub(quirks.base).ok_or(ILLEGAL_ADDRESS)?;
    if quirks.whole_blocks && cuts_a_block(map, table, first, count) {
        return Err(ILLEGAL_ADDRESS);
    }
    let hole = quirks.zero_holes.then_some(0);
    (0..count)
        .map(|i| {
            let at = first.checked_add(i).ok_or(ILLEGAL_ADDRESS)?;
            map.word(table, at, signals).or(hole).ok_or(ILLEGAL_ADDRESS)
        })
        .collect()
}

/// Does a request take some registers of a documented block and leave others?
fn cuts_a_block(map: &Map, table: Table, first: u16, count: u16) -> bool {
    let (first, end) = (u32::from(first), u32::from(first) + u32::from(count));
    map.blocks().iter().filter(|block| block.table == table).any(|block| {
        let (from, to) = (u32::from(block.first), u32::from(block.first) + u32::from(block.count));
        let touches = first < to && from < end;
        touches && (first > from || end < to)
    })
}

/// Does a request to write, and gives the PDU of its answer; `None` for any other request.
pub fn write(map: &mut Map, quirks: Quirks, pdu: &[u8]) -> Option<Vec<u8>> {
    let function = *pdu.first()?;
    let table = match function {
        0x05 | 0x0F => Table::Coil,
        0x06 | 0x10 => Table::Holding,
        _ => return None,
    };
    if !map.can_be_written(table) {
        return Some(exception(function, ILLEGAL_FUNCTION));
    }
    let done = written(pdu).and_then(|(first, words)| {
        let first = first.checked_sub(quirks.base).ok_or(ILLEGAL_ADDRESS)?;
        map.write(table, first, &words)
    });
    // All four answer with the first five bytes of the request.
    Some(done.map_or_else(|code| exception(function, code), |()| pdu[..5].to_vec()))
}

/// Address and words of a request to write.
fn written(pdu: &[u8]) -> Result<(u16, Vec<u16>), u8> {
    let [function, a, b, c, d, ref rest @ ..] = *pdu else { return Err(ILLEGAL_VALUE) };
    let (first, value) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let bytes = rest.split_first().map_or(&[][..], |(_, bytes)| bytes);
    let words = match function {
        0x05 if value == 0xFF00 || value == 0 => vec![u16::from(value != 0)],
        0x06 => vec![value],
        0x0F if bytes.len() == usize::from(value).div_ceil(8) => {
            (0..usize::from(value)).map(|i| u16::from(bytes[i / 8] >> (i % 8) & 1)).collect()
        }
        0x10 if bytes.len() == usize::from(value) * 2 => {
            bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
        }
        _ => return Err(ILLEGAL_VALUE),
    };
    if words.is_empty() { Err(ILLEGAL_VALUE) } else { Ok((first, words)) }
}

/// The PDU a sound device answers to a request to read.
#[must_use]
pub fn answer(map: &Map, quirks: Quirks, signals: &Signals, pdu: &[u8]) -> Vec<u8> {
    let function = pdu.first().copied().unwrap_or(0);
    let table = match function {
        1 => Table::Coil,
        2 => Table::Discrete,
        3 => Table::Holding,
        4 => Table::Input,
        // Nothing else is known.
        _ => return exception(function, ILLEGAL_FUNCTION),
    };
    let [_, a, b, c, d] = *pdu else { return exception(function, ILLEGAL_VALUE) };
    match read(map, quirks, signals, table, u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])) {
        Err(code) => exception(function, code),
        Ok(words) => {
            let data: Vec<u8> = match table {
                Table::Holding | Table::Input => words.iter().flat_map(|word| word.to_be_bytes()).collect(),
                Table::Coil | Table::Discrete => words
                    .chunks(8)
                    .map(|bits| bits.iter().rev().fold(0, |byte, bit| (byte << 1) | u8::from(*bit != 0)))
                    .collect(),
            };
            let mut pdu = vec![function, data.len() as u8];
            pdu.extend(data);
            pdu
        }
    }
}

/// The PDU of a refusal.
#[must_use]
pub fn exception(function: u8, code: u8) -> Vec<u8> {
    vec![function | 0x80, code]
}

/// An answer in the framing of its request.
#[must_use]
pub fn framed(request: &Request, unit: u8, pdu: &[u8]) -> Vec<u8> {
    match request.transaction {
        Some(transaction) => tcp(transaction, unit, pdu),
        None => rtu(unit, pdu),
    }
}
