//! The program as people run it: exit codes, the line it prints, the control port, wrong scenario files.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

use firmware_sim::scenario::Scenario;
use serde_json::Value;

use super::{MIDNIGHT, at};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_firmware-sim");

fn run(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().unwrap()
}

#[test]
fn wrong_files_are_told_with_their_line_and_78() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("wrong.toml");
    let cases = [
        ("set_c = 130.0\nhold = \"soon\"", "wrong.toml:9:8: `soon` is no span of time"),
        ("set_c = 130.0\nhold = \"5m\"\nheat = 1", "wrong.toml:10:1: unknown field `heat`"),
        ("set_c = ", "wrong.toml:8:9: "),
    ];
    for (middle, expected) in cases {
        let head = "[scenario]\nname = \"x\"\ntitle = { zh = \"一\", en = \"x\" }\nseed = 1\n";
        let text = format!("{head}\n[[cabinet]]\nid = \"c\"\n{middle}\nruns = []\n");
        std::fs::write(&path, text).unwrap();
        let output = run(&["show", path.to_str().unwrap()]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(expected), "{expected} not in:\n{said}");
        assert_eq!(output.status.code(), Some(78));
    }
    assert_eq!(run(&["show", "no-such-scenario"]).status.code(), Some(78));
    assert_eq!(run(&["show"]).status.code(), Some(2));
}

#[test]
fn every_problem_at_once() {
    let text = r#"
[scenario]
name = "x"
title = { zh = "一", en = "x" }
seed = 1
[[cabinet]]
id = "c"
set_c = 130.0
hold = "5m"
runs = []
[[endpoint]]
name = "bus"
transport = "tcp"
[[endpoint.unit]]
unit = 0
map = "mb8art"
terminals = { channel-9 = "c/temperature", channel-1 = "c/heat" }
[[endpoint.unit]]
unit = 2
map = "nothing"
terminals = {}
[[plant]]
day = 0
at = "10:00"
for = "5m"
target = "c"
fault = "abort"
[[plant]]
day = 0
at = "10:00"
for = "5m"
target = "bus/7"
fault = "silent"
"#;
    let problems = Scenario::parse("x.toml", text).unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let lines: Vec<usize> = problems.iter().map(|p| p.line).collect();
    for line in [15, 17, 17, 20, 26, 32] {
        assert!(lines.contains(&line), "line {line} in {told:#?}");
    }
    assert_eq!(problems.len(), 6, "{told:#?}");
}

#[test]
fn lists_and_records() {
    let output = run(&["list"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), firmware_sim::scenario::EMBEDDED.len(), "{text}");
    assert!(text.contains("酒店") && text.contains("Dental clinic"));
    let from = MIDNIGHT.0.to_string();
    let to = at(0, 1, 0).0.to_string();
    let output = run(&["history", "hotel", "--from", &from, "--to", &to, "--every", "10s"]);
    assert!(output.status.success());
    assert!(output.stdout.starts_with(br#"{"recording":1,"#));
}

/// Ends the child it holds, whatever happens.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have been ended already.
        self.0.kill().ok();
        self.0.wait().unwrap();
    }
}

pub(crate) fn http(address: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

#[test]
fn runs_with_a_control_port() {
    let begin = at(3, 9, 30).0.to_string();
    let from = at(0, 9, 30).0.to_string();
    let mut child = Command::new(PROGRAM)
        .args(["run", "clinic", "--at", &begin, "--from", &from, "--speed", "60", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let _running = Running(child);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let up: Value = serde_json::from_str(&line).unwrap();
    assert!(up["endpoints"]["steam"].is_string() && up["endpoints"]["uv"].is_string());
    let control = up["control"].as_str().unwrap().strip_prefix("http://").unwrap();

    let (status, live) = http(control, "GET", "/devices", "");
    assert_eq!(status, 200);
    assert!(live["civil"].as_i64().unwrap() >= at(3, 9, 30).0 - 1000);
    assert_eq!(live["devices"].as_array().unwrap().len(), 4);

    assert_eq!(http(control, "POST", "/set", r#"{"signal":"fridge-1/temperature","value":13.5}"#).0, 200);
    assert_eq!(http(control, "POST", "/fault", r#"{"target":"steam/1","fault":"silent","for":"5m"}"#).0, 200);
    let (_, live) = http(control, "GET", "/devices", "");
    let fridge = live["devices"].as_array().unwrap().iter().find(|d| d["id"] == "fridge-1").unwrap();
    assert_eq!(fridge["signals"]["temperature"]["shown"], 13.5);
    let faults = live["faults"].as_array().unwrap();
    assert!(faults.iter().any(|f| f["target"] == "steam/1" && f["fault"] == "silent"), "{faults:?}");

    let (status, answer) = http(control, "POST", "/fault", r#"{"target":"steam/9","fault":"silent"}"#);
    assert_eq!((status, &answer["error"]), (422, &Value::from("`steam` has no unit `9`")));
    assert_eq!(http(control, "POST", "/clear", "{}").0, 200);
}
