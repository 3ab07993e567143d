//! Three scenarios over real sockets at speed 1: the programs as they are shipped, around the moment that matters.

use std::time::Duration;

use e2e::ground::{program, root};
use e2e::sim::{MIDNIGHT, alerts, compare};
use e2e::{Clock, Gateway, Place, Process, eventually};
use firmware_sim::scenario::Scenario;

/// So long before the first alert everything is started, seconds: the longest of their delays is a minute.
const BEFORE_S: i64 = 75;
/// An alert is seen on the page within.
const WITHIN: Duration = Duration::from_secs(200);

/// The simulator and the gateway, from shortly before the first expected alert until it is raised; then the records.
async fn live(name: &str) {
    let place = Place::new(&format!("sockets-{name}"));
    let scenario = Scenario::load(name, None).unwrap_or_else(|error| panic!("{error:?}"));
    let mut check = scenario.check.clone();
    let first = check.expects.iter().map(|expect| expect.raised.from).min().expect("an alert to wait for");
    let clock = Clock::start(&place, MIDNIGHT.0 + (first - BEFORE_S) * 1000, 1);

    let key = clock.path().to_string_lossy().into_owned();
    let from = MIDNIGHT.0.to_string();
    let args = ["run", name, "--json", "--demo-clock", &key, "--from", &from];
    let mut devices = Process::start("firmware-sim", &program("firmware-sim"), args, place.path());
    let up = devices.json().await;

    let text =
        std::fs::read_to_string(root().join(format!("deploy/example/{}.toml", check.sites[0]))).unwrap();
    let mut site: toml::Table = text.parse().unwrap();
    site.remove("center");
    for bus in site["bus"].as_array_mut().unwrap() {
        let address = up["endpoints"][bus["name"].as_str().unwrap()].clone();
        bus["address"] = address.as_str().expect("an endpoint for every bus").into();
    }
    for device in site["device"].as_array_mut().unwrap() {
        for read in device.get_mut("read").and_then(toml::Value::as_array_mut).into_iter().flatten() {
            read["every"] = "1s".into();
        }
    }
    let mut gateway = Gateway::start(&place, &site.to_string(), None, Some(&clock)).await;
    eventually("the page shows the alert", WITHIN, async || {
        let status = gateway.status().await?;
        match status["alerts"].as_array() {
            Some(open) if !open.is_empty() => Ok(()),
            _ => Err(format!("{}", status["alerts"])),
        }
    })
    .await;
    gateway.stop();
    drop(devices);

    // What comes later in the day is not expected of these minutes, and nothing is over yet.
    let seen = (clock.now() - MIDNIGHT.0) / 1000;
    check.expects.retain(|expect| expect.raised.from <= seen);
    check.expects.iter_mut().for_each(|expect| expect.cleared = None);
    if let Err(differences) = compare(&check, &alerts(gateway.data())) {
        panic!("{name}: other alerts than expected\n{differences}");
    }
}

#[tokio::test]
async fn three_scenarios_over_real_sockets_at_speed_1() {
    for name in ["cabinet-overheats", "door-under-pressure", "lamp-worn-out"] {
        live(name).await;
    }
}
