//! Where things are: the repository, the target directory, the programs cargo built.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// The repository and its build output.
pub(crate) struct Ground {
    /// Root of the repository.
    pub(crate) root: PathBuf,
    /// Where cargo builds, as cargo says (`CARGO_TARGET_DIR` and configuration included).
    pub(crate) target: PathBuf,
    /// `cargo metadata --no-deps`, for the names of test binaries.
    pub(crate) metadata: serde_json::Value,
}

impl Ground {
    /// Asks cargo.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .context("tests/xtask lies two folders below the root of the repository")?
            .to_owned();
        let output = Command::new(cargo())
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(&root)
            .stderr(Stdio::inherit())
            .output()
            .context("run cargo metadata")?;
        ensure!(output.status.success(), "cargo metadata failed");
        let metadata: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("read the answer of cargo metadata")?;
        let target =
            metadata["target_directory"].as_str().context("cargo metadata names a target directory")?;
        Ok(Self { root, target: target.into(), metadata })
    }

    /// A program that cargo built in the one profile we use, dev.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(name)
    }
}

/// The cargo that runs us.
pub(crate) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}
