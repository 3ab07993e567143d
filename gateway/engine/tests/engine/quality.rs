//! Design §6 and T21, T22: no data is not normal; "cannot be judged" per device and per bus.

use gateway_model::{DeviceIx, Op, Program, RuleKind, RulePlan};

use crate::rig::{DOOR, T, U, bus_blind, check, device_blind, high, rule, site};

#[test]
pub(crate) fn silence_and_bad_values_never_clear_an_alert() {
    check(
        &site(vec![high(T, 8.0, 0.0, 0, 0)]),
        "
        0s   start 1
        10s  t 9.0          => raise 1-1
        20s  t -            => quality 1-1 bad
        500s t -
        510s t 9.0          => quality 1-1
        540s .              => quality 1-1 stale
        900s t 7.0          => quality 1-1, clear 1-1 unacked
        ",
    );
}

#[test]
pub(crate) fn delays_stand_still_while_the_value_is_not_good_and_start_anew() {
    check(
        &site(vec![high(T, 8.0, 0.0, 25, 25)]),
        "
        0s   start 1
        10s  t 9.0
        20s  t -
        36s  .
        40s  t 9.0
        64s  t 9.0
        65s  .              => raise 1-1
        70s  t 7.0
        80s  t -            => quality 1-1 bad
        96s  .
        100s t 7.0          => quality 1-1
        124s t 7.0
        125s .              => clear 1-1 unacked
        ",
    );
}

#[test]
fn a_delay_that_ends_when_the_value_turns_stale_does_not_count() {
    check(
        &site(vec![high(T, 8.0, 0.0, 30, 30)]),
        "
        0s   start 1
        10s  t 9.0
        40s  .
        50s  t 9.0
        70s  t 9.0
        81s  .              => 80s: raise 1-1
        90s  t 7.0
        120s .              => quality 1-1 stale
        ",
    );
}

#[test]
fn uncertain_because_of_the_clock_is_good_for_limits() {
    check(
        &site(vec![high(T, 8.0, 0.0, 0, 0)]),
        "
        0s   start 1
        10s  t ~clock 9.0   => raise 1-1
        20s  t ~clock 7.0   => clear 1-1 unacked
        ",
    );
}

#[test]
fn a_held_value_is_good_until_its_age_counted_from_the_last_one_that_was_not_held() {
    check(
        &site(vec![high(T, 8.0, 0.0, 0, 0)]),
        "
        0s   start 1
        10s  t 9.0          => raise 1-1
        20s  t ~held 9.0
        30s  t ~held 9.0
        40s  t ~held 7.0    => quality 1-1 stale
        50s  t 7.0          => quality 1-1, clear 1-1 unacked
        ",
    );
}

#[test]
fn a_held_value_is_enough_to_begin_with() {
    check(
        &site(vec![high(T, 8.0, 0.0, 0, 0)]),
        "
        0s   start 1
        10s  t ~held 9.0    => raise 1-1
        39s  t ~held 9.0
        41s  .              => 40s: quality 1-1 stale
        ",
    );
}

#[test]
fn a_stale_mark_says_what_age_says_and_does_not_make_a_genuine_answer_late() {
    check(
        &site(vec![high(T, 8.0, 0.0, 0, 0)]),
        "
        0s    start 1
        10s   t 9.0                 => raise 1-1
        40.1s t ~stale 9.0 @40s     => 40s: quality 1-1 stale
        40.2s t 7.0 @39.9s          => 40s: quality 1-1, 40s: clear 1-1 unacked
        ",
    );
}

fn hot_and_open() -> RulePlan {
    rule(RuleKind::Condition {
        when: Program(vec![Op::Point(T), Op::Number(8.0), Op::Greater, Op::TruthPoint(DOOR), Op::And]),
        returned: None,
        on_delay_ms: 0,
        off_delay_ms: 0,
        shown: Some(T),
        limit: Some(8.0),
    })
}

#[test]
fn an_unknown_operand_counts_only_where_it_decides() {
    check(
        &site(vec![hot_and_open()]),
        "
        0s   start 1
        1s   door 1
        2s   t 9.0          => raise 1-1
        3s   door -         => quality 1-1 unevaluable
        4s   t 7.0          => quality 1-1, clear 1-1 unacked
        5s   t 9.0
        6s   door 0
        7s   door 1         => raise 1-2
        8s   t -            => quality 1-2 unevaluable
        9s   door -         => quality 1-2 bad
        10s  door 0         => quality 1-2, clear 1-2 unacked
        ",
    );
}

#[test]
fn values_of_one_request_turn_stale_in_one_step() {
    check(
        &site(vec![hot_and_open()]),
        "
        0s   start 1
        1s   door 1
        1s   t 9.0          => raise 1-1
        40s  .              => 31s: quality 1-1 stale
        ",
    );
}

#[test]
fn a_device_that_cannot_be_judged_is_one_alert_whatever_number_of_rules_it_has() {
    check(
        &site(vec![high(T, 8.0, 0.0, 0, 0), hot_and_open(), device_blind(0, 60)]),
        "
        0s   start 1
        1s   t 7.0
        2s   door 0
        10s  t -
        11s  door -
        60s  t -
        70s  .              => raise 1-1
        80s  t 7.0
        90s  door 0         => clear 1-1 unacked
        100s door -
        110s door 0
        111s t 7.0
        120s .
        ",
    );
}

#[test]
fn points_never_seen_are_bad_from_the_start() {
    check(
        &site(vec![high(T, 8.0, 0.0, 0, 0), device_blind(0, 60)]),
        "
        0s   start 1
        59s  .
        61s  .              => 60s: raise 1-1
        62s  t 7.0          => clear 1-1 unacked
        ",
    );
}

fn two_devices(rules: Vec<RulePlan>) -> Vec<RulePlan> {
    let on_b = RulePlan { subject: DeviceIx(1), ..high(U, 8.0, 0.0, 0, 0) };
    [vec![high(T, 8.0, 0.0, 0, 0), on_b], rules].concat()
}

#[test]
fn when_the_whole_bus_is_silent_one_alert_stands_for_all_its_devices() {
    check(
        &site(two_devices(vec![device_blind(0, 60), device_blind(1, 60), bus_blind(0, 60)])),
        "
        0s   start 1
        1s   t 7.0
        2s   u 7.0
        10s  t -
        15s  u -
        74s  .
        75s  .              => raise 1-1
        200s .
        210s u 7.0          => clear 1-1 unacked
        220s u 7.0
        240s u 7.0
        260s u 7.0
        269s .
        270s .              => raise 1-2
        280s t 7.0          => clear 1-2 unacked
        ",
    );
}

#[test]
fn a_device_alert_that_stood_before_is_folded_into_the_bus() {
    check(
        &site(two_devices(vec![device_blind(0, 60), device_blind(1, 60), bus_blind(0, 60)])),
        "
        0s   start 1
        1s   t -
        5s   u 7.0
        25s  u 7.0
        45s  u 7.0
        60s  .              => raise 1-1
        65s  u -
        125s .              => raise 1-2, supersede 1-1 unacked
        130s u 7.0          => clear 1-2 unacked
        150s u 7.0
        170s u 7.0
        189s u 7.0
        190s .              => raise 1-3
        ",
    );
}

#[test]
fn without_a_rule_for_the_bus_devices_speak_for_themselves() {
    check(
        &site(two_devices(vec![device_blind(0, 60), device_blind(1, 60)])),
        "
        0s   start 1
        60s  .              => raise 1-1, raise 1-2
        ",
    );
}
