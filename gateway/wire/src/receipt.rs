//! Receipts: what the center has on disk, and what it asks for.

use gateway_model::{CivilTime, Epoch, Seq};
use minicbor::{Decode, Encode};

use crate::{RecordError, envelope};

/// Epochs in one receipt, at most: the oldest unfinished ones first.
pub const EPOCHS_MAX: usize = 16;
/// Ranges that an epoch has beyond `through`, and ranges wanted, at most.
pub const RANGES_MAX: usize = 64;
/// Refusals in one receipt, at most: a batch has no more records.
const REFUSED_MAX: usize = 1024;
/// Bytes of a refusal's code, at most.
const CODE_MAX: usize = 64;
/// Bytes of a receipt, at most.
const RECEIPT_MAX: usize = 256 << 10;

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
        let at_most = |what, found, limit| {
            if found <= limit { Ok(()) } else { Err(RecordError::TooMany { what, found, limit }) }
        };
        at_most("epochs", receipt.epochs.len(), EPOCHS_MAX)?;
        at_most("refusals", receipt.refused.len(), REFUSED_MAX)?;
        at_most("wanted ranges", receipt.wants.len(), RANGES_MAX)?;
        for epoch in &receipt.epochs {
            at_most("ranges", epoch.have.len(), RANGES_MAX)?;
        }
        for refused in &receipt.refused {
            at_most("bytes of a code", refused.code.len(), CODE_MAX)?;
        }
        Ok(receipt)
    }
}
