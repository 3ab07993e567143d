//! Real serial lines: pseudo-terminals, opened as a port would be.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use gateway::bus::Bus;
use gateway::clock::{Clock, Wall};
use gateway::config;
use gateway::metrics::Metrics;
use gateway_engine::intake::Answer;
use gateway_model::{EngineTime, Raw};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::guard::rtu;

/// The instrument's end of a line, and the path of the gateway's.
fn line() -> (File, String) {
    let ours: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let path = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    (File::from(ours), path)
}

fn site(path: &str, bus: &str, read: &str) -> config::Site {
    let text = format!(
        "[site]\nid = \"serial\"\ninstitution = \"923301000000000193\"\nname = {{ zh = \"串口\", en = \"Serial\" }}\n[[bus]]\nname = \
         \"line\"\naddress = \"{path}\"\n{bus}\n[[device]]\nid = \"one\"\nkind = \"sensor\"\nname = {{ zh = \"一\", en = \"One\" \
         }}\n[[device.read]]\nbus = \"line\"\n{read}\n"
    );
    config::load_str("site.toml", &text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// Answers each request like an XY-MD02 of 30.5 °C, with the bytes taking as long as `baud` says.
fn sensor(mut end: File, baud: u64, registers: u16) {
    std::thread::spawn(move || {
        let mut request = [0; 8];
        // Ends with an error when the gateway's end is closed.
        while end.read_exact(&mut request).is_ok() {
            let count = u16::from_be_bytes([request[4], request[5]]).min(registers);
            let mut body = vec![request[0], request[1], (count * 2) as u8];
            body.extend((0..count).flat_map(|_| 305_u16.to_be_bytes()));
            let answer = rtu(&body);
            // Ten bits a character, and 3.5 characters (1.75 ms from 19,200 baud on) before the device may answer.
            let silence = if baud >= 19_200 { 1_750 } else { 35_000_000 / baud };
            let micros = (8 + answer.len() as u64) * 10_000_000 / baud + silence;
            let until = Instant::now() + Duration::from_micros(micros);
            std::thread::sleep(until.saturating_duration_since(Instant::now()));
            if end.write_all(&answer).is_err() {
                return;
            }
        }
    });
}

async fn once(site: &config::Site) -> Vec<Answer> {
    let clock = Clock::start(Wall::system(), EngineTime(0));
    let all = Bus::of(site, 0, 1.0, Metrics::default(), None).once(&clock).await;
    all.into_iter()
        .flat_map(|(answers, error)| {
            assert!(error.is_none(), "{error:?}");
            answers.items
        })
        .map(|(_, answer)| answer)
        .collect()
}

#[tokio::test]
async fn a_sensor_on_a_serial_port_is_read() {
    for (settings, baud) in [
        ("transport = \"rtu\"\nbaud = 9600", 9_600),
        ("transport = \"rtu\"\nbaud = 115200\nparity = \"even\"\nstop_bits = 2\ngap = \"2 ms\"", 115_200),
    ] {
        let (end, path) = line();
        sensor(end, baud, 125);
        let read = "unit = 1\nprofile = \"xy-md02\"\nmap = { temperature = \"temperature\", humidity = \"humidity\" }";
        let site = site(&path, settings, read);
        assert_eq!(once(&site).await, [Answer::Raw(Raw::Int(305)); 2]);
    }
}

#[tokio::test]
async fn a_port_has_one_owner() {
    use gateway::bus::dial::{Dial as _, Serial};
    let (_end, path) = line();
    let site = site(
        &path,
        "transport = \"rtu\"",
        "unit = 1\nprofile = \"xy-md02\"\nmap = { temperature = \"temperature\" }",
    );
    let settings = site.buses[0].line.unwrap();
    let held = Serial(settings).dial(&path).await.unwrap();
    let refused = Serial(settings).dial(&path).await.unwrap_err();
    assert!(
        refused.to_string().contains("another process holds this port") || refused.raw_os_error().is_some()
    );
    drop(held);
    assert!(Serial(settings).dial(&path).await.is_ok(), "let go, it is free");
}

#[tokio::test]
async fn an_indicator_that_sends_by_itself_is_heard() {
    let (mut end, path) = line();
    let site = site(
        &path,
        "transport = \"weighing\"\nbaud = 9600",
        "profile = \"yaohua-tf0\"\nmap = { weight = \"weight\", stable = \"stable\" }",
    );
    std::thread::spawn(move || {
        // +12.34 (domain C.5, our own vector), again and again, until the gateway's end is closed.
        while end.write_all(b"\x02+0012342\x31\x44\x03").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let answers = once(&site).await;
    assert_eq!(answers, [Answer::Raw(Raw::Dec { mantissa: 1234, exponent: -2 }), Answer::Raw(Raw::Int(1))]);
}

/// Registers a second on a paced line against what its bytes and silences allow. `cargo xtask bench line` runs it.
#[tokio::test]
#[ignore = "measures for a minute of real time: cargo xtask bench line"]
async fn how_much_of_a_line_is_used() {
    const REGISTERS: u64 = 20;
    for baud in [9_600, 19_200] {
        let (end, path) = line();
        sensor(end, baud, 125);
        let mut site = site(
            &path,
            &format!("transport = \"rtu\"\nbaud = {baud}"),
            "unit = 1\nevery = \"100 ms\"\nprofile = \"mb8art\"\nmap = { one = \"channel-1\", two = \"channel-2\" }",
        );
        site.blocks[0].count = REGISTERS as u16;
        site.blocks[0].points[1].offset = REGISTERS as u16 - 1;
        site.blocks[0].every = Duration::from_millis(1);
        let one = site.blocks[0].clone();
        site.blocks =
            (1..=10).map(|unit| config::BlockPlan { unit: config::UnitId(unit), ..one.clone() }).collect();
        let (doors, mut rooms) = gateway::recorder::doors(gateway::recorder::Civil::default());
        let stop = tokio_util::sync::CancellationToken::new();
        let metrics = Metrics::default();
        let bus = Bus::of(&site, 0, 1.0, metrics.clone(), None);
        let clock = Clock::start(Wall::system(), EngineTime(0));
        let polling = tokio::spawn(bus.run(clock, doors.inputs.clone(), stop.clone()));
        let eating = tokio::spawn(async move { while rooms.next_event().await.is_some() {} });
        let start = Instant::now();
        tokio::time::sleep(Duration::from_secs(30)).await;
        let done = metrics.bus_count("line", "ok");
        let seconds = start.elapsed().as_secs_f64();
        stop.cancel();
        polling.await.unwrap().unwrap();
        eating.abort();
        let silence = if baud >= 19_200 { 1_750 } else { 35_000_000 / baud };
        let micros = (8 + 5 + 2 * REGISTERS) * 10_000_000 / baud + 2 * silence;
        let ceiling = 1e6 / micros as f64;
        let share = done as f64 / seconds / ceiling;
        println!(
            "{baud} baud, {REGISTERS} registers a request: {:.2} requests/s of {ceiling:.2} possible, {:.1} %",
            done as f64 / seconds,
            share * 100.0
        );
        assert!(share >= 0.9, "{share}");
    }
}
