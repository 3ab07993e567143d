//! Weighing streams (domain C.5): whatever bytes, in whatever pieces.

use gateway::bus::weigh::{Frames, Kind, Steadiness, Weight};
use gateway::config::WeighingFormat;
use gateway_model::Raw;

const FORMATS: [WeighingFormat; 3] =
    [WeighingFormat::YaohuaTf0, WeighingFormat::Equals, WeighingFormat::YaohuaAscii];
const STX: u8 = 0x02;
const ETX: u8 = 0x03;
/// `STX`, sign, six digits, decimals, two of the XOR, `ETX`.
const TF0: usize = 12;

/// A stream; its first byte says in which pieces it comes.
pub fn weighing(bytes: &[u8]) {
    let Some((&pieces, stream)) = bytes.split_first() else { return };
    for format in FORMATS {
        let mut whole = Frames::new(format);
        let weights = whole.push(stream);
        let mut torn = Frames::new(format);
        let apart: Vec<Weight> =
            stream.chunks(usize::from(pieces % 16) + 1).flat_map(|piece| torn.push(piece)).collect();
        assert_eq!(weights, apart, "the pieces in which it comes change nothing");
        assert_eq!(whole.skipped, torn.skipped);
        let framed: usize = weights.iter().map(|weight| weight.frame.len()).sum();
        assert!(framed + whole.skipped as usize <= stream.len(), "bytes are used once");
        let mut rest = stream;
        let mut steady = Steadiness::default();
        for weight in &weights {
            let at = rest.windows(weight.frame.len()).position(|place| place == weight.frame);
            let at = at.expect("a frame is a part of the stream, in its order");
            rest = &rest[at + weight.frame.len()..];
            assert_eq!(Some((weight.kind, weight.raw)), read(format, &weight.frame), "{:02x?}", weight.frame);
            steady.take(weight.raw, u32::from(pieces));
            super::planted(|| {
                format == WeighingFormat::YaohuaTf0 && matches!(weight.raw, Raw::Dec { exponent: -5, .. })
            });
        }
    }
}

/// A frame once more, by other means.
fn read(format: WeighingFormat, frame: &[u8]) -> Option<(Kind, Raw)> {
    let text = String::from_utf8(frame.to_vec()).ok()?;
    let (kind, number) = match format {
        WeighingFormat::YaohuaTf0 => {
            let xor = frame[1..9].iter().fold(0, |xor, byte| xor ^ byte);
            let said = u8::from_str_radix(&text[9..11], 16).ok()?;
            if frame.len() != TF0 || frame[0] != STX || frame[11] != ETX || said != xor {
                return None;
            }
            let decimals = frame[8].checked_sub(b'0')? as usize;
            // The point goes so many digits from the right.
            let (sign, digits) = text[1..8].split_at(1);
            let (whole, fraction) = digits.split_at(digits.len().checked_sub(decimals)?);
            (Kind::Shown, format!("{sign}{whole}.{fraction}"))
        }
        WeighingFormat::Equals => (Kind::Shown, text.strip_prefix('=')?.chars().rev().collect::<String>()),
        WeighingFormat::YaohuaAscii => {
            let kind = match frame[1] {
                b'w' => Kind::Gross,
                b'n' => Kind::Net,
                b't' => Kind::Tare,
                _ => return None,
            };
            (kind, text.strip_prefix('w')?[1..].strip_suffix("kg")?.to_owned())
        }
    };
    // Blanks, line ends of models that send them, and a sign apart from its digits.
    let number = number.trim_matches(|c: char| c == '\0' || c.is_ascii_whitespace());
    let (sign, number) = number.split_at(number.find(|c: char| c != '-' && c != '+').unwrap_or(0));
    let number = number.trim_start();
    let exponent = number.split_once('.').map_or(0, |(_, fraction)| -(fraction.len() as i8));
    let digits: String = sign.chars().chain(number.chars().filter(|c| *c != '.')).collect();
    Some((kind, Raw::Dec { mantissa: digits.parse().ok()?, exponent }))
}

/// Changes a stream; where there are frames with a XOR, three times in four so that it fits again.
pub fn change_weighing(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let size = libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    if seed % 4 > 0 {
        let mut at = 1;
        while at + TF0 <= size {
            if data[at] == STX && data[at + TF0 - 1] == ETX {
                let xor = data[at + 1..at + 9].iter().fold(0, |xor, byte| xor ^ byte);
                data[at + 9..at + 11].copy_from_slice(format!("{xor:02X}").as_bytes());
                at += TF0;
            } else {
                at += 1;
            }
        }
    }
    size
}
