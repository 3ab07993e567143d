//! Two kinds of time that must never be mixed: the engine's, which never steps, and people's.

use core::fmt;

use minicbor::{Decode, Encode};

/// Milliseconds that never step and never decrease: durations, delays and deadlines run on it, records are
/// signed in it. Its zero has no meaning; at a gateway's first start it is set near civil time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct EngineTime(#[n(0)] pub i64);

impl EngineTime {
    /// This moment and `ms` milliseconds more (or, negative, less).
    #[must_use]
    pub fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The civil time at this moment under the given clock offset (civil − engine), in milliseconds.
    #[must_use]
    pub fn civil(self, offset_ms: i64) -> CivilTime {
        CivilTime(self.0.saturating_add(offset_ms))
    }
}

impl fmt::Display for EngineTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0.div_euclid(1000), self.0.rem_euclid(1000))
    }
}

/// Wall time: milliseconds since 1970-01-01T00:00:00Z. Engine time + offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct CivilTime(#[n(0)] pub i64);
