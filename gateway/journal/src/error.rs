//! What can go wrong, in words for the person who runs the gateway.

use std::{io, path::PathBuf};

use crate::{Class, Position};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error("{doing} {}", path.display())]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: io::Error,
    },
    /// Another process has this journal open.
    #[error("another process has the journal in {} open", .0.display())]
    Locked(PathBuf),
    /// Nothing can be appended before [`crate::Journal::begin_epoch`], nor to a journal opened for reading.
    #[error("no epoch has begun")]
    NoEpoch,
    /// One record is larger than an entry may be.
    #[error("a record of {0} bytes: at most {max}", max = crate::ENTRY_MAX)]
    TooLarge(usize),
    /// The ring is at its limit: the caller evicts as [`crate::Journal::must_evict`] says, then tries again.
    #[error("the ring is full: its oldest segment has to be evicted first")]
    RingFull,
    /// The keep set is at its limit; the caller decides what gives way.
    #[error("the keep set is full")]
    KeepFull,
    /// A write failed and so did the attempt to take it back: the journal has to be opened anew.
    #[error("an earlier write failed and could not be taken back: open the journal anew")]
    Broken,
    /// Written by a later release: nothing is cut or guessed at.
    #[error(
        "{} has format {version}, this release reads {known}: start the release that wrote it",
        path.display(),
        known = crate::format::VERSION
    )]
    Version {
        /// Which segment.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// Only the oldest segment of a set may be evicted, and not the one being written.
    #[error("segment {0} is not the oldest that may be evicted")]
    NotOldest(u64),
    /// Bytes that are no entry, found while reading. The reader goes on after them.
    #[error("{bytes} damaged bytes in segment {segment} of {class:?}, offset {offset}, after {after:?}")]
    Damaged {
        /// In which set.
        class: Class,
        /// In which segment.
        segment: u64,
        /// Where.
        offset: u64,
        /// How many.
        bytes: u64,
        /// The last good record before them in this set.
        after: Option<Position>,
    },
}

impl JournalError {
    /// The disk, its inodes, a quota or a limit of the journal is used up: it passes when room is made.
    pub fn is_full(&self) -> bool {
        match self {
            Self::KeepFull | Self::RingFull => true,
            Self::Io { source, .. } => crate::journal::is_full(source),
            Self::Locked(_)
            | Self::NoEpoch
            | Self::TooLarge(_)
            | Self::Broken
            | Self::Version { .. }
            | Self::NotOldest(_)
            | Self::Damaged { .. } => false,
        }
    }

    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
