//! What signed records prove: that the chain closes, and that every conclusion follows from the inputs.
//!
//! [`recompute`] feeds the recorded inputs to the engine again and compares what it concludes, and the state it comes
//! to, with what is recorded. [`chain::check`] looks at numbers and hashes only. Both read records once, in order, and
//! keep little: a bundle of a day or a journal of a year alike. Signatures are `gateway_wire::open`'s business and
//! come first; whoever calls has opened every record with the gateway's key.
//!
//! Three answers, never two: *valid*, *invalid*, and *incomplete* where something needed is not there or was made by
//! a release this one does not know. What cannot be checked never counts as checked.
//!
//! Leaves out: files and sockets, whether a sensor told the truth, who may see a bundle.

pub mod chain;
mod recompute;

pub use recompute::{Difference, Incomplete, Recomputed, Verdict, What, recompute};
