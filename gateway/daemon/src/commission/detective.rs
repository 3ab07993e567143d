//! What registers may hold: decoded in every order and type, ranked by how much it looks like a measurement. Pure.
//!
//! Promises: the same samples give the same list. Leaves out: certainty. A wrong word order can look right for a while;
//! that is why the list shows values, and why a person compares them with the display of the instrument.

use std::fmt::Write as _;

use crate::config::{Card, CardField, FunctionCode};

/// The same registers at several moments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Samples {
    /// Table.
    pub function: FunctionCode,
    /// First register, from 0.
    pub first: u16,
    /// One list of words for each moment; `None`: the register was not answered.
    pub words: Vec<Vec<Option<u16>>>,
}

/// One way to read a place.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess {
    /// Register, from 0.
    pub address: u16,
    /// `i16`, `u32`, `f32`…; `bit` of a table of bits.
    pub kind: &'static str,
    /// Order of bytes, for what spans registers.
    pub order: &'static str,
    /// Registers it spans.
    pub count: usize,
    /// From 0 to 100.
    pub score: u32,
    /// What was seen, first and last.
    pub seen: (f64, f64),
}

const KINDS: [(&str, usize); 7] =
    [("u16", 1), ("i16", 1), ("u32", 2), ("i32", 2), ("f32", 2), ("u64", 4), ("f64", 4)];
const ORDERS: [&str; 4] = ["ABCD", "CDAB", "BADC", "DCBA"];
/// The one type of coils and discrete inputs.
const BIT: [(&str, usize); 1] = [("bit", 1)];
/// Guesses shown of each table.
const SHOWN_MAX: usize = 12;
/// Below this a guess is not worth a line.
const SCORE_MIN: u32 = 60;

/// The value of words in a type and order; `None` where they hold no number of it, or there are too few.
pub fn decode(words: &[u16], kind: &str, order: &str) -> Option<f64> {
    if let Some(bit) = kind.strip_prefix("bit ") {
        return Some(f64::from(words.first()? >> bit.parse::<u32>().ok().filter(|bit| *bit < 16)? & 1));
    }
    if kind == "bit" {
        return words.first().map(|word| f64::from(u8::from(*word != 0)));
    }
    let (_, count) = KINDS.iter().find(|(name, _)| *name == kind)?;
    let words = words.get(..*count)?;
    let bytes: Vec<u8> = match order {
        "CDAB" => words.iter().rev().flat_map(|word| word.to_be_bytes()).collect(),
        "BADC" => words.iter().flat_map(|word| word.to_le_bytes()).collect(),
        "DCBA" => words.iter().rev().flat_map(|word| word.to_le_bytes()).collect(),
        _ => words.iter().flat_map(|word| word.to_be_bytes()).collect(),
    };
    let number = bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let value = match kind {
        "i16" => f64::from(number as u16 as i16),
        "i32" => f64::from(number as u32 as i32),
        "f32" => f64::from(f32::from_bits(number as u32)),
        "f64" => f64::from_bits(number),
        // u16, u32, u64
        _ => number as f64,
    };
    value.is_finite().then_some(value)
}

/// Every way to read every place, the likeliest first.
pub fn rank(samples: &Samples) -> Vec<Guess> {
    let mut guesses = Vec::new();
    let length = samples.words.iter().map(Vec::len).min().unwrap_or(0);
    for place in 0..length {
        let kinds = if samples.function.of_bits() { &BIT[..] } else { &KINDS[..] };
        for &(kind, count) in kinds {
            // A moment at which a register of it was silent says nothing, not zero.
            let answered: Vec<Vec<u16>> = samples
                .words
                .iter()
                .filter_map(|words| words.get(place..place + count)?.iter().copied().collect())
                .collect();
            let Some(first) = answered.first() else { continue };
            let orders = if count == 1 { &ORDERS[..1] } else { &ORDERS[..] };
            for order in orders {
                let values: Option<Vec<f64>> =
                    answered.iter().map(|words| decode(words, kind, order)).collect();
                let Some(values) = values else { continue };
                guesses.push(Guess {
                    address: samples.first + place as u16,
                    kind,
                    order,
                    count,
                    score: score(kind, first, order, &values),
                    seen: (values[0], values[values.len() - 1]),
                });
            }
        }
    }
    // Ties: the earlier place, the simpler type.
    guesses.sort_by_key(|guess| std::cmp::Reverse(guess.score));
    guesses
}

/// Registers that were never answered, as runs of first and last.
fn silent(samples: &Samples) -> Vec<(u16, u16)> {
    let length = samples.words.iter().map(Vec::len).min().unwrap_or(0);
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for place in (0..length).filter(|place| samples.words.iter().all(|words| words[*place].is_none())) {
        let register = samples.first + place as u16;
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == register => *last = register,
            _ => runs.push((register, register)),
        }
    }
    runs
}

/// How much a series looks like a measurement: of a usual size, steady but not dead, in a type that is needed for it.
fn score(kind: &str, words: &[u16], order: &str, values: &[f64]) -> u32 {
    if kind == "bit" {
        // Nothing else can stand there; one that moved is the likelier to be in use.
        return SCORE_MIN + u32::from(values.iter().any(|value| (value - values[0]).abs() > 0.5));
    }
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let size = low.abs().max(high.abs());
    let usual = if size == 0.0 {
        10
    } else if (0.01..=20_000.0).contains(&size) {
        30
    } else if (0.0001..=10_000_000.0).contains(&size) {
        15
    } else {
        0
    };
    let moved = if size > 0.0 { (high - low) / size } else { 0.0 };
    let steady = if moved <= 0.1 {
        30
    } else if moved <= 0.5 {
        15
    } else {
        0
    };
    let alive = if high > low { 10 } else { 0 };
    let type_fits = match kind {
        // Words of integers almost never make a float of a usual size.
        "f32" | "f64" if usual == 30 => 30,
        "f32" | "f64" => 0,
        // A small number, or a negative one that would be huge without its sign.
        "i16" if (words[0] as i16) < 0 && (words[0] as i16) > -2_000 => 28,
        "u16" if (words[0] as i16) < 0 && (words[0] as i16) > -2_000 => 0,
        "u16" => 22,
        "i16" => 20,
        // Both words are needed, and the high one is the smaller.
        _ => {
            let count = words.len().min(if kind.ends_with("64") { 4 } else { 2 });
            let (high, low) = match order {
                "ABCD" => (words[0], words[count - 1]),
                "CDAB" => (words[count - 1], words[0]),
                _ => return (usual + steady) / 3,
            };
            if high > 0 && high < 0x100 && low > 0 { 18 } else { 0 }
        }
    };
    usual + steady + alive + type_fits
}

/// The likeliest ways as a page, with the lines of a profile for the first of each place.
pub fn page(samples: &Samples) -> String {
    let mut page = String::new();
    let table = samples.function.table();
    let guesses: Vec<Guess> =
        rank(samples).into_iter().filter(|guess| guess.score >= SCORE_MIN).take(SHOWN_MAX).collect();
    // Writing into a String cannot fail.
    let _head = writeln!(
        page,
        "{table} from 0x{:04X}, {} sample(s): score  place (from 0 / from 1)  type  first … last",
        samples.first,
        samples.words.len()
    );
    for (first, last) in silent(samples) {
        let _line = writeln!(page, "       {table} 0x{first:04X} to 0x{last:04X}: no answer, or refused");
    }
    for guess in &guesses {
        let order = if guess.count == 1 { "" } else { guess.order };
        let _line = writeln!(
            page,
            "  {:>3}  {table} 0x{:04X} / {}  {} {order}  {} … {}",
            guess.score,
            guess.address,
            u32::from(guess.address) + 1,
            guess.kind,
            short(guess.seen.0),
            short(guess.seen.1)
        );
    }
    // Registers that are spoken for: the second word of a float is no value of its own.
    let mut pasted = 0;
    let mut taken: Vec<u16> = Vec::new();
    for guess in guesses {
        let place = guess.address..guess.address.saturating_add(guess.count as u16);
        if place.clone().any(|register| taken.contains(&register)) {
            continue;
        }
        taken.extend(place);
        pasted += 1;
        let order =
            if guess.order == "ABCD" { String::new() } else { format!("order = \"{}\"\n", guess.order) };
        let _lines = write!(
            page,
            "\n[[field]]\nname = \"value-{pasted}\"\nat = \"{table} 0x{:04X}\"\ntype = \"{}\"\n{order}unit = \"1\"\n",
            guess.address, guess.kind
        );
    }
    page
}

/// Six significant digits.
fn short(value: f64) -> String {
    if value == 0.0 || (0.001..1e9).contains(&value.abs()) {
        let text = format!("{value:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.3e}")
    }
}

/// How a profile fits what a device answered: values of its fields, and how many are plausible.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Name of the profile.
    pub profile: String,
    /// Fields that were answered and lie within their span, of all.
    pub plausible: usize,
    /// Fields of the profile.
    pub of: usize,
    /// Name, value and unit of what was answered.
    pub values: Vec<(String, f64, &'static str)>,
}

/// The value of a field in the words at its place; `None`: no probe, or not a value it can have.
pub fn plausible(field: &CardField, words: &[u16]) -> Option<f64> {
    let raw = decode(words, &field.kind, field.order)?;
    let value = raw * field.gain + field.offset;
    let sentinel = field.sentinels.iter().any(|sentinel| (*sentinel as f64).to_bits() == raw.to_bits());
    let within = field.span.is_none_or(|(low, high)| (low..=high).contains(&value));
    // Nine digits: 0.1 × 3 is 0.3 for a person.
    (within && !sentinel).then(|| (value * 1e9).round() / 1e9)
}

/// Whether answers fit a profile: `read` gives the words of a field's place, where the device answered.
pub fn fit(card: &Card, mut read: impl FnMut(&CardField) -> Option<Vec<u16>>) -> Fit {
    let mut fit =
        Fit { profile: card.profile.clone(), plausible: 0, of: card.fields.len(), values: Vec::new() };
    for field in &card.fields {
        if let Some(value) = read(field).and_then(|words| plausible(field, &words)) {
            fit.plausible += 1;
            fit.values.push((field.name.clone(), value, field.unit.symbol()));
        }
    }
    fit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(words: &[&[u16]]) -> Samples {
        let words = words.iter().map(|words| words.iter().copied().map(Some).collect()).collect();
        Samples { function: FunctionCode::InputRegisters, first: 0, words }
    }

    fn best(words: &[&[u16]], address: u16) -> (&'static str, &'static str) {
        let ranked = rank(&samples(words));
        let guess = ranked.iter().find(|guess| guess.address == address).unwrap();
        (guess.kind, guess.order)
    }

    #[test]
    fn the_type_that_was_meant_comes_first() {
        // 230.5 V, 230.4 V as floats, in each order.
        let float = |value: f32| [(value.to_bits() >> 16) as u16, value.to_bits() as u16];
        let (a, b) = (float(230.5), float(230.375));
        assert_eq!(best(&[&a, &b], 0), ("f32", "ABCD"));
        let low_first = |words: [u16; 2]| [words[1], words[0]];
        assert_eq!(best(&[&low_first(a), &low_first(b)], 0), ("f32", "CDAB"));
        let swapped = |words: [u16; 2]| words.map(u16::swap_bytes);
        assert_eq!(best(&[&swapped(a), &swapped(b)], 0), ("f32", "BADC"));
        // Tenths of a degree, of either sign.
        assert_eq!(best(&[&[305, 482], &[306, 480]], 0), ("u16", "ABCD"));
        assert_eq!(best(&[&[(-105_i16) as u16], &[(-104_i16) as u16]], 0), ("i16", "ABCD"));
    }

    #[test]
    fn a_page_is_made_to_be_pasted() {
        let float = |value: f32| [(value.to_bits() >> 16) as u16, value.to_bits() as u16];
        let page =
            page(&samples(&[&[&float(230.5)[..], &[305]].concat(), &[&float(230.375)[..], &[306]].concat()]));
        let wanted = include_str!("detective.txt");
        assert_eq!(page, wanted, "\n{page}");
    }

    #[test]
    fn what_was_not_answered_is_no_zero() {
        let words = vec![vec![Some(305), None, None, Some(42)], vec![None, None, None, Some(43)]];
        let samples = Samples { function: FunctionCode::InputRegisters, first: 0x10, words };
        let places: Vec<u16> = rank(&samples).iter().map(|guess| guess.address).collect();
        assert_eq!(places, [0x13, 0x13, 0x10, 0x10], "one register each, in two types: {:?}", rank(&samples));
        let page = page(&samples);
        assert!(page.contains("input 0x0011 to 0x0012: no answer, or refused"), "{page}");
        assert!(!page.contains("at = \"input 0x0011\""), "{page}");
    }

    #[test]
    fn a_bit_is_pasted_as_a_bit() {
        let words = vec![vec![Some(0), Some(1)], vec![Some(1), Some(1)]];
        let samples = Samples { function: FunctionCode::Coils, first: 0, words };
        let ranked = rank(&samples);
        assert_eq!(ranked.iter().map(|guess| guess.kind).collect::<Vec<_>>(), ["bit", "bit"]);
        assert_eq!(ranked[0].address, 0, "the one that moved first");
        assert!(page(&samples).contains("at = \"coil 0x0000\"\ntype = \"bit\""), "{}", page(&samples));
    }

    #[test]
    fn profiles_are_told_apart_by_their_spans() {
        let cards = crate::config::cards();
        let fits = |temperature: u16, humidity: u16| -> Vec<String> {
            let answers = |field: &CardField| {
                let place = (field.function, field.address);
                match place {
                    (FunctionCode::InputRegisters, 1) => Some(vec![temperature, humidity]),
                    (FunctionCode::InputRegisters, 2) => Some(vec![humidity]),
                    _ => None,
                }
            };
            cards
                .iter()
                .map(|card| fit(card, answers))
                .filter(|fit| fit.plausible == fit.of)
                .map(|fit| fit.profile)
                .collect()
        };
        assert_eq!(fits(2350, 4560), ["md02"], "hundredths cannot be tenths");
        // 23.5 °C, or 2.35 °C: only the display can tell.
        assert_eq!(fits(235, 456), ["md02", "xy-md02"]);
    }
}
