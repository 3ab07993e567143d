//! Every instrument of `instruments.toml`, register by register as domain.md C has it; indicators and lines.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use firmware_sim::clock::Clock;
use firmware_sim::face::answer::Act;
use firmware_sim::face::frame::{Request, rtu};
use firmware_sim::fault::Fault;
use firmware_sim::host::host;
use firmware_sim::line;
use firmware_sim::scenario::Scenario;
use firmware_sim::serve;
use firmware_sim::world::World;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{MIDNIGHT, at, hex};

const TEXT: &str = include_str!("../instruments.toml");

fn scenario() -> Scenario {
    Scenario::parse("instruments.toml", TEXT).unwrap()
}

/// Noon of the first day, with every value known.
fn world() -> World {
    world_of(&scenario())
}

fn world_of(scenario: &Scenario) -> World {
    let mut world = World::new(scenario, MIDNIGHT, None);
    world.step_to(at(0, 12, 0));
    for (signal, value) in [
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
        ("scale-1/net", 10.5),
        ("scale-1/tare", 1.84),
        ("scale-1/unstable", 1.0),
        ("scale-1/at-zero", 0.0),
    ] {
        world.force(signal, Some(value)).unwrap();
    }
    world
}

fn ask(world: &mut World, unit: u8, pdu: &str) -> Vec<u8> {
    let endpoint = world.endpoints().iter().position(|e| e.name == "bus").unwrap();
    let acts = world.ask(endpoint, &Request { transaction: None, unit, pdu: hex(pdu) });
    let [.., Act::Send(frame)] = &acts[..] else { panic!("unit {unit}: {acts:?}") };
    assert_eq!(frame[0], unit);
    frame[1..frame.len() - 2].to_vec()
}

/// −10.5 °C is −105 = FF97 in tenths and −1050 = FBE6 in hundredths; 50.5 % is 505 = 01F9 and 5050 = 13BA.
#[test]
fn every_map_as_its_manual_says() {
    let mut world = world();
    for (unit, request, answer, why) in [
        (1, "04 00 00 00 02", "04 04 04 BD 75 30", "MB8ART: 121.3 °C, then an open channel"),
        (1, "03 00 46 00 01", "03 02 00 01", "MB8ART: its id"),
        (2, "04 00 01 00 02", "04 04 FF 97 01 F9", "XY-MD02"),
        (2, "03 01 01 00 02", "03 04 00 02 25 80", "XY-MD02: id, and the baud rate itself"),
        (3, "04 00 01 00 02", "04 04 FB E6 13 BA", "MD02 clone: hundredths"),
        (3, "03 01 00 00 02", "03 04 00 03 00 02", "MD02 clone: id and baud code elsewhere"),
        (4, "03 00 00 00 02", "03 04 01 F9 FF 97", "SHTC3: humidity first"),
        (4, "04 00 00 00 02", "84 01", "SHTC3: FC 03 only"),
        (5, "03 00 00 00 02", "03 04 01 F9 FF 97", "RS-WS-N01"),
        (5, "04 00 00 00 02", "04 04 01 F9 FF 97", "RS-WS-N01: FC 04 alike"),
        (6, "03 00 00 00 02", "03 04 01 F9 FF 97", "JXCT air"),
        (6, "03 01 00 00 01", "03 02 00 06", "JXCT air: id"),
        (7, "03 00 00 00 07", "03 0E 01 F9 FF 97 00 00 00 00 00 00 00 00 00 00", "CWT: light at 6"),
        (7, "03 07 D0 00 01", "03 02 00 07", "CWT: id"),
        (8, "03 00 08 00 01", "03 02 00 09", "JXCT UV: 0.9 W/m²"),
        (9, "03 00 00 00 03", "03 06 03 9C 00 01 86 A1", "UVC 254: 92.4 µW/cm², 10000.1 h"),
        (10, "03 00 06 00 01", "03 02 00 04", "ozone: 0.04 ppm"),
        (11, "03 20 12 00 02", "03 04 40 00 00 00", "DDSU666-H: 2 kVA"),
        (12, "03 00 02 00 03", "03 06 00 03 00 01 07 FB", "pressure: kPa, one decimal, 204.3"),
        (12, "03 00 00 00 01", "03 02 00 0C", "pressure: its id"),
        (13, "02 00 00 00 08", "02 01 05", "Waveshare 8DI: DI1 and DI3"),
        (13, "03 10 00 00 08", "03 10 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00", "its output modes"),
        (14, "01 00 00 00 08", "01 01 00", "Waveshare relay"),
        (14, "02 00 00 00 08", "82 01", "the plain relay has no inputs"),
        (15, "03 A0 2A 00 02", "03 04 41 28 00 00", "Mettler: 41003 is 41002 on the wire, net 10.5"),
        (15, "03 A0 2C 00 01", "03 02 00 01", "Mettler: moving"),
        (16, "02 00 00 00 08", "02 01 01", "Waveshare relay D: DI1"),
        (17, "04 00 00 00 02", "04 04 43 66 80 00", "SDM120: 230.5 V"),
        (17, "04 00 0C 00 02", "04 04 44 E1 00 00", "SDM120: 1800 W"),
        (17, "04 01 56 00 02", "04 04 44 E6 50 00", "SDM120: 1842.5 kWh"),
        (17, "03 00 14 00 02", "03 04 41 88 00 00", "SDM120: its id, 17 as a float"),
        (18, "03 20 00 00 02", "03 04 43 66 80 00", "DDSU666: 230.5 V"),
        (18, "03 20 04 00 04", "03 08 3F E6 66 66 3E 80 00 00", "DDSU666: 1.8 kW, 0.25 kvar"),
        (18, "03 20 12 00 02", "83 02", "DDSU666: apparent power only in the -H"),
        (18, "03 40 00 00 02", "03 04 44 E6 50 00", "DDSU666: 1842.5 kWh"),
        // 70 A is 70000 mA = 0001 1170, low word first; 1842500 Wh = 001C 1D44.
        (
            19,
            "04 00 00 00 0A",
            "04 14 09 01 11 70 00 01 46 50 00 00 1D 44 00 1C 01 F4 00 32 00 00",
            "PZEM-016: low word first",
        ),
        (20, "03 00 00 00 02", "03 04 00 02 CF BA", "DDS238: 184250 hundredths of a kWh"),
        (20, "03 00 0C 00 03", "03 06 09 01 1B 58 07 08", "DDS238: V, A, W"),
        (20, "03 00 11 00 01", "03 02 13 88", "DDS238: 50.00 Hz"),
        (21, "03 00 50 00 06", "03 0C 00 00 04 D2 00 00 04 1A 00 00 00 B8", "scale: gross, net, tare"),
        (21, "03 00 08 00 01", "03 02 00 22", "scale: two decimals, unstable"),
        (22, "03 00 07 00 02", "03 04 00 00 04 D2", "Laumas: gross"),
        (22, "03 00 48 00 02", "03 04 00 00 00 B8", "Laumas: tare"),
    ] {
        assert_eq!(ask(&mut world, unit, request), hex(answer), "unit {unit}, {request}: {why}");
    }
}

#[test]
fn quirks() {
    let mut world = world();
    for (unit, request, answer, why) in [
        (31, "04 00 02 00 01", "04 02 FF 97", "a manual that counts from 1"),
        (31, "04 00 00 00 01", "84 02", "before its first"),
        (32, "03 00 00 00 07", "03 0E 00 20 00 03 00 03 00 01 07 FB 00 00 0F A0", "a whole block"),
        (32, "03 00 04 00 01", "83 02", "a piece of it"),
        (33, "04 00 00 00 04", "04 08 00 00 FF 97 01 C2 00 00", "holes are zero, open terminals 45 %"),
        (34, "03 00 03 00 04", "03 08 00 01 07 FB 00 00 0F A0", "four are allowed"),
        (34, "03 00 00 00 05", "83 03", "five are too many"),
    ] {
        assert_eq!(ask(&mut world, unit, request), hex(answer), "unit {unit}, {request}: {why}");
    }
    let endpoint = world.endpoints().iter().position(|e| e.name == "bus").unwrap();
    let request = Request { transaction: None, unit: 35, pdu: hex("04 00 01 00 01") };
    let acts = world.ask(endpoint, &request);
    assert_eq!(acts[0], Act::Wait(Duration::from_millis(300)), "slow to turn round");
    assert_eq!(acts.len(), 2);
}

/// The commonest job of a new bus: four sensors, all with the id they came with.
#[test]
fn a_sensor_is_given_another_id_and_a_relay_is_switched() {
    let mut world = world();
    for (unit, request, answer, why) in [
        (2, "06 01 01 00 00", "86 03", "no id"),
        (2, "06 01 01 01 00", "86 03", "no id either"),
        (2, "06 01 03 00 05", "86 02", "offsets cannot be written here"),
        (2, "06 01 01 00 2A", "06 01 01 00 2A", "42"),
        (42, "04 00 01 00 01", "04 02 FF 97", "it answers there"),
        (42, "03 01 01 00 01", "03 02 00 2A", "and says so"),
        (42, "10 01 02 00 01 02 12 C0", "10 01 02 00 01", "4800 baud"),
        (42, "03 01 02 00 01", "03 02 12 C0", "as it says from now on"),
        (4, "06 00 00 00 05", "86 01", "nothing of an SHTC3 can be written"),
        (14, "05 00 03 FF 00", "05 00 03 FF 00", "relay 4 on"),
        (14, "0F 00 06 00 02 01 03", "0F 00 06 00 02", "relays 7 and 8 on"),
        (14, "01 00 00 00 08", "01 01 C8", "three relays on"),
        (14, "05 00 03 00 01", "85 03", "neither on nor off"),
        (14, "0F 00 06 00 03 01 07", "8F 02", "beyond the last relay"),
        (14, "10 00 00 00 01 02 00", "90 01", "a relay has no such table"),
        (42, "10 01 02 00 01 02 12", "90 03", "a word cut short"),
    ] {
        assert_eq!(ask(&mut world, unit, request), hex(answer), "unit {unit}, {request}: {why}");
    }
    let endpoint = world.endpoints().iter().position(|e| e.name == "bus").unwrap();
    let old = Request { transaction: None, unit: 2, pdu: hex("04 00 01 00 01") };
    assert_eq!(world.ask(endpoint, &old), [], "nobody is at the old id");
}

/// A request that reached the device is done, whatever becomes of its answer; one that did not is not.
#[test]
fn a_write_is_done_though_its_answer_is_spoiled() {
    for (word, id) in
        [("late", 42), ("truncated", 42), ("swapped-words", 42), ("silent", 2), ("half-open", 2)]
    {
        let mut world = world();
        let endpoint = world.endpoints().iter().position(|e| e.name == "bus").unwrap();
        world.inject("bus/2", Fault::parse(word, None).unwrap(), None).unwrap();
        let request = Request { transaction: None, unit: 2, pdu: hex("06 01 01 00 2A") };
        world.ask(endpoint, &request);
        world.clear(Some("bus/2"));
        assert_eq!(ask(&mut world, id, "03 01 01 00 01"), [3, 2, 0, id], "{word}");
    }
}

#[test]
fn a_broken_probe_on_a_plain_instrument_is_no_plausible_number() {
    let mut world = world();
    world.clear(None);
    world.inject("air-1/temperature", Fault::parse("open", None).unwrap(), None).unwrap();
    assert_eq!(ask(&mut world, 2, "04 00 01 00 01"), hex("04 02 7F FF"));
    world.clear(None);
    world.inject("air-1/temperature", Fault::parse("short", None).unwrap(), None).unwrap();
    assert_eq!(ask(&mut world, 2, "04 00 01 00 01"), hex("04 02 80 00"));
}

#[test]
fn wrong_instruments_are_told_with_their_line() {
    for (wrong, right, message) in [
        (
            "scale = \"scale-1\" }\n\n[[endpoint]]\nname = \"indicator-equals\"",
            "scale = \"scale-9\" }\n\n[[endpoint]]\nname = \"indicator-equals\"",
            "no device `scale-9`",
        ),
        ("transport = \"weighing\"", "transport = \"tcp\"", "has an endpoint of its own"),
        ("baud = 9600", "baud = 7", "300 to 1000000 baud"),
        ("decimals = 2", "decimals = 9", "at most 4 decimals"),
        ("every = \"200ms\"", "every = \"1ms\"", "every 10 ms"),
        ("map = \"xy-md02\"", "map = \"xy-md99\"", "no map is called `xy-md99`"),
        (
            "value = \"sterilizer-1/pressure\"",
            "pressure = \"sterilizer-1/pressure\"",
            "needs its terminal `value`",
        ),
        ("meter = \"meter-1\"", "meter = \"lamp-1\"", "no meter is called `lamp-1`"),
        ("name = \"plug-1\"", "name = \"plug/#\"", "no part of a topic"),
        ("every = \"5m\"", "every = \"0s\"", "at most every second"),
        ("door = \"contact-1\"", "door = \"lamp-1\"", "no device `lamp-1` that has `open`"),
        ("hold = \"5m20s\"", "hold = \"5m20s\"\nset_c = 160.0", "110 to 137 °C"),
        ("at = \"09:40\"", "at = \"09:40\", days = [99]", "only days 0 to 63"),
        ("seed = 20261123", "seed = 20261123\nclosed = [[5, 2]]", "pairs of days"),
    ] {
        assert!(TEXT.contains(wrong), "{wrong}");
        let problems = Scenario::parse("x.toml", &TEXT.replacen(wrong, right, 1)).unwrap_err();
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|line| line.contains(message)), "{right}: `{message}` not in {told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_indicator_sends_unasked() {
    let scenario = scenario();
    let (host, task) = host(world(), Clock::starting(at(0, 12, 0), 1.0), None);
    tokio::spawn(task);
    for (ix, frame) in [
        // Net, for there is a tare: +10.50.
        (0, hex("02 2B 30 30 31 30 35 30 32 31 44 03")),
        (1, b"=05.0100".to_vec()),
    ] {
        let (mut near, far) = tokio::io::duplex(4096);
        let (endpoint, server) = (scenario.endpoints[ix].clone(), host.clone());
        tokio::spawn(async move { serve::stream(far, &endpoint, ix, &server).await });
        let begun = tokio::time::Instant::now();
        let mut frames = vec![0; frame.len() * 11];
        near.read_exact(&mut frames).await.unwrap();
        assert_eq!(frames, frame.repeat(11));
        let took = begun.elapsed().as_millis();
        assert!((1000..1100).contains(&took), "ten intervals of 100 ms took {took} ms");
    }
    let fault = Fault::parse("wrong-crc", None).unwrap();
    host.with(move |world| world.inject("indicator-tf0", fault, None)).await.unwrap().unwrap();
    let acts = host.with(|world| world.weighing(0)).await.unwrap();
    assert_eq!(acts, [Act::Send(hex("02 2B 30 30 31 30 35 30 32 31 45 03"))]);
}

/// The other end of a pty is an ordinary port: opened, written to and read by a thread that knows nothing of us.
#[tokio::test]
async fn a_line_of_its_own() {
    let text =
        TEXT.replace("transport = \"tcp\"", "transport = \"rtu\"\nline = { baud = 2400, parity = \"even\" }");
    let scenario = Scenario::parse("instruments.toml", &text).unwrap();
    let (host, task) = host(world_of(&scenario), Clock::starting(at(0, 12, 0), 1.0), None);
    tokio::spawn(task);
    let ix = scenario.endpoints.iter().position(|e| e.name == "bus").unwrap();
    let endpoint = scenario.endpoints[ix].clone();
    let (line, path) = line::pty(endpoint.line).unwrap();
    tokio::spawn(serve::line(line, endpoint.clone(), ix, host));
    let (answer, took) = tokio::task::spawn_blocking(move || {
        let mut port = std::fs::File::options().read(true).write(true).open(path).unwrap();
        // Noise before the request: a device passes over it.
        port.write_all(&hex("FF 00")).unwrap();
        let begun = std::time::Instant::now();
        let mut answer = [0; 69];
        port.write_all(&rtu(17, &hex("04 00 00 00 20"))).unwrap();
        port.read_exact(&mut answer).unwrap();
        (answer, begun.elapsed())
    })
    .await
    .unwrap();
    assert_eq!(answer[..7], hex("11 04 40 43 66 80 00"));
    // 69 characters of 11 bits at 2400 baud are 316 ms; the last piece may be read before its time is up.
    assert!(took >= Duration::from_millis(230), "an answer of 69 characters took {took:?}");
    assert_eq!(endpoint.line.pause(69).as_millis(), 316);
}

/// What `--serial` opens: a port by its path, here the other end of a pty.
#[tokio::test]
async fn a_port_by_its_path() {
    let text = TEXT.replace("transport = \"tcp\"", "transport = \"rtu\"");
    let scenario = Scenario::parse("instruments.toml", &text).unwrap();
    let (host, task) = host(world(), Clock::starting(at(0, 12, 0), 1.0), None);
    tokio::spawn(task);
    let ix = scenario.endpoints.iter().position(|e| e.name == "bus").unwrap();
    let endpoint = scenario.endpoints[ix].clone();
    let (mut near, path) = line::pty(endpoint.line).unwrap();
    let port = line::port(std::path::Path::new(&path), endpoint.line).unwrap();
    tokio::spawn(serve::line(port, endpoint, ix, host));
    near.write_all(&rtu(2, &hex("04 00 01 00 02"))).await.unwrap();
    let mut answer = [0; 9];
    tokio::time::timeout(Duration::from_secs(20), near.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer[..], rtu(2, &hex("04 04 FF 97 01 F9")));
    let nowhere = line::port(std::path::Path::new("/dev/no-such-port"), line_settings());
    assert_eq!(nowhere.unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

fn line_settings() -> line::Settings {
    line::Settings { baud: 9600, parity: line::Parity::None, stop: 1 }
}
