//! The simulator, read by clients that are not ours: mbpoll (libmodbus) and pymodbus read every simulated instrument as its
//! manual says, over Modbus TCP, RTU over TCP and a pty; mosquitto_sub sees the sensors that speak MQTT, and what is replayed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::api::client;
use e2e::ground::{program, root, target};
use e2e::mqtt::{Mosquitto, publish};
use e2e::process::run;
use e2e::wait::eventually;
use e2e::{Place, Process};
use serde_json::{Value, json};

/// What the physics is overruled with: values that tell a wrong scale, sign or word order at once.
const VALUES: [(&str, f64); 24] = [
    ("cabinet-1/temperature", 121.3),
    ("cabinet-1/door", 1.0),
    ("air-1/temperature", -10.5),
    ("air-1/humidity", 50.5),
    ("air-1/ozone", 0.04),
    ("contact-1/open", 1.0),
    ("lamp-1/irradiance", 92.4),
    ("lamp-1/hours", 10_000.1),
    ("sterilizer-1/pressure", 204.3),
    ("meter-1/voltage", 230.5),
    ("meter-1/current", 70.0),
    ("meter-1/power", 1800.0),
    ("meter-1/reactive", 250.0),
    ("meter-1/apparent", 2000.0),
    ("meter-1/power-factor", 0.5),
    ("meter-1/frequency", 50.0),
    ("meter-1/import", 1842.5),
    ("meter-1/export", 0.5),
    ("meter-1/total", 1842.5),
    ("scale-1/gross", 12.34),
    ("scale-1/net", -10.5),
    ("scale-1/tare", 1.84),
    ("scale-1/unstable", 1.0),
    ("scale-1/at-zero", 0.0),
];

/// A reading: unit, table, first address from 0, kind of value, and what a manual makes of [`VALUES`].
type Reading = (u8, &'static str, u16, &'static str, &'static [f64]);

const READINGS: &[Reading] = &[
    // MB8ART: tenths; 30000 is an open channel; its discrete inputs say which are connected.
    (1, "input", 0, "s16", &[1213.0, 30_000.0]),
    (1, "discrete", 0, "bit", &[1.0, 0.0]),
    // XY-MD02: tenths, and its configuration; the clone: hundredths.
    (2, "input", 1, "s16", &[-105.0, 505.0]),
    (2, "holding", 0x0101, "u16", &[2.0, 9600.0]),
    (3, "input", 1, "s16", &[-1050.0, 5050.0]),
    // Humidity first: SHTC3, RS-WS-N01 by either function, JXCT, CWT.
    (4, "holding", 0, "s16", &[505.0, -105.0]),
    (5, "holding", 0, "s16", &[505.0, -105.0]),
    (5, "input", 0, "s16", &[505.0, -105.0]),
    (6, "holding", 0, "s16", &[505.0, -105.0]),
    (7, "holding", 0, "s16", &[505.0, -105.0]),
    // UV: tenths of W/m²; tenths of µW/cm² and of hours. Ozone: hundredths of a ppm.
    (8, "holding", 8, "u16", &[9.0]),
    (9, "holding", 0, "u16", &[924.0]),
    (9, "holding", 1, "s32", &[100_001.0]),
    (10, "holding", 6, "u16", &[4.0]),
    // DDSU666-H, DDSU666: floats, kW.
    (11, "holding", 0x2012, "f32", &[2.0]),
    (18, "holding", 0x2000, "f32", &[230.5, 70.0, 1.8, 0.25]),
    (18, "holding", 0x4000, "f32", &[1842.5]),
    // Pressure: decimals and value in one request.
    (12, "holding", 3, "s16", &[1.0, 2043.0]),
    // Waveshare: inputs and relays.
    (13, "discrete", 0, "bit", &[1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
    (14, "coil", 0, "bit", &[0.0; 8]),
    (16, "discrete", 0, "bit", &[1.0, 0.0]),
    // Mettler: 41001, 41003 are 41000, 41002 on the wire.
    (15, "holding", 41_000, "f32", &[1.84, -10.5]),
    // SDM120.
    (17, "input", 0x0000, "f32", &[230.5]),
    (17, "input", 0x000C, "f32", &[1800.0]),
    (17, "input", 0x0046, "f32", &[50.0, 1842.5, 0.5]),
    (17, "input", 0x0156, "f32", &[1842.5]),
    // PZEM-016: low word first; mA, tenths of W, Wh.
    (19, "input", 0, "u16", &[2305.0]),
    (19, "input", 1, "s32-low-first", &[70_000.0, 18_000.0, 1_842_500.0]),
    (19, "input", 7, "u16", &[500.0, 50.0]),
    // DDS238.
    (20, "holding", 0x0000, "s32", &[184_250.0]),
    (20, "holding", 0x000C, "s16", &[2305.0, 7000.0, 1800.0]),
    // Weighing: gross, net and tare in hundredths; status unstable, minus, two decimals.
    (21, "holding", 0x0050, "s32", &[1234.0, -1050.0, 184.0]),
    (21, "holding", 0x0008, "u16", &[42.0]),
    (22, "holding", 7, "s32", &[1234.0]),
    // A manual that counts from 1; a block that is read whole.
    (31, "input", 2, "s16", &[-105.0]),
    (32, "holding", 0, "s16", &[32.0, 3.0, 3.0, 1.0, 2043.0, 0.0, 4000.0]),
];

/// Requests that are refused: unit, table, first, how many words, exception.
const REFUSED: &[(u8, &str, u16, u16, u8)] = &[
    (2, "input", 9, 2, 2),
    (4, "input", 0, 2, 1),
    (14, "discrete", 0, 8, 1),
    (18, "holding", 0x2012, 2, 2),
    (32, "holding", 4, 1, 2),
    (34, "holding", 0, 5, 3),
];

/// The simulator with every instrument on one bus of this kind.
pub(crate) async fn instruments(place: &Place, transport: &str) -> (Process, String) {
    let text = std::fs::read_to_string(root().join("firmware-sim/tests/instruments.toml")).unwrap();
    let text = text.replace("transport = \"tcp\"", &format!("transport = \"{transport}\""));
    let file = place.write(&format!("{transport}.toml"), &text);
    let file = file.to_str().unwrap();
    let mut simulator =
        Process::start(transport, &program("firmware-sim"), ["run", file, "--json"], place.path());
    let up = simulator.json().await;
    for (signal, value) in VALUES {
        let body = json!({"signal": signal, "value": value}).to_string();
        let to = format!("{}/set", up["control"].as_str().unwrap());
        let set = client().post(to).header("content-type", "application/json").body(body);
        assert!(set.send().await.unwrap().status().is_success(), "{signal}");
    }
    let bus = up["endpoints"]["bus"].as_str().unwrap().to_owned();
    (simulator, bus)
}

fn agrees(by: &str, reading: &Reading, got: &[f64]) {
    let (unit, table, first, kind, expected) = reading;
    let same = got.len() == expected.len()
        && got
            .iter()
            .zip(*expected)
            .all(|(got, expected)| (got - expected).abs() < 1e-4 * expected.abs().max(1.0));
    assert!(same, "{by}: unit {unit}, {table} {first:#06x} as {kind}: {got:?}, not {expected:?}");
}

/// `mbpoll` once; `to` says which transport and where.
fn mbpoll(
    to: &[&str],
    unit: u8,
    table: &str,
    first: u16,
    kind: &str,
    count: usize,
) -> e2e::process::Finished {
    let number = match table {
        "coil" => "0",
        "discrete" => "1",
        "input" => "3",
        _ => "4",
    };
    let (suffix, order) = match kind {
        "f32" => (":float", Some("-B")),
        "s32" => (":int", Some("-B")),
        "s32-low-first" => (":int", None),
        _ => ("", None),
    };
    let (host, transport) = to.split_last().unwrap();
    let mut args: Vec<String> = transport.iter().map(ToString::to_string).collect();
    args.extend(["-0", "-1", "-o", "5"].map(str::to_owned));
    args.extend(order.map(str::to_owned));
    args.extend(["-a".to_owned(), unit.to_string(), "-r".to_owned(), first.to_string()]);
    args.extend(["-c".to_owned(), count.to_string(), "-t".to_owned(), format!("{number}{suffix}")]);
    args.push((*host).to_owned());
    run(Path::new("/usr/bin/mbpoll"), args)
}

/// The values of mbpoll's `[address]: \tvalue` lines; of `65431 (-105)` the number with its sign.
fn values(said: &str, kind: &str) -> Vec<f64> {
    let line = |line: &str| {
        let (_, value) = line.strip_prefix('[')?.split_once("]:")?;
        let mut words = value.split_whitespace();
        let (plain, signed) = (words.next()?, words.next());
        let signed = signed.filter(|_| kind == "s16").map(|text| text.trim_matches(['(', ')']));
        signed.unwrap_or(plain).parse().ok()
    };
    said.lines().filter_map(line).collect()
}

fn mbpoll_reads_everything(by: &str, to: &[&str]) {
    assert!(
        Path::new("/usr/bin/mbpoll").exists(),
        "mbpoll is not there: run `cargo xtask ci --only packages`"
    );
    for reading in READINGS {
        let (unit, table, first, kind, expected) = *reading;
        let said = mbpoll(to, unit, table, first, kind, expected.len()).good();
        agrees(by, reading, &values(&said, kind));
    }
    for (unit, table, first, count, code) in REFUSED {
        let refused = mbpoll(to, *unit, table, *first, "u16", usize::from(*count));
        let words = ["", "Illegal function", "Illegal data address", "Illegal data value"];
        let word = words[usize::from(*code)];
        assert!(
            refused.stderr.contains(word),
            "{by}: unit {unit}, {table} {first}: {refused:?}, not `{word}`"
        );
    }
}

#[tokio::test]
async fn mbpoll_reads_every_instrument_over_tcp_and_on_a_line() {
    let place = Place::new("sim-mbpoll");
    let (tcp, address) = instruments(&place, "tcp").await;
    let (host, port) = address.rsplit_once(':').unwrap();
    mbpoll_reads_everything("mbpoll, TCP", &["-m", "tcp", "-p", port, host]);
    let (line, path) = instruments(&place, "rtu").await;
    mbpoll_reads_everything("mbpoll, pty", &["-m", "rtu", "-b", "9600", "-P", "none", &path]);
    tcp.assert_log(&[]);
    line.assert_log(&[]);
}

#[tokio::test]
async fn pymodbus_reads_every_instrument_over_tcp_and_rtu_over_tcp() {
    let place = Place::new("sim-pymodbus");
    let python = target().join("venv/bin/python");
    assert!(python.exists(), "{} is not there: run `cargo xtask ci --only venv`", python.display());
    for transport in ["tcp", "rtu-over-tcp"] {
        let (simulator, address) = instruments(&place, transport).await;
        let port = address.rsplit_once(':').unwrap().1;
        let mut wanted: Vec<Value> = READINGS
            .iter()
            .map(|(unit, table, first, kind, expected)| json!([unit, table, first, kind, expected.len()]))
            .collect();
        wanted.extend(
            REFUSED.iter().map(|(unit, table, first, count, _)| json!([unit, table, first, "u16", count])),
        );
        let asked = place.write("wanted.json", &Value::from(wanted).to_string());
        let output = Command::new(&python)
            .arg(root().join("tests/e2e/peers/pymodbus_client.py"))
            .args([transport, port])
            .stdin(Stdio::from(std::fs::File::open(asked).unwrap()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let got: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(got.len(), READINGS.len() + REFUSED.len());
        for (reading, got) in READINGS.iter().zip(&got) {
            let numbers: Option<Vec<f64>> =
                got.as_array().and_then(|list| list.iter().map(Value::as_f64).collect());
            let numbers = numbers.unwrap_or_else(|| panic!("{transport}: {reading:?}: {got}"));
            agrees(&format!("pymodbus, {transport}"), reading, &numbers);
        }
        for (refused, got) in REFUSED.iter().zip(&got[READINGS.len()..]) {
            assert_eq!(*got, format!("exception {}", refused.4), "{transport}: {refused:?}");
        }
        simulator.assert_log(&[]);
    }
}

#[tokio::test]
async fn mosquitto_sub_sees_the_sensors_that_speak_mqtt() {
    let place = Place::new("sim-mqtt");
    let broker = Mosquitto::start(&place).await;
    let port = broker.port().to_string();
    let mut subscriber = Process::start(
        "mosquitto_sub",
        Path::new("/usr/bin/mosquitto_sub"),
        ["-h", "127.0.0.1", "-p", &port, "-q", "1", "-v", "-t", "#"],
        place.path(),
    );
    eventually("mosquitto has the subscription", Duration::from_secs(10), async || {
        let log = broker.log();
        if log.contains("auto-") { Ok(()) } else { Err(log) }
    })
    .await;
    let file = root().join("firmware-sim/tests/instruments.toml");
    let mut simulator = Process::start(
        "firmware-sim",
        &program("firmware-sim"),
        ["run", file.to_str().unwrap(), "--json", "--speed", "600", "--mqtt", &broker.address()],
        place.path(),
    );
    simulator.json().await;
    // What each system has to have in its payload, as a JSON pointer.
    let mut wanted: BTreeMap<&str, &str> = [
        ("tele/plug-1/SENSOR", "/ENERGY/Power"),
        ("shellyhtg3-84fce63ad204/events/rpc", "/params/temperature:0/tC"),
        ("zigbee2mqtt/store/door", "/contact"),
        ("event/up", "/object/temperature"),
        ("v3/nonsite@ttn/devices/ws301-1/up", "/uplink_message/frm_payload"),
        ("zigbee2mqtt/store/door/availability", "/state"),
    ]
    .into();
    while !wanted.is_empty() {
        let line = subscriber.line().await;
        let (topic, payload) = line.split_once(' ').unwrap_or_else(|| panic!("no payload: {line}"));
        let Ok(payload) = serde_json::from_str::<Value>(payload) else {
            assert_eq!((topic, payload), ("tele/plug-1/LWT", "Online"), "the one payload that is no JSON");
            continue;
        };
        wanted.retain(|end, place| !topic.ends_with(end) || payload.pointer(place).is_none());
    }
    simulator.assert_log(&[]);
}

/// What `record` heard from one broker, `replay` says to another: in order, byte for byte, retained what was retained.
#[tokio::test]
async fn what_a_broker_said_is_said_again() {
    let place = Place::new("sim-mqtt-record");
    let broker = Mosquitto::start(&place).await;
    publish(broker.port(), "ward/kept", b"old", true);
    let file = place.path().join("site.jsonl");
    let mut recorder = Process::start(
        "firmware-sim-record",
        &program("firmware-sim"),
        ["record", file.to_str().unwrap(), "--json", "--mqtt", &broker.address()],
        place.path(),
    );
    assert_eq!(recorder.json().await, json!({"endpoints": {}}));
    let recorded = async |text: &str| {
        eventually(&format!("the recording holds {text}"), Duration::from_secs(20), async || {
            let written = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
            if written.contains(text) { Ok(()) } else { Err(written) }
        })
        .await;
    };
    // It has subscribed when it has what was kept for it.
    recorded(r#""topic":"ward/kept","payload":"old""#).await;
    publish(broker.port(), "ward/bag", br#"{"kg":1.2}"#, false);
    publish(broker.port(), "ward/raw", b"\xff\x001", false);
    recorded(r#""topic":"ward/raw","payload_hex":"ff0031""#).await;
    assert!(recorder.stop().success());
    recorder.assert_log(&[]);

    let elsewhere = Place::new("sim-mqtt-replay");
    let broker = Mosquitto::start(&elsewhere).await;
    let mut subscriber = subscriber(&broker, &elsewhere, "mosquitto_sub").await;
    let mut replayer = Process::start(
        "firmware-sim-replay",
        &program("firmware-sim"),
        ["replay", file.to_str().unwrap(), "--json", "--speed", "60", "--mqtt", &broker.address()],
        elsewhere.path(),
    );
    for expected in ["0 ward/kept 6f6c64", "0 ward/bag 7b226b67223a312e327d", "0 ward/raw ff0031"] {
        assert_eq!(message(&mut subscriber).await, expected);
    }
    assert!(replayer.ended(Duration::from_secs(20)).success(), "it ends with the recording");
    replayer.assert_log(&[]);
    let mut late = self::subscriber(&broker, &elsewhere, "mosquitto_sub-late").await;
    assert_eq!(message(&mut late).await, "1 ward/kept 6f6c64", "what was retained is again");
}

/// A mosquitto_sub that has subscribed to everything; it tells retained or not, topic, and payload in hex.
async fn subscriber(broker: &Mosquitto, place: &Place, name: &str) -> Process {
    let port = broker.port().to_string();
    let mut subscriber = Process::start(
        name,
        // Line by line: into a pipe it would keep what it says of itself until it has a page of it.
        Path::new("/usr/bin/stdbuf"),
        [
            "-oL",
            "mosquitto_sub",
            "-d",
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-q",
            "1",
            "-t",
            "#",
            "-F",
            "> %r %t %x",
        ],
        place.path(),
    );
    while !subscriber.line().await.starts_with("Subscribed") {}
    subscriber
}

/// The next message it tells, without the talk of `-d` between.
async fn message(subscriber: &mut Process) -> String {
    loop {
        if let Some(message) = subscriber.line().await.strip_prefix("> ") {
            return message.to_owned();
        }
    }
}
