//! `cargo xtask fuzz`: the targets of `tests/fuzz`, with libFuzzer on stable Rust.
//!
//! The compiler's own coverage pass is switched on by flags, so neither a nightly compiler nor cargo-fuzz is needed; a C++
//! compiler builds libFuzzer. The corpus of a target lies under `target/fuzz/corpus`, begun with golden files; what once crashed is
//! committed in `tests/fuzz/corpus/TARGET` and runs first. `tests/fuzz/Cargo.toml` lists the targets: a new one is added there only.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::ground::{Ground, cargo};

const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// Edge counters, a table of their places, and comparisons, which is how libFuzzer finds magic numbers.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1";
/// One input may take so long, seconds; …
const TIMEOUT_S: u64 = 10;
/// … so much memory in one piece, MiB (a record's content is at most 16 MiB, and grows when it is decoded); …
const PIECE_MIB: u64 = 256;
/// … and all of it so much.
const MEMORY_MIB: u64 = 1024;
/// In CI all targets share this.
const CI: Duration = Duration::from_secs(90);
/// The bug on purpose is found well before that.
const CONTROL: Duration = Duration::from_mins(2);
/// Each target, in `long`.
const LONG: Duration = Duration::from_mins(1);

/// What to fuzz.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only this target; all of them otherwise, one after the other.
    target: Option<String>,
    /// How long each: 60s, 10m.
    #[arg(long = "for", value_parser = span, default_value = "60s")]
    lasting: Duration,
    /// Instead: does each of them find a bug that is there on purpose?
    #[arg(long)]
    control: bool,
}

/// A target as `tests/fuzz/Cargo.toml` describes it.
struct Target {
    name: String,
    seeds: Vec<PathBuf>,
    max_len: u64,
}

/// By hand.
pub(crate) fn run(options: &Options) -> Result<()> {
    let ground = Ground::find()?;
    let mut targets = targets(&ground)?;
    if let Some(name) = &options.target {
        let known: Vec<_> = targets.iter().map(|target| target.name.clone()).collect();
        targets.retain(|target| target.name == *name);
        ensure!(!targets.is_empty(), "there is no target `{name}`; there are {}", known.join(", "));
    }
    build(&ground)?;
    if options.control {
        return targets.iter().try_for_each(|target| control(&ground, target));
    }
    targets.iter().try_for_each(|target| fuzz(&ground, target, options.lasting))
}

/// First the bugs that are there on purpose; then corpora replayed, and all targets share a minute and a half.
pub(crate) fn ci(ground: &Ground) -> Result<()> {
    let targets = targets(ground)?;
    build(ground)?;
    targets.iter().try_for_each(|target| control(ground, target))?;
    let each = CI / u32::try_from(targets.len()).context("few targets")?;
    targets.iter().try_for_each(|target| fuzz(ground, target, each))
}

/// A minute for each.
pub(crate) fn long(ground: &Ground) -> Result<()> {
    build(ground)?;
    targets(ground)?.iter().try_for_each(|target| fuzz(ground, target, LONG))
}

fn targets(ground: &Ground) -> Result<Vec<Target>> {
    let path = ground.root.join("tests/fuzz/Cargo.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let manifest: toml::Table = toml::from_str(&text).with_context(|| format!("read {}", path.display()))?;
    let bins = manifest["bin"].as_array().context("tests/fuzz/Cargo.toml lists [[bin]]")?;
    let target = |bin: &toml::Value| {
        let name = bin["name"].as_str().context("a [[bin]] has a name")?;
        let settings = manifest["package"]["metadata"]["fuzz"].get(name);
        let settings =
            settings.with_context(|| format!("[package.metadata.fuzz] says nothing of `{name}`"))?;
        let seeds = settings["seeds"].as_array().context("`seeds` is a list")?;
        let seeds =
            seeds.iter().filter_map(|seed| seed.as_str()).map(|seed| ground.root.join(seed)).collect();
        let max_len = settings["max_len"].as_integer().context("`max_len` is a number")?;
        Ok(Target { name: name.to_owned(), seeds, max_len: u64::try_from(max_len)? })
    };
    bins.iter().map(target).collect()
}

/// Everything with coverage counters, in a target folder of its own.
fn build(ground: &Ground) -> Result<()> {
    let mut command = Command::new(cargo());
    command.args(["build", "--locked", "--target", TRIPLE]).current_dir(ground.root.join("tests/fuzz"));
    command.env("CARGO_TARGET_DIR", home(ground)).env("RUSTFLAGS", FLAGS);
    let status = command.status().context("run cargo")?;
    ensure!(status.success(), "build the fuzz targets: {status}");
    Ok(())
}

fn home(ground: &Ground) -> PathBuf {
    ground.target.join("fuzz")
}

/// Replays what there is, then looks for more. What crashes is kept as a file and named.
fn fuzz(ground: &Ground, target: &Target, lasting: Duration) -> Result<()> {
    let name = &target.name;
    let corpus = home(ground).join("corpus").join(name);
    let kept = ground.root.join("tests/fuzz/corpus").join(name);
    let begun = seed(target, &corpus)?;
    std::fs::create_dir_all(&kept).with_context(|| format!("make {}", kept.display()))?;
    let program = home(ground).join(TRIPLE).join("debug").join(name);
    let mut command = Command::new(program);
    command.arg(&corpus).arg(&kept).current_dir(&ground.root).args([
        format!("-max_total_time={}", lasting.as_secs().max(1)),
        format!("-timeout={TIMEOUT_S}"),
        format!("-rss_limit_mb={MEMORY_MIB}"),
        format!("-malloc_limit_mb={PIECE_MIB}"),
        format!("-max_len={}", target.max_len),
        format!("-artifact_prefix={}/", kept.display()),
        "-print_final_stats=1".into(),
        "-verbosity=0".into(),
    ]);
    let output = command.output().with_context(|| format!("run the target `{name}`"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let stat =
        |what: &str| said.lines().find_map(|line| line.strip_prefix(what)).unwrap_or("?").trim().to_owned();
    eprintln!(
        "{name}: {begun} inputs replayed, {} runs in {} s, {} new inputs, {} MiB at most",
        stat("stat::number_of_executed_units:"),
        lasting.as_secs(),
        stat("stat::new_units_added:"),
        stat("stat::peak_rss_mb:"),
    );
    if !output.status.success() {
        eprintln!("{said}");
        bail!(
            "`{name}` found something ({}); the input is in {}: mend it, and commit the input with what mends it",
            output.status,
            kept.display()
        );
    }
    Ok(())
}

/// A run that cannot fail shows nothing: with a bug on purpose (`tests/fuzz/src/lib.rs`) each target must find it, from the
/// seeds alone, and say so.
fn control(ground: &Ground, target: &Target) -> Result<()> {
    let name = &target.name;
    let folder = home(ground).join("control").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("empty {}", folder.display()))?;
    }
    seed(target, &folder.join("corpus"))?;
    let program = home(ground).join(TRIPLE).join("debug").join(name);
    let run = |limit: String| {
        Command::new(&program)
            .arg(folder.join("corpus"))
            .current_dir(&ground.root)
            .env("NONSITE_FUZZ_PLANTED", "1")
            .args([
                "-seed=1".to_owned(),
                limit,
                format!("-timeout={TIMEOUT_S}"),
                format!("-rss_limit_mb={MEMORY_MIB}"),
                format!("-max_len={}", target.max_len),
                format!("-artifact_prefix={}/", folder.display()),
                "-print_final_stats=1".into(),
                "-verbosity=0".into(),
            ])
            .output()
            .with_context(|| format!("run the target `{name}`"))
    };
    let seeds = run("-runs=0".into())?;
    let said = String::from_utf8_lossy(&seeds.stderr);
    ensure!(seeds.status.success(), "the seeds of `{name}` meet the bug that is there on purpose\n{said}");
    let found = run(format!("-max_total_time={}", CONTROL.as_secs()))?;
    let said = String::from_utf8_lossy(&found.stderr);
    ensure!(
        !found.status.success() && said.contains("the planted bug"),
        "`{name}` did not find the bug that is there on purpose ({}): its runs show nothing\n{said}",
        found.status
    );
    eprintln!("{name}: finds the bug that is there on purpose");
    Ok(())
}

/// Copies the files an input may begin with into the corpus, of a folder all but what explains them; how many inputs there are now.
fn seed(target: &Target, corpus: &Path) -> Result<usize> {
    std::fs::create_dir_all(corpus).with_context(|| format!("make {}", corpus.display()))?;
    for seed in &target.seeds {
        let files = if seed.is_dir() { files(seed)? } else { vec![seed.clone()] };
        let explains = |path: &PathBuf| path.extension().is_some_and(|end| end == "diag" || end == "md");
        for file in files.iter().filter(|path| !explains(path)) {
            let name = file.file_name().context("a file has a name")?;
            std::fs::copy(file, corpus.join(name)).with_context(|| format!("copy {}", file.display()))?;
        }
    }
    let all = files(corpus)?.len();
    ensure!(all > 0, "no seed for `{}`: its corpus is empty", target.name);
    Ok(all)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    std::fs::read_dir(folder)
        .with_context(|| format!("list {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect()
}

/// `90s` or `10m`.
fn span(text: &str) -> Result<Duration, String> {
    let parsed = match text.split_at(text.len().saturating_sub(1)) {
        (number, "s") => number.parse().ok().map(Duration::from_secs),
        (number, "m") => number.parse().ok().map(Duration::from_mins),
        _ => None,
    };
    parsed.ok_or_else(|| format!("`{text}` is no span of time: write 60s or 10m"))
}
