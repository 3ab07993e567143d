//! Verification of what looks through windows, at opening hours, at duties and ledgers, and of what is only judged in use.

use gateway_engine::Engine;
use gateway_engine::verify::{Reason, Verdict, Verification, Verifier, Window};
use gateway_model::{
    CalendarPlan, CivilTime, Criterion, DeviceIx, DosePlan, DutyPlan, EngineTime, HoursQuestion, Judging,
    ModuleEvent, ModuleIx, ModulePlan, Op, Plan, PointCounts, Program, RuleIx, RuleKind, RulePlan, WastePlan,
    WindowFunction, WindowPlan,
};

use crate::rig::{T, absent, play, rule, seconds, site};

const WINDOW: Window = Window { from: EngineTime(10_000_000), to: EngineTime(14_000_000) };

fn plan(mut judged: RulePlan, modules: Vec<ModulePlan>, judging: Judging) -> Plan {
    judged.verify.coverage_permille = 0;
    Plan { modules, judging: Some(judging), ..site(vec![judged]) }
}

fn condition(when: Vec<Op>) -> RulePlan {
    rule(RuleKind::Condition {
        when: Program(when),
        returned: None,
        on_delay_ms: 300_000,
        off_delay_ms: 300_000,
        shown: None,
        limit: None,
    })
}

/// Lines of a timeline. `t 90 x6` repeats it every 10 s.
fn feed(verifier: &mut Verifier, timeline: &str) {
    for line in timeline.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (line, times) =
            line.split_once(" x").map_or((line, 1), |(line, times)| (line, times.trim().parse().unwrap()));
        let (at, what) = line.split_once(' ').unwrap();
        for n in 0..times {
            verifier.eat(&play(&format!("{}s {what}", seconds(at).0 as f64 / 1000.0 + f64::from(n) * 10.0)));
        }
    }
}

fn judge(plan: &Plan, timeline: &str) -> Verification {
    let mut verifier = Verifier::new(plan, RuleIx(0), WINDOW);
    feed(&mut verifier, timeline);
    verifier.finish()
}

#[track_caller]
fn check(plan: &Plan, timeline: &str, verdict: Verdict, reason: Reason, first_violation: Option<&str>) {
    let found = judge(plan, timeline);
    assert_eq!((found.verdict, found.reason), (verdict, reason), "{timeline}\n{found:?}");
    assert_eq!(found.first_violation, first_violation.map(seconds), "{timeline}");
}

/// At least 70 in the median of five minutes, once it has been lit for five; verified from ten minutes after lighting.
fn lamp() -> Plan {
    let output = |output| Op::Output { module: ModuleIx(0), output };
    let median = Op::Window { window: 0, point: T, function: WindowFunction::Median };
    let mut weak = condition(vec![output(DosePlan::WARM), median, Op::Number(70.0), Op::Less, Op::And]);
    weak.verify.during = Some(Program(vec![
        output(DosePlan::WARM),
        output(DosePlan::SESSION_MS),
        Op::Number(600_000.0),
        Op::GreaterOrEqual,
        Op::And,
    ]));
    let dose =
        DosePlan { device: DeviceIx(0), irradiance: T, lit: 15.0, warm_up_ms: 300_000, gap_ms: 60_000 };
    let windows = vec![WindowPlan { point: T, span_ms: 300_000 }];
    plan(weak, vec![ModulePlan::Dose(dose)], Judging { windows, ..Judging::default() })
}

/// Dark from 9,000 s on, but for these lines from 11,000 s on.
fn dark_but_for(lines: &str, lasts_s: u32) -> String {
    let after = 11_000 + lasts_s;
    let rest = (14_000 - after) / 10 + 1;
    format!("9000s start 1\n9000s t 0 x200\n{lines}\n{after}s t 0 x{rest}")
}

#[test]
fn a_lamp_that_is_strong_while_it_is_lit_passes() {
    check(&lamp(), &dark_but_for("11000s t 90 x180", 1_800), Verdict::Pass, Reason::Held, None);
    // It takes four minutes to come up: the median is low when the lamp counts as warm, and settled five minutes later.
    let slow = dark_but_for("11000s t 30 x24\n11240s t 90 x156", 1_800);
    check(&lamp(), &slow, Verdict::Pass, Reason::Held, None);
}

#[test]
fn a_lamp_that_stays_weak_fails() {
    let weak = dark_but_for("11000s t 60 x180", 1_800);
    check(&lamp(), &weak, Verdict::Fail, Reason::Violated, Some("11600s"));
}

#[test]
fn a_lamp_that_is_hardly_lit_proves_nothing() {
    let insufficient = |timeline: &str, reason| check(&lamp(), timeline, Verdict::Insufficient, reason, None);
    insufficient(&dark_but_for("", 0), Reason::NotTested);
    insufficient(&dark_but_for("11000s t 90 x72", 720), Reason::NotTested);
    // Weak, but switched off before it could be judged: neither.
    insufficient(&dark_but_for("11000s t 60 x36", 360), Reason::NotTested);
    // Nobody knows how long it had been lit.
    insufficient("9000s t 90 x501", Reason::NoHistory);
    let broken = dark_but_for("11000s t 90 x72\n11720s t - x108", 1_800);
    insufficient(&broken, Reason::NotTested);
}

#[test]
fn a_restart_while_the_lamp_is_dark_takes_nothing_away() {
    let lines = "11000s t 90 x180";
    let restarted = dark_but_for(lines, 1_800).replace("\n12800s", "\n13000s start 2 after 200s\n13000s");
    let restarted = restarted.replace("x121", "x101");
    check(&lamp(), &restarted, Verdict::Pass, Reason::Held, None);
}

#[test]
fn a_sweep_from_a_checkpoint_knows_what_the_engine_knew() {
    let mut engine = Engine::new(lamp());
    let mut out = Vec::new();
    engine.step(&play("0s start 1"), &mut out);
    for n in 0..=995 {
        engine.step(&play(&format!("{}s t 90", n * 10)), &mut out);
    }
    let plan = lamp();
    let mut verifier = Verifier::new(&plan, RuleIx(0), WINDOW);
    verifier.begin(Some(&engine.save())).unwrap();
    feed(&mut verifier, "9960s t 90 x405");
    assert_eq!(verifier.finish().verdict, Verdict::Pass, "lit and warm from the first moment on");

    let mut verifier = Verifier::new(&plan, RuleIx(0), WINDOW);
    verifier.begin(Some(&engine.save())).unwrap();
    feed(&mut verifier, "9960s t 90 x200");
    verifier.lose();
    feed(&mut verifier, "12000s t 90 x201");
    let found = verifier.finish();
    assert_eq!(
        (found.verdict, found.reason),
        (Verdict::Insufficient, Reason::NoHistory),
        "inputs are missing"
    );
}

fn mean_of_an_hour() -> Plan {
    let mean = Op::Window { window: 0, point: T, function: WindowFunction::Average };
    let windows = vec![WindowPlan { point: T, span_ms: 3_600_000 }];
    let mean = condition(vec![mean, Op::Number(8.0), Op::Greater]);
    plan(mean, vec![], Judging { windows, ..Judging::default() })
}

#[test]
fn what_was_before_the_window_convicts_nobody_and_proves_nothing() {
    let past = "0s start 1\n0s t 20 x1000\n";
    let mean = mean_of_an_hour();
    check(&mean, &format!("{past}10000s t 4 x401"), Verdict::Pass, Reason::Held, None);
    // A 59th of the hour leaves at a time: from 13,600 s on the mean is of the window alone.
    check(&mean, &format!("{past}10000s t 9 x401"), Verdict::Fail, Reason::Violated, Some("13600s"));
    let short = Window { to: EngineTime(10_600_000), ..WINDOW };
    let mut verifier = Verifier::new(&mean, RuleIx(0), short);
    feed(&mut verifier, &format!("{past}10000s t 4 x100"));
    let found = verifier.finish();
    assert_eq!((found.verdict, found.reason), (Verdict::Insufficient, Reason::ReachesBack));
    // A window that is not covered by data is unknown.
    check(&mean, "9000s start 1\n9000s t 4 x501", Verdict::Insufficient, Reason::NotGood, None);
}

fn duty(failed: bool) -> Plan {
    let duty = ModulePlan::Duty(DutyPlan {
        device: DeviceIx(2),
        duty: "cleaning".into(),
        every_ms: 3_600_000,
        open_time: false,
    });
    let overdue = Op::Output { module: ModuleIx(0), output: DutyPlan::OVERDUE_MS };
    let overdue = condition(vec![overdue, Op::Number(0.0), Op::Greater]);
    let bad = RuleKind::Event { module: ModuleIx(0), event: ModuleEvent::DutyFailed, lapses_ms: 1_000 };
    plan(if failed { rule(bad) } else { overdue }, vec![duty], Judging::default())
}

#[test]
fn a_duty_is_rectified_when_it_was_done_in_time_and_stays_so() {
    let overdue = duty(false);
    check(
        &overdue,
        "0s start 1\n9900s done cleaning good\n13000s done cleaning good",
        Verdict::Pass,
        Reason::Held,
        None,
    );
    let late = "0s start 1\n10500s done cleaning good";
    check(&overdue, late, Verdict::Fail, Reason::Violated, Some("10000s"));
    check(&overdue, "9900s done cleaning good", Verdict::Insufficient, Reason::NoHistory, None);
}

#[test]
fn a_bad_result_is_rectified_by_the_last_result() {
    let plan = duty(true);
    let bad = "0s start 1\n9000s done cleaning bad\n";
    check(&plan, bad, Verdict::Fail, Reason::DutyFailed, None);
    check(&plan, &format!("{bad}9500s done cleaning good"), Verdict::Pass, Reason::Held, None);
    let again = format!("{bad}10500s done cleaning bad\n11000s done cleaning good");
    check(&plan, &again, Verdict::Pass, Reason::Held, None);
    check(&plan, "0s start 1", Verdict::Insufficient, Reason::NotTested, None);
}

/// Three good ones in a row, as after a bad biological test.
#[test]
fn a_bad_result_may_ask_for_several_good_ones_in_a_row() {
    let mut plan = duty(true);
    plan.rules[0].verify.criterion = Some(Criterion::GoodResults(3));
    let bad = "0s start 1\n9000s done cleaning bad\n";
    let good = "9500s done cleaning good\n10500s done cleaning good\n";
    let insufficient =
        |timeline: &str| check(&plan, timeline, Verdict::Insufficient, Reason::NotTested, None);
    insufficient(&format!("{bad}{good}"));
    check(&plan, &format!("{bad}{good}11000s done cleaning good"), Verdict::Pass, Reason::Held, None);
    let again = format!("{bad}{good}11000s done cleaning bad\n");
    check(&plan, &again, Verdict::Fail, Reason::DutyFailed, None);
    insufficient(&format!("{again}12000s done cleaning good\n12100s done cleaning good"));
    let three = "12000s done cleaning good\n12100s done cleaning good\n12200s done cleaning good";
    check(&plan, &format!("{again}{three}"), Verdict::Pass, Reason::Held, None);
    // Good ones from before a bad one that nobody knows of are no answer to it.
    insufficient(&format!("0s start 1\n{good}11000s done cleaning good"));
}

/// A door that may be open for five minutes.
fn doorway() -> Plan {
    let mut open = condition(vec![Op::Point(T), Op::Number(0.0), Op::Greater]);
    open.verify.criterion = Some(Criterion::Lasting);
    plan(open, vec![], Judging::default())
}

#[test]
fn what_holds_for_a_while_in_ordinary_use_is_no_violation_until_it_lasts() {
    let door = doorway();
    let shut = "9000s start 1\n9000s t 0 x150\n";
    let pass = |timeline: &str| check(&door, timeline, Verdict::Pass, Reason::Held, None);
    pass(&format!("{shut}10500s t 1 x29\n10790s t 0 x40\n11190s t 1 x29\n11480s t 0 x253"));
    check(
        &door,
        &format!("{shut}10500s t 1 x31\n10810s t 0 x320"),
        Verdict::Fail,
        Reason::Violated,
        Some("10800s"),
    );
    // Open at the end: nobody knows for how long.
    let open_at_the_end = format!("{shut}10500s t 0 x330\n13800s t 1 x21");
    check(&door, &open_at_the_end, Verdict::Insufficient, Reason::NotTested, None);
    // Raised for what was before the window.
    let before = "9000s start 1\n9000s t 0 x80\n9800s t 1 x31\n10110s t 0 x390";
    check(&door, before, Verdict::Insufficient, Reason::ReachesBack, None);
    // Raised before the window, shut in its first minute.
    pass("9000s start 1\n9000s t 0 x60\n9600s t 1 x46\n10060s t 0 x395");
    // Raised before it and open ever since.
    let ever_since = "9000s start 1\n9000s t 0 x60\n9600s t 1 x441";
    check(&door, ever_since, Verdict::Fail, Reason::Violated, Some("10300s"));
    // Some moment could not be judged.
    let broken = format!("{shut}10500s t 1 x10\n10600s t - x5\n10650s t 0 x336");
    check(&door, &broken, Verdict::Insufficient, Reason::NotGood, None);
    // A delay that ran before the records begin is not known.
    check(&door, "9000s t 0 x501", Verdict::Insufficient, Reason::NoHistory, None);
}

#[test]
fn what_stands_since_before_a_window_shorter_than_the_delay_to_its_end_is_a_violation() {
    let door = doorway();
    let short = Window { to: EngineTime(10_200_000), ..WINDOW };
    for (timeline, verdict) in [
        ("9000s start 1\n9000s t 1 x121", Verdict::Fail),
        ("9000s start 1\n9000s t 1 x115\n10150s t 0 x6", Verdict::Pass),
        ("9000s start 1\n9000s t 0 x115\n10150s t 1 x6", Verdict::Insufficient),
    ] {
        let mut verifier = Verifier::new(&door, RuleIx(0), short);
        feed(&mut verifier, timeline);
        assert_eq!(verifier.finish().verdict, verdict, "{timeline}");
    }
}

#[test]
fn an_event_that_did_not_happen_again_proves_something_where_it_could_have() {
    let ledger = ModulePlan::Waste(WastePlan { feed: DeviceIx(2), ..WastePlan::default() });
    let twice = RuleKind::Event { module: ModuleIx(0), event: ModuleEvent::DuplicateLabel, lapses_ms: 1_000 };
    let plan = plan(rule(twice), vec![ledger], Judging::default());
    let past = "0s start 1\n9000s bag a 5\n9100s bag a 5\n";
    check(&plan, past, Verdict::Insufficient, Reason::NotTested, None);
    check(&plan, &format!("{past}11000s bag b 5"), Verdict::Pass, Reason::Held, None);
    let again = format!("{past}11000s bag b 5\n12000s bag a 5\n13000s bag c 5");
    check(&plan, &again, Verdict::Fail, Reason::HappenedAgain, Some("12000s"));
    check(&plan, "9000s bag a 5\n11000s bag b 5", Verdict::Insufficient, Reason::NoHistory, None);
}

/// Open on Thursdays, the day on which engine time begins, from 03:00 to 03:30 UTC.
fn calendar() -> CalendarPlan {
    let day = 3 * 1440;
    CalendarPlan {
        offsets: vec![(CivilTime(0), 0)],
        open: vec![(day + 180, day + 210)],
        off: vec![(day, day + 170)],
        ..CalendarPlan::default()
    }
}

#[test]
fn opening_hours_are_known_where_civil_time_is() {
    let judging = || Judging { calendar: Some(calendar()), ..Judging::default() };
    let used =
        [Op::Point(T), Op::Number(80.0), Op::Greater, Op::Hours(HoursQuestion::Open), Op::Not, Op::And];
    let plan_of = |judged| plan(judged, vec![], judging());
    let closed = plan_of(condition(used.to_vec()));
    // 10,800 s is 03:00, 12,600 s is 03:30.
    let known = "9000s start 1\n9000s clock 0s\n9000s t 20 x180\n10800s t 90 x180\n";
    check(&closed, &format!("{known}12600s t 20 x141"), Verdict::Pass, Reason::Held, None);
    check(&closed, &format!("{known}12600s t 90 x141"), Verdict::Fail, Reason::Violated, Some("12600s"));
    let unknown = known.replace("clock 0s", "clock ?");
    check(&closed, &format!("{unknown}12600s t 20 x141"), Verdict::Insufficient, Reason::NotGood, None);
    let clock = plan_of(rule(RuleKind::ClockUnevaluable { after_ms: 1_000 }));
    check(&clock, "9000s start 1\n9000s clock 0s", Verdict::Pass, Reason::Held, None);
    let lost = "9000s start 1\n9000s clock 0s\n11000s clock ?";
    check(&clock, lost, Verdict::Fail, Reason::Violated, Some("11000s"));
    check(&clock, "9000s clock 0s", Verdict::Insufficient, Reason::NoHistory, None);
}

#[test]
fn silence_that_sleeps_is_none_and_silence_that_nobody_heard_proves_nothing() {
    let mut silent = absent(T, 1_500);
    silent.handling = Some(gateway_model::Handling { sleeps: true, ..Default::default() });
    let asleep = plan(silent, vec![], Judging { calendar: Some(calendar()), ..Judging::default() });
    let start = "9000s start 1\n9000s clock 0s\n9000s t 20\n";
    check(&asleep, &format!("{start}12000s t 20"), Verdict::Pass, Reason::Held, None);
    check(&asleep, start, Verdict::Fail, Reason::Silent, Some("12300s"));
    let away = format!("{start}12000s t 20\n13500s start 2 after 1400s");
    check(&asleep, &away, Verdict::Insufficient, Reason::NotGood, None);
}

#[test]
fn a_gateway_that_was_down_saw_nothing() {
    let warm = plan(condition(vec![Op::Point(T), Op::Number(8.0), Op::Greater]), vec![], Judging::default());
    let up = "9000s start 1\n9000s t 4 x200\n";
    let short = format!("{up}11010s start 2 after 15s\n11010s t 4 x300");
    check(&warm, &short, Verdict::Pass, Reason::Held, None);
    let long = format!("{up}11200s start 2 after 210s\n11200s t 4 x281");
    check(&warm, &long, Verdict::Insufficient, Reason::NotGood, None);
    check(&warm, &format!("{up}15000s start 2 after 4010s"), Verdict::Insufficient, Reason::NotGood, None);
}

#[test]
fn nothing_is_due_while_everything_may_be_switched_off() {
    let mut plan = lamp();
    plan.rules[0].verify.coverage_permille = 900;
    // Off until 02:50, 10,200 s: of a window from 10,000 s a twentieth.
    let mut off = calendar();
    off.off = vec![(3 * 1440, 3 * 1440 + 200)];
    let lit = dark_but_for("11000s t 90 x180", 1_800).replace("start 1", "start 1\n9000s clock 0s");
    let coverage = |plan: &Plan, from: &str| {
        let mut verifier = Verifier::new(plan, RuleIx(0), WINDOW);
        feed(&mut verifier, &lit);
        let (gap, to) = (seconds("8000s"), seconds(from));
        verifier.count(gap, to, &PointCounts { point: T, due: 400, ..PointCounts::default() });
        let counts = PointCounts { point: T, due: 200, answered: 200, ..PointCounts::default() };
        verifier.count(to, seconds("14000s"), &counts);
        verifier.finish()
    };
    let without = coverage(&plan, "12000s");
    assert_eq!((without.verdict, without.coverage_permille), (Verdict::Insufficient, 333));
    plan.judging.as_mut().unwrap().calendar = Some(off);
    let with = coverage(&plan, "12000s");
    assert_eq!((with.verdict, with.coverage_permille), (Verdict::Pass, 1000), "off until 03:20, 12,000 s");
}
