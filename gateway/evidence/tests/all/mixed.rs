//! Hours of everything that limits and absences can meet, from a seed: bad, stale, held and late readings, restarts of every
//! kind, changed rules, acknowledgements that are right, late and wrong.

use gateway_evidence::{Outcome, verify};
use gateway_model::{
    AlertId, BadCause, Command, CommandBody, ConclusionBody, DeviceIx, EngineTime, Epoch, Handling, Input,
    Judging, Op, PatiencePlan, Plan, PointIx, PointPlan, Program, Quality, Raw, Reading, RuleIx, RuleKind,
    RulePlan, ShownPlan, UncertainCause, WindowFunction, WindowPlan,
};
use gateway_wire::Body;

use crate::Recorder;
use crate::bundle::{court_plan, sealed, trust};

const TEMPERATURE: PointIx = PointIx(0);
const PRESSURE: PointIx = PointIx(1);
const DOOR: PointIx = PointIx(2);

/// A linear congruential generator: the same numbers for ever.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn plan(limit: f64) -> Plan {
    let base = court_plan();
    let point = |id: &str, gain: f64, max_age_ms: i64, truth: bool| PointPlan {
        id: id.into(),
        gain,
        max_age_ms,
        truth,
        ..base.points[0].clone()
    };
    let condition =
        |when: Vec<Op>, returned: Option<Vec<Op>>, on_delay_ms, off_delay_ms, shown| RuleKind::Condition {
            when: Program(when),
            returned: returned.map(Program),
            on_delay_ms,
            off_delay_ms,
            shown: Some(shown),
            limit: Some(limit),
        };
    let (t, p) = (Op::Point(TEMPERATURE), Op::Point(PRESSURE));
    let kinds = [
        (
            "warm",
            condition(
                vec![t, Op::Number(limit), Op::Greater],
                Some(vec![t, Op::Number(limit - 1.0), Op::Less]),
                5_000,
                10_000,
                TEMPERATURE,
            ),
        ),
        (
            "door",
            condition(
                vec![
                    t,
                    Op::Number(5.0),
                    Op::Greater,
                    Op::TruthPoint(DOOR),
                    Op::And,
                    p,
                    Op::Number(2.0),
                    Op::Less,
                    Op::Or,
                ],
                None,
                0,
                0,
                PRESSURE,
            ),
        ),
        (
            "ratio",
            condition(
                vec![p, t, Op::Divide, Op::Absolute, Op::Number(0.2), Op::Less, Op::Not],
                None,
                3_000,
                0,
                TEMPERATURE,
            ),
        ),
        ("silent", RuleKind::Absence { point: TEMPERATURE, after_ms: 90_000 }),
        ("no-pressure", RuleKind::Absence { point: PRESSURE, after_ms: 20_000 }),
        (
            "span",
            condition(
                vec![
                    t,
                    p,
                    Op::Minimum,
                    t,
                    p,
                    Op::Maximum,
                    Op::Subtract,
                    Op::Negate,
                    Op::Number(6.0),
                    Op::GreaterOrEqual,
                ],
                None,
                2_000,
                4_000,
                PRESSURE,
            ),
        ),
    ];
    let rule = |(place, (id, kind)): (usize, (&str, RuleKind))| RulePlan {
        id: format!("cold-chain/{id}"),
        latching: place % 2 == 1,
        subject: DeviceIx(0),
        kind,
        ..base.rules[0].clone()
    };
    Plan {
        points: vec![
            point("fridge/temperature", 0.1, 30_000, false),
            point("fridge/pressure", 1.0, 0, false),
            point("fridge/door", 1.0, 0, true),
        ],
        rules: kinds.into_iter().enumerate().map(rule).collect(),
        ..base
    }
}

/// The same points under conditions that look through windows, and one with patience.
fn looking(limit: f64) -> Plan {
    let base = plan(limit);
    let spans = [(TEMPERATURE, 60), (PRESSURE, 300), (TEMPERATURE, 120), (PRESSURE, 60), (DOOR, 60)];
    let windows: Vec<WindowPlan> =
        spans.iter().map(|&(point, span_s)| WindowPlan { point, span_ms: span_s * 1_000 }).collect();
    let ask = |window: u32, function| Op::Window { window, point: spans[window as usize].0, function };
    let condition = |when: Vec<Op>, returned: Option<Vec<Op>>, on_delay_ms| RuleKind::Condition {
        when: Program(when),
        returned: returned.map(Program),
        on_delay_ms,
        off_delay_ms: 4_000,
        shown: None,
        limit: Some(limit),
    };
    let mean = ask(0, WindowFunction::Average);
    let (most, least) = (ask(1, WindowFunction::Maximum), ask(1, WindowFunction::Minimum));
    let (door, t) = (Op::TruthPoint(DOOR), Op::Point(TEMPERATURE));
    let kinds = [
        (
            "mean",
            condition(
                vec![mean, Op::Number(limit - 1.0), Op::Greater],
                Some(vec![mean, Op::Number(limit - 2.0), Op::Less]),
                0,
            ),
        ),
        ("spread", condition(vec![most, least, Op::Subtract, Op::Number(8.5), Op::Greater], None, 0)),
        (
            "median",
            condition(vec![ask(2, WindowFunction::Median), Op::Number(limit - 2.0), Op::Less], None, 5_000),
        ),
        (
            "rate",
            condition(
                vec![
                    ask(3, WindowFunction::Rate),
                    Op::Number(1_500.0),
                    Op::Greater,
                    ask(0, WindowFunction::Count),
                    Op::Number(2.0),
                    Op::Less,
                    Op::Or,
                ],
                None,
                1_000,
            ),
        ),
        ("age", condition(vec![ask(0, WindowFunction::Age), Op::Number(20_000.0), Op::Greater], None, 0)),
        (
            "choice",
            condition(
                vec![
                    door,
                    ask(3, WindowFunction::Last),
                    ask(3, WindowFunction::Sum),
                    Op::Select,
                    Op::Number(6.0),
                    Op::Greater,
                ],
                None,
                0,
            ),
        ),
        ("patient", condition(vec![t, Op::Number(limit), Op::Greater], None, 2_000)),
    ];
    let was_open = Program(vec![ask(4, WindowFunction::Maximum), door, Op::Not, Op::And]);
    let rule = |(id, kind): (&str, RuleKind)| RulePlan {
        id: format!("cold-chain/{id}"),
        subject: DeviceIx(0),
        kind,
        handling: Some(Handling {
            shown: (id == "mean")
                .then(|| ShownPlan { value: Program(vec![mean]), unit: gateway_model::Unit::Celsius }),
            patience: (id == "patient").then(|| PatiencePlan { when: was_open.clone(), on_delay_ms: 20_000 }),
            ..Handling::default()
        }),
        ..base.rules[0].clone()
    };
    let rules = kinds.into_iter().map(rule).collect();
    Plan { rules, judging: Some(Judging { windows, ..Judging::default() }), ..base }
}

fn reading(dice: &mut Dice, now: i64) -> Input {
    let late = if dice.roll(20) == 0 { 45_000 } else { 0 };
    let (point, raw) = match dice.roll(5) {
        0 | 1 => (TEMPERATURE, Raw::Int(dice.roll(130) as i64)),
        2 => (PRESSURE, Raw::F32((dice.roll(100) as f32 / 10.0).to_bits())),
        3 => (PRESSURE, Raw::Dec { mantissa: dice.roll(1_000) as i64, exponent: -2 }),
        _ => (DOOR, Raw::Int(dice.roll(2) as i64)),
    };
    let value = match dice.roll(24) {
        0 => Quality::Bad(BadCause::ALL[dice.roll(BadCause::ALL.len() as u64) as usize]),
        1 => Quality::Uncertain(raw, UncertainCause::Stale),
        2 => Quality::Uncertain(raw, UncertainCause::Held),
        3 => Quality::Uncertain(raw, UncertainCause::Clock),
        4 => Quality::Good(Raw::F64(f64::NAN.to_bits())),
        _ => Quality::Good(raw),
    };
    Input::Reading(Reading { point, at: EngineTime(now - late), value })
}

fn acknowledge(dice: &mut Dice, recorder: &Recorder) -> Option<Input> {
    let known: Vec<(AlertId, u32)> = recorder
        .records
        .iter()
        .filter_map(|(record, _)| match &record.body {
            Body::Conclusions(conclusions) => Some(&conclusions.list),
            _ => None,
        })
        .flatten()
        .filter_map(|one| match &one.body {
            ConclusionBody::Alert(change) => Some((change.alert, change.event)),
            ConclusionBody::Cycle(_)
            | ConclusionBody::Order { .. }
            | ConclusionBody::Suppression(_)
            | ConclusionBody::Storage(_)
            | ConclusionBody::Folded(_)
            | ConclusionBody::Config(_) => None,
        })
        .collect();
    let (alert, event) = *known.get(known.len().saturating_sub(1 + dice.roll(8) as usize))?;
    let body = CommandBody::Acknowledge { alert, event };
    let order = Some((1, dice.roll(1_000_000)));
    Some(Input::Command(Command { at: EngineTime(recorder.now), order, author: "p".into(), body }))
}

fn recorder(seed: u64, plan: fn(f64) -> Plan) -> Recorder {
    let mut dice = Dice(seed);
    let mut recorder = Recorder::of(3, plan(8.0));
    recorder.clock();
    let mut limit = 8.0;
    for round in 0..220 {
        let mut items = Vec::new();
        for _ in 0..=dice.roll(9) {
            recorder.now += 1 + dice.roll(9_000) as i64;
            items.push(match dice.roll(12) {
                0 => Input::Advance(EngineTime(recorder.now)),
                1 => Input::Heartbeat(EngineTime(recorder.now)),
                2 => acknowledge(&mut dice, &recorder).unwrap_or(Input::Advance(EngineTime(recorder.now))),
                _ => reading(&mut dice, recorder.now),
            });
        }
        recorder.now += if dice.roll(9) == 0 { 120_000 } else { 0 };
        items.push(Input::Advance(EngineTime(recorder.now)));
        recorder.inputs(items);
        match dice.roll(40) {
            0 => {
                recorder.checkpoint();
            }
            1 | 2 => {
                let away = [Some(0), Some(30_000), Some(60_000), Some(400_000), None][dice.roll(5) as usize];
                limit = if dice.roll(3) == 0 { 16.5 - limit } else { limit };
                recorder.start_after(plan(limit), Vec::new(), away);
            }
            _ => {}
        }
        assert!(round < 400, "bounded");
    }
    recorder.stop();
    recorder
}

/// A bundle of such hours.
pub(crate) fn bundle(seed: u64) -> Vec<u8> {
    bundle_of(&recorder(seed, plan))
}

/// A bundle of such hours under rules that look through windows.
pub(crate) fn looking_bundle(seed: u64) -> Vec<u8> {
    bundle_of(&recorder(seed, looking))
}

fn bundle_of(recorder: &Recorder) -> Vec<u8> {
    sealed(&recorder.key.verifying_key(), &recorder.bytes(), &recorder.selection(), Vec::new())
}

#[test]
fn whatever_happens_comes_out_the_same_again() {
    for seed in 1..=5 {
        for bundle in [bundle(seed), looking_bundle(seed)] {
            let report = verify(&bundle, Some(&trust()));
            assert_eq!(report.outcome(), Outcome::Valid, "seed {seed}:\n{}", report.text());
        }
    }
}

#[test]
fn the_mixture_holds_every_rule_and_change() {
    for (plan, rules) in [(plan as fn(f64) -> Plan, 6), (looking, 7)] {
        let mut seen = std::collections::BTreeSet::new();
        for (record, _) in &recorder(1, plan).records {
            let Body::Conclusions(conclusions) = &record.body else { continue };
            for one in &conclusions.list {
                if let ConclusionBody::Alert(change) = &one.body {
                    let known = change.rule.is_some_and(|rule| rule < RuleIx(rules));
                    assert!(known && change.alert.epoch > Epoch(0));
                    seen.insert((change.rule, format!("{:?}", change.change)));
                }
            }
        }
        for rule in 0..rules {
            assert!(seen.contains(&(Some(RuleIx(rule)), "Raised".to_owned())), "rule {rule}: {seen:?}");
        }
        for change in
            ["Cleared(Returned)", "Cleared(Superseded)", "Acknowledged", "Quality", "Gap", "Recurred"]
        {
            assert!(seen.iter().any(|(_, one)| one == change), "{change}: {seen:?}");
        }
    }
}
