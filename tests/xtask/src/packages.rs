//! What the tests need besides Rust and a C compiler: Debian packages, and Python packages in an environment of their own.
//!
//! Nothing is installed that is there already, and every installation is announced. Leaves the machine's services as they
//! were: a broker that an installation starts is stopped again, because the tests start their own.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::ground::Ground;

/// Debian package, and why.
const DEBIAN: &[(&str, &str)] = &[
    ("gcc", "compiles the libmodbus peer"),
    ("libc6-dev", "compiles the libmodbus peer"),
    ("libmodbus-dev", "independent Modbus server in C, and the poller of `bench poll`"),
    ("mbpoll", "independent Modbus client, on libmodbus"),
    ("mosquitto", "independent MQTT broker"),
    ("mosquitto-clients", "independent MQTT publisher and subscriber"),
    ("victoria-metrics", "independent database that takes InfluxDB 2 writes"),
    ("influxdb", "InfluxDB 1: the strictest reader of line protocol in Debian"),
    ("prometheus", "promtool: another engine's opinion of the rules that both have"),
    ("chromium", "the pages in a real browser"),
    ("chromium-driver", "steers the browser"),
    ("fonts-noto-cjk", "Chinese text in screenshots"),
    ("python3-venv", "environment for pymodbus, the second verifier and the peers of the sinks"),
];

/// Services that Debian starts when it installs one of the packages.
const SERVICES: &[(&str, &str)] = &[
    ("mosquitto", "mosquitto"),
    ("victoria-metrics", "victoria-metrics"),
    ("influxdb", "influxdb"),
    ("prometheus", "prometheus"),
];

/// Exactly these versions: the peer in `tests/e2e/peers` is written against pymodbus's server interface, and pyserial is its way
/// to a serial port; the rest reads
/// CBOR, zstd and Ed25519 for the second verifier in `tests/verifier`, judges messages by the schemas of docs/feeds, and has
/// InfluxDB's own encoder of line protocol and the checker of the Standard Webhooks project for the sinks.
const PYTHON: &[&str] = &[
    "pymodbus==3.11.4",
    "pyserial==3.5",
    "cbor2==6.3.0",
    "zstandard==0.25.0",
    "PyNaCl==1.6.2",
    "jsonschema==4.26.0",
    "rfc3339-validator==0.1.4",
    "influxdb-client==1.50.0",
    "standardwebhooks==1.1.0",
];

/// Installs the Debian packages that are missing.
pub(crate) fn debian(_: &Ground) -> Result<()> {
    if !has("dpkg-query") {
        eprintln!("not a Debian system: install by hand what is missing of");
        for (package, why) in DEBIAN {
            eprintln!("  {package:18} {why}");
        }
        return Ok(());
    }
    let missing: Vec<_> = DEBIAN.iter().filter(|(package, _)| !installed(package)).collect();
    if missing.is_empty() {
        eprintln!("all {} packages are there", DEBIAN.len());
        return Ok(());
    }
    for (package, why) in &missing {
        eprintln!("missing: {package:18} {why}");
    }
    let names: Vec<&str> = missing.iter().map(|(package, _)| *package).collect();
    ensure!(
        is_root()?,
        "packages are missing and this is not root; run: sudo apt-get install --no-install-recommends {}",
        names.join(" ")
    );
    apt(&["update"])?;
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(&names);
    apt(&install)?;
    for (package, service) in SERVICES {
        if names.contains(package) {
            stop(service);
        }
    }
    Ok(())
}

/// Makes the Python environment, or finds it made for the same pin.
pub(crate) fn venv(ground: &Ground) -> Result<()> {
    let folder = ground.target.join("venv");
    let stamp = folder.join("pinned");
    let pins = PYTHON.join(" ");
    if std::fs::read_to_string(&stamp).is_ok_and(|pinned| pinned == pins)
        && folder.join("bin/python").exists()
    {
        eprintln!("{pins} are there");
        return Ok(());
    }
    eprintln!("installing {pins} into {}", folder.display());
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    run(Command::new(folder.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(PYTHON))?;
    std::fs::write(&stamp, &pins).with_context(|| format!("write {}", stamp.display()))
}

fn installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success() && output.stdout == b"installed")
}

fn is_root() -> Result<bool> {
    let output = Command::new("id").arg("-u").output().context("run id -u")?;
    Ok(output.stdout.trim_ascii() == b"0")
}

fn apt(args: &[&str]) -> Result<()> {
    eprintln!("$ apt-get {}", args.join(" "));
    run(Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()))
}

/// The installation has just started it; whoever wants it can start it again.
fn stop(service: &str) {
    let systemd = Path::new("/run/systemd/system").exists();
    let mut command = if systemd {
        let mut command = Command::new("systemctl");
        command.args(["disable", "--now", service]);
        command
    } else {
        let mut command = Command::new("service");
        command.args([service, "stop"]);
        command
    };
    match command.stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => {
            eprintln!("stopped the service `{service}` that the installation started");
        }
        Ok(_) | Err(_) => eprintln!("the service `{service}` was not running"),
    }
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn run(command: &mut Command) -> Result<()> {
    let line = format!("{command:?}");
    let status = command.status().with_context(|| format!("run {line}"))?;
    if !status.success() {
        bail!("{line}: {status}");
    }
    Ok(())
}
