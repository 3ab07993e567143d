//! `cargo xtask ci`: the check, the same by hand and in CI.
//!
//! A list of steps, each with its seconds; the first that fails ends it and is named. One build profile
//! (dev), one set of features (`--workspace`), so nothing is compiled twice. Leaves out what takes longer
//! than a person waits for.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::ground::{Ground, cargo};
use crate::{fuzz, packages, sim};

/// What to check.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these steps, separated by commas; `--list` names them.
    #[arg(long, value_delimiter = ',', value_name = "STEPS")]
    only: Vec<String>,
    /// Say which steps there are and stop.
    #[arg(long)]
    list: bool,
}

struct Step {
    name: &'static str,
    what: &'static str,
    run: fn(&Ground) -> Result<()>,
}

const STEPS: &[Step] = &[
    Step {
        name: "packages",
        what: "Debian packages that the end-to-end tests use, where missing",
        run: packages::debian,
    },
    Step {
        name: "venv",
        what: "pymodbus and what the second verifier needs, pinned, in a Python environment under target/",
        run: packages::venv,
    },
    Step { name: "fmt", what: "rustfmt", run: |ground| run_cargo(ground, &["fmt", "--all", "--check"]) },
    Step {
        name: "clippy",
        what: "clippy, warnings are errors",
        run: |ground| run_cargo(ground, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    },
    Step {
        name: "build",
        what: "everything the tests run",
        run: |ground| run_cargo(ground, &["build", "--workspace", "--all-targets"]),
    },
    Step {
        name: "workspace",
        what: "dependency table, licences, sources, duplicates, tidiness, locks of the no_std crates",
        run: |ground| run_e2e(ground, &["workspace::", "locks::"]),
    },
    Step { name: "examples", what: "example sites through `gateway check`", run: examples },
    Step { name: "unit", what: "unit, property and documentation tests", run: unit },
    Step {
        name: "e2e",
        what: "end to end, with independent peers",
        run: |ground| run_e2e(ground, &["--skip", "workspace::", "--skip", "locks::", "--skip", "browser::"]),
    },
    Step {
        name: "sim",
        what: "the whole system under seeded faults: 300 site-days, 3 site-months",
        run: sim::ci,
    },
    Step {
        name: "fuzz",
        what: "corpora replayed, then all fuzz targets share 90 s; a build of its own",
        run: fuzz::ci,
    },
    Step {
        name: "browser",
        what: "the pages in headless Chromium",
        run: |ground| run_e2e(ground, &["browser::"]),
    },
];

/// The integration-test binary of `tests/e2e`.
const E2E: &str = "main";

/// Runs the chosen steps in their order.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.list {
        for step in STEPS {
            eprintln!("{:10} {}", step.name, step.what);
        }
        return Ok(());
    }
    for name in &options.only {
        ensure!(
            STEPS.iter().any(|step| step.name == name),
            "there is no step `{name}`; `cargo xtask ci --list` names them"
        );
    }
    let ground = Ground::find()?;
    let begun = Instant::now();
    let mut times = Vec::new();
    for step in
        STEPS.iter().filter(|step| options.only.is_empty() || options.only.iter().any(|n| n == step.name))
    {
        eprintln!("\n== {}: {}", step.name, step.what);
        let started = Instant::now();
        let outcome = (step.run)(&ground);
        let seconds = started.elapsed().as_secs_f64();
        if let Err(error) = outcome {
            eprintln!("== {} FAILED after {seconds:.1} s", step.name);
            return Err(error.context(format!("step `{}`", step.name)));
        }
        eprintln!("== {} passed in {seconds:.1} s", step.name);
        times.push(format!("{} {seconds:.1}", step.name));
    }
    eprintln!("\nall steps passed in {:.1} s ({})", begun.elapsed().as_secs_f64(), times.join(", "));
    Ok(())
}

/// Every test but the end-to-end binary. All targets are named, so that features stay those of `--workspace`.
fn unit(ground: &Ground) -> Result<()> {
    let mut args = vec!["test".to_owned(), "--workspace".into(), "--lib".into(), "--bins".into()];
    for target in ground.metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|package| package["targets"].as_array().into_iter().flatten())
        .filter(|target| target["kind"][0] == "test" && target["name"] != E2E)
    {
        args.extend([
            "--test".to_owned(),
            target["name"].as_str().context("a target has a name")?.to_owned(),
        ]);
    }
    run_cargo(ground, &args)?;
    run_cargo(ground, &["test", "--workspace", "--doc"])
}

fn run_e2e(ground: &Ground, filter: &[&str]) -> Result<()> {
    let mut args = vec!["test", "--workspace", "--test", E2E, "--"];
    args.extend(filter);
    run_cargo(ground, &args)
}

fn examples(ground: &Ground) -> Result<()> {
    let folder = ground.root.join("deploy/example");
    let mut sites: Vec<_> = std::fs::read_dir(&folder)
        .with_context(|| format!("list {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter(|path| path.file_stem().is_none_or(|stem| stem != "center"))
        .collect();
    sites.sort();
    ensure!(!sites.is_empty(), "no example site in {}", folder.display());
    for site in sites {
        let status = Command::new(ground.program("gateway"))
            .arg("check")
            .arg(&site)
            .status()
            .context("run gateway check (step `build` makes it)")?;
        ensure!(status.success(), "`gateway check {}`: {status}", site.display());
    }
    Ok(())
}

fn run_cargo(ground: &Ground, args: &[impl AsRef<std::ffi::OsStr>]) -> Result<()> {
    let mut command = Command::new(cargo());
    // Tells `tests/e2e` that the programs are fresh, so that it does not ask cargo again.
    command.args(args).current_dir(&ground.root).env("NONSITE_PREBUILT", "1");
    let line = args.iter().map(|arg| arg.as_ref().to_string_lossy()).collect::<Vec<_>>().join(" ");
    eprintln!("$ cargo {line}");
    let status = command.status().context("run cargo")?;
    if !status.success() {
        bail!("`cargo {line}`: {status}");
    }
    Ok(())
}
