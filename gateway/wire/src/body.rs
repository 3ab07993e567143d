//! What a record holds, and how each kind is written as `[kind, version, content]` or, where that is shorter,
//! `[kind, version, length, zstd(content)]`.

use std::cell::RefCell;

use gateway_model::{
    Conclusion, EngineTime, Gap, Input, Plan, PointCounts, PointIx, Quality, Reading, Seq, StartInput, State,
    UncertainCause,
};
use minicbor::{Decode, Encode, Encoder};
use zstd::bulk::Compressor;

use crate::{
    columns::{ITEMS_MAX, RunReader, Writer},
    counts, envelope,
    parts::{Head, Part as ContentPart, Parted, PartedKind},
    strict,
};

/// Content of one body after decompression, at most. A state is at most 8 MiB.
pub const CONTENT_MAX: usize = 16 << 20;
/// Bytes of one raw answer or payload kept with a conclusion, at most.
pub const FRAME_MAX: usize = 1024;
/// Version of every kind's content that is written here, and the only one there has been, …
const VERSION: u64 = 1;
/// … but for heads of contents in parts.
const VERSION_PARTED: u64 = 2;
/// Contents shorter than this are not worth a compressor's frame.
const COMPRESS_FROM: usize = 64;
/// Level 3 is where zstd's own curve of size against time bends.
const ZSTD_LEVEL: i32 = 3;
/// Tables for larger contents (configurations, states) are megabytes, and are not kept for the next.
const COMPRESSOR_KEPT_TO: usize = 64 * 1024;

/// What a record says.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// First record of every epoch.
    Start(StartInput),
    /// What the following records are to be read with.
    Config(Box<ConfigBody>),
    /// What the engine ate.
    Inputs(InputsBody),
    /// What it concluded.
    Conclusions(ConclusionsBody),
    /// Its whole state.
    Checkpoint(Box<State>),
    /// A span for which readings or records are not there.
    Gap(Gap),
    /// Config or state that follows in parts.
    Parted(Parted),
    /// One part of it.
    Part(ContentPart),
}

/// Content of a config record.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct ConfigBody {
    /// The resolved plan.
    #[n(0)]
    pub plan: Plan,
    /// Version of the gateway's software.
    #[n(1)]
    pub software: String,
    /// [`gateway_model::SEMANTICS`] of its engine.
    #[n(2)]
    pub semantics: u16,
}

/// Content of an inputs record.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InputsBody {
    /// In the order eaten; at most [`ITEMS_MAX`].
    pub items: Vec<Input>,
    /// Per point, since the inputs record before.
    pub counts: Vec<PointCounts>,
}

/// Content of a conclusions record.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct ConclusionsBody {
    /// The inputs record that led here.
    #[n(0)]
    pub because: Seq,
    /// In the order reached.
    #[n(1)]
    pub list: Vec<Conclusion>,
    /// The answers or payloads that decided.
    #[n(2)]
    pub frames: Vec<Frame>,
}

/// A raw answer or payload of the reading that decided an alert.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Frame {
    /// Its point.
    #[n(0)]
    pub point: PointIx,
    /// The reading's stamp.
    #[n(1)]
    pub at: EngineTime,
    /// As received; the first [`FRAME_MAX`] bytes.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

impl Frame {
    /// Keeps at most [`FRAME_MAX`] of `bytes`.
    pub fn new(point: PointIx, at: EngineTime, bytes: &[u8]) -> Self {
        Self { point, at, bytes: bytes[..bytes.len().min(FRAME_MAX)].to_vec() }
    }
}

/// The kinds of body by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 0
    Start,
    /// 1
    Config,
    /// 2
    Inputs,
    /// 3
    Conclusions,
    /// 4
    Checkpoint,
    /// 5
    Gap,
    /// 6
    Part,
    /// Of a later release.
    Other(u64),
}

impl Kind {
    /// Its number in a record.
    pub fn number(self) -> u64 {
        match self {
            Self::Start => 0,
            Self::Config => 1,
            Self::Inputs => 2,
            Self::Conclusions => 3,
            Self::Checkpoint => 4,
            Self::Gap => 5,
            Self::Part => 6,
            Self::Other(number) => number,
        }
    }

    /// The kind with this number.
    pub fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Start,
            1 => Self::Config,
            2 => Self::Inputs,
            3 => Self::Conclusions,
            4 => Self::Checkpoint,
            5 => Self::Gap,
            6 => Self::Part,
            number => Self::Other(number),
        }
    }
}

/// A signed body that this release cannot read: the record is kept and counted (*quarantined*), not refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("body of kind {kind:?} version {version:?} is not understood: {why}")]
pub struct NotUnderstood {
    /// Its number, if it could be read.
    pub kind: Option<u64>,
    /// Its version, if it could be read.
    pub version: Option<u64>,
    /// What stood in the way.
    pub why: String,
}

impl Body {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Start(_) => Kind::Start,
            Self::Config(_) => Kind::Config,
            Self::Inputs(_) => Kind::Inputs,
            Self::Conclusions(_) => Kind::Conclusions,
            Self::Checkpoint(_) => Kind::Checkpoint,
            Self::Gap(_) => Kind::Gap,
            Self::Parted(parted) => parted.of.kind(),
            Self::Part(_) => Kind::Part,
        }
    }

    /// Appends the body of a record that begins at `t0`.
    pub(crate) fn write(&self, t0: EngineTime, out: &mut Vec<u8>) {
        let content = match self {
            Self::Start(start) => envelope::encode(start),
            Self::Config(config) => envelope::encode(config),
            Self::Inputs(inputs) => inputs.write(t0),
            Self::Conclusions(conclusions) => envelope::encode(conclusions),
            Self::Checkpoint(state) => envelope::encode(state),
            Self::Gap(gap) => envelope::encode(gap),
            Self::Parted(parted) => envelope::encode(&parted.head),
            Self::Part(part) => envelope::encode(part),
        };
        let kind = self.kind().number();
        let version = if matches!(self, Self::Parted(_)) { VERSION_PARTED } else { VERSION };
        let packed = compressed(&content);
        let mut encoder = Encoder::new(out);
        let head = encoder.array(if packed.is_some() { 4 } else { 3 });
        head.and_then(|e| e.u64(kind)?.u64(version)).expect(IN_MEMORY);
        match packed {
            Some(packed) => {
                encoder.u64(content.len() as u64).and_then(|e| e.bytes(&packed)).expect(IN_MEMORY);
            }
            None => encoder.writer_mut().extend_from_slice(&content),
        }
    }

    /// Reads the body of a record that began at `t0`; `bytes` are all that follows the header.
    pub(crate) fn read(t0: EngineTime, bytes: &[u8]) -> Result<Self, NotUnderstood> {
        let part = Part::find(bytes)?;
        let refuse = |why: String| NotUnderstood { kind: Some(part.kind), version: Some(part.version), why };
        let kind = Kind::from_number(part.kind);
        if let Kind::Other(_) = kind {
            return Err(refuse("a kind of a later release".into()));
        }
        let parted = match (kind, part.version) {
            (Kind::Config, VERSION_PARTED) => Some(PartedKind::Config),
            (Kind::Checkpoint, VERSION_PARTED) => Some(PartedKind::Checkpoint),
            _ => None,
        };
        if part.version != VERSION && parted.is_none() {
            return Err(refuse("a version of a later release".into()));
        }
        let unpacked;
        let content = match part.length {
            None => part.content,
            Some(length) => {
                unpacked = unpack(part.content, length).map_err(refuse)?;
                strict::whole(&unpacked).map_err(|fault| refuse(fault.within("content").to_string()))?;
                &unpacked
            }
        };
        if let Some(of) = parted {
            let head: Head = minicbor::decode(content).map_err(|error| refuse(error.to_string()))?;
            head.check().map_err(refuse)?;
            return Ok(Self::Parted(Parted { of, head }));
        }
        let body = match kind {
            Kind::Start => minicbor::decode(content).map(Self::Start),
            Kind::Config => minicbor::decode(content).map(Self::Config),
            Kind::Inputs => InputsBody::read(t0, content).map(Self::Inputs),
            Kind::Conclusions => minicbor::decode(content).map(Self::Conclusions),
            Kind::Checkpoint => minicbor::decode(content).map(Self::Checkpoint),
            Kind::Gap => minicbor::decode(content).map(Self::Gap),
            Kind::Part => minicbor::decode(content).map(Self::Part),
            Kind::Other(_) => return Err(refuse("a kind of a later release".into())),
        };
        let body = body.map_err(|error| refuse(error.to_string()))?;
        if let Self::Conclusions(conclusions) = &body
            && conclusions.frames.iter().any(|frame| frame.bytes.len() > FRAME_MAX)
        {
            return Err(refuse(format!("a frame of more than {FRAME_MAX} bytes")));
        }
        Ok(body)
    }
}

const IN_MEMORY: &str = "encoding into memory cannot fail";

/// As a zstd frame, where that is shorter.
pub(crate) fn compressed(content: &[u8]) -> Option<Vec<u8>> {
    (content.len() >= COMPRESS_FROM)
        .then(|| compress(content).expect("zstd compresses whatever it is given"))
        // What the array's fourth element and the byte string's own head take.
        .filter(|packed| packed.len() + 8 < content.len())
}

/// A body taken apart, not yet understood.
pub(crate) struct Part<'b> {
    pub(crate) kind: u64,
    version: u64,
    /// Of the decompressed content, where it is compressed.
    length: Option<u64>,
    content: &'b [u8],
}

impl<'b> Part<'b> {
    /// Walks the body strictly; it must be all there is.
    pub(crate) fn find(bytes: &'b [u8]) -> Result<Self, NotUnderstood> {
        let mut found = NotUnderstood { kind: None, version: None, why: String::new() };
        Self::walk(bytes, &mut found)
            .map_err(|fault| NotUnderstood { why: fault.within("body").to_string(), ..found })
    }

    fn walk(bytes: &'b [u8], found: &mut NotUnderstood) -> Result<Self, strict::Fault> {
        let not = |at, fault| strict::Fault { at, fault };
        let number = |at| match strict::head(bytes, at)? {
            head if head.major == 0 => Ok((head.argument, head.end)),
            _ => Err(not(at, "a number belongs here")),
        };
        let array = strict::head(bytes, 0)?;
        if array.major != 4 || !matches!(array.argument, 3 | 4) {
            return Err(not(0, "not an array of kind, version and content"));
        }
        let (kind, at) = number(array.end)?;
        found.kind = Some(kind);
        let (version, at) = number(at)?;
        found.version = Some(version);
        let (length, at) = match array.argument {
            3 => (None, at),
            _ => number(at).map(|(length, at)| (Some(length), at))?,
        };
        // In the payload's array and the body's.
        let end = strict::item(bytes, at, 2)?;
        if end != bytes.len() {
            return Err(not(end, "bytes after the end"));
        }
        let content = match length {
            None => &bytes[at..],
            Some(_) => match strict::head(bytes, at)? {
                head if head.major == 2 => &bytes[head.end..],
                _ => return Err(not(at, "a compressed content is a byte string")),
            },
        };
        Ok(Self { kind, version, length, content })
    }
}

thread_local! {
    /// Making its tables costs more than compressing a record: they are made once a thread.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

fn compress(content: &[u8]) -> std::io::Result<Vec<u8>> {
    if content.len() > COMPRESSOR_KEPT_TO {
        return zstd::bulk::compress(content, ZSTD_LEVEL);
    }
    COMPRESSOR.with_borrow_mut(|kept| match kept {
        Some(compressor) => compressor.compress(content),
        None => kept.insert(Compressor::new(ZSTD_LEVEL)?).compress(content),
    })
}

/// Decompresses to exactly `length` bytes.
fn unpack(packed: &[u8], length: u64) -> Result<Vec<u8>, String> {
    let length = usize::try_from(length).ok().filter(|length| *length <= CONTENT_MAX);
    let length = length.ok_or_else(|| format!("content of more than {CONTENT_MAX} bytes"))?;
    let content = zstd::bulk::decompress(packed, length).map_err(|error| format!("zstd: {error}"))?;
    if content.len() != length {
        return Err(format!("content of {} bytes, said to be {length}", content.len()));
    }
    Ok(content)
}

/// Readings whose value was an answer: what counts are expected to hold of a point.
fn kept(items: &[Input]) -> impl Fn(PointIx) -> u32 {
    let mut points: Vec<PointIx> = items
        .iter()
        .filter_map(|item| {
            let Input::Reading(Reading { point, value, .. }) = item else { return None };
            match value {
                Quality::Good(_) | Quality::Uncertain(_, UncertainCause::Clock | UncertainCause::Held) => {
                    Some(*point)
                }
                Quality::Uncertain(_, UncertainCause::Stale) | Quality::Bad(_) => None,
            }
        })
        .collect();
    points.sort_unstable();
    among(points.chunk_by(PartialEq::eq).map(|same| (same[0], same.len() as u32)).collect())
}

/// How many readings of a point are among these, which are sorted.
fn among(kept: Vec<(PointIx, u32)>) -> impl Fn(PointIx) -> u32 {
    move |point| kept.binary_search_by_key(&point, |(known, _)| *known).map_or(0, |place| kept[place].1)
}

impl InputsBody {
    /// `[tracks, [run or step or input …], counts]`: a byte string is a run of readings, a number is an advance of the
    /// record's clock by so much, an array is any other input.
    fn write(&self, t0: EngineTime) -> Vec<u8> {
        let readings = self.items.iter().filter_map(reading);
        let mut writer = Writer::new(t0, readings);
        let mut parts = 0;
        let mut body = Encoder::new(Vec::new());
        let mut items = &self.items[..];
        while let Some(first) = items.first() {
            let mut run = Vec::with_capacity(items.len());
            run.extend(items.iter().map_while(reading).copied());
            let taken = run.len().max(1);
            if run.is_empty() {
                write_input(first, writer.now(), &mut body);
            } else {
                body.bytes(&writer.run(&run)).expect(IN_MEMORY);
            }
            parts += 1;
            items = &items[taken..];
        }
        let mut content = Encoder::new(Vec::new());
        let head = content.array(3).and_then(|content| content.bytes(&writer.tracks()));
        head.and_then(|content| content.array(parts)).expect(IN_MEMORY);
        content.writer_mut().extend_from_slice(body.writer());
        content.bytes(&counts::pack(&self.counts, among(writer.kept()))).expect(IN_MEMORY);
        content.into_writer()
    }

    fn read(t0: EngineTime, content: &[u8]) -> Result<Self, minicbor::decode::Error> {
        let mut decoder = minicbor::Decoder::new(content);
        let message = minicbor::decode::Error::message;
        if decoder.array()? != Some(3) {
            return Err(message("inputs are an array of tracks, parts and counts"));
        }
        let mut reader = RunReader::new(t0, decoder.bytes()?).map_err(message)?;
        let parts = decoder.array()?.ok_or_else(|| message("an indefinite length"))?;
        let mut items = Vec::new();
        for _ in 0..parts {
            if items.len() >= ITEMS_MAX {
                return Err(message("too many inputs"));
            }
            // Major type of the next item: 2 a run, 4 an input, else a step, which must be a number.
            match content.get(decoder.position()).map(|first| first >> 5) {
                Some(2) => {
                    let (run, room) = (decoder.bytes()?, ITEMS_MAX - items.len());
                    reader.run(run, room, |reading| items.push(Input::Reading(reading))).map_err(message)?;
                }
                Some(4) => {
                    let input = decoder.decode()?;
                    if matches!(input, Input::Reading(_) | Input::Advance(_)) {
                        return Err(message("a reading or advance outside its packed form"));
                    }
                    items.push(input);
                }
                _ => {
                    let now = reader.now();
                    *now = now.wrapping_add(decoder.i64()?);
                    items.push(Input::Advance(EngineTime(*now)));
                }
            }
        }
        let counts = counts::unpack(decoder.bytes()?, kept(&items)).map_err(message)?;
        Ok(Self { items, counts })
    }
}

fn reading(input: &Input) -> Option<&Reading> {
    if let Input::Reading(reading) = input { Some(reading) } else { None }
}

fn write_input(input: &Input, now: &mut i64, out: &mut Encoder<Vec<u8>>) {
    match input {
        Input::Advance(at) => {
            let step = at.0.wrapping_sub(*now);
            *now = at.0;
            out.i64(step).expect(IN_MEMORY);
        }
        Input::Start(_)
        | Input::Reading(_)
        | Input::Clock(_)
        | Input::Command(_)
        | Input::Fact(_)
        | Input::Stop { .. }
        | Input::Heartbeat(_) => {
            out.encode(input).expect(IN_MEMORY);
        }
    }
}
