//! The edge shell against byte-level peers, a real broker, a center of the test's own, and disks that survive kills.
//! One binary, so that it is linked once. Waits are for conditions, each with a deadline and the last state in words.
#![allow(clippy::unwrap_used, reason = "tests")]

mod bus;
mod change;
mod faults;
mod full;
mod guard;
mod install;
mod journal;
mod line;
mod parts;
mod recorder;
mod rig;
mod running;
mod serial;
mod sinks;
