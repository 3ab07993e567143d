//! Signed records as they lie at the gateway and at the center, read with nothing but `gateway-wire` and, for the
//! gateway's side, `gateway-journal`. The center's segments are read by their documented layout, not by its code.

use std::path::Path;

use gateway_journal::{Journal, Position};
use gateway_wire::{Body, Header, SigningKey, VerifyingKey, hash, open, peek, unhex};

/// A record and where it was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Gateway id, 32 hex digits.
    pub gateway: String,
    /// Life of the journal.
    pub epoch: u64,
    /// Position in it.
    pub seq: u64,
    /// SHA-256 of the bytes.
    pub hash: [u8; 32],
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Found {
    fn new(bytes: Vec<u8>) -> Self {
        let (header, _) = peek(&bytes).expect("what lies on disk is a record");
        Self {
            gateway: header.gateway.to_string(),
            epoch: header.epoch.0,
            seq: header.seq.0,
            hash: hash(&bytes),
            bytes,
        }
    }

    /// Header and body, after its signature was checked.
    pub fn open(&self, key: &VerifyingKey) -> (Header, Body) {
        let opened = open(key, &self.bytes).expect("the signature is the gateway's");
        (opened.header, opened.body.expect("a body that this release understands"))
    }

    /// What must be the same at both ends.
    pub fn identity(&self) -> (u64, u64, [u8; 32]) {
        (self.epoch, self.seq, self.hash)
    }
}

/// Everything in the evidence segments under the center's data folder, in the order written: `NSSEG001`, then per record
/// length (u32, big-endian), gateway (16), epoch and seq (u64 each, big-endian), bytes.
pub fn at_center(data: &Path) -> Vec<Found> {
    segments(&data.join("segments"))
}

/// The same of records that the center keeps beside the chains: their numbers were taken.
pub fn aside_at_center(data: &Path) -> Vec<Found> {
    segments(&data.join("aside"))
}

fn segments(folder: &Path) -> Vec<Found> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the center keeps segments")
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let bytes = std::fs::read(&file).expect("a segment can be read");
        let mut rest = bytes.strip_prefix(b"NSSEG001").expect("a segment begins with its magic");
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let (frame, tail) = tail.split_at(32);
            let (record, tail) = tail.split_at(length);
            let record = Found::new(record.to_vec());
            let number = |at: usize| u64::from_be_bytes(frame[at..at + 8].try_into().expect("eight bytes"));
            assert_eq!(
                (number(16), number(24)),
                (record.epoch, record.seq),
                "the frame says what the record says"
            );
            found.push(record);
            rest = tail;
        }
    }
    found
}

/// Everything in the journal under a gateway's data folder, in its order. The gateway may run.
pub fn at_gateway(data: &Path) -> Vec<Found> {
    let (journal, _) =
        Journal::open_read_only(&data.join("journal")).expect("a journal can always be opened");
    let scan = journal.scan(Position::default());
    scan.map(|stored| Found::new(stored.expect("an undamaged journal").bytes)).collect()
}

/// The gateway's secret key.
pub fn key(data: &Path) -> SigningKey {
    let text = std::fs::read_to_string(data.join("key")).expect("the gateway has a key");
    SigningKey::from_bytes(&unhex(text.trim()).expect("64 hex digits"))
}

/// Has the center every record of these epochs of the gateway, exactly once, byte for byte, in a chain of hashes that
/// closes from the first to the last? Otherwise says what is wrong.
pub fn same(gateway: &Path, center: &Path, epochs: std::ops::RangeInclusive<u64>) -> Result<(), String> {
    let key = key(gateway);
    let id = key.gateway_id().to_string();
    let here: Vec<_> =
        at_gateway(gateway).into_iter().filter(|found| epochs.contains(&found.epoch)).collect();
    let mut there: Vec<_> = at_center(center)
        .into_iter()
        .filter(|found| found.gateway == id && epochs.contains(&found.epoch))
        .collect();
    there.sort_by_key(|found| (found.epoch, found.seq));
    let twice = there.windows(2).find(|pair| (pair[0].epoch, pair[0].seq) == (pair[1].epoch, pair[1].seq));
    if let Some(pair) = twice {
        return Err(format!("{}/{} is at the center twice", pair[0].epoch, pair[0].seq));
    }
    let (ours, theirs): (Vec<_>, Vec<_>) =
        (here.iter().map(Found::identity).collect(), there.iter().map(Found::identity).collect());
    let place = |one: &(u64, u64, [u8; 32])| format!("{}/{}", one.0, one.1);
    let missing: Vec<_> = ours.iter().filter(|one| !theirs.contains(one)).map(place).collect();
    let beyond: Vec<_> = theirs.iter().filter(|one| !ours.contains(one)).map(place).collect();
    if !missing.is_empty() || !beyond.is_empty() {
        return Err(format!(
            "not at the center: {missing:?}; at the center but not in the journal: {beyond:?}"
        ));
    }
    let verifying = key.verifying_key();
    let mut before = [0; 32];
    for found in &here {
        let (header, _) = found.open(&verifying);
        if header.prev != before {
            return Err(format!("the chain does not close at {}/{}", found.epoch, found.seq));
        }
        before = found.hash;
    }
    Ok(())
}
