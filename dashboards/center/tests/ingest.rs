//! Records in: durable, indexed once, refused in words; sessions and orders; with real sealed records and no port.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod rig;

use axum::http::{Request, StatusCode, header};
use center::store::Scope;
use gateway_model::{CalendarPlan, Change, CivilTime, ClearCause, Epoch, Gap, GapCause, Judging, Plan, Seq};
use gateway_wire::{
    Body, Fingerprint, Order, Receipt, SigningKey, Survey, SurveyRequest, Token, hash, pack, unpack_orders,
};
use rig::{Gateway, INSTITUTION, Rig, send};
use serde_json::json;

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
async fn a_config_in_parts_counts_from_the_moment_that_all_of_them_are_here_in_any_order() {
    for (order, wants) in [([1, 2, 3, 4], [2, 3, 4]), ([4, 3, 1, 2], [1, 1, 2]), ([3, 1, 4, 2], [1, 2, 2])] {
        let rig = Rig::new().await;
        let mut gateway = rig.gateway(1).await;
        let size = rig::config_length().div_ceil(3);
        let start = gateway.start_in_parts(1_000, size, |_| ());
        assert_eq!(start.len(), 6, "start, head, three parts, clock");
        let because = gateway.readings(5_000, 6_000, 95);
        let raised = gateway.change(6_000, 1, 1, Change::Raised);
        let receipt = rig.push(&gateway, &[because, raised]).await;
        assert_eq!(receipt.wants, vec![(Epoch(1), Seq(1), Seq(1))]);
        for (place, wanted) in order.into_iter().zip(wants) {
            let receipt = rig.push(&gateway, &[start[place].clone()]).await;
            let from: Vec<_> = receipt.wants.iter().map(|(_, first, _)| first.0).collect();
            assert_eq!(from, [wanted], "after {place} of {order:?}");
            assert_eq!(rig.get("/api/v1/alerts").await["alerts"].as_array().unwrap().len(), 0);
        }
        let receipt = rig.push(&gateway, &[start[order[3]].clone()]).await;
        assert!(receipt.wants.is_empty() && receipt.refused.is_empty(), "{receipt:?}");
        let alerts = rig.get("/api/v1/alerts").await;
        assert_eq!(alerts["alerts"][0]["title"]["zh"], "温度过高");
        let receipt = rig.push(&gateway, &[start[0].clone(), start[5].clone()]).await;
        assert_eq!(receipt.epochs[0].through, Some(Seq(7)));
        let points = rig.get(&format!("/api/v1/points?gateway={}", gateway.id())).await;
        assert_eq!(points["points"][0]["value"], 9.5);
        // What is shown of the past is read with that config too.
        let rows = rig.app.store.config_at(&gateway.id(), i64::MAX).await.unwrap().unwrap();
        assert_eq!(rig.app.store.whole(&rows).await.unwrap().len(), 4);
    }
}

#[tokio::test]
async fn parts_that_do_not_come_together_keep_nothing_else_out() {
    let rig = Rig::new().await;
    let mut gateway = rig.gateway(1).await;
    let size = rig::config_length().div_ceil(3);
    let mut records = gateway.start_in_parts(1_000, size, |part| part.bytes[0] ^= u8::from(part.n == 1));
    records.push(gateway.readings(5_000, 6_000, 95));
    records.push(gateway.change(6_000, 1, 1, Change::Raised));
    let receipt = rig.push(&gateway, &records).await;
    assert_eq!(receipt.epochs[0].through, Some(Seq(7)));
    assert!(receipt.refused.is_empty() && receipt.wants.is_empty(), "{receipt:?}");
    assert_eq!(rig.get("/api/v1/alerts").await["alerts"].as_array().unwrap().len(), 0);
    let head = rig.app.store.record(&gateway.id(), 1, 1).await.unwrap().unwrap();
    assert_eq!(head.state, "quarantined");
    // The next epoch is read as always.
    (gateway.epoch, gateway.seq) = (2, 0);
    let mut next = gateway.start(10_000);
    next.push(gateway.readings(11_000, 12_000, 95));
    rig.push(&gateway, &next).await;
    let points = rig.get(&format!("/api/v1/points?gateway={}", gateway.id())).await;
    assert_eq!(points["points"][0]["value"], 9.5);
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

async fn compare(rig: &Rig, gateway: &Gateway, asked: SurveyRequest) -> Survey {
    let answer = rig.survey(gateway, &asked).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.bytes));
    Survey::decode(&answer.bytes).unwrap()
}

fn ends(survey: &Survey, epoch: usize) -> Vec<(Seq, Fingerprint)> {
    survey.epochs[epoch].ends.clone().unwrap()
}

#[tokio::test]
async fn a_session_begins_with_everything_that_is_here_page_by_page() {
    let rig = Rig::new().await;
    let mut gateway = rig.gateway(1).await;
    let mut records = gateway.start(1_000);
    records.extend((0..5).map(|n| gateway.readings(2_000 + n * 1_000, 2_500 + n * 1_000, 50)));
    let hashes: Vec<_> = records.iter().map(|record| Fingerprint(hash(record))).collect();
    // 0–3 and 5–6: 4 and 7 are still on their way.
    rig.push(&gateway, &[&records[..4], &records[5..7]].concat()).await;
    let asked = SurveyRequest { last: vec![(Epoch(1), Seq(7))], ..SurveyRequest::default() };
    let survey = compare(&rig, &gateway, asked.clone()).await;
    assert_eq!(survey.next, None);
    let held = &survey.epochs[0];
    assert_eq!((held.epoch, held.through, &held.have[..]), (Epoch(1), Some(Seq(3)), &[(Seq(5), Seq(6))][..]));
    assert_eq!(ends(&survey, 0), [(Seq(3), hashes[3]), (Seq(6), hashes[6])], "7 is not here to be named");
    let asked = SurveyRequest { last: vec![(Epoch(1), Seq(1))], ..asked };
    let survey = compare(&rig, &gateway, asked).await;
    assert_eq!(ends(&survey, 0), [(Seq(1), hashes[1]), (Seq(3), hashes[3]), (Seq(6), hashes[6])]);

    // 130 lives: two pages, and every epoch in one of them.
    for _ in 0..130 {
        gateway.epoch += 1;
        gateway.seq = 0;
        let start = gateway.start(9_000);
        rig.push(&gateway, &start).await;
    }
    let first = compare(&rig, &gateway, SurveyRequest::default()).await;
    assert_eq!((first.epochs.len(), first.next), (128, Some(Epoch(129))));
    let again = SurveyRequest { session: Some(first.session), from: Epoch(129), ..SurveyRequest::default() };
    let second = compare(&rig, &gateway, again).await;
    assert_eq!((second.session, second.epochs.len(), second.next), (first.session, 3, None));
    let span = SurveyRequest { from: Epoch(5), to: Some(Epoch(6)), ..SurveyRequest::default() };
    let epochs: Vec<_> = compare(&rig, &gateway, span).await.epochs.iter().map(|held| held.epoch).collect();
    assert_eq!(epochs, [Epoch(5), Epoch(6)]);
}

#[tokio::test]
async fn a_late_batch_of_an_older_session_changes_nothing() {
    let rig = Rig::new().await;
    let mut gateway = rig.gateway(1).await;
    let start = gateway.start(1_000);
    let old = compare(&rig, &gateway, SurveyRequest::default()).await.session;
    let new = compare(&rig, &gateway, SurveyRequest::default()).await.session;
    assert_ne!(old, new);
    let push = async |rig: &Rig, session: u64| {
        send(&rig.router, rig.push_as(&gateway, &format!("?session={session}"), pack(&start))).await
    };
    let late = push(&rig, old).await;
    assert_eq!((late.status, late.code().as_str()), (StatusCode::CONFLICT, "session"));
    assert_eq!(rig.get("/api/v1/gateways").await["gateways"][0]["records"], 0);
    let page = rig.survey(&gateway, &SurveyRequest { session: Some(old), ..SurveyRequest::default() }).await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    let taken = push(&rig, new).await;
    assert_eq!(Receipt::decode(&taken.bytes).unwrap().epochs[0].through, Some(Seq(2)));
    // Another start of the center knows none: everybody compares again.
    let rig = rig.restart().await;
    assert_eq!(push(&rig, new).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_branch_is_kept_beside_the_chain_and_nothing_is_derived_from_it() {
    let rig = Rig::new().await;
    let mut gateway = rig.gateway(1).await;
    let mut records = gateway.start(1_000);
    let (seq, prev) = (gateway.seq, gateway.prev);
    records.push(gateway.readings(2_000, 3_000, 50));
    rig.push(&gateway, &records).await;
    // The disk was set back to before its last record.
    (gateway.seq, gateway.prev) = (seq, prev);
    let branch = vec![gateway.readings(2_000, 3_000, 95), gateway.change(3_000, 1, 1, Change::Raised)];
    let both = [&records[..3], &branch].concat();
    for _ in 0..2 {
        let answer = send(&rig.router, rig.push_as(&gateway, "?aside=true", pack(&both))).await;
        let receipt = Receipt::decode(&answer.bytes).unwrap();
        assert!(receipt.refused.is_empty(), "{:?}", receipt.refused);
        assert_eq!(receipt.epochs[0].through, Some(Seq(3)), "the chain is what it was");
    }
    let kept = rig.app.store.aside_of(&gateway.id(), 10).await.unwrap();
    let expected: Vec<_> = (3..).zip(&branch).map(|(seq, record)| (1, seq, hash(record).to_vec())).collect();
    assert_eq!(kept, expected, "once, and only what is not in the chain");
    let alerts = rig.get("/api/v1/alerts").await;
    let rules: Vec<_> =
        alerts["alerts"].as_array().unwrap().iter().map(|alert| alert["rule"].clone()).collect();
    assert_eq!(rules, ["center/equivocation"], "the branch's own alert is not shown");
    let row = rig.app.store.record(&gateway.id(), 1, 3).await.unwrap().unwrap();
    assert_eq!(row.hash, hash(&records[3]));
    // Still there after a restart.
    let rig = rig.restart().await;
    assert_eq!(rig.app.store.aside_of(&gateway.id(), 10).await.unwrap(), expected);
}

#[tokio::test]
async fn orders_of_a_center_that_was_set_back_are_not_taken_for_older_ones() {
    let rig = Rig::new().await;
    let mut gateway = rig.gateway(1).await;
    let mut records = gateway.start(1_000);
    records.push(gateway.change(2_000, 1, 1, Change::Raised));
    rig.push(&gateway, &records).await;
    // It has carried out five orders; this center never gave one.
    let answer = rig.orders(&gateway, "after=1/5&wait=0").await;
    assert!(unpack_orders(&answer.bytes).unwrap().is_empty());
    let seen = rig.get("/api/v1/cases/1").await["event"].clone();
    let command = json!({ "command": "acknowledge", "seen": seen });
    assert_eq!(rig.post("/api/v1/cases/1/commands", command).await.status, StatusCode::OK);
    let answer = rig.orders(&gateway, "after=1/5&wait=0").await;
    let orders = unpack_orders(&answer.bytes).unwrap();
    let order = Order::open(&rig.app.key.verifying_key(), gateway.key.gateway_id(), &orders[0]).unwrap();
    assert_eq!((order.center_epoch, order.seq), (2, 1), "above everything the gateway knows");
    // A number that no center can have given is refused, not believed.
    let refused = rig.orders(&gateway, "after=9000000/1&wait=0").await;
    assert_eq!((refused.status, refused.code().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "after"));
    let rig = rig.restart().await;
    assert_eq!(rig.app.order_epoch(), 2);
}

#[tokio::test]
async fn what_a_metered_line_has_used_is_known_at_the_center() {
    let rig = Rig::new().await;
    let gateway = rig.gateway(1).await;
    rig.orders(&gateway, "wait=0&line=81000000/100000000").await;
    let row = rig.get("/api/v1/gateways").await["gateways"][0].clone();
    assert_eq!((&row["line_used"], &row["line_budget"]), (&json!(81_000_000), &json!(100_000_000)));
    rig.orders(&gateway, "wait=0").await;
    assert!(rig.get("/api/v1/gateways").await["gateways"][0]["line_used"].is_null());
}

#[tokio::test]
async fn ninety_seconds_without_a_sign_of_life_are_a_delay_and_five_minutes_an_alert() {
    let rig = Rig::new().await;
    let gateway = rig.gateway(1).await;
    rig.orders(&gateway, "wait=0").await;
    let heard = rig.app.clock.real();
    let state = async |after: i64| {
        let rows = rig.app.store.gateways(&Scope::All, heard + after).await.unwrap();
        rows[0].state.clone()
    };
    assert_eq!(state(85_000).await, "live");
    assert_eq!(state(91_000).await, "delayed");
    assert_eq!(state(301_000).await, "silent");
    let silences = async || {
        let alerts = rig.get("/api/v1/alerts").await;
        alerts["alerts"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|alert| alert["rule"] == "center/gateway-silent")
            .count()
    };
    center::watch::turn(&rig.app, heard + 295_000).await.unwrap();
    assert_eq!(silences().await, 0);
    for _ in 0..2 {
        center::watch::turn(&rig.app, heard + 301_000).await.unwrap();
        assert_eq!(silences().await, 1, "said once");
    }
    rig.orders(&gateway, "wait=0").await;
    assert_eq!(silences().await, 0, "a sign of life ends it");
}

#[tokio::test]
async fn what_is_switched_off_on_schedule_is_said_to_be_off_until_contact_is_due() {
    let rig = Rig::new().await;
    let now = rig.app.clock.civil();
    // Everything may be off at any time, as far as their calendars know anything: for ever, until 200 s ago, until 400 s ago.
    let mut quiet = Vec::new();
    for (secret, known_until) in
        [(1, None), (2, Some(CivilTime(now.0 - 200_000))), (3, Some(CivilTime(now.0 - 400_000)))]
    {
        let mut gateway = rig.gateway(secret).await;
        let calendar = CalendarPlan { off: vec![(0, 10_080)], known_until, ..CalendarPlan::default() };
        let judging = Some(Judging { calendar: Some(calendar), ..Judging::default() });
        let records = gateway.start_with(1_000, Plan { judging, ..rig::plan() });
        rig.push(&gateway, &records).await;
        rig.orders(&gateway, "wait=0").await;
        quiet.push(gateway);
    }
    let later = rig.app.clock.real() + 600_000;
    center::watch::turn(&rig.app, later).await.unwrap();
    let rows = rig.app.store.gateways(&Scope::All, later).await.unwrap();
    let state = |gateway: &Gateway| rows.iter().find(|row| row.id == gateway.id()).unwrap().state.clone();
    assert_eq!(quiet.iter().map(state).collect::<Vec<_>>(), ["off", "delayed", "silent"]);
    let alerts = rig.get("/api/v1/alerts").await;
    assert_eq!(alerts["alerts"].as_array().unwrap().len(), 1, "only the third is anybody's task");
    rig.orders(&quiet[0], "wait=0").await;
    let rows = rig.app.store.gateways(&Scope::All, rig.app.clock.real()).await.unwrap();
    assert!(rows.iter().any(|row| row.id == quiet[0].id() && row.state == "live"), "switched on again");
}

#[tokio::test]
async fn many_that_fall_silent_together_are_one_alert() {
    let rig = Rig::new().await;
    let mut gateways = Vec::new();
    for secret in 1..=5 {
        let gateway = rig.gateway(secret).await;
        rig.orders(&gateway, "wait=0").await;
        gateways.push(gateway);
    }
    let heard = rig.app.clock.real();
    let rules = async || {
        let alerts = rig.get("/api/v1/alerts").await;
        let rules = alerts["alerts"].as_array().unwrap().iter();
        let mut rules: Vec<(String, String)> = rules
            .map(|alert| {
                (alert["rule"].as_str().unwrap().to_owned(), alert["first"].as_str().unwrap().to_owned())
            })
            .collect();
        rules.sort();
        rules
    };
    let said = |rule: &str, first: &str| (rule.to_owned(), first.to_owned());
    for _ in 0..2 {
        center::watch::turn(&rig.app, heard + 305_000).await.unwrap();
        assert_eq!(rules().await, [said("center/many-silent", "supervisor")], "one thing, said once");
    }
    for gateway in &gateways {
        rig.orders(gateway, "wait=0").await;
    }
    center::watch::turn(&rig.app, rig.app.clock.real()).await.unwrap();
    assert_eq!(rules().await, [], "all are back");
}

#[tokio::test]
async fn a_third_of_a_township_is_one_happening_too() {
    let rig = Rig::new().await;
    let mut gateways = Vec::new();
    for secret in 1..=3 {
        let gateway = rig.gateway(secret).await;
        rig.orders(&gateway, "wait=0").await;
        gateways.push(gateway);
    }
    let institution = |township: serde_json::Value| {
        let mut body = json!({ "id": INSTITUTION, "name_zh": "西湖宾馆", "name_en": "West Lake Hotel", "kind": "hotel" });
        if !township.is_null() {
            body["township"] = township;
        }
        rig.post("/api/v1/institutions", body)
    };
    let heard = rig.app.clock.real();
    let alerts = async || rig.get("/api/v1/alerts").await["alerts"].as_array().unwrap().clone();
    let long = institution("镇".repeat(67).into()).await;
    assert_eq!(long.code(), "township");
    assert_eq!(institution("三墩镇".into()).await.json()["township"], "三墩镇");
    // Named again without it: it stays.
    institution(serde_json::Value::Null).await;
    assert_eq!(rig.get("/api/v1/institutions").await["institutions"][0]["township"], "三墩镇");
    center::watch::turn(&rig.app, heard + 305_000).await.unwrap();
    let told = alerts().await;
    assert_eq!((told.len(), told[0]["rule"].as_str()), (1, Some("center/many-silent")), "{told:?}");
    assert!(told[0]["sentence"]["zh"].as_str().unwrap().contains("三墩镇 3/3"), "{told:?}");
    for gateway in &gateways {
        rig.orders(gateway, "wait=0").await;
    }
    center::watch::turn(&rig.app, rig.app.clock.real()).await.unwrap();
    assert_eq!(alerts().await.len(), 0);
    // Nobody knows where they are: three are no happening, and each is told.
    institution("".into()).await;
    assert!(rig.get("/api/v1/institutions").await["institutions"][0]["township"].is_null());
    center::watch::turn(&rig.app, rig.app.clock.real() + 305_000).await.unwrap();
    let told = alerts().await;
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|alert| alert["rule"] == "center/gateway-silent"), "{told:?}");
}

#[tokio::test]
async fn a_gateway_that_is_away_for_days_is_the_supervisors() {
    let rig = Rig::new().await;
    let gateway = rig.gateway(1).await;
    rig.orders(&gateway, "wait=0").await;
    let heard = rig.app.clock.real();
    let count = async |rule: &str| {
        let alerts = rig.get("/api/v1/alerts").await;
        alerts["alerts"].as_array().unwrap().iter().filter(|alert| alert["rule"] == rule).count()
    };
    let hours = |n: i64| n * 3_600_000;
    center::watch::turn(&rig.app, heard + hours(71)).await.unwrap();
    assert_eq!((count("center/gateway-silent").await, count("center/gateway-lost").await), (1, 0));
    for _ in 0..2 {
        center::watch::turn(&rig.app, heard + hours(73)).await.unwrap();
        assert_eq!((count("center/gateway-silent").await, count("center/gateway-lost").await), (1, 1));
    }
    rig.orders(&gateway, "wait=0").await;
    assert_eq!((count("center/gateway-silent").await, count("center/gateway-lost").await), (0, 0), "back");
}
