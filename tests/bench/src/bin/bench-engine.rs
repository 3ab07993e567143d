//! The engine alone, on one core: how fast it judges, what rules cost in memory, a clinic's month, and whether a reading costs
//! the same at every size of site.
//!
//! One engine in one thread, fed from memory; nothing is journaled or sent. Seconds are those of the thread's own clock of
//! work, so a busy machine slows it less than it seems; what can be a ratio of two figures of this run is one.

use std::io::{Read as _, Write as _};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use bench::engine::{DAY, EVERY_MS, beginning, clinic, days, hour, limits, probes, reading};
use clap::Parser;
use gateway_engine::Engine;
use gateway_model::{Change, Conclusion, ConclusionBody, Input, Plan};
use serde_json::{Value, json};

/// Points and days of the month.
const POINTS: usize = 100;
const DAYS: usize = 30;
/// Sizes of sites whose readings are compared; limits at each point.
const SIZES: [usize; 4] = [10, 100, 1_000, 10_000];
const LIMITS: usize = 8;
/// Readings measured at each size.
const READINGS: usize = 2_000_000;
/// Sizes of sites of mixed instruments; readings measured, at least.
const MIXED: [usize; 3] = [100, 1_000, 10_000];
const MIXED_READINGS: usize = 1_000_000;
/// Devices on the one bus of sites whose start is compared.
const STARTS: [usize; 3] = [100, 1_000, 10_000];
/// Devices started at each size, in as many starts as that takes.
const STARTED: usize = 100_000;

/// Measures the engine.
#[derive(Parser)]
struct Options {
    /// As one JSON object.
    #[arg(long)]
    json: bool,
    /// Reads a plan from standard input and says what it and its engine cost in memory.
    #[arg(long, hide = true)]
    weigh: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = if options.weigh { weigh() } else { measure(options.json) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-engine: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(as_json: bool) -> anyhow::Result<()> {
    let sizes = SIZES.map(size);
    let sizes = sizes.into_iter().collect::<anyhow::Result<Vec<(usize, f64)>>>()?;
    let per_reading: Vec<Value> = sizes
        .iter()
        .map(|(points, ns)| json!({"points": points, "ns": ns, "of_smallest": ns / sizes[0].1}))
        .collect();
    let mixed = MIXED.map(mixed).into_iter().collect::<anyhow::Result<Vec<(usize, f64)>>>()?;
    let mixed_readings: Vec<Value> = mixed
        .iter()
        .map(|(points, ns)| json!({"points": points, "ns": ns, "of_smallest": ns / mixed[0].1}))
        .collect();
    let starts = STARTS.map(start).into_iter().collect::<anyhow::Result<Vec<(usize, f64)>>>()?;
    let per_device: Vec<Value> =
        starts.iter().map(|(devices, ns)| json!({"devices": devices, "ns": ns})).collect();
    // The middle one: what a gateway really has.
    let evaluations = LIMITS as f64 * 1e9 / sizes[1].1;
    let memory = weighed(&limits(1_000, LIMITS)?)?;
    let month = month()?;
    let told = json!({
        "evaluations_per_s": evaluations,
        "rules_8000_bytes": memory,
        "month": month,
        "per_reading": per_reading,
        "per_mixed_reading": mixed_readings,
        "start_per_device": per_device,
    });
    let mut out = std::io::stdout().lock();
    if as_json {
        writeln!(out, "{told}")?;
        return Ok(());
    }
    let mib = |bytes: &Value| format!("{:.1} MiB", bytes.as_f64().unwrap_or(f64::NAN) / 1_048_576.0);
    writeln!(out, "rule evaluations a second, one core   {:.2} M (goal 1 M)", evaluations / 1e6)?;
    writeln!(out, "8,000 rules in memory                 {} (goal 40 MB)", mib(&told["rules_8000_bytes"]))?;
    writeln!(
        out,
        "a clinic's month                      {:.1} M readings in {:.2} s (goal 10 s), {:.0} ns each, {} rules, {} raised",
        month["readings"].as_f64().unwrap_or(f64::NAN) / 1e6,
        month["seconds"].as_f64().unwrap_or(f64::NAN),
        month["ns_per_reading"].as_f64().unwrap_or(f64::NAN),
        month["rules"],
        month["raised"],
    )?;
    writeln!(
        out,
        "memory over the month                 {} after a day, {} after {DAYS}",
        mib(&month["resident_first"]),
        mib(&month["resident_last"])
    )?;
    for (points, ns) in &sizes {
        writeln!(
            out,
            "{points:>6} points, {LIMITS} limits each           {ns:.0} ns a reading, {:.2} of the smallest",
            ns / sizes[0].1
        )?;
    }
    for (points, ns) in &mixed {
        writeln!(
            out,
            "{points:>6} points of a clinic               {ns:.0} ns a reading, {:.2} of the smallest",
            ns / mixed[0].1
        )?;
    }
    for (devices, ns) in &starts {
        writeln!(out, "{devices:>6} devices on a bus, start          {:.1} µs a device", ns / 1e3)?;
    }
    Ok(())
}

/// Nanoseconds of a reading that has every limit of its point judged.
fn size(points: usize) -> anyhow::Result<(usize, f64)> {
    let mut engine = Engine::new(limits(points, LIMITS)?);
    let mut out = Vec::new();
    for input in beginning() {
        engine.step(&input, &mut out);
    }
    // Moves at each reading, below every limit.
    let feed = |engine: &mut Engine, rounds: std::ops::Range<usize>, out: &mut Vec<Conclusion>| {
        for round in rounds {
            for point in 0..points {
                let at = round as i64 * EVERY_MS + (point as i64 * EVERY_MS) / points as i64;
                engine.step(&reading(point, at, 200 + (round % 50) as i64), out);
            }
        }
    };
    let rounds = READINGS / points;
    feed(&mut engine, 0..2, &mut out);
    let begun = spent()?;
    feed(&mut engine, 2..rounds + 2, &mut out);
    let took = spent()?.saturating_sub(begun);
    anyhow::ensure!(out.is_empty(), "nothing was to be concluded, but {} things were", out.len());
    Ok((points, took.as_nanos() as f64 / (rounds * points) as f64))
}

/// Nanoseconds of a reading in an open hour of a site made of a clinic's instruments, again and again.
fn mixed(points: usize) -> anyhow::Result<(usize, f64)> {
    let plan = clinic(points)?;
    let points = plan.points.len();
    let said = hour(&plan);
    let mut engine = Engine::new(plan);
    let mut out = Vec::new();
    for input in beginning() {
        engine.step(&input, &mut out);
    }
    let mut feed = |rounds: std::ops::Range<usize>| {
        let rows = said.chunks_exact(points).cycle();
        for (round, row) in rounds.zip(rows) {
            for (point, raw) in row.iter().enumerate() {
                let at = round as i64 * EVERY_MS + (point as i64 * EVERY_MS) / points as i64;
                engine.step(&reading(point, at, i64::from(*raw)), &mut out);
            }
            out.clear();
        }
    };
    // Whole hours at every size, and one before: what is raised in it is raised.
    let steps = said.len() / points;
    let rounds = steps * (MIXED_READINGS / said.len()).max(1);
    feed(0..steps);
    let begun = spent()?;
    feed(steps..steps + rounds);
    let took = spent()?.saturating_sub(begun);
    Ok((points, took.as_nanos() as f64 / (rounds * points) as f64))
}

/// Nanoseconds per device, with a copy of its plan, until each of so many on one bus has said its first word.
fn start(devices: usize) -> anyhow::Result<(usize, f64)> {
    let plan = probes(devices)?;
    let rounds = STARTED / devices;
    let begun = spent()?;
    for _ in 0..rounds {
        let mut engine = Engine::new(plan.clone());
        let mut out = Vec::new();
        for input in beginning() {
            engine.step(&input, &mut out);
        }
        for device in 0..devices {
            engine.step(&reading(device, 1, 200), &mut out);
        }
    }
    let took = spent()?.saturating_sub(begun);
    Ok((devices, took.as_nanos() as f64 / (rounds * devices) as f64))
}

/// A month of a clinic.
fn month() -> anyhow::Result<Value> {
    let plan = clinic(POINTS)?;
    let (points, rules) = (plan.points.len(), plan.rules.len());
    let days = days(&plan);
    let mut engine = Engine::new(plan);
    let mut out = Vec::new();
    for input in beginning() {
        engine.step(&input, &mut out);
    }
    let (mut raised, mut conclusions) = (0, 0_usize);
    let mut count = |out: &mut Vec<Conclusion>| {
        conclusions += out.len();
        raised += out.drain(..).filter(is_raised).count();
    };
    let mut resident = Vec::new();
    let begun = spent()?;
    for day in 0..DAYS {
        let said = &days[usize::from(day % 7 == 6)];
        for (step, row) in said.chunks_exact(points).enumerate() {
            let at = (day * DAY + step) as i64 * EVERY_MS;
            for (point, raw) in row.iter().enumerate() {
                engine.step(&reading(point, at, i64::from(*raw)), &mut out);
            }
            count(&mut out);
        }
        engine
            .step(&Input::Advance(gateway_model::EngineTime(((day + 1) * DAY) as i64 * EVERY_MS)), &mut out);
        resident.push(resident_bytes()?);
    }
    let took = spent()?.saturating_sub(begun);
    count(&mut out);
    let readings = points * DAY * DAYS;
    Ok(json!({
        "points": points,
        "rules": rules,
        "readings": readings,
        "seconds": took.as_secs_f64(),
        "ns_per_reading": took.as_nanos() as f64 / readings as f64,
        "conclusions": conclusions,
        "raised": raised,
        "resident_first": resident.first(),
        "resident_last": resident.last(),
    }))
}

fn is_raised(conclusion: &Conclusion) -> bool {
    matches!(&conclusion.body, ConclusionBody::Alert(change) if change.change == Change::Raised)
}

/// What a plan and its engine cost in memory, in a process of its own.
fn weighed(plan: &Plan) -> anyhow::Result<u64> {
    let this = std::env::current_exe().context("find this program")?;
    let mut child = Command::new(this)
        .arg("--weigh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start this program again")?;
    child.stdin.take().context("its input")?.write_all(&minicbor::to_vec(plan).context("encode a plan")?)?;
    let output = child.wait_with_output()?;
    anyhow::ensure!(output.status.success(), "weighing ended with {}", output.status);
    String::from_utf8(output.stdout)?.trim().parse().context("read what was weighed")
}

fn weigh() -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    let before = resident_bytes()?;
    let plan: Plan = minicbor::decode(&bytes).context("decode the plan")?;
    let points = plan.points.len();
    let mut engine = Engine::new(plan);
    let mut out = Vec::new();
    // Every alert raised, every timer set: as heavy as it gets.
    for input in beginning() {
        engine.step(&input, &mut out);
    }
    for round in 0..60 {
        for point in 0..points {
            engine.step(&reading(point, round * EVERY_MS, 2_000), &mut out);
        }
        out.clear();
    }
    let after = resident_bytes()?;
    writeln!(std::io::stdout().lock(), "{}", after.saturating_sub(before))?;
    Ok(())
}

/// Of this process, now.
fn resident_bytes() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS")?;
    Ok(kib * 1024)
}

/// Time this thread has been at work, as the kernel counts it (nanoseconds).
fn spent() -> anyhow::Result<Duration> {
    let text =
        std::fs::read_to_string("/proc/thread-self/schedstat").context("read /proc/thread-self/schedstat")?;
    let ns = text.split_whitespace().next().and_then(|ns| ns.parse().ok()).context("schedstat")?;
    Ok(Duration::from_nanos(ns))
}
