//! What signed records prove, in a file that a stranger can check years later without a network.
//!
//! A *bundle* ([`bundle()`]) is a tar archive: a signed manifest, the records as they were signed, keys, packs, calibration
//! and placement, the center's case, a cover in plain language and charts. [`verify`] answers one question per line
//! ([`Report`]); whom to believe comes from a [`TrustPolicy`], never from the bundle. Below it lie [`chain::check`] (numbers
//! and hashes) and [`recompute`] (the recorded inputs through the engine again).
//!
//! [`Audit`] adds up what became of every reading that was due; [`Backtest`] says what other rules would have said of it.
//!
//! Three answers, never two: *valid*, *invalid*, and *incomplete* where something needed is not there or was made by
//! a release this one does not know. What cannot be checked never counts as checked.
//!
//! Leaves out: sockets and clocks, whether a sensor told the truth, who may see a bundle. A second verifier that shares no
//! code with this one lies in `tests/verifier`.

mod audit;
mod backtest;
mod bundle;
pub mod chain;
mod chart;
mod container;
mod cover;
mod dates;
mod file;
mod plot;
mod policy;
mod recompute;
mod report;
mod story;
mod sweep;
mod verify;

pub use audit::{Account, Audit, Audited};
pub use backtest::{
    Backtest, Backtested, Differs, Judged, Key, OCCURRENCES_MAX, Occurrence, Said, differences,
};
pub use bundle::{Contents, Entry, Error as BundleError, Made, Selection, bundle, select};
pub use dates::{Dates, civil, local};
pub use file::{FileError, packs, read_bundle, verify_file};
pub use plot::Plot;
pub use policy::{GatewayTrust, PolicyError, TEMPLATE as POLICY_TEMPLATE, TrustPolicy};
pub use recompute::{Difference, Incomplete, Recomputed, Verdict, What, recompute};
pub use report::{Finding, Line, Outcome, Report, Status};
pub use sweep::Sweep;
pub use verify::case::{CaseFile, CaseStep, ErasedAttachment};
pub use verify::context::check_devices;
pub use verify::instruments::tells_of_instruments;
pub use verify::numbers::Erased;
pub use verify::walk::Received;
pub use verify::{RECORDS_MAX, contents, verify};
