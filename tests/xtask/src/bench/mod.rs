//! `cargo xtask bench`: measurements, not tests. Figures belong into the report of whoever runs them, with the machine.

mod broker;
mod engine;
mod evidence;
mod journal;
mod mqtt;
mod poll;
mod programs;
mod scrape;
mod site;

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::ground::{Ground, cargo};

/// What to measure.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Options {
    /// Readings made durable per second, bytes per reading, a gigabyte reopened.
    Journal(journal::Options),
    /// The engine alone: rules a second, memory, a clinic's month, cost per reading at every size of site.
    Engine(engine::Engine),
    /// A month of a demo site through `gateway verify`: records, seconds, memory.
    Verify(evidence::Verify),
    /// The simulator alone under a client that reads very many devices.
    Sim(programs::Sim),
    /// The gateway beside a bare libmodbus poller in C: CPU per reading, memory, rate. A quarter of an hour.
    Poll(poll::Poll),
    /// MQTT into the gateway and out of it again: highest rate, CPU per reading, alerts that are false. Ten minutes.
    Mqtt(mqtt::Mqtt),
    /// How much of a serial line the gateway uses, on pseudo-terminals paced to 9600 and 19,200 baud. A minute.
    Line(Line),
    /// A center under very many gateways.
    Gateways(programs::CenterLoad),
    /// One gateway that drains a backlog while alerts are raised.
    Uplink(programs::Uplink),
}

/// Measures.
pub(crate) fn run(options: &Options) -> Result<()> {
    match options {
        Options::Journal(options) => journal::run(options),
        Options::Engine(options) => engine::run(options),
        Options::Verify(options) => evidence::verify(options),
        Options::Sim(options) => programs::sim(options),
        Options::Poll(options) => poll::run(options),
        Options::Mqtt(options) => mqtt::run(options),
        Options::Line(options) => line(options),
        Options::Gateways(options) => programs::gateways(options),
        Options::Uplink(options) => programs::uplink(options),
    }
}

/// What of a line to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Line {
    /// Instead: what one dead device of ten costs the others. Eleven minutes.
    #[arg(long)]
    dead: bool,
}

fn line(options: &Line) -> Result<()> {
    let root = Ground::find()?.root;
    let mut command = Command::new(cargo());
    command.args([
        "test",
        "--release",
        "-p",
        "gateway",
        "--test",
        "daemon",
        "--",
        "--nocapture",
        "--ignored",
    ]);
    let measure =
        if options.dead { "serial::one_dead_device_of_ten" } else { "serial::how_much_of_a_line_is_used" };
    command.args(["--exact", measure]).current_dir(root);
    let status = command.status().context("run cargo")?;
    ensure!(status.success(), "the line: {status}");
    Ok(())
}
