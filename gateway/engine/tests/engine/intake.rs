//! What intake keeps, and that its counts close.

use gateway_engine::intake::{Answer, Intake};
use gateway_model::{
    BadCause, EngineTime, Plan, PointCounts, PointPlan, Quality, Raw, Reading, UncertainCause,
};
use proptest::prelude::*;

use crate::rig::{M, T, high, point, raw, seconds, site};

/// `t` with a deadband of 1.0, kept at least every 20 s, stale after 30 s, span −50…150, mark 32767.
fn plan() -> Plan {
    let mut plan = site(vec![]);
    plan.points[0] =
        PointPlan { deadband: 1.0, span: Some((-50.0, 150.0)), sentinels: vec![32767], ..point("t", 0, 10) };
    plan
}

/// Lines `<time> <answer>  => <what is handed on>`; `stale` asks for marks.
#[track_caller]
fn check(timeline: &str) {
    check_under(&plan(), timeline);
}

#[track_caller]
pub(crate) fn check_under(plan: &Plan, timeline: &str) {
    let mut intake = Intake::new(plan);
    for line in timeline.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (what, expected) = line.split_once("=>").unwrap_or((line, ""));
        let words: Vec<&str> = what.split_whitespace().collect();
        let at = seconds(words[0]);
        let handed_on: Vec<Reading> = match words[1..] {
            ["stale"] => intake.stale(at),
            ["~held", number] => intake.offer(T, at, Answer::Held(raw(number))).into_iter().collect(),
            ["-"] => intake.offer(T, at, Answer::Failed(BadCause::NoCommunication)).into_iter().collect(),
            ["refused"] => intake.offer(T, at, Answer::Failed(BadCause::DeviceRefused)).into_iter().collect(),
            ["bits", bits] => {
                intake.offer(T, at, Answer::Raw(Raw::Int(bits.parse().unwrap()))).into_iter().collect()
            }
            ["nan"] => intake.offer(T, at, Answer::Raw(Raw::F32(f32::NAN.to_bits()))).into_iter().collect(),
            [number] => intake.offer(T, at, Answer::Raw(raw(number))).into_iter().collect(),
            _ => panic!("{line}"),
        };
        let shown: Vec<String> = handed_on.iter().map(|reading| show(reading, at)).collect();
        assert_eq!(shown.join(", "), expected.trim(), "{line}");
    }
}

fn show(reading: &Reading, at: EngineTime) -> String {
    let number = |raw: Raw| format!("{:.1}", raw.value(0.1, 0.0).unwrap());
    let text = match reading.value {
        Quality::Good(raw) => number(raw),
        Quality::Uncertain(raw, UncertainCause::Held) => format!("held {}", number(raw)),
        Quality::Uncertain(raw, UncertainCause::Stale) => format!("stale {}", number(raw)),
        Quality::Uncertain(raw, UncertainCause::Clock) => format!("clock {}", number(raw)),
        Quality::Bad(cause) => format!("{cause:?}"),
    };
    if reading.at == at { text } else { format!("{text} @{}s", reading.at.0 as f64 / 1000.0) }
}

#[test]
fn a_value_is_kept_when_it_moved_or_its_heartbeat_is_due() {
    check(
        "
        0s   20.0        => 20.0
        5s   20.9
        10s  19.1
        12s  21.0        => 21.0
        20s  21.0
        22s  21.5
        23s  21.5        => 21.5
        ",
    );
}

#[test]
fn a_value_is_kept_before_waiting_for_the_next_would_exceed_the_heartbeat() {
    check(
        "
        0s      20.0     => 20.0
        10s     20.0
        20.05s  20.0     => 20.0
        30s     20.0
        30.06s  20.0     => 20.0
        ",
    );
}

#[test]
fn marks_of_broken_probes_impossible_values_and_no_numbers_are_failures() {
    check(
        "
        0s   bits 32767  => Sentinel
        1s   bits 32767
        2s   151.0       => Implausible
        3s   nan         => Malformed
        4s   150.0       => 150.0
        5s   -50.1       => Implausible
        ",
    );
}

#[test]
fn a_failure_is_handed_on_when_it_is_news_and_at_each_heartbeat() {
    check(
        "
        0s   20.0        => 20.0
        10s  -           => NoCommunication
        15s  -
        20s  refused     => DeviceRefused
        30s  -           => NoCommunication
        50.5s -          => NoCommunication
        60s  20.0        => 20.0
        ",
    );
}

#[test]
fn an_older_answer_than_the_last_kept_is_late_and_an_older_failure_only_counts() {
    check(
        "
        10s  20.0        => 20.0
        9s   25.0        => 25.0
        9s   -
        10s  25.0        => 25.0
        ",
    );
}

#[test]
fn silence_is_marked_once_with_the_moment_it_became_too_long() {
    check(
        "
        0s   20.0        => 20.0
        5s   20.0
        34.9s stale
        40s  stale       => stale 20.0 @35s
        50s  stale
        60s  20.0        => 20.0
        70s  -           => NoCommunication
        500s stale
        ",
    );
}

#[test]
fn a_held_value_ages_from_the_last_one_that_was_not_held() {
    check(
        "
        0s   20.0        => 20.0
        10s  ~held 20.0  => held 20.0
        20s  ~held 20.0
        30s  stale       => stale 20.0
        ",
    );
}

#[test]
fn the_next_mark_is_announced() {
    let mut intake = Intake::new(&plan());
    assert_eq!(intake.next_stale(), None);
    assert!(intake.offer(M, seconds("1s"), Answer::Raw(raw("1"))).is_some());
    assert!(intake.offer(T, seconds("2s"), Answer::Raw(raw("1"))).is_some());
    assert_eq!(intake.next_stale(), Some(seconds("32s")));
    assert_eq!(intake.stale(seconds("32s")).len(), 1);
    assert_eq!(intake.next_stale(), Some(seconds("3601s")));
}

#[test]
fn counts_are_closed_per_point_and_begin_anew() {
    let mut intake = Intake::new(&plan());
    for (at, value) in [("0s", "20.0"), ("10s", "20.0"), ("5s", "9"), ("12s", "99")] {
        let _ = intake.offer(T, seconds(at), Answer::Raw(raw(value)));
    }
    assert!(intake.offer(T, seconds("13s"), Answer::Failed(BadCause::DeviceRefused)).is_some());
    intake.missed(T, BadCause::NoCommunication);
    let counts = PointCounts {
        point: T,
        due: 6,
        answered: 4,
        within_deadband: 1,
        late: 0,
        failed: vec![1, 1, 0, 0, 0, 0, 0, 0, 0],
    };
    assert_eq!(intake.close(), [counts]);
    assert_eq!(intake.close(), []);
}

#[derive(Debug, Clone)]
enum Act {
    Offer(u32, i64, Answer),
    Missed(u32),
    Stale(i64),
}

fn act() -> impl Strategy<Value = Act> {
    let cause = prop::sample::select(BadCause::ALL.to_vec());
    let number = prop_oneof![
        (-600_i64..1600).prop_map(Raw::Int),
        Just(Raw::Int(32767)),
        any::<u32>().prop_map(Raw::F32)
    ];
    let answer = prop_oneof![
        4 => number.clone().prop_map(Answer::Raw),
        1 => number.prop_map(Answer::Held),
        1 => cause.clone().prop_map(Answer::Failed),
    ];
    prop_oneof![
        8 => (0..5_u32, -5_000_i64..30_000, answer).prop_map(|(point, ms, answer)| Act::Offer(point, ms, answer)),
        1 => (0..5_u32).prop_map(Act::Missed),
        1 => (0_i64..60_000).prop_map(Act::Stale),
    ]
}

proptest! {
    /// due = answered + failed; answered = kept + within deadband + late; and late means what the engine means.
    #[test]
    fn counts_close(acts in prop::collection::vec(act(), 1..200)) {
        let plan = plan();
        let mut intake = Intake::new(&plan);
        let mut handed_on: Vec<Reading> = Vec::new();
        let mut now = 0;
        for act in acts {
            match act {
                Act::Offer(point, ms, answer) => {
                    now += ms.max(0);
                    handed_on.extend(intake.offer(gateway_model::PointIx(point), EngineTime(now + ms.min(0)), answer));
                }
                Act::Missed(point) => intake.missed(gateway_model::PointIx(point), BadCause::NoCommunication),
                Act::Stale(ms) => handed_on.extend(intake.stale(EngineTime(now + ms))),
            }
        }
        let closed = intake.close();
        prop_assert!(closed.is_sorted_by(|one, next| one.point < next.point), "each point once, in order");
        prop_assert_eq!(intake.close(), []);
        for counts in closed {
            let mut last = EngineTime(i64::MIN);
            let (mut kept, mut late) = (0, 0);
            for reading in handed_on.iter().filter(|reading| reading.point == counts.point) {
                let mark = matches!(reading.value, Quality::Uncertain(_, UncertainCause::Stale));
                let number = reading.value.number().is_some() && !mark;
                if reading.at < last {
                    late += 1;
                } else if number {
                    kept += 1;
                }
                if !mark {
                    last = last.max(reading.at);
                }
            }
            prop_assert_eq!(counts.due, counts.answered + counts.failed.iter().sum::<u32>());
            prop_assert_eq!(counts.answered, kept + counts.within_deadband + counts.late);
            prop_assert_eq!(counts.late, late);
        }
    }
}

/// `t` as in [`plan`] with so many seconds between heartbeats, and a rule at 30.
pub(crate) fn limited() -> Plan {
    let mut limited = site(vec![high(T, 30.0, 0.0, 0, 0)]);
    limited.points[0] = PointPlan { heartbeat_ms: 3_600_000, ..plan().points[0].clone() };
    limited
}

proptest! {
    /// Whatever is not kept while thinning lies on the side of the limit on which the engine believes it, or within
    /// the point's own deadband, as always.
    #[test]
    fn thinning_hides_no_crossing(values in prop::collection::vec(200i64..400, 1..200)) {
        let mut intake = Intake::new(&limited());
        intake.thin(true, &[]);
        let mut kept = None;
        for (i, value) in values.into_iter().enumerate() {
            if intake.offer(T, EngineTime(i as i64 * 1_000), Answer::Raw(Raw::Int(value))).is_some() {
                kept = Some(value);
            }
            let kept = kept.unwrap();
            prop_assert!((kept > 300) == (value > 300) || (value - kept).abs() < 10, "{kept} for {value}");
        }
    }
}

#[test]
fn thinning_keeps_less_far_from_a_limit_and_as_much_near_it_or_where_something_goes_on() {
    let kept = |around: i64, thin: bool, busy: &[gateway_model::PointIx]| {
        let mut intake = Intake::new(&limited());
        intake.thin(thin, busy);
        let offer = |i: i64| {
            // Up and down by two and a half degrees.
            let raw = Raw::Int(around + if i % 2 == 0 { 25 } else { 0 });
            intake.offer(T, EngineTime(i * 1_000), Answer::Raw(raw))
        };
        (0..100).filter_map(offer).count()
    };
    assert_eq!([kept(100, false, &[]), kept(100, true, &[]), kept(100, true, &[T])], [100, 1, 100]);
    assert_eq!([kept(290, false, &[]), kept(290, true, &[])], [100, 100]);
}
