//! `cargo xtask bench engine`: `tests/bench/src/bin/bench-engine.rs` in release.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::ground::{Ground, cargo};

#[derive(Debug, clap::Args)]
pub(crate) struct Engine {
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

/// Builds and runs it.
pub(crate) fn run(options: &Engine) -> Result<()> {
    let ground = Ground::find()?;
    let mut command = Command::new(cargo());
    command.args(["run", "--release", "--quiet", "--package", "bench", "--bin", "bench-engine", "--"]);
    command.args(options.json.then_some("--json")).current_dir(&ground.root);
    let status = command.status().context("run cargo")?;
    ensure!(status.success(), "the measurement ended with {status}");
    Ok(())
}
