//! `firmware-sim`: simulated field devices that can misbehave.

mod cli;

use std::io::BufWriter;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use cli::{print, stopped};
use firmware_sim::civil::{Civil, DAY_S, Span};
use firmware_sim::clock::{Clock, SPEED_MAX};
use firmware_sim::scenario::{EMBEDDED, Endpoint, LoadError, Scenario};
use firmware_sim::world::World;
use firmware_sim::{control, history, host, line, mqtt, plot, serve};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Exit code of a wrong configuration (sysexits EX_CONFIG).
const EX_CONFIG: u8 = 78;
/// Days before the start on which the world begins, unless it is told.
const DAYS_BEFORE: i64 = 3;

/// Simulated field devices that can misbehave: Modbus and MQTT faces over simple physics.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a scenario live until Ctrl-C.
    ///
    /// Prints one line when everything listens: endpoints and the control port (with --json as JSON).
    /// The same scenario, seed and --from as a `history` go on where it ended.
    Run(Run),
    /// Write what a gateway polling the scenario would have seen, as a recording (JSON lines).
    History(History),
    /// Stand between a gateway and real devices and write what goes by, byte for byte with times.
    ///
    /// Point the gateway at the ports it prints. Ends with Ctrl-C; docs/recording-format.md says what is in the file.
    Record(cli::record::Record),
    /// Serve a recording again: each request is answered as the device answered it.
    Replay(cli::replay::Replay),
    /// Serve very many cheap Modbus devices.
    Load(cli::load::Load),
    /// Show the devices of a running simulator live: redrawn in a terminal, else a line for each change.
    Watch(cli::watch::Watch),
    /// The embedded scenarios, one line each, in Chinese and English.
    List,
    /// What a scenario contains: devices, endpoints, units, planted faults.
    Show(Which),
    /// A picture of a scenario (SVG): what the instruments show, what is planted, which alerts are expected.
    Plot(Plot),
    /// Write a picture of every embedded scenario, and the page that shows them, into a folder.
    Gallery {
        /// The folder of the documents.
        folder: PathBuf,
    },
}

#[derive(Args)]
struct Which {
    /// Name of an embedded scenario (hotel, clinic, hospital) or path of a TOML file.
    scenario: String,
    /// Another seed than the scenario's own.
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    which: Which,
    /// Times real time.
    #[arg(long, default_value_t = 1.0, conflicts_with = "demo_clock")]
    speed: f64,
    /// Follow the clock of a running demo (file written by `cargo demo`).
    #[arg(long, value_name = "KEYFILE")]
    demo_clock: Option<PathBuf>,
    /// Time stands still until `POST /step {"seconds":…}` on the control port.
    #[arg(long = "virtual", conflicts_with_all = ["speed", "demo_clock"])]
    held: bool,
    /// Begin at this civil time (Unix ms) instead of the system's.
    #[arg(long, value_name = "CIVIL_MS", conflicts_with = "demo_clock")]
    at: Option<i64>,
    /// The world begins at the local midnight before this civil time (Unix ms): the --from of its history.
    /// Default: three days before the start.
    #[arg(long, value_name = "CIVIL_MS")]
    from: Option<i64>,
    /// Civil time (Unix ms) of the scenario's scripted incident.
    #[arg(long, value_name = "CIVIL_MS")]
    incident_at: Option<i64>,
    /// Broker to publish the feeds to.
    #[arg(long, value_name = "HOST:PORT")]
    mqtt: Option<String>,
    /// Address the endpoints listen on, each on a free port.
    #[arg(long, default_value = "127.0.0.1")]
    listen: std::net::IpAddr,
    /// Port of an endpoint, e.g. --port modules=5020; may be repeated.
    #[arg(long, value_name = "NAME=PORT")]
    port: Vec<String>,
    /// Serial port of an endpoint on a line, e.g. --serial bus=/dev/ttyUSB0, instead of a new pty; may be repeated.
    #[arg(long, value_name = "NAME=PATH")]
    serial: Vec<String>,
    /// Where the control port listens: loopback only.
    #[arg(long, default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// Print the line as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct History {
    #[command(flatten)]
    which: Which,
    /// First moment, civil time (Unix ms); the world begins at the local midnight before.
    #[arg(long, value_name = "CIVIL_MS")]
    from: i64,
    /// How many days.
    #[arg(long, default_value_t = 3)]
    days: u32,
    /// Up to this civil time (Unix ms) instead of so many days.
    #[arg(long, value_name = "CIVIL_MS", conflicts_with = "days")]
    to: Option<i64>,
    /// How often each unit is polled.
    #[arg(long, default_value = "10s")]
    every: Span,
    /// Civil time (Unix ms) of the scenario's scripted incident, as for `run`.
    #[arg(long, value_name = "CIVIL_MS")]
    incident_at: Option<i64>,
    /// File to write; `-` is stdout.
    #[arg(long, default_value = "-")]
    out: PathBuf,
}

#[derive(Args)]
struct Plot {
    #[command(flatten)]
    which: Which,
    /// File to write; `-` is stdout.
    #[arg(long, default_value = "-")]
    out: PathBuf,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| "firmware_sim=info".into()),
        )
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .init();
    let done = match Cli::parse().command {
        Command::Run(args) => run(args),
        Command::History(args) => write_history(&args),
        Command::Record(args) => cli::record::record(&args),
        Command::Replay(args) => cli::replay::replay(&args),
        Command::Load(args) => cli::load::load(&args),
        Command::Watch(args) => cli::watch::watch(&args),
        Command::List => list(),
        Command::Show(which) => show(&which),
        Command::Plot(args) => plot(&args),
        Command::Gallery { folder } => gallery(&folder),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(LoadError::Problems(problems)) = error.downcast_ref::<LoadError>() {
                for problem in problems {
                    eprintln!("{problem}");
                }
            }
            eprintln!("firmware-sim: {error:#}");
            if error.is::<LoadError>() { ExitCode::from(EX_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}

fn list() -> anyhow::Result<()> {
    for (name, text) in EMBEDDED {
        let scenario = Scenario::parse(name, text).map_err(LoadError::Problems)?;
        print(&format!("{name:<22} {}  |  {}", scenario.title.zh, scenario.title.en))?;
    }
    Ok(())
}

fn show(which: &Which) -> anyhow::Result<()> {
    let scenario = Scenario::load(&which.scenario, which.seed)?;
    print(&format!(
        "{}: {} | {} (seed {})",
        scenario.name, scenario.title.zh, scenario.title.en, scenario.seed
    ))?;
    for (id, kind) in scenario.devices() {
        print(&format!("  device    {id} ({kind})"))?;
    }
    for endpoint in &scenario.endpoints {
        let transport = serde_json::to_value(endpoint.transport)?;
        let transport = transport.as_str().unwrap_or_default();
        if let Some(indicator) = &endpoint.indicator {
            print(&format!("  indicator {} {transport} {:?}", endpoint.name, indicator.format))?;
        }
        for unit in &endpoint.units {
            let map = unit.map.word_of_map();
            print(&format!("  unit      {}/{} {transport} {map}", endpoint.name, unit.unit))?;
        }
    }
    for (word, plants) in [("planted", &scenario.plants), ("incident", &scenario.incident)] {
        for plant in plants {
            let (day, second) = (plant.from.div_euclid(DAY_S), plant.from.rem_euclid(DAY_S));
            let when = if word == "planted" {
                format!("day {day} {:02}:{:02}", second / 3600, second / 60 % 60)
            } else {
                format!("{:+} min", plant.from / 60)
            };
            let why =
                plant.note.as_ref().map_or(String::new(), |note| format!(": {} | {}", note.zh, note.en));
            let minutes = plant.for_s / 60;
            print(&format!("  {word:<9} {when} for {minutes} min {} {}{why}", plant.target, plant.fault))?;
        }
    }
    Ok(())
}

fn plot(args: &Plot) -> anyhow::Result<()> {
    let picture = plot::picture(&Scenario::load(&args.which.scenario, args.which.seed)?);
    if args.out.as_os_str() == "-" {
        return print(picture.trim_end());
    }
    std::fs::write(&args.out, picture).with_context(|| format!("cannot write {}", args.out.display()))
}

fn gallery(folder: &Path) -> anyhow::Result<()> {
    for (name, content) in plot::gallery::files()? {
        let path = folder.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn write_history(args: &History) -> anyhow::Result<()> {
    let scenario = Scenario::load(&args.which.scenario, args.which.seed)?;
    let every_ms = args.every.0;
    anyhow::ensure!(every_ms >= 100, "--every is 100 ms at least");
    let from = Civil(args.from);
    let to = args.to.map_or_else(|| from.plus_s(i64::from(args.days) * DAY_S), Civil);
    let mut world = World::new(&scenario, from, args.incident_at.map(Civil));
    let started = std::time::Instant::now();
    let written = if args.out.as_os_str() == "-" {
        let mut out = BufWriter::new(std::io::stdout().lock());
        history::write(&scenario, &mut world, from, to, every_ms, &mut out)
    } else {
        let file = std::fs::File::create(&args.out)
            .with_context(|| format!("cannot write {}", args.out.display()))?;
        let mut out = BufWriter::with_capacity(1 << 18, file);
        history::write(&scenario, &mut world, from, to, every_ms, &mut out)
    }
    .context("cannot write the recording")?;
    tracing::info!(
        polls = written.polls,
        lines = written.lines,
        messages = written.messages,
        bytes = written.bytes,
        ms = started.elapsed().as_millis() as u64,
        "recording written"
    );
    Ok(())
}

fn run(args: Run) -> anyhow::Result<()> {
    let scenario = Scenario::load(&args.which.scenario, args.which.seed)?;
    anyhow::ensure!(
        args.speed > 0.0 && args.speed <= SPEED_MAX,
        "--speed is above 0 and at most {SPEED_MAX}"
    );
    anyhow::ensure!(args.control.ip().is_loopback(), "the control port listens on loopback only");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve_live(scenario, args))
}

async fn serve_live(scenario: Scenario, args: Run) -> anyhow::Result<()> {
    let clock = match (&args.demo_clock, args.at) {
        (Some(path), _) => Clock::demo(path)?,
        (None, Some(at)) if args.held => Clock::held(Civil(at)),
        (None, None) if args.held => Clock::held(Clock::system(1.0).now()),
        (None, Some(at)) => Clock::starting(Civil(at), args.speed),
        (None, None) => Clock::system(args.speed),
    };
    let from = args.from.map_or_else(|| clock.now().plus_s(-DAYS_BEFORE * DAY_S), Civil);
    let world = World::new(&scenario, from, args.incident_at.map(Civil));

    let mut tasks = tokio::task::JoinSet::new();
    let publisher = match &args.mqtt {
        None => None,
        Some(address) => {
            let (name, port) = address.rsplit_once(':').context("--mqtt is HOST:PORT")?;
            let port: u16 = port.parse().context("--mqtt is HOST:PORT")?;
            let (sender, receiver) = mpsc::channel(mqtt::QUEUE_MAX);
            let id = format!("firmware-sim-{}-{}", scenario.name, std::process::id());
            tasks.spawn(mqtt::publish(name.to_owned(), port, id, receiver));
            Some(sender)
        }
    };
    let ports = ports(&scenario, &args.port)?;
    let (host, task) = host::host(world, clock, publisher);
    tasks.spawn(task);
    let mut endpoints = serde_json::Map::new();
    let serial = serial(&scenario, &args.serial)?;
    for (ix, endpoint) in scenario.endpoints.iter().enumerate() {
        if endpoint.transport.is_serial() {
            let (line, path) = open_line(endpoint, serial[ix])?;
            endpoints.insert(endpoint.name.clone(), path.into());
            tasks.spawn(serve::line(line, endpoint.clone(), ix, host.clone()));
            continue;
        }
        let wanted = SocketAddr::new(args.listen, ports[ix]);
        let listener = TcpListener::bind(wanted)
            .await
            .with_context(|| format!("endpoint `{}` cannot listen on {wanted}", endpoint.name))?;
        endpoints.insert(endpoint.name.clone(), listener.local_addr()?.to_string().into());
        tasks.spawn(serve::serve(listener, endpoint.clone(), ix, host.clone()));
    }
    let listener = TcpListener::bind(args.control)
        .await
        .with_context(|| format!("the control port cannot listen on {}", args.control))?;
    let control_url = format!("http://{}", listener.local_addr()?);
    // The first answer comes after the world has caught up with the clock: then we are up.
    host.with(|_| ()).await.context("the world ended while it caught up")?;
    tasks.spawn(async move {
        if let Err(error) = axum::serve(listener, control::routes(host)).await {
            tracing::error!(%error, "the control port ended");
        }
    });
    let line = serde_json::json!({"endpoints": endpoints, "control": control_url});
    if args.json {
        print(&line.to_string())?;
    } else {
        for (name, address) in &endpoints {
            print(&format!("{name:<22} {}", address.as_str().unwrap_or_default()))?;
        }
        print(&format!("{:<10} {control_url}", "control"))?;
    }

    tokio::select! {
        () = stopped() => Ok(()),
        ended = tasks.join_next() => {
            if let Some(Err(error)) = ended {
                return Err(error).context("a task of the simulator panicked");
            }
            anyhow::bail!("a task of the simulator ended by itself")
        }
    }
}

/// Ports in the order of the scenario's endpoints; 0 where none was named.
fn ports(scenario: &Scenario, named: &[String]) -> anyhow::Result<Vec<u16>> {
    let mut ports = vec![0; scenario.endpoints.len()];
    for text in named {
        let (name, port) = text.split_once('=').context("--port is NAME=PORT")?;
        let ix = scenario.endpoints.iter().position(|e| e.name == name);
        let ix = ix.with_context(|| format!("--port: no endpoint is called `{name}`"))?;
        ports[ix] = port.parse().context("--port is NAME=PORT")?;
    }
    Ok(ports)
}

/// Serial ports in the order of the scenario's endpoints; `None` is a new pty.
fn serial<'a>(scenario: &Scenario, named: &'a [String]) -> anyhow::Result<Vec<Option<&'a Path>>> {
    let mut paths = vec![None; scenario.endpoints.len()];
    for text in named {
        let (name, path) = text.split_once('=').context("--serial is NAME=PATH")?;
        let ix = scenario.endpoints.iter().position(|e| e.name == name && e.transport.is_serial());
        let ix = ix.with_context(|| format!("--serial: no endpoint on a serial line is called `{name}`"))?;
        paths[ix] = Some(Path::new(path));
    }
    Ok(paths)
}

/// The line of an endpoint, and the path by which others find it.
fn open_line(endpoint: &Endpoint, path: Option<&Path>) -> anyhow::Result<(line::Line, String)> {
    let name = &endpoint.name;
    match path {
        Some(path) => {
            let line = line::port(path, endpoint.line)
                .with_context(|| format!("endpoint `{name}` cannot use {}", path.display()))?;
            Ok((line, path.display().to_string()))
        }
        None => line::pty(endpoint.line).with_context(|| format!("endpoint `{name}` gets no pty")),
    }
}
