//! Sites of the tests: their files, and the demo's clinic.

use std::process::Command;

use e2e::center::INSTITUTION;
use e2e::clock::real_now;
use e2e::ground::{program, root};
use e2e::{Clock, Gateway, Place};

/// Head of every site file: who, where records go, a page and a broker anywhere, records sealed every `seal`.
pub(crate) fn head(id: &str, center: Option<&str>, seal: &str) -> String {
    let center = center.map(|url| format!("[center]\nurl = \"{url}\"\n")).unwrap_or_default();
    format!(
        r#"[site]
id = "{id}"
institution = "{INSTITUTION}"
name = {{ zh = "测试场所", en = "Test site" }}
utc_offset_min = 480

{center}
[journal]
seal_every = "{seal}"

[page]
listen = "127.0.0.1:0"
"#
    )
}

/// A bus.
pub(crate) fn bus(name: &str, transport: &str, address: &str) -> String {
    format!(
        r#"
[[bus]]
name = "{name}"
transport = "{transport}"
address = "{address}"
timeout = "500ms"
"#
    )
}

/// A fridge whose probe is channel 1 of an MB8ART, unit 1.
pub(crate) fn fridge(id: &str, bus: &str, every: &str) -> String {
    format!(
        r#"
[[device]]
id = "{id}"
kind = "fridge"
name = {{ zh = "药品冰箱 {id}", en = "Medicine {id}" }}
[[device.read]]
bus = "{bus}"
unit = 1
profile = "mb8art"
map = {{ temperature = "channel-1" }}
every = "{every}"
"#
    )
}

/// A disinfection cabinet: channel 1 of unit 1, door at input 1 of unit 2.
pub(crate) fn cabinet(id: &str, bus: &str, every: &str) -> String {
    format!(
        r#"
[[device]]
id = "{id}"
kind = "disinfection-cabinet"
name = {{ zh = "消毒柜", en = "Cabinet" }}
program = "catering-100/10"
[[device.read]]
bus = "{bus}"
unit = 1
profile = "mb8art"
map = {{ temperature = "channel-1" }}
every = "{every}"
[[device.read]]
bus = "{bus}"
unit = 2
profile = "waveshare-8di"
map = {{ door = "di-1" }}
every = "{every}"
"#
    )
}

/// A device that only listens, by MQTT.
pub(crate) fn listener(id: &str, kind: &str, topic: &str, profile: &str, rest: &str) -> String {
    format!(
        r#"
[[device]]
id = "{id}"
kind = "{kind}"
name = {{ zh = "{id}", en = "{id}" }}
[[device.mqtt]]
topic = "{topic}"
profile = "{profile}"
{rest}
"#
    )
}

const DAY_MS: i64 = 24 * 3_600_000;

/// Two days at the clinic of the demo, lived by a gateway that has stopped, and when they began (a local midnight): sterilizer
/// cycles, a fridge, a lamp, visits, and on the second day what the scenario breaks.
pub(crate) async fn demo_clinic(place: &Place) -> (Gateway, i64) {
    let (mut clinic, from) = prepared_clinic(place, "").await;
    clinic.run().await;
    clinic.stop();
    (clinic, from)
}

/// The same before its gateway has run, with more at the end of its site file.
pub(crate) async fn prepared_clinic(place: &Place, more: &str) -> (Gateway, i64) {
    let from = (real_now() - 3 * DAY_MS).div_euclid(DAY_MS) * DAY_MS - DAY_MS / 3;
    let recording = place.path().join("day.jsonl");
    let status = Command::new(program("firmware-sim"))
        .args(["history", "clinic", "--from", &from.to_string(), "--days", "2", "--every", "10s", "--out"])
        .arg(&recording)
        .status()
        .unwrap();
    assert!(status.success());
    // At speed 1: the seconds that eating the history takes are not minutes of silence.
    let clock = Clock::start(place, from + 2 * DAY_MS, 1);
    let site = std::fs::read_to_string(root().join("deploy/example/clinic.toml")).unwrap() + more;
    let clinic = Gateway::prepare(place, "clinic", &site, None, Some(&clock))
        .await
        .with(&["--history", &recording.to_string_lossy()]);
    (clinic, from)
}
