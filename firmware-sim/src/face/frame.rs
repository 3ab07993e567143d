//! Modbus framing of our own: the checksum, RTU and TCP frames, and finding requests in a stream of bytes.

/// Longest PDU of the Modbus specification.
pub const PDU_MAX: usize = 253;
/// Most bytes that are held while a request is not complete: one frame of either kind.
pub const FRAME_MAX: usize = 260;

/// CRC-16/MODBUS; sent low byte first.
#[must_use]
pub fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte),
            |crc: u16, _| if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 },
        )
    })
}

/// How an endpoint talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Modbus TCP.
    Tcp,
    /// RTU frames in a TCP stream, as serial servers do.
    RtuOverTcp,
    /// RTU on a serial line: a pty, or a real port.
    Rtu,
    /// A weighing indicator that sends without being asked, through a serial server.
    WeighingOverTcp,
    /// The same on a serial line.
    Weighing,
}

impl Transport {
    /// On a line instead of a socket?
    #[must_use]
    pub const fn is_serial(self) -> bool {
        matches!(self, Self::Rtu | Self::Weighing)
    }

    /// Does it send without being asked?
    #[must_use]
    pub const fn is_weighing(self) -> bool {
        matches!(self, Self::WeighingOverTcp | Self::Weighing)
    }
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Transaction id; `None` in RTU.
    pub transaction: Option<u16>,
    /// Unit id.
    pub unit: u8,
    /// Function code and data.
    pub pdu: Vec<u8>,
}

/// An RTU frame around a PDU.
#[must_use]
pub fn rtu(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(pdu.len() + 3);
    frame.push(unit);
    frame.extend_from_slice(pdu);
    frame.extend_from_slice(&crc(&frame).to_le_bytes());
    frame
}

/// A TCP frame around a PDU.
#[must_use]
pub fn tcp(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(pdu.len() + 7);
    frame.extend_from_slice(&transaction.to_be_bytes());
    frame.extend_from_slice(&[0, 0]);
    frame.extend_from_slice(&(pdu.len() as u16 + 1).to_be_bytes());
    frame.push(unit);
    frame.extend_from_slice(pdu);
    frame
}

/// What the bytes held so far are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Not enough yet.
    More,
    /// A request; so many bytes of the stream are used up.
    Request(Request, usize),
    /// So many bytes are no request: a device on a line ignores them.
    Skip(usize),
    /// The stream cannot be followed any more.
    Lost,
}

/// Looks for the next request at the beginning of `bytes`.
#[must_use]
pub fn find(transport: Transport, bytes: &[u8]) -> Found {
    match transport {
        Transport::Tcp => find_tcp(bytes),
        Transport::RtuOverTcp | Transport::Rtu => find_rtu(bytes),
        // An indicator that sends all the time does not listen.
        Transport::WeighingOverTcp | Transport::Weighing if bytes.is_empty() => Found::More,
        Transport::WeighingOverTcp | Transport::Weighing => Found::Skip(bytes.len()),
    }
}

fn find_tcp(bytes: &[u8]) -> Found {
    let Some((head, rest)) = bytes.split_first_chunk::<7>() else { return Found::More };
    let [t_high, t_low, p_high, p_low, l_high, l_low, unit] = *head;
    let length = usize::from(u16::from_be_bytes([l_high, l_low]));
    if p_high != 0 || p_low != 0 || !(2..=PDU_MAX + 1).contains(&length) {
        return Found::Lost;
    }
    let Some(pdu) = rest.get(..length - 1) else { return Found::More };
    let transaction = Some(u16::from_be_bytes([t_high, t_low]));
    Found::Request(Request { transaction, unit, pdu: pdu.to_vec() }, 6 + length)
}

/// RTU over TCP has no silent intervals: the length follows from the function code, the checksum says whether that was
/// right, and after a wrong one the search goes on one byte further.
fn find_rtu(bytes: &[u8]) -> Found {
    let Some(function) = bytes.get(1) else { return Found::More };
    let length = match function {
        0x01..=0x06 | 0x08 => 8,
        0x07 | 0x0B | 0x0C | 0x11 => 4,
        0x16 => 10,
        0x0F | 0x10 => match bytes.get(6) {
            Some(count) => 9 + usize::from(*count),
            None => return Found::More,
        },
        0x17 => match bytes.get(10) {
            Some(count) => 13 + usize::from(*count),
            None => return Found::More,
        },
        0x2B => 7,
        _ => return Found::Skip(1),
    };
    let Some(frame) = bytes.get(..length) else { return Found::More };
    let (body, sum) = frame.split_at(length - 2);
    if crc(body).to_le_bytes() != [sum[0], sum[1]] {
        return Found::Skip(1);
    }
    Found::Request(Request { transaction: None, unit: body[0], pdu: body[1..].to_vec() }, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of domain.md C marked C: whole RTU frames with their checksum.
    const VECTORS: [&str; 8] = [
        "01 04 00 01 00 02 20 0B",
        "01 04 00 01 00 01 60 0A",
        "01 04 02 01 31 79 74",
        "01 03 00 00 00 02 C4 0B",
        "01 02 00 00 00 08 79 CC",
        "01 03 00 50 00 02 C4 1A",
        "01 03 04 FF FF C1 EF EA 0B",
        "01 03 00 08 00 01 05 C8",
    ];

    fn hex(text: &str) -> Vec<u8> {
        text.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }

    #[test]
    fn checksums_of_the_field() {
        assert_eq!(crc(b"123456789"), 0x4B37, "the check value of the CRC catalogue");
        for vector in VECTORS {
            let frame = hex(vector);
            let (body, _) = frame.split_at(frame.len() - 2);
            assert_eq!(rtu(body[0], &body[1..]), frame, "{vector}");
        }
    }

    #[test]
    fn finds_requests_in_a_stream() {
        for vector in VECTORS.iter().filter(|v| v.len() == 23) {
            let frame = hex(vector);
            for cut in 0..frame.len() {
                assert_eq!(find(Transport::RtuOverTcp, &frame[..cut]), Found::More, "{vector} cut at {cut}");
            }
            let request = Request { transaction: None, unit: 1, pdu: frame[1..6].to_vec() };
            assert_eq!(find(Transport::RtuOverTcp, &frame), Found::Request(request, 8), "{vector}");
        }
        let mut noisy = vec![0xFF, 0x03, 0x00];
        noisy.extend(hex(VECTORS[0]));
        let mut skipped = 0;
        while find(Transport::RtuOverTcp, &noisy[skipped..]) == Found::Skip(1) {
            skipped += 1;
        }
        assert_eq!(skipped, 3, "noise before a request is passed over");

        let request = Request { transaction: Some(0x1234), unit: 9, pdu: vec![4, 0, 0, 0, 2] };
        let frame = tcp(0x1234, 9, &request.pdu);
        assert_eq!(find(Transport::Tcp, &frame[..11]), Found::More);
        assert_eq!(find(Transport::Tcp, &frame), Found::Request(request, 12));
        assert_eq!(find(Transport::Tcp, b"GET / HTTP/1.1\r\n"), Found::Lost);
        assert_eq!(find(Transport::Tcp, &[0, 0, 0, 0, 0, 1, 1]), Found::Lost, "no function code");
        assert_eq!(find(Transport::Tcp, &[0, 0, 0, 0, 0, 255, 1]), Found::Lost, "longer than any PDU");
    }
}
