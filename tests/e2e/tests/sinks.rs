//! Sinks against programs that are not ours: VictoriaMetrics, InfluxDB 1, mosquitto, the libraries of InfluxDB and of the
//! Standard Webhooks project. A gateway lives two days of the demo's clinic; what its journal holds is what must arrive.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::databases::Database;
use e2e::gateway::command;
use e2e::ground::{root, target};
use e2e::mqtt::Mosquitto;
use e2e::records::{at_gateway, key};
use e2e::{Gateway, Place, Process, eventually};
use gateway::sinks::line::Line;
use gateway_model::{ConclusionBody, Input, Reading};
use gateway_wire::Body;
use serde_json::{Value, json};

use crate::sites::prepared_clinic;

/// Two days of a clinic on a busy machine.
const WITHIN: Duration = Duration::from_mins(3);

fn python() -> std::path::PathBuf {
    let python = target().join("venv/bin/python");
    assert!(python.exists(), "{} is not there: run `cargo xtask ci --only venv`", python.display());
    python
}

/// What a journal holds that goes out: distinct (point, ms) of readings, of those with a number, and alert changes.
struct Held {
    readings: BTreeSet<(u32, i64)>,
    numbers: BTreeSet<(u32, i64)>,
    alerts: usize,
}

fn held(data: &Path) -> Held {
    let key = key(data).verifying_key();
    let mut held = Held { readings: BTreeSet::new(), numbers: BTreeSet::new(), alerts: 0 };
    for found in at_gateway(data) {
        match found.open(&key).1 {
            Body::Inputs(inputs) => {
                for item in inputs.items {
                    let Input::Reading(Reading { point, at, value }) = item else { continue };
                    held.readings.insert((point.0, at.0));
                    if value.number().is_some_and(|raw| raw.number().is_some()) {
                        held.numbers.insert((point.0, at.0));
                    }
                }
            }
            Body::Conclusions(conclusions) => {
                let alerts = conclusions.list.iter();
                held.alerts += alerts.filter(|c| matches!(c.body, ConclusionBody::Alert(_))).count();
            }
            Body::Start(_)
            | Body::Config(_)
            | Body::Checkpoint(_)
            | Body::Gap(_)
            | Body::Parted(_)
            | Body::Part(_) => {}
        }
    }
    held
}

/// Distinct samples of a metric.
async fn samples(database: &Database, metric: &str) -> usize {
    let series = database.exported(metric).await;
    series
        .iter()
        .map(|series| {
            series["timestamps"]
                .as_array()
                .unwrap()
                .iter()
                .map(Value::to_string)
                .collect::<BTreeSet<_>>()
                .len()
        })
        .sum()
}

async fn sink(gateway: &Gateway, name: &str) -> Result<Value, String> {
    let status = gateway.status().await?;
    let sinks = status["sinks"].as_array().ok_or("no sinks")?;
    sinks.iter().find(|sink| sink["name"] == name).cloned().ok_or_else(|| format!("no sink {name}: {status}"))
}

/// Position as numbers.
fn position(value: &Value) -> Option<(u64, u64)> {
    let (epoch, seq) = value.as_str()?.split_once('/')?;
    Some((epoch.parse().ok()?, seq.parse().ok()?))
}

/// `gateway sink drain`, to the end.
fn drained(gateway: &Gateway, name: &str) {
    let said = command(["sink", "drain", &gateway.data().to_string_lossy(), name]).good();
    let shown: Value = serde_json::from_str(said.trim()).unwrap();
    assert_eq!(shown["cursor"], shown["newest"], "{shown}");
    assert_eq!((&shown["gaps"], &shown["aside"]), (&json!(0), &json!(0)), "{shown}");
}

#[tokio::test]
async fn two_days_of_a_clinic_are_in_both_databases_to_the_last_reading() {
    let place = Place::new("sinks-databases");
    let victoria = Database::victoria_metrics(&place).await;
    let influx = Database::influxdb_1(&place, "clinic").await;
    let more = format!(
        r#"
[[sink]]
name = "victoria"
kind = "influxdb"
url = "{}"
org = "o"
bucket = "b"

[[sink]]
name = "influx-1"
kind = "influxdb"
api = "v1"
url = "{}"
database = "clinic"
lines = 2000
every = "1s"
"#,
        victoria.url, influx.url
    );
    let (mut clinic, _) = prepared_clinic(&place, &more).await;
    clinic.run().await;
    let begun = position(&clinic.status().await.unwrap()["last"]).unwrap();
    eventually("both sinks have what was there when the gateway began", WITHIN, async || {
        for name in ["victoria", "influx-1"] {
            let shown = sink(&clinic, name).await?;
            if position(&shown["cursor"]) < Some(begun) || shown["state"] != "works" {
                return Err(shown.to_string());
            }
        }
        Ok(())
    })
    .await;
    clinic.stop();
    clinic.program().assert_log(&[
        "not enrolled at a center",
        "cannot connect to",
        "trying again, said once",
    ]);
    // What came since, to the last record.
    drained(&clinic, "victoria");
    drained(&clinic, "influx-1");

    let held = held(clinic.data());
    assert!(held.readings.len() > 5_000 && held.alerts > 5, "{} {}", held.readings.len(), held.alerts);
    eventually("VictoriaMetrics gives back every reading", WITHIN, async || {
        let found = (samples(&victoria, "reading_quality").await, samples(&victoria, "reading_value").await);
        let wanted = (held.readings.len(), held.numbers.len());
        if found == wanted { Ok(()) } else { Err(format!("{found:?} of {wanted:?}")) }
    })
    .await;
    let found = (
        influx.number("clinic", "SELECT count(quality) FROM reading").await,
        influx.number("clinic", "SELECT count(value) FROM reading").await,
    );
    assert_eq!(found, (held.readings.len() as u64, held.numbers.len() as u64));
    assert!(influx.number("clinic", "SELECT count(event) FROM alert").await > 0);
}

#[tokio::test]
async fn everything_reaches_a_broker_that_is_stopped_and_started_in_between() {
    let place = Place::new("sinks-mqtt");
    let broker = Mosquitto::start_keeping(&place).await;
    // A session that lasts, opened before anything is sent.
    let received = place.path().join("received.txt");
    let subscribe = |port: u16| {
        Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "mosquitto_sub",
                "-V",
                "5",
                "-c",
                "-x",
                "3600",
                "-i",
                "listener",
                "-q",
                "1",
            ])
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-t", "health/#", "-F", "%r %t %p"])
            .stdout(File::options().create(true).append(true).open(&received).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut listener = subscribe(broker.port());
    eventually("the listener has subscribed", WITHIN, async || {
        if broker.log().contains("listener") { Ok(()) } else { Err(broker.log()) }
    })
    .await;
    let more = format!(
        "\n[[sink]]\nname = \"district\"\nkind = \"mqtt\"\nurl = \"mqtt://{}\"\nprefix = \"health\"\nbegin = \"oldest\"\n",
        broker.address()
    );
    let (mut clinic, _) = prepared_clinic(&place, &more).await;
    clinic.run().await;
    let begun = position(&clinic.status().await.unwrap()["last"]).unwrap();
    let delivered = async |clinic: &Gateway| {
        clinic.metrics().await.sum("nonsite_gateway_sink_total", &["district", "delivered"])
    };
    eventually("some has gone out", WITHIN, async || {
        let n = delivered(&clinic).await;
        if n > 500.0 { Ok(()) } else { Err(n.to_string()) }
    })
    .await;
    let broker = broker.restart().await;
    eventually("everything that was there has gone out", WITHIN, async || {
        let shown = sink(&clinic, "district").await?;
        let through = position(&shown["cursor"]) >= Some(begun) && shown["state"] == "works";
        if through { Ok(()) } else { Err(shown.to_string()) }
    })
    .await;
    clinic.stop();
    drained(&clinic, "district");
    let held = held(clinic.data());
    let read = || std::fs::read_to_string(&received).unwrap();
    // The time in the payload is civil; each point has one reading a moment.
    let distinct = |text: &str| {
        let readings = text.lines().filter(|line| line.contains("/reading/"));
        readings.map(|line| line.split_once(' ').unwrap().1.to_owned()).collect::<BTreeSet<_>>().len()
    };
    eventually("the listener has every reading", WITHIN, async || {
        let n = distinct(&read());
        if n == held.readings.len() { Ok(()) } else { Err(format!("{n} of {}", held.readings.len())) }
    })
    .await;
    listener.kill().unwrap();
    listener.wait().unwrap();
    // What is kept: the newest change of each alert, and that the gateway said good-bye.
    let kept = Command::new("mosquitto_sub")
        .args(["-h", "127.0.0.1", "-p", &broker.port().to_string(), "-t", "health/#", "-W", "3"])
        .args(["--retained-only", "-F", "%t %p"])
        .output()
        .unwrap();
    let kept = String::from_utf8(kept.stdout).unwrap();
    assert!(kept.contains("/gateway {\"gateway\"") && kept.contains("\"state\":\"offline\""), "{kept}");
    let alerts: Vec<&str> = kept.lines().filter(|line| line.contains("/alert/")).collect();
    assert!(!alerts.is_empty(), "{kept}");
    let events = read().lines().filter(|line| line.contains("/alert/")).count();
    assert!(events >= held.alerts, "{events} of {}", held.alerts);
}

#[tokio::test]
async fn a_strict_receiver_believes_every_webhook() {
    const SECRET: &str = "whsec_bm9uc2l0ZSB3ZWJob29rIHNlY3JldCAzMiBieXRlcw==";
    let place = Place::new("sinks-webhook");
    place.write("hook.secret", SECRET);
    let script = root().join("tests/e2e/peers/webhook_receiver.py");
    let mut receiver =
        Process::start("receiver", &python(), [script.as_os_str(), SECRET.as_ref()], place.path());
    let port = receiver.line().await;
    let more = format!(
        "\n[[sink]]\nname = \"platform\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{port}/alerts\"\n\
         secret_files = [\"hook.secret\"]\nbegin = \"oldest\"\n\
         \n[[sink]]\nname = \"from-now\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:1/\"\n"
    );
    let (mut clinic, _) = prepared_clinic(&place, &more).await;
    clinic.run().await;
    let mut events = Vec::new();
    for _ in 0..10 {
        let told = receiver.json().await;
        assert_eq!(told["good"], true, "{told}");
        assert_eq!(told["type"], "application/cloudevents+json; charset=utf-8");
        assert_eq!(told["event"]["id"], told["id"]);
        events.push(told);
    }
    assert_eq!((&events[0]["status"], &events[1]["status"]), (&json!(500), &json!(204)));
    assert_eq!(events[0]["event"], events[1]["event"], "the same message again");
    let ids: BTreeSet<String> = events[1..].iter().map(|told| told["id"].to_string()).collect();
    assert_eq!(ids.len(), 9, "after that each once");
    // A new webhook tells nobody of what was before it: it does not wait with the first message for where nobody is.
    let shown = sink(&clinic, "from-now").await.unwrap();
    let first: u64 = events[0]["id"].as_str().unwrap().split('-').nth(1).unwrap().parse().unwrap();
    assert!(position(&shown["cursor"]).is_some_and(|(_, seq)| seq > first), "{first} {shown}");
    clinic.stop();
    // Not in the site file any more: parked, listed, and not touched.
    let text = std::fs::read_to_string(clinic.site()).unwrap();
    std::fs::write(clinic.site(), text.split("\n[[sink]]").next().unwrap()).unwrap();
    let data = clinic.data().to_string_lossy().into_owned();
    clinic.run().await;
    let listed = command(["sink", "list", &data]).good();
    assert!(listed.contains("platform (webhook): nobody works it"), "{listed}");
    clinic.stop();
    assert!(clinic.program().log().contains("parked"), "{}", clinic.program().log());
}

#[test]
fn the_clients_of_influxdb_write_the_same_lines() {
    use std::io::Write as _;
    let names = [
        "plain",
        "a b",
        "a,b",
        "a=b",
        "温度",
        "quo\"te",
        "back\\slash",
        "end\\",
        "tab\there",
        "line\nbreak",
        "é,=  x",
    ];
    let floats = [
        0.0,
        -0.0,
        1.0,
        25.1,
        -3.25,
        1e-9,
        1.5e300,
        f64::from(f32::MAX),
        0.1 + 0.2,
        1e15,
        1e16,
        123_456_789.125,
    ];
    let mut points = Vec::new();
    // Their client leaves a backslash at the end of a measurement or key as it is, and it swallows the comma behind it; ours
    // gets a space, as a tag value does with both.
    for (i, name) in names.iter().enumerate().filter(|(_, name)| !name.ends_with('\\')) {
        for (j, value) in floats.iter().enumerate() {
            let other = names[(i + j) % names.len()];
            let line = Line::new(name)
                .tag("a", other)
                .tag(&format!("k{name}"), "v")
                .float("f", Some(*value))
                .integer("i", i64::from(j as i32) - 5)
                .text("t", &format!("{other} \"{name}\" \\"))
                .at(1_700_000_000_000 + j as i64)
                .unwrap();
            let told = json!({
                "measurement": name, "at": 1_700_000_000_000_i64 + j as i64,
                "tags": [["a", other], [format!("k{name}"), "v"]],
                "fields": [["f", value], ["i", j as i64 - 5], ["t", format!("{other} \"{name}\" \\")]],
            });
            points.push((told, line));
        }
    }
    let mut encoder = Command::new(python())
        .arg(root().join("tests/e2e/peers/line_protocol.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = encoder.stdin.take().unwrap();
    let lines: Vec<String> = points.iter().map(|(told, _)| told.to_string()).collect();
    let input = lines.join("\n") + "\n";
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = encoder.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let theirs: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(theirs.len(), points.len());
    for ((_, ours), theirs) in points.iter().zip(&theirs) {
        // Both write a float in their language's shortest form; what counts is the number.
        let number = |line: &str| {
            let from = line.rfind(" f=").or_else(|| line.rfind(",f=")).unwrap() + 3;
            let to = from + line[from..].find(',').unwrap();
            (line[..from].to_owned(), line[from..to].parse::<f64>().unwrap().to_bits(), line[to..].to_owned())
        };
        assert_eq!(number(ours), number(theirs), "\nours:   {ours}\ntheirs: {theirs}");
    }
}
