//! `cargo xtask bench poll`: the gateway beside a bare libmodbus poller in C (`tests/bench/peers/modbus_poller.c`, compiled on
//! the spot), on the same simulated devices, one after the other in one run.
//!
//! A reading is one register value that was read well. CPU is what the kernel says of the process, both modes, while it polls;
//! the simulator's and the broker's are not in it. The gateway does all it does for a user: quality, stamps, counts, rules,
//! signed records on disk.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::broker::{Listener, Mosquitto};
use super::programs::{build_programs, fresh_folder, mib, program};
use super::scrape::{Passed, Scrape};
use super::site::{Plan, Source};
use crate::demo::child::Child;
use crate::ground::Ground;

/// What a check of the largest site may take, several times over.
const CHECK_WITHIN: Duration = Duration::from_mins(2);
/// After its start a gateway makes its connections and its first records; that is not measured.
const WARM_UP: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Poll {
    /// How long each program polls, seconds.
    #[arg(long = "for", default_value_t = 60)]
    seconds: u64,
    /// Points of each device with a rule "above its limit for 5 s".
    #[arg(long, default_value_t = 2)]
    rules: u16,
    /// Only the case of this name.
    #[arg(long)]
    case: Option<String>,
    /// Without the sinks.
    #[arg(long)]
    no_sinks: bool,
}

/// What is polled.
struct Case {
    name: &'static str,
    devices: u32,
    points: u16,
    units: u32,
    every_ms: u64,
}

const CASES: [Case; 4] = [
    Case { name: "20-ports", devices: 200, points: 20, units: 10, every_ms: 1_000 },
    Case { name: "200-ports", devices: 200, points: 20, units: 1, every_ms: 1_000 },
    Case { name: "10k-100ms", devices: 100, points: 100, units: 10, every_ms: 100 },
    Case { name: "100k", devices: 1_000, points: 100, units: 10, every_ms: 1_000 },
];

impl Case {
    fn wanted_per_s(&self) -> f64 {
        f64::from(self.devices) * f64::from(self.points) * 1_000.0 / self.every_ms as f64
    }
}

/// One program's line of the table.
struct Row {
    program: &'static str,
    readings_per_s: f64,
    cpu_per_million: f64,
    /// At the end, and the most there ever was.
    rss_kib: Option<u64>,
    rss_max_kib: Option<u64>,
    remarks: String,
}

/// Measures.
pub(crate) fn run(options: &Poll) -> Result<()> {
    let ground = &Ground::find()?;
    let folder = &fresh_folder(ground)?;
    build_programs(ground, &["firmware-sim", "gateway", "bench-listen"])?;
    let poller = &compiled(ground)?;
    let known = CASES.iter().any(|case| options.case.as_ref().is_none_or(|name| name == case.name));
    ensure!(known, "cases: {}", CASES.map(|case| case.name).join(", "));
    for case in CASES.iter().filter(|case| options.case.as_ref().is_none_or(|name| name == case.name)) {
        let folder = &folder.join(case.name);
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        measure(ground, folder, poller, options, case)?;
    }
    Ok(())
}

fn measure(ground: &Ground, folder: &Path, poller: &Path, options: &Poll, case: &Case) -> Result<()> {
    let arguments = [
        "load".to_owned(),
        "--json".to_owned(),
        format!("--devices={}", case.devices),
        format!("--points={}", case.points),
        format!("--units={}", case.units),
        format!("--every={}ms", case.every_ms),
    ];
    let mut simulator = Child::start("firmware-sim", &program(ground, "firmware-sim"), &arguments, folder)?;
    let target = simulator.up()?;
    let addresses: Vec<String> =
        serde_json::from_value(target["addresses"].clone()).context("the simulator says where it listens")?;
    let mut rows = vec![floor(poller, options, case, &addresses)?];
    let mut broker = if options.no_sinks { None } else { Some(Mosquitto::start(folder)?) };
    let mut sinks = vec![("gateway", None)];
    if let Some(broker) = &broker {
        sinks.push(("gateway, sink per reading", Some((broker, false))));
        sinks.push(("gateway, sink per device", Some((broker, true))));
    }
    let mut refused = None;
    for (n, (name, sink)) in sinks.into_iter().enumerate() {
        let folder = &folder.join(n.to_string());
        match gateway(ground, folder, options, case, &addresses, name, sink)? {
            Ok(row) => rows.push(row),
            Err(words) => refused = Some(words),
        }
        simulator.check()?;
    }
    if let Some(broker) = &mut broker {
        broker.check()?;
    }
    print(case, &rows, refused.as_deref())
}

/// The C poller.
fn floor(poller: &Path, options: &Poll, case: &Case, addresses: &[String]) -> Result<Row> {
    let mut lines = String::new();
    for (n, address) in addresses.iter().enumerate() {
        let units = case.devices.saturating_sub(n as u32 * case.units).min(case.units);
        writeln!(lines, "{} {units}", address.replacen(':', " ", 1)).context("write into memory")?;
    }
    let mut child = Command::new(poller)
        .args([case.points.to_string(), case.every_ms.to_string(), options.seconds.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("run the C poller")?;
    // Dropped with this statement: the end of its input.
    child.stdin.take().context("stdin is piped")?.write_all(lines.as_bytes()).context("tell it the ports")?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "the C poller: {}", output.status);
    let told: Value = serde_json::from_slice(&output.stdout).context("read what the C poller printed")?;
    let number = |key: &str| told[key].as_f64().with_context(|| format!("the C poller says {key}"));
    let readings = number("reads")? * f64::from(case.points);
    Ok(Row {
        program: "libmodbus in C",
        readings_per_s: readings / number("seconds")?,
        cpu_per_million: number("cpu_s")? / readings * 1e6,
        rss_kib: told["rss_kib"].as_u64(),
        rss_max_kib: told["rss_kib"].as_u64(),
        remarks: format!(
            "errors {}, periods missed {}; answer within {:.2} / {:.2} ms (50 / 99 %)",
            told["errors"],
            told["missed_periods"],
            number("p50_us")? / 1e3,
            number("p99_us")? / 1e3,
        ),
    })
}

/// The gateway, or what it said when it refused the site.
fn gateway(
    ground: &Ground,
    folder: &Path,
    options: &Poll,
    case: &Case,
    addresses: &[String],
    name: &'static str,
    sink: Option<(&Mosquitto, bool)>,
) -> Result<std::result::Result<Row, String>> {
    let plan = Plan {
        devices: case.devices,
        points: case.points,
        rules: options.rules,
        limit: 6_000.0,
        source: Source::Modbus { addresses, units: case.units, every_ms: case.every_ms },
        sink: sink.map(|(broker, form)| (broker.address.as_str(), form)),
    };
    let site = plan.write(folder)?;
    if let Err(words) = checked(ground, folder, &site)? {
        return Ok(Err(words));
    }
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let arguments = ["run".to_owned(), text(site), "--data".to_owned(), text(folder.join("data"))];
    let mut gateway = Child::start("gateway", &program(ground, "gateway"), &arguments, folder)?;
    let up = gateway.up()?;
    std::thread::sleep(WARM_UP);
    let listen = |(broker, _): (&Mosquitto, bool)| Listener::start(ground, &broker.address, "nonsite/#");
    let listener = sink.map(listen).transpose()?;
    let before = Scrape::take(&mut gateway, &up)?;
    std::thread::sleep(Duration::from_secs(options.seconds));
    let after = Scrape::take(&mut gateway, &up)?;
    let passed = Passed::between(&before, &after);
    let requests = |outcome: &str| passed.sum("bus_requests_total", &format!("outcome=\"{outcome}\""));
    let ok = requests("ok");
    let readings = ok as f64 * f64::from(case.points);
    let failed = passed.sum("bus_requests_total", "") - ok - requests("missed") - requests("skipped");
    let mut remarks = format!(
        "errors {failed}, periods missed {}, skipped {}; {:.1} records/s",
        requests("missed"),
        requests("skipped"),
        passed.sum("records_total", "") as f64 / passed.seconds(),
    );
    if let Some(listener) = listener {
        let told = listener.told()?;
        let delivered = passed.sum("sink_total", "outcome=\"delivered\"");
        write!(
            remarks,
            "; delivered {:.0} messages/s; from the stamp to the subscriber {:.0} / {:.0} ms (50 / 99 %)",
            delivered as f64 / passed.seconds(),
            told["p50_us"].as_f64().unwrap_or(f64::NAN) / 1e3,
            told["p99_us"].as_f64().unwrap_or(f64::NAN) / 1e3,
        )
        .context("write into memory")?;
    }
    Ok(Ok(Row {
        program: name,
        readings_per_s: readings / passed.seconds(),
        cpu_per_million: passed.cpu_s() / readings * 1e6,
        rss_kib: gateway.resident_kib(),
        rss_max_kib: gateway.resident_max_kib(),
        remarks,
    }))
}

/// `gateway check`: what it said where it refused the site, or that it did not end in time.
fn checked(ground: &Ground, folder: &Path, site: &Path) -> Result<std::result::Result<(), String>> {
    // Into a file: a pipe that nobody reads while we wait would make it wait, too.
    let path = folder.join("check.txt");
    let file = File::create(&path).with_context(|| format!("make {}", path.display()))?;
    let mut check = Command::new(program(ground, "gateway"))
        .arg("check")
        .arg(site)
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .context("run gateway check")?;
    let deadline = Instant::now() + CHECK_WITHIN;
    let status = loop {
        if let Some(status) = check.try_wait().context("wait for gateway check")? {
            break status;
        }
        if Instant::now() > deadline {
            check.kill().context("end gateway check")?;
            check.wait().context("wait for gateway check")?;
            return Ok(Err(format!("gateway check did not end within {CHECK_WITHIN:?}; ended")));
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    if status.success() {
        return Ok(Ok(()));
    }
    let words = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let first = words.lines().find(|line| line.contains("error")).unwrap_or("no word of why");
    Ok(Err(format!("{} ({status})", first.trim())))
}

/// The C program of this repository, on Debian's libmodbus.
fn compiled(ground: &Ground) -> Result<PathBuf> {
    let source = ground.root.join("tests/bench/peers/modbus_poller.c");
    let poller = ground.target.join("bench/modbus_poller");
    // Where Debian's libmodbus-dev puts its header.
    let status = Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-I/usr/include/modbus", "-o"])
        .arg(&poller)
        .arg(&source)
        .arg("-lmodbus")
        .status()
        .context("run cc: `cargo xtask ci --only packages` installs it and libmodbus")?;
    ensure!(status.success(), "cc: {status}; `cargo xtask ci --only packages` installs what it needs");
    Ok(poller)
}

#[expect(clippy::print_stdout, reason = "the table is the data this command is for")]
fn print(case: &Case, rows: &[Row], refused: Option<&str>) -> Result<()> {
    println!(
        "{}: {} devices x {} registers every {} ms on {} ports, {:.0} readings/s wanted",
        case.name,
        case.devices,
        case.points,
        case.every_ms,
        case.devices.div_ceil(case.units),
        case.wanted_per_s()
    );
    println!(
        "  {:<26} {:>10} {:>10} {:>10} {:>9} {:>9}",
        "", "readings/s", "CPU s/M", "of the C's", "memory", "at most"
    );
    let floor = rows.first().context("the C poller was measured")?.cpu_per_million;
    for row in rows {
        println!(
            "  {:<26} {:>10.0} {:>10.2} {:>10.2} {:>9} {:>9}   {}",
            row.program,
            row.readings_per_s,
            row.cpu_per_million,
            row.cpu_per_million / floor,
            mib(row.rss_kib),
            mib(row.rss_max_kib),
            row.remarks
        );
    }
    if let Some(words) = refused {
        println!("  the gateway refused this site: {words}");
    }
    Ok(())
}
