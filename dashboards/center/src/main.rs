//! `center`: runs the supervision center, exports and verifies evidence. Data to stdout, talk to stderr.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use center::app::App;
use center::clock::Clock;
use center::config::Config;
use clap::{Parser, Subcommand};
use gateway_evidence::Account;

/// Exit code for a configuration that cannot be used.
const EX_CONFIG: u8 = 78;

/// The supervision center of Nonsite.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the center.
    Run(Run),
    /// One file that proves a case to a stranger.
    Export(Export),
    /// What became of every reading that was due on a day, point by point. 0 the sums close, 1 they do not, 3 not everything
    /// is here.
    Audit(Audit),
    /// Order something of a gateway; works beside a running center.
    Order {
        #[command(subcommand)]
        what: OrderWhat,
    },
    /// Check such a file, without a network. 0 valid, 1 invalid, 2 usage, 3 incomplete, 78 a policy that says nothing clear.
    Verify {
        /// The bundle.
        file: PathBuf,
        /// Whose keys to believe; without it nobody is believed and the answer is at best "incomplete".
        #[arg(long)]
        policy: Option<PathBuf>,
        /// As JSON (docs/verify.schema.json).
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum OrderWhat {
    /// Take this site file, with the packs, profiles and tables it names. The gateway checks it, puts it in force, watches
    /// it, and goes back by itself if it is not healthy; what becomes of it is in its record.
    Config {
        /// Id of the gateway.
        gateway: String,
        /// The site file. Secrets stay at the gateway: it only names their files.
        site: PathBuf,
        /// Other files that the site file names, beside or below it.
        more: Vec<PathBuf>,
        /// Settings (TOML), as for `run`.
        #[arg(long)]
        config: Option<PathBuf>,
        /// Where database and key lie.
        #[arg(long)]
        data: Option<PathBuf>,
        /// Key file of a demo clock, as for `run`.
        #[arg(long)]
        demo_clock: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct Export {
    /// Number of the case.
    case: i64,
    /// Settings (TOML), as for `run`.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where database, segments and key lie.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Key file of a demo clock, as for `run`.
    #[arg(long)]
    demo_clock: Option<PathBuf>,
    /// Placement and calibration of devices (docs/records.md, 9.1).
    #[arg(long)]
    devices: Option<PathBuf>,
    /// Where packs of other releases lie; may be given more than once.
    #[arg(long)]
    packs: Vec<PathBuf>,
    /// The file to write.
    #[arg(short, long)]
    output: PathBuf,
}

#[derive(Debug, clap::Args)]
struct Audit {
    /// Id of the gateway.
    gateway: String,
    /// Which day at the site: `2026-11-20`.
    #[arg(long, value_name = "DAY")]
    day: String,
    /// Settings (TOML), as for `run`.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where database and segments lie.
    #[arg(long)]
    data: Option<PathBuf>,
    /// As JSON lines.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Settings (TOML). Without it, defaults on loopback.
    config: Option<PathBuf>,
    /// Where database, segments, attachments and key lie.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Address to listen on; port 0 takes any free one.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Key file of a demo clock, as `cargo demo` writes it.
    #[arg(long)]
    demo_clock: Option<PathBuf>,
    /// Print one JSON line on stdout when up.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let run = match Cli::parse().command {
        Command::Run(run) => run,
        Command::Export(asked) => return end(export(&asked)),
        Command::Audit(asked) => return end(audit(&asked)),
        Command::Order { what } => return end(order(&what)),
        Command::Verify { file, policy, json } => return end(verify(&file, policy.as_deref(), json)),
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info,sqlx=warn".into()),
        )
        .init();
    let (config, clock) =
        match settle(run.config.as_deref(), run.data.as_ref(), run.listen, run.demo_clock.as_deref()) {
            Ok(settled) => settled,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "configuration");
                return ExitCode::from(EX_CONFIG);
            }
        };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "start the runtime");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(config, clock, run.json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the center ended");
            ExitCode::FAILURE
        }
    }
}

fn settle(
    file: Option<&Path>,
    data: Option<&PathBuf>,
    listen: Option<SocketAddr>,
    demo_clock: Option<&Path>,
) -> anyhow::Result<(Config, Clock)> {
    let mut config = match file {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    if let Some(data) = data {
        config.data.clone_from(data);
    }
    if let Some(listen) = listen {
        config.listen = listen;
    }
    config.check()?;
    let clock = match demo_clock {
        Some(path) => Clock::demo(path)?,
        None => Clock::system(),
    };
    Ok((config, clock))
}

/// An exit status, or the error that stood in the way.
fn end(ended: anyhow::Result<u8>) -> ExitCode {
    match ended {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// 0, or 3 where something is missing that verification will ask for.
fn export(asked: &Export) -> anyhow::Result<u8> {
    let (config, clock) =
        settle(asked.config.as_deref(), asked.data.as_ref(), None, asked.demo_clock.as_deref())?;
    let read =
        |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
    let devices = asked.devices.as_ref().map(read).transpose()?;
    let packs = gateway_evidence::packs(&asked.packs).context("read the packs")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exported =
        runtime.block_on(center::export::export(&config, &clock, asked.case, devices.as_deref(), &packs))?;
    let known = devices.is_some() || exported.instruments;
    let made = exported.made;
    std::fs::write(&asked.output, &made.bytes)
        .with_context(|| format!("write {}", asked.output.display()))?;
    say(&serde_json::json!({
        "file": asked.output, "bytes": made.bytes.len(), "records": exported.records, "missing_packs": made.missing_packs,
        "devices": known,
    }))?;
    for pack in &made.missing_packs {
        eprintln!("pack {pack} is not in this release: name its folder with --packs");
    }
    if !known {
        eprintln!(
            "placement and calibration are missing: `gateway device` records them, or name a file with --devices"
        );
    }
    Ok(if made.missing_packs.is_empty() && known { 0 } else { 3 })
}

fn order(what: &OrderWhat) -> anyhow::Result<u8> {
    let OrderWhat::Config { gateway, site, more, config, data, demo_clock } = what;
    let (config, clock) = settle(config.as_deref(), data.as_ref(), None, demo_clock.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ordered = runtime.block_on(center::configuration::order(&config, &clock, gateway, site, more))?;
    say(&serde_json::json!({
        "order": format!("{}/{}", ordered.order.0, ordered.order.1), "sha256": ordered.sha256, "bytes": ordered.bytes,
        "files": ordered.files,
    }))?;
    Ok(0)
}

fn audit(asked: &Audit) -> anyhow::Result<u8> {
    let (config, _) = settle(asked.config.as_deref(), asked.data.as_ref(), None, None)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(center::audit::audit(&config, &asked.gateway, &asked.day))?;
    if !asked.json {
        say(&Account::head())?;
    }
    for (point, account) in &found.audited.points {
        if asked.json { say(&account.json(point))? } else { say(&account.row(point))? }
    }
    if found.unread > 0 {
        eprintln!("{} records cannot be read or are of a later release", found.unread);
    }
    if found.missing > 0 {
        eprintln!("{} records of this gateway are not here yet", found.missing);
    }
    Ok(match (found.audited.closes(), found.unread + found.missing) {
        (false, _) => 1,
        (true, 0) => 0,
        (true, _) => 3,
    })
}

fn verify(file: &Path, policy: Option<&Path>, json: bool) -> anyhow::Result<u8> {
    let report = match gateway_evidence::verify_file(file, policy) {
        Ok(report) => report,
        Err(error) => {
            let status = error.status();
            eprintln!("error: {:#}", anyhow::Error::new(error));
            return Ok(status);
        }
    };
    if json {
        say(&report.json())?;
    } else {
        say(&report.text().trim_end())?;
    }
    Ok(report.outcome().status())
}

/// One line of data.
fn say(line: &impl std::fmt::Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("write to stdout")
}

async fn serve(config: Config, clock: Clock, json: bool) -> anyhow::Result<()> {
    let listen = config.listen;
    let app = App::start(config, clock).await?;
    let listener =
        tokio::net::TcpListener::bind(listen).await.with_context(|| format!("listen on {listen}"))?;
    let scheme = if app.tls.is_some() { "https" } else { "http" };
    let console = format!("{scheme}://{}", listener.local_addr().context("own address")?);
    let setup_code = app.setup_code();
    tracing::info!(console, simulated = app.clock.simulated(), "the center is up");
    if let Some(code) = &setup_code {
        tracing::warn!("first start: open {console}/setup and make the first account with the code {code}");
    }
    if json {
        let line = serde_json::json!({ "console": console, "setup_code": setup_code });
        say(&line)?;
    }
    let router = center::http::router(std::sync::Arc::clone(&app));
    let serving = match &app.tls {
        Some(tls) => axum::serve(tls.listen(listener).context("listen")?, router).into_future(),
        None => axum::serve(listener, router).into_future(),
    };
    // Open streams and long polls would hold a graceful end for half a minute; they come back by themselves.
    tokio::select! {
        ended = serving => ended.context("serve")?,
        signal = stopped() => signal?,
        () = app.ingest.ended() => anyhow::bail!("the task that stores records has ended"),
    }
    tracing::info!("stopping");
    app.store.close().await;
    Ok(())
}

async fn stopped() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("listen for SIGTERM")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("listen for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
    }
}
