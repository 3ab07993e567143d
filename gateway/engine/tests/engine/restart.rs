//! T19, T20, T23: what a restart and a change of rules do.

use gateway_engine::{Engine, RestoreError};
use gateway_model::{Plan, SEMANTICS, State};

use crate::rig::{M, T, U, absent, bus_blind, cabinet, check, check_across, device_blind, high, site};

#[test]
pub(crate) fn an_active_alert_survives_a_restart_and_alerts_are_numbered_anew() {
    check(
        &site(vec![high(T, 8.0, 0.0, 0, 0)]),
        "
        0s   start 1
        10s  t 9.0              => raise 1-1
        15s  start 2 after 5s
        20s  t 7.0              => clear 1-1 unacked
        21s  t 9.0              => raise 2-1
        22s  ack 1-1 #2         => ack 1-1, order done
        ",
    );
}

#[test]
pub(crate) fn after_a_long_break_an_active_alert_has_a_gap_and_its_value_is_stale() {
    check(
        &site(vec![high(T, 8.0, 0.0, 0, 0)]),
        "
        0s   start 1
        10s  t 9.0              => raise 1-1
        100s start 2 after 85s  => gap 1-1, quality 1-1 stale
        101s t 9.0              => quality 1-1
        ",
    );
}

#[test]
fn a_break_of_unknown_length_counts_as_long() {
    check(
        &site(vec![high(M, 8.0, 0.0, 60, 0), high(M, 20.0, 0.0, 0, 0)]),
        "
        0s   start 1
        10s  m 25               => raise 1-1
        20s  start 2 after ?    => gap 1-1
        79s  .
        80s  .                  => raise 2-1
        ",
    );
}

#[test]
pub(crate) fn a_pending_alert_goes_on_after_a_short_break_and_starts_anew_after_a_long_one() {
    let plan = site(vec![high(M, 8.0, 0.0, 100, 0)]);
    check(
        &plan,
        "
        0s   start 1
        10s  m 9.0
        60s  start 2 after 60s
        109s .
        110s .                  => raise 2-1
        ",
    );
    check(
        &plan,
        "
        0s   start 1
        10s  m 9.0
        90s  start 2 after 61s
        189s .
        190s .                  => raise 2-1
        ",
    );
}

#[test]
fn a_delay_that_ended_in_a_short_break_ends_at_the_start() {
    check(
        &site(vec![high(M, 8.0, 0.0, 20, 20)]),
        "
        0s   start 1
        10s  m 9.0
        40s  start 2 after 25s
        41s  .                  => 40s: raise 2-1
        50s  m 7.0
        100s start 3 after 45s
        100s .                  => clear 2-1 unacked
        ",
    );
}

#[test]
fn nothing_fires_in_the_time_in_which_nobody_watched() {
    check(
        &site(vec![high(T, 8.0, 0.0, 0, 0), absent(T, 60), absent(M, 60), device_blind(0, 60)]),
        "
        0s    start 1
        10s   t 7.0
        1000s start 2 after 985s
        1059s .
        1060s .                 => raise 2-1, raise 2-2, raise 2-3
        ",
    );
}

#[test]
fn silence_is_not_held_against_anybody_while_the_gateway_was_away_for_a_moment() {
    check(
        &site(vec![absent(M, 300)]),
        "
        0s   start 1
        299s start 2 after 10s
        358s .
        359s .                  => raise 2-1
        ",
    );
}

#[test]
fn a_raised_absence_stays_raised_across_a_restart() {
    check(
        &site(vec![absent(M, 60)]),
        "
        0s    start 1
        60s   .                 => raise 1-1
        1000s start 2 after 900s => gap 1-1
        2000s .
        2001s m 1.0             => clear 1-1 unacked
        ",
    );
}

#[test]
fn a_silent_bus_stays_one_alert_across_a_restart() {
    let mut on_b = high(U, 8.0, 0.0, 0, 0);
    on_b.subject = gateway_model::DeviceIx(1);
    check(
        &site(vec![
            high(T, 8.0, 0.0, 0, 0),
            on_b,
            device_blind(0, 60),
            device_blind(1, 60),
            bus_blind(0, 60),
        ]),
        "
        0s   start 1
        60s  .                  => raise 1-1
        500s start 2 after 400s => gap 1-1
        900s .
        901s t 7.0              => clear 1-1 unacked
        911s t 7.0
        931s t 7.0
        951s t 7.0
        961s .                  => raise 2-1
        ",
    );
}

/// The same cycle with and without a kill in the middle of its hold.
#[test]
fn a_kill_in_mid_hold_changes_neither_cycle_nor_verdict() {
    let cycle = |kill: &str, ends: &str| {
        check(
            &cabinet(),
            &format!(
                "
                0s   start 1
                0s   door 0
                0s   t 20
                10s  t 60
                20s  door 0
                20s  t 100
                30s  t 100
                40s  door 0
                40s  t 100
                {kill}
                75s  door 0
                75s  t 100
                85s  t 100
                95s  door 0
                95s  t 45
                125s .           => {ends}
                "
            ),
        );
    };
    cycle(
        "50s  t 100
         60s  door 0
         60s  t 100",
        "cycle 1 Passed hold 65s peak 100 100..100",
    );
    cycle("72s  start 2 after 32s", "cycle 1 Passed hold 65s peak 100 100..100 unseen 35s");
}

#[test]
fn a_long_downtime_in_mid_hold_waits_for_the_first_reading_before_it_gives_up() {
    check(
        &cabinet(),
        "
        0s    start 1
        0s    door 0
        0s    t 20
        10s   t 60
        20s   door 0
        20s   t 100
        30s   t 100
        1000s start 2 after 970s
        1030s door 0
        1030s t 20
        1060s .           => cycle 1 NotMeasured hold 10s peak 100 100..100 unseen 1000s
        ",
    );
}

#[test]
pub(crate) fn a_changed_rule_ends_its_alerts_as_superseded_and_is_looked_at_anew() {
    let (old, new) = (site(vec![high(M, 8.0, 0.0, 0, 0)]), site(vec![high(M, 5.0, 0.0, 0, 0)]));
    check_across(
        &old,
        &new,
        "
        0s   start 1
        10s  m 9.0              => raise 1-1
        20s  replan             => 10s: supersede 1-1 unacked
        20s  start 2 after 5s   => raise 2-1
        30s  ack 1-1 #2         => ack 1-1, order done
        ",
    );
}

#[test]
fn slots_may_move_and_texts_may_change_without_superseding() {
    let old = site(vec![high(M, 8.0, 0.0, 0, 0), absent(M, 60)]);
    let mut new = old.clone();
    new.rules.reverse();
    new.rules[1].text.sentence.en = "Too warm.".into();
    new.rules[1].priority = gateway_model::Priority::Red;
    check_across(
        &old,
        &new,
        "
        0s   start 1
        10s  m 9.0              => raise 1-1
        20s  replan
        20s  start 2 after 5s
        30s  m 7.0              => clear 1-1 unacked
        90s  .                  => raise 2-1
        ",
    );
}

#[test]
fn a_rule_that_is_gone_ends_its_alerts() {
    let old = site(vec![high(M, 8.0, 0.0, 0, 0)]);
    let new = Plan { rules: vec![], ..old.clone() };
    check_across(
        &old,
        &new,
        "
        0s   start 1
        10s  m 9.0              => raise 1-1
        20s  replan             => 10s: supersede 1-1 unacked
        20s  start 2 after 5s
        30s  ack 1-1 #2         => refused unknown_alert
        ",
    );
}

#[test]
fn a_state_of_unknown_semantics_is_not_taken_over() {
    let state = State { semantics: SEMANTICS + 1, ..State::default() };
    let refused = Engine::restore(site(vec![]), state).map(|_| ());
    assert_eq!(refused, Err(RestoreError::UnknownSemantics(SEMANTICS + 1)));
}
