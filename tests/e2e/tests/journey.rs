//! From a register of somebody else's Modbus server to a closed case, through the public API only.

use std::time::Duration;

use e2e::center::Center;
use e2e::clock::real_now;
use e2e::ground::program;
use e2e::modbus::Peer;
use e2e::sse::Stream;
use e2e::{Clock, Gateway, Place, eventually};
use gateway_wire::{SigningKey, hex};
use serde_json::{Value, json};

use crate::cases::{DAY_MS, alert, case, command, reaches, to_rectifying, upload};
use crate::evidence::agree;
use crate::sites::{bus, fridge, head};

/// The world of this test runs so much faster: the rule waits 10 minutes, a verification window is two hours.
const SPEED: i64 = 400;
const RULE: &str = "cold-chain/far-too-warm";
const WITHIN: Duration = Duration::from_secs(30);

/// Three fridges on three servers (pymodbus over TCP, libmodbus over TCP, pymodbus with RTU frames over TCP) go warm; the
/// first is repaired (PASS), the second goes warm again (FAIL), the third is unplugged (INSUFFICIENT).
#[tokio::test]
async fn a_register_becomes_an_alert_a_case_and_a_verdict() {
    let place = Place::new("journey");
    let clock = Clock::start(&place, real_now(), SPEED);
    let mut python = Peer::python(&place, "python", "tcp", &[1]).await;
    let mut c = Peer::libmodbus(&place, "libmodbus").await;
    let mut serial = Peer::python(&place, "serial", "rtu-over-tcp", &[1]).await;
    for peer in [&mut python, &mut c, &mut serial] {
        peer.set(1, "input", 0, 50).await;
    }
    let mut center = Center::start(&place, Some(&clock)).await;
    let site = [
        head("journey-1", Some(&center.url), "60s"),
        bus("python", "tcp", python.address()),
        bus("c", "tcp", c.address()),
        bus("serial", "rtu-over-tcp", serial.address()),
        fridge("fridge-1", "python", "60s"),
        fridge("fridge-2", "c", "60s"),
        fridge("fridge-3", "serial", "60s"),
    ]
    .concat();
    let mut gateway = Gateway::start(&place, &site, Some(&center), Some(&clock)).await;
    let (api, duty, unit, reviewer) = (
        center.api(),
        center.person("duty").await,
        center.person("unit").await,
        center.person("reviewer").await,
    );
    let mut stream = Stream::open(&duty, None).await;
    let first = stream.next("the snapshot", WITHIN, |event| event.event == "snapshot").await;
    assert!(!first.id.is_empty());
    eventually("three good readings at the gateway", WITHIN, async || {
        let status = gateway.status().await?;
        let good = status["points"].as_array().into_iter().flatten().filter(|point| {
            point["id"].as_str().is_some_and(|id| id.ends_with("/temperature"))
                && point["quality"] == "good"
                && point["value"] == 5.0
        });
        if good.count() == 3 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;

    // 13.5 °C at all three.
    for peer in [&mut python, &mut c, &mut serial] {
        peer.set(1, "input", 0, 135).await;
    }
    let mut cases: Vec<Value> = Vec::new();
    for device in ["fridge-1", "fridge-2", "fridge-3"] {
        let alert = alert(&api, RULE, device, WITHIN).await;
        assert_eq!(
            (&alert["value"], &alert["limit"], &alert["unit"]),
            (&json!(13.5), &json!(12.0), &json!("°C"))
        );
        assert_eq!(alert["simulated"], true, "a demo clock is never evidence");
        cases.push(alert["case"].clone());
    }
    let mut streamed: Vec<String> = Vec::new();
    while streamed.len() < 3 {
        let event = stream
            .next("three alerts in the stream", WITHIN, |event| {
                event.event == "alert" && event.data["rule"] == RULE && event.data["state"] == "open"
            })
            .await;
        let device = event.data["device"].as_str().unwrap().to_owned();
        if !streamed.contains(&device) {
            streamed.push(device);
        }
    }

    // Received, dispatched, accepted. A command from somebody who has seen less is refused.
    for id in &cases {
        let stale = duty
            .try_post(&format!("/api/v1/cases/{id}/commands"), &json!({"command": "acknowledge", "seen": 0}))
            .await;
        assert!(stale.status.is_client_error(), "stale: {} {}", stale.status, stale.body);
        to_rectifying(&duty, &unit, id, clock.now() + DAY_MS).await;
        let early =
            json!({"command": "review", "seen": case(&api, id).await["event"], "decision": "approve"});
        let early = reviewer.try_post(&format!("/api/v1/cases/{id}/commands"), &early).await;
        assert!(
            early.status.is_client_error(),
            "no approval without a PASS: {} {}",
            early.status,
            early.body
        );
    }

    // All three are cool again, and all three submit with a photo.
    for peer in [&mut python, &mut c, &mut serial] {
        peer.set(1, "input", 0, 45).await;
    }
    for (id, device) in cases.iter().zip(["fridge-1", "fridge-2", "fridge-3"]) {
        eventually(&format!("the alert of {device} is over"), WITHIN, async || {
            let alerts = api.list("/api/v1/alerts?state=all", "alerts").await;
            let over = alerts.iter().any(|alert| {
                alert["rule"] == RULE && alert["device"] == device && alert["state"] == "cleared"
            });
            if over { Ok(()) } else { Err(format!("{alerts:#?}")) }
        })
        .await;
        assert_eq!(case(&api, id).await["state"], "rectifying", "returning to normal closes nothing");
        let photo = upload(&unit).await;
        command(&unit, id, "submit", json!({"text": "已更换温控器", "attachments": [photo]})).await;
        assert_eq!(case(&api, id).await["state"], "verifying");
    }
    c.set(1, "input", 0, 140).await;
    serial.unplug().await;

    // Two hours of the test's world later.
    let within = Duration::from_mins(1);
    let passed = reaches(&api, &cases[0], "verified", within).await;
    assert_eq!(passed["verification"]["verdict"], "pass", "{passed:#}");
    assert!(passed["verification"]["coverage"].as_i64().unwrap() >= 900, "{passed:#}");

    let failed = reaches(&api, &cases[1], "rectifying", within).await;
    assert_eq!(failed["verification"]["verdict"], "fail", "{failed:#}");
    assert!(failed["verification"]["first_violation"].is_i64(), "{failed:#}");

    let insufficient = eventually("a verdict on the unplugged fridge", within, async || {
        let case = case(&api, &cases[2]).await;
        let first = case["verifications"][0].clone();
        if first["verdict"] == "insufficient" { Ok(case) } else { Err(format!("{case:#}")) }
    })
    .await;
    assert_eq!(insufficient["state"], "verifying", "never a pass: the window is extended: {insufficient:#}");
    assert_eq!(insufficient["verifications"][0]["unseen"], json!(["fridge-3/temperature"]));

    // Reviewed by another person than the dispatcher, and closed.
    command(&reviewer, &cases[0], "review", json!({"decision": "approve", "reason": "数据核验通过"})).await;
    let closed = reaches(&api, &cases[0], "closed", WITHIN).await;
    let kinds: Vec<&str> =
        closed["timeline"].as_array().unwrap().iter().filter_map(|entry| entry["kind"].as_str()).collect();
    for kind in [
        "opened",
        "acknowledged",
        "dispatched",
        "accepted",
        "self_cleared",
        "submitted",
        "judged",
        "reviewed",
    ] {
        assert!(kinds.contains(&kind), "no `{kind}` in {kinds:?}");
    }
    stream
        .next("the closed case in the stream", WITHIN, |event| {
            event.event == "case" && event.data["id"] == cases[0] && event.data["state"] == "closed"
        })
        .await;

    proven(&place, &center, &cases[0]);

    gateway.program().assert_running();
    gateway.stop();
    gateway.program().assert_log(&["fridge-3", "serial", "timeout", "connect"]);
    center.process.assert_running();
    center.process.assert_log(&["first start"]);
}

/// The closed case as one file, made beside the running center and checked by programs that share no code.
fn proven(place: &Place, center: &Center, case: &Value) {
    let entry = |id: &str| {
        format!(
            "[[device]]\nid = \"{id}\"\nplacement = \"R-1\"\ncertificate = \"C-1\"\nvalid_from = \"2020-01-01\"\n\
             valid_until = \"2199-12-31\"\n"
        )
    };
    let devices = place.write("devices.toml", &["fridge-1", "fridge-2", "fridge-3"].map(entry).concat());
    let bundle = place.path().join("case.tar");
    let exported = std::process::Command::new(program("center"))
        .args(["export", &case.to_string(), "--data"])
        .arg(center.data())
        .arg("--devices")
        .arg(&devices)
        .arg("--output")
        .arg(&bundle)
        .output()
        .unwrap();
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let secret = std::fs::read(center.data().join("center.key")).unwrap();
    let key = SigningKey::from_bytes(&secret.try_into().unwrap()).verifying_key();
    let policy =
        format!("accept_simulated = true\n[[center]]\nkey_sha256 = \"{}\"\n", hex(&key.fingerprint()));
    let policy = place.write("trust.toml", &policy);
    let (said, _) = agree(&bundle, &policy);
    // Not "liveness": at this speed a second in which the machine does something else is a silence of minutes.
    for name in [
        "container",
        "identity",
        "signatures",
        "sequence",
        "chain",
        "time",
        "coverage",
        "context",
        "recomputation",
        "case",
    ] {
        assert_eq!(said.line(name)["status"], "ok", "{:#}", said.line(name));
    }
    assert_eq!(said.line("case")["facts"]["state"], "closed");
    assert_eq!(said.line("identity")["facts"]["vouched_by"], "center");
    assert!(said.line("time")["facts"]["received"].as_u64().unwrap() > 0, "receipts bracket the records");
    // The center's own command says the same.
    let own = std::process::Command::new(program("center"))
        .arg("verify")
        .arg(&bundle)
        .arg("--policy")
        .arg(&policy)
        .arg("--json")
        .output()
        .unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&own.stdout).unwrap(), said.json);
}
