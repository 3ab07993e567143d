//! A durable, numbered, bounded journal: what was appended is on disk before `append` returns, in two sets of
//! segment files (`ring` for what may be given up, `keep` for what may not) with one numbering.
//!
//! Promises:
//! - A position (epoch, seq) that was returned is found again after any crash; nothing is found that was not
//!   appended. What was being appended during the crash is there whole or not at all, in order.
//! - Positions have no holes while they are written; holes appear only by eviction and damage, and both are told.
//! - Opening succeeds whatever the bytes look like: a torn tail is cut, damage elsewhere is skipped, kept aside and
//!   reported, so that the caller can write down what is missing. Only the operating system's own errors stop it.
//! - Where the disk or the keep set is full, what says so can still be written: room for it is set aside
//!   ([`Journal::append_reserved`]).
//! - An epoch is durable before its first record, and never used twice.
//! - After a failed write or sync the same descriptor is never trusted again.
//!
//! Leaves out: what the bytes mean, signatures, who has received what, when to sync (always), threads (one owner
//! appends and reads; share it through a task of its own).
//!
//! `format.rs` describes the files.

mod cursor;
mod epoch;
mod error;
pub mod faulty;
mod format;
mod journal;
mod open;
mod reserve;
mod scan;
mod segment;
mod storage;
mod upkeep;

pub use cursor::{CursorFile, replace_file};
pub use error::JournalError;
pub use format::ENTRY_MAX;
pub use journal::Journal;
pub use open::{Opened, Quarantined};
pub use reserve::Room;
pub use scan::{Scan, Stored};
pub use storage::{Disk, Handle, Storage};
pub use upkeep::{Checked, Evictable};

/// Which set of segment files a record lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// May be evicted, oldest first, once its loss is on record.
    Ring,
    /// Never given up by itself.
    Keep,
}

impl Class {
    /// Both sets.
    pub const ALL: [Self; 2] = [Self::Ring, Self::Keep];

    fn folder(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Keep => "keep",
        }
    }
}

/// Where a record stands. Ordered by epoch, then by seq.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Life of the journal.
    pub epoch: u64,
    /// Number in it, from 0.
    pub seq: u64,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.epoch, self.seq)
    }
}

/// How much the journal may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of `ring`: at the limit the oldest segment has to go ([`Journal::must_evict`]).
    pub ring_bytes: u64,
    /// Of `keep`: at the limit less [`Limits::reserve_bytes`] [`JournalError::KeepFull`].
    pub keep_bytes: u64,
    /// Of one segment file: between 4 KiB and 16 MiB, and at most a quarter of the ring.
    pub segment_bytes: u64,
}

impl Default for Limits {
    /// 1 GiB of readings, 256 MiB of everything else. A segment is what one eviction gives up, and what an opening
    /// reads to the last byte.
    fn default() -> Self {
        Self { ring_bytes: 1 << 30, keep_bytes: 256 << 20, segment_bytes: 4 << 20 }
    }
}

impl Limits {
    fn sane(self) -> Self {
        let most = (self.ring_bytes / 4).clamp(4 << 10, 16 << 20);
        Self { segment_bytes: self.segment_bytes.clamp(4 << 10, most), ..self }
    }
}
