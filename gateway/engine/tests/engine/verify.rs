//! Verification of a rectification from readings.

use gateway_engine::verify::{Reason, Verdict, Verification, Verifier, Window};
use gateway_model::{DeviceIx, EngineTime, Input, Plan, PointCounts, PointIx, Reading, RuleIx};
use proptest::prelude::*;

use crate::rig::{M, T, U, absent, bus_blind, cabinet, device_blind, high, play, seconds, site};

const WINDOW: Window = Window { from: EngineTime(100_000), to: EngineTime(160_000) };

/// Readings as lines of a timeline; `t 7.0 x4` repeats it every 10 s.
fn readings(timeline: &str) -> Vec<Reading> {
    let mut readings = Vec::new();
    for line in timeline.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (line, times) =
            line.split_once(" x").map_or((line, 1), |(line, times)| (line, times.trim().parse().unwrap()));
        let Input::Reading(first) = play(line) else { panic!("{line}") };
        readings.extend((0..times).map(|n| Reading { at: first.at.plus(n * 10_000), ..first }));
    }
    readings.sort_by_key(|reading| reading.at);
    readings
}

/// Everything due of the point in the window was answered, but for `lost` of ten.
fn counts(point: PointIx, lost: u32) -> (EngineTime, EngineTime, PointCounts) {
    let counts =
        PointCounts { point, due: 10, answered: 10 - lost, within_deadband: 0, late: 0, failed: vec![lost] };
    (seconds("95s"), seconds("165s"), counts)
}

fn verify(
    plan: &Plan,
    rule: RuleIx,
    window: Window,
    readings: &[Reading],
    counts: &[(EngineTime, EngineTime, PointCounts)],
) -> Verification {
    let mut verifier = Verifier::new(plan, rule, window);
    for reading in readings {
        verifier.eat(&Input::Reading(*reading));
    }
    for (from, to, counts) in counts {
        verifier.count(*from, *to, counts);
    }
    verifier.finish()
}

fn judge(plan: &Plan, timeline: &str, lost: u32) -> Verification {
    let counts: Vec<_> = (0..plan.points.len()).map(|point| counts(PointIx::of(point), lost)).collect();
    verify(plan, RuleIx(0), WINDOW, &readings(timeline), &counts)
}

#[track_caller]
fn check(plan: &Plan, timeline: &str, verdict: Verdict, reason: Reason, first_violation: Option<&str>) {
    let verification = judge(plan, timeline, 0);
    assert_eq!(
        (verification.verdict, verification.reason),
        (verdict, reason),
        "{timeline}\n{verification:?}"
    );
    assert_eq!(verification.first_violation, first_violation.map(seconds), "{timeline}");
}

fn fridge() -> Plan {
    site(vec![high(T, 8.0, 1.0, 60, 60)])
}

#[test]
fn false_and_good_throughout_passes() {
    check(&fridge(), "95s t 7.0 x8", Verdict::Pass, Reason::Held, None);
}

#[test]
fn true_for_any_moment_fails_whatever_the_delays() {
    check(
        &fridge(),
        "95s t 7.0 x4
         130s t 8.1
         135s t 7.0 x4",
        Verdict::Fail,
        Reason::Violated,
        Some("130s"),
    );
}

#[test]
fn what_was_true_before_the_window_counts_at_its_first_moment() {
    check(&fridge(), "95s t 9.0\n105s t 7.0 x7", Verdict::Fail, Reason::Violated, Some("100s"));
    check(&fridge(), "95s t 9.0\n100s t 7.0 x7", Verdict::Pass, Reason::Held, None);
}

#[test]
fn what_comes_after_the_window_does_not_count() {
    check(&fridge(), "95s t 7.0 x7\n160.001s t 9.0", Verdict::Pass, Reason::Held, None);
    check(&fridge(), "95s t 7.0 x7\n160s t 9.0", Verdict::Fail, Reason::Violated, Some("160s"));
}

#[test]
fn bad_stale_or_never_seen_is_insufficient() {
    let insufficient = |timeline| check(&fridge(), timeline, Verdict::Insufficient, Reason::NotGood, None);
    insufficient("");
    insufficient("105s t 7.0 x7");
    insufficient("95s t 7.0 x3\n130s t -\n135s t 7.0 x4");
    insufficient("95s t 7.0 x4");
    insufficient("95s t 7.0 x2\n140s t 7.0 x4");
    assert_eq!(judge(&fridge(), "95s t 7.0 x4", 0).unseen, [T]);
}

#[test]
fn a_violation_outweighs_what_was_not_seen() {
    check(&fridge(), "95s t 7.0\n105s t -\n110s t 9.0 x6", Verdict::Fail, Reason::Violated, Some("110s"));
}

#[test]
fn a_late_reading_is_not_judged() {
    let plan = fridge();
    let mut list = readings("95s t 7.0 x8");
    list.insert(4, Reading { at: seconds("120s"), ..readings("120s t 9.0")[0] });
    let verification = verify(&plan, RuleIx(0), WINDOW, &list, &[counts(T, 0)]);
    assert_eq!(verification.verdict, Verdict::Pass, "{verification:?}");
}

#[test]
fn too_few_answers_are_insufficient() {
    let at = |lost| judge(&fridge(), "95s t 7.0 x8", lost);
    assert_eq!((at(1).verdict, at(1).coverage_permille), (Verdict::Pass, 900));
    assert_eq!(
        (at(2).verdict, at(2).reason, at(2).coverage_permille),
        (Verdict::Insufficient, Reason::Coverage, 800)
    );
    let uncounted = verify(&fridge(), RuleIx(0), WINDOW, &readings("95s t 7.0 x8"), &[]);
    assert_eq!((uncounted.verdict, uncounted.coverage_permille), (Verdict::Insufficient, 0));
}

#[test]
fn a_hole_between_counts_was_due_by_plan() {
    let span = |from: &str, to: &str, n| {
        let counts = PointCounts { point: T, due: n, answered: n, ..PointCounts::default() };
        (seconds(from), seconds(to), counts)
    };
    let at = |counts: &[_]| {
        verify(&fridge(), RuleIx(0), WINDOW, &readings("95s t 7.0 x8"), counts).coverage_permille
    };
    assert_eq!(at(&[span("90s", "120s", 3), span("130s", "170s", 4)]), 1000, "the space between two records");
    assert_eq!(at(&[span("90s", "115s", 3), span("150s", "170s", 2)]), 625, "3 of 35 s lost");
}

#[test]
fn a_point_that_nobody_polls_has_only_its_age() {
    let plan = site(vec![high(M, 8.0, 0.0, 0, 0)]);
    let verification = verify(&plan, RuleIx(0), WINDOW, &readings("10s m 7.0"), &[]);
    assert_eq!((verification.verdict, verification.coverage_permille), (Verdict::Pass, 1000));
}

#[test]
fn an_absence_is_rectified_when_no_silence_is_long_enough() {
    let plan = site(vec![absent(M, 30)]);
    check(&plan, "90s m 1\n110s m 1\n135s m 1", Verdict::Pass, Reason::Held, None);
    check(&plan, "90s m 1\n125s m 1\n135s m 1", Verdict::Fail, Reason::Silent, Some("120s"));
    check(&plan, "50s m 1\n110s m 1\n135s m 1", Verdict::Fail, Reason::Silent, Some("100s"));
    check(&plan, "90s m 1\n110s m 1\n125s m 1", Verdict::Fail, Reason::Silent, Some("155s"));
    check(&plan, "110s m 1\n135s m 1", Verdict::Insufficient, Reason::NeverSeen, None);
    check(&plan, "", Verdict::Fail, Reason::Silent, Some("130s"));
    check(&plan, "90s m 1\n110s m -\n115s m 1\n135s m 1", Verdict::Pass, Reason::Held, None);
}

#[test]
fn a_failed_cycle_is_rectified_by_the_last_cycle_of_the_window() {
    let plan = cabinet();
    let shut = "0s door 0 x20\n";
    let passing = "30s t 20\n40s t 60\n50s t 100 x7\n120s t 45 x4\n";
    let failing = "30s t 20\n40s t 60\n50s t 100 x3\n80s t 45 x6\n";
    let cycle = |curve: &str, verdict, reason, violation| {
        check(&plan, &[shut, curve].concat(), verdict, reason, violation);
    };
    cycle(passing, Verdict::Pass, Reason::Held, None);
    cycle(failing, Verdict::Fail, Reason::CycleFailed, Some("110s"));
    cycle("0s t 20 x17", Verdict::Insufficient, Reason::NoCycle, None);
    cycle(
        "0s t 20\n10s t 60\n20s t 100\n30s t 45 x3\n60s t 101 x8\n140s t 45 x4",
        Verdict::Insufficient,
        Reason::NoCycle,
        None,
    );
    cycle(
        "0s t 20 x3\n30s t 100\n40s t 45 x4\n80s t 101 x2\n100s t 45 x5",
        Verdict::Fail,
        Reason::CycleFailed,
        Some("130s"),
    );
}

#[test]
fn a_device_is_rectified_when_it_could_be_judged_throughout() {
    let plan = site(vec![device_blind(0, 60), high(T, 8.0, 0.0, 0, 0)]);
    check(&plan, "95s t 9.0 x8", Verdict::Pass, Reason::Held, None);
    check(&plan, "95s t 9.0 x2\n120s t -\n125s t 9.0 x4", Verdict::Fail, Reason::Violated, Some("120s"));
    check(&plan, "95s t 9.0 x2", Verdict::Fail, Reason::Violated, Some("135s"));
}

#[test]
fn a_bus_is_rectified_when_one_of_its_devices_could_always_be_judged() {
    let mut on_b = high(U, 8.0, 0.0, 0, 0);
    on_b.subject = DeviceIx(1);
    let plan = site(vec![bus_blind(0, 60), high(T, 8.0, 0.0, 0, 0), on_b]);
    check(&plan, "95s t 9.0 x3\n120s u 9.0 x5", Verdict::Pass, Reason::Held, None);
    check(&plan, "95s t 9.0\n95s u 9.0\n110s t -\n115s u -", Verdict::Fail, Reason::Violated, Some("115s"));
}

#[test]
fn what_cannot_be_verified_is_said_so() {
    let list = readings("95s t 7.0 x8");
    let reason = |plan: &Plan, rule, window| verify(plan, RuleIx(rule), window, &list, &[]).reason;
    assert_eq!(reason(&fridge(), 7, WINDOW), Reason::NotVerifiable);
    assert_eq!(reason(&fridge(), 0, Window { from: WINDOW.to, to: WINDOW.to }), Reason::NotVerifiable);
    assert_eq!(reason(&site(vec![device_blind(0, 60)]), 0, WINDOW), Reason::NotVerifiable);
}

proptest! {
    /// PASS never without good data throughout and coverage; FAIL if and only if a believed value was above.
    #[test]
    fn the_verdict_follows_the_data(
        values in prop::collection::vec((0_i64..40_000, -1_i64..12), 1..30),
        lost in 0_u32..4,
    ) {
        let plan = fridge();
        let mut at = 60_000;
        let mut list = Vec::new();
        for (gap, value) in values {
            at += gap;
            let line = if value < 0 { format!("{}s t -", at as f64 / 1000.0) } else { format!("{}s t {value}", at as f64 / 1000.0) };
            list.extend(readings(&line));
        }
        let verification = verify(&plan, RuleIx(0), WINDOW, &list, &[counts(T, lost)]);

        // The law, moment by moment, in plain words.
        let (mut seen_bad, mut above) = (false, false);
        for ms in (WINDOW.from.0..=WINDOW.to.0).step_by(1) {
            let now = EngineTime(ms);
            let last = list.iter().rev().find(|reading| reading.at <= now);
            match last.and_then(|reading| Some((reading.at, reading.value.number()?.value(0.1, 0.0)?))) {
                Some((at, value)) if now.since(at) < 30_000 => above |= value > 8.0,
                Some(_) | None => seen_bad = true,
            }
        }
        let expected = if above {
            Verdict::Fail
        } else if seen_bad || lost > 1 {
            Verdict::Insufficient
        } else {
            Verdict::Pass
        };
        prop_assert_eq!(verification.verdict, expected, "{:?}", verification);
    }
}
