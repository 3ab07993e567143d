//! Every instrument of the simulator through the gateway's own profiles: two readings of the same manuals that share no
//! code. The values are those that other people's clients read in `sim_peers`.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use e2e::gateway::command;
use e2e::ground::program;
use e2e::modbus::Peer;
use e2e::mqtt::publish;
use e2e::{Gateway, Place, Process, eventually};
use serde_json::Value;

use crate::sim_peers::instruments;
use crate::sites::{bus, head, listener};

/// Unit, profile, its options, and what its fields must show.
type Instrument = (u8, &'static str, &'static str, &'static [(&'static str, f64)]);

const AIR: &[(&str, f64)] = &[("temperature", -10.5), ("humidity", 50.5)];
const INSTRUMENTS: &[Instrument] = &[
    // An open channel is no value: see below.
    (1, "mb8art", "", &[("channel-1", 121.3)]),
    (2, "xy-md02", "", AIR),
    (3, "md02", "", AIR),
    (4, "shtc3", "", AIR),
    (5, "rs-ws-n01", "", AIR),
    (6, "jxct-air", "", AIR),
    (7, "cwt", "", AIR),
    (8, "jxct-uv", "", &[("irradiance", 0.9)]),
    (9, "uvc-254", "", &[("irradiance", 92.4), ("hours", 10_000.1)]),
    (10, "jxbs-o3", "", &[("ozone", 0.0784)]),
    (11, "ddsu666-h", "", &[("voltage", 230.5), ("current", 70.0), ("power", 1.8), ("import", 1842.5)]),
    (12, "pressure-transmitter", "decimals = 1, unit = \"kPa\"", &[("pressure", 204.3)]),
    (13, "waveshare-8di", "", &[("di-1", 1.0), ("di-2", 0.0), ("di-3", 1.0)]),
    (14, "waveshare-relay", "", &[("relay-1", 0.0), ("relay-8", 0.0)]),
    (15, "mettler-cell", "", &[("tare", 1.84), ("net", -10.5), ("moving", 1.0)]),
    (16, "waveshare-relay-d", "", &[("relay-1", 0.0), ("di-1", 1.0), ("di-2", 0.0)]),
    (
        17,
        "sdm120",
        "",
        &[
            ("voltage", 230.5),
            ("current", 70.0),
            ("power", 1800.0),
            ("frequency", 50.0),
            ("import", 1842.5),
            ("export", 0.5),
            ("total", 1842.5),
        ],
    ),
    (
        18,
        "ddsu666",
        "",
        &[
            ("voltage", 230.5),
            ("current", 70.0),
            ("power", 1.8),
            ("power-factor", 0.5),
            ("frequency", 50.0),
            ("import", 1842.5),
            ("export", 0.5),
        ],
    ),
    (
        19,
        "pzem-016",
        "",
        &[
            ("voltage", 230.5),
            ("current", 70.0),
            ("power", 1800.0),
            ("import", 1_842_500.0),
            ("frequency", 50.0),
            ("power-factor", 0.5),
        ],
    ),
    (
        20,
        "dds238",
        "",
        &[
            ("total", 1842.5),
            ("export", 0.5),
            ("import", 1842.5),
            ("voltage", 230.5),
            ("current", 70.0),
            ("power", 1800.0),
            ("frequency", 50.0),
        ],
    ),
    (
        21,
        "scale-transmitter",
        "decimals = 2, unit = \"kg\"",
        &[("gross", 12.34), ("net", -10.5), ("tare", 1.84), ("stable", 0.0), ("overload", 0.0)],
    ),
    (22, "laumas-w100", "decimals = 2, unit = \"kg\"", &[("gross", 12.34), ("tare", 1.84)]),
];

/// The site file's line for each of them.
fn site(transport: &str, address: &str) -> String {
    site_of(transport, address, INSTRUMENTS)
}

fn site_of(transport: &str, address: &str, instruments: &[Instrument]) -> String {
    let mut text = head("profiles", None, "5s") + &bus("all", transport, address) + "\n";
    for (unit, profile, options, fields) in instruments {
        let map: Vec<String> =
            fields.iter().map(|(name, _)| format!("{} = \"{name}\"", name.replace('-', "_"))).collect();
        let device = format!(
            "[[device]]\nid = \"d-{unit}\"\nkind = \"sensor\"\nname = {{ zh = \"仪表\", en = \"Instrument\" }}\n\
             read = [{{ bus = \"all\", unit = {unit}, profile = \"{profile}\", map = {{ {} }}",
            map.join(", ")
        );
        let options = if options.is_empty() { String::new() } else { format!(", options = {{ {options} }}") };
        text.extend([&device, options.as_str(), " }]\n"]);
    }
    text
}

fn all_agree(place: &Place, transport: &str, address: &str) {
    agree(place, transport, address, INSTRUMENTS);
}

fn agree(place: &Place, transport: &str, address: &str, instruments: &[Instrument]) {
    let file = place.write(&format!("{transport}-site.toml"), &site_of(transport, address, instruments));
    let said = command(["once", "--json", file.to_str().unwrap()]).good();
    let shown: BTreeMap<String, Value> = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| (line["point"].as_str().unwrap().to_owned(), line))
        .collect();
    let mut wrong = Vec::new();
    let mut read = 0;
    for (unit, profile, _, fields) in instruments {
        for (field, expected) in *fields {
            let point = format!("d-{unit}/{}", field.replace('-', "_"));
            let value = shown.get(&point).and_then(|line| line["value"].as_f64());
            let near = value.is_some_and(|value| (value - expected).abs() < 1e-4 * expected.abs().max(0.01));
            if !near {
                wrong.push(format!("{profile} {field}: {:?}, not {expected}", shown.get(&point)));
            }
            read += 1;
        }
    }
    let wanted: usize = instruments.iter().map(|(.., fields)| fields.len()).sum();
    assert!(wrong.is_empty() && read == wanted, "{transport}: {read} read\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_simulated_instrument_is_read_right_by_its_profile() {
    let place = Place::new("profiles");
    for transport in ["tcp", "rtu-over-tcp", "rtu"] {
        let (simulator, address): (Process, String) = instruments(&place, transport).await;
        all_agree(&place, transport, &address);
        simulator.assert_log(&[]);
    }
}

/// What the instruments of the simulator hold in the places that the gateway will ask: unit, table, address, word. Read by hand, byte by byte.
fn held(place: &Place, address: &str) -> Vec<(u8, String, u16, u16)> {
    let file = place.write("held.toml", &site("tcp", address));
    let plan: Value =
        serde_json::from_str(&command(["plan", "--json", file.to_str().unwrap()]).stdout).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let mut held = Vec::new();
    for request in plan["buses"][0]["requests"].as_array().unwrap() {
        let number = |name: &str| u16::try_from(request[name].as_u64().unwrap()).unwrap();
        let table = request["table"].as_str().unwrap();
        let function = match table {
            "coil" => 1,
            "discrete" => 2,
            "holding" => 3,
            _ => 4,
        };
        let unit = u8::try_from(number("unit")).unwrap();
        // One by one: what is not there is not there at the other servers either.
        for at in number("first")..number("first") + number("count") {
            let [high, low] = at.to_be_bytes();
            stream.write_all(&[0, 1, 0, 0, 0, 6, unit, function, high, low, 0, 1]).unwrap();
            let mut head = [0; 6];
            stream.read_exact(&mut head).unwrap();
            let mut body = vec![0; usize::from(head[5])];
            stream.read_exact(&mut body).unwrap();
            match body[1..] {
                [_, 2, high, low] => held.push((unit, table.to_owned(), at, u16::from_be_bytes([high, low]))),
                [_, 1, bits] => held.push((unit, table.to_owned(), at, u16::from(bits & 1))),
                _ => {}
            }
        }
    }
    held
}

/// The same instruments once more, by servers that other people wrote: over TCP, in RTU frames over TCP, and on a serial port.
#[tokio::test]
async fn the_same_instruments_are_read_right_from_pymodbus_and_libmodbus() {
    let place = Place::new("profiles-peers");
    let (simulator, address) = instruments(&place, "tcp").await;
    let held = held(&place, &address);
    assert!(held.len() > 100, "{}", held.len());
    drop(simulator);
    let units: Vec<u8> = INSTRUMENTS.iter().map(|(unit, ..)| *unit).collect();
    let fill = async |peer: &mut Peer| {
        for (unit, table, at, word) in &held {
            peer.set(*unit, table, *at, i32::from(*word)).await;
        }
    };
    for transport in ["tcp", "rtu-over-tcp"] {
        let mut python = Peer::python(&place, transport, transport, &units).await;
        fill(&mut python).await;
        all_agree(&place, transport, python.address());
    }
    let mut c = Peer::libmodbus_units(&place, "libmodbus").await;
    fill(&mut c).await;
    all_agree(&place, "tcp", c.address());
    // A line between two serial ports, the gateway at one end of it.
    let (line, ours, theirs) = e2e::pty::pair();
    let mut python = Peer::python_serial(&place, "pymodbus-serial", &theirs, &units).await;
    fill(&mut python).await;
    all_agree(&place, "rtu", &ours);
    drop((line, python));
    // libmodbus is one device at a time.
    let (line, ours, theirs) = e2e::pty::pair();
    let mut c = Peer::libmodbus_serial(&place, "libmodbus-serial", &theirs).await;
    fill(&mut c).await;
    for instrument in INSTRUMENTS {
        c.answer_as(instrument.0).await;
        agree(&place, "rtu", &ours, std::slice::from_ref(instrument));
    }
    drop(line);
}

/// What `gateway once` shows at this address.
fn shown(place: &Place, transport: &str, address: &str) -> Vec<String> {
    let file = place.write("once.toml", &site(transport, address));
    let mut lines: Vec<String> =
        command(["once", "--json", file.to_str().unwrap()]).good().lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn what_a_gateway_recorded_is_read_again_at_the_bench() {
    let place = Place::new("field-recording");
    for transport in ["tcp", "rtu-over-tcp", "rtu"] {
        let (simulator, address) = instruments(&place, transport).await;
        let on_site = shown(&place, transport, &address);
        let feed =
            listener("feed", "sensor", "zigbee2mqtt/x", "zigbee2mqtt", "map = { t = \"temperature\" }");
        let text = site(transport, &address) + "\n[broker]\nlisten = \"127.0.0.1:0\"\n" + &feed;
        let file = place.path().join(format!("{transport}.jsonl"));
        let name = format!("gateway-{transport}");
        let mut gateway = Gateway::prepare(&place, &name, &text, None, None).await.with(&[
            "--record",
            &file.to_string_lossy(),
            "--record-mib",
            "8",
        ]);
        gateway.run().await;
        let port = gateway.mqtt_port.unwrap();
        eventually("everything was read once", Duration::from_mins(1), async || {
            publish(port, "zigbee2mqtt/x", br#"{"temperature":4.5}"#, false);
            let status = gateway.status().await?;
            let points = status["points"].as_array().cloned().unwrap_or_default();
            let open: Vec<&Value> = points.iter().filter(|point| point["quality"] != "good").collect();
            let heard = points.iter().any(|point| point["id"] == "feed/t" && point["value"] == 4.5);
            if open.is_empty() && heard && points.len() > 60 { Ok(()) } else { Err(format!("{open:?}")) }
        })
        .await;
        gateway.stop();
        drop(simulator);

        let recording = std::fs::read_to_string(&file).unwrap();
        assert!(recording.lines().last().is_some_and(|line| line.contains("\"end\":true")), "{recording}");
        assert!(recording.contains(r#""topic":"zigbee2mqtt/x","payload":"{\"temperature\":4.5}""#));
        let mut args = vec!["replay", file.to_str().unwrap(), "--end", "hold", "--json"];
        // From a line onto a line.
        args.extend_from_slice(if transport == "rtu" { &["--pty", "all=9600"] } else { &[] });
        let mut bench = Process::start("replay", &program("firmware-sim"), args, place.path());
        let up = bench.json().await;
        let address = up["buses"]["all"].as_str().or(up["endpoints"]["all"].as_str());
        let address = address.unwrap_or_else(|| panic!("where the bus is: {up}"));
        assert_eq!(shown(&place, transport, address), on_site);
        bench.stop();
        assert!(bench.log().contains("0 never recorded"), "{}", bench.log());
    }
}
