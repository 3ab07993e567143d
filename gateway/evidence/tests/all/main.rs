//! What evidence says of records that are right, and of every way to make them wrong.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::needless_for_each,
    clippy::float_cmp,
    reason = "tests: a panic is the report, and one variant is meant"
)]

mod audit;
mod bundle;
mod case;
mod chain;
mod mixed;
mod recompute;
mod restuck;

use gateway_engine::Engine;
use gateway_model::{
    AlertId, ClockInput, ClockSource, Command, CommandBody, Conclusion, DeviceIx, DevicePlan, EngineTime,
    Epoch, First, Input, Op, Plan, PointIx, PointPlan, Priority, Program, Quality, Raw, Reading, RuleKind,
    RulePlan, RuleText, SEMANTICS, Seq, StartCause, StartInput, State, StopCause, Text, Unit, VerifyPlan,
};
use gateway_wire::{Body, ConclusionsBody, ConfigBody, Header, InputsBody, Record, SigningKey, hash, seal};

fn plan(limit: f64) -> Plan {
    let rule = RulePlan {
        id: "fridge/too-warm".into(),
        pack: 0,
        subject: DeviceIx(0),
        kind: RuleKind::Condition {
            when: Program(vec![Op::Point(PointIx(0)), Op::Number(limit), Op::Greater]),
            returned: None,
            on_delay_ms: 1_000,
            off_delay_ms: 2_000,
            shown: Some(PointIx(0)),
            limit: Some(limit),
        },
        priority: Priority::Orange,
        first: First::Institution,
        self_fix_ms: None,
        latching: false,
        text: RuleText::default(),
        verify: VerifyPlan { window_ms: 60_000, coverage_permille: 900, during: None, criterion: None },
        handling: None,
    };
    let point = PointPlan {
        id: "fridge/temperature".into(),
        device: DeviceIx(0),
        name: Text::default(),
        unit: Unit::Celsius,
        gain: 0.1,
        offset: 0.0,
        source: String::new(),
        every_ms: 1_000,
        max_age_ms: 60_000,
        deadband: 0.0,
        heartbeat_ms: 60_000,
        span: None,
        sentinels: vec![],
        truth: false,
        calibration: None,
        stuck: None,
    };
    let device = DevicePlan { id: "fridge".into(), kind: "fridge".into(), name: Text::default(), bus: 0 };
    Plan {
        devices: vec![device],
        points: vec![point],
        rules: vec![rule],
        buses: vec!["b".into()],
        ..Plan::default()
    }
}

/// A recorder in small: the daemon's order of records, without a disk.
struct Recorder {
    key: SigningKey,
    /// Each with its bytes.
    records: Vec<(Record, Vec<u8>)>,
    engine: Engine,
    epoch: u64,
    now: i64,
}

impl Recorder {
    fn new() -> Self {
        Self::of(3, plan(8.0))
    }

    fn of(key: u8, plan: Plan) -> Self {
        let key = SigningKey::from_bytes(&[key; 32]);
        let engine = Engine::new(plan.clone());
        let mut recorder = Self { key, records: vec![], engine, epoch: 0, now: 1_000_000 };
        recorder.start(plan);
        recorder
    }

    fn push(&mut self, body: Body) -> Seq {
        let last = self.records.last();
        let seq = match (&body, last) {
            (Body::Start(_), _) | (_, None) => Seq(0),
            (_, Some((record, _))) => Seq(record.header.seq.0 + 1),
        };
        let header = Header {
            gateway: self.key.gateway_id(),
            epoch: Epoch(self.epoch),
            seq,
            prev: last.map_or([0; 32], |(_, bytes)| hash(bytes)),
            config: Seq(u64::from(seq.0 > 1)),
            t0: EngineTime(self.now),
            t1: EngineTime(self.now),
        };
        let bytes = seal(&self.key, &header, &body);
        self.records.push((Record { header, body }, bytes));
        seq
    }

    fn conclude(&mut self, because: Seq, list: Vec<Conclusion>) {
        if !list.is_empty() {
            self.push(Body::Conclusions(ConclusionsBody { because, list, frames: vec![] }));
        }
    }

    /// A new epoch; the engine goes on where it was.
    fn start(&mut self, plan: Plan) {
        self.start_owing(plan, Vec::new());
    }

    /// A new epoch after a crash that cut off the last conclusions: they are recorded at its start.
    fn crash(&mut self, plan: Plan) {
        match self.records.pop() {
            Some((Record { body: Body::Conclusions(conclusions), .. }, _)) => {
                self.start_owing(plan, conclusions.list);
            }
            other => panic!("no conclusions to cut off: {other:?}"),
        }
    }

    fn start_owing(&mut self, plan: Plan, list: Vec<Conclusion>) {
        self.start_after(plan, list, Some(5_000));
    }

    /// After a time away that was so long, or that nobody knows.
    fn start_after(&mut self, plan: Plan, mut list: Vec<Conclusion>, downtime_ms: Option<i64>) {
        let last = self.records.last().map(|(record, bytes)| (record.header, hash(bytes)));
        self.epoch += 1;
        self.now += downtime_ms.unwrap_or(0);
        let start = StartInput {
            at: EngineTime(self.now),
            epoch: Epoch(self.epoch),
            previous: last.map(|(header, _)| (header.epoch, header.seq)),
            previous_hash: last.map(|(_, hash)| hash),
            cause: StartCause::Unclean,
            downtime_ms,
            simulated: false,
        };
        self.push(Body::Start(start.clone()));
        self.push(Body::Config(Box::new(ConfigBody {
            plan: plan.clone(),
            software: "t".into(),
            semantics: SEMANTICS,
        })));
        if last.is_some() {
            let state = self.engine.save();
            self.push(Body::Checkpoint(Box::new(state.clone())));
            let (engine, superseded) = Engine::restore(plan, state).unwrap();
            self.engine = engine;
            list.extend(superseded);
        }
        self.engine.step(&Input::Start(start), &mut list);
        self.conclude(Seq(0), list);
    }

    /// One record of readings a second apart, in tenths of a degree, and what follows.
    fn readings(&mut self, tenths: &[i64]) {
        let items = tenths.iter().map(|value| {
            self.now += 1_000;
            let value = Quality::Good(Raw::Int(*value));
            Input::Reading(Reading { point: PointIx(0), at: EngineTime(self.now), value })
        });
        let items = items.collect();
        self.inputs(items);
    }

    fn inputs(&mut self, items: Vec<Input>) {
        let mut list = Vec::new();
        items.iter().for_each(|input| self.engine.step(input, &mut list));
        let because = self.push(Body::Inputs(InputsBody { items, counts: vec![] }));
        self.conclude(because, list);
    }

    fn checkpoint(&mut self) -> State {
        let state = self.engine.save();
        self.push(Body::Checkpoint(Box::new(state.clone())));
        state
    }

    fn acknowledge(&mut self, n: u32) {
        let body = CommandBody::Acknowledge { alert: AlertId { epoch: Epoch(1), n }, event: 1 };
        self.now += 10;
        let command = Command { at: EngineTime(self.now), order: Some((1, 1)), author: "p".into(), body };
        self.inputs(vec![Input::Command(command)]);
    }

    fn clock(&mut self) {
        let clock = ClockInput {
            at: EngineTime(self.now),
            offset_ms: 1_790_000_000_000,
            error_ms: Some(500),
            source: ClockSource::System,
            since: None,
        };
        self.inputs(vec![Input::Clock(clock)]);
    }

    fn stop(&mut self) {
        self.inputs(vec![Input::Stop { at: EngineTime(self.now), cause: StopCause::Asked }]);
        self.checkpoint();
    }

    fn records(&self) -> Vec<Record> {
        self.records.iter().map(|(record, _)| record.clone()).collect()
    }
}

/// Two lives of a gateway with an alert that is raised, acknowledged and cleared, and one that spans a restart.
fn day() -> Recorder {
    let mut recorder = Recorder::new();
    recorder.readings(&[50, 60, 70]);
    recorder.readings(&[85, 90, 95]);
    recorder.acknowledge(1);
    recorder.readings(&[60, 60]);
    recorder.inputs(vec![Input::Advance(EngineTime(recorder.now + 10_000))]);
    recorder.now += 10_000;
    recorder.readings(&[90, 90, 90]);
    recorder.stop();
    recorder.start(plan(8.0));
    recorder.readings(&[90, 50, 50]);
    recorder.readings(&[50, 50, 50]);
    recorder.checkpoint();
    recorder.readings(&[99, 99, 99]);
    recorder
}
