//! Many records as one body of a request: a CBOR sequence (RFC 8742) of byte strings, each a record exactly as it
//! lies in the journal.

use minicbor::Encoder;

use crate::{RECORD_MAX, RecordError, strict};

/// Media type of a batch.
pub const BATCH_TYPE: &str = "application/cbor-seq";

/// Packs records, unchanged and in order.
pub fn pack(records: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let size = records.iter().map(|record| record.as_ref().len() + 5).sum();
    let mut encoder = Encoder::new(Vec::with_capacity(size));
    for record in records {
        encoder.bytes(record.as_ref()).expect("encoding into memory cannot fail");
    }
    encoder.into_writer()
}

/// Takes a batch of at most `max_records` apart; the bytes of each record are not looked at.
pub fn unpack(bytes: &[u8], max_records: usize) -> Result<Vec<&[u8]>, RecordError> {
    const WHAT: &str = "batch";
    let mut records = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let within = |fault: strict::Fault| fault.within(WHAT);
        let head = strict::head(bytes, at).map_err(within)?;
        if head.major != 2 {
            return Err(RecordError::Structure { what: WHAT, at, fault: "not a byte string" });
        }
        let end = strict::item(bytes, at, 0).map_err(within)?;
        let record = &bytes[head.end..end];
        if record.len() > RECORD_MAX {
            return Err(RecordError::TooLarge { what: "record", size: record.len(), limit: RECORD_MAX });
        }
        if records.len() == max_records {
            return Err(RecordError::TooMany { what: "records", found: max_records + 1, limit: max_records });
        }
        records.push(record);
        at = end;
    }
    Ok(records)
}
