//! What the engine promises, as timelines and laws.
#![expect(clippy::unwrap_used, reason = "tests")]

mod conditions;
mod derived;
mod events;
mod handling;
mod histories;
mod intake;
mod invariants;
mod laws;
mod quality;
mod rectified;
mod restart;
mod rig;
mod stuck;
mod table;
mod verify;
mod verify_laws;
