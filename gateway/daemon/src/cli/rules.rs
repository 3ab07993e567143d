//! `gateway rules test DIR`: runs the tests that rule packs carry.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use gateway_rules::{Pack, Problem, Severity, Source, parse_pack, render};

use super::{CONFIG, GOOD, WRONG};
use crate::packtest::{TESTS_MIN, run, unshown, untested};

/// Bytes of a pack, at most.
const PACK_MAX: u64 = 1 << 20;

/// Runs every pack under `path` (a directory, or one file). A line per pack to stdout; what is wrong to stderr.
pub(super) fn test(path: &Path) -> anyhow::Result<u8> {
    let files = packs(path)?;
    anyhow::ensure!(!files.is_empty(), "there are no packs (*.toml) in {}", path.display());
    let mut worst = GOOD;
    for file in files {
        let length = std::fs::metadata(&file).with_context(|| format!("read {}", file.display()))?.len();
        anyhow::ensure!(length <= PACK_MAX, "{} is longer than {PACK_MAX} bytes", file.display());
        let text = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let source = Source { name: file.display().to_string(), text };
        worst = worst.max(match parse_pack(&source) {
            Ok(pack) => one(&pack)?,
            Err(problems) => {
                explain(&problems, &source);
                CONFIG
            }
        });
    }
    Ok(worst)
}

fn one(pack: &Pack) -> anyhow::Result<u8> {
    let failed: Vec<String> = pack.tests.iter().flat_map(|test| run(pack, test)).collect();
    for fault in &failed {
        eprintln!("{fault}");
    }
    let untested: Vec<Problem> = untested(pack)
        .into_iter()
        .map(|(rule, tests)| {
            let at = place(&pack.source.text, rule);
            let message = format!("the rule `{rule}` has {tests} of {TESTS_MIN} tests");
            let mut problem = Problem::at(&pack.source, at, Severity::Error, message);
            problem.hint = Some("fires; not at the limit; missing data; recovers".to_owned());
            problem
        })
        .collect();
    let unshown: Vec<Problem> = unshown(pack)
        .into_iter()
        .map(|(rule, what)| {
            let message = format!("no test of the rule `{rule}` shows {what}");
            Problem::at(&pack.source, place(&pack.source.text, rule), Severity::Error, message)
        })
        .collect();
    explain(&untested, &pack.source);
    explain(&unshown, &pack.source);
    super::say(&format_args!(
        "{}: {} tests, {} failed, {} rules with too few",
        pack.name,
        pack.tests.len(),
        failed.len(),
        untested.len()
    ))?;
    Ok(if failed.is_empty() && untested.is_empty() && unshown.is_empty() { GOOD } else { WRONG })
}

/// Where the rule's name stands.
fn place(text: &str, rule: &str) -> std::ops::Range<usize> {
    let quoted = format!("\"{rule}\"");
    text.find(&quoted).map_or(0..0, |at| at..at + quoted.len())
}

fn explain(problems: &[Problem], source: &Source) {
    if !problems.is_empty() {
        eprint!("{}", render(problems, std::slice::from_ref(source), std::io::stderr().is_terminal()));
    }
}

/// The pack files of a directory, by name; or the one file that was named.
pub(super) fn packs(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("look into {}", path.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.with_context(|| format!("look into {}", path.display()))?.path();
        if file.extension().is_some_and(|extension| extension == "toml") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
