//! Sums of what became of every reading that was due.

use gateway_evidence::{Account, Audit, Audited};
use gateway_model::{
    BadCause, EngineTime, Gap, GapCause, Input, PointCounts, PointIx, Quality, Raw, Reading,
};
use gateway_wire::{Body, InputsBody};

use crate::{Recorder, plan};

fn audited(recorder: &Recorder, from: i64, to: i64) -> Audited {
    let mut audit = Audit::new(EngineTime(from), EngineTime(to));
    for (record, _) in &recorder.records {
        audit.take(&record.header, &record.body);
    }
    audit.finish()
}

/// Ten seconds, of which `late` readings came late, `within` had not changed and `failed` had no answer.
fn ten_seconds(recorder: &mut Recorder, late: u32, within: u32, failed: u32) {
    let kept = 10 - within - failed;
    let items = (0..kept).map(|n| {
        let at = EngineTime(recorder.now + i64::from(n) * 1_000);
        Input::Reading(Reading { point: PointIx(0), at, value: Quality::Good(Raw::Int(5)) })
    });
    let items: Vec<Input> = items.collect();
    recorder.now += 10_000;
    let mut causes = vec![0; BadCause::ALL.len()];
    causes[BadCause::DeviceRefused.code()] = failed;
    let answered = 10 - failed;
    let counts =
        PointCounts { point: PointIx(0), due: 10, answered, within_deadband: within, late, failed: causes };
    recorder.push(Body::Inputs(InputsBody { items, counts: vec![counts] }));
}

#[test]
fn every_reading_due_is_accounted_for() {
    let mut recorder = Recorder::new();
    let begin = recorder.now;
    ten_seconds(&mut recorder, 1, 3, 2);
    ten_seconds(&mut recorder, 0, 0, 0);
    // Twenty seconds away, uncleanly, and told so.
    let from = EngineTime(recorder.now);
    recorder.start_after(plan(8.0), Vec::new(), Some(20_000));
    let to = EngineTime(recorder.now);
    let gap = |from, to, cause| Body::Gap(Gap { point: None, from, to, count: 20, cause, records: None });
    recorder.push(gap(from, to, GapCause::Crash));
    // Five seconds in which the disk was full.
    recorder.now += 5_000;
    recorder.push(gap(to, EngineTime(recorder.now), GapCause::Overrun));
    ten_seconds(&mut recorder, 0, 10, 0);

    let audited = audited(&recorder, begin, recorder.now + 1);
    let failed = [0, 2, 0, 0, 0, 0, 0, 0, 0];
    let expected = Account {
        planned: 55,
        due: 55,
        kept: 14,
        within_deadband: 13,
        late: 1,
        failed,
        stopped: 0,
        crashed: 20,
        overload: 5,
    };
    assert_eq!(audited.points["fridge/temperature"], expected);
    assert!(audited.closes());
    assert_eq!(expected.untold(), 0);
}

#[test]
fn a_record_that_is_not_there_is_untold() {
    let mut recorder = Recorder::new();
    let begin = recorder.now;
    for _ in 0..3 {
        ten_seconds(&mut recorder, 0, 0, 0);
    }
    let whole = audited(&recorder, begin, recorder.now + 1);
    assert_eq!(whole.points["fridge/temperature"].untold(), 0);
    recorder.records.remove(3);
    let without = audited(&recorder, begin, recorder.now + 1);
    assert_eq!(without.points["fridge/temperature"].untold(), 10);
}

#[test]
fn a_record_across_the_end_of_a_span_is_of_the_span_it_ends_in_with_all_its_time() {
    let mut recorder = Recorder::new();
    let begin = recorder.now;
    for _ in 0..4 {
        ten_seconds(&mut recorder, 0, 0, 0);
    }
    // The second record tells of the 5 s before midnight and the 5 s after it.
    let midnight = begin + 15_000;
    let (before, after) = (audited(&recorder, begin, midnight), audited(&recorder, midnight, begin + 40_001));
    let sums = |audited: &Audited| {
        let account = &audited.points["fridge/temperature"];
        (account.planned, account.due)
    };
    assert_eq!((sums(&before), sums(&after)), ((10, 10), (30, 30)));
    // One of them is missing: the day that the next one ends in says so.
    recorder.records.remove(3);
    let after = audited(&recorder, midnight, begin + 40_001);
    assert_eq!((sums(&after), after.points["fridge/temperature"].untold()), ((30, 20), 10));
}

#[test]
fn sums_that_do_not_close_are_said() {
    let mut recorder = Recorder::new();
    let begin = recorder.now;
    ten_seconds(&mut recorder, 0, 0, 0);
    let Some((record, _)) = recorder.records.last_mut() else { panic!("no record") };
    let Body::Inputs(inputs) = &mut record.body else { panic!("no inputs") };
    inputs.counts[0].due += 1;
    assert!(!audited(&recorder, begin, recorder.now + 1).closes());
}
