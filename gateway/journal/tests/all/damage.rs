//! Bytes that change behind the journal's back.

use std::path::{Path, PathBuf};

use gateway_journal::{Class, JournalError, Position, faulty::Faulty};

use crate::{append, at, open, record};

fn filled(n: u64) -> Faulty {
    let storage = Faulty::new();
    let (mut journal, _) = open(&storage);
    journal.begin_epoch().unwrap();
    for _ in 0..n {
        append(&mut journal).unwrap();
    }
    storage
}

fn segments(storage: &Faulty, set: &str) -> Vec<PathBuf> {
    storage.paths(&Path::new("/j").join(set))
}

/// Positions that can still be read, and whether any reading said "damaged".
fn readable(storage: &Faulty) -> (Vec<Position>, usize) {
    let (journal, _) = open(storage);
    let (mut there, mut damaged) = (Vec::new(), 0);
    for stored in journal.scan(Position::default()) {
        match stored {
            Ok(stored) => {
                assert_eq!((stored.class, stored.bytes), record(stored.position));
                there.push(stored.position);
            }
            Err(JournalError::Damaged { .. }) => damaged += 1,
            Err(other) => panic!("{other}"),
        }
    }
    (there, damaged)
}

#[test]
fn a_flipped_bit_in_the_newest_segment_costs_one_record_and_is_reported() {
    let newest = segments(&filled(6), "ring").pop().unwrap();
    let length = filled(6).bytes(&newest).unwrap().len();
    for offset in 0..length {
        let storage = filled(6);
        storage.damage(&newest, |bytes| bytes[offset] ^= 0x10);
        let (journal, opened) = open(&storage);
        let lost = 6 - (0..6).filter(|seq| journal.read(at(1, *seq)).unwrap().is_some()).count();
        assert!(lost <= 1, "byte {offset}: {lost} lost");
        // Damage to the very last record cannot be told from a torn one.
        match (lost, &opened.quarantined[..]) {
            (1, []) => assert!(opened.torn_bytes > 0, "byte {offset}"),
            (1, [one]) => {
                assert_eq!(one.missing.len(), 1, "byte {offset}");
                let (epoch, first, last) = one.missing[0];
                assert_eq!((journal.read(at(epoch, first)).unwrap(), first), (None, last));
                let kept = storage.bytes(one.kept_in.as_ref().unwrap()).unwrap();
                assert_eq!(kept.len() as u64, one.bytes);
            }
            // The head of the segment, or bytes nobody looks at.
            (0, list) => {
                assert!(offset < 48 && list.iter().all(|one| one.missing.is_empty()), "byte {offset}");
            }
            other => panic!("byte {offset}: {other:?}"),
        }
    }
}

#[test]
fn damage_is_reported_until_it_is_closed() {
    let storage = filled(6);
    let newest = segments(&storage, "ring").pop().unwrap();
    storage.damage(&newest, |bytes| bytes[100] ^= 1);
    let first = open(&storage).1.quarantined;
    assert_eq!(first.len(), 1);
    let (mut journal, again) = open(&storage);
    assert_eq!(again.quarantined, first);
    journal.begin_epoch().unwrap();
    append(&mut journal).unwrap();
    journal.closed(&first[0]).unwrap();
    drop(journal);
    assert_eq!(open(&storage).1.quarantined, vec![]);
    // And reading passes over it without a word.
    assert_eq!(readable(&storage).1, 0);
}

#[test]
fn damage_in_an_older_segment_is_told_by_reading_and_by_checking() {
    let oldest = segments(&filled(60), "ring").remove(0);
    let length = filled(60).bytes(&oldest).unwrap().len();
    for offset in (0..length).step_by(7) {
        let storage = filled(60);
        storage.damage(&oldest, |bytes| bytes[offset] ^= 0x80);
        let (there, told) = readable(&storage);
        assert!(there.len() >= 59, "byte {offset}: {} left", there.len());
        assert!(there.len() == 60 || told > 0 || !open(&storage).1.quarantined.is_empty(), "byte {offset}");

        let (mut journal, opened) = open(&storage);
        let mut found = opened.quarantined;
        while let Some(checked) = journal.check_next().unwrap() {
            found.extend(checked.quarantined);
        }
        assert!(!found.is_empty(), "byte {offset}");
        let missing: Vec<_> = found.iter().flat_map(|one| &one.missing).collect();
        match there.len() {
            60 => assert!(missing.is_empty(), "byte {offset}: {missing:?}"),
            _ => assert_eq!(missing.len(), 1, "byte {offset}: {missing:?}"),
        }
        // Once it has been found, reading goes on in silence.
        assert!(journal.scan(at(0, 0)).all(|stored| stored.is_ok()), "byte {offset}");
    }
}

#[test]
fn whole_files_may_be_emptied_filled_with_noise_or_missing() {
    for set in ["ring", "keep"] {
        for index in 0..segments(&filled(60), set).len() {
            for noise in
                [vec![], vec![0; 5000], (0..9000u32).map(|i| ((i * i) >> 3) as u8).collect::<Vec<_>>()]
            {
                let storage = filled(60);
                let path = segments(&storage, set).remove(index);
                storage.damage(&path, |bytes| *bytes = noise.clone());
                let (mut journal, _) = open(&storage);
                assert!(journal.scan(Position::default()).all(|stored| stored.is_ok()));
                assert_eq!(journal.begin_epoch().unwrap(), 2);
                append(&mut journal).unwrap();
            }
        }
    }
}

#[test]
fn a_record_that_holds_another_ones_bytes_is_not_taken_for_it() {
    let storage = Faulty::new();
    let (mut journal, _) = open(&storage);
    journal.begin_epoch().unwrap();
    journal.append(Class::Ring, b"first").unwrap();
    let path = segments(&storage, "ring").remove(0);
    let entry = storage.bytes(&path).unwrap()[48..].to_vec();
    // The whole first entry as payload, then damage in front of it: what is found inside comes before what is known.
    journal.append(Class::Ring, &entry).unwrap();
    journal.append(Class::Ring, b"third").unwrap();
    drop(journal);
    let at_second = 48 + entry.len();
    storage.damage(&path, |bytes| bytes[at_second + 5] ^= 1);
    let (journal, opened) = open(&storage);
    assert_eq!(opened.quarantined[0].missing, vec![(1, 1, 1)]);
    assert_eq!(journal.read(at(1, 0)).unwrap().as_deref(), Some(&b"first"[..]));
    assert_eq!(journal.read(at(1, 1)).unwrap(), None);
    assert_eq!(journal.read(at(1, 2)).unwrap().as_deref(), Some(&b"third"[..]));
}
