//! Runs the tests that packs carry through the engine: each sample a reading, each expectation a look at the rules.
//!
//! `gateway rules test` and this program's own tests of the embedded packs are the same runner.

use std::collections::BTreeMap;

use gateway_engine::Engine;
use gateway_model::{
    BadCause, ClockInput, ClockSource, DeviceIx, DevicePlan, EngineTime, Epoch, Fact, Handling, Input,
    ModuleIx, Op, Plan, PointIx, PointPlan, Priority, ProcessRegion, Program, Quality, QualityRegion, Raw,
    Reading, RuleKind, RulePlan, StartCause, StartInput, Text, UncertainCause, Unit, VerifyPlan,
};
use gateway_rules::{
    At, Expectation, ExpectedState, File, Millis, Neighbour, Neighbours, Pack, PackRule, PackTest, Placed,
    Sample, Setting, Settings, Source, Subject, Watch, Windows, bind, bind_unevaluable,
};

/// A series of this name is the clock: a number = civil time is known, `bad` = it is not.
const CLOCK: &str = "clock";

/// Runs one test of a pack; what did not come as expected, in words. What a pack says of everything is tried on devices made up
/// for it: one on a common bus for each point that the test names, with a rule that is never violated.
pub fn run(pack: &Pack, test: &PackTest) -> Vec<String> {
    let plan = match plan(pack, test) {
        Ok(plan) => plan,
        Err(problem) => return vec![format!("{}: {}: {problem}", pack.name, test.name)],
    };
    let slots: BTreeMap<&str, usize> =
        plan.points.iter().zip(0..).map(|(point, slot)| (point.id.as_str(), slot)).collect();
    let every = test.every.0;
    let mut inputs = Vec::new();
    let start_ms = test.start.map_or(0, |start| start.0);
    let clock = |at: i64, known: bool| {
        Input::Clock(ClockInput {
            at: EngineTime(at),
            offset_ms: start_ms,
            error_ms: known.then_some(50),
            source: ClockSource::System,
            since: None,
        })
    };
    if test.start.is_some() {
        inputs.push((0, clock(0, true)));
    }
    for (at, body) in &test.facts {
        let device = DeviceIx::of(pack.subject.kinds.len().saturating_sub(1));
        inputs.push((at.0, Input::Fact(Fact { device, at: EngineTime(at.0), body: body.clone() })));
    }
    for (point, samples) in &test.points {
        if point == CLOCK {
            for (n, sample) in (0..).zip(samples) {
                match sample {
                    Sample::Value(_) => inputs.push((n * every, clock(n * every, true))),
                    Sample::Bad | Sample::Stale => inputs.push((n * every, clock(n * every, false))),
                    Sample::Missing => (),
                }
            }
            continue;
        }
        // A point that is not in the plan was said when the pack was read.
        let Some(slot) = slots.get(point.as_str()).map(|slot| PointIx::of(*slot)) else { continue };
        let mut last = None;
        for (sample, n) in samples.iter().zip(0..) {
            let value = match sample {
                Sample::Value(value) => Quality::Good(Raw::F64(value.to_bits())),
                Sample::Bad => Quality::Bad(BadCause::Sentinel),
                Sample::Stale => match last {
                    Some(last) => Quality::Uncertain(last, UncertainCause::Stale),
                    None => continue,
                },
                Sample::Missing => continue,
            };
            last = value.number().or(last);
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
    let mut looks: Vec<(Millis, Look<'_>)> =
        test.expect.iter().map(|expected| (expected.at, Look::State(expected))).collect();
    looks.extend(test.exactly.iter().map(|(at, raised)| (*at, Look::Exactly(raised))));
    looks.sort_by_key(|(at, _)| *at);
    let mut failed = Vec::new();
    for (at, look) in looks {
        while let Some((_, input)) = inputs.next_if(|(due, _)| *due <= at.0) {
            engine.step(&input, &mut out);
        }
        engine.step(&Input::Advance(EngineTime(at.0)), &mut out);
        failed.extend(
            look.fault(pack, &engine).map(|fault| format!("{}: {}: at {at} {fault}", pack.name, test.name)),
        );
    }
    failed
}

/// Rules with fewer tests than this are not tested: fires, not at the limit, missing data, recovers.
pub const TESTS_MIN: usize = 4;

/// The rules of a pack that too few of its tests are about, with how many are.
pub fn untested(pack: &Pack) -> Vec<(&str, usize)> {
    let tests = |rule: &str| pack.tests.iter().filter(|test| test.is_about(rule)).count();
    let counts = pack.rules.iter().map(|rule| (rule.name.as_str(), tests(&rule.name)));
    counts.filter(|(_, tests)| *tests < TESTS_MIN).collect()
}

/// From when on data are missing in a test that a rule rests on: a sample that did not come, or came without a number, a series that is
/// not there at all, a clock that is not known, or no entry where nothing else is read.
fn missing_from(pack: &Pack, rule: &PackRule, test: &PackTest) -> Option<Millis> {
    let broken = |samples: &[Sample]| {
        let first = samples.iter().position(|sample| !matches!(sample, Sample::Value(_)));
        first.map(|place| Millis(place as i64 * test.every.0))
    };
    let series = |name: &str| test.points.iter().find(|(point, _)| point == name);
    let clock =
        || series(CLOCK).map_or_else(|| test.start.is_none().then_some(Millis(0)), |(_, of)| broken(of));
    let points = pack.rests_on(rule);
    let whole = match rule.watch {
        Watch::DeviceUnevaluable { .. } | Watch::BusUnevaluable { .. } => {
            return test.points.iter().filter_map(|(_, samples)| broken(samples)).min();
        }
        Watch::ClockUnevaluable { .. } => return clock(),
        Watch::Condition { .. } | Watch::Absence { .. } | Watch::CycleFailed { .. } | Watch::Event { .. } => {
            points.is_empty() && test.facts.is_empty()
        }
    };
    let read = points.iter().filter(|point| !test.lacks.iter().any(|lacks| lacks == *point));
    let read = read.filter_map(|point| series(point).map_or(Some(Millis(0)), |(_, samples)| broken(samples)));
    let time = pack.asks_time(rule).then(clock).flatten();
    read.chain(time).chain(whole.then_some(Millis(0))).min()
}

/// What no test of a rule shows, though each could be there four times over: that it is raised, that it stays quiet, that it
/// ends once it was raised, and what becomes of it when its data are missing.
pub fn unshown(pack: &Pack) -> Vec<(&str, &'static str)> {
    let mut lacking = Vec::new();
    for rule in &pack.rules {
        let about = || pack.tests.iter().filter(|test| test.is_about(&rule.name));
        let states = |test: &PackTest| {
            let mut states: Vec<(Millis, bool)> = test
                .expect
                .iter()
                .filter(|expected| expected.rule == rule.name)
                .map(|expected| (expected.at, expected.state == ExpectedState::Raised))
                .collect();
            states.extend(test.exactly.iter().map(|(at, raised)| (*at, raised.contains(&rule.name))));
            states.sort_by_key(|(at, _)| *at);
            states
        };
        let raised = |test: &PackTest| states(test).iter().any(|(_, raised)| *raised);
        let ends = |test: &PackTest| {
            let mut after = states(test).into_iter().skip_while(|(_, raised)| !raised);
            after.any(|(_, raised)| !raised)
        };
        let missing = |test: &PackTest| {
            let from = missing_from(pack, rule, test);
            from.is_some_and(|from| states(test).iter().any(|(at, _)| *at > from))
        };
        for (shown, what) in [
            (about().any(raised), "that it is raised"),
            (about().any(|test| !raised(test)), "that it stays quiet"),
            (about().any(ends), "that it ends"),
            (about().any(missing), "what becomes of it without data"),
        ] {
            if !shown {
                lacking.push((rule.name.as_str(), what));
            }
        }
    }
    lacking
}

/// What is looked at, at one moment of a test.
enum Look<'t> {
    State(&'t Expectation),
    Exactly(&'t [String]),
}

impl Look<'_> {
    /// What is wrong, in words.
    fn fault(&self, pack: &Pack, engine: &Engine) -> Option<String> {
        let stands = |rule: &str| state(engine, &format!("{}/{rule}", pack.name));
        match self {
            Self::State(expected) => {
                let found = stands(&expected.rule);
                (found != Some(expected.state)).then(|| {
                    format!("{} is {}, not {}", expected.rule, word(found), word(Some(expected.state)))
                })
            }
            Self::Exactly(expected) => {
                let names = pack.rules.iter().map(|rule| rule.name.as_str());
                let raised: Vec<&str> =
                    names.filter(|rule| stands(rule) == Some(ExpectedState::Raised)).collect();
                let as_expected = raised.len() == expected.len()
                    && raised.iter().all(|rule| expected.iter().any(|expected| expected == rule));
                (!as_expected)
                    .then(|| format!("raised are [{}], not [{}]", raised.join(", "), expected.join(", ")))
            }
        }
    }
}

fn word(state: Option<ExpectedState>) -> &'static str {
    match state {
        None => "not there",
        Some(ExpectedState::Normal) => "normal",
        Some(ExpectedState::Pending) => "pending",
        Some(ExpectedState::Raised) => "raised",
        Some(ExpectedState::Unknown) => "unknown",
    }
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
fn plan(pack: &Pack, test: &PackTest) -> Result<Plan, String> {
    let source = Source { name: "test".into(), text: String::new() };
    let file = File::new(&source);
    let none = Settings::new();
    let program = test.program.clone().map(|value| At { value, span: 0..0 });
    let setting =
        |value: &String| Placed { key: 0..0, value: At { value: Setting::Text(value.clone()), span: 0..0 } };
    let settings =
        test.parameters.iter().map(|(key, value)| (format!("{}/{key}", pack.name), setting(value))).collect();
    let mut plan = Plan { buses: vec!["bus".into()], ..Plan::default() };
    plan.judging.get_or_insert_default().calendar.clone_from(&test.hours);
    let every = test.every.0;
    let kinds = &pack.subject.kinds;
    let own: Vec<Points> = kinds
        .iter()
        .map(|kind| {
            let lacks = |name: &String| test.lacks.contains(name);
            let own = pack.points.iter().filter(|(name, point)| point.is_of(kind) && !lacks(name));
            device(&mut plan, kind, "", own.map(|(name, point)| (name, point.unit)), every)
        })
        .collect();
    let mut neighbours = Neighbours::new();
    for (name, neighbour) in &pack.neighbours {
        let place = kinds.iter().position(|kind| *kind == neighbour.device);
        let standing = place.map_or_else(
            || {
                let points = neighbour.points.iter().map(|(point, plan)| (point, plan.unit));
                device(&mut plan, &neighbour.device, &format!("{name}."), points, every)
            },
            |place| own[place].clone(),
        );
        neighbours.insert(name.clone(), Neighbour { device: standing.0, points: standing.1 });
    }
    let mut windows = Windows::of(&plan);
    for (kind, (device, points)) in kinds.iter().zip(&own) {
        let subject = Subject {
            device: *device,
            kind,
            points,
            program: program.as_ref(),
            file: &file,
            span: 0..0,
            settings: [&none, &settings],
            calibrations: &BTreeMap::new(),
            neighbours: &neighbours,
            hours: test.hours.is_some(),
        };
        bind(pack, 0, &subject, ModuleIx::of(plan.modules.len())).add_to(&mut plan, &mut windows);
    }
    if pack.subject.everything {
        everything(pack, test, &file, &settings, &mut plan);
    }
    match file.into_problems().first() {
        Some(problem) => Err(problem.message.clone()),
        None => Ok(plan),
    }
}

/// A device and its points, by the pack's names for them.
type Points = (DeviceIx, BTreeMap<String, (PointIx, Unit)>);

/// A device with these points; `prefix`: what a test writes before their names.
fn device<'n>(
    plan: &mut Plan,
    kind: &str,
    prefix: &str,
    points: impl Iterator<Item = (&'n String, Unit)>,
    every_ms: i64,
) -> Points {
    let device = DeviceIx::of(plan.devices.len());
    plan.devices.push(DevicePlan { id: kind.into(), kind: kind.into(), name: Text::default(), bus: 0 });
    let mut placed = BTreeMap::new();
    for (name, unit) in points {
        placed.insert(name.clone(), (PointIx::of(plan.points.len()), unit));
        plan.points.push(point_plan(&format!("{prefix}{name}"), device, unit, every_ms));
    }
    (device, placed)
}

/// Devices for what a pack says of everything.
fn everything(pack: &Pack, test: &PackTest, file: &File<'_>, settings: &Settings, plan: &mut Plan) {
    let mut watched = Vec::new();
    let named = test.points.iter().map(|(name, _)| name);
    for name in named.filter(|name| *name != CLOCK && !pack.points.contains_key(*name)) {
        let (ix, points) = device(plan, name, "", std::iter::once((name, Unit::One)), test.every.0);
        let point = points[name].0;
        plan.rules.push(RulePlan {
            id: format!("test/{name}"),
            pack: 0,
            subject: ix,
            kind: RuleKind::Condition {
                when: Program(vec![Op::Point(point), Op::Number(f64::MAX), Op::Greater]),
                returned: None,
                on_delay_ms: 0,
                off_delay_ms: 0,
                shown: None,
                limit: None,
            },
            priority: Priority::Blue,
            first: gateway_model::First::Maintainer,
            self_fix_ms: None,
            latching: false,
            text: gateway_model::RuleText::default(),
            verify: VerifyPlan { window_ms: 0, coverage_permille: 0, during: None, criterion: None },
            handling: Some(Handling { sleeps: true, ..Handling::default() }),
        });
        watched.push((ix, 0));
    }
    plan.rules.extend(bind_unevaluable(pack, 0, &watched, true, file, settings));
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
        stuck: None,
    }
}

#[cfg(test)]
mod tests {
    use gateway_rules::{embedded_packs, parse_pack};

    use super::*;

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
                turned.exactly.clear();
                if let Some(first) = turned.expect.first_mut() {
                    let normal = first.state == ExpectedState::Normal;
                    first.state = if normal { ExpectedState::Raised } else { ExpectedState::Normal };
                    assert_eq!(run(&pack, &turned).len(), 1, "{}", test.name);
                }
            }
        }
        assert!(ran > 10 && failed.is_empty(), "{ran} ran\n{}", failed.join("\n"));
    }

    #[test]
    fn every_rule_of_every_embedded_pack_has_four_tests() {
        for source in embedded_packs() {
            let pack = parse_pack(&source).unwrap();
            assert_eq!(untested(&pack), [], "{}", pack.name);
            assert_eq!(unshown(&pack), [], "{}", pack.name);
        }
    }

    /// The test above would fail: a rule that loses its tests is noticed, and so is one whose tests show half of it.
    #[test]
    fn three_tests_are_too_few_and_four_that_show_nothing_too() {
        let source = embedded_packs().into_iter().find(|source| source.name.contains("uv-lamp")).unwrap();
        let whole = parse_pack(&source).unwrap();
        let about = |test: &PackTest| test.is_about("worn-out-counted");
        let mut pack = whole.clone();
        while pack.tests.iter().filter(|test| about(test)).count() >= TESTS_MIN {
            assert_eq!(untested(&pack), []);
            let last = pack.tests.iter().rposition(about).unwrap();
            pack.tests.remove(last);
        }
        assert_eq!(untested(&pack), [("worn-out-counted", TESTS_MIN - 1)]);

        let mut pack = whole.clone();
        for test in pack.tests.iter_mut().filter(|test| test.is_about("person-exposed")) {
            test.expect.retain(|expected| expected.state != ExpectedState::Raised);
        }
        assert_eq!(
            unshown(&pack),
            [("person-exposed", "that it is raised"), ("person-exposed", "that it ends")]
        );
        let mut pack = whole.clone();
        pack.tests.retain(|test| {
            !test.is_about("weak") || test.expect.iter().any(|one| one.state == ExpectedState::Raised)
        });
        let shown = unshown(&pack);
        assert!(shown.contains(&("weak", "that it stays quiet")), "{shown:?}");

        let mut pack = whole.clone();
        for test in pack.tests.iter_mut().filter(|test| test.is_about("worn-out")) {
            for (_, samples) in &mut test.points {
                samples.retain(|sample| matches!(sample, Sample::Value(_)));
            }
        }
        assert_eq!(unshown(&pack), [("worn-out", "what becomes of it without data")]);
    }

    /// A pack of one heated chamber whose program asks for `criterion`, and the text of one test of it.
    fn chamber(set: f64, criterion: &str, temperature: &str, pressure: &str, raised: bool) -> Vec<String> {
        let state = if raised { "raised" } else { "normal" };
        let text = format!(
            r#"
name = "washer"
version = "1"
device = "washer"
title = {{ zh = "清洗消毒器", en = "Washer" }}
[points]
temperature = {{ unit = "°C", zh = "温度", en = "Temperature" }}
pressure = {{ unit = "kPa", zh = "压力", en = "Pressure" }}
[cycle]
temperature = "temperature"
pressure = "pressure"
[[cycle.program]]
id = "table"
set = "{set} °C"
hold = "10s"
dip = "0s"
start = "50 °C"
end = "45 °C"
end_for = "1 min"
dry = "55 °C"
unseen = "60s"
{criterion}
mark = "C"
norm = {{ zh = "表", en = "table" }}
[[rule]]
name = "cycle-failed"
event = "cycle-failed"
settle_within = "1 d"
priority = "yellow"
first = "institution"
mark = "C"
title = {{ zh = "表", en = "table" }}
sentence = {{ zh = "表", en = "table" }}
action = {{ zh = "表", en = "table" }}
norm = {{ zh = "表", en = "table" }}
verify = {{ window = "1 h", coverage = 0.9 }}
[[test]]
name = "row"
every = "5s"
program = "table"
points = {{ temperature = "{temperature}", pressure = "{pressure}" }}
expect = [{{ at = "3 h", rule = "cycle-failed", state = "{state}" }}]
"#
        );
        let source = Source { name: "washer.toml".into(), text };
        let pack = parse_pack(&source).unwrap_or_else(|problems| panic!("{problems:?}"));
        run(&pack, &pack.tests[0])
    }

    /// Held for so long and then cold: what lies between two readings counts at the cooler of them.
    fn held(celsius: f64, seconds: f64) -> String {
        format!("25 {celsius}x{} 25x40", (seconds / 5.0) as u32)
    }

    /// Project notes A.3 and A.4: each row passes when a little less is asked for, and fails when a little more is.
    #[test]
    fn the_tables_of_f0_and_a0_hold_through_a_pack() {
        let f0 = [
            (121.0, 15.0, 14.7),
            (121.0, 20.0, 19.5),
            (121.0, 30.0, 29.3),
            (126.0, 10.0, 30.9),
            (132.0, 4.0, 49.2),
            (134.0, 3.0, 58.5),
            (134.0, 4.0, 78.0),
            (134.0, 18.0, 351.0),
        ];
        let a0 = [
            (90.0, 60.0, 600.0),
            (80.0, 600.0, 600.0),
            (70.0, 6000.0, 600.0),
            (75.0, 1800.0, 569.0),
            (90.0, 300.0, 3000.0),
            (93.0, 150.0, 2993.0),
            (85.0, 40.0, 126.0),
        ];
        let f0 = f0.map(|(celsius, minutes, f0)| ("f0", celsius, minutes * 60.0, f0 * 60.0));
        let a0 = a0.map(|(celsius, seconds, a0)| ("a0", celsius, seconds, a0));
        for (what, celsius, seconds, tabled) in f0.into_iter().chain(a0) {
            for (share, fails) in [(0.98, false), (1.02, true)] {
                let asked = format!("{what} = \"{:.0}s\"", tabled * share);
                let said = chamber(celsius, &asked, &held(celsius, seconds), "0x1", fails);
                assert_eq!(said, Vec::<String>::new(), "{celsius} °C for {seconds} s: {asked}");
            }
        }
    }

    /// Project notes A.3: gauge pressure of saturated steam. Two kelvin are allowed: at the tabled pressure it is saturated, at the
    /// pressure that belongs to three kelvin less it is not.
    #[test]
    fn the_table_of_saturated_steam_holds_through_a_pack() {
        let table = [
            (115.0, 67.9),
            (118.0, 85.1),
            (121.0, 103.7),
            (124.0, 123.8),
            (126.0, 138.1),
            (129.0, 160.9),
            (132.0, 185.5),
            (134.0, 202.9),
            (137.0, 230.5),
            (138.0, 240.2),
        ];
        let asked = "saturation = \"2 °C\"";
        for (celsius, gauge) in table {
            let steam = |celsius| chamber_at(celsius, gauge, asked);
            assert_eq!(steam(celsius), (true, false), "{celsius} °C at {gauge} kPa");
            assert_eq!(
                steam(celsius + 3.0),
                (false, true),
                "three kelvin above the steam of {gauge} kPa: air in it"
            );
        }
    }

    /// Passes; fails.
    fn chamber_at(celsius: f64, gauge: f64, asked: &str) -> (bool, bool) {
        let says = |raised| {
            chamber(celsius, asked, &held(celsius, 300.0), &format!("{gauge}x101"), raised).is_empty()
        };
        (says(false), says(true))
    }

    #[test]
    fn an_exact_set_is_exact() {
        let source = embedded_packs().into_iter().find(|source| source.name.contains("cold-chain")).unwrap();
        let pack = parse_pack(&source).unwrap();
        let mut test = pack.tests[0].clone();
        test.expect.clear();
        let at = |minutes: i64| Millis(minutes * 60_000);
        let warm = || vec!["too-warm".to_owned()];
        test.exactly = vec![(at(3), vec![]), (at(36), warm()), (at(72), vec![])];
        assert_eq!(run(&pack, &test), Vec::<String>::new());
        test.exactly = vec![(at(3), warm()), (at(36), vec![]), (at(37), vec!["door-open".into()])];
        assert_eq!(run(&pack, &test).len(), 3);
    }
}
