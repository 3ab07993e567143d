//! Records: one signed, numbered entry of a gateway's journal.
//!
//! The signed payload is the CBOR array `[gateway, epoch, seq, prev, config, t0, t1 − t0, body]`.

use gateway_model::{Cursor, EngineTime, Epoch, GatewayId, Seq};
use minicbor::Encoder;
use sha2::{Digest as _, Sha256};

use crate::{
    Body, Kind, NotUnderstood, RecordError, SigningKey, VerifyingKey,
    body::Part,
    envelope::{self, Envelope},
    strict,
};

/// A record's bytes, at most.
pub const RECORD_MAX: usize = 1 << 20;
/// Content type in the protected header of a record.
pub const RECORD_TYPE: &str = "application/nonsite-record";

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Who wrote it.
    pub gateway: GatewayId,
    /// In which life of its journal.
    pub epoch: Epoch,
    /// At which position.
    pub seq: Seq,
    /// SHA-256 of the bytes of the record before it: in the first record of an epoch the last one found on disk of
    /// the epoch before, zeros in the very first.
    pub prev: [u8; 32],
    /// Config record of the same epoch that it is to be read with; 0 = none yet.
    pub config: Seq,
    /// Engine time of its first input or conclusion.
    pub t0: EngineTime,
    /// Engine time of its last.
    pub t1: EngineTime,
}

impl Header {
    /// Its place among the gateway's records.
    pub fn cursor(&self) -> Cursor {
        Cursor { epoch: self.epoch, seq: self.seq }
    }
}

/// A record that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Where it stands.
    pub header: Header,
    /// What it says.
    pub body: Body,
}

/// A record whose signature is good.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// Where it stands.
    pub header: Header,
    /// What it says: *stored*, or else *quarantined*: kept and counted, not refused.
    pub body: Result<Body, NotUnderstood>,
}

/// SHA-256, the hash that chains records and names attachments, keys and packs.
pub fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Signs a record. From here on only its bytes count: they are stored and forwarded, never encoded again.
///
/// Bounded input, bounded output: with at most [`crate::ITEMS_MAX`] inputs and frames made by
/// [`crate::Frame::new`] a record that `open` understands results; one above [`RECORD_MAX`] (a plan or state
/// of many megabytes) is refused by every reader, so the writer looks at the length before it journals it.
pub fn seal(key: &SigningKey, header: &Header, body: &Body) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    encoder
        .array(8)
        .and_then(|e| e.bytes(&header.gateway.0)?.u64(header.epoch.0)?.u64(header.seq.0)?.bytes(&header.prev))
        .and_then(|e| e.u64(header.config.0)?.i64(header.t0.0)?.i64(header.t1.0.wrapping_sub(header.t0.0)))
        .expect("encoding into memory cannot fail");
    let mut payload = encoder.into_writer();
    body.write(header.t0, &mut payload);
    envelope::sign(key, RECORD_TYPE, payload)
}

/// What a record says of itself: structure is checked strictly, signature and content are not.
pub fn peek(bytes: &[u8]) -> Result<(Header, Kind), RecordError> {
    let envelope = envelope::read(bytes, RECORD_TYPE, RECORD_MAX)?;
    let (header, body) = read_header(&envelope)?;
    let part = Part::find(body).map_err(|not| RecordError::Content { what: "record", why: not.why })?;
    Ok((header, Kind::from_number(part.kind)))
}

/// Key id in a record's header. Nothing is checked but the structure.
pub(crate) fn signed_by(bytes: &[u8]) -> Result<Vec<u8>, RecordError> {
    Ok(envelope::read(bytes, RECORD_TYPE, RECORD_MAX)?.kid().to_vec())
}

/// Checks a record against its gateway's key, signature first, and reads it.
pub fn open(key: &VerifyingKey, bytes: &[u8]) -> Result<Opened, RecordError> {
    let envelope = envelope::read(bytes, RECORD_TYPE, RECORD_MAX)?;
    envelope.verify(key)?;
    let (header, body) = read_header(&envelope)?;
    if header.gateway != key.gateway_id() {
        return Err(RecordError::Gateway { key: key.gateway_id(), claimed: header.gateway });
    }
    Ok(Opened { body: Body::read(header.t0, body), header })
}

/// Reads a record again whose signature [`open`] has checked before. Never for bytes that come from outside: nothing
/// about them is checked here but their structure.
pub fn reread(bytes: &[u8]) -> Result<Opened, RecordError> {
    let envelope = envelope::read(bytes, RECORD_TYPE, RECORD_MAX)?;
    let (header, body) = read_header(&envelope)?;
    Ok(Opened { body: Body::read(header.t0, body), header })
}

/// The header, and the bytes that follow it.
fn read_header(envelope: &Envelope) -> Result<(Header, &[u8]), RecordError> {
    const WHAT: &str = "record header";
    let payload = envelope.payload();
    let start = strict::head(payload, 0).map_err(|fault| fault.within(WHAT))?;
    if (start.major, start.argument) != (4, 8) {
        return Err(RecordError::Structure { what: WHAT, at: 0, fault: "not an array of eight" });
    }
    let mut end = start.end;
    for _ in 0..7 {
        end = strict::item(payload, end, 1).map_err(|fault| fault.within(WHAT))?;
    }
    let header = fields(&payload[start.end..end])
        .map_err(|error| RecordError::Content { what: WHAT, why: error.to_string() })?;
    Ok((header, &payload[end..]))
}

fn fields(bytes: &[u8]) -> Result<Header, minicbor::decode::Error> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let d = &mut decoder;
    let (gateway, epoch, seq, prev) = (d.decode()?, d.decode()?, d.decode()?, d.bytes()?);
    let prev = prev.try_into().map_err(|_| minicbor::decode::Error::message("prev is not 32 bytes"))?;
    let (config, t0) = (d.decode()?, d.decode::<EngineTime>()?);
    let t1 = EngineTime(t0.0.wrapping_add(d.i64()?));
    Ok(Header { gateway, epoch, seq, prev, config, t0, t1 })
}
