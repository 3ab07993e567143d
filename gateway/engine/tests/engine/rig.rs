//! The one place that touches the engine: timelines as text.
//!
//! ```text
//! 0s     start 1
//! 10s    t 9.0          => raise 1-1
//! 12s    t 9.0 @11s     a stamp of its own
//! 20s    t -            bad (no communication); `~stale 9`, `~held 9`, `~clock 9`: uncertain
//! 30s    ack 1-1 #1     => ack 1-1, order done
//! 40s    .              engine time only
//! 50s    start 2 after 9s | after ?
//! ```
//! A conclusion reached at another time than the line's shows it: `42s: clear 1-1`. Engine time moves by stamps
//! alone, so a line with a stamp of its own does not move it.

use std::fmt::Write;

use gateway_engine::Engine;
use gateway_model::{
    AckRegion, AlertChange, AlertId, BadCause, Change, CivilTime, ClearCause, ClockInput, ClockSource,
    Command, CommandBody, Conclusion, ConclusionBody, Counters, Cycle, CycleOutcome, DeviceFact, DeviceIx,
    DevicePlan, EngineTime, Epoch, EscalationCause, Fact, FactBody, First, Handling, HeatCyclePlan,
    HeatProgram, Input, InstitutionId, LatchRegion, ModuleIx, ModulePlan, Op, OrderOutcome, Plan, PointIx,
    PointPlan, Priority, Program, Quality, QualityRegion, Raw, Reading, RuleKind, RulePlan, RuleText, SiteId,
    StartCause, StartInput, Suppression, Text, UncertainCause, Unit, VerifyPlan,
};

pub(crate) const T: PointIx = PointIx(0);
pub(crate) const DOOR: PointIx = PointIx(1);
pub(crate) const U: PointIx = PointIx(2);
pub(crate) const M: PointIx = PointIx(3);
const NAMES: [&str; 4] = ["t", "door", "u", "m"];

/// Devices: `a` (points t, door) and `b` (u) on bus 0, `c` (m, sends when it likes) on bus 1.
pub(crate) fn site(mut rules: Vec<RulePlan>) -> Plan {
    for (slot, rule) in rules.iter_mut().enumerate() {
        // With the subject it names the rule across restarts.
        rule.id = format!("pack/{slot}");
    }
    let device =
        |id: &str, bus| DevicePlan { id: id.into(), kind: "sensor".into(), name: Text::default(), bus };
    Plan {
        site: SiteId("s".into()),
        institution: InstitutionId("i".into()),
        devices: vec![device("a", 0), device("b", 0), device("c", 1)],
        points: vec![point("t", 0, 10), point("door", 0, 10), point("u", 1, 10), point("m", 2, 0)],
        rules,
        modules: vec![ModulePlan::HeatCycle(HeatCyclePlan {
            device: DeviceIx(2),
            temperature: M,
            door: None,
            program: program(),
            probes: None,
            stop: None,
        })],
        packs: vec![],
        buses: vec!["one".into(), "two".into()],
        utc_offset_min: 480,
        judging: None,
    }
}

/// Polled points (every > 0) are stale after 30 s, others after an hour.
pub(crate) fn point(id: &str, device: u32, every_s: i64) -> PointPlan {
    PointPlan {
        id: id.into(),
        device: DeviceIx(device),
        name: Text::default(),
        unit: Unit::Celsius,
        gain: 0.1,
        offset: 0.0,
        source: String::new(),
        every_ms: every_s * 1000,
        max_age_ms: if every_s > 0 { 30_000 } else { 3_600_000 },
        deadband: 0.0,
        heartbeat_ms: if every_s > 0 { 20_000 } else { 600_000 },
        span: None,
        sentinels: vec![],
        truth: false,
        calibration: None,
        stuck: None,
    }
}

/// 100 °C for 60 s, dips of 10 s, +10 K at most; from 40 °C until 30 s below 50 °C; drying below 60 °C; 40 s unseen.
pub(crate) fn program() -> HeatProgram {
    HeatProgram {
        id: "test-100/1".into(),
        set_c: 100.0,
        hold_ms: 60_000,
        dip_ms: 10_000,
        band_c: Some(10.0),
        start_c: 40.0,
        end_c: 50.0,
        end_ms: 30_000,
        dry_c: 60.0,
        unseen_ms: 40_000,
        criteria: None,
        dry_ms: None,
    }
}

/// A plan with one heat-cycle module on `t` and `door`, and the rule that its cycles do not fail (settled
/// within 1000 s).
pub(crate) fn cabinet() -> Plan {
    let failed = RuleKind::CycleFailed { module: ModuleIx(0), settle_within_ms: 1_000_000 };
    let mut plan = site(vec![rule(failed)]);
    plan.modules = vec![ModulePlan::HeatCycle(HeatCyclePlan {
        device: DeviceIx(0),
        temperature: T,
        door: Some(DOOR),
        program: program(),
        probes: None,
        stop: None,
    })];
    plan
}

pub(crate) fn rule(kind: RuleKind) -> RulePlan {
    RulePlan {
        id: "pack/rule".into(),
        pack: 0,
        subject: DeviceIx(0),
        kind,
        priority: Priority::Orange,
        first: First::Institution,
        self_fix_ms: None,
        latching: false,
        text: RuleText::default(),
        verify: VerifyPlan { window_ms: 60_000, coverage_permille: 900, during: None, criterion: None },
        handling: None,
    }
}

/// The rule with a handling that asks for nothing but that reminders can be paused for ten minutes.
pub(crate) fn with(rule: RulePlan) -> RulePlan {
    RulePlan { handling: Some(Handling { pause_max_ms: 600_000, ..Handling::default() }), ..rule }
}

/// `point > limit`, back at `limit - deadband`, with delays in seconds.
pub(crate) fn high(point: PointIx, limit: f64, deadband: f64, on_s: i64, off_s: i64) -> RulePlan {
    rule(RuleKind::Condition {
        when: Program(vec![Op::Point(point), Op::Number(limit), Op::Greater]),
        returned: (deadband > 0.0)
            .then(|| Program(vec![Op::Point(point), Op::Number(limit - deadband), Op::LessOrEqual])),
        on_delay_ms: on_s * 1000,
        off_delay_ms: off_s * 1000,
        shown: Some(point),
        limit: Some(limit),
    })
}

pub(crate) fn absent(point: PointIx, after_s: i64) -> RulePlan {
    rule(RuleKind::Absence { point, after_ms: after_s * 1000 })
}

pub(crate) fn device_blind(device: u32, after_s: i64) -> RulePlan {
    let kind = RuleKind::DeviceUnevaluable { after_ms: after_s * 1000 };
    RulePlan { subject: DeviceIx(device), ..rule(kind) }
}

pub(crate) fn bus_blind(bus: u16, after_s: i64) -> RulePlan {
    rule(RuleKind::BusUnevaluable { bus, after_ms: after_s * 1000 })
}

/// Runs the timeline and compares what each line concluded with what stands behind its `=>`. Every timeline
/// is run a second time with the engine saved and restored before each line: nothing may change.
#[track_caller]
pub(crate) fn check(plan: &Plan, timeline: &str) {
    check_across(plan, plan, timeline);
}

/// As [`check`]; at a line `replan` the state goes over to the second plan.
#[track_caller]
pub(crate) fn check_across(plan: &Plan, next: &Plan, timeline: &str) {
    let lines: Vec<&str> = timeline.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut expected = String::new();
    for line in &lines {
        let (what, then) = line.split_once("=>").unwrap_or((line, ""));
        writeln!(expected, "{}", layout(what, then.trim())).unwrap();
    }
    for restoring in [false, true] {
        let mut engine = Engine::new(plan.clone());
        let mut actual = String::new();
        for line in &lines {
            let what = line.split_once("=>").map_or(*line, |(what, _)| what);
            if restoring {
                let state = engine.save();
                engine = Engine::restore(engine.plan().clone(), state.clone()).unwrap().0;
                assert_eq!(engine.save(), state, "a restored engine saves what it was restored from");
            }
            let then = run(&mut engine, next, what);
            writeln!(actual, "{}", layout(what, &then)).unwrap();
        }
        assert_eq!(actual, expected, "\n--- got (restoring: {restoring})\n{actual}--- expected\n{expected}");
    }
}

/// One line of a timeline as an input.
pub(crate) fn play(line: &str) -> Input {
    let words: Vec<&str> = line.split_whitespace().collect();
    input(seconds(words[0]), &words[1..])
}

/// Conclusions with their times.
pub(crate) fn render_all(conclusions: &[Conclusion]) -> String {
    conclusions.iter().map(|one| render(one, EngineTime(i64::MIN))).collect::<Vec<_>>().join(", ")
}

fn layout(what: &str, then: &str) -> String {
    let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
    if then.is_empty() { what } else { format!("{what:<30} => {then}") }
}

fn run(engine: &mut Engine, next: &Plan, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = seconds(words[0]);
    let mut out = Vec::new();
    if words[1] == "replan" {
        let (restored, superseded) = Engine::restore(next.clone(), engine.save()).unwrap();
        *engine = restored;
        out = superseded;
    } else {
        engine.step(&input(at, &words[1..]), &mut out);
    }
    out.iter().map(|conclusion| render(conclusion, at)).collect::<Vec<_>>().join(", ")
}

pub(crate) fn seconds(text: &str) -> EngineTime {
    let seconds: f64 = text.trim_end_matches('s').parse().unwrap();
    EngineTime((seconds * 1000.0).round() as i64)
}

fn input(at: EngineTime, words: &[&str]) -> Input {
    match *words {
        ["."] => Input::Advance(at),
        ["start", epoch] => start(at, epoch, Some(0)),
        ["start", epoch, "after", "?"] => start(at, epoch, None),
        ["start", epoch, "after", span] => start(at, epoch, Some(seconds(span).0)),
        ["ack", alert, event] => Input::Command(Command {
            at,
            order: Some((1, 1)),
            author: "p".into(),
            body: CommandBody::Acknowledge { alert: alert_id(alert), event: event_n(event) },
        }),
        ["reset", alert, event] => {
            order(at, CommandBody::Reset { alert: alert_id(alert), event: event_n(event) })
        }
        ["pause", alert, event, span, ref once @ ..] => order(
            at,
            CommandBody::Pause {
                alert: alert_id(alert),
                event: event_n(event),
                for_ms: seconds(span).0,
                once: !once.is_empty(),
                reason: "r".into(),
            },
        ),
        ["resume", rule] => {
            order(at, CommandBody::Resume { rule: format!("pack/{rule}"), subject: "a".into() })
        }
        ["out", device, span] => order(
            at,
            CommandBody::TakeOut {
                device: device.into(),
                for_ms: seconds(span).0,
                permit: "7".into(),
                reason: "r".into(),
            },
        ),
        ["back", device] => order(at, CommandBody::PutBack { device: device.into() }),
        ["closed", from, to] => order(
            at,
            CommandBody::DeclareClosure {
                from: CivilTime(seconds(from).0),
                to: CivilTime(seconds(to).0),
                reason: "r".into(),
            },
        ),
        ["clock", "?"] => clock(at, 0, None),
        ["clock", offset] => clock(at, seconds(offset).0, Some(1)),
        ["visits", count] => fact(at, FactBody::Visits { count: count.parse().unwrap() }),
        ["packed", count] => fact(at, FactBody::HandpiecesPacked { count: count.parse().unwrap() }),
        ["done", duty, result] => {
            fact(at, FactBody::DutyDone { duty: duty.into(), passed: result == "good" })
        }
        ["replaced", counters] => {
            let counters = Some(if counters == "reset" { Counters::Reset } else { Counters::Kept });
            let (serial, successor, by) = ("1".into(), "2".into(), "p".into());
            fact(at, FactBody::Device(DeviceFact::Replaced { serial, successor, by, counters }))
        }
        ["bag", label, grams] => fact(
            at,
            FactBody::BagLabelled {
                label: label.into(),
                category: "841-001-01".into(),
                department: "d".into(),
                grams: grams.parse().unwrap(),
            },
        ),
        ["handover", label, grams] => fact(
            at,
            FactBody::HandOver { labels: vec![label.into()], grams: grams.parse().unwrap(), to: "x".into() },
        ),
        [point, ref value @ ..] => Input::Reading(reading(at, point, value)),
        [] => panic!("an empty line"),
    }
}

/// Facts come from device `c`.
fn fact(at: EngineTime, body: FactBody) -> Input {
    Input::Fact(Fact { device: DeviceIx(2), at, body })
}

fn order(at: EngineTime, body: CommandBody) -> Input {
    Input::Command(Command { at, order: Some((1, 1)), author: "p".into(), body })
}

fn clock(at: EngineTime, offset_ms: i64, error_ms: Option<i64>) -> Input {
    Input::Clock(ClockInput { at, offset_ms, error_ms, source: ClockSource::System, since: None })
}

fn event_n(text: &str) -> u32 {
    text.trim_start_matches('#').parse().unwrap()
}

fn start(at: EngineTime, epoch: &str, downtime_ms: Option<i64>) -> Input {
    Input::Start(StartInput {
        at,
        epoch: Epoch(epoch.parse().unwrap()),
        previous: None,
        previous_hash: None,
        cause: StartCause::First,
        downtime_ms,
        simulated: false,
    })
}

fn alert_id(text: &str) -> AlertId {
    let (epoch, n) = text.split_once('-').unwrap();
    AlertId { epoch: Epoch(epoch.parse().unwrap()), n: n.parse().unwrap() }
}

fn reading(at: EngineTime, point: &str, words: &[&str]) -> Reading {
    let slot = NAMES.iter().position(|name| *name == point).expect("a point's name");
    let (words, at) = match words {
        [words @ .., last] if last.starts_with('@') => (words, seconds(&last[1..])),
        words => (words, at),
    };
    Reading { point: PointIx::of(slot), at, value: value(words) }
}

fn value(words: &[&str]) -> Quality<Raw> {
    match *words {
        ["-"] => Quality::Bad(BadCause::NoCommunication),
        ["~held", number] => Quality::Uncertain(raw(number), UncertainCause::Held),
        ["~stale", number] => Quality::Uncertain(raw(number), UncertainCause::Stale),
        ["~clock", number] => Quality::Uncertain(raw(number), UncertainCause::Clock),
        [number] => Quality::Good(raw(number)),
        _ => panic!("no value: {words:?}"),
    }
}

/// Points have a gain of 0.1.
pub(crate) fn raw(number: &str) -> Raw {
    Raw::Int((number.parse::<f64>().unwrap() * 10.0).round() as i64)
}

fn render(conclusion: &Conclusion, line_at: EngineTime) -> String {
    let text = match &conclusion.body {
        ConclusionBody::Cycle(cycle) => render_cycle(cycle),
        ConclusionBody::Storage(_) | ConclusionBody::Folded(_) | ConclusionBody::Config(_) => {
            panic!("never said by the engine")
        }
        ConclusionBody::Order { outcome, .. } => match outcome {
            OrderOutcome::Done => "order done".into(),
            OrderOutcome::Refused(code) => format!("refused {code}"),
            OrderOutcome::Expired => "order expired".into(),
            OrderOutcome::Declined(why) => format!("order declined: {why}"),
        },
        ConclusionBody::Suppression(change) => {
            let Suppression { shelved, by_design, out_of_service } = change.suppression;
            let mut text = format!("{:?} {}", change.change, change.rule).to_lowercase();
            for (on, name) in [(shelved, "paused"), (by_design, "design"), (out_of_service, "out")] {
                if on {
                    text.push_str(" +");
                    text.push_str(name);
                }
            }
            text
        }
        ConclusionBody::Alert(change) => {
            let id = change.alert;
            let mut text = match change.change {
                Change::Raised => format!("raise {id}"),
                Change::Cleared(ClearCause::Returned) => format!("clear {id}"),
                Change::Cleared(ClearCause::Settled) => format!("settle {id}"),
                Change::Cleared(ClearCause::Lapsed) => format!("lapse {id}"),
                Change::Cleared(ClearCause::Superseded) => format!("supersede {id}"),
                Change::Cleared(ClearCause::Disabled) => format!("disable {id}"),
                Change::Acknowledged => format!("ack {id}"),
                Change::Quality => format!("quality {id}"),
                Change::Gap => format!("gap {id}"),
                Change::Recurred => format!("recur {id}"),
                Change::Step => format!("step {id}"),
                Change::ReAlarmed => format!("remind {id}"),
                Change::Suppression => format!("suppression {id}"),
                Change::Reset => format!("reset {id}"),
                Change::Chattering => format!("chatter {id}"),
                Change::Provable => format!("provable {id}"),
                Change::Aggravated => format!("aggravate {id}"),
                Change::Escalated(EscalationCause::Unsolved) => format!("escalate {id}"),
                Change::Escalated(cause) => format!("escalate {id} {cause:?}"),
            };
            text += &render_detail(change);
            match change.regions.quality {
                QualityRegion::Good => (),
                QualityRegion::Stale => text += " stale",
                QualityRegion::Bad => text += " bad",
                QualityRegion::Unevaluable => text += " unevaluable",
            }
            let unacked = change.regions.ack == AckRegion::Unacked;
            if unacked && matches!(change.change, Change::Cleared(_)) {
                text += " unacked";
            }
            if change.regions.latch == LatchRegion::Latched && change.change != Change::Raised {
                text += " latched";
            }
            text
        }
    };
    if conclusion.at == line_at { text } else { format!("{}: {text}", show(conclusion.at)) }
}

/// `/2` the step, `!` provable, `trial`, `x3` folded.
fn render_detail(change: &AlertChange) -> String {
    let Some(detail) = change.detail else { return String::new() };
    let mut text = String::new();
    if detail.step > 0 {
        write!(text, "/{}", detail.step).unwrap();
    }
    if detail.provable {
        text += "!";
    }
    if detail.trial {
        text += " trial";
    }
    if detail.folded > 0 {
        write!(text, " x{}", detail.folded).unwrap();
    }
    text
}

fn show(at: EngineTime) -> String {
    format!("{}s", at.0 as f64 / 1000.0)
}

fn render_cycle(cycle: &Cycle) -> String {
    let verdict = match cycle.outcome {
        CycleOutcome::Judged(verdict) => format!("{verdict:?}"),
        CycleOutcome::Drying => "Drying".into(),
        CycleOutcome::Aborted => "Aborted".into(),
        CycleOutcome::NotMeasured => "NotMeasured".into(),
    };
    let round = |celsius: f64| (celsius * 10.0).round() / 10.0;
    let (n, hold_s, peak) = (cycle.n, cycle.hold_ms / 1000, round(cycle.peak_c));
    let mut text = format!("cycle {n} {verdict} hold {hold_s}s peak {peak}");
    if let (Some(min), Some(max)) = (cycle.hold_min_c, cycle.hold_max_c) {
        write!(text, " {}..{}", round(min), round(max)).unwrap();
    }
    if cycle.unseen_ms > 0 {
        write!(text, " unseen {}s", cycle.unseen_ms as f64 / 1000.0).unwrap();
    }
    if cycle.door_opened {
        text += " door";
    }
    text
}
