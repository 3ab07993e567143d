//! Weighing indicators that send without being asked (domain C.5, [73][74][75]): frames found in a stream of bytes, and when
//! a weight stands still.
//!
//! Promises: a frame with a wrong checksum, sign or digit is no weight; a weight is stable after three frames of its kind
//! in a row within one step of the last digit, since none of these formats carries a flag.
//!
//! Leaves out: reading the stream ([`super::scale`]).

use gateway_model::Raw;

use super::decode::decimal;
use crate::config::WeighingFormat;

/// Frames in a row that must agree.
const AGREE: u32 = 3;
/// Bytes kept while a frame is incomplete; no frame is a quarter as long.
const BUFFER_MAX: usize = 64;
const STX: u8 = 0x02;
const ETX: u8 = 0x03;
/// `STX sign d d d d d d decimals XOR XOR ETX`.
const TF0: usize = 12;
/// `w`, kind, seven characters, `kg`.
const ASCII: usize = 11;
/// Characters between two `=`: what six digits, a point and a sign can take.
const EQUALS: std::ops::RangeInclusive<usize> = 5..=9;

/// Which weight a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What the display shows; the format does not say which.
    Shown,
    /// Gross.
    Gross,
    /// Net.
    Net,
    /// Tare.
    Tare,
}

/// One weight of one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    /// Which.
    pub kind: Kind,
    /// Its digits as sent: always `Raw::Dec`.
    pub raw: Raw,
    /// The frame.
    pub frame: Vec<u8>,
}

/// Finds frames in a stream.
#[derive(Debug)]
pub struct Frames {
    format: WeighingFormat,
    buffer: Vec<u8>,
    /// Bytes that were no part of a frame.
    pub skipped: u64,
}

impl Frames {
    /// Nothing has come yet.
    pub fn new(format: WeighingFormat) -> Self {
        Self { format, buffer: Vec::with_capacity(BUFFER_MAX), skipped: 0 }
    }

    /// Takes bytes; gives the weights that are complete with them.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Weight> {
        let mut weights = Vec::new();
        for byte in bytes {
            self.buffer.push(*byte);
            weights.extend(self.next());
        }
        weights
    }

    fn next(&mut self) -> Option<Weight> {
        loop {
            let found = match self.format {
                WeighingFormat::YaohuaTf0 => tf0(&self.buffer),
                WeighingFormat::Equals => equals(&self.buffer),
                WeighingFormat::YaohuaAscii => ascii(&self.buffer),
            };
            match found {
                Found::More if self.buffer.len() < BUFFER_MAX => return None,
                Found::More | Found::Skip => self.skip(),
                Found::Weight(kind, raw, length) => {
                    let frame = self.buffer.drain(..length).collect();
                    return Some(Weight { kind, raw, frame });
                }
            }
        }
    }

    fn skip(&mut self) {
        self.buffer.remove(0);
        self.skipped += 1;
    }
}

enum Found {
    More,
    Skip,
    Weight(Kind, Raw, usize),
}

fn tf0(bytes: &[u8]) -> Found {
    let Some((&first, _)) = bytes.split_first() else { return Found::More };
    if first != STX {
        return Found::Skip;
    }
    let Some(frame) = bytes.get(..TF0) else { return Found::More };
    let (body, xor) = (&frame[1..9], &frame[9..11]);
    let sum = body.iter().fold(0, |sum, byte| sum ^ byte);
    let said = str::from_utf8(xor).ok().and_then(|text| u8::from_str_radix(text, 16).ok());
    let decimals = i8::try_from(body[7].wrapping_sub(b'0')).ok().filter(|decimals| *decimals <= 6);
    // Six digits: a point among them is another format, whose sum happens to fit.
    let plain = matches!(body[0], b'+' | b'-') && body[1..7].iter().all(u8::is_ascii_digit);
    match (decimal(&body[..7]), decimals) {
        (Some(Raw::Dec { mantissa, exponent: 0 }), Some(decimals))
            if said == Some(sum) && plain && frame[11] == ETX =>
        {
            Found::Weight(Kind::Shown, Raw::Dec { mantissa, exponent: -decimals }, TF0)
        }
        _ => Found::Skip,
    }
}

fn equals(bytes: &[u8]) -> Found {
    let Some((&first, rest)) = bytes.split_first() else { return Found::More };
    if first != b'=' {
        return Found::Skip;
    }
    // Complete when the next begins: its length differs from model to model.
    let Some(end) = rest.iter().position(|byte| *byte == b'=') else { return Found::More };
    let digits: Vec<u8> = rest[..end].iter().rev().copied().collect();
    match decimal(&digits) {
        Some(raw) if EQUALS.contains(&end) => Found::Weight(Kind::Shown, raw, 1 + end),
        _ => Found::Skip,
    }
}

fn ascii(bytes: &[u8]) -> Found {
    match bytes {
        [] | [b'w'] => return Found::More,
        [b'w', b'w' | b'n' | b't', ..] => {}
        _ => return Found::Skip,
    }
    let Some(frame) = bytes.get(..ASCII) else { return Found::More };
    let kind = match frame[1] {
        b'w' => Kind::Gross,
        b'n' => Kind::Net,
        _ => Kind::Tare,
    };
    match decimal(&frame[2..9]) {
        Some(raw) if frame.ends_with(b"kg") => Found::Weight(kind, raw, ASCII),
        _ => Found::Skip,
    }
}

/// Whether the weight of one kind stands still.
#[derive(Debug, Default)]
pub struct Steadiness {
    last: Option<(i64, i8)>,
    run: u32,
}

impl Steadiness {
    /// The next weight; true when it stands still. Two of a different number of decimals do not agree.
    pub fn take(&mut self, raw: Raw, division: u32) -> bool {
        let Raw::Dec { mantissa, exponent } = raw else { return false };
        let near = self.last.is_some_and(|(last, decimals)| {
            decimals == exponent && last.abs_diff(mantissa) <= u64::from(division)
        });
        self.run = if near { self.run.saturating_add(1) } else { 1 };
        // A slow drift must not count as standing still: it is compared with where the run began.
        if !near {
            self.last = Some((mantissa, exponent));
        }
        self.run >= AGREE
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    fn dec(mantissa: i64, exponent: i8) -> Raw {
        Raw::Dec { mantissa, exponent }
    }

    fn check(format: WeighingFormat, bytes: &[u8], expected: &[(Kind, Raw)]) {
        let mut frames = Frames::new(format);
        let found: Vec<_> = frames.push(bytes).into_iter().map(|weight| (weight.kind, weight.raw)).collect();
        assert_eq!(found, expected, "{}", String::from_utf8_lossy(bytes));
    }

    #[test]
    fn captures_and_vectors_of_the_field() {
        // domain C.5: two captures [73], then our own two.
        for (bytes, raw) in [
            ("022B30303135363030313903", dec(1560, 0)),
            ("022b30303030303030314203", dec(0, 0)),
            ("022b30303132333432314403", dec(1234, -2)),
            ("022d30303030353031313903", dec(-50, -1)),
        ] {
            check(WeighingFormat::YaohuaTf0, &hex(bytes), &[(Kind::Shown, raw)]);
        }
        check(
            WeighingFormat::Equals,
            b"=4.32100=5.0000-=",
            &[(Kind::Shown, dec(1234, -1)), (Kind::Shown, dec(-5, -1))],
        );
        check(
            WeighingFormat::YaohuaAscii,
            b"ww000.000kg\r\nwn-0000.1kg\r\nwt000.000kg",
            &[(Kind::Gross, dec(0, -3)), (Kind::Net, dec(-1, -1)), (Kind::Tare, dec(0, -3))],
        );
    }

    #[test]
    fn a_frame_with_anything_wrong_is_no_weight_and_the_next_is_found() {
        let good = hex("022b30303132333432314403");
        for n in 0..good.len() {
            let mut bytes = good.clone();
            bytes[n] ^= 0x04;
            bytes.extend(&good);
            check(WeighingFormat::YaohuaTf0, &bytes, &[(Kind::Shown, dec(1234, -2))]);
        }
        // Five digits and a point, with a sum that fits (found by fuzzing).
        let bytes = hex("022b30303030302e30303503");
        check(WeighingFormat::YaohuaTf0, &[bytes, good].concat(), &[(Kind::Shown, dec(1234, -2))]);
        check(WeighingFormat::Equals, b"321=4.x2100=4.32100=", &[(Kind::Shown, dec(1234, -1))]);
        check(WeighingFormat::YaohuaAscii, b"g\r\nww0x0.000kgww001.000kg", &[(Kind::Gross, dec(1000, -3))]);
    }

    #[test]
    fn three_equal_weights_in_a_row_stand_still_and_a_drift_does_not() {
        let mut steady = Steadiness::default();
        let mut take = |mantissa| steady.take(dec(mantissa, -2), 1);
        assert_eq!([take(100), take(101), take(100)], [false, false, true]);
        assert_eq!(
            [take(101), take(102), take(103), take(104), take(105)],
            [true, false, false, false, false]
        );
        assert!(!steady.take(dec(10, -1), 1), "another place of the point");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_grow(bytes: Vec<u8>, n in 0..3usize) {
            let format = [WeighingFormat::YaohuaTf0, WeighingFormat::Equals, WeighingFormat::YaohuaAscii][n];
            let mut frames = Frames::new(format);
            frames.push(&bytes);
            prop_assert!(frames.buffer.len() <= BUFFER_MAX);
        }
    }
}
