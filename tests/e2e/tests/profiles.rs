//! Every instrument of the simulator through the gateway's own profiles: two readings of the same manuals that share no
//! code. The values are those that other people's clients read in `sim_peers`.

use std::collections::BTreeMap;

use e2e::gateway::command;
use e2e::{Place, Process};
use serde_json::Value;

use crate::sim_peers::instruments;
use crate::sites::{bus, head};

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
    let mut text = head("profiles", None, "5s") + &bus("all", transport, address) + "\n";
    for (unit, profile, options, fields) in INSTRUMENTS {
        let map: Vec<String> =
            fields.iter().map(|(name, _)| format!("{} = \"{name}\"", name.replace('-', "_"))).collect();
        text += &format!(
            "[[device]]\nid = \"d-{unit}\"\nkind = \"sensor\"\nname = {{ zh = \"仪表\", en = \"Instrument\" }}\n\
             read = [{{ bus = \"all\", unit = {unit}, profile = \"{profile}\", map = {{ {} }}",
            map.join(", ")
        );
        if !options.is_empty() {
            text += &format!(", options = {{ {options} }}");
        }
        text += " }]\n";
    }
    text
}

fn all_agree(place: &Place, transport: &str, address: &str) {
    let file = place.write(&format!("{transport}-site.toml"), &site(transport, address));
    let said = command(["once", "--json", file.to_str().unwrap()]).good();
    let shown: BTreeMap<String, Value> = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| (line["point"].as_str().unwrap().to_owned(), line))
        .collect();
    let mut wrong = Vec::new();
    let mut read = 0;
    for (unit, profile, _, fields) in INSTRUMENTS {
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
    assert!(wrong.is_empty() && read > 60, "{transport}: {read} read\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_simulated_instrument_is_read_right_by_its_profile() {
    let place = Place::new("profiles");
    for transport in ["tcp", "rtu-over-tcp"] {
        let (simulator, address): (Process, String) = instruments(&place, transport).await;
        all_agree(&place, transport, &address);
        simulator.assert_log(&[]);
    }
}
