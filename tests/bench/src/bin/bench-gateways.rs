//! N simulated gateways that speak a center's protocol with properly signed records, for a stated time.
//!
//! Each enrols through the center's public door with a code asked for with an administrator's token, then seals and sends
//! records and reads the receipts. A latency is the time from sending a batch to having its receipt, which the center gives
//! when the records are on disk.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use bench::api::Api;
use bench::gateway::Gateway;
use bench::{Latencies, span};
use clap::Parser;
use gateway_model::CivilTime;
use gateway_wire::{BATCH_TYPE, EnrolAnswer, EnrolRequest, Receipt, SigningKey, Token, pack};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, timeout_at};

/// Any request takes so long at most.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Readings of one record at most (a record format's own limit is higher).
const READINGS_MAX: u64 = 1000;
/// Records of one batch at most.
const BATCH_MAX: usize = 64;
/// How many enrol at a time.
const ENROL_AT_ONCE: usize = 16;

/// Puts the load of many gateways on a center and prints rates and latencies as JSON.
#[derive(Parser, Clone)]
struct Options {
    /// Address of the center: http://127.0.0.1:8080
    #[arg(long)]
    center: String,
    /// File with an administrator's API token, for the enrolment codes.
    #[arg(long)]
    token_file: std::path::PathBuf,
    /// Institution the gateways join; it is made if it is not there.
    #[arg(long, default_value = "913300000000000999")]
    institution: String,
    /// How many gateways.
    #[arg(long, default_value_t = 100)]
    gateways: u32,
    /// Points of each.
    #[arg(long, default_value_t = 20)]
    points: u32,
    /// How often each point is read.
    #[arg(long, default_value = "1s", value_parser = span)]
    reading_every: Duration,
    /// How often a record is sealed and sent.
    #[arg(long, default_value = "5s", value_parser = span)]
    every: Duration,
    /// Each so many records come with an alert raised, or cleared; 0 is never.
    #[arg(long, default_value_t = 20)]
    alert_each: u64,
    /// How long, after all have enrolled.
    #[arg(long = "for", default_value = "30s", value_parser = span)]
    duration: Duration,
    /// Connections that they share.
    #[arg(long, default_value_t = 32)]
    connections: usize,
}

#[derive(Default)]
struct Counts {
    latencies: Latencies,
    batches: AtomicU64,
    records: AtomicU64,
    readings: AtomicU64,
    alerts: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
    refused: AtomicU64,
    held_back: AtomicU64,
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
            eprintln!("bench-gateways: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn civil_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_millis() as i64)
}

/// Readings of a point in a period, at least one.
fn moments_of(options: &Options) -> u64 {
    (options.every.as_millis() / options.reading_every.as_millis()).max(1) as u64
}

async fn run(options: Options) -> anyhow::Result<()> {
    anyhow::ensure!(options.gateways > 0 && options.connections > 0 && options.points > 0, "nothing to do");
    anyhow::ensure!(!options.every.is_zero() && !options.reading_every.is_zero(), "a period is above 0");
    let moments = moments_of(&options) + 1;
    anyhow::ensure!(
        moments * u64::from(options.points) <= READINGS_MAX,
        "{} readings a record: {READINGS_MAX} at most; shorten --every or have fewer --points",
        moments * u64::from(options.points)
    );
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("another TLS provider is installed already");
    }
    let clients = (0..options.connections.min(options.gateways as usize))
        .map(|_| {
            let builder = reqwest::Client::builder().no_proxy().timeout(TIMEOUT);
            let plain = options.center.starts_with("http://");
            if plain { builder.http2_prior_knowledge().build() } else { builder.build() }
        })
        .collect::<Result<Vec<_>, _>>()?;
    let api = Api::new(&options.center, &options.institution, &options.token_file)?;
    api.institution(&clients[0]).await?;

    let begin = Instant::now();
    let mut gateways = Vec::new();
    let mut enrolling = JoinSet::new();
    for n in 0..options.gateways {
        if enrolling.len() >= ENROL_AT_ONCE {
            gateways.extend(enrolling.join_next().await.transpose()?.transpose()?);
        }
        let (api, client) = (api.clone(), clients[n as usize % clients.len()].clone());
        enrolling.spawn(async move {
            enrol(&api, &client, n).await.with_context(|| format!("enrol gateway {n}"))
        });
    }
    while let Some(enrolled) = enrolling.join_next().await {
        gateways.push(enrolled??);
    }
    let enrolled_s = begin.elapsed().as_secs_f64();

    let counts = Arc::new(Counts::default());
    let begin = Instant::now();
    let mut running = JoinSet::new();
    let all = gateways.len();
    for (n, gateway) in gateways.into_iter().enumerate() {
        let offset = options.every.mul_f64(n as f64 / all as f64);
        let client = clients[n % clients.len()].clone();
        running.spawn(work(
            gateway,
            client,
            options.clone(),
            Shift { n: n as u64, offset, begin, end: begin + options.duration },
            Arc::clone(&counts),
        ));
    }
    while let Some(ended) = running.join_next().await {
        ended.context("a gateway panicked")?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let rate = |counter: &AtomicU64| count(counter) as f64 / seconds;
    let told = json!({
        "gateways": all,
        "points": options.points,
        "enrolled_s": enrolled_s,
        "seconds": seconds,
        "records": count(&counts.records),
        "records_per_s": rate(&counts.records),
        "readings_per_s": rate(&counts.readings),
        "readings_wanted_per_s": all as f64 * f64::from(options.points) / options.reading_every.as_secs_f64(),
        "bytes_per_s": rate(&counts.bytes),
        "batches": count(&counts.batches),
        "alert_changes": count(&counts.alerts),
        "errors": count(&counts.errors),
        "refused": count(&counts.refused),
        "held_back": count(&counts.held_back),
        "p50_us": counts.latencies.within_us(0.5),
        "p99_us": counts.latencies.within_us(0.99),
        "max_us": counts.latencies.max_us(),
    });
    writeln!(std::io::stdout(), "{told}").context("write to stdout")
}

/// The whole way: a code, the request signed with a new key, the center's signed answer.
async fn enrol(api: &Api, client: &reqwest::Client, n: u32) -> anyhow::Result<Gateway> {
    let code = api.code(client, &format!("bench-{n}")).await?;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let key = SigningKey::from_bytes(&secret);
    let request = EnrolRequest {
        secret: code.secret.clone(),
        gateway_key: key.verifying_key().to_bytes(),
        software: concat!("bench ", env!("CARGO_PKG_VERSION")).to_owned(),
        epoch: None,
        replaces: None,
    };
    let answer = client
        .post(format!("{}/gateway/v1/enrol", api.center))
        .header(CONTENT_TYPE, "application/cbor")
        .body(request.seal(&key))
        .send()
        .await?
        .error_for_status()?;
    let answer = EnrolAnswer::decode(&answer.bytes().await?)?;
    let (center, _) = answer.check(&code, &key.verifying_key())?;
    Ok(Gateway::new(key, &center))
}

/// When one gateway works: gateways send one after the other within a period, and raise alerts so too.
struct Shift {
    /// Which gateway.
    n: u64,
    /// Its place in the period.
    offset: Duration,
    begin: Instant,
    end: Instant,
}

async fn work(
    mut gateway: Gateway,
    client: reqwest::Client,
    options: Options,
    shift: Shift,
    counts: Arc<Counts>,
) {
    let reading_ms = options.reading_every.as_millis() as i64;
    // It has been reading since a period before its first record: every record of the measured time is a full one.
    // Two clocks cut to milliseconds are two apart at most.
    let since_begin = shift.begin.elapsed().as_millis() as i64 + 2;
    let mut last = civil_ms() - since_begin - options.every.saturating_sub(shift.offset).as_millis() as i64;
    gateway.start(last, options.points, reading_ms);
    let mut rounds = tokio::time::interval_at(shift.begin + shift.offset, options.every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut n = shift.n;
    while let Ok(due) = timeout_at(shift.end, rounds.tick()).await
        && due < shift.end
    {
        // The moments of this record: those since the last one, of a period that was skipped only the newest. One more than a
        // period has, for a round that came a millisecond early left one.
        let now = civil_ms();
        let most = moments_of(&options) as i64 + 1;
        let first = last.max(now - most * reading_ms);
        let moments: Vec<i64> = (1..=(now - first) / reading_ms).map(|k| first + k * reading_ms).collect();
        if let Some(newest) = moments.last() {
            last = *newest;
            n += 1;
            let alert = options.alert_each > 0 && n.is_multiple_of(options.alert_each);
            if gateway.readings(&moments, options.points, alert) {
                counts
                    .readings
                    .fetch_add(moments.len() as u64 * u64::from(options.points), Ordering::Relaxed);
                counts.alerts.fetch_add(u64::from(alert), Ordering::Relaxed);
            } else {
                counts.held_back.fetch_add(1, Ordering::Relaxed);
            }
        }
        send(&mut gateway, &client, &options, &counts).await;
    }
}

/// One batch of what is not receipted yet; what fails is sent with the next.
async fn send(gateway: &mut Gateway, client: &reqwest::Client, options: &Options, counts: &Counts) {
    let records: Vec<&Vec<u8>> = gateway.unsent().take(BATCH_MAX).collect();
    if records.is_empty() {
        return;
    }
    let body = pack(&records);
    let bytes = body.len() as u64;
    let token = Token::make(gateway.key(), CivilTime(civil_ms()), gateway.audience());
    let begin = Instant::now();
    let receipt = async {
        let answer = client
            .post(format!("{}/gateway/v1/records", options.center))
            .header(AUTHORIZATION, format!("Nonsite {token}"))
            .header(CONTENT_TYPE, BATCH_TYPE)
            .body(body)
            .send()
            .await?
            .error_for_status()?;
        anyhow::Ok(Receipt::decode(&answer.bytes().await?)?)
    };
    match receipt.await {
        Ok(receipt) => {
            counts.latencies.add(begin.elapsed());
            counts.batches.fetch_add(1, Ordering::Relaxed);
            counts.bytes.fetch_add(bytes, Ordering::Relaxed);
            counts.refused.fetch_add(receipt.refused.len() as u64, Ordering::Relaxed);
            counts.records.fetch_add(gateway.receipted(&receipt) as u64, Ordering::Relaxed);
        }
        Err(error) => {
            if counts.errors.fetch_add(1, Ordering::Relaxed) == 0 {
                eprintln!("bench-gateways: the first batch that failed: {error:#}");
            }
        }
    }
}
