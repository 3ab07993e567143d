//! When nothing goes wrong.

use std::path::Path;
use std::sync::Arc;

use gateway_journal::{Class, CursorFile, JournalError, Position, faulty::Faulty};

use crate::{all, append, at, open, record, try_open};

#[test]
fn what_was_appended_is_read_back_over_many_segments_and_openings() {
    let storage = Faulty::new();
    let mut expected = Vec::new();
    for epoch in 1..=4 {
        let (mut journal, opened) = open(&storage);
        assert_eq!(opened.last.map(|(position, _)| position), expected.last().copied());
        assert_eq!((opened.torn_bytes, opened.quarantined), (0, vec![]));
        assert_eq!(journal.begin_epoch().unwrap(), epoch);
        for seq in 0..40 {
            assert_eq!(journal.next(), at(epoch, seq));
            expected.push(append(&mut journal).unwrap());
        }
        assert_eq!(all(&journal), expected);
        for position in &expected {
            assert_eq!(journal.read(*position).unwrap(), Some(record(*position).1), "{position}");
        }
        assert_eq!(journal.read(at(epoch, 40)).unwrap(), None);
        for from in [at(0, 0), at(1, 7), at(epoch, 39), at(epoch + 1, 0)] {
            let scanned: Vec<_> = journal.scan(from).map(|stored| stored.unwrap().position).collect();
            assert_eq!(scanned, expected.iter().copied().filter(|p| *p >= from).collect::<Vec<_>>());
        }
        assert_eq!(journal.epochs(), (1..=epoch).map(|epoch| (epoch, 0, 39)).collect::<Vec<_>>());
    }
    assert!(storage.paths(Path::new("/j/ring")).len() > 3);
}

#[test]
fn records_appended_together_keep_their_order_over_both_sets() {
    let storage = Faulty::new();
    let (mut journal, _) = open(&storage);
    assert!(matches!(append(&mut journal), Err(JournalError::NoEpoch)));
    journal.begin_epoch().unwrap();
    let records: Vec<_> = (0..9).map(|seq| record(at(1, seq))).collect();
    let borrowed: Vec<_> = records.iter().map(|(class, bytes)| (*class, &bytes[..])).collect();
    assert_eq!(journal.append_all(&borrowed).unwrap(), (0..9).map(|seq| at(1, seq)).collect::<Vec<_>>());
    assert_eq!(all(&journal).len(), 9);
    assert_eq!(journal.append_all(&[]).unwrap(), []);
    assert_eq!(all(&open(&cut(&storage)).0).len(), 9);
}

/// The same storage after everything that was not synced is lost.
fn cut(storage: &Faulty) -> Faulty {
    storage.power_cut(false, |_, durable, _| durable.to_vec());
    storage.clone()
}

#[test]
fn an_epoch_never_comes_twice_even_without_its_file() {
    let storage = Faulty::new();
    for epoch in 1..=3 {
        let (mut journal, _) = open(&storage);
        assert_eq!(journal.begin_epoch().unwrap(), epoch);
        append(&mut journal).unwrap();
    }
    storage.damage(Path::new("/j/epoch"), Vec::clear);
    let (mut journal, _) = open(&storage);
    assert_eq!(journal.next(), at(4, 0));
    assert_eq!(journal.begin_epoch().unwrap(), 4);
    assert_eq!(journal.begin_epoch_above(10).unwrap(), 11);
    drop(journal);
    // Begun, but no record in it: the file alone knows.
    let (mut journal, _) = open(&cut(&storage));
    assert_eq!(journal.begin_epoch().unwrap(), 12);
}

#[test]
fn a_full_ring_gives_up_its_oldest_segment_after_the_caller_has_noted_it() {
    let storage = Faulty::new();
    let (mut journal, _) = open(&storage);
    journal.begin_epoch().unwrap();
    let mut lost = 0;
    for _ in 0..2_000 {
        while let Some(evictable) = journal.must_evict() {
            assert_eq!(evictable.class, Class::Ring);
            assert_eq!(evictable.epochs, vec![(1, evictable.first.seq, evictable.last.seq)]);
            let before = journal.bytes().0;
            journal.evict(&evictable).unwrap();
            assert_eq!(journal.bytes().0, before - evictable.bytes);
            assert_eq!(journal.read(evictable.first).unwrap(), None);
            assert!(matches!(journal.evict(&evictable), Err(JournalError::NotOldest(_))));
            lost += evictable.records;
        }
        let bytes = vec![1; 300];
        journal.append(Class::Ring, &bytes).unwrap();
        assert!(journal.bytes().0 <= journal.limits().ring_bytes);
    }
    let left: Vec<_> = journal.scan(Position::default()).map(|stored| stored.unwrap().position.seq).collect();
    assert_eq!(left, (lost..2_000).collect::<Vec<_>>());
    drop(journal);
    assert_eq!(open(&cut(&storage)).0.epochs(), vec![(1, lost, 1_999)]);
}

#[test]
fn without_eviction_the_ring_refuses_and_so_does_keep() {
    let storage = Faulty::new();
    let (mut journal, _) = open(&storage);
    journal.begin_epoch().unwrap();
    let fill = |journal: &mut gateway_journal::Journal, class| loop {
        if let Err(error) = journal.append(class, &[0; 1000]) {
            return error;
        }
    };
    assert!(matches!(fill(&mut journal, Class::Ring), JournalError::RingFull));
    assert!(matches!(fill(&mut journal, Class::Keep), JournalError::KeepFull));
    let next = journal.next();
    let evictable = journal.must_evict().unwrap();
    journal.evict(&evictable).unwrap();
    assert_eq!(journal.append(Class::Ring, &[0; 1000]).unwrap(), next);
}

#[test]
fn two_owners_at_once_are_refused() {
    let storage = Faulty::new();
    let first = open(&storage);
    assert!(matches!(try_open(&storage), Err(JournalError::Locked(_))));
    drop(first);
    assert!(try_open(&storage).is_ok());
}

#[test]
fn a_cursor_is_the_last_one_saved_or_none() {
    let storage = Faulty::new();
    let path = Path::new("/j/center.cursor");
    let open = || CursorFile::open_on(Arc::new(storage.clone()), path).unwrap();
    assert_eq!(open().get(), None);
    let mut cursor = open();
    cursor.save(at(1, 7)).unwrap();
    cursor.save(at(2, 0)).unwrap();
    storage.power_cut(false, |_, durable, _| durable.to_vec());
    assert_eq!(open().get(), Some(at(2, 0)));
    storage.damage(path, |bytes| bytes[0] ^= 1);
    assert_eq!(open().get(), None);
}
