//! What the engine promises, as timelines and laws.
#![expect(clippy::unwrap_used, reason = "tests")]

mod conditions;
mod derived;
mod events;
mod handling;
mod intake;
mod laws;
mod quality;
mod restart;
mod rig;
mod verify;
