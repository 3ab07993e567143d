//! What the recorder itself says about its room. The engine never says it and nobody can derive it anew.

use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::{AlertChange, EngineTime, RuleIx};

/// The recorder's room has changed its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Storage {
    /// To this.
    #[n(0)]
    pub state: StorageState,
    /// How much of the ring is used, ‰.
    #[n(1)]
    pub ring_permille: u16,
    /// How much of the keep set is used, ‰.
    #[n(2)]
    pub keep_permille: u16,
}

/// How much room the recorder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum StorageState {
    /// Everything is recorded as planned.
    #[n(0)]
    #[default]
    Enough,
    /// Readings that no judgement depends on are recorded more sparsely.
    #[n(1)]
    Thinning,
    /// `storage-full`: judged as before, but only what must not be lost is recorded.
    #[n(2)]
    Full,
}

/// Changes of one rule on its subject while there was no room to record each.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Folded {
    /// Which.
    #[n(0)]
    pub rule: RuleIx,
    /// How many changes.
    #[n(1)]
    pub changes: u32,
    /// The first of them.
    #[n(2)]
    pub from: EngineTime,
    /// The last of them.
    #[n(3)]
    pub to: EngineTime,
    /// The last change of each occurrence, but for those that began and ended in between; oldest first.
    #[n(4)]
    pub last: Vec<AlertChange>,
}
