//! The edge shell of Nonsite: reads devices, records what they say, lets the engine judge it, and sends what is on
//! disk to the supervision center.
//!
//! One task per bus and broker, one thread that records ([`recorder`]), one connection to the center ([`uplink`]), one
//! page ([`page`]). If one of them ends, all end. Decisions are made in `gateway-engine`; nothing here judges a reading.

pub mod bus;
pub mod change;
pub mod cli;
pub mod clock;
pub mod commission;
pub mod config;
pub mod door;
pub mod field;
pub mod history;
pub mod install;
pub mod metrics;
pub mod mqtt;
pub mod packtest;
pub mod page;
pub mod pause;
pub mod recorder;
pub mod recording;
pub mod run;
pub mod senses;
pub mod sinks;
pub mod sources;
pub mod state;
pub mod told;
pub mod uplink;

/// An error and its causes in one line, for a log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
