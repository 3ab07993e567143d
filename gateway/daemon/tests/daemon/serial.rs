//! Real serial lines: pseudo-terminals, opened as a port would be.

use std::fmt::Write as _;
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
fn sensor(end: File, baud: u64, registers: u16) {
    sensors(end, baud, registers, |_| true);
}

/// The same for every unit that is there when it is asked.
fn sensors(mut end: File, baud: u64, registers: u16, there: impl Fn(u8) -> bool + Send + 'static) {
    std::thread::spawn(move || {
        let mut request = [0; 8];
        // Ends with an error when the gateway's end is closed.
        while end.read_exact(&mut request).is_ok() {
            if !there(request[0]) {
                continue;
            }
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
        let first = &mut std::sync::Arc::make_mut(&mut site.blocks)[0];
        first.count = REGISTERS as u16;
        first.points[1].offset = REGISTERS as u16 - 1;
        first.every = Duration::from_millis(1);
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

/// Ten devices of twenty registers at 1 Hz on one line of 19,200 baud, for a minute; then one of them dies, and ten minutes
/// follow. What the gateway hears of each minute against what was due, at defaults. `cargo xtask bench line --dead` runs it.
#[tokio::test]
#[ignore = "measures for eleven minutes of real time: cargo xtask bench line --dead"]
async fn one_dead_device_of_ten() {
    const DEVICES: u64 = 10;
    const MINUTES: u64 = 11;
    let (end, path) = line();
    let begun = Instant::now();
    // The tenth dies after a minute and a half second, in the middle of a period.
    sensors(end, 19_200, 125, move |unit| unit != 10 || begun.elapsed() < Duration::from_millis(60_500));
    let map = (1..=8).map(|n| format!("p{n} = \"channel-{n}\"")).collect::<Vec<_>>().join(", ");
    let mut devices = String::new();
    for unit in 1..=DEVICES {
        write!(devices, "[[device]]\nid = \"d{unit}\"\nkind = \"sensor\"\nname = {{ zh = \"一\", en = \"One\" }}\n[[device.read]]\nbus = \
                 \"line\"\nunit = {unit}\nevery = \"1s\"\nprofile = \"mb8art\"\nmap = {{ {map} }}\n").unwrap();
    }
    let text = format!(
        "[site]\nid = \"serial\"\ninstitution = \"923301000000000193\"\nname = {{ zh = \"串口\", en = \"Serial\" }}\n[[bus]]\nname = \
         \"line\"\naddress = \"{path}\"\ntransport = \"rtu\"\nbaud = 19200\n{devices}"
    );
    let mut site = config::load_str("site.toml", &text).unwrap_or_else(|problems| panic!("{problems:?}"));
    // Twenty registers of each: the module has eight.
    for block in std::sync::Arc::make_mut(&mut site.blocks) {
        block.count = 20;
    }
    let unit_of = |point: gateway_model::PointIx| {
        let block = site.blocks.iter().find(|block| block.points.iter().any(|known| known.point == point));
        block.expect("every point is in a block").unit.0
    };
    let (doors, mut rooms) = gateway::recorder::doors(gateway::recorder::Civil::default());
    let stop = tokio_util::sync::CancellationToken::new();
    let bus = Bus::of(&site, 0, 1.0, Metrics::default(), None);
    let clock = Clock::start(Wall::system(), EngineTime(0));
    let polling = tokio::spawn(bus.run(clock, doors.inputs.clone(), stop.clone()));
    // Good answers of the nine that stay, and of the tenth, per minute.
    let mut heard = vec![[0_u64; 2]; MINUTES as usize];
    let over = tokio::time::sleep(Duration::from_secs(MINUTES * 60));
    tokio::pin!(over);
    loop {
        let event = tokio::select! {
            () = &mut over => break,
            event = rooms.next_event() => event.expect("the bus goes on"),
        };
        let gateway::recorder::Event::Answers(answers) = event else { continue };
        let Some((point, Answer::Raw(_))) = answers.items.first() else { continue };
        let minute = (begun.elapsed().as_secs() / 60) as usize;
        if let Some(heard) = heard.get_mut(minute) {
            heard[usize::from(unit_of(*point) == 10)] += 1;
        }
    }
    stop.cancel();
    polling.await.unwrap().unwrap();
    for (minute, [nine, tenth]) in heard.iter().enumerate() {
        println!(
            "minute {:>2}: {nine} of 540 answers of nine devices, {tenth} of 60 of the tenth",
            minute + 1
        );
    }
    let share = |answers: u64, due: u64| answers as f64 / due as f64;
    let all = share(heard[0].iter().sum(), 600);
    let nine = share(heard[1..].iter().map(|[nine, _]| nine).sum(), 540 * (MINUTES - 1));
    println!(
        "ten devices at 1 Hz: {:.1} %; nine beside a dead one, ten minutes: {:.1} %",
        all * 100.0,
        nine * 100.0
    );
    assert!(all >= 0.995, "{all}");
    assert!(nine >= 0.98, "{nine}");
}
