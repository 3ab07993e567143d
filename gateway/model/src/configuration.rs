//! What becomes of another configuration that was given to a running gateway. The engine never says it and nobody can
//! derive it anew: which plan is in force stands in the config record of each epoch.

use alloc::string::String;

use minicbor::{Decode, Encode};

/// One step in the life of a configuration that was given to a running gateway. Said by the recorder.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ConfigChange {
    /// Which step.
    #[n(0)]
    pub step: ConfigStep,
    /// SHA-256 of the configuration's bytes (site file and the files it names); `None` = they could not be read.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub config: Option<[u8; 32]>,
    /// The order it came with: (center epoch, order seq); `None` = from the gateway's own site file.
    #[n(2)]
    pub order: Option<(u64, u64)>,
    /// What is different, or why it was refused or taken back, in words; at most 2 KiB.
    #[n(3)]
    pub said: String,
}

/// The steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum ConfigStep {
    /// Not taken: the one before stays in force.
    #[n(0)]
    Refused,
    /// In force from this epoch on, and watched.
    #[n(1)]
    Applied,
    /// It was healthy for as long as it was watched: restarts begin with it.
    #[n(2)]
    Confirmed,
    /// It was not: the one before is in force again from this epoch on.
    #[n(3)]
    RolledBack,
}
