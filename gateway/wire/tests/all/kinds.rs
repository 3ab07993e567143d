//! Bodies for the golden files: the kinds and fields that the first ones have not: everything a command, a fact, a
//! change, a plan and a state can hold.

use gateway_model::{
    About, Acceptance, AckRegion, AggravatePlan, AggravatedBy, AlertChange, AlertDetail, AlertId, AlertState,
    BadCause, BagState, CalendarPlan, Calibration, Change, ChatterPlan, CivilTime, ClearCause, ClockSource,
    ClockState, Command, CommandBody, Compared, Conclusion, ConclusionBody, Counted, Counters, Cycle,
    CycleMeasured, CycleOutcome, CycleState, CycleVerdict, DayCount, DeviceFact, DeviceIx, DosePlan,
    DutyPlan, EngineTime, Epoch, EscalatePlan, EscalationCause, Fact, FactBody, Handling, HandlingState,
    HeatCriteria, HeatMeasures, HeatProbes, HeatStart, HeatStop, HeatStopPlan, HoursQuestion, Input, Judging,
    JudgingState, LatchRegion, MeterState, ModuleEvent, ModuleIx, ModulePlan, ModuleState, OccurrenceState,
    Op, PatiencePlan, Phase, Photo, PointCounts, PointIx, Priority, ProcessRegion, Program, ProvablePlan,
    Quality, QualityRegion, RatioPlan, Raw, Reading, Regions, RuleIx, RuleKind, RuleState, RunPlan, Seq,
    ShownPlan, SpecialDays, State, StepPlan, Still, Stuck, Suppression, SuppressionChange, SuppressionEvent,
    Unit, WastePlan, WasteState, WindowBucket, WindowEnd, WindowFunction, WindowPlan, WindowState,
};
use gateway_wire::{Body, ConclusionsBody, ConfigBody, InputsBody};

const T: EngineTime = EngineTime(1_790_000_000_000);
const ALERT: AlertId = AlertId { epoch: Epoch(3), n: 1 };

fn civil(after: i64) -> CivilTime {
    CivilTime(T.0 + after)
}

fn inputs(items: Vec<Input>) -> Body {
    Body::Inputs(InputsBody { items, counts: vec![] })
}

/// Every command but the first, which `inputs-v1` has.
pub(crate) fn commands() -> Body {
    let (alert, event) = (ALERT, 2);
    let bodies = [
        CommandBody::Reset { alert, event },
        CommandBody::Pause { alert, event, for_ms: 3_600_000, once: true, reason: "检修".into() },
        CommandBody::Resume { rule: "fridge/too-warm".into(), subject: "fridge-1".into() },
        CommandBody::TakeOut {
            device: "fridge-1".into(),
            for_ms: 86_400_000,
            permit: "WX-2026-17".into(),
            reason: "换压缩机".into(),
        },
        CommandBody::PutBack { device: "fridge-1".into() },
        CommandBody::DeclareClosure { from: civil(0), to: civil(86_400_000), reason: "停业".into() },
        CommandBody::RotateKey,
        CommandBody::CenterKeys { issued: civil(-5), tls_keys: vec![[3; 32].into(), [4; 32].into()] },
    ];
    let command = |(n, body): (i64, CommandBody)| {
        // What is asked on the gateway's own page has no order.
        let order = (n % 2 == 0).then_some((1, 9 + n as u64));
        Input::Command(Command { at: T.plus(n), order, author: "p-17".into(), body })
    };
    inputs((0..).zip(bodies).map(command).collect())
}

/// The facts that neither `inputs-v1` nor `device-facts-v1` has, and every field that may be left out.
pub(crate) fn facts() -> Body {
    let (serial, by) = (|| String::from("UV-0042"), || String::from("p-17"));
    let labels = || vec!["MW-20261122-0007".into(), "MW-20261122-0008".into()];
    let placed = DeviceFact::Placed {
        serial: serial(),
        place: "1号柜".into(),
        by: by(),
        review: Some("JS-2026-3".into()),
        accepted: None,
    };
    let replaced = |counters| DeviceFact::Replaced {
        serial: serial(),
        successor: "UV-0043".into(),
        by: by(),
        counters: Some(counters),
    };
    let calibrated = DeviceFact::Calibrated {
        serial: serial(),
        certificate: "2026-T-1187".into(),
        laboratory: "省计量院".into(),
        done: civil(-86_400_000),
        valid_until: civil(31_536_000_000),
        uncertainty: vec![(PointIx(0), Raw::Int(1)), (PointIx(1), Raw::F64(0.25f64.to_bits()))],
        coverage_factor: Some(Raw::Dec { mantissa: 2, exponent: 0 }),
        corrections: Some(vec![(PointIx(0), Raw::F32((-0.5f32).to_bits()))]),
    };
    let bodies = [
        FactBody::DutyDone { duty: "bowie-dick".into(), passed: true },
        FactBody::BagsStored { labels: labels(), grams: 6_500, place: "暂存间".into() },
        FactBody::WasteReceived { labels: labels(), grams: 6_480, by: "d-1".into() },
        FactBody::Device(placed),
        FactBody::Device(replaced(Counters::Kept)),
        FactBody::Device(replaced(Counters::Reset)),
        FactBody::Device(calibrated),
    ];
    let fact = |(n, body): (i64, FactBody)| Input::Fact(Fact { device: DeviceIx(0), at: T.plus(n), body });
    inputs((0..).zip(bodies).map(fact).collect())
}

/// Alerts about things that have names, with a detail before it and without.
pub(crate) fn about() -> Body {
    let alert = |(n, about): (i64, About)| {
        let change = AlertChange {
            alert: ALERT,
            event: 1,
            rule: Some(RuleIx(0)),
            change: Change::Raised,
            regions: Regions::default(),
            value: Some(2.0),
            limit: None,
            since: Some(T),
            detail: (n > 0).then(AlertDetail::default),
            about: Some(about),
        };
        Conclusion { at: T.plus(n), body: ConclusionBody::Alert(change) }
    };
    let labels =
        |labels: &[&str], more| About { labels: labels.iter().map(ToString::to_string).collect(), more };
    let list = [labels(&["MW-20261122-0007"], 0), labels(&["MW-7", "MW-8"], 3)];
    Body::Conclusions(ConclusionsBody {
        because: Seq(9),
        list: (0..).zip(list).map(alert).collect(),
        frames: vec![],
    })
}

/// Every change of an alert that `conclusions-v1` has not, each with its detail, and what stands beside alerts.
pub(crate) fn changes() -> Body {
    let regions = Regions {
        process: ProcessRegion::Clearing,
        latch: LatchRegion::Latched,
        ack: AckRegion::Unacked,
        suppression: Suppression { shelved: true, by_design: false, out_of_service: true },
        quality: QualityRegion::Unevaluable,
    };
    let changes = [
        Change::Step,
        Change::ReAlarmed,
        Change::Suppression,
        Change::Reset,
        Change::Chattering,
        Change::Provable,
        Change::Aggravated,
        Change::Escalated(EscalationCause::Unsolved),
        Change::Escalated(EscalationCause::Repeated),
        Change::Escalated(EscalationCause::Aggravated),
        Change::Cleared(ClearCause::Settled),
        Change::Cleared(ClearCause::Lapsed),
        Change::Cleared(ClearCause::Superseded),
        Change::Cleared(ClearCause::Disabled),
    ];
    let alert = |(n, change): (u32, Change)| {
        ConclusionBody::Alert(AlertChange {
            alert: ALERT,
            event: n + 7,
            rule: (n > 0).then_some(RuleIx(1)),
            change,
            regions,
            value: None,
            limit: None,
            since: None,
            detail: Some(AlertDetail {
                step: 1,
                provable: n % 2 == 0,
                trial: true,
                folded: n,
                escalated: n > 7,
            }),
            about: None,
        })
    };
    let cycle = |n, outcome, measured| {
        ConclusionBody::Cycle(Cycle {
            module: ModuleIx(0),
            n,
            started: T,
            hold_started: None,
            hold_ms: 0,
            peak_c: 134.25,
            hold_min_c: None,
            hold_max_c: None,
            door_opened: false,
            unseen_ms: 1_500,
            outcome,
            measured,
        })
    };
    let measured = CycleMeasured { f0_min: 12.5, a0_s: 600.0, spread_k: Some(1.25), saturation_k: None };
    let cycles = [
        cycle(13, CycleOutcome::Judged(CycleVerdict::NotSaturated), Some(measured)),
        cycle(14, CycleOutcome::Drying, None),
        cycle(15, CycleOutcome::NotMeasured, Some(CycleMeasured::default())),
        cycle(16, CycleOutcome::Aborted, None),
    ];
    concluded((0..).zip(changes).map(alert).chain(cycles).collect())
}

/// Every way in which rules are silenced and heard again.
pub(crate) fn suppressions() -> Body {
    let events = [
        SuppressionEvent::Paused,
        SuppressionEvent::Resumed,
        SuppressionEvent::PauseEnded,
        SuppressionEvent::SuppressedByDesign,
        SuppressionEvent::ReleasedByDesign,
        SuppressionEvent::OutOfService,
        SuppressionEvent::BackInService,
    ];
    let said = |(n, change): (u32, SuppressionEvent)| {
        let asked = matches!(change, SuppressionEvent::Paused | SuppressionEvent::OutOfService);
        ConclusionBody::Suppression(SuppressionChange {
            rule: RuleIx(n),
            change,
            suppression: Suppression {
                shelved: change == SuppressionEvent::Paused,
                by_design: change == SuppressionEvent::SuppressedByDesign,
                out_of_service: change == SuppressionEvent::OutOfService,
            },
            until: asked.then_some(T.plus(3_600_000)),
            by: asked.then(|| ("p-17".into(), "检修".into())),
        })
    };
    concluded((0..).zip(events).map(said).collect())
}

fn concluded(bodies: Vec<ConclusionBody>) -> Body {
    let list = (0..).zip(bodies).map(|(n, body)| Conclusion { at: T.plus(n), body }).collect();
    Body::Conclusions(ConclusionsBody { because: Seq(2), list, frames: vec![] })
}

fn handling() -> Handling {
    let when = |op| Program(vec![op]);
    Handling {
        steps: vec![StepPlan {
            when: when(Op::Window { window: 0, point: PointIx(0), function: WindowFunction::Average }),
            priority: Priority::Red,
            hold_ms: 60_000,
            limit: Some(130.0),
        }],
        provable: Some(ProvablePlan { when: when(Op::TruthPoint(PointIx(1))), until: civil(31_536_000_000) }),
        suppressed: Some(when(Op::Hours(HoursQuestion::DeclaredClosed))),
        sleeps: true,
        re_alarm_ms: Some(1_800_000),
        escalate: Some(EscalatePlan {
            after_ms: Some(7_200_000),
            open_time: true,
            repeated: Some((3, 604_800_000)),
            ends: Some(WindowEnd::WorkingDays(5)),
        }),
        chatter: Some(ChatterPlan { activations: 10, within_ms: 600_000 }),
        pause_max_ms: 86_400_000,
        aggravate: Some(AggravatePlan {
            by: AggravatedBy::Point(PointIx(1)),
            priority: Priority::Red,
            after_ms: Some(1_000),
        }),
        disabled: false,
        shown: Some(ShownPlan {
            value: Program(vec![
                Op::Output { module: ModuleIx(1), output: DosePlan::HOURS },
                Op::Negate,
                Op::Absolute,
                Op::Number(1.5),
                Op::Maximum,
            ]),
            unit: Unit::Hour,
        }),
        joins: Some("dental-clinic/no-cycle".into()),
        patience: None,
    }
}

/// `base`, the plan of `config-v1`, with everything that a plan may hold besides.
pub(crate) fn config(base: &Body) -> Body {
    let Body::Config(base) = base else { unreachable!("it is one") };
    let mut plan = base.plan.clone();
    let device = DeviceIx(0);
    plan.points[0].calibration = Some(Calibration {
        certificate: "2026-T-1187".into(),
        uncertainty: 0.3,
        until: civil(31_536_000_000),
        laboratory: Some("省计量院".into()),
        done: Some(civil(-86_400_000)),
        correction: Some(-0.25),
        k: Some(2.0),
    });
    if let Some(ModulePlan::HeatCycle(heat)) = plan.modules.first_mut() {
        heat.probes = Some(HeatProbes { others: vec![PointIx(1)], pressure: Some(PointIx(1)) });
        heat.stop = Some(HeatStopPlan { power: Some(PointIx(1)), heating: 0.1 });
        heat.program.criteria = Some(HeatCriteria {
            f0_min: Some(12.0),
            a0_s: Some(600.0),
            spread_k: Some(2.0),
            saturation_k: None,
        });
    }
    plan.modules.extend([
        ModulePlan::Dose(DosePlan {
            device,
            irradiance: PointIx(0),
            lit: 15.0,
            warm_up_ms: 300_000,
            gap_ms: 60_000,
        }),
        ModulePlan::Run(RunPlan { device, power: PointIx(0), running: 50.0, gap_ms: 60_000 }),
        ModulePlan::Ratio(RatioPlan {
            device,
            of: Counted::OnMinutes(ModuleIx(1)),
            to: Counted::OpenDays,
            days: 1,
            at_least: 1.0,
        }),
        ModulePlan::Duty(DutyPlan {
            device,
            duty: "lamp-cleaning".into(),
            every_ms: 604_800_000,
            open_time: true,
        }),
        ModulePlan::Waste(WastePlan {
            scale: Some(device),
            feed: device,
            tolerance_g: 100,
            tolerance_permille: 20,
            other_permille: Some(50),
            great_g: Some(5_000),
            net: Some(PointIx(0)),
            stable: Some(PointIx(1)),
            division_g: None,
        }),
    ]);
    let counted =
        [Counted::Visits, Counted::HandpiecesPacked, Counted::WasteGrams, Counted::Readings(PointIx(0))];
    plan.modules.extend(counted.map(|of| {
        let to = Counted::CyclesPassed(ModuleIx(0));
        ModulePlan::Ratio(RatioPlan { device, of, to, days: 7, at_least: 0.5 })
    }));
    let mut rule = plan.rules[0].clone();
    rule.kind =
        RuleKind::Event { module: ModuleIx(5), event: ModuleEvent::WeightDiffers, lapses_ms: 86_400_000 };
    rule.handling = Some(handling());
    rule.latching = true;
    plan.rules.push(rule.clone());
    rule.kind = RuleKind::ClockUnevaluable { after_ms: 60_000 };
    rule.handling = Some(Handling { disabled: true, ..Handling::default() });
    plan.rules.push(rule);
    plan.judging = Some(Judging {
        windows: vec![WindowPlan { point: PointIx(0), span_ms: 3_600_000 }],
        calendar: Some(CalendarPlan {
            offsets: vec![(civil(0), 480)],
            open: vec![(480, 1_080)],
            off: vec![(0, 360)],
            days: vec![
                SpecialDays { first: 20_720, last: 20_726, like: None },
                SpecialDays { first: 20_727, last: 20_727, like: Some(0) },
            ],
            closures: vec![(civil(0), civil(86_400_000))],
            known_until: Some(civil(31_536_000_000)),
        }),
        trial: true,
    });
    Body::Config(Box::new(ConfigBody { plan, software: base.software.clone(), semantics: base.semantics }))
}

/// `base` with a rule that asks for a median and waits longer after a door was open.
pub(crate) fn patience(base: &Body) -> Body {
    let Body::Config(base) = base else { unreachable!("it is one") };
    let mut plan = base.plan.clone();
    let window = |window, function| Op::Window { window, point: PointIx(window), function };
    plan.judging.get_or_insert_default().windows =
        [0, 1].map(|point| WindowPlan { point: PointIx(point), span_ms: 300_000 }).into();
    if let Some(rule) = plan.rules.first_mut() {
        if let RuleKind::Condition { when, .. } = &mut rule.kind {
            *when = Program(vec![window(0, WindowFunction::Median), Op::Number(70.0), Op::Less]);
        }
        let excuse = Program(vec![window(1, WindowFunction::Maximum)]);
        let patience = Some(PatiencePlan { when: excuse, on_delay_ms: 3_600_000 });
        rule.handling = Some(Handling { patience, ..Handling::default() });
    }
    Body::Config(Box::new(ConfigBody { plan, software: base.software.clone(), semantics: base.semantics }))
}

/// `base` with a rule that is verified only while something else holds, a program with a shortest run, and a scale with divisions.
pub(crate) fn during(base: &Body) -> Body {
    let Body::Config(base) = base else { unreachable!("it is one") };
    let mut plan = base.plan.clone();
    if let Some(rule) = plan.rules.first_mut() {
        rule.verify.during = Some(Program(vec![Op::Point(PointIx(0)), Op::Number(8.0), Op::Greater]));
    }
    for module in &mut plan.modules {
        if let ModulePlan::HeatCycle(heat) = module {
            heat.program.dry_ms = Some(180_000);
        }
    }
    plan.modules.push(ModulePlan::Waste(WastePlan { division_g: Some(100), ..WastePlan::default() }));
    Body::Config(Box::new(ConfigBody { plan, software: base.software.clone(), semantics: base.semantics }))
}

fn bag() -> BagState {
    BagState {
        weighed_g: Some(3_240),
        stored: Some(T.plus(1)),
        received: Some(T.plus(3)),
        gone: Some(T.plus(2)),
        passed_over: 1,
        again_g: 3_250,
        ..BagState::new("MW-20261122-0007", "841-001-01", "外科", 3_250, T)
    }
}

/// The state of every module, of handling and of windows.
/// A point that is watched for standing still.
pub(crate) fn stuck_config(base: &Body) -> Body {
    let Body::Config(base) = base else { unreachable!("it is one") };
    let mut plan = base.plan.clone();
    plan.points[0].stuck = Some(Stuck { after_ms: 86_400_000, noise: 0.05, above: None });
    Body::Config(Box::new(ConfigBody { plan, software: base.software.clone(), semantics: base.semantics }))
}

/// The same, watched above a rest value only.
pub(crate) fn stuck_above_config(base: &Body) -> Body {
    let Body::Config(mut config) = stuck_config(base) else { unreachable!("it is one") };
    if let Some(stuck) = &mut config.plan.points[0].stuck {
        stuck.above = Some(15.0);
    }
    Body::Config(config)
}

/// What was seen when an instrument was accepted.
pub(crate) fn acceptance() -> Body {
    let placed = DeviceFact::Placed {
        serial: "UV-0042".into(),
        place: "1号柜".into(),
        by: "p-17".into(),
        review: None,
        accepted: Some(Acceptance {
            compared: vec![Compared {
                point: PointIx(0),
                shown: Raw::F64(4.3_f64.to_bits()),
                reference: Raw::Dec { mantissa: 41, exponent: -1 },
                accuracy: Some(Raw::F64(0.3_f64.to_bits())),
            }],
            photos: vec![Photo { sha256: [7; 32] }],
        }),
    };
    let fact = Fact { device: DeviceIx(0), at: T, body: FactBody::Device(placed) };
    Body::Inputs(InputsBody { items: vec![Input::Fact(fact)], counts: vec![] })
}

/// It stood still, and was silent before it was stuck.
pub(crate) fn stuck_inputs() -> Body {
    let reading = |after, value| Input::Reading(Reading { point: PointIx(0), at: T.plus(after), value });
    let failed = vec![1, 0, 0, 0, 0, 0, 0, 0, 2];
    let items = vec![
        reading(0, Quality::Good(Raw::Int(41))),
        reading(86_300_000, Quality::Bad(BadCause::NoCommunication)),
        reading(86_400_000, Quality::Bad(BadCause::Stuck)),
    ];
    let counts =
        vec![PointCounts { point: PointIx(0), due: 4, answered: 1, within_deadband: 0, late: 0, failed }];
    Body::Inputs(InputsBody { items, counts })
}

/// What an engine remembers of it.
pub(crate) fn stuck_checkpoint(base: &Body) -> Body {
    let Body::Checkpoint(base) = base else { unreachable!("it is one") };
    let mut state = base.clone();
    state.points[0].last = Some((T.plus(86_400_000), Quality::Bad(BadCause::Stuck)));
    state.points[0].still = Some(Still { value: Raw::Int(41), since: T, silent: Some(T.plus(86_300_000)) });
    Body::Checkpoint(state)
}

pub(crate) fn checkpoint() -> Body {
    let device = || String::from("cabinet-1");
    let occurrence = OccurrenceState { alert: ALERT, event: 6, since: T };
    let regions = Regions { process: ProcessRegion::Active, ..Regions::default() };
    let running = CycleState {
        phase: Phase::Dipping,
        started: T,
        hold_from: None,
        hold_to: None,
        hold_span: None,
        hold_door: true,
        best: Some((T, T.plus(5), 99.5, 101.0, false)),
        peak_c: 134.0,
        below_since: Some(T.plus(7)),
        seen_at: T.plus(8),
        unseen_ms: 2_000,
        dip: Some((T.plus(7), 98.5)),
        measures: Some(HeatMeasures {
            f0_min: 1.5,
            a0_s: 60.0,
            last_c: 98.5,
            spread_k: Some(0.5),
            saturation_k: None,
            best: Some((Some(0.5), None)),
        }),
        start: Some(HeatStart {
            first: (T, 41.5),
            step: (T.plus(3), 98.0),
            rate: Some(0.002),
            last: (T.plus(4), 98.5),
            shut: true,
            heating: false,
            stop: Some(HeatStop { at: T.plus(4), celsius: 98.5, power: true }),
        }),
    };
    let handling = HandlingState {
        paused: Some((T.plus(3_600_000), true)),
        out_of_service: Some(T.plus(86_400_000)),
        detail: AlertDetail { step: 1, provable: true, trial: false, folded: 2, escalated: true },
        rising: Some((1, T.plus(60_000))),
        re_alarm: Some(T.plus(1_800_000)),
        windows: vec![(ALERT, T, T.plus(7_200_000))],
        activations: vec![T, T.plus(1)],
        chattering: Some(T.plus(2)),
        raised: vec![T],
        aggravated: vec![ALERT],
        escalated: vec![ALERT],
        asleep: true,
        left_ms: Some(600_000),
        reminders: 3,
    };
    Body::Checkpoint(Box::new(State {
        semantics: 1,
        now: T.plus(30_000),
        epoch: Epoch(3),
        next_alert: 2,
        clock: ClockState { offset_ms: 0, error_ms: None, source: Some(ClockSource::Center) },
        points: vec![],
        rules: vec![RuleState {
            rule: "disinfection-cabinet/too-hot".into(),
            subject: device(),
            fingerprint: 1,
            alert: AlertState {
                regions,
                since: T,
                due: Some(T.plus(10_000)),
                occurrence: Some(occurrence),
                fleeting: 0,
                chatter: 4,
            },
            events: vec![],
            unacked: vec![],
            handling: Some(handling),
        }],
        modules: vec![
            ModuleState::HeatCycle {
                device: device(),
                next: 14,
                running: Some(running),
                program: "134/4".into(),
            },
            ModuleState::Meter {
                device: device(),
                meter: MeterState {
                    on_ms: 7_200_000,
                    starts: 4,
                    since: Some(T),
                    last: Some((T.plus(5), 95.5)),
                    session_ms: 600_000,
                    dose: 57_000.0,
                    lowest: Some(93.0),
                },
            },
            ModuleState::Ratio {
                device: device(),
                what: "Visits/CyclesPassed(ModuleIx(0))/7".into(),
                days: vec![DayCount { day: 20_720, of: 12.0, to: 3.0 }],
            },
            ModuleState::Duty {
                device: device(),
                duty: "lamp-cleaning".into(),
                done: Some((T, true)),
                since: Some(T),
                good_since_bad: Some(2),
            },
            ModuleState::Waste {
                device: device(),
                waste: WasteState {
                    bags: vec![bag()],
                    stores: true,
                    receives: true,
                    weighing: Some((T, 3_240)),
                    removed: Some(T.plus(2)),
                },
            },
        ],
        judging: Some(JudgingState {
            windows: vec![WindowState {
                point: "cabinet-1/temperature".into(),
                span_ms: 3_600_000,
                since: T.0,
                upto: T.0 + 60_000,
                value: Some(23.5),
                counter: Some(7.0),
                buckets: vec![WindowBucket {
                    n: 1,
                    known_ms: 60_000,
                    weighted: 1_410_000.0,
                    span: Some((23.25, 23.75)),
                    count: 6,
                    sum: 141.0,
                    rise: 0.5,
                }],
                look: Some(T.0 + 120_000),
            }],
            closures: vec![(civil(0), civil(86_400_000))],
        }),
    }))
}
