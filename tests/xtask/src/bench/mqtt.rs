//! `cargo xtask bench mqtt`: messages of five fields into the gateway, a rule "above 40 for 5 s" on the first field of each
//! device, and everything forwarded by a sink to one broker; for each rate a gateway of its own with an empty journal.
//!
//! Some devices are above the limit for 4 s of every 5 s, by the time in their messages: an alert of theirs is a false one.
//! Some stay above it: an alert of theirs must come. What was published must be found again: as readings that intake was
//! offered, as readings that the gateway says it lost, and behind the sink.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::broker::{Listener, Mosquitto};
use super::programs::{build_programs, fresh_folder, json_of, mib, program};
use super::scrape::{Passed, Scrape};
use super::site::{Plan, Source};
use crate::demo::child::Child;
use crate::ground::Ground;

const DEVICES: u32 = 100;
const FIELDS: u16 = 5;
const FLICKERING: u32 = 20;
const WARM: u32 = 10;
/// A sink that has not delivered everything so long after the last message is told as behind.
const DRAINED_WITHIN: Duration = Duration::from_mins(1);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// These sites seal every 5 s: what has not moved for longer is at its end.
const STILL: Duration = Duration::from_secs(7);

#[derive(Debug, clap::Args)]
pub(crate) struct Mqtt {
    /// Messages a second, one run each.
    #[arg(long, value_delimiter = ',', default_values_t = [4_000, 8_000, 12_000, 16_000, 24_000])]
    rates: Vec<u64>,
    /// How long each.
    #[arg(long = "for", default_value_t = 30)]
    seconds: u64,
    /// A message a reading from the sink, instead of one a device and moment.
    #[arg(long)]
    per_reading: bool,
}

/// Measures.
pub(crate) fn run(options: &Mqtt) -> Result<()> {
    let ground = &Ground::find()?;
    let folder = &fresh_folder(ground)?;
    build_programs(ground, &["gateway", "bench-listen", "bench-mqtt"])?;
    print("", &HEADINGS.map(String::from));
    for external in [false, true] {
        for (n, rate) in options.rates.iter().enumerate() {
            let folder = folder.join(format!("{external}-{n}"));
            std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
            measure(ground, &folder, options, *rate, external)?;
        }
    }
    Ok(())
}

const HEADINGS: [&str; 11] = [
    "wanted/s",
    "taken/s",
    "readings",
    "CPU s/M",
    "memory",
    "told lost",
    "untold",
    "not out",
    "out after",
    "false",
    "missing",
];

fn measure(
    ground: &Ground,
    folder: &std::path::Path,
    options: &Mqtt,
    rate: u64,
    external: bool,
) -> Result<()> {
    let mut out = Mosquitto::start(folder)?;
    let into = external.then(|| Mosquitto::start(&folder.join("in"))).transpose()?;
    let plan = Plan {
        devices: DEVICES,
        points: FIELDS,
        rules: 1,
        limit: 40.0,
        source: Source::Mqtt { external: into.as_ref().map(|into| into.address.as_str()) },
        sink: Some((&out.address, !options.per_reading)),
    };
    let site = plan.write(folder)?;
    let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let arguments = ["run".to_owned(), text(site), "--data".to_owned(), text(folder.join("data"))];
    let mut gateway = Child::start("gateway", &program(ground, "gateway"), &arguments, folder)?;
    let up = gateway.up()?;
    let address = match &into {
        Some(into) => into.address.clone(),
        None => up["mqtt"].as_str().context("the gateway says where its broker is")?.to_owned(),
    };
    let listener = Listener::start(ground, &out.address, "nonsite/#")?;
    let deadline = Instant::now() + DRAINED_WITHIN;
    let mut before = Scrape::take(&mut gateway, &up)?;
    while before.sum("mqtt_payloads_total", "outcome=\"subscribed\"") == 0 {
        anyhow::ensure!(Instant::now() < deadline, "the gateway has not subscribed to {address}");
        std::thread::sleep(LOOK_EVERY);
        before = Scrape::take(&mut gateway, &up)?;
    }
    let told = json_of(
        Command::new(program(ground, "bench-mqtt"))
            .args([&address, &format!("--rate={rate}"), &format!("--for={}s", options.seconds)])
            .args([format!("--devices={DEVICES}"), format!("--fields={FIELDS}")])
            .args([format!("--flickering={FLICKERING}"), format!("--warm={WARM}")]),
    )?;
    let (after, took) = drained(&mut gateway, &up)?;
    let heard = listener.told()?;
    out.check()?;
    let passed = Passed::between(&before, &after);
    row(&told, &heard, &passed, gateway.resident_max_kib(), took, (rate, external))
}

/// Waits until nothing moves any more; how it was then, and how long the last movement came after the call.
fn drained(gateway: &mut Child, up: &Value) -> Result<(Scrape, Duration)> {
    let begin = Instant::now();
    let mut moved = (Duration::ZERO, (0, 0));
    loop {
        let scrape = Scrape::take(gateway, up)?;
        let figures = (scrape.sum("readings_total", ""), scrape.sum("sink_total", "outcome=\"delivered\""));
        if figures != moved.1 {
            moved = (begin.elapsed(), figures);
        }
        if begin.elapsed() > moved.0 + STILL || begin.elapsed() > DRAINED_WITHIN {
            return Ok((scrape, moved.0));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn row(
    published: &Value,
    heard: &Value,
    passed: &Passed<'_>,
    memory: Option<u64>,
    drained: Duration,
    (rate, external): (u64, bool),
) -> Result<()> {
    let count =
        |value: &Value, key: &str| value[key].as_i64().with_context(|| format!("a program says {key}"));
    let fields = i64::from(FIELDS);
    let taken = passed.sum("readings_total", "") as i64;
    let lost = passed.sum("mqtt_payloads_total", "outcome=\"overrun\"") as i64 * fields;
    let untold = count(published, "acknowledged")? * fields - taken - lost;
    let raised: std::collections::BTreeMap<String, i64> = serde_json::from_value(heard["raised"].clone())?;
    // PREFIX/SITE/alert/DEVICE/PACK/RULE
    let of = |topic: &str| topic.split('/').nth(3)?.strip_prefix('d')?.parse::<u32>().ok();
    let by = |devices: std::ops::Range<u32>| {
        let theirs = raised.iter().filter(move |(topic, _)| of(topic).is_some_and(|n| devices.contains(&n)));
        theirs.map(|(_, times)| *times).collect::<Vec<_>>()
    };
    let warm = by(FLICKERING..FLICKERING + WARM).len();
    let wrong: i64 = raised.values().sum::<i64>() - warm as i64;
    let figures = [
        rate.to_string(),
        format!("{:.0}", published["rate"].as_f64().unwrap_or(f64::NAN)),
        taken.to_string(),
        format!("{:.2}", passed.cpu_s() / taken as f64 * 1e6),
        mib(memory),
        lost.to_string(),
        untold.to_string(),
        (taken - count(heard, "readings")?).to_string(),
        format!("{:.1} s", drained.as_secs_f64()),
        wrong.to_string(),
        (i64::from(WARM) - warm as i64).to_string(),
    ];
    print(if external { "mosquitto" } else { "embedded" }, &figures);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is the data this command is for")]
fn print(broker: &str, figures: &[String]) {
    let figures: Vec<String> = figures.iter().map(|figure| format!("{figure:>10}")).collect();
    println!("{broker:<10}{}", figures.join(""));
}
