//! Contents that no record is large enough for: cut into parts, and put together again.
//!
//! The config record of 100,000 points, or the state of as many, is larger than a record may be. Then the record of that kind
//! is only a *head* (version 2 of the kind: how many parts, how many bytes, their SHA-256), and the bytes follow at once as
//! records of a kind of their own, numbered from 0. Whoever reads in order puts a [`Joiner`] between the records and
//! what they mean: it hands on every record as it is, but for the last part, in whose place the whole stands.
//!
//! Promises: what fits into one record is written as one, byte for byte as ever; what comes out is exactly what went in, or
//! an error. A part that is missing, doubled or out of its turn, or that belongs to another head, leaves nothing.
//!
//! Leaves out: which parts are on disk. Their writer appends head and parts together; a power cut in between leaves a head
//! that is never completed, at the end of its epoch.

use gateway_model::{Cursor, Plan, Seq};
use minicbor::{Decode, Encode};
use sha2::{Digest as _, Sha256};

use crate::body::{Body, CONTENT_MAX, Kind, NotUnderstood, compressed};
use crate::record::{Header, Opened, RECORD_MAX};
use crate::{RecordError, envelope, hash, strict};

/// Bytes of a whole that is cut into parts, at most: the plan of 100,000 points of 250 bytes and of 20,000 rules.
pub const WHOLE_MAX: usize = 64 << 20;
/// Bytes of one part as it is cut here: with everything around it a record also where nothing can be compressed.
pub const PART_MAX: usize = 896 << 10;
/// Parts of one whole, at most.
const PARTS_MAX: u32 = 1_024;
/// Items of a whole, at most: bounds what a decoder builds from it, as [`strict::ITEMS_MAX`] does for a record.
const ITEMS_MAX: u32 = 16 << 20;
/// What stands around a content in its record, at most.
const AROUND_MAX: usize = 1_024;

/// The head of a content that was cut into parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parted {
    /// What it is a content of.
    pub of: PartedKind,
    /// How it was cut.
    pub head: Head,
}

/// Kinds whose content may be cut into parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartedKind {
    /// [`Body::Config`]
    Config,
    /// [`Body::Checkpoint`]
    Checkpoint,
}

impl PartedKind {
    /// The kind of the record.
    pub fn kind(self) -> Kind {
        match self {
            Self::Config => Kind::Config,
            Self::Checkpoint => Kind::Checkpoint,
        }
    }
}

/// How a content was cut.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Head {
    /// Parts that follow, as the next records of the epoch.
    #[n(0)]
    pub parts: u32,
    /// Bytes of all of them.
    #[n(1)]
    pub length: u64,
    /// SHA-256 of all of them, one after the other.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub sha256: [u8; 32],
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    /// Which one, from 0.
    #[n(0)]
    pub n: u32,
    /// A stretch of the content.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

impl Body {
    /// As the bodies of consecutive records: itself where it fits into one, else its head and its parts. Only plans and
    /// states are ever so large; of more than [`WHOLE_MAX`] bytes none is written.
    pub fn cut(self) -> Result<Vec<Self>, RecordError> {
        let (of, content, what) = match &self {
            Self::Config(config) => (PartedKind::Config, envelope::encode(config), "config"),
            Self::Checkpoint(state) => (PartedKind::Checkpoint, envelope::encode(state), "state"),
            Self::Start(_)
            | Self::Inputs(_)
            | Self::Conclusions(_)
            | Self::Gap(_)
            | Self::Parted(_)
            | Self::Part(_) => return Ok(vec![self]),
        };
        if fits(&content) {
            return Ok(vec![self]);
        }
        if content.len() > WHOLE_MAX {
            return Err(RecordError::TooLarge { what, size: content.len(), limit: WHOLE_MAX });
        }
        strict::whole_of(&content, ITEMS_MAX).map_err(|fault| fault.within(what))?;
        Ok(cut_at(of, &content, PART_MAX))
    }
}

/// Is a config with this plan as large as can be written, or less?
pub fn check_plan(plan: &Plan) -> Result<(), RecordError> {
    // Its software and semantics take less than this.
    let size = envelope::encode(plan).len() + AROUND_MAX;
    if size <= WHOLE_MAX {
        Ok(())
    } else {
        Err(RecordError::TooLarge { what: "plan", size, limit: WHOLE_MAX })
    }
}

/// One record, as a reader would take it?
fn fits(content: &[u8]) -> bool {
    let whole = RECORD_MAX - AROUND_MAX;
    content.len() <= PART_MAX
        || content.len() <= CONTENT_MAX
            && strict::whole(content).is_ok()
            && compressed(content).map_or(content.len(), |packed| packed.len()) <= whole
}

/// Head and parts of so many bytes.
pub(crate) fn cut_at(of: PartedKind, content: &[u8], size: usize) -> Vec<Body> {
    let parts = content.chunks(size).zip(0..);
    let parts: Vec<_> = parts.map(|(bytes, n)| Body::Part(Part { n, bytes: bytes.to_vec() })).collect();
    let head = Head { parts: parts.len() as u32, length: content.len() as u64, sha256: hash(content) };
    std::iter::once(Body::Parted(Parted { of, head })).chain(parts).collect()
}

/// Puts contents together again, from records in their order.
#[derive(Debug, Default)]
pub struct Joiner {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    at: Cursor,
    of: PartedKind,
    head: Head,
    /// Parts that have come.
    n: u32,
    bytes: Vec<u8>,
    digest: Sha256,
}

impl Open {
    /// Where the next part stands.
    fn next(&self) -> Cursor {
        Cursor { seq: Seq(self.at.seq.0.saturating_add(1).saturating_add(u64::from(self.n))), ..self.at }
    }
}

impl Joiner {
    /// Takes the body of the next record. Every one comes back as it is, but for the last part of a whole: in its place the
    /// whole comes. What is no part of anything is not understood.
    pub fn take(&mut self, header: &Header, body: Body) -> Result<Body, NotUnderstood> {
        match body {
            Body::Parted(Parted { of, head }) => {
                let (at, bytes) = (header.cursor(), Vec::new());
                self.open = Some(Open { at, of, head: head.clone(), n: 0, bytes, digest: Sha256::new() });
                Ok(Body::Parted(Parted { of, head }))
            }
            Body::Part(part) => {
                let open = self.open.take();
                let Some(mut open) = open.filter(|open| open.next() == header.cursor() && open.n == part.n)
                else {
                    return Err(refuse("a part without the head and the parts that belong before it"));
                };
                if open.bytes.len() as u64 + part.bytes.len() as u64 > open.head.length {
                    return Err(refuse("a part with more bytes than its head names"));
                }
                open.bytes.extend_from_slice(&part.bytes);
                open.digest.update(&part.bytes);
                open.n += 1;
                if open.n < open.head.parts {
                    self.open = Some(open);
                    return Ok(Body::Part(part));
                }
                open.whole()
            }
            Body::Start(_)
            | Body::Config(_)
            | Body::Inputs(_)
            | Body::Conclusions(_)
            | Body::Checkpoint(_)
            | Body::Gap(_) => {
                self.open = None;
                Ok(body)
            }
        }
    }

    /// The same for a record whose signature has been checked.
    pub fn opened(&mut self, opened: Opened) -> Opened {
        let Opened { header, body } = opened;
        Opened { header, body: body.and_then(|body| self.take(&header, body)) }
    }

    /// The head whose parts have not all come yet.
    pub fn unfinished(&self) -> Option<Cursor> {
        self.open.as_ref().map(|open| open.at)
    }
}

/// How many parts follow a record. Nothing is checked: for records of one's own journal.
pub fn parts_behind(bytes: &[u8]) -> u64 {
    match crate::reread(bytes).map(|opened| opened.body) {
        Ok(Ok(Body::Parted(parted))) => u64::from(parted.head.parts),
        Ok(Ok(_) | Err(_)) | Err(_) => 0,
    }
}

/// The record at `at`, whole, and the seq of the last of its parts. `get` reads one record of the epoch.
pub fn whole_at(at: Seq, mut get: impl FnMut(Seq) -> Option<Opened>) -> Option<(Opened, Seq)> {
    let mut joiner = Joiner::default();
    let opened = joiner.opened(get(at)?);
    let Ok(Body::Parted(Parted { head, .. })) = &opened.body else { return Some((opened, at)) };
    let last = Seq(at.0.checked_add(u64::from(head.parts))?);
    let mut whole = opened;
    for seq in at.0 + 1..=last.0 {
        whole = joiner.opened(get(Seq(seq))?);
    }
    Some((whole, last))
}

impl Open {
    fn whole(self) -> Result<Body, NotUnderstood> {
        let Self { of, head, bytes, digest, .. } = self;
        if bytes.len() as u64 != head.length {
            return Err(refuse("parts with fewer bytes than their head names"));
        }
        if <[u8; 32]>::from(digest.finalize()) != head.sha256 {
            return Err(refuse("parts that are not those of their head: another hash"));
        }
        strict::whole_of(&bytes, ITEMS_MAX)
            .map_err(|fault| refuse(&fault.within("content in parts").to_string()))?;
        let body = match of {
            PartedKind::Config => minicbor::decode(&bytes).map(Body::Config),
            PartedKind::Checkpoint => minicbor::decode(&bytes).map(Body::Checkpoint),
        };
        body.map_err(|error| refuse(&error.to_string()))
    }
}

fn refuse(why: &str) -> NotUnderstood {
    NotUnderstood { kind: Some(Kind::Part.number()), version: None, why: why.to_owned() }
}

impl Head {
    /// Of something that could be put together?
    pub(crate) fn check(&self) -> Result<(), String> {
        let possible = (1..=PARTS_MAX).contains(&self.parts) && self.length <= WHOLE_MAX as u64;
        if possible { Ok(()) } else { Err("a head of more parts or bytes than a whole may have".to_owned()) }
    }
}
