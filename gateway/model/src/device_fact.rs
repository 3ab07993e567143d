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
