//! The transitions T1–T26 of `alerts.md` §1.1, each with the timelines that show it. The table is run as it stands: a number that
//! loses its timeline is missed here.

use gateway_engine::Engine;

use crate::rig::{T, check, high, play, site, with};
use crate::{conditions, events, handling, quality, restart};

/// Number, what the table says of it, and the timeline.
type Row = (u8, &'static str, fn());

const TABLE: &[Row] = &[
    (
        1,
        "condition true: the on-delay begins",
        conditions::the_on_delay_runs_by_itself_and_a_fleeting_violation_never_leaves_the_gateway,
    ),
    (1, "no on-delay: raised at once", conditions::no_delay_raises_and_clears_at_once),
    (
        2,
        "on-delay over: raised, with an id of its own",
        conditions::the_on_delay_runs_by_itself_and_a_fleeting_violation_never_leaves_the_gateway,
    ),
    (
        2,
        "timers fire by themselves",
        conditions::timers_due_at_the_same_moment_fire_in_the_order_of_their_rules,
    ),
    (3, "fleeting: counted, never told", what_was_fleeting_is_counted_and_not_told),
    (
        4,
        "beyond the deadband: the off-delay begins",
        conditions::the_deadband_keeps_an_alert_up_but_does_not_stop_a_running_off_delay,
    ),
    (
        5,
        "back within the off-delay: the same occurrence",
        conditions::back_within_the_off_delay_is_the_same_occurrence,
    ),
    (5, "and counted", what_came_back_is_counted),
    (6, "off-delay over: cleared, acknowledged or not", conditions::acknowledging_needs_the_last_event_seen),
    (7, "latched: cleared and still listed", conditions::a_latching_alert_says_so_and_stays_listed),
    (8, "acknowledged by its last event only", conditions::acknowledging_needs_the_last_event_seen),
    (
        9,
        "reset only when over and acknowledged",
        handling::a_latched_alert_stays_listed_until_it_is_over_received_and_reset,
    ),
    (
        10,
        "a higher step asks again",
        handling::a_higher_step_asks_for_attention_again_and_a_lower_one_does_not,
    ),
    (11, "a lower step does not", handling::a_higher_step_asks_for_attention_again_and_a_lower_one_does_not),
    (12, "reminded while active", handling::what_is_active_is_brought_to_mind_again),
    (13, "a branch for what nobody acknowledged", handling::the_sequence_of_opc_ua_part_9_annex_b_1_3),
    (
        13,
        "as many as are remembered",
        conditions::a_rule_remembers_a_bounded_number_of_unacknowledged_occurrences,
    ),
    (
        14,
        "paused for a time, at most so long",
        handling::a_pause_ends_by_itself_and_what_is_active_then_asks_anew,
    ),
    (15, "paused for one occurrence", handling::a_pause_for_one_occurrence_ends_with_it),
    (16, "the end of a pause asks anew", handling::a_pause_ends_by_itself_and_what_is_active_then_asks_anew),
    (16, "but not for what is over", the_end_of_a_pause_asks_for_nothing_that_is_over),
    (17, "suppressed by design, judged all the same", handling::suppressed_by_design_is_judged_all_the_same),
    (17, "events too", events::an_event_is_suppressed_by_design_as_soon_as_its_condition_says_so),
    (18, "out of service under a permit", handling::a_device_out_of_service_is_recorded_and_not_reminded),
    (19, "a restart goes on", restart::an_active_alert_survives_a_restart_and_alerts_are_numbered_anew),
    (19, "and so does a pause", a_pause_goes_on_after_a_restart_and_ends_when_it_would_have),
    (
        20,
        "a long break: pending begins anew, active has a gap",
        restart::after_a_long_break_an_active_alert_has_a_gap_and_its_value_is_stale,
    ),
    (20, "pending", restart::a_pending_alert_goes_on_after_a_short_break_and_starts_anew_after_a_long_one),
    (21, "bad or stale freezes and never clears", quality::silence_and_bad_values_never_clear_an_alert),
    (21, "delays stand still", quality::delays_stand_still_while_the_value_is_not_good_and_start_anew),
    (22, "good again: judged, on the time of events", quality::silence_and_bad_values_never_clear_an_alert),
    (
        22,
        "an older reading is never judged",
        conditions::an_older_stamp_is_eaten_at_the_current_time_and_an_older_reading_is_never_judged,
    ),
    (
        23,
        "another rule: superseded",
        restart::a_changed_rule_ends_its_alerts_as_superseded_and_is_looked_at_anew,
    ),
    (24, "switched off: disabled", handling::a_rule_that_the_site_switches_off_is_not_judged),
    (25, "a clock that steps moves no delay", handling::a_clock_that_steps_moves_no_delay),
    (
        26,
        "three times in a minute is chatter, told once",
        handling::three_times_in_a_minute_is_chatter_told_once_and_over_when_it_is_quiet,
    ),
];

#[test]
fn every_transition_of_the_table_has_a_timeline() {
    let mut numbers: Vec<u8> = TABLE.iter().map(|(number, ..)| *number).collect();
    numbers.dedup();
    assert_eq!(numbers, (1..=26).collect::<Vec<u8>>(), "in the order of the table, none without");
    for (number, says, timeline) in TABLE {
        println!("T{number}: {says}");
        timeline();
    }
}

/// Fleeting, and recurrences of the occurrence that is open, of the only rule after these lines.
fn counters(on_s: i64, off_s: i64, lines: &[&str]) -> (u32, u32) {
    let mut engine = Engine::new(site(vec![high(T, 8.0, 0.0, on_s, off_s)]));
    let mut out = Vec::new();
    for line in lines {
        engine.step(&play(line), &mut out);
    }
    let state = engine.save().rules[0].alert;
    (state.fleeting, state.chatter)
}

fn what_was_fleeting_is_counted_and_not_told() {
    assert_eq!(counters(15, 0, &["0s start 1", "1s t 9", "5s t 7", "10s t 9", "20s t 7"]), (2, 0));
    conditions::the_on_delay_runs_by_itself_and_a_fleeting_violation_never_leaves_the_gateway();
}

fn what_came_back_is_counted() {
    let lines = ["0s start 1", "1s t 9", "5s t 7", "10s t 9", "15s t 7", "20s t 9"];
    assert_eq!(counters(0, 20, &lines), (0, 2));
}

fn the_end_of_a_pause_asks_for_nothing_that_is_over() {
    check(
        &site(vec![with(high(T, 8.0, 0.0, 0, 0))]),
        "
        0s start 1
        1s t 9              => raise 1-1
        2s ack 1-1 #1       => ack 1-1, order done
        3s pause 1-1 #2 20s => paused 0 +paused, suppression 1-1, order done
        4s t 7              => clear 1-1
        30s .               => 23s: pauseended 0
        ",
    );
}

fn a_pause_goes_on_after_a_restart_and_ends_when_it_would_have() {
    let mut plan = site(vec![with(high(T, 8.0, 0.0, 0, 0))]);
    plan.points[0].max_age_ms = 0;
    check(
        &plan,
        "
        0s start 1
        1s t 9              => raise 1-1
        2s pause 1-1 #1 60s => paused 0 +paused, suppression 1-1, order done
        10s start 2 after 5s
        61s t 9
        70s t 9             => 62s: pauseended 0, 62s: remind 1-1
        71s pause 1-1 #3 60s => paused 0 +paused, suppression 1-1, order done
        200s start 3 after 120s => gap 1-1
        201s .              => 200s: pauseended 0, 200s: remind 1-1
        ",
    );
}
