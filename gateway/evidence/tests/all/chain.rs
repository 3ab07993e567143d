//! Numbers and hashes.

use gateway_evidence::chain::{Chain, Fault, Hole, Link, check};
use gateway_model::{EngineTime, Epoch, Gap, GapCause, GatewayId, Seq};
use gateway_wire::{Body, Record};

use crate::{Recorder, day};

fn link((record, bytes): &(Record, Vec<u8>)) -> Link {
    Link::new(record.header, bytes, Some(&record.body))
}

fn chain(records: &[(Record, Vec<u8>)]) -> Chain {
    check(records.iter().map(link))
}

#[test]
fn a_whole_journal_closes() {
    let recorder = day();
    let found = chain(&recorder.records);
    assert_eq!((&found.faults[..], &found.holes[..]), (&[][..], &[][..]));
    assert!(found.closes());
    assert_eq!(found.records, recorder.records.len() as u64);
    assert_eq!(found.epochs.len(), 2);
    // A bundle from its middle closes too.
    assert!(chain(&recorder.records[4..]).closes());
}

#[test]
fn every_record_removed_is_a_hole() {
    let records = day().records;
    for i in 1..records.len() - 1 {
        let mut without = records.clone();
        let (gone, _) = without.remove(i);
        let found = chain(&without);
        assert!(!found.closes(), "without {}", gone.header.cursor());
        let hole =
            Hole { epoch: gone.header.epoch, first: gone.header.seq, last: gone.header.seq, told: false };
        assert_eq!(found.holes, [hole]);
    }
}

#[test]
fn every_record_told_twice_swapped_or_exchanged_is_a_fault() {
    let records = day().records;
    for i in 0..records.len() - 1 {
        let mut twice = records.clone();
        twice.insert(i, records[i].clone());
        assert_eq!(chain(&twice).faults, [Fault::Twice(records[i].0.header.cursor())]);

        let mut swapped = records.clone();
        swapped.swap(i, i + 1);
        assert!(chain(&swapped).faults_total > 0);

        let mut other = records[i].clone();
        other.1.push(0);
        let mut both = records.clone();
        both.insert(i + 1, other.clone());
        assert_eq!(chain(&both).faults, [Fault::Exchanged(records[i].0.header.cursor())]);

        let mut exchanged = records.clone();
        exchanged[i] = other;
        assert!(chain(&exchanged).faults.iter().any(|fault| matches!(fault, Fault::Broken(_))), "{i}");
    }
}

#[test]
fn what_gap_records_name_is_told() {
    let mut recorder = Recorder::new();
    for _ in 0..4 {
        recorder.readings(&[50]);
    }
    let time = EngineTime(recorder.now);
    let (epoch, cause) = (Epoch(1), GapCause::Evicted);
    for (first, last) in [(3, 4), (2, 2)] {
        let records = Some((epoch, Seq(first), Seq(last)));
        recorder.push(Body::Gap(Gap { point: None, from: time, to: time, count: 1, cause, records }));
    }
    let mut records = recorder.records;
    records.drain(2..5);
    let found = chain(&records);
    assert_eq!(found.holes, [Hole { epoch, first: Seq(2), last: Seq(4), told: true }]);
    assert!(found.closes());
    records.pop();
    assert!(!chain(&records).closes(), "2 is not told");
}

#[test]
fn a_tail_that_the_gateway_forgot_is_found() {
    let mut recorder = Recorder::new();
    recorder.readings(&[50]);
    let full = recorder.records.clone();
    recorder.readings(&[60]);
    let told = recorder.records.last().unwrap().clone();
    // The disk loses the last record that the center already has; the gateway starts without it.
    recorder.records = full;
    recorder.start(crate::plan(8.0));
    let mut center = recorder.records.clone();
    let at = center.iter().position(|(record, _)| record.header.epoch == Epoch(2)).unwrap();
    center.insert(at, told.clone());
    let found = chain(&center);
    let said = recorder.records[at - 1].0.header.cursor();
    let tail = Fault::TailLost { at: center[at + 1].0.header.cursor(), said, seen: told.0.header.cursor() };
    assert_eq!(found.faults, [tail]);
    // The center lacks what the gateway names: a hole.
    recorder.records.remove(at - 1);
    assert_eq!(chain(&recorder.records).holes.len(), 1);
}

#[test]
fn another_gateways_record_has_no_place() {
    let mut records = day().records;
    records[3].0.header.gateway = GatewayId([1; 16]);
    let faults = chain(&records).faults;
    assert_eq!(faults, [Fault::Gateway(records[3].0.header.cursor(), GatewayId([1; 16]))]);
}
