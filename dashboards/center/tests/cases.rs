//! Cases through the API: the whole way by data, refusals, scope, verdicts, orders, the live stream.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod lamp;
mod rig;
mod telling;

use axum::body::Body as HttpBody;
use axum::http::{Request, StatusCode, header};
use center::verifier;
use gateway_model::Change;
use gateway_wire::{Order, Token, hash, hex, unpack_orders};
use rig::{Answer, Gateway, INSTITUTION, Rig, get, post, send};
use serde_json::{Value, json};

/// A rig with a raised alert in case 1; the gateway's engine time equals civil time.
async fn raised(rig: &Rig) -> (Gateway, i64) {
    let mut gateway = rig.gateway(1).await;
    let now = rig.app.clock.civil().0;
    let mut records = gateway.start(now - 60_000);
    records.push(gateway.readings(now - 50_000, now - 40_000, 95));
    records.push(gateway.change(now - 40_000, 1, 1, Change::Raised));
    rig.push(&gateway, &records).await;
    (gateway, now)
}

async fn command(rig: &Rig, token: &str, mut body: Value) -> Answer {
    if body.get("seen").is_none() {
        let case = send(&rig.router, get("/api/v1/cases/1", Some(&rig.token))).await.json();
        body["seen"] = case["event"].clone();
    }
    send(&rig.router, post("/api/v1/cases/1/commands", Some(token), &body)).await
}

fn dispatch(rig: &Rig) -> Value {
    let deadline = rig.app.clock.civil().0 + 3_600_000;
    json!({ "command": "dispatch", "recipient": "西湖宾馆", "deadline": deadline, "requirement": "整改" })
}

/// To `verifying`, with the rights of each.
async fn submitted(rig: &Rig, unit: &str) -> (i64, i64) {
    for body in [json!({ "command": "acknowledge" }), dispatch(rig)] {
        let answer = command(rig, &rig.token, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.bytes));
    }
    assert_eq!(command(rig, unit, json!({ "command": "accept" })).await.status, StatusCode::OK);
    let answer = command(rig, unit, json!({ "command": "submit", "text": "已更换门封条" })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.bytes));
    let verification = &answer.json()["verification"];
    assert_eq!(verification["verdict"], "pending");
    (verification["from"].as_i64().unwrap(), verification["to"].as_i64().unwrap())
}

#[tokio::test]
async fn from_alert_to_closed_by_data_and_review() {
    let rig = Rig::new().await;
    rig.institution(INSTITUTION).await;
    let unit = rig.user("housekeeping", "institution").await;
    let (mut gateway, now) = raised(&rig).await;
    let (from, to) = submitted(&rig, &unit).await;
    assert_eq!(to - from, 2_000);
    let record = gateway.readings(now - 39_000, to + 1_000, 50);
    rig.push(&gateway, &[record]).await;
    verifier::turn(&rig.app).await.unwrap();
    let case = rig.get("/api/v1/cases/1").await;
    assert_eq!(case["state"], "verified", "{case:#}");
    assert_eq!(case["verification"]["verdict"], "pass");
    assert_eq!(case["verification"]["coverage"], 1000);
    let answer = command(&rig, &rig.token, json!({ "command": "review", "decision": "approve" })).await;
    assert_eq!(answer.json()["state"], "closed");
    assert_eq!(answer.json()["next"], json!(["note"]));
    // It happens again: another case that names the first.
    let again = gateway.change(to + 2_000, 2, 1, Change::Raised);
    rig.push(&gateway, &[again]).await;
    assert_eq!(rig.get("/api/v1/cases/2").await["recurrence_of"], 1);
    assert_eq!(rig.app.store.audit_broken_at().await.unwrap(), None);
}

#[tokio::test]
async fn a_violation_in_the_window_fails_and_the_next_attempt_counts() {
    let rig = Rig::new().await;
    rig.institution(INSTITUTION).await;
    let unit = rig.user("housekeeping", "institution").await;
    let (mut gateway, now) = raised(&rig).await;
    let (_, to) = submitted(&rig, &unit).await;
    let record = gateway.readings(now - 39_000, to + 1_000, 95);
    rig.push(&gateway, &[record]).await;
    verifier::turn(&rig.app).await.unwrap();
    let case = rig.get("/api/v1/cases/1").await;
    assert_eq!((case["state"].as_str(), case["attempt"].as_i64()), (Some("rectifying"), Some(2)));
    assert_eq!(case["verification"]["verdict"], "fail");
    assert!(case["verification"]["first_violation"].is_i64());
}

#[tokio::test]
async fn missing_readings_are_insufficient_and_in_the_end_somebody_goes_there() {
    let rig = Rig::new().await;
    rig.institution(INSTITUTION).await;
    let unit = rig.user("housekeeping", "institution").await;
    let (mut gateway, now) = raised(&rig).await;
    let (_, mut to) = submitted(&rig, &unit).await;
    let mut at = now - 39_000;
    for (windows, expected) in [(1, "verifying"), (2, "verifying"), (3, "on_site")] {
        // The gateway is there, the instrument is not.
        let gone = gateway_model::Quality::Bad(gateway_model::BadCause::NoCommunication);
        let reading = gateway_model::Reading {
            point: gateway_model::PointIx(0),
            at: gateway_model::EngineTime(at),
            value: gone,
        };
        let items = vec![
            gateway_model::Input::Reading(reading),
            gateway_model::Input::Advance(gateway_model::EngineTime(to + 500)),
        ];
        let record = gateway.inputs(at, to + 500, items, 0);
        rig.push(&gateway, &[record]).await;
        verifier::turn(&rig.app).await.unwrap();
        let case = rig.get("/api/v1/cases/1").await;
        assert_eq!(case["state"], expected);
        assert_eq!(case["verifications"].as_array().unwrap().len(), windows);
        assert!(
            case["verifications"]
                .as_array()
                .unwrap()
                .iter()
                .all(|verdict| verdict["verdict"] == "insufficient")
        );
        at = to + 500;
        to = case["verification"]["to"].as_i64().unwrap();
    }
    let next = rig.get("/api/v1/cases/1").await["next"].clone();
    assert_eq!(next, json!(["note", "recall", "reverify"]));
    // Not a pass: it cannot be reviewed or closed from here.
    let answer = command(&rig, &rig.token, json!({ "command": "review", "decision": "approve" })).await;
    assert_eq!(answer.code(), "state");
    let body = json!({ "command": "close", "disposition": "false_alarm", "reason": "no" });
    assert_eq!(command(&rig, &rig.token, body).await.code(), "needs_pass");
}

#[tokio::test]
async fn a_gateway_that_stays_silent_is_insufficient_too_also_after_a_restart() {
    let rig = Rig::new().await;
    rig.institution(INSTITUTION).await;
    let unit = rig.user("housekeeping", "institution").await;
    let mut gateway = rig.gateway(1).await;
    let now = rig.app.clock.civil().0;
    let mut records = gateway.start(now);
    records.push(gateway.change(now + 1_000, 1, 1, Change::Raised));
    rig.push(&gateway, &records).await;
    submitted(&rig, &unit).await;
    // Again, with no patience and a clock in which the window is soon over.
    let settings =
        center::config::Config { seal_every_ms: 0, verify_grace_ms: 0, ..rig::config(rig.directory.path()) };
    let clock = rig::demo_clock(rig.directory.path(), 1_000.0);
    let rig = rig.restart_with(settings, clock).await;
    let case = loop {
        verifier::turn(&rig.app).await.unwrap();
        let case = rig.get("/api/v1/cases/1").await;
        if case["verifications"] != json!([]) {
            break case;
        }
    };
    assert_eq!(case["verifications"][0]["verdict"], "insufficient");
    assert_eq!(case["verifications"][0]["reason"], "silent");
    assert!(["verifying", "on_site"].contains(&case["state"].as_str().unwrap()));
}

#[tokio::test]
async fn refusals_are_in_words_and_change_nothing() {
    let rig = Rig::new().await;
    rig.institution(INSTITUTION).await;
    let unit = rig.user("housekeeping", "institution").await;
    raised(&rig).await;
    let stale = command(&rig, &rig.token, json!({ "command": "acknowledge", "seen": 0 })).await;
    assert_eq!((stale.status, stale.code().as_str()), (StatusCode::CONFLICT, "stale"));
    assert!(
        !stale.json()["zh"].as_str().unwrap().is_empty() && !stale.json()["en"].as_str().unwrap().is_empty()
    );
    assert_eq!(command(&rig, &unit, json!({ "command": "acknowledge" })).await.code(), "role");
    assert_eq!(command(&rig, &rig.token, json!({ "command": "transfer" })).await.code(), "not_yet");
    assert_eq!(command(&rig, &rig.token, json!({ "command": "raise" })).await.code(), "command");
    let close = json!({ "command": "close", "disposition": "false_alarm", "reason": "探头掉出" });
    assert_eq!(command(&rig, &rig.token, close.clone()).await.code(), "acknowledge_first");
    assert_eq!(rig.get("/api/v1/cases/1").await["event"], 1);
    assert_eq!(command(&rig, &rig.token, json!({ "command": "acknowledge" })).await.status, StatusCode::OK);
    let answer = command(&rig, &rig.token, close).await;
    assert_eq!(answer.json()["state"], "closed");
    assert_eq!(answer.json()["disposition"], "false_alarm");
    assert_eq!(command(&rig, &rig.token, dispatch(&rig)).await.code(), "closed");
}

#[tokio::test]
async fn an_institution_sees_only_its_own() {
    let rig = Rig::new().await;
    rig.institution(INSTITUTION).await;
    rig.institution("other").await;
    let own = rig.user("own", "institution").await;
    let other = rig.user_of("other", "institution", Some("other")).await;
    let (gateway, now) = raised(&rig).await;
    let see = async |token: &str, path: &str| send(&rig.router, get(path, Some(token))).await;
    assert_eq!(see(&own, "/api/v1/cases/1").await.status, StatusCode::OK);
    assert_eq!(see(&other, "/api/v1/cases/1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        command(&rig, &other, json!({ "command": "note", "text": "hello" })).await.status,
        StatusCode::NOT_FOUND
    );
    for (path, list) in [
        ("/api/v1/alerts".to_owned(), "alerts"),
        ("/api/v1/cases?state=all".to_owned(), "cases"),
        ("/api/v1/gateways".to_owned(), "gateways"),
        (format!("/api/v1/points?gateway={}", gateway.id()), "points"),
    ] {
        assert_eq!(see(&own, &path).await.json()[list].as_array().unwrap().len(), 1, "{path}");
        assert_eq!(see(&other, &path).await.json()[list].as_array().unwrap().len(), 0, "{path}");
    }
    let path = format!(
        "/api/v1/readings?gateway={}&point=fridge-1/temperature&from={}&to={now}",
        gateway.id(),
        now - 60_000
    );
    assert_eq!(see(&own, &path).await.status, StatusCode::OK);
    assert_eq!(see(&other, &path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(see(&own, "/api/v1/users").await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn acknowledging_orders_it_at_the_gateway() {
    let rig = Rig::new().await;
    let (gateway, _) = raised(&rig).await;
    assert_eq!(command(&rig, &rig.token, json!({ "command": "acknowledge" })).await.status, StatusCode::OK);
    let token = Token::make(&gateway.key, rig.app.clock.civil(), &gateway.audience);
    let request = Request::get("/gateway/v1/orders?after=0/0")
        .header(header::AUTHORIZATION, format!("Nonsite {token}"))
        .body(HttpBody::empty())
        .unwrap();
    let answer = send(&rig.router, request).await;
    let orders = unpack_orders(&answer.bytes).unwrap();
    let order = Order::open(&rig.app.key.verifying_key(), gateway.key.gateway_id(), &orders[0]).unwrap();
    let gateway_model::CommandBody::Acknowledge { alert, event } = order.body else {
        panic!("another order: {:?}", order.body)
    };
    assert_eq!((alert.n, event, order.seq), (1, 1, 1));
}

#[tokio::test]
async fn a_poll_that_waits_is_woken_by_an_order() {
    let rig = Rig::new().await;
    let (gateway, _) = raised(&rig).await;
    let token = Token::make(&gateway.key, rig.app.clock.civil(), &gateway.audience);
    let request = Request::get("/gateway/v1/orders")
        .header(header::AUTHORIZATION, format!("Nonsite {token}"))
        .body(HttpBody::empty())
        .unwrap();
    let poll = send(&rig.router, request);
    let acknowledge = command(&rig, &rig.token, json!({ "command": "acknowledge" }));
    let (answer, acknowledged) = tokio::join!(poll, acknowledge);
    assert_eq!(acknowledged.status, StatusCode::OK);
    assert_eq!(unpack_orders(&answer.bytes).unwrap().len(), 1);
}

#[tokio::test]
async fn photos_are_checked_and_a_submission_needs_them() {
    let rig = Rig::new().await;
    rig.institution(INSTITUTION).await;
    let unit = rig.user("housekeeping", "institution").await;
    raised(&rig).await;
    for body in [json!({ "command": "acknowledge" }), dispatch(&rig)] {
        command(&rig, &rig.token, body).await;
    }
    command(&rig, &unit, json!({ "command": "accept" })).await;
    let photo = b"\x89PNG\r\n\x1a\n and the rest".to_vec();
    let name = hex(&hash(&photo));
    let submit = json!({ "command": "submit", "text": "done", "attachments": [name] });
    assert_eq!(command(&rig, &unit, submit.clone()).await.code(), "attachment_missing");
    let put = async |name: &str, bytes: Vec<u8>| {
        let request = Request::put(format!("/api/v1/attachments/{name}"))
            .header(header::AUTHORIZATION, format!("Bearer {unit}"))
            .body(HttpBody::from(bytes))
            .unwrap();
        send(&rig.router, request).await
    };
    assert_eq!(put(&"0".repeat(64), photo.clone()).await.code(), "hash");
    assert_eq!(put(&name, b"<html>".to_vec()).await.code(), "media_type");
    assert_eq!(put(&name, vec![0; (8 << 20) + 1]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(put(&name, photo.clone()).await.status, StatusCode::CREATED);
    let answer = send(&rig.router, get(&format!("/api/v1/attachments/{name}"), Some(&rig.token))).await;
    assert_eq!((answer.bytes, answer.headers[header::CONTENT_TYPE].to_str().unwrap()), (photo, "image/png"));
    assert_eq!(command(&rig, &unit, submit).await.json()["timeline"][4]["attachments"], json!([name]));
}

/// Reads events of a stream until one of this name, and answers with its id and data.
async fn until(body: &mut axum::body::BodyDataStream, held: &mut String, name: &str) -> (String, Value) {
    use futures_util::StreamExt as _;
    loop {
        while let Some(end) = held.find("\n\n") {
            let block: String = held.drain(..end + 2).collect();
            let field = |field: &str| {
                block.lines().find_map(|line| line.strip_prefix(field)).map(|value| value.trim().to_owned())
            };
            if field("event:").as_deref() == Some(name) {
                let data = serde_json::from_str(&field("data:").unwrap()).unwrap();
                return (field("id:").unwrap_or_default(), data);
            }
        }
        let bytes = body.next().await.expect("the stream goes on").unwrap();
        held.push_str(std::str::from_utf8(&bytes).unwrap());
    }
}

#[tokio::test]
async fn the_live_stream_begins_with_a_snapshot_and_resumes_or_resets() {
    use tower::ServiceExt as _;
    let rig = Rig::new().await;
    let open = async |last: Option<&str>| {
        let mut request = get("/api/v1/events", Some(&rig.token));
        if let Some(last) = last {
            request.headers_mut().insert("last-event-id", last.parse().unwrap());
        }
        rig.router.clone().oneshot(request).await.unwrap().into_body().into_data_stream()
    };
    let (mut stream, mut held) = (open(None).await, String::new());
    let (id, snapshot) = until(&mut stream, &mut held, "snapshot").await;
    assert_eq!(snapshot["alerts"], json!([]));
    raised(&rig).await;
    let (_, alert) = until(&mut stream, &mut held, "alert").await;
    assert_eq!(alert["title"]["en"], "Too warm");
    let (_, case) = until(&mut stream, &mut held, "case").await;
    assert_eq!(case["state"], "open");
    drop(stream);
    // Back with the id of the snapshot: what was missed comes, no new snapshot.
    let (mut stream, mut held) = (open(Some(&id)).await, String::new());
    let (_, alert) = until(&mut stream, &mut held, "alert").await;
    assert_eq!(alert["title"]["en"], "Too warm");
    assert!(!held.contains("snapshot"));
    // Back with an id of another start of the server.
    let (mut stream, mut held) = (open(Some("99.1")).await, String::new());
    until(&mut stream, &mut held, "reset").await;
    let (_, snapshot) = until(&mut stream, &mut held, "snapshot").await;
    assert_eq!(snapshot["alerts"].as_array().unwrap().len(), 1);
}

/// A rig whose alert is the unit's to put right first, may pause for a day, and is in no case.
async fn pausable(rig: &Rig) -> (Gateway, i64) {
    let mut gateway = rig.gateway(1).await;
    let now = rig.app.clock.civil().0;
    let mut plan = rig::plan();
    plan.rules[0].self_fix_ms = Some(86_400_000);
    plan.rules[0].handling = Some(gateway_model::Handling {
        pause_max_ms: 86_400_000,
        escalate: Some(gateway_model::EscalatePlan {
            after_ms: Some(86_400_000),
            ..gateway_model::EscalatePlan::default()
        }),
        ..gateway_model::Handling::default()
    });
    let mut records = gateway.start_with(now - 60_000, plan);
    records.push(gateway.readings(now - 50_000, now - 40_000, 95));
    records.push(gateway.change(now - 40_000, 1, 1, Change::Raised));
    rig.push(&gateway, &records).await;
    (gateway, now)
}

async fn ordered(rig: &Rig, gateway: &Gateway) -> Vec<Order> {
    let answer = rig.orders(gateway, "after=0/0&wait=0").await;
    let opened =
        |bytes: &Vec<u8>| Order::open(&rig.app.key.verifying_key(), gateway.key.gateway_id(), bytes).unwrap();
    unpack_orders(&answer.bytes).unwrap().iter().map(opened).collect()
}

#[tokio::test]
async fn a_unit_asks_for_a_pause_and_only_the_center_grants_it() {
    let rig = Rig::new().await;
    let (gateway, _) = pausable(&rig).await;
    let unit = rig.user("housekeeping", "institution").await;
    let duty = rig.user("duty", "duty_officer").await;
    let ask = |token: String, for_ms: i64, reason: &'static str| {
        let router = rig.router.clone();
        async move {
            let body = json!({ "for_ms": for_ms, "reason": reason });
            send(&router, post("/api/v1/alerts/1/pause", Some(&token), &body)).await
        }
    };
    let hour = 3_600_000;
    for (token, for_ms, reason, status, code) in [
        (&unit, 25 * hour, "等配件", StatusCode::UNPROCESSABLE_ENTITY, "out_of_range"),
        (&unit, 0, "等配件", StatusCode::UNPROCESSABLE_ENTITY, "out_of_range"),
        (&unit, hour, "  ", StatusCode::UNPROCESSABLE_ENTITY, "reason_required"),
        (&rig.user("carrier", "collector").await, hour, "x", StatusCode::FORBIDDEN, "forbidden"),
    ] {
        let answer = ask(token.clone(), for_ms, reason).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
    }
    assert_eq!(ask(unit.clone(), 8 * hour, "等配件").await.status, StatusCode::CREATED);
    assert_eq!(ask(unit.clone(), hour, "再问").await.code(), "asked_already");
    assert!(ordered(&rig, &gateway).await.is_empty(), "asking orders nothing");
    let answer = |token: &str, grant: bool, words: &str| {
        let (router, token) = (rig.router.clone(), token.to_owned());
        let body = json!({ "grant": grant, "answer": words });
        async move { send(&router, post("/api/v1/requests/1/answer", Some(&token), &body)).await }
    };
    assert_eq!(answer(&unit, true, "").await.status, StatusCode::FORBIDDEN, "never by itself");
    assert_eq!(answer(&duty, false, "").await.code(), "reason_required");
    assert_eq!(
        answer(&duty, true, &"好".repeat(301)).await.code(),
        "too_long",
        "a consent is no longer than a refusal"
    );
    assert_eq!(answer(&duty, true, &"好".repeat(300)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(answer(&duty, false, "迟了").await.code(), "answered_already");
    let orders = ordered(&rig, &gateway).await;
    let [
        Order {
            body: gateway_model::CommandBody::Pause { alert, event, for_ms, once, reason }, author, ..
        },
    ] = orders.as_slice()
    else {
        panic!("other orders: {orders:?}")
    };
    assert_eq!((alert.n, *event, *for_ms, *once, reason.as_str()), (1, 1, 8 * hour, true, "等配件"));
    let list = rig.get("/api/v1/requests").await;
    let request = &list["requests"][0];
    assert_eq!((request["state"].as_str(), request["reason"].as_str()), (Some("granted"), Some("等配件")));
    assert_eq!(request["answered_by"].as_str(), Some(author.as_str()), "who granted it is who ordered it");
    // The center's people need not ask; and nobody else's alert exists for another unit.
    assert_eq!(ask(duty.clone(), hour, "检修").await.status, StatusCode::CREATED);
    assert_eq!(ordered(&rig, &gateway).await.len(), 2);
    let other = "913300000000000002";
    rig.institution(other).await;
    let stranger = rig.user_of("stranger", "institution", Some(other)).await;
    assert_eq!(ask(stranger.clone(), hour, "x").await.status, StatusCode::NOT_FOUND);
    let seen = send(&rig.router, get("/api/v1/requests", Some(&stranger))).await.json();
    assert_eq!(seen["requests"], json!([]));
    assert_eq!(rig.app.store.audit_broken_at().await.unwrap(), None);
}

#[tokio::test]
async fn a_unit_declares_a_closure_of_its_own_and_the_gateway_hears_of_it() {
    let rig = Rig::new().await;
    let (gateway, now) = pausable(&rig).await;
    let unit = rig.user("housekeeping", "institution").await;
    let day = 86_400_000;
    let declare = |token: &str, from: i64, to: i64| {
        let (router, token) = (rig.router.clone(), token.to_owned());
        let body = json!({ "from": from, "to": to, "reason": "春节停业" });
        async move { send(&router, post("/api/v1/closures", Some(&token), &body)).await }
    };
    for (from, to, code) in [
        (now + day, now + day, "out_of_range"),
        (now - 3 * day, now - 2 * day, "out_of_range"),
        (now - 2 * day, now + day, "out_of_range"),
        (now, now + 93 * day, "too_long"),
    ] {
        assert_eq!(declare(&unit, from, to).await.code(), code);
    }
    assert_eq!(
        declare(&rig.token, now, now + day).await.status,
        StatusCode::FORBIDDEN,
        "not the center's to declare"
    );
    assert_eq!(declare(&unit, now + day, now + 4 * day).await.status, StatusCode::CREATED);
    let orders = ordered(&rig, &gateway).await;
    let [Order { body: gateway_model::CommandBody::DeclareClosure { from, to, reason }, .. }] =
        orders.as_slice()
    else {
        panic!("other orders: {orders:?}")
    };
    assert_eq!((from.0, to.0, reason.as_str()), (now + day, now + 4 * day, "春节停业"));
    let list = rig.get("/api/v1/requests").await;
    assert_eq!(list["requests"][0]["state"], "declared");
}
