//! May a value be believed, and if not, why not. A bad reading has no number to misuse.

use minicbor::{Decode, Encode};

/// A value with its quality.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
pub enum Quality<V> {
    /// As measured.
    #[n(0)]
    Good(#[n(0)] V),
    /// A number is there, but something about it is in doubt.
    #[n(1)]
    Uncertain(#[n(0)] V, #[n(1)] UncertainCause),
    /// There is no number.
    #[n(2)]
    Bad(#[n(0)] BadCause),
}

impl<V> Quality<V> {
    /// The number, if there is one, believed or not.
    pub fn number(self) -> Option<V> {
        match self {
            Self::Good(value) | Self::Uncertain(value, _) => Some(value),
            Self::Bad(_) => None,
        }
    }

    /// The same quality with the number changed.
    pub fn map<W>(self, change: impl FnOnce(V) -> W) -> Quality<W> {
        match self {
            Self::Good(value) => Quality::Good(change(value)),
            Self::Uncertain(value, cause) => Quality::Uncertain(change(value), cause),
            Self::Bad(cause) => Quality::Bad(cause),
        }
    }
}

/// Why a number is in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum UncertainCause {
    /// The clock was not known when it was stamped: good for limits and durations, not for schedules.
    #[n(0)]
    Clock,
    /// The source repeats an older value (retained message, device's own hold).
    #[n(1)]
    Held,
    /// Older than the point's maximum age.
    #[n(2)]
    Stale,
}

/// Why there is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum BadCause {
    /// No answer, or no connection.
    #[n(0)]
    NoCommunication,
    /// The device answered "no" (Modbus exception).
    #[n(1)]
    DeviceRefused,
    /// An answer that is not one: wrong length, undecodable, foreign.
    #[n(2)]
    Malformed,
    /// The device's own mark for a broken or missing probe.
    #[n(3)]
    Sentinel,
    /// Outside what the instrument can measure.
    #[n(4)]
    Implausible,
    /// The source says it is switched off or unreachable (last will, availability).
    #[n(5)]
    SourceOffline,
    /// The gateway was not running.
    #[n(6)]
    GatewayDown,
    /// No reading has been seen since the point exists.
    #[n(7)]
    NeverSeen,
    /// It answers, but has not moved for longer than it can stand still (a frozen probe): [`crate::Stuck`].
    #[n(8)]
    Stuck,
}

impl BadCause {
    /// All causes, in the order of their codes: counts per cause are kept in this order.
    pub const ALL: [Self; 9] = [
        Self::NoCommunication,
        Self::DeviceRefused,
        Self::Malformed,
        Self::Sentinel,
        Self::Implausible,
        Self::SourceOffline,
        Self::GatewayDown,
        Self::NeverSeen,
        Self::Stuck,
    ];

    /// The code under which records and counts keep it.
    pub fn code(self) -> usize {
        self as usize
    }
}
