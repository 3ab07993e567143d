//! One question at a time on a line that nothing is known of: raw frames, with eyes open for what does not belong there.
//!
//! Promises: what is no answer is told apart: silence, bytes that are no frame (two devices at once, another speed), and
//! an answer with something behind it (two devices in turn). The only code of the gateway that writes registers.
//!
//! Leaves out: polling (`bus`): this is for the hour of installation.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use crate::bus::dial::Stream;
use crate::config::FunctionCode;

/// Silence behind an answer that makes it the only one.
const QUIET: Duration = Duration::from_millis(30);
/// An answer is no longer than this; more bytes are somebody else's.
const ANSWER_MAX: usize = 520;

/// How frames are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Modbus TCP.
    Tcp,
    /// Modbus RTU, on a serial line or behind a serial server.
    Rtu,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The data of a normal answer, behind unit and function.
    Answer(Vec<u8>),
    /// The device said no, with this code.
    Exception(u8),
    /// Nothing within the time.
    Silence,
    /// Bytes that are no answer.
    Garbled,
    /// An answer, and more behind it.
    Several,
}

/// A line to unknown devices.
#[derive(Debug)]
pub struct Line {
    stream: Box<dyn Stream>,
    framing: Framing,
    wait: Duration,
    transaction: u16,
}

impl Line {
    /// Over this stream; an answer may take `wait`.
    pub fn new(stream: Box<dyn Stream>, framing: Framing, wait: Duration) -> Self {
        Self { stream, framing, wait, transaction: 0 }
    }

    /// Asks for registers or bits; bits come as words of 0 and 1.
    pub async fn read(
        &mut self,
        unit: u8,
        function: FunctionCode,
        first: u16,
        count: u16,
    ) -> io::Result<Result<Vec<u16>, Heard>> {
        let code = code(function);
        let mut pdu = vec![code];
        pdu.extend(first.to_be_bytes());
        pdu.extend(count.to_be_bytes());
        let heard = self.ask(unit, &pdu).await?;
        let Heard::Answer(data) = &heard else { return Ok(Err(heard)) };
        let bits = matches!(function, FunctionCode::Coils | FunctionCode::DiscreteInputs);
        let bytes = if bits { usize::from(count).div_ceil(8) } else { usize::from(count) * 2 };
        let Some((length, values)) = data.split_first() else { return Ok(Err(Heard::Garbled)) };
        if usize::from(*length) != bytes || values.len() != bytes {
            return Ok(Err(Heard::Garbled));
        }
        Ok(Ok(if bits {
            (0..usize::from(count)).map(|n| u16::from(values[n / 8] >> (n % 8) & 1)).collect()
        } else {
            values.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
        }))
    }

    /// Writes one holding register: function 06, or 16 where a device does not know that.
    pub async fn write(&mut self, unit: u8, register: u16, value: u16) -> io::Result<Heard> {
        let mut pdu = vec![0x06];
        pdu.extend(register.to_be_bytes());
        pdu.extend(value.to_be_bytes());
        let heard = self.ask(unit, &pdu).await?;
        if heard != Heard::Exception(1) {
            return Ok(heard);
        }
        let mut pdu = vec![0x10];
        pdu.extend(register.to_be_bytes());
        pdu.extend([0, 1, 2]);
        pdu.extend(value.to_be_bytes());
        self.ask(unit, &pdu).await
    }

    /// One question, whatever comes back.
    pub async fn ask(&mut self, unit: u8, pdu: &[u8]) -> io::Result<Heard> {
        self.drain().await?;
        self.transaction = self.transaction.wrapping_add(1);
        let frame = match self.framing {
            Framing::Tcp => mbap(self.transaction, unit, pdu),
            Framing::Rtu => rtu(unit, pdu),
        };
        self.stream.write_all(&frame).await?;
        self.stream.flush().await?;
        let bytes = self.listen().await?;
        Ok(match self.framing {
            Framing::Tcp => heard_tcp(&bytes, self.transaction, unit, pdu[0]),
            Framing::Rtu => heard_rtu(&bytes, unit, pdu[0]),
        })
    }

    /// Throws away what nobody asked for.
    async fn drain(&mut self) -> io::Result<()> {
        let mut waste = [0; 256];
        while let Ok(read) = timeout(Duration::from_millis(1), self.stream.read(&mut waste)).await {
            if read? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other side hung up"));
            }
        }
        Ok(())
    }

    /// Bytes until the line is quiet again.
    async fn listen(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 256];
        let until = Instant::now() + self.wait;
        loop {
            let left = if bytes.is_empty() { until.saturating_duration_since(Instant::now()) } else { QUIET };
            match timeout(left, self.stream.read(&mut buffer)).await {
                Err(_) => return Ok(bytes),
                Ok(read) => {
                    let read = read?;
                    bytes.extend(&buffer[..read]);
                    if read == 0 || bytes.len() > ANSWER_MAX {
                        return Ok(bytes);
                    }
                }
            }
        }
    }
}

fn code(function: FunctionCode) -> u8 {
    match function {
        FunctionCode::Coils => 1,
        FunctionCode::DiscreteInputs => 2,
        FunctionCode::HoldingRegisters => 3,
        FunctionCode::InputRegisters => 4,
    }
}

fn mbap(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = transaction.to_be_bytes().to_vec();
    frame.extend([0, 0]);
    frame.extend((pdu.len() as u16 + 1).to_be_bytes());
    frame.push(unit);
    frame.extend(pdu);
    frame
}

fn rtu(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = vec![unit];
    frame.extend(pdu);
    let check = crc(&frame);
    frame.extend(check.to_le_bytes());
    frame
}

/// CRC-16 of Modbus over serial lines (specification 1.02, 6.2.2).
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 })
    })
}

fn heard_tcp(bytes: &[u8], transaction: u16, unit: u8, function: u8) -> Heard {
    if bytes.is_empty() {
        return Heard::Silence;
    }
    let [t1, t0, 0, 0, l1, l0, from, rest @ ..] = bytes else { return Heard::Garbled };
    let length = usize::from(u16::from_be_bytes([*l1, *l0])).wrapping_sub(1);
    if u16::from_be_bytes([*t1, *t0]) != transaction || *from != unit || rest.len() < length || length < 2 {
        return Heard::Garbled;
    }
    body(&rest[..length], function, rest.len() > length)
}

fn heard_rtu(bytes: &[u8], unit: u8, function: u8) -> Heard {
    if bytes.is_empty() {
        return Heard::Silence;
    }
    // The frame's length follows from its function; whatever is behind it is not ours.
    let length = match bytes {
        [_, code, ..] if code & 0x80 != 0 => 5,
        [_, 5 | 6 | 15 | 16, ..] => 8,
        [_, _, count, ..] => usize::from(*count) + 5,
        _ => return Heard::Garbled,
    };
    let Some((frame, behind)) = bytes.split_at_checked(length) else { return Heard::Garbled };
    let (data, check) = frame.split_at(length - 2);
    if crc(data).to_le_bytes() != check || data[0] != unit {
        return Heard::Garbled;
    }
    body(&data[1..], function, !behind.is_empty())
}

fn body(pdu: &[u8], function: u8, more: bool) -> Heard {
    match pdu {
        _ if more => Heard::Several,
        [code, data @ ..] if *code == function => Heard::Answer(data.to_vec()),
        [code, exception] if *code == function | 0x80 => Heard::Exception(*exception),
        _ => Heard::Garbled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_frames() {
        // Domain C.1: the request and the answer of an XY-MD02 at 30.5 °C.
        assert_eq!(rtu(1, &[4, 0, 1, 0, 2]), [0x01, 0x04, 0x00, 0x01, 0x00, 0x02, 0x20, 0x0B]);
        let answer = [0x01, 0x04, 0x02, 0x01, 0x31, 0x79, 0x74];
        assert_eq!(heard_rtu(&answer, 1, 4), Heard::Answer(vec![2, 1, 0x31]));
        assert_eq!(heard_rtu(&[answer, answer].concat(), 1, 4), Heard::Several, "two in turn");
        assert_eq!(heard_rtu(&answer[..6], 1, 4), Heard::Garbled);
        assert_eq!(heard_rtu(&answer, 2, 4), Heard::Garbled, "somebody else's");
        let both: Vec<u8> =
            answer.iter().zip([0x01, 0x04, 0x02, 0x00, 0xF5, 0x78, 0xC7]).map(|(a, b)| a & b).collect();
        assert_eq!(heard_rtu(&both, 1, 4), Heard::Garbled, "two at once");
        assert_eq!(heard_rtu(&[], 1, 4), Heard::Silence);
        let refused = rtu(1, &[0x84, 2]);
        assert_eq!(heard_rtu(&refused, 1, 4), Heard::Exception(2));
        assert_eq!(heard_tcp(&mbap(7, 1, &[4, 2, 1, 0x31]), 7, 1, 4), Heard::Answer(vec![2, 1, 0x31]));
        assert_eq!(heard_tcp(&mbap(6, 1, &[4, 2, 1, 0x31]), 7, 1, 4), Heard::Garbled, "a late one");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _heard = (heard_rtu(&bytes, 1, 3), heard_tcp(&bytes, 1, 1, 3));
        }
    }
}
