//! Opening: makes the best of whatever is on disk, and says what was not right.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Class, Journal, JournalError, Limits, Position, Storage,
    cursor::replace_on,
    epoch, format,
    segment::{self, Damage, Segment},
};

/// Bytes kept aside in `quarantine/`, at most; beyond it damage is reported without its bytes.
const QUARANTINE_MAX: u64 = 64 << 20;

/// What an opening found.
#[derive(Debug, Default)]
pub struct Opened {
    /// The last record and its bytes.
    pub last: Option<(Position, Vec<u8>)>,
    /// Bytes cut off the ends of the newest segments: what was being written when the process or the power ended.
    pub torn_bytes: u64,
    /// Damage that the caller has not yet declared closed ([`Journal::closed`]).
    pub quarantined: Vec<Quarantined>,
    /// Records per epoch: epoch, first seq, last seq.
    pub epochs: Vec<(u64, u64, u64)>,
}

/// Bytes that were found where entries should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// In which set.
    pub class: Class,
    /// In which segment.
    pub segment: u64,
    /// Where in its file.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
    /// Numbers that were, or may have been, in these bytes and are nowhere else: epoch, first seq, last seq.
    pub missing: Vec<(u64, u64, u64)>,
    /// The file with the bytes; `None` = the quarantine folder is full.
    pub kept_in: Option<PathBuf>,
}

/// Folders and files of a journal.
pub(crate) struct Places {
    pub(crate) dir: PathBuf,
}

impl Places {
    pub(crate) fn set(&self, class: Class) -> PathBuf {
        self.dir.join(class.folder())
    }

    pub(crate) fn quarantine(&self) -> PathBuf {
        self.dir.join("quarantine")
    }

    pub(crate) fn epoch(&self) -> PathBuf {
        self.dir.join("epoch")
    }

    fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }
}

impl Journal {
    /// Opens the journal in `dir`, or makes one. Never fails for damage; only where the operating system does, or
    /// another process has it open.
    pub fn open(dir: &Path, limits: Limits) -> Result<(Self, Opened), JournalError> {
        Self::open_on(Arc::new(crate::Disk), dir, limits)
    }

    /// The same on another storage.
    pub fn open_on(
        storage: Arc<dyn Storage>,
        dir: &Path,
        limits: Limits,
    ) -> Result<(Self, Opened), JournalError> {
        let places = Places { dir: dir.to_owned() };
        for folder in [places.set(Class::Ring), places.set(Class::Keep), places.quarantine()] {
            storage.create_dir_all(&folder).map_err(JournalError::io("make folder", &folder))?;
        }
        for folder in
            [Some(dir), dir.parent().filter(|parent| *parent != Path::new(""))].into_iter().flatten()
        {
            storage.sync_dir(folder).map_err(JournalError::io("sync folder", folder))?;
        }
        let lock = storage.lock(&places.lock()).map_err(JournalError::io("lock", places.lock()))?;
        let lock = lock.ok_or_else(|| JournalError::Locked(dir.to_owned()))?;
        Self::load(storage, places, limits, Some(lock))
    }

    /// Opens a journal to look at it: nothing is locked, cut or written, and nothing can be appended. What another
    /// process appends meanwhile is not seen.
    pub fn open_read_only(dir: &Path) -> Result<(Self, Opened), JournalError> {
        Self::load(Arc::new(crate::Disk), Places { dir: dir.to_owned() }, Limits::default(), None)
    }

    fn load(
        storage: Arc<dyn Storage>,
        places: Places,
        limits: Limits,
        lock: Option<Box<dyn Send + Sync>>,
    ) -> Result<(Self, Opened), JournalError> {
        let mut opened = Opened::default();
        let mut journal = Self::empty(storage, places, limits.sane(), lock);
        let mut damage = Vec::new();
        for class in Class::ALL {
            journal.load_set(class, &mut opened, &mut damage)?;
        }
        opened.quarantined = journal.quarantine(damage)?;
        opened.last = match journal.last() {
            None => None,
            Some(position) => journal.read(position)?.map(|bytes| (position, bytes)),
        };
        opened.epochs = journal.epochs();
        let on_file = epoch::load(&*journal.storage, &journal.places.epoch())?;
        let named = Class::ALL.into_iter().filter_map(|class| journal.set(class).first_epoch_named);
        let seen = journal.last().map(|last| last.epoch);
        journal.known_epoch = on_file.into_iter().chain(named).chain(seen).max();
        journal.mend_reserve()?;
        Ok((journal, opened))
    }

    fn load_set(
        &mut self,
        class: Class,
        opened: &mut Opened,
        damage: &mut Vec<(Class, u64, Damage)>,
    ) -> Result<(), JournalError> {
        let folder = self.places.set(class);
        let names = self.storage.list(&folder).map_err(JournalError::io("list", &folder))?;
        let numbered: BTreeMap<u64, Position> =
            names.iter().filter_map(|name| format::parse_name(name)).collect();
        self.next_number = self.next_number.max(numbered.keys().last().map_or(0, |last| last + 1));
        self.set_mut(class).first_epoch_named = numbered.values().map(|first| first.epoch).max();
        let newest = numbered.keys().last().copied();
        let mut last = None;
        for (number, first) in numbered {
            let path = folder.join(format::segment_name(number, first));
            let segment =
                self.load_segment(class, number, path, last, newest == Some(number), opened, damage)?;
            if let Some(segment) = segment {
                last = segment.last().or(last);
                self.set_mut(class).segments.push_back(segment);
            }
        }
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the state of one loop, taken out of it to be read by itself"
    )]
    fn load_segment(
        &self,
        class: Class,
        number: u64,
        path: PathBuf,
        floor: Option<Position>,
        newest: bool,
        opened: &mut Opened,
        damage: &mut Vec<(Class, u64, Damage)>,
    ) -> Result<Option<Segment>, JournalError> {
        let storage = &*self.storage;
        let writable = self.lock.is_some();
        let handle = storage.open(&path, writable).map_err(JournalError::io("open segment", &path))?;
        let bytes = handle.length().map_err(JournalError::io("measure", &path))?;
        let mut head = [0; format::SEGMENT_HEAD as usize];
        let n = handle.read_at(0, &mut head).map_err(JournalError::io("read segment", &path))?;
        if let Some(version) = format::other_version(&head[..n]) {
            return Err(JournalError::Version { path, version });
        }
        let footer =
            segment::read_footer(&*handle, bytes).map_err(JournalError::io("read segment", &path))?;
        let mut segment = Segment {
            class,
            number,
            path,
            contents: format::Contents::default(),
            end: bytes,
            bytes,
            allocated: 0,
            full: true,
            footer: footer.is_some(),
        };
        if let Some((end, mut contents)) = footer {
            contents.index = Vec::new();
            return Ok(Some(Segment { contents, end, ..segment }));
        }
        let whole = segment.read_whole(storage)?;
        let survey = segment::survey(&whole, class, floor, newest);
        damage.extend(survey.damage.iter().map(|damage| (class, number, *damage)));
        segment.contents = survey.contents;
        segment.end = survey.end;
        if newest {
            segment.full = false;
            if survey.end >= format::SEGMENT_HEAD && segment::is_blank(&whole[survey.end as usize..]) {
                // It was the reserve, and what is left of that is still good for what has to be written.
                (segment.bytes, segment.allocated) = (survey.end, bytes);
                return Ok(Some(segment));
            }
            opened.torn_bytes += survey.torn;
            if survey.end < format::SEGMENT_HEAD {
                // Not even its head got to disk: nothing was ever acknowledged in it.
                if writable {
                    storage.remove(&segment.path).map_err(JournalError::io("remove", &segment.path))?;
                }
                return Ok(None);
            }
            if survey.torn > 0 && writable {
                let cut = handle.set_length(survey.end).and_then(|()| handle.sync());
                cut.map_err(JournalError::io("cut", &segment.path))?;
            }
            segment.bytes = survey.end;
        }
        Ok(Some(segment))
    }

    /// Keeps damaged bytes aside and works out which numbers they took with them.
    pub(crate) fn quarantine(
        &self,
        damage: Vec<(Class, u64, Damage)>,
    ) -> Result<Vec<Quarantined>, JournalError> {
        if damage.is_empty() {
            return Ok(Vec::new());
        }
        let folder = self.places.quarantine();
        let names = self.storage.list(&folder).map_err(JournalError::io("list", &folder))?;
        let names: BTreeSet<_> = names.into_iter().collect();
        let mut used = 0;
        for name in &names {
            let path = folder.join(name);
            let length = self.storage.open(&path, false).and_then(|handle| handle.length());
            used += length.map_err(JournalError::io("measure", &path))?;
        }
        let mut list = Vec::new();
        for (class, segment, damage) in damage {
            let name = quarantine_name(class, segment, damage.offset, damage.length);
            if names.contains(&closed_name(&name)) {
                continue;
            }
            let path = folder.join(&name);
            let missing = self.missing(class, segment, &damage)?;
            if damage.blank && missing.is_empty() {
                continue;
            }
            let mut kept =
                names.contains(&name) || (used + damage.length <= QUARANTINE_MAX && self.lock.is_some());
            if kept && !names.contains(&name) {
                let whole = self.set(class).segments.iter().find(|s| s.number == segment);
                let whole = whole.map(|segment| segment.read_whole(&*self.storage)).transpose()?;
                let range = damage.offset as usize..(damage.offset + damage.length) as usize;
                let bytes = whole.as_deref().and_then(|whole| whole.get(range)).unwrap_or_default();
                match replace_on(&*self.storage, &path, bytes) {
                    // Where there is no room the bytes stay where they are.
                    Err(error) if error.is_full() => kept = false,
                    done => done?,
                }
                used += damage.length;
            }
            list.push(Quarantined {
                class,
                segment,
                offset: damage.offset,
                bytes: damage.length,
                missing,
                kept_in: kept.then_some(path),
            });
        }
        Ok(list)
    }

    /// Numbers between the good neighbours of a damaged place that no entry of either set has.
    fn missing(
        &self,
        class: Class,
        segment: u64,
        damage: &Damage,
    ) -> Result<Vec<(u64, u64, u64)>, JournalError> {
        let segments = &self.set(class).segments;
        let after = damage.after.or_else(|| segments.iter().rfind(|s| s.number < segment)?.last());
        let before = damage.before.or_else(|| segments.iter().find(|s| s.number > segment)?.first());
        let epochs: BTreeMap<u64, u64> =
            self.epochs().into_iter().map(|(epoch, _, last)| (epoch, last)).collect();
        // Before the first record there is nothing to compare with: only what follows in its epoch is known.
        let from = after.map_or_else(
            || Position { epoch: before.map_or(0, |before| before.epoch), seq: 0 },
            |after| Position { seq: after.seq + 1, ..after },
        );
        let to = before.or_else(|| self.last()).unwrap_or_default();
        let mut missing = Vec::new();
        for (epoch, last) in epochs.range(from.epoch..=to.epoch.max(from.epoch)) {
            let first = if *epoch == from.epoch { from.seq } else { 0 };
            let end = if *epoch == to.epoch { to.seq } else { last + 1 };
            let mut next = first;
            for stored in self.scan(Position { epoch: *epoch, seq: first }) {
                let here = match stored {
                    Ok(stored) => stored.position,
                    Err(JournalError::Damaged { .. }) => continue,
                    Err(error) => return Err(error),
                };
                if here.epoch != *epoch || here.seq >= end {
                    break;
                }
                if here.seq > next {
                    missing.push((*epoch, next, here.seq - 1));
                }
                next = here.seq + 1;
            }
            if next < end {
                missing.push((*epoch, next, end - 1));
            }
        }
        Ok(missing)
    }

    /// The gap records for this damage are durable: it is not reported again.
    pub fn closed(&self, quarantined: &Quarantined) -> Result<(), JournalError> {
        let Quarantined { class, segment, offset, bytes, kept_in, .. } = quarantined;
        let name = quarantine_name(*class, *segment, *offset, *bytes);
        let closed = self.places.quarantine().join(closed_name(&name));
        match kept_in {
            None => replace_on(&*self.storage, &closed, &[]),
            Some(path) => {
                let renamed = self.storage.rename(path, &closed);
                renamed
                    .and_then(|()| self.storage.sync_dir(&self.places.quarantine()))
                    .map_err(JournalError::io("rename", path))
            }
        }
    }
}

fn quarantine_name(class: Class, segment: u64, offset: u64, bytes: u64) -> String {
    format!("{}-{segment:010}-{offset}-{bytes}.damaged", class.folder())
}

fn closed_name(name: &str) -> String {
    format!("{name}.closed")
}
