//! `cargo xtask bench journal`: runs `gateway/daemon/examples/bench_journal.rs` on a disk of one's choice, and a day of each demo
//! site.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::ground::{Ground, cargo};

/// Where and how to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Compile with full optimisation: what a release would do.
    #[arg(long)]
    release: bool,
    /// A folder on the disk to measure; needs 1.2 GB. Default: the target folder.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Builds and runs it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let ground = Ground::find()?;
    let dir = options.dir.clone().unwrap_or_else(|| ground.target.join("bench-journal"));
    std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let mut command = Command::new(cargo());
    command.args(["run", "--quiet", "--package", "gateway", "--example", "bench_journal"]);
    if options.release {
        command.arg("--release");
    }
    let status = command.arg("--").arg(&dir).current_dir(&ground.root).status().context("run cargo")?;
    ensure!(status.success(), "the measurement ended with {status}");
    let days = dir.join("demo-days");
    // Of an earlier run.
    if days.exists() {
        std::fs::remove_dir_all(&days).with_context(|| format!("empty {}", days.display()))?;
    }
    super::evidence::demo_days(&ground, &days, options.release)
}
