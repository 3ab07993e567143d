//! Payloads of real devices to readings and facts: pure, no connection.
//!
//! Promises: a number keeps exactly the digits that were sent; a field that the plan does not name is not kept; a
//! payload that cannot be read is refused whole, with a reason to count it by; no panic on any bytes.
//!
//! Leaves out: which subscription a topic belongs to ([`super`]), quality (intake).

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway_model::{CivilTime, FactBody, PointIx, Raw};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config::{
    Availability, Carrier, Feed, FeedMapping, JsonField, JsonKind, Mapping, MilesightMapping,
};

/// A payload longer than this is refused unread.
pub const PAYLOAD_MAX: usize = 64 * 1024;
/// A waste bag heavier than this is a wrong field, not a bag: 1 t.
const GRAMS_MAX: i64 = 1_000_000;
/// Labels of one hand-over.
const LABELS_MAX: usize = 1_000;
/// A text of a feed: labels, departments, names of parties.
const TEXT_MAX: usize = 200;

/// What a payload says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Said {
    /// Values of points.
    pub values: Vec<(PointIx, Raw)>,
    /// Points whose field was there but not readable.
    pub malformed: Vec<PointIx>,
    /// A fact, with the time its source gives.
    pub fact: Option<(FactBody, CivilTime)>,
}

/// Why a payload was refused. [`Refusal::reason`] names it in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Longer than [`PAYLOAD_MAX`].
    #[error("longer than 64 KiB")]
    TooLarge,
    /// Not JSON, or not the JSON that was expected.
    #[error("not the JSON that its mapping expects")]
    Json,
    /// Not hex or base64.
    #[error("bytes are not encoded as its mapping says")]
    Carrier,
    /// A Milesight payload without one known item.
    #[error("no item that its mapping knows")]
    NoItem,
    /// A number outside what the field can mean.
    #[error("a number outside what can be meant")]
    Range,
    /// Neither of the two words that were expected.
    #[error("neither the word for there nor the word for gone")]
    Availability,
    /// A feed's message that the broker repeats from its memory: it has been counted before.
    #[error("a retained feed message, counted when it was new")]
    Retained,
}

impl Refusal {
    /// A name to count it by.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Json => "not_json",
            Self::Carrier => "bad_carrier",
            Self::NoItem => "no_item",
            Self::Range => "out_of_range",
            Self::Availability => "bad_availability",
            Self::Retained => "retained_feed",
        }
    }
}

/// Reads one payload.
pub fn read(mapping: &Mapping, payload: &[u8]) -> Result<Said, Refusal> {
    if payload.len() > PAYLOAD_MAX {
        return Err(Refusal::TooLarge);
    }
    match mapping {
        Mapping::Json(fields) => json(fields, payload),
        Mapping::Milesight(mapping) => milesight(mapping, payload),
        Mapping::Feed(mapping) => feed(*mapping, payload),
    }
}

/// Does this payload say "there" (true) or "gone" (false)?
pub fn available(availability: &Availability, payload: &[u8]) -> Result<bool, Refusal> {
    #[derive(Deserialize)]
    struct Stated {
        state: String,
    }
    if payload.len() > PAYLOAD_MAX {
        return Err(Refusal::TooLarge);
    }
    let text = std::str::from_utf8(payload).map_err(|_| Refusal::Availability)?.trim();
    let stated = serde_json::from_str::<Stated>(text).map(|stated| stated.state);
    let word = stated.as_deref().unwrap_or(text);
    if word == availability.online {
        Ok(true)
    } else if word == availability.offline {
        Ok(false)
    } else {
        Err(Refusal::Availability)
    }
}

type Object<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

fn json(fields: &[JsonField], payload: &[u8]) -> Result<Said, Refusal> {
    let root: &RawValue = serde_json::from_slice(payload).map_err(|_| Refusal::Json)?;
    if !root.get().starts_with('{') {
        return Err(Refusal::Json);
    }
    let mut said = Said::default();
    for field in fields {
        // A field that is not there is no news; null is how some sources say "none".
        let Some(text) = at(root.get(), &field.path).filter(|text| *text != "null") else { continue };
        match value(&field.kind, text) {
            Some(raw) => said.values.push((field.point, raw)),
            None => said.malformed.push(field.point),
        }
    }
    Ok(said)
}

/// The text of the value at `path`.
fn at<'a>(text: &'a str, path: &[String]) -> Option<&'a str> {
    path.iter().try_fold(text, |text, key| {
        if text.starts_with('[') {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            Some(items.get(key.parse::<usize>().ok()?)?.get())
        } else {
            let object: Object<'a> = serde_json::from_str(text).ok()?;
            Some(object.get(key.as_str())?.get())
        }
    })
}

fn value(kind: &JsonKind, text: &str) -> Option<Raw> {
    match kind {
        JsonKind::Number => decimal(text).map(|(mantissa, exponent)| Raw::Dec { mantissa, exponent }),
        JsonKind::Truth { one, zero } => match text {
            "true" => Some(Raw::Int(1)),
            "false" => Some(Raw::Int(0)),
            _ => {
                let word: String = serde_json::from_str(text).unwrap_or_else(|_| text.to_owned());
                if word == *one {
                    Some(Raw::Int(1))
                } else if word == *zero {
                    Some(Raw::Int(0))
                } else {
                    None
                }
            }
        },
    }
}

/// The digits of a JSON number, and where its point stands: `-12.50e1` is (−1250, −1).
fn decimal(text: &str) -> Option<(i64, i8)> {
    let (digits, power) = match text.split_once(['e', 'E']) {
        Some((digits, power)) => (digits, power.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mantissa: i64 = format!("{whole}{fraction}").parse().ok()?;
    let exponent = i8::try_from(power - i32::try_from(fraction.len()).ok()?).ok()?;
    Some((mantissa, exponent))
}

fn milesight(mapping: &MilesightMapping, payload: &[u8]) -> Result<Said, Refusal> {
    let base64 = |text: &str| STANDARD.decode(text.trim()).map_err(|_| Refusal::Carrier);
    let text = std::str::from_utf8(payload).map_err(|_| Refusal::Carrier)?;
    let carried = |path: &[&str]| {
        let path: Vec<String> = path.iter().map(|key| (*key).to_owned()).collect();
        let text = at(text, &path).ok_or(Refusal::Json)?;
        serde_json::from_str::<String>(text).map_err(|_| Refusal::Json)
    };
    let bytes = match mapping.carrier {
        Carrier::Hex => hex(text.trim()).ok_or(Refusal::Carrier)?,
        Carrier::Base64 => base64(text)?,
        Carrier::ChirpStack => base64(&carried(&["data"])?)?,
        Carrier::TheThingsStack => base64(&carried(&["uplink_message", "frm_payload"])?)?,
    };
    let mut said = Said::default();
    let mut rest = bytes.as_slice();
    let mut known = 0;
    while let [channel, kind, after @ ..] = rest {
        let exact = mapping.lengths.iter().find(|(of, ty, _)| *of == Some(*channel) && ty == kind);
        let any = || mapping.lengths.iter().find(|(of, ty, _)| of.is_none() && ty == kind);
        // Without its length nothing behind an unknown item can be found.
        let Some((_, _, length)) = exact.or_else(any) else { break };
        let Some((value, after)) = after.split_at_checked(usize::from(*length)) else { break };
        if let Some(field) =
            mapping.fields.iter().find(|field| field.channel == *channel && field.kind == *kind)
        {
            match little_endian(value, field.signed) {
                Some(number) => said.values.push((field.point, Raw::Int(number))),
                None => said.malformed.push(field.point),
            }
        }
        known += 1;
        rest = after;
    }
    if known == 0 { Err(Refusal::NoItem) } else { Ok(said) }
}

fn little_endian(bytes: &[u8], signed: bool) -> Option<i64> {
    if bytes.is_empty() || bytes.len() > 8 {
        return None;
    }
    let number = bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let unused = 64 - 8 * bytes.len() as u32;
    if signed { Some((number << unused) as i64 >> unused) } else { i64::try_from(number).ok() }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

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

/// Labels and the name beside them, within their limits.
fn within(labels: &[String], name: &String) -> Result<(), Refusal> {
    let long = labels.iter().chain([name]).any(|text| text.len() > TEXT_MAX);
    if labels.len() > LABELS_MAX || long { Err(Refusal::Range) } else { Ok(()) }
}

fn feed(mapping: FeedMapping, payload: &[u8]) -> Result<Said, Refusal> {
    let wrong = |_| Refusal::Json;
    let (version, at, body, raw) = match mapping.feed {
        Feed::Visits | Feed::Packed => {
            let CountMessage { v, at, count } = serde_json::from_slice(payload).map_err(wrong)?;
            let body = match mapping.feed {
                Feed::Packed => FactBody::HandpiecesPacked { count },
                Feed::Visits | Feed::Bag | Feed::HandOver | Feed::Stored | Feed::Received | Feed::Duty => {
                    FactBody::Visits { count }
                }
            };
            (v, at, body, Raw::Int(i64::from(count)))
        }
        Feed::Bag => {
            let BagMessage { v, at, label, category, department, kg } =
                serde_json::from_slice(payload).map_err(wrong)?;
            let (raw, grams) = kilograms(kg.get())?;
            let texts = [&label, &category, &department];
            if texts.iter().any(|text| text.len() > TEXT_MAX) {
                return Err(Refusal::Range);
            }
            (v, at, FactBody::BagLabelled { label, category, department, grams }, raw)
        }
        Feed::HandOver => {
            let HandOverMessage { v, at, labels, kg, to } = serde_json::from_slice(payload).map_err(wrong)?;
            let (raw, grams) = kilograms(kg.get())?;
            within(&labels, &to)?;
            (v, at, FactBody::HandOver { labels, grams, to }, raw)
        }
        Feed::Stored => {
            let StoredMessage { v, at, labels, kg, place } =
                serde_json::from_slice(payload).map_err(wrong)?;
            let (raw, grams) = kilograms(kg.get())?;
            within(&labels, &place)?;
            (v, at, FactBody::BagsStored { labels, grams, place }, raw)
        }
        Feed::Received => {
            let ReceivedMessage { v, at, labels, kg, by } = serde_json::from_slice(payload).map_err(wrong)?;
            let (raw, grams) = kilograms(kg.get())?;
            within(&labels, &by)?;
            (v, at, FactBody::WasteReceived { labels, grams, by }, raw)
        }
        Feed::Duty => {
            let DutyMessage { v, at, duty, passed } = serde_json::from_slice(payload).map_err(wrong)?;
            within(&[], &duty)?;
            (v, at, FactBody::DutyDone { duty, passed }, Raw::Int(i64::from(passed)))
        }
    };
    if version != 1 {
        return Err(Refusal::Json);
    }
    let at: jiff::Timestamp = at.parse().map_err(|_| Refusal::Json)?;
    Ok(Said {
        values: vec![(mapping.point, raw)],
        malformed: Vec::new(),
        fact: Some((body, CivilTime(at.as_millisecond()))),
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MilesightField;

    fn field(point: u16, path: &[&str], kind: JsonKind) -> JsonField {
        JsonField { point: PointIx(point), path: path.iter().map(|key| (*key).to_owned()).collect(), kind }
    }

    fn on_off() -> JsonKind {
        JsonKind::Truth { one: "ON".into(), zero: "OFF".into() }
    }

    fn dec(mantissa: i64, exponent: i8) -> Raw {
        Raw::Dec { mantissa, exponent }
    }

    #[test]
    fn tasmota_sensor() {
        let fields = Mapping::Json(vec![
            field(0, &["DS18B20", "Temperature"], JsonKind::Number),
            field(1, &["Switch1"], on_off()),
            field(2, &["ENERGY", "Power"], JsonKind::Number),
        ]);
        let said = read(
            &fields,
            br#"{"Time":"2024-02-24T22:20:38","DS18B20":{"Temperature":21.5},"TempUnit":"C","Switch1":"ON"}"#,
        );
        assert_eq!(said.unwrap().values, [(PointIx(0), dec(215, -1)), (PointIx(1), Raw::Int(1))]);
    }

    #[test]
    fn shelly_delta_and_zigbee2mqtt() {
        let shelly = Mapping::Json(vec![
            field(0, &["params", "temperature:0", "tC"], JsonKind::Number),
            field(1, &["params", "humidity:0", "rh"], JsonKind::Number),
        ]);
        let said = read(
            &shelly,
            br#"{"src":"x","method":"NotifyStatus","params":{"ts":1680962879.62,"temperature:0":{"id":0,"tC":19.80,"tF":67.6}}}"#,
        );
        assert_eq!(said.unwrap().values, [(PointIx(0), dec(1980, -2))], "a delta names only what changed");
        let zigbee = Mapping::Json(vec![
            field(0, &["temperature"], JsonKind::Number),
            field(1, &["contact"], JsonKind::Truth { one: "true".into(), zero: "false".into() }),
        ]);
        let said =
            read(&zigbee, br#"{"temperature":-3,"contact":true,"linkquality":120,"battery":null}"#).unwrap();
        assert_eq!(said.values, [(PointIx(0), dec(-3, 0)), (PointIx(1), Raw::Int(1))]);
    }

    fn em500(carrier: Carrier) -> Mapping {
        Mapping::Milesight(MilesightMapping {
            carrier,
            fields: vec![
                MilesightField { point: PointIx(0), channel: 3, kind: 0x67, signed: true },
                MilesightField { point: PointIx(1), channel: 4, kind: 0x68, signed: false },
                MilesightField { point: PointIx(2), channel: 4, kind: 0, signed: false },
            ],
            lengths: vec![(Some(1), 0x75, 1), (None, 0x67, 2), (None, 0x68, 1), (None, 0x00, 1)],
        })
    }

    #[test]
    fn milesight_bytes_in_every_carrier() {
        let expected = vec![(PointIx(0), Raw::Int(281))];
        let said = |carrier, payload: &[u8]| read(&em500(carrier), payload).map(|said| said.values);
        assert_eq!(said(Carrier::Hex, b"01756403671901"), Ok(expected.clone()));
        assert_eq!(said(Carrier::Base64, b"AXVkA2cZAQ=="), Ok(expected.clone()));
        assert_eq!(said(Carrier::ChirpStack, br#"{"fPort":85,"data":"AXVkA2cZAQ=="}"#), Ok(expected.clone()));
        let tts = br#"{"uplink_message":{"frm_payload":"AXVkA2cZAQ=="}}"#;
        assert_eq!(said(Carrier::TheThingsStack, tts), Ok(expected));
        assert_eq!(
            said(Carrier::Hex, b"0175640367F100040001"),
            Ok(vec![(PointIx(0), Raw::Int(241)), (PointIx(2), Raw::Int(1))]),
            "TS302: 24.1 °C, second channel opened"
        );
        assert_eq!(
            said(Carrier::Hex, b"03673401046865FF"),
            Ok(vec![(PointIx(0), Raw::Int(308)), (PointIx(1), Raw::Int(101))])
        );
        assert_eq!(said(Carrier::Hex, b"0367ECFF"), Ok(vec![(PointIx(0), Raw::Int(-20))]));
        assert_eq!(said(Carrier::Hex, b"0367"), Err(Refusal::NoItem));
        assert_eq!(said(Carrier::Hex, b"zz"), Err(Refusal::Carrier));
        assert_eq!(said(Carrier::ChirpStack, b"{}"), Err(Refusal::Json));
    }

    #[test]
    fn own_feeds_are_facts_and_readings() {
        let bag = Mapping::Feed(FeedMapping { feed: Feed::Bag, point: PointIx(0) });
        let said = read(
            &bag,
            r#"{"v":1,"at":"2026-11-22T09:30:00+08:00","label":"MW-1","category":"841-001-01","department":"外科","kg":3.25}"#
                .as_bytes(),
        )
        .unwrap();
        assert_eq!(said.values, [(PointIx(0), dec(325, -2))]);
        let (body, at) = said.fact.unwrap();
        assert_eq!(at, CivilTime(1_795_311_000_000));
        assert_eq!(
            body,
            FactBody::BagLabelled {
                label: "MW-1".into(),
                category: "841-001-01".into(),
                department: "外科".into(),
                grams: 3250
            }
        );
    }

    #[test]
    fn a_feed_with_a_field_too_many_is_refused() {
        let visits = Mapping::Feed(FeedMapping { feed: Feed::Visits, point: PointIx(0) });
        let refused = |text: &str| read(&visits, text.as_bytes()).unwrap_err();
        assert_eq!(
            refused(r#"{"v":1,"at":"2026-11-22T09:30:00Z","count":1,"patient":"张三"}"#),
            Refusal::Json
        );
        assert_eq!(refused(r#"{"v":2,"at":"2026-11-22T09:30:00Z","count":1}"#), Refusal::Json);
        assert_eq!(refused(r#"{"v":1,"at":"2026-11-22 09:30","count":1}"#), Refusal::Json);
        let bag = Mapping::Feed(FeedMapping { feed: Feed::Bag, point: PointIx(0) });
        let heavy =
            r#"{"v":1,"at":"2026-11-22T09:30:00Z","label":"a","category":"b","department":"c","kg":-1}"#;
        assert_eq!(read(&bag, heavy.as_bytes()), Err(Refusal::Range));
    }

    #[test]
    fn availability_is_a_word_or_a_state() {
        let lwt = Availability { topic: String::new(), online: "Online".into(), offline: "Offline".into() };
        assert_eq!(available(&lwt, b"Online"), Ok(true));
        assert_eq!(available(&lwt, b"Offline"), Ok(false));
        assert_eq!(available(&lwt, b"online?"), Err(Refusal::Availability));
        let z2m = Availability { topic: String::new(), online: "online".into(), offline: "offline".into() };
        assert_eq!(available(&z2m, br#"{"state":"offline"}"#), Ok(false));
        assert_eq!(available(&z2m, b"online"), Ok(true));
    }

    #[test]
    fn numbers_keep_their_digits() {
        for (text, expected) in [
            ("21.50", Some((2150, -2))),
            ("-0.5", Some((-5, -1))),
            ("1e3", Some((1, 3))),
            ("1.25E-2", Some((125, -4))),
            ("99999999999999999999", None),
            ("\"21\"", None),
        ] {
            assert_eq!(decimal(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, nested in "[\\[{\"a:1]{0,40}") {
            for mapping in [
                em500(Carrier::Hex),
                em500(Carrier::ChirpStack),
                Mapping::Json(vec![field(0, &["a", "0"], JsonKind::Number)]),
                Mapping::Feed(FeedMapping { feed: Feed::HandOver, point: PointIx(0) }),
            ] {
                let _said = read(&mapping, &bytes);
                let _said = read(&mapping, nested.as_bytes());
            }
        }
    }
}
