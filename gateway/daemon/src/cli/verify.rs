//! `gateway verify`: does a bundle prove what it says? Needs the file and a trust policy, and no network.
//!
//! 0 valid, 1 invalid, 2 usage (also a file that cannot be read), 3 incomplete, 78 a policy that says nothing clear.

use std::path::Path;

use gateway_evidence::{POLICY_TEMPLATE, verify_file};

use super::{Ended, GOOD, say};

pub(super) fn template() -> Ended {
    say(&POLICY_TEMPLATE.trim_end())?;
    Ok(GOOD)
}

pub(super) fn check(file: &Path, policy: Option<&Path>, json: bool) -> Ended {
    let report = match verify_file(file, policy) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("error: {}", crate::chain(&error));
            return Ok(error.status());
        }
    };
    if json {
        say(&report.json())?;
    } else {
        say(&report.text().trim_end())?;
    }
    Ok(report.outcome().status())
}
