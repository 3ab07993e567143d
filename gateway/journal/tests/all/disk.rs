//! The same on the operating system's files, with a process that is killed.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use gateway_journal::{Class, Journal, JournalError, Limits, replace_file};

use crate::{LIMITS, all, append};

const CHILD: &str = "NONSITE_JOURNAL_CHILD";

#[test]
fn a_journal_on_disk_is_locked_reopened_and_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(dir.path(), LIMITS).unwrap();
    journal.begin_epoch().unwrap();
    let appended: Vec<_> = (0..50).map(|_| append(&mut journal).unwrap()).collect();
    assert!(matches!(Journal::open(dir.path(), LIMITS), Err(JournalError::Locked(_))));

    let (mut looking, opened) = Journal::open_read_only(dir.path()).unwrap();
    assert_eq!(opened.last.map(|(position, _)| position), appended.last().copied());
    assert_eq!(all(&looking), appended);
    assert!(matches!(looking.begin_epoch(), Err(JournalError::NoEpoch)));
    drop(journal);
    assert_eq!(all(&Journal::open(dir.path(), LIMITS).unwrap().0), appended);
}

#[test]
fn a_file_is_replaced_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    replace_file(&path, b"old").unwrap();
    std::fs::write(dir.path().join("key.new"), b"left by a crash").unwrap();
    replace_file(&path, b"new").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    assert!(matches!(replace_file(&dir.path().join("none/key"), b""), Err(JournalError::Io { .. })));
}

/// Not a test of its own: the process that the next one kills. Says each position once it is acknowledged.
#[test]
fn child() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let (mut journal, _) = Journal::open(Path::new(&dir), LIMITS).unwrap();
    journal.begin_epoch().unwrap();
    loop {
        while let Some(evictable) = journal.must_evict() {
            journal.evict(&evictable).unwrap();
        }
        while let Some(evictable) = journal.oldest(Class::Keep).filter(|_| journal.bytes().1 > 40 << 10) {
            journal.evict(&evictable).unwrap();
        }
        println!("+{}", append(&mut journal).unwrap());
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=8u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "disk::child", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last = None;
        // Killed after another number of records each time, in the middle of whatever it does then.
        let mut left = 20 + round * 17;
        for line in lines.by_ref() {
            let line = line.unwrap();
            // libtest may write before the first one on the same line.
            let Some(position) = line.rsplit_once('+').map(|(_, position)| position.to_owned()) else {
                continue;
            };
            last = Some(position);
            left -= 1;
            if left == 0 {
                child.kill().unwrap();
                break;
            }
        }
        // What it said before the signal arrived.
        for line in lines.map_while(Result::ok) {
            last = line.rsplit_once('+').map(|(_, position)| position.to_owned()).or(last);
        }
        child.wait().unwrap();
        let (journal, opened) = Journal::open(dir.path(), LIMITS).unwrap();
        assert_eq!(opened.quarantined, vec![]);
        let there = all(&journal);
        let last = last.unwrap();
        assert!(there.iter().any(|position| position.to_string() == last), "round {round}: {last} is lost");
        assert_eq!(there.last().unwrap().epoch, round);
        let ring: Vec<_> = journal.epochs();
        assert!(ring.iter().any(|(epoch, _, _)| *epoch == round));
    }
}

#[test]
fn an_impossible_limit_is_made_sane() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { ring_bytes: 100 << 10, keep_bytes: 1 << 20, segment_bytes: u64::MAX };
    let (journal, _) = Journal::open(dir.path(), limits).unwrap();
    assert_eq!(journal.limits().segment_bytes, 25 << 10);
}
