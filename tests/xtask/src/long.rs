//! `cargo xtask long`: what takes longer than a person waits for; by hand, before an issue is called resolved.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::ground::{Ground, cargo};

/// What to do at length.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Options {
    /// Random kills of real gateways on disks of 8 MB that are full half of the time, against the real center.
    Kills {
        /// How many.
        #[arg(long, default_value_t = 10_000)]
        count: usize,
        /// Repeats the moments of an earlier run, as far as the machine does.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Faulted Modbus transactions in virtual time: no value in a wrong point.
    Faults {
        /// How many.
        #[arg(long, default_value_t = 1_000_000)]
        count: u64,
        /// Another run than the usual one.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// 1,000 site-days of the whole system under seeded faults.
    Sim,
    /// Four hundred simulated sites for a month: what reaches a supervisor, and that it is what must.
    County {
        /// Another month.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// A minute for each fuzz target.
    Fuzz,
}

/// Does it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let ground = Ground::find()?;
    match options {
        Options::Sim => crate::sim::long(&ground)?,
        Options::Fuzz => crate::fuzz::long(&ground)?,
        Options::County { seed } => {
            crate::sim::build(&ground, "county")?;
            let mut command = Command::new(ground.program("county"));
            command.args(["--seed", &seed.to_string()]).current_dir(&ground.root);
            let status = command.status().context("run county")?;
            ensure!(status.success(), "the county: {status}");
        }
        Options::Kills { count, seed } => {
            let mut command = Command::new(cargo());
            command.args(["test", "--workspace", "--test", "main", "--", "--nocapture"]);
            command
                .args(["--exact", "kills::nothing_that_was_told_is_lost_or_doubled_by_kills_on_a_full_disk"]);
            command.env("NONSITE_KILLS", count.to_string()).current_dir(&ground.root);
            if let Some(seed) = seed {
                command.env("NONSITE_SEED", seed.to_string());
            }
            let status = command.status().context("run cargo")?;
            ensure!(status.success(), "{count} kills: {status}");
        }
        Options::Faults { count, seed } => {
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
                "faults::",
            ]);
            command.env("NONSITE_FAULTS", count.to_string()).current_dir(&ground.root);
            if let Some(seed) = seed {
                command.env("NONSITE_SEED", seed.to_string());
            }
            let status = command.status().context("run cargo")?;
            ensure!(status.success(), "{count} faults: {status}");
        }
    }
    Ok(())
}
