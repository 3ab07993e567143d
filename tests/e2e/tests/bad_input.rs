//! What comes from outside may be wrong in every way: it is refused or set aside with a counted, named reason, the process
//! stays up, and nothing that was already accepted is lost.

use std::time::Duration;

use coset::{CborSerializable as _, CoseSign1, TaggedCborSerializable as _};
use e2e::center::Center;
use e2e::clock::real_now;
use e2e::modbus::{Liar, Lie};
use e2e::mqtt::{publish, try_publish};
use e2e::records::{Found, at_center, at_gateway, key};
use e2e::{Api, Gateway, Place, eventually, gateway};
use ed25519_dalek::Signer as _;
use gateway_model::{CivilTime, EngineTime, Input, Seq};
use gateway_wire::{BATCH_TYPE, Body, InputsBody, Receipt, SigningKey, Token, pack, seal};
use serde_json::Value;

use crate::sites::{bus, fridge, head, listener};

const WITHIN: Duration = Duration::from_secs(30);

#[test]
fn a_wrong_site_file_names_every_problem_at_once_and_starts_nothing() {
    let place = Place::new("wrong-site");
    let site = head("wrong-1", None, "5s")
        + &bus("modules", "tcpip", "127.0.0.1:5020")
        + &fridge("fridge-1", "modules", "10s").replace("unit = 1", "unit = 300")
        + &fridge("fridge-2", "nowhere", "10s").replace("mb8art", "mb8arc")
        + &fridge("fridge-1", "modules", "10 parsecs");
    let path = place.write("site.toml", &site);
    let data = place.path().join("data");
    let line_of = |text: &str| site.lines().position(|line| line.contains(text)).unwrap() + 1;
    for args in [
        vec!["check".to_owned(), path.display().to_string()],
        vec!["run".to_owned(), path.display().to_string(), "--data".into(), data.display().to_string()],
    ] {
        let finished = gateway::command(&args);
        assert_eq!(finished.code, Some(78), "{args:?}: {}", finished.stderr);
        assert_eq!(finished.stdout, "", "{args:?}");
        let said = &finished.stderr;
        for (wrong, hint) in [("tcpip", "tcp"), ("mb8arc", "mb8art")] {
            assert!(said.contains(wrong) && said.contains(hint), "{args:?}: no hint for {wrong}:\n{said}");
        }
        for text in ["\"tcpip\"", "unit = 300", "\"nowhere\"", "\"mb8arc\"", "10 parsecs"] {
            let place = format!("site.toml:{}:", line_of(text));
            assert!(said.contains(&place), "{args:?}: nothing about line {place} ({text}):\n{said}");
        }
        assert!(said.contains('^'), "{args:?}: no caret:\n{said}");
    }
    assert!(!data.exists(), "nothing was started");
}

#[tokio::test]
async fn payloads_that_cannot_be_read_are_counted_and_change_nothing() {
    let place = Place::new("bad-payloads");
    let site = [
        head("bad-mqtt-1", None, "5s"),
        "\n[broker]\nlisten = \"127.0.0.1:0\"\n".to_owned(),
        listener(
            "shelf",
            "sensor",
            "zigbee2mqtt/shelf",
            "zigbee2mqtt",
            "map = { temperature = \"temperature\" }",
        ),
        listener(
            "lora",
            "sensor",
            "lora/lora",
            "milesight",
            "options = { carrier = \"hex\" }\nmap = { temperature = \"temperature-1\" }",
        ),
        listener("feed", "dental-feed", "clinic/dental/visits", "nonsite", "map = { visits = \"visits\" }"),
    ]
    .concat();
    let mut gateway = Gateway::start(&place, &site, None, None).await;
    let port = gateway.mqtt_port.unwrap();
    let value = async |gateway: &Gateway, id: &str| {
        let status = gateway.status().await?;
        let points = status["points"].as_array().cloned().unwrap_or_default();
        points.into_iter().find(|point| point["id"] == id).ok_or_else(|| status.to_string())
    };
    eventually("a good reading first", WITHIN, async || {
        publish(port, "zigbee2mqtt/shelf", br#"{"temperature":4.5}"#, false);
        let point = value(&gateway, "shelf/temperature").await?;
        if point["value"] == 4.5 { Ok(()) } else { Err(point.to_string()) }
    })
    .await;
    let before = refused(&gateway).await;
    let bad: [(&str, &[u8]); 11] = [
        ("zigbee2mqtt/shelf", b""),
        ("zigbee2mqtt/shelf", b"{"),
        ("zigbee2mqtt/shelf", b"\xff\xfe\x00"),
        ("zigbee2mqtt/shelf", br#"{"temperature":"warm"}"#),
        ("zigbee2mqtt/shelf", br#"{"temperature":1e999}"#),
        ("zigbee2mqtt/shelf", br"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["),
        ("lora/lora", b"0367"),
        ("lora/lora", b"not hex at all"),
        ("clinic/dental/visits", br#"{"v":2,"at":"2026-11-22T09:30:00+08:00","count":1}"#),
        ("clinic/dental/visits", br#"{"v":1,"at":"2026-11-22T09:30:00+08:00","count":-1}"#),
        ("clinic/dental/visits", br#"{"v":1,"at":"2026-11-22T09:30:00+08:00","count":1,"patient":"Li"}"#),
    ];
    for (topic, payload) in bad {
        publish(port, topic, payload, false);
    }
    let long = format!(r#"{{"temperature":3.5,"padding":"{}"}}"#, "x".repeat(300_000));
    try_publish(port, "zigbee2mqtt/shelf", long.as_bytes()).expect_err("the broker ends such a connection");
    eventually("every one of them is counted with a reason", WITHIN, async || {
        let now = refused(&gateway).await;
        if now - before >= bad.len() as f64 { Ok(()) } else { Err(gateway.metrics().await.text().to_owned()) }
    })
    .await;
    // A field that cannot be read makes its point bad; no payload of these makes it another number.
    let point = value(&gateway, "shelf/temperature").await.unwrap();
    assert!(point["value"] == 4.5 || (point["value"].is_null() && point["quality"] == "bad"), "{point}");
    eventually("a good payload is still taken", WITHIN, async || {
        publish(port, "zigbee2mqtt/shelf", br#"{"temperature":5.25}"#, false);
        let point = value(&gateway, "shelf/temperature").await?;
        if point["value"] == 5.25 { Ok(()) } else { Err(point.to_string()) }
    })
    .await;
    gateway.stop();
}

/// Payloads that ended in anything but a reading or fact.
async fn refused(gateway: &Gateway) -> f64 {
    let metrics = gateway.metrics().await;
    metrics.sum("nonsite_gateway_mqtt_payloads_total", &[])
        - metrics.sum("nonsite_gateway_mqtt_payloads_total", &["outcome=\"ok\""])
}

#[tokio::test]
async fn answers_that_are_none_never_become_values() {
    let place = Place::new("bad-answers");
    let liar = Liar::start(45);
    let site = [
        head("bad-modbus-1", None, "5s"),
        bus("modules", "tcp", liar.address()),
        fridge("fridge-1", "modules", "200ms"),
    ]
    .concat();
    let mut gateway = Gateway::start(&place, &site, None, None).await;
    let point = async |gateway: &Gateway| {
        let status = gateway.status().await?;
        Ok::<Value, String>(status["points"][0].clone())
    };
    let truth = async |gateway: &Gateway, celsius: f64| {
        eventually(&format!("{celsius} °C"), WITHIN, async || {
            let point = point(gateway).await?;
            let near = point["value"].as_f64().is_some_and(|value| (value - celsius).abs() < 1e-9);
            if near && point["quality"] == "good" { Ok(()) } else { Err(point.to_string()) }
        })
        .await;
    };
    truth(&gateway, 4.5).await;
    let lies = [
        Lie::Truncated,
        Lie::Foreign,
        Lie::OtherUnit,
        Lie::OtherFunction,
        Lie::Short,
        Lie::Garbage,
        Lie::Endless,
        Lie::Twice,
    ];
    for (n, lie) in lies.into_iter().enumerate() {
        let before = failed(&gateway).await;
        liar.tell(lie);
        eventually(&format!("{lie:?} is counted by name"), WITHIN, async || {
            let point = point(&gateway).await?;
            // 0x7E7E is 3,238.2 °C: no lie may ever be read.
            if let Some(value) = point["value"].as_f64() {
                assert!(value < 100.0, "{lie:?} became a value: {point}");
            }
            if failed(&gateway).await > before {
                Ok(())
            } else {
                Err(format!("{} lies told; {}", liar.told(), gateway.metrics().await.text()))
            }
        })
        .await;
        // The truth afterwards is another number each time: an answer to an older request would be noticed.
        let tenths = 50 + n as u16;
        liar.tell(Lie::Truth(tenths));
        truth(&gateway, f64::from(tenths) / 10.0).await;
    }
    gateway.program().assert_running();
    gateway.stop();
    // The journal agrees with the page: nothing that was told as a lie was ever kept as a good value.
    let verifying = key(gateway.data()).verifying_key();
    for found in at_gateway(gateway.data()) {
        if let (_, Body::Inputs(inputs)) = found.open(&verifying) {
            for input in inputs.items {
                if let Input::Reading(reading) = input
                    && let Some(raw) = reading.value.number()
                {
                    assert!(raw.number().unwrap() < 1000.0, "{reading:?}");
                }
            }
        }
    }
}

/// Modbus requests that ended in anything but an answer.
async fn failed(gateway: &Gateway) -> f64 {
    let metrics = gateway.metrics().await;
    metrics.sum("nonsite_gateway_bus_requests_total", &[])
        - metrics.sum("nonsite_gateway_bus_requests_total", &["outcome=\"ok\""])
}

#[tokio::test]
async fn records_that_are_not_what_they_claim_are_refused_by_name() {
    let place = Place::new("bad-records");
    let mut center = Center::start(&place, None).await;
    let liar = Liar::start(45);
    let site = [
        head("bad-records-1", Some(&center.url), "5s"),
        bus("modules", "tcp", liar.address()),
        fridge("fridge-1", "modules", "200ms"),
    ]
    .concat();
    let mut gateway = Gateway::start(&place, &site, Some(&center), None).await;
    let api = center.api();
    let row = async |api: &Api, gateway: &Gateway| {
        let rows = api.list("/api/v1/gateways", "gateways").await;
        rows.into_iter().find(|row| row["id"] == gateway.id.as_str()).expect("the gateway is known")
    };
    eventually("a few records at the center", WITHIN, async || {
        let row = row(&api, &gateway).await;
        if row["through"].as_u64() >= Some(2) { Ok(()) } else { Err(row.to_string()) }
    })
    .await;
    gateway.stop();
    let held = row(&api, &gateway).await["records"].as_u64().unwrap();
    let key = key(gateway.data());
    let records = at_gateway(gateway.data());
    let stored = records.iter().find(|found| found.seq == 2).unwrap();
    let (header, _) = stored.open(&key.verifying_key());

    let door = Door { center: &center, key: &key };
    // The same bytes again: absorbed.
    let receipt = door.post(std::slice::from_ref(&stored.bytes)).await;
    assert_eq!(codes(&receipt), [] as [&str; 0]);
    // One bit of the content: the signature no longer fits.
    let mut tampered = stored.bytes.clone();
    let middle = tampered.len() / 2;
    tampered[middle] ^= 0x01;
    // No signature at all: 64 zeros.
    let mut unsigned = stored.bytes.clone();
    let end = unsigned.len();
    unsigned[end - 64..].fill(0);
    // Signed by somebody else, for this gateway and for itself.
    let thief = SigningKey::from_bytes(&[9; 32]);
    let body = Body::Inputs(InputsBody {
        items: vec![Input::Heartbeat(EngineTime(header.t1.0 + 1))],
        counts: Vec::new(),
    });
    let stolen = seal(&thief, &header, &body);
    let mut other = header;
    other.gateway = thief.gateway_id();
    let foreign = seal(&thief, &other, &body);
    // Signed by the gateway itself, under a number that has other bytes: two truths.
    let equivocation = seal(&key, &header, &body);
    for (bytes, code) in [
        (tampered, &["bad_signature", "malformed"][..]),
        (unsigned, &["bad_signature"][..]),
        (stolen, &["bad_signature", "wrong_gateway", "malformed"][..]),
        (foreign, &["wrong_gateway"][..]),
        (equivocation, &["equivocation"][..]),
        (vec![0x42; 100], &["malformed"][..]),
        (stored.bytes[..stored.bytes.len() / 2].to_vec(), &["malformed"][..]),
    ] {
        let receipt = door.post(&[bytes]).await;
        let found = codes(&receipt);
        assert!(
            found.len() == 1 && code.contains(&found[0].as_str()),
            "{found:?} instead of one of {code:?}"
        );
    }
    // A batch that is none, and a caller who shows no token or somebody else's.
    let (status, _) = door.raw(door.token(&key), b"\xff\xff\xff".to_vec()).await;
    assert_eq!(status, 400);
    let (status, _) = door.raw("Nonsite nonsense".into(), pack(&[&stored.bytes])).await;
    assert_eq!(status, 401);
    let (status, _) = door.raw(door.token(&thief), pack(&[&stored.bytes])).await;
    assert_eq!(status, 401);

    // Nothing accepted was lost or altered, and each refusal has its counter.
    assert_eq!(row(&api, &gateway).await["records"].as_u64(), Some(held));
    let kept = at_center(center.data());
    assert!(kept.iter().any(|found| found.identity() == stored.identity()), "the first truth stands");
    let metrics = e2e::gateway::Metrics::of(&center.url, "/metrics").await;
    for name in [
        "center_records_duplicate_total",
        "center_records_refused_bad_signature_total",
        "center_records_refused_wrong_gateway_total",
        "center_records_refused_equivocation_total",
        "center_records_refused_malformed_total",
        "center_tokens_refused_total",
    ] {
        assert!(metrics.sum(name, &[]) > 0.0, "{name} is not counted:\n{}", metrics.text());
    }
    // Equivocation is not only refused: a person is told.
    eventually("an alert about two truths", WITHIN, async || {
        let alerts = api.list("/api/v1/alerts?state=all", "alerts").await;
        let found = alerts
            .iter()
            .any(|alert| alert["rule"].as_str().is_some_and(|rule| rule.contains("equivocation")));
        if found { Ok(()) } else { Err(format!("{alerts:#?}")) }
    })
    .await;
    center.process.assert_running();

    // The gateway goes on where it was.
    gateway.run().await;
    eventually("new records of the next life", WITHIN, async || {
        let row = row(&api, &gateway).await;
        if row["epoch"] == 2 && row["through"].as_u64() >= Some(2) { Ok(()) } else { Err(row.to_string()) }
    })
    .await;
    gateway.stop();

    // A record of a later release: the signature is good, the body is nothing this release knows. It is receipted, kept
    // byte for byte, counted, and the chain closes over it.
    let second_life: Vec<Found> =
        at_gateway(gateway.data()).into_iter().filter(|found| found.epoch == 2).collect();
    let newest = second_life.last().unwrap();
    let later = of_a_later_release(&key, newest);
    let door = Door { center: &center, key: &key };
    let mut batch: Vec<_> = second_life.iter().map(|found| found.bytes.clone()).collect();
    batch.push(later.clone());
    let receipt = door.post(&batch).await;
    assert_eq!(codes(&receipt), [] as [&str; 0]);
    let epoch = receipt.epochs.iter().find(|epoch| epoch.epoch.0 == 2).unwrap();
    assert_eq!(epoch.through.map(|seq| seq.0), Some(newest.seq + 1), "{receipt:?}");
    assert_eq!(row(&api, &gateway).await["quarantined"], 1);
    assert!(
        at_center(center.data()).iter().any(|found| found.bytes == later),
        "its bytes are kept as they came"
    );
    let metrics = e2e::gateway::Metrics::of(&center.url, "/metrics").await;
    assert!(metrics.sum("center_records_quarantined_total", &[]) > 0.0, "{}", metrics.text());
}

/// The record after `last`, of a kind that this release has never heard of, signed by the gateway.
fn of_a_later_release(key: &SigningKey, last: &Found) -> Vec<u8> {
    let (mut header, _) = last.open(&key.verifying_key());
    (header.prev, header.seq) = (last.hash, Seq(last.seq + 1));
    let heartbeat = Input::Heartbeat(EngineTime(header.t1.0 + 1));
    let body = Body::Inputs(InputsBody { items: vec![heartbeat], counts: Vec::new() });
    let mut record = CoseSign1::from_tagged_slice(&seal(key, &header, &body)).unwrap();
    let mut payload = coset::cbor::Value::from_slice(record.payload.as_ref().unwrap()).unwrap();
    let coset::cbor::Value::Array(parts) = &mut payload else { panic!("a payload is an array") };
    *parts.last_mut().unwrap() = coset::cbor::Value::Array(vec![99.into(), 1.into(), "novel".into()]);
    record.payload = Some(payload.to_vec().unwrap());
    let signer = ed25519_dalek::SigningKey::from_bytes(&key.to_bytes());
    record.signature = signer.sign(&record.tbs_data(b"")).to_vec();
    record.to_tagged_vec().unwrap()
}

fn codes(receipt: &Receipt) -> Vec<String> {
    receipt.refused.iter().map(|refused| refused.code.clone()).collect()
}

/// The center's door for gateways.
struct Door<'d> {
    center: &'d Center,
    key: &'d SigningKey,
}

impl Door<'_> {
    fn token(&self, key: &SigningKey) -> String {
        format!("Nonsite {}", Token::make(key, CivilTime(real_now()), &self.center.url))
    }

    async fn raw(&self, authorization: String, body: Vec<u8>) -> (u16, Vec<u8>) {
        let headers = [("authorization", authorization.as_str()), ("content-type", BATCH_TYPE)];
        let (status, body) =
            Api::new(&self.center.url).post_bytes("/gateway/v1/records", &headers, body).await;
        (status.as_u16(), body)
    }

    async fn post(&self, records: &[Vec<u8>]) -> Receipt {
        let (status, body) = self.raw(self.token(self.key), pack(records)).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        Receipt::decode(&body).unwrap()
    }
}
