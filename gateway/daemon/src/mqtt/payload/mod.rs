//! Payloads of real devices to readings and facts: pure, no connection.
//!
//! Promises: a number keeps exactly the digits that were sent; a field that no mapping names is not kept, also not as
//! evidence ([`Said::frame`]); a payload that cannot be read, or could be read in two ways, is refused whole, with a
//! reason to count it by; no panic on any bytes.
//!
//! Leaves out: which subscription a topic belongs to ([`super`]), quality (intake).

mod feed;
mod json;
mod milesight;
#[cfg(test)]
mod vectors;

use gateway_model::{CivilTime, FactBody, PointIx, Raw};
use serde::Deserialize;

use crate::config::{Availability, Mapping};

/// A payload longer than this is refused unread.
pub const PAYLOAD_MAX: usize = 64 * 1024;
/// What a payload says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Said {
    /// Values of points.
    pub values: Vec<(PointIx, Raw)>,
    /// Points whose field was there but not readable.
    pub malformed: Vec<PointIx>,
    /// A fact, of a feed.
    pub fact: Option<FactBody>,
    /// When it was, as its source says.
    pub time: Option<CivilTime>,
    /// Something stands where the time should, and is none.
    pub bad_time: bool,
    /// What was read of it, as it was sent: the evidence should it decide an alert. Never what was not read.
    pub frame: Vec<u8>,
    /// Places that no mapping names, as JSON pointers; the first few. Their contents are not kept.
    pub unmapped: Vec<String>,
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
    /// An object with two members of one name: which one is meant?
    #[error("a name twice in one object")]
    DuplicateKey,
    /// Nested deeper, or with more parts, than any device sends.
    #[error("nested too deep or of too many parts")]
    TooDeep,
    /// A unit or a word that its mapping does not expect: °F where °C is read.
    #[error("another unit than its mapping reads")]
    Unexpected,
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
            Self::DuplicateKey => "duplicate_key",
            Self::TooDeep => "too_deep",
            Self::Unexpected => "other_unit",
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
        Mapping::Json(mapping) => json::read(mapping, payload),
        Mapping::Milesight(mapping) => milesight::read(mapping, payload),
        Mapping::Feed(mapping) => feed::read(*mapping, payload),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        Carrier, Feed, FeedMapping, JsonField, JsonKind, JsonMapping, MilesightField, MilesightMapping,
    };

    fn field(point: u32, pointer: &str, kind: JsonKind) -> JsonField {
        JsonField { point: PointIx(point), pointer: pointer.to_owned(), kind, omitted_is_zero: false }
    }

    fn json(fields: Vec<JsonField>) -> Mapping {
        Mapping::Json(JsonMapping { fields, ..JsonMapping::default() })
    }

    fn on_off() -> JsonKind {
        JsonKind::Truth { one: "ON".into(), zero: "OFF".into() }
    }

    fn dec(mantissa: i64, exponent: i8) -> Raw {
        Raw::Dec { mantissa, exponent }
    }

    #[test]
    fn tasmota_sensor() {
        let fields = json(vec![
            field(0, "/DS18B20/Temperature", JsonKind::Number),
            field(1, "/Switch1", on_off()),
            field(2, "/ENERGY/Power", JsonKind::Number),
        ]);
        let said = read(
            &fields,
            br#"{"Time":"2024-02-24T22:20:38","DS18B20":{"Temperature":21.5},"TempUnit":"C","Switch1":"ON"}"#,
        );
        assert_eq!(said.unwrap().values, [(PointIx(0), dec(215, -1)), (PointIx(1), Raw::Int(1))]);
    }

    #[test]
    fn shelly_delta_and_zigbee2mqtt() {
        let shelly = json(vec![
            field(0, "/params/temperature:0/tC", JsonKind::Number),
            field(1, "/params/humidity:0/rh", JsonKind::Number),
        ]);
        let said = read(
            &shelly,
            br#"{"src":"x","method":"NotifyStatus","params":{"ts":1680962879.62,"temperature:0":{"id":0,"tC":19.80,"tF":67.6}}}"#,
        );
        assert_eq!(said.unwrap().values, [(PointIx(0), dec(1980, -2))], "a delta names only what changed");
        let zigbee = json(vec![
            field(0, "/temperature", JsonKind::Number),
            field(1, "/contact", JsonKind::Truth { one: "true".into(), zero: "false".into() }),
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
        assert_eq!(said.time, Some(CivilTime(1_795_311_000_000)));
        assert_eq!(
            said.fact.unwrap(),
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
                json(vec![field(0, "/a/0", JsonKind::Number)]),
                Mapping::Feed(FeedMapping { feed: Feed::HandOver, point: PointIx(0) }),
            ] {
                let _said = read(&mapping, &bytes);
                let _said = read(&mapping, nested.as_bytes());
            }
        }
    }
}
