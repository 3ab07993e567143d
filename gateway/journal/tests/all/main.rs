//! What the journal promises, on a disk that fails and loses power.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::needless_for_each,
    clippy::float_cmp,
    reason = "tests: a panic is the report, and one variant is meant"
)]

mod damage;
mod disk;
mod faults;
mod full;
mod golden;
mod plain;

use std::{path::Path, sync::Arc};

use gateway_journal::{Class, Journal, JournalError, Limits, Opened, Position, faulty::Faulty};

/// Small segments, so that a few records fill several.
const LIMITS: Limits = Limits { ring_bytes: 64 << 10, keep_bytes: 64 << 10, segment_bytes: 4 << 10 };
const DIR: &str = "/j";

fn open(storage: &Faulty) -> (Journal, Opened) {
    try_open(storage).expect("opening never fails for damage")
}

fn try_open(storage: &Faulty) -> Result<(Journal, Opened), JournalError> {
    Journal::open_on(Arc::new(storage.clone()), Path::new(DIR), LIMITS)
}

/// A record that says where it belongs, of a length that depends on it.
fn record(position: Position) -> (Class, Vec<u8>) {
    let class = if position.seq % 3 == 2 { Class::Keep } else { Class::Ring };
    let mut bytes = position.to_string().into_bytes();
    bytes.resize(60 + (position.seq as usize * 37) % 500, position.seq as u8);
    (class, bytes)
}

fn append(journal: &mut Journal) -> Result<Position, JournalError> {
    let (class, bytes) = record(journal.next());
    journal.append(class, &bytes)
}

/// Everything there is, each checked against what was appended at its position.
fn all(journal: &Journal) -> Vec<Position> {
    let mut positions = Vec::new();
    for stored in journal.scan(Position::default()) {
        let stored = stored.expect("no damage that opening did not see");
        assert_eq!((stored.class, stored.bytes), record(stored.position));
        assert!(positions.last().is_none_or(|last| *last < stored.position), "out of order");
        positions.push(stored.position);
    }
    positions
}

fn at(epoch: u64, seq: u64) -> Position {
    Position { epoch, seq }
}
