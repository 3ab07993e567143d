//! A frozen probe is found, and nothing that moves is taken for one.

use gateway_engine::Engine;
use gateway_engine::intake::{Answer, Intake};
use gateway_model::{
    BadCause, Conclusion, ConclusionBody, Counters, DeviceFact, EngineTime, Epoch, Fact, FactBody, Input,
    Plan, PointPlan, Quality, Raw, Reading, StartCause, StartInput, Stuck,
};
use proptest::prelude::*;

use crate::intake::{check_under, limited};
use crate::rig::{T, high, point, render_all, site};

const AFTER_MS: i64 = 100_000;
const EVERY_MS: i64 = 10_000;

/// `t`, asked every 10 s, in tenths, stale after 30 s, kept at least every 20 s, stuck after 100 s.
fn plan(deadband: f64, noise: f64) -> Plan {
    let mut plan = site(vec![high(T, 8.0, 0.0, 0, 0)]);
    let stuck = Some(Stuck { after_ms: AFTER_MS, noise, above: None });
    plan.points[0] = PointPlan { deadband, stuck, ..point("t", 0, 10) };
    plan
}

#[test]
fn a_value_that_stands_still_for_too_long_is_stuck_until_it_moves() {
    check_under(
        &plan(0.0, 0.0),
        "
        0s    4.0    => 4.0
        50s   4.1    => 4.1
        149s  4.1    => 4.1
        150s  4.1    => Stuck
        160s  4.1
        170s  4.1    => Stuck
        171s  4.2    => 4.2
        172s  4.1    => 4.1
        271s  4.1    => 4.1
        272s  4.1    => Stuck
        ",
    );
}

#[test]
fn movement_within_the_noise_proves_nothing_and_slow_movement_does() {
    check_under(
        &plan(0.2, 0.2),
        "
        0s    4.0    => 4.0
        60s   4.2    => 4.2
        80s   3.8    => 3.8
        100s  4.1    => Stuck
        110s  4.3    => 4.3
        150s  4.5    => 4.5
        190s  4.7    => 4.7
        209s  4.7    => 4.7
        210s  4.6
        289s  4.5    => 4.5
        290s  4.5    => Stuck
        ",
    );
}

/// What begins another stretch is in the record, so that a restart knows of it.
#[test]
fn an_answer_that_moved_is_kept_though_it_is_within_the_deadband_of_the_last_kept() {
    check_under(
        &plan(1.0, 1.0),
        "
        0s   4.0     => 4.0
        20s  4.9     => 4.9
        25s  5.0
        26s  5.1     => 5.1
        27s  5.2
        ",
    );
}

#[test]
fn a_silence_as_long_as_the_maximum_age_begins_the_stretch_anew_and_a_shorter_one_does_not() {
    check_under(
        &plan(0.0, 0.0),
        "
        0s    4.0    => 4.0
        10s   -      => NoCommunication
        39s   4.0    => 4.0
        50s   -      => NoCommunication
        60s   refused => DeviceRefused
        79s   4.0    => 4.0
        100s  4.0    => Stuck
        110s  5.0    => 5.0
        120s  -      => NoCommunication
        150s  5.0    => 5.0
        249s  5.0    => 5.0
        250s  5.0    => Stuck
        260s  -      => NoCommunication
        300s  5.0    => Stuck
        ",
    );
    check_under(
        &plan(0.0, 0.0),
        "
        0s    4.0    => 4.0
        40s   stale  => stale 4.0 @30s
        60s   4.0    => 4.0
        159s  4.0    => 4.0
        160s  4.0    => Stuck
        500s  stale
        ",
    );
}

#[test]
fn a_repetition_of_an_older_value_neither_moves_it_nor_counts_as_standing_still() {
    check_under(
        &plan(0.0, 0.0),
        "
        0s    4.0        => 4.0
        90s   ~held 4.1  => held 4.1
        100s  4.0        => Stuck
        110s  ~held 4.0
        111s  ~held 9.0  => Stuck
        112s  4.1        => 4.1
        300s  ~held 4.1  => Stuck
        ",
    );
}

/// A lamp that is off stands at nothing for as long as it likes; one that is lit and does not move has a frozen probe.
#[test]
fn at_rest_it_may_stand_still_and_above_it_may_not() {
    let mut plan = plan(0.0, 0.0);
    plan.points[0].stuck = Some(Stuck { after_ms: AFTER_MS, noise: 0.0, above: Some(1.5) });
    check_under(
        &plan,
        "
        0s    0.0    => 0.0
        200s  0.0    => 0.0
        400s  1.5    => 1.5
        600s  1.5    => 1.5
        610s  8.0    => 8.0
        709s  8.0    => 8.0
        710s  8.0    => Stuck
        720s  0.0    => 0.0
        900s  0.0    => 0.0
        910s  8.0    => 8.0
        1009s 8.0    => 8.0
        1010s 8.0    => Stuck
        ",
    );
}

#[test]
fn a_late_answer_says_nothing() {
    check_under(
        &plan(0.0, 0.0),
        "
        10s   4.0    => 4.0
        9s    7.0    => 7.0
        109s  4.0    => 4.0
        110s  4.0    => Stuck
        105s  7.0    => 7.0
        111s  4.0
        ",
    );
}

#[test]
fn a_nearly_full_ring_is_not_filled_with_what_moves_to_and_fro() {
    let mut plan = limited();
    plan.points[0].stuck = Some(Stuck { after_ms: 86_400_000, noise: 1.0, above: None });
    let mut intake = Intake::new(&plan);
    intake.thin(true, &[]);
    let mut offer = |(n, value)| intake.offer(T, EngineTime(n * 1_000), Answer::Raw(Raw::Int(value)));
    // Far from every limit, by two and a half degrees each second: once is enough, and then once a heartbeat.
    let kept = (0..100)
        .map(|n| (n, 100 + 25 * (n % 2)))
        .chain([(100, 100), (3_650, 100)])
        .filter_map(&mut offer)
        .count();
    assert_eq!(kept, 2);
    // What ends a long stretch is told.
    assert!(offer((3_750, 125)).is_some() && offer((3_751, 100)).is_none());
}

#[test]
fn off_by_default() {
    let mut plan = plan(0.0, 0.0);
    plan.points[0].stuck = None;
    let mut intake = Intake::new(&plan);
    for n in 0..1_000 {
        intake.offer(T, EngineTime(n * EVERY_MS), Answer::Raw(Raw::Int(40)));
    }
    assert_eq!(intake.close()[0].failed, []);
}

/// Intake before engine, as in the gateway.
struct Line {
    intake: Intake,
    engine: Engine,
    epoch: u64,
    said: Vec<Conclusion>,
}

impl Line {
    fn new(plan: Plan) -> Self {
        let mut line = Self { intake: Intake::new(&plan), engine: Engine::new(plan), epoch: 0, said: vec![] };
        line.start(EngineTime(0));
        line
    }

    fn start(&mut self, at: EngineTime) {
        self.epoch += 1;
        let start = StartInput {
            at,
            epoch: Epoch(self.epoch),
            previous: None,
            previous_hash: None,
            cause: StartCause::Clean,
            downtime_ms: Some(1),
            simulated: false,
        };
        self.engine.step(&Input::Start(start), &mut self.said);
        self.intake.resume(&self.engine);
    }

    /// The process ends; another begins with the engine's state and nothing else.
    fn restart(&mut self, at: EngineTime) {
        // As the recorder does when it seals.
        self.engine.step(&Input::Advance(at), &mut self.said);
        let plan = self.engine.plan().clone();
        self.intake = Intake::new(&plan);
        (self.engine, _) = Engine::restore(plan, self.engine.save()).unwrap();
        self.start(at);
    }

    /// Another probe, as the recorder tells both.
    fn replace(&mut self, at: i64) {
        let (serial, successor, by) = ("1".into(), "2".into(), "p".into());
        let replaced = DeviceFact::Replaced { serial, successor, by, counters: Some(Counters::Kept) };
        let device = self.engine.plan().points[T.slot()].device;
        let fact = Fact { device, at: EngineTime(at), body: FactBody::Device(replaced) };
        self.intake.replaced([T]);
        self.engine.step(&Input::Fact(fact), &mut self.said);
    }

    /// Was it stuck?
    fn offer(&mut self, at: i64, answer: Answer) -> bool {
        let marks = self.intake.stale(EngineTime(at));
        let reading = self.intake.offer(T, EngineTime(at), answer);
        for reading in marks.into_iter().chain(reading) {
            self.engine.step(&Input::Reading(reading), &mut self.said);
        }
        let counts = self.intake.close();
        counts[0].failed.get(BadCause::Stuck.code()).is_some_and(|&n| n > 0)
    }
}

#[test]
fn what_is_stuck_moves_no_alert_and_the_first_movement_does() {
    let mut line = Line::new(plan(0.0, 0.0));
    // Too warm; then the probe freezes, still too warm: nothing clears.
    for n in 0..30 {
        line.offer(n * EVERY_MS, Answer::Raw(Raw::Int(if n == 0 { 70 } else { 90 })));
    }
    assert_eq!(render_all(&line.said), "10s: raise 1-1, 110s: quality 1-1 bad");
    line.said.clear();
    // The box is restarted with the probe as frozen as before.
    line.restart(EngineTime(300_000));
    assert!(line.offer(301_000, Answer::Raw(Raw::Int(90))));
    let cleared = |said: &[Conclusion]| {
        said.iter().any(|one| {
            matches!(&one.body, ConclusionBody::Alert(alert) if format!("{:?}", alert.change).starts_with("Cleared"))
        })
    };
    assert!(!cleared(&line.said), "{}", render_all(&line.said));
    line.offer(311_000, Answer::Raw(Raw::Int(50)));
    assert!(cleared(&line.said), "{}", render_all(&line.said));
}

#[derive(Debug, Clone)]
struct Step {
    passed_ms: i64,
    answer: Answer,
    restart: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let number = (38_i64..43).prop_map(Raw::Int);
    let answer = prop_oneof![
        8 => Just(Answer::Raw(Raw::Int(40))),
        4 => number.clone().prop_map(Answer::Raw),
        1 => number.prop_map(Answer::Held),
        1 => prop::sample::select(vec![BadCause::NoCommunication, BadCause::Sentinel]).prop_map(Answer::Failed),
    ];
    let passed = prop_oneof![8 => 1_000_i64..12_000, 1 => 20_000_i64..60_000];
    (passed, answer, prop::bool::weighted(0.1)).prop_map(|(passed_ms, answer, restart)| Step {
        passed_ms,
        answer,
        restart,
    })
}

proptest! {
    /// Some movement beyond the noise in each time after which it would be stuck: never stuck, whatever else comes.
    #[test]
    fn what_moves_is_never_stuck(values in prop::collection::vec(30_i64..50, 1..120), quiet in 0_i64..9, noise in 0_i64..3) {
        let mut line = Line::new(plan(noise as f64 / 10.0, noise as f64 / 10.0));
        let (mut now, mut last) = (0, 1_000);
        for value in values {
            let value = if (value - last).abs() <= noise { last + noise + 1 } else { value };
            last = value;
            for _ in 0..=quiet {
                now += EVERY_MS;
                prop_assert!(!line.offer(now, Answer::Raw(Raw::Int(value))), "{value} at {now}");
            }
        }
    }

    /// Frozen after whatever movement: found by the time and one period, not before the time, and for as long as it lasts.
    #[test]
    fn what_stands_still_is_stuck_by_the_time_and_one_period(before in prop::collection::vec(30_i64..50, 0..40), deadband in 0_i64..3) {
        let mut line = Line::new(plan(deadband as f64 / 10.0, 0.0));
        let mut now = 0;
        for value in before {
            now += EVERY_MS;
            line.offer(now, Answer::Raw(Raw::Int(value)));
        }
        let frozen = now + EVERY_MS;
        for n in 0..30 {
            let at = frozen + n * EVERY_MS;
            let stuck = line.offer(at, Answer::Raw(Raw::Int(99)));
            prop_assert_eq!(stuck, at - frozen >= AFTER_MS, "{}", at - frozen);
        }
    }

    /// What is stuck does not depend on when the gateway was restarted; the counts close all the same.
    #[test]
    fn restarts_change_nothing(steps in prop::collection::vec(step(), 1..150)) {
        let (mut whole, mut broken) = (Line::new(plan(0.2, 0.2)), Line::new(plan(0.2, 0.2)));
        let mut now = 0;
        for step in steps {
            let (mut passed, mut answer) = (step.passed_ms, step.answer);
            if step.restart {
                broken.restart(EngineTime(now));
                // It answers soon again: a silence of the maximum age would begin the stretch anew.
                passed = passed.min(12_000);
                answer = Answer::Raw(Raw::Int(40));
            }
            now += passed;
            prop_assert_eq!(whole.offer(now, answer), broken.offer(now, answer), "at {}", now);
        }
        let still = |line: &Line| line.engine.save().points[0].still.map(|still| (still.value, still.since));
        prop_assert_eq!(still(&whole), still(&broken));
    }
}

/// A reading that says so is bad like any other, and one that an engine without such a plan eats too.
#[test]
fn the_cause_is_a_quality_of_its_own() {
    let stuck = Reading { point: T, at: EngineTime(1), value: Quality::Bad(BadCause::Stuck) };
    let mut engine = Engine::new(site(vec![high(T, 8.0, 0.0, 0, 0)]));
    engine.step(&Input::Reading(stuck), &mut Vec::new());
    assert_eq!(engine.save().points[0].last, Some((EngineTime(1), stuck.value)));
    assert_eq!(BadCause::ALL[BadCause::Stuck.code()], BadCause::Stuck);
}

/// How long the old probe stood still is not the new one's, in intake and in the engine alike; also when it had been found.
#[test]
fn a_replaced_device_begins_a_new_stretch() {
    for restarted in [false, true] {
        let mut line = Line::new(plan(0.0, 0.0));
        let mut stuck_at = Vec::new();
        for at in (0..500_000).step_by(EVERY_MS as usize) {
            if at == 90_000 || at == 250_000 {
                line.replace(at - 1);
            }
            // Intake has it from the engine then.
            if restarted && at % 40_000 == 0 {
                line.restart(EngineTime(at));
            }
            if line.offer(at, Answer::Raw(Raw::Int(40))) {
                stuck_at.push(at / 1_000);
            }
        }
        // 90 s and 250 s begin stretches of 100 s each.
        let expected: Vec<i64> = (190..250).chain(350..500).filter(|s| s % 10 == 0).collect();
        assert_eq!(stuck_at, expected, "restarted: {restarted}");
    }
}
