//! Every write, sync, rename and removal fails once, in every way; power goes at every moment.

use std::path::Path;

use gateway_journal::{
    Class, Journal, JournalError, Position,
    faulty::{Fault, Faulty},
};

use crate::{all, append, at, open, record, try_open};

/// Two openings with some records each, evictions too. Gives what was acknowledged and what was being written when
/// something failed.
fn day(storage: &Faulty) -> (Vec<Position>, Result<(), JournalError>) {
    let mut acknowledged = Vec::new();
    let result = (|| {
        for _ in 0..2 {
            let (mut journal, _) = try_open(storage)?;
            journal.begin_epoch()?;
            for _ in 0..12 {
                acknowledged.push(append(&mut journal)?);
            }
            let together: Vec<_> =
                (0..4).map(|i| record(at(journal.next().epoch, journal.next().seq + i))).collect();
            let together: Vec<_> = together.iter().map(|(class, bytes)| (*class, &bytes[..])).collect();
            acknowledged.extend(journal.append_all(&together)?);
        }
        Ok(())
    })();
    (acknowledged, result)
}

/// What is there begins with what was acknowledged; anything more was being written.
fn check_prefix(journal: &Journal, acknowledged: &[Position]) {
    let there = all(journal);
    assert!(there.starts_with(acknowledged), "{} acknowledged, {} there", acknowledged.len(), there.len());
    assert!(there.len() <= acknowledged.len() + 4);
    for pair in there.windows(2) {
        let follows = pair[1].epoch > pair[0].epoch && pair[1].seq == 0 || pair[1].seq == pair[0].seq + 1;
        assert!(follows, "a hole between {} and {}", pair[0], pair[1]);
    }
}

#[test]
fn a_failed_operation_loses_nothing_that_was_acknowledged() {
    let total = {
        let storage = Faulty::new();
        day(&storage).1.unwrap();
        storage.changes()
    };
    for fault in [
        Fault::Refused,
        Fault::Partly(0),
        Fault::Partly(1),
        Fault::Partly(40),
        Fault::Partly(200),
        Fault::Dropped,
        Fault::Dead,
    ] {
        for n in 0..total {
            let storage = Faulty::new();
            storage.fail(n, fault);
            let (acknowledged, result) = day(&storage);
            assert!(result.is_err(), "change {n} did not matter?");
            storage.mend();
            // The process goes on (lock released, page cache as it was), or the power went.
            check_prefix(&open(&storage).0, &acknowledged);
            storage.power_cut(false, |_, durable, _| durable.to_vec());
            let (mut journal, _) = open(&storage);
            check_prefix(&journal, &acknowledged);
            let epoch = journal.begin_epoch().unwrap();
            assert!(acknowledged.last().is_none_or(|last| epoch > last.epoch));
            append(&mut journal).unwrap();
        }
    }
}

#[test]
fn the_same_journal_goes_on_after_a_failure_or_says_that_it_cannot() {
    for fault in [Fault::Refused, Fault::Partly(100), Fault::Dropped, Fault::Dead] {
        for n in 0..40 {
            let storage = Faulty::new();
            let (mut journal, _) = open(&storage);
            journal.begin_epoch().unwrap();
            storage.fail(n, fault);
            let mut acknowledged = Vec::new();
            let mut failures = 0;
            while acknowledged.len() < 30 && failures < 5 {
                match append(&mut journal) {
                    Ok(position) => acknowledged.push(position),
                    Err(JournalError::Broken) => break,
                    Err(_) => failures += 1,
                }
            }
            assert!(fault == Fault::Dead || acknowledged.len() == 30, "change {n}: {failures} failures");
            drop(journal);
            storage.power_cut(false, |_, durable, _| durable.to_vec());
            check_prefix(&open(&storage).0, &acknowledged);
        }
    }
}

#[test]
fn after_a_failed_sync_the_disk_that_says_all_is_well_is_not_believed() {
    // The control: what a failed sync dropped is not made durable by the next one that succeeds.
    let storage = Faulty::new();
    let path = Path::new("/f");
    let file = gateway_journal::Storage::create(&storage, path).unwrap();
    file.write_at(0, b"first").unwrap();
    file.sync().unwrap();
    file.write_at(5, b" dropped").unwrap();
    storage.fail(0, Fault::Dropped);
    file.sync().unwrap_err();
    file.write_at(13, b" last").unwrap();
    file.sync().unwrap();
    drop(file);
    gateway_journal::Storage::sync_dir(&storage, Path::new("/")).unwrap();
    storage.power_cut(false, |_, durable, _| durable.to_vec());
    assert_eq!(storage.bytes(path).unwrap(), b"first\0\0\0\0\0\0\0\0 last");

    // The journal, for every sync: what it acknowledged after the failure is there after a power cut.
    let run = |n: usize| {
        let storage = Faulty::new();
        let (mut journal, _) = open(&storage);
        journal.begin_epoch().unwrap();
        let before: Vec<_> = (0..7).map(|_| append(&mut journal).unwrap()).collect();
        storage.fail(n, Fault::Dropped);
        let mut acknowledged = before;
        let mut failures = 0;
        while acknowledged.len() < 40 && failures < 3 {
            match append(&mut journal) {
                Ok(position) => acknowledged.push(position),
                Err(_) => failures += 1,
            }
        }
        assert_eq!(acknowledged.len(), 40, "change {n}: a disk that fails once is no reason to stop");
        drop(journal);
        storage.power_cut(false, |_, durable, _| durable.to_vec());
        check_prefix(&open(&storage).0, &acknowledged);
        failures
    };
    assert!(
        (0..60).map(run).sum::<u32>() >= 40,
        "most changes of an append are writes and syncs that matter"
    );
}

#[test]
fn power_may_go_with_any_part_of_the_last_batch_on_disk() {
    // Blocks of 16 bytes of what was not synced survive or not, as if the disk wrote them in any order.
    for seed in 0..400u64 {
        let storage = Faulty::new();
        let (mut journal, _) = open(&storage);
        journal.begin_epoch().unwrap();
        let acknowledged: Vec<_> = (0..10).map(|_| append(&mut journal).unwrap()).collect();
        let batch: Vec<_> = (10..14).map(|seq| record(at(1, seq)).1).collect();
        let batch: Vec<_> = batch.iter().map(|bytes| (Class::Ring, &bytes[..])).collect();
        // The write goes through, the sync and all after it do not.
        storage.fail(1, Fault::Dead);
        journal.append_all(&batch).unwrap_err();
        assert!(matches!(append(&mut journal), Err(JournalError::Broken)));
        drop(journal);
        let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        storage.power_cut(false, |_, durable, seen| {
            let mut left = seen.to_vec();
            for (i, block) in left.chunks_mut(16).enumerate() {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if dice >> 63 == 0 {
                    let old = durable.get(i * 16..).unwrap_or_default();
                    block.fill(0);
                    let n = old.len().min(block.len());
                    block[..n].copy_from_slice(&old[..n]);
                } else {
                    let old = durable.get(i * 16..).unwrap_or_default();
                    let n = old.len().min(block.len());
                    block[..n].copy_from_slice(&old[..n]);
                }
            }
            left
        });
        let (journal, opened) = open(&storage);
        assert_eq!(opened.quarantined, vec![], "a torn batch is no damage");
        let there: Vec<_> = journal.scan(Position::default()).map(|stored| stored.unwrap()).collect();
        assert!(there.len() >= acknowledged.len() && there.len() <= acknowledged.len() + 4);
        for (seq, stored) in there.iter().enumerate() {
            assert_eq!(stored.position, at(1, seq as u64), "seed {seed}");
            assert_eq!(stored.bytes, record(stored.position).1);
        }
    }
}

#[test]
fn cut_at_every_byte_it_reopens_with_a_prefix() {
    let build = || {
        let storage = Faulty::new();
        let (mut journal, _) = open(&storage);
        journal.begin_epoch().unwrap();
        let all: Vec<_> = (0..30).map(|_| append(&mut journal).unwrap()).collect();
        drop(journal);
        (storage, all)
    };
    for folder in ["/j/ring", "/j/keep"] {
        let newest = build().0.paths(Path::new(folder)).pop().unwrap();
        let length = build().0.bytes(&newest).unwrap().len();
        for cut in 0..length {
            let (storage, appended) = build();
            storage.damage(&newest, |bytes| bytes.truncate(cut));
            let (mut journal, opened) = open(&storage);
            assert_eq!(opened.quarantined, vec![], "{folder} cut at {cut}");
            // The other set is whole; of this one a prefix is left.
            let of = |positions: &[Position], this: bool| -> Vec<Position> {
                let class = if folder == "/j/ring" { Class::Ring } else { Class::Keep };
                positions.iter().copied().filter(|position| (record(*position).0 == class) == this).collect()
            };
            let there = all(&journal);
            assert!(of(&appended, true).starts_with(&of(&there, true)), "{folder} cut at {cut}");
            assert_eq!(of(&appended, false), of(&there, false), "{folder} cut at {cut}");
            journal.begin_epoch().unwrap();
            append(&mut journal).unwrap();
            assert_eq!(journal.last(), Some(at(2, 0)));
        }
    }
}
