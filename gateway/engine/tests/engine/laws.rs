//! Invariants of `alerts.md` §1.1 over random histories: (i) every raise has one end, (ii) nothing clears
//! while it cannot be judged, (iv) the chunking of time changes nothing, (v) neither does a crash, (vi) no
//! timer fires twice. (iii), over the same histories: whatever was suppressed in between, once nothing is the
//! alerts stand as if nothing had ever been, but for their acknowledgement.

use std::collections::BTreeMap;

use gateway_engine::Engine;
use gateway_model::{
    AckRegion, AggravatePlan, AggravatedBy, AlertChange, AlertId, BadCause, CalendarPlan, Change,
    ChatterPlan, CivilTime, ClearCause, ClockInput, ClockSource, Command, CommandBody, Conclusion,
    ConclusionBody, Counted, Counters, DeviceFact, DeviceIx, DutyPlan, EngineTime, Epoch, EscalatePlan, Fact,
    FactBody, Handling, HoursQuestion, Input, Judging, ModuleEvent, ModuleIx, ModulePlan, Op, PatiencePlan,
    Plan, PointIx, Priority, ProcessRegion, Program, ProvablePlan, Quality, QualityRegion, RatioPlan, Raw,
    Reading, RuleKind, RulePlan, RunPlan, StartCause, StartInput, StepPlan, UncertainCause, WastePlan,
    WindowFunction, WindowPlan,
};
use proptest::prelude::*;

use crate::rig::{DOOR, M, T, U, absent, bus_blind, cabinet, device_blind, high, rule, site};

/// Every kind of rule, with and without delays, and a heat cycle.
fn plan() -> Plan {
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
    let escalate =
        |open_time| Some(EscalatePlan { after_ms: Some(40_000), open_time, repeated: Some((3, 300_000)) });
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
            escalate: escalate(true),
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
enum Act {
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

fn history() -> impl Strategy<Value = Vec<(i64, Act)>> {
    let gap = prop_oneof![6 => 0_i64..12_000, 1 => 0_i64..90_000];
    prop::collection::vec((gap, act()), 1..120)
}

/// Plays the history; `between` may do what it likes before each input at a given time.
fn play(
    history: &[(i64, Act)],
    mut between: impl FnMut(&mut Engine, EngineTime, &mut Vec<Conclusion>),
) -> (Engine, Vec<Conclusion>) {
    let mut engine = Engine::new(plan());
    let mut out = Vec::new();
    let mut epoch = 1;
    let mut now = 1_000_000;
    engine.step(&start(now, epoch, Some(0)), &mut out);
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
                body: acknowledge(&engine, *which, *off),
            }),
            Act::Wait => Input::Advance(EngineTime(now)),
            Act::Ask { which, what, for_ms } => Input::Command(Command {
                at: EngineTime(now),
                order: Some((1, 2)),
                author: "p".into(),
                body: asked(&engine, *which, *what, *for_ms, now),
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
        between(&mut engine, if is_start { EngineTime(i64::MIN) } else { input.at() }, &mut out);
        engine.step(&input, &mut out);
    }
    (engine, out)
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

fn start(at: i64, epoch: u64, downtime_ms: Option<i64>) -> Input {
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

fn lives(out: &[Conclusion]) -> BTreeMap<AlertId, Vec<(EngineTime, AlertChange)>> {
    let mut lives: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for conclusion in out {
        if let ConclusionBody::Alert(change) = &conclusion.body {
            lives.entry(change.alert).or_default().push((conclusion.at, change.clone()));
        }
    }
    lives
}

proptest! {
    #[test]
    fn every_alert_is_raised_once_cleared_at_most_once_and_numbered_without_holes(history in history()) {
        let (engine, out) = play(&history, |_, _, _| ());
        let open: Vec<AlertId> = engine.alerts().iter().map(|alert| alert.alert).collect();
        for (id, life) in lives(&out) {
            for (index, (_, change)) in life.iter().enumerate() {
                prop_assert_eq!(change.event as usize, index + 1);
                prop_assert_eq!(change.change == Change::Raised, index == 0, "{:?}", life);
            }
            let ends = life.iter().filter(|(_, change)| matches!(change.change, Change::Cleared(_))).count();
            prop_assert!(ends <= 1, "{:?}", life);
            let last = &life.last().unwrap().1;
            let listed = ends == 0 && last.change != Change::Reset || last.regions.ack == AckRegion::Unacked;
            prop_assert!(!listed || open.contains(&id), "an alert that is not over is listed: {:?}", life);
            // Acknowledged again only where something asked for attention again.
            let mut acked = false;
            for (_, change) in &life {
                prop_assert!(change.change != Change::Acknowledged || !acked, "{:?}", life);
                acked = change.regions.ack == AckRegion::Acked;
            }
            let escalated = life.iter().filter(|(_, change)| matches!(change.change, Change::Escalated(_))).count();
            prop_assert!(escalated <= 1, "{:?}", life);
        }
    }

    #[test]
    fn nothing_clears_while_it_cannot_be_judged(history in history()) {
        let (_, out) = play(&history, |_, _, _| ());
        for (_, change) in lives(&out).into_values().flatten() {
            if matches!(change.change, Change::Cleared(ClearCause::Returned) | Change::Raised | Change::Recurred) {
                prop_assert_eq!(change.regions.quality, QualityRegion::Good, "{:?}", change);
            }
            if let Change::Cleared(_) = change.change {
                prop_assert_eq!(change.regions.process, ProcessRegion::Normal);
            }
        }
    }

    /// (iii).
    #[test]
    fn suppression_never_changes_what_is_raised_or_cleared(history in history()) {
        let quiet: Vec<_> = history.iter().map(|(gap, act)| {
            let suppresses = matches!(act, Act::Ask { what: 1..=5, .. });
            (*gap, if suppresses { Act::Wait } else { act.clone() })
        }).collect();
        let (suppressed, with) = play(&history, |_, _, _| ());
        let (unsuppressed, without) = play(&quiet, |_, _, _| ());
        let process = |out: &[Conclusion]| -> Vec<_> {
            out.iter().filter_map(|one| {
                let ConclusionBody::Alert(change) = &one.body else { return None };
                matches!(change.change, Change::Raised | Change::Cleared(_))
                    .then_some((one.at, change.alert, change.change))
            }).collect()
        };
        // A reset or an acknowledgement names an event, and events are numbered with those of suppression.
        prop_assert_eq!(process(&with), process(&without));
        let standing = |engine: &Engine| -> Vec<_> {
            engine.save().rules.into_iter().map(|rule| {
                let regions = rule.alert.regions;
                (rule.rule, regions.process, regions.quality, rule.alert.due, rule.events.len())
            }).collect()
        };
        prop_assert_eq!(standing(&suppressed), standing(&unsuppressed));
    }

    #[test]
    fn conclusions_are_in_the_order_of_their_times(history in history()) {
        let (engine, out) = play(&history, |_, _, _| ());
        prop_assert!(out.windows(2).all(|pair| pair[0].at <= pair[1].at));
        prop_assert!(out.last().is_none_or(|last| last.at <= engine.now()));
    }

    #[test]
    fn any_chunking_of_time_gives_the_same_conclusions(history in history(), chunks in prop::collection::vec(1_i64..40_000, 1..8)) {
        let (_, whole) = play(&history, |_, _, _| ());
        let mut chunk = chunks.iter().cycle();
        let (_, chunked) = play(&history, |engine, until, out| {
            while engine.now() < until {
                let next = engine.now().plus(*chunk.next().unwrap()).min(until);
                engine.step(&Input::Advance(next), out);
            }
        });
        prop_assert_eq!(&whole, &chunked);
        // As a shell does it: asleep until the deadline.
        let (_, woken) = play(&history, |engine, until, out| {
            while let Some(deadline) = engine.deadline().filter(|&deadline| deadline <= until) {
                engine.step(&Input::Advance(deadline), out);
                assert!(engine.deadline().is_none_or(|next| next > deadline), "no timer fires twice");
            }
        });
        prop_assert_eq!(&whole, &woken);
    }

    #[test]
    fn a_crash_at_any_step_changes_nothing_once_restored(history in history()) {
        let (engine, whole) = play(&history, |_, _, _| ());
        let (restored, crashed) = play(&history, |engine, _, out| {
            let state = engine.save();
            let (next, superseded) = Engine::restore(engine.plan().clone(), state.clone()).unwrap();
            *engine = next;
            assert_eq!(engine.save(), state);
            out.extend(superseded);
        });
        prop_assert_eq!(&whole, &crashed);
        prop_assert_eq!(engine.save(), restored.save());
        prop_assert_eq!(engine.deadline(), restored.deadline());
    }

    #[test]
    fn a_deadline_is_never_in_the_past_and_time_never_steps_back(history in history()) {
        let mut before = EngineTime(i64::MIN);
        play(&history, |engine, _, _| {
            assert!(engine.now() >= before);
            before = engine.now();
            assert!(engine.deadline().is_none_or(|deadline| deadline >= engine.now()));
        });
    }

    #[test]
    fn no_input_and_no_plan_makes_it_panic(
        stamps in prop::collection::vec((any::<i64>(), any::<u16>(), any::<i64>()), 0..40),
        on in any::<i64>(),
        off in any::<i64>(),
        max_age in any::<i64>(),
    ) {
        let mut plan = plan();
        for rule in &mut plan.rules {
            rule.subject = DeviceIx(rule.subject.0.wrapping_mul(9));
            if let RuleKind::Condition { on_delay_ms, off_delay_ms, shown, .. } = &mut rule.kind {
                (*on_delay_ms, *off_delay_ms, *shown) = (on, off, Some(PointIx(77)));
            }
            if let RuleKind::Absence { after_ms, .. } = &mut rule.kind {
                *after_ms = on;
            }
        }
        // Two centuries of opening hours, worked through at every jump, would take minutes; that there is an end is
        // tested where the calendar is.
        if let Some(judging) = &mut plan.judging {
            judging.calendar = None;
        }
        plan.points[0].max_age_ms = max_age;
        plan.points[0].every_ms = off;
        plan.devices.truncate(2);
        plan.buses.clear();
        let mut engine = Engine::new(plan.clone());
        let mut out = Vec::new();
        for (at, point, raw) in stamps {
            let value = Quality::Good(Raw::Int(raw));
            engine.step(&Input::Reading(Reading { point: PointIx(u32::from(point) % 5), at: EngineTime(at), value }), &mut out);
            engine.step(&start(at, point.into(), Some(raw)), &mut out);
            engine.step(&Input::Advance(EngineTime(raw)), &mut out);
            let state = engine.save();
            prop_assert!(Engine::restore(plan.clone(), state).is_ok());
        }
    }
}
