//! Site files: the examples load, a wrong one says everything.

use std::collections::BTreeSet;
use std::path::Path;

use gateway_model::{ModulePlan, Op, PointIx, Raw, RuleKind, Unit, WindowFunction};

use super::*;

const WRONG: &str = include_str!("wrong.toml");

fn example(name: &str) -> Site {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/example").join(name);
    load(&path).unwrap_or_else(|problems| panic!("{}", explain(&problems, false)))
}

fn rules(site: &Site) -> Vec<String> {
    let rule =
        |rule: &gateway_model::RulePlan| format!("{} {}", site.plan.devices[rule.subject.slot()].id, rule.id);
    site.plan.rules.iter().map(rule).collect()
}

fn point(site: &Site, id: &str) -> PointIx {
    PointIx::of(site.plan.points.iter().position(|point| point.id == id).unwrap())
}

#[test]
fn the_hotel_reads_two_cabinets_with_four_requests() {
    let site = example("hotel.toml");
    assert_eq!(site.warnings, []);
    let blocks: Vec<_> = site
        .blocks
        .iter()
        .map(|block| (block.bus, block.unit.0, block.function, block.first, block.count, block.points.len()))
        .collect();
    assert_eq!(
        blocks,
        [
            (0, 1, FunctionCode::InputRegisters, 0, 2, 2),
            (0, 2, FunctionCode::DiscreteInputs, 0, 2, 2),
            (1, 1, FunctionCode::InputRegisters, 12, 2, 1),
            (1, 2, FunctionCode::InputRegisters, 12, 2, 1),
        ]
    );
    assert_eq!(site.plan.buses, ["modules", "meters", "mqtt"]);
    assert_eq!(
        rules(&site),
        [
            "cabinet-1 disinfection-cabinet/cycle-failed",
            "cabinet-1 disinfection-cabinet/too-hot",
            "cabinet-1 disinfection-cabinet/door-open",
            "cabinet-1 disinfection-cabinet/cycle-unmeasured",
            "cabinet-1 disinfection-cabinet/cycle-aborted",
            "cabinet-1 disinfection-cabinet/hot-without-power",
            "cabinet-2 disinfection-cabinet/cycle-failed",
            "cabinet-2 disinfection-cabinet/too-hot",
            "cabinet-2 disinfection-cabinet/door-open",
            "cabinet-2 disinfection-cabinet/cycle-unmeasured",
            "cabinet-2 disinfection-cabinet/cycle-aborted",
            "cabinet-2 disinfection-cabinet/hot-without-power",
            "cabinet-1 gateway-self/device-unevaluable",
            "cabinet-2 gateway-self/device-unevaluable",
            "cabinet-1 gateway-self/bus-unevaluable",
        ]
    );
    let power = &site.plan.points[point(&site, "cabinet-1/power").slot()];
    assert_eq!((power.unit, power.gain, power.deadband), (Unit::Kilowatt, 0.001, 0.005));
    assert_eq!(power.source, "meters/1 input 0x000C f32");
    let temperature = &site.plan.points[point(&site, "cabinet-2/temperature").slot()];
    assert_eq!((temperature.deadband, temperature.sentinels.as_slice()), (0.0, [30_000, -30_000].as_slice()));
    let ModulePlan::HeatCycle(cycle) = &site.plan.modules[1] else { panic!() };
    assert_eq!((cycle.program.id.as_str(), cycle.program.hold_ms), ("accommodation-ir-125/30", 1_800_000));
}

/// A hotel must never read of dentists, clinics or patients.
#[test]
fn a_hotel_shows_no_word_of_another_trade() {
    let site = example("hotel.toml");
    let texts: Vec<_> = site.plan.rules.iter().map(|rule| &rule.text).collect();
    let names: Vec<_> = site.plan.points.iter().map(|point| &point.name).collect();
    let shown = format!("{:?} {:?} {texts:?} {names:?}", site.name, site.plan.devices);
    for word in ["牙科", "诊所", "患者", "医疗", "clinic", "dental", "patient"] {
        assert!(!shown.to_lowercase().contains(word), "{word}");
    }
}

#[test]
fn the_clinic_loads() {
    let site = example("clinic.toml");
    assert_eq!(site.warnings, []);
    let hot = site.plan.rules.iter().find(|rule| rule.id == "cold-chain/too-warm").unwrap();
    let temperature = point(&site, "fridge-1/temperature");
    let RuleKind::Condition { when, returned, on_delay_ms, shown, limit, .. } = &hot.kind else { panic!() };
    // The mean of a quarter of an hour.
    let windows = &site.plan.judging.as_ref().unwrap().windows;
    let slot = windows.iter().position(|window| (window.point, window.span_ms) == (temperature, 900_000));
    let window = slot.unwrap() as u32;
    let mean = Op::Window { window, point: temperature, function: WindowFunction::Average };
    assert_eq!(when.0, [mean, Op::Number(8.0), Op::Greater]);
    assert_eq!(returned.as_ref().unwrap().0, [mean, Op::Number(7.5), Op::Greater, Op::Not]);
    assert_eq!((*on_delay_ms, *shown, *limit), (1_800_000, Some(temperature), Some(8.0)));
    let lamp = &site.plan.points[point(&site, "lamp-1/irradiance").slot()];
    assert_eq!((lamp.unit, lamp.gain), (Unit::MicrowattPerCm2, 0.1));
    let pressure = &site.plan.points[point(&site, "sterilizer-1/pressure").slot()];
    assert_eq!((pressure.unit, pressure.gain, pressure.deadband), (Unit::Kilopascal, 0.1, 0.05));
    let feed = site.mqtt.iter().find(|plan| plan.topic == "clinic/dental/packed").unwrap();
    let packed = point(&site, "feed-1/packed");
    assert_eq!(feed.mapping, Mapping::Feed(FeedMapping { feed: Feed::Packed, point: packed }));
    // The fridge and the sterilizer hang on one line, lamp and feed on lines of their own.
    assert_eq!(rules(&site).iter().filter(|rule| rule.contains("bus-unevaluable")).count(), 1);
}

#[test]
fn the_hospital_loads_and_a_scale_says_stable_when_the_bit_says_not_unstable() {
    let site = example("hospital.toml");
    assert_eq!(site.warnings, []);
    let stable = &site.plan.points[point(&site, "scale-1/stable").slot()];
    assert_eq!(Raw::Int(0).value(stable.gain, stable.offset), Some(1.0));
    assert_eq!(Raw::Int(1).value(stable.gain, stable.offset), Some(0.0));
    let net = &site.plan.points[point(&site, "scale-1/net").slot()];
    let kg = Raw::Int(-15_889).value(net.gain, net.offset).unwrap();
    assert!((kg + 158.89).abs() < 1e-9, "{kg}");
    let rules = rules(&site);
    assert!(rules.contains(&"scale-1 medical-waste/overload".to_owned()));
    assert!(rules.contains(&"waste-1 medical-waste/storage-ends-soon".to_owned()));
    assert!(!rules.contains(&"waste-1 medical-waste/overload".to_owned()));
}

#[test]
fn a_wrong_site_file_says_every_problem_at_its_place() {
    let mut found: Vec<_> = load_str("wrong.toml", WRONG).unwrap_err();
    found.sort_by_key(|problem| (problem.span.start, problem.message.clone()));
    let lines: Vec<_> = found
        .iter()
        .map(|problem| match &problem.hint {
            Some(hint) => format!("{problem} | {}", hint.chars().take(40).collect::<String>()),
            None => problem.to_string(),
        })
        .collect();
    let wanted: Vec<_> = include_str!("wrong.txt").lines().collect();
    assert_eq!(lines, wanted, "\n{}\n", lines.join("\n"));
    let page = render(&found, &[Source { name: "wrong.toml".into(), text: WRONG.into() }], false);
    assert_eq!(page.matches("-->").count(), found.len(), "{page}");
    assert!(page.contains("adress = \"127.0.0.1:502\"\n   | ^^^^^^"), "{page}");
}

const SMALL: &str = r#"
[site]
id = "s"
institution = "923301000000000193"
name = { zh = "点", en = "Site" }
[broker]
listen = "127.0.0.1:0"
[[device]]
id = "f"
kind = "fridge"
name = { zh = "冰箱", en = "Fridge" }
[[device.mqtt]]
topic = "tele/fridge/SENSOR"
profile = "tasmota"
map = { temperature = "/DS18B20/Temperature" }
"#;

#[test]
fn settings_reach_the_rules_the_nearest_first() {
    let with = |text: &str| load_str("small.toml", &format!("{SMALL}{text}"));
    let site = with("[device.parameters]\n\"cold-chain/too-warm.limit\" = \"9 °C\"\n\"cold-chain/too-warm.for\" = \"10s\"\n[parameters]\n\"cold-chain/too-warm.limit\" = \"10 °C\"\n\"cold-chain/too-cold.limit\" = \"3 °C\"\n").unwrap();
    let limit = |name: &str| {
        site.plan.rules.iter().find(|rule| rule.id == name).map(|rule| match &rule.kind {
            RuleKind::Condition { limit, on_delay_ms, .. } => (limit.unwrap(), *on_delay_ms),
            RuleKind::Absence { .. }
            | RuleKind::CycleFailed { .. }
            | RuleKind::DeviceUnevaluable { .. }
            | RuleKind::BusUnevaluable { .. }
            | RuleKind::ClockUnevaluable { .. }
            | RuleKind::Event { .. } => panic!(),
        })
    };
    assert_eq!(limit("cold-chain/too-warm"), Some((9.0, 10_000)));
    let site_with = with("[parameters]\n\"cold-chain/too-warm.verify_window\" = \"20s\"\n").unwrap();
    assert!(site_with.plan.rules.iter().any(|rule| rule.verify.window_ms == 20_000));
    assert_eq!(limit("cold-chain/too-cold"), Some((3.0, 900_000)));
    let problems = |text: &str| {
        with(text).unwrap_err().iter().map(|problem| problem.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        problems("[parameters]\n\"cold-chain/too-warm.limit\" = 10\n"),
        ["`cold-chain/too-warm.limit` needs a unit"]
    );
    assert_eq!(
        problems("[parameters]\n\"cold-chain/too-warm.limit\" = \"10 kPa\"\n"),
        ["`cold-chain/too-warm.limit` is in °C, not in kPa"]
    );
    assert_eq!(
        problems("[parameters]\n\"cold-chain/too-warm.limit\" = \"99 °C\"\n"),
        ["`cold-chain/too-warm.limit` is out of range"]
    );
    assert_eq!(
        problems("[parameters]\n\"cold-chain/too-warm.limt\" = \"9 °C\"\n"),
        ["no rule has a setting `cold-chain/too-warm.limt`"]
    );
}

#[test]
fn foreign_payloads_are_mapped_by_place() {
    let site = load_str("small.toml", SMALL).unwrap();
    let Mapping::Json(mapping) = &site.mqtt[0].mapping else { panic!() };
    assert_eq!(mapping.fields[0].pointer, "/DS18B20/Temperature");
    assert_eq!(mapping.expect, [("/TempUnit".to_owned(), "C".to_owned())]);
    let [availability] = &site.mqtt[0].availability[..] else { panic!() };
    assert_eq!((availability.topic.as_str(), availability.online.as_str()), ("tele/fridge/LWT", "Online"));
    let left_out = |rule: &str, what: &str| ("f".to_owned(), format!("cold-chain/{rule}"), what.to_owned());
    let without_hours = left_out("reading-overdue", "[hours]");
    assert_eq!(
        site.left_out,
        [left_out("door-open", "door"), left_out("power-lost", "mains"), without_hours]
    );
    let text = SMALL
        .replace("tele/fridge/SENSOR", "zigbee2mqtt/fridge")
        .replace("tasmota", "zigbee2mqtt")
        .replace("\"/DS18B20/Temperature\"", "\"temperature\", door = \"contact\"");
    let site = load_str("zigbee.toml", &text).unwrap();
    let door = &site.plan.points[point(&site, "f/door").slot()];
    assert_eq!(Raw::Int(1).value(door.gain, door.offset), Some(0.0), "contact:true is closed");
    let topics: Vec<&str> = site.mqtt[0].availability.iter().map(|there| there.topic.as_str()).collect();
    assert_eq!(topics, ["zigbee2mqtt/fridge/availability", "zigbee2mqtt/bridge/state"]);
    let text = SMALL
        .replace("tasmota\"", "milesight\"\noptions = { carrier = \"hex\" }")
        .replace("/DS18B20/Temperature", "temperature-1");
    let site = load_str("milesight.toml", &text).unwrap();
    let Mapping::Milesight(mapping) = &site.mqtt[0].mapping else { panic!() };
    assert_eq!(
        (mapping.fields[0].channel, mapping.fields[0].kind, mapping.fields[0].signed),
        (3, 0x67, true)
    );
}

#[test]
fn plain_text_leaves_the_machine_only_where_the_file_says_so() {
    let with =
        |text: &str| load_str("small.toml", &SMALL.replace("[broker]\nlisten = \"127.0.0.1:0\"\n", text));
    let refused = |text: &str| with(text).unwrap_err()[0].message.contains("unencrypted");
    assert!(refused("[center]\nurl = \"http://10.0.0.1\"\n"));
    assert!(refused("[page]\nlisten = \"0.0.0.0:80\"\n"));
    assert!(refused("[broker]\nlisten = \"0.0.0.0:1883\"\n"));
    assert!(refused("[broker]\nurl = \"mqtt://10.0.0.1\"\n"));
    for fine in [
        "[center]\nurl = \"http://10.0.0.1/\"\nallow_plain_http = true\n",
        "[center]\nurl = \"https://center.example.org\"\n",
        "[page]\nlisten = \"0.0.0.0:80\"\nallow_plain_http = true\n",
        "[broker]\nurl = \"mqtts://10.0.0.1\"\n",
        "[broker]\nurl = \"mqtt://10.0.0.1\"\nallow_plain_mqtt = true\n",
    ] {
        assert!(with(fine).is_ok(), "{fine}");
    }
}

#[test]
fn the_plan_says_what_a_bus_has_to_carry() {
    let site = example("hotel.toml");
    let page = crate::cli::plan::text(&site, &crate::bus::forecast::forecast(&site));
    assert!(
        page.contains("bus meters rtu-over-tcp 127.0.0.1:5022 (2400 baud 8N1, time-out 500 ms, gap 20.0 ms)"),
        "{page}"
    );
    assert!(page.contains("unit   1  input 0x000C ×2    every  30000 ms  8 + 9 bytes"), "{page}");
    assert!(page.contains("2 requests, 250.8 ms a round, load 0.8 %"), "{page}");
    assert!(page.contains("1 dead device(s): 1000 ms once, then load 1.4 %"), "{page}");
}

/// Ten meters of three blocks on a line of 2400 baud, every second: the whole page.
const CROWDED: &str = r#"
[site]
id = "crowded"
institution = "923301000000000193"
name = { zh = "拥挤", en = "Crowded" }
[[bus]]
name = "meters"
transport = "rtu"
address = "/dev/ttyUSB7"
baud = 2400
"#;

fn crowded(devices: usize, every: &str) -> String {
    let device = |n: usize| {
        format!(
            "[[device]]\nid = \"meter-{n}\"\nkind = \"sensor\"\nname = {{ zh = \"表\", en = \"Meter\" }}\n[[device.read]]\nbus = \
             \"meters\"\nunit = {n}\nprofile = \"sdm120\"\nevery = \"{every}\"\nmap = {{ voltage = \"voltage\", current = \
             \"current\", power = \"power\", total = \"total\" }}\n"
        )
    };
    CROWDED.to_owned() + &(1..=devices).map(device).collect::<String>()
}

#[test]
fn a_plan_that_does_not_fit_says_what_would_make_it_fit() {
    let site = load_str("site.toml", &crowded(4, "1 s")).unwrap();
    let buses = crate::bus::forecast::forecast(&site);
    let page = crate::cli::plan::text(&site, &buses);
    let bus = page.split("\n\n").nth(1).unwrap();
    assert_eq!(format!("{bus}\n"), include_str!("crowded.txt"), "{bus}");
    assert!(!buses[0].fits);
    let json = serde_json::to_value(&buses).unwrap();
    assert_eq!((&json[0]["fits"], &json[0]["requests"][0]["count"]), (&false.into(), &14.into()));
    let easy = load_str("site.toml", &crowded(4, "10 s")).unwrap();
    let easy = &crate::bus::forecast::forecast(&easy)[0];
    assert!(easy.fits && easy.advice.is_empty(), "{easy:?}");
}

#[test]
fn one_endpoint_has_one_bus() {
    let twice = format!(
        "{}[[bus]]\nname = \"again\"\ntransport = \"rtu\"\naddress = \"/dev/ttyUSB7\"\nbaud = 9600\n",
        crowded(1, "1 s")
    );
    let problems = load_str("site.toml", &twice).unwrap_err();
    assert!(problems[0].message.contains("bus `meters` has this endpoint already"), "{problems:?}");
    for (key, value) in [("parity", "\"mark\""), ("stop_bits", "3"), ("baud", "1")] {
        let text = crowded(1, "1 s").replace("baud = 2400", &format!("{key} = {value}"));
        assert_eq!(load_str("site.toml", &text).unwrap_err().len(), 1, "{key}");
    }
    let text = crowded(1, "1 s").replace("/dev/ttyUSB7", "10.0.0.1:502");
    assert_eq!(load_str("site.toml", &text).unwrap_err()[0].message, "not an address");
}

#[test]
fn an_indicator_is_heard_on_a_line_of_its_own() {
    let text = CROWDED.replace("\"rtu\"", "\"weighing\"")
        + "[[device]]\nid = \"scale-1\"\nkind = \"sensor\"\nname = { zh = \"秤\", en = \"Scale\" }\n[[device.read]]\nbus = \
           \"meters\"\nprofile = \"yaohua-tf0\"\nevery = \"1 s\"\nmap = { weight = \"weight\", stable = \"stable\" }\n";
    let site = load_str("site.toml", &text).unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!((site.blocks.len(), site.streams.len()), (0, 1));
    assert_eq!(site.streams[0].points.len(), 2);
    let asked = text.replace("\"weighing\"", "\"rtu\"").replace("profile", "unit = 1\nprofile");
    let problems = load_str("site.toml", &asked).unwrap_err();
    assert!(problems[0].message.contains("sends by itself"), "{problems:?}");
}

#[test]
fn a_bus_can_be_moved() {
    let mut site = example("hotel.toml");
    assert_eq!(site.override_address("meters", "127.0.0.1:9"), Ok(()));
    assert_eq!(site.buses[1].address, "127.0.0.1:9");
    assert!(site.override_address("meter", "127.0.0.1:9").unwrap_err().contains("modules, meters"));
    assert!(site.override_address("meters", "nowhere").is_err());
}

#[test]
fn a_site_may_bring_its_own_pack_and_profile() {
    let dir = tempfile::tempdir().unwrap();
    let pack =
        gateway_rules::embedded_packs().into_iter().find(|pack| pack.name.contains("cold-chain")).unwrap();
    std::fs::write(
        dir.path().join("own.toml"),
        pack.text.replace("default = \"8 °C\"", "default = \"7 °C\""),
    )
    .unwrap();
    std::fs::write(
        dir.path().join("site.toml"),
        format!("[packs]\nfiles = [\"own.toml\"]\n[journal]\ndir = \"data\"\n{SMALL}"),
    )
    .unwrap();
    let site = load(&dir.path().join("site.toml")).unwrap();
    assert_eq!(site.journal.dir, Some(dir.path().join("data")));
    assert!(
        site.plan.rules.iter().any(|rule| matches!(rule.kind, RuleKind::Condition { limit: Some(7.0), .. }))
    );
    std::fs::write(dir.path().join("own.toml"), pack.text.replace("\"red\"", "\"rde\"")).unwrap();
    let problems = load(&dir.path().join("site.toml")).unwrap_err();
    assert!(explain(&problems, false).contains("did you mean `red`?"));
    assert!(load(&dir.path().join("none.toml")).unwrap_err()[0].message.starts_with("cannot be read"));
}

const TABLED: &str = r#"
[site]
id = "s"
institution = "923301000000000193"
name = { zh = "点", en = "Site" }
[devices]
files = ["devices.csv"]
[[bus]]
name = "line"
transport = "rtu-over-tcp"
address = "127.0.0.1:5020"
"#;

#[test]
fn a_table_of_a_hundred_devices_is_a_line_each() {
    use std::fmt::Write as _;

    let mut rows = String::from("id,kind,name.zh,bus,unit,profile\n");
    for n in 1..=100 {
        writeln!(rows, "fridge-{n},fridge,冰箱{n},line,{n},xy-md02").unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("devices.csv"), &rows).unwrap();
    std::fs::write(dir.path().join("site.toml"), TABLED).unwrap();
    let site = load(&dir.path().join("site.toml")).unwrap();
    // A fridge has a temperature; nobody asked for its humidity.
    assert_eq!((site.plan.devices.len(), site.plan.points.len(), site.blocks.len()), (100, 100, 100));
    assert_eq!(site.plan.devices[99].name.en, "冰箱100");
    assert_eq!(site.plan.points[99].id, "fridge-100/temperature");
}

#[test]
fn a_row_says_of_its_points_what_a_site_file_can() {
    let dir = tempfile::tempdir().unwrap();
    let rows = |stuck: &str| {
        "id,kind,name.zh,bus,unit,profile,map,invert,deadband,stuck,accuracy\n\
         f-1,fridge,一号,line,1,xy-md02,,,temperature=0.3 °C,STUCK,temperature=0.8 °C\n\
         f-2,fridge,二号,line,2,xy-md02,,,,,\n\
         c-1,sensor,三号,line,3,waveshare-8di,lid=di-1; door=di-2,lid; door,,,\n"
            .replace("STUCK", stuck)
    };
    let read = |stuck: &str| {
        std::fs::write(dir.path().join("devices.csv"), rows(stuck)).unwrap();
        std::fs::write(dir.path().join("site.toml"), TABLED).unwrap();
        load(&dir.path().join("site.toml"))
    };
    let site = read("temperature=36 h within 0.3 °C").unwrap();
    let (first, second) = (point(&site, "f-1/temperature"), point(&site, "f-2/temperature"));
    let plan = &site.plan.points[first.slot()];
    assert!((plan.deadband - 0.3).abs() < 1e-9, "{plan:?}");
    assert_eq!(plan.stuck.map(|stuck| stuck.after_ms), Some(36 * 3_600_000));
    // The other has its profile's, which is also its maker's word on how far it may be off.
    assert_eq!((site.accuracy[&first], site.accuracy[&second]), (0.8, 0.5));
    assert_ne!(site.plan.points[second.slot()].stuck, plan.stuck);
    let gain = |id: &str| site.plan.points[point(&site, id).slot()].gain;
    assert_eq!((gain("c-1/lid"), gain("c-1/door")), (-1.0, -1.0));
    let shown = explain(&read("temperature=36 hours").unwrap_err(), false);
    assert!(shown.contains("devices.csv:2:51") && shown.contains("\"24 h\""), "{shown}");
}

#[test]
fn the_files_in_the_documentation_load() {
    let page = include_str!("../../../../docs/devices.md");
    let block = |language: &str| {
        let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
        rest.split_once("```").unwrap().0
    };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("devices.csv"), block("csv")).unwrap();
    std::fs::write(dir.path().join("site.toml"), block("toml")).unwrap();
    let site = load(&dir.path().join("site.toml"))
        .unwrap_or_else(|problems| panic!("{}", explain(&problems, false)));
    assert_eq!(site.warnings, []);
    assert_eq!(
        site.plan.devices.iter().map(|device| &*device.id).collect::<Vec<_>>(),
        ["fridge-1", "fridge-2", "fridge-3", "fridge-4"]
    );
    assert_eq!(site.accuracy.get(&point(&site, "fridge-3/temperature")), Some(&0.4));
    let cells = page.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split('|').nth(1));
    let told: BTreeSet<&str> =
        cells.flat_map(|cell| cell.split(", ")).map(|name| name.trim().trim_matches('`')).collect();
    assert_eq!(told, super::table::columns().collect(), "every column is in it, and no other");
}

#[test]
fn what_is_wrong_with_a_table_is_said_of_its_cells() {
    let page = |rows: &str| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("devices.csv"), rows).unwrap();
        std::fs::write(dir.path().join("site.toml"), TABLED).unwrap();
        let problems = load(&dir.path().join("site.toml")).unwrap_err();
        explain(&problems, false).replace(&format!("{}/", dir.path().display()), "")
    };
    let shown = page(
        "id,kind,name.zh,bus,unit,profile,map\n\
         f-1,fridge,一号,line,1,xy-md02,\n\
         f-2,fridge,二号,lime,300,xy-md02,temperature=temp\n\
         f-1,frige,三号,line,x,xy-md03,\n\
         f-4,fridge,,line,4,sdm120,\n",
    );
    let wanted = include_str!("wrong-table.txt");
    assert_eq!(shown.trim(), wanted.trim(), "\n{shown}\n");
    let shown = page("id,kindd,id\n");
    assert!(shown.contains("devices.csv:1:4") && shown.contains("did you mean `kind`?"), "{shown}");
    assert!(
        shown.contains("devices.csv:1:10") && shown.contains("there is a column `id` already"),
        "{shown}"
    );
}

#[test]
fn a_deadband_is_refused_where_every_answer_counts_and_warned_of_where_it_blurs() {
    let hotel = include_str!("../../../../deploy/example/hotel.toml");
    let with = |deadband: &str| {
        let place = "map = { temperature = \"channel-1\" }";
        assert!(hotel.contains(place));
        load_str("hotel.toml", &hotel.replacen(place, &format!("{place}\n{deadband}"), 1))
    };
    let problems = with("deadband = { temperature = \"1 °C\" }").unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].message.contains("integrated or timed"), "{problems:?}");
    assert!(with("deadband = { temprature = \"1 °C\" }").is_err());
    let small = |deadband: &str| {
        load_str(
            "small.toml",
            &SMALL.replace("map = {", &format!("deadband = {{ temperature = \"{deadband}\" }}\nmap = {{")),
        )
    };
    let site = small("0.05 °C").unwrap();
    assert_eq!(site.warnings, []);
    assert!((site.plan.points[0].deadband - 0.05).abs() < 1e-9);
    let site = small("0.3 °C").unwrap();
    let said: Vec<&str> = site.warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(
        said,
        [
            "`temperature` is not watched for a frozen probe: it is seen to move by 0.3 °C only",
            "this deadband blurs `cold-chain/too-cold`, whose limit is 2 °C",
            "this deadband blurs `cold-chain/freezing`, whose limit is 0 °C",
        ]
    );
    assert!(small("3 kPa").unwrap_err()[0].message.contains("expected a deadband in °C"));
    let site = small("0.05 % of span").unwrap();
    let (low, high) = site.plan.points[0].span.unwrap();
    assert!((site.plan.points[0].deadband - 0.0005 * (high - low)).abs() < 1e-9, "{:?}", site.plan.points[0]);
    assert!(small("101 % of span").unwrap_err()[0].message.contains("expected 0 to 100"));
}

#[test]
fn a_metered_line_has_a_budget_and_a_budget_needs_a_metered_line() {
    let budget = |line: &str| {
        let text = format!("{SMALL}[center]\nurl = \"http://127.0.0.1:8800\"\n{line}\n");
        load_str("site.toml", &text).map(|site| site.center.unwrap().month_bytes)
    };
    assert_eq!(budget("").unwrap(), None);
    assert_eq!(budget("metered = true").unwrap(), Some(100_000_000));
    assert_eq!(budget("metered = true\nmonth_bytes = \"250 MiB\"").unwrap(), Some(250 << 20));
    for (line, words) in [
        ("month_bytes = \"250 MiB\"", "a budget is for a metered line"),
        ("metered = true\nmonth_bytes = \"1 MiB\"", "at least"),
        ("metered = true\nmonth_bytes = \"much\"", "not a size"),
    ] {
        let problems = budget(line).unwrap_err();
        assert!(problems.iter().any(|problem| problem.to_string().contains(words)), "{line}: {problems:?}");
    }
}

/// How far a point may be off beside a reference: the site's word before the profile's, in the point's unit.
#[test]
fn accuracy_is_stated_beside_the_map_or_in_the_profile() {
    const PROFILE: &str = "name = \"probe\"\ntransport = \"modbus\"\nmark = \"P\"\ntitle = { zh = \"探头\", en = \"Probe\" }\n\
        [[field]]\nname = \"uv\"\nat = \"input 0\"\ntype = \"u16\"\nunit = \"W/m²\"\nspan = [0, 150]\naccuracy = 0.5\n\
        [[field]]\nname = \"contact\"\nat = \"discrete 0\"\ntype = \"bit\"\nunit = \"bool\"\n";
    let site = |kind: &str, map: &str, lines: &str| {
        let text = format!(
            "[site]\nid = \"s\"\ninstitution = \"923301000000000193\"\nname = {{ zh = \"点\", en = \"Site\" }}\n\
             [profiles]\nfiles = [\"probe.toml\"]\n\
             [[bus]]\nname = \"b\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:502\"\n\
             [[device]]\nid = \"f\"\nkind = \"{kind}\"\nname = {{ zh = \"点\", en = \"F\" }}\n\
             [[device.read]]\nbus = \"b\"\nunit = 1\nprofile = \"probe\"\n{map}\n{lines}\n"
        );
        let read = |name: &str| Ok(Source { name: name.to_owned(), text: PROFILE.to_owned() });
        super::load_with(
            &super::Shipped::read(),
            &Source { name: "site.toml".to_owned(), text },
            &read,
            Vec::new(),
        )
        .map_err(|problems| problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>())
    };
    let off = |site: super::Site| site.accuracy.into_values().collect::<Vec<_>>();
    assert_eq!(off(site("sensor", "", "").unwrap()), [0.5]);
    assert_eq!(off(site("sensor", "", "accuracy = { uv = \"2 W/m²\" }").unwrap()), [2.0]);
    assert_eq!(off(site("sensor", "", "accuracy = { uv = \"2 % of span\" }").unwrap()), [3.0]);
    // The pack's point is in µW/cm²: 1 W/m² is 100 of them.
    let lamp = off(site("uv-lamp", "map = { irradiance = \"uv\" }", "").unwrap());
    assert!((lamp[0] - 50.0).abs() < 1e-9, "{lamp:?}");
    for (lines, words) in [
        ("accuracy = { contact = \"1\" }", "`contact` cannot be off by that"),
        ("accuracy = { uv = \"1 kPa\" }", "`uv` cannot be off by that"),
        ("accuracy = { uv = \"0 W/m²\" }", "`uv` cannot be off by that"),
        ("accuracy = { vu = \"1 W/m²\" }", "`vu` is not in the map"),
    ] {
        let problems = site("sensor", "", lines).map(|_| ()).unwrap_err();
        assert!(problems.iter().any(|problem| problem.contains(words)), "{lines}: {problems:?}");
    }
}
