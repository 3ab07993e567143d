//! Invariants of `alerts.md` §1.1 over random histories: (i) every raise has one end, (ii) nothing clears
//! while it cannot be judged, (iv) the chunking of time changes nothing, (v) neither does a crash, (vi) no
//! timer fires twice. (iii), over the same histories: whatever was suppressed in between, once nothing is the
//! alerts stand as if nothing had ever been, but for their acknowledgement. What is wrong with a list of conclusions is found by
//! [`crate::invariants`], which is tested there; that the comparisons of two runs find something is tested at the end.

use gateway_engine::Engine;
use gateway_model::{
    AlertId, Change, Conclusion, ConclusionBody, DeviceIx, EngineTime, Input, PointIx, Quality, Raw, Reading,
    RuleKind,
};
use proptest::prelude::*;

use crate::histories::{Act, history, plan, play, start};
use crate::invariants::{in_order, judged, one_end};

/// Histories for the two laws that everything else rests on: that a replay concludes what was concluded.
const MANY: u32 = 2_048;

proptest! {
    /// (i).
    #[test]
    fn every_alert_is_raised_once_cleared_at_most_once_and_numbered_without_holes(history in history()) {
        let (engine, out) = play(&history, |_, _, _| ());
        let open: Vec<AlertId> = engine.alerts().iter().map(|alert| alert.alert).collect();
        prop_assert_eq!(one_end(&out, &open), Ok(()));
    }

    /// (ii).
    #[test]
    fn nothing_clears_while_it_cannot_be_judged(history in history()) {
        let (_, out) = play(&history, |_, _, _| ());
        prop_assert_eq!(judged(&out), Ok(()));
    }

    /// (iii).
    #[test]
    fn suppression_never_changes_what_is_raised_or_cleared(history in history()) {
        let quiet: Vec<_> = history.iter().map(|(gap, act)| {
            let suppresses = matches!(act, Act::Ask { what: 1..=5, .. });
            (*gap, if suppresses { Act::Wait } else { act.clone() })
        }).collect();
        let (suppressed, with) = play(&history, |_, _, _| ());
        let (unsuppressed, without) = play(&quiet, |_, _, _| ());
        let process = |out: &[Conclusion]| -> Vec<_> {
            out.iter().filter_map(|one| {
                let ConclusionBody::Alert(change) = &one.body else { return None };
                matches!(change.change, Change::Raised | Change::Cleared(_))
                    .then_some((one.at, change.alert, change.change))
            }).collect()
        };
        // A reset or an acknowledgement names an event, and events are numbered with those of suppression.
        prop_assert_eq!(process(&with), process(&without));
        let standing = |engine: &Engine| -> Vec<_> {
            engine.save().rules.into_iter().map(|rule| {
                let regions = rule.alert.regions;
                (rule.rule, regions.process, regions.quality, rule.alert.due, rule.events.len())
            }).collect()
        };
        prop_assert_eq!(standing(&suppressed), standing(&unsuppressed));
    }

    #[test]
    fn conclusions_are_in_the_order_of_their_times(history in history()) {
        let (engine, out) = play(&history, |_, _, _| ());
        prop_assert_eq!(in_order(&out, engine.now()), Ok(()));
    }

    #[test]
    fn a_deadline_is_never_in_the_past_and_time_never_steps_back(history in history()) {
        let mut before = EngineTime(i64::MIN);
        play(&history, |engine, _, _| {
            assert!(engine.now() >= before);
            before = engine.now();
            assert!(engine.deadline().is_none_or(|deadline| deadline >= engine.now()));
        });
    }

    #[test]
    fn no_input_and_no_plan_makes_it_panic(
        stamps in prop::collection::vec((any::<i64>(), any::<u16>(), any::<i64>()), 0..40),
        on in any::<i64>(),
        off in any::<i64>(),
        max_age in any::<i64>(),
    ) {
        let mut plan = plan();
        for rule in &mut plan.rules {
            rule.subject = DeviceIx(rule.subject.0.wrapping_mul(9));
            if let RuleKind::Condition { on_delay_ms, off_delay_ms, shown, .. } = &mut rule.kind {
                (*on_delay_ms, *off_delay_ms, *shown) = (on, off, Some(PointIx(77)));
            }
            if let RuleKind::Absence { after_ms, .. } = &mut rule.kind {
                *after_ms = on;
            }
        }
        // Two centuries of opening hours, worked through at every jump, would take minutes; that there is an end is
        // tested where the calendar is.
        if let Some(judging) = &mut plan.judging {
            judging.calendar = None;
        }
        plan.points[0].max_age_ms = max_age;
        plan.points[0].every_ms = off;
        plan.devices.truncate(2);
        plan.buses.clear();
        let mut engine = Engine::new(plan.clone());
        let mut out = Vec::new();
        for (at, point, raw) in stamps {
            let value = Quality::Good(Raw::Int(raw));
            engine.step(&Input::Reading(Reading { point: PointIx(u32::from(point) % 5), at: EngineTime(at), value }), &mut out);
            engine.step(&start(at, point.into(), Some(raw)), &mut out);
            engine.step(&Input::Advance(EngineTime(raw)), &mut out);
            let state = engine.save();
            prop_assert!(Engine::restore(plan.clone(), state).is_ok());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(MANY))]

    /// (iv), and (vi) where a shell sleeps until the deadline.
    #[test]
    fn any_chunking_of_time_gives_the_same_conclusions(history in history(), chunks in prop::collection::vec(1_i64..40_000, 1..8)) {
        let (_, whole) = play(&history, |_, _, _| ());
        let mut chunk = chunks.iter().cycle();
        let (_, chunked) = play(&history, |engine, until, out| {
            while engine.now() < until {
                let next = engine.now().plus(*chunk.next().unwrap()).min(until);
                engine.step(&Input::Advance(next), out);
            }
        });
        prop_assert_eq!(&whole, &chunked);
        // As a shell does it: asleep until the deadline.
        let (_, woken) = play(&history, |engine, until, out| {
            while let Some(deadline) = engine.deadline().filter(|&deadline| deadline <= until) {
                engine.step(&Input::Advance(deadline), out);
                assert!(engine.deadline().is_none_or(|next| next > deadline), "no timer fires twice");
            }
        });
        prop_assert_eq!(&whole, &woken);
    }

    /// (v).
    #[test]
    fn a_crash_at_any_step_changes_nothing_once_restored(history in history()) {
        let (engine, whole) = play(&history, |_, _, _| ());
        let (restored, crashed) = play(&history, |engine, _, out| {
            let state = engine.save();
            let (next, superseded) = Engine::restore(engine.plan().clone(), state.clone()).unwrap();
            *engine = next;
            assert_eq!(engine.save(), state);
            out.extend(superseded);
        });
        prop_assert_eq!(&whole, &crashed);
        prop_assert_eq!(engine.save(), restored.save());
        prop_assert_eq!(engine.deadline(), restored.deadline());
    }
}

fn hot(after_ms: i64) -> (i64, Act) {
    (after_ms, Act::Reading { point: 0, behind_ms: 0, value: Quality::Good(Raw::Int(950)) })
}

/// The comparisons of two runs would find what they are there for.
#[test]
fn a_shell_that_is_late_a_state_that_forgets_and_a_pause_that_is_deaf_are_noticed() {
    let history = [hot(0), hot(5_000), (60_000, Act::Wait)];
    let (_, whole) = play(&history, |_, _, _| ());
    // (iv): time is let pass further than it has.
    let (_, late) = play(&history, |engine, until, out| {
        engine.step(&Input::Advance(EngineTime(until.0.saturating_add(1_000))), out);
    });
    assert_ne!(whole, late);
    // (v): what is restored has lost a delay.
    let (_, forgot) = play(&history, |engine, _, out| {
        let mut state = engine.save();
        for rule in &mut state.rules {
            rule.alert.due = None;
        }
        let (next, superseded) = Engine::restore(engine.plan().clone(), state).unwrap();
        *engine = next;
        out.extend(superseded);
    });
    assert_ne!(whole, forgot);
    // (iii): nobody judges while reminders are paused.
    let pause = (1_000, Act::Ask { which: 0, what: 2, for_ms: 50_000 });
    let paused = [hot(0), pause.clone(), hot(5_000), (60_000, Act::Wait)];
    let deaf = [hot(0), pause, (5_000, Act::Wait), (60_000, Act::Wait)];
    let raised = |history: &[(i64, Act)]| {
        let (_, out) = play(history, |_, _, _| ());
        let alert = |one: &Conclusion| {
            let ConclusionBody::Alert(change) = &one.body else { return None };
            (change.change == Change::Raised).then_some((one.at, change.alert))
        };
        out.iter().filter_map(alert).collect::<Vec<_>>()
    };
    assert_ne!(raised(&paused), raised(&deaf));
}
