//! The journal itself: numbering, appending, reading, evicting.

use std::{collections::VecDeque, path::PathBuf, sync::Arc};

use crate::{
    Class, JournalError, Limits, Position, Storage, epoch,
    format::{self, Contents, ENTRY_HEAD, ENTRY_MAX, SEGMENT_HEAD},
    open::Places,
    scan::{Reader, Scan},
    segment::Segment,
    storage::Handle,
};

/// Bytes appended at once, at most: a segment is written to its limit and one such stretch beyond.
const APPEND_MAX: usize = 32 << 20;

/// An open journal. One per folder; the owner is the only one who appends.
pub struct Journal {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) places: Places,
    limits: Limits,
    /// Held as long as the journal is open; `None` = opened for reading.
    pub(crate) lock: Option<Box<dyn Send + Sync>>,
    sets: [Set; 2],
    pub(crate) next_number: u64,
    /// Largest epoch ever heard of: from file, names and records.
    pub(crate) known_epoch: Option<u64>,
    next: Option<Position>,
    broken: bool,
    /// Segments up to this number of each set have been read and checked: [`Journal::check_next`].
    pub(crate) checked: [u64; 2],
}

/// From which room an append takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purse {
    /// What everything may use.
    Ordinary,
    /// That and the reserve.
    Reserve,
    /// That, the reserve, and so many bytes that come free right afterwards.
    Instead(u64),
}

/// No more room on the disk, of bytes, files or quota.
pub(crate) fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

fn size_of(records: &[(Class, &[u8])]) -> u64 {
    records.iter().map(|(_, bytes)| (ENTRY_HEAD + bytes.len()) as u64).sum()
}

/// The segments of one class, oldest first.
#[derive(Default)]
pub(crate) struct Set {
    pub(crate) segments: VecDeque<Segment>,
    /// Handle of the last segment, once something was appended.
    pub(crate) writer: Option<Box<dyn Handle>>,
    pub(crate) first_epoch_named: Option<u64>,
}

impl Journal {
    pub(crate) fn empty(
        storage: Arc<dyn Storage>,
        places: Places,
        limits: Limits,
        lock: Option<Box<dyn Send + Sync>>,
    ) -> Self {
        Self {
            storage,
            places,
            limits,
            lock,
            sets: Default::default(),
            next_number: 1,
            known_epoch: None,
            next: None,
            broken: false,
            checked: [0; 2],
        }
    }

    pub(crate) fn set(&self, class: Class) -> &Set {
        match class {
            Class::Ring => &self.sets[0],
            Class::Keep => &self.sets[1],
        }
    }

    pub(crate) fn set_mut(&mut self, class: Class) -> &mut Set {
        match class {
            Class::Ring => &mut self.sets[0],
            Class::Keep => &mut self.sets[1],
        }
    }

    /// Begins a new epoch, above every one this journal has seen, and makes it durable.
    pub fn begin_epoch(&mut self) -> Result<u64, JournalError> {
        self.begin_epoch_above(0)
    }

    /// The same, and above `floor`: the epoch that an enrolment names.
    pub fn begin_epoch_above(&mut self, floor: u64) -> Result<u64, JournalError> {
        if self.lock.is_none() {
            return Err(JournalError::NoEpoch);
        }
        let epoch = self.known_epoch.unwrap_or(0).max(floor) + 1;
        epoch::store(&*self.storage, &self.places.epoch(), epoch)?;
        self.known_epoch = Some(epoch);
        self.next = Some(Position { epoch, seq: 0 });
        Ok(epoch)
    }

    /// Where the next record will stand. Before [`Journal::begin_epoch`]: where it would stand after it.
    pub fn next(&self) -> Position {
        self.next.unwrap_or(Position { epoch: self.known_epoch.unwrap_or(0) + 1, seq: 0 })
    }

    /// Appends a record; it is on disk when this returns.
    pub fn append(&mut self, class: Class, bytes: &[u8]) -> Result<Position, JournalError> {
        let positions = self.append_all(&[(class, bytes)])?;
        positions.into_iter().next().ok_or(JournalError::Broken)
    }

    /// Appends records in order, with one sync for each stretch of the same class; all are on disk when this returns.
    /// After an error, records before [`Journal::next`] are there and those from it on are not.
    pub fn append_all(&mut self, records: &[(Class, &[u8])]) -> Result<Vec<Position>, JournalError> {
        self.append_from(Purse::Ordinary, records)
    }

    /// The same for records of the keep set that have to be written although there is no more room: what says that
    /// something is lost, alerts, the first records of an epoch. Takes from what [`Limits::reserve_bytes`] set aside, of
    /// the limit and of the disk, and fails where that is used up too. All of them are there, or none.
    pub fn append_reserved(&mut self, records: &[&[u8]]) -> Result<Vec<Position>, JournalError> {
        self.append_needed(Purse::Reserve, records)
    }

    /// The same for records of which segments of the keep set are evicted right afterwards, `bytes` in all: what says so may
    /// take of the room that comes free. For so long the set is larger than its limit, at most by that.
    pub fn append_instead(&mut self, records: &[&[u8]], bytes: u64) -> Result<Vec<Position>, JournalError> {
        self.append_needed(Purse::Instead(bytes), records)
    }

    fn append_needed(&mut self, purse: Purse, records: &[&[u8]]) -> Result<Vec<Position>, JournalError> {
        let records: Vec<_> = records.iter().map(|bytes| (Class::Keep, *bytes)).collect();
        self.append_from(purse, &records)
    }

    fn append_from(
        &mut self,
        purse: Purse,
        records: &[(Class, &[u8])],
    ) -> Result<Vec<Position>, JournalError> {
        let first = self.next.ok_or(JournalError::NoEpoch)?;
        if self.broken {
            return Err(JournalError::Broken);
        }
        if let Some((_, large)) = records.iter().find(|(_, bytes)| bytes.len() > ENTRY_MAX) {
            return Err(JournalError::TooLarge(large.len()));
        }
        let size = records.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        if size > APPEND_MAX {
            return Err(JournalError::TooLarge(size));
        }
        let mut groups = records.chunk_by(|a, b| a.0 == b.0);
        groups.try_for_each(|group| match self.append_group(purse, group[0].0, group) {
            Err(JournalError::Io { source, .. }) if purse != Purse::Ordinary && is_full(&source) => {
                let next = self.next.ok_or(JournalError::NoEpoch)?;
                self.open_reserve(size_of(group), next)?;
                self.append_group(purse, group[0].0, group)
            }
            done => done,
        })?;
        let positions = (first.seq..).take(records.len());
        Ok(positions.map(|seq| Position { epoch: first.epoch, seq }).collect())
    }

    fn append_group(
        &mut self,
        purse: Purse,
        class: Class,
        records: &[(Class, &[u8])],
    ) -> Result<(), JournalError> {
        let first = self.next.ok_or(JournalError::NoEpoch)?;
        let size = size_of(records);
        self.make_room(purse, class, size, first)?;

        let set = self.set_mut(class);
        let (Some(segment), Some(writer)) = (set.segments.back_mut(), &set.writer) else {
            return Err(JournalError::Broken);
        };
        let start = segment.end;
        let mut buffer = Vec::with_capacity(size as usize);
        let mut offsets = Vec::with_capacity(records.len());
        for (i, (_, bytes)) in records.iter().enumerate() {
            offsets.push(start as u32 + buffer.len() as u32);
            let position = Position { seq: first.seq + i as u64, ..first };
            format::put_entry(&mut buffer, class, start as u32, position, bytes);
        }
        let written = writer.write_at(start, &buffer).map_err(|error| (!is_full(&error), error));
        if let Err((doubtful, error)) = written.and_then(|()| writer.sync().map_err(|error| (true, error))) {
            let failed = JournalError::io("append to", &segment.path)(error);
            self.take_back(class, doubtful);
            return Err(failed);
        }
        segment.end += size;
        segment.bytes = segment.end;
        for (i, offset) in offsets.into_iter().enumerate() {
            segment.contents.note(offset, Position { seq: first.seq + i as u64, ..first });
        }
        self.next = Some(Position { seq: first.seq + records.len() as u64, ..first });
        Ok(())
    }

    /// Makes sure that the last segment of the set is open for writing and has room, within the limits.
    fn make_room(
        &mut self,
        purse: Purse,
        class: Class,
        size: u64,
        first: Position,
    ) -> Result<(), JournalError> {
        let segment_bytes = self.limits.segment_bytes;
        let last = self.set(class).segments.back().filter(|last| !last.full);
        let in_reserve = last.is_some_and(|last| last.allocated > 0);
        let fits = last.is_some_and(|last| {
            if in_reserve {
                // Its room is for what has to be written.
                return purse != Purse::Ordinary && last.end + size <= last.allocated;
            }
            last.end + size <= segment_bytes || last.contents.spans.is_empty()
        });
        let (limit, full) = match (class, purse) {
            (Class::Ring, _) => (self.limits.ring_bytes, JournalError::RingFull),
            (Class::Keep, Purse::Reserve) => (self.limits.keep_bytes, JournalError::KeepFull),
            (Class::Keep, Purse::Instead(bytes)) => (self.limits.keep_bytes + bytes, JournalError::KeepFull),
            (Class::Keep, Purse::Ordinary) => {
                (self.limits.keep_bytes - self.limits.reserve_bytes(), JournalError::KeepFull)
            }
        };
        let needed = if fits { size } else { size + SEGMENT_HEAD };
        if self.bytes_of(class) + needed > limit {
            return Err(full);
        }
        if !fits && in_reserve {
            // Only when its successor is there may the reserve's room go.
            let old = self.set(class).segments.len() - 1;
            self.new_segment(class, first)?;
            self.trim(class, old);
            return Ok(());
        }
        if !fits {
            self.finish(class)?;
            return self.new_segment(class, first);
        }
        let storage = self.storage.clone();
        let set = self.set_mut(class);
        if let (None, Some(last)) = (&set.writer, set.segments.back()) {
            set.writer =
                Some(storage.open(&last.path, true).map_err(JournalError::io("open segment", &last.path))?);
        }
        Ok(())
    }

    /// Writes the footer of the last segment, if it has none and is open.
    fn finish(&mut self, class: Class) -> Result<(), JournalError> {
        let storage = self.storage.clone();
        let set = self.set_mut(class);
        let writer = set.writer.take();
        let Some(last) = set.segments.back_mut().filter(|last| !last.full) else { return Ok(()) };
        let open = |path: &PathBuf| storage.open(path, true).map_err(JournalError::io("open segment", path));
        let writer = writer.map_or_else(|| open(&last.path), Ok)?;
        let footer = last.contents.footer(last.end as u32);
        let written = writer.write_at(last.end, &footer).and_then(|()| writer.sync());
        if let Err(error) = written {
            let failed = JournalError::io("finish", &last.path)(error);
            self.take_back(class, true);
            return Err(failed);
        }
        last.bytes = last.end + footer.len() as u64;
        (last.full, last.footer, last.contents.index) = (true, true, Vec::new());
        Ok(())
    }

    /// Makes the next segment: file and name are durable before anything in it is acknowledged.
    fn new_segment(&mut self, class: Class, first: Position) -> Result<(), JournalError> {
        let folder = self.places.set(class);
        let number = self.next_number;
        let path = folder.join(format::segment_name(number, first));
        // A number is never used again, so that a file half made is never met by its successor.
        self.next_number += 1;
        let make = || {
            let handle = self.storage.create(&path)?;
            let made = handle
                .write_at(0, &format::segment_head(class, number, first))
                .and_then(|()| handle.sync())
                .and_then(|()| self.storage.sync_dir(&folder));
            match made {
                Ok(()) => Ok(handle),
                Err(error) => {
                    // Nothing was acknowledged in it. If it stays, the next opening finds it empty.
                    self.storage.remove(&path).ok();
                    Err(error)
                }
            }
        };
        let handle = make().map_err(JournalError::io("make segment", &path))?;
        let segment = Segment {
            class,
            number,
            path,
            contents: Contents::default(),
            end: SEGMENT_HEAD,
            bytes: SEGMENT_HEAD,
            allocated: 0,
            full: false,
            footer: false,
        };
        self.push_segment(segment, handle);
        Ok(())
    }

    /// Gives back the room behind the entries of a segment that was the reserve, and writes its footer. If that
    /// fails the segment is read whole at the next opening: nothing else depends on it.
    fn trim(&mut self, class: Class, index: usize) {
        let storage = self.storage.clone();
        let Some(segment) = self.set_mut(class).segments.get_mut(index) else { return };
        (segment.full, segment.allocated) = (true, 0);
        let footer = segment.contents.footer(segment.end as u32);
        let trimmed = storage.open(&segment.path, true).and_then(|handle| {
            handle.set_length(segment.end)?;
            handle.write_at(segment.end, &footer)?;
            handle.sync()
        });
        if trimmed.is_ok() {
            segment.bytes = segment.end + footer.len() as u64;
            (segment.footer, segment.contents.index) = (true, Vec::new());
        }
    }

    /// After a failed write or sync: the descriptor is closed, whatever it left is cut off through a new one, and
    /// where the file is `doubtful` (anything but a write that found no room) it takes no more entries. Where the cut
    /// fails too, what is on disk is not known, and nothing more is appended: a number must never be given to two records.
    fn take_back(&mut self, class: Class, doubtful: bool) {
        let storage = self.storage.clone();
        let set = self.set_mut(class);
        set.writer = None;
        let Some(last) = set.segments.back_mut() else { return };
        last.full |= doubtful;
        last.allocated = 0;
        let cut = storage.open(&last.path, true).and_then(|handle| {
            handle.set_length(last.end)?;
            handle.sync()
        });
        self.broken |= cut.is_err();
    }

    /// The bytes of one record; `None` where there is none (not written, evicted, damaged).
    pub fn read(&self, position: Position) -> Result<Option<Vec<u8>>, JournalError> {
        for class in Class::ALL {
            let around = |segment: &&Segment| {
                segment.first().is_some_and(|first| first <= position)
                    && segment.last().is_some_and(|last| last >= position)
            };
            let Some(segment) = self.set(class).segments.iter().find(around) else { continue };
            let start = segment.start_of(&*self.storage, position)?;
            let mut reader = Reader::new(self, segment, start)?;
            loop {
                match reader.next() {
                    Ok(Some(stored)) if stored.position == position => return Ok(Some(stored.bytes)),
                    Ok(Some(stored)) if stored.position < position => {}
                    Ok(Some(_) | None) => break,
                    Err(JournalError::Damaged { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(None)
    }

    /// All records from `from` on, over both sets, in the order of their positions.
    pub fn scan(&self, from: Position) -> Scan<'_> {
        Scan::new(self, from)
    }

    /// The last record there is, of any epoch.
    pub fn last(&self) -> Option<Position> {
        self.sets.iter().filter_map(|set| set.segments.iter().rev().find_map(Segment::last)).max()
    }

    /// First and last seq of every epoch of which there is a record: (epoch, first, last).
    pub fn epochs(&self) -> Vec<(u64, u64, u64)> {
        let mut epochs = std::collections::BTreeMap::new();
        for span in self.sets.iter().flat_map(|set| &set.segments).flat_map(|segment| &segment.contents.spans)
        {
            let (first, last) = epochs.entry(span.epoch).or_insert((span.first, span.last));
            (*first, *last) = (span.first.min(*first), span.last.max(*last));
        }
        epochs.into_iter().map(|(epoch, (first, last))| (epoch, first, last)).collect()
    }

    /// Bytes on disk: (ring, keep).
    pub fn bytes(&self) -> (u64, u64) {
        (self.bytes_of(Class::Ring), self.bytes_of(Class::Keep))
    }

    /// What the journal may take.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    pub(crate) fn bytes_of(&self, class: Class) -> u64 {
        self.set(class).segments.iter().map(|segment| segment.bytes).sum()
    }
}
