//! The project's own commands, in the project's own language: `cargo xtask ci`, `cargo xtask demo` (also
//! `cargo demo`).
//!
//! Data goes to stdout, talk to stderr. Kept to few dependencies on purpose: it is the first thing that a
//! fresh clone compiles. What runs for long is `cargo xtask long`.

mod bench;
mod ci;
mod demo;
mod fuzz;
mod ground;
mod long;
mod packages;
mod reference;
mod sim;

use std::process::ExitCode;

use clap::Parser;

/// Commands for people who work on Nonsite.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Everything that must be green: packages, fmt, clippy, build, example sites, tests, end-to-end tests.
    Ci(ci::Options),
    /// Measurements.
    #[command(subcommand)]
    Bench(bench::Options),
    /// What takes longer, by hand.
    #[command(subcommand)]
    Long(long::Options),
    /// The whole system in one thread under seeded faults.
    Sim(sim::Options),
    /// Whatever may come in at a door, thousands of times a second.
    Fuzz(fuzz::Options),
    /// Writes docs/rules.md and docs/rules.zh-CN.md from the packs.
    Reference,
    /// Three simulated institutions, three gateways and a center on loopback.
    Demo(demo::Options),
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Ci(options) => ci::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Long(options) => long::run(&options),
        Command::Sim(options) => sim::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Reference => reference::run(),
        Command::Demo(options) => demo::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
