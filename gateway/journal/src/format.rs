//! The bytes of segment files. All numbers are little-endian.
//!
//! ```text
//! name     <number, 10 digits>-<first epoch, 10>-<first seq, 12>.seg   in ring/ or keep/
//! header   "NONSITEJ" version:u32 class:u32 number:u64 epoch:u64 seq:u64 crc32c:u32 0:u32      48 bytes
//! entry    mark:4 length:u32 crc32c:u32 batch:u32 epoch:u64 seq:u64 payload:length             32 + length
//! footer   an entry with a mark of its own: spans, damaged places, sparse index; then
//!          its offset:u32 and "NSfe", so that it is found from the end
//! ```
//!
//! The checksum of an entry covers everything but itself. `batch` is the offset of the first entry that was made
//! durable by the same sync: in the newest segment it tells a torn batch (which nobody was told is there) from
//! damage to older ones. The footer is written when a segment is full; a segment without one is read whole.

use crate::{Class, Position};

/// One record's bytes, at most.
pub const ENTRY_MAX: usize = 4 << 20;

pub(crate) const SEGMENT_HEAD: u64 = 48;
pub(crate) const ENTRY_HEAD: usize = 32;
/// Footer offset and closing mark.
pub(crate) const TRAILER: usize = 8;

const MAGIC: &[u8; 8] = b"NONSITEJ";
pub(crate) const VERSION: u32 = 1;
/// Never the beginning of UTF-8 text or of a CBOR record.
const MARK: [u8; 3] = [0xe5, b'N', b'S'];
const FOOTER: u8 = b'f';
const TRAILER_MARK: &[u8; 4] = b"NSfe";

fn letter(class: Class) -> u8 {
    match class {
        Class::Ring => b'r',
        Class::Keep => b'k',
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Name of a segment file.
pub(crate) fn segment_name(number: u64, first: Position) -> String {
    format!("{number:010}-{:010}-{:012}.seg", first.epoch, first.seq)
}

/// Number and first position, from a name.
pub(crate) fn parse_name(name: &str) -> Option<(u64, Position)> {
    let mut parts = name.strip_suffix(".seg")?.split('-').map(|digits| digits.parse::<u64>().ok());
    let (number, epoch, seq) = (parts.next()??, parts.next()??, parts.next()??);
    let known = parts.next().is_none() && segment_name(number, Position { epoch, seq }) == name;
    known.then_some((number, Position { epoch, seq }))
}

/// First bytes of a segment.
pub(crate) fn segment_head(class: Class, number: u64, first: Position) -> Vec<u8> {
    let mut head = Vec::with_capacity(SEGMENT_HEAD as usize);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&u32::from(letter(class)).to_le_bytes());
    for number in [number, first.epoch, first.seq] {
        head.extend_from_slice(&number.to_le_bytes());
    }
    let crc = crc32c::crc32c(&head);
    head.extend_from_slice(&crc.to_le_bytes());
    head.extend_from_slice(&[0; 4]);
    head
}

/// The format of a segment that begins so, where it is not [`VERSION`] and the head is whole.
pub(crate) fn other_version(head: &[u8]) -> Option<u32> {
    let whole = u32_at(head, 40)? == crc32c::crc32c(&head[..40]);
    let version = u32_at(head, 8).filter(|_| whole && head.starts_with(MAGIC));
    version.filter(|version| *version != VERSION)
}

/// What an entry's first bytes say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryHead {
    pub(crate) position: Position,
    pub(crate) batch: u32,
    pub(crate) length: usize,
}

/// Appends an entry.
pub(crate) fn put_entry(out: &mut Vec<u8>, class: Class, batch: u32, position: Position, payload: &[u8]) {
    put(out, letter(class), batch, position, payload);
}

fn put(out: &mut Vec<u8>, letter: u8, batch: u32, position: Position, payload: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&MARK);
    out.push(letter);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&batch.to_le_bytes());
    out.extend_from_slice(&position.epoch.to_le_bytes());
    out.extend_from_slice(&position.seq.to_le_bytes());
    out.extend_from_slice(payload);
    let crc = checksum(&out[start..]);
    out[start + 8..start + 12].copy_from_slice(&crc.to_le_bytes());
}

/// Of a whole entry, leaving out the checksum itself.
fn checksum(entry: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&entry[..8]), &entry[12..])
}

/// What may stand at the beginning of `bytes`.
pub(crate) enum Found {
    /// A good entry.
    Entry(EntryHead),
    /// The footer: no entry follows.
    Footer,
    /// A head that promises more bytes than there are, or is itself cut: at least so many are needed.
    Short(usize),
    /// Neither.
    Bad,
}

/// Looks at the entry that begins `bytes`.
pub(crate) fn entry(bytes: &[u8], class: Class) -> Found {
    let mark = bytes.len().min(MARK.len());
    if bytes[..mark] != MARK[..mark] {
        return Found::Bad;
    }
    if bytes.len() < ENTRY_HEAD {
        return Found::Short(ENTRY_HEAD);
    }
    let footer = bytes[3] == FOOTER;
    if !footer && bytes[3] != letter(class) {
        return Found::Bad;
    }
    let (Some(length), Some(crc), Some(batch), Some(epoch), Some(seq)) =
        (u32_at(bytes, 4), u32_at(bytes, 8), u32_at(bytes, 12), u64_at(bytes, 16), u64_at(bytes, 24))
    else {
        return Found::Short(ENTRY_HEAD);
    };
    let length = length as usize;
    if length > ENTRY_MAX {
        return Found::Bad;
    }
    let Some(entry) = bytes.get(..ENTRY_HEAD + length) else { return Found::Short(ENTRY_HEAD + length) };
    if checksum(entry) != crc {
        return Found::Bad;
    }
    if footer {
        return Found::Footer;
    }
    Found::Entry(EntryHead { position: Position { epoch, seq }, batch, length })
}

/// Offset of the next place, from `at` on, that begins like an entry.
pub(crate) fn next_mark(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    rest.windows(MARK.len()).position(|window| window == MARK).map(|offset| at + offset)
}

/// Records of one epoch in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) epoch: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) records: u64,
}

/// What is known of a segment without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Contents {
    pub(crate) spans: Vec<Span>,
    /// Places that are no entries, already reported: (offset, length).
    pub(crate) damaged: Vec<(u32, u32)>,
    /// An entry every [`INDEX_EVERY`] bytes: (offset, position).
    pub(crate) index: Vec<(u32, Position)>,
}

/// Bytes between entries of the sparse index: what a look-up reads at most before it finds its record.
pub(crate) const INDEX_EVERY: u32 = 64 << 10;

impl Contents {
    /// Notes a good entry at `offset`.
    pub(crate) fn note(&mut self, offset: u32, position: Position) {
        match self.spans.last_mut().filter(|span| span.epoch == position.epoch) {
            Some(span) => {
                span.last = position.seq;
                span.records += 1;
            }
            None => self.spans.push(Span {
                epoch: position.epoch,
                first: position.seq,
                last: position.seq,
                records: 1,
            }),
        }
        if self.index.last().is_none_or(|(last, _)| offset - last >= INDEX_EVERY) {
            self.index.push((offset, position));
        }
    }

    pub(crate) fn first(&self) -> Option<Position> {
        self.spans.first().map(|span| Position { epoch: span.epoch, seq: span.first })
    }

    pub(crate) fn last(&self) -> Option<Position> {
        self.spans.last().map(|span| Position { epoch: span.epoch, seq: span.last })
    }

    /// Footer for a segment whose entries end at `offset`.
    pub(crate) fn footer(&self, offset: u32) -> Vec<u8> {
        let mut payload = Vec::new();
        let mut list = |rows: Vec<Vec<u64>>| {
            payload.extend_from_slice(&(rows.len() as u32).to_le_bytes());
            rows.iter().flatten().for_each(|number| payload.extend_from_slice(&number.to_le_bytes()));
        };
        list(self.spans.iter().map(|span| vec![span.epoch, span.first, span.last, span.records]).collect());
        list(self.damaged.iter().map(|(at, length)| vec![u64::from(*at), u64::from(*length)]).collect());
        list(self.index.iter().map(|(at, p)| vec![u64::from(*at), p.epoch, p.seq]).collect());
        let mut footer = Vec::new();
        put(&mut footer, FOOTER, offset, Position::default(), &payload);
        footer.extend_from_slice(&offset.to_le_bytes());
        footer.extend_from_slice(TRAILER_MARK);
        footer
    }

    /// Reads a footer; `bytes` are all from its beginning to the end of the file.
    pub(crate) fn read_footer(bytes: &[u8]) -> Option<Self> {
        let payload = bytes.get(ENTRY_HEAD..bytes.len().checked_sub(TRAILER)?)?;
        matches!(entry(&bytes[..bytes.len() - TRAILER], Class::Ring), Found::Footer).then_some(())?;
        let mut at = 0;
        let mut list = |columns: usize| -> Option<Vec<Vec<u64>>> {
            let rows = u32_at(payload, at)? as usize;
            at += 4;
            (payload.len() - at >= rows.checked_mul(columns * 8)?).then_some(())?;
            let mut number = || {
                let number = u64_at(payload, at);
                at += 8;
                number
            };
            (0..rows).map(|_| (0..columns).map(|_| number()).collect()).collect()
        };
        let spans = list(4)?.into_iter();
        let spans = spans.map(|row| Span { epoch: row[0], first: row[1], last: row[2], records: row[3] });
        let spans = spans.collect();
        let damaged = list(2)?.into_iter().map(|row| (row[0] as u32, row[1] as u32)).collect();
        let index = list(3)?.into_iter();
        let index = index.map(|row| (row[0] as u32, Position { epoch: row[1], seq: row[2] })).collect();
        (at == payload.len()).then_some(Self { spans, damaged, index })
    }

    /// Where the footer begins, from the last [`TRAILER`] bytes of a file.
    pub(crate) fn footer_offset(trailer: &[u8]) -> Option<u32> {
        (trailer.len() == TRAILER && &trailer[4..] == TRAILER_MARK).then_some(())?;
        u32_at(trailer, 0)
    }
}
