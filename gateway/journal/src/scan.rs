//! Reading in order over both sets, with one entry of each in memory.

use crate::{
    Class, Journal, JournalError, Position,
    format::{self, ENTRY_HEAD, Found},
    segment::{self, Segment},
    storage::Handle,
};

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// A record as it lies in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its number.
    pub position: Position,
    /// Its set.
    pub class: Class,
    /// What was appended.
    pub bytes: Vec<u8>,
}

/// Records in the order of their positions. Damage that was not known before comes as
/// [`JournalError::Damaged`], and reading goes on behind it; after any other error nothing more comes.
pub struct Scan<'j> {
    sets: [SetScan<'j>; 2],
}

impl<'j> Scan<'j> {
    pub(crate) fn new(journal: &'j Journal, from: Position) -> Self {
        Self { sets: Class::ALL.map(|class| SetScan::new(journal, class, from)) }
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<Stored, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        let [ring, keep] = &mut self.sets;
        let item = match (ring.peek(), keep.peek()) {
            (Some(Err(_)), _) | (Some(_), None) => ring.take(),
            (Some(Ok(a)), Some(Ok(b))) if a.position < b.position => ring.take(),
            (None | Some(Ok(_)), Some(_)) => keep.take(),
            (None, None) => None,
        };
        if item.as_ref().is_some_and(|item| item.as_ref().is_err_and(|error| !is_damage(error))) {
            self.sets.iter_mut().for_each(SetScan::end);
        }
        item
    }
}

fn is_damage(error: &JournalError) -> bool {
    matches!(error, JournalError::Damaged { .. })
}

/// One set's records in order.
struct SetScan<'j> {
    journal: &'j Journal,
    class: Class,
    from: Position,
    /// Slot of the segment being read, and its reader once it is open.
    segment: usize,
    reader: Option<Reader<'j>>,
    next: Option<Result<Stored, JournalError>>,
}

impl<'j> SetScan<'j> {
    fn new(journal: &'j Journal, class: Class, from: Position) -> Self {
        let mut segments = journal.set(class).segments.iter();
        let holds = |segment: &Segment| segment.last().is_some_and(|last| last >= from);
        let segment = segments.position(holds).unwrap_or(usize::MAX);
        Self { journal, class, from, segment, reader: None, next: None }
    }

    fn peek(&mut self) -> Option<&Result<Stored, JournalError>> {
        if self.next.is_none() {
            self.next = self.advance();
        }
        self.next.as_ref()
    }

    fn take(&mut self) -> Option<Result<Stored, JournalError>> {
        self.next.take()
    }

    fn end(&mut self) {
        self.segment = usize::MAX;
        (self.reader, self.next) = (None, None);
    }

    fn advance(&mut self) -> Option<Result<Stored, JournalError>> {
        loop {
            let segment = self.journal.set(self.class).segments.get(self.segment)?;
            let item = self.read_from(segment);
            match item {
                Ok(Some(stored)) if stored.position < self.from => {}
                Ok(Some(stored)) => return Some(Ok(stored)),
                Ok(None) => {
                    self.reader = None;
                    self.segment += 1;
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn read_from(&mut self, segment: &'j Segment) -> Result<Option<Stored>, JournalError> {
        if self.reader.is_none() {
            let start = segment.start_of(&*self.journal.storage, self.from)?;
            self.reader = Some(Reader::new(self.journal, segment, start)?);
        }
        match &mut self.reader {
            Some(reader) => reader.next(),
            None => Ok(None),
        }
    }
}

/// Reads one segment forward, a chunk at a time.
pub(crate) struct Reader<'j> {
    journal: &'j Journal,
    segment: &'j Segment,
    handle: Box<dyn Handle>,
    /// Offset of the next entry, and of the first byte in `chunk`.
    at: u64,
    chunk_at: u64,
    chunk: Vec<u8>,
    last: Option<Position>,
}

impl<'j> Reader<'j> {
    pub(crate) fn new(journal: &'j Journal, segment: &'j Segment, at: u64) -> Result<Self, JournalError> {
        let handle = segment.open(&*journal.storage)?;
        Ok(Self { journal, segment, handle, at, chunk_at: at, chunk: Vec::new(), last: None })
    }

    /// The next good entry; `None` at the end of the segment.
    pub(crate) fn next(&mut self) -> Result<Option<Stored>, JournalError> {
        loop {
            if self.at >= self.segment.end {
                return Ok(None);
            }
            let mut known = self.segment.contents.damaged.iter().map(|(at, length)| {
                let at = u64::from(*at);
                at..at + u64::from(*length)
            });
            if let Some(damaged) = known.find(|damaged| damaged.contains(&self.at)) {
                self.at = damaged.end;
                continue;
            }
            self.fill(ENTRY_HEAD)?;
            let mut found = format::entry(self.rest(), self.segment.class);
            if let Found::Short(needed) = found {
                self.fill(needed)?;
                found = format::entry(self.rest(), self.segment.class);
            }
            match found {
                Found::Entry(entry) if self.last.is_none_or(|last| entry.position > last) => {
                    let bytes = self.rest()[ENTRY_HEAD..ENTRY_HEAD + entry.length].to_vec();
                    self.at += (ENTRY_HEAD + entry.length) as u64;
                    self.last = Some(entry.position);
                    return Ok(Some(Stored { position: entry.position, class: self.segment.class, bytes }));
                }
                Found::Entry(_) | Found::Footer | Found::Short(_) | Found::Bad => return Err(self.skip()?),
            }
        }
    }

    /// What has been read from `at` on.
    fn rest(&self) -> &[u8] {
        &self.chunk[(self.at - self.chunk_at) as usize..]
    }

    /// Reads until `needed` bytes from `at` on are there, as far as the entries go.
    fn fill(&mut self, needed: usize) -> Result<(), JournalError> {
        let left = (self.segment.end - self.at) as usize;
        let loaded = (self.chunk_at + self.chunk.len() as u64).saturating_sub(self.at) as usize;
        if loaded >= needed.min(left) {
            return Ok(());
        }
        let mut chunk = vec![0; needed.max(CHUNK).min(left)];
        let read = self.handle.read_at(self.at, &mut chunk);
        let n = read.map_err(JournalError::io("read segment", &self.segment.path))?;
        chunk.truncate(n);
        (self.chunk, self.chunk_at) = (chunk, self.at);
        Ok(())
    }

    /// Goes to the next good entry and gives what lies between as an error.
    fn skip(&mut self) -> Result<JournalError, JournalError> {
        let whole = self.segment.read_whole(&*self.journal.storage)?;
        let whole = &whole[..whole.len().min(self.segment.end as usize)];
        let mut next = self.at as usize + 1;
        while let Some(at) = format::next_mark(whole, next) {
            if segment::good_entry(whole, at, self.segment.class, self.last).is_some() {
                break;
            }
            next = at + 1;
        }
        let next = format::next_mark(whole, next).map_or(self.segment.end, |at| at as u64);
        let damaged = JournalError::Damaged {
            class: self.segment.class,
            segment: self.segment.number,
            offset: self.at,
            bytes: next - self.at,
            after: self.last,
        };
        (self.at, self.chunk_at) = (next, next);
        self.chunk.clear();
        Ok(damaged)
    }
}
