//! The commands that are not about a scenario, as programs: record, replay, load, watch, and time held.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use firmware_sim::face::frame::{Transport, tcp};
use firmware_sim::load::{self, Plan};
use firmware_sim::recording::Line;
use firmware_sim::recording::file::Reader;
use serde_json::Value;

use super::program::{PROGRAM, Running, http};
use super::{at, hex};

/// Starts the program and reads the JSON line it prints when it is up.
fn start(args: &[&str]) -> (Running, Value) {
    let mut child = Command::new(PROGRAM).args(args).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let up = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{args:?} said `{line}`"));
    (Running(child), up)
}

/// Asks a program to end as a person does, and waits for it: what it said.
fn end(mut running: Running) -> String {
    let pid = running.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let mut said = String::new();
    if let Some(mut stderr) = running.0.stderr.take() {
        stderr.read_to_string(&mut said).unwrap();
    }
    assert!(running.0.wait().unwrap().success(), "{said}");
    said
}

fn address(up: &Value, name: &str) -> String {
    up["endpoints"][name].as_str().unwrap_or_else(|| panic!("no endpoint {name} in {up}")).to_owned()
}

fn exchange(stream: &mut TcpStream, request: &[u8], length: usize) -> Vec<u8> {
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).unwrap();
    answer
}

#[test]
fn a_clinic_is_recorded_and_replayed_over_real_sockets() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("clinic.jsonl.zst");
    let file = file.to_str().unwrap();
    let begin = at(0, 9, 30).0.to_string();
    let (clinic, up) = start(&["run", "clinic", "--virtual", "--at", &begin, "--from", &begin, "--json"]);
    let before = format!("--tcp=steam={}", address(&up, "steam"));
    let (recorder, up) = start(&["record", file, &before, "--json"]);
    let mut stream = TcpStream::connect(address(&up, "steam")).unwrap();
    let requests = [tcp(1, 1, &hex("04 00 00 00 02")), tcp(2, 3, &hex("02 00 00 00 08"))];
    let lengths = [13, 10];
    let seen: Vec<Vec<u8>> = requests
        .iter()
        .zip(lengths)
        .map(|(request, length)| exchange(&mut stream, request, length))
        .collect();
    // Still connected: what is open is written when recording ends.
    end(recorder);
    end(clinic);

    let lines: Vec<Line> = Reader::open(file.as_ref()).unwrap().map(|line| line.unwrap().1).collect();
    let [Line::Exchange(first), Line::Exchange(second), Line::End { .. }] = &lines[..] else {
        panic!("{lines:#?}");
    };
    assert_eq!([&first.ask, &second.ask], [&requests[0], &requests[1]]);
    assert_eq!([&first.got[0].bytes, &second.got[0].bytes], [&seen[0], &seen[1]]);

    let mut child = Command::new(PROGRAM)
        .args(["replay", file, "--end", "hold", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let replay = Running(child);
    let mut stream = TcpStream::connect(address(&serde_json::from_str(&line).unwrap(), "steam")).unwrap();
    for ((request, length), mut seen) in requests.iter().zip(lengths).zip(seen) {
        let mut request = request.clone();
        (request[0], seen[0]) = (0x77, 0x77);
        assert_eq!(exchange(&mut stream, &request, length), seen);
    }
    let never = tcp(5, 1, &hex("03 00 00 00 01"));
    assert_eq!(exchange(&mut stream, &never, 9), tcp(5, 1, &hex("83 02")));
    let said = end(replay);
    assert!(said.contains("replayed 2 request(s); 1 never recorded"), "{said}");
    assert!(said.contains("never recorded: steam/1 0300000001 (1 times)"), "{said}");
}

#[test]
fn time_stands_until_it_is_stepped_and_watch_shows_what_changes() {
    let begin = at(0, 9, 30).0.to_string();
    let (_clinic, up) = start(&["run", "clinic", "--virtual", "--at", &begin, "--from", &begin, "--json"]);
    let control = up["control"].as_str().unwrap().strip_prefix("http://").unwrap();
    let civil = || http(control, "GET", "/devices", "").1["civil"].as_i64().unwrap();
    let (before, again) = (civil(), civil());
    assert_eq!((before, again), (at(0, 9, 30).0, at(0, 9, 30).0));
    let (status, stepped) = http(control, "POST", "/step", r#"{"seconds":90}"#);
    assert_eq!((status, stepped["civil"].as_i64()), (200, Some(before + 90_000)));
    assert_eq!(civil(), before + 90_000);
    assert_eq!(http(control, "POST", "/step", r#"{"seconds":-1}"#).0, 422);

    let (_, points) = http(control, "GET", "/points", "");
    let names: Vec<&str> = points.as_array().unwrap().iter().map(|p| p["signal"].as_str().unwrap()).collect();
    assert!(names.contains(&"fridge-1/temperature"), "{names:?}");
    let (_, words) = http(control, "GET", "/faults", "");
    assert!(words.as_array().unwrap().iter().any(|word| word == "half-open"));

    assert_eq!(http(control, "POST", "/set", r#"{"signal":"fridge-1/temperature","value":13.5}"#).0, 200);
    let watched = Command::new(PROGRAM).args(["watch", "--port", control, "--looks", "1"]).output().unwrap();
    let said = String::from_utf8(watched.stdout).unwrap();
    assert!(said.contains("2026-11-18T09:31:30+08:00 fridge-1/temperature 13.50 °C (held)\n"), "{said}");

    let (_running, up) = start(&["run", "clinic", "--at", &begin, "--from", &begin, "--json"]);
    let control = up["control"].as_str().unwrap().strip_prefix("http://").unwrap();
    let (status, refused) = http(control, "POST", "/step", r#"{"seconds":1}"#);
    assert_eq!(status, 409, "{refused}");
    let nobody = Command::new(PROGRAM).args(["watch", "--port", "1", "--looks", "1"]).output().unwrap();
    let said = String::from_utf8(nobody.stderr).unwrap();
    assert!(
        !nobody.status.success() && said.contains("no simulator's control port answers at 127.0.0.1:1"),
        "{said}"
    );
}

#[test]
fn every_device_of_a_load_shows_its_own_words() {
    let args = ["load", "--devices", "5", "--units", "2", "--points", "200", "--every", "1h", "--json"];
    let (_load, up) = start(&args);
    let addresses: Vec<&str> =
        up["addresses"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    assert_eq!(addresses.len(), 3, "{up}");
    let plan = Plan {
        devices: 5,
        points: 200,
        units: 2,
        every: std::time::Duration::from_hours(1),
        transport: Transport::Tcp,
    };
    for (port, address) in (0..).zip(&addresses) {
        let mut stream = TcpStream::connect(address).unwrap();
        for unit in 1..=plan.units_on(port) {
            let device = port * 2 + unit - 1;
            let words: Vec<u8> = (75..200).flat_map(|at| load::word(device, at, 0).to_be_bytes()).collect();
            let answer = tcp(9, unit as u8, &[hex("04 FA"), words].concat());
            let request = tcp(9, unit as u8, &hex("04 00 4B 00 7D"));
            assert_eq!(exchange(&mut stream, &request, answer.len()), answer, "device {device}");
        }
        for (request, refusal) in
            [("04 00 4C 00 7D", "84 02"), ("04 00 00 00 7E", "84 03"), ("06 00 00 00 01", "86 01")]
        {
            assert_eq!(exchange(&mut stream, &tcp(1, 1, &hex(request)), 9), tcp(1, 1, &hex(refusal)));
        }
        let nobody = plan.units_on(port) as u8 + 1;
        assert_eq!(
            exchange(&mut stream, &tcp(1, nobody, &hex("04 00 00 00 01")), 9),
            tcp(1, nobody, &hex("84 0B"))
        );
    }
    let refused = Command::new(PROGRAM).args(["load", "--devices", "70000"]).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && said.contains("70000 ports do not fit: more --units a port"),
        "{said}"
    );
}
