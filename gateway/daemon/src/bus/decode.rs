//! Words to raw values: word order undone, nothing scaled.

use gateway_model::Raw;

use crate::config::{BlockPoint, Encoding, EncodingKind, Half, Scale, WordOrder};

/// Digits behind the point that a scale register may say.
const DECIMALS_MAX: i64 = 9;

/// The raw value of a point in the words of its block; `None` where the block is too short for it (the guard makes
/// that impossible for a checked plan), where the words are no value of its type, or where a code is not one of the
/// instrument's.
pub fn raw(point: &BlockPoint, words: &[u16]) -> Option<Raw> {
    let value = decoded(point.encoding, point.offset, words)?;
    let value = match point.scale {
        None => value,
        Some(scale) => scaled(value, scale, words)?,
    };
    match value {
        Raw::Int(code) if !point.codes.is_empty() && !point.codes.contains(&code) => None,
        Raw::Int(_) | Raw::F32(_) | Raw::F64(_) | Raw::Dec { .. } => Some(value),
    }
}

fn decoded(encoding: Encoding, offset: u16, words: &[u16]) -> Option<Raw> {
    let from = usize::from(offset);
    let words = words.get(from..from + usize::from(encoding.kind.words()))?;
    if let ([word], EncodingKind::U16 | EncodingKind::I16) = (words, encoding.kind) {
        // What nearly every register holds.
        let word = match encoding.order {
            WordOrder::Abcd | WordOrder::Cdab => *word,
            WordOrder::Badc | WordOrder::Dcba => word.swap_bytes(),
        };
        let signed = encoding.kind == EncodingKind::I16;
        return Some(Raw::Int(if signed { i64::from(word.cast_signed()) } else { i64::from(word) }));
    }
    let (bytes, length) = ordered(words, encoding.order);
    let bytes = &bytes[..length];
    Some(match encoding.kind {
        EncodingKind::Bit => Raw::Int(i64::from(words[0] != 0)),
        EncodingKind::RegisterBit(bit) => Raw::Int((number(bytes) >> u32::from(bit).min(15) & 1) as i64),
        EncodingKind::Bits { from, to } => {
            let width = u32::from(to.saturating_sub(from)) + 1;
            Raw::Int((number(bytes) >> u32::from(from).min(15)) as i64 & ((1 << width.min(16)) - 1))
        }
        EncodingKind::U8(half) => Raw::Int(i64::from(byte(bytes, half))),
        EncodingKind::I8(half) => Raw::Int(i64::from(byte(bytes, half).cast_signed())),
        EncodingKind::U16 | EncodingKind::U32 => Raw::Int(number(bytes) as i64),
        EncodingKind::I16 => Raw::Int(i64::from(number(bytes) as u16 as i16)),
        EncodingKind::U24 => Raw::Int((number(bytes) & 0xFF_FFFF) as i64),
        EncodingKind::I24 => Raw::Int(i64::from(((number(bytes) as u32) << 8).cast_signed() >> 8)),
        EncodingKind::I32 => Raw::Int(i64::from(number(bytes) as u32 as i32)),
        // Beyond 2^63 there is no record for it, and no counter of the field goes there.
        EncodingKind::U64 => Raw::Int(i64::try_from(number(bytes)).ok()?),
        EncodingKind::I64 => Raw::Int(number(bytes).cast_signed()),
        EncodingKind::F32 => Raw::F32(number(bytes) as u32),
        EncodingKind::F64 => Raw::F64(number(bytes)),
        EncodingKind::Bcd(_) => Raw::Int(bcd(bytes)?),
        EncodingKind::Ascii(_) => decimal(bytes)?,
    })
}

/// With the digits behind the point that another register says.
fn scaled(value: Raw, scale: Scale, words: &[u16]) -> Option<Raw> {
    let Raw::Int(mantissa) = value else { return None };
    let Raw::Int(said) = decoded(scale.encoding, scale.offset, words)? else { return None };
    let decimals = if scale.divisor { power_of_ten(said)? } else { said };
    if !(0..=DECIMALS_MAX).contains(&decimals) {
        return None;
    }
    Some(Raw::Dec { mantissa, exponent: -(decimals as i8) })
}

/// 1, 10, 100, …: which power of ten.
fn power_of_ten(divisor: i64) -> Option<i64> {
    (0..=DECIMALS_MAX).find(|&power| 10_i64.pow(power as u32) == divisor)
}

fn byte(bytes: &[u8], half: Half) -> u8 {
    match half {
        Half::High => bytes[0],
        Half::Low => bytes[1],
    }
}

/// Longest value: 16 registers of text.
const BYTES_MAX: usize = 2 * EncodingKind::ASCII_WORDS_MAX as usize;

/// Bytes of the words, highest first, and how many.
fn ordered(words: &[u16], order: WordOrder) -> ([u8; BYTES_MAX], usize) {
    let mut bytes = [0; BYTES_MAX];
    let words = &words[..words.len().min(BYTES_MAX / 2)];
    for (n, pair) in bytes.chunks_exact_mut(2).take(words.len()).enumerate() {
        let word = match order {
            WordOrder::Abcd | WordOrder::Badc => words[n],
            WordOrder::Cdab | WordOrder::Dcba => words[words.len() - 1 - n],
        };
        pair.copy_from_slice(&match order {
            WordOrder::Abcd | WordOrder::Cdab => word.to_be_bytes(),
            WordOrder::Badc | WordOrder::Dcba => word.to_le_bytes(),
        });
    }
    (bytes, words.len() * 2)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Four bits a digit; a nibble above 9 is no digit.
fn bcd(bytes: &[u8]) -> Option<i64> {
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xF]);
    nibbles.into_iter().try_fold(0_i64, |number, digit| (digit <= 9).then(|| number * 10 + i64::from(digit)))
}

/// A number written as text, blanks and NULs around it: exactly the digits that are there.
pub(super) fn decimal(text: &[u8]) -> Option<Raw> {
    let text = str::from_utf8(text).ok()?.trim_matches(|c: char| c == '\0' || c.is_ascii_whitespace());
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, text[1..].trim_start()),
        [b'+', ..] => (false, text[1..].trim_start()),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = || whole.bytes().chain(fraction.bytes());
    if all().next().is_none() || !all().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let add = |number: i64, byte: u8| number.checked_mul(10)?.checked_add(i64::from(byte - b'0'));
    let mantissa = all().try_fold(0, add)?;
    let exponent = -i8::try_from(fraction.len()).ok()?;
    Some(Raw::Dec { mantissa: if negative { -mantissa } else { mantissa }, exponent })
}

#[cfg(test)]
mod tests {
    use gateway_model::PointIx;

    use super::*;
    use EncodingKind as Kind;
    use WordOrder::{Abcd, Badc, Cdab, Dcba};

    fn point(kind: Kind, order: WordOrder) -> BlockPoint {
        BlockPoint {
            point: PointIx(0),
            offset: 0,
            encoding: Encoding { kind, order },
            scale: None,
            codes: Vec::new(),
        }
    }

    fn check(kind: Kind, order: WordOrder, words: &[u16], expected: impl Into<Option<Raw>>) {
        assert_eq!(raw(&point(kind, order), words), expected.into(), "{kind:?} {order:?} {words:04X?}");
    }

    #[test]
    fn the_frames_of_real_devices_decode() {
        // `01 04 02 01 31 …` of an XY-MD02: 30.5 °C at gain 0.1
        check(Kind::I16, Abcd, &[0x0131], Raw::Int(305));
        check(Kind::I16, Abcd, &[0xFF9C], Raw::Int(-100));
        // `01 03 04 FF FF C1 EF …` of a scale: −15889
        check(Kind::I32, Abcd, &[0xFFFF, 0xC1EF], Raw::Int(-15889));
        // 230.0 V of an SDM120
        check(Kind::F32, Abcd, &[0x4366, 0x0000], Raw::F32(230.0_f32.to_bits()));
        // PZEM: low word first
        check(Kind::U32, Cdab, &[0x0001, 0x0002], Raw::Int(0x0002_0001));
        // A scale's status 0x0802 (C.5): two decimals, bit 5 says unstable, bit 11 is set
        check(Kind::Bits { from: 0, to: 2 }, Abcd, &[0x0802], Raw::Int(2));
        check(Kind::RegisterBit(5), Abcd, &[0x0802], Raw::Int(0));
        check(Kind::RegisterBit(11), Abcd, &[0x0802], Raw::Int(1));
    }

    #[test]
    fn every_type_in_every_order() {
        let bits = 0x0102_0304_u32;
        for (order, words) in [
            (Abcd, [0x0102, 0x0304]),
            (Cdab, [0x0304, 0x0102]),
            (Badc, [0x0201, 0x0403]),
            (Dcba, [0x0403, 0x0201]),
        ] {
            check(Kind::U32, order, &words, Raw::Int(i64::from(bits)));
            check(Kind::I32, order, &words, Raw::Int(i64::from(bits)));
            check(Kind::U24, order, &words, Raw::Int(0x02_0304));
            check(Kind::F32, order, &words, Raw::F32(bits));
            check(Kind::Bcd(2), order, &words, Raw::Int(1_020_304));
        }
        let bits = 0x3FF8_0102_0304_0506_u64;
        for (order, words) in [
            (Abcd, [0x3FF8, 0x0102, 0x0304, 0x0506]),
            (Cdab, [0x0506, 0x0304, 0x0102, 0x3FF8]),
            (Badc, [0xF83F, 0x0201, 0x0403, 0x0605]),
            (Dcba, [0x0605, 0x0403, 0x0201, 0xF83F]),
        ] {
            check(Kind::U64, order, &words, Raw::Int(bits.cast_signed()));
            check(Kind::I64, order, &words, Raw::Int(bits.cast_signed()));
            check(Kind::F64, order, &words, Raw::F64(bits));
        }
        // What stands above the three bytes (a status, a sign, nothing) is not looked at.
        for above in [0x0000, 0xFF00, 0x5A00] {
            check(Kind::I24, Abcd, &[above | 0xFF, 0xFFFE], Raw::Int(-2));
            check(Kind::I24, Abcd, &[above | 0x7F, 0xFFFF], Raw::Int(8_388_607));
            check(Kind::I24, Cdab, &[0x0000, above | 0x80], Raw::Int(-8_388_608));
            check(Kind::U24, Dcba, &[0xFFFF, (above | 0x80).swap_bytes()], Raw::Int(0x80_FFFF));
        }
        check(Kind::I64, Abcd, &[0xFFFF; 4], Raw::Int(-1));
        check(Kind::U64, Abcd, &[0xFFFF; 4], None);
        check(Kind::U16, Badc, &[0x0201], Raw::Int(0x0102));
    }

    #[test]
    fn small_types_table() {
        for (kind, word, expected) in [
            (Kind::Bit, 1, Some(1)),
            (Kind::U8(Half::High), 0xFE01, Some(0xFE)),
            (Kind::U8(Half::Low), 0xFE01, Some(1)),
            (Kind::I8(Half::High), 0xFE01, Some(-2)),
            (Kind::I8(Half::Low), 0x01FF, Some(-1)),
            (Kind::U16, 0xFFFF, Some(65_535)),
            (Kind::I16, 0x8000, Some(-32_768)),
            (Kind::RegisterBit(5), 0b10_0000, Some(1)),
            (Kind::RegisterBit(15), 0x7FFF, Some(0)),
            (Kind::Bits { from: 4, to: 7 }, 0xABCD, Some(0xC)),
            (Kind::Bits { from: 0, to: 15 }, 0xABCD, Some(0xABCD)),
            (Kind::Bcd(1), 0x9876, Some(9876)),
            (Kind::Bcd(1), 0x98A6, None),
        ] {
            check(kind, Abcd, &[word], expected.map(Raw::Int));
        }
    }

    #[test]
    fn text_keeps_its_digits() {
        let dec = |mantissa, exponent| Some(Raw::Dec { mantissa, exponent });
        for (text, expected) in [
            ("  12.50", dec(1250, -2)),
            ("-0003.5\0", dec(-35, -1)),
            ("+7", dec(7, 0)),
            ("", None),
            ("12a", None),
            ("1.2.3", None),
            (".", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(decimal(text.as_bytes()), expected, "{text}");
        }
        check(Kind::Ascii(3), Abcd, &[0x2031, 0x322E, 0x3520], dec(125, -1));
        check(Kind::Ascii(3), Badc, &[0x3120, 0x2E32, 0x2035], dec(125, -1));
    }

    #[test]
    fn another_register_says_where_the_point_stands() {
        let scale =
            |kind, divisor| Some(Scale { offset: 1, encoding: Encoding { kind, order: Abcd }, divisor });
        let decimals = BlockPoint { scale: scale(Kind::U16, false), ..point(Kind::I16, Abcd) };
        assert_eq!(raw(&decimals, &[1013, 1]), Some(Raw::Dec { mantissa: 1013, exponent: -1 }));
        assert_eq!(raw(&decimals, &[1013, 10]), None, "no instrument has ten decimals");
        let status =
            BlockPoint { scale: scale(Kind::Bits { from: 0, to: 2 }, false), ..point(Kind::I16, Abcd) };
        assert_eq!(raw(&status, &[0xFFFF, 0x0802]), Some(Raw::Dec { mantissa: -1, exponent: -2 }));
        let divisor = BlockPoint { scale: scale(Kind::U16, true), ..point(Kind::U16, Abcd) };
        assert_eq!(raw(&divisor, &[1013, 100]), Some(Raw::Dec { mantissa: 1013, exponent: -2 }));
        assert_eq!(raw(&divisor, &[1013, 7]), None);
    }

    #[test]
    fn a_code_that_the_instrument_does_not_have_is_no_value() {
        let coded = BlockPoint { codes: vec![0, 3, 7], ..point(Kind::U16, Abcd) };
        assert_eq!(raw(&coded, &[3]), Some(Raw::Int(3)));
        assert_eq!(raw(&coded, &[4]), None);
    }

    #[test]
    fn a_point_beyond_the_block_has_no_value() {
        let beyond = BlockPoint { offset: 1, ..point(Kind::U32, Abcd) };
        assert_eq!(raw(&beyond, &[1, 2]), None);
    }
}
