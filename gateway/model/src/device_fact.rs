//! What happens to an instrument itself: evidence of which sensor measured where, and how well.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::{CivilTime, PointIx, Raw};

/// What the counters of a device do when it, or a part of it, is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Counters {
    /// They go on.
    #[n(0)]
    Kept,
    /// They begin at nothing.
    #[n(1)]
    Reset,
}

/// One quantity of an instrument beside a reference instrument, in the point's unit.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Compared {
    /// Which.
    #[n(0)]
    pub point: PointIx,
    /// What the instrument showed.
    #[n(1)]
    pub shown: Raw,
    /// What the reference showed at that moment, as it was written.
    #[n(2)]
    pub reference: Raw,
    /// How far they may differ, as the configuration stated it then; `None` = it stated nothing.
    #[n(3)]
    pub accuracy: Option<Raw>,
}

/// A photo, by its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Photo {
    /// SHA-256 of the file's bytes.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub sha256: [u8; 32],
}

/// What was seen when an instrument was accepted at its place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Acceptance {
    /// Its values beside those of a reference.
    #[n(0)]
    pub compared: Vec<Compared>,
    /// Photos of it, its sign and its place.
    #[n(1)]
    pub photos: Vec<Photo>,
}

/// One event in an instrument's life. Serial numbers and certificates are given as printed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum DeviceFact {
    /// Put to use at its measuring place.
    #[n(0)]
    Placed {
        /// Its serial number.
        #[n(0)]
        serial: String,
        /// The measuring place, in the site's words.
        #[n(1)]
        place: String,
        /// Opaque id of the person.
        #[n(2)]
        by: String,
        /// Number of the technical review that accepted the place, where there is one.
        #[n(3)]
        review: Option<String>,
        /// What was seen at that moment, where somebody looked.
        #[n(4)]
        accepted: Option<Acceptance>,
    },
    /// Another one measures at the same place from now on.
    #[n(1)]
    Replaced {
        /// The one taken away.
        #[n(0)]
        serial: String,
        /// Its successor.
        #[n(1)]
        successor: String,
        /// Opaque id of the person.
        #[n(2)]
        by: String,
        /// What its meters of hours and starts do: with a new lamp they begin anew, with a new probe they go on. Numbers of
        /// cycles are ids, and always go on.
        #[n(3)]
        counters: Option<Counters>,
    },
    /// Compared with a standard.
    #[n(2)]
    Calibrated {
        /// Its serial number.
        #[n(0)]
        serial: String,
        /// Number of the certificate.
        #[n(1)]
        certificate: String,
        /// The laboratory.
        #[n(2)]
        laboratory: String,
        /// When it was done.
        #[n(3)]
        done: CivilTime,
        /// Until when it counts.
        #[n(4)]
        valid_until: CivilTime,
        /// Expanded uncertainty of each point, in the point's unit.
        #[n(5)]
        uncertainty: Vec<(PointIx, Raw)>,
        /// Its coverage factor k (JJF 1059.1); `None` = 2.
        #[n(6)]
        coverage_factor: Option<Raw>,
        /// Correction of each point, to be added to what it shows, in the point's unit.
        #[n(7)]
        corrections: Option<Vec<(PointIx, Raw)>>,
    },
    /// Taken out of use; nothing measures at its place.
    #[n(3)]
    Removed {
        /// Its serial number.
        #[n(0)]
        serial: String,
        /// Why, in the site's words.
        #[n(1)]
        why: String,
        /// Opaque id of the person.
        #[n(2)]
        by: String,
    },
}
