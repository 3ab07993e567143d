//! `cargo xtask bench verify`: a month of one site through `gateway verify`; and what a day of each demo site costs, for
//! `cargo xtask bench journal`. All by the programs themselves.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::programs::{fresh_folder, mib, table};
use crate::demo::child::{self, Child};
use crate::demo::clock::DemoClock;
use crate::demo::site::Site;
use crate::ground::{Ground, cargo};

const DAY_MS: i64 = 24 * 3_600_000;
/// A month of a site may take so long to be lived, seconds aside.
const LIVED_WITHIN: Duration = Duration::from_mins(20);
/// How often a running program's memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What to verify.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// Which demo site: hotel, clinic or hospital.
    #[arg(long, default_value = "clinic")]
    site: String,
    /// Days of it, polled every 10 s.
    #[arg(long, default_value_t = 30)]
    days: u32,
    /// Compile with full optimisation: what a release would do.
    #[arg(long)]
    release: bool,
}

/// The programs that are measured.
pub(super) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Builds them.
    pub(super) fn build(ground: &Ground, release: bool) -> Result<Self> {
        let mut command = Command::new(cargo());
        command.args(["build", "--bins", "-p", "firmware-sim", "-p", "gateway"]).current_dir(&ground.root);
        command.args(release.then_some("--release"));
        let status = command.status().context("run cargo build")?;
        ensure!(status.success(), "cargo build: {status}");
        Ok(Self { folder: ground.target.join(if release { "release" } else { "debug" }) })
    }

    fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// A demo site's gateway that has lived some days.
struct Lived {
    data: PathBuf,
    seconds: f64,
}

/// Lets the gateway live through days of the site's scenario, in virtual time.
fn live(ground: &Ground, programs: &Programs, folder: &Path, name: &str, days: u32) -> Result<Lived> {
    let sites = Site::all(&ground.root)?;
    let site = sites.iter().find(|site| site.name == name);
    let site = site.with_context(|| format!("there is no demo site `{name}`"))?;
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let clock = DemoClock::first(1)?;
    let key = clock.write(&folder)?;
    let to = clock.civil_now()?;
    let recording = folder.join("history.jsonl");
    let status = Command::new(programs.program("firmware-sim"))
        .args(["history", name, "--from", &(to - i64::from(days) * DAY_MS).to_string()])
        .args(["--to", &to.to_string(), "--every", "10s", "--out"])
        .arg(&recording)
        .stdout(Stdio::null())
        .status()
        .context("run firmware-sim history")?;
    ensure!(status.success(), "firmware-sim history: {status}");
    let data = folder.join("data");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut arguments = ["run", &text(&site.file), "--data", &text(&data), "--demo-clock", &text(&key)]
        .map(str::to_owned)
        .to_vec();
    arguments.extend(["--history".to_owned(), text(&recording)]);
    arguments.extend(["--page-listen", "127.0.0.1:0", "--mqtt-listen", "127.0.0.1:0"].map(str::to_owned));
    let begun = Instant::now();
    let mut gateway =
        Child::start(&format!("{name}-gateway"), &programs.program("gateway"), &arguments, &folder)?;
    gateway.up_within(LIVED_WITHIN)?;
    let seconds = begun.elapsed().as_secs_f64();
    child::stop(vec![gateway]);
    Ok(Lived { data, seconds })
}

/// What `gateway journal stat` says: (bytes on disk, bytes of records, records).
fn stat(programs: &Programs, data: &Path) -> Result<(u64, u64, u64)> {
    let output = Command::new(programs.program("gateway"))
        .args(["journal", "stat", "--json"])
        .arg(data)
        .stderr(Stdio::inherit())
        .output()
        .context("run gateway journal stat")?;
    let said: Value =
        serde_json::from_slice(&output.stdout).context("read what gateway journal stat says")?;
    let sum = |what: &str| ["ring", "keep"].iter().filter_map(|set| said[set][what].as_u64()).sum::<u64>();
    Ok((sum("disk_bytes"), sum("record_bytes"), sum("records")))
}

/// Bytes of one day of each demo site, on disk and on the wire.
pub(super) fn demo_days(ground: &Ground, folder: &Path, release: bool) -> Result<()> {
    let programs = &Programs::build(ground, release)?;
    for name in ["hotel", "clinic", "hospital"] {
        let lived = live(ground, programs, folder, name, 1)?;
        let (disk, wire, records) = stat(programs, &lived.data)?;
        table(&[
            (&format!("{name}, a day: records"), records.to_string()),
            (&format!("{name}, a day: bytes on disk"), disk.to_string()),
            (&format!("{name}, a day: bytes of records, as sent"), wire.to_string()),
        ]);
    }
    Ok(())
}

/// A month, verified.
pub(crate) fn verify(options: &Verify) -> Result<()> {
    let ground = &Ground::find()?;
    let folder = &fresh_folder(ground)?;
    let programs = &Programs::build(ground, options.release)?;
    let lived = live(ground, programs, folder, &options.site, options.days)?;
    let bundle = folder.join("month.tar");
    let begun = Instant::now();
    let status = Command::new(programs.program("gateway"))
        .args(["journal", "export"])
        .arg(&lived.data)
        .arg("--output")
        .arg(&bundle)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("run gateway journal export")?;
    let exported = begun.elapsed().as_secs_f64();
    // 3: placement and calibration are not part of a demo.
    ensure!(status.code() == Some(3) || status.success(), "gateway journal export: {status}");
    let bytes = std::fs::read(&bundle).with_context(|| format!("read {}", bundle.display()))?;
    let policy = folder.join("trust.toml");
    let key = file(&bytes, "gateway.key").context("a bundle holds the gateway's key")?;
    let mut hex = String::new();
    for byte in key {
        write!(hex, "{byte:02x}")?;
    }
    std::fs::write(&policy, format!("accept_simulated = true\n[[gateway]]\nkey = \"{hex}\"\n"))
        .with_context(|| format!("write {}", policy.display()))?;

    let begun = Instant::now();
    let out = folder.join("verdict.json");
    let mut verifier = Command::new(programs.program("gateway"))
        .arg("verify")
        .arg(&bundle)
        .arg("--policy")
        .arg(&policy)
        .arg("--json")
        .stdout(std::fs::File::create(&out)?)
        .spawn()
        .context("run gateway verify")?;
    let mut peak = None;
    while verifier.try_wait()?.is_none() {
        peak = child::resident_max_kib(verifier.id()).or(peak);
        std::thread::sleep(LOOK_EVERY);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let said: Value =
        serde_json::from_slice(&std::fs::read(&out)?).context("read what gateway verify says")?;
    let fact = |line: &str, fact: &str| {
        let lines = said["lines"].as_array().into_iter().flatten();
        let line = lines.into_iter().find(|found| found["line"] == line);
        line.map_or(Value::Null, |line| line["facts"][fact].clone())
    };
    ensure!(said["verdict"] != "invalid", "what a gateway made is not invalid: {said:#}");
    table(&[
        ("site", options.site.clone()),
        ("days", options.days.to_string()),
        ("lived through in", format!("{:.1} s", lived.seconds)),
        ("exported in", format!("{exported:.1} s")),
        ("bundle", format!("{:.1} MB", bytes.len() as f64 / 1e6)),
        ("records", fact("signatures", "records").to_string()),
        ("inputs computed again", fact("recomputation", "inputs").to_string()),
        ("conclusions computed again", fact("recomputation", "conclusions").to_string()),
        ("verified in", format!("{seconds:.1} s")),
        ("memory at most", mib(peak)),
        ("verdict", said["verdict"].as_str().unwrap_or("?").to_owned()),
    ]);
    Ok(())
}

/// A file of a tar archive.
fn file<'b>(archive: &'b [u8], wanted: &str) -> Option<&'b [u8]> {
    let mut at = 0;
    loop {
        let header = archive.get(at..at + 512)?;
        let name = header[..100].split(|byte| *byte == 0).next()?;
        let size = usize::from_str_radix(std::str::from_utf8(&header[124..135]).ok()?, 8).ok()?;
        if name == wanted.as_bytes() {
            return archive.get(at + 512..at + 512 + size);
        }
        at += 512 + size.next_multiple_of(512);
    }
}
