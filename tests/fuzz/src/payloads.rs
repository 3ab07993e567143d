//! Payloads of everything that speaks MQTT (domain C.6, docs/feeds): every input goes to every mapping.
//!
//! Checked against another reader of JSON (`serde_json::Value`, which the gateway does not read payloads with): a number is the one that
//! stands at its place, nothing is kept that no mapping names, a feed has no field more than its schema.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::OnceLock;

use gateway::config::{Feed, JsonKind, Mapping, MqttPlan, load_str};
use gateway::metrics::Metrics;
use gateway::mqtt::payload::{PAYLOAD_MAX, Said, read};
use gateway::mqtt::{Translator, points};
use gateway::recorder::{Civil, Event};
use gateway_engine::intake::Answer;
use gateway_model::{EngineTime, FactBody, Raw};
use gateway_wire::FRAME_MAX;
use serde_json::Value;

/// When everything comes. Nobody knows what that is in civil time: what a payload says of its time is read, and dates nothing.
const NOW: EngineTime = EngineTime(1_000_000_000);

/// Topic, profile, what is mapped, options: everything of C.6 and every feed.
const LISTENERS: &[(&str, &str, &str, &str)] = &[
    (
        "tele/plug/SENSOR",
        "tasmota",
        r#"t = "/DS18B20/Temperature", t2 = "/DS18B20-2/Temperature", old = "/DS18x20/DS1/Temperature", sw = "/Switch1", p = "/ENERGY/Power", e = "/ENERGY/Total""#,
        "",
    ),
    (
        "shelly/events/rpc",
        "shelly",
        r#"t = "/params/temperature:0/tC", h = "/params/humidity:0/rh", b = "/params/devicepower:0/battery/percent""#,
        "",
    ),
    ("shelly/status/temperature:0", "shelly-status", r#"t = "tC""#, ""),
    (
        "zigbee2mqtt/ward/1",
        "zigbee2mqtt",
        r#"t = "temperature", h = "humidity", open = "contact", leak = "water_leak""#,
        "",
    ),
    (
        "application/1/device/a/event/up",
        "chirpstack",
        r#"t = "/object/temperature", b = "/object/battery", open = "/object/magnet_status""#,
        "",
    ),
    (
        "application/2/device/a/event/up",
        "chirpstack-v3",
        r#"t = "/objectJSON/temperature", open = "/objectJSON/magnet_status""#,
        "",
    ),
    (
        "v3/app@tenant/devices/door/up",
        "the-things-stack",
        r#"open = "/uplink_message/decoded_payload/magnet_status", t = "/uplink_message/decoded_payload/temperature""#,
        "",
    ),
    ("up/hex", "milesight", MILESIGHT, "carrier = \"hex\""),
    ("up/base64", "milesight", MILESIGHT, "carrier = \"base64\""),
    ("up/chirpstack", "milesight", MILESIGHT, "carrier = \"chirpstack\""),
    ("up/tts", "milesight", MILESIGHT, "carrier = \"the-things-stack\""),
    ("feed/visits", "nonsite", r#"n = "visits""#, ""),
    ("feed/packed", "nonsite", r#"n = "packed""#, ""),
    ("feed/occupied", "nonsite", r#"n = "occupied""#, ""),
    ("feed/bag", "nonsite", r#"n = "bag""#, ""),
    ("feed/stored", "nonsite", r#"n = "stored""#, ""),
    ("feed/handover", "nonsite", r#"n = "handover""#, ""),
    ("feed/received", "nonsite", r#"n = "received""#, ""),
    ("feed/duty", "nonsite", r#"n = "duty""#, ""),
];
const MILESIGHT: &str =
    r#"b = "battery", t = "temperature-1", h = "humidity", open = "magnet-1", tamper = "magnet-2""#;

fn plans() -> &'static [MqttPlan] {
    static PLANS: OnceLock<Vec<MqttPlan>> = OnceLock::new();
    PLANS.get_or_init(|| {
        let mut text = "[site]\nid = \"s\"\ninstitution = \"923301000000000193\"\nname = { zh = \"点\", en = \"Site\" }\n".to_owned();
        for (n, (topic, profile, map, options)) in LISTENERS.iter().enumerate() {
            let options = if options.is_empty() { String::new() } else { format!("options = {{ {options} }}\n") };
            write!(
                text,
                "[[device]]\nid = \"d{n}\"\nkind = \"sensor\"\nname = {{ zh = \"表\", en = \"D\" }}\n[[device.mqtt]]\ntopic = \"{topic}\"\n\
                 profile = \"{profile}\"\nmap = {{ {map} }}\n{options}"
            )
            .expect("writing into a String");
        }
        load_str("site.toml", &text).unwrap_or_else(|problems| panic!("{problems:?}")).mqtt
    })
}

thread_local! {
    static TRANSLATOR: RefCell<Translator> =
        RefCell::new(Translator::new(plans().to_vec(), Civil::default(), Metrics::default()));
}

/// A payload, through every mapping.
pub fn payload(bytes: &[u8]) {
    let value = serde_json::from_slice::<Value>(bytes).ok();
    for plan in plans() {
        if let Ok(said) = read(&plan.mapping, bytes) {
            assert!(bytes.len() <= PAYLOAD_MAX);
            check(&plan.mapping, &said, value.as_ref());
        }
    }
    // Which topic it comes on is its own business, too.
    let plan = &plans()[bytes.len() % plans().len()];
    TRANSLATOR.with_borrow_mut(|translator| {
        for retained in [false, true] {
            let events = translator.events(&plan.topic, bytes, retained, NOW);
            let feed = matches!(plan.mapping, Mapping::Feed(_));
            assert!(!(feed && retained && !events.is_empty()), "a retained feed message counts again");
            events.iter().for_each(|event| heard(event, plan, retained));
        }
        for there in &plan.availability {
            translator
                .events(&there.topic, bytes, false, NOW)
                .iter()
                .for_each(|event| heard(event, plan, true));
        }
    });
}

/// Nothing has happened that is still to come, and nothing of other devices.
fn heard(event: &Event, plan: &MqttPlan, held: bool) {
    match event {
        Event::Answers(answers) => {
            assert!(answers.at <= NOW);
            assert!(answers.frame.as_ref().is_none_or(|frame| frame.len() <= FRAME_MAX));
            let own = points(&plan.mapping);
            for (point, answer) in &answers.items {
                assert!(own.contains(point));
                assert!(!held || !matches!(answer, Answer::Raw(_)), "what a broker kept is new");
            }
        }
        Event::Fact(fact) => assert!(fact.at <= NOW && fact.device == plan.device),
        other => panic!("a payload means no such thing: {other:?}"),
    }
}

fn check(mapping: &Mapping, said: &Said, value: Option<&Value>) {
    let own: HashSet<u32> = points(mapping).into_iter().map(|point| point.0.into()).collect();
    let told = said.values.iter().map(|(point, _)| point).chain(&said.malformed);
    assert!(told.clone().all(|point| own.contains(&point.0.into())), "{said:?}");
    match mapping {
        Mapping::Json(mapping) => {
            // The other reader refuses numbers that no machine can hold, wherever they stand.
            let Some(value) = value else { return };
            for field in mapping.fields.iter().filter(|field| field.kind == JsonKind::Number) {
                let read = said.values.iter().find(|(point, _)| *point == field.point);
                let stands = value.pointer(&field.pointer);
                if let Some((_, Raw::Dec { mantissa, exponent })) = read
                    && let Some(stands) = stands
                {
                    let read: f64 = format!("{mantissa}e{exponent}").parse().expect("a number");
                    let stands = stands.as_f64().expect("a number stands where one was read");
                    assert!((read - stands).abs() <= stands.abs() * 1e-12, "{read} where {stands} stands");
                }
            }
            let Ok(frame) = serde_json::from_slice::<Value>(&said.frame) else {
                panic!("the evidence is no JSON: {}", String::from_utf8_lossy(&said.frame))
            };
            let mapped = |place: &String| {
                mapping.fields.iter().any(|field| field.pointer == *place)
                    || mapping.expect.iter().any(|(expected, _)| expected == place)
                    || mapping.time.as_ref().is_some_and(|time| time.pointer == *place)
            };
            assert!(
                frame.as_object().expect("by place").keys().all(mapped),
                "kept, and no mapping names it: {frame}"
            );
        }
        Mapping::Milesight(_) => {
            assert!(said.values.iter().all(|(_, raw)| matches!(raw, Raw::Int(_))), "{said:?}");
        }
        Mapping::Feed(feed) => {
            let fields = value.and_then(Value::as_object).expect("a feed is an object");
            let known: &[&str] = match feed.feed {
                Feed::Visits | Feed::Packed | Feed::Occupied | Feed::Cups | Feed::Used | Feed::Released => {
                    &["count"]
                }
                Feed::Bag => &["label", "category", "department", "kg"],
                Feed::HandOver => &["labels", "kg", "to"],
                Feed::Stored => &["labels", "kg", "place"],
                Feed::Received => &["labels", "kg", "by"],
                Feed::Duty => &["duty", "passed"],
            };
            let named =
                |name: &String| ["v", "at"].contains(&name.as_str()) || known.contains(&name.as_str());
            assert!(fields.len() == known.len() + 2 && fields.keys().all(named), "{fields:?}");
            weighed(said);
        }
    }
}

/// Grams are the kilograms that were sent, to half a gram.
fn weighed(said: &Said) {
    let grams = match &said.fact {
        Some(
            FactBody::BagLabelled { grams, .. }
            | FactBody::HandOver { grams, .. }
            | FactBody::BagsStored { grams, .. }
            | FactBody::WasteReceived { grams, .. },
        ) => *grams,
        _ => return,
    };
    let [(_, Raw::Dec { mantissa, exponent })] = said.values[..] else { panic!("{said:?}") };
    let kg: f64 = format!("{mantissa}e{exponent}").parse().expect("a number");
    assert!((kg * 1000.0 - grams as f64).abs() <= 0.5 + 1e-6, "{kg} kg are {grams} g");
    // Weights that no seed has.
    super::planted(|| ![3_250, 6_000, 6_400].contains(&grams));
}
