//! Words to raw values: word order undone, nothing scaled.

use gateway_model::Raw;

use crate::config::{BlockPoint, EncodingKind, WordOrder};

/// The raw value of a point in the words of its block; `None` where the block is too short for it (the guard makes
/// that impossible for a checked plan).
pub fn raw(point: &BlockPoint, words: &[u16]) -> Option<Raw> {
    let from = usize::from(point.offset);
    let words = words.get(from..from + usize::from(point.encoding.kind.words()))?;
    let bytes = ordered(words, point.encoding.order);
    Some(match point.encoding.kind {
        EncodingKind::Bit => Raw::Int(i64::from(words[0] != 0)),
        EncodingKind::RegisterBit(bit) => Raw::Int((number(&bytes) >> u32::from(bit).min(15) & 1) as i64),
        EncodingKind::U16 | EncodingKind::U32 => Raw::Int(number(&bytes) as i64),
        EncodingKind::I16 => Raw::Int(i64::from(number(&bytes) as u16 as i16)),
        EncodingKind::I32 => Raw::Int(i64::from(number(&bytes) as u32 as i32)),
        EncodingKind::F32 => Raw::F32(number(&bytes) as u32),
        EncodingKind::F64 => Raw::F64(number(&bytes)),
    })
}

/// Bytes of the words, highest first.
fn ordered(words: &[u16], order: WordOrder) -> Vec<u8> {
    let straight = words.iter().flat_map(|word| word.to_be_bytes());
    let swapped = words.iter().flat_map(|word| word.to_le_bytes());
    match order {
        WordOrder::Abcd => straight.collect(),
        WordOrder::Cdab => words.iter().rev().flat_map(|word| word.to_be_bytes()).collect(),
        WordOrder::Badc => swapped.collect(),
        WordOrder::Dcba => words.iter().rev().flat_map(|word| word.to_le_bytes()).collect(),
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Encoding;
    use gateway_model::PointIx;

    fn check(kind: EncodingKind, order: WordOrder, words: &[u16], expected: Raw) {
        let point = BlockPoint { point: PointIx(0), offset: 0, encoding: Encoding { kind, order } };
        assert_eq!(raw(&point, words), Some(expected), "{kind:?} {order:?}");
    }

    #[test]
    fn the_frames_of_real_devices_decode() {
        // `01 04 02 01 31 …` of an XY-MD02: 30.5 °C at gain 0.1
        check(EncodingKind::I16, WordOrder::Abcd, &[0x0131], Raw::Int(305));
        check(EncodingKind::I16, WordOrder::Abcd, &[0xFF9C], Raw::Int(-100));
        // `01 03 04 FF FF C1 EF …` of a scale: −15889
        check(EncodingKind::I32, WordOrder::Abcd, &[0xFFFF, 0xC1EF], Raw::Int(-15889));
        // 230.0 V of an SDM120
        check(EncodingKind::F32, WordOrder::Abcd, &[0x4366, 0x0000], Raw::F32(230.0_f32.to_bits()));
        // PZEM: low word first
        check(EncodingKind::U32, WordOrder::Cdab, &[0x0001, 0x0002], Raw::Int(0x0002_0001));
        check(EncodingKind::U32, WordOrder::Badc, &[0x0102, 0x0304], Raw::Int(0x0201_0403));
        check(EncodingKind::U32, WordOrder::Dcba, &[0x0102, 0x0304], Raw::Int(0x0403_0201));
        check(EncodingKind::U16, WordOrder::Abcd, &[0xFFFF], Raw::Int(65535));
        check(EncodingKind::Bit, WordOrder::Abcd, &[1], Raw::Int(1));
        check(EncodingKind::RegisterBit(5), WordOrder::Abcd, &[0b10_0000], Raw::Int(1));
        check(EncodingKind::F64, WordOrder::Abcd, &[0x3FF8, 0, 0, 0], Raw::F64(1.5_f64.to_bits()));
    }

    #[test]
    fn a_point_beyond_the_block_has_no_value() {
        let encoding = Encoding { kind: EncodingKind::U32, order: WordOrder::Abcd };
        assert_eq!(raw(&BlockPoint { point: PointIx(0), offset: 1, encoding }, &[1, 2]), None);
    }
}
