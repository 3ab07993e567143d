//! Bundles, policies and packs from files: what the commands of gateway and center share.

use std::io;
use std::path::{Path, PathBuf};

use crate::policy::{PolicyError, TrustPolicy};
use crate::report::{Outcome, Report};

/// Bytes of a bundle that is read into memory, at most.
const BUNDLE_MAX: u64 = 3 << 29;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A policy that says nothing clear: exit status 78.
    #[error("{path}: {source}\n  hint: `gateway verify --policy-template` prints one to fill in")]
    Policy {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: PolicyError,
    },
    /// A policy that cannot be read: exit status 78.
    #[error("read the policy {path}")]
    PolicyFile {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A bundle that cannot be read: exit status 2.
    #[error("read {path}")]
    Bundle {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// More bytes than any bundle has: exit status 2.
    #[error("{path}: {size} bytes are more than any bundle has ({BUNDLE_MAX})")]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Its bytes.
        size: u64,
    },
}

impl FileError {
    /// Exit status of the commands.
    pub fn status(&self) -> u8 {
        match self {
            Self::Policy { .. } | Self::PolicyFile { .. } => 78,
            Self::Bundle { .. } | Self::TooLarge { .. } => 2,
        }
    }
}

impl Outcome {
    /// Exit status of the commands: 0 valid, 1 invalid, 3 incomplete.
    pub fn status(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Invalid => 1,
            Self::Incomplete => 3,
        }
    }
}

/// Checks a bundle by the policy in a file; see [`crate::verify`].
pub fn verify_file(bundle: &Path, policy: Option<&Path>) -> Result<Report, FileError> {
    let policy = policy.map(read_policy).transpose()?;
    Ok(crate::verify(&read_bundle(bundle)?, policy.as_ref()))
}

/// The bytes of a bundle, if they are not too many.
pub fn read_bundle(bundle: &Path) -> Result<Vec<u8>, FileError> {
    let unread = |source| FileError::Bundle { path: bundle.to_owned(), source };
    let size = std::fs::metadata(bundle).map_err(unread)?.len();
    if size > BUNDLE_MAX {
        return Err(FileError::TooLarge { path: bundle.to_owned(), size });
    }
    std::fs::read(bundle).map_err(unread)
}

fn read_policy(path: &Path) -> Result<TrustPolicy, FileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| FileError::PolicyFile { path: path.to_owned(), source })?;
    TrustPolicy::parse(&text).map_err(|source| FileError::Policy { path: path.to_owned(), source })
}

/// Packs by file name: those that come with the program, and those in these folders.
pub fn packs(folders: &[PathBuf]) -> io::Result<Vec<(String, Vec<u8>)>> {
    let own = gateway_rules::embedded_packs();
    let mut packs: Vec<_> = own.into_iter().map(|source| (source.name, source.text.into_bytes())).collect();
    for folder in folders {
        for file in std::fs::read_dir(folder)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                packs.push((path.display().to_string(), std::fs::read(&path)?));
            }
        }
    }
    Ok(packs)
}
