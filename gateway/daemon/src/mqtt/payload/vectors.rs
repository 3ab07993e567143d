//! Payloads as devices send them (domain C.6) through the profiles of the program, and hostile ones with what becomes of
//! them: a table each.

use std::collections::BTreeMap;

use gateway_model::Raw;

use super::{Refusal, Said, read};
use crate::config::{Mapping, Site, load_str};

/// A site with one device that listens to one topic.
fn site(topic: &str, profile: &str, map: &str) -> Site {
    let text = format!(
        "[site]\nid = \"s\"\ninstitution = \"923301000000000193\"\nname = {{ zh = \"点\", en = \"Site\" }}\n\
         [[device]]\nid = \"d\"\nkind = \"sensor\"\nname = {{ zh = \"点\", en = \"D\" }}\n\
         [[device.mqtt]]\ntopic = \"{topic}\"\nprofile = \"{profile}\"\nmap = {{ {map} }}\n"
    );
    load_str("site.toml", &text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// What points would show, by name.
fn values(site: &Site, said: &Said) -> BTreeMap<String, f64> {
    let value = |(point, raw): &(gateway_model::PointIx, Raw)| {
        let plan = &site.plan.points[point.slot()];
        let shown = raw.value(plan.gain, plan.offset).expect("a number");
        (plan.id.trim_start_matches("d/").to_owned(), (shown * 1e6).round() / 1e6)
    };
    said.values.iter().map(value).collect()
}

/// Payload through profile and map: `point=value …` as shown, or the refusal.
fn check(topic: &str, profile: &str, map: &str, payload: &[u8], expected: &str) {
    let site = site(topic, profile, map);
    let found =
        match read(&site.mqtt[0].mapping, payload) {
            Err(refusal) => refusal.reason().to_owned(),
            Ok(said) => {
                let mut parts: Vec<String> =
                    values(&site, &said).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
                parts.extend(said.malformed.iter().map(|point| {
                    format!("{}=?", site.plan.points[point.slot()].id.trim_start_matches("d/"))
                }));
                parts.join(" ")
            }
        };
    assert_eq!(found, expected, "{profile}: {}", String::from_utf8_lossy(payload));
}

#[test]
fn tasmota() {
    let map = r#"t = "/DS18B20/Temperature", t2 = "/DS18B20-2/Temperature", old = "/DS18x20/DS1/Temperature", sw = "/Switch1", p = "/ENERGY/Power", e = "/ENERGY/Total""#;
    let check =
        |payload: &str, expected| check("tele/x/SENSOR", "tasmota", map, payload.as_bytes(), expected);
    check(r#"{"Time":"2024-02-24T22:20:38","DS18B20":{"Temperature":21.5},"TempUnit":"C"}"#, "t=21.5");
    check(
        r#"{"Time":"x","DS18B20-1":{"Temperature":1},"DS18B20-2":{"Temperature":-2.5},"TempUnit":"C"}"#,
        "t2=-2.5",
    );
    check(r#"{"DS18x20":{"DS1":{"Type":"DS18B20","Temperature":20.1}},"TempUnit":"C"}"#, "old=20.1");
    check(r#"{"Switch1":"ON","ENERGY":{"Total":1.125,"Power":0}}"#, "e=1.125 p=0 sw=1");
    // A device set to °F says so; 70.7 is no fever of a fridge.
    check(r#"{"DS18B20":{"Temperature":70.7},"TempUnit":"F"}"#, "other_unit");
    check(r#"{"DS18B20":{"Temperature":null},"TempUnit":"C"}"#, "");
    let site = site("cellar/tele/STATE", "tasmota", r#"on = "/POWER""#);
    assert_eq!(site.mqtt[0].availability[0].topic, "cellar/tele/LWT", "the other order of a topic");
}

#[test]
fn shelly() {
    let map = r#"t = "/params/temperature:0/tC", h = "/params/humidity:0/rh", b = "/params/devicepower:0/battery/percent""#;
    let full = r#"{"src":"shellyplusht-1","method":"NotifyFullStatus","params":{"ts":1680962879.62,"temperature:0":{"id":0,"tC":19.8,"tF":67.6},"humidity:0":{"rh":42.2},"devicepower:0":{"battery":{"V":5.3,"percent":77}}}}"#;
    let check_rpc =
        |payload: &str, expected| check("a/events/rpc", "shelly", map, payload.as_bytes(), expected);
    check_rpc(full, "b=77 h=42.2 t=19.8");
    check_rpc(
        r#"{"method":"NotifyStatus","params":{"ts":1680962900.1,"temperature:0":{"id":0,"tC":20.3}}}"#,
        "t=20.3",
    );
    check(
        "a/status/temperature:0",
        "shelly-status",
        r#"t = "tC""#,
        br#"{"id":0,"tC":-18.4,"tF":-1.1}"#,
        "t=-18.4",
    );
    check(
        "a/status/pm1:0",
        "shelly-status",
        r#"e = "/aenergy/total""#,
        br#"{"aenergy":{"total":1500.5}}"#,
        "e=1.5005",
    );
    let site = site("floor/plug/status/pm1:0", "shelly-status", r#"p = "apower""#);
    assert_eq!(site.mqtt[0].availability[0].topic, "floor/plug/online");
    let said = read(&self::site("a/events/rpc", "shelly", map).mqtt[0].mapping, full.as_bytes()).unwrap();
    assert_eq!(said.time.map(|time| time.0), Some(1_680_962_879_620));
}

#[test]
fn zigbee2mqtt() {
    let map = r#"t = "temperature", h = "humidity", open = "contact", leak = "water_leak""#;
    let check = |payload: &str, expected| {
        check("zigbee2mqtt/ward/1", "zigbee2mqtt", map, payload.as_bytes(), expected);
    };
    check(
        r#"{"temperature":21.37,"humidity":48.2,"battery":100,"linkquality":120,"last_seen":"2026-01-01T00:00:00Z"}"#,
        "h=48.2 t=21.37",
    );
    check(r#"{"contact":true,"tamper":false,"water_leak":false}"#, "leak=0 open=0");
    check(r#"{"contact":false}"#, "open=1");
}

const V4: &str = r#"{"deduplicationId":"3ac7e3c4-4401-4b8d-9386-a5c902f9202d","time":"2026-07-18T09:34:15.775023242+00:00","deviceInfo":{"tenantId":"52f14cd4-c6f1-4fbd-8f87-4025e1d49242","deviceName":"em500","devEui":"24e124126a148401","tags":{}},"devAddr":"00189440","adr":true,"dr":1,"fCnt":4,"fPort":85,"confirmed":false,"data":"AXVkA2cZAQ==","object":{"temperature":28.1,"battery":100.0,"magnet_status":1},"rxInfo":[{"gatewayId":"0016c001f153a14c"}],"txInfo":{}}"#;

#[test]
fn chirpstack_both_versions() {
    let topic = "application/1/device/24e124126a148401/event/up";
    let map = r#"t = "/object/temperature", b = "/object/battery", open = "/object/magnet_status""#;
    check(topic, "chirpstack", map, V4.as_bytes(), "b=100 open=1 t=28.1");
    let v3 = r#"{"applicationID":"1","devEUI":"JOEkEmoUhAE=","fPort":85,"data":"AXVkA2cZAQ==","objectJSON":"{\"temperature\":28.1,\"magnet_status\":\"close\"}"}"#;
    let map = r#"t = "/objectJSON/temperature", open = "/objectJSON/magnet_status""#;
    check(topic, "chirpstack-v3", map, v3.as_bytes(), "open=0 t=28.1");
    check(topic, "chirpstack-v3", map, br#"{"objectJSON":"{\"temperature\":"}"#, "not_json");
    let said =
        read(&site(topic, "chirpstack", r#"t = "/object/temperature""#).mqtt[0].mapping, V4.as_bytes())
            .unwrap();
    assert_eq!(said.time.map(|time| time.0), Some(1_784_367_255_775));
    let frame = String::from_utf8(said.frame).unwrap();
    assert_eq!(frame, r#"{"/object/temperature":28.1,"/time":"2026-07-18T09:34:15.775023242+00:00"}"#);
    assert!(said.unmapped.contains(&"/deviceInfo/deviceName".to_owned()), "{:?}", said.unmapped);
}

#[test]
fn the_things_stack_leaves_out_what_is_false() {
    let topic = "v3/app@tenant/devices/door/up";
    let map = r#"open = "/uplink_message/decoded_payload/magnet_status", t = "/uplink_message/decoded_payload/temperature""#;
    let check = |payload: &str, expected| check(topic, "the-things-stack", map, payload.as_bytes(), expected);
    check(
        r#"{"end_device_ids":{"device_id":"door"},"uplink_message":{"f_port":85,"decoded_payload":{"magnet_status":1,"temperature":4.5}}}"#,
        "open=1 t=4.5",
    );
    check(r#"{"uplink_message":{"f_port":85,"decoded_payload":{}}}"#, "open=0");
    // No decoder ran: nothing is said of the door.
    check(r#"{"uplink_message":{"f_port":85,"frm_payload":"AXVk"}}"#, "");
}

#[test]
fn milesight_bytes() {
    let check = |carrier: &str, map: &str, payload: &[u8], expected: &str| {
        let map = format!("{map} }}\noptions = {{ carrier = \"{carrier}\"");
        check("up", "milesight", &map, payload, expected);
    };
    let em = r#"b = "battery", t = "temperature-1", h = "humidity""#;
    let door = r#"open = "magnet-1", tamper = "magnet-2""#;
    check("hex", em, b"017564", "b=100");
    check("hex", em, b"03673401046865", "h=50.5 t=30.8");
    check("hex", em, b"01756403671901", "b=100 t=28.1");
    check("hex", r#"t = "temperature-1", open = "magnet-2""#, b"0175640367F100040001", "open=1 t=24.1");
    check("hex", door, b"017564030001040001", "open=1 tamper=1");
    check("hex", door, b"030000040000", "open=0 tamper=0");
    // An alarm of EM500-PT100 carries temperature, change and a flag; history cannot be told apart by length: what stands
    // before it is kept.
    check("hex", em, b"01756483D71901050001", "b=100");
    check("hex", em, b"0367190120CE5F8A3A65190165", "t=28.1");
    check("chirpstack", em, V4.as_bytes(), "b=100 t=28.1");
    check("chirpstack", em, br#"{"applicationID":"1","devEUI":"x","data":"AXVkA2cZAQ=="}"#, "b=100 t=28.1");
    let tts = br#"{"received_at":"2026-07-18T09:34:15Z","uplink_message":{"frm_payload":"AXVkA2cZAQ=="}}"#;
    check("the-things-stack", em, tts, "b=100 t=28.1");
    check("base64", em, b"AXVkA2cZAQ==", "b=100 t=28.1");
    check("base64", em, b"AXVk A2cZAQ==", "bad_carrier");
}

#[test]
fn hostile_payloads_have_stated_outcomes() {
    let map = r#"t = "/a/temperature", open = "contact""#;
    let check = |payload: &[u8], expected| check("zigbee2mqtt/x", "zigbee2mqtt", map, payload, expected);
    check(br#"{"a":{"temperature":21},"contact":true}"#, "open=0 t=21");
    // Two meanings are none.
    check(br#"{"a":{"temperature":21},"a":{"temperature":99}}"#, "duplicate_key");
    check(br#"{"a":{"temperature":21,"temperature":99}}"#, "duplicate_key");
    check(br#"{"a":{"temperature":21,"\u0074emperature":99}}"#, "duplicate_key");
    check(br#"{"b":{"x":1,"x":2},"contact":true}"#, "duplicate_key");
    // Not numbers, and numbers that are none here.
    check(br#"{"a":{"temperature":NaN}}"#, "not_json");
    check(br#"{"a":{"temperature":Infinity}}"#, "not_json");
    check(br#"{"a":{"temperature":"21"}}"#, "t=?");
    check(br#"{"a":{"temperature":"NaN"}}"#, "t=?");
    check(br#"{"a":{"temperature":true}}"#, "t=?");
    check(br#"{"a":{"temperature":{"value":21}}}"#, "t=?");
    check(br#"{"a":{"temperature":[21]}}"#, "t=?");
    check(br#"{"a":{"temperature":1e999}}"#, "t=?");
    check(br#"{"a":{"temperature":99999999999999999999}}"#, "t=?");
    check(br#"{"a":{"temperature":21},"contact":"maybe"}"#, "t=21 open=?");
    check(br#"{"a":null,"contact":null}"#, "");
    // Not an object, not JSON, not text.
    for other in
        [&b""[..], b"[]", b"21", b"null", b"{", b"{}x", b"\xff\xfe", b"\xef\xbb\xbf{}", br#"{"a":1,}"#]
    {
        check(other, "not_json");
    }
    // Size, depth, number of parts.
    let mut large = br#"{"contact":true}"#.to_vec();
    large.resize(super::PAYLOAD_MAX, b' ');
    check(&large, "open=0");
    large.push(b' ');
    check(&large, "too_large");
    let nested =
        |n: usize| format!(r#"{{"contact":true,"x":{}{}}}"#, "[".repeat(n), "]".repeat(n)).into_bytes();
    check(&nested(16), "open=0");
    check(&nested(17), "too_deep");
    check(&nested(30_000), "too_deep");
    let wide = format!(r#"{{"contact":true,"x":[{}]}}"#, vec!["0"; 5_000].join(","));
    check(wide.as_bytes(), "too_deep");
    // A text in a text in a text: the same limit.
    let v3 = site("up", "chirpstack-v3", r#"t = "/objectJSON/temperature""#);
    let mut text = "{}".to_owned();
    for _ in 0..8 {
        text = serde_json::Value::from(text).to_string();
    }
    let hostile = format!(r#"{{"objectJSON":{text}}}"#);
    assert_eq!(read(&v3.mqtt[0].mapping, hostile.as_bytes()).map(|said| said.values), Ok(Vec::new()));
}

#[test]
fn nothing_but_what_is_mapped_becomes_evidence() {
    let site = site("zigbee2mqtt/x", "zigbee2mqtt", r#"t = "temperature""#);
    let said = read(&site.mqtt[0].mapping, r#"{"temperature":4.50,"patient":"张三"}"#.as_bytes()).unwrap();
    assert_eq!(said.frame, br#"{"/temperature":4.50}"#);
    assert_eq!(said.unmapped, ["/patient"]);
    let feed = self::site("visits", "nonsite", r#"n = "visits""#);
    let refused = r#"{"v":1,"at":"2026-11-22T09:30:00Z","count":1,"patient":"张三"}"#;
    assert_eq!(read(&feed.mqtt[0].mapping, refused.as_bytes()), Err(Refusal::Json));
    let Mapping::Feed(_) = feed.mqtt[0].mapping else { panic!() };
}
