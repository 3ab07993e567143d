//! `golden/`: one file per kind and version, made with a fixed key. A released file is never edited; a new version
//! gets a new file. `NONSITE_GOLDEN=write cargo test -p gateway-wire golden` writes files that do not exist yet.

use std::{fs, path::PathBuf};

use coset::{CoseSign1, TaggedCborSerializable as _};
use gateway_model::{
    AckRegion, AlertChange, AlertId, AlertState, BadCause, Change, CivilTime, ClearCause, ClockInput,
    ClockSource, ClockState, Command, CommandBody, Conclusion, ConclusionBody, ConfigChange, ConfigStep,
    Cycle, CycleOutcome, CycleState, CycleVerdict, DeviceFact, DeviceIx, DevicePlan, EngineTime, Epoch,
    EventState, Fact, FactBody, First, Folded, Gap, GapCause, HeatCyclePlan, HeatProgram, Input,
    InstitutionId, LatchRegion, ModuleIx, ModulePlan, ModuleState, OccurrenceState, Op, OrderOutcome,
    PackRef, Phase, Plan, PointCounts, PointIx, PointPlan, PointState, Priority, ProcessRegion, Program,
    Quality, QualityRegion, Raw, Reading, Regions, RuleIx, RuleKind, RulePlan, RuleState, RuleText, Seq,
    SiteId, StartCause, StartInput, State, StopCause, Storage, StorageState, Suppression, Text,
    UncertainCause, Unit, VerifyPlan,
};
use gateway_wire::{
    Body, ConclusionsBody, ConfigBody, Configuration, EnrolRequest, Enrolment, EpochReceipt, Fingerprint,
    Frame, Head, Header, Identity, InputsBody, Joiner, Order, Part, Parted, PartedKind, Receipt, Refused,
    SigningKey, Survey, SurveyRequest, Token, hash, open, seal,
};

use crate::{key, kinds};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// The file's bytes; `made` where it does not exist and we were asked to write it.
fn file(name: &str, made: &[u8]) -> Vec<u8> {
    let path = folder().join(name);
    if !path.exists() && std::env::var("NONSITE_GOLDEN").is_ok_and(|wish| wish == "write") {
        fs::write(&path, made).unwrap();
    }
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn center() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

const T: EngineTime = EngineTime(1_790_000_000_000);

fn header(seq: u64) -> Header {
    Header {
        gateway: key().gateway_id(),
        epoch: Epoch(3),
        seq: Seq(seq),
        prev: if seq == 0 { [0; 32] } else { [seq as u8; 32] },
        config: Seq(u64::from(seq > 1)),
        t0: T,
        t1: T.plus(if seq > 2 { 30_000 } else { 0 }),
    }
}

fn text(zh: &str, en: &str) -> Text {
    Text { zh: zh.into(), en: en.into() }
}

fn reading(point: u32, after: i64, value: Quality<Raw>) -> Input {
    Input::Reading(Reading { point: PointIx(point), at: T.plus(after), value })
}

fn start() -> Body {
    Body::Start(StartInput {
        at: T,
        epoch: Epoch(3),
        previous: Some((Epoch(2), Seq(88))),
        previous_hash: Some([0x22; 32]),
        cause: StartCause::Unclean,
        downtime_ms: Some(61_000),
        simulated: false,
    })
}

fn program(id: &str) -> HeatProgram {
    HeatProgram {
        id: id.into(),
        set_c: 100.0,
        hold_ms: 600_000,
        dip_ms: 5_000,
        band_c: Some(5.0),
        start_c: 40.0,
        end_c: 60.0,
        end_ms: 60_000,
        dry_ms: None,
        dry_c: 80.0,
        unseen_ms: 60_000,
        criteria: None,
    }
}

fn config() -> Body {
    let point = |id: &str, unit, truth| PointPlan {
        id: id.into(),
        device: DeviceIx(0),
        name: text("温度", "Temperature"),
        unit,
        gain: 0.1,
        offset: 0.0,
        source: "input 0x0000 i16".into(),
        every_ms: 10_000,
        max_age_ms: 30_000,
        deadband: 0.2,
        heartbeat_ms: 300_000,
        span: Some((-50.0, 300.0)),
        sentinels: vec![32_767],
        truth,
        calibration: None,
        stuck: None,
    };
    let rule = |id: &str, kind| RulePlan {
        id: id.into(),
        pack: 0,
        subject: DeviceIx(0),
        kind,
        priority: Priority::Orange,
        first: First::Institution,
        self_fix_ms: Some(7_200_000),
        latching: false,
        text: RuleText {
            title: text("温度过高", "Too hot"),
            sentence: text("{device} 温度 {value} {unit}", "{device} is at {value} {unit}"),
            action: text("请检查加热", "Check the heating"),
            norm: text("GB 17988-2008", "GB 17988-2008"),
            mark: "C".into(),
        },
        verify: VerifyPlan { window_ms: 3_600_000, coverage_permille: 900, during: None, criterion: None },
        handling: None,
    };
    let too_hot = RuleKind::Condition {
        when: Program(vec![
            Op::Point(PointIx(0)),
            Op::Number(125.0),
            Op::Greater,
            Op::TruthPoint(PointIx(1)),
            Op::Not,
            Op::And,
        ]),
        returned: None,
        on_delay_ms: 10_000,
        off_delay_ms: 30_000,
        shown: Some(PointIx(0)),
        limit: Some(125.0),
    };
    let plan = Plan {
        site: SiteId("hotel-1".into()),
        institution: InstitutionId("91110105MA0123456X".into()),
        devices: vec![DevicePlan {
            id: "cabinet-1".into(),
            kind: "disinfection-cabinet".into(),
            name: text("1号消毒柜", "Cabinet 1"),
            bus: 0,
        }],
        points: vec![
            point("cabinet-1/temperature", Unit::Celsius, false),
            point("cabinet-1/door", Unit::Truth, true),
        ],
        rules: vec![
            rule("disinfection-cabinet/too-hot", too_hot),
            rule("gateway-self/absence", RuleKind::Absence { point: PointIx(0), after_ms: 300_000 }),
            rule(
                "disinfection-cabinet/cycle-failed",
                RuleKind::CycleFailed { module: ModuleIx(0), settle_within_ms: 7_200_000 },
            ),
            rule("gateway-self/device", RuleKind::DeviceUnevaluable { after_ms: 60_000 }),
            rule("gateway-self/bus", RuleKind::BusUnevaluable { bus: 0, after_ms: 60_000 }),
        ],
        modules: vec![ModulePlan::HeatCycle(HeatCyclePlan {
            device: DeviceIx(0),
            temperature: PointIx(0),
            door: Some(PointIx(1)),
            program: program("catering-100/10"),
            probes: None,
            stop: None,
        })],
        packs: vec![PackRef {
            name: "disinfection-cabinet".into(),
            version: "2026.11".into(),
            sha256: [0xab; 32],
        }],
        buses: vec!["cabinets".into()],
        utc_offset_min: 480,
        judging: None,
    };
    Body::Config(Box::new(ConfigBody { plan, software: "0.1.0".into(), semantics: 1 }))
}

/// Every kind of input, and readings of every form and quality.
fn inputs() -> Body {
    let single = |value: f32| Quality::Good(Raw::F32(value.to_bits()));
    let double = |value: f64| Quality::Good(Raw::F64(value.to_bits()));
    let command = CommandBody::Acknowledge { alert: AlertId { epoch: Epoch(2), n: 4 }, event: 2 };
    let fact = |after, body| Input::Fact(Fact { device: DeviceIx(0), at: T.plus(after), body });
    let items = vec![
        reading(0, 0, Quality::Good(Raw::Int(235))),
        reading(1, 0, single(23.5)),
        reading(2, 4, single(f32::from_bits(0x7fc0_1234))),
        reading(3, 4, double(-0.1)),
        reading(4, 4, Quality::Good(Raw::Dec { mantissa: -305, exponent: -1 })),
        reading(0, 10_000, Quality::Good(Raw::Int(237))),
        reading(1, 10_000, single(23.6)),
        reading(
            4,
            10_003,
            Quality::Uncertain(Raw::Dec { mantissa: -305, exponent: -1 }, UncertainCause::Held),
        ),
        Input::Advance(T.plus(12_000)),
        Input::Clock(ClockInput {
            at: T.plus(12_500),
            offset_ms: -40,
            error_ms: Some(500),
            source: ClockSource::System,
            since: Some(Seq(2)),
        }),
        Input::Command(Command {
            at: T.plus(13_000),
            order: Some((1, 9)),
            author: "p-17".into(),
            body: command,
        }),
        fact(14_000, FactBody::Weighing { gross_g: 3_750, tare_g: 500, net_g: 3_250 }),
        fact(
            14_001,
            FactBody::BagLabelled {
                label: "MW-20261122-0007".into(),
                category: "841-001-01".into(),
                department: "外科".into(),
                grams: 3_250,
            },
        ),
        fact(
            14_002,
            FactBody::HandOver { labels: vec!["MW-20261122-0007".into()], grams: 3_250, to: "c-3".into() },
        ),
        fact(14_003, FactBody::Visits { count: 3 }),
        fact(14_004, FactBody::HandpiecesPacked { count: 6 }),
        reading(0, 20_000, Quality::Good(Raw::Int(236))),
        reading(1, 19_990, Quality::Bad(BadCause::NoCommunication)),
        Input::Heartbeat(T.plus(25_000)),
        Input::Stop { at: T.plus(30_000), cause: StopCause::Asked },
    ];
    let normal = |point, due, within_deadband| PointCounts {
        point: PointIx(point),
        due,
        answered: due,
        within_deadband,
        late: 0,
        failed: vec![],
    };
    let failing = PointCounts {
        point: PointIx(1),
        due: 3,
        answered: 2,
        within_deadband: 0,
        late: 0,
        failed: vec![1, 0, 0, 0, 0, 0, 0, 0],
    };
    let counts = vec![normal(0, 3, 0), failing, normal(2, 3, 2)];
    Body::Inputs(InputsBody { items, counts })
}

fn many_inputs() -> Body {
    let items = (0..200i64).map(|i| {
        let (point, cycle) = (i % 8, i / 8);
        reading(
            point as u32,
            cycle * 1000 + point / 4 * 50,
            Quality::Good(Raw::Int(200 + point * 10 + cycle % 3)),
        )
    });
    let counts = (0..8).map(|point| PointCounts {
        point: PointIx(point),
        due: 30,
        answered: 30,
        within_deadband: 5,
        late: 0,
        failed: vec![],
    });
    Body::Inputs(InputsBody { items: items.collect(), counts: counts.collect() })
}

fn conclusions() -> Body {
    let regions = Regions {
        process: ProcessRegion::Active,
        latch: LatchRegion::Unlatched,
        ack: AckRegion::Unacked,
        suppression: Suppression::default(),
        quality: QualityRegion::Good,
    };
    let alert = |event, change| {
        ConclusionBody::Alert(AlertChange {
            alert: AlertId { epoch: Epoch(3), n: 1 },
            event,
            rule: Some(RuleIx(0)),
            change,
            regions,
            value: Some(126.5),
            limit: Some(125.0),
            since: Some(T),
            detail: None,
            about: None,
        })
    };
    let cycle = ConclusionBody::Cycle(Cycle {
        module: ModuleIx(0),
        n: 12,
        started: T,
        hold_started: Some(T.plus(10_000)),
        hold_ms: 15_000,
        peak_c: 126.5,
        hold_min_c: Some(100.25),
        hold_max_c: Some(126.5),
        door_opened: true,
        unseen_ms: 0,
        outcome: CycleOutcome::Judged(CycleVerdict::TooShort),
        measured: None,
    });
    let order = |seq, outcome| ConclusionBody::Order { order: (1, seq), outcome };
    let bodies = [
        alert(1, Change::Raised),
        alert(2, Change::Acknowledged),
        alert(3, Change::Quality),
        alert(4, Change::Gap),
        alert(5, Change::Recurred),
        alert(6, Change::Cleared(ClearCause::Returned)),
        cycle,
        order(9, OrderOutcome::Done),
        order(10, OrderOutcome::Refused("stale".into())),
        order(11, OrderOutcome::Expired),
    ];
    let list =
        bodies.into_iter().zip(0..).map(|(body, n)| Conclusion { at: T.plus(n * 1000), body }).collect();
    let frames = vec![Frame::new(PointIx(0), T, &[0x01, 0x04, 0x02, 0x04, 0xf1, 0x7a, 0xb4])];
    Body::Conclusions(ConclusionsBody { because: Seq(2), list, frames })
}

fn checkpoint() -> Body {
    let occurrence = OccurrenceState { alert: AlertId { epoch: Epoch(3), n: 1 }, event: 6, since: T };
    let regions = Regions { ack: AckRegion::Unacked, ..Regions::default() };
    Body::Checkpoint(Box::new(State {
        semantics: 1,
        now: T.plus(30_000),
        epoch: Epoch(3),
        next_alert: 2,
        clock: ClockState { offset_ms: -40, error_ms: Some(500), source: Some(ClockSource::System) },
        points: vec![PointState {
            id: "cabinet-1/temperature".into(),
            last: Some((T.plus(20_000), Quality::Good(Raw::Int(236)))),
            good_at: Some(T.plus(20_000)),
            since: None,
            still: None,
        }],
        rules: vec![RuleState {
            rule: "disinfection-cabinet/too-hot".into(),
            subject: "cabinet-1".into(),
            fingerprint: 0xdead_beef_0123_4567,
            alert: AlertState { regions, since: T, due: None, occurrence: None, fleeting: 1, chatter: 0 },
            events: vec![EventState { occurrence, regions, lapses: T.plus(7_200_000) }],
            unacked: vec![occurrence],
            handling: None,
        }],
        modules: vec![ModuleState::HeatCycle {
            device: "cabinet-1".into(),
            next: 13,
            running: Some(CycleState {
                phase: Phase::Holding,
                started: T,
                hold_from: Some(T.plus(10_000)),
                hold_to: Some(T.plus(20_000)),
                hold_span: Some((100.25, 104.0)),
                hold_door: false,
                best: None,
                peak_c: 104.0,
                below_since: None,
                seen_at: T.plus(20_000),
                unseen_ms: 0,
                dip: None,
                measures: None,
                start: None,
            }),
            program: "catering-100/10".into(),
        }],
        judging: None,
    }))
}

fn gap() -> Body {
    let records = Some((Epoch(2), Seq(5), Seq(9)));
    Body::Gap(Gap { point: None, from: T, to: T.plus(9_000), count: 54, cause: GapCause::Evicted, records })
}

/// What can happen to an instrument.
fn device_facts() -> Body {
    let fact = |after, body| {
        Input::Fact(Fact { device: DeviceIx(0), at: T.plus(after), body: FactBody::Device(body) })
    };
    let (serial, by) = (|| String::from("PT-0042"), || String::from("p-17"));
    let items = vec![
        fact(
            0,
            DeviceFact::Placed {
                serial: serial(),
                place: "1号柜 上层".into(),
                by: by(),
                review: None,
                accepted: None,
            },
        ),
        fact(
            1,
            DeviceFact::Calibrated {
                serial: serial(),
                certificate: "2026-T-1187".into(),
                laboratory: "省计量院".into(),
                done: CivilTime(T.0 - 86_400_000),
                valid_until: CivilTime(T.0 + 31_536_000_000),
                uncertainty: vec![(PointIx(0), Raw::Dec { mantissa: 15, exponent: -2 })],
                coverage_factor: None,
                corrections: None,
            },
        ),
        fact(
            2,
            DeviceFact::Replaced { serial: serial(), successor: "PT-0043".into(), by: by(), counters: None },
        ),
        fact(3, DeviceFact::Removed { serial: "PT-0043".into(), why: "柜停用".into(), by: by() }),
    ];
    Body::Inputs(InputsBody { items, counts: vec![] })
}

fn start_of(cause: StartCause) -> Body {
    let Body::Start(start) = start() else { unreachable!("it is one") };
    let first = cause == StartCause::First;
    Body::Start(StartInput {
        previous: start.previous.filter(|_| !first),
        previous_hash: start.previous_hash.filter(|_| !first),
        downtime_ms: None,
        cause,
        ..start
    })
}

fn stop(cause: StopCause) -> Body {
    Body::Inputs(InputsBody { items: vec![Input::Stop { at: T.plus(30_000), cause }], counts: vec![] })
}

fn said(body: ConclusionBody) -> Body {
    let list = vec![Conclusion { at: T.plus(1_000), body }];
    Body::Conclusions(ConclusionsBody { because: Seq(2), list, frames: vec![] })
}

fn order(outcome: OrderOutcome) -> Body {
    said(ConclusionBody::Order { order: (1, 9), outcome })
}

fn storage(state: StorageState) -> Body {
    said(ConclusionBody::Storage(Storage { state, ring_permille: 812, keep_permille: 907 }))
}

fn folded() -> Body {
    let Body::Conclusions(conclusions) = conclusions() else { unreachable!("they are") };
    let change = |body: &ConclusionBody| {
        if let ConclusionBody::Alert(change) = body { Some(change.clone()) } else { None }
    };
    let last = conclusions.list.iter().filter_map(|one| change(&one.body)).take(1).collect();
    said(ConclusionBody::Folded(Folded { rule: RuleIx(0), changes: 576, from: T, to: T.plus(600_000), last }))
}

fn config_change(step: ConfigStep) -> Body {
    let config = (step != ConfigStep::Refused).then_some([0x5c; 32]);
    let order = (step == ConfigStep::Applied).then_some((1, 9));
    said(ConclusionBody::Config(ConfigChange { step, config, order, said: "adds 3 points".into() }))
}

fn configure() -> Body {
    let body = CommandBody::Configure { config: [0x5c; 32], size: 1_234 };
    let command = Command { at: T.plus(1_000), order: Some((1, 9)), author: "p-17".into(), body };
    Body::Inputs(InputsBody { items: vec![Input::Command(command)], counts: vec![] })
}

fn gap_of(cause: GapCause, records: Option<(Epoch, Seq, Seq)>) -> Body {
    Body::Gap(Gap { point: None, from: T, to: T.plus(9_000), count: 54, cause, records })
}

/// The same config as in `config-v1`, as a gateway would write it that has far more to say: in two parts.
fn config_in_parts() -> Vec<Body> {
    let Body::Config(whole) = config() else { unreachable!("it is one") };
    let content = minicbor::to_vec(&whole).unwrap();
    let parts = content.chunks(content.len().div_ceil(2)).zip(0..);
    let parts = parts.map(|(bytes, n)| Body::Part(Part { n, bytes: bytes.to_vec() }));
    let head = Head { parts: 2, length: content.len() as u64, sha256: hash(&content) };
    std::iter::once(Body::Parted(Parted { of: PartedKind::Config, head })).chain(parts).collect()
}

#[test]
fn a_config_in_parts_says_what_it_says_in_one_record() {
    let mut joiner = Joiner::default();
    let mut said = None;
    for name in ["config-head-v2", "config-part-0-v1", "config-part-1-v1"] {
        let opened =
            open(&key().verifying_key(), &fs::read(folder().join(format!("{name}.cbor"))).unwrap()).unwrap();
        said = Some(joiner.opened(opened).body.unwrap());
    }
    assert_eq!(said, Some(config()));
}

/// Name, header, body, and whether the bytes depend on zstd's release.
fn records() -> Vec<(&'static str, Header, Body, bool)> {
    vec![
        ("start-v1", header(0), start(), false),
        ("config-v1", header(1), config(), true),
        ("inputs-v1", header(3), inputs(), true),
        ("inputs-packed-v1", header(4), many_inputs(), true),
        ("conclusions-v1", header(5), conclusions(), true),
        ("checkpoint-v1", header(6), checkpoint(), true),
        ("gap-v1", header(7), gap(), false),
        ("gap-full-v1", header(8), gap_of(GapCause::Full, None), false),
        ("gap-stopped-v1", header(8), gap_of(GapCause::Stopped, None), false),
        (
            "gap-tail-lost-v1",
            header(8),
            gap_of(GapCause::TailLost, Some((Epoch(2), Seq(89), Seq(94)))),
            false,
        ),
        ("start-first-v1", header(0), start_of(StartCause::First), false),
        ("start-clean-v1", header(0), start_of(StartCause::Clean), false),
        ("stop-asked-v1", header(9), stop(StopCause::Asked), false),
        ("stop-failed-v1", header(9), stop(StopCause::Failed), false),
        ("device-facts-v1", header(9), device_facts(), true),
        ("order-done-v1", header(9), order(OrderOutcome::Done), false),
        ("order-refused-v1", header(9), order(OrderOutcome::Refused("stale".into())), false),
        ("order-expired-v1", header(9), order(OrderOutcome::Expired), false),
        ("storage-full-v1", header(9), storage(StorageState::Full), false),
        ("storage-thinning-v1", header(9), storage(StorageState::Thinning), false),
        ("storage-enough-v1", header(9), storage(StorageState::Enough), false),
        ("folded-v1", header(9), folded(), true),
        ("start-replaced-v1", header(0), start_of(StartCause::Replaced), false),
        ("gap-crash-v1", header(8), gap_of(GapCause::Crash, None), false),
        ("gap-corrupt-v1", header(8), gap_of(GapCause::Corrupt, Some((Epoch(2), Seq(5), Seq(5)))), false),
        ("gap-overrun-v1", header(8), gap_of(GapCause::Overrun, None), false),
        ("commands-v1", header(10), kinds::commands(), true),
        ("facts-v1", header(10), kinds::facts(), true),
        ("changes-v1", header(10), kinds::changes(), true),
        ("about-v1", header(10), kinds::about(), true),
        ("suppressions-v1", header(10), kinds::suppressions(), true),
        ("config-judging-v1", header(10), kinds::config(&config()), true),
        ("config-patience-v1", header(10), kinds::patience(&config()), true),
        ("config-during-v1", header(10), kinds::during(&config()), true),
        ("checkpoint-judging-v1", header(10), kinds::checkpoint(), true),
        ("stop-reconfigured-v1", header(9), stop(StopCause::Reconfigured), false),
        ("order-declined-v1", header(9), order(OrderOutcome::Declined("too long".into())), false),
        ("config-refused-v1", header(9), config_change(ConfigStep::Refused), true),
        ("config-applied-v1", header(9), config_change(ConfigStep::Applied), true),
        ("config-confirmed-v1", header(9), config_change(ConfigStep::Confirmed), true),
        ("config-rolled-back-v1", header(9), config_change(ConfigStep::RolledBack), true),
        ("configure-v1", header(9), configure(), true),
        ("config-head-v2", header(1), config_in_parts()[0].clone(), false),
        ("config-part-0-v1", header(2), config_in_parts()[1].clone(), true),
        ("config-part-1-v1", header(3), config_in_parts()[2].clone(), true),
        ("config-stuck-v1", header(10), kinds::stuck_config(&config()), true),
        ("config-stuck-above-v1", header(10), kinds::stuck_above_config(&config()), true),
        ("acceptance-v1", header(10), kinds::acceptance(), true),
        ("inputs-stuck-v1", header(10), kinds::stuck_inputs(), true),
        ("checkpoint-stuck-v1", header(10), kinds::stuck_checkpoint(&checkpoint()), true),
    ]
}

#[test]
fn released_records_are_understood_for_ever() {
    for (name, header, body, compressed) in records() {
        let made = seal(&key(), &header, &body);
        let bytes = file(&format!("{name}.cbor"), &made);
        let opened = open(&key().verifying_key(), &bytes).unwrap();
        assert_eq!(opened.header, header, "{name}");
        // Not-a-number is not equal to itself.
        assert_eq!(format!("{:?}", opened.body.as_ref()), format!("{:?}", Ok::<_, ()>(&body)), "{name}");
        assert_eq!(sign_again(&bytes), bytes, "{name}: Ed25519 is deterministic");
        if !compressed {
            assert_eq!(made, bytes, "{name}");
        }
        let text = diagnose(&bytes) + "\n";
        assert_eq!(
            String::from_utf8(file(&format!("{name}.diag"), text.as_bytes())).unwrap(),
            text,
            "{name}"
        );
    }
}

/// Signs the payload in these bytes anew, with the same header.
fn sign_again(bytes: &[u8]) -> Vec<u8> {
    let key = ed25519_dalek::SigningKey::from_bytes(&key().to_bytes());
    let mut sign1 = CoseSign1::from_tagged_slice(bytes).unwrap();
    sign1.signature = ed25519_dalek::Signer::sign(&key, &sign1.tbs_data(&[])).to_vec();
    sign1.to_tagged_vec().unwrap()
}

#[test]
fn released_messages_are_understood_for_ever() {
    let check = |name: &str, made: &[u8]| {
        assert_eq!(file(&format!("{name}.cbor"), made), made, "{name}");
        let text = diagnose(made) + "\n";
        assert_eq!(
            String::from_utf8(file(&format!("{name}.diag"), text.as_bytes())).unwrap(),
            text,
            "{name}"
        );
    };
    let gateway = key().gateway_id();
    let receipt = Receipt {
        server_time: CivilTime(T.0),
        window: 64,
        epochs: vec![EpochReceipt {
            epoch: Epoch(3),
            through: Some(Seq(7)),
            have: vec![(Seq(9), Seq(12))],
            ends: None,
        }],
        refused: vec![Refused { epoch: Epoch(3), seq: Seq(8), code: "signature".into() }],
        wants: vec![(Epoch(3), Seq(13), Seq(19))],
    };
    check("receipt-v1", &receipt.encode());
    let mut receipt = receipt;
    receipt.epochs[0].ends = Some(vec![(Seq(7), Fingerprint([7; 32])), (Seq(12), Fingerprint([12; 32]))]);
    check("receipt-hashes-v1", &receipt.encode());
    let asked = SurveyRequest {
        session: Some(17),
        from: Epoch(2),
        to: Some(Epoch(3)),
        last: vec![(Epoch(2), Seq(9)), (Epoch(3), Seq(14))],
    };
    check("survey-request-v1", &asked.encode());
    let epochs = receipt.epochs;
    let survey = Survey { server_time: CivilTime(T.0), session: 17, epochs, next: Some(Epoch(4)) };
    check("survey-v1", &survey.encode());
    let body = CommandBody::Acknowledge { alert: AlertId { epoch: Epoch(3), n: 1 }, event: 2 };
    let (issued, expires) = (CivilTime(T.0), CivilTime(T.0 + 600_000));
    let order = Order { center_epoch: 1, seq: 9, gateway, issued, expires, author: "p-17".into(), body };
    check("order-v1", &order.seal(&center()));
    let body = CommandBody::CenterKeys { issued, tls_keys: vec![[3; 32].into(), [4; 32].into()] };
    check("order-center-keys-v1", &Order { seq: 10, author: "center".into(), body, ..order }.seal(&center()));
    let configure = CommandBody::Configure { config: [0x5c; 32], size: 1_234 };
    check("order-configure-v1", &Order { body: configure, ..order }.seal(&center()));
    let files = vec![("own.toml".to_owned(), "name = \"own\"\n".to_owned())];
    let configuration = Configuration { site: "[site]\nid = \"hotel-1\"\n".into(), files };
    check("configuration-v1", &configuration.encode());
    assert_eq!(Configuration::decode(&configuration.encode()).unwrap(), configuration);
    let gateway_key = key().verifying_key().to_bytes();
    let request = EnrolRequest {
        secret: "ABCD2345".into(),
        gateway_key,
        software: "0.1.0".into(),
        epoch: Some(Epoch(3)),
        replaces: None,
    };
    check("enrol-request-v1", &request.seal(&key()));
    let tls_keys = vec![Fingerprint([3; 32])];
    let identity = Identity { center_key: center().verifying_key().to_bytes(), tls_keys, issued };
    check("identity-v1", &identity.seal(&center()));
    let enrolment = Enrolment {
        gateway_key,
        institution: InstitutionId("91110105MA0123456X".into()),
        site: SiteId("hotel-1".into()),
        epoch_floor: Epoch(0),
        tls_keys: vec![Fingerprint([3; 32])],
        issued,
        gateway: None,
    };
    check("enrolment-v1", &enrolment.seal(&center()));
    let token = file("token-v1.txt", Token::make(&key(), issued, "center").as_bytes());
    assert_eq!(String::from_utf8(token).unwrap(), Token::make(&key(), issued, "center"));
}

/// CBOR diagnostic notation (RFC 8949 §8), one line per element of the outer arrays; signed parts are opened up.
fn diagnose(bytes: &[u8]) -> String {
    let (text, end) = item(bytes, 0, 0);
    assert_eq!(end, bytes.len());
    text
}

fn item(bytes: &[u8], at: usize, depth: usize) -> (String, usize) {
    let (major, info) = (bytes[at] >> 5, bytes[at] & 31);
    let width = if info < 24 { 0 } else { 1 << (info - 24) };
    let argument = bytes[at + 1..at + 1 + width]
        .iter()
        .fold(u64::from(info) * u64::from(width == 0), |sum, byte| sum << 8 | u64::from(*byte));
    let next = at + 1 + width;
    let length = argument as usize;
    match major {
        0 => (argument.to_string(), next),
        1 => ((-1 - i128::from(argument)).to_string(), next),
        2 => (byte_string(&bytes[next..next + length], depth), next + length),
        3 => (format!("{:?}", std::str::from_utf8(&bytes[next..next + length]).unwrap()), next + length),
        4 | 5 => {
            let per = if major == 4 { 1 } else { 2 };
            let (mut parts, mut at) = (Vec::new(), next);
            for i in 0..length * per {
                let (text, end) = item(bytes, at, depth + 1);
                match i % per {
                    0 => parts.push(text),
                    _ => parts.last_mut().unwrap().extend([": ", &text]),
                }
                at = end;
            }
            let (open, close) = if major == 4 { ("[", "]") } else { ("{", "}") };
            let indent = "  ".repeat(depth + 1);
            let text = if depth < 3 && length > 1 && major == 4 {
                format!(
                    "{open}\n{indent}{}\n{}{close}",
                    parts.join(&format!(",\n{indent}")),
                    "  ".repeat(depth)
                )
            } else {
                format!("{open}{}{close}", parts.join(", "))
            };
            (text, at)
        }
        6 => {
            let (text, end) = item(bytes, next, depth);
            (format!("{argument}({text})"), end)
        }
        _ => {
            let text = match info {
                20 => "false".into(),
                21 => "true".into(),
                22 => "null".into(),
                27 => format!("{:?}", f64::from_bits(argument)),
                other => panic!("simple value {other}"),
            };
            (text, next)
        }
    }
}

/// Embedded CBOR where it is the protected header or the payload, else hex; what is compressed is shown in a comment.
fn byte_string(bytes: &[u8], depth: usize) -> String {
    let embedded =
        depth == 1 && matches!(bytes.first(), Some(0xa1..=0xa7 | 0x82..=0x88)) && bytes.len() != 64;
    if embedded {
        let (text, end) = item(bytes, 0, depth);
        if end == bytes.len() {
            return format!("<< {text} >>");
        }
    }
    let hex = format!("h'{}'", gateway_wire::hex(bytes));
    if !bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return hex;
    }
    let content = zstd::bulk::decompress(bytes, 1 << 20).unwrap();
    format!("{hex}\n      / zstd of {} /", item(&content, 0, 9).0)
}
