//! Evidence can be recomputed: the journal of a demo day through the engine again gives every conclusion again.

use e2e::ground::program;
use e2e::process::run;
use e2e::records::{at_gateway, key};
use e2e::{Place, gateway};
use gateway_engine::Engine;
use gateway_evidence::{Verdict, recompute};
use gateway_journal::{Class, Journal, Limits, Position};
use gateway_model::{
    Change, ClearCause, Conclusion, ConclusionBody, DeviceIx, DevicePlan, EngineTime, Epoch, First, Input,
    Plan, PointIx, PointPlan, Priority, Quality, Raw, Reading, RuleKind, RulePlan, RuleText, Seq, StartCause,
    StartInput, Text, Unit, VerifyPlan,
};
use gateway_wire::{
    Body, ConclusionsBody, ConfigBody, Header, InputsBody, Record, SigningKey, VerifyingKey, hash, open, seal,
};
use serde_json::Value;

use crate::sites::demo_clinic;

const HOUR_MS: i64 = 3_600_000;

/// A day at the clinic: sterilizer cycles, a fridge, a lamp, visits, and what the scenario breaks.
#[tokio::test]
async fn a_day_of_the_demo_comes_out_the_same_again() {
    let place = Place::new("rerun");
    let (clinic, _) = demo_clinic(&place).await;

    // The program itself.
    let again = run(&program("gateway"), ["rerun".as_ref(), clinic.data().as_os_str()]).good();
    let summary: Value = serde_json::from_str(again.lines().last().unwrap()).unwrap();
    assert_eq!(summary["different"], 0, "{again}");
    assert_eq!(summary["not_comparable"], 0, "{again}");
    let compared = summary["conclusions"].as_u64().unwrap();
    assert!(compared >= 20, "a day without events shows nothing: {again}");

    // And the library that checks evidence, from bytes and key alone.
    let verifying = key(clinic.data()).verifying_key();
    let records: Vec<Vec<u8>> = at_gateway(clinic.data()).into_iter().map(|found| found.bytes).collect();
    let recorded = recomputed(&verifying, &records);
    assert_eq!(recorded.len() as u64, compared);
    let cycles = recorded.iter().filter(|one| matches!(one.body, ConclusionBody::Cycle(_))).count();
    let alerts = recorded.iter().filter(|one| matches!(one.body, ConclusionBody::Alert(_))).count();
    assert!(cycles >= 10 && alerts >= 4, "{cycles} cycles, {alerts} alert changes");
}

/// A reading stamped 299.95 s that is handed over after the timer at 300 s has fired: the alert stands at 300.000 s, and the
/// reading ends it without turning time back. Whoever sorts the inputs by their stamps loses the alert.
#[test]
fn a_reading_handed_over_after_its_timer_comes_out_the_same_again() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let at = |ms: i64| EngineTime(1_000_000 + ms);
    let reading = |ms: i64| {
        Input::Reading(Reading { point: PointIx(0), at: at(ms), value: Quality::Good(Raw::Int(42)) })
    };
    let start = StartInput {
        at: at(0),
        epoch: Epoch(1),
        previous: None,
        previous_hash: None,
        cause: StartCause::First,
        downtime_ms: None,
        simulated: false,
    };
    let batches = [
        vec![reading(0)],
        vec![Input::Advance(at(300_000)), reading(299_950)],
        vec![Input::Advance(at(900_000))],
    ];

    // What a shell does: each batch of inputs is sealed, then what was concluded from it.
    let place = Place::new("late");
    let limits = Limits { ring_bytes: 1 << 20, keep_bytes: 1 << 20, segment_bytes: 1 << 18 };
    let (mut journal, _) = Journal::open(&place.folder("journal"), limits).unwrap();
    assert_eq!(journal.begin_epoch().unwrap(), 1);
    let mut writer = Writer { key: &key, journal: &mut journal, seq: 0, prev: [0; 32] };
    let mut engine = Engine::new(absence_plan());
    let mut out = Vec::new();
    writer.put(Class::Keep, at(0), &Body::Start(start.clone()));
    let config =
        ConfigBody { plan: absence_plan(), software: "e2e".into(), semantics: gateway_model::SEMANTICS };
    writer.put(Class::Keep, at(0), &Body::Config(Box::new(config)));
    engine.step(&Input::Start(start), &mut out);
    assert!(out.is_empty());
    for items in batches {
        for input in &items {
            engine.step(input, &mut out);
        }
        let because = Seq(writer.seq);
        writer.put(Class::Ring, engine.now(), &Body::Inputs(InputsBody { items, counts: Vec::new() }));
        if !out.is_empty() {
            let list = std::mem::take(&mut out);
            writer.put(
                Class::Keep,
                engine.now(),
                &Body::Conclusions(ConclusionsBody { because, list, frames: Vec::new() }),
            );
        }
    }
    drop(journal);

    let (journal, _) = Journal::open_read_only(&place.path().join("journal")).unwrap();
    let records: Vec<Vec<u8>> =
        journal.scan(Position::default()).map(|stored| stored.unwrap().bytes).collect();
    let recorded = recomputed(&key.verifying_key(), &records);
    let changes: Vec<(i64, Change)> = recorded
        .iter()
        .filter_map(|one| match &one.body {
            ConclusionBody::Alert(change) => Some((one.at.since(at(0)), change.change)),
            ConclusionBody::Cycle(_)
            | ConclusionBody::Order { .. }
            | ConclusionBody::Suppression(_)
            | ConclusionBody::Storage(_)
            | ConclusionBody::Folded(_)
            | ConclusionBody::Config(_) => None,
        })
        .collect();
    assert_eq!(
        changes,
        [
            (300_000, Change::Raised),
            // Eaten at the engine's own time, which never goes back.
            (300_000, Change::Cleared(ClearCause::Returned)),
            // The next silence is counted from the reading.
            (600_000, Change::Raised),
        ]
    );

    // The program agrees.
    std::fs::write(place.path().join("key"), gateway_wire::hex(&key.to_bytes())).unwrap();
    let again = gateway::command(["rerun".as_ref(), place.path().as_os_str()]).good();
    let summary: Value = serde_json::from_str(again.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&summary["conclusions"], &summary["different"]),
        (&Value::from(3), &Value::from(0)),
        "{again}"
    );
}

/// Everything recorded follows from the inputs, in order, equal in kind, id, engine time and values; gives it.
fn recomputed(key: &VerifyingKey, records: &[Vec<u8>]) -> Vec<Conclusion> {
    let records: Vec<Record> = records
        .iter()
        .map(|bytes| {
            let opened = open(key, bytes).unwrap();
            Record { header: opened.header, body: opened.body.unwrap() }
        })
        .collect();
    let found = recompute(records.iter().cloned());
    assert_eq!(found.verdict(), Verdict::Valid, "{:#?}\n{:#?}", found.first_difference, found.incomplete);
    assert!(found.pending.is_empty(), "concluded and not recorded: {:#?}", found.pending);
    let recorded: Vec<Conclusion> = records
        .into_iter()
        .flat_map(|record| match record.body {
            Body::Conclusions(conclusions) => conclusions.list,
            Body::Start(_)
            | Body::Config(_)
            | Body::Inputs(_)
            | Body::Checkpoint(_)
            | Body::Gap(_)
            | Body::Parted(_)
            | Body::Part(_) => Vec::new(),
        })
        .collect();
    assert_eq!(found.conclusions_checked, recorded.len() as u64);
    recorded
}

struct Writer<'w> {
    key: &'w SigningKey,
    journal: &'w mut Journal,
    seq: u64,
    prev: [u8; 32],
}

impl Writer<'_> {
    fn put(&mut self, class: Class, at: EngineTime, body: &Body) {
        let header = Header {
            gateway: self.key.gateway_id(),
            epoch: Epoch(1),
            seq: Seq(self.seq),
            prev: self.prev,
            config: Seq(u64::from(self.seq > 1)),
            t0: at,
            t1: at,
        };
        let bytes = seal(self.key, &header, body);
        let position = self.journal.append(class, &bytes).unwrap();
        assert_eq!(position, Position { epoch: 1, seq: self.seq });
        self.seq += 1;
        self.prev = hash(&bytes);
    }
}

/// One point, and a rule that nothing was received of it for 300 s.
fn absence_plan() -> Plan {
    let text = || Text { zh: "测试".into(), en: "test".into() };
    Plan {
        devices: vec![DevicePlan { id: "feed-1".into(), kind: "dental-feed".into(), name: text(), bus: 0 }],
        points: vec![PointPlan {
            id: "feed-1/visits".into(),
            device: DeviceIx(0),
            name: text(),
            unit: Unit::One,
            gain: 1.0,
            offset: 0.0,
            source: "/count".into(),
            every_ms: 0,
            max_age_ms: 24 * HOUR_MS,
            deadband: 0.0,
            heartbeat_ms: HOUR_MS,
            span: None,
            sentinels: Vec::new(),
            truth: false,
            calibration: None,
            stuck: None,
        }],
        rules: vec![RulePlan {
            id: "dental-clinic/silent".into(),
            pack: 0,
            subject: DeviceIx(0),
            kind: RuleKind::Absence { point: PointIx(0), after_ms: 300_000 },
            priority: Priority::Yellow,
            first: First::Institution,
            self_fix_ms: None,
            latching: false,
            text: RuleText {
                title: text(),
                sentence: text(),
                action: text(),
                norm: text(),
                mark: "P".into(),
            },
            verify: VerifyPlan { window_ms: HOUR_MS, coverage_permille: 900, during: None, criterion: None },
            handling: None,
        }],
        buses: vec!["mqtt".into()],
        utc_offset_min: 480,
        ..Plan::default()
    }
}
