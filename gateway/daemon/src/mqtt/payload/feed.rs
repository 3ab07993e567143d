//! Our own feeds (docs/feeds): strict, so that nothing comes in that nobody asked for.

use gateway_model::{CivilTime, FactBody, Raw};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Refusal, Said, decimal};
use crate::config::{Feed, FeedMapping};

/// A waste bag heavier than this is a wrong field, not a bag: 1 t.
const GRAMS_MAX: i64 = 1_000_000;
/// Labels of one hand-over.
const LABELS_MAX: usize = 1_000;
/// Characters of a text of a feed: labels, departments, names of parties.
const TEXT_MAX: usize = 200;

/// Unknown fields are refused: that is how no patient's name gets in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CountMessage {
    v: u32,
    at: String,
    count: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BagMessage<'a> {
    v: u32,
    at: String,
    label: String,
    category: String,
    department: String,
    #[serde(borrow)]
    kg: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HandOverMessage<'a> {
    v: u32,
    at: String,
    labels: Vec<String>,
    #[serde(borrow)]
    kg: &'a RawValue,
    to: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredMessage<'a> {
    v: u32,
    at: String,
    labels: Vec<String>,
    #[serde(borrow)]
    kg: &'a RawValue,
    place: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReceivedMessage<'a> {
    v: u32,
    at: String,
    labels: Vec<String>,
    #[serde(borrow)]
    kg: &'a RawValue,
    by: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DutyMessage {
    v: u32,
    at: String,
    duty: String,
    passed: bool,
}

pub(super) fn read(mapping: FeedMapping, payload: &[u8]) -> Result<Said, Refusal> {
    let wrong = |_| Refusal::Json;
    let (version, at, body, raw) = match mapping.feed {
        Feed::Visits | Feed::Packed | Feed::Occupied | Feed::Cups | Feed::Used | Feed::Released => {
            let CountMessage { v, at, count } = serde_json::from_slice(payload).map_err(wrong)?;
            (v, at, count_fact(mapping.feed, count), Raw::Int(i64::from(count)))
        }
        Feed::Bag => {
            let BagMessage { v, at, label, category, department, kg } =
                serde_json::from_slice(payload).map_err(wrong)?;
            let (raw, grams) = kilograms(kg.get())?;
            let texts = [&label, &category, &department];
            if texts.iter().any(|text| text.is_empty() || too_long(text)) {
                return Err(Refusal::Range);
            }
            (v, at, Some(FactBody::BagLabelled { label, category, department, grams }), raw)
        }
        Feed::HandOver => {
            let HandOverMessage { v, at, labels, kg, to } = serde_json::from_slice(payload).map_err(wrong)?;
            let (raw, grams) = kilograms(kg.get())?;
            within(&labels, &to)?;
            (v, at, Some(FactBody::HandOver { labels, grams, to }), raw)
        }
        Feed::Stored => {
            let StoredMessage { v, at, labels, kg, place } =
                serde_json::from_slice(payload).map_err(wrong)?;
            let (raw, grams) = kilograms(kg.get())?;
            within(&labels, &place)?;
            (v, at, Some(FactBody::BagsStored { labels, grams, place }), raw)
        }
        Feed::Received => {
            let ReceivedMessage { v, at, labels, kg, by } = serde_json::from_slice(payload).map_err(wrong)?;
            let (raw, grams) = kilograms(kg.get())?;
            within(&labels, &by)?;
            (v, at, Some(FactBody::WasteReceived { labels, grams, by }), raw)
        }
        Feed::Duty => {
            let DutyMessage { v, at, duty, passed } = serde_json::from_slice(payload).map_err(wrong)?;
            within(&[], &duty)?;
            (v, at, Some(FactBody::DutyDone { duty, passed }), Raw::Int(i64::from(passed)))
        }
    };
    if version != 1 {
        return Err(Refusal::Json);
    }
    let at: jiff::Timestamp = at.parse().map_err(|_| Refusal::Json)?;
    Ok(Said {
        values: vec![(mapping.point, raw)],
        fact: body,
        time: Some(CivilTime(at.as_millisecond())),
        frame: payload.to_vec(),
        ..Said::default()
    })
}

/// Labels and the name beside them, within their limits.
fn within(labels: &[String], name: &str) -> Result<(), Refusal> {
    let long = labels.iter().any(|label| too_long(label)) || too_long(name);
    if labels.len() > LABELS_MAX || long || name.is_empty() { Err(Refusal::Range) } else { Ok(()) }
}

fn too_long(text: &str) -> bool {
    text.chars().nth(TEXT_MAX).is_some()
}

/// What a count means, beside being a reading.
fn count_fact(feed: Feed, count: u32) -> Option<FactBody> {
    match feed {
        Feed::Visits => Some(FactBody::Visits { count }),
        Feed::Packed => Some(FactBody::HandpiecesPacked { count }),
        Feed::Occupied
        | Feed::Cups
        | Feed::Used
        | Feed::Released
        | Feed::Bag
        | Feed::HandOver
        | Feed::Stored
        | Feed::Received
        | Feed::Duty => None,
    }
}

/// The number as sent, and in whole grams (rounded half away from zero).
fn kilograms(text: &str) -> Result<(Raw, i64), Refusal> {
    let (mantissa, exponent) = decimal(text).ok_or(Refusal::Json)?;
    let power = i32::from(exponent) + 3;
    let grams = if power >= 0 {
        10_i64.checked_pow(power as u32).and_then(|factor| mantissa.checked_mul(factor))
    } else {
        10_i64.checked_pow(power.unsigned_abs()).map(|divisor| {
            let half = divisor / 2 * mantissa.signum();
            mantissa.saturating_add(half) / divisor
        })
    };
    let grams = grams.filter(|grams| (0..=GRAMS_MAX).contains(grams)).ok_or(Refusal::Range)?;
    Ok((Raw::Dec { mantissa, exponent }, grams))
}
