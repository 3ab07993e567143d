//! A walker over CBOR that lets through one way of writing each thing.
//!
//! CBOR codecs are lenient: they take indefinite lengths, integers longer than needed, repeated map keys and
//! whatever follows the first item. A signature over such bytes could be read in two ways by two programs, so
//! everything that comes from outside walks through here before any decoder sees it. Refused: indefinite
//! lengths, lengths and integers not in their shortest form, repeated map keys, tags, `undefined` and unassigned
//! simple values, text that is not UTF-8, nesting beyond [`DEPTH_MAX`], trailing bytes. Byte strings are opaque.
//!
//! Leaves out: key order and float width, which only an encoder must keep (signed bytes are never re-encoded).

use std::collections::BTreeSet;

use crate::RecordError;

/// Arrays and maps inside each other, at most. A plan's rule with its program nests 11 deep in a record.
pub(crate) const DEPTH_MAX: usize = 16;
/// Entries of one map. Only COSE headers are maps; the largest we write has three.
const MAP_MAX: u64 = 32;

/// Items of one walk, at most: what a decoder builds from a megabyte is bounded by this, not by the bytes. A plan of
/// 8,000 rules has about half as many.
pub(crate) const ITEMS_MAX: u32 = 1 << 20;

/// What is wrong, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) fault: &'static str,
}

impl Fault {
    pub(crate) fn within(self, what: &'static str) -> RecordError {
        RecordError::Structure { what, at: self.at, fault: self.fault }
    }
}

/// Checks that `bytes` are exactly one item.
pub(crate) fn whole(bytes: &[u8]) -> Result<(), Fault> {
    whole_of(bytes, ITEMS_MAX)
}

/// The same with another number of items at most.
pub(crate) fn whole_of(bytes: &[u8], items_max: u32) -> Result<(), Fault> {
    let mut left = items_max;
    match walk(bytes, 0, 0, &mut left)? {
        end if end == bytes.len() => Ok(()),
        end => Err(Fault { at: end, fault: "bytes after the end" }),
    }
}

/// Checks the item that begins at `at`, itself `depth` levels down, and says where it ends.
pub(crate) fn item(bytes: &[u8], at: usize, depth: usize) -> Result<usize, Fault> {
    let mut left = ITEMS_MAX;
    walk(bytes, at, depth, &mut left)
}

fn walk(bytes: &[u8], at: usize, depth: usize, left: &mut u32) -> Result<usize, Fault> {
    *left = left.checked_sub(1).ok_or(Fault { at, fault: "too many items" })?;
    let head = head(bytes, at)?;
    let nested = |depth: usize| {
        if depth < DEPTH_MAX { Ok(depth + 1) } else { Err(Fault { at, fault: "nested too deep" }) }
    };
    match head.major {
        0 | 1 | 7 => Ok(head.end),
        2 | 3 => {
            let end = usize::try_from(head.argument).ok().and_then(|length| head.end.checked_add(length));
            let content = end.and_then(|end| bytes.get(head.end..end));
            let content = content.ok_or(Fault { at, fault: "longer than the bytes that are there" })?;
            if head.major == 3 && std::str::from_utf8(content).is_err() {
                return Err(Fault { at, fault: "text that is not UTF-8" });
            }
            Ok(head.end + content.len())
        }
        4 => {
            let depth = nested(depth)?;
            // Every item is a byte or more, so a false length ends at the last byte there is.
            (0..head.argument).try_fold(head.end, |at, _| walk(bytes, at, depth, left))
        }
        5 => {
            let depth = nested(depth)?;
            if head.argument > MAP_MAX {
                return Err(Fault { at, fault: "a map with too many entries" });
            }
            let mut keys = BTreeSet::new();
            (0..head.argument).try_fold(head.end, |at, _| {
                let key_end = walk(bytes, at, depth, left)?;
                if !keys.insert(&bytes[at..key_end]) {
                    return Err(Fault { at, fault: "a map key for the second time" });
                }
                walk(bytes, key_end, depth, left)
            })
        }
        _ => Err(Fault { at, fault: "a tag where none belongs" }),
    }
}

/// The first bytes of an item.
pub(crate) struct Head {
    pub(crate) major: u8,
    pub(crate) argument: u64,
    pub(crate) end: usize,
}

/// Reads the head at `at`: major type and argument, which must be in its shortest form.
pub(crate) fn head(bytes: &[u8], at: usize) -> Result<Head, Fault> {
    let cut = Fault { at, fault: "ends in the middle of an item" };
    let first = *bytes.get(at).ok_or(cut)?;
    let (major, info) = (first >> 5, first & 0x1f);
    let follow = match info {
        0..=23 => 0,
        24..=27 => 1 << (info - 24),
        31 => return Err(Fault { at, fault: "an indefinite length" }),
        _ => return Err(Fault { at, fault: "a reserved length" }),
    };
    let end = at + 1 + follow;
    let argument = match follow {
        0 => u64::from(info),
        _ => bytes.get(at + 1..end).ok_or(cut)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    };
    let shortest = match follow {
        0 => 0,
        1 => 24,
        2 => 1 << 8,
        4 => 1 << 16,
        _ => 1 << 32,
    };
    if major == 7 {
        // false, true, null, and the three widths of float
        return match info {
            20..=22 | 25..=27 => Ok(Head { major, argument, end }),
            _ => Err(Fault { at, fault: "a simple value that is not used here" }),
        };
    }
    if argument < shortest {
        return Err(Fault { at, fault: "a number not in its shortest form" });
    }
    Ok(Head { major, argument, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Result<(), &str>) {
        assert_eq!(whole(bytes).map_err(|fault| fault.fault), expected, "{bytes:02x?}");
    }

    #[test]
    fn plain_items_pass() {
        check(&[0x00], Ok(()));
        check(&[0x39, 0x01, 0x00], Ok(()));
        check(&[0x82, 0xf6, 0xfb, 0, 0, 0, 0, 0, 0, 0, 0], Ok(()));
        check(&[0xa2, 0x01, 0x27, 0x04, 0x41, 0xff], Ok(()));
        check(&[0x63, 0xe7, 0x94, 0xb5], Ok(()));
    }

    #[test]
    fn each_second_way_of_writing_is_refused() {
        check(&[0x9f, 0x00, 0xff], Err("an indefinite length"));
        check(&[0x5f, 0x41, 0x00, 0xff], Err("an indefinite length"));
        check(&[0x18, 0x17], Err("a number not in its shortest form"));
        check(&[0x19, 0x00, 0xff], Err("a number not in its shortest form"));
        check(&[0x58, 0x01, 0x00], Err("a number not in its shortest form"));
        check(&[0x1b, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], Err("a number not in its shortest form"));
        check(&[0xa2, 0x01, 0x00, 0x01, 0x00], Err("a map key for the second time"));
        check(&[0x00, 0x00], Err("bytes after the end"));
        check(&[0xc1, 0x00], Err("a tag where none belongs"));
        check(&[0xf7], Err("a simple value that is not used here"));
        check(&[0xf8, 0x20], Err("a simple value that is not used here"));
        check(&[0x62, 0xff, 0xfe], Err("text that is not UTF-8"));
        check(&[0x1c], Err("a reserved length"));
    }

    #[test]
    fn lengths_beyond_the_end_are_refused_at_once() {
        check(&[], Err("ends in the middle of an item"));
        check(&[0x19, 0x01], Err("ends in the middle of an item"));
        check(
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            Err("longer than the bytes that are there"),
        );
        check(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Err("ends in the middle of an item"));
        check(&[0xb8, 0x40], Err("a map with too many entries"));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| [vec![0x81; depth], vec![0x00]].concat();
        check(&nested(DEPTH_MAX), Ok(()));
        check(&nested(DEPTH_MAX + 1), Err("nested too deep"));
    }

    #[test]
    fn the_number_of_items_is_bounded() {
        let many = |n: u32| [&[0x9a][..], &n.to_be_bytes(), &vec![0x60; n as usize]].concat();
        check(&many(ITEMS_MAX - 1), Ok(()));
        check(&many(ITEMS_MAX), Err("too many items"));
    }
}
