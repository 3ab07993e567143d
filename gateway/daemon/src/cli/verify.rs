//! `gateway verify`: does a bundle prove what it says? Needs the file and a trust policy, and no network.
//!
//! 0 valid, 1 invalid, 2 usage (also a file that cannot be read), 3 incomplete, 78 a policy that says nothing clear.

use std::path::Path;

use gateway_evidence::{Outcome, POLICY_TEMPLATE, TrustPolicy, verify};

use super::{CONFIG, Ended, GOOD, INCOMPLETE, USAGE, WRONG, say};

/// Bytes of a bundle that is read into memory, at most.
const BUNDLE_MAX: u64 = 3 << 29;

pub(super) fn template() -> Ended {
    say(&POLICY_TEMPLATE.trim_end())?;
    Ok(GOOD)
}

pub(super) fn check(file: &Path, policy: Option<&Path>, json: bool) -> Ended {
    let policy = match policy.map(read_policy).transpose() {
        Ok(policy) => policy,
        Err(error) => {
            eprintln!("error: {error}");
            return Ok(CONFIG);
        }
    };
    let bytes = match read_bundle(file) {
        Ok(bytes) => bytes,
        Err(error) => {
            eprintln!("error: {error}");
            return Ok(USAGE);
        }
    };
    let report = verify(&bytes, policy.as_ref());
    if json {
        say(&report.json())?;
    } else {
        say(&report.text().trim_end())?;
    }
    Ok(match report.outcome() {
        Outcome::Valid => GOOD,
        Outcome::Invalid => WRONG,
        Outcome::Incomplete => INCOMPLETE,
    })
}

fn read_policy(path: &Path) -> Result<TrustPolicy, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("read {}: {error}", path.display()))?;
    let hint = "`gateway verify --policy-template` prints one to fill in";
    TrustPolicy::parse(&text).map_err(|error| format!("{}: {error}\n  hint: {hint}", path.display()))
}

fn read_bundle(path: &Path) -> Result<Vec<u8>, String> {
    let named = |error: std::io::Error| format!("read {}: {error}", path.display());
    let size = std::fs::metadata(path).map_err(named)?.len();
    if size > BUNDLE_MAX {
        return Err(format!("{}: {size} bytes are more than any bundle has ({BUNDLE_MAX})", path.display()));
    }
    std::fs::read(path).map_err(named)
}
