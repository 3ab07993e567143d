//! Mains, closures, people and the appliances that came with them: each thing a scenario can say, seen to happen.
#![allow(clippy::float_cmp, reason = "counts, flags and values that were put there")]

use firmware_sim::civil::Civil;
use firmware_sim::face::frame::Request;
use firmware_sim::fault::Fault;
use firmware_sim::scenario::Scenario;
use firmware_sim::world::World;
use serde_json::Value;

use super::{MIDNIGHT, at, hex, value};

const HEAD: &str = "[scenario]\nname = \"x\"\ntitle = { zh = \"一\", en = \"x\" }\nseed = 7\n";

fn world(text: &str) -> World {
    let scenario = Scenario::parse("x.toml", &format!("{HEAD}{text}"));
    World::new(&scenario.unwrap_or_else(|problems| panic!("{problems:#?}")), MIDNIGHT, None)
}

fn inject(world: &mut World, target: &str, word: &str) {
    world.inject(target, Fault::parse(word, None).unwrap(), None).unwrap();
}

/// Lowest and highest of a signal from one moment to another.
fn span(world: &mut World, name: &str, from: Civil, to: Civil) -> (f64, f64) {
    let (mut low, mut high, mut t) = (f64::MAX, f64::MIN, from);
    while t < to {
        world.step_to(t);
        low = low.min(value(world, name));
        high = high.max(value(world, name));
        t = t.plus_s(1);
    }
    (low, high)
}

fn messages(world: &mut World, topic: &str) -> Vec<Value> {
    let mine: Vec<_> = world.take_messages().filter(|m| m.topic == topic).collect();
    mine.iter().map(|m| serde_json::from_str(&m.payload).unwrap()).collect()
}

const CABINET: &str = r#"
[[supply]]
id = "mains-1"
[[cabinet]]
id = "cabinet-1"
set_c = 130.0
hold = "32m"
supply = "mains-1"
runs = [{ at = "11:30" }]
[[meter]]
id = "meter-1"
of = "cabinet-1"
supply = "mains-1"
[[endpoint]]
name = "bus"
transport = "rtu-over-tcp"
[[endpoint.unit]]
unit = 1
map = "sdm120"
terminals = { meter = "meter-1" }
supply = "mains-1"
[[endpoint.unit]]
unit = 2
map = "mb8art"
terminals = { channel-1 = "cabinet-1/temperature" }
"#;

#[test]
fn a_power_cut_reaches_the_heat_and_the_instruments() {
    let mut world = world(CABINET);
    world.step_to(at(0, 12, 0));
    let (hot, counted) = (value(&world, "cabinet-1/temperature"), value(&world, "meter-1/import"));
    assert!(hot > 110.0, "{hot} °C at noon");
    let ask = |world: &mut World, unit: u8| {
        world.ask(0, &Request { transaction: None, unit, pdu: hex("04 00 00 00 02") }).len()
    };
    assert_eq!(ask(&mut world, 1), 1);
    inject(&mut world, "mains-1", "no-power");
    world.step_to(at(0, 12, 30));
    assert!(value(&world, "cabinet-1/temperature") < hot - 20.0, "it cools");
    assert_eq!(value(&world, "cabinet-1/power"), 0.0);
    assert_eq!(value(&world, "meter-1/voltage"), 0.0);
    assert!((value(&world, "meter-1/import") - counted).abs() < 0.011, "the counter stands");
    assert_eq!(ask(&mut world, 1), 0, "the meter is on the same breaker");
    assert_eq!(ask(&mut world, 2), 1, "the module is not");
    assert!(world.link_fault(0, 0).is_some() && world.link_fault(0, 1).is_none());
    world.clear(None);
    world.step_to(at(0, 12, 31));
    assert_eq!(ask(&mut world, 1), 1);
    assert!(value(&world, "meter-1/voltage") > 220.0);
}

#[test]
fn a_breaker_that_is_off_every_night() {
    let night = CABINET
        .replace("id = \"mains-1\"", "id = \"mains-1\"\noff = [[\"18:30\", \"08:10\"]]\njitter = \"5m\"");
    let mut world = world(&night.replace("at = \"11:30\"", "at = \"18:00\""));
    for (day, hour, minute, on) in
        [(0, 3, 0, 0.0), (0, 8, 20, 1.0), (0, 18, 20, 1.0), (0, 18, 40, 0.0), (1, 8, 0, 0.0), (1, 8, 20, 1.0)]
    {
        world.step_to(at(day, hour, minute));
        assert_eq!(value(&world, "mains-1/on"), on, "day {day} {hour}:{minute:02}");
        assert_eq!(world.link_fault(0, 0).is_none(), on > 0.5);
        if (day, hour, minute) == (0, 18, 40) {
            assert_eq!(value(&world, "cabinet-1/power"), 0.0, "the evening's run is cut off");
        }
    }
}

#[test]
fn nobody_comes_on_closed_days_unless_a_run_names_them() {
    let text = CABINET.replace(
        "runs = [{ at = \"11:30\" }]",
        "runs = [{ at = \"11:30\" }, { at = \"15:00\", days = [2] }]",
    );
    let scenario = Scenario::parse("x.toml", &format!("{HEAD}closed = [[1, 2]]\n{text}")).unwrap();
    let mut world = World::new(&scenario, MIDNIGHT, None);
    for (day, from, runs) in
        [(0, 10, true), (1, 10, false), (1, 14, false), (2, 10, false), (2, 14, true), (3, 10, true)]
    {
        let (_, peak) = span(&mut world, "cabinet-1/temperature", at(day, from, 0), at(day, from + 3, 0));
        assert_eq!(peak > 120.0, runs, "day {day} from {from}:00: {peak} °C");
    }
}

#[test]
fn a_heat_gun_warms_the_probe_and_nothing_else() {
    let mut world = world(CABINET);
    world.step_to(at(0, 9, 0));
    inject(&mut world, "cabinet-1", "heat-gun");
    world.step_to(at(0, 9, 5));
    let shown = value(&world, "cabinet-1/temperature");
    assert!(shown > 75.0, "the probe shows {shown}");
    assert_eq!(value(&world, "meter-1/power"), 0.0);
    world.clear(None);
    world.step_to(at(0, 9, 10));
    assert!(value(&world, "cabinet-1/temperature") < 30.0, "and is cold again at once");
}

#[test]
fn a_small_element_never_reaches_what_it_is_set_to() {
    let mut world = world(&CABINET.replace("hold =", "heater_w = 520.0\nhold ="));
    let (_, peak) = span(&mut world, "cabinet-1/temperature", at(0, 11, 0), at(0, 14, 0));
    assert!((80.0..120.0).contains(&peak), "{peak} °C");
}

const DENTAL: &str = r#"
[[sterilizer]]
id = "sterilizer-1"
hold = "5m20s"
runs = [{ at = "10:00" }, { at = "14:00" }]
[[dental_day]]
id = "dental-1"
sterilizer = "sterilizer-1"
visits = 24
hours = [["08:30", "12:00"], ["13:30", "17:20"]]
chairs = 3
handpieces = 20
capacity = 12
visits_topic = "v"
packed_topic = "p"
used_topic = "u"
released_topic = "r"
"#;

#[test]
fn handpieces_go_round() {
    let mut world = world(DENTAL);
    world.step_to(at(0, 9, 59));
    let held = |world: &World| {
        ["sterile", "dirty", "in-sterilizer"]
            .iter()
            .map(|q| value(world, &format!("dental-1/{q}")))
            .sum::<f64>()
    };
    assert_eq!(held(&world), 20.0);
    world.step_to(at(0, 10, 20));
    let inside = value(&world, "dental-1/in-sterilizer");
    assert!((3.0..=12.0).contains(&inside), "{inside} inside");
    world.step_to(at(0, 12, 0));
    assert_eq!(held(&world), 20.0, "none is lost");
    assert_eq!(value(&world, "sterilizer-1/good"), 1.0);
    assert_eq!(value(&world, "dental-1/released"), inside);
    assert_eq!(value(&world, "dental-1/used-unsterile"), 0.0);
    let count = |topic: &str, world: &mut World| -> u64 {
        messages(world, topic).iter().map(|m| m["count"].as_u64().unwrap()).sum()
    };
    assert_eq!(count("r", &mut world), inside as u64);
    let (_, busy) = span(&mut world, "dental-1/busy-chairs", at(0, 12, 0), at(0, 17, 0));
    assert!((1.0..=3.0).contains(&busy), "{busy} chairs");
}

#[test]
fn an_aborted_load_is_run_again_or_used_all_the_same() {
    let mut good = world(DENTAL);
    good.step_to(at(0, 9, 50));
    inject(&mut good, "sterilizer-1", "abort");
    good.step_to(at(0, 10, 45));
    good.clear(None);
    assert_eq!(value(&good, "dental-1/released"), 0.0, "not released after the abort");
    good.step_to(at(0, 12, 0));
    assert_eq!(value(&good, "sterilizer-1/cycles"), 2.0);
    assert_eq!(value(&good, "sterilizer-1/good"), 1.0);
    assert!(value(&good, "dental-1/released") > 0.0);

    let mut bad = world(DENTAL);
    bad.step_to(at(0, 9, 50));
    inject(&mut bad, "sterilizer-1", "abort");
    inject(&mut bad, "sterilizer-1", "use-anyway");
    bad.step_to(at(0, 13, 30));
    bad.clear(None);
    assert_eq!(value(&bad, "sterilizer-1/cycles"), 1.0, "not run again");
    assert_eq!(value(&bad, "sterilizer-1/good"), 0.0);
    assert!(value(&bad, "dental-1/released") > 0.0, "and taken out all the same");
    bad.step_to(at(0, 17, 30));
    assert!(value(&bad, "dental-1/used-unsterile") > 0.0);
}

#[test]
fn one_load_for_twenty_visits() {
    let text = DENTAL
        .replace("{ at = \"10:00\" }, ", "")
        .replace("handpieces = 20", "handpieces = 60")
        .replace("capacity = 12", "capacity = 4");
    let mut world = world(&text);
    world.step_to(at(0, 18, 0));
    assert!(value(&world, "dental-1/visits") >= 20.0);
    assert_eq!(value(&world, "dental-1/packed"), 4.0);

    let mut few = self::world(&DENTAL.replace("handpieces = 20", "handpieces = 4"));
    few.step_to(at(0, 12, 0));
    assert!(value(&few, "dental-1/used-unsterile") > 0.0, "wiped and used again when there are no more");
}

#[test]
fn the_wrong_program_and_a_power_cut_in_the_hold() {
    let mut world = world(DENTAL);
    world.step_to(at(0, 9, 50));
    inject(&mut world, "sterilizer-1", "wrong-program");
    let (lowest, _) = span(&mut world, "sterilizer-1/pressure", at(0, 9, 50), at(0, 10, 10));
    let (_, peak) = span(&mut world, "sterilizer-1/temperature", at(0, 10, 10), at(0, 11, 0));
    assert!(lowest > -5.0, "no vacuum: {lowest} kPa");
    assert!((121.0..124.0).contains(&peak), "{peak} °C");
    assert_eq!(value(&world, "sterilizer-1/good"), 0.0);

    let mut cut = self::world(DENTAL);
    let mut t = at(0, 10, 0);
    while value(&cut, "sterilizer-1/phase") < 4.5 {
        cut.step_to(t);
        t = t.plus_s(1);
    }
    inject(&mut cut, "sterilizer-1", "no-power");
    cut.step_to(t.plus_s(300));
    cut.clear(None);
    assert!(value(&cut, "sterilizer-1/pressure") < 100.0);
    cut.step_to(at(0, 13, 0));
    assert_eq!(value(&cut, "sterilizer-1/cycles"), 2.0, "run again when the mains are back");
}

#[test]
fn a_fridge_defrosts_and_a_probe_in_it_can_be_fooled() {
    let text = "[[fridge]]\nid = \"fridge-1\"\nset_c = 4.5\nopenings = 0\nbetween = [\"08:00\", \"18:00\"]\n";
    let mut plain = world(text);
    let (_, quiet) = span(&mut plain, "fridge-1/temperature", at(0, 3, 0), at(0, 9, 0));
    let mut world = world(&format!("{text}defrost = \"6h\"\n"));
    let (_, peak) = span(&mut world, "fridge-1/temperature", at(0, 3, 0), at(0, 9, 0));
    assert!(peak > quiet + 0.7 && peak < 10.0, "{quiet} without, {peak} with a defrost");
    world.step_to(at(0, 11, 50));
    assert_eq!((value(&world, "fridge-1/defrost"), value(&world, "fridge-1/compressor")), (1.0, 0.0));
    inject(&mut world, "fridge-1", "no-power");
    world.step_to(at(0, 18, 0));
    assert!(value(&world, "fridge-1/temperature") > 10.0, "six hours without mains");
    assert_eq!(value(&world, "fridge-1/power"), 0.0);
}

#[test]
fn air_behind_a_door_under_a_lamp() {
    let mut world = world(
        r#"
[[contact]]
id = "door-1"
openings = 0
between = ["08:00", "18:00"]
[[uv_lamp]]
id = "lamp-1"
new_uw_cm2 = 112.0
hours = 1010.0
sessions = [{ at = "12:00", for = "40m" }]
[[air]]
id = "air-1"
difference_pa = 8.0
door = "door-1"
lamp = "lamp-1"
"#,
    );
    world.step_to(at(0, 11, 0));
    assert!(value(&world, "lamp-1/hours") > 1000.0, "beyond its hours from the start");
    assert!((7.0..9.0).contains(&value(&world, "air-1/difference")));
    let calm = value(&world, "air-1/ozone");
    inject(&mut world, "door-1", "door-open");
    world.step_to(at(0, 11, 2));
    assert!(value(&world, "air-1/difference") < 2.0);
    world.step_to(at(0, 12, 40));
    assert!(value(&world, "air-1/ozone") > calm + 0.04);
}

#[test]
fn standing_water_loses_its_chlorine() {
    let mut world = world("[[water]]\nid = \"water-1\"\ndrawn = [[\"07:00\", \"22:00\"]]\n");
    world.step_to(at(1, 6, 50));
    let (chlorine, turbidity) = (value(&world, "water-1/chlorine"), value(&world, "water-1/turbidity"));
    world.step_to(at(1, 12, 0));
    assert!(value(&world, "water-1/chlorine") > chlorine + 0.1, "fresh at noon");
    assert!(value(&world, "water-1/turbidity") < turbidity);
}

#[test]
fn a_hotel_day() {
    let text =
        CABINET.replace("runs = [{ at = \"11:30\" }]", "runs = [{ at = \"11:30\" }, { at = \"15:00\" }]");
    let mut world = world(&format!(
        r#"{text}
[[hotel_day]]
id = "hotel-1"
cabinets = ["cabinet-1"]
rooms = 40
occupancy = 0.7
between = ["09:00", "12:30"]
capacity = 60
occupied_topic = "occupied"
cups_topic = "cups"
"#
    ));
    world.step_to(at(0, 20, 0));
    let occupied = value(&world, "hotel-1/occupied");
    assert!((24.0..=32.0).contains(&occupied), "{occupied} rooms");
    assert_eq!(value(&world, "hotel-1/loads"), 2.0);
    assert_eq!(value(&world, "hotel-1/dirty-cups"), 0.0);
    let all: Vec<_> = world.take_messages().collect();
    let count = |topic: &str| -> f64 {
        let mine = all.iter().filter(|m| m.topic == topic);
        mine.map(|m| serde_json::from_str::<Value>(&m.payload).unwrap()["count"].as_f64().unwrap()).sum()
    };
    assert_eq!(count("occupied"), occupied);
    assert_eq!(count("cups"), 2.0 * occupied);
}

const WASTE: &str = r#"
[[waste_day]]
id = "waste-1"
scale = "scale-1"
bags = 20
rounds = [["08:00", "15:00"]]
handover = { at = "16:00" }
to = "恒洁"
bag_topic = "bag"
handover_topic = "handover"
ward_topic = "ward"
[[scale]]
id = "scale-1"
max_kg = 5
load = "waste-1"
drift_kg_day = 0.5
"#;

#[test]
fn weight_is_lost_between_ward_and_store() {
    let mut world = world(&WASTE.replace("drift_kg_day = 0.5", "").replace("max_kg = 5", "max_kg = 60"));
    world.step_to(at(0, 11, 0));
    inject(&mut world, "waste-1", "lost-inside");
    world.step_to(at(0, 17, 0));
    let all: Vec<_> = world.take_messages().collect();
    let kg = |topic: &str| -> Vec<(String, f64)> {
        let mine = all.iter().filter(|m| m.topic == topic);
        let parsed = mine.map(|m| serde_json::from_str::<Value>(&m.payload).unwrap());
        parsed.map(|p| (p["label"].as_str().unwrap().to_owned(), p["kg"].as_f64().unwrap())).collect()
    };
    let (ward, store) = (kg("ward"), kg("bag"));
    assert_eq!(ward.len(), store.len());
    let share = |label: &str| {
        let of = |list: &[(String, f64)]| list.iter().find(|(l, _)| l == label).unwrap().1;
        of(&store) / of(&ward)
    };
    assert!((share(&ward[0].0) - 1.0).abs() < 0.03, "the first arrived whole: {}", share(&ward[0].0));
    let last = share(&ward[ward.len() - 1].0);
    assert!((0.6..0.7).contains(&last), "of the last {last} arrived");
}

#[test]
fn a_scale_drifts_and_is_overloaded() {
    let mut world = world(WASTE);
    let (_, over) = span(&mut world, "scale-1/overload", at(0, 8, 0), at(0, 16, 0));
    assert_eq!(over, 1.0, "5 kg are too few for a box and a bag");
    world.step_to(at(4, 3, 0));
    let zero = value(&world, "scale-1/gross");
    assert!((2.0..2.2).contains(&zero), "four days later its zero is at {zero}");
}

#[test]
fn radios_speak_as_their_systems_do() {
    let text = include_str!("../instruments.toml");
    let mut world = World::new(&Scenario::parse("instruments.toml", text).unwrap(), MIDNIGHT, None);
    world.step_to(at(0, 12, 0));
    let all: Vec<_> = world.take_messages().collect();
    let last = |topic: &str| -> Value {
        let found = all.iter().rev().find(|m| m.topic.ends_with(topic));
        let payload = &found.unwrap_or_else(|| panic!("nothing on {topic}")).payload;
        serde_json::from_str(payload).unwrap_or_else(|_| Value::from(payload.as_str()))
    };
    assert_eq!(last("tele/plug-1/LWT"), "Online");
    let plug = last("tele/plug-1/SENSOR");
    assert!(plug["DS18B20"]["Temperature"].is_f64() && plug["ENERGY"]["Power"].is_number(), "{plug}");
    let time = plug["Time"].as_str().unwrap();
    assert!(time.len() == 19 && time.starts_with("2026-11-18T1"), "no zone: {time}");
    let shelly = last("shellyhtg3-84fce63ad204/events/rpc");
    assert_eq!(shelly["src"], "shellyhtg3-84fce63ad204");
    assert!(shelly["params"]["ts"].is_f64());
    let whole = all.iter().find(|m| m.payload.contains("NotifyFullStatus")).unwrap();
    let whole: Value = serde_json::from_str(&whole.payload).unwrap();
    assert!(whole["params"]["temperature:0"]["tC"].is_f64() && whole["params"]["humidity:0"]["rh"].is_f64());
    let door = last("zigbee2mqtt/store/door");
    assert_eq!(last("zigbee2mqtt/store/door/availability")["state"], "online");
    assert!(door["contact"].is_boolean() && door["temperature"].is_f64(), "{door}");
    let lora = last("/event/up");
    assert_eq!(lora["deviceInfo"]["deviceName"], "em300-th-1");
    assert!(lora["object"]["temperature"].is_f64() && lora["data"].is_string());
    let stack = last("v3/nonsite@ttn/devices/ws301-1/up");
    let decoded = &stack["uplink_message"]["decoded_payload"];
    assert!(decoded["battery"].is_number() && stack["end_device_ids"]["device_id"] == "ws301-1");
    // A contact that changes is told at once, closed as true.
    let mut t = at(0, 12, 0);
    while value(&world, "contact-1/open") < 0.5 {
        t = t.plus_s(1);
        world.take_messages().for_each(drop);
        world.step_to(t);
    }
    let told = messages(&mut world, "zigbee2mqtt/store/door");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["contact"], false);
    // Without power its broker says so, a minute and a half later.
    inject(&mut world, "plug-1", "no-power");
    world.step_to(t.plus_s(200));
    let gone: Vec<_> = world.take_messages().filter(|m| m.topic == "tele/plug-1/LWT").collect();
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].payload, "Offline");
    assert_eq!((gone[0].at.0 - t.0) / 1000, 91);
}

#[test]
fn however_time_is_cut() {
    let text = include_str!("../instruments.toml");
    let scenario = Scenario::parse("instruments.toml", text).unwrap();
    let lived = |pieces: &[i64]| {
        let mut world = World::new(&scenario, MIDNIGHT, None);
        let mut t = MIDNIGHT;
        for piece in pieces {
            t = t.plus_s(*piece);
            world.step_to(t);
        }
        let bits: Vec<u64> = (0..)
            .map_while(|i| world.signals().at(i))
            .map(|ix| world.signals().value(ix).to_bits())
            .collect();
        (bits, world.take_messages().collect::<Vec<_>>())
    };
    assert_eq!(lived(&[100_000]), lived(&[1, 39_999, 7, 59_993]));
}
