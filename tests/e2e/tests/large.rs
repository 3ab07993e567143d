//! A site of many points whose config no single record holds: read, recorded, sent, shown and verified.

use std::fmt::Write as _;
use std::time::Duration;

use e2e::ground::program;
use e2e::{Center, Gateway, Place, Process, eventually, gateway};

use crate::evidence::{agree, golden};
use crate::sites::{bus, head};

const DEVICES: usize = 200;
const POINTS: usize = 100;
/// On each port.
const UNITS: usize = 50;
/// Every point once, on a busy machine.
const WITHIN: Duration = Duration::from_mins(2);

/// Letters without a pattern: names so long that the config takes more than a record.
fn noise(length: usize, dice: &mut u64) -> String {
    let mut letter = || {
        *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[(*dice >> 58) as usize],
        )
    };
    (0..length).map(|_| letter()).collect()
}

/// Two tables of a hundred devices each.
fn tables(place: &Place) {
    let mut dice = 1;
    for (name, devices) in [("a.csv", 0..DEVICES / 2), ("b.csv", DEVICES / 2..DEVICES)] {
        let mut text = "id,kind,name.zh,name.en,bus,unit,every,profile\n".to_owned();
        for n in devices {
            let (line, unit) = (n / UNITS, n % UNITS + 1);
            let (zh, en) = (noise(4_500, &mut dice), noise(4_500, &mut dice));
            writeln!(text, "meter-{n},sensor,{zh},{en},line-{line},{unit},5s,many").unwrap();
        }
        place.write(name, &text);
    }
    place.write(
        "many.toml",
        &format!(
            "name = \"many\"\ntransport = \"modbus\"\nmark = \"P\"\ntitle = {{ zh = \"多\", en = \"Many\" }}\n\
             [[field]]\nname = \"v_{{n}}\"\nrepeat = {POINTS}\nat = \"holding 0x0000\"\ntype = \"u16\"\nunit = \"W\"\ngain = 0.1\n"
        ),
    );
}

#[tokio::test]
async fn twenty_thousand_points_are_read_recorded_sent_and_verified() {
    let place = Place::new("large");
    let center = Center::start(&place, None).await;
    let load = ["load", "--devices", "200", "--points", "100", "--units", "50", "--every", "5s", "--json"];
    let mut devices = Process::start("load", &program("firmware-sim"), load, place.path());
    let up = devices.json().await;
    let addresses = up["addresses"].as_array().expect("it says where it listens").clone();
    tables(&place);
    let mut site = head("large", Some(&center.url), "5s");
    site += "\n[profiles]\nfiles = [\"many.toml\"]\n\n[devices]\nfiles = [\"a.csv\", \"b.csv\"]\n";
    for (n, address) in addresses.iter().enumerate() {
        site += &bus(&format!("line-{n}"), "tcp", address.as_str().unwrap());
    }
    let mut gateway = Gateway::start(&place, &site, Some(&center), None).await;
    let data = gateway.data().to_string_lossy().into_owned();
    let all = DEVICES * POINTS;
    let path = format!("/api/v1/points?gateway={}", gateway.id);
    for life in 0..2 {
        eventually("every point at the center", WITHIN, async || {
            let points = center.api().get(&path).await;
            let points = points["points"].as_array().unwrap().clone();
            let good = points.iter().filter(|point| point["quality"] == "good").count();
            if good == all { Ok(()) } else { Err(format!("{good} good of {}", points.len())) }
        })
        .await;
        gateway.stop();
        if life == 0 {
            gateway.run().await;
        }
    }
    let stat: serde_json::Value =
        serde_json::from_str(&gateway::command(["journal", "stat", "--json", &data]).good()).unwrap();
    assert_eq!((&stat["kinds"]["config"], &stat["kinds"]["start"]), (&2.into(), &2.into()));
    assert!(stat["kinds"]["part"].as_u64().unwrap() >= 4, "{stat}");
    gateway::command(["rerun", &data]).good();
    let bundle = place.path().join("large.tar");
    let out = bundle.to_string_lossy().into_owned();
    gateway::command(["journal", "export", &data, "-o", &out]);
    let (_, policy) = golden();
    let (first, _) = agree(&bundle, &policy);
    assert_eq!(first.line("signatures")["facts"]["not_understood"], 0);
    assert_eq!(first.line("coverage")["facts"]["points"].as_array().unwrap().len(), all);
    let again = first.line("recomputation");
    assert_ne!(again["status"], "failed", "{again:#}");
    assert!(again["facts"]["inputs"].as_u64().unwrap() > 2 * all as u64, "{again:#}");
}
