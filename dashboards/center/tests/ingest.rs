//! Records in: durable, indexed once, refused in words; with real sealed records and no port.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod rig;

use axum::http::{Request, StatusCode, header};
use gateway_model::{Change, ClearCause, Epoch, Gap, GapCause, Seq};
use gateway_wire::{Body, SigningKey, Token, pack};
use rig::{Rig, send};

fn codes(receipt: &gateway_wire::Receipt) -> Vec<&str> {
    receipt.refused.iter().map(|refused| refused.code.as_str()).collect()
}

#[tokio::test]
async fn records_are_receipted_once_and_duplicates_absorbed() {
    let rig = Rig::new().await;
    let mut gateway = rig.gateway(1).await;
    let mut records = gateway.start(1_000);
    records.push(gateway.readings(2_000, 9_000, 50));
    let receipt = rig.push(&gateway, &records).await;
    assert_eq!(receipt.epochs[0].through, Some(Seq(3)));
    assert!(receipt.refused.is_empty() && receipt.wants.is_empty() && receipt.epochs[0].have.is_empty());
    let again = rig.push(&gateway, &records).await;
    assert_eq!(again.epochs, receipt.epochs);
    let gateways = rig.get("/api/v1/gateways").await;
    assert_eq!(gateways["gateways"][0]["records"], 4);
    assert_eq!(gateways["gateways"][0]["state"], "live");
    let points = rig.get(&format!("/api/v1/points?gateway={}", gateway.id())).await;
    assert_eq!(points["points"][0]["value"], 5.0);
    assert_eq!(points["points"][0]["at"], 9_000);
}

#[tokio::test]
async fn holes_show_as_ranges_until_they_are_filled_or_gone() {
    let rig = Rig::new().await;
    let mut gateway = rig.gateway(1).await;
    let start = gateway.start(1_000);
    let middle: Vec<_> = (0..3).map(|n| gateway.readings(2_000 + n * 1_000, 2_500 + n * 1_000, 50)).collect();
    let last = gateway.readings(9_000, 9_500, 50);
    rig.push(&gateway, &start).await;
    let receipt = rig.push(&gateway, &[middle[1].clone(), last]).await;
    assert_eq!(receipt.epochs[0].through, Some(Seq(2)));
    assert_eq!(receipt.epochs[0].have, vec![(Seq(4), Seq(4)), (Seq(6), Seq(6))]);
    let gap = Gap {
        point: None,
        from: gateway_model::EngineTime(2_000),
        to: gateway_model::EngineTime(2_500),
        count: 1,
        cause: GapCause::Evicted,
        records: Some((Epoch(1), Seq(3), Seq(3))),
    };
    let gap = gateway.seal(10_000, 10_000, &Body::Gap(gap));
    let receipt = rig.push(&gateway, &[gap]).await;
    assert_eq!(receipt.epochs[0].through, Some(Seq(4)));
    let receipt = rig.push(&gateway, &[middle[2].clone()]).await;
    assert_eq!(receipt.epochs[0].through, Some(Seq(7)));
}

#[tokio::test]
async fn other_bytes_under_a_known_number_are_refused_and_an_alert() {
    let rig = Rig::new().await;
    let mut gateway = rig.gateway(1).await;
    let records = gateway.start(1_000);
    rig.push(&gateway, &records).await;
    let (seq, prev) = (gateway.seq, gateway.prev);
    let first = gateway.readings(2_000, 3_000, 50);
    (gateway.seq, gateway.prev) = (seq, prev);
    let other = gateway.readings(2_000, 3_000, 51);
    rig.push(&gateway, std::slice::from_ref(&first)).await;
    let receipt = rig.push(&gateway, &[other]).await;
    assert_eq!(codes(&receipt), ["equivocation"]);
    let alerts = rig.get("/api/v1/alerts").await;
    assert_eq!(alerts["alerts"][0]["rule"], "center/equivocation");
    assert_eq!(alerts["alerts"][0]["source"], "center");
    // What was accepted is what stays.
    let row = rig.app.store.record(&gateway.id(), 1, seq as i64).await.unwrap().unwrap();
    assert_eq!(row.hash, gateway_wire::hash(&first));
}

#[tokio::test]
async fn foreign_tampered_and_broken_records_are_refused_by_name() {
    let rig = Rig::new().await;
    let mut gateway = rig.gateway(1).await;
    let mut stranger = rig::Gateway::new(SigningKey::from_bytes(&[9; 32]), &rig.app.key.verifying_key());
    let good = gateway.start(1_000);
    let mut tampered = gateway.readings(2_000, 3_000, 50);
    let last = tampered.len() - 1;
    tampered[last] ^= 1;
    let foreign = stranger.start(1_000).remove(0);
    let batch = [good[0].clone(), tampered, foreign, b"no record".to_vec(), good[1].clone()];
    let receipt = rig.push(&gateway, &batch).await;
    assert_eq!(codes(&receipt), ["bad_signature", "wrong_gateway", "malformed"]);
    assert_eq!(receipt.epochs[0].through, Some(Seq(1)));
    // A gateway that never joined has no way in at all.
    let answer = send(&rig.router, rig.push_request(&stranger, pack(&good))).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::UNAUTHORIZED, "gateway_unknown"));
}

#[tokio::test]
async fn the_demo_clock_is_refused_where_it_was_not_chosen() {
    let rig = Rig::new().await;
    let mut gateway = rig.gateway(1).await;
    gateway.simulated = true;
    let records = gateway.start(1_000);
    let receipt = rig.push(&gateway, &records).await;
    assert_eq!(codes(&receipt), ["simulated", "simulated", "simulated"]);
    let more = gateway.readings(2_000, 3_000, 50);
    assert_eq!(codes(&rig.push(&gateway, &[more]).await), ["simulated"]);
    assert_eq!(rig.get("/api/v1/gateways").await["gateways"][0]["records"], 0);
}

#[tokio::test]
async fn an_alert_ahead_of_its_predecessors_waits_for_its_config_and_shows_an_open_chain() {
    let rig = Rig::new().await;
    let mut gateway = rig.gateway(1).await;
    let start = gateway.start(1_000);
    let backlog = gateway.readings(2_000, 4_000, 50);
    let because = gateway.readings(5_000, 6_000, 95);
    let raised = gateway.change(6_000, 1, 1, Change::Raised);
    let receipt = rig.push(&gateway, &[because, raised]).await;
    assert_eq!(receipt.wants, vec![(Epoch(1), Seq(1), Seq(1))]);
    assert_eq!(rig.get("/api/v1/alerts").await["alerts"].as_array().unwrap().len(), 0);
    rig.push(&gateway, &[start[1].clone()]).await;
    let alerts = rig.get("/api/v1/alerts").await;
    let alert = &alerts["alerts"][0];
    assert_eq!(alert["chain"], "open");
    assert_eq!(alert["title"]["zh"], "温度过高");
    assert_eq!(alert["sentence"]["en"], "Fridge 1 is at 9.5 °C, limit 8 °C.");
    assert_eq!(alert["case"], 1);
    rig.push(&gateway, &[start[0].clone(), start[2].clone(), backlog]).await;
    let alerts = rig.get("/api/v1/alerts").await;
    assert_eq!(alerts["alerts"][0]["chain"], "closed");
    // Its civil time follows the clock that came later.
    assert_eq!(alerts["alerts"][0]["raised_at"], 6_000);
}

#[tokio::test]
async fn further_alerts_join_the_open_case_and_returning_to_normal_never_closes_it() {
    let rig = Rig::new().await;
    let mut gateway = rig.gateway(1).await;
    let mut records = gateway.start(1_000);
    records.push(gateway.change(2_000, 1, 1, Change::Raised));
    records.push(gateway.change(3_000, 1, 2, Change::Cleared(ClearCause::Returned)));
    records.push(gateway.change(4_000, 2, 1, Change::Raised));
    rig.push(&gateway, &records).await;
    let case = rig.get("/api/v1/cases/1").await;
    assert_eq!(case["state"], "open");
    assert_eq!(case["alerts"].as_array().unwrap().len(), 2);
    assert_eq!(case["self_cleared"], false);
    let kinds: Vec<_> =
        case["timeline"].as_array().unwrap().iter().map(|entry| entry["kind"].clone()).collect();
    assert_eq!(kinds, ["opened", "self_cleared", "joined"]);
    let cleared = gateway.change(5_000, 2, 2, Change::Cleared(ClearCause::Returned));
    rig.push(&gateway, &[cleared]).await;
    let case = rig.get("/api/v1/cases/1").await;
    assert_eq!((case["state"].as_str(), case["self_cleared"].as_bool()), (Some("open"), Some(true)));
    assert_eq!(rig.get("/api/v1/alerts").await["alerts"].as_array().unwrap().len(), 0);
    assert_eq!(rig.get("/api/v1/alerts?state=all").await["alerts"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_broken_link_is_an_alert() {
    let rig = Rig::new().await;
    let mut gateway = rig.gateway(1).await;
    let records = gateway.start(1_000);
    rig.push(&gateway, &records).await;
    gateway.prev = [7; 32];
    let record = gateway.readings(2_000, 3_000, 50);
    rig.push(&gateway, &[record]).await;
    assert_eq!(rig.get("/api/v1/alerts").await["alerts"][0]["rule"], "center/chain-broken");
}

#[tokio::test]
async fn what_was_receipted_is_there_after_a_restart() {
    let rig = Rig::new().await;
    let mut gateway = rig.gateway(1).await;
    let mut records = gateway.start(1_000);
    records.push(gateway.readings(2_000, 9_000, 50));
    records.push(gateway.change(9_000, 1, 1, Change::Raised));
    let before = rig.push(&gateway, &records).await;
    let rig = rig.restart().await;
    let after = rig.push(&gateway, &records).await;
    assert_eq!(after.epochs, before.epochs);
    assert_eq!(rig.get("/api/v1/alerts").await["alerts"].as_array().unwrap().len(), 1);
    assert_eq!(rig.get("/api/v1/cases/1").await["state"], "open");
    let path =
        format!("/api/v1/readings?gateway={}&point=fridge-1/temperature&from=-10000&to=20000", gateway.id());
    let series = rig.get(&path).await;
    assert_eq!(series["samples"].as_array().unwrap().len(), 8);
    assert_eq!(series["gaps"], serde_json::json!([[-10_000, 2_000], [9_000, 20_000]]));
    // The plan is read from the segment again for what comes next.
    let next = gateway.change(10_000, 2, 1, Change::Raised);
    rig.push(&gateway, &[next]).await;
    assert_eq!(rig.get("/api/v1/alerts").await["alerts"][0]["title"]["en"], "Too warm");
    assert_eq!(rig.app.store.audit_broken_at().await.unwrap(), None);
}

#[tokio::test]
async fn a_large_batch_and_a_wrong_type_are_refused() {
    let rig = Rig::new().await;
    let gateway = rig.gateway(1).await;
    let answer = send(&rig.router, rig.push_request(&gateway, vec![0; center::http::BATCH_MAX + 1])).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let answer = send(&rig.router, rig.push_request(&gateway, b"\xff\xff".to_vec())).await;
    assert_eq!((answer.status, answer.code().as_str()), (StatusCode::BAD_REQUEST, "malformed"));
}

/// A picture comes in pieces, over connections that break: it goes on where the center has it, and is kept only whole and only
/// if it is what its name says.
#[tokio::test]
async fn an_attachment_comes_in_pieces_and_is_kept_whole() {
    let rig = Rig::new().await;
    let gateway = rig.gateway(1).await;
    let picture: Vec<u8> = [0xff, 0xd8, 0xff].into_iter().chain((0..200_000_u32).map(|n| n as u8)).collect();
    let name = gateway_wire::hex(&gateway_wire::hash(&picture));
    let path = format!("/gateway/v1/attachments/{name}");
    let token = Token::make(&gateway.key, rig.app.clock.civil(), &gateway.audience);
    let request = |method: &str, path: &str| {
        Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Nonsite {token}"))
    };
    let put = async |path: &str, offset: usize, length: usize, bytes: &[u8]| {
        let request = request("PUT", path).header("upload-offset", offset).header("upload-length", length);
        send(&rig.router, request.body(bytes.to_vec().into()).unwrap()).await
    };
    let held = async || {
        send(&rig.router, request("GET", &path).body(axum::body::Body::empty()).unwrap()).await.json()
    };
    assert_eq!(held().await, serde_json::json!({"offset": 0, "done": false}));
    assert_eq!(put(&path, 0, picture.len(), &picture[..70_000]).await.status, StatusCode::NO_CONTENT);
    // The answer was lost: the same piece again, and one from further on, are no pieces of this file.
    assert_eq!(put(&path, 0, picture.len(), &picture[..70_000]).await.code(), "offset");
    assert_eq!(put(&path, 90_000, picture.len(), &picture[90_000..]).await.code(), "offset");
    let rig = rig.restart().await;
    let request = |method: &str| {
        Request::builder().method(method).uri(&path).header(header::AUTHORIZATION, format!("Nonsite {token}"))
    };
    let held =
        async || send(&rig.router, request("GET").body(axum::body::Body::empty()).unwrap()).await.json();
    assert_eq!(held().await, serde_json::json!({"offset": 70_000, "done": false}), "it survives a restart");
    let rest = request("PUT").header("upload-offset", 70_000).header("upload-length", picture.len());
    let rest = send(&rig.router, rest.body(picture[70_000..].to_vec().into()).unwrap()).await;
    assert_eq!(rest.status, StatusCode::NO_CONTENT);
    assert_eq!(held().await["done"], true);
    assert_eq!(std::fs::read(rig.app.attachments().join(&name)).unwrap(), picture);

    // What is too large, or not what its name says, is not kept, and does not stand in the way of a better attempt.
    let large = request("PUT").header("upload-offset", 0).header("upload-length", 9 << 20);
    let large = send(&rig.router, large.body(vec![0; 10].into()).unwrap()).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    let other = format!("/gateway/v1/attachments/{}", gateway_wire::hex(&[7; 32]));
    let lie = Request::builder()
        .method("PUT")
        .uri(&other)
        .header(header::AUTHORIZATION, format!("Nonsite {token}"))
        .body(picture.clone().into())
        .unwrap();
    assert_eq!(send(&rig.router, lie).await.code(), "hash");
    assert!(!rig.app.attachments().join(gateway_wire::hex(&[7; 32])).exists());
    assert_eq!(rig.app.store.audit_broken_at().await.unwrap(), None);
}
