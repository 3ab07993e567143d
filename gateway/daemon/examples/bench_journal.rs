//! What `cargo xtask bench journal` runs: readings made durable per second, bytes per reading, a gigabyte reopened.
//!
//! One JSON line per measurement on stdout. Journals lie under the folder given and are removed at the end.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring program: its lines are its purpose"
)]

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use gateway_journal::{Class, Journal, Limits};
use gateway_model::{EngineTime, Epoch, Input, PointCounts, PointIx, Quality, Raw, Reading, Seq};
use gateway_wire::{Body, Header, InputsBody, SigningKey, hash, seal};
use serde_json::json;

/// As long as the page cache needs to stop flattering.
const RECORDS: u64 = 2_000;
const GIB: u64 = 1 << 30;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [reopen, dir] if reopen == "--reopen" => reopened(Path::new(dir)),
        [dir] => {
            let dir = Path::new(dir);
            for readings in [1_000, 100, 12] {
                sizes(readings);
            }
            durable(&dir.join("durable"));
            gigabyte(&dir.join("gigabyte"));
        }
        _ => panic!("usage: bench_journal DIR"),
    }
}

/// A record of twenty points read every ten seconds, each a little different from the time before.
fn record(key: &SigningKey, n: u64, readings: usize, prev: [u8; 32]) -> Vec<u8> {
    const POINTS: usize = 20;
    let begin = 1_795_305_600_000 + n as i64 * 500_000;
    let items = (0..readings).map(|i| {
        let (point, round) = (i % POINTS, (i / POINTS) as i64 + n as i64 * 50);
        // A slow wave with a digit of noise, as a thermometer gives.
        let wave = 250.0 + (round as f64 / 40.0 + point as f64).sin() * 60.0;
        let noise = (round * 7919 + point as i64 * 104_729) % 3 - 1;
        let at = EngineTime(begin + (i / POINTS) as i64 * 10_000 + (point / 5) as i64 * 40);
        let value = Quality::Good(Raw::Int(wave as i64 + noise));
        Input::Reading(Reading { point: PointIx::of(point), at, value })
    });
    let due = (readings / POINTS).max(1) as u32;
    let counts = (0..POINTS.min(readings)).map(|point| PointCounts {
        point: PointIx::of(point),
        due,
        answered: due,
        ..PointCounts::default()
    });
    let body = Body::Inputs(InputsBody { items: items.collect(), counts: counts.collect() });
    let header = Header {
        gateway: key.gateway_id(),
        epoch: Epoch(1),
        seq: Seq(n),
        prev,
        config: Seq(1),
        t0: EngineTime(begin),
        t1: EngineTime(begin + 500_000),
    };
    seal(key, &header, &body)
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn sizes(readings: usize) {
    let bytes: usize = (1..=20).map(|n| record(&key(), n, readings, [9; 32]).len()).sum();
    let per_record = bytes as f64 / 20.0;
    println!(
        "{}",
        json!({"readings_a_record": readings, "bytes_a_record": per_record, "bytes_a_reading": per_record / readings as f64})
    );
}

/// Sealed, signed, chained, synced: one record of a thousand readings after the other.
fn durable(dir: &Path) {
    let key = key();
    let (mut journal, _) = Journal::open(dir, Limits::default()).unwrap();
    journal.begin_epoch().unwrap();
    let mut prev = [0; 32];
    let begun = Instant::now();
    let mut sealing = 0.0;
    for n in 0..RECORDS {
        let sealed = Instant::now();
        let bytes = record(&key, n, 1_000, prev);
        prev = hash(&bytes);
        sealing += sealed.elapsed().as_secs_f64();
        journal.append(Class::Ring, &bytes).unwrap();
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({
            "durable_readings_a_second": RECORDS as f64 * 1_000.0 / seconds,
            "ms_a_record": seconds * 1_000.0 / RECORDS as f64,
            "of_it_making_and_sealing_ms": sealing * 1_000.0 / RECORDS as f64,
            "disk_bytes": journal.bytes().0,
        })
    );
    drop(journal);
    std::fs::remove_dir_all(dir).unwrap();
}

/// A full ring of a gigabyte, opened by a process of its own.
fn gigabyte(dir: &Path) {
    let limits = Limits { ring_bytes: GIB, ..Limits::default() };
    let (mut journal, _) = Journal::open(dir, limits).unwrap();
    journal.begin_epoch().unwrap();
    let bytes = record(&key(), 1, 1_000, [9; 32]);
    let batch: Vec<_> = (0..500).map(|_| (Class::Ring, bytes.as_slice())).collect();
    while journal.must_evict().is_none() {
        journal.append_all(&batch).unwrap();
    }
    let (records, ring) = (journal.last().unwrap().seq + 1, journal.bytes().0);
    drop(journal);
    let own = std::env::current_exe().unwrap();
    for _ in 0..3 {
        let output = Command::new(&own).arg("--reopen").arg(dir).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        line["ring_bytes"] = ring.into();
        line["records"] = records.into();
        println!("{line}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}

fn reopened(dir: &Path) {
    let before = resident_kib();
    let begun = Instant::now();
    let (mut journal, _) = Journal::open(dir, Limits { ring_bytes: GIB, ..Limits::default() }).unwrap();
    journal.begin_epoch().unwrap();
    let ms = begun.elapsed().as_secs_f64() * 1_000.0;
    println!(
        "{}",
        json!({"reopened_ms": ms, "resident_kib_more": resident_kib() - before, "peak_kib": peak_kib()})
    );
}

fn resident_kib() -> i64 {
    status("VmRSS:")
}

fn peak_kib() -> i64 {
    status("VmHWM:")
}

fn status(name: &str) -> i64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
