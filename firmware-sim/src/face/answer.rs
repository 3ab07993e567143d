//! From a request to what goes back on the wire, spoiled or not.

use std::time::Duration;

use super::frame::{Request, rtu, tcp};
use super::maps::{Map, Table};
use crate::fault::LinkFault;
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
    /// Close the connection.
    HangUp,
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

/// What becomes of an answer under a fault. `previous` is the PDU answered before this one, if any.
#[must_use]
pub fn spoil(fault: LinkFault, request: &Request, pdu: &[u8], previous: Option<&[u8]>) -> Vec<Act> {
    let unit = request.unit;
    let sound = || framed(request, unit, pdu);
    match fault {
        LinkFault::Silent => Vec::new(),
        LinkFault::Exception(code) => {
            let function = request.pdu.first().copied().unwrap_or(0);
            vec![Act::Send(framed(request, unit, &exception(function, code)))]
        }
        LinkFault::Truncated => {
            let mut frame = sound();
            frame.truncate(frame.len() - frame.len() / 3 - 1);
            vec![Act::Send(frame)]
        }
        LinkFault::WrongCrc => {
            let mut frame = sound();
            if request.transaction.is_some() {
                frame[5] = frame[5].wrapping_add(1);
            } else if let Some(last) = frame.last_mut() {
                *last ^= 0x5A;
            }
            vec![Act::Send(frame)]
        }
        LinkFault::ForeignUnit => {
            let other = if unit == 247 { 1 } else { unit + 1 };
            vec![Act::Send(framed(request, other, pdu))]
        }
        LinkFault::ForeignTransaction => vec![Act::Send(if let Some(transaction) = request.transaction {
            tcp(transaction.wrapping_sub(1), unit, pdu)
        } else {
            let mut foreign = pdu.to_vec();
            if let Some(function) = foreign.first_mut() {
                *function = if *function == 3 { 4 } else { 3 };
            }
            rtu(unit, &foreign)
        })],
        LinkFault::PreviousAnswer => {
            previous.map(|previous| vec![Act::Send(framed(request, unit, previous))]).unwrap_or_default()
        }
        LinkFault::Late(ms) => vec![Act::Wait(Duration::from_millis(u64::from(ms))), Act::Send(sound())],
        LinkFault::HangUp => vec![Act::HangUp],
        LinkFault::Noise => {
            let mut frame = vec![0xFF, 0x00, 0xFE];
            frame.extend(sound());
            vec![Act::Send(frame)]
        }
    }
}

/// What becomes of a frame that was sent unasked. Faults that make no sense without a question keep it back.
#[must_use]
pub fn spoil_frame(fault: LinkFault, mut frame: Vec<u8>) -> Vec<Act> {
    if let LinkFault::Late(ms) = fault {
        return vec![Act::Wait(Duration::from_millis(u64::from(ms))), Act::Send(frame)];
    }
    if fault == LinkFault::HangUp {
        return vec![Act::HangUp];
    }
    if fault == LinkFault::Truncated {
        frame.truncate(frame.len() - frame.len() / 3 - 1);
    } else if fault == LinkFault::WrongCrc {
        // The last character before the end of the frame: of the checksum, where there is one.
        let last = frame.len().saturating_sub(2);
        frame[last] ^= 0x01;
    } else if fault == LinkFault::Noise {
        frame.splice(0..0, [0xFF, 0x00, 0xFE]);
    } else {
        return Vec::new();
    }
    vec![Act::Send(frame)]
}
