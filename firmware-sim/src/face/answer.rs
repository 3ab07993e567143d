//! From a request to what goes back on the wire, spoiled or not.

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

/// Words of consecutive registers, or the exception the device would answer.
pub fn read(map: &Map, signals: &Signals, table: Table, first: u16, count: u16) -> Result<Vec<u16>, u8> {
    if !map.has(table) {
        return Err(ILLEGAL_FUNCTION);
    }
    let most = match table {
        Table::Coil | Table::Discrete => BITS_MAX,
        Table::Holding | Table::Input => REGISTERS_MAX,
    };
    if count == 0 || count > most {
        return Err(ILLEGAL_VALUE);
    }
    (0..count)
        .map(|i| first.checked_add(i).and_then(|at| map.word(table, at, signals)).ok_or(ILLEGAL_ADDRESS))
        .collect()
}

/// The PDU a sound device answers.
#[must_use]
pub fn answer(map: &Map, signals: &Signals, pdu: &[u8]) -> Vec<u8> {
    let function = pdu.first().copied().unwrap_or(0);
    let table = match function {
        1 => Table::Coil,
        2 => Table::Discrete,
        3 => Table::Holding,
        4 => Table::Input,
        // Nothing here can be written, and nothing else is known.
        _ => return exception(function, ILLEGAL_FUNCTION),
    };
    let [_, a, b, c, d] = *pdu else { return exception(function, ILLEGAL_VALUE) };
    match read(map, signals, table, u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])) {
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
