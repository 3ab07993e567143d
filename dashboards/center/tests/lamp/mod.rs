//! A weak lamp, from its alert to a verdict from data, and to a bundle from which the verdict follows again: the rules are the
//! pack's, the conclusions the engine's, and two days pass in records.

use std::collections::BTreeMap;

use center::verifier;
use gateway_engine::Engine;
use gateway_evidence::Status;
use gateway_model::{
    ClockInput, ClockSource, Conclusion, Counters, DeviceFact, DeviceIx, EngineTime, Epoch, Fact, FactBody,
    Input, ModuleIx, Plan, PointCounts, PointIx, Quality, Raw, Reading, Seq, StartCause, StartInput, Unit,
};
use gateway_rules::{File, Settings, Source, Subject, bind, embedded_packs, parse_pack};
use gateway_wire::{Body, ConclusionsBody, InputsBody};
use serde_json::json;

use super::rig::{Gateway, INSTITUTION, Rig, plan as base};
use super::{command, dispatch};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// One lamp under the rules of its pack.
fn plan() -> Plan {
    let mut plan = base();
    plan.rules.clear();
    plan.devices[0].id = "lamp-1".into();
    plan.devices[0].kind = "uv-lamp".into();
    let point = &mut plan.points[0];
    point.id = "lamp-1/irradiance".into();
    point.unit = Unit::MicrowattPerCm2;
    (point.gain, point.every_ms, point.max_age_ms) = (1.0, MINUTE_MS, 3 * MINUTE_MS);
    let packs = embedded_packs();
    let pack = packs.iter().map(|source| parse_pack(source).unwrap()).find(|pack| pack.name == "uv-lamp");
    let source = Source { name: "site.toml".into(), text: String::new() };
    let file = File::new(&source);
    let none = Settings::new();
    let subject = Subject {
        device: DeviceIx(0),
        kind: "uv-lamp",
        points: &BTreeMap::from([("irradiance".to_owned(), (PointIx(0), Unit::MicrowattPerCm2))]),
        program: None,
        file: &file,
        span: 0..0,
        settings: [&none, &none],
        calibrations: &BTreeMap::new(),
        neighbours: &BTreeMap::new(),
        hours: false,
    };
    bind(&pack.unwrap(), 0, &subject, ModuleIx(0)).add_to(&mut plan, &mut gateway_rules::Windows::default());
    assert!(file.into_problems().is_empty());
    plan
}

/// A gateway that judges what it reads, once a minute, and seals it.
struct Edge {
    gateway: Gateway,
    engine: Engine,
    now: i64,
    records: Vec<Vec<u8>>,
}

impl Edge {
    fn new(gateway: Gateway, now: i64) -> Self {
        let mut edge = Self { gateway, engine: Engine::new(plan()), now, records: vec![] };
        edge.records = edge.gateway.start_with(now, plan());
        let mut out = Vec::new();
        let start = StartInput {
            at: EngineTime(now),
            epoch: Epoch(1),
            previous: None,
            previous_hash: None,
            cause: StartCause::First,
            downtime_ms: None,
            simulated: false,
        };
        let clock = ClockInput {
            at: EngineTime(now),
            offset_ms: 0,
            error_ms: Some(10),
            source: ClockSource::System,
            since: None,
        };
        edge.engine.step(&Input::Start(start), &mut out);
        edge.engine.step(&Input::Clock(clock), &mut out);
        assert!(out.is_empty());
        edge
    }

    fn eat(&mut self, t0: i64, items: Vec<Input>) {
        let mut list: Vec<Conclusion> = Vec::new();
        let due = items.iter().filter(|input| matches!(input, Input::Reading(_))).count() as u32;
        for input in &items {
            self.engine.step(input, &mut list);
        }
        let counts = vec![PointCounts { point: PointIx(0), due, answered: due, ..PointCounts::default() }];
        let because = Seq(self.gateway.seq);
        let inputs = Body::Inputs(InputsBody { items, counts });
        self.records.push(self.gateway.seal(t0, self.now, &inputs));
        for list in list.chunks(100).map(<[_]>::to_vec) {
            let (t0, t1) = (list[0].at.0, list[list.len() - 1].at.0);
            let body = Body::Conclusions(ConclusionsBody { because, list, frames: vec![] });
            self.records.push(self.gateway.seal(t0, t1.max(self.now), &body));
        }
    }

    /// So many minutes at this irradiance.
    fn read(&mut self, minutes: i64, irradiance: i64) {
        let mut left = minutes;
        while left > 0 {
            let t0 = self.now;
            let items = (1..=left.min(200)).map(|n| {
                let (at, value) = (EngineTime(t0 + n * MINUTE_MS), Quality::Good(Raw::Int(irradiance)));
                Input::Reading(Reading { point: PointIx(0), at, value })
            });
            let items: Vec<_> = items.collect();
            self.now = t0 + items.len() as i64 * MINUTE_MS;
            left -= items.len() as i64;
            self.eat(t0, items);
        }
    }

    /// A day: dark, with one session of half an hour.
    fn day(&mut self, irradiance: i64) {
        self.read(10 * 60, 0);
        self.read(30, irradiance);
        self.read(14 * 60, 0);
    }

    fn replace(&mut self) {
        let fact = DeviceFact::Replaced {
            serial: "1".into(),
            successor: "2".into(),
            by: "p".into(),
            counters: Some(Counters::Reset),
        };
        let fact = Fact { device: DeviceIx(0), at: EngineTime(self.now), body: FactBody::Device(fact) };
        self.eat(self.now, vec![Input::Fact(fact)]);
    }

    async fn push(&mut self, rig: &Rig) {
        let records = std::mem::take(&mut self.records);
        rig.push(&self.gateway, &records).await;
    }
}

async fn submit(rig: &Rig, unit: &str) {
    let answer = command(rig, unit, json!({ "command": "submit", "text": "已更换灯管" })).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.bytes));
    let verification = &answer.json()["verification"];
    let span = verification["to"].as_i64().unwrap() - verification["from"].as_i64().unwrap();
    assert_eq!((verification["verdict"].as_str(), span), (Some("pending"), 24 * HOUR_MS));
}

#[tokio::test]
async fn a_weak_lamp_is_closed_by_the_data_of_a_new_one() {
    let rig = Rig::new().await;
    rig.institution(INSTITUTION).await;
    let unit = rig.user("nurse", "institution").await;
    let now = rig.app.clock.civil().0;
    let mut edge = Edge::new(rig.gateway(1).await, now - 6 * HOUR_MS);
    // The third weak session in a week is a supervisor's item.
    for _ in 0..3 {
        edge.read(30, 0);
        edge.read(30, 60);
    }
    edge.read(30, 0);
    edge.push(&rig).await;
    let case = rig.get("/api/v1/cases/1").await;
    assert_eq!(case["rule"], "uv-lamp/weak", "{case:#}");
    for body in [json!({ "command": "acknowledge" }), dispatch(&rig)] {
        let answer = command(&rig, &rig.token, body).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.bytes));
    }
    assert_eq!(command(&rig, &unit, json!({ "command": "accept" })).await.status, 200);

    // It says that it was replaced, and it is as weak as before.
    submit(&rig, &unit).await;
    edge.read(4 * 60, 0);
    edge.day(60);
    edge.push(&rig).await;
    verifier::turn(&rig.app).await.unwrap();
    let case = rig.get("/api/v1/cases/1").await;
    let verdict = |case: &serde_json::Value| {
        let verdict = &case["verification"];
        (case["state"].clone(), verdict["verdict"].clone(), verdict["reason"].clone())
    };
    assert_eq!(verdict(&case), (json!("rectifying"), json!("fail"), json!("violated")), "{case:#}");

    // It stays dark: nothing is violated, and nothing is shown.
    submit(&rig, &unit).await;
    edge.read(25 * 60, 0);
    edge.push(&rig).await;
    verifier::turn(&rig.app).await.unwrap();
    let case = rig.get("/api/v1/cases/1").await;
    assert_eq!(case["state"], "verifying");
    assert_eq!(case["verifications"][1]["reason"], "not_tested", "{case:#}");

    // A new one, which takes its time to come up.
    edge.replace();
    edge.read(60, 0);
    edge.read(3, 30);
    edge.read(30, 95);
    edge.read(25 * 60, 0);
    edge.push(&rig).await;
    verifier::turn(&rig.app).await.unwrap();
    let case = rig.get("/api/v1/cases/1").await;
    assert_eq!(verdict(&case), (json!("verified"), json!("pass"), json!("held")), "{case:#}");
    assert_eq!(case["verification"]["coverage"], 1000);
    let approve = json!({ "command": "review", "decision": "approve" });
    assert_eq!(command(&rig, &rig.token, approve).await.json()["state"], "closed");

    // Years later, from one file.
    let exported = center::export::export(
        &super::rig::config(rig.directory.path()),
        &rig.app.clock,
        1,
        None,
        &[("uv-lamp.toml".to_owned(), b"".to_vec())],
    )
    .await
    .unwrap();
    let report = gateway_evidence::verify(&exported.made.bytes, None);
    let line = report.line("recomputation").unwrap();
    assert_eq!(line.facts["verdicts"], 3, "{line:#?}");
    assert_ne!(line.status, Status::Failed, "{line:#?}");
}
