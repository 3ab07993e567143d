//! F27: a journal that an earlier release left behind is read, whole, and goes on.
//!
//! `golden/v1` is a journal of the first format: two lives, evicted segments, a damaged place set aside, the reserve, a
//! cursor. A released one is never edited; `NONSITE_GOLDEN=write` writes one that does not exist yet, and only that.

use std::{
    fs,
    path::{Path, PathBuf},
};

use gateway_journal::{Class, CursorFile, Journal, Limits, Position};

use crate::{append, at, record};

/// Those of the journal in `golden/v1`. Larger ones are as good: limits are settings and change.
const LIMITS: Limits = Limits { ring_bytes: 16 << 10, keep_bytes: 32 << 10, segment_bytes: 4 << 10 };

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Positions that can be read, one a line, each with what stands there checked.
fn readable(journal: &Journal) -> String {
    let stored = journal.scan(Position::default()).map(|stored| {
        let stored = stored.unwrap();
        assert_eq!((stored.class, stored.bytes), record(stored.position), "{}", stored.position);
        format!("{}\n", stored.position)
    });
    stored.collect()
}

/// What `NONSITE_GOLDEN=write` writes.
fn write(folder: &Path) {
    let dir = folder.join("journal");
    fs::create_dir_all(&dir).unwrap();
    for life in 0..2 {
        let (mut journal, _) = Journal::open(&dir, LIMITS).unwrap();
        journal.begin_epoch().unwrap();
        for _ in 0..60 {
            while let Some(evictable) = journal.must_evict() {
                journal.evict(&evictable).unwrap();
            }
            append(&mut journal).unwrap();
        }
        if life == 1 {
            // Numbers 60 to 62: the next of the keep set is 62.
            append(&mut journal).unwrap();
            append(&mut journal).unwrap();
            journal.append_reserved(&[&record(journal.next()).1]).unwrap();
        } else {
            let mut cursor = CursorFile::open(&folder.join("cursor")).unwrap();
            cursor.save(journal.last().unwrap()).unwrap();
        }
        drop(journal);
        if life == 0 {
            let newest = fs::read_dir(dir.join("ring")).unwrap().map(|entry| entry.unwrap().path()).max();
            let path = newest.unwrap();
            let mut bytes = fs::read(&path).unwrap();
            bytes[100] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    let (journal, _) = Journal::open_read_only(&dir).unwrap();
    fs::write(folder.join("readable"), readable(&journal)).unwrap();
    fs::remove_file(dir.join("lock")).ok();
}

#[test]
fn a_journal_of_the_first_format_is_read_whole_and_goes_on() {
    let golden = golden();
    if !golden.exists() && std::env::var("NONSITE_GOLDEN").is_ok_and(|word| word == "write") {
        write(&golden);
    }
    let expected = fs::read_to_string(golden.join("readable")).unwrap();
    assert!(expected.lines().count() > 60, "two lives, less what was evicted");
    let folder = tempfile::tempdir().unwrap();
    copy(&golden, folder.path());
    let dir = folder.path().join("journal");
    let (journal, _) = Journal::open_read_only(&dir).unwrap();
    assert_eq!(readable(&journal), expected, "looked at");
    drop(journal);
    for limits in [LIMITS, Limits::default()] {
        let (mut journal, opened) = Journal::open(&dir, limits).unwrap();
        assert!(readable(&journal).starts_with(&expected));
        assert_eq!(opened.torn_bytes, 0);
        let epoch = journal.begin_epoch().unwrap();
        assert!(epoch > 2, "an epoch never comes twice");
        while let Some(evictable) = journal.must_evict() {
            journal.evict(&evictable).unwrap();
        }
        let next = journal.next();
        journal.append(Class::Keep, &record(at(next.epoch, 2)).1).unwrap();
        drop(journal);
        let (journal, _) = Journal::open_read_only(&dir).unwrap();
        assert_eq!(journal.last(), Some(next));
        drop(journal);
        // As it was, for the next round.
        fs::remove_dir_all(&dir).unwrap();
        copy(&golden.join("journal"), &dir);
    }
    let cursor = CursorFile::open(&folder.path().join("cursor")).unwrap();
    assert_eq!(cursor.get(), Some(at(1, 59)));
}
