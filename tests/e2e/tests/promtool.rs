//! Another engine's opinion: the part of our rules that Prometheus has too, judged by `promtool test rules`.
//!
//! Random series and rules (limits, two of them joined, rates of counters that begin anew; `for`; `clear_for`, there
//! `keep_firing_for`) go through a pack and the engine on our side, and through promtool on the other. At every step of the
//! series exactly the same rules must be firing. promtool is given what our engine concluded and has to find it right. That
//! this would notice a mistake is shown by mistakes planted on our side.
//!
//! **What differs, and why it may.** Each is left out of the random rules in the way that stands beside it, and the last test
//! shows that it is real.
//!
//! | ours | Prometheus | here |
//! |---|---|---|
//! | a delay ends when it ends: timers fire between readings | rules are looked at on a grid | `for` and `clear_for` are rounded up to the grid on our side |
//! | a delay that ends in the moment of a reading ends before it (design §5: timers due by then fire first), so a violation of exactly `for` raises | the sample comes first, so it does not | our delays are 1 ms longer |
//! | silence freezes an alert and clears none; it is told as "cannot be judged" (invariant 2) | no sample for 5 min, or a stale mark, and the alert is over | no gap of 5 min |
//! | an unknown operand is unknown, and decides nothing (Kleene) | an empty side of `and`/`or` is false | joined conditions have a first sample of both |
//! | readings of one moment are eaten and judged one after the other | all samples of a moment are there at once | joined series move by turns |
//! | a rate is what the counter rose by ÷ the window, known once the whole window was watched | extrapolated to the window's edges, from two samples on | no gaps, and nothing rises during the first window |
//! | a window's edge moves in steps of a sixtieth (memory is bounded) | exact | rates are compared with limits that lie between two possible counts |
//! | with `deadband` an alert clears beyond the limit, without it at the limit | at the limit | no `deadband` |
//! | chatter (three activations in a minute) is held together as one alert, T26 | every one is an alert | steps of 30 s and more |
//!
//! Leaves out: restarts (Prometheus asks its own storage what was pending), labels, and whatever Prometheus has nothing like.
//!
//! `NONSITE_SEED` chooses another run; a seed that found something goes into [`KEPT`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use e2e::Place;
use e2e::dice::Dice;
use e2e::process::{Finished, run};
use gateway_engine::Engine;
use gateway_model::{
    Change, Conclusion, ConclusionBody, DeviceIx, DevicePlan, EngineTime, Epoch, Input, ModuleIx, Plan,
    PointIx, PointPlan, Quality, Raw, Reading, StartCause, StartInput, Text, Unit,
};
use gateway_rules::{File, Source, Subject, Windows, bind, parse_pack, render};

/// Seeds that found something: they run first, and are never taken out.
const KEPT: [u64; 0] = [];
/// Where the usual run begins.
const SEED: u64 = 20_261_123;
/// Rules of a batch; each has one series, or two.
const RULES: usize = 256;
/// Batches of a run: 2,048 rules.
const BATCHES: u64 = 8;
/// Steps of a series.
const STEPS: i64 = 90;
/// Readings come a moment after the grid's, so that rates never ask in the very moment in which a window moves.
const READ_MS: i64 = 1;
/// Added to every delay: see the table above.
const TIE_MS: i64 = 1;
/// Our state is looked at after what is due by then.
const LOOK_MS: i64 = 3;
/// Prometheus believes a sample for so long.
const BELIEVED_MS: i64 = 300_000;

/// A mistake on our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plant {
    /// `for` is one step too long.
    HoldLonger,
    /// `for` is one step too short.
    HoldShorter,
    /// `clear_for` is one step too long.
    ClearLonger,
    /// Delays end in the moment of a reading, before it.
    Tie,
    /// `>` where `>=` stands, and so on.
    AtTheLimit,
}

/// A condition, in words of both.
#[derive(Debug, Clone, PartialEq)]
enum When {
    /// `a > 5.25`
    Limit(Comparison),
    /// `a > 1.5 && a < 4`
    Between(Comparison, Comparison),
    /// `a > 1.5 || b < 4`, or both of them
    Joined { first: Comparison, second: Comparison, both: bool },
    /// Rate of a counter over so many seconds, per hour, above.
    Rate { window_s: i64, limit: f64 },
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Comparison {
    sign: &'static str,
    limit: f64,
}

impl Comparison {
    /// Quarters: exact on both sides, so that series often lie just at the limit.
    fn random(dice: &mut Dice) -> Self {
        let signs = [">", ">=", "<", "<=", "==", "!="];
        Self { sign: signs[dice.below(6) as usize], limit: dice.below(17) as f64 / 4.0 }
    }

    fn planted(self, plant: Option<Plant>) -> Self {
        let sign = match (plant, self.sign) {
            (Some(Plant::AtTheLimit), ">") => ">=",
            (Some(Plant::AtTheLimit), ">=") => ">",
            (Some(Plant::AtTheLimit), "<") => "<=",
            (Some(Plant::AtTheLimit), "<=") => "<",
            (_, sign) => sign,
        };
        Self { sign, ..self }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    when: When,
    hold_ms: i64,
    clear_ms: i64,
    /// A sample a step; `None` = it did not come.
    series: Vec<Vec<Option<f64>>>,
}

/// Rules over series of one grid.
struct Batch {
    step_ms: i64,
    rules: Vec<Rule>,
}

impl Batch {
    fn random(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 0);
        let step_ms = [30_000, 60_000, 120_000][dice.below(3) as usize];
        let rules = (0..RULES).map(|_| Rule::random(&mut dice, step_ms)).collect();
        Self { step_ms, rules }
    }

    /// Rules firing at each step, as our engine has it.
    fn ours(&self, plant: Option<Plant>) -> Vec<Vec<usize>> {
        let plan = self.plan(plant);
        let slots: BTreeMap<String, u32> =
            plan.points.iter().map(|point| point.id.clone()).zip(0..).collect();
        let mut engine = Engine::new(plan);
        let mut firing = vec![false; self.rules.len()];
        let mut out = Vec::new();
        engine.step(&Input::Start(start()), &mut out);
        (0..STEPS)
            .map(|step| {
                let at = EngineTime(step * self.step_ms + READ_MS);
                for (n, rule) in self.rules.iter().enumerate() {
                    for (place, series) in rule.series.iter().enumerate() {
                        let Some(value) = series[step as usize] else { continue };
                        let value = Quality::Good(Raw::F64(value.to_bits()));
                        let point = PointIx(slots[&name(n, place)]);
                        engine.step(&Input::Reading(Reading { point, at, value }), &mut out);
                    }
                }
                let look = EngineTime(step * self.step_ms + LOOK_MS);
                engine.step(&Input::Advance(look), &mut out);
                follow(&engine, &std::mem::take(&mut out), &mut firing);
                (0..firing.len()).filter(|rule| firing[*rule]).collect()
            })
            .collect()
    }

    /// One device with all series as points, and the rules as a pack.
    fn plan(&self, plant: Option<Plant>) -> Plan {
        let source = Source { name: "pack.toml".into(), text: self.pack(plant) };
        let pack = parse_pack(&source)
            .unwrap_or_else(|problems| panic!("{}", render(&problems, std::slice::from_ref(&source), false)));
        let device = DevicePlan { id: "p".into(), kind: "probe".into(), name: Text::default(), bus: 0 };
        let mut plan = Plan { devices: vec![device], buses: vec!["bus".into()], ..Plan::default() };
        let mut placed = BTreeMap::new();
        for (name, point) in &pack.points {
            placed.insert(name.clone(), (PointIx::of(plan.points.len()), point.unit));
            plan.points.push(point_plan(name, point.unit, self.step_ms));
        }
        let file = File::new(&source);
        let subject = Subject {
            device: DeviceIx(0),
            kind: "probe",
            points: &placed,
            program: None,
            file: &file,
            span: 0..0,
            settings: [&BTreeMap::new(), &BTreeMap::new()],
            calibrations: &BTreeMap::new(),
            neighbours: &BTreeMap::new(),
            hours: false,
        };
        bind(&pack, 0, &subject, ModuleIx(0)).add_to(&mut plan, &mut Windows::default());
        assert_eq!(plan.rules.len(), self.rules.len());
        plan
    }

    /// The rules as we write them.
    fn pack(&self, plant: Option<Plant>) -> String {
        let mut text = String::from(
            "name = \"prometheus\"\nversion = \"1\"\ndevice = \"probe\"\ntitle = { zh = \"对照\", en = \"Compared\" }\n[points]\n",
        );
        for (n, rule) in self.rules.iter().enumerate() {
            let unit = if matches!(rule.when, When::Rate { .. }) { "kWh" } else { "1" };
            for place in 0..rule.series.len() {
                writeln!(text, "{} = {{ unit = \"{unit}\", zh = \"点\", en = \"Point\" }}", name(n, place))
                    .unwrap();
            }
        }
        for (n, rule) in self.rules.iter().enumerate() {
            let grid = |ms: i64| (ms + self.step_ms - 1) / self.step_ms * self.step_ms;
            let tie = if plant == Some(Plant::Tie) { 0 } else { TIE_MS };
            let delay = |ms: i64| if ms > 0 { grid(ms) + tie } else { 0 };
            let hold = match plant {
                Some(Plant::HoldLonger) => delay(rule.hold_ms + self.step_ms),
                Some(Plant::HoldShorter) => delay((rule.hold_ms - self.step_ms).max(0)),
                Some(Plant::ClearLonger | Plant::Tie | Plant::AtTheLimit) | None => delay(rule.hold_ms),
            };
            let longer = if plant == Some(Plant::ClearLonger) { self.step_ms } else { 0 };
            let clear = delay(rule.clear_ms + longer);
            writeln!(
                text,
                "[[rule]]\nname = \"r{n}\"\nwhen = \"{}\"\nfor = \"{hold} ms\"\nclear_for = \"{clear} ms\"\npriority = \"blue\"\n\
                 first = \"institution\"\nmark = \"P\"\ntitle = {{ zh = \"对照\", en = \"Compared\" }}\n\
                 sentence = {{ zh = \"对照。\", en = \"Compared.\" }}\naction = {{ zh = \"无\", en = \"None\" }}\n\
                 norm = {{ zh = \"无\", en = \"None\" }}\nverify = {{ window = \"1 h\", coverage = 0.9 }}",
                rule.when.ours(n, plant),
            )
            .unwrap();
            if let When::Rate { window_s, limit } = rule.when {
                let names = "zh = \"参数\", en = \"Parameter\", mark = \"P\"";
                writeln!(
                    text,
                    "[rule.parameters]\nwindow = {{ default = \"{window_s} s\", {names} }}\nlimit = {{ default = \"{limit} kW\", {names} }}"
                )
                .unwrap();
            }
        }
        text
    }

    /// The rules as Prometheus writes them.
    fn prometheus(&self) -> String {
        let mut text = String::from("groups:\n- name: compared\n  interval: 1s\n  rules:\n")
            .replace("1s", &seconds(self.step_ms));
        for (n, rule) in self.rules.iter().enumerate() {
            let (when, hold, clear) = (rule.when.theirs(n), seconds(rule.hold_ms), seconds(rule.clear_ms));
            writeln!(
                text,
                "  - alert: r{n}\n    expr: '{when}'\n    for: {hold}\n    keep_firing_for: {clear}"
            )
            .unwrap();
        }
        text
    }

    /// The series, and which rules are expected to be firing at each step.
    fn test(&self, firing: &[Vec<usize>]) -> String {
        let step = seconds(self.step_ms);
        let mut text = format!(
            "rule_files: [rules.yml]\nevaluation_interval: {step}\ntests:\n- interval: {step}\n  input_series:\n"
        );
        for (n, rule) in self.rules.iter().enumerate() {
            for (place, series) in rule.series.iter().enumerate() {
                let values: Vec<String> = series
                    .iter()
                    .map(|sample| sample.map_or("_".into(), |value| value.to_string()))
                    .collect();
                writeln!(text, "  - series: {}\n    values: '{}'", name(n, place), values.join(" ")).unwrap();
            }
        }
        text.push_str("  promql_expr_test:\n");
        for (at, firing) in (0..).zip(firing) {
            let at = seconds(at * self.step_ms);
            writeln!(text, "  - expr: ALERTS{{alertstate=\"firing\"}}\n    eval_time: {at}").unwrap();
            text.push_str(if firing.is_empty() { "    exp_samples: []\n" } else { "    exp_samples:\n" });
            for rule in firing {
                writeln!(
                    text,
                    "    - labels: 'ALERTS{{alertname=\"r{rule}\", alertstate=\"firing\"}}'\n      value: 1"
                )
                .unwrap();
            }
        }
        text
    }

    /// What promtool says of our engine's opinion.
    fn compare(&self, folder: &Path, plant: Option<Plant>) -> Finished {
        promtool(folder, &self.prometheus(), &self.test(&self.ours(plant)))
    }
}

impl Rule {
    fn random(dice: &mut Dice, step_ms: i64) -> Self {
        // Half of them on the grid, half of them beside it.
        let mut delay = || match dice.below(4) {
            0 => 0,
            1 | 2 => dice.between(1, 9) * step_ms,
            _ => dice.between(1, 8 * step_ms / 1000) * 1000,
        };
        let (hold_ms, clear_ms) = (delay(), delay());
        let (when, series) = match dice.below(8) {
            0..3 => (When::Limit(Comparison::random(dice)), vec![walk(dice, step_ms, Pace::Alone)]),
            3 => {
                let (low, high) = (dice.below(8) as f64 / 4.0, (8 + dice.below(8)) as f64 / 4.0);
                let low = Comparison { sign: [">", ">="][dice.below(2) as usize], limit: low };
                let high = Comparison { sign: ["<", "<="][dice.below(2) as usize], limit: high };
                (When::Between(low, high), vec![walk(dice, step_ms, Pace::Alone)])
            }
            4 | 5 => {
                let (first, second) = (Comparison::random(dice), Comparison::random(dice));
                let both = dice.percent(50);
                let series = vec![walk(dice, step_ms, Pace::Even), walk(dice, step_ms, Pace::Odd)];
                (When::Joined { first, second, both }, series)
            }
            _ => {
                let windows: Vec<i64> =
                    [300, 600, 900, 1800].into_iter().filter(|s| s * 1000 % step_ms == 0).collect();
                let window_s = windows[dice.below(windows.len() as u64) as usize];
                let count = dice.below(12) as f64 + 0.5;
                let limit = count * 3600.0 / window_s as f64;
                (When::Rate { window_s, limit }, vec![counter(dice, window_s * 1000 / step_ms, count)])
            }
        };
        Self { when, hold_ms, clear_ms, series }
    }
}

impl When {
    fn ours(&self, n: usize, plant: Option<Plant>) -> String {
        let one = |place: usize, comparison: Comparison| {
            let Comparison { sign, limit } = comparison.planted(plant);
            format!("{} {sign} {limit:?}", name(n, place))
        };
        match self {
            Self::Limit(limit) => one(0, *limit),
            Self::Between(low, high) => format!("{} && {}", one(0, *low), one(0, *high)),
            Self::Joined { first, second, both } => {
                format!("{} {} {}", one(0, *first), if *both { "&&" } else { "||" }, one(1, *second))
            }
            Self::Rate { .. } => format!("rate({}, window) > limit", name(n, 0)),
        }
    }

    fn theirs(&self, n: usize) -> String {
        let one = |place: usize, Comparison { sign, limit }: Comparison, bool: &str| {
            format!("{} {sign} {bool}{limit:?}", name(n, place))
        };
        match self {
            Self::Limit(limit) => one(0, *limit, ""),
            Self::Between(low, high) => format!("{} and {}", one(0, *low, ""), one(0, *high, "")),
            // In numbers: `or` would give the alert the labels of whichever side is true, and begin it anew.
            Self::Joined { first, second, both } => {
                let (first, second) = (one(0, *first, "bool "), one(1, *second, "bool "));
                format!("({first}) {} ({second}) > 0", if *both { "*" } else { "+" })
            }
            Self::Rate { window_s, limit } => format!("rate({}[{window_s}s]) * 3600 > {limit:?}", name(n, 0)),
        }
    }
}

/// When a series may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// At any step; its first samples may be missing.
    Alone,
    Even,
    Odd,
}

/// A walk in quarters around the limits, with stays and gaps that are shorter than Prometheus' memory.
fn walk(dice: &mut Dice, step_ms: i64, pace: Pace) -> Vec<Option<f64>> {
    let gap_max = (BELIEVED_MS - step_ms) / step_ms;
    let mut missing = if pace == Pace::Alone { dice.between(0, 3) } else { 0 };
    let mut value = dice.below(17) as i64;
    let mut stay = 0;
    (0..STEPS)
        .map(|step| {
            let turn = match pace {
                Pace::Alone => true,
                Pace::Even => step % 2 == 0,
                Pace::Odd => step % 2 == 1,
            };
            if !turn {
                return Some(value as f64 / 4.0);
            }
            if stay > 0 {
                stay -= 1;
            } else if dice.percent(25) {
                stay = dice.between(1, 12);
            } else {
                value = (value + dice.between(-3, 4)).clamp(0, 16);
            }
            if missing > 0 {
                missing -= 1;
                return None;
            }
            if dice.percent(4) {
                missing = dice.between(0, gap_max);
            }
            Some(value as f64 / 4.0)
        })
        .collect()
}

/// A counter that stands still during the first window, then runs so that its rate lies around the limit, and now and then
/// begins anew.
fn counter(dice: &mut Dice, window: i64, limit: f64) -> Vec<Option<f64>> {
    let mut value = dice.below(50);
    let (mut pace, busy) = (50, (limit / window as f64 * 100.0) as u64);
    (0..STEPS)
        .map(|step| {
            if step % 10 == 0 {
                pace = dice.below(busy * 2 + 10);
            }
            if step > window {
                if dice.percent(3) {
                    value = dice.below(3);
                } else {
                    value += pace / 100 + u64::from(dice.percent(pace % 100));
                }
            }
            Some(value as f64)
        })
        .collect()
}

fn name(rule: usize, place: usize) -> String {
    format!("s{rule}{}", ["a", "b"][place])
}

fn seconds(ms: i64) -> String {
    assert_eq!(ms % 1000, 0, "promtool is given whole seconds");
    format!("{}s", ms / 1000)
}

/// Keeps track of which rules are firing.
fn follow(engine: &Engine, concluded: &[Conclusion], firing: &mut [bool]) {
    for conclusion in concluded {
        let ConclusionBody::Alert(change) = &conclusion.body else { continue };
        let rule = change.rule.expect("every alert has its rule").slot();
        // Bound in the pack's order.
        assert_eq!(engine.plan().rules[rule].id, format!("prometheus/r{rule}"));
        if change.change == Change::Raised {
            firing[rule] = true;
        } else if let Change::Cleared(_) = change.change {
            firing[rule] = false;
        }
    }
}

fn start() -> StartInput {
    StartInput {
        at: EngineTime(0),
        epoch: Epoch(1),
        previous: None,
        previous_hash: None,
        cause: StartCause::First,
        downtime_ms: None,
        simulated: true,
    }
}

fn point_plan(id: &str, unit: Unit, every_ms: i64) -> PointPlan {
    PointPlan {
        id: id.to_owned(),
        device: DeviceIx(0),
        name: Text::default(),
        unit,
        gain: 1.0,
        offset: 0.0,
        source: String::new(),
        every_ms,
        max_age_ms: BELIEVED_MS,
        deadband: 0.0,
        heartbeat_ms: BELIEVED_MS,
        span: None,
        sentinels: Vec::new(),
        truth: false,
        calibration: None,
        stuck: None,
    }
}

fn promtool(folder: &Path, rules: &str, test: &str) -> Finished {
    let program = Path::new("/usr/bin/promtool");
    assert!(program.exists(), "promtool is not there: run `cargo xtask ci --only packages`");
    std::fs::write(folder.join("rules.yml"), rules).unwrap();
    let file = folder.join("test.yml");
    std::fs::write(&file, test).unwrap();
    run(program, ["test".as_ref(), "rules".as_ref(), file.as_os_str()])
}

/// What promtool found: of each step that differs, the rules that fire on one side only; else its own words.
fn told(finished: &Finished) -> String {
    let all = format!("{}{}", finished.stdout, finished.stderr);
    let named = |list: &str| -> BTreeSet<String> {
        let names = list.split("alertname=\"").skip(1).filter_map(|rest| rest.split('"').next());
        names.map(str::to_owned).collect()
    };
    let steps: Vec<String> = all
        .split("time: ")
        .skip(1)
        .filter_map(|step| {
            let (head, got) = step.split_once("got:")?;
            let (time, expected) = head.split_once("exp:")?;
            let (ours, theirs) = (named(expected), named(got));
            let (ours, theirs): (Vec<_>, Vec<_>) =
                (ours.difference(&theirs).collect(), theirs.difference(&ours).collect());
            Some(format!("at {} only ours {ours:?}, only promtool's {theirs:?}", time.trim()))
        })
        .collect();
    if steps.is_empty() { all } else { steps[..steps.len().min(40)].join("\n") }
}

#[test]
fn the_common_rules_fire_when_prometheus_says_so() {
    let place = Place::new("promtool");
    let seed = std::env::var("NONSITE_SEED").ok().map_or(SEED, |seed| seed.parse().unwrap());
    let mut fired = 0;
    for seed in KEPT.into_iter().chain(seed..seed + BATCHES) {
        let batch = Batch::random(seed);
        let ours = batch.ours(None);
        let raised = |rule: usize| ours.iter().any(|firing| firing.contains(&rule));
        fired += (0..RULES).filter(|rule| raised(*rule)).count();
        let found = promtool(&place.folder(&seed.to_string()), &batch.prometheus(), &batch.test(&ours));
        assert_eq!(
            found.code,
            Some(0),
            "seed {seed} is judged differently; put it into KEPT when it is mended. Rules and series lie in the kept folder.\n{}",
            told(&found)
        );
    }
    assert!(fired > RULES * BATCHES as usize / 2, "rules that never fire compare nothing: {fired} did");
}

#[test]
fn a_mistake_of_one_step_is_caught() {
    let place = Place::new("promtool-planted");
    let batch = Batch::random(SEED);
    for plant in [Plant::HoldLonger, Plant::HoldShorter, Plant::ClearLonger, Plant::Tie, Plant::AtTheLimit] {
        let found = batch.compare(&place.folder(&format!("{plant:?}")), Some(plant));
        assert_eq!(found.code, Some(1), "{plant:?} was not noticed: {}", told(&found));
        assert!(
            told(&found).contains("only ours"),
            "{plant:?}: it failed for another reason: {}",
            told(&found)
        );
    }
}

/// The table of differences at the top, as far as it can be shown in a series: Prometheus' side by its own word.
#[test]
fn the_differences_are_where_the_table_says() {
    let above = |hold_s: i64, clear_s: i64, values: &[Option<f64>]| {
        let mut series = values.to_vec();
        series.resize(STEPS as usize, values.last().copied().flatten());
        let when = When::Limit(Comparison { sign: ">", limit: 1.0 });
        Rule { when, hold_ms: hold_s * 1000, clear_ms: clear_s * 1000, series: vec![series] }
    };
    let silence = [vec![Some(2.0)], vec![None; 20], vec![Some(0.0)]].concat();
    let batch = Batch {
        step_ms: 60_000,
        rules: vec![
            // A violation of exactly 2 min: above at 1 and 2 min, below at 3.
            above(120, 300, &[Some(0.0), Some(2.0), Some(2.0), Some(0.0)]),
            // Silence from 1 min on.
            above(0, 0, &silence),
        ],
    };
    let at = |theirs: &[Vec<usize>], rule: usize| -> Vec<usize> {
        (0..theirs.len()).filter(|step| theirs[*step].contains(&rule)).collect()
    };
    let ours = batch.ours(Some(Plant::Tie));
    assert_eq!(at(&ours, 0), [3, 4, 5, 6, 7], "raised at 3 min, when 2 min were over, and kept for 5 min");
    assert_eq!(at(&ours, 1), (0..21).collect::<Vec<_>>(), "raised until a number says otherwise");
    let theirs: Vec<Vec<usize>> =
        (0..STEPS).map(|step| if (0..=5).contains(&step) { vec![1] } else { vec![] }).collect();
    let place = Place::new("promtool-differences");
    let found = promtool(place.path(), &batch.prometheus(), &batch.test(&theirs));
    assert_eq!(found.code, Some(0), "{}", told(&found));
}
