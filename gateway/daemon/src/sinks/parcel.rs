//! What goes out, and what may come back: the words in which drivers and [`super::core`] speak of a delivery.

use serde::{Deserialize, Serialize};

use super::core::Millis;

/// One thing to deliver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// Record it comes from, and its number in it: unique, and the same after every restart.
    pub epoch: u64,
    /// See `epoch`.
    pub seq: u64,
    /// See `epoch`.
    pub n: u32,
    /// MQTT topic; empty elsewhere.
    #[serde(default)]
    pub topic: String,
    /// MQTT: kept by the broker as the newest state.
    #[serde(default)]
    pub retain: bool,
    /// What is sent.
    pub body: String,
}

impl Parcel {
    /// `epoch-seq-n`.
    pub fn id(&self) -> String {
        format!("{}-{}-{}", self.epoch, self.seq, self.n)
    }

    pub(super) fn key(&self) -> (u64, u64, u32) {
        (self.epoch, self.seq, self.n)
    }

    pub(super) fn size(&self) -> usize {
        self.topic.len() + self.body.len() + 1
    }
}

/// What the target said about the first parcel that it did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Something in the batch cannot be taken, now or later. `only`: it is the first of the rest.
    Poison {
        /// The answer's words.
        words: String,
        /// Known to be the first parcel of the rest.
        only: bool,
    },
    /// The batch is too large.
    TooLarge {
        /// The answer's words.
        words: String,
    },
    /// Later, please.
    Busy {
        /// How much later, if it said.
        after: Option<Millis>,
        /// The answer's words.
        words: String,
    },
    /// No answer, or an answer that says that the target is in trouble.
    Down {
        /// What happened.
        words: String,
    },
    /// Token, name or address is wrong: a person has to act.
    Refused {
        /// The answer's words.
        words: String,
    },
    /// The target wants nothing more, ever.
    Gone {
        /// The answer's words.
        words: String,
    },
}

impl Trouble {
    /// What was said.
    pub fn words(&self) -> &str {
        match self {
            Self::Poison { words, .. }
            | Self::TooLarge { words }
            | Self::Busy { words, .. }
            | Self::Down { words }
            | Self::Refused { words }
            | Self::Gone { words } => words,
        }
    }

    /// As metrics count it.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Poison { .. } => "poison",
            Self::TooLarge { .. } => "too_large",
            Self::Busy { .. } => "busy",
            Self::Down { .. } => "down",
            Self::Refused { .. } => "refused",
            Self::Gone { .. } => "gone",
        }
    }
}
