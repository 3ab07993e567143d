//! Runs the tests that packs carry through the engine: each sample a reading, each expectation a look at the rule.

use std::collections::BTreeMap;

use gateway_engine::Engine;
use gateway_model::{
    BadCause, DeviceIx, DevicePlan, EngineTime, Epoch, Input, ModuleIx, Plan, PointIx, PointPlan,
    ProcessRegion, Quality, QualityRegion, Raw, Reading, StartCause, StartInput, Text, Unit,
};
use gateway_rules::{
    At, ExpectedState, File, Pack, PackSubject, PackTest, Placed, Sample, Setting, Settings, Source, Subject,
    bind, embedded_packs, parse_pack,
};

#[test]
fn every_test_of_every_embedded_pack_holds() {
    let mut failed = Vec::new();
    let mut ran = 0;
    for source in embedded_packs() {
        let pack = parse_pack(&source).unwrap();
        for test in &pack.tests {
            failed.extend(run(&pack, test));
            ran += 1;
            // A runner that finds everything in order would be no test.
            let mut turned = test.clone();
            let normal = turned.expect[0].state == ExpectedState::Normal;
            turned.expect[0].state = if normal { ExpectedState::Raised } else { ExpectedState::Normal };
            assert_eq!(run(&pack, &turned).len(), 1, "{}", test.name);
        }
    }
    assert!(ran > 10 && failed.is_empty(), "{ran} ran\n{}", failed.join("\n"));
}

/// What did not come as expected.
fn run(pack: &Pack, test: &PackTest) -> Vec<String> {
    let plan = plan(pack, test);
    let slots: BTreeMap<&str, usize> =
        plan.points.iter().zip(0..).map(|(point, slot)| (point.id.as_str(), slot)).collect();
    let every = test.every.0;
    let mut inputs = Vec::new();
    for (point, samples) in &test.points {
        let slot = PointIx(slots[point.as_str()] as u16);
        for (sample, n) in samples.iter().zip(0..) {
            let value = match sample {
                Sample::Value(value) => Quality::Good(Raw::F64(value.to_bits())),
                Sample::Bad => Quality::Bad(BadCause::Sentinel),
                Sample::Missing => continue,
            };
            inputs
                .push((n * every, Input::Reading(Reading { point: slot, at: EngineTime(n * every), value })));
        }
    }
    inputs.sort_by_key(|(at, _)| *at);
    let mut engine = Engine::new(plan);
    let mut out = Vec::new();
    let start = StartInput {
        at: EngineTime(0),
        epoch: Epoch(1),
        previous: None,
        previous_hash: None,
        cause: StartCause::First,
        downtime_ms: None,
        simulated: true,
    };
    engine.step(&Input::Start(start), &mut out);
    let mut inputs = inputs.into_iter().peekable();
    let mut expected = test.expect.clone();
    expected.sort_by_key(|expected| expected.at);
    let mut failed = Vec::new();
    for expected in expected {
        while let Some((_, input)) = inputs.next_if(|(at, _)| *at <= expected.at.0) {
            engine.step(&input, &mut out);
        }
        engine.step(&Input::Advance(EngineTime(expected.at.0)), &mut out);
        let found = state(&engine, &format!("{}/{}", pack.name, expected.rule));
        if found != Some(expected.state) {
            failed.push(format!(
                "{}: {}: at {} {} is {found:?}, not {:?}",
                pack.name, test.name, expected.at, expected.rule, expected.state
            ));
        }
    }
    failed
}

fn state(engine: &Engine, rule: &str) -> Option<ExpectedState> {
    let saved = engine.save();
    let life = saved.rules.iter().find(|life| life.rule == rule)?;
    let regions = life.alert.regions;
    Some(match (regions.process, regions.quality) {
        _ if !life.events.is_empty() => ExpectedState::Raised,
        (ProcessRegion::Active | ProcessRegion::Clearing, _) => ExpectedState::Raised,
        (_, QualityRegion::Stale | QualityRegion::Bad | QualityRegion::Unevaluable) => ExpectedState::Unknown,
        (ProcessRegion::Pending, QualityRegion::Good) => ExpectedState::Pending,
        (ProcessRegion::Normal, QualityRegion::Good) => ExpectedState::Normal,
    })
}

/// A site with one device of each kind the pack watches, every point in the pack's own unit.
fn plan(pack: &Pack, test: &PackTest) -> Plan {
    let PackSubject::Kinds(kinds) = &pack.subject else { panic!("{} is for everything", pack.name) };
    let source = Source { name: "test".into(), text: String::new() };
    let file = File::new(&source);
    let none = Settings::new();
    let program = test.program.clone().map(|value| At { value, span: 0..0 });
    let setting =
        |value: &String| Placed { key: 0..0, value: At { value: Setting::Text(value.clone()), span: 0..0 } };
    let settings =
        test.parameters.iter().map(|(key, value)| (format!("{}/{key}", pack.name), setting(value))).collect();
    let mut plan = Plan { buses: vec!["bus".into()], ..Plan::default() };
    for kind in kinds {
        let device = DeviceIx(plan.devices.len() as u16);
        plan.devices.push(DevicePlan { id: kind.clone(), kind: kind.clone(), name: Text::default(), bus: 0 });
        let mut points = BTreeMap::new();
        for (name, point) in pack.points.iter().filter(|(_, point)| point.is_of(kind)) {
            points.insert(name.clone(), (PointIx(plan.points.len() as u16), point.unit));
            plan.points.push(point_plan(name, device, point.unit, test.every.0));
        }
        let subject = Subject {
            device,
            kind,
            points: &points,
            program: program.as_ref(),
            file: &file,
            span: 0..0,
            settings: [&none, &settings],
        };
        let bound = bind(pack, 0, &subject, ModuleIx(plan.modules.len() as u16));
        plan.rules.extend(bound.rules);
        plan.modules.extend(bound.module);
    }
    assert_eq!(file.into_problems(), [], "{}: {}", pack.name, test.name);
    plan
}

fn point_plan(name: &str, device: DeviceIx, unit: Unit, every_ms: i64) -> PointPlan {
    PointPlan {
        id: name.to_owned(),
        device,
        name: Text::default(),
        unit,
        gain: 1.0,
        offset: 0.0,
        source: String::new(),
        every_ms,
        max_age_ms: every_ms * 3,
        deadband: 0.0,
        heartbeat_ms: 300_000,
        span: None,
        sentinels: Vec::new(),
        truth: unit == Unit::Truth,
        calibration: None,
    }
}
