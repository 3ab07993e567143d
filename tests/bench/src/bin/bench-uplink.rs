//! One real gateway (recorder, journal, uplink) that drains a backlog to a center while alerts are raised.
//!
//! The backlog is recorded in virtual time before, through the same recorder. A latency is the time from the conclusions of
//! an alert being on disk to the receipt that the center has them, as the uplink itself counts it.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bench::api::Api;
use bench::gateway::plan;
use clap::Parser;
use gateway::clock::{Clock, Wall};
use gateway::history::advance;
use gateway::metrics::Metrics;
use gateway::recorder::core::{Core, Settings};
use gateway::recorder::start::{Setup, start};
use gateway::recorder::{self, Answers, Civil, Doors, Event, URGENT_MAX};
use gateway::state::DataDir;
use gateway::uplink::{self, Beginning, Cursors, client, meter::Meter};
use gateway_engine::intake::Answer;
use gateway_journal::Limits;
use gateway_model::{CivilTime, EngineTime, Epoch, PointIx, Raw};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Points of the gateway, each read once a second.
const POINTS: u32 = 200;
/// Distance of the readings that raise an alert or clear it.
const ALERT_EVERY: Duration = Duration::from_millis(100);
/// A backlog that has not drained by then never will.
const WITHIN: Duration = Duration::from_mins(20);

/// Drains a backlog and prints rates and latencies as JSON.
#[derive(Parser)]
struct Options {
    /// Address of the center: http://127.0.0.1:8080
    #[arg(long)]
    center: String,
    /// File with an administrator's API token, for the enrolment code.
    #[arg(long)]
    token_file: PathBuf,
    /// Folder for the gateway's data; must be empty.
    #[arg(long)]
    data: PathBuf,
    /// Readings of the backlog.
    #[arg(long, default_value_t = 10_000_000)]
    readings: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(options)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-uplink: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One reading of each point; the first decides the only rule.
fn answers(at: EngineTime, first: i64, round: u64) -> Event {
    let item = |point: u32| {
        let raw = if point == 0 { first } else { 50 + (round as i64 + i64::from(point)) % 7 };
        (PointIx(point), Answer::Raw(Raw::Int(raw)))
    };
    Event::Answers(Answers { at, items: (0..POINTS).map(item).collect(), frame: None })
}

/// Records so many readings in virtual time; how long that took, real time.
fn fill(core: &mut Core, from: i64, readings: u64) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let live = core.seal_every_ms(300_000);
    let rounds = readings / u64::from(POINTS);
    for round in 0..rounds {
        let at = EngineTime(from + round as i64 * 1_000);
        advance(core, at)?;
        core.take(answers(at, 50 + (round % 7) as i64, round), at)?;
    }
    core.seal_every_ms(live);
    core.go_live();
    Ok(began.elapsed())
}

/// Raises and clears the alert, until told to stop; how often.
async fn alerts(doors: Doors, clock: Clock, stop: CancellationToken) -> u64 {
    let mut every = tokio::time::interval(ALERT_EVERY);
    let mut changes = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => return changes,
            _ = every.tick() => {}
        }
        let first = if changes % 2 == 0 { 95 } else { 50 };
        if doors.inputs.send(answers(clock.now(), first, changes)).await.is_err() {
            return changes;
        }
        changes += 1;
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("another TLS provider is installed already");
    }
    let data = DataDir::open(&options.data)?;
    let key = data.key()?;
    let api = Api::new(&options.center, "913300000000000999", &options.token_file)?;
    let http = reqwest::Client::builder().no_proxy().build()?;
    api.institution(&http).await?;
    let code = api.code(&http, "bench").await?;
    let client::Joined { enrolled, .. } = client::enrol(&options.center, &code, &key, None).await?;

    let (wall, metrics, civil) = (Wall::system(), Metrics::default(), Civil::default());
    let (doors, rooms) = recorder::doors(civil.clone());
    let (urgent_in, urgent) = mpsc::channel(URGENT_MAX);
    let span_ms = (options.readings / u64::from(POINTS)) as i64 * 1_000;
    let from = wall.civil().context("a clock that knows the time")?.0 - span_ms;
    let setup = Setup {
        journal: data.journal(),
        limits: Limits { ring_bytes: 2 << 30, keep_bytes: 256 << 20, segment_bytes: 8 << 20 },
        key: key.clone(),
        plan: plan(POINTS, 1_000).into(),
        heritage: recorder::start::Heritage::default(),
        epoch_floor: Epoch(0),
        from: Some(CivilTime(from)),
        checkpoint: data.position("checkpoint"),
        settings: Settings {
            seal_every_ms: 30_000,
            wall: wall.clone(),
            civil: civil.clone(),
            metrics: metrics.clone(),
            urgent: urgent_in,
        },
    };
    let readings = options.readings;
    let (core, filled) = tokio::task::spawn_blocking(move || {
        let (mut core, _) = start(setup)?;
        let filled = fill(&mut core, from, readings)?;
        anyhow::Ok((core, filled))
    })
    .await??;
    let backlog = core.last().context("a backlog")?;
    let bytes = core.snapshot().bytes;

    let clock = Clock::start(wall.clone(), gateway::run::resume_at(&core, &wall, &civil));
    let meter = Meter::new(None, data.position("line"));
    let client = client::Client::new(enrolled, key, meter)?;
    let cursors = Cursors {
        sent: data.position("uplink"),
        aside: data.position("aside"),
        orders: data.position("orders"),
    };
    let beginning =
        Beginning { last_order: None, epoch: backlog.epoch, first_epoch: 0, rise_after: Duration::ZERO };
    let (sender, _orders, status) =
        uplink::new(client, &doors, &clock, urgent, cursors, &beginning, &metrics);
    let stop = CancellationToken::new();
    let recording = {
        let (clock, stop, runtime) = (clock.clone(), stop.clone(), tokio::runtime::Handle::current());
        tokio::task::spawn_blocking(move || recorder::run(core, &clock, rooms, &stop, &runtime))
    };
    let raising = tokio::spawn(alerts(doors.clone(), clock.clone(), stop.child_token()));
    let began = Instant::now();
    let sending = tokio::spawn(sender.run(stop.child_token()));
    while status.receipted() < Some(backlog) {
        anyhow::ensure!(began.elapsed() < WITHIN, "not drained within {WITHIN:?}: {:?}", status.receipted());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let drained = began.elapsed();
    let used = status.line().map_or(0, |line| line.used);
    stop.cancel();
    let changes = raising.await?;
    sending.await??;
    recording.await??;
    let seconds = drained.as_secs_f64();
    let told = json!({
        "readings": readings,
        "recorded_per_s": readings as f64 / filled.as_secs_f64(),
        "journal_bytes_per_reading": (bytes.0 + bytes.1) as f64 / readings as f64,
        "seconds": seconds,
        "drained_per_s": readings as f64 / seconds,
        "wire_bytes_per_reading": used as f64 / readings as f64,
        "alert_changes": changes,
        "receipts": quantile(&metrics.text(), 1.0).1,
        "p50_us": quantile(&metrics.text(), 0.5).0 * 1e6,
        "p99_us": quantile(&metrics.text(), 0.99).0 * 1e6,
        "max_us": quantile(&metrics.text(), 1.0).0 * 1e6,
    });
    writeln!(std::io::stdout(), "{told}").context("write to stdout")
}

/// Upper end of the bucket of the histogram that this share stays within, s; and how many there are.
fn quantile(text: &str, share: f64) -> (f64, f64) {
    let buckets: Vec<(f64, f64)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("nonsite_gateway_receipt_seconds_bucket{le=\""))
        .filter_map(|line| {
            let (upper, count) = line.split_once("\"} ")?;
            Some((upper.parse().unwrap_or(f64::INFINITY), count.parse().ok()?))
        })
        .collect();
    let all = buckets.last().map_or(0.0, |(_, count)| *count);
    let within = buckets.iter().find(|(_, count)| *count >= all * share);
    (within.map_or(f64::NAN, |(upper, _)| *upper), all)
}
