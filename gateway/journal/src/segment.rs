//! One segment file: what is known of it, and how to read it whatever state it is in.

use std::path::PathBuf;

use crate::{
    Class, JournalError, Position, Storage,
    format::{self, Contents, ENTRY_HEAD, Found, SEGMENT_HEAD, TRAILER},
    storage::Handle,
};

/// A segment of one set.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) class: Class,
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    /// For a full one the index stays on disk, in its footer.
    pub(crate) contents: Contents,
    /// Where its entries end.
    pub(crate) end: u64,
    /// Size of the file, less the zeros behind what was the reserve.
    pub(crate) bytes: u64,
    /// Size of the file where it was the reserve and is written in place; else 0.
    pub(crate) allocated: u64,
    /// No more entries will be added.
    pub(crate) full: bool,
    /// It has a footer.
    pub(crate) footer: bool,
}

/// What reading a whole segment found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) contents: Contents,
    pub(crate) damage: Vec<Damage>,
    /// Where good entries and damage end; what follows is torn, or the footer.
    pub(crate) end: u64,
    /// Bytes from `end` on that are neither entries nor a footer.
    pub(crate) torn: u64,
}

/// Bytes inside a segment that are no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) after: Option<Position>,
    pub(crate) before: Option<Position>,
    /// Nothing but zeros to the end of the file: the rest of a reserve, unless a number is missing.
    pub(crate) blank: bool,
}

/// Reads `bytes`, a whole segment. `newest`: a batch without an end may stand at its end.
pub(crate) fn survey(bytes: &[u8], class: Class, floor: Option<Position>, newest: bool) -> Survey {
    let mut entries: Vec<(usize, format::EntryHead)> = Vec::new();
    let mut holes: Vec<(usize, usize)> = Vec::new();
    let mut last = floor;
    let mut footer = None;
    let head = SEGMENT_HEAD as usize;
    let mut at = if head_is_good(bytes, class) { head } else { 0 };
    while at < bytes.len() {
        match good_entry(bytes, at, class, last) {
            Some(Good::Entry(entry)) => {
                last = Some(entry.position);
                entries.push((at, entry));
                at += ENTRY_HEAD + entry.length;
            }
            Some(Good::Footer) => {
                footer = Some(at);
                break;
            }
            None => {
                let next = resync(bytes, at + 1, class, last).unwrap_or(bytes.len());
                holes.push((at, next));
                at = next;
            }
        }
    }
    let mut end = footer.unwrap_or(bytes.len());
    if newest && footer.is_none() {
        // Entries made durable by the same sync as the last good one were never acknowledged if one is missing.
        let batch = entries.last().map_or(0, |(_, entry)| entry.batch as usize);
        if let Some((cut, _)) = holes.iter().find(|(at, _)| *at >= batch) {
            end = *cut;
        }
    }
    entries.retain(|(at, _)| *at < end);
    holes.retain(|(at, _)| *at < end);

    let mut survey = Survey { end: end as u64, ..Survey::default() };
    survey.torn = if footer.is_some() { 0 } else { (bytes.len() - end) as u64 };
    for (at, entry) in &entries {
        survey.contents.note(*at as u32, entry.position);
    }
    for (at, to) in holes {
        let neighbour = |entry: Option<&(usize, format::EntryHead)>| entry.map(|(_, entry)| entry.position);
        survey.contents.damaged.push((at as u32, (to - at) as u32));
        survey.damage.push(Damage {
            offset: at as u64,
            length: (to - at) as u64,
            after: neighbour(entries.iter().rev().find(|(offset, _)| *offset < at)).or(floor),
            before: neighbour(entries.iter().find(|(offset, _)| *offset >= to)),
            blank: to == bytes.len() && is_blank(&bytes[at..]),
        });
    }
    survey
}

/// Number, class and place are known from the name; a damaged head is reported, its entries are still read.
fn head_is_good(bytes: &[u8], class: Class) -> bool {
    let number = bytes.get(16..40).map(|numbers| {
        let number =
            |at: usize| numbers[at..at + 8].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        (number(0), Position { epoch: number(8), seq: number(16) })
    });
    number.is_some_and(|(number, first)| {
        bytes.get(..SEGMENT_HEAD as usize) == Some(&format::segment_head(class, number, first)[..])
    })
}

pub(crate) enum Good {
    Entry(format::EntryHead),
    Footer,
}

/// A good entry at `at` whose position comes after `last`, or the footer, with nothing behind it.
pub(crate) fn good_entry(bytes: &[u8], at: usize, class: Class, last: Option<Position>) -> Option<Good> {
    let rest = bytes.get(at..)?;
    match format::entry(rest, class) {
        Found::Entry(entry) => last.is_none_or(|last| entry.position > last).then_some(Good::Entry(entry)),
        Found::Footer => {
            let offset = Contents::footer_offset(rest.get(rest.len().checked_sub(TRAILER)?..)?)?;
            (offset as usize == at && Contents::read_footer(rest).is_some()).then_some(Good::Footer)
        }
        Found::Short(_) | Found::Bad => None,
    }
}

/// Nothing but zeros, and some of them.
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| *byte == 0)
}

/// Where entries begin again after damage.
fn resync(bytes: &[u8], mut at: usize, class: Class, last: Option<Position>) -> Option<usize> {
    loop {
        at = format::next_mark(bytes, at)?;
        if good_entry(bytes, at, class, last).is_some() {
            return Some(at);
        }
        at += 1;
    }
}

impl Segment {
    pub(crate) fn first(&self) -> Option<Position> {
        self.contents.first()
    }

    pub(crate) fn last(&self) -> Option<Position> {
        self.contents.last()
    }

    pub(crate) fn open(&self, storage: &dyn Storage) -> Result<Box<dyn Handle>, JournalError> {
        storage.open(&self.path, false).map_err(JournalError::io("open segment", &self.path))
    }

    /// Offset of the last indexed entry at or before `position`: where to begin looking.
    pub(crate) fn start_of(&self, storage: &dyn Storage, position: Position) -> Result<u64, JournalError> {
        let on_disk;
        let index = if self.footer {
            on_disk = self.read_contents(storage)?.map(|contents| contents.index).unwrap_or_default();
            &on_disk
        } else {
            &self.contents.index
        };
        let after = index.partition_point(|(_, indexed)| *indexed <= position);
        Ok(after.checked_sub(1).map_or(SEGMENT_HEAD, |i| u64::from(index[i].0)))
    }

    /// What the footer says; `None` where it is damaged.
    fn read_contents(&self, storage: &dyn Storage) -> Result<Option<Contents>, JournalError> {
        let handle = self.open(storage)?;
        Ok(read_footer(&*handle, self.bytes)
            .map_err(JournalError::io("read segment", &self.path))?
            .map(|f| f.1))
    }

    /// All its bytes: at most a segment and one entry.
    pub(crate) fn read_whole(&self, storage: &dyn Storage) -> Result<Vec<u8>, JournalError> {
        let handle = self.open(storage)?;
        let mut bytes = vec![0; self.bytes as usize];
        let n = handle.read_at(0, &mut bytes).map_err(JournalError::io("read segment", &self.path))?;
        bytes.truncate(n);
        Ok(bytes)
    }
}

/// Offset and contents of the footer of a file of this length, where it has a good one.
pub(crate) fn read_footer(handle: &dyn Handle, length: u64) -> std::io::Result<Option<(u64, Contents)>> {
    let Some(trailer_at) = length.checked_sub(TRAILER as u64).filter(|at| *at >= SEGMENT_HEAD) else {
        return Ok(None);
    };
    let mut trailer = [0; TRAILER];
    handle.read_at(trailer_at, &mut trailer)?;
    let Some(offset) = Contents::footer_offset(&trailer).map(u64::from) else { return Ok(None) };
    // An index entry is 24 bytes per 64 KiB: a footer larger than this is none of ours.
    if offset < SEGMENT_HEAD || offset >= trailer_at || trailer_at - offset > 1 << 20 {
        return Ok(None);
    }
    let mut bytes = vec![0; (length - offset) as usize];
    handle.read_at(offset, &mut bytes)?;
    Ok(Contents::read_footer(&bytes).map(|contents| (offset, contents)))
}
