//! `center`: runs the supervision center. Data to stdout, talk to stderr.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use center::app::App;
use center::clock::Clock;
use center::config::Config;
use clap::{Parser, Subcommand};

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
    let Command::Run(run) = Cli::parse().command;
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info,sqlx=warn".into()),
        )
        .init();
    let (config, clock) = match settle(&run) {
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

fn settle(run: &Run) -> anyhow::Result<(Config, Clock)> {
    let mut config = match &run.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    if let Some(data) = &run.data {
        config.data.clone_from(data);
    }
    if let Some(listen) = run.listen {
        config.listen = listen;
    }
    config.check()?;
    let clock = match &run.demo_clock {
        Some(path) => Clock::demo(path)?,
        None => Clock::system(),
    };
    Ok((config, clock))
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
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).context("write to stdout")?;
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
