//! `cargo xtask bench`: measurements, not tests. Figures belong into the report of whoever runs them, with the machine.

mod evidence;
mod journal;
mod programs;

use anyhow::Result;

/// What to measure.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Options {
    /// Readings made durable per second, bytes per reading, a gigabyte reopened.
    Journal(journal::Options),
    /// A month of a demo site through `gateway verify`: records, seconds, memory.
    Verify(evidence::Verify),
    /// The simulator alone under a client that reads very many devices.
    Sim(programs::Sim),
    /// A center under very many gateways.
    Gateways(programs::CenterLoad),
    /// One gateway that drains a backlog while alerts are raised.
    Uplink(programs::Uplink),
}

/// Measures.
pub(crate) fn run(options: &Options) -> Result<()> {
    match options {
        Options::Journal(options) => journal::run(options),
        Options::Verify(options) => evidence::verify(options),
        Options::Sim(options) => programs::sim(options),
        Options::Gateways(options) => programs::gateways(options),
        Options::Uplink(options) => programs::uplink(options),
    }
}
