//! `cargo xtask long county`: four hundred sites for a month; also any other number of sites and days.
//!
//! Prints a table per rule, items a day and every violation that had to reach a supervisor. Exit code 0: within the limits, 1: not,
//! 2: wrong usage.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use e2e::county::{Control, County, Report};

/// A county of simulated sites.
#[derive(Debug, Parser)]
struct Options {
    /// Chooses everything.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Sites.
    #[arg(long, default_value_t = 400)]
    sites: u64,
    /// Days of virtual time.
    #[arg(long, default_value_t = 30)]
    days: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Files of rule packs in place of those in the program.
    #[arg(long)]
    packs: Vec<PathBuf>,
    /// Whoever is first has no time: shows that the limits can be exceeded.
    #[arg(long)]
    nobody_first: bool,
    /// Every alert is a case of its own.
    #[arg(long)]
    ungrouped: bool,
    /// How each site's alerts came, one a line, for whoever wants to know why.
    #[arg(long)]
    verbose: bool,
}

fn main() -> ExitCode {
    let Options { seed, sites, days, jobs, packs, nobody_first, ungrouped, verbose } = Options::parse();
    let begun = Instant::now();
    let control = Control { nobody_first, ungrouped, switched_off: None };
    match (County { seed, sites, days, jobs, packs, control }).go() {
        Ok(report) => {
            if let Err(error) = tell(&report, verbose) {
                eprintln!("error: stdout: {error}");
                return ExitCode::FAILURE;
            }
            eprintln!("{:.1} s", begun.elapsed().as_secs_f64());
            let faults = report.faults();
            for fault in &faults {
                eprintln!("{fault}");
            }
            if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn tell(report: &Report, verbose: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in report.alerts.iter().filter(|_| verbose) {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "{report}")
}
