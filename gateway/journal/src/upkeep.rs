//! What an owner does between appends: give up the oldest, read through what was written long ago.

use crate::{
    Class, Journal, JournalError, Position, Quarantined,
    segment::{self, Segment},
};

/// The segment of a set that goes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evictable {
    /// Its set.
    pub class: Class,
    /// Its number.
    pub segment: u64,
    /// First record in it.
    pub first: Position,
    /// Last record in it.
    pub last: Position,
    /// How many records.
    pub records: u64,
    /// Bytes that become free.
    pub bytes: u64,
    /// Epoch, first seq and last seq of its records: one gap record each. Numbers between them that live in the
    /// other set are not lost.
    pub epochs: Vec<(u64, u64, u64)>,
}

/// Result of checking one segment.
#[derive(Debug)]
pub struct Checked {
    /// In which set.
    pub class: Class,
    /// Which segment.
    pub segment: u64,
    /// What is damaged in it.
    pub quarantined: Vec<Quarantined>,
}

impl Journal {
    /// The ring has no room for another segment: the caller makes a gap record for this durable, then calls
    /// [`Journal::evict`] with it, and asks again.
    pub fn must_evict(&self) -> Option<Evictable> {
        let room = self.bytes_of(Class::Ring) + self.limits().segment_bytes <= self.limits().ring_bytes;
        if room { None } else { self.oldest(Class::Ring) }
    }

    /// The oldest segment of a set, unless it is the one being written.
    pub fn oldest(&self, class: Class) -> Option<Evictable> {
        self.evictable(class).next()
    }

    /// The segments of a set, oldest first, but for the one being written.
    pub fn evictable(&self, class: Class) -> impl Iterator<Item = Evictable> {
        let segments = &self.set(class).segments;
        let done = segments.iter().zip(1..).filter(|(segment, n)| segment.full || *n < segments.len());
        done.map(move |(segment, _)| {
            let spans = &segment.contents.spans;
            Evictable {
                class,
                segment: segment.number,
                first: segment.first().unwrap_or_default(),
                last: segment.last().unwrap_or_default(),
                records: spans.iter().map(|span| span.records).sum(),
                bytes: segment.bytes,
                epochs: spans.iter().map(|span| (span.epoch, span.first, span.last)).collect(),
            }
        })
    }

    /// Removes the oldest segment. Its loss must be on record by now.
    pub fn evict(&mut self, evictable: &Evictable) -> Result<(), JournalError> {
        let class = evictable.class;
        if self.oldest(class).as_ref() != Some(evictable) || self.lock.is_none() {
            return Err(JournalError::NotOldest(evictable.segment));
        }
        let folder = self.places.set(class);
        let Some(oldest) = self.set(class).segments.front() else {
            return Err(JournalError::NotOldest(evictable.segment));
        };
        self.storage.remove(&oldest.path).map_err(JournalError::io("remove", &oldest.path))?;
        self.set_mut(class).segments.pop_front();
        self.storage.sync_dir(&folder).map_err(JournalError::io("sync folder", &folder))
    }

    /// Bytes of a set in segments that hold anything after `position`: what nobody else has, if somebody has all up
    /// to there.
    pub fn bytes_after(&self, class: Class, position: Option<Position>) -> u64 {
        let after = |segment: &&Segment| segment.last() > position;
        self.set(class).segments.iter().filter(after).map(|segment| segment.bytes).sum()
    }

    /// Reads one full segment that has not been read since the start and reports new damage in it; `None` when all have
    /// been. An opening reads only what was last written: call this now and then when there is nothing else to do.
    pub fn check_next(&mut self) -> Result<Option<Checked>, JournalError> {
        let unread = |class: Class| {
            let checked = self.checked[class as usize];
            let full = self.set(class).segments.iter().filter(|segment| segment.full);
            full.filter(|segment| segment.number > checked).map(|segment| segment.number).min()
        };
        let next = Class::ALL.into_iter().find_map(|class| Some((class, unread(class)?)));
        let Some((class, number)) = next else { return Ok(None) };
        let segments = &self.set(class).segments;
        let index = segments.iter().position(|segment| segment.number == number).unwrap_or_default();
        let whole = segments[index].read_whole(&*self.storage)?;
        let survey = segment::survey(&whole, class, None, false);
        let damage = survey.damage.into_iter().map(|damage| (class, number, damage)).collect();
        let quarantined = self.quarantine(damage)?;
        // Known from now on: a scan passes over it without a word.
        self.set_mut(class).segments[index].contents.damaged = survey.contents.damaged;
        self.checked[class as usize] = number;
        Ok(Some(Checked { class, segment: number, quarantined }))
    }

    /// Lets [`Journal::check_next`] begin again: bits also rot in what was read once.
    pub fn check_again(&mut self) {
        self.checked = [0; 2];
    }
}
