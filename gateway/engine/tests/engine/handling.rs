//! What becomes of an alert while it is open: T9–T12, T14–T18, T24–T26, and whose turn it is.

use gateway_model::{
    AggravatePlan, AggravatedBy, CalendarPlan, Calibration, ChatterPlan, CivilTime, EscalatePlan, Handling,
    Judging, ModuleIx, ModulePlan, Op, PatiencePlan, Plan, Priority, Program, ProvablePlan, RuleKind,
    RulePlan, StepPlan, Unit, WindowEnd,
};

use crate::rig::{self, DOOR, T, absent, cabinet, check, check_across, high, rule};

fn with(rule: RulePlan, handling: Handling) -> RulePlan {
    RulePlan { handling: Some(Handling { pause_max_ms: 600_000, ..handling }), ..rule }
}

/// A site whose values do not get too old: what that does is tested elsewhere.
fn site(rules: Vec<RulePlan>) -> Plan {
    let mut plan = rig::site(rules);
    plan.points[0].max_age_ms = 0;
    plan.points[1].max_age_ms = 0;
    plan
}

fn above(limit: f64) -> Program {
    Program(vec![Op::Point(T), Op::Number(limit), Op::Greater])
}

#[test]
pub(crate) fn a_latched_alert_stays_listed_until_it_is_over_received_and_reset() {
    let plan = site(vec![RulePlan { latching: true, ..high(T, 8.0, 0.0, 0, 0) }]);
    check(
        &plan,
        "
        0s start 1
        1s t 9          => raise 1-1
        2s reset 1-1 #1 => refused still_active
        3s t 7          => clear 1-1 unacked latched
        4s reset 1-1 #2 => refused not_acknowledged
        5s ack 1-1 #2   => ack 1-1 latched, order done
        6s reset 1-1 #2 => refused stale
        7s reset 1-1 #3 => reset 1-1, order done
        8s reset 1-1 #4 => refused unknown_alert
        ",
    );
}

fn patient() -> Plan {
    let when = Program(vec![Op::TruthPoint(DOOR)]);
    let patience = Some(PatiencePlan { when, on_delay_ms: 60_000 });
    site(vec![with(high(T, 8.0, 0.0, 20, 0), Handling { patience, ..Handling::default() })])
}

#[test]
fn an_excuse_makes_the_delay_longer_and_no_longer_than_that() {
    check(
        &patient(),
        "
        0s start 1
        1s door 1
        2s t 9
        22s .
        61s .
        62s .           => raise 1-1
        63s t 7         => clear 1-1 unacked
        70s t 9
        80s door 0
        90s .           => raise 1-2
        91s t 7         => clear 1-2 unacked
        92s t 9
        95s door 1
        112s .
        120s t 7
        200s .
        ",
    );
}

#[test]
fn what_nobody_knows_is_no_excuse() {
    check(
        &patient(),
        "
        0s start 1
        1s door -
        2s t 9
        22s .           => raise 1-1
        ",
    );
}

#[test]
fn the_value_of_a_failed_cycle_has_the_unit_of_its_temperature() {
    let plan = cabinet();
    assert_eq!(plan.rules[0].shown_unit(&plan), Some(Unit::Celsius));
    let duty = rule(RuleKind::Event {
        module: ModuleIx(0),
        event: gateway_model::ModuleEvent::DutyFailed,
        lapses_ms: 0,
    });
    assert_eq!(duty.shown_unit(&plan), None);
}

#[test]
pub(crate) fn a_higher_step_asks_for_attention_again_and_a_lower_one_does_not() {
    let steps = vec![
        StepPlan { when: above(12.0), priority: Priority::Orange, hold_ms: 0, limit: Some(12.0) },
        StepPlan { when: above(20.0), priority: Priority::Red, hold_ms: 10_000, limit: Some(20.0) },
    ];
    let plan = site(vec![with(high(T, 8.0, 0.0, 0, 0), Handling { steps, ..Handling::default() })]);
    check(
        &plan,
        "
        0s start 1
        1s t 9         => raise 1-1
        2s ack 1-1 #1  => ack 1-1, order done
        3s t 13        => step 1-1/1
        4s ack 1-1 #3  => ack 1-1/1, order done
        5s t 21        =>
        9s t 19        =>
        10s t 21       =>
        25s t 22       => 20s: step 1-1/2
        26s t 9        => step 1-1
        27s t 7        => clear 1-1 unacked
        30s t 13       => raise 1-2/1
        ",
    );
}

#[test]
pub(crate) fn what_is_active_is_brought_to_mind_again() {
    let handling = Handling { re_alarm_ms: Some(20_000), ..Handling::default() };
    check(
        &site(vec![with(high(T, 8.0, 0.0, 0, 0), handling)]),
        "
        0s start 1
        1s t 9        => raise 1-1
        2s ack 1-1 #1 => ack 1-1, order done
        25s t 9       => 21s: remind 1-1
        45s t 9       => 41s: remind 1-1
        46s t 7       => clear 1-1 unacked
        99s .         =>
        ",
    );
}

#[test]
pub(crate) fn a_pause_ends_by_itself_and_what_is_active_then_asks_anew() {
    check(
        &site(vec![with(high(T, 8.0, 0.0, 0, 0), Handling::default())]),
        "
        0s start 1
        1s t 9              => raise 1-1
        2s pause 1-1 #1 700s => refused out_of_range
        3s pause 1-1 #1 20s => paused 0 +paused, suppression 1-1, order done
        4s ack 1-1 #2       => ack 1-1, order done
        25s t 9             => 23s: pauseended 0, 23s: remind 1-1
        26s pause 1-1 #4 20s => paused 0 +paused, suppression 1-1, order done
        27s t 7             => clear 1-1 unacked
        28s t 9             => raise 1-2
        29s resume 0        => resumed 0, remind 1-2, order done
        30s resume 0        => refused not_paused
        ",
    );
}

#[test]
pub(crate) fn a_pause_for_one_occurrence_ends_with_it() {
    check(
        &site(vec![with(high(T, 8.0, 0.0, 0, 0), Handling::default())]),
        "
        0s start 1
        1s t 9                   => raise 1-1
        2s pause 1-1 #1 500s once => paused 0 +paused, suppression 1-1, order done
        3s t 7                   => clear 1-1 unacked, pauseended 0
        4s t 9                   => raise 1-2
        ",
    );
}

#[test]
pub(crate) fn suppressed_by_design_is_judged_all_the_same() {
    let suppressed = Some(Program(vec![Op::TruthPoint(DOOR)]));
    check(
        &site(vec![with(high(T, 8.0, 0.0, 0, 0), Handling { suppressed, ..Handling::default() })]),
        "
        0s start 1
        1s door 1   => suppressedbydesign 0 +design
        2s t 9      => raise 1-1
        3s door -   =>
        4s door 0   => releasedbydesign 0, remind 1-1
        5s door 1   => suppressedbydesign 0 +design, suppression 1-1
        6s t 7      => clear 1-1 unacked
        7s door 0   => releasedbydesign 0
        ",
    );
}

#[test]
pub(crate) fn a_device_out_of_service_is_recorded_and_not_reminded() {
    check(
        &site(vec![with(high(T, 8.0, 0.0, 0, 0), Handling::default())]),
        "
        0s start 1
        1s out x 60s => refused unknown_device
        2s out b 60s => refused not_possible
        3s out a 60s => outofservice 0 +out, order done
        4s t 9       => raise 1-1
        5s back a    => backinservice 0, remind 1-1, order done
        6s back a    => refused not_out_of_service
        7s out a 60s => outofservice 0 +out, suppression 1-1, order done
        70s .        => 67s: backinservice 0, 67s: remind 1-1
        ",
    );
}

#[test]
fn two_causes_of_suppression_must_both_end() {
    check(
        &site(vec![with(high(T, 8.0, 0.0, 0, 0), Handling::default())]),
        "
        0s start 1
        1s t 9              => raise 1-1
        2s pause 1-1 #1 20s => paused 0 +paused, suppression 1-1, order done
        3s out a 60s        => outofservice 0 +paused +out, suppression 1-1, order done
        25s t 9             => 22s: pauseended 0 +out, 22s: suppression 1-1
        65s t 9             => 63s: backinservice 0, 63s: remind 1-1
        ",
    );
}

#[test]
pub(crate) fn three_times_in_a_minute_is_chatter_told_once_and_over_when_it_is_quiet() {
    let chatter = Some(ChatterPlan { activations: 3, within_ms: 60_000 });
    check(
        &site(vec![with(high(T, 8.0, 0.0, 0, 0), Handling { chatter, ..Handling::default() })]),
        "
        0s start 1
        1s t 9   => raise 1-1
        2s t 7   => clear 1-1 unacked
        3s t 9   => raise 1-2
        4s t 7   => clear 1-2 unacked
        5s t 9   => raise 1-3, chatter 1-3
        6s t 7   =>
        7s t 9   =>
        8s t 7   =>
        9s t 9   =>
        10s t 7  =>
        69s t 7  =>
        80s t 7  => 70s: clear 1-3 x2 unacked
        81s t 9  => raise 1-4
        ",
    );
}

fn first_for(after_s: i64, repeated: Option<(u32, i64)>) -> Handling {
    let escalate = EscalatePlan { after_ms: Some(after_s * 1000), repeated, ..EscalatePlan::default() };
    Handling { escalate: Some(escalate), ..Handling::default() }
}

#[test]
fn unsolved_when_the_window_ends_it_is_a_supervisors_item() {
    check(
        &site(vec![with(high(T, 8.0, 0.0, 0, 0), first_for(30, None))]),
        "
        0s start 1
        1s t 9        => raise 1-1
        20s t 7       => clear 1-1 unacked
        25s t 9       => raise 1-2
        26s ack 1-2 #1 => ack 1-2, order done
        50s t 9       =>
        60s t 9       => 55s: escalate 1-2
        99s t 9       =>
        ",
    );
}

#[test]
fn nobodys_turn_ends_while_it_is_suppressed() {
    let suppressed = Some(Program(vec![Op::TruthPoint(DOOR)]));
    check(
        &site(vec![with(high(T, 8.0, 0.0, 0, 0), Handling { suppressed, ..first_for(30, None) })]),
        "
        0s start 1
        0s door 0     =>
        1s t 9        => raise 1-1
        20s door 1    => suppressedbydesign 0 +design, suppression 1-1
        50s t 9       =>
        60s door 0    => releasedbydesign 0, remind 1-1, escalate 1-1
        70s t 7       => clear 1-1 unacked
        80s t 9       => raise 1-2
        85s door 1    => suppressedbydesign 0 +design, suppression 1-2
        90s door 0    => releasedbydesign 0, remind 1-2
        100s door 1   => suppressedbydesign 0 +design, suppression 1-2
        115s t 7      => clear 1-2 unacked
        120s door 0   => releasedbydesign 0
        ",
    );
}

#[test]
fn the_third_time_in_a_period_it_is_a_supervisors_item_at_once() {
    check(
        &site(vec![with(high(T, 8.0, 0.0, 0, 0), first_for(500, Some((3, 100_000))))]),
        "
        0s start 1
        1s t 9   => raise 1-1
        2s t 7   => clear 1-1 unacked
        30s t 9  => raise 1-2
        31s t 7  => clear 1-2 unacked
        110s t 9 => raise 1-3
        111s t 7 => clear 1-3 unacked
        120s t 9 => raise 1-4, escalate 1-4 Repeated
        ",
    );
}

fn without_door() -> Plan {
    let mut plan = cabinet();
    let ModulePlan::HeatCycle(module) = &mut plan.modules[0] else { panic!() };
    module.door = None;
    plan
}

#[test]
fn a_failed_load_that_is_used_is_worse_than_one_that_is_not() {
    let mut plan = without_door();
    let failed = RuleKind::CycleFailed { module: ModuleIx(0), settle_within_ms: 1_000_000 };
    let aggravate = Some(AggravatePlan { by: AggravatedBy::Visit, priority: Priority::Red, after_ms: None });
    plan.rules = site(vec![with(rule(failed), Handling { aggravate, ..first_for(600, None) })]).rules;
    check(
        &plan,
        "
        0s start 1
        2s t 20      =>
        20s visits 1 =>
        22s t 80     =>
        40s t 101    =>
        60s t 101    =>
        70s t 40     =>
        100s t 40    => cycle 1 TooShort hold 20s peak 101 101..101, raise 1-1
        110s visits 0 =>
        120s visits 2 => aggravate 1-1/1, escalate 1-1 Aggravated/1
        130s visits 2 =>
        ",
    );
}

#[test]
fn settled_in_time_it_never_reaches_a_supervisor() {
    let mut plan = without_door();
    let failed = RuleKind::CycleFailed { module: ModuleIx(0), settle_within_ms: 1_000_000 };
    plan.rules = site(vec![with(rule(failed), first_for(600, None))]).rules;
    check(
        &plan,
        "
        0s start 1
        2s t 20      =>
        22s t 80     =>
        40s t 101    =>
        70s t 40     =>
        100s t 40    => cycle 1 TooShort hold 0s peak 101 101..101, raise 1-1
        110s t 80    =>
        130s t 101   =>
        150s t 101   =>
        170s t 101   =>
        190s t 101   =>
        200s t 40    =>
        230s t 40    => cycle 2 Passed hold 60s peak 101 101..101, settle 1-1 unacked
        900s .       =>
        ",
    );
}

#[test]
fn nothing_is_provable_without_a_valid_calibration_and_a_known_date() {
    let until = CivilTime(100_000);
    let provable = Some(ProvablePlan { when: above(8.3), until });
    let mut plan = site(vec![with(high(T, 8.0, 0.0, 0, 0), Handling { provable, ..Handling::default() })]);
    plan.points[0].calibration =
        Some(Calibration { certificate: "c".into(), uncertainty: 0.3, until, ..Calibration::default() });
    check(
        &plan,
        "
        0s start 1
        1s t 9       => raise 1-1
        2s clock 0s  => provable 1-1!
        4s t 7       => clear 1-1! unacked
        5s t 8.2     => raise 1-2
        6s t 8.3     =>
        7s t 8.4     => provable 1-2!
        8s t 7       => clear 1-2! unacked
        101s t 9     => raise 1-3
        ",
    );
}

#[test]
fn in_a_trial_run_every_alert_says_so() {
    let mut plan = site(vec![with(high(T, 8.0, 0.0, 0, 0), Handling::default())]);
    plan.judging = Some(Judging { trial: true, ..Judging::default() });
    check(&plan, "0s start 1\n1s t 9 => raise 1-1 trial\n2s t 7 => clear 1-1 trial unacked");
}

#[test]
pub(crate) fn a_rule_that_the_site_switches_off_is_not_judged() {
    let on = site(vec![with(high(T, 8.0, 0.0, 0, 0), Handling::default())]);
    let off = site(vec![with(high(T, 8.0, 0.0, 0, 0), Handling { disabled: true, ..Handling::default() })]);
    check_across(
        &on,
        &off,
        "
        0s start 1
        1s t 9    => raise 1-1
        2s replan => 1s: disable 1-1 unacked
        3s start 2
        4s t 9    =>
        ",
    );
}

#[test]
fn a_rule_that_is_gone_leaves_no_wrong_slot_behind() {
    let before = site(vec![absent(DOOR, 500), high(T, 8.0, 0.0, 0, 0)]);
    let after = site(vec![absent(DOOR, 500)]);
    let mut engine = gateway_engine::Engine::new(before);
    let mut out = Vec::new();
    for line in ["0s start 1", "1s t 9"] {
        engine.step(&crate::rig::play(line), &mut out);
    }
    let (_, superseded) = gateway_engine::Engine::restore(after, engine.save()).unwrap();
    let gateway_model::ConclusionBody::Alert(change) = &superseded[0].body else { panic!() };
    assert_eq!((superseded.len(), change.rule), (1, None));
}

/// Open on the first day of 1970, a Thursday, from 00:10 to 00:20 UTC and at no other time; off until 00:05.
fn opening() -> Judging {
    let day = 3 * 1440;
    let calendar = CalendarPlan {
        offsets: vec![(CivilTime(0), 0)],
        open: vec![(day + 10, day + 20), (day + 30, day + 40)],
        off: vec![(day, day + 5)],
        ..CalendarPlan::default()
    };
    Judging { calendar: Some(calendar), ..Judging::default() }
}

fn asleep_outside(rules: Vec<RulePlan>) -> Plan {
    Plan { judging: Some(opening()), ..site(rules) }
}

#[test]
fn silence_counts_only_while_the_institution_is_open() {
    let sleeps = Handling { sleeps: true, ..Handling::default() };
    check(
        &asleep_outside(vec![with(absent(T, 900), sleeps)]),
        "
        0s start 1
        1s clock 0s => suppressedbydesign 0 +design
        300s t 5    =>
        1300s .     => 600s: releasedbydesign 0, 1200s: suppressedbydesign 0 +design
        2200s .     => 1800s: releasedbydesign 0, 2100s: raise 1-1
        2410s .     => 2400s: suppressedbydesign 0 +design, 2400s: suppression 1-1
        2500s t 5   => clear 1-1 unacked
        ",
    );
}

#[test]
fn while_civil_time_is_unknown_silence_is_not_counted_and_the_clock_is_the_cause() {
    let sleeps = Handling { sleeps: true, ..Handling::default() };
    let clock = rule(RuleKind::ClockUnevaluable { after_ms: 60_000 });
    check(
        &asleep_outside(vec![with(absent(T, 100), sleeps), clock]),
        "
        0s start 1
        700s .        => 60s: raise 1-1
        710s clock 0s => clear 1-1 unacked
        820s .        => 810s: raise 1-2
        900s clock ?  =>
        961s .        => 960s: raise 1-3
        ",
    );
}

#[test]
fn a_declared_closure_puts_to_sleep_and_moves_the_window_of_whoever_is_first() {
    let escalate = Some(EscalatePlan { after_ms: Some(300_000), open_time: true, ..EscalatePlan::default() });
    check(
        &asleep_outside(vec![with(high(T, 8.0, 0.0, 0, 0), Handling { escalate, ..Handling::default() })]),
        "
        0s start 1
        1s closed 600s 1000s   => refused clock_unknown
        2s clock 0s            =>
        3s t 9                 => raise 1-1
        10s closed 600s 1000s  => order done
        11s closed 600s 5s     => refused out_of_range
        950s t 9               =>
        1899s t 9              =>
        2000s t 9              => 1900s: escalate 1-1
        ",
    );
}

/// Thursday 1970-01-01 and each Monday and Thursday after it, from minute 10 to minute 100.
fn twice_a_week(ends: WindowEnd) -> Plan {
    let day = |n: u16| (n * 1440 + 10, n * 1440 + 100);
    let calendar = CalendarPlan {
        offsets: vec![(CivilTime(0), 0)],
        open: vec![day(0), day(3)],
        ..CalendarPlan::default()
    };
    let escalate = Some(EscalatePlan { after_ms: Some(60_000), ends: Some(ends), ..EscalatePlan::default() });
    let rules = vec![with(high(T, 8.0, 0.0, 0, 0), Handling { escalate, ..Handling::default() })];
    Plan { judging: Some(Judging { calendar: Some(calendar), ..Judging::default() }), ..site(rules) }
}

#[test]
fn a_window_ends_with_the_day_over_a_weekend_a_closure_and_a_restart() {
    check(
        &twice_a_week(WindowEnd::Day),
        "
        0s start 1
        2s clock 0s                 =>
        3s t 9                      => raise 1-1
        100s start 2 after 5s        =>
        101s clock 0s               =>
        5999s t 9                   =>
        6000s t 9                   => escalate 1-1
        6010s t 7                   => clear 1-1 unacked
        6020s t 9                   => raise 2-1
        6030s closed 345600s 400000s => order done
        351700s t 9                 =>
        610799s t 9                 =>
        610800s t 9                 => escalate 2-1
        ",
    );
}

#[test]
fn working_days_are_days_on_which_the_institution_opens() {
    check(
        &twice_a_week(WindowEnd::WorkingDays(2)),
        "
        0s start 1
        2s clock 0s                 =>
        3s t 9                      => raise 1-1
        10s closed 345600s 400000s  => order done
        610801s t 9                 =>
        700000s start 2 after 5s     =>
        700001s clock 0s            =>
        956400s t 9                 => escalate 1-1
        ",
    );
}

/// Without civil time the time of the plan counts; once it is known the day does.
#[test]
fn without_civil_time_a_window_of_days_is_a_span_of_time() {
    check(
        &twice_a_week(WindowEnd::Day),
        "
        0s start 1
        3s t 9       => raise 1-1
        63s t 9      => escalate 1-1
        64s t 7      => clear 1-1 unacked
        70s t 9      => raise 1-2
        80s clock 0s =>
        5999s t 9    =>
        6000s t 9    => escalate 1-2
        ",
    );
}

#[test]
pub(crate) fn a_clock_that_steps_moves_no_delay() {
    check(
        &site(vec![high(T, 8.0, 0.0, 20, 0)]),
        "
        0s start 1
        1s clock 100s  =>
        2s t 9         =>
        3s clock -900s =>
        23s t 9        => 22s: raise 1-1
        ",
    );
}

/// OPC UA Part 9, Annex B.1.3: acknowledge with branches. *Confirm* is the center's (a case verified and
/// approved), so the gateway's sequence is active, acknowledged, inactive, active, inactive (branch #1 for the
/// occurrence nobody has acknowledged), active again on the trunk, inactive, branch #1 acknowledged, trunk
/// acknowledged: each occurrence its own, each acknowledged by its own event, in any order.
#[test]
pub(crate) fn the_sequence_of_opc_ua_part_9_annex_b_1_3() {
    check(
        &site(vec![high(T, 8.0, 0.0, 0, 0)]),
        "
        0s start 1
        1s t 9         => raise 1-1
        2s ack 1-1 #1  => ack 1-1, order done
        3s t 7         => clear 1-1
        4s t 9         => raise 1-2
        5s t 7         => clear 1-2 unacked
        6s t 9         => raise 1-3
        7s ack 1-2 #1  => refused stale
        8s ack 1-2 #2  => ack 1-2, order done
        9s ack 1-2 #3  => refused unknown_alert
        10s t 7        => clear 1-3 unacked
        11s t 9        => raise 1-4
        12s t 7        => clear 1-4 unacked
        13s ack 1-3 #2 => ack 1-3, order done
        14s ack 1-4 #2 => ack 1-4, order done
        15s ack 1-1 #3 => refused unknown_alert
        ",
    );
}
