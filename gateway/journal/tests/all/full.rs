//! Disks that are full, read-only or out of files; and the room set aside for what has to be written all the same.
//! F5, F6 and F27 of the project's list of failures.

use std::path::Path;

use gateway_journal::{Class, Journal, JournalError, Position, Quarantined, faulty::Fault, faulty::Faulty};

use crate::{LIMITS, append, at, open, try_open};

/// Something that has to be written: says where it belongs.
fn needed(journal: &mut Journal) -> Result<Position, JournalError> {
    let bytes = journal.next().to_string().into_bytes();
    let positions = journal.append_reserved(&[&bytes])?;
    Ok(positions[0])
}

/// Everything there is, in order, whatever it says.
fn there(journal: &Journal) -> Vec<Position> {
    let found: Vec<_> = journal.scan(Position::default()).map(|stored| stored.unwrap().position).collect();
    assert!(found.is_sorted(), "out of order");
    found
}

fn after_a_power_cut(storage: &Faulty) -> (Journal, Vec<Quarantined>) {
    storage.power_cut(false, |_, durable, _| durable.to_vec());
    let (journal, opened) = open(storage);
    (journal, opened.quarantined)
}

#[test]
fn on_a_full_disk_what_has_to_be_written_still_is() {
    let storage = Faulty::new();
    let (mut journal, _) = open(&storage);
    journal.begin_epoch().unwrap();
    let mut acknowledged: Vec<_> = (0..20).map(|_| append(&mut journal).unwrap()).collect();
    storage.room(storage.used(), usize::MAX);
    let refused = append(&mut journal).unwrap_err();
    assert!(refused.is_full(), "{refused}");
    let before = acknowledged.len();
    let last = loop {
        match needed(&mut journal) {
            Ok(position) => acknowledged.push(position),
            Err(error) => break error,
        }
    };
    assert!(last.is_full(), "{last}");
    // 16 KiB less the heads of segment and entries.
    assert!(acknowledged.len() - before > 300, "{} records", acknowledged.len() - before);
    assert_eq!(there(&journal), acknowledged);
    drop(journal);

    // Killed and started again on the same full disk, with nothing left.
    let (mut journal, quarantined) = after_a_power_cut(&storage);
    assert_eq!((there(&journal), quarantined), (acknowledged.clone(), vec![]));
    assert_eq!(journal.begin_epoch().unwrap(), 2, "an epoch begins without room");
    while let Ok(position) = needed(&mut journal) {
        // What the failed attempts left behind has been cleared away.
        acknowledged.push(position);
    }

    // Room comes back: the reserve is whole again, and the next append is an ordinary one.
    storage.unlimited();
    acknowledged.push(append(&mut journal).unwrap());
    assert!(journal.mend_reserve().unwrap() >= LIMITS.reserve_bytes());
    for _ in 0..10 {
        acknowledged.push(append(&mut journal).unwrap());
    }
    let (journal, quarantined) = after_a_power_cut(&storage);
    assert_eq!((there(&journal), quarantined), (acknowledged, vec![]));
}

#[test]
fn ordinary_records_leave_the_reserve_alone() {
    let storage = Faulty::new();
    let (mut journal, _) = open(&storage);
    journal.begin_epoch().unwrap();
    let full = loop {
        if let Err(error) = journal.append(Class::Keep, &[0; 1000]) {
            break error;
        }
    };
    assert!(matches!(full, JournalError::KeepFull));
    assert!(journal.bytes().1 <= LIMITS.keep_bytes - LIMITS.reserve_bytes());
    let mut extra = 0;
    while needed(&mut journal).is_ok() {
        extra += 1;
    }
    assert!(extra > 300 && journal.bytes().1 <= LIMITS.keep_bytes, "{extra}");
    let oldest = journal.oldest(Class::Keep).unwrap();
    journal.evict(&oldest).unwrap();
    needed(&mut journal).unwrap();
}

#[test]
fn a_disk_of_any_size_fills_up_without_loss_and_works_again() {
    let whole = {
        let storage = Faulty::new();
        let (mut journal, _) = open(&storage);
        journal.begin_epoch().unwrap();
        for _ in 0..60 {
            append(&mut journal).unwrap();
        }
        storage.used()
    };
    for room in (9_000..whole).step_by(97) {
        let storage = Faulty::new();
        storage.room(room, usize::MAX);
        let Ok((mut journal, _)) = try_open(&storage) else { panic!("{room}: opening needs no room") };
        if let Err(error) = journal.begin_epoch() {
            assert!(error.is_full(), "{room}: {error}");
            continue;
        }
        let mut acknowledged = Vec::new();
        for i in 0..120 {
            match if i % 7 == 0 { needed(&mut journal) } else { append(&mut journal) } {
                Ok(position) => acknowledged.push(position),
                Err(error) => assert!(error.is_full(), "{room}: {error}"),
            }
        }
        assert_eq!(there(&journal), acknowledged, "{room}");
        drop(journal);
        let (mut journal, quarantined) = after_a_power_cut(&storage);
        assert_eq!((there(&journal), quarantined), (acknowledged.clone(), vec![]), "{room}");
        storage.unlimited();
        journal.begin_epoch().unwrap();
        acknowledged.push(append(&mut journal).unwrap());
        assert_eq!(there(&journal), acknowledged, "{room}");
    }
}

#[test]
fn a_full_disk_and_a_failure_at_any_point_lose_nothing_that_was_acknowledged() {
    // Killed or powered off at each change while the reserve is in use.
    let run = |fault: Option<(usize, Fault)>| {
        let storage = Faulty::new();
        let (mut journal, _) = open(&storage);
        journal.begin_epoch().unwrap();
        let mut acknowledged: Vec<_> = (0..6).map(|_| append(&mut journal).unwrap()).collect();
        storage.room(storage.used(), usize::MAX);
        let before = storage.changes();
        if let Some((n, fault)) = fault {
            storage.fail(n, fault);
        }
        for i in 0..12 {
            if i == 8 {
                storage.unlimited();
            }
            let done = if i < 8 { needed(&mut journal) } else { append(&mut journal) };
            if let Ok(position) = done {
                acknowledged.push(position);
            }
        }
        drop(journal);
        (storage.clone(), acknowledged, storage.changes() - before)
    };
    let (_, _, changes) = run(None);
    assert!(changes > 20);
    for fault in [Fault::Refused, Fault::Partly(1), Fault::Partly(37), Fault::Dead] {
        for n in 0..changes {
            // Of what was not synced the disk may have kept any blocks, in any order.
            for seed in 0..8u64 {
                let (storage, acknowledged, _) = run(Some((n, fault)));
                let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
                storage.power_cut(seed % 2 == 0, |_, durable, seen| {
                    let mut left = seen.to_vec();
                    for (i, block) in left.chunks_mut(512).enumerate() {
                        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        if dice >> 62 == 0 {
                            let old = durable.get(i * 512..).unwrap_or_default();
                            block.fill(0);
                            let n = old.len().min(block.len());
                            block[..n].copy_from_slice(&old[..n]);
                        }
                    }
                    left
                });
                let (mut journal, opened) = open(&storage);
                let found = there(&journal);
                let lost: Vec<_> = acknowledged.iter().filter(|one| !found.contains(one)).collect();
                assert!(lost.is_empty(), "{fault:?} at {n}, seed {seed}: {lost:?} of {acknowledged:?}");
                assert!(opened.quarantined.iter().all(|one| one.missing.is_empty()), "{opened:?}");
                journal.begin_epoch().unwrap();
                append(&mut journal).unwrap();
            }
        }
    }
}

#[test]
fn no_more_files_is_as_full_as_no_more_bytes() {
    let storage = Faulty::new();
    let (mut journal, _) = open(&storage);
    journal.begin_epoch().unwrap();
    append(&mut journal).unwrap();
    storage.room(usize::MAX, storage.paths(Path::new("/j")).len());
    let (mut acknowledged, mut refused) = (vec![at(1, 0)], 0);
    for _ in 0..200 {
        match append(&mut journal) {
            Ok(position) => acknowledged.push(position),
            Err(error) => {
                assert!(error.is_full(), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
    acknowledged.push(needed(&mut journal).unwrap());
    storage.unlimited();
    acknowledged.push(append(&mut journal).unwrap());
    let (journal, quarantined) = after_a_power_cut(&storage);
    assert_eq!((there(&journal), quarantined), (acknowledged, vec![]));
}

#[test]
fn a_disk_that_became_read_only_stops_the_journal_and_loses_nothing() {
    let storage = Faulty::new();
    let (mut journal, _) = open(&storage);
    journal.begin_epoch().unwrap();
    let mut acknowledged: Vec<_> = (0..9).map(|_| append(&mut journal).unwrap()).collect();
    storage.read_only(true);
    let error = append(&mut journal).unwrap_err();
    assert!(!error.is_full(), "somebody has to look at it: {error}");
    assert!(matches!(needed(&mut journal), Err(JournalError::Broken)));
    drop(journal);
    storage.read_only(false);
    let (mut journal, quarantined) = after_a_power_cut(&storage);
    assert_eq!((there(&journal), quarantined), (acknowledged.clone(), vec![]));
    journal.begin_epoch().unwrap();
    acknowledged.push(append(&mut journal).unwrap());
    assert_eq!(there(&journal), acknowledged);
}

#[test]
fn a_segment_of_a_later_release_is_refused_and_left_as_it_is() {
    let storage = Faulty::new();
    let (mut journal, _) = open(&storage);
    journal.begin_epoch().unwrap();
    append(&mut journal).unwrap();
    drop(journal);
    let path = storage.paths(Path::new("/j/ring")).remove(0);
    storage.damage(&path, |bytes| {
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..40]);
        bytes[40..44].copy_from_slice(&crc.to_le_bytes());
    });
    let before = storage.bytes(&path);
    let error = try_open(&storage).map(|_| ()).unwrap_err();
    assert!(matches!(error, JournalError::Version { version: 2, .. }), "{error}");
    assert_eq!(
        error.to_string(),
        format!("{} has format 2, this release reads 1: start the release that wrote it", path.display())
    );
    assert_eq!(storage.bytes(&path), before);
}

#[test]
fn an_epoch_file_of_one_line_is_read_and_the_next_one_survives_a_torn_slot() {
    let storage = Faulty::new();
    let (mut journal, _) = open(&storage);
    assert_eq!(journal.begin_epoch().unwrap(), 1);
    drop(journal);
    let path = Path::new("/j/epoch");
    // As written before there were two slots.
    storage.damage(path, |bytes| {
        let line = bytes[4096..].iter().position(|byte| *byte == b'\n').unwrap();
        *bytes = bytes[4096..=4096 + line].to_vec();
    });
    let (mut journal, _) = open(&storage);
    assert_eq!([journal.begin_epoch().unwrap(), journal.begin_epoch().unwrap()], [2, 3]);
    drop(journal);
    for byte in [0, 5] {
        // Epoch 4 was being written over epoch 2.
        storage.damage(path, |bytes| bytes[byte] = b'x');
        assert_eq!(open(&storage).0.next().epoch, 4);
    }
}

#[test]
fn checking_goes_through_both_sets_and_sees_segments_that_fill_up_later() {
    let storage = Faulty::new();
    let (mut journal, _) = open(&storage);
    journal.begin_epoch().unwrap();
    let mut checked = Vec::new();
    for _ in 0..3 {
        for _ in 0..60 {
            append(&mut journal).unwrap();
        }
        while let Some(one) = journal.check_next().unwrap() {
            assert_eq!(one.quarantined, vec![]);
            checked.push((one.class, one.segment));
        }
    }
    let full = storage.paths(Path::new("/j")).len() - 4;
    assert_eq!(checked.len(), full, "all but the two being written, epoch, reserve");
    checked.sort_unstable();
    checked.dedup();
    assert_eq!(checked.len(), full, "each once");
    journal.check_again();
    assert!(journal.check_next().unwrap().is_some());
}
