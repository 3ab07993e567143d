//! A load that failed (design §7): run again and passed, it is settled at the institution and no supervisor hears of it; used without
//! that, it is top priority. With the clinic of the examples, its packs, the engine, and the center's own rules for items.

use std::collections::BTreeSet;

use center_casebook::{Telling, is_item, priority, telling};
use e2e::ground::root;
use gateway::config::{load, load_str};
use gateway_engine::Engine;
use gateway_model::{
    AlertChange, Change, ClearCause, ClockInput, ClockSource, ConclusionBody, DeviceIx, EngineTime, Epoch,
    Fact, FactBody, Input, PointIx, Priority, Quality, Raw, Reading, RulePlan, StartCause, StartInput,
};

const MINUTE: i64 = 60;
/// 2026-11-23T09:00:00+08:00, civil ms.
const MONDAY_AT_NINE: i64 = 1_795_395_600_000;

struct Clinic {
    engine: Engine,
    out: Vec<gateway_model::Conclusion>,
}

impl Clinic {
    fn open() -> Self {
        let site = load(&root().join("deploy/example/clinic.toml")).unwrap();
        let mut clinic = Self { engine: Engine::new(site.plan), out: Vec::new() };
        clinic.eat(&Input::Start(StartInput {
            at: EngineTime(0),
            epoch: Epoch(1),
            previous: None,
            previous_hash: None,
            cause: StartCause::First,
            downtime_ms: None,
            simulated: true,
        }));
        // Monday, nine o'clock: windows that count opening hours need to know it.
        clinic.eat(&Input::Clock(ClockInput {
            at: EngineTime(0),
            offset_ms: MONDAY_AT_NINE,
            error_ms: Some(0),
            source: ClockSource::Demo,
            since: None,
        }));
        clinic
    }

    fn eat(&mut self, input: &Input) {
        self.engine.step(input, &mut self.out);
    }

    fn point(&self, id: &str) -> PointIx {
        PointIx::of(self.engine.plan().points.iter().position(|point| point.id == id).unwrap())
    }

    /// A load that holds 135 °C for so many seconds, from a second on; every ten seconds a reading. Answers with its end.
    fn load(&mut self, from: i64, hold: i64) -> i64 {
        let (temperature, door) = (self.point("sterilizer-1/temperature"), self.point("sterilizer-1/door"));
        let end = from + 600 + hold + 600;
        for second in (from..end).step_by(10) {
            let into = second - from;
            let celsius = match into {
                0..600 => 25.0 + 110.0 * into as f64 / 600.0,
                _ if into <= 600 + hold => 135.0,
                _ => 135.0 - 110.0 * (into - 600 - hold) as f64 / 600.0,
            };
            let reading = |point, value: f64| {
                let value = Quality::Good(Raw::F64(value.to_bits()));
                Input::Reading(Reading { point, at: EngineTime(second * 1_000), value })
            };
            // Tenths of a degree, as the module says them.
            let gain = self.engine.plan().points[temperature.slot()].gain;
            self.eat(&reading(temperature, celsius / gain));
            self.eat(&reading(door, 0.0));
        }
        end
    }

    fn visit(&mut self, second: i64) {
        let device = self.engine.plan().devices.iter().position(|device| device.id == "feed-1").unwrap();
        let body = FactBody::Visits { count: 1 };
        self.eat(&Input::Fact(Fact { device: DeviceIx::of(device), at: EngineTime(second * 1_000), body }));
    }

    fn wait(&mut self, second: i64) {
        self.eat(&Input::Advance(EngineTime(second * 1_000)));
    }

    /// What became of the failed load, with its rule.
    fn story(&self) -> Vec<(AlertChange, &RulePlan)> {
        let rules = &self.engine.plan().rules;
        let changes = self.out.iter().filter_map(|conclusion| {
            let ConclusionBody::Alert(change) = &conclusion.body else { return None };
            Some(change)
        });
        let told = changes.filter_map(|change| {
            let rule = &rules[change.rule?.slot()];
            (rule.id == "sterilizer/cycle-failed").then(|| (change.clone(), rule))
        });
        told.collect()
    }
}

#[test]
fn a_failed_load_that_is_repeated_is_settled_at_the_institution() {
    let mut clinic = Clinic::open();
    let failed = clinic.load(0, 60);
    // Patients go on coming while it is repeated: they get instruments of earlier loads.
    clinic.visit(failed + 20 * MINUTE);
    let passed = clinic.load(failed + 25 * MINUTE, 300);
    clinic.visit(passed + 10 * MINUTE);
    clinic.visit(passed + 100 * MINUTE);
    clinic.wait(passed + 24 * 60 * MINUTE);
    let story = clinic.story();
    let changes: Vec<Change> = story.iter().map(|(change, _)| change.change).collect();
    assert_eq!(changes, [Change::Raised, Change::Cleared(ClearCause::Settled)]);
    assert!(
        story.iter().all(|(change, rule)| !is_item(clinic.engine.plan(), rule, change.detail)),
        "no supervisor hears of it"
    );
}

#[test]
fn a_failed_load_that_is_used_is_top_priority() {
    let mut clinic = Clinic::open();
    let failed = clinic.load(0, 60);
    // Within an hour and a half what is used may come from earlier loads (decision 23).
    clinic.visit(failed + 40 * MINUTE);
    assert!(clinic.story().iter().all(|(change, rule)| !is_item(clinic.engine.plan(), rule, change.detail)));
    clinic.visit(failed + 95 * MINUTE);
    let story = clinic.story();
    let (worst, rule) = story.last().unwrap();
    assert!(matches!(worst.change, Change::Aggravated | Change::Escalated(_)), "{worst:?}");
    assert!(is_item(clinic.engine.plan(), rule, worst.detail));
    assert_eq!(priority(rule, worst.detail), Priority::Red);
}

#[test]
fn a_failed_load_that_nobody_repeats_becomes_the_supervisors_before_it_is_forgotten() {
    let mut clinic = Clinic::open();
    let failed = clinic.load(0, 60);
    // It failed when it cooled down, some minutes before its end: its two hours began there.
    clinic.wait(failed + 105 * MINUTE);
    assert!(clinic.story().iter().all(|(change, rule)| !is_item(clinic.engine.plan(), rule, change.detail)));
    clinic.wait(failed + 24 * 60 * MINUTE);
    let story = clinic.story();
    let item = story.iter().find(|(change, rule)| is_item(clinic.engine.plan(), rule, change.detail));
    assert!(
        item.is_some_and(|(change, rule)| priority(rule, change.detail) == Priority::Orange),
        "{story:?}"
    );
    assert!(!story.iter().any(|(change, _)| matches!(change.change, Change::Cleared(_))), "it is still open");
}

/// What the packs' rules are told as: read off their plans, so a rule that is rewritten may change its kind without a word.
#[test]
fn duties_are_digests_ratios_are_leads_and_waste_waits_for_the_morning() {
    let mut seen = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("deploy/example")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "toml") {
            continue;
        }
        // Ratios over days are judged where opening hours are known.
        let mut text = std::fs::read_to_string(&path).unwrap();
        if !text.contains("\n[hours]") {
            text.push_str("\n[hours]\nopen = [\"mon-sun 08:00-18:00\"]\n");
        }
        let site = load_str(&path.display().to_string(), &text).unwrap();
        for rule in &site.plan.rules {
            let expected = match rule.id.as_str() {
                "sterilizer/few-loads"
                | "dental-clinic/handpieces-too-few"
                | "disinfection-cabinet/cups-too-few"
                | "medical-waste/visits-without-waste"
                | "medical-waste/waste-per-visit" => Telling::Lead,
                "medical-waste/stored-too-long" => Telling::Morning,
                id if id.ends_with("-overdue") => Telling::Duty,
                _ => Telling::Alert,
            };
            assert_eq!(telling(&site.plan, rule), expected, "{}: {}", path.display(), rule.id);
            seen.insert((expected.code(), rule.id.clone()));
        }
    }
    for told in Telling::ALL {
        assert!(seen.iter().any(|(code, _)| *code == told.code()), "{told:?}: {seen:?}");
    }
}
