//! The hour of installation: four sensors out of their boxes, all with unit id 1, and a person who answers questions.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::api::client;
use e2e::gateway::command;
use e2e::ground::program;
use e2e::{Place, Process, eventually};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::sites::head;

const WITHIN: Duration = Duration::from_mins(1);

/// Four sensors, each at the end of a line of its own, all plugged into one socket.
fn scenario(transport: &str) -> String {
    let mut text = String::from(
        "[scenario]\nname = \"boxes\"\ntitle = { zh = \"四台\", en = \"Four of them\" }\nseed = 1\n\n[[air]]\nid = \"air-1\"\n\n[[supply]]\nid = \"socket\"\n",
    );
    for n in 1..=4 {
        let end = format!(
            "\n[[endpoint]]\nname = \"box-{n}\"\ntransport = \"{transport}\"\n  [[endpoint.unit]]\n  unit = 1\n  map = \"xy-md02\"\n  \
             supply = \"socket\"\n  terminals = {{ temperature = \"air-1/temperature\", humidity = \"air-1/humidity\" }}\n"
        );
        text.push_str(&end);
    }
    text
}

/// The plug at the end of the cable: whoever calls reaches the device that is plugged in now.
enum Plug {
    /// A serial server.
    Server(Arc<Mutex<String>>, String),
    /// A serial port: the same path, whichever pty is behind it.
    Port(PathBuf),
}

impl Plug {
    async fn server() -> Self {
        let target: Arc<Mutex<String>> = Arc::default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let leads_to = Arc::clone(&target);
        tokio::spawn(async move {
            while let Ok((mut outside, _)) = listener.accept().await {
                let to = leads_to.lock().unwrap().clone();
                tokio::spawn(async move {
                    if let Ok(mut inside) = TcpStream::connect(to).await {
                        // Either side hangs up: that was that.
                        tokio::io::copy_bidirectional(&mut outside, &mut inside).await.ok();
                    }
                });
            }
        });
        Self::Server(target, address)
    }

    fn address(&self) -> String {
        match self {
            Self::Server(_, address) => address.clone(),
            Self::Port(path) => path.to_string_lossy().into_owned(),
        }
    }

    fn lead_to(&self, address: &str) {
        match self {
            Self::Server(target, _) => address.clone_into(&mut target.lock().unwrap()),
            Self::Port(path) => {
                let new = path.with_extension("new");
                std::os::unix::fs::symlink(address, &new).unwrap();
                std::fs::rename(new, path).unwrap();
            }
        }
    }
}

/// `gateway commission`, and somebody who types.
struct Session {
    child: Child,
    log: std::path::PathBuf,
}

impl Session {
    fn start(place: &Place, args: &[&str]) -> Self {
        let log = place.path().join("talk");
        let child = Command::new(program("gateway"))
            .arg("commission")
            .args(args)
            .current_dir(place.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    fn types(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
    }

    /// Waits until the last question holds this.
    async fn asked(&self, text: &str) {
        eventually(&format!("it asks `{text}`"), WITHIN, async || {
            let talk = std::fs::read_to_string(&self.log).unwrap();
            if talk.lines().last().is_some_and(|line| line.contains(text)) { Ok(()) } else { Err(talk) }
        })
        .await;
    }

    /// Waits until it has asked this so many times.
    async fn asked_times(&self, text: &str, times: usize) {
        eventually(&format!("it asks `{text}` {times} times"), WITHIN, async || {
            let talk = self.talk();
            if talk.matches(text).count() >= times { Ok(()) } else { Err(talk) }
        })
        .await;
    }

    fn talk(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

async fn control(simulator: &Value, what: &str, body: Value) {
    let to = format!("{}/{what}", simulator["control"].as_str().unwrap());
    let answer = client().post(to).header("content-type", "application/json").body(body.to_string());
    assert!(answer.send().await.unwrap().status().is_success(), "{what} {body}");
}

/// Takes the power of all boxes for a moment.
async fn power_off_and_on(simulator: &Value) {
    let socket = async |wanted: f64| {
        let points = format!("{}/points", simulator["control"].as_str().unwrap());
        eventually(&format!("the socket is at {wanted}"), WITHIN, async || {
            let seen: Vec<Value> = client().get(&points).send().await.unwrap().json().await.unwrap();
            let on = seen.iter().find(|point| point["signal"] == "socket/on").unwrap()["shown"].as_f64();
            if on == Some(wanted) { Ok(()) } else { Err(format!("{on:?}")) }
        })
        .await;
    };
    control(simulator, "fault", json!({ "target": "socket", "fault": "no-power" })).await;
    socket(0.0).await;
    control(simulator, "clear", json!({ "target": "socket" })).await;
    socket(1.0).await;
}

/// Four devices, one after the other, by a person who answers what is asked. Without a second one on the line at first nothing begins.
async fn install(session: &mut Session, plug: &Plug, simulator: &Value) {
    let serial = matches!(plug, Plug::Port(_));
    // A second device was left on the line: nothing is written.
    session.asked("第1台").await;
    control(simulator, "fault", json!({ "target": "box-1/1", "fault": "same-unit-id" })).await;
    session.types("");
    eventually("two devices are noticed", WITHIN, async || {
        let talk = session.talk();
        if talk.contains("more than one device") { Ok(()) } else { Err(talk) }
    })
    .await;
    control(simulator, "clear", json!({})).await;
    for (signal, value) in [("air-1/temperature", 4.5), ("air-1/humidity", 50.5)] {
        control(simulator, "set", json!({ "signal": signal, "value": value })).await;
    }
    let mut switched = 0;
    for n in 1..=4 {
        plug.lead_to(&box_at(simulator, n));
        session.asked(&format!("第{n}台")).await;
        session.types("");
        session.asked("new unit id").await;
        // The offered one, and once another.
        session.types(if n == 3 { "9" } else { "" });
        if serial {
            switched += 1;
            session.asked_times("switch it off and on again", switched).await;
            if n == 1 {
                // It was not: nothing is believed.
                session.types("");
                switched += 1;
                session.asked_times("switch it off and on again", switched).await;
            }
            power_off_and_on(simulator).await;
            session.types("");
        }
        session.asked("device id").await;
        session.types(&format!("fridge-{n}"));
        session.asked("名称").await;
        session.types(&format!("{n}号冰箱"));
        session.asked("place").await;
        session.types("门诊一楼");
        session.asked("serial").await;
        session.types(&format!("SN-{n}"));
        session.asked("temperature 4.5 °C").await;
        session.types("4.3");
        session.asked("humidity 50.5 %").await;
        session.types("");
        session.asked("another one").await;
        session.types(if n == 4 { "n" } else { "y" });
    }
}

fn box_at(simulator: &Value, n: usize) -> String {
    simulator["endpoints"][format!("box-{n}")].as_str().unwrap().to_owned()
}

/// Lines for the site file, and the sheet without its date.
fn printed(session: Session, place: &Place) -> (String, String) {
    let talk = session.log.clone();
    let output = session.child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", std::fs::read_to_string(talk).unwrap());
    let sheet = std::fs::read_to_string(place.path().join("acceptance.md")).unwrap();
    let dated = sheet.lines().find(|line| line.starts_with("日期 date: 20")).expect("the sheet has a date");
    (String::from_utf8(output.stdout).unwrap(), sheet.replace(dated, "日期 date: DATE  "))
}

#[tokio::test]
async fn four_sensors_with_unit_id_1_get_their_addresses_names_and_places() {
    let place = Place::new("commission");
    let file = place.write("boxes.toml", &scenario("rtu-over-tcp"));
    let args = ["run", file.to_str().unwrap(), "--json"];
    let mut simulator = Process::start("firmware-sim", &program("firmware-sim"), args, place.path());
    let up = simulator.json().await;
    let plug = Plug::server().await;
    plug.lead_to(&box_at(&up, 1));
    let address = plug.address();
    let mut session = Session::start(
        &place,
        &[&address, "--profile", "xy-md02", "--rtu", "--bus", "fridges", "--baud", "4800", "--wait", "100"],
    );
    install(&mut session, &plug, &up).await;
    let (lines, sheet) = printed(session, &place);
    assert_eq!(lines, include_str!("commission/lines.txt"), "\n{lines}");
    assert_eq!(sheet, include_str!("commission/sheet.md"), "\n{sheet}");

    // The devices have what the sheet says: found by somebody who knows nothing of them.
    for (n, unit) in [(1, 2), (2, 3), (3, 9), (4, 10)] {
        let address = box_at(&up, n);
        let seen = command(["probe", &address, "--units", "1-12", "--wait", "100"]).good();
        let wanted = include_str!("commission/probe.txt");
        let seen = seen.replace(&address, "ADDRESS").replace(&format!("unit {unit}\n"), "unit N\n");
        let seen =
            seen.replace(&format!("unit = {unit},"), "unit = N,").replace(&format!("-{unit}\""), "-N\"");
        assert_eq!(seen, wanted, "box {n}\n{seen}");
    }
    // Registers of an instrument that nobody knows, watched for two seconds.
    let address = box_at(&up, 1);
    let args = ["--units", "2", "--at", "30002", "--count", "2", "--seconds", "2", "--wait", "100"];
    let seen = command([&["probe", address.as_str()], &args[..]].concat()).good();
    assert!(seen.contains("input 0x0001 / 2  u16   45 … 45"), "{seen}");
    simulator.assert_log(&[]);
}

/// On a serial port the speed is ours: a device that was given one is believed when it answered at it, and who knows nothing of it finds it.
#[tokio::test]
async fn on_a_serial_port_they_are_met_again_at_their_new_speed() {
    let place = Place::new("commission-serial");
    let file = place.write("boxes.toml", &scenario("rtu"));
    let args = ["run", file.to_str().unwrap(), "--json"];
    let mut simulator = Process::start("firmware-sim", &program("firmware-sim"), args, place.path());
    let up = simulator.json().await;
    let plug = Plug::Port(place.path().join("ttyUSB0"));
    plug.lead_to(&box_at(&up, 1));
    let address = plug.address();
    let mut session = Session::start(
        &place,
        // An answer that a busy machine brings later than this would look like a second device.
        &[&address, "--profile", "xy-md02", "--bus", "fridges", "--baud", "4800", "--wait", "250"],
    );
    install(&mut session, &plug, &up).await;
    let talk = session.talk();
    let (lines, sheet) = printed(session, &place);
    assert_eq!(lines, include_str!("commission/lines.txt"), "\n{lines}");
    assert_eq!(sheet, include_str!("commission/sheet-serial.md"), "\n{sheet}\n{talk}");

    for (n, unit) in [(1, 2), (3, 9)] {
        let address = box_at(&up, n);
        let found = command(["probe", &address, "--units", "1-12", "--wait", "100"]).good();
        let wanted = include_str!("commission/probe-serial.txt");
        let seen = found.replace(&address, "ADDRESS").replace(&format!("unit {unit}\n"), "unit N\n");
        let seen =
            seen.replace(&format!("unit = {unit},"), "unit = N,").replace(&format!("-{unit}\""), "-N\"");
        assert_eq!(seen, wanted, "box {n}\n{seen}");
        // What it prints is pasted as it is.
        let site = place.write(&format!("pasted-{n}.toml"), &(head("pasted", None, "5s") + "\n" + &found));
        let read = command(["once", "--json", site.to_str().unwrap()]).good();
        assert!(read.contains(&format!("\"xy-md02-{unit}/temperature\"")) && read.contains("4.5"), "{read}");
    }
    // At the old speed nobody answers, and what was tried is said.
    let nobody = command(["probe", &box_at(&up, 1), "--units", "1-3", "--wait", "50", "--speed", "9600"]);
    assert_eq!(nobody.code, Some(1), "{nobody:?}");
    simulator.assert_log(&[]);
}

#[test]
fn what_cannot_be_set_over_the_line_is_said_before_anything_happens() {
    let refused = |args: &[&str]| {
        let ended = command([&["commission", "127.0.0.1:9"], args].concat());
        assert_eq!(ended.code, Some(2), "{ended:?}");
        ended.stderr
    };
    assert!(refused(&["--profile", "xy-md20"]).contains("did you mean `xy-md02`?"));
    assert!(refused(&["--profile", "rs-ws-n01"]).contains("use the vendor's tool"));
    assert!(refused(&["--profile", "xy-md02", "--baud", "300"]).contains("known: 4800, 9600, 19200"));
}
