//! The command line: data to stdout, talk to stderr.
//!
//! Exit status: 0 good, 1 found something wrong, 2 usage, 3 incomplete, 78 configuration.

mod audit;
mod backtest;
mod commission;
mod device;
mod enrol;
mod export;
mod fsck;
mod installer;
mod journal;
mod maintenance;
pub mod plan;
mod probe;
mod progress;
mod reload;
mod replay;
mod rerun;
mod rules;
mod sink;
mod table;
mod verify;

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use gateway_journal::Position;
use gateway_model::{EngineTime, GatewayId};
use tracing_subscriber::EnvFilter;

use crate::bus::Bus;
use crate::clock::{Clock, Wall};
use crate::config::{self, CenterPlan, PagePlan, Site};
use crate::metrics::Metrics;
use crate::run::{self, Options};

/// Nothing wrong.
const GOOD: u8 = 0;
/// Something is wrong.
const WRONG: u8 = 1;
/// Called in a way that cannot be followed.
const USAGE: u8 = 2;
/// Not everything could be looked at.
const INCOMPLETE: u8 = 3;
/// The configuration is wrong (sysexits.h).
const CONFIG: u8 = 78;

/// Off-site health supervision: reads a site's devices, records what they say, sends it to the supervision center.
#[derive(Parser)]
#[command(name = "gateway", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks a site file: every problem with file, line and column.
    Check {
        /// The site file.
        site: PathBuf,
    },
    /// Shows what will be asked of each bus, and how loaded it will be.
    Plan {
        /// The site file.
        site: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Runs the gateway.
    Run {
        /// The site file.
        site: PathBuf,
        #[command(flatten)]
        overrides: Overrides,
        /// Take civil time from a key file made by `cargo demo`; records say that they are simulated.
        #[arg(long, value_name = "KEYFILE")]
        demo_clock: Option<PathBuf>,
        /// Begin with a recording, in virtual time, if the journal is empty.
        #[arg(long, value_name = "RECORDING")]
        history: Option<PathBuf>,
        /// Record what goes over the lines, for `firmware-sim replay`; payloads stand in it whole.
        #[arg(long, value_name = "FILE")]
        record: Option<PathBuf>,
        /// The recording ends at this size.
        #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=65_536))]
        record_mib: u64,
        /// Log as JSON lines.
        #[arg(long)]
        json: bool,
    },
    /// Has a running gateway take its site file and packs as they are now; the same as SIGHUP, with an answer.
    Reload(reload::Asked),
    /// Says in words what another site file would change in a running gateway.
    Diff {
        /// The site file in force.
        old: PathBuf,
        /// The other one.
        new: PathBuf,
    },
    /// Reads every Modbus block once and shows what came.
    Once {
        /// The site file.
        site: PathBuf,
        #[command(flatten)]
        overrides: Overrides,
        /// As JSON lines.
        #[arg(long)]
        json: bool,
    },
    /// Looks who is on a line, and what it looks like; prints the lines to paste into a site file.
    Probe(probe::Probe),
    /// Gives devices their unit ids, names and places, one at a time; prints the acceptance sheet 安装验收单.
    Commission(commission::Commission),
    /// Opens the installation page of a running gateway for a phone: prints the code to enter, and where.
    Installer(installer::Asked),
    /// Joins a supervision center with a code from its console.
    Enrol {
        /// The center's address; or what its QR code says, which has the code in it.
        url: String,
        /// `XXXXXXXX-` and 16 hex digits.
        code: Option<String>,
        /// The site file: its data directory gets key and enrolment.
        #[arg(long)]
        site: PathBuf,
        /// Another data directory.
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// This box takes the place of that gateway: its open alerts, counters and number go on here.
        #[arg(long, value_name = "GATEWAY", value_parser = gateway_id)]
        replaces: Option<GatewayId>,
    },
    /// Makes a new key; records are signed with it from the next start on. The gateway must not be running.
    RotateKey {
        /// The data directory of a gateway.
        dir: PathBuf,
    },
    /// Says what happened to an instrument: placed, replaced, calibrated, removed. The gateway has to be running.
    Device {
        #[command(subcommand)]
        what: device::Device,
    },
    /// Takes a device out of service under a permit, or back: judged and recorded, not reminded of. The gateway has to be running.
    Maintenance(maintenance::Maintenance),
    /// Looks into a journal.
    Journal {
        #[command(subcommand)]
        command: JournalCommand,
    },
    /// Looks after the sinks: where records go besides the center.
    Sink {
        #[command(subcommand)]
        command: sink::SinkCommand,
    },
    /// Adds up what became of every reading that was due on a day.
    Audit(audit::Audit),
    /// Checks a bundle of evidence, without a network: every signature, number and conclusion.
    Verify {
        /// The bundle.
        #[arg(required_unless_present = "policy_template")]
        file: Option<PathBuf>,
        /// Whose keys to believe; without it nobody is believed and the answer is at best "incomplete".
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// As JSON (docs/verify.schema.json).
        #[arg(long)]
        json: bool,
        /// Prints a trust policy to fill in.
        #[arg(long)]
        policy_template: bool,
    },
    /// Works on rule packs.
    Rules {
        #[command(subcommand)]
        command: RulesCommand,
    },
    /// Says what the rules of a site file make of a recording, a journal or a bundle of evidence.
    Replay(replay::Replay),
    /// Says what the rules of a site file would have made of the gateway's own past, and how other rules differ.
    Backtest(backtest::Backtest),
    /// Runs the inputs of a journal through the engine again and compares every conclusion.
    Rerun {
        /// The data directory (with the key) of a gateway.
        dir: PathBuf,
    },
}

#[derive(Subcommand)]
enum RulesCommand {
    /// Runs the tests that packs carry. A rule with fewer than four is an error.
    Test {
        /// A directory of packs, or one pack.
        dir: PathBuf,
    },
}

#[derive(Subcommand)]
enum JournalCommand {
    /// Epochs, records, bytes, and the room set aside.
    Stat {
        /// A data directory or a journal.
        dir: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Every record, one a line.
    Dump {
        /// A data directory or a journal.
        dir: PathBuf,
        /// Begin at this record.
        #[arg(long, value_name = "EPOCH/SEQ", value_parser = position)]
        from: Option<Position>,
        /// As JSON lines, with everything in them.
        #[arg(long)]
        json: bool,
    },
    /// One file that proves a span of time to a stranger: see `gateway verify`.
    Export(export::Export),
    /// Brings what is on the disk of a box to its center: of one that was replaced, or that found no network.
    Deliver {
        /// The data directory of the box.
        dir: PathBuf,
        /// Another address for the center.
        #[arg(long, value_name = "URL")]
        center: Option<String>,
        /// A data directory of the same gateway whose key shows who brings it; default: the disk's own.
        #[arg(long, value_name = "DIR")]
        by: Option<PathBuf>,
    },
    /// Reads every byte, changes none: damage, signatures, the chain, what is missing.
    Fsck {
        /// A data directory or a journal.
        dir: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

fn gateway_id(text: &str) -> Result<GatewayId, String> {
    GatewayId::parse(text).ok_or_else(|| "expected the 32 hex digits of a gateway's id".to_owned())
}

fn position(text: &str) -> Result<Position, String> {
    let parse =
        |(epoch, seq): (&str, &str)| Some(Position { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? });
    text.split_once('/').and_then(parse).ok_or_else(|| "expected EPOCH/SEQ, such as 3/120".to_owned())
}

/// What may differ from the site file, for tests and the demo.
#[derive(Args, Default)]
struct Overrides {
    /// Data directory; default: beside the site file, named after it.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Another address for a bus; may be given more than once.
    #[arg(long = "bus", value_name = "NAME=ADDR", value_parser = bus_override)]
    buses: Vec<(String, String)>,
    /// Another address for the center.
    #[arg(long, value_name = "URL")]
    center: Option<String>,
    /// Where the embedded broker listens.
    #[arg(long, value_name = "ADDR")]
    mqtt_listen: Option<SocketAddr>,
    /// Where the status page listens.
    #[arg(long, value_name = "ADDR")]
    page_listen: Option<SocketAddr>,
}

fn bus_override(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, address)| (name.to_owned(), address.to_owned()))
        .ok_or_else(|| "expected NAME=HOST:PORT".to_owned())
}

/// What a command ends with: an exit status, or an error to print once.
type Ended = anyhow::Result<u8>;

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    log(matches!(&cli.command, Command::Run { json: true, .. }));
    let ended = match cli.command {
        Command::Check { site } => check(&site),
        Command::Plan { site, json } => plan::plan(&site, json),
        Command::Run { site, overrides, demo_clock, history, record, record_mib, .. } => {
            let record = record.map(|path| (path, record_mib << 20));
            run_site(&site, overrides, demo_clock.as_deref(), history, record)
        }
        Command::Reload(asked) => reload::reload(asked),
        Command::Diff { old, new } => reload::diff(&old, &new),
        Command::Once { site, overrides, json } => once(&site, &overrides, json),
        Command::Probe(asked) => probe::probe(&asked),
        Command::Commission(asked) => commission::commission(asked),
        Command::Installer(asked) => installer::installer(asked),
        Command::Sink { command } => sink::sink(&command),
        Command::Audit(asked) => audit::audit(&asked),
        Command::Verify { policy_template: true, .. } => verify::template(),
        Command::Verify { file, policy, json, .. } => {
            verify::check(&file.unwrap_or_default(), policy.as_deref(), json)
        }
        Command::Enrol { url, code, site, data, replaces } => {
            enrol::enrol(&url, code.as_deref(), &site, data, replaces)
        }
        Command::Device { what } => device::device(what),
        Command::Maintenance(asked) => maintenance::maintenance(asked),
        Command::RotateKey { dir } => enrol::rotate(&dir),
        Command::Journal { command } => match command {
            JournalCommand::Stat { dir, json } => journal::stat(&dir, json),
            JournalCommand::Dump { dir, from, json } => journal::dump(&dir, from, json),
            JournalCommand::Export(asked) => export::export(&asked),
            JournalCommand::Deliver { dir, center, by } => {
                enrol::deliver(&dir, center.as_deref(), by.as_deref())
            }
            JournalCommand::Fsck { dir, json } => fsck::fsck(&dir, json),
        },
        Command::Rules { command: RulesCommand::Test { dir } } => rules::test(&dir),
        Command::Replay(asked) => replay::replay(&asked),
        Command::Backtest(asked) => backtest::backtest(&asked),
        Command::Rerun { dir } => rerun::rerun(&dir),
    };
    match ended {
        Ok(status) => ExitCode::from(status),
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::from(GOOD),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(WRONG)
        }
    }
}

/// One line of data.
fn say(line: &impl std::fmt::Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Talk goes to stderr; `RUST_LOG` chooses how much.
fn log(json: bool) {
    let filter = EnvFilter::try_from_default_env()
        // What strangers do at the broker's door is counted and said sparingly by its gate.
        .unwrap_or_else(|_| EnvFilter::new("info,mqtt5=error,rustls=error,rumqttc=warn"));
    let logger = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        logger.json().init();
    } else {
        logger.with_ansi(std::io::stderr().is_terminal()).init();
    }
}

/// The site, or its problems on stderr and the status for them.
fn load(path: &Path) -> Result<Site, u8> {
    config::load(path).map_err(|problems| {
        show(&problems);
        CONFIG
    })
}

fn show(problems: &[gateway_rules::Problem]) {
    eprintln!("{}", config::explain(problems, std::io::stderr().is_terminal()));
}

fn check(path: &Path) -> Ended {
    let site = match load(path) {
        Ok(site) => site,
        Err(status) => return Ok(status),
    };
    if !site.warnings.is_empty() {
        show(&site.warnings);
    }
    if !site.mqtt.is_empty()
        && let Err(error) = crate::mqtt::check(&site.broker)
    {
        eprintln!("error: [broker]: {error:#}");
        return Ok(CONFIG);
    }
    say(&format_args!(
        "{}: {} devices, {} points, {} rules, {} requests, {} subscriptions",
        path.display(),
        site.plan.devices.len(),
        site.plan.points.len(),
        site.plan.rules.len(),
        site.blocks.len(),
        site.mqtt.len()
    ))?;
    Ok(GOOD)
}

fn data_dir(site: &Path, asked: Option<PathBuf>) -> PathBuf {
    asked.unwrap_or_else(|| site.with_extension("data"))
}

impl Overrides {
    fn apply(&self, site: &mut Site) -> Result<(), String> {
        for (name, address) in &self.buses {
            let bus = site.buses.iter_mut().find(|bus| bus.name == *name);
            bus.ok_or_else(|| format!("--bus {name}: the site file has no bus of that name"))?
                .address
                .clone_from(address);
        }
        if let Some(url) = &self.center {
            let month_bytes = site.center.as_ref().and_then(|center| center.month_bytes);
            site.center = Some(CenterPlan { url: url.trim_end_matches('/').to_owned(), month_bytes });
        }
        if let Some(listen) = self.mqtt_listen {
            site.broker.move_to(listen);
        }
        if let Some(listen) = self.page_listen {
            site.page = Some(PagePlan { listen });
        }
        Ok(())
    }
}

fn run_site(
    path: &Path,
    overrides: Overrides,
    demo_clock: Option<&Path>,
    history: Option<PathBuf>,
    record: Option<(PathBuf, u64)>,
) -> Ended {
    let data = data_dir(path, overrides.data.clone());
    let origin = reload::origin(path, overrides);
    let site = match crate::change::begin(&origin, &data) {
        Ok(site) => site,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(CONFIG);
        }
    };
    let wall = match demo_clock {
        Some(key) => Wall::demo(key)?,
        None => Wall::system(),
    };
    let lines = run::Lines::start()?;
    let lines_at = Some(lines.handle());
    let options = Options { site, data, wall, history, record, origin: Some(origin), lines: lines_at };
    runtime()?.block_on(async {
        let stop = run::stop_at_signal()?;
        run::run(options, stop, |up| {
            // A closed stdout is no reason to stop recording.
            let line = serde_json::to_string(up).unwrap_or_default();
            if say(&line).is_err() {
                tracing::warn!("nobody reads standard output");
            }
        })
        .await
    })?;
    Ok(GOOD)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    // Two threads carry a site; the recorder has its own.
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn once(path: &Path, overrides: &Overrides, json: bool) -> Ended {
    let mut site = match load(path) {
        Ok(site) => site,
        Err(status) => return Ok(status),
    };
    if let Err(problem) = overrides.apply(&mut site) {
        eprintln!("error: {problem}");
        return Ok(CONFIG);
    }
    let clock = Clock::start(Wall::system(), EngineTime(0));
    let all = runtime()?.block_on(async {
        let mut all = Vec::new();
        for slot in 0..site.buses.len() {
            all.extend(Bus::of(&site, slot, 1.0, Metrics::default(), None).once(&clock).await);
        }
        all
    });
    let failed = all.iter().filter(|(_, error)| error.is_some()).count();
    for (answers, error) in &all {
        if let Some(error) = error {
            let points: Vec<&str> =
                answers.items.iter().map(|(ix, _)| site.plan.points[ix.slot()].id.as_str()).collect();
            eprintln!("{}: {}", points.join(", "), crate::chain(error));
        }
        say(&table::answers(&site, answers, json)?.trim_end())?;
    }
    Ok(if failed == 0 { GOOD } else { WRONG })
}
