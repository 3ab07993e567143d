//! T1–T8, latching, engine time, absence. Which timeline shows which transition is in [`crate::table`].

use std::fmt::Write;

use gateway_model::RulePlan;

use crate::rig::{M, T, absent, check, high, site};

#[test]
pub(crate) fn no_delay_raises_and_clears_at_once() {
    check(
        &site(vec![high(T, 8.0, 0.0, 0, 0)]),
        "
        0s   start 1
        1s   t 8.0
        2s   t 8.1          => raise 1-1
        3s   t 9.0
        4s   t 8.0          => clear 1-1 unacked
        ",
    );
}

#[test]
pub(crate) fn the_on_delay_runs_by_itself_and_a_fleeting_violation_never_leaves_the_gateway() {
    check(
        &site(vec![high(T, 8.0, 0.0, 15, 0)]),
        "
        0s   start 1
        1s   t 9.0
        10s  t 9.0
        15s  t 7.0
        20s  t 9.0
        30s  t 9.0
        34.999s .
        36s  .              => 35s: raise 1-1
        40s  t 9.0
        ",
    );
}

#[test]
pub(crate) fn the_deadband_keeps_an_alert_up_but_does_not_stop_a_running_off_delay() {
    check(
        &site(vec![high(T, 8.0, 1.0, 0, 20)]),
        "
        0s   start 1
        1s   t 8.5          => raise 1-1
        10s  t 7.5
        30s  t 7.5
        31s  t 7.0
        40s  t 7.9
        52s  .              => 51s: clear 1-1 unacked
        ",
    );
}

#[test]
pub(crate) fn back_within_the_off_delay_is_the_same_occurrence() {
    check(
        &site(vec![high(T, 8.0, 0.0, 0, 20)]),
        "
        0s   start 1
        1s   t 9.0          => raise 1-1
        5s   t 7.0
        24s  t 9.0          => recur 1-1
        30s  t 7.0
        49s  t 7.0
        50s  .              => clear 1-1 unacked
        51s  t 9.0          => raise 1-2
        ",
    );
}

#[test]
pub(crate) fn acknowledging_needs_the_last_event_seen() {
    check(
        &site(vec![high(T, 8.0, 0.0, 0, 0)]),
        "
        0s   start 1
        1s   t 9.0          => raise 1-1
        2s   ack 1-1 #2     => refused stale
        3s   ack 1-2 #1     => refused unknown_alert
        4s   ack 1-1 #1     => ack 1-1, order done
        5s   ack 1-1 #1     => refused already_acknowledged
        6s   ack 1-1 #2     => refused already_acknowledged
        7s   t 7.0          => clear 1-1
        8s   ack 1-1 #3     => refused unknown_alert
        ",
    );
}

#[test]
pub(crate) fn a_latching_alert_says_so_and_stays_listed() {
    let plan = site(vec![RulePlan { latching: true, ..high(T, 8.0, 0.0, 0, 0) }]);
    check(
        &plan,
        "
        0s   start 1
        1s   t 9.0          => raise 1-1
        2s   t 7.0          => clear 1-1 unacked latched
        3s   ack 1-1 #2     => ack 1-1 latched, order done
        4s   ack 1-1 #3     => refused already_acknowledged
        5s   t 9.0          => raise 1-2
        ",
    );
}

#[test]
pub(crate) fn an_older_stamp_is_eaten_at_the_current_time_and_an_older_reading_is_never_judged() {
    check(
        &site(vec![high(T, 8.0, 0.0, 0, 0), absent(M, 300)]),
        "
        0s   start 1
        10s  t 7.0
        15s  t 9.0 @9.999s
        20s  .
        25s  t 9.0 @12s     => 20s: raise 1-1
        26s  t 7.0 @11s
        27s  t 7.0 @12s     => 20s: clear 1-1 unacked
        ",
    );
}

/// Which of the two came first is decided by the order of inputs alone, so a replay decides it the same way.
#[test]
fn a_reading_stamped_before_an_absence_but_handed_over_after_it_only_ends_it() {
    let plan = site(vec![absent(T, 300)]);
    check(
        &plan,
        "
        0s      start 1
        300s    .               => raise 1-1
        300.1s  t 7.0 @299.95s  => 300s: clear 1-1 unacked
        599.99s .
        600.2s  .               => 600s: raise 1-2
        ",
    );
    check(
        &plan,
        "
        0s      start 1
        299.95s t 7.0
        599.94s .
        599.96s .               => 599.95s: raise 1-1
        ",
    );
}

#[test]
fn absence_ends_with_any_number_but_not_with_a_failure_or_a_stale_mark() {
    check(
        &site(vec![absent(T, 60)]),
        "
        0s    start 1
        10s   t 7.0
        40s   t ~stale 7.0 @40s
        50s   t -
        70s   .               => raise 1-1
        80s   t ~held 7.0     => clear 1-1 unacked
        140s  .               => raise 1-2
        141s  t -
        142s  t 7.0           => clear 1-2 unacked
        ",
    );
}

#[test]
pub(crate) fn timers_due_at_the_same_moment_fire_in_the_order_of_their_rules() {
    check(
        &site(vec![absent(T, 60), high(M, 8.0, 0.0, 50, 0), absent(M, 50)]),
        "
        0s   start 1
        10s  m 9.0
        60s  .               => raise 1-1, raise 1-2, raise 1-3
        ",
    );
}

#[test]
pub(crate) fn a_rule_remembers_a_bounded_number_of_unacknowledged_occurrences() {
    let mut timeline = String::from("0s start 1\n");
    for n in 1..=65 {
        let (on, off) = (n * 10, n * 10 + 5);
        write!(timeline, "{on}s t 9.0 => raise 1-{n}\n{off}s t 7.0 => clear 1-{n} unacked\n").unwrap();
    }
    timeline += "660s ack 1-1 #2 => refused unknown_alert\n";
    timeline += "661s ack 1-2 #2 => ack 1-2, order done\n";
    check(&site(vec![high(T, 8.0, 0.0, 0, 0)]), &timeline);
}
