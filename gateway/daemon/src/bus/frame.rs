//! Modbus frames as bytes: requests written, whatever comes back recognised. No I/O, and no memory of earlier requests.
//!
//! Promises: a frame is called sound only when everything that can be checked without knowing the question holds: the
//! checksum of RTU, the header of Modbus TCP, and a byte count that agrees with the length (Modbus Application Protocol
//! V1.1b3 §6, Serial Line V1.02 §2.5.1, TCP Implementation Guide V1.0b §3.1).
//!
//! Leaves out: whether a sound frame is the answer to anything ([`super::guard`]).

use crate::config::{FunctionCode, UnitId};

/// Registers in one answer, at most: 250 bytes fit a frame.
pub const REGISTERS_MAX: u16 = 125;
/// Bits in one answer, at most.
pub const BITS_MAX: u16 = 2000;
/// Longest frame of either framing: 260 bytes of Modbus TCP.
pub const FRAME_MAX: usize = 260;
/// Bytes of the header of Modbus TCP before the unit id.
const MBAP: usize = 6;
/// Unit, function, byte count.
const BODY_HEAD: usize = 3;
/// An exception: unit, function with the high bit, code.
const EXCEPTION: usize = 3;
const CRC: usize = 2;
/// Marks an exception in the function code.
const REFUSED: u8 = 0x80;

/// How frames are told apart on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Modbus TCP: a header with a transaction id.
    Tcp,
    /// RTU: a checksum, and no way to tell which question an answer belongs to.
    Rtu,
}

/// One question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Whom.
    pub unit: UnitId,
    /// What.
    pub function: FunctionCode,
    /// First register or bit, from 0.
    pub first: u16,
    /// How many.
    pub count: u16,
}

impl Question {
    /// How many registers or bits one question of its kind may ask for.
    pub fn limit(self) -> u16 {
        if self.function.of_bits() { BITS_MAX } else { REGISTERS_MAX }
    }

    /// What can be told from an answer to it without a transaction id.
    pub fn shape(self) -> Shape {
        Shape { unit: self.unit.0, function: self.function.code(), bytes: self.data_bytes() }
    }

    /// Bytes of the request.
    pub fn request_bytes(self, framing: Framing) -> usize {
        match framing {
            Framing::Tcp => MBAP + 6,
            Framing::Rtu => 6 + CRC,
        }
    }

    /// Bytes of a good answer.
    pub fn answer_bytes(self, framing: Framing) -> usize {
        let body = BODY_HEAD + usize::from(self.data_bytes());
        match framing {
            Framing::Tcp => MBAP + body,
            Framing::Rtu => body + CRC,
        }
    }

    fn data_bytes(self) -> u8 {
        let bytes = if self.function.of_bits() { self.count.div_ceil(8) } else { self.count * 2 };
        // At most 250 for every count within `limit`.
        bytes as u8
    }
}

/// What an RTU answer shows of its question. Two questions of one shape at different addresses cannot be told apart by
/// their answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Who answers.
    pub unit: u8,
    /// To which function.
    pub function: u8,
    /// With how many bytes of data.
    pub bytes: u8,
}

/// Appends the request to `out`.
pub fn write_request(framing: Framing, question: Question, transaction: u16, out: &mut Vec<u8>) {
    let start = out.len();
    if framing == Framing::Tcp {
        out.extend(transaction.to_be_bytes());
        out.extend([0, 0, 0, 6]);
    }
    out.extend([question.unit.0, question.function.code()]);
    out.extend(question.first.to_be_bytes());
    out.extend(question.count.to_be_bytes());
    if framing == Framing::Rtu {
        let sum = crc(&out[start..]);
        out.extend(sum.to_le_bytes());
    }
}

/// What stands at the beginning of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// Not enough to say.
    More,
    /// A sound frame.
    Frame(Frame<'a>),
    /// No frame begins here.
    Junk(&'static str),
}

/// A sound answer frame of somebody to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Modbus TCP only.
    pub transaction: Option<u16>,
    /// Who says it.
    pub unit: u8,
    /// What it says.
    pub body: Body<'a>,
    /// All of it, as it came.
    pub bytes: &'a [u8],
}

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// Data of a function 1 to 4.
    Data {
        /// Function code.
        function: u8,
        /// Registers as bytes, high first, or packed bits.
        data: &'a [u8],
    },
    /// A refusal.
    Exception {
        /// Function code asked for.
        function: u8,
        /// Why.
        code: u8,
    },
}

impl Frame<'_> {
    /// Its shape; exceptions have none.
    pub fn shape(&self) -> Option<Shape> {
        match self.body {
            Body::Data { function, data } => {
                Some(Shape { unit: self.unit, function, bytes: data.len() as u8 })
            }
            Body::Exception { .. } => None,
        }
    }
}

/// Registers, or bits as 0 and 1: exactly `question.count` of them. `data` has the length that the question asks for.
pub fn words(question: Question, data: &[u8]) -> Vec<u16> {
    if question.function.of_bits() {
        let bit = |i: usize| data.get(i / 8).map_or(0, |byte| u16::from(byte >> (i % 8) & 1));
        (0..usize::from(question.count)).map(bit).collect()
    } else {
        data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
    }
}

/// Looks at the beginning of `bytes` for an answer frame.
pub fn find(framing: Framing, bytes: &[u8]) -> Found<'_> {
    match framing {
        Framing::Tcp => find_tcp(bytes),
        Framing::Rtu => find_rtu(bytes),
    }
}

fn find_tcp(bytes: &[u8]) -> Found<'_> {
    let Some((head, rest)) = bytes.split_at_checked(MBAP) else { return Found::More };
    if head[2..4] != [0, 0] {
        return Found::Junk("the protocol id is not 0");
    }
    let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
    if !(EXCEPTION..=FRAME_MAX - MBAP).contains(&length) {
        return Found::Junk("a length that no answer has");
    }
    let Some(body) = rest.get(..length) else { return Found::More };
    let transaction = Some(u16::from_be_bytes([head[0], head[1]]));
    match body_of(body) {
        Some((unit, body)) => Found::Frame(Frame { transaction, unit, body, bytes: &bytes[..MBAP + length] }),
        None => Found::Junk("a byte count that is not the length"),
    }
}

fn find_rtu(bytes: &[u8]) -> Found<'_> {
    let length = match bytes {
        [_, function, ..] if function & REFUSED != 0 => EXCEPTION + CRC,
        [_, 1..=4, count, ..] => BODY_HEAD + usize::from(*count) + CRC,
        [_, 1..=4] | [] | [_] => return Found::More,
        [_, _, ..] => return Found::Junk("a function that nobody asks for"),
    };
    let Some(frame) = bytes.get(..length) else { return Found::More };
    let (body, sum) = frame.split_at(length - CRC);
    if crc(body).to_le_bytes() != sum {
        return Found::Junk("a wrong checksum");
    }
    match body_of(body) {
        Some((unit, body)) => Found::Frame(Frame { transaction: None, unit, body, bytes: frame }),
        None => Found::Junk("a byte count that is not the length"),
    }
}

/// Unit id and what is said, if the length agrees.
fn body_of(bytes: &[u8]) -> Option<(u8, Body<'_>)> {
    match bytes {
        [unit, function, code] if function & REFUSED != 0 => {
            Some((*unit, Body::Exception { function: function & !REFUSED, code: *code }))
        }
        [unit, function @ 1..=4, count, data @ ..] if usize::from(*count) == data.len() => {
            Some((*unit, Body::Data { function: *function, data }))
        }
        _ => None,
    }
}

/// CRC-16 of Modbus (Serial Line V1.02, appendix B): reflected 0x8005, from 0xFFFF.
pub fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u16;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()).collect()
    }

    fn question(unit: u8, function: FunctionCode, first: u16, count: u16) -> Question {
        Question { unit: UnitId(unit), function, first, count }
    }

    /// Requests of `domain.md` C.1, C.3, C.5, as instruments were asked.
    #[test]
    fn requests_are_the_bytes_of_the_field() {
        use FunctionCode::{DiscreteInputs, HoldingRegisters, InputRegisters};
        for (question, bytes) in [
            (question(1, InputRegisters, 1, 2), "01 04 00 01 00 02 20 0B"),
            (question(1, InputRegisters, 1, 1), "01 04 00 01 00 01 60 0A"),
            (question(1, HoldingRegisters, 0, 2), "01 03 00 00 00 02 C4 0B"),
            (question(1, DiscreteInputs, 0, 8), "01 02 00 00 00 08 79 CC"),
            (question(1, HoldingRegisters, 0x50, 2), "01 03 00 50 00 02 C4 1A"),
            (question(1, HoldingRegisters, 8, 1), "01 03 00 08 00 01 05 C8"),
        ] {
            let mut out = Vec::new();
            write_request(Framing::Rtu, question, 0, &mut out);
            assert_eq!(out, hex(bytes));
            assert_eq!(out.len(), question.request_bytes(Framing::Rtu));
        }
        let mut out = Vec::new();
        write_request(Framing::Tcp, question(17, HoldingRegisters, 107, 3), 0x1501, &mut out);
        assert_eq!(out, hex("15 01 00 00 00 06 11 03 00 6B 00 03"));
    }

    #[test]
    fn answers_of_the_field_are_sound() {
        let frame = hex("01 03 04 FF FF C1 EF EA 0B");
        let Found::Frame(found) = find(Framing::Rtu, &frame) else { panic!() };
        assert_eq!(found.shape(), Some(question(1, FunctionCode::HoldingRegisters, 0x50, 2).shape()));
        let Body::Data { data, .. } = found.body else { panic!() };
        assert_eq!(words(question(1, FunctionCode::HoldingRegisters, 0x50, 2), data), [0xFFFF, 0xC1EF]);
        let frame_of_a_sensor = hex("01 04 02 01 31 79 74");
        let Found::Frame(found) = find(Framing::Rtu, &frame_of_a_sensor) else { panic!() };
        assert_eq!(found.bytes.len(), 7);
        for cut in 0..frame.len() {
            assert_eq!(find(Framing::Rtu, &frame[..cut]), Found::More, "{cut}");
        }
    }

    #[test]
    fn bits_come_lowest_first() {
        let asked = question(1, FunctionCode::Coils, 0, 11);
        assert_eq!(words(asked, &[0b1000_0101, 0b100]), [1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1]);
        assert_eq!(asked.answer_bytes(Framing::Rtu), 7);
        assert_eq!(asked.answer_bytes(Framing::Tcp), 11);
    }

    #[test]
    fn what_is_not_sound_is_junk() {
        for bytes in [
            "01 03 02 00 0A 00 00", // checksum
            "01 06 00 01 00 02",    // nobody asks for function 6
        ] {
            assert!(matches!(find(Framing::Rtu, &hex(bytes)), Found::Junk(_)), "{bytes}");
        }
        for bytes in [
            "00 01 00 01 00 05 01 03 02 00 0A", // protocol id
            "00 01 00 00 FF FF 01 03 02 00 0A", // length
            "00 01 00 00 00 02 01 03",          // too short for anything
            "00 01 00 00 00 05 01 03 04 00 0A", // byte count
        ] {
            assert!(matches!(find(Framing::Tcp, &hex(bytes)), Found::Junk(_)), "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_what_it_finds_is_there(bytes: Vec<u8>, tcp: bool) {
            let framing = if tcp { Framing::Tcp } else { Framing::Rtu };
            if let Found::Frame(frame) = find(framing, &bytes) {
                prop_assert!(bytes.starts_with(frame.bytes));
                if framing == Framing::Rtu {
                    prop_assert_eq!(crc(frame.bytes), 0, "a frame with its checksum sums up to 0");
                }
            }
        }
    }
}
