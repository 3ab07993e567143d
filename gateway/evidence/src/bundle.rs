//! Makes bundles: chooses the records for a window and puts everything that a check needs into one file.

use gateway_model::{CivilTime, Cursor, EngineTime, Epoch, Seq};
use gateway_wire::{
    FileRef, Joiner, KeyHistory, KeyRing, Kind, Maker, Manifest, SigningKey, VerifyingKey, hash, pack,
};

use crate::story::Story;
use crate::verify::case::{CaseFile, ErasedAttachment};
use crate::verify::instruments::DEVICE_RECORDS_MAX;
use crate::verify::numbers::Erased;
use crate::verify::walk::Received;
use crate::verify::{
    ATTACHMENTS, CASE, CENTER_KEY, DEVICE_RECORDS, DEVICES, ENROLMENT, ERASED, ERASED_ATTACHMENTS,
    GATEWAY_KEY, KEYS, MANIFEST, PACKS, RECEIVED, RECORDS, RECORDS_MAX,
};
use crate::{container, cover};

/// Bytes of all records of one bundle, at most. More is refused: ask for a shorter window.
const BYTES_MAX: usize = 1 << 30;

/// What a record's header says, enough to choose by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub cursor: Cursor,
    /// Its kind.
    pub kind: Kind,
    /// Where it begins.
    pub t0: EngineTime,
    /// Where it ends.
    pub t1: EngineTime,
}

/// What a bundle of some window holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Positions in the list that was chosen from.
    pub places: Vec<usize>,
    /// Numbers that the bundle can claim: (epoch, first, last).
    pub spans: Vec<(Epoch, Seq, Seq)>,
    /// The window, as far as there are records.
    pub window: (EngineTime, EngineTime),
}

/// Everything from the last checkpoint before the window (with the start and config of its epoch) to its end, and
/// what was concluded from it. `all` are a gateway's records in the order of their cursors.
pub fn select(all: &[Entry], window: (EngineTime, EngineTime)) -> Selection {
    let before = |entry: &Entry| entry.kind == Kind::Checkpoint && entry.t1 <= window.0;
    let checkpoint = all.iter().rposition(before);
    let cursor =
        checkpoint.and_then(|place| all.get(place)).map_or_else(Cursor::default, |entry| entry.cursor);
    // A state that was taken over stands behind the start and config that it belongs to.
    let opening = opening(all, cursor.epoch);
    let last = opening.end.checked_sub(1).and_then(|last| all.get(last));
    let next = |last: &Entry| last.cursor.epoch == cursor.epoch && last.cursor.seq.0 + 1 == cursor.seq.0;
    let first = cursor.seq.0 <= 2 || !opening.is_empty() && last.is_some_and(next);
    let from = if first { Cursor { seq: Seq(0), ..cursor } } else { cursor };
    let begin = all.partition_point(|entry| entry.cursor < from);
    let behind = |entry: &Entry| entry.t0 >= window.1 && matches!(entry.kind, Kind::Inputs | Kind::Start);
    let rest = all.get(begin..).unwrap_or_default();
    let end = begin + rest.iter().position(behind).unwrap_or(rest.len());
    let context = opening.filter(|place| *place < begin);
    let places: Vec<usize> = context.chain(begin..end).collect();
    let chosen = |place: usize| all.get(place).copied();
    let mut spans: Vec<(Epoch, Seq, Seq)> = Vec::new();
    for (count, place) in places.iter().enumerate() {
        let Some(Entry { cursor, .. }) = chosen(*place) else { continue };
        let jumps = *place == begin
            && count > 0
            && spans.last().is_some_and(|(_, _, last)| last.0 + 1 < cursor.seq.0);
        match spans.last_mut() {
            Some((epoch, _, last)) if *epoch == cursor.epoch && !jumps => *last = cursor.seq,
            // An epoch begins at 0, whether its first records are still there or not.
            Some(_) if !jumps => spans.push((cursor.epoch, Seq(0), cursor.seq)),
            Some(_) | None => spans.push((cursor.epoch, cursor.seq, cursor.seq)),
        }
    }
    let last = places.last().and_then(|place| chosen(*place)).map_or(window.1, |entry| entry.t1);
    let first = all.get(begin).map_or(window.0, |entry| entry.t0);
    Selection { places, spans, window: (window.0.max(first), window.1.min(last)) }
}

/// Places of what an epoch begins with: its start, and its config with its parts, as far as they are there.
fn opening(all: &[Entry], epoch: Epoch) -> std::ops::Range<usize> {
    let first = all.partition_point(|entry| entry.cursor.epoch < epoch);
    let rest = all.get(first..).unwrap_or_default();
    let begin = rest.first().map_or(0, |entry| entry.cursor.seq.0.min(1));
    let of_opening = |(entry, seq): &(&Entry, u64)| {
        let config = matches!(entry.kind, Kind::Config | Kind::Part);
        entry.cursor == Cursor { epoch, seq: Seq(*seq) } && (*seq <= 1 || config)
    };
    let count = rest.iter().zip(begin..).take_while(of_opening).count();
    first..first + count
}

/// What goes into a bundle.
#[derive(Debug, Clone)]
pub struct Contents<'c> {
    /// Whose records: the gateway's keys, each with its period.
    pub ring: KeyRing,
    /// How the keys followed each other, where there was ever more than one.
    pub history: Option<&'c KeyHistory>,
    /// As they were signed, in the order of their cursors.
    pub records: Vec<&'c [u8]>,
    /// [`Selection::spans`].
    pub spans: Vec<(Epoch, Seq, Seq)>,
    /// [`Selection::window`].
    pub window: (EngineTime, EngineTime),
    /// Packs by file name; those that the records name by their hash are taken.
    pub packs: Vec<(String, &'c [u8])>,
    /// The center's key and its signed statement about the gateway.
    pub enrolment: Option<(VerifyingKey, &'c [u8])>,
    /// Records that tell of instruments, each behind the config it names, whenever they were made.
    pub device_records: Vec<&'c [u8]>,
    /// Placement and calibration of devices of which no record tells; see [`crate::check_devices`].
    pub devices: Option<&'c str>,
    /// When the center received each record.
    pub received: Vec<Received>,
    /// What was erased.
    pub erased: Vec<Erased>,
    /// The center's case.
    pub case: Option<CaseFile>,
    /// Photos that its steps name.
    pub attachments: Vec<&'c [u8]>,
    /// Those of them that were erased.
    pub erased_attachments: Vec<ErasedAttachment>,
    /// Who makes it.
    pub maker: Maker,
    /// Now.
    pub made_at: Option<CivilTime>,
    /// By which program.
    pub software: &'c str,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing to put into it.
    #[error("there are no records in this window")]
    Empty,
    /// More than a bundle holds.
    #[error("{0} in one bundle are too many: ask for a shorter window")]
    TooMuch(String),
    /// A record that is not this gateway's.
    #[error("record {place} of the selection")]
    Record {
        /// Its position.
        place: usize,
        /// What is wrong with it.
        source: gateway_wire::RecordError,
    },
    /// A devices file that could not be read again.
    #[error("devices.toml: {0}")]
    Devices(String),
}

/// A bundle, and the packs that it should hold but nobody had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The file.
    pub bytes: Vec<u8>,
    /// Name and version of each pack that is missing: verification will be incomplete.
    pub missing_packs: Vec<String>,
}

/// Makes one. Records go in byte for byte.
pub fn bundle(contents: &Contents<'_>, maker: &SigningKey) -> Result<Made, Error> {
    let size: usize = contents.records.iter().map(|record| record.len()).sum();
    if contents.records.is_empty() {
        return Err(Error::Empty);
    }
    if contents.device_records.len() > DEVICE_RECORDS_MAX {
        return Err(Error::TooMuch(format!("{} records of instruments", contents.device_records.len())));
    }
    if contents.records.len() > RECORDS_MAX {
        return Err(Error::TooMuch(format!("{} records", contents.records.len())));
    }
    if size > BYTES_MAX {
        return Err(Error::TooMuch(format!("{size} bytes of records")));
    }
    if let Some(text) = contents.devices {
        crate::check_devices(text).map_err(Error::Devices)?;
    }
    let mut story = Story::new(contents.window);
    let mut joiner = Joiner::default();
    for (place, bytes) in contents.records.iter().enumerate() {
        let opened = contents.ring.open(bytes).map_err(|source| Error::Record { place, source })?;
        let opened = joiner.opened(opened);
        if let Ok(body) = &opened.body {
            story.take(&opened.header, body);
        }
    }
    let mut files: Vec<(String, Vec<u8>)> = vec![
        ("cover.zh.txt".into(), cover::text(&story, contents, cover::Lang::Zh).into_bytes()),
        ("cover.en.txt".into(), cover::text(&story, contents, cover::Lang::En).into_bytes()),
        ("report.html".into(), cover::html(&story, contents).into_bytes()),
        (GATEWAY_KEY.into(), contents.ring.first().to_bytes().to_vec()),
    ];
    if let Some(history) = contents.history {
        files.push((KEYS.into(), history.encode()));
    }
    if let Some((center, statement)) = contents.enrolment {
        files.push((CENTER_KEY.into(), center.to_bytes().to_vec()));
        files.push((ENROLMENT.into(), statement.to_vec()));
    }
    files.push((RECORDS.into(), pack(&contents.records)));
    let encode = "encoding into memory cannot fail";
    if !contents.erased.is_empty() {
        files.push((ERASED.into(), minicbor::to_vec(&contents.erased).expect(encode)));
    }
    if !contents.received.is_empty() {
        files.push((RECEIVED.into(), minicbor::to_vec(&contents.received).expect(encode)));
    }
    let mut missing_packs = Vec::new();
    for (sha256, (name, version)) in &story.packs {
        match contents.packs.iter().find(|(_, bytes)| hash(bytes) == *sha256) {
            Some((_, bytes)) => files.push((format!("{PACKS}{name}-{}.toml", short(sha256)), bytes.to_vec())),
            None => missing_packs.push(format!("{name} {version}")),
        }
    }
    if !contents.device_records.is_empty() {
        files.push((DEVICE_RECORDS.into(), pack(&contents.device_records)));
    }
    if let Some(text) = contents.devices {
        files.push((DEVICES.into(), text.as_bytes().to_vec()));
    }
    if let Some(case) = &contents.case {
        files.push((CASE.into(), minicbor::to_vec(case).expect(encode)));
    }
    let mut attachments: Vec<_> = contents.attachments.iter().map(|bytes| (hash(bytes), bytes)).collect();
    attachments.sort_unstable_by_key(|(hash, _)| *hash);
    attachments.dedup_by_key(|(hash, _)| *hash);
    for (hash, bytes) in attachments {
        files.push((format!("{ATTACHMENTS}{}", gateway_wire::hex(&hash)), bytes.to_vec()));
    }
    if !contents.erased_attachments.is_empty() {
        files
            .push((ERASED_ATTACHMENTS.into(), minicbor::to_vec(&contents.erased_attachments).expect(encode)));
    }
    let manifest = Manifest {
        version: Manifest::VERSION,
        gateway: contents.ring.gateway(),
        maker: contents.maker,
        maker_key: maker.verifying_key().to_bytes(),
        window: contents.window,
        spans: contents.spans.clone(),
        made_at: contents.made_at,
        software: contents.software.to_owned(),
        files: files
            .iter()
            .map(|(name, bytes)| FileRef {
                name: name.clone(),
                size: bytes.len() as u64,
                sha256: hash(bytes),
            })
            .collect(),
    };
    files.insert(0, (MANIFEST.into(), manifest.seal(maker)));
    let bytes = container::write(files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())));
    Ok(Made { bytes, missing_packs })
}

fn short(hash: &[u8; 32]) -> String {
    gateway_wire::hex(&hash[..4])
}
