//! Every conclusion follows, or it is said which does not.

use gateway_evidence::{Incomplete, Verdict, What, recompute};
use gateway_model::{
    Change, Conclusion, ConclusionBody, Cursor, EngineTime, Epoch, Gap, GapCause, Input, OrderOutcome,
    Quality, Raw, Reading, Seq,
};
use gateway_wire::{Body, Record};

use crate::{Recorder, day, plan};

fn conclusions(records: &[Record]) -> Vec<usize> {
    let is = |record: &Record| matches!(record.body, Body::Conclusions(_));
    (0..records.len()).filter(|i| is(&records[*i])).collect()
}

fn list(record: &mut Record) -> &mut Vec<Conclusion> {
    match &mut record.body {
        Body::Conclusions(conclusions) => &mut conclusions.list,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_right_journal_is_valid() {
    let records = day().records();
    let total: usize = conclusions(&records).iter().map(|i| list(&mut records[*i].clone()).len()).sum();
    assert!(total >= 6, "raised, acknowledged, cleared, raised again, …: {total}");
    let found = recompute(records);
    assert_eq!(found.first_difference, None);
    assert_eq!(found.verdict(), Verdict::Valid);
    assert_eq!(found.conclusions_checked, total as u64);
    assert_eq!(found.checkpoints_checked, 3);
    assert_eq!(found.epochs, [Epoch(1), Epoch(2)]);
    assert_eq!(found.pending, []);
}

#[test]
fn every_conclusion_left_out_is_missed() {
    let records = day().records();
    for record in conclusions(&records) {
        for i in 0..list(&mut records[record].clone()).len() {
            let mut changed = records.clone();
            let removed = list(&mut changed[record]).remove(i);
            let found = recompute(changed);
            let noticed = found.verdict() == Verdict::Invalid || found.pending.last() == Some(&removed);
            assert!(noticed, "{}: {:?}", records[record].header.cursor(), found.first_difference);
        }
    }
}

#[test]
fn every_conclusion_added_or_changed_is_noticed() {
    let records = day().records();
    for record in conclusions(&records) {
        let check = |change: &dyn Fn(&mut Vec<Conclusion>)| {
            let mut changed = records.clone();
            change(list(&mut changed[record]));
            let found = recompute(changed);
            assert_eq!(found.verdict(), Verdict::Invalid);
            assert!(
                found
                    .first_difference
                    .is_some_and(|difference| difference.at >= records[record].header.cursor())
            );
        };
        check(&|list| list.push(list[0].clone()));
        check(&|list| list.insert(0, list[list.len() - 1].clone()));
        check(&|list| list[0].at = list[0].at.plus(1));
        check(&|list| match &mut list[0].body {
            ConclusionBody::Alert(change) => change.alert.n += 1,
            ConclusionBody::Cycle(_)
            | ConclusionBody::Order { .. }
            | ConclusionBody::Suppression(_)
            | ConclusionBody::Storage(_)
            | ConclusionBody::Folded(_)
            | ConclusionBody::Config(_) => list[0].at = EngineTime(0),
        });
        check(&|list| match &mut list[0].body {
            ConclusionBody::Alert(change) => {
                change.value = change.value.map_or(Some(1.0), |value| Some(value + 0.1));
            }
            ConclusionBody::Cycle(_)
            | ConclusionBody::Order { .. }
            | ConclusionBody::Suppression(_)
            | ConclusionBody::Storage(_)
            | ConclusionBody::Folded(_)
            | ConclusionBody::Config(_) => list[0].at = EngineTime(0),
        });
    }
}

#[test]
fn an_input_changed_afterwards_is_noticed() {
    let records = day().records();
    let raises = records.iter().position(|record| record.header.seq == Seq(3)).unwrap();
    let mut changed = records;
    match &mut changed[raises].body {
        Body::Inputs(inputs) => {
            let Input::Reading(Reading { value, .. }) = &mut inputs.items[0] else { panic!("no reading") };
            *value = Quality::Good(Raw::Int(10));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(recompute(changed).verdict(), Verdict::Invalid);
}

#[test]
fn a_state_that_the_engine_did_not_come_to_is_noticed() {
    let records = day().records();
    for i in 0..records.len() {
        let mut changed = records.clone();
        let Body::Checkpoint(state) = &mut changed[i].body else { continue };
        state.next_alert += 1;
        let at = changed[i].header.cursor();
        let difference = recompute(changed).first_difference.unwrap();
        assert_eq!((difference.at, difference.what), (at, What::State));
    }
}

#[test]
fn conclusions_named_after_other_inputs_are_noticed() {
    let mut records = day().records();
    let i = conclusions(&records)[0];
    let Body::Conclusions(conclusions) = &mut records[i].body else { panic!("no conclusions") };
    conclusions.because = Seq(1);
    assert!(matches!(
        recompute(records).first_difference.unwrap().what,
        What::Because { recorded: Seq(1), .. }
    ));
}

#[test]
fn what_a_crash_cut_off_is_found_at_the_next_start() {
    let mut recorder = Recorder::new();
    recorder.readings(&[90, 90, 90]);
    recorder.crash(plan(8.0));
    recorder.readings(&[50]);
    recorder.readings(&[50]);
    let found = recompute(recorder.records());
    assert_eq!((found.first_difference, found.incomplete), (None, vec![]));
    assert!(found.conclusions_checked >= 1);
    // Left out there too, it is concealed.
    let mut records = recorder.records();
    let i = conclusions(&records)[0];
    list(&mut records[i]).remove(0);
    assert_eq!(recompute(records).verdict(), Verdict::Invalid);
}

#[test]
fn a_changed_rule_supersedes_and_that_follows_too() {
    let mut recorder = Recorder::new();
    recorder.readings(&[90, 90, 90]);
    recorder.start(plan(20.0));
    recorder.readings(&[90, 90]);
    let superseded = |record: &Record| match &record.body {
        Body::Conclusions(conclusions) => conclusions.list.iter().any(|one| match &one.body {
            ConclusionBody::Alert(change) => matches!(change.change, Change::Cleared(_)),
            ConclusionBody::Cycle(_)
            | ConclusionBody::Order { .. }
            | ConclusionBody::Suppression(_)
            | ConclusionBody::Storage(_)
            | ConclusionBody::Folded(_)
            | ConclusionBody::Config(_) => false,
        }),
        _ => false,
    };
    assert!(recorder.records().iter().any(superseded));
    assert_eq!(recompute(recorder.records()).verdict(), Verdict::Valid);
}

#[test]
fn a_later_release_is_incomplete_not_invalid() {
    let mut records = day().records();
    let Body::Config(config) = &mut records[1].body else { panic!("no config") };
    config.semantics += 1;
    let found = recompute(records);
    assert_eq!(found.verdict(), Verdict::Incomplete);
    assert_eq!(found.incomplete[0], Incomplete::Semantics(Epoch(1), gateway_model::SEMANTICS + 1));
    assert!(found.unchecked > 0);
    // The next epoch is known again and begins with a checkpoint.
    assert!(found.conclusions_checked > 0);
}

#[test]
fn a_bundle_may_begin_at_a_later_checkpoint_of_its_epoch() {
    let records = day().records();
    let checkpoint = records.iter().rposition(|record| matches!(record.body, Body::Checkpoint(_))).unwrap();
    let epoch = records[checkpoint].header.epoch;
    let context = |record: &&Record| record.header.epoch == epoch && record.header.seq <= Seq(1);
    let bundle: Vec<_> = records.iter().filter(context).chain(&records[checkpoint..]).cloned().collect();
    let found = recompute(bundle);
    assert_eq!((found.verdict(), found.incomplete), (Verdict::Valid, vec![]));
    assert!(found.conclusions_checked > 0);
    // Without its config nothing can be said.
    let found = recompute(records[checkpoint..].to_vec());
    assert_eq!(found.verdict(), Verdict::Incomplete);
    assert!(matches!(found.incomplete[..], [Incomplete::NoBeginning(_)]));
}

#[test]
fn missing_inputs_are_incomplete_up_to_the_next_checkpoint() {
    let records = day().records();
    for i in 0..records.len() {
        if !matches!(records[i].body, Body::Inputs(_)) {
            continue;
        }
        let mut evicted = records.clone();
        let gone = evicted.remove(i).header.cursor();
        let found = recompute(evicted);
        assert_ne!(found.verdict(), Verdict::Invalid, "without {gone}: {:?}", found.first_difference);
        let last = i + 2 >= records.len();
        assert!(last || found.verdict() == Verdict::Incomplete, "without {gone}");
    }
}

#[test]
fn an_epoch_without_its_start_is_incomplete_up_to_the_next_checkpoint() {
    let mut records = day().records();
    let start = records.iter().rposition(|record| matches!(record.body, Body::Start(_))).unwrap();
    records.remove(start);
    let found = recompute(records);
    assert_eq!((found.verdict(), found.first_difference), (Verdict::Incomplete, None));
    assert!(found.unchecked > 0);
}

#[test]
fn gaps_and_late_orders_are_said_by_the_shell() {
    let mut recorder = Recorder::new();
    recorder.readings(&[50]);
    let body = ConclusionBody::Order { order: (1, 1), outcome: OrderOutcome::Expired };
    let at = EngineTime(recorder.now);
    recorder.conclude(Seq(2), vec![Conclusion { at, body }]);
    let (point, count, records) = (None, 1, None);
    recorder.push(Body::Gap(Gap { point, from: at, to: at, count, cause: GapCause::Overrun, records }));
    recorder.readings(&[50]);
    assert_eq!(recompute(recorder.records()).verdict(), Verdict::Valid);
}

#[test]
fn conclusions_that_a_full_disk_refused_may_come_with_the_next_inputs() {
    let mut recorder = Recorder::new();
    recorder.readings(&[90, 90, 90]);
    let Some((Record { body: Body::Conclusions(late), .. }, _)) = recorder.records.pop() else {
        panic!("none")
    };
    recorder.readings(&[90]);
    let because = Seq(recorder.records.last().unwrap().0.header.seq.0);
    recorder.conclude(because, late.list);
    recorder.readings(&[90]);
    assert_eq!(recompute(recorder.records()).first_difference, None);
}

#[test]
fn nothing_recorded_is_nothing_wrong() {
    assert_eq!(recompute([]).verdict(), Verdict::Valid);
    assert_eq!(Cursor::default(), Cursor { epoch: Epoch(0), seq: Seq(0) });
}
