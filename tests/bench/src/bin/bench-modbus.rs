//! A Modbus TCP client that reads very many devices, as fast as it was told and no faster, and says what rate came of it.
//!
//! Its framing is its own: it shares nothing with the simulator it reads, nor with the gateway.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bench::{Latencies, span};
use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, sleep_until, timeout, timeout_at};

/// Reads every device that `firmware-sim load --json` told, and prints the rate achieved as JSON.
#[derive(Parser)]
struct Options {
    /// The line that `firmware-sim load --json` printed, in a file; `-` is stdin.
    #[arg(default_value = "-")]
    target: std::path::PathBuf,
    /// How often each device is read.
    #[arg(long, default_value = "1s", value_parser = span)]
    every: Duration,
    /// How long.
    #[arg(long = "for", default_value = "30s", value_parser = span)]
    duration: Duration,
    /// A connection for each device instead of one for each port.
    #[arg(long)]
    connection_per_device: bool,
    /// An answer that takes longer is an error, and the connection is made anew.
    #[arg(long, default_value = "1s", value_parser = span)]
    timeout: Duration,
}

#[derive(serde::Deserialize)]
struct Target {
    addresses: Vec<SocketAddr>,
    devices: u32,
    units: u32,
    points: u16,
}

/// Registers in one request at most (Modbus specification).
const REGISTERS_MAX: u16 = 125;

#[derive(Default)]
struct Counts {
    latencies: Latencies,
    reads: AtomicU64,
    errors: AtomicU64,
    late: AtomicU64,
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
            eprintln!("bench-modbus: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    let mut line = String::new();
    if options.target.as_os_str() == "-" {
        std::io::stdin().read_line(&mut line).context("read the target from stdin")?;
    } else {
        line = std::fs::read_to_string(&options.target)
            .with_context(|| format!("read {}", options.target.display()))?;
    }
    let target: Target =
        serde_json::from_str(&line).context("the target is no line of `firmware-sim load --json`")?;
    // Every connection: its address and its unit ids.
    let mut jobs: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
    for (n, address) in target.addresses.iter().enumerate() {
        let units = target.devices.saturating_sub(n as u32 * target.units).min(target.units) as u8;
        if options.connection_per_device {
            jobs.extend((1..=units).map(|unit| (*address, vec![unit])));
        } else {
            jobs.push((*address, (1..=units).collect()));
        }
    }
    let counts = Arc::new(Counts::default());
    let connections = jobs.len();
    // Everybody connects before the first is read; then they begin one after the other within a period.
    let barrier = Arc::new(tokio::sync::Barrier::new(connections + 1));
    let (start, started) = tokio::sync::watch::channel(None);
    let mut tasks = JoinSet::new();
    for (n, (address, units)) in jobs.into_iter().enumerate() {
        let offset = options.every.mul_f64(n as f64 / connections as f64);
        let job = Job {
            address,
            units,
            points: target.points,
            offset,
            every: options.every,
            timeout: options.timeout,
        };
        tasks.spawn(job.run(Arc::clone(&counts), Arc::clone(&barrier), started.clone(), options.duration));
    }
    barrier.wait().await;
    let begin = Instant::now();
    start.send_replace(Some(begin));
    while let Some(ended) = tasks.join_next().await {
        ended.context("a reader panicked")?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    let reads = counts.reads.load(Ordering::Relaxed);
    let told = serde_json::json!({
        "devices": target.devices,
        "points": target.points,
        "connections": connections,
        "every_ms": options.every.as_millis() as u64,
        "seconds": seconds,
        "reads": reads,
        "rate": reads as f64 / options.duration.as_secs_f64(),
        "wanted": f64::from(target.devices) / options.every.as_secs_f64(),
        "errors": counts.errors.load(Ordering::Relaxed),
        "late_rounds": counts.late.load(Ordering::Relaxed),
        "p50_us": counts.latencies.within_us(0.5),
        "p99_us": counts.latencies.within_us(0.99),
        "max_us": counts.latencies.max_us(),
    });
    writeln!(std::io::stdout(), "{told}").context("write to stdout")
}

struct Job {
    address: SocketAddr,
    units: Vec<u8>,
    points: u16,
    offset: Duration,
    every: Duration,
    timeout: Duration,
}

impl Job {
    async fn run(
        self,
        counts: Arc<Counts>,
        barrier: Arc<tokio::sync::Barrier>,
        mut started: tokio::sync::watch::Receiver<Option<Instant>>,
        duration: Duration,
    ) {
        let mut stream = TcpStream::connect(self.address).await.ok();
        barrier.wait().await;
        let begin = match started.wait_for(Option::is_some).await {
            Ok(begin) => begin.unwrap_or_else(Instant::now),
            Err(_) => return,
        };
        let end = begin + duration;
        let mut rounds = tokio::time::interval_at(begin + self.offset, self.every);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut transaction = 0_u16;
        loop {
            let due = match timeout_at(end, rounds.tick()).await {
                Ok(due) if due < end => due,
                Ok(_) | Err(_) => return,
            };
            if due.elapsed() >= self.every {
                counts.late.fetch_add(1, Ordering::Relaxed);
            }
            for unit in &self.units {
                transaction = transaction.wrapping_add(1);
                let read = timeout(self.timeout, self.read(&mut stream, *unit, transaction)).await;
                if let Ok(Ok(latency)) = read {
                    counts.reads.fetch_add(1, Ordering::Relaxed);
                    counts.latencies.add(latency);
                } else {
                    counts.errors.fetch_add(1, Ordering::Relaxed);
                    stream = None;
                }
            }
            if Instant::now() >= end {
                sleep_until(end).await;
                return;
            }
        }
    }

    /// Reads all registers of a device in as few requests as there can be.
    async fn read(
        &self,
        stream: &mut Option<TcpStream>,
        unit: u8,
        transaction: u16,
    ) -> anyhow::Result<Duration> {
        if stream.is_none() {
            *stream = Some(TcpStream::connect(self.address).await?);
        }
        let stream = stream.as_mut().context("just connected")?;
        let begin = Instant::now();
        let mut first = 0;
        while first < self.points {
            let count = (self.points - first).min(REGISTERS_MAX);
            let [t1, t2] = transaction.to_be_bytes();
            let ([f1, f2], [c1, c2]) = (first.to_be_bytes(), count.to_be_bytes());
            stream.write_all(&[t1, t2, 0, 0, 0, 6, unit, 4, f1, f2, c1, c2]).await?;
            let mut head = [0; 9];
            stream.read_exact(&mut head).await?;
            let length = usize::from(count) * 2;
            anyhow::ensure!(
                head[..4] == [t1, t2, 0, 0] && head[6..9] == [unit, 4, length as u8],
                "another answer than asked for: {head:?}"
            );
            let mut words = [0; 2 * REGISTERS_MAX as usize];
            stream.read_exact(&mut words[..length]).await?;
            first += count;
        }
        Ok(begin.elapsed())
    }
}
