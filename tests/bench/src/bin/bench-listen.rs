//! Subscribes to everything at a broker, counts it, and says how old it was when it came.
//!
//! The age of a message is this machine's civil time less the `time` that stands in it, in whole milliseconds: both ends
//! run on one machine. A negative age counts as 0. Retained messages and messages without a time are counted apart.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use bench::Latencies;
use bench::mqtt::Subscriber;
use clap::Parser;

/// A day, ms.
const DAY_MS: i64 = 86_400_000;
/// How often the end is looked for while nothing comes.
const LOOK: Duration = Duration::from_millis(100);
/// What still comes so long after the end was asked for is not waited for.
const REST_MAX: Duration = Duration::from_secs(10);

/// Listens until its standard input ends and nothing comes any more, or ten seconds passed since; prints one line when it has subscribed, and its counts as JSON at the end.
#[derive(Parser)]
struct Options {
    /// The broker: 127.0.0.1:1883
    broker: SocketAddr,
    /// What to subscribe to.
    #[arg(long, default_value = "#")]
    filter: String,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-listen: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    let mut subscriber =
        Subscriber::connect(options.broker, &format!("listen-{}", std::process::id()), &options.filter)?;
    writeln!(std::io::stdout(), "{}", serde_json::json!({"listening": options.broker.to_string()}))?;
    let ended = Arc::new(OnceLock::new());
    let tell = Arc::clone(&ended);
    std::thread::spawn(move || {
        // An error is an end, too.
        std::io::stdin().read_to_end(&mut Vec::new()).ok();
        tell.get_or_init(Instant::now);
    });
    let ages = Latencies::default();
    let (mut messages, mut readings, mut undated) = (0_u64, 0_u64, 0_u64);
    let mut raised: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        // Between two packets only: a packet that has begun is read to its end. What is there already is counted first.
        let there = subscriber.waiting(LOOK)?;
        // A publisher that has fallen behind and goes on never leaves a pause.
        if ended.get().is_some_and(|then| !there || then.elapsed() > REST_MAX) {
            break;
        }
        if !there {
            continue;
        }
        let (topic, payload) = subscriber.receive().context("the broker ended the connection")?;
        messages += 1;
        if topic.contains("/alert/") {
            if contains(&payload, b"\"change\":\"raised\"") {
                *raised.entry(topic).or_default() += 1;
            }
            continue;
        }
        readings += values(&topic, &payload);
        match time_of_day(&payload) {
            Some(then) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
                let age = (now - then).rem_euclid(DAY_MS);
                let age = if age > DAY_MS / 2 { 0 } else { age };
                ages.add(Duration::from_millis(age as u64));
            }
            None => undated += 1,
        }
    }
    let told = serde_json::json!({
        "messages": messages,
        "readings": readings,
        "undated": undated,
        "raised": raised,
        "p50_us": ages.within_us(0.5),
        "p99_us": ages.within_us(0.99),
        "max_us": ages.max_us(),
    });
    writeln!(std::io::stdout(), "{told}").context("write to stdout")
}

/// How many readings a message of a gateway's MQTT sink holds (docs/sinks.md), points being called `p…`.
fn values(topic: &str, payload: &[u8]) -> u64 {
    const KEY: &[u8] = b"\"values\":{";
    if topic.contains("/reading/") {
        return 1;
    }
    let Some(at) = payload.windows(KEY.len()).position(|window| window == KEY) else { return 0 };
    let inside = &payload[at + KEY.len()..];
    let end = inside.iter().position(|byte| *byte == b'}').unwrap_or(inside.len());
    inside[..end].windows(2).filter(|pair| pair == b"\"p").count() as u64
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The time of day in ms of `"time":"2026-11-23T10:31:04.123Z"`.
fn time_of_day(payload: &[u8]) -> Option<i64> {
    const KEY: &[u8] = b"\"time\":\"";
    let at = payload.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let text = std::str::from_utf8(payload.get(at..at + 24)?).ok()?;
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let minutes = number(11..13)? * 60 + number(14..16)?;
    Some(minutes * 60_000 + number(17..19)? * 1_000 + number(20..23)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_stands_in_a_message() {
        let payload = br#"{"gateway":"ab","time":"2026-11-23T10:31:04.123Z","value":1}"#;
        assert_eq!(time_of_day(payload), Some(((10 * 60 + 31) * 60 + 4) * 1_000 + 123));
        assert_eq!(time_of_day(br#"{"time":null}"#), None);
    }

    #[test]
    fn the_readings_of_a_message_are_counted() {
        let many = br#"{"device":"d1","values":{"p1":1.5,"p20":null},"not_good":{"p20":{"quality":"bad"}}}"#;
        assert_eq!(values("nonsite/bench/readings/d1", many), 2);
        assert_eq!(values("nonsite/bench/reading/d1/p1", br#"{"value":1}"#), 1);
        assert_eq!(values("nonsite/bench/gateway", br#"{"state":"online"}"#), 0);
    }
}
