//! Devices that publish measurements of several fields to a broker, at a stated rate and no faster, with QoS 1.
//!
//! Every field of every message differs from the one before it. The first field is what a rule "above 40 for 5 s" watches:
//! *flickering* devices are above it for 4 s of every 5 s, by the time that stands in the message, and must never raise
//! it (they are below it for the last 5 s); *warm* devices go above it after a third of the time and stay, and must raise it once. All others stay below.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use bench::mqtt::Publisher;
use bench::span;
use clap::Parser;

/// Messages are sent in bursts at this distance.
const TICK: Duration = Duration::from_millis(5);

/// Publishes, and prints what the broker acknowledged as JSON.
#[derive(Parser)]
struct Options {
    /// The broker: 127.0.0.1:1883
    broker: SocketAddr,
    /// Devices; each has the topic `in/dN`.
    #[arg(long, default_value_t = 100)]
    devices: u64,
    /// Fields of each message.
    #[arg(long, default_value_t = 5)]
    fields: u64,
    /// Messages a second, of all devices together.
    #[arg(long, default_value_t = 8_000)]
    rate: u64,
    /// How many devices flicker.
    #[arg(long, default_value_t = 20)]
    flickering: u64,
    /// How many devices, behind those, become warm.
    #[arg(long, default_value_t = 10)]
    warm: u64,
    /// How long.
    #[arg(long = "for", default_value = "30s", value_parser = span)]
    lasting: Duration,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-mqtt: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    let mut publisher = Publisher::connect(options.broker, &format!("bench-{}", std::process::id()))?;
    let begin = Instant::now();
    let mut sent = 0_u64;
    let mut payload = Vec::with_capacity(256);
    loop {
        let passed = begin.elapsed();
        if passed >= options.lasting {
            break;
        }
        let due = (passed.as_secs_f64() * options.rate as f64) as u64;
        while sent < due && begin.elapsed() < options.lasting {
            let device = sent % options.devices;
            let round = sent / options.devices;
            message(options, device, round, begin.elapsed(), &mut payload)?;
            publisher.publish(&format!("in/d{device}"), &payload)?;
            sent += 1;
        }
        publisher.flush()?;
        std::thread::sleep(TICK.saturating_sub(begin.elapsed().saturating_sub(passed)));
    }
    let seconds = begin.elapsed().as_secs_f64();
    let in_time = publisher.acknowledged();
    let acknowledged = publisher.settle()?;
    let told = serde_json::json!({
        "seconds": seconds,
        "sent": sent,
        "acknowledged_in_time": in_time,
        "acknowledged": acknowledged,
        "rate": in_time as f64 / seconds,
    });
    writeln!(std::io::stdout(), "{told}").context("write to stdout")
}

/// `{"t": ms since 1970, "p1": …}`
fn message(
    options: &Options,
    device: u64,
    round: u64,
    passed: Duration,
    payload: &mut Vec<u8>,
) -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    let flickers = device < options.flickering;
    let warm = !flickers && device < options.flickering + options.warm;
    // What is above the limit when nobody publishes any more stays above it: that would be a true alert.
    let ends = passed + Duration::from_secs(5) > options.lasting;
    let above = if flickers { now % 5_000 < 4_000 && !ends } else { warm && passed > options.lasting / 3 };
    payload.clear();
    write!(payload, "{{\"t\":{now}")?;
    for field in 1..=options.fields {
        let base = if field == 1 && above { 50 } else { 20 };
        write!(payload, ",\"p{field}\":{}.{}", base + (round / 10) % 5, (round + field) % 10)?;
    }
    payload.push(b'}');
    Ok(())
}
