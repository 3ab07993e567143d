//! The journal itself: numbering, appending, reading, evicting.

use std::{collections::VecDeque, path::PathBuf, sync::Arc};

use crate::{
    Class, JournalError, Limits, Position, Quarantined, Storage,
    cursor::{line, replace_on},
    format::{self, Contents, ENTRY_HEAD, ENTRY_MAX, SEGMENT_HEAD},
    open::Places,
    scan::{Reader, Scan},
    segment::{self, Segment},
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
    /// Segments up to this number have been read and checked since the start: [`Journal::check_next`].
    checked: Option<(Class, u64)>,
}

/// The segments of one class, oldest first.
#[derive(Default)]
pub(crate) struct Set {
    pub(crate) segments: VecDeque<Segment>,
    /// Handle of the last segment, once something was appended.
    writer: Option<Box<dyn Handle>>,
    pub(crate) first_epoch_named: Option<u64>,
}

/// The ring segment that goes next.
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
            checked: None,
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
        let line = line(Position { epoch, seq: 0 });
        replace_on(&*self.storage, &self.places.epoch(), line.as_bytes())?;
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
        groups.try_for_each(|group| self.append_group(group[0].0, group))?;
        let positions = (first.seq..).take(records.len());
        Ok(positions.map(|seq| Position { epoch: first.epoch, seq }).collect())
    }

    fn append_group(&mut self, class: Class, records: &[(Class, &[u8])]) -> Result<(), JournalError> {
        let first = self.next.ok_or(JournalError::NoEpoch)?;
        let size = records.iter().map(|(_, bytes)| (ENTRY_HEAD + bytes.len()) as u64).sum::<u64>();
        self.make_room(class, size, first)?;

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
        let written = writer.write_at(start, &buffer).and_then(|()| writer.sync());
        if let Err(error) = written {
            let failed = JournalError::io("append to", &segment.path)(error);
            self.take_back(class);
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
    fn make_room(&mut self, class: Class, size: u64, first: Position) -> Result<(), JournalError> {
        let segment_bytes = self.limits.segment_bytes;
        let last = self.set(class).segments.back();
        let fits = last.is_some_and(|last| {
            !last.full && (last.end + size <= segment_bytes || last.contents.spans.is_empty())
        });
        let (limit, full) = match class {
            Class::Ring => (self.limits.ring_bytes, JournalError::RingFull),
            Class::Keep => (self.limits.keep_bytes, JournalError::KeepFull),
        };
        let needed = if fits { size } else { size + SEGMENT_HEAD };
        if self.bytes_of(class) + needed > limit {
            return Err(full);
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
            self.take_back(class);
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
            full: false,
            footer: false,
        };
        let set = self.set_mut(class);
        set.segments.push_back(segment);
        set.writer = Some(handle);
        Ok(())
    }

    /// After a failed write or sync: the descriptor is closed, whatever it left is cut off through a new one, and
    /// the segment takes no more entries. Where that fails too, what is on disk is not known, and nothing more is
    /// appended: a number must never be given to two records.
    fn take_back(&mut self, class: Class) {
        let storage = self.storage.clone();
        let set = self.set_mut(class);
        set.writer = None;
        let Some(last) = set.segments.back_mut() else { return };
        last.full = true;
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

    fn bytes_of(&self, class: Class) -> u64 {
        self.set(class).segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The ring has no room for another segment: the caller makes a gap record for this durable, then calls
    /// [`Journal::evict`] with it, and asks again.
    pub fn must_evict(&self) -> Option<Evictable> {
        let room = self.bytes_of(Class::Ring) + self.limits.segment_bytes <= self.limits.ring_bytes;
        if room { None } else { self.oldest(Class::Ring) }
    }

    /// The oldest segment of a set, unless it is the one being written.
    pub fn oldest(&self, class: Class) -> Option<Evictable> {
        let segments = &self.set(class).segments;
        let oldest = segments.front().filter(|oldest| oldest.full || segments.len() > 1)?;
        let spans = &oldest.contents.spans;
        Some(Evictable {
            class,
            segment: oldest.number,
            first: oldest.first().unwrap_or_default(),
            last: oldest.last().unwrap_or_default(),
            records: spans.iter().map(|span| span.records).sum(),
            bytes: oldest.bytes,
            epochs: spans.iter().map(|span| (span.epoch, span.first, span.last)).collect(),
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

    /// Reads one segment that has not been read since the start and reports new damage in it; `None` when all have
    /// been. An opening reads only what was last written: call this now and then when there is nothing else to do.
    pub fn check_next(&mut self) -> Result<Option<Checked>, JournalError> {
        let all = self.sets.iter().flat_map(|set| &set.segments).filter(|segment| segment.full);
        let next = all.filter(|s| self.checked.is_none_or(|checked| (s.class, s.number) > checked));
        let Some(segment) = next.min_by_key(|segment| (segment.class, segment.number)) else {
            return Ok(None);
        };
        let (class, number) = (segment.class, segment.number);
        let whole = segment.read_whole(&*self.storage)?;
        let survey = segment::survey(&whole, class, None, false);
        let damage = survey.damage.into_iter().map(|damage| (class, number, damage)).collect();
        let quarantined = self.quarantine(damage)?;
        // Known from now on: a scan passes over it without a word.
        let damaged = survey.contents.damaged;
        if let Some(segment) = self.set_mut(class).segments.iter_mut().find(|s| s.number == number) {
            segment.contents.damaged = damaged;
        }
        self.checked = Some((class, number));
        Ok(Some(Checked { class, segment: number, quarantined }))
    }
}
