//! What the contract promises to those who read and write it.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::needless_for_each,
    clippy::float_cmp,
    reason = "tests: a panic is the report, and one variant is meant"
)]

mod golden;
mod hostile;
mod kinds;
mod parts;
mod roundtrip;
mod sizes;
mod talk;

use gateway_model::{EngineTime, Epoch, Seq};
use gateway_wire::{Header, SigningKey};

/// The key all golden files are made with.
fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn header(t0: i64, t1: i64) -> Header {
    Header {
        gateway: key().gateway_id(),
        epoch: Epoch(3),
        seq: Seq(1_000),
        prev: [0x5a; 32],
        config: Seq(1),
        t0: EngineTime(t0),
        t1: EngineTime(t1),
    }
}
