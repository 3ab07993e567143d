//! `cargo xtask sim`: the whole system in one thread under seeded faults (`tests/e2e/src/system`).
//!
//! Here only which seeds for how long; what a run does and checks stands there. A run that finds something is printed with the
//! command that repeats it, and its seed goes into `tests/e2e/src/system/seeds.txt`, which runs first.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::ground::{Ground, cargo};

/// In CI: 300 site-days and 3 site-months, other seeds than anybody repeats by hand; a third of the days with a center that is
/// set back.
const CI_DAYS: Batch = Batch { seed: 10_000, runs: 100, days: 1, sites: 2, restores: false };
const CI_RESTORES: Batch = Batch { seed: 40_000, runs: 50, days: 1, sites: 2, restores: true };
const CI_MONTHS: Batch = Batch { seed: 20_000, runs: 3, days: 30, sites: 1, restores: false };
/// By hand.
const LONG: [Batch; 2] = [
    Batch { seed: 30_000, runs: 300, days: 1, sites: 2, restores: false },
    Batch { seed: 50_000, runs: 200, days: 1, sites: 2, restores: true },
];

/// What to simulate.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Chooses everything that happens.
    #[arg(long)]
    seed: u64,
    /// Days of virtual time.
    #[arg(long, default_value_t = 1)]
    days: u64,
    /// Gateways at one center, 20 points each.
    #[arg(long, default_value_t = 2)]
    sites: u64,
    /// Now and then the center is restored from an older backup.
    #[arg(long)]
    restores: bool,
    /// This seed and the ones after it, so many in all.
    #[arg(long, default_value_t = 1)]
    runs: u64,
}

struct Batch {
    seed: u64,
    runs: u64,
    days: u64,
    sites: u64,
    restores: bool,
}

impl Batch {
    fn arguments(&self) -> Vec<String> {
        let numbers = [("seed", self.seed), ("runs", self.runs), ("days", self.days), ("sites", self.sites)];
        let numbers = numbers.iter().flat_map(|(name, number)| [format!("--{name}"), number.to_string()]);
        numbers.chain(self.restores.then(|| "--restores".to_owned())).collect()
    }
}

/// By hand: some seeds, each with what it saw.
pub(crate) fn run(options: &Options) -> Result<()> {
    let ground = Ground::find()?;
    build(&ground, "simulate")?;
    let Options { seed, days, sites, restores, runs } = *options;
    let mut arguments = Batch { seed, runs, days, sites, restores }.arguments();
    arguments.push("--verbose".into());
    simulate(&ground, &arguments)
}

/// What CI does, once `build` has been done.
pub(crate) fn ci(ground: &Ground) -> Result<()> {
    let mut days = CI_DAYS.arguments();
    days.push("--known".into());
    simulate(ground, &days)?;
    simulate(ground, &CI_RESTORES.arguments())?;
    simulate(ground, &CI_MONTHS.arguments())
}

/// 1,000 site-days.
pub(crate) fn long(ground: &Ground) -> Result<()> {
    build(ground, "simulate")?;
    LONG.iter().try_for_each(|batch| simulate(ground, &batch.arguments()))
}

/// Builds one of the programs of `tests/e2e`.
pub(crate) fn build(ground: &Ground, program: &str) -> Result<()> {
    let mut command = Command::new(cargo());
    command.args(["build", "--quiet", "--workspace", "--bin", program]).current_dir(&ground.root);
    let status = command.status().context("run cargo")?;
    ensure!(status.success(), "cargo build: {status}");
    Ok(())
}

fn simulate(ground: &Ground, arguments: &[String]) -> Result<()> {
    let mut command = Command::new(ground.program("simulate"));
    command.args(arguments).current_dir(&ground.root);
    // Thousands of small files for a short time: memory, where there is some.
    if std::env::var_os("TMPDIR").is_none() && std::path::Path::new("/dev/shm").is_dir() {
        command.env("TMPDIR", "/dev/shm");
    }
    let status = command.status().context("run simulate (step `build` makes it)")?;
    ensure!(status.success(), "the simulation found something: {status}");
    Ok(())
}
