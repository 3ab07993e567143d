//! Another configuration for a gateway that runs: what is kept, what is touched, what is refused, what is taken back.

mod bus;
mod ordered;
mod packs;
mod recorder;
mod running;
mod untouched;

use std::path::Path;

use gateway::config::{self, Site};

/// A pack of the site's own: hot for a minute.
pub(crate) const PACK: &str = r#"name = "own"
version = "1"
device = "room"
title = { zh = "房间", en = "Room" }

[points]
temperature = { unit = "°C", zh = "温度", en = "Temperature" }

[[rule]]
name = "hot"
when = "temperature > limit"
for = "60s"
clear_for = "10s"
priority = "orange"
first = "institution"
mark = "P"
title = { zh = "房间太热", en = "Room too hot" }
sentence = { zh = "{device}超过{limit}{unit}。", en = "{device} is above {limit} {unit}." }
action = { zh = "请降温。", en = "Cool it." }
norm = { zh = "测试", en = "a test" }
verify = { window = "2 h", coverage = 0.9 }
[rule.parameters]
limit = { default = "30 °C", min = "-30 °C", max = "90 °C", mark = "P", zh = "上限", en = "Upper limit" }
"#;

/// A site of its own pack, buses and rooms. `rooms`: (id, bus, unit).
pub(crate) fn rooms(buses: &[(&str, &str)], rooms: &[(&str, &str, u8)]) -> String {
    let text = r#"[site]
id = "house-1"
institution = "913300000000000191"
name = { zh = "房子", en = "House" }
utc_offset_min = 480

[journal]
seal_every = "5s"

[page]
listen = "127.0.0.1:0"

[packs]
files = ["own.toml"]
"#
    .to_owned();
    let buses = buses.iter().map(|(name, address)| {
        format!("\n[[bus]]\nname = \"{name}\"\ntransport = \"tcp\"\naddress = \"{address}\"\ntimeout = \"500ms\"\n")
    });
    let devices = rooms.iter().map(|(id, bus, unit)| {
        format!(
            "\n[[device]]\nid = \"{id}\"\nkind = \"room\"\nname = {{ zh = \"{id}\", en = \"{id}\" }}\n[[device.read]]\nbus = \"{bus}\"\nunit = {unit}\nprofile = \"mb8art\"\nmap = {{ temperature = \"channel-1\" }}\nevery = \"10s\"\n"
        )
    });
    std::iter::once(text).chain(buses).chain(devices).collect()
}

/// Writes site file and pack, and reads them.
pub(crate) fn write(dir: &Path, site: &str, pack: &str) -> Site {
    std::fs::write(dir.join("site.toml"), site).unwrap();
    std::fs::write(dir.join("own.toml"), pack).unwrap();
    let path = dir.join("site.toml");
    config::load(&path).unwrap_or_else(|problems| panic!("{}", config::explain(&problems, false)))
}

/// Compares with a file beside this one; `NONSITE_GOLDEN=write` writes it.
pub(crate) fn snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/daemon/change").join(name);
    if std::env::var("NONSITE_GOLDEN").is_ok_and(|wish| wish == "write") {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name}: NONSITE_GOLDEN=write writes it anew");
}
