//! Random histories of a plan with every kind of rule, handling and module, for [`crate::laws`].

use gateway_engine::Engine;
use gateway_model::{
    AggravatePlan, AggravatedBy, AlertId, BadCause, CalendarPlan, ChatterPlan, CivilTime, ClockInput,
    ClockSource, Command, CommandBody, Conclusion, Counted, Counters, DeviceFact, DeviceIx, DutyPlan,
    EngineTime, Epoch, EscalatePlan, Fact, FactBody, Handling, HoursQuestion, Input, Judging, ModuleEvent,
    ModuleIx, ModulePlan, Op, PatiencePlan, Plan, PointIx, Priority, Program, ProvablePlan, Quality,
    RatioPlan, Raw, Reading, RuleKind, RulePlan, RunPlan, StartCause, StartInput, StepPlan, UncertainCause,
    WastePlan, WindowEnd, WindowFunction, WindowPlan,
};
use proptest::prelude::*;

use crate::rig::{DOOR, M, T, U, absent, bus_blind, cabinet, device_blind, high, rule, site};

/// Every kind of rule, with and without delays, and a heat cycle.
pub(crate) fn plan() -> Plan {
    let on_b = |rule: RulePlan| RulePlan { subject: DeviceIx(1), ..rule };
    let both = rule(RuleKind::Condition {
        when: Program(vec![Op::Point(T), Op::Point(U), Op::Greater, Op::TruthPoint(DOOR), Op::And]),
        returned: None,
        on_delay_ms: 7_000,
        off_delay_ms: 0,
        shown: Some(T),
        limit: None,
    });
    let mut plan = site(vec![
        high(T, 80.0, 5.0, 20, 15),
        high(T, 60.0, 0.0, 0, 0),
        RulePlan { latching: true, ..high(T, 90.0, 0.0, 0, 10) },
        on_b(high(U, 80.0, 0.0, 0, 30)),
        both,
        absent(T, 45),
        absent(M, 100),
        rule(RuleKind::CycleFailed { module: ModuleIx(0), settle_within_ms: 200_000 }),
        device_blind(0, 20),
        device_blind(1, 25),
        bus_blind(0, 20),
    ]);
    plan.modules = cabinet().modules;
    for (rule, handling) in plan.rules.iter_mut().zip(handlings()) {
        rule.handling = handling;
    }
    judged(&mut plan);
    plan
}

/// Every kind of handling on some rule, and none on others.
fn handlings() -> Vec<Option<Handling>> {
    let above = |limit| Program(vec![Op::Point(T), Op::Number(limit), Op::Greater]);
    let step = |limit, hold_ms| StepPlan {
        when: above(limit),
        priority: Priority::Red,
        hold_ms,
        limit: Some(limit),
    };
    let base = Handling { pause_max_ms: 100_000, ..Handling::default() };
    let escalate = |open_time| {
        Some(EscalatePlan { after_ms: Some(40_000), open_time, repeated: Some((3, 300_000)), ends: None })
    };
    vec![
        Some(Handling {
            steps: vec![step(90.0, 0), step(110.0, 9_000)],
            escalate: escalate(false),
            patience: Some(PatiencePlan { when: Program(vec![Op::TruthPoint(DOOR)]), on_delay_ms: 50_000 }),
            ..base.clone()
        }),
        Some(Handling {
            chatter: Some(ChatterPlan { activations: 3, within_ms: 60_000 }),
            re_alarm_ms: Some(33_000),
            ..base.clone()
        }),
        Some(Handling { suppressed: Some(Program(vec![Op::TruthPoint(DOOR)])), ..base.clone() }),
        Some(Handling {
            provable: Some(ProvablePlan { when: above(95.0), until: CivilTime(1_400_000) }),
            ..base.clone()
        }),
        None,
        Some(Handling { sleeps: true, escalate: escalate(true), ..base.clone() }),
        None,
        Some(Handling {
            aggravate: Some(AggravatePlan {
                by: AggravatedBy::Visit,
                priority: Priority::Red,
                after_ms: None,
            }),
            escalate: escalate(false).map(|plan| EscalatePlan { ends: Some(WindowEnd::Day), ..plan }),
            ..base.clone()
        }),
        Some(Handling { sleeps: true, ..base }),
    ]
}

/// Windows, opening hours and the other modules, with conditions that read them.
fn judged(plan: &mut Plan) {
    // Every other minute of the day on which engine time 0 is 1970-01-01 UTC, a Thursday.
    let open = (0..720).map(|n| (3 * 1440 + 2 * n, 3 * 1440 + 2 * n + 1)).collect();
    plan.judging = Some(Judging {
        windows: vec![WindowPlan { point: T, span_ms: 60_000 }, WindowPlan { point: U, span_ms: 300_000 }],
        calendar: Some(CalendarPlan { offsets: vec![(CivilTime(0), 0)], open, ..CalendarPlan::default() }),
        trial: false,
    });
    plan.modules.extend([
        ModulePlan::Run(RunPlan { device: DeviceIx(1), power: U, running: 50.0, gap_ms: 60_000 }),
        ModulePlan::Duty(DutyPlan {
            device: DeviceIx(1),
            duty: "bowie-dick".into(),
            every_ms: 200_000,
            open_time: true,
        }),
        ModulePlan::Ratio(RatioPlan {
            device: DeviceIx(1),
            of: Counted::Visits,
            to: Counted::HandpiecesPacked,
            days: 1,
            at_least: 1.0,
        }),
        ModulePlan::Waste(WastePlan {
            feed: DeviceIx(2),
            tolerance_g: 10,
            great_g: Some(20),
            net: Some(U),
            ..WastePlan::default()
        }),
        ModulePlan::Ratio(RatioPlan {
            device: DeviceIx(1),
            of: Counted::OnMinutes(ModuleIx(1)),
            to: Counted::OpenDays,
            days: 1,
            at_least: 1.0,
        }),
        ModulePlan::Ratio(RatioPlan {
            device: DeviceIx(1),
            of: Counted::Readings(U),
            to: Counted::Visits,
            days: 1,
            at_least: 1.0,
        }),
    ]);
    let condition = |ops: &[Op]| {
        rule(RuleKind::Condition {
            when: Program(ops.to_vec()),
            returned: None,
            on_delay_ms: 0,
            off_delay_ms: 5_000,
            shown: Some(T),
            limit: None,
        })
    };
    let window = |window, function| Op::Window { window, point: if window == 0 { T } else { U }, function };
    let output = |module, output| Op::Output { module: ModuleIx(module), output };
    let conditions = [
        condition(&[window(0, WindowFunction::Average), Op::Number(70.0), Op::Greater]),
        condition(&[
            window(1, WindowFunction::Maximum),
            window(1, WindowFunction::Minimum),
            Op::Subtract,
            Op::Number(90.0),
            Op::Greater,
        ]),
        condition(&[window(0, WindowFunction::Age), Op::Number(40_000.0), Op::Greater]),
        condition(&[window(1, WindowFunction::Median), Op::Number(60.0), Op::Less]),
        condition(&[
            window(1, WindowFunction::Rate),
            Op::Number(900.0),
            Op::Greater,
            Op::Hours(HoursQuestion::Open),
            Op::And,
        ]),
        condition(&[output(1, RunPlan::RUNNING_MS), Op::Number(20_000.0), Op::Greater]),
        condition(&[output(2, DutyPlan::OVERDUE_MS), Op::Number(0.0), Op::Greater]),
        condition(&[output(3, RatioPlan::RATIO), Op::Number(1.0), Op::Less]),
        condition(&[output(4, WastePlan::OLDEST_MS), Op::Number(300_000.0), Op::Greater]),
        condition(&[output(4, WastePlan::UNREMOVED_MS), Op::Number(200_000.0), Op::Greater]),
        condition(&[output(4, WastePlan::AT_SOURCE_MS), Op::Number(100_000.0), Op::Greater]),
        condition(&[output(5, RatioPlan::RATIO), Op::Number(1.0), Op::Less]),
        condition(&[output(6, RatioPlan::RATIO), Op::Number(1.0), Op::Less]),
        rule(RuleKind::Event { module: ModuleIx(4), event: ModuleEvent::DuplicateLabel, lapses_ms: 90_000 }),
        rule(RuleKind::ClockUnevaluable { after_ms: 30_000 }),
    ];
    for rule in conditions {
        let id = format!("pack/{}", plan.rules.len());
        plan.rules.push(RulePlan { id, ..rule });
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Act {
    Reading {
        point: u32,
        behind_ms: i64,
        value: Quality<Raw>,
    },
    /// Acknowledge one of the alerts that are listed: which, and how far the event named is off.
    Ack {
        which: usize,
        off: u32,
    },
    Wait,
    /// Something else that a person asks for, about one of the alerts that are listed.
    Ask {
        which: usize,
        what: u8,
        for_ms: i64,
    },
    Fact(u8),
    Clock {
        offset_ms: i64,
        known: bool,
    },
    Start {
        downtime_ms: Option<i64>,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let raw = prop_oneof![(0_i64..1_300).prop_map(Raw::Int), Just(Raw::F32(f32::NAN.to_bits()))];
    let value = prop_oneof![
        12 => raw.clone().prop_map(Quality::Good),
        1 => raw.clone().prop_map(|raw| Quality::Uncertain(raw, UncertainCause::Held)),
        1 => raw.clone().prop_map(|raw| Quality::Uncertain(raw, UncertainCause::Stale)),
        1 => raw.prop_map(|raw| Quality::Uncertain(raw, UncertainCause::Clock)),
        2 => prop::sample::select(BadCause::ALL.to_vec()).prop_map(Quality::Bad),
    ];
    let behind = prop_oneof![4 => Just(0_i64), 1 => 0_i64..20_000];
    prop_oneof![
        20 => (0..5_u32, behind, value).prop_map(|(point, behind_ms, value)| Act::Reading { point, behind_ms, value }),
        2 => (0..8_usize, 0..2_u32).prop_map(|(which, off)| Act::Ack { which, off }),
        2 => Just(Act::Wait),
        3 => (0..8_usize, 0..7_u8, -5_000..120_000_i64)
            .prop_map(|(which, what, for_ms)| Act::Ask { which, what, for_ms }),
        2 => (0..11_u8).prop_map(Act::Fact),
        1 => (-200_000..200_000_i64, prop::bool::weighted(0.8))
            .prop_map(|(offset_ms, known)| Act::Clock { offset_ms, known }),
        1 => prop::option::of(0_i64..200_000).prop_map(|downtime_ms| Act::Start { downtime_ms }),
    ]
}

pub(crate) fn history() -> impl Strategy<Value = Vec<(i64, Act)>> {
    let gap = prop_oneof![6 => 0_i64..12_000, 1 => 0_i64..90_000];
    prop::collection::vec((gap, act()), 1..120)
}

/// Plays the history; `between` may do what it likes before each input at a given time.
pub(crate) fn play(
    history: &[(i64, Act)],
    mut between: impl FnMut(&mut Engine, EngineTime, &mut Vec<Conclusion>),
) -> (Engine, Vec<Conclusion>) {
    let mut engine = Engine::new(plan());
    let mut out = Vec::new();
    for_each_input(history, &mut engine, &mut out, |engine, input, until, out| {
        between(engine, until, out);
        engine.step(input, out);
    });
    (engine, out)
}

/// Hands over the inputs of the history, one by one; what a person asks for depends on how the engine stands. The first one is
/// the start of the process.
pub(crate) fn for_each_input(
    history: &[(i64, Act)],
    engine: &mut Engine,
    out: &mut Vec<Conclusion>,
    mut hand_over: impl FnMut(&mut Engine, &Input, EngineTime, &mut Vec<Conclusion>),
) {
    let mut epoch = 1;
    let mut now = 1_000_000;
    let never = EngineTime(i64::MIN);
    hand_over(engine, &start(now, epoch, Some(0)), never, out);
    for (gap, act) in history {
        let is_start = matches!(act, Act::Start { .. });
        let gap = if let Act::Start { downtime_ms } = act { downtime_ms.unwrap_or(0) } else { *gap };
        now += gap;
        let input = match act {
            Act::Reading { point, behind_ms, value } => Input::Reading(Reading {
                point: PointIx(*point),
                at: EngineTime(now - behind_ms),
                value: *value,
            }),
            Act::Ack { which, off } => Input::Command(Command {
                at: EngineTime(now),
                order: Some((1, 1)),
                author: "p".into(),
                body: acknowledge(engine, *which, *off),
            }),
            Act::Wait => Input::Advance(EngineTime(now)),
            Act::Ask { which, what, for_ms } => Input::Command(Command {
                at: EngineTime(now),
                order: Some((1, 2)),
                author: "p".into(),
                body: asked(engine, *which, *what, *for_ms, now),
            }),
            Act::Fact(what) => Input::Fact(Fact {
                device: DeviceIx(u32::from(*what % 2) + 1),
                at: EngineTime(now),
                body: fact(*what),
            }),
            Act::Clock { offset_ms, known } => Input::Clock(ClockInput {
                at: EngineTime(now),
                offset_ms: *offset_ms,
                error_ms: known.then_some(5),
                source: ClockSource::System,
                since: None,
            }),
            Act::Start { downtime_ms } => {
                epoch += 1;
                start(now, epoch, *downtime_ms)
            }
        };
        // Nobody is there to let time pass before a start.
        hand_over(engine, &input, if is_start { never } else { input.at() }, out);
    }
}

fn acknowledge(engine: &Engine, which: usize, off: u32) -> CommandBody {
    let alerts = engine.alerts();
    alerts.get(which).map_or(CommandBody::Acknowledge { alert: AlertId::default(), event: 1 }, |alert| {
        CommandBody::Acknowledge { alert: alert.alert, event: alert.event - off }
    })
}

fn asked(engine: &Engine, which: usize, what: u8, for_ms: i64, now: i64) -> CommandBody {
    let alerts = engine.alerts();
    let seen = alerts.get(which).map_or((AlertId::default(), 1), |alert| (alert.alert, alert.event));
    let (alert, event) = seen;
    let rule = alerts.get(which).map_or(0, |alert| alert.rule.0);
    match what {
        0 => CommandBody::Reset { alert, event },
        1 | 2 => CommandBody::Pause { alert, event, for_ms, once: what == 1, reason: "r".into() },
        3 => CommandBody::Resume { rule: format!("pack/{rule}"), subject: "a".into() },
        4 => CommandBody::TakeOut { device: "a".into(), for_ms, permit: "7".into(), reason: "r".into() },
        5 => CommandBody::PutBack { device: "a".into() },
        _ => CommandBody::DeclareClosure {
            from: CivilTime(now + for_ms),
            to: CivilTime(now + 2 * for_ms.abs()),
            reason: "r".into(),
        },
    }
}

fn fact(what: u8) -> FactBody {
    match what {
        0 => FactBody::Visits { count: 3 },
        1 => FactBody::HandpiecesPacked { count: 2 },
        2 | 3 => FactBody::DutyDone { duty: "bowie-dick".into(), passed: what == 2 },
        4 => FactBody::Weighing { gross_g: 2, tare_g: 1, net_g: 1 },
        5 => FactBody::BagLabelled {
            label: "l".into(),
            category: "c".into(),
            department: "d".into(),
            grams: 5,
        },
        6 => FactBody::BagsStored { labels: vec!["l".into()], grams: 30, place: "s".into() },
        10 => FactBody::Device(DeviceFact::Replaced {
            serial: "1".into(),
            successor: "2".into(),
            by: "p".into(),
            counters: Some(Counters::Reset),
        }),
        7 => FactBody::WasteReceived { labels: vec!["l".into()], grams: 5, by: "x".into() },
        _ => FactBody::HandOver { labels: vec!["l".into()], grams: 5, to: "x".into() },
    }
}

pub(crate) fn start(at: i64, epoch: u64, downtime_ms: Option<i64>) -> Input {
    Input::Start(StartInput {
        at: EngineTime(at),
        epoch: Epoch(epoch),
        previous: None,
        previous_hash: None,
        cause: StartCause::Unclean,
        downtime_ms,
        simulated: false,
    })
}
