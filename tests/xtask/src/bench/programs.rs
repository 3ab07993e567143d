//! `cargo xtask bench sim|gateways|uplink`: measurements of whole programs in release, each printed as a table.
//!
//! What is measured runs beside what measures it, on the same machine: figures are for comparing one day with another, and
//! the table says what the load itself achieved. Nothing here fails because something was slow.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::demo::child::Child;
use crate::demo::clock::write_private;
use crate::demo::setup::{self, Kept};
use crate::ground::{Ground, cargo};

#[derive(Debug, clap::Args)]
pub(crate) struct Sim {
    /// Simulated devices.
    #[arg(long, default_value_t = 10_000)]
    devices: u32,
    /// Registers of each.
    #[arg(long, default_value_t = 10)]
    points: u16,
    /// Unit ids on each port.
    #[arg(long, default_value_t = 10)]
    units: u32,
    /// How often each device is read.
    #[arg(long, default_value = "1s")]
    every: String,
    /// How long.
    #[arg(long = "for", default_value = "30s")]
    lasting: String,
    /// A connection for each device instead of one for each port.
    #[arg(long)]
    connection_per_device: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CenterLoad {
    /// Simulated gateways.
    #[arg(long, default_value_t = 200)]
    gateways: u32,
    /// Points of each.
    #[arg(long, default_value_t = 20)]
    points: u16,
    /// How often each seals and sends a record.
    #[arg(long, default_value = "5s")]
    every: String,
    /// How long.
    #[arg(long = "for", default_value = "30s")]
    lasting: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Uplink {
    /// Readings of the backlog.
    #[arg(long, default_value_t = 10_000_000)]
    readings: u64,
}

/// An empty folder for what a measurement writes.
pub(super) fn fresh_folder(ground: &Ground) -> Result<PathBuf> {
    let folder = ground.target.join("bench");
    // Of an earlier run; the numbers of this one must not depend on it.
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    Ok(folder)
}

/// The simulator under a client.
pub(crate) fn sim(options: &Sim) -> Result<()> {
    let ground = &Ground::find()?;
    let folder = &fresh_folder(ground)?;
    build(ground, &["firmware-sim", "bench"])?;
    let arguments = [
        "load".to_owned(),
        "--json".to_owned(),
        format!("--devices={}", options.devices),
        format!("--points={}", options.points),
        format!("--units={}", options.units),
        format!("--every={}", options.every),
    ];
    let mut simulator = Child::start("firmware-sim", &program(ground, "firmware-sim"), &arguments, folder)?;
    let target = folder.join("target.json");
    std::fs::write(&target, simulator.up()?.to_string())
        .with_context(|| format!("write {}", target.display()))?;
    let mut client = Command::new(program(ground, "bench-modbus"));
    client.arg(&target).args(["--every", &options.every, "--for", &options.lasting]);
    if options.connection_per_device {
        client.arg("--connection-per-device");
    }
    let before = simulator.cpu_s()?;
    let told = json_of(&mut client)?;
    let spent = simulator.cpu_s()? - before;
    simulator.check()?;
    table(&[
        ("devices", whole(&told["devices"])),
        ("registers of each", whole(&told["points"])),
        ("connections", whole(&told["connections"])),
        ("read every", format!("{} ms", whole(&told["every_ms"]))),
        ("devices read a second, wanted", decimals(&told["wanted"])),
        ("devices read a second, achieved", decimals(&told["rate"])),
        ("errors", whole(&told["errors"])),
        ("rounds begun a period late", whole(&told["late_rounds"])),
        ("answer within, median", us(&told["p50_us"])),
        ("answer within, 99 %", us(&told["p99_us"])),
        ("simulator: CPU, cores", format!("{:.2}", spent / told["seconds"].as_f64().unwrap_or(f64::NAN))),
        ("simulator: memory at most", mib(simulator.resident_max_kib())),
    ]);
    Ok(())
}

/// A center under gateways.
pub(crate) fn gateways(options: &CenterLoad) -> Result<()> {
    let ground = &Ground::find()?;
    let folder = &fresh_folder(ground)?;
    build(ground, &["center", "bench"])?;
    let (mut center, console, token) = empty_center(ground, folder)?;
    let mut load = Command::new(program(ground, "bench-gateways"));
    load.args(["--center", &console]).arg("--token-file").arg(&token).args([
        format!("--gateways={}", options.gateways),
        format!("--points={}", options.points),
        format!("--every={}", options.every),
        format!("--for={}", options.lasting),
    ]);
    let before = center.cpu_s()?;
    let told = json_of(&mut load)?;
    let spent = center.cpu_s()? - before;
    center.check()?;
    let lasted =
        told["seconds"].as_f64().unwrap_or(f64::NAN) + told["enrolled_s"].as_f64().unwrap_or(f64::NAN);
    table(&[
        ("gateways", whole(&told["gateways"])),
        ("points of each", whole(&told["points"])),
        ("all enrolled within", format!("{} s", decimals(&told["enrolled_s"]))),
        ("readings a second, wanted", decimals(&told["readings_wanted_per_s"])),
        ("readings a second, sealed", decimals(&told["readings_per_s"])),
        ("records a second, receipted", decimals(&told["records_per_s"])),
        ("bytes a second", decimals(&told["bytes_per_s"])),
        ("changes of alerts", whole(&told["alert_changes"])),
        ("batches that failed", whole(&told["errors"])),
        ("records refused", whole(&told["refused"])),
        ("records not sealed: too much unsent", whole(&told["held_back"])),
        ("receipt within, median", us(&told["p50_us"])),
        ("receipt within, 99 %", us(&told["p99_us"])),
        ("center: CPU, cores", format!("{:.2}", spent / lasted)),
        ("center: memory at most", mib(center.resident_max_kib())),
    ]);
    Ok(())
}

/// A gateway with a backlog, and alerts meanwhile.
pub(crate) fn uplink(options: &Uplink) -> Result<()> {
    let ground = &Ground::find()?;
    let folder = &fresh_folder(ground)?;
    build(ground, &["center", "bench"])?;
    let (mut center, console, token) = empty_center(ground, folder)?;
    let mut load = Command::new(program(ground, "bench-uplink"));
    load.args(["--center", &console])
        .arg("--token-file")
        .arg(&token)
        .arg("--data")
        .arg(folder.join("gateway"))
        .arg(format!("--readings={}", options.readings));
    let before = center.cpu_s()?;
    let told = json_of(&mut load)?;
    let spent = center.cpu_s()? - before;
    center.check()?;
    table(&[
        ("readings of the backlog", whole(&told["readings"])),
        ("recorded a second", decimals(&told["recorded_per_s"])),
        ("drained a second", decimals(&told["drained_per_s"])),
        ("drained within", format!("{} s", decimals(&told["seconds"]))),
        ("bytes a reading in the journal", hundredths(&told["journal_bytes_per_reading"])),
        ("bytes a reading on the wire", hundredths(&told["wire_bytes_per_reading"])),
        ("changes of the alert meanwhile", whole(&told["alert_changes"])),
        ("raised to receipted, median", us(&told["p50_us"])),
        ("raised to receipted, 99 %", us(&told["p99_us"])),
        ("raised to receipted, at most", us(&told["max_us"])),
        ("center: CPU s", format!("{spent:.1}")),
        ("center: memory at most", mib(center.resident_max_kib())),
    ]);
    Ok(())
}

/// A center with an administrator, its address, and the file with the administrator's token.
fn empty_center(ground: &Ground, folder: &std::path::Path) -> Result<(Child, String, PathBuf)> {
    let data = folder.join("center");
    let arguments =
        ["run", "--data", &data.to_string_lossy(), "--listen", "127.0.0.1:0", "--json"].map(String::from);
    let mut center = Child::start("center", &program(ground, "center"), &arguments, folder)?;
    let up = center.up()?;
    let console = up["console"].as_str().context("the center says where its console is")?;
    let mut kept = Kept::default();
    setup::center(&mut kept, folder, &up, &[])?;
    let token = folder.join("token");
    write_private(&token, kept.token.context("the administrator has a token")?.as_bytes())?;
    Ok((center, console.trim_end_matches('/').to_owned(), token))
}

fn hundredths(value: &Value) -> String {
    value.as_f64().map_or_else(|| "?".to_owned(), |number| format!("{number:.2}"))
}

fn build(ground: &Ground, packages: &[&str]) -> Result<()> {
    let packages: Vec<&str> = packages.iter().flat_map(|package| ["-p", package]).collect();
    cargo_build(ground, &[&["--bins"], packages.as_slice()].concat())
}

/// Compiles these programs in release, and no others. Their packages are named, too: all of the workspace together would ask
/// for other features of the same libraries, and every one would be compiled anew.
pub(super) fn build_programs(ground: &Ground, names: &[&str]) -> Result<()> {
    let programs = names.iter().flat_map(|name| ["--bin", name]);
    let packages = ["-p", "firmware-sim", "-p", "gateway", "-p", "bench"].into_iter();
    cargo_build(ground, &packages.chain(programs).collect::<Vec<_>>())
}

fn cargo_build(ground: &Ground, what: &[&str]) -> Result<()> {
    let mut command = Command::new(cargo());
    let status = command.args(["build", "--release"]).args(what).current_dir(&ground.root).status();
    let status = status.context("run cargo build")?;
    ensure!(status.success(), "cargo build: {status}");
    Ok(())
}

pub(super) fn program(ground: &Ground, name: &str) -> PathBuf {
    ground.target.join("release").join(name)
}

/// The one line of JSON that a load program prints.
pub(super) fn json_of(command: &mut Command) -> Result<Value> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("run {name}"))?;
    ensure!(output.status.success(), "{name}: {}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("read what {name} printed"))
}

#[expect(clippy::print_stdout, reason = "the table is the data this command is for")]
pub(super) fn table(rows: &[(&str, String)]) {
    for (what, figure) in rows {
        println!("{what:<36} {figure:>14}");
    }
}

fn whole(value: &Value) -> String {
    value.to_string()
}

fn decimals(value: &Value) -> String {
    value.as_f64().map_or_else(|| "?".to_owned(), |number| format!("{number:.1}"))
}

fn us(value: &Value) -> String {
    value.as_f64().map_or_else(|| "?".to_owned(), |us| format!("{:.2} ms", us / 1000.0))
}

pub(super) fn mib(kib: Option<u64>) -> String {
    kib.map_or_else(|| "?".to_owned(), |kib| format!("{} MiB", kib.div_ceil(1024)))
}
