//! One type per kind of identity, so that none can stand where another is meant.

use alloc::string::String;
use core::fmt;

use minicbor::{Decode, Encode};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! slot {
    ($(#[$doc:meta])* $name:ident) => {
        number!($(#[$doc])* $name(u32));

        impl $name {
            /// Of a position in a list, which no list is long enough to exceed.
            pub fn of(slot: usize) -> Self {
                Self(u32::try_from(slot).unwrap_or(u32::MAX))
            }

            /// As a position in a list.
            pub fn slot(self) -> usize {
                self.0 as usize
            }
        }
    };
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(/// Life of a journal: grows at every start of the gateway's process, durable before its first record.
    Epoch(u64));
number!(/// Position of a record in its epoch, from 0, without holes.
    Seq(u64));
slot!(/// Slot of a point in [`crate::Plan::points`].
    PointIx);
slot!(/// Slot of a device in [`crate::Plan::devices`].
    DeviceIx);
slot!(/// Slot of a rule in [`crate::Plan::rules`].
    RuleIx);
slot!(/// Slot of a module in [`crate::Plan::modules`].
    ModuleIx);

name!(/// The supervised party (hotel, clinic, hospital): its Unified Social Credit Code where it has one.
    InstitutionId);
name!(/// One set of premises with one gateway.
    SiteId);

/// A gateway: the first 16 bytes of the SHA-256 of its public key, shown as 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct GatewayId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GatewayId({self})")
    }
}

impl GatewayId {
    /// Reads the form that [`fmt::Display`] writes: 32 hex digits, nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return None;
        }
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16);
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Some(Self(id))
    }
}

/// A place in a gateway's records. Ordered by epoch, then by seq.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Cursor {
    /// Life of the journal.
    #[n(0)]
    pub epoch: Epoch,
    /// Position in it.
    #[n(1)]
    pub seq: Seq,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.epoch, self.seq)
    }
}

/// One occurrence of an alert at one gateway. The gateway is known from the record it stands in.
/// `n` counts from 1 within the epoch that raised it and is part of the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct AlertId {
    /// Epoch in which it was raised.
    #[n(0)]
    pub epoch: Epoch,
    /// Number within that epoch, from 1.
    #[n(1)]
    pub n: u32,
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.n)
    }
}
