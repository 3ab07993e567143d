//! Another word on how long a point may stand still, asked of the past.

use gateway_evidence::{Backtest, Backtested};
use gateway_model::{
    BadCause, Counters, DeviceFact, DeviceIx, EngineTime, Fact, FactBody, Input, Plan, PointIx, Quality,
    Reading, Stuck,
};

use crate::{Recorder, plan};

/// An alert above 8 °C; a point that may stand still for so long, s.
fn still(after_s: Option<i64>) -> Plan {
    let mut plan = plan(8.0);
    plan.points[0].stuck = after_s.map(|s| Stuck { after_ms: s * 1_000, noise: 0.05, above: None });
    plan
}

fn backtest(recorder: &Recorder, plan: Plan) -> Backtested {
    let mut backtest = Backtest::new([plan], EngineTime(0));
    for record in recorder.records() {
        backtest.take(record);
    }
    backtest.finish()
}

/// (readings that are stuck now, readings that were stuck, how long the alert stood in s).
fn told(found: &Backtested) -> (u64, u64, i64) {
    let said = found.judged[0].values().next().unwrap();
    let stood =
        said.occurrences.iter().map(|one| one.to.unwrap_or(found.window.1).since(one.from) / 1_000).sum();
    (found.restuck, found.numberless, stood)
}

#[test]
fn a_shorter_time_finds_what_was_believed_then() {
    let mut recorder = Recorder::of(3, still(None));
    // Warm, cold and frozen there for 300 s, then warm again.
    recorder.readings(&[90, 91, 92]);
    recorder.readings(&[50; 300]);
    recorder.readings(&[90, 91, 90, 92]);
    recorder.stop();
    let under = |after| told(&backtest(&recorder, still(after)));
    assert_eq!((under(None).0, under(None).1), (0, 0));
    // The first of the 300 begins the stretch; the 101st is the first that has stood for 100 s.
    assert_eq!((under(Some(100)).0, under(Some(100)).1), (200, 0));
    assert_eq!(under(Some(400)).0, 0);
    // A stuck value clears nothing, and 2 s are enough to be believed: the alert ended before it froze for long.
    assert_eq!(under(Some(100)).2, under(None).2);
    // Frozen from the beginning: an alert that never was.
    let mut frozen = Recorder::of(3, still(None));
    frozen.readings(&[50]);
    frozen.readings(&[90; 60]);
    frozen.stop();
    assert!(told(&backtest(&frozen, still(None))).2 > 50);
    assert_eq!(
        told(&backtest(&frozen, still(Some(10)))),
        (50, 0, told(&backtest(&frozen, still(Some(10)))).2)
    );
}

#[test]
fn a_longer_time_cannot_give_back_numbers_that_are_in_no_record() {
    let mut recorder = Recorder::of(3, still(Some(100)));
    recorder.readings(&[50; 100]);
    let stuck = |recorder: &mut Recorder, n: i64| {
        let items = (0..n).map(|_| {
            recorder.now += 1_000;
            let at = EngineTime(recorder.now);
            Input::Reading(Reading { point: PointIx(0), at, value: Quality::Bad(BadCause::Stuck) })
        });
        let items = items.collect();
        recorder.inputs(items);
    };
    stuck(&mut recorder, 40);
    recorder.stop();
    let counted = |after| {
        let (restuck, numberless, _) = told(&backtest(&recorder, still(after)));
        (restuck, numberless)
    };
    assert_eq!(counted(Some(100)), (0, 0), "as it was recorded");
    assert_eq!(counted(None), (0, 40));
    // The 21st of them is stuck by either word.
    assert_eq!(counted(Some(120)), (0, 20));
    assert_eq!(counted(Some(50)), (50, 0), "stuck sooner, and no doubt about the rest");
}

#[test]
fn a_replaced_probe_begins_anew_here_too() {
    let mut recorder = Recorder::of(3, still(None));
    recorder.readings(&[50; 80]);
    let (serial, successor, by) = ("1".into(), "2".into(), "p".into());
    let replaced = DeviceFact::Replaced { serial, successor, by, counters: Some(Counters::Kept) };
    let fact = Fact { device: DeviceIx(0), at: EngineTime(recorder.now), body: FactBody::Device(replaced) };
    recorder.inputs(vec![Input::Fact(fact)]);
    recorder.readings(&[50; 80]);
    recorder.stop();
    assert_eq!(told(&backtest(&recorder, still(Some(100)))).0, 0);
    assert_eq!(told(&backtest(&recorder, still(Some(70)))).0, 20);
}
