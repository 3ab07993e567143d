//! Windows and modules, seen through the conditions that read them.

use gateway_model::{
    CalendarPlan, CivilTime, Counted, DeviceIx, DosePlan, DutyPlan, HeatCriteria, HeatProbes, Judging,
    ModuleEvent, ModuleIx, ModulePlan, Op, Plan, Program, RatioPlan, RuleKind, RulePlan, RunPlan, WastePlan,
    WindowFunction, WindowPlan,
};

use crate::rig::{T, U, cabinet, check, rule, site};

fn condition(ops: Vec<Op>) -> RulePlan {
    rule(RuleKind::Condition {
        when: Program(ops),
        returned: None,
        on_delay_ms: 0,
        off_delay_ms: 0,
        shown: None,
        limit: None,
    })
}

fn window(function: WindowFunction, limit: f64) -> Plan {
    let ask = Op::Window { window: 0, point: T, function };
    let mut plan = site(vec![condition(vec![ask, Op::Number(limit), Op::Greater])]);
    plan.points[0].max_age_ms = 40_000;
    plan.judging =
        Some(Judging { windows: vec![WindowPlan { point: T, span_ms: 60_000 }], ..Judging::default() });
    plan
}

fn output(module: ModulePlan, output: u8, limit: f64) -> Plan {
    let ask = Op::Output { module: ModuleIx(0), output };
    let mut plan = site(vec![condition(vec![ask, Op::Number(limit), Op::GreaterOrEqual])]);
    plan.modules = vec![module];
    plan
}

#[test]
fn a_mean_over_time_moves_without_a_reading() {
    check(
        &window(WindowFunction::Average, 10.0),
        "
        0s start 1
        0s t 5    =>
        30s t 5   =>
        60s t 20  =>
        90s t 20  => 81s: raise 1-1
        100s t 5  =>
        130s t 5  =>
        150s t 5  => 140s: clear 1-1 unacked
        ",
    );
}

#[test]
fn too_little_of_a_window_is_known_to_say_anything() {
    check(
        &window(WindowFunction::Maximum, 10.0),
        "
        0s start 1
        0s t 20   =>
        30s t 20  =>
        60s t 20  => raise 1-1
        70s t -   =>
        90s t 5   => 83s: quality 1-1 bad, quality 1-1 unevaluable
        120s t 20 =>
        150s t 20 => 138s: quality 1-1
        200s start 2 after ? => gap 1-1, quality 1-1 stale
        201s t 5  => quality 1-1 unevaluable
        230s t 5  =>
        261s t 5  => 260s: quality 1-1, 260s: clear 1-1 unacked
        ",
    );
}

#[test]
fn the_last_known_number_and_its_age_outlive_a_broken_probe() {
    check(
        &window(WindowFunction::Last, 10.0),
        "
        0s start 1
        5s t 20  => raise 1-1
        10s t -  =>
        80s t -  => 66s: quality 1-1 bad
        ",
    );
    check(
        &window(WindowFunction::Age, 30_000.0),
        "
        0s start 1
        5s t 20  =>
        10s t -  =>
        50s t -  => 36s: raise 1-1
        60s t 20 => clear 1-1 unacked
        ",
    );
}

#[test]
fn lamp_hours_add_up_over_sessions() {
    let dose = DosePlan { device: DeviceIx(0), irradiance: T, lit: 15.0, warm_up_ms: 0, gap_ms: 30_000 };
    check(
        &output(ModulePlan::Dose(dose), DosePlan::HOURS, 60.0 / 3600.0),
        "
        0s start 1
        0s t 80
        20s t 80
        40s t 0
        60s t 0
        80s t 80
        99s t 80
        110s t 80 => raise 1-1
        ",
    );
}

#[test]
fn a_machine_that_was_switched_on_twice_has_started_twice() {
    let run = RunPlan { device: DeviceIx(0), power: T, running: 50.0, gap_ms: 30_000 };
    check(
        &output(ModulePlan::Run(run), RunPlan::STARTS, 2.0),
        "
        0s start 1
        0s t 80
        20s t 1
        40s t 80  => raise 1-1
        ",
    );
}

#[test]
fn a_new_lamp_begins_at_no_hours_and_a_new_probe_goes_on() {
    let lamp = |device| {
        let dose = DosePlan { device, irradiance: T, lit: 15.0, warm_up_ms: 0, gap_ms: 30_000 };
        output(ModulePlan::Dose(dose), DosePlan::HOURS, 60.0 / 3600.0)
    };
    check(
        &lamp(DeviceIx(2)),
        "
        0s start 1
        0s t 80
        20s t 80
        40s t 80
        60s t 80  => raise 1-1
        61s replaced kept   =>
        70s t 80  =>
        75s replaced reset  => clear 1-1 unacked
        80s t 80  =>
        100s t 80 =>
        120s t 80 =>
        139s t 80 =>
        140s t 80 => raise 1-2
        ",
    );
    // The lamp of another device goes on.
    check(
        &lamp(DeviceIx(0)),
        "
        0s start 1
        0s t 80
        20s t 80
        40s t 80
        50s replaced reset  =>
        60s t 80  => raise 1-1
        ",
    );
}

#[test]
fn a_new_machine_begins_at_no_starts() {
    let run = RunPlan { device: DeviceIx(2), power: T, running: 50.0, gap_ms: 30_000 };
    check(
        &output(ModulePlan::Run(run), RunPlan::STARTS, 2.0),
        "
        0s start 1
        0s t 80
        20s t 1
        30s replaced reset  =>
        40s t 80  =>
        50s t 1   =>
        60s t 80  => raise 1-1
        ",
    );
}

#[test]
fn a_duty_is_overdue_when_its_time_has_passed_and_done_when_somebody_says_so() {
    let duty =
        DutyPlan { device: DeviceIx(2), duty: "bowie-dick".into(), every_ms: 1_000_000, open_time: false };
    let mut plan = output(ModulePlan::Duty(duty), DutyPlan::OVERDUE_MS, 0.0);
    let failed = RuleKind::Event { module: ModuleIx(0), event: ModuleEvent::DutyFailed, lapses_ms: 500_000 };
    plan.rules.push(RulePlan { id: "pack/failed".into(), ..rule(failed) });
    check(
        &plan,
        "
        0s start 1
        1100s .                    => 1000s: raise 1-1
        1200s done cleaning good   =>
        1300s done bowie-dick good => clear 1-1 unacked
        1400s done bowie-dick bad  => raise 1-2
        2400s .                    => 1900s: lapse 1-2 unacked, raise 1-3
        ",
    );
}

#[test]
fn a_ratio_speaks_about_whole_days_once_it_has_seen_them() {
    let ratio = RatioPlan {
        device: DeviceIx(2),
        of: Counted::Visits,
        to: Counted::HandpiecesPacked,
        days: 1,
        at_least: 4.0,
    };
    let mut plan = output(ModulePlan::Ratio(ratio), RatioPlan::RATIO, 2.0);
    let calendar = CalendarPlan { offsets: vec![(CivilTime(0), 0)], ..CalendarPlan::default() };
    plan.judging = Some(Judging { calendar: Some(calendar), ..Judging::default() });
    check(
        &plan,
        "
        0s start 1
        1s visits 90     =>
        2s clock 0s      =>
        3s visits 40     =>
        4s packed 4      =>
        90000s visits 10 =>
        90001s packed 5  =>
        173000s .        => 172800s: raise 1-1
        260000s .        => 259200s: quality 1-1 unevaluable
        ",
    );
}

#[test]
fn the_ledger_says_how_old_the_oldest_bag_is_and_what_does_not_add_up() {
    let waste =
        WastePlan { feed: DeviceIx(2), tolerance_g: 500, tolerance_permille: 30, ..WastePlan::default() };
    let mut plan = output(ModulePlan::Waste(waste), WastePlan::OLDEST_MS, 1_000_000.0);
    for (n, event) in
        (1..).zip([ModuleEvent::WeightDiffers, ModuleEvent::DuplicateLabel, ModuleEvent::UnknownLabel])
    {
        let kind = RuleKind::Event { module: ModuleIx(0), event, lapses_ms: 100_000_000 };
        plan.rules.push(RulePlan { id: format!("pack/{n}"), ..rule(kind) });
    }
    check(
        &plan,
        "
        0s start 1
        100s bag a 3000       =>
        200s bag a 3000       => raise 1-1
        400s bag b 1000       =>
        1300s .               => 1120s: raise 1-2
        1310s handover a 3600 => raise 1-3, clear 1-2 unacked
        1320s handover x 1000 => raise 1-4
        ",
    );
}

#[test]
fn a_cycle_must_show_what_its_program_asks_for() {
    let with = |criteria| {
        let mut plan = cabinet();
        let ModulePlan::HeatCycle(module) = &mut plan.modules[0] else { panic!() };
        module.program.criteria = Some(criteria);
        module.door = None;
        module.probes = Some(HeatProbes { others: vec![U], pressure: None });
        plan
    };
    let curve = |second: &str, outcome: &str| {
        format!(
            "
            0s start 1
            2s t 20
            22s t 80
            40s u {second}
            41s t 101
            60s u {second}
            61s t 101
            80s u {second}
            81s t 101
            100s u {second}
            101s t 101
            110s t 40
            140s t 40 => cycle 1 {outcome} hold 60s peak 101 101..101{}",
            if outcome == "Passed" || outcome == "NotMeasured" { "" } else { ", raise 1-1" }
        )
    };
    let spread = HeatCriteria { spread_k: Some(2.0), ..HeatCriteria::default() };
    check(&with(spread), &curve("99.5", "Passed"));
    check(&with(spread), &curve("98.5", "Uneven"));
    check(&with(spread), &curve("-", "NotMeasured"));
    // 60 s at 101 °C are A0 = 7,553 s.
    let a0 = |least| HeatCriteria { a0_s: Some(least), ..HeatCriteria::default() };
    check(&with(a0(7_500.0)), &curve("101", "Passed"));
    check(&with(a0(7_700.0)), &curve("101", "TooWeak"));
}
