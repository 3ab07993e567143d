//! `cargo xtask sim`: the whole system under seeded faults, many seeds at once.
//!
//! Prints one line for each run that finds something, with the command that repeats it, and one for all of them. Exit code 0:
//! everything holds, 1: something does not, 2: wrong usage.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use e2e::ground::root;
use e2e::system::{Report, Run};

/// Seeds that once found something: they run first.
const SEEDS: &str = "tests/e2e/src/system/seeds.txt";

/// The whole system in virtual time.
#[derive(Debug, Parser)]
struct Options {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds.
    #[arg(long, default_value_t = 1)]
    runs: u64,
    /// Days of virtual time.
    #[arg(long, default_value_t = 1)]
    days: u64,
    /// Gateways at one center, 20 points each.
    #[arg(long, default_value_t = 2)]
    sites: u64,
    /// Now and then the center is restored from an older backup.
    #[arg(long)]
    restores: bool,
    /// Runs at a time.
    #[arg(long, default_value_t = 2)]
    jobs: u64,
    /// First the seeds that once found something.
    #[arg(long)]
    known: bool,
    /// Say what every run saw.
    #[arg(long)]
    verbose: bool,
}

/// What all runs saw together.
#[derive(Default)]
struct Sum {
    site_days: u64,
    records: u64,
    gone: u64,
    alerts: u64,
    failed: BTreeSet<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let begun = Instant::now();
    let mut runs = if options.known { known() } else { Vec::new() };
    runs.extend((options.seed..options.seed.saturating_add(options.runs)).map(|seed| Run {
        seed,
        days: options.days,
        sites: options.sites,
        restores: options.restores,
        plant: None,
    }));
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Sum::default()));
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let outcome = std::panic::catch_unwind(|| run.go())
                        .unwrap_or_else(|_| Err(anyhow::anyhow!("panicked, as said above")));
                    note(*run, outcome, &sum, &options);
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    eprintln!(
        "{} site-days in {} runs, {:.0} s: {} records at the center exactly once, {} gone and named, {} alerts; {} runs \
         found something",
        sum.site_days,
        runs.len(),
        begun.elapsed().as_secs_f64(),
        sum.records,
        sum.gone,
        sum.alerts,
        sum.failed.len()
    );
    if sum.failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    remember(&sum.failed);
    ExitCode::FAILURE
}

fn note(run: Run, outcome: anyhow::Result<Report>, sum: &Mutex<Sum>, options: &Options) {
    let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    sum.site_days += run.days * run.sites;
    match outcome {
        Ok(report) => {
            sum.records += report.records;
            sum.gone += report.gone;
            sum.alerts += report.alerts;
            if options.verbose {
                eprintln!("seed {}: {report}", run.seed);
            }
        }
        Err(error) => {
            let restores = if run.restores { " --restores" } else { "" };
            eprintln!("seed {}: {error:#}", run.seed);
            eprintln!(
                "  again: cargo xtask sim --seed {} --days {} --sites {}{restores}",
                run.seed, run.days, run.sites
            );
            sum.failed.insert(format!("{} {} {} {}", run.seed, run.days, run.sites, run.restores));
        }
    }
}

fn path() -> PathBuf {
    root().join(SEEDS)
}

/// `seed days sites restores`, one a line.
fn known() -> Vec<Run> {
    let text = std::fs::read_to_string(path()).unwrap_or_default();
    let run = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let [seed, days, sites, restores] = words[..] else { return None };
        Some(Run {
            seed: seed.parse().ok()?,
            days: days.parse().ok()?,
            sites: sites.parse().ok()?,
            restores: restores.parse().ok()?,
            plant: None,
        })
    };
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            run(line).unwrap_or_else(|| panic!("{SEEDS}: `{line}` is not `seed days sites restores`"))
        })
        .collect()
}

/// Into the list, so that they run first from now on. It is to be committed with what mends them.
fn remember(failed: &BTreeSet<String>) {
    let mut text = std::fs::read_to_string(path()).unwrap_or_default();
    for line in failed.iter().filter(|line| !text.lines().any(|known| known == *line)).collect::<Vec<_>>() {
        text += line;
        text.push('\n');
    }
    if let Err(error) = std::fs::write(path(), text) {
        eprintln!("{SEEDS} could not be written: {error}");
    }
}
