//! Receipts: what the center has on disk, and what it asks for; and the comparison with which a session begins.
//!
//! A number alone proves nothing: a disk that was copied or set back writes other records under numbers that are taken.
//! So wherever the center says what it has, it names the hash of the last record of each run. Records are chained, so
//! that one equal hash stands for every record of the run before it.

use gateway_model::{CivilTime, Epoch, Seq};
use minicbor::{Decode, Encode};

use crate::{Fingerprint, RecordError, envelope};

/// Epochs in one receipt, at most: the oldest that the batch touched, and the newest there is.
pub const EPOCHS_MAX: usize = 16;
/// Ranges that an epoch has beyond `through`, and ranges wanted, at most.
pub const RANGES_MAX: usize = 64;
/// Refusals in one receipt, at most: a batch has no more records.
const REFUSED_MAX: usize = 1024;
/// Bytes of a refusal's code, at most.
const CODE_MAX: usize = 64;
/// Bytes of a receipt, at most.
const RECEIPT_MAX: usize = 256 << 10;
/// Epochs in one page of a comparison, at most.
pub const SURVEY_MAX: usize = 128;
/// Bytes of one page, at most: every epoch of it full of ranges.
const PAGE_MAX: usize = 1 << 20;

/// The answer to a batch of records.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Receipt {
    /// The center's clock.
    #[n(0)]
    pub server_time: CivilTime,
    /// Records that the next batch may hold; 0 = wait and ask again.
    #[n(1)]
    pub window: u32,
    /// What the center has, per epoch.
    #[n(2)]
    pub epochs: Vec<EpochReceipt>,
    /// What it would not take. The gateway reads it from disk once more, sends it once more, then writes a gap.
    #[n(3)]
    pub refused: Vec<Refused>,
    /// What it asks for again: epoch, first and last seq.
    #[n(4)]
    pub wants: Vec<(Epoch, Seq, Seq)>,
}

/// What the center has of one epoch. Each seq is *stored*, *quarantined* or *gone*; all three count.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct EpochReceipt {
    /// Which.
    #[n(0)]
    pub epoch: Epoch,
    /// Everything from 0 to here; `None` = not even 0.
    #[n(1)]
    pub through: Option<Seq>,
    /// Ranges beyond it, first and last, in ascending order.
    #[n(2)]
    pub have: Vec<(Seq, Seq)>,
    /// Records at the center and the SHA-256 of their bytes: of each run the last, and those that were asked about.
    /// `None` = the center does not say.
    #[n(3)]
    pub ends: Option<Vec<(Seq, Fingerprint)>>,
}

impl EpochReceipt {
    fn check(&self) -> Result<(), RecordError> {
        at_most("ranges", self.have.len(), RANGES_MAX)?;
        // One per range, one for `through`, one that was asked about.
        at_most("hashes", self.ends.as_ref().map_or(0, Vec::len), RANGES_MAX + 2)
    }

    /// The highest seq that the center has or takes for gone.
    pub fn last(&self) -> Option<Seq> {
        self.have.last().map(|(_, last)| *last).max(self.through)
    }
}

/// The question of a comparison: what does the center have of these epochs?
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct SurveyRequest {
    /// The session that the first page began; `None` = this is the first page.
    #[n(0)]
    pub session: Option<u64>,
    /// From this epoch on.
    #[n(1)]
    pub from: Epoch,
    /// Up to this one; `None` = to the end.
    #[n(2)]
    pub to: Option<Epoch>,
    /// The gateway's last record of each of its epochs among them: the center answers with the hash it has there.
    #[n(3)]
    pub last: Vec<(Epoch, Seq)>,
}

/// One page of the answer. An epoch between `from` and `to` (or `next`) that is not in it is not at the center at all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Survey {
    /// The center's clock.
    #[n(0)]
    pub server_time: CivilTime,
    /// Goes with every batch from now on. A newer session ends an older one.
    #[n(1)]
    pub session: u64,
    /// What the center has, in ascending order.
    #[n(2)]
    pub epochs: Vec<EpochReceipt>,
    /// There is more from this epoch on.
    #[n(3)]
    pub next: Option<Epoch>,
}

impl SurveyRequest {
    /// As CBOR.
    pub fn encode(&self) -> Vec<u8> {
        envelope::encode(self)
    }

    /// From CBOR, strictly.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let request: Self = page("survey request", bytes)?;
        at_most("epochs", request.last.len(), SURVEY_MAX)?;
        Ok(request)
    }
}

impl Survey {
    /// As CBOR.
    pub fn encode(&self) -> Vec<u8> {
        envelope::encode(self)
    }

    /// From CBOR, strictly.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let survey: Self = page("survey", bytes)?;
        at_most("epochs", survey.epochs.len(), SURVEY_MAX)?;
        survey.epochs.iter().try_for_each(EpochReceipt::check)?;
        Ok(survey)
    }
}

fn page<T: for<'b> Decode<'b, ()>>(what: &'static str, bytes: &[u8]) -> Result<T, RecordError> {
    if bytes.len() > PAGE_MAX {
        return Err(RecordError::TooLarge { what, size: bytes.len(), limit: PAGE_MAX });
    }
    envelope::decode(what, bytes)
}

fn at_most(what: &'static str, found: usize, limit: usize) -> Result<(), RecordError> {
    if found <= limit { Ok(()) } else { Err(RecordError::TooMany { what, found, limit }) }
}

/// A record that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Refused {
    /// Its epoch.
    #[n(0)]
    pub epoch: Epoch,
    /// Its seq.
    #[n(1)]
    pub seq: Seq,
    /// Why, as a code with a page in the runbook: `signature`, `equivocation`, `simulated` …
    #[n(2)]
    pub code: String,
}

impl Receipt {
    /// As CBOR.
    pub fn encode(&self) -> Vec<u8> {
        envelope::encode(self)
    }

    /// From CBOR, strictly.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        const WHAT: &str = "receipt";
        if bytes.len() > RECEIPT_MAX {
            return Err(RecordError::TooLarge { what: WHAT, size: bytes.len(), limit: RECEIPT_MAX });
        }
        let receipt: Self = envelope::decode(WHAT, bytes)?;
        at_most("epochs", receipt.epochs.len(), EPOCHS_MAX)?;
        at_most("refusals", receipt.refused.len(), REFUSED_MAX)?;
        at_most("wanted ranges", receipt.wants.len(), RANGES_MAX)?;
        receipt.epochs.iter().try_for_each(EpochReceipt::check)?;
        for refused in &receipt.refused {
            at_most("bytes of a code", refused.code.len(), CODE_MAX)?;
        }
        Ok(receipt)
    }
}
