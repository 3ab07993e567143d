//! `cargo xtask bench`: measurements, not tests. Figures belong into the report of whoever runs them, with the machine.

mod journal;

use anyhow::Result;

/// What to measure.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Options {
    /// Readings made durable per second, bytes per reading, a gigabyte reopened.
    Journal(journal::Options),
}

/// Measures.
pub(crate) fn run(options: &Options) -> Result<()> {
    match options {
        Options::Journal(options) => journal::run(options),
    }
}
